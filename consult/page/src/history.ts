/** The past that no longer is in the page: asked of the service as the smallest and largest value per stretch of time. */
import type { Column } from "./columns";

const MAGIC = 0x31485a48;
const HEAD = 32;
const MOST_POINTS = 4000;
const MOST_SIGNALS = 32;
/** The service answers ten questions a second. */
const PAUSE_MS = 130;
const QUIET_MS = 5000;

export interface HistoryPage {
  readonly fromUs: number;
  readonly stepUs: number;
  readonly points: number;
  /** One per signal asked for; NaN where there was no sample. */
  readonly min: Float32Array[];
  readonly max: Float32Array[];
}

export class HistoryBroken extends Error {}

/** Throws HistoryBroken for anything else than one whole answer. */
export function parseHistory(buffer: ArrayBuffer): HistoryPage {
  if (buffer.byteLength < HEAD) throw new HistoryBroken(`${buffer.byteLength} bytes`);
  const view = new DataView(buffer);
  if (view.getUint32(0, true) !== MAGIC) throw new HistoryBroken("not an answer of the history");
  const signals = view.getUint16(4, true);
  const points = view.getUint32(8, true);
  if (view.getUint16(6, true) !== 0 || view.getUint32(12, true) !== 0) throw new HistoryBroken("reserved bits");
  if (signals === 0 || signals > MOST_SIGNALS || points === 0 || points > MOST_POINTS) {
    throw new HistoryBroken(`${signals} signals of ${points} points`);
  }
  const fromUs = Number(view.getBigUint64(16, true));
  const stepUs = Number(view.getBigUint64(24, true));
  if (stepUs === 0) throw new HistoryBroken("steps of no length");
  if (buffer.byteLength !== HEAD + 8 * signals * points) throw new HistoryBroken(`${buffer.byteLength} bytes for ${signals} signals of ${points} points`);
  const cut = (first: number) =>
    Array.from({ length: signals }, (_, i) => {
      const column = new Float32Array(points);
      for (let k = 0; k < points; k++) column[k] = view.getFloat32(first + 4 * (i * points + k), true);
      return column;
    });
  return { fromUs, stepUs, points, min: cut(HEAD), max: cut(HEAD + 4 * signals * points) };
}

/** Puts what the history knows of a signal before a time into columns. Empty stretches longer than three steps are gaps. */
export function fillFromHistory(page: HistoryPage, signal: number, column: Column, fromS: number, stepS: number, beforeS: number): void {
  const min = page.min[signal];
  const max = page.max[signal];
  if (!min || !max) return;
  let empty = 0;
  for (let k = 0; k < page.points; k++) {
    const low = min[k] as number;
    const high = max[k] as number;
    if (Number.isNaN(low) || Number.isNaN(high)) {
      empty++;
      continue;
    }
    const t = (page.fromUs + (k + 0.5) * page.stepUs) / 1e6;
    if (t >= beforeS) break;
    const at = Math.floor((t - fromS) / stepS);
    const gap = empty > 3;
    empty = 0;
    if (at < 0 || at >= column.min.length) continue;
    if (gap) column.breaks[at] = 1;
    if (!(low >= (column.min[at] as number))) column.min[at] = low;
    if (!(high <= (column.max[at] as number))) column.max[at] = high;
  }
}

export interface HistoryNeed {
  stream: number;
  names: string[];
  from: number;
  to: number;
  points: number;
}

/** Asks for what is needed, one question at a time, newest need first; keeps the last answers per stream. */
export class HistoryCache {
  private readonly path: string;
  private readonly arrived: () => void;
  private readonly pages = new Map<string, { need: HistoryNeed; page: HistoryPage }>();
  private wanted = new Map<string, HistoryNeed>();
  private busy = false;
  /** Why the last question had no answer; empty while there are answers. */
  problem = "";
  private quietUntil = 0;

  constructor(path: string, arrived: () => void) {
    this.path = path;
    this.arrived = arrived;
  }

  /** The best answer there is for a need, and asks for a better one when it lacks something. `slot` names who needs it. */
  find(slot: string, need: HistoryNeed): HistoryPage | null {
    const kept = this.pages.get(slot);
    const same = kept && kept.need.stream === need.stream && kept.need.names.join("\n") === need.names.join("\n");
    const step = (need.to - need.from) / need.points;
    const fits =
      same &&
      kept.need.from <= need.from + step &&
      kept.need.to >= need.to - step &&
      (kept.need.to - kept.need.from) / kept.need.points <= step * 2.5;
    if (!fits) this.want(slot, need);
    return same ? kept.page : null;
  }

  forget(): void {
    this.pages.clear();
    this.wanted.clear();
  }

  private want(slot: string, need: HistoryNeed): void {
    // A margin on both sides, so that a small pan needs no new question.
    const margin = (need.to - need.from) * 0.25;
    this.wanted.set(slot, {
      ...need,
      names: need.names.slice(0, MOST_SIGNALS),
      from: need.from - margin,
      to: need.to + margin,
      points: Math.min(2000, Math.max(10, Math.round(need.points * 1.5))),
    });
    void this.pump();
  }

  private async pump(): Promise<void> {
    if (this.busy || performance.now() < this.quietUntil) return;
    const next = [...this.wanted].at(-1);
    if (!next) return;
    const [slot, need] = next;
    this.wanted.delete(slot);
    this.busy = true;
    try {
      const query = new URLSearchParams({
        stream: String(need.stream),
        from_us: String(Math.max(0, Math.round(need.from * 1e6))),
        to_us: String(Math.round(need.to * 1e6)),
        points: String(need.points),
      });
      for (const name of need.names) query.append("signal", name);
      const answer = await fetch(`${this.path}/history?${query}`);
      if (!answer.ok) throw new HistoryBroken(`HTTP ${answer.status}`);
      this.pages.set(slot, { need, page: parseHistory(await answer.arrayBuffer()) });
      this.problem = "";
      this.arrived();
    } catch (error) {
      // No answer now is no reason to ask with every frame.
      this.problem = String(error instanceof Error ? error.message : error);
      this.quietUntil = performance.now() + QUIET_MS;
      window.setTimeout(this.arrived, QUIET_MS);
      this.arrived();
    } finally {
      this.busy = false;
    }
    if (this.wanted.size > 0) window.setTimeout(() => void this.pump(), PAUSE_MS);
  }
}
