/** Marks on the curves as the room's events tell them: who points at which signal at which time. */
import type { Person, RoomEvent } from "./protocol";

export interface MarkNote {
  readonly id: string;
  readonly who: Person;
  readonly stream: number;
  readonly signal: string;
  readonly tUs: number;
  readonly t2Us: number;
  readonly text: string;
  /** Counts from 1 in the order they were set; stays when others go. */
  readonly number: number;
}

export class MarkList {
  private readonly notes = new Map<string, MarkNote>();
  private count = 0;
  changes = 0;

  /** True when the event was about a mark. */
  take(event: RoomEvent): boolean {
    if (event.kind === "unmark") this.notes.delete(event.id);
    else if (event.kind === "mark") {
      const { stream, signal, t_us: tUs, t2_us: t2Us } = event.body;
      if (typeof stream !== "number" || typeof signal !== "string" || typeof tUs !== "number") return false;
      const known = this.notes.get(event.id);
      this.notes.set(event.id, {
        id: event.id,
        who: event.who,
        stream,
        signal,
        tUs,
        t2Us: typeof t2Us === "number" ? t2Us : 0,
        text: event.text,
        number: known?.number ?? ++this.count,
      });
    } else return false;
    this.changes++;
    return true;
  }

  clear(): void {
    this.notes.clear();
    this.count = 0;
    this.changes++;
  }

  get(id: string): MarkNote | undefined {
    return this.notes.get(id);
  }

  /** In the order of their time at the car. */
  list(): MarkNote[] {
    return [...this.notes.values()].sort((a, b) => a.tUs - b.tUs);
  }

  of(stream: number, signal: string): MarkNote[] {
    return [...this.notes.values()].filter((note) => note.stream === stream && note.signal === signal);
  }
}
