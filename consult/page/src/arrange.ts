/** Which signals are drawn and in which chart. A new signal goes to those of its kind; people move it elsewhere. */

export interface ChartModel {
  readonly id: number;
  /** What belongs in here by itself; empty for a chart that somebody made. */
  readonly key: string;
  names: string[];
  collapsed: boolean;
}

export const MOST_CURVES = 64;

/**
 * Which chart a signal goes into by itself. One per unit; but members of a numbered family (96 cell voltages) have a
 * chart of their own, or the pack's voltage would flatten them.
 */
export function groupKey(name: string, unit: string): string {
  const family = /^(.*?)_?\d+$/.exec(name)?.[1];
  return family ? `${unit} ${family}` : unit;
}

export class Arrangement {
  charts: ChartModel[] = [];
  /** Grows with every change, so that what shows it knows. */
  changes = 0;
  private readonly inks = new Map<string, number>();
  private nextId = 1;

  names(): string[] {
    return this.charts.flatMap((chart) => chart.names);
  }

  has(name: string): boolean {
    return this.inks.has(name);
  }

  /** The number of a signal's colour and letter; it stays as long as the signal is drawn. */
  ink(name: string): number {
    return this.inks.get(name) ?? 0;
  }

  /** False when there are as many curves as can be told apart on a screen. */
  add(name: string, unit: string): boolean {
    if (this.inks.has(name)) return true;
    if (this.inks.size >= MOST_CURVES) return false;
    const taken = new Set(this.inks.values());
    let ink = 0;
    while (taken.has(ink)) ink++;
    this.inks.set(name, ink);
    const key = groupKey(name, unit);
    const chart = this.charts.find((one) => one.key === key) ?? this.open(key);
    chart.names.push(name);
    this.changes++;
    return true;
  }

  remove(name: string): void {
    this.inks.delete(name);
    this.takeOut(name);
    this.changes++;
  }

  /** Moves a signal into a chart, or into a new one of its own (null). */
  move(name: string, target: number | null): void {
    if (!this.inks.has(name)) return;
    const chart = target === null ? this.open("") : this.charts.find((one) => one.id === target);
    if (!chart || chart.names.includes(name)) return;
    this.takeOut(name, chart.id);
    chart.names.push(name);
    this.changes++;
  }

  /** An empty chart to put signals into. */
  addChart(): ChartModel {
    this.changes++;
    return this.open("");
  }

  removeChart(id: number): void {
    const chart = this.charts.find((one) => one.id === id);
    if (!chart) return;
    for (const name of chart.names) this.inks.delete(name);
    this.charts = this.charts.filter((one) => one !== chart);
    this.changes++;
  }

  collapse(id: number): void {
    const chart = this.charts.find((one) => one.id === id);
    if (chart) chart.collapsed = !chart.collapsed;
    this.changes++;
  }

  /** Draws exactly these, where they are already as they are. */
  only(names: readonly string[], unitOf: (name: string) => string): void {
    for (const name of this.names()) if (!names.includes(name)) this.remove(name);
    for (const name of names) this.add(name, unitOf(name));
  }

  private open(key: string): ChartModel {
    const chart: ChartModel = { id: this.nextId++, key, names: [], collapsed: false };
    this.charts.push(chart);
    return chart;
  }

  /** A chart that loses its last signal goes. */
  private takeOut(name: string, keep = 0): void {
    for (const chart of this.charts) {
      if (chart.id !== keep && chart.names.includes(name)) chart.names = chart.names.filter((one) => one !== name);
      else continue;
      if (chart.names.length === 0) this.charts = this.charts.filter((one) => one !== chart);
      return;
    }
  }
}
