/** Cells of a battery pack: which signals they are, how they are grouped, and how far apart they lie. */

const CELL = /^(?:.*_)?cell_?volt(?:age)?s?_?(\d{1,4})$/i;

/** The cell that a signal tells of, counted as the signal's name counts; null for anything else. */
export function cellOfSignal(name: string): number | null {
  const number = CELL.exec(name)?.[1];
  return number === undefined ? null : Number(number);
}

/**
 * The cell of each column of a stream, null where it is none. Names that count cells are believed, whatever their order;
 * in a stream of cells whose names do not count them, the columns do.
 */
export function cellsOfStream(names: readonly string[], isOfCells: boolean): (number | null)[] {
  const counted = names.map(cellOfSignal);
  return isOfCells && counted.every((cell) => cell === null) ? names.map((_, i) => i + 1) : counted;
}

/** Cells by module, where the car's own count has one (`2-3`: module 2, cell 3); null where it has none. */
export function modulesOf(labels: readonly string[]): { module: string; cells: number[] }[] | null {
  const modules = new Map<string, number[]>();
  for (const [i, label] of labels.entries()) {
    const module = /^(\d+)-\d+$/.exec(label)?.[1];
    if (module === undefined) return null;
    const cells = modules.get(module);
    if (cells) cells.push(i);
    else modules.set(module, [i]);
  }
  return modules.size > 1 ? [...modules].map(([module, cells]) => ({ module, cells })) : null;
}

export interface CellSpread {
  lowest: number;
  highest: number;
  min: number;
  max: number;
  median: number;
}

/** How far apart the cells are; null where none is known. */
export function spreadOf(volts: readonly number[]): CellSpread | null {
  let lowest = -1;
  let highest = -1;
  const known: number[] = [];
  volts.forEach((value, i) => {
    if (Number.isNaN(value)) return;
    known.push(value);
    if (lowest < 0 || value < (volts[lowest] as number)) lowest = i;
    if (highest < 0 || value > (volts[highest] as number)) highest = i;
  });
  if (lowest < 0) return null;
  known.sort((a, b) => a - b);
  const half = known.length >> 1;
  const median = known.length % 2 === 1 ? (known[half] as number) : ((known[half - 1] as number) + (known[half] as number)) / 2;
  return { lowest, highest, min: volts[lowest] as number, max: volts[highest] as number, median };
}
