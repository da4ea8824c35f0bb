/**
 * The samples of one (stream, epoch), merged by number: whichever carrier brings a block, in whatever order and however
 * often, the curve is the same. What never came and cannot be had is a gap, and is drawn as one.
 */
import type { SampleBlock } from "./wire";
import type { Signal } from "./protocol";

export type Carrier = "rtc" | "wss";

const CAPACITY = 8192;
const ASK_AGAIN_MS = 2000;
const HAVE = 1;
const GONE = 2;

export interface Counts {
  rtc: number;
  wss: number;
  filled: number;
  repeated: number;
  gone: number;
}

export class StreamStore {
  readonly id: number;
  readonly epoch: number;
  readonly signals: readonly Signal[];
  readonly counts: Counts = { rtc: 0, wss: 0, filled: 0, repeated: 0, gone: 0 };
  /** The highest number seen; -1 before the first. */
  newest = -1;
  private readonly seqs = new Float64Array(CAPACITY).fill(-1);
  private readonly states = new Uint8Array(CAPACITY);
  private readonly askedAt = new Float64Array(CAPACITY);
  private readonly times = new Float64Array(CAPACITY);
  private readonly values: Float32Array;
  private from: number;
  /** Everything below this should have arrived by now; above it may still be under way. */
  private due: number;
  private head: number;

  constructor(id: number, epoch: number, signals: readonly Signal[], first: number, next: number) {
    this.id = id;
    this.epoch = epoch;
    this.signals = signals;
    this.values = new Float32Array(CAPACITY * signals.length);
    this.from = first;
    this.due = next;
    this.head = next;
  }

  /** True when the block was new. */
  add(block: SampleBlock, carrier: Carrier): boolean {
    if (block.values.length !== this.signals.length || block.seq <= this.newest - CAPACITY) return false;
    const slot = block.seq % CAPACITY;
    if (this.seqs[slot] === block.seq && this.states[slot] === HAVE) {
      this.counts.repeated++;
      return false;
    }
    const asked = this.seqs[slot] === block.seq && (this.askedAt[slot] ?? 0) > 0;
    if (this.seqs[slot] === block.seq && this.states[slot] === GONE) this.counts.gone--;
    this.seqs[slot] = block.seq;
    this.states[slot] = HAVE;
    this.askedAt[slot] = 0;
    this.times[slot] = block.tUs / 1e6;
    this.values.set(block.values, slot * this.signals.length);
    if (block.seq > this.newest) this.newest = block.seq;
    if (asked) this.counts.filled++;
    else this.counts[carrier]++;
    return true;
  }

  /** The service says how far the stream is. What stood below at the last beat must be here by now. */
  beat(next: number): void {
    this.due = Math.max(this.due, this.head);
    this.head = Math.max(this.head, next);
  }

  /** A range of numbers to ask for, or null when nothing is missing; marks them as asked for. */
  nextWant(nowMs: number, limit: number): { first: number; last: number } | null {
    const from = Math.max(this.from, this.head - CAPACITY + 64);
    let first = -1;
    let last = -1;
    // Newest first: what the expert looks at is filled before what has scrolled by.
    for (let seq = this.due - 1; seq >= from; seq--) {
      const slot = seq % CAPACITY;
      const known = this.seqs[slot] === seq;
      const settled = known && (this.states[slot] !== 0 || nowMs - (this.askedAt[slot] ?? 0) < ASK_AGAIN_MS);
      if (settled) {
        if (last >= 0) break;
        continue;
      }
      if (last < 0) last = seq;
      first = seq;
      this.seqs[slot] = seq;
      this.states[slot] = 0;
      this.askedAt[slot] = nowMs;
      if (last - first + 1 >= limit) break;
    }
    return last < 0 ? null : { first, last };
  }

  /** The service does not have these either. */
  markGone(first: number, last: number): void {
    for (let seq = first; seq <= last; seq++) {
      const slot = seq % CAPACITY;
      if (this.seqs[slot] === seq && this.states[slot] === 0) {
        this.states[slot] = GONE;
        this.counts.gone++;
      }
    }
  }

  /** Blocks that are due and have not come. */
  missing(): number {
    let count = 0;
    for (let seq = Math.max(this.from, this.head - CAPACITY + 64); seq < this.due; seq++) {
      const slot = seq % CAPACITY;
      if (this.seqs[slot] !== seq || this.states[slot] !== HAVE) count++;
    }
    return count;
  }

  /** Seconds since the Unix epoch of the newest block, or null. */
  newestTime(): number | null {
    return this.newest < 0 ? null : (this.times[this.newest % CAPACITY] ?? null);
  }

  /** The same of the oldest block that is here. */
  oldestTime(): number | null {
    for (let seq = Math.max(this.from, this.newest - CAPACITY + 1, 0); seq <= this.newest; seq++) {
      const slot = seq % CAPACITY;
      if (this.seqs[slot] === seq && this.states[slot] === HAVE) return this.times[slot] ?? null;
    }
    return null;
  }

  /** The last value of a signal, NaN where it has none. */
  latest(signal: number): number {
    if (this.newest < 0) return NaN;
    return this.values[(this.newest % CAPACITY) * this.signals.length + signal] ?? NaN;
  }

  /** Columns for drawing: times, then one array per signal, null where there is no value, and a null where blocks lack. */
  window(signals: readonly number[], fromS: number, toS: number): [number[], ...(number | null)[][]] {
    const width = this.signals.length;
    const times: number[] = [];
    const columns: (number | null)[][] = signals.map(() => []);
    let hole = false;
    const oldest = Math.max(this.from, this.newest - CAPACITY + 1, 0);
    for (let seq = oldest; seq <= this.newest; seq++) {
      const slot = seq % CAPACITY;
      if (this.seqs[slot] !== seq || this.states[slot] !== HAVE) {
        hole = times.length > 0;
        continue;
      }
      const t = this.times[slot] ?? 0;
      if (t < fromS || t > toS) continue;
      if (hole) {
        times.push(((times.at(-1) ?? t) + t) / 2);
        for (const column of columns) column.push(null);
        hole = false;
      }
      times.push(t);
      signals.forEach((signal, i) => {
        const value = this.values[slot * width + signal] ?? NaN;
        columns[i]?.push(Number.isNaN(value) ? null : value);
      });
    }
    return [times, ...columns];
  }

  /** Every block that is here, in order: number, time in seconds, values. */
  *rows(fromS: number, toS: number): Generator<{ seq: number; t: number; values: Float32Array }> {
    for (let seq = Math.max(0, this.newest - CAPACITY + 1); seq <= this.newest; seq++) {
      const slot = seq % CAPACITY;
      if (this.seqs[slot] !== seq || this.states[slot] !== HAVE) continue;
      const t = this.times[slot] ?? 0;
      if (t < fromS || t > toS) continue;
      yield { seq, t, values: this.values.subarray(slot * this.signals.length, (slot + 1) * this.signals.length) };
    }
  }
}
