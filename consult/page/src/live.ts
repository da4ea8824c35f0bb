/** Live curves: signals chosen by search, one chart per unit, all on one time axis. */
import uPlot from "uplot";
import { digits, h, setText, unitSign } from "./dom";
import type { RoomState } from "./room";
import type { StreamStore } from "./store";
import { say } from "./words";

const FRAME_MS = 66;
const READOUT_MS = 250;
const MAX_CHOSEN = 12;
const WINDOWS_S = [15, 60, 120] as const;
const COLOURS = ["#2f9e8f", "#d9822b", "#5b7fd6", "#c2477f", "#7a9a2e", "#8e63c7", "#c5523f", "#3a93b8", "#9c7a3c", "#5d8a66", "#b05fa8", "#6d7f95"];

interface Found {
  store: StreamStore;
  index: number;
  name: string;
  unit: string;
  message: string;
}

interface Chart {
  key: string;
  names: string[];
  plot: uPlot;
  box: HTMLElement;
}

/** What an expert looks at first in an electric car, where the car has it; what the findings name comes before. */
const FIRST = [/^pack_?voltage$/i, /^pack_?current$/i, /cell_?voltage_?0*1$/i, /state_?of_?charge|^soc$/i, /insulation/i];

export class LivePanel {
  readonly root: HTMLElement;
  private readonly state: RoomState;
  private readonly search = h("input", {
    type: "search",
    role: "combobox",
    "aria-expanded": "false",
    "aria-controls": "signal-list",
    "aria-autocomplete": "list",
    placeholder: say("searchSignals"),
    "aria-label": say("searchSignals"),
    autocomplete: "off",
    spellcheck: "false",
  });
  private readonly list = h("ul", { id: "signal-list", role: "listbox", "aria-multiselectable": "true", hidden: true });
  private readonly chips = h("ul", { class: "readouts" });
  private readonly area = h("div", { class: "charts" });
  private readonly hint = h("p", { class: "hint" });
  private readonly pause = h("button", { type: "button", "aria-pressed": "false" }, say("pause"));
  private charts: Chart[] = [];
  private readonly readouts = new Map<string, HTMLElement>();
  private windowS: number = 60;
  private frozenAt: number | null = null;
  private active = -1;
  private frame = 0;
  private drawnAt = 0;
  private readAt = 0;
  private readonly observer: ResizeObserver;
  private readonly onKey = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    if (event.key === "/" && !/^(input|textarea)$/i.test(target.tagName)) {
      event.preventDefault();
      this.search.focus();
    }
  };
  private readonly scheme = window.matchMedia("(prefers-color-scheme: dark)");
  private readonly onScheme = () => this.rebuild();
  private readonly onPointer = (event: Event) => {
    if (!this.root.querySelector(".picker")?.contains(event.target as Node)) this.closeList();
  };

  constructor(state: RoomState) {
    this.state = state;
    const windows = h("div", { class: "segments", role: "group", "aria-label": say("window") });
    for (const seconds of WINDOWS_S) {
      const button = h("button", { type: "button", "aria-pressed": seconds === this.windowS, click: () => {
        this.windowS = seconds;
        for (const other of windows.children) other.setAttribute("aria-pressed", String(other === button));
        this.drawnAt = 0;
      } }, `${seconds} s`);
      button.setAttribute("aria-pressed", String(seconds === this.windowS));
      windows.append(button);
    }
    this.pause.addEventListener("click", () => this.togglePause());
    this.search.addEventListener("input", () => this.openList());
    this.search.addEventListener("focus", () => this.openList());
    this.search.addEventListener("keydown", (event) => this.listKey(event));
    this.root = h(
      "section",
      { class: "live card", "aria-label": say("live") },
      h(
        "div",
        { class: "toolbar" },
        h("div", { class: "picker" }, this.search, this.list),
        windows,
        this.pause,
        h("button", { type: "button", id: "save-csv", click: () => this.saveCsv() }, say("saveCsv")),
      ),
      this.chips,
      this.hint,
      this.area,
    );
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.area);
    document.addEventListener("keydown", this.onKey);
    document.addEventListener("pointerdown", this.onPointer);
    this.scheme.addEventListener("change", this.onScheme);
    this.streamsChanged();
    this.frame = requestAnimationFrame((now) => this.draw(now));
  }

  destroy(): void {
    cancelAnimationFrame(this.frame);
    this.observer.disconnect();
    document.removeEventListener("keydown", this.onKey);
    document.removeEventListener("pointerdown", this.onPointer);
    this.scheme.removeEventListener("change", this.onScheme);
    for (const chart of this.charts) chart.plot.destroy();
  }

  /** The car's streams are known now, or are others. */
  streamsChanged(): void {
    if (this.state.chosen === null && this.all().length > 0) this.state.chosen = this.firstChoice();
    this.rebuild();
  }

  toggle(name: string): void {
    const chosen = this.state.chosen ?? [];
    if (chosen.includes(name)) this.state.chosen = chosen.filter((other) => other !== name);
    else this.state.chosen = [...chosen, name].slice(-MAX_CHOSEN);
    this.rebuild();
    if (!this.list.hidden) this.fillList();
  }

  resized(): void {
    const width = this.area.clientWidth;
    if (width < 50) return;
    const height = this.chartHeight();
    for (const chart of this.charts) chart.plot.setSize({ width, height });
  }

  private all(): Found[] {
    const found: Found[] = [];
    const taken = new Set<string>();
    for (const store of this.state.link.streams.values()) {
      store.signals.forEach((signal, index) => {
        const message = signal.message ?? "";
        // Two messages may carry signals of one name; the second is told apart by its message.
        const name = taken.has(signal.name) ? `${message}.${signal.name}` : signal.name;
        taken.add(name);
        found.push({ store, index, name, unit: signal.unit, message });
      });
    }
    return found;
  }

  private firstChoice(): string[] {
    const names = this.all().map((signal) => signal.name);
    const weakest = this.state.report.battery?.weakest?.cell;
    const cell = names.filter((name) => weakest !== undefined && new RegExp(`cell_?voltage_?0*${weakest}$`, "i").test(name));
    const named = (this.state.report.findings ?? [])
      .flatMap((finding) => finding.evidence)
      .filter((evidence) => evidence.kind === "signal")
      .flatMap((evidence) => namedSignals(evidence.ref, names));
    const usual = FIRST.flatMap((pattern) => names.find((name) => pattern.test(name)) ?? []);
    const choice = [...new Set([...cell, ...named.slice(0, 3), ...usual])].slice(0, 5);
    return choice.length > 0 ? choice : names.slice(0, 3);
  }

  private colour(name: string): string {
    return COLOURS[(this.state.chosen ?? []).indexOf(name) % COLOURS.length] ?? "#888";
  }

  private chartHeight(): number {
    const count = Math.max(1, this.charts.length);
    return Math.max(120, Math.min(260, Math.floor((this.area.clientHeight - 4) / count) - 26));
  }

  private rebuild(): void {
    for (const chart of this.charts) chart.plot.destroy();
    this.charts = [];
    this.readouts.clear();
    this.chips.replaceChildren();
    this.area.replaceChildren();
    const all = new Map(this.all().map((signal) => [signal.name, signal]));
    const chosen = (this.state.chosen ?? []).filter((name) => all.has(name));
    setText(this.hint, all.size === 0 ? say("noSignals") : chosen.length === 0 ? say("noneChosen") : "");
    this.hint.hidden = chosen.length > 0;
    const groups = new Map<string, string[]>();
    for (const name of chosen) {
      const unit = all.get(name)?.unit ?? "";
      this.addReadout(name, unit);
      const key = groupKey(name, unit);
      groups.set(key, [...(groups.get(key) ?? []), name]);
    }
    for (const [key, names] of groups) {
      const unit = all.get(names[0] ?? "")?.unit ?? "";
      const label = h("div", { class: "label" }, unitSign(unit) || "—");
      for (const name of names) {
        const swatch = h("span", { class: "swatch" });
        swatch.style.background = this.colour(name);
        label.append(h("span", { class: "legend" }, swatch, name));
      }
      const box = h("div", { class: "chart", "data-group": key }, label);
      this.area.append(box);
      this.charts.push({ key, names, box, plot: this.plot(unit, names, box) });
    }
    this.drawnAt = 0;
    this.resized();
  }

  private addReadout(name: string, unit: string): void {
    const value = h("output", { "data-signal": name }, "–");
    const swatch = h("span", { class: "swatch" });
    swatch.style.background = this.colour(name);
    this.readouts.set(name, value);
    this.chips.append(
      h(
        "li",
        {},
        swatch,
        h("span", { class: "name", title: name }, name),
        value,
        h("span", { class: "dim" }, unitSign(unit)),
        h("button", { type: "button", class: "close", "aria-label": `${say("remove")} ${name}`, click: () => this.toggle(name) }, "×"),
      ),
    );
  }

  private plot(unit: string, names: string[], box: HTMLElement): uPlot {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--dim").trim();
    const grid = { stroke: style.getPropertyValue("--line").trim(), width: 1 };
    const font = `11px ${style.getPropertyValue("--sans")}`;
    const axis = { stroke: ink, grid, ticks: { show: false }, font };
    return new uPlot(
      {
        width: Math.max(50, this.area.clientWidth),
        height: this.chartHeight(),
        legend: { show: false },
        cursor: { sync: { key: "room" }, drag: { x: false, y: false }, points: { size: 6 } },
        scales: { x: { time: true }, y: { range: (_, low, high) => padded(low, high) } },
        axes: [
          { ...axis, size: 24, space: 90, values: (_, splits) => splits.map(clock) },
          { ...axis, size: 58, space: 22, values: (_, splits) => splits.map((value) => ticks(value, splits)) },
        ],
        series: [
          {},
          ...names.map((name) => ({
            label: name,
            stroke: this.colour(name),
            width: 1.6,
            spanGaps: false,
            points: { show: false },
            value: (_: uPlot, value: number | null) => (value === null ? "–" : digits(value, unit)),
          })),
        ],
      },
      [[], ...names.map(() => [])] as unknown as uPlot.AlignedData,
      box,
    );
  }

  private draw(now: number): void {
    this.frame = requestAnimationFrame((next) => this.draw(next));
    if (now - this.drawnAt < FRAME_MS) return;
    this.drawnAt = now;
    const found = new Map(this.all().map((signal) => [signal.name, signal]));
    const times = [...this.state.link.streams.values()].map((stream) => stream.newestTime() ?? 0);
    const newest = Math.max(0, ...times);
    if (newest === 0) return;
    const end = this.frozenAt ?? newest;
    const oldest = Math.min(...[...this.state.link.streams.values()].map((stream) => stream.oldestTime() ?? newest));
    // A young stream fills the width; from ten seconds on the axis only grows until the window is full.
    const start = Math.max(end - this.windowS, Math.min(oldest, end - 10));
    if (this.root.offsetParent !== null || this.root.clientHeight > 0) {
      for (const chart of this.charts) {
        const signals = chart.names.flatMap((name) => found.get(name) ?? []);
        const store = signals[0]?.store;
        if (!store || signals.some((signal) => signal.store !== store)) continue;
        const data = store.window(signals.map((signal) => signal.index), start, end);
        chart.plot.batch(() => {
          chart.plot.setData(data as uPlot.AlignedData, false);
          chart.plot.setScale("x", { min: start, max: end });
        });
      }
    }
    if (now - this.readAt >= READOUT_MS) {
      this.readAt = now;
      for (const [name, output] of this.readouts) {
        const signal = found.get(name);
        if (signal) setText(output, digits(signal.store.latest(signal.index), signal.unit));
      }
    }
  }

  private togglePause(): void {
    const newest = Math.max(0, ...[...this.state.link.streams.values()].map((stream) => stream.newestTime() ?? 0));
    this.frozenAt = this.frozenAt === null && newest > 0 ? newest : null;
    const paused = this.frozenAt !== null;
    this.pause.setAttribute("aria-pressed", String(paused));
    setText(this.pause, say(paused ? "resume" : "pause"));
  }

  private saveCsv(): void {
    const store = [...this.state.link.streams.values()][0];
    const newest = store?.newestTime();
    if (!store || newest === null || newest === undefined) return;
    const end = this.frozenAt ?? newest;
    const head = ["epoch", "seq", "time_utc", ...store.signals.map((signal) => (signal.unit ? `${signal.name} [${signal.unit}]` : signal.name))];
    const lines = [head.map(quoted).join(",")];
    for (const { seq, t, values } of store.rows(end - this.windowS, end)) {
      const cells = Array.from(values, (value) => (Number.isNaN(value) ? "" : String(value)));
      lines.push([store.epoch, seq, new Date(t * 1000).toISOString(), ...cells].join(","));
    }
    const url = URL.createObjectURL(new Blob([`\ufeff${lines.join("\r\n")}\r\n`], { type: "text/csv" }));
    const link = h("a", { href: url, download: `huizhen-${new Date(end * 1000).toISOString().replaceAll(":", "")}.csv` });
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  private openList(): void {
    this.list.hidden = false;
    this.search.setAttribute("aria-expanded", "true");
    this.active = -1;
    this.fillList();
  }

  private closeList(): void {
    this.list.hidden = true;
    this.search.setAttribute("aria-expanded", "false");
    this.search.removeAttribute("aria-activedescendant");
  }

  private fillList(): void {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = this.all().filter((signal) => {
      const text = `${signal.name} ${signal.message} ${signal.unit}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    this.list.replaceChildren(
      ...matching.map((signal, i) =>
        h(
          "li",
          {
            id: `signal-${i}`,
            role: "option",
            "data-name": signal.name,
            "aria-selected": String((this.state.chosen ?? []).includes(signal.name)),
            click: () => this.toggle(signal.name),
          },
          h("span", { class: "name" }, signal.name),
          h("span", { class: "dim" }, signal.message),
          h("span", { class: "value" }, `${digits(signal.store.latest(signal.index), signal.unit)} ${unitSign(signal.unit)}`),
        ),
      ),
    );
    if (matching.length === 0) this.list.append(h("li", { class: "hint" }, say("nothingFound")));
    this.markActive();
  }

  private listKey(event: KeyboardEvent): void {
    const options = [...this.list.querySelectorAll<HTMLElement>("[role=option]")];
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (this.list.hidden) this.openList();
      this.active = Math.max(0, Math.min(options.length - 1, this.active + (event.key === "ArrowDown" ? 1 : -1)));
      this.markActive();
    } else if (event.key === "Enter") {
      event.preventDefault();
      const name = options[Math.max(0, this.active)]?.dataset["name"];
      if (name && !this.list.hidden) this.toggle(name);
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.search.value = "";
      this.closeList();
    }
  }

  private markActive(): void {
    const options = [...this.list.querySelectorAll<HTMLElement>("[role=option]")];
    options.forEach((option, i) => option.classList.toggle("active", i === this.active));
    const active = options[this.active];
    if (active) {
      this.search.setAttribute("aria-activedescendant", active.id);
      active.scrollIntoView({ block: "nearest" });
    }
  }
}

/** The signals that a finding's evidence means: "PackVoltage" itself, "CellVoltage 90/91" two of a family. */
function namedSignals(ref: string, names: readonly string[]): string[] {
  if (names.includes(ref)) return [ref];
  const [, family, numbers] = /^(\D+?)[ _]*(\d+(?:\/\d+)*)$/.exec(ref) ?? [];
  if (family === undefined || numbers === undefined) return [];
  const wanted = numbers.split("/").map(Number);
  return names.filter((name) => {
    const [, stem, number] = /^(.*?)_?0*(\d+)$/.exec(name) ?? [];
    return stem?.toLowerCase() === family.toLowerCase() && wanted.includes(Number(number));
  });
}

/**
 * Which chart a signal goes into. One per unit; but members of a numbered family (96 cell voltages) have a chart of
 * their own, or the pack's voltage would flatten them.
 */
function groupKey(name: string, unit: string): string {
  const family = /^(.*?)_?\d+$/.exec(name)?.[1];
  return family ? `${unit} ${family}` : unit;
}

/** A little room above and below; a constant stays in the middle. */
function padded(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  const span = Math.max(high - low, Math.abs(high) * 1e-3, 1e-3);
  return [low - span * 0.12, high + span * 0.12];
}

function clock(seconds: number): string {
  return new Date(seconds * 1000).toTimeString().slice(0, 8);
}

function ticks(value: number, splits: number[]): string {
  const step = splits.length > 1 ? Math.abs((splits[1] ?? 0) - (splits[0] ?? 0)) : 0;
  if (step === 0) return String(Number(value.toPrecision(5)));
  const places = Math.max(0, Math.min(6, Math.ceil(-Math.log10(step) - 1e-9)));
  return value.toFixed(places);
}

/** A CSV cell that a spreadsheet takes for text and never for a formula. */
function quoted(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
