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
}

export interface Report {
  simulated?: boolean;
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
  cases?: { verdict: string; matches: CaseMatch[]; next_test?: { title?: Sentence; how?: Sentence } | null } | null;
}

export interface Person {
  id: number;
  role: string;
  name: string;
}

export interface RoomEvent {
  type: "event";
  n: number;
  t_us: number;
  kind: "chat" | "join" | "leave" | "online" | "offline";
  who: Person;
  id: string;
  text: string;
}

export interface StreamInfo {
  stream: number;
  epoch: number;
  first: number;
  next: number;
  signals: Signal[];
}

export type FromService =
  | { type: "welcome"; you: Person; room: string; now_us: number; events: RoomEvent[] }
  | { type: "car"; report: Report; streams: StreamInfo[]; vin: string }
  | { type: "beat"; now_us: number; agent: boolean; heads: { stream: number; epoch: number; next: number }[] }
  | { type: "people"; people: Person[] }
  | { type: "gone"; stream: number; epoch: number; ranges: [number, number][] }
  | { type: "rtc"; attempt: number; sdp: string }
  | { type: "live"; over: "rtc" | "wss" }
  | { type: "refused"; code: string }
  | { type: "pong"; t_us: number; now_us: number }
  | { type: "closed"; code: string }
  | RoomEvent;

export type ToService =
  | { type: "chat"; id: string; text: string }
  | { type: "want"; stream: number; epoch: number; first: number; last: number }
  | { type: "live"; over: "wss" }
  | { type: "ping"; t_us: number }
  | { type: "rtc"; attempt: number; sdp: string };
