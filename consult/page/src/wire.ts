/**
 * Sample blocks as bytes: the browser's half of consult/wire.py, where the layout is drawn.
 * Both are pinned by the same vectors.
 */

export const SAMPLES = 1;
export const BEAT = 2;
const VERSION = 1;
const BEAT_SIZE = 16;
const HEAD_SIZE = 24;
const MAX_BLOCK_BYTES = 16_384;

export interface SampleBlock {
  readonly kind: "samples";
  readonly stream: number;
  readonly epoch: number;
  readonly seq: number;
  /** UTC microseconds since the Unix epoch; exact, for it is far below 2^53. */
  readonly tUs: number;
  /** One per signal; NaN where the signal has no value. */
  readonly values: Float32Array;
}

export interface Beat {
  readonly kind: "beat";
  readonly tUs: number;
}

export class BlockBroken extends Error {}

/** Throws BlockBroken for anything else than one whole block or beat of our version. */
export function parseBlock(buffer: ArrayBuffer): SampleBlock | Beat {
  if (buffer.byteLength < BEAT_SIZE || buffer.byteLength > MAX_BLOCK_BYTES) {
    throw new BlockBroken(`${buffer.byteLength} bytes`);
  }
  const view = new DataView(buffer);
  const kind = view.getUint8(0);
  if (view.getUint8(1) !== VERSION << 4) throw new BlockBroken(`version ${view.getUint8(1) >> 4}`);
  const tUs = Number(view.getBigUint64(8, true));
  if (kind === BEAT && buffer.byteLength === BEAT_SIZE) return { kind: "beat", tUs };
  if (kind !== SAMPLES || buffer.byteLength < HEAD_SIZE) throw new BlockBroken(`unknown kind ${kind}`);
  const count = view.getUint16(20, true);
  const bitmap = HEAD_SIZE + 4 * count;
  if (view.getUint16(22, true) !== 0) throw new BlockBroken("reserved bits");
  if (buffer.byteLength !== bitmap + Math.ceil(count / 8)) {
    throw new BlockBroken(`${buffer.byteLength} bytes for ${count} signals`);
  }
  const values = new Float32Array(count);
  for (let i = 0; i < buffer.byteLength - bitmap; i++) {
    const bits = view.getUint8(bitmap + i);
    for (let bit = 0; bit < 8; bit++) {
      const signal = 8 * i + bit;
      const valid = ((bits >> bit) & 1) === 1;
      if (signal >= count) {
        if (valid) throw new BlockBroken("validity bits behind the last signal");
        continue;
      }
      const value = view.getFloat32(HEAD_SIZE + 4 * signal, true);
      if (valid && !Number.isFinite(value)) throw new BlockBroken("a valid value that is no number");
      values[signal] = valid ? value : NaN;
    }
  }
  return {
    kind: "samples",
    stream: view.getUint16(2, true),
    epoch: view.getUint32(16, true),
    seq: view.getUint32(4, true),
    tUs,
    values,
  };
}
