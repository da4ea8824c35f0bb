/** How smoothly the page draws: frames per second, and how long a drawing took. */
const KEPT = 600;

export class FrameMeter {
  private readonly frames: number[] = [];
  private readonly costs: number[] = [];
  private readonly draws: number[] = [];

  frame(now: number): void {
    push(this.frames, now);
  }

  drew(costMs: number): void {
    push(this.costs, costMs);
    push(this.draws, performance.now());
  }

  /** Frames of the last second; 0 while the page is hidden. */
  perSecond(): number {
    const now = performance.now();
    return this.frames.filter((at) => now - at <= 1000).length;
  }

  /** Milliseconds between frames, between drawings, and that a drawing took, of the last ten seconds or so. */
  report(): { frames: number[]; draws: number[]; costs: number[] } {
    const gaps = (times: number[]) => times.slice(1).map((at, i) => at - (times[i] ?? at));
    return { frames: gaps(this.frames), draws: gaps(this.draws), costs: [...this.costs] };
  }

  clear(): void {
    this.frames.length = this.costs.length = this.draws.length = 0;
  }
}

function push(list: number[], value: number): void {
  list.push(value);
  if (list.length > KEPT) list.shift();
}
