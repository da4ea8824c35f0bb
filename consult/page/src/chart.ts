/** One chart: its signals' chips above, curves below. What time it shows and what the pointer does there is its host's. */
import uPlot from "uplot";
import { clock, padded, ticks } from "./axis";
import { clearColumn, extent, lastFilled, makeColumn, traceColumns, valueAtColumn, type Column } from "./columns";
import { digits, h, setText, unitSign } from "./dom";
import type { ChartModel } from "./arrange";
import { fillFromHistory, type HistoryCache } from "./history";
import type { MarkNote } from "./marks";
import type { Found } from "./signals";
import type { Moment } from "./moments";
import type { Span } from "./timeview";
import { listenToTouch } from "./touch";
import { say } from "./words";

export interface ChartHost {
  signal(name: string): Found | undefined;
  colour(name: string): string;
  letter(name: string): string;
  /** So many curves that thin lines are better. */
  readonly fine: boolean;
  marks(signal: Found): MarkNote[];
  moments(): Moment[];
  history: HistoryCache | null;
  /** Where the session begins: nothing is to be had of what was before. */
  beginning(): number;
  pointedAt(chart: Chart, t: number | null): void;
  selected(from: number, to: number): void;
  zoomed(factor: number, around: number): void;
  panned(share: number): void;
  backToLive(): void;
  /** A click or a long press on a curve, or beside them all (null). */
  picked(name: string | null, t: number, x: number, y: number): void;
  markOpened(id: string, x: number, y: number): void;
  removed(name: string): void;
  chartRemoved(chart: ChartModel): void;
  menu(name: string, anchor: HTMLElement): void;
  dropped(name: string, chart: ChartModel): void;
  changed(): void;
}

const NEAR_PX = 14;

export class Chart {
  readonly root: HTMLElement;
  readonly model: ChartModel;
  /** Whether it is on the screen: what is not is not drawn. */
  visible = true;
  /** Whether it says what happened at the lines that go through all charts; one of them is enough. */
  labelled = false;
  private readonly host: ChartHost;
  private readonly plotBox = h("div", { class: "plot" });
  private readonly outputs = new Map<string, HTMLOutputElement>();
  private readonly unit: string;
  private plot: uPlot | null = null;
  private columns: Column[] = [];
  private times = new Float64Array(0);
  private range: [number, number] = [0, 1];
  private span: Span = { from: 0, to: 1 };
  private emphasised: string | null = null;
  private readonly spots: { id: string; x: number; y: number }[] = [];
  private readonly style: { ink: string; line: string; card: string; accent: string; sans: string };

