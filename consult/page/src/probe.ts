/** What tests and the curious ask of a page: a digest of the samples it holds, to compare two pages by, and its frames. */
import type { Call } from "./call";
import type { FrameMeter } from "./frames";
import type { RoomState } from "./state";

export interface Probe {
  digest(stream: number, names: string[], fromUs: number, toUs: number): Promise<string>;
  frames(): { frames: number[]; draws: number[]; costs: number[] };
  clearFrames(): void;
  /** The stretch of time that the charts show, seconds since 1970, and whether it moves with what comes. */
  window(): { from: number; to: number; live: boolean };
  call(): Call;
  /** This page's person, by number. */
  you(): number;
}

declare global {
  interface Window {
    huizhen?: Probe;
  }
}

/** Bytes of the samples of some signals: per block u32 seq, u64 t_us, then a float32 each; no value is the quiet NaN. */
export function sampleBytes(rows: Iterable<{ seq: number; t: number; values: Float32Array }>, indices: readonly number[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for (const { seq, t, values } of rows) {
    const part = new DataView(new ArrayBuffer(12 + 4 * indices.length));
    part.setUint32(0, seq, true);
    part.setBigUint64(4, BigInt(Math.round(t * 1e6)), true);
    indices.forEach((index, i) => {
      const value = values[index] ?? NaN;
      if (Number.isNaN(value)) part.setUint32(12 + 4 * i, 0x7fc00000, true);
      else part.setFloat32(12 + 4 * i, value, true);
    });
    parts.push(new Uint8Array(part.buffer));
    length += part.byteLength;
  }
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function exposeProbe(state: RoomState, call: Call, meter: () => FrameMeter, window_: () => { from: number; to: number; live: boolean }): void {
  window.huizhen = {
    async digest(stream, names, fromUs, toUs) {
      const store = state.link.streams.get(stream);
      if (!store) throw new Error(`no stream ${stream}`);
      const indices = names.map((name) => store.signals.findIndex((signal) => signal.name === name));
      if (indices.includes(-1)) throw new Error("no such signal");
      const bytes = sampleBytes(store.rows(fromUs / 1e6, toUs / 1e6), indices);
      const hash = await crypto.subtle.digest("SHA-256", bytes);
      return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
    },
    frames: () => meter().report(),
    clearFrames: () => meter().clear(),
    window: window_,
    call: () => call,
    you: () => state.you?.id ?? 0,
  };
}
