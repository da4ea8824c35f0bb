/**
 * Curves as columns of time: the smallest and the largest value of every pixel's stretch, in typed arrays that are used
 * again for every frame. What is between two columns is joined, unless a break says that something lacks there.
 */

export interface Column {
  readonly min: Float32Array;
  readonly max: Float32Array;
  /** 1: what is here must not be joined to what is before. */
  readonly breaks: Uint8Array;
}

export function makeColumn(width: number): Column {
  return { min: new Float32Array(width), max: new Float32Array(width), breaks: new Uint8Array(width) };
}

export function clearColumn(column: Column): void {
  column.min.fill(NaN);
  column.max.fill(NaN);
  column.breaks.fill(0);
}

/** Smallest and largest value over columns, or null where there is none. */
export function extent(columns: readonly Column[]): [number, number] | null {
  let low = Infinity;
  let high = -Infinity;
  for (const { min, max } of columns) {
    for (let i = 0; i < min.length; i++) {
      const least = min[i] as number;
      const most = max[i] as number;
      if (least < low) low = least;
      if (most > high) high = most;
    }
  }
  return low <= high ? [low, high] : null;
}

/** The last column with a value at or before an index, -1 if there is none. */
export function lastFilled(column: Column, from = column.min.length - 1): number {
  for (let i = Math.min(from, column.min.length - 1); i >= 0; i--) if (!Number.isNaN(column.max[i])) return i;
  return -1;
}

/** The first column with a value at or after an index, -1 if there is none. */
export function firstFilled(column: Column, from: number): number {
  for (let i = Math.max(0, from); i < column.min.length; i++) if (!Number.isNaN(column.max[i])) return i;
  return -1;
}

/** What a curve shows at a column: its own value, else that of the nearest column before it that is joined. */
export function valueAtColumn(column: Column, index: number): number {
  const at = lastFilled(column, index);
  if (at < 0) return NaN;
  const next = firstFilled(column, index + 1);
  if (at < index && (next < 0 || column.breaks[next] === 1)) return NaN;
  return ((column.min[at] as number) + (column.max[at] as number)) / 2;
}

export interface Pen {
  moveTo(x: number, y: number): void;
  lineTo(x: number, y: number): void;
}

/** Draws a curve; of each column first the end that is nearer to where the pen is. */
export function traceColumns(column: Column, pen: Pen, x0: number, pixelsPerColumn: number, y: (value: number) => number): void {
  const { min, max, breaks } = column;
  let down = false;
  let last = 0;
  let pending = NaN;
  for (let i = 0; i < min.length; i++) {
    if (breaks[i] === 1) {
      if (down && !Number.isNaN(pending)) pen.lineTo(pending + 1, last);
      down = false;
      pending = NaN;
    }
    const low = min[i] as number;
    if (Number.isNaN(low)) continue;
    const high = max[i] as number;
    const x = x0 + (i + 0.5) * pixelsPerColumn;
    const a = y(low);
    const b = low === high ? a : y(high);
    if (!down) {
      pen.moveTo(x, a);
      // A value that stands alone is seen as a dot's width of line.
      pending = x;
      if (a !== b) pen.lineTo(x, b);
      last = b;
      down = true;
      continue;
    }
    const nearFirst = Math.abs(a - last) <= Math.abs(b - last);
    pen.lineTo(x, nearFirst ? a : b);
    if (a !== b) pen.lineTo(x, nearFirst ? b : a);
    last = nearFirst ? b : a;
    pending = NaN;
  }
  if (down && !Number.isNaN(pending)) pen.lineTo(pending + 1, last);
}
