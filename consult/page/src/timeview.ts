/** Which stretch of time the charts show: the newest seconds while live, or a stretch somebody chose. Seconds since 1970. */

export interface Span {
  from: number;
  to: number;
}

export const SHORTEST_S = 0.5;
export const WINDOWS_S = [15, 60, 120] as const;
const YOUNG_S = 10;

export class TimeView {
  windowS: number = 60;
  /** null while the charts follow what comes. */
  fixed: Span | null = null;
  /** Grows with every change that a person made, so that others can be told. */
  changes = 0;

  get live(): boolean {
    return this.fixed === null;
  }

  /** What to show now. A young stream fills the width; from ten seconds on the axis grows until the window is full. */
  span(oldest: number, newest: number): Span {
    if (this.fixed) return this.fixed;
    return { from: Math.max(newest - this.windowS, Math.min(oldest, newest - YOUNG_S)), to: newest };
  }

  goLive(windowS = this.windowS): void {
    this.windowS = windowS;
    this.fixed = null;
    this.changes++;
  }

  /** Stops at what is shown, or goes on. */
  togglePause(shown: Span): void {
    if (this.fixed) this.goLive();
    else this.show(shown.from, shown.to);
  }

  /** Shows a stretch; one that is too short is widened around its middle. */
  show(from: number, to: number): void {
    const middle = (from + to) / 2;
    const half = Math.max(SHORTEST_S, Math.abs(to - from)) / 2;
    this.fixed = { from: middle - half, to: middle + half };
    this.changes++;
  }

  /** Zooms around a time; while live the newest edge stays, for it is what one looks at. */
  zoom(factor: number, around: number, shown: Span, widest: number): void {
    const length = Math.min(Math.max(SHORTEST_S, (shown.to - shown.from) * factor), Math.max(widest, SHORTEST_S));
    if (this.fixed === null) {
      this.windowS = length;
      this.changes++;
      return;
    }
    const share = (around - shown.from) / Math.max(1e-9, shown.to - shown.from);
    this.show(around - share * length, around + (1 - share) * length);
  }

  /** Moves by a share of the width; beyond the newest it is live again. */
  pan(share: number, shown: Span, oldest: number, newest: number): void {
    const length = shown.to - shown.from;
    let to = shown.to + share * length;
    if (share > 0 && to >= newest) return this.goLive(Math.max(SHORTEST_S, length));
    to = Math.max(to, Math.min(shown.to, oldest + length * 0.5));
    this.show(to - length, to);
  }
}