  constructor(model: ChartModel, host: ChartHost, canCollapse: boolean) {
    this.model = model;
    this.host = host;
    const css = getComputedStyle(document.documentElement);
    const read = (name: string) => css.getPropertyValue(name).trim();
    this.style = { ink: read("--dim"), line: read("--line"), card: read("--card"), accent: read("--accent"), sans: read("--sans") };
    this.unit = host.signal(model.names[0] ?? "")?.unit ?? "";
    const units = new Set(model.names.map((name) => host.signal(name)?.unit ?? ""));
    const chips = h("ul", { class: "readouts" }, ...model.names.map((name) => this.chip(name)));
    const title = model.names.length === 0 ? say("emptyChart") : units.size === 1 ? unitSign(this.unit) || "—" : "";
    const collapse = h(
      "button",
      { type: "button", class: "icon fold", "aria-expanded": !model.collapsed ? "true" : "false", "aria-label": say(model.collapsed ? "unfold" : "fold"), title: say(model.collapsed ? "unfold" : "fold"), click: () => {
        model.collapsed = !model.collapsed;
        host.changed();
      } },
      model.collapsed ? "▸" : "▾",
    );
    this.root = h(
      "section",
      { class: model.collapsed ? "chart collapsed" : "chart", "data-group": model.key, "data-chart": model.id, "aria-label": `${say("chart")} ${model.names.join(", ")}` },
      h("div", { class: "chart-head" }, canCollapse ? collapse : null, h("span", { class: "label" }, title), chips),
      model.collapsed || model.names.length === 0 ? null : this.plotBox,
    );
    if (model.names.length === 0) {
      this.root.firstElementChild?.append(h("button", { type: "button", class: "icon close", "aria-label": say("removeChart"), title: say("removeChart"), click: () => host.chartRemoved(model) }, "×"));
      this.root.append(h("p", { class: "hint" }, say("dropHere")));
    }
    this.root.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.root.classList.add("over");
    });
    this.root.addEventListener("dragleave", () => this.root.classList.remove("over"));
    this.root.addEventListener("drop", (event) => {
      event.preventDefault();
      this.root.classList.remove("over");
      const name = event.dataTransfer?.getData("text/plain");
      if (name) host.dropped(name, model);
    });
  }

  /** Makes the plot; the element must be in the document. */
  mount(width: number, height: number): void {
    if (this.model.collapsed || this.model.names.length === 0) return;
    const { ink, line, sans } = this.style;
    const grid = { stroke: line, width: 1 };
    const axis = { stroke: ink, grid, ticks: { show: false }, font: `11px ${sans}` };
    const plot = new uPlot(
      {
        width: Math.max(80, width),
        height: Math.max(70, height),
        legend: { show: false },
        padding: [4, 22, 0, 0],
        cursor: {
          sync: { key: "room" },
          drag: { x: true, y: false, setScale: false, dist: 6 },
          points: { show: false },
          bind: { dblclick: () => () => (this.host.backToLive(), null) },
        },
        scales: { x: { time: true }, y: { range: () => this.range } },
        axes: [
          { ...axis, size: 22, space: 90, values: (_, splits) => splits.map((value) => clock(value, splits)) },
          { ...axis, size: 58, space: 22, values: (_, splits) => splits.map((value) => ticks(value, splits)) },
        ],
        series: [
          {},
          ...this.model.names.map((name, i) => ({
            label: name,
            stroke: this.host.colour(name),
            width: this.host.fine ? 1 : 1.5,
            // More curves than colours: the second round is dashed.
            ...(this.host.letter(name).length > 1 ? { dash: [6, 3] } : {}),
            spanGaps: true,
            points: { show: false },
            paths: (u: uPlot) => this.path(u, i),
          })),
        ],
        hooks: {
          draw: [(u) => this.decorate(u)],
          setCursor: [(u) => this.pointerMoved(u)],
          setSelect: [(u) => this.selectedSpan(u)],
        },
      },
      [[], ...this.model.names.map(() => [])] as unknown as uPlot.AlignedData,
      this.plotBox,
    );
    this.plot = plot;
    this.listen(plot);
  }

  destroy(): void {
    this.plot?.destroy();
    this.plot = null;
  }

  resize(width: number, height: number): void {
    if (this.plot && width > 50 && (this.plot.width !== width || this.plot.height !== height)) this.plot.setSize({ width, height: Math.max(70, height) });
  }

  get headHeight(): number {
    return this.root.firstElementChild?.clientHeight ?? 24;
  }

  /** Fills the columns for a stretch of time and paints them. */
  draw(span: Span): void {
    const plot = this.plot;
    if (!plot || !this.visible) return;
    const width = Math.max(20, Math.round(plot.bbox.width / devicePixelRatio));
    const step = (span.to - span.from) / width;
    // Columns stand on multiples of their width, so that a curve that moves does not flicker.
    const from = Math.floor(span.from / step) * step;
    this.span = span;
    this.prepare(width + 2, from, step);
    this.fill(from, step, span);
    const [low, high] = extent(this.columns) ?? [null, null];
    this.range = padded(low, high);
    plot.batch(() => {
      plot.setData([this.times, ...this.columns.map((column) => column.max)] as unknown as uPlot.AlignedData, false);
      plot.setScale("x", { min: span.from, max: span.to });
    });
  }

  /** Paints the same again: something over the curves changed. */
  redraw(): void {
    this.plot?.redraw(false);
  }

  /** Values at a time, or now. */
  readOut(t: number | null): void {
    for (const [name, output] of this.outputs) {
      const signal = this.host.signal(name);
      if (!signal) continue;
      let value: number;
      if (t === null) value = signal.store.latest(signal.index);
      else {
        value = signal.store.valueAt(signal.index, t, 5);
        if (Number.isNaN(value)) value = this.drawnAt(name, t);
      }
      output.classList.toggle("past", t !== null);
      setText(output, digits(value, signal.unit));
    }
  }

  /** What a curve shows at a time, by its columns. */
  drawnAt(name: string, t: number): number {
    const column = this.columns[this.model.names.indexOf(name)];
    if (!column || this.times.length === 0) return NaN;
    const at = Math.floor((t - (this.times[0] ?? 0)) / this.step() + 0.5);
    return at < 0 || at >= this.times.length ? NaN : valueAtColumn(column, at);
  }

  /** The curve nearest to a point of the plot, within reach of a finger; null where there is none. */
  nearest(t: number, yPx: number, reach = NEAR_PX): string | null {
    const plot = this.plot;
    if (!plot) return null;
    let best: string | null = null;
    let distance = reach;
    for (const name of this.model.names) {
      for (const shift of [0, -2, 2]) {
        const value = this.drawnAt(name, t + shift * this.step());
        if (Number.isNaN(value)) continue;
        const away = Math.abs(plot.valToPos(value, "y") - yPx);
        if (away < distance) [best, distance] = [name, away];
      }
    }
    return best;
  }

  /** The time under the pointer, which moves on while the charts do; null where there is no pointer. */
  cursorTime(): number | null {
    const left = this.plot?.cursor.left ?? -1;
    return left < 0 || !this.plot ? null : this.plot.posToVal(left, "x");
  }

  /** Puts the pointer's line at a time; the other charts' follow. */
  setCursor(t: number): void {
    const plot = this.plot;
    if (!plot) return;
    // Its third argument, which passes the cursor on to the charts in step, is missing in uPlot's types.
    const place = plot.setCursor.bind(plot) as (at: { left: number; top: number }, fire: boolean, tell: boolean) => void;
    place({ left: plot.valToPos(t, "x"), top: plot.over.clientHeight / 2 }, true, true);
  }

  /** The curve nearest to the pointer, wherever that is. */
  nearestToCursor(): string | null {
    const t = this.cursorTime();
    return t === null ? null : this.nearest(t, this.plot?.cursor.top ?? 0, Infinity);
  }

  /** Where a value of a signal stands on the screen. */
  placeOf(name: string, t: number): { x: number; y: number } | null {
    const plot = this.plot;
    if (!plot) return null;
    const box = plot.over.getBoundingClientRect();
    const value = this.drawnAt(name, t);
    return { x: box.left + plot.valToPos(t, "x"), y: box.top + (Number.isNaN(value) ? box.height / 2 : plot.valToPos(value, "y")) };
  }

  private step(): number {
    return this.times.length > 1 ? (this.times[1] as number) - (this.times[0] as number) : 1;
  }

  private prepare(width: number, from: number, step: number): void {
    if (this.times.length !== width) {
      this.times = new Float64Array(width);
      this.columns = this.model.names.map(() => makeColumn(width));
    }
    for (let i = 0; i < width; i++) this.times[i] = from + (i + 0.5) * step;
    for (const column of this.columns) clearColumn(column);
  }

  private fill(from: number, step: number, span: Span): void {
    const byStore = new Map<Found["store"], { indices: number[]; columns: Column[]; names: string[] }>();
    this.model.names.forEach((name, i) => {
      const signal = this.host.signal(name);
      const column = this.columns[i];
      if (!signal || !column) return;
      const group = byStore.get(signal.store) ?? { indices: [], columns: [], names: [] };
      group.indices.push(signal.index);
      group.columns.push(column);
      group.names.push(signal.own);
      byStore.set(signal.store, group);
    });
    for (const [store, { indices, columns, names }] of byStore) {
      const oldest = store.oldestTime() ?? Infinity;
      const begins = Math.max(span.from, this.host.beginning());
      const ends = Math.min(span.to, oldest);
      if (this.host.history && ends - begins > Math.max(step, 1)) {
        const need = { stream: store.id, names, from: begins, to: ends, points: Math.max(10, Math.ceil((ends - begins) / step)) };
        const page = this.host.history.find(`${this.model.id}/${store.id}`, need);
        if (page) columns.forEach((column, i) => fillFromHistory(page, i, column, from, step, oldest));
      }
      store.fillColumns(indices, columns, from, step);
    }
  }

  private path(u: uPlot, i: number): uPlot.Series.Paths | null {
    const column = this.columns[i];
    const series = u.series[i + 1];
    if (!column) return null;
    if (series) series.alpha = this.emphasised === null || this.emphasised === this.model.names[i] ? 1 : 0.2;
    const stroke = new Path2D();
    const { min, max } = u.scales["x"] as { min: number; max: number };
    const { left, width, top, height } = u.bbox;
    const perSecond = width / (max - min);
    const [low, high] = this.range;
    const perUnit = height / (high - low);
    const first = left + ((this.times[0] as number) - this.step() / 2 - min) * perSecond;
    traceColumns(column, stroke, first, this.step() * perSecond, (value) => top + (high - value) * perUnit);
    return { stroke, fill: null, clip: null, flags: 1 };
  }

  /** Letters at the curves' ends, marks, and lines where something happened. */
  private decorate(u: uPlot): void {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    this.spots.length = 0;
    if (!Number.isFinite(u.scales["x"]?.min ?? NaN)) return;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.textBaseline = "middle";
    // Labels that would lie on one another stand below one another.
    const labels: { x: number; row: number; width: number }[] = [];
    for (const moment of this.host.moments()) {
      if (moment.t < this.span.from || moment.t > this.span.to) continue;
      const x = Math.round(u.valToPos(moment.t, "x", true)) + 0.5;
      ctx.strokeStyle = moment.kind === "cursor" ? this.style.accent : this.style.ink;
      ctx.lineWidth = ratio;
      ctx.setLineDash(moment.kind === "cursor" ? [] : [3 * ratio, 3 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.setLineDash([]);
      ctx.font = `${10 * ratio}px ${this.style.sans}`;
      ctx.fillStyle = ctx.strokeStyle;
      ctx.textAlign = "left";
      const width = ctx.measureText(moment.label).width + 6 * ratio;
      const left = Math.min(x + 3 * ratio, bbox.left + bbox.width - width);
      let row = 0;
      while (labels.some((other) => other.row === row && left < other.x + other.width && left + width > other.x)) row++;
      if (!moment.label || row > 2 || !this.labelled) continue;
      labels.push({ x: left, row, width });
      ctx.fillText(moment.label, left, bbox.top + (6 + 11 * row) * ratio);
      if (moment.id) this.spots.push({ id: moment.id, x: (left + width / 2 - bbox.left) / ratio, y: 6 + 11 * row });
    }
    this.model.names.forEach((name, i) => {
      const signal = this.host.signal(name);
      const column = this.columns[i];
      if (!signal || !column) return;
      if (this.model.names.length > 1) this.writeLetter(u, name, column);
      for (const mark of this.host.marks(signal)) this.drawMark(u, mark, name);
    });
    ctx.restore();
  }

  private writeLetter(u: uPlot, name: string, column: Column): void {
    const { ctx, bbox } = u;
    const at = lastFilled(column);
    if (at < 0) return;
    const x = Math.min(u.valToPos(this.times[at] as number, "x", true), bbox.left + bbox.width) - 3 * devicePixelRatio;
    const y = u.valToPos(((column.min[at] as number) + (column.max[at] as number)) / 2, "y", true);
    ctx.font = `bold ${10 * devicePixelRatio}px ${this.style.sans}`;
    ctx.textAlign = "right";
    ctx.lineWidth = 3 * devicePixelRatio;
    ctx.strokeStyle = this.style.card;
    const above = y - bbox.top > 14 * devicePixelRatio;
    const beside = y + (above ? -7 : 8) * devicePixelRatio;
    ctx.strokeText(this.host.letter(name), x, beside);
    ctx.fillStyle = this.host.colour(name);
    ctx.fillText(this.host.letter(name), x, beside);
  }

  private drawMark(u: uPlot, mark: MarkNote, name: string): void {
    const t = mark.tUs / 1e6;
    const t2 = mark.t2Us / 1e6;
    if (Math.max(t, t2) < this.span.from || t > this.span.to) return;
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    const x = u.valToPos(t, "x", true);
    const value = this.drawnAt(name, t);
    const y = Number.isNaN(value) ? bbox.top + bbox.height / 2 : u.valToPos(value, "y", true);
    ctx.fillStyle = this.style.accent;
    ctx.strokeStyle = this.style.accent;
    if (t2 > t) {
      ctx.globalAlpha = 0.12;
      ctx.fillRect(x, bbox.top, u.valToPos(t2, "x", true) - x, bbox.height);
      ctx.globalAlpha = 1;
    }
    ctx.lineWidth = ratio;
    ctx.beginPath();
    ctx.arc(x, y, 4 * ratio, 0, 2 * Math.PI);
    ctx.fill();
    const up = y - bbox.top > 30 * ratio ? -1 : 1;
    const flagY = y + up * 18 * ratio;
    ctx.beginPath();
    ctx.moveTo(x, y);
    ctx.lineTo(x, flagY);
    ctx.stroke();
    ctx.font = `600 ${10.5 * ratio}px ${this.style.sans}`;
    const text = `${mark.number}${mark.text ? ` ${mark.text.length > 18 ? `${mark.text.slice(0, 17)}…` : mark.text}` : ""}`;
    const wide = ctx.measureText(text).width + 8 * ratio;
    const left = Math.max(bbox.left, Math.min(x - 6 * ratio, bbox.left + bbox.width - wide));
    ctx.beginPath();
    ctx.roundRect(left, flagY - 8 * ratio, wide, 16 * ratio, 4 * ratio);
    ctx.fill();
    ctx.fillStyle = this.style.card;
    ctx.textAlign = "left";
    ctx.fillText(text, left + 4 * ratio, flagY + 0.5 * ratio);
    this.spots.push({ id: mark.id, x: (left + wide / 2 - bbox.left) / ratio, y: (flagY - bbox.top) / ratio }, { id: mark.id, x: (x - bbox.left) / ratio, y: (y - bbox.top) / ratio });
  }

  private pointerMoved(u: uPlot): void {
    const left = u.cursor.left ?? -1;
    this.host.pointedAt(this, left < 0 ? null : u.posToVal(left, "x"));
  }

  private selectedSpan(u: uPlot): void {
    if (u.select.width <= 0) return;
    const from = u.posToVal(u.select.left, "x");
    const to = u.posToVal(u.select.left + u.select.width, "x");
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.host.selected(from, to);
  }

  private listen(plot: uPlot): void {
    const over = plot.over;
    let downAt: { x: number; y: number } | null = null;
    const pick = (clientX: number, clientY: number, reach: number) => {
      const box = over.getBoundingClientRect();
      const x = clientX - box.left;
      const y = clientY - box.top;
      const spot = this.spots.find((one) => Math.abs(one.x - x) < 16 && Math.abs(one.y - y) < 12);
      if (spot) return this.host.markOpened(spot.id, clientX, clientY);
      const t = plot.posToVal(x, "x");
      this.host.picked(this.nearest(t, y, reach), t, clientX, clientY);
    };
    over.addEventListener("pointerdown", (event) => (downAt = { x: event.clientX, y: event.clientY }));
    over.addEventListener("click", (event) => {
      if (downAt && Math.hypot(event.clientX - downAt.x, event.clientY - downAt.y) < 5) pick(event.clientX, event.clientY, NEAR_PX);
    });
    over.addEventListener(
      "wheel",
      (event) => {
        // With a chart's page to scroll, the wheel alone scrolls nothing here: it zooms, as in every scope.
        event.preventDefault();
        const box = over.getBoundingClientRect();
        const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
        const turn = event.deltaY || event.deltaX;
        if (sideways) this.host.panned((event.deltaX || event.deltaY) / box.width);
        else this.host.zoomed(Math.exp(Math.max(-240, Math.min(240, turn)) / 400), plot.posToVal(event.clientX - box.left, "x"));
      },
      { passive: false },
    );
    listenToTouch(over, {
      pan: (pixels) => this.host.panned(-pixels / over.clientWidth),
      zoom: (factor, x) => this.host.zoomed(factor, plot.posToVal(x - over.getBoundingClientRect().left, "x")),
      hold: (x, y) => pick(x, y, 40),
    });
  }

  private chip(name: string): HTMLElement {
    const signal = this.host.signal(name);
    const unit = signal?.unit ?? "";
    const output = h("output", { "data-signal": name }, "–");
    this.outputs.set(name, output);
    const letter = h("span", { class: "swatch", "aria-hidden": "true" }, this.host.letter(name));
    letter.style.background = this.host.colour(name);
    const more = h("button", { type: "button", class: "icon", "aria-haspopup": "menu", "aria-label": `${say("more")} ${name}`, title: say("more"), click: () => this.host.menu(name, more) }, "⋯");
    const emphasise = (which: string | null) => () => {
      this.emphasised = which;
      if (this.model.names.length > 1) this.plot?.redraw(true);
    };
    return h(
      "li",
      {
        draggable: "true",
        title: [signal?.message, name].filter(Boolean).join(" · "),
        dragstart: (event: DragEvent) => event.dataTransfer?.setData("text/plain", name),
        pointerenter: emphasise(name),
        pointerleave: emphasise(null),
        focusin: emphasise(name),
        focusout: emphasise(null),
      },
      letter,
      h("span", { class: "name" }, name),
      output,
      h("span", { class: "dim" }, unitSign(unit)),
      more,
      h("button", { type: "button", class: "icon close", "aria-label": `${say("remove")} ${name}`, click: () => this.host.removed(name) }, "×"),
    );
  }
}
