/**
 * Photos without the place, time and camera that phones write into them. What is seen stays byte for byte; of the metadata
 * only which side is up is kept. JPEG (ISO/IEC 10918-1, Exif 2.32) and PNG; other files go as they are.
 */
const ORIENTATION = 0x0112;
/** Chunks of a PNG that tell nothing but the picture and its colours. */
const PNG_KEPT = new Set(["IHDR", "PLTE", "IDAT", "IEND", "tRNS", "cHRM", "gAMA", "iCCP", "sBIT", "sRGB", "cICP", "pHYs", "bKGD", "acTL", "fcTL", "fdAT"]);

/** A picture whose parts cannot be told apart: what it says of places cannot be taken out. */
export class PictureBroken extends Error {}

/** The same file, or one without metadata that tells where it was taken. Throws PictureBroken. */
export async function withoutPlace(file: File): Promise<File> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const cleaned = clean(bytes);
  return cleaned === bytes ? file : new File([cleaned], file.name, { type: file.type, lastModified: file.lastModified });
}

export function clean(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return cleanJpeg(bytes);
  if (textAt(bytes, 0, 8) === "\x89PNG\r\n\x1a\n") return cleanPng(bytes);
  return bytes;
}

function textAt(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length));
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function joined(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function cleanJpeg(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const kept: Uint8Array[] = [bytes.subarray(0, 2)];
  let side = 0;
  let dropped = false;
  let at = 2;
  while (at < bytes.length) {
    if (bytes[at] !== 0xff) throw new PictureBroken();
    const marker = bytes[at + 1] ?? 0;
    if (marker === 0xff) {
      at += 1; // a fill byte
      continue;
    }
    if (marker === 0xd9) break;
    let end = at + 2 + u16(bytes, at + 2);
    if (marker < 0xc0 || end < at + 4) throw new PictureBroken();
    if (marker === 0xda) end = endOfScan(bytes, end);
    if (end > bytes.length) {
      if (marker === 0xda) end = bytes.length;
      else throw new PictureBroken();
    }
    if (isPicture(marker, bytes, at + 4)) kept.push(bytes.subarray(at, end));
    else {
      if (marker === 0xe1) side ||= sideOf(bytes.subarray(at + 4, end));
      dropped = true;
    }
    at = end;
  }
  // What phones hang behind the picture, further pictures and films, brings metadata of its own.
  if (!dropped && at + 2 === bytes.length) return bytes;
  if (side > 1) kept.splice(1, 0, exifOf(side));
  return joined([...kept, Uint8Array.of(0xff, 0xd9)]);
}

/** Whether a segment is needed to see the picture as it is: tables, frames, scans, JFIF, the ICC profile, Adobe's colours. */
function isPicture(marker: number, bytes: Uint8Array, at: number): boolean {
  if (marker === 0xe2) return textAt(bytes, at, 12) === "ICC_PROFILE\0";
  return marker < 0xe0 || marker === 0xe0 || marker === 0xee;
}

/** Where the next segment begins, or the end of the data: in a scan, 0xFF is followed by 0 or a restart marker. */
function endOfScan(bytes: Uint8Array, start: number): number {
  for (let at = start; at + 1 < bytes.length; at += 1) {
    const next = bytes[at + 1] ?? 0;
    if (bytes[at] === 0xff && next !== 0 && next !== 0xff && (next < 0xd0 || next > 0xd7)) return at;
  }
  return bytes.length;
}

/** Which side is up, 1 to 8; 0 where it is not told. */
function sideOf(exif: Uint8Array): number {
  if (textAt(exif, 0, 6) !== "Exif\0\0") return 0;
  const view = new DataView(exif.buffer, exif.byteOffset + 6, exif.length - 6);
  try {
    const little = view.getUint16(0) === 0x4949;
    const first = view.getUint32(4, little);
    for (let n = 0; n < view.getUint16(first, little); n += 1) {
      const entry = first + 2 + 12 * n;
      const side = view.getUint16(entry + 8, little);
      if (view.getUint16(entry, little) === ORIENTATION) return side >= 1 && side <= 8 ? side : 0;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it says nothing that can be read
  }
  return 0;
}

/** An Exif segment with nothing in it but the side that is up. */
function exifOf(side: number): Uint8Array {
  const tiff = [0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, side, 0, 0, 0, 0, 0, 0];
  const body = [0x45, 0x78, 0x69, 0x66, 0, 0, ...tiff];
  return Uint8Array.of(0xff, 0xe1, 0, body.length + 2, ...body);
}

function cleanPng(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const kept: Uint8Array[] = [bytes.subarray(0, 8)];
  let at = 8;
  let dropped = false;
  while (at < bytes.length) {
    if (at + 12 > bytes.length) throw new PictureBroken();
    const end = at + 12 + view.getUint32(at);
    const kind = textAt(bytes, at + 4, 4);
    if (end > bytes.length) throw new PictureBroken();
    if (PNG_KEPT.has(kind)) kept.push(bytes.subarray(at, end));
    else dropped = true;
    at = end;
    if (kind === "IEND") break;
  }
  return dropped || at < bytes.length ? joined(kept) : bytes;
}
