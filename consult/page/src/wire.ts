/**
 * Blocks as bytes: the browser's half of consult/wire.py, rawframes.py and batches.py, where the layouts are drawn.
 * Both sides are pinned by the same vectors.
 */

export const SAMPLES = 1;
export const BEAT = 2;
export const RAW = 3;
export const ENVELOPE = 4;
export const BATCH = 5;
const VERSION = 1;
const BEAT_SIZE = 16;
const HEAD_SIZE = 24;
const FRAME_SIZE = 12;
const MAX_BLOCK_BYTES = 16_384;
const MAX_BATCH_BYTES = 1 << 20;
const MAX_BATCH_BLOCKS = 1024;
const MAX_SIGNALS = 3965;
const KNOWN_FLAGS = 31;

/** What names a block: its stream, epoch and number. */
export interface Named {
  readonly stream: number;
  readonly epoch: number;
  readonly seq: number;
  /** UTC microseconds since the Unix epoch; exact, for it is far below 2^53. */
  readonly tUs: number;
}

export interface SampleBlock extends Named {
  readonly kind: "samples";
  /** One per signal; NaN where the signal has no value. */
  readonly values: Float32Array;
}

export interface Beat {
  readonly kind: "beat";
  readonly tUs: number;
}

/** One frame of the bus itself. */
export interface RawFrame {
  readonly tUs: number;
  readonly id: number;
  readonly extended: boolean;
  readonly fd: boolean;
  readonly remote: boolean;
  readonly error: boolean;
  /** The technician's own program sent it. */
  readonly sent: boolean;
  readonly data: Uint8Array;
}

export interface RawBlock extends Named {
  readonly kind: "raw";
  readonly frames: readonly RawFrame[];
}

/** The lowest and highest values of the blocks `first` to `seq`, which are still to come; `tUs` is that of the last. */
export interface Envelope extends Named {
  readonly kind: "envelope";
  readonly first: number;
  readonly low: Float32Array;
  readonly high: Float32Array;
}

/** The blocks `first` to `seq`, deflated: see unpack(). */
export interface PackedBatch extends Named {
  readonly kind: "batch";
  readonly first: number;
  readonly count: number;
  readonly size: number;
  readonly packed: Uint8Array<ArrayBuffer>;
}

export type Parsed = SampleBlock | Beat | RawBlock | Envelope | PackedBatch;

export class BlockBroken extends Error {}

/** Throws BlockBroken for anything else than one whole message of our version. */
export function parseBlock(buffer: ArrayBuffer): Parsed {
  const size = buffer.byteLength;
  if (size < BEAT_SIZE || size > MAX_BATCH_BYTES) throw new BlockBroken(`${size} bytes`);
  const view = new DataView(buffer);
  const kind = view.getUint8(0);
  if (view.getUint8(1) !== VERSION << 4) throw new BlockBroken(`version ${view.getUint8(1) >> 4}`);
  const tUs = Number(view.getBigUint64(8, true));
  if (kind === BEAT && size === BEAT_SIZE) return { kind: "beat", tUs };
  if (size < HEAD_SIZE) throw new BlockBroken(`${size} bytes`);
  if (view.getUint16(22, true) !== 0) throw new BlockBroken("reserved bits");
  const named = {
    stream: view.getUint16(2, true),
    epoch: view.getUint32(16, true),
    seq: view.getUint32(4, true),
    tUs,
  };
  const count = view.getUint16(20, true);
  const most = kind === BATCH ? MAX_BATCH_BYTES : kind === ENVELOPE ? 2 * MAX_BLOCK_BYTES : MAX_BLOCK_BYTES;
  if (size > most) throw new BlockBroken(`${size} bytes`);
  switch (kind) {
    case SAMPLES:
      return { kind: "samples", ...named, values: parseSamples(view, count) };
    case RAW:
      return { kind: "raw", ...named, frames: parseFrames(view, count, tUs) };
    case ENVELOPE:
      return { kind: "envelope", ...named, ...parseBounds(view, count, named.seq) };
    case BATCH:
      return { kind: "batch", ...named, count, ...parsePrefix(view, count, named.seq) };
    default:
      throw new BlockBroken(`unknown kind ${kind}`);
  }
}

function parseSamples(view: DataView, count: number): Float32Array {
  const bitmap = HEAD_SIZE + 4 * count;
  if (view.byteLength !== bitmap + Math.ceil(count / 8)) {
    throw new BlockBroken(`${view.byteLength} bytes for ${count} signals`);
  }
  const values = new Float32Array(count);
  readColumn(view, HEAD_SIZE, bitmap, values);
  return values;
}

/** Fills an array with values, NaN where the bitmap says that there is none. */
function readColumn(view: DataView, at: number, bitmap: number, values: Float32Array): void {
  const count = values.length;
  for (let i = 0; i < Math.ceil(count / 8); i++) {
    const bits = view.getUint8(bitmap + i);
    for (let bit = 0; bit < 8; bit++) {
      const signal = 8 * i + bit;
      const valid = ((bits >> bit) & 1) === 1;
      if (signal >= count) {
        if (valid) throw new BlockBroken("validity bits behind the last signal");
        continue;
      }
      const value = view.getFloat32(at + 4 * signal, true);
      if (valid && !Number.isFinite(value)) throw new BlockBroken("a valid value that is no number");
      values[signal] = valid ? value : NaN;
    }
  }
}

