/**
 * The samples of one (stream, epoch), merged by number: whichever carrier brings a block, in whatever order and however
 * often, the curve is the same. What never came and cannot be had is a gap, and is drawn as one.
 */
import type { Column } from "./columns";
import type { Envelope, RawBlock, SampleBlock } from "./wire";
import type { Signal } from "./protocol";

export type Carrier = "rtc" | "wss";

const CAPACITY = 8192;
const ASK_AGAIN_MS = 2000;
const HAVE = 1;
const GONE = 2;
const MAX_ENVELOPES = 1200;
const MAX_RAW_BLOCKS = 3000;

/** What a stream carries: any signals, one battery cell per signal, or the bus's own frames. */
export type StreamKind = "signals" | "cells" | "raw";

const ENVELOPE_STEP_S = 1e-4;
const NOTHING = new Float32Array(0);

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
  name = "";
  kind: StreamKind = "signals";
  /** Of a raw stream: the newest blocks, as they came. */
  readonly raw: RawBlock[] = [];
  /** What a thin line sent ahead of the blocks, oldest first; those whose blocks have come since are dropped. */
  private envelopes: Envelope[] = [];
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
  add(block: SampleBlock | RawBlock, carrier: Carrier): boolean {
    const values = block.kind === "raw" ? NOTHING : block.values;
    if (values.length !== this.signals.length || block.seq <= this.newest - CAPACITY) return false;
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
    this.values.set(values, slot * this.signals.length);
    if (block.kind === "raw") {
      this.raw.push(block);
      if (this.raw.length > MAX_RAW_BLOCKS) this.raw.splice(0, MAX_RAW_BLOCKS / 10);
    }
    if (block.seq > this.newest) this.newest = block.seq;
    if (asked) this.counts.filled++;
    else this.counts[carrier]++;
    return true;
  }

  /** Shows what is still to come; true when it tells anything that no block here tells. */
  addEnvelope(envelope: Envelope): boolean {
    const last = this.envelopes.at(-1);
    if (envelope.low.length !== this.signals.length || envelope.seq <= this.newest) return false;
    if (last && envelope.seq <= last.seq) return false;
    this.envelopes.push(envelope);
    if (this.envelopes.length > MAX_ENVELOPES) this.envelopes.splice(0, MAX_ENVELOPES / 10);
    return true;
  }

  /** The envelope that stands for a block that has not come, or null. */
  envelopeOf(seq: number): Envelope | null {
    let low = 0;
    let high = this.envelopes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.envelopes[middle]?.seq ?? 0) < seq) low = middle + 1;
      else high = middle;
    }
    const found = this.envelopes[low];
    return found && found.first <= seq ? found : null;
  }

  /** The highest number that is known of, by its block or by an envelope. */
  get newestShown(): number {
    return Math.max(this.newest, this.envelopes.at(-1)?.seq ?? -1);
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
    const ahead = this.ahead();
    if (ahead) return ahead.tUs / 1e6;
    return this.newest < 0 ? null : (this.times[this.newest % CAPACITY] ?? null);
  }

  /** The newest envelope, where it is newer than every block. */
  private ahead(): Envelope | null {
    const last = this.envelopes.at(-1);
    return last && last.seq > this.newest ? last : null;
  }

  /** The same of the oldest block that is here. */
  oldestTime(): number | null {
    for (let seq = Math.max(this.from, this.newest - CAPACITY + 1, 0); seq <= this.newest; seq++) {
      const slot = seq % CAPACITY;
      if (this.seqs[slot] === seq && this.states[slot] === HAVE) return this.times[slot] ?? null;
    }
    return null;
  }

  /** The last value of a signal, NaN where it has none; on a thin line the middle of what it was between just now. */
  latest(signal: number): number {
    const ahead = this.ahead();
    if (ahead) return ((ahead.low[signal] ?? NaN) + (ahead.high[signal] ?? NaN)) / 2;
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
    const newest = this.newestShown;
    for (let seq = oldest; seq <= newest; seq++) {
      const slot = seq % CAPACITY;
      if (this.seqs[slot] !== seq || this.states[slot] !== HAVE) {
        const envelope = this.envelopeOf(seq);
        if (envelope === null) {
          hole = times.length > 0;
          continue;
        }
        const end = envelope.tUs / 1e6;
        if (end >= fromS && end <= toS && end > (times.at(-1) ?? -Infinity) + ENVELOPE_STEP_S) {
          // Two points at its end: a stroke from the lowest to the highest value.
          times.push(end - ENVELOPE_STEP_S, end);
          signals.forEach((signal, i) => {
            for (const bound of [envelope.low, envelope.high]) {
              const value = bound[signal] ?? NaN;
              columns[i]?.push(Number.isNaN(value) ? null : value);
            }
          });
        }
        // The rest of it is told; a block in its middle, if one has come, is drawn by the next turns.
        while (seq + 1 <= envelope.seq && this.seqs[(seq + 1) % CAPACITY] !== seq + 1) seq++;
        hole = false;
        continue;
      }
      const t = this.times[slot] ?? 0;
      if (t < fromS || t > toS || t <= (times.at(-1) ?? -Infinity)) continue;
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

  /** Puts signals into columns of time, `stepS` wide from `fromS` on; where blocks or values lack, a break stands. */
  fillColumns(signals: readonly number[], columns: readonly Column[], fromS: number, stepS: number): void {
    const width = this.signals.length;
    const count = signals.length;
    const length = columns[0]?.min.length ?? 0;
    const broken = new Uint8Array(count);
    let hole = false;
    const newest = this.newestShown;
    for (let seq = Math.max(this.from, this.newest - CAPACITY + 1, 0); seq <= newest; seq++) {
      const slot = seq % CAPACITY;
      if (this.seqs[slot] !== seq || this.states[slot] !== HAVE) {
        const envelope = this.envelopeOf(seq);
        if (envelope === null) hole = true;
        else {
          // What a thin line sent ahead: the bounds stand at the end of the stretch that they tell of.
          hole = false;
          const at = Math.floor((envelope.tUs / 1e6 - fromS) / stepS);
          if (at >= 0 && at < length) {
            for (let i = 0; i < count; i++) {
              const signal = signals[i] as number;
              const column = columns[i] as Column;
              const low = envelope.low[signal] as number;
              const high = envelope.high[signal] as number;
              if (!(low >= (column.min[at] as number))) column.min[at] = low;
              if (!(high <= (column.max[at] as number))) column.max[at] = high;
            }
          }
          while (seq + 1 <= envelope.seq && this.seqs[(seq + 1) % CAPACITY] !== seq + 1) seq++;
        }
        continue;
      }
      const at = Math.floor(((this.times[slot] as number) - fromS) / stepS);
      if (at >= length) break;
      if (hole) {
        broken.fill(1);
        hole = false;
      }
      if (at < 0) continue;
      for (let i = 0; i < count; i++) {
        const value = this.values[slot * width + (signals[i] as number)] as number;
        if (value !== value) {
          broken[i] = 1;
          continue;
        }
        const column = columns[i] as Column;
        if (broken[i] === 1) {
          column.breaks[at] = 1;
          broken[i] = 0;
        }
        if (!(value >= (column.min[at] as number))) column.min[at] = value;
        if (!(value <= (column.max[at] as number))) column.max[at] = value;
      }
    }
  }

  /** The last value that a signal had at or before a time, NaN where there was none within `withinS`. */
  lastValue(signal: number, t: number, withinS: number): number {
    for (let seq = this.newest; seq >= Math.max(this.from, this.newest - CAPACITY + 1, 0); seq--) {
      const slot = seq % CAPACITY;
      if (this.seqs[slot] !== seq || this.states[slot] !== HAVE) continue;
      const at = this.times[slot] as number;
      if (at > t) continue;
      if (t - at > withinS) return NaN;
      const value = this.values[slot * this.signals.length + signal] as number;
      if (value === value) return value;
    }
    return NaN;
  }

  /** The value of a signal in the last block at or before a time, NaN where there is none within `withinS`. */
  valueAt(signal: number, t: number, withinS: number): number {
    for (let seq = this.newest; seq >= Math.max(this.from, this.newest - CAPACITY + 1, 0); seq--) {
      const slot = seq % CAPACITY;
      if (this.seqs[slot] !== seq || this.states[slot] !== HAVE) continue;
      const at = this.times[slot] as number;
      if (at > t) continue;
      return t - at > withinS ? NaN : (this.values[slot * this.signals.length + signal] ?? NaN);
    }
    return NaN;
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
