/** Live curves: any number of charts on one time axis, with one cursor; marks on them; the past while live goes on. */
import type { ChartModel } from "./arrange";
import { Chart, type ChartHost } from "./chart";
import { h, setText } from "./dom";
import { saveCsv } from "./csv";
import { FollowBar, Leader } from "./follow";
import { FrameMeter } from "./frames";
import { HistoryCache } from "./history";
import { colourOf, letterOf } from "./inks";
import { MomentList, type Moment } from "./moments";
import { openMark, writeMark, MarkPanel } from "./markpanel";
import { Overview } from "./overview";
import { closePopup } from "./popup";
import { Picker } from "./picker";
import { openSignalMenu } from "./signalmenu";
import { findSignals, firstChoice, pageName, type Found } from "./signals";
import { newestTime, sessionStart, type RoomState } from "./state";
import type { StreamStore } from "./store";
import { WINDOWS_S, type Span } from "./timeview";
import { say } from "./words";

const FRAME_MS = 27;
const CALM_FRAME_MS = 500;
/** From here on lines are a pixel wide: browsers without a graphics card draw those four times as fast. */
const MANY_CURVES = 8;
const READOUT_MS = 200;
const STRIP_MS = 500;

export class LivePanel implements ChartHost {
  readonly root: HTMLElement;
  readonly marksPanel: MarkPanel;
  readonly meter = new FrameMeter();
  history: HistoryCache | null;
  private readonly state: RoomState;
  private readonly openStill: (id: string) => void;
  private readonly picker: Picker;
  private readonly area = h("div", { class: "charts" });
  private readonly hint = h("p", { class: "hint" });
  private readonly trouble = h("p", { class: "problem", role: "alert", hidden: true });
  private readonly liveButton = h("button", { type: "button", class: "live-button", click: () => this.togglePause() });
  private readonly windows = h("div", { class: "segments", role: "group", "aria-label": say("window") });
  private readonly overview: Overview;
  private readonly leader: Leader;
  private readonly followBar: FollowBar;
  private charts: Chart[] = [];
  private signals = new Map<string, Found>();
  private cursor: { chart: Chart; t: number } | null = null;
  private frame = 0;
  private drawnAt = 0;
  private readAt = 0;
  private stripAt = 0;
  private painted = "";
  private dirty = true;
  private readonly happenings = new MomentList();
  private readonly sizes: ResizeObserver;
  private readonly sights: IntersectionObserver;
  private readonly scheme = window.matchMedia("(prefers-color-scheme: dark)");
  private readonly calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  private readonly onScheme = () => this.rebuild();
  private readonly onPointer = (event: Event) => {
    if (!this.picker.root.contains(event.target as Node)) this.picker.close();
  };

