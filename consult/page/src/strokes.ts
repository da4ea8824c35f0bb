/** Frozen pictures and what people drew on them, as the room's events tell it. */
import type { Person, RoomEvent } from "./protocol";

export type Point = readonly [number, number];

export interface Stroke {
  readonly id: string;
  readonly who: Person;
  /** Index into COLOURS. */
  readonly colour: number;
  /** Shares of the picture's width and height, 0 to 1. */
  readonly points: readonly Point[];
}

export interface Still {
  readonly id: string;
  /** SHA-256 of the picture among the room's files. */
  readonly file: string;
  readonly who: Person;
  /** Whose camera it was: a person's number. */
  readonly of: number;
  readonly tUs: number;
  readonly text: string;
  /** Counts from 1. */
  readonly number: number;
  readonly strokes: Stroke[];
}

/** Bright ones: they are drawn with a dark edge, so that they stand out on chrome as on rubber. */
export const COLOURS = ["#ff4d4d", "#ffd23f", "#3ddc84", "#4cc3ff", "#ff7ce5", "#ffffff"] as const;
export const MOST_POINTS = 300;
export const MOST_STROKES = 200;
const FINE = 0.0008;

export class StillList {
  private readonly stills = new Map<string, Still>();
  changes = 0;

  /** True when the event was about a still. */
  take(event: RoomEvent): boolean {
    const { body } = event;
    if (event.kind === "still") {
      if (typeof body["file"] !== "string" || !/^[0-9a-f]{64}$/.test(body["file"]) || this.stills.has(event.id)) return false;
      const { of, t_us: tUs } = body;
      this.stills.set(event.id, {
        id: event.id,
        file: body["file"],
        who: event.who,
        of: typeof of === "number" ? of : event.who.id,
        tUs: typeof tUs === "number" ? tUs : event.t_us,
        text: event.text,
        number: this.stills.size + 1,
        strokes: [],
      });
    } else if (event.kind === "stroke") {
      const still = this.stills.get(String(body["still"]));
      const points = pointsOf(body["points"]);
      if (!still || points.length === 0 || still.strokes.some((one) => one.id === event.id)) return false;
      const colour = typeof body["colour"] === "number" ? body["colour"] : 0;
      still.strokes.push({ id: event.id, who: event.who, colour: ((colour % COLOURS.length) + COLOURS.length) % COLOURS.length, points });
    } else if (event.kind === "unstroke") {
      this.drop(event.id);
    } else return false;
    this.changes++;
    return true;
  }

  clear(): void {
    this.stills.clear();
    this.changes++;
  }

  /** A stroke that the service did not take. */
  drop(id: string): void {
    for (const still of this.stills.values()) {
      const at = still.strokes.findIndex((one) => one.id === id);
      if (at >= 0) still.strokes.splice(at, 1);
    }
    this.changes++;
  }

  get(id: string): Still | undefined {
    return this.stills.get(id);
  }

  /** In the order they were made. */
  list(): Still[] {
    return [...this.stills.values()];
  }
}

function pointsOf(value: unknown): Point[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((one: unknown): Point[] => (Array.isArray(one) && typeof one[0] === "number" && typeof one[1] === "number" ? [[one[0], one[1]]] : []));
}

/** Who draws in which colour: the one they had, else the first that nobody has. */
export function colourFor(still: Still, person: number): number {
  const own = still.strokes.find((one) => one.who.id === person);
  if (own) return own.colour;
  const taken = new Set(still.strokes.map((one) => one.colour));
  const free = COLOURS.findIndex((_, index) => !taken.has(index));
  return free >= 0 ? free : person % COLOURS.length;
}

/** The points that the line needs (Ramer, Douglas and Peucker): at most 300, no further off than can be seen. */
export function thinned(points: readonly Point[], most = MOST_POINTS): Point[] {
  const rounded = points.map(([x, y]): Point => [clipped(x), clipped(y)]);
  for (let off = FINE; ; off *= 1.6) {
    const kept = simplified(rounded, off);
    if (kept.length <= most) return kept;
  }
}

function clipped(value: number): number {
  return Math.round(Math.min(1, Math.max(0, value)) * 10_000) / 10_000;
}

function simplified(points: readonly Point[], off: number): Point[] {
  if (points.length < 3) return [...points];
  const keep = new Uint8Array(points.length);
  keep[0] = keep[points.length - 1] = 1;
  const spans: [number, number][] = [[0, points.length - 1]];
  while (spans.length > 0) {
    const [from, to] = spans.pop() as [number, number];
    let far = 0;
    let at = -1;
    for (let i = from + 1; i < to; i++) {
      const d = distance(points[i] as Point, points[from] as Point, points[to] as Point);
      if (d > far) [far, at] = [d, i];
    }
    if (at > 0 && far > off) {
      keep[at] = 1;
      spans.push([from, at], [at, to]);
    }
  }
  return points.filter((_, i) => keep[i] === 1);
}

function distance([x, y]: Point, [ax, ay]: Point, [bx, by]: Point): number {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const t = length === 0 ? 0 : Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / length));
  return Math.hypot(x - ax - t * dx, y - ay - t * dy);
}

/** What a canvas has for drawing lines. */
type Pen = Pick<CanvasRenderingContext2D, "beginPath" | "moveTo" | "lineTo" | "arc" | "stroke" | "fill" | "lineWidth" | "lineCap" | "lineJoin" | "strokeStyle" | "fillStyle">;

/** Draws lines over a picture of this size, in pixels: all edges first, so that the pieces of a long line are one. */
export function drawStrokes(pen: Pen, strokes: readonly Pick<Stroke, "points" | "colour">[], width: number, height: number): void {
  for (const edge of [true, false]) for (const { points, colour } of strokes) drawLine(pen, points, edge ? null : colour, width, height);
}

function drawLine(pen: Pen, points: readonly Point[], colour: number | null, width: number, height: number): void {
  const thick = Math.max(3, Math.min(width, height) / 110);
  const first = points[0];
  if (!first) return;
  pen.lineCap = pen.lineJoin = "round";
  pen.strokeStyle = pen.fillStyle = colour === null ? "rgb(0 0 0 / .55)" : (COLOURS[colour] ?? COLOURS[0]);
  pen.lineWidth = thick + (colour === null ? 2.5 : 0);
  pen.beginPath();
  if (points.length === 1) {
    pen.arc(first[0] * width, first[1] * height, thick + (colour === null ? 1.25 : 0), 0, 2 * Math.PI);
    pen.fill();
  } else {
    pen.moveTo(first[0] * width, first[1] * height);
    for (const [x, y] of points.slice(1)) pen.lineTo(x * width, y * height);
    pen.stroke();
  }
}
