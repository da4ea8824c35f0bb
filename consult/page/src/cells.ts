/** The traction battery: a few figures, one square per cell, live where the car tells them, and how the spread went. */
import { digits, h, setText, unitSign } from "./dom";
import { cellsOfStream, modulesOf, spreadOf, type CellSpread } from "./pack";
import type { StreamStore } from "./store";
import { newestTime, type RoomState } from "./state";
import { colon, say, type Key } from "./words";

/** Deviation that gets full colour: a sound pack stays pale. Practice: 50 mV apart is a fault (NMC, light load). */
const FULL_COLOUR_V = 0.05;
const HISTORY_S = 120;
const HISTORY_MS = 2000;
/** A value that is older than this at the time looked at says nothing of that time. */
const OLDEST_S = 5;

interface CellSource {
  cell: number;
  name: string;
  store: StreamStore;
  index: number;
}

/** Signals of single cells by number, counted from 1; a stream of kind "cells" comes before others that repeat it. */
function cellSources(state: RoomState, pageName: (store: StreamStore, index: number) => string): CellSource[] {
  const found = new Map<number, CellSource>();
  const streams = [...state.link.streams.values()].sort((a, b) => Number(b.kind === "cells") - Number(a.kind === "cells"));
  for (const store of streams) {
    cellsOfStream(store.signals.map((signal) => signal.name), store.kind === "cells").forEach((cell, index) => {
      if (cell !== null && !found.has(cell)) found.set(cell, { cell, name: pageName(store, index), store, index });
    });
  }
  return [...found.values()].sort((a, b) => a.cell - b.cell);
}

export interface BatteryOwner {
  toggle(name: string): void;
  drawn(name: string): boolean;
  pageName(store: StreamStore, index: number): string;
  /** The time to show, null for now. */
  lookedAt(): number | null;
}

export class BatteryCard {
  readonly root = h("article", { class: "card battery", id: "battery", hidden: true });
  private readonly state: RoomState;
  private readonly owner: BatteryOwner;
  private readonly figures = h("dl", { class: "figures" });
  private readonly caption = h("div", { class: "label" });
  private readonly pointed = h("div", { class: "pointed", "aria-live": "off" });
  private readonly grid = h("div", { class: "cells", role: "group", "aria-label": say("cellsNow") });
  private readonly extremes = h("div", { class: "extremes" });
  private readonly history = h("canvas", { class: "spread-history", role: "img" });
  private readonly historyBox = h("figure", { hidden: true }, h("figcaption", { class: "label" }, say("spreadHistory")), this.history);
  private squares: HTMLButtonElement[] = [];
  private sources: CellSource[] = [];
  private volts: number[] = [];
  private shownCell = -1;
  private historyAt = 0;
  private shape = "";

  constructor(state: RoomState, owner: BatteryOwner) {
    this.state = state;
    this.owner = owner;
    const fold = h("button", { type: "button", class: "icon", "aria-expanded": "true", "aria-label": say("cellsFold"), title: say("cellsFold"), click: () => {
      const folded = this.root.classList.toggle("folded");
      fold.setAttribute("aria-expanded", String(!folded));
      fold.textContent = folded ? "▸" : "▾";
    } }, "▾");
    this.root.append(h("h2", {}, say("battery"), fold), this.figures, this.caption, this.grid, this.pointed, this.extremes, this.historyBox);
    this.grid.addEventListener("keydown", (event) => this.key(event));
    this.grid.addEventListener("pointerover", (event) => this.point(event.target));
    this.grid.addEventListener("focusin", (event) => this.point(event.target));
    for (const kind of ["pointerleave", "focusout"] as const) this.grid.addEventListener(kind, () => this.point(null));
  }

  streamsChanged(): void {
    this.sources = cellSources(this.state, (store, index) => this.owner.pageName(store, index));
    this.shape = "";
    this.update();
  }

  update(): void {
    const battery = this.state.report.battery;
    const at = this.owner.lookedAt();
    const newest = newestTime(this.state);
    // Cells come in turns: each one's last value counts, for as long as it says something of the time looked at.
    const now = this.sources.map((source) => inVolts(source.store.lastValue(source.index, at ?? newest, OLDEST_S), source));
    const isLive = now.some((value) => !Number.isNaN(value));
    this.volts = isLive ? now : (battery?.cell_v ?? []).map((value) => value ?? NaN);
    this.root.hidden = !battery && this.volts.length === 0;
    if (this.root.hidden) return;
    const caption = !isLive ? say("cellsScan") : at === null ? say("cellsNow") : `${say("cellsAt")} ${new Date(at * 1000).toTimeString().slice(0, 8)}`;
    const shape = `${this.volts.length} ${isLive}`;
    if (shape !== this.shape) {
      this.shape = shape;
      this.build(isLive);
    }
    setText(this.caption, this.volts.length > 0 ? caption : "");
    const spread = spreadOf(this.volts);
    if (spread) this.paint(spread, isLive);
    this.drawFigures(spread);
    this.drawPointed(spread);
    if (isLive && performance.now() - this.historyAt > HISTORY_MS && this.root.clientWidth > 0) {
      this.historyAt = performance.now();
      this.drawHistory();
    }
  }