function parseFrames(view: DataView, count: number, tUs: number): RawFrame[] {
  const frames: RawFrame[] = [];
  let at = HEAD_SIZE;
  for (let i = 0; i < count; i++) {
    if (at + FRAME_SIZE > view.byteLength) throw new BlockBroken("frames cut short");
    const id = view.getUint32(at + 4, true);
    const length = view.getUint8(at + 8);
    const flags = view.getUint8(at + 9);
    const begin = at + FRAME_SIZE;
    const end = begin + 4 * Math.ceil(length / 4);
    const wrong = length > 64 || (flags & ~KNOWN_FLAGS) !== 0 || view.getUint16(at + 10, true) !== 0;
    if (wrong || end > view.byteLength) throw new BlockBroken("a frame that is none");
    for (let pad = begin + length; pad < end; pad++) {
      if (view.getUint8(pad) !== 0) throw new BlockBroken("a frame that is none");
    }
    frames.push({
      tUs: tUs + view.getUint32(at, true),
      id: id & 0x7fffffff,
      extended: id >>> 31 === 1,
      fd: (flags & 1) !== 0,
      remote: (flags & 4) !== 0,
      error: (flags & 8) !== 0,
      sent: (flags & 16) !== 0,
      data: new Uint8Array(view.buffer.slice(view.byteOffset + begin, view.byteOffset + begin + length) as ArrayBuffer),
    });
    at = end;
  }
  if (at !== view.byteLength) throw new BlockBroken("bytes behind the last frame");
  return frames;
}

function parseBounds(view: DataView, count: number, last: number): Pick<Envelope, "first" | "low" | "high"> {
  const values = HEAD_SIZE + 4;
  const bitmap = values + 8 * count;
  if (count > MAX_SIGNALS || view.byteLength !== bitmap + Math.ceil(count / 8)) {
    throw new BlockBroken(`${view.byteLength} bytes for ${count} signals`);
  }
  const first = view.getUint32(HEAD_SIZE, true);
  if (first > last) throw new BlockBroken("it ends before it begins");
  const low = new Float32Array(count);
  const high = new Float32Array(count);
  readColumn(view, values, bitmap, low);
  readColumn(view, values + 4 * count, bitmap, high);
  if (low.some((value, i) => value > (high[i] ?? NaN))) throw new BlockBroken("a lowest value above the highest");
  return { first, low, high };
}

function parsePrefix(view: DataView, count: number, last: number): Pick<PackedBatch, "first" | "size" | "packed"> {
  if (view.byteLength < HEAD_SIZE + 8) throw new BlockBroken(`${view.byteLength} bytes`);
  const first = view.getUint32(HEAD_SIZE, true);
  const size = view.getUint32(HEAD_SIZE + 4, true);
  const blocks = last - first + 1;
  const right = size === blocks * (8 + 4 * count + Math.ceil(count / 8)) && size <= 4 * MAX_BATCH_BYTES;
  if (blocks < 1 || blocks > MAX_BATCH_BLOCKS || count > MAX_SIGNALS || !right) {
    throw new BlockBroken(`${blocks} blocks in ${size} bytes`);
  }
  const from = view.byteOffset + HEAD_SIZE + 8;
  return { first, size, packed: new Uint8Array(view.buffer.slice(from) as ArrayBuffer) };
}

/** The blocks in a batch, as they were. Throws BlockBroken where that is no batch of blocks. */
export async function unpack(batch: PackedBatch): Promise<SampleBlock[]> {
  const plain = await inflate(batch.packed, batch.size);
  const view = new DataView(plain.buffer);
  const { count, first } = batch;
  const blocks = batch.seq - first + 1;
  const width = 4 * count;
  const bits = Math.ceil(count / 8);
  const found: SampleBlock[] = [];
  const row = new Uint8Array(width + bits);
  const rowView = new DataView(row.buffer);
  let tUs = BigInt(batch.tUs);
  for (let block = 0; block < blocks; block++) {
    tUs += view.getBigInt64(8 * block, true);
    if (tUs < 0n || tUs > 1n << 53n) throw new BlockBroken("a time that is none");
    for (let plane = 0; plane < 4; plane++) {
      for (let signal = 0; signal < count; signal++) {
        row[4 * signal + plane]! ^= plain[8 * blocks + (plane * count + signal) * blocks + block]!;
      }
    }
    for (let i = 0; i < bits; i++) row[width + i]! ^= plain[blocks * (8 + width) + block * bits + i]!;
    const values = new Float32Array(count);
    readColumn(rowView, 0, width, values);
    found.push({
      kind: "samples",
      stream: batch.stream,
      epoch: batch.epoch,
      seq: first + block,
      tUs: Number(tUs),
      values,
    });
  }
  if (found.at(-1)?.tUs !== batch.tUs) throw new BlockBroken("a time that is none");
  return found;
}

/** Raw deflate, never to more than was announced. */
async function inflate(packed: Uint8Array<ArrayBuffer>, size: number): Promise<Uint8Array<ArrayBuffer>> {
  const plain = new Uint8Array(size);
  let at = 0;
  try {
    const opened = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    const reader = opened.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (at + part.value.length > size) {
        await reader.cancel();
        throw new BlockBroken("what is packed has another size");
      }
      plain.set(part.value, at);
      at += part.value.length;
    }
  } catch (error) {
    throw error instanceof BlockBroken ? error : new BlockBroken("what is packed cannot be opened");
  }
  if (at !== size) throw new BlockBroken("what is packed has another size");
  return plain;
}
