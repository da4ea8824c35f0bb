/** Diagnostic requests as the room's events tell them: who asked for what, what was decided, what came of it. */
import type { Person, RoomEvent, Sentence } from "./protocol";

export type RequestState =
  | "waiting" | "approved" | "running" | "done" | "denied" | "expired" | "stopped" | "withdrawn" | "refused" | "failed";

/** What the laptop itself thinks of a request, before anybody decides. */
export interface Seen {
  readonly digest: string;
  readonly risk: string;
  readonly session: boolean;
  readonly unplugged: boolean;
  readonly speedKmh: number | null;
  readonly supplyV: number | null;
  readonly unmet: Sentence | null;
}

export interface RoomRequest {
  readonly id: string;
  readonly who: Person;
  readonly askedUs: number;
  readonly why: string;
  readonly ecu: string;
  readonly data: string;
  readonly risk: string;
  readonly name: Sentence | null;
  readonly hold: boolean;
  readonly digest: string;
  readonly expiresUs: number;
  /** Persons needed besides the technician. */
  readonly seconds: number;
  readonly seconded: Person[];
  seen: Seen | null;
  state: RequestState;
  decidedBy: Person | null;
  decidedUs: number;
  session: boolean;
  /** What came of it: the result's body, and its text. */
  result: Record<string, unknown> | null;
  resultText: string;
  endedUs: number;
}

export const OPEN_STATES: readonly RequestState[] = ["waiting", "approved", "running"];

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function sentenceOf(value: unknown): Sentence | null {
  if (typeof value !== "object" || value === null) return null;
  const { en, zh } = value as Record<string, unknown>;
  return typeof en === "string" && typeof zh === "string" ? { en, zh } : null;
}

function seenOf(body: Record<string, unknown>): Seen {
  const state = typeof body["state"] === "object" && body["state"] !== null ? (body["state"] as Record<string, unknown>) : {};
  const figure = (value: unknown) => (typeof value === "number" && Number.isFinite(value) ? value : null);
  return {
    digest: textOf(body["digest"]),
    risk: textOf(body["risk"]),
    session: body["session"] === true,
    unplugged: body["unplugged"] === true,
    speedKmh: figure(state["speed_kmh"]),
    supplyV: figure(state["supply_v"]),
    unmet: sentenceOf(body["unmet"]),
  };
}

function numberOf(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

export class RequestList {
  private readonly requests = new Map<string, RoomRequest>();
  changes = 0;

  /** True when the event was about a request that is known. */
  take(event: RoomEvent): boolean {
    const body = event.body;
    if (event.kind === "request") {
      this.requests.set(event.id, {
        id: event.id,
        who: event.who,
        askedUs: event.t_us,
        why: event.text,
        ecu: textOf(body["ecu"]),
        data: textOf(body["data"]),
        risk: textOf(body["risk"]),
        name: sentenceOf(body["name"]),
        hold: body["hold"] === true,
        digest: textOf(body["digest"]),
        expiresUs: numberOf(body["expires_us"]),
        seconds: numberOf(body["seconds"]),
        seconded: [],
        seen: null,
        state: "waiting",
        decidedBy: null,
        decidedUs: 0,
        session: false,
        result: null,
        resultText: "",
        endedUs: 0,
      });
      this.changes++;
      return true;
    }
    const request = this.requests.get(event.id);
    if (!request) return false;
    if (event.kind === "withdraw") this.end(request, "withdrawn", event);
    else if (event.kind === "seen") request.seen = seenOf(body);
    else if (event.kind === "decision") this.decide(request, event);
    else if (event.kind === "result") {
      // Late news of the laptop may follow an "expired" of the service; nothing else is said twice.
      const outcome = textOf(body["outcome"]);
      const known: readonly RequestState[] = ["done", "refused", "failed", "stopped", "expired"];
      request.result = body;
      request.resultText = event.text;
      this.end(request, known.find((state) => state === outcome) ?? "failed", event);
    } else return false;
    this.changes++;
    return true;
  }

  clear(): void {
    this.requests.clear();
    this.changes++;
  }

  get(id: string): RoomRequest | undefined {
    return this.requests.get(id);
  }

  /** Newest first. */
  list(): RoomRequest[] {
    return [...this.requests.values()].sort((a, b) => b.askedUs - a.askedUs);
  }

  /** Those that somebody may still answer, oldest first. */
  waiting(nowUs: number): RoomRequest[] {
    return [...this.requests.values()].filter((one) => one.state === "waiting" && !isLate(one, nowUs));
  }

  private decide(request: RoomRequest, event: RoomEvent): void {
    const decision = textOf(event.body["decision"]);
    if (decision === "second") {
      if (!request.seconded.some((person) => person.id === event.who.id)) request.seconded.push(event.who);
      return;
    }
    request.decidedBy = event.who;
    request.decidedUs = event.t_us;
    request.session = decision === "session";
    if (decision === "deny") this.end(request, "denied", event);
    else request.state = request.hold ? "running" : "approved";
  }

  private end(request: RoomRequest, state: RequestState, event: RoomEvent): void {
    request.state = state;
    request.endedUs = event.t_us;
  }
}

/** Nobody answered in time, whether or not the service has said so yet. */
export function isLate(request: RoomRequest, nowUs: number): boolean {
  return request.state === "waiting" && request.expiresUs > 0 && nowUs > request.expiresUs;
}

/** Whole seconds left, 0 when it is too late. */
export function secondsLeft(request: RoomRequest, nowUs: number): number {
  return request.expiresUs > 0 ? Math.max(0, Math.ceil((request.expiresUs - nowUs) / 1e6)) : 0;
}

/** Hex as people read it: pairs in capitals. */
export function spaced(hex: string): string {
  return (hex.toUpperCase().match(/../g) ?? []).join(" ");
}