  private label(i: number): string {
    return this.state.report.battery?.cell_labels?.[i] ?? String(this.sources[i]?.cell ?? i + 1);
  }

  private build(isLive: boolean): void {
    this.squares = this.volts.map((_, i) =>
      h("button", { type: "button", class: "cell", tabindex: i === 0 ? 0 : -1, "data-cell": isLive ? (this.sources[i]?.cell ?? i + 1) : i + 1, click: () => {
        const source = this.sources[i];
        if (source) this.owner.toggle(source.name);
        this.update();
      } }),
    );
    const modules = modulesOf(this.volts.map((_, i) => this.label(i)));
    this.grid.classList.toggle("by-module", modules !== null);
    this.grid.style.setProperty("--across", String(this.across()));
    if (modules === null) this.grid.replaceChildren(...this.squares);
    else {
      this.grid.replaceChildren(
        ...modules.map(({ module, cells }) =>
          h("div", { class: "module", role: "group", "aria-label": `${say("module")} ${module}` }, h("span", { class: "module-name" }, module), ...cells.map((i) => this.squares[i] ?? null)),
        ),
      );
    }
  }

  private across(): number {
    const modules = modulesOf(this.volts.map((_, i) => this.label(i)));
    if (modules) return Math.min(20, Math.max(...modules.map(({ cells }) => cells.length)));
    return this.volts.length > 144 ? 20 : 16;
  }

  private paint(spread: CellSpread, isLive: boolean): void {
    const scale = Math.max(FULL_COLOUR_V, spread.max - spread.median, spread.median - spread.min);
    this.volts.forEach((value, i) => {
      const square = this.squares[i];
      if (!square) return;
      let side = "none";
      let share = 0;
      let text = `${this.label(i)}: –`;
      if (!Number.isNaN(value)) {
        share = Math.round((Math.abs(value - spread.median) / scale) * 100);
        side = value < spread.median ? "low" : "high";
        text = `${this.label(i)}${colon()}${digits(value, "V")} V (${signed((value - spread.median) * 1000)} mV)`;
      }
      if (square.dataset["side"] !== side) square.dataset["side"] = side;
      const percent = `${share}%`;
      if (square.style.getPropertyValue("--share") !== percent) square.style.setProperty("--share", percent);
      if (square.getAttribute("aria-label") !== text) square.setAttribute("aria-label", text);
      const extreme = i === spread.lowest ? "low" : i === spread.highest ? "high" : null;
      if (extreme === null) square.removeAttribute("data-extreme");
      else square.setAttribute("data-extreme", extreme);
      const source = isLive ? this.sources[i] : undefined;
      square.setAttribute("aria-pressed", String(source ? this.owner.drawn(source.name) : false));
    });
    setText(
      this.extremes,
      `▼ ${say("lowest")} ${this.label(spread.lowest)}${colon()}${digits(spread.min, "V")} V · ▲ ${say("highest")} ${this.label(spread.highest)}${colon()}${digits(spread.max, "V")} V`,
    );
  }

  private point(target: EventTarget | null): void {
    const square = target instanceof HTMLElement ? target.closest<HTMLButtonElement>(".cell") : null;
    this.shownCell = square ? this.squares.indexOf(square) : -1;
    this.drawPointed(spreadOf(this.volts));
  }

  private drawPointed(spread: CellSpread | null): void {
    const value = this.volts[this.shownCell];
    const text = value === undefined || !spread ? say("cellHint") : `${say("cell")} ${this.label(this.shownCell)}: ${digits(value, "V")} V · ${signed((value - spread.median) * 1000)} mV`;
    setText(this.pointed, text);
    this.pointed.classList.toggle("hint", value === undefined);
  }

