/** Frames of the bus by id: how many, how often, the last bytes, and since when each byte is as it is. */
import type { RawBlock } from "./wire";

export interface RawRow {
  readonly key: string;
  readonly label: string;
  readonly sent: boolean;
  count: number;
  rateHz: number;
  bytes: Uint8Array;
  /** Of each byte: when it changed last, seconds since 1970. */
  changedS: number[];
}

interface Counter extends RawRow {
  times: number[];
}

const RATE_FRAMES = 32;

export class RawBoard {
  newestS = 0;
  private readonly rows = new Map<string, Counter>();
  private seen = -1;

  /** Takes the blocks that are newer than what was taken; what comes late by another way is not counted again. */
  take(blocks: readonly RawBlock[]): void {
    const before = this.seen;
    for (const block of blocks) {
      if (block.seq <= before) continue;
      if (block.seq > this.seen) this.seen = block.seq;
      for (const frame of block.frames) {
        const label = frame.id.toString(16).toUpperCase().padStart(frame.extended ? 8 : 3, "0");
        const key = `${label}${frame.sent ? "t" : ""}`;
        const t = frame.tUs / 1e6;
        if (t > this.newestS) this.newestS = t;
        const row = this.rows.get(key);
        if (!row) {
          this.rows.set(key, { key, label, sent: frame.sent, count: 1, rateHz: 0, bytes: frame.data, changedS: Array.from(frame.data, () => -Infinity), times: [t] });
          continue;
        }
        row.count++;
        row.times.push(t);
        if (row.times.length > RATE_FRAMES) row.times.shift();
        const span = t - (row.times[0] as number);
        row.rateHz = span > 0 ? (row.times.length - 1) / span : 0;
        row.changedS = Array.from(frame.data, (byte, i) => (row.bytes[i] === byte ? (row.changedS[i] ?? t) : t));
        row.bytes = frame.data;
      }
    }
  }

  list(): RawRow[] {
    return [...this.rows.values()];
  }
}