  constructor(state: RoomState, openStill: (id: string) => void) {
    this.state = state;
    this.openStill = openStill;
    this.history = new HistoryCache(state.path, () => (this.dirty = true));
    this.picker = new Picker({ signals: () => this.signals.values(), has: (name) => state.arrangement.has(name), toggle: (name) => this.toggle(name) });
    this.marksPanel = new MarkPanel(state, (id) => this.showMark(id));
    this.leader = new Leader(state, () => this.changed());
    this.followBar = new FollowBar(state, () => this.unfollow());
    for (const seconds of WINDOWS_S) {
      this.windows.append(h("button", { type: "button", "data-seconds": seconds, click: () => this.touch(() => state.time.goLive(seconds)) }, `${seconds} s`));
    }
    this.overview = new Overview({
      whole: () => this.whole(),
      shown: () => this.shown(),
      thumbnail: () => this.signals.get(state.arrangement.names()[0] ?? ""),
      moments: () => this.moments(),
      marks: () => state.marks.list().map((mark) => ({ t: mark.tUs / 1e6, number: mark.number })),
      history: this.history,
      moveTo: (from, to) => this.touch(() => (to >= newestTime(state) && to - from < 600 ? state.time.goLive(to - from) : state.time.show(from, to))),
    });
    this.root = h(
      "section",
      { class: "live card", "aria-label": say("live") },
      h(
        "div",
        { class: "toolbar" },
        this.picker.root,
        h("button", { type: "button", class: "icon boxed", "aria-label": say("addChart"), title: say("addChart"), click: () => {
          state.arrangement.addChart();
          this.changed();
        } }, "＋"),
        this.windows,
        this.liveButton,
        this.leader.button,
        h("button", { type: "button", id: "save-csv", title: say("saveCsv"), "aria-label": say("saveCsv"), click: () => saveCsv(state, this.shown()) }, "CSV"),
      ),
      this.followBar.root,
      this.hint,
      this.trouble,
      this.area,
      this.overview.root,
    );
    this.sizes = new ResizeObserver(() => this.resized());
    this.sizes.observe(this.area);
    this.sights = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const chart = this.charts.find((one) => one.root === entry.target);
        if (chart) chart.visible = entry.isIntersecting;
      }
      this.dirty = true;
    });
    document.addEventListener("pointerdown", this.onPointer);
    this.scheme.addEventListener("change", this.onScheme);
    this.streamsChanged();
    this.frame = requestAnimationFrame((now) => this.tick(now));
  }

  destroy(): void {
    cancelAnimationFrame(this.frame);
    closePopup();
    this.sizes.disconnect();
    this.sights.disconnect();
    document.removeEventListener("pointerdown", this.onPointer);
    this.scheme.removeEventListener("change", this.onScheme);
    for (const chart of this.charts) chart.destroy();
  }

  /** The car's streams are known now, or are others. */
  streamsChanged(): void {
    this.signals = findSignals(this.state.link.streams.values());
    if (!this.state.firstChoice && this.signals.size > 0) {
      this.state.firstChoice = true;
      for (const name of firstChoice(this.state.report, [...this.signals.keys()])) this.state.arrangement.add(name, this.signals.get(name)?.unit ?? "");
    }
    this.rebuild();
  }

  /** A replay jumped: nothing of what was drawn holds. */
  forget(): void {
    this.history?.forget();
    this.streamsChanged();
  }

  /** The time that people look at where that is not now: the pointer's, else the end of what is shown of the past. */
  lookedAt(): number | null {
    return this.cursor?.chart.cursorTime() ?? (this.state.time.live ? null : this.shown().to);
  }

  window(): Span & { live: boolean } {
    return { ...this.shown(), live: this.state.time.live };
  }

  /** The name on the page of a stream's column. */
  nameOf(store: StreamStore, index: number): string {
    for (const signal of this.signals.values()) if (signal.store === store && signal.index === index) return signal.name;
    return store.signals[index]?.name ?? "";
  }

  stopLeading(): void {
    if (this.state.leading) this.leader.toggle();
  }

  /** Draws a signal, or no more. */
  toggle(name: string): void {
    const { arrangement } = this.state;
    if (arrangement.has(name)) arrangement.remove(name);
    else if (!arrangement.add(name, this.signals.get(name)?.unit ?? "")) setText(this.hint, say("tooManyCurves"));
    this.unfollow();
    this.changed();
    this.root.querySelector(`output[data-signal="${CSS.escape(name)}"]`)?.closest(".chart")?.scrollIntoView({ block: "nearest" });
  }

  resized(): void {
    const width = this.area.clientWidth;
    if (width < 50) return;
    for (const chart of this.charts) chart.resize(width, this.heightOf());
    this.dirty = true;
  }

  /** Somebody's view arrived; shows it when this page follows them. */
  viewed(): void {
    const { state } = this;
    const view = state.following === null ? undefined : state.views.get(state.following);
    this.followBar.draw();
    if (!view) return;
    const names = view.signals.filter((name) => this.signals.has(name));
    const drawn = new Set(state.arrangement.names());
    if (names.length > 0 && (names.length !== drawn.size || names.some((name) => !drawn.has(name)))) {
      state.arrangement.only(names, (name) => this.signals.get(name)?.unit ?? "");
      this.changed();
    }
    const [from, to] = [view.t_us / 1e6, view.t2_us / 1e6];
    if (to >= newestTime(state) - 1.5) state.time.goLive(to - from);
    else state.time.show(from, to);
    this.dirty = true;
  }

  /** Marks, codes or requests changed. */
  happened(): void {
    this.marksPanel.draw();
    this.dirty = true;
    this.stripAt = 0;
  }

  /** A key that no field took. True when it meant something here. */
  key(event: KeyboardEvent): boolean {
    const { time } = this.state;
    const shown = this.shown();
    const middle = this.cursor?.t ?? (shown.from + shown.to) / 2;
    switch (event.key) {
      case "/":
        this.picker.focus();
        return true;
      case " ":
        this.togglePause();
        return true;
      case "l":
        this.backToLive();
        return true;
      case "m":
        this.markHere();
        return true;
      case "f":
        this.leader.toggle();
        return true;
      case "ArrowLeft":
      case "ArrowRight": {
        const sign = event.key === "ArrowLeft" ? -1 : 1;
        if (event.shiftKey) this.moveCursor(sign);
        else this.panned(sign * 0.25);
        return true;
      }
      case "+":
      case "=":
        this.zoomed(0.5, middle);
        return true;
      case "-":
        this.zoomed(2, middle);
        return true;
      case "0":
        this.touch(() => time.show(this.whole().from, this.whole().to));
        return true;
      default:
        return false;
    }
  }

  // -- what charts ask ---------------------------------------------------------------------------------------------

  signal(name: string): Found | undefined {
    return this.signals.get(name);
  }

  colour(name: string): string {
    return colourOf(this.state.arrangement.ink(name));
  }

  get fine(): boolean {
    return this.state.arrangement.names().length > MANY_CURVES;
  }

  letter(name: string): string {
    return letterOf(this.state.arrangement.ink(name));
  }

  marks(signal: Found) {
    return this.state.marks.of(signal.store.id, signal.own);
  }

  moments(): Moment[] {
    const { state } = this;
    const happenings = this.happenings.all(state);
    const led = state.following === null ? undefined : state.views.get(state.following);
    return led?.cursor_us ? [...happenings, { t: led.cursor_us / 1e6, kind: "cursor", label: "" }] : happenings;
  }

  beginning(): number {
    return sessionStart(this.state);
  }

  pointedAt(chart: Chart, t: number | null): void {
    if (t === null) {
      if (this.cursor?.chart === chart) this.cursor = null;
    } else this.cursor = { chart, t };
    this.readAt = 0;
  }

  selected(from: number, to: number): void {
    if (to - from > 0.05) this.touch(() => this.state.time.show(from, to));
  }

  zoomed(factor: number, around: number): void {
    const whole = this.whole();
    this.touch(() => this.state.time.zoom(factor, around, this.shown(), Math.max(120, whole.to - whole.from)));
  }

  panned(share: number): void {
    this.touch(() => this.state.time.pan(share, this.shown(), this.whole().from, newestTime(this.state)));
  }

  backToLive(): void {
    this.touch(() => this.state.time.goLive(this.state.time.windowS));
  }

  picked(name: string | null, t: number, x: number, y: number): void {
    if (name) this.mark(name, [name], t, x, y);
  }

  markOpened(id: string, x: number, y: number): void {
    if (this.state.stills.get(id)) this.openStill(id);
    else openMark(this.state, id, { x, y });
  }

  chartRemoved(chart: ChartModel): void {
    this.state.arrangement.removeChart(chart.id);
    this.changed();
  }

  removed(name: string): void {
    this.toggle(name);
  }

  menu(name: string, anchor: HTMLElement): void {
    openSignalMenu(this.state.arrangement, name, anchor, () => this.changed(), () => {
      const box = anchor.getBoundingClientRect();
      this.mark(name, [name], this.cursor?.t ?? this.shown().to, box.left, box.bottom);
    });
  }

  dropped(name: string, chart: { id: number }): void {
    this.state.arrangement.move(name, chart.id);
    this.changed();
  }

  changed(): void {
    this.rebuild();
    this.picker.refresh();
  }

  // -- time --------------------------------------------------------------------------------------------------------

  /** A person's own hand on the time: whoever was followed is not any more. */
  private touch(action: () => void): void {
    this.unfollow();
    action();
    this.dirty = true;
    this.stripAt = 0;
  }

  private unfollow(): void {
    if (this.state.following === null) return;
    this.state.following = null;
    this.followBar.draw();
    document.dispatchEvent(new CustomEvent("huizhen-follow"));
  }

  private whole(): Span {
    const newest = newestTime(this.state);
    const to = this.state.replay ? Math.max(newest, this.state.replay.to_us / 1e6) : newest;
    return { from: Math.min(sessionStart(this.state), to - 1), to };
  }

  private shown(): Span {
    const newest = newestTime(this.state);
    return this.state.time.span(Math.min(sessionStart(this.state), this.oldest(newest)), newest);
  }

  private oldest(newest: number): number {
    return Math.min(newest, ...[...this.state.link.streams.values()].map((stream) => stream.oldestTime() ?? newest));
  }

  private togglePause(): void {
    if (newestTime(this.state) > 0) this.touch(() => this.state.time.togglePause(this.shown()));
  }

  /** Shows a stretch of the past, and as much around it as was in sight. */
  showTime(from: number, to: number): void {
    const length = Math.min(60, this.shown().to - this.shown().from);
    this.touch(() => this.state.time.show(from - length / 2, to + length / 2));
  }

  private showMark(id: string): void {
    const mark = this.state.marks.get(id);
    const name = mark ? pageName(this.signals, mark.stream, mark.signal) : null;
    if (!mark || !name) return;
    if (!this.state.arrangement.has(name)) this.toggle(name);
    this.showTime(mark.tUs / 1e6, Math.max(mark.t2Us, mark.tUs) / 1e6);
    this.root.querySelector(`output[data-signal="${CSS.escape(name)}"]`)?.closest(".chart")?.scrollIntoView({ block: "nearest" });
  }

  private moveCursor(sign: number): void {
    const shown = this.shown();
    const chart = this.cursor?.chart ?? this.charts[0];
    if (!chart) return;
    const step = (shown.to - shown.from) / 100;
    const t = Math.min(shown.to, Math.max(shown.from, (this.cursor?.t ?? (shown.from + shown.to) / 2) + sign * step));
    chart.setCursor(t);
  }

  private markHere(): void {
    const shown = this.shown();
    const focused = (document.activeElement as HTMLElement | null)?.closest<HTMLElement>(".chart");
    const chart = this.charts.find((one) => one.root === focused) ?? this.cursor?.chart ?? this.charts.find((one) => one.model.names.length > 0);
    const t = this.cursor?.t ?? shown.to;
    const name = chart ? chart.nearestToCursor() ?? chart.model.names[0] : undefined;
    if (!chart || !name) return;
    const place = chart.placeOf(name, t) ?? { x: 200, y: 200 };
    this.mark(name, chart.model.names, t, place.x, place.y);
  }

  private mark(name: string, names: readonly string[], t: number, x: number, y: number): void {
    if (this.state.replay || this.state.you?.role === "observer") return;
    const choices = names.flatMap((one) => this.signals.get(one) ?? []);
    writeMark(this.state, choices, name, t, { x, y });
  }

  // -- drawing -----------------------------------------------------------------------------------------------------

  private heightOf(): number {
    const open = this.charts.filter((chart) => !chart.model.collapsed && chart.model.names.length > 0);
    const heads = this.charts.reduce((sum, chart) => sum + chart.headHeight + 6, 0);
    return Math.max(110, Math.min(280, Math.floor((this.area.clientHeight - heads - 4) / Math.max(1, open.length))));
  }

  private rebuild(): void {
    const { arrangement } = this.state;
    for (const chart of this.charts) chart.destroy();
    this.sights.disconnect();
    this.cursor = null;
    setText(this.hint, this.signals.size === 0 ? say("noSignals") : arrangement.names().length === 0 ? say("noneChosen") : "");
    this.hint.hidden = this.hint.textContent === "";
    const folds = arrangement.charts.length > 1;
    this.charts = arrangement.charts
      .filter((model) => model.names.length === 0 || model.names.some((name) => this.signals.has(name)))
      .map((model) => new Chart(model, this, folds));
    this.area.replaceChildren(...this.charts.map((chart) => chart.root));
    const height = this.heightOf();
    const first = this.charts.find((chart) => !chart.model.collapsed && chart.model.names.length > 0);
    if (first) first.labelled = true;
    for (const chart of this.charts) {
      chart.mount(this.area.clientWidth, height);
      this.sights.observe(chart.root);
    }
    this.dirty = true;
    this.readAt = 0;
  }

  private tick(now: number): void {
    this.frame = requestAnimationFrame((next) => this.tick(next));
    this.meter.frame(now);
    if (now - this.drawnAt < (this.calm.matches ? CALM_FRAME_MS : FRAME_MS) && !this.dirty) return;
    if (newestTime(this.state) === 0 || this.root.clientHeight === 0) return;
    const shown = this.shown();
    const print = `${shown.from} ${shown.to} ${[...this.state.link.streams.values()].map((stream) => stream.counts.rtc + stream.counts.wss + stream.counts.filled).join(" ")}`;
    if (this.dirty || (print !== this.painted && (this.state.time.live || this.reaches(shown)))) {
      const began = performance.now();
      for (const chart of this.charts) chart.draw(shown);
      this.painted = print;
      this.dirty = false;
      // Frames come each 16.7 ms or so: what one was late is given back to the next.
      this.drawnAt = Math.max(this.drawnAt + FRAME_MS, now - FRAME_MS);
      this.meter.drew(performance.now() - began);
    }
    this.leader.look(now, shown, this.cursor?.t ?? null);
    if (now - this.readAt >= READOUT_MS) {
      this.readAt = now;
      const t = this.cursor ? this.cursor.chart.cursorTime() : null;
      for (const chart of this.charts) chart.readOut(t);
      this.drawToolbar();
    }
    if (now - this.stripAt >= STRIP_MS) {
      this.stripAt = now;
      this.overview.draw();
    }
  }

  /** Whether what still arrives can change a stretch that stands still. */
  private reaches(shown: Span): boolean {
    return shown.to >= this.oldest(newestTime(this.state));
  }

  private drawToolbar(): void {
    const { time } = this.state;
    const problem = time.live ? "" : (this.history?.problem ?? "");
    setText(this.trouble, problem ? `${say("historyFails")} (${problem})` : "");
    this.trouble.hidden = problem === "";
    for (const button of this.windows.children) {
      button.setAttribute("aria-pressed", String(time.live && (button as HTMLElement).dataset["seconds"] === String(time.windowS)));
    }
    setText(this.liveButton, say(time.live ? "pause" : this.state.replay ? "backToPlay" : "backToLive"));
    // A replay stands by its own button.
    this.liveButton.hidden = this.state.replay !== null && time.live;
    this.liveButton.setAttribute("aria-pressed", String(!time.live));
    this.liveButton.classList.toggle("primary", !time.live);
    this.root.classList.toggle("past", !time.live);
  }
}