  private key(event: KeyboardEvent): void {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.across(), ArrowUp: -this.across() }[event.key];
    const here = this.squares.indexOf(document.activeElement as HTMLButtonElement);
    const there = step === undefined || here < 0 ? undefined : this.squares[here + step];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    if (!there) return;
    there.focus();
    this.squares.forEach((square) => (square.tabIndex = square === there ? 0 : -1));
  }

  /** Figures of the pack: now, where the car broadcasts them, else as the scan read them. */
  private drawFigures(spread: CellSpread | null): void {
    const battery = this.state.report.battery;
    const live = (pattern: RegExp, scanned: number | null | undefined) => liveValue(this.state, pattern) ?? scanned ?? NaN;
    const rows: [Key, number, string][] = [
      ["soc", live(/^(state_?of_?charge|soc)$/i, battery?.soc), "%"],
      ["packVoltage", live(/^pack_?voltage$/i, battery?.pack_v), "V"],
      ["packCurrent", live(/^pack_?current$/i, battery?.current_a), "A"],
      ["median", spread?.median ?? NaN, "V"],
      ["spread", spread ? (spread.max - spread.min) * 1000 : (battery?.spread_mv ?? NaN), "mV"],
      ["insulation", live(/^insulation_?resistance$/i, battery?.insulation_kohm), "kOhm"],
    ];
    if (this.figures.childElementCount === 0) this.figures.append(...rows.map(([label]) => h("div", {}, h("dt", {}, say(label)), h("dd", {}))));
    this.figures.querySelectorAll("dd").forEach((cell, i) => {
      const [, value, unit] = rows[i] ?? ["soc", NaN, ""];
      setText(cell, `${digits(value, unit)} ${unitSign(unit)}`);
    });
  }

  /** The spread at every block of the last two minutes, of the values that the cells had then. */
  private drawHistory(): void {
    const store = this.sources[0]?.store;
    if (!store) return;
    const to = newestTime(this.state);
    const width = Math.max(60, this.root.clientWidth - 26);
    const height = 44;
    const low = new Float32Array(width).fill(NaN);
    const high = new Float32Array(width).fill(NaN);
    const indices = this.sources.filter((source) => source.store === store).map((source) => source.index);
    const factor = this.sources[0] ? inVolts(1, this.sources[0]) * 1000 : 1000;
    let top = 0;
    const last = new Float32Array(store.signals.length).fill(NaN);
    const lastS = new Float64Array(store.signals.length);
    for (const { t, values } of store.rows(to - HISTORY_S, to)) {
      let least = Infinity;
      let most = -Infinity;
      for (const index of indices) {
        const told = values[index] as number;
        if (told === told) {
          last[index] = told;
          lastS[index] = t;
        } else if (t - (lastS[index] as number) > OLDEST_S) continue;
        const value = last[index] as number;
        if (value < least) least = value;
        if (value > most) most = value;
      }
      if (most < least) continue;
      const spread = (most - least) * factor;
      const at = Math.min(width - 1, Math.floor(((t - to + HISTORY_S) / HISTORY_S) * width));
      if (!(spread >= (low[at] as number))) low[at] = spread;
      if (!(spread <= (high[at] as number))) high[at] = spread;
      if (spread > top) top = spread;
    }
    this.historyBox.hidden = top === 0;
    const ratio = devicePixelRatio;
    this.history.width = Math.round(width * ratio);
    this.history.height = Math.round(height * ratio);
    this.history.style.width = `${width}px`;
    this.history.style.height = `${height}px`;
    const ctx = this.history.getContext("2d");
    if (!ctx || top === 0) return;
    const css = getComputedStyle(this.root);
    ctx.scale(ratio, ratio);
    const scale = Math.max(10, top * 1.15);
    const y = (value: number) => height - (value / scale) * height;
    ctx.strokeStyle = css.getPropertyValue("--line");
    ctx.setLineDash([3, 3]);
    ctx.beginPath();
    if (scale > 50) {
      ctx.moveTo(0, y(50));
      ctx.lineTo(width, y(50));
    }
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.strokeStyle = css.getPropertyValue("--accent");
    ctx.lineWidth = 1.25;
    ctx.beginPath();
    let down = false;
    for (let i = 0; i < width; i++) {
      if (Number.isNaN(low[i])) continue;
      if (down) ctx.lineTo(i, y(high[i] as number));
      else ctx.moveTo(i, y(high[i] as number));
      ctx.lineTo(i, y(low[i] as number));
      down = true;
    }
    ctx.stroke();
    ctx.fillStyle = css.getPropertyValue("--dim");
    ctx.font = `10px ${css.fontFamily}`;
    ctx.textBaseline = "top";
    ctx.fillText(`${digits(top, "mV")} mV`, 2, 1);
    this.history.setAttribute("aria-label", `${say("spreadHistory")}${colon()}${say("highest")} ${digits(top, "mV")} mV`);
  }
}

function inVolts(value: number, source: CellSource): number {
  return source.store.signals[source.index]?.unit === "mV" ? value / 1000 : value;
}

function signed(millivolts: number): string {
  return `${millivolts >= 0 ? "+" : "−"}${Math.abs(millivolts).toFixed(0)}`;
}

function liveValue(state: RoomState, pattern: RegExp): number | null {
  for (const stream of state.link.streams.values()) {
    const index = stream.signals.findIndex((signal) => pattern.test(signal.name));
    const value = index < 0 ? NaN : stream.latest(index);
    if (!Number.isNaN(value)) return value;
  }
  return null;
}
