/** The whole session as one strip: a curve's thumbnail, what happened, and the window the charts show. */
import { clearColumn, extent, makeColumn, traceColumns, type Column } from "./columns";
import { h } from "./dom";
import { fillFromHistory, type HistoryCache } from "./history";
import type { Found } from "./signals";
import type { Moment } from "./moments";
import type { Span } from "./timeview";
import { say } from "./words";

export interface OverviewOwner {
  /** The session's whole length. */
  whole(): Span;
  shown(): Span;
  thumbnail(): Found | undefined;
  moments(): Moment[];
  marks(): { t: number; number: number }[];
  history: HistoryCache | null;
  moveTo(from: number, to: number): void;
}

const HEIGHT = 40;
const HANDLE_PX = 8;

export class Overview {
  readonly root: HTMLElement;
  private readonly owner: OverviewOwner;
  private readonly canvas = h("canvas", { height: HEIGHT });
  private column: Column = makeColumn(1);
  private grabbed: { at: number; from: number; to: number; edge: "from" | "to" | "both" } | null = null;

  constructor(owner: OverviewOwner) {
    this.owner = owner;
    this.root = h("div", { class: "overview", role: "slider", tabindex: 0, "aria-label": say("overview"), title: say("overview") }, this.canvas);
    this.canvas.addEventListener("pointerdown", (event) => this.grab(event));
    this.canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const kind of ["pointerup", "pointercancel"] as const) this.canvas.addEventListener(kind, () => (this.grabbed = null));
    this.root.addEventListener("keydown", (event) => {
      const { from, to } = owner.shown();
      const step = (to - from) * (event.shiftKey ? 1 : 0.25);
      const move = { ArrowLeft: -step, ArrowRight: step }[event.key];
      const whole = owner.whole();
      if (move !== undefined) owner.moveTo(from + move, to + move);
      else if (event.key === "Home") owner.moveTo(whole.from, whole.from + to - from);
      else if (event.key === "End") owner.moveTo(whole.to - (to - from), whole.to);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  draw(): void {
    const width = this.root.clientWidth;
    if (width < 20) return;
    const ratio = devicePixelRatio;
    if (this.canvas.width !== Math.round(width * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(HEIGHT * ratio);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${HEIGHT}px`;
      this.column = makeColumn(Math.round(width));
    }
    const ctx = this.canvas.getContext("2d");
    if (!ctx) return;
    const whole = this.owner.whole();
    const shown = this.owner.shown();
    const css = getComputedStyle(this.root);
    const ink = (name: string) => css.getPropertyValue(name);
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, HEIGHT);
    const x = (t: number) => ((t - whole.from) / Math.max(1e-9, whole.to - whole.from)) * width;
    this.drawThumbnail(ctx, whole, ink("--dim"));
    const left = Math.max(0, x(shown.from));
    const right = Math.max(left + 3, Math.min(width, x(shown.to)));
    ctx.fillStyle = ink("--accent");
    ctx.globalAlpha = 0.16;
    ctx.fillRect(left, 0, right - left, HEIGHT);
    ctx.globalAlpha = 1;
    ctx.fillRect(left - 1, 0, 2, HEIGHT);
    ctx.fillRect(right - 1, 0, 2, HEIGHT);
    for (const moment of this.owner.moments()) {
      if (moment.kind === "cursor") continue;
      ctx.fillStyle = ink(moment.kind === "dtc" ? "--stop" : "--low");
      const at = x(moment.t);
      ctx.beginPath();
      // A triangle for codes, a square for requests, a frame for pictures: not by colour alone.
      if (moment.kind === "dtc") {
        ctx.moveTo(at - 4, 0);
        ctx.lineTo(at + 4, 0);
        ctx.lineTo(at, 7);
      } else if (moment.kind === "still") {
        ctx.rect(at - 4, 0, 8, 7);
        ctx.rect(at - 2, 2, 4, 3);
      } else ctx.rect(at - 3, 0, 6, 6);
      ctx.fill("evenodd");
    }
    ctx.fillStyle = ink("--accent");
    for (const mark of this.owner.marks()) {
      ctx.beginPath();
      ctx.arc(x(mark.t), HEIGHT - 5, 4, 0, 2 * Math.PI);
      ctx.fill();
    }
    const length = whole.to - whole.from;
    this.root.setAttribute("aria-valuemin", "0");
    this.root.setAttribute("aria-valuemax", String(Math.round(length)));
    this.root.setAttribute("aria-valuenow", String(Math.round(shown.to - whole.from)));
    this.root.setAttribute("aria-valuetext", `${time(shown.from)} – ${time(shown.to)}`);
  }

  private drawThumbnail(ctx: CanvasRenderingContext2D, whole: Span, ink: string): void {
    const signal = this.owner.thumbnail();
    if (!signal || whole.to <= whole.from) return;
    const step = (whole.to - whole.from) / this.column.min.length;
    clearColumn(this.column);
    const oldest = signal.store.oldestTime() ?? Infinity;
    if (this.owner.history && whole.from < oldest - Math.max(2 * step, 5)) {
      const need = { stream: signal.store.id, names: [signal.own], from: whole.from, to: Math.min(whole.to, oldest), points: 400 };
      const page = this.owner.history.find("overview", need);
      if (page) fillFromHistory(page, 0, this.column, whole.from, step, oldest);
    }
    signal.store.fillColumns([signal.index], [this.column], whole.from, step);
    const found = extent([this.column]);
    if (!found) return;
    const [low, high] = found;
    const path = new Path2D();
    traceColumns(this.column, path, 0, 1, (value) => 4 + ((high - value) / Math.max(1e-9, high - low)) * (HEIGHT - 8));
    ctx.strokeStyle = ink;
    ctx.lineWidth = 1;
    ctx.stroke(path);
  }

  private timeAt(event: PointerEvent): number {
    const box = this.canvas.getBoundingClientRect();
    const whole = this.owner.whole();
    return whole.from + ((event.clientX - box.left) / Math.max(1, box.width)) * (whole.to - whole.from);
  }

  private grab(event: PointerEvent): void {
    const t = this.timeAt(event);
    const whole = this.owner.whole();
    let { from, to } = this.owner.shown();
    const reach = ((whole.to - whole.from) / Math.max(1, this.canvas.clientWidth)) * HANDLE_PX;
    let edge: "from" | "to" | "both" = "both";
    if (to - from > reach * 4 && Math.abs(t - from) < reach) edge = "from";
    else if (to - from > reach * 4 && Math.abs(t - to) < reach && to < whole.to - reach) edge = "to";
    else if (t < from || t > to) {
      const half = (to - from) / 2;
      [from, to] = [t - half, t + half];
      this.owner.moveTo(from, to);
    }
    this.grabbed = { at: t, from, to, edge };
    this.canvas.setPointerCapture(event.pointerId);
  }

  private drag(event: PointerEvent): void {
    if (!this.grabbed) return;
    const { at, from, to, edge } = this.grabbed;
    const by = this.timeAt(event) - at;
    if (by === 0) return;
    if (edge === "from") this.owner.moveTo(Math.min(from + by, to - 0.5), to);
    else if (edge === "to") this.owner.moveTo(from, Math.max(to + by, from + 0.5));
    else this.owner.moveTo(from + by, to + by);
  }
}

function time(seconds: number): string {
  return new Date(seconds * 1000).toTimeString().slice(0, 8);
}
