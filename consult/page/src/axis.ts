/** What stands at the axes of a chart. */

/** A little room above and below; a constant stays in the middle. */
export function padded(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  const span = Math.max(high - low, Math.abs(high) * 1e-3, 1e-3);
  const middle = (high + low) / 2;
  return [middle - span * 0.62, middle + span * 0.62];
}

export function clock(seconds: number, splits: number[]): string {
  const date = new Date(seconds * 1000);
  const text = date.toTimeString().slice(0, 8);
  const fine = splits.length > 1 && (splits[1] as number) - (splits[0] as number) < 1;
  return fine ? `${text.slice(3)}.${String(date.getMilliseconds()).padStart(3, "0").slice(0, 2)}` : text;
}

export function ticks(value: number, splits: number[]): string {
  const step = splits.length > 1 ? Math.abs((splits[1] ?? 0) - (splits[0] ?? 0)) : 0;
  if (step === 0) return String(Number(value.toPrecision(5)));
  let places = 0;
  while (places < 6 && Math.abs(step * 10 ** places - Math.round(step * 10 ** places)) > 1e-6 * 10 ** places * step) places++;
  return value.toFixed(places);
}
