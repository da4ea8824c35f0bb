/** What the service sends as JSON: the parts of it that this page reads. */

export interface Sentence {
  en: string;
  zh: string;
}

export interface Signal {
  name: string;
  unit: string;
  message?: string;
  min?: number | null;
  max?: number | null;
}

export type Severity = "stop" | "soon" | "monitor" | "low";

export interface Dtc {
  code: string;
  display: string;
  ecu: string | null;
  status: ({ mask: string } & Record<string, boolean | string>) | null;
  kind: string[];
  text: Sentence | null;
  severity: Severity;
  raw: string;
}

export interface Reading {
  name: string;
  value: number | string | null;
  unit: string;
}

export interface FreezeFrame {
  ecu: string;
  code: string;
  readings: Reading[];
  raw: string;
}

export interface Finding {
  code: string;
  severity: Severity;
  title: Sentence;
  evidence: { kind: string; ref: string; text: Sentence; value: number | null; unit: string }[];
  safety: Sentence[];
}

export interface CaseMatch {
  case_id: string;
  title: Sentence;
  p: number;
  interval?: [number, number];
  because?: (string | Sentence)[];
  against?: (string | Sentence)[];
  fix?: Sentence | null;
}

export interface Battery {
  cells: number;
  cell_v: (number | null)[];
  pack_v: number | null;
  current_a: number | null;
  soc: number | null;
  spread_mv: number | null;
  insulation_kohm: number | null;
  weakest: { cell: number; why: Sentence | null } | null;
  /** Each cell's number in the car's own counting: `17`, or module and cell `2-3`. */
  cell_labels?: string[];
}

export interface Report {
  simulated?: boolean;
  /** False: the customer wants nothing remembered by the network of workshops. */
  network?: boolean;
  started?: string;
  complete?: boolean;
  vehicle?: { make: string | null; model: string | null; model_year: number | null };
  ecus?: { address: string; name: string; role: string; identification: Record<string, string> }[];
  unanswered?: { address: string; why: Sentence; role: string }[];
  dtcs?: Dtc[];
  freeze_frames?: FreezeFrame[];
  battery?: Battery | null;
  findings?: Finding[];
  notes?: Sentence[];
  cases?: { verdict: string; matches: CaseMatch[]; next_test?: { title?: Sentence; how?: Sentence } | null; why?: Sentence | null } | null;
}

/** How good somebody's line is, as their page said. */
export interface Line {
  rtt_ms: number;
  missing: number;
  fps: number;
  over: "rtc" | "wss";
}

export interface Person {
  id: number;
  role: string;
  name: string;
  line?: Line | null;
}

export interface RoomEvent {
  type: "event";
  n: number;
  t_us: number;
  kind:
    | "region" | "chat" | "join" | "leave" | "online" | "offline" | "mark" | "unmark" | "request" | "withdraw" | "seen"
    | "decision" | "result" | "stop" | "dtc" | "finish" | "gap" | "file" | "call" | "recording" | "consent" | "still"
    | "stroke" | "unstroke" | "queue" | "position";
  who: Person;
  id: string;
  text: string;
  body: Record<string, unknown>;
}

/** What somebody looks at: those who follow look at it too. */
export interface View {
  type: "view";
  t_us: number;
  t2_us: number;
  cursor_us: number;
  signals: string[];
  lead: boolean;
}

/** A record that is played: its whole length, where it is and how fast it goes (0: it stands). */
export interface Replaying {
  from_us: number;
  to_us: number;
  at_us: number;
  speed: number;
}

export interface StreamInfo {
  stream: number;
  epoch: number;
  first: number;
  next: number;
  name?: string;
  kind?: "signals" | "cells" | "raw";
  rate_hz?: number;
  signals: Signal[];
}

/** A STUN or TURN server for the live edge, as RTCIceServer takes it. */
export interface IceServer {
  urls: string[];
  username?: string;
  credential?: string;
}

/** Somebody in the call: what they send, and how much their line bears. */
export interface CallPerson {
  id: number;
  audio: boolean;
  video: boolean;
  level: "video" | "voice" | "chat";
  /** Another number each time that they join. */
  visit: number;
}

export interface CallState {
  type: "call";
  mode: "none" | "mesh" | "sfu";
  ice: IceServer[];
  relay_only: boolean;
  people: CallPerson[];
  /** `waiting`: whose consent is lacking. */
  recording: { wanted: boolean; running: boolean; since_us: number; waiting: number[] };
  /** `session`: another number after every loss of what pages had at the engine. */
  engine: { ready: boolean; session: number };
}

/** How two pages connect. `call` is the connection's number: what belongs to another one is dropped. */
export type SignalBody =
  | { kind: "offer" | "answer"; sdp: string; call: number }
  | ({ kind: "candidate"; call: number } & RTCIceCandidateInit);

export interface SfuAnswer {
  type: "sfu";
  id: string;
  body?: Record<string, unknown>;
  error?: string;
}

export type FromService =
  | { type: "welcome"; you: Person; room: string; now_us: number; events: RoomEvent[]; ice?: IceServer[]; relay_only?: boolean; replay?: Replaying | null }
  | { type: "car"; report: Report; streams: StreamInfo[]; vin: string }
  | { type: "beat"; now_us: number; agent: boolean; heads: { stream: number; epoch: number; next: number }[]; chain?: { n: number; hash: string } }
  | { type: "clock"; at_us: number; speed: number; reset: boolean }
  | { type: "hold"; id: string; count: number }
  | { type: "people"; people: Person[] }
  | { type: "gone"; stream: number; epoch: number; ranges: [number, number][] }
  | { type: "rtc"; attempt: number; sdp: string; relay?: boolean | null }
  | { type: "live"; over: "rtc" | "wss" }
  | { type: "refused"; code: string; id: string }
  | (View & { who: Person })
  | { type: "pong"; t_us: number; now_us: number }
  | { type: "closed"; code: string }
  | CallState
  | { type: "signal"; from: number; body: SignalBody }
  | SfuAnswer
  | RoomEvent;

export type ToService =
  | { type: "chat"; id: string; text: string }
  | { type: "want"; stream: number; epoch: number; first: number; last: number }
  | { type: "live"; over: "wss" }
  | { type: "ping"; t_us: number }
  | { type: "mark"; id: string; stream: number; signal: string; t_us: number; t2_us: number; text: string }
  | { type: "unmark"; id: string }
  | View
  | ({ type: "line" } & Line)
  | { type: "ask"; id: string; ecu: string; data: string; text: string; hold: boolean }
  | { type: "withdraw"; id: string }
  | {
      type: "decide";
      id: string;
      digest: string;
      decision: "approve" | "session" | "deny" | "second";
      proof: string;
      unplugged: boolean;
    }
  | { type: "hold"; id: string; count: number; proof: string }
  | { type: "stop"; text: string }
  | { type: "finish"; id: string; body: Record<string, unknown> }
  | { type: "play"; speed: number; t_us: number }
  | { type: "call"; join: boolean; audio: boolean; video: boolean; level: "video" | "voice" | "chat" }
  | { type: "signal"; to: number; body: SignalBody }
  | { type: "sfu"; id: string; op: "publish" | "watch" | "watching" | "candidate" | "unpublish"; body: Record<string, unknown> }
  | { type: "record"; on: boolean }
  | { type: "consent"; given: boolean }
  | { type: "still"; id: string; file: string; of: number; t_us: number; text: string }
  | { type: "stroke"; id: string; still: string; points: (readonly [number, number])[]; colour: number }
  | { type: "unstroke"; id: string }
  | { type: "rtc"; attempt: number; sdp: string };
