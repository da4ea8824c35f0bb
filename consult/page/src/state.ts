/** What is known of the room. It outlives the view, which is built anew whenever the language changes. */
import { Arrangement } from "./arrange";
import type { Link } from "./link";
import { MarkList } from "./marks";
import type { Dtc, FromService, Person, Replaying, Report, RoomEvent, View } from "./protocol";
import { RequestList } from "./requests";
import { StillList } from "./strokes";
import { TimeView } from "./timeview";

export interface RoomState {
  readonly link: Link;
  readonly path: string;
  you: Person | null;
  report: Report;
  vin: string;
  people: Person[];
  events: RoomEvent[];
  carOnline: boolean;
  readonly arrangement: Arrangement;
  /** Whether the first signals were chosen for this person already. */
  firstChoice: boolean;
  readonly time: TimeView;
  readonly marks: MarkList;
  readonly requests: RequestList;
  readonly stills: StillList;
  /** Displays of the codes that changed last, and when. */
  readonly changedDtcs: Map<string, number>;
  /** Whom this page follows: a person's number. */
  following: number | null;
  leading: boolean;
  /** What those who lead look at. */
  readonly views: Map<number, View>;
  replay: Replaying | null;
  /** When the replay last said where it is, on this page's own clock. */
  replayHeardMs: number;
  /** Head of the record's chain, as the service tells it. */
  chain: { n: number; hash: string } | null;
  finished: RoomEvent | null;
  /** The last stop of everything, until the technician goes on. */
  stopped: RoomEvent | null;
}

export function makeState(link: Link, path: string): RoomState {
  return {
    link,
    path,
    you: null,
    report: {},
    vin: "",
    people: [],
    events: [],
    carOnline: false,
    arrangement: new Arrangement(),
    firstChoice: false,
    time: new TimeView(),
    marks: new MarkList(),
    requests: new RequestList(),
    stills: new StillList(),
    changedDtcs: new Map(),
    following: null,
    leading: false,
    views: new Map(),
    replay: null,
    replayHeardMs: 0,
    chain: null,
    finished: null,
    stopped: null,
  };
}

export function absorb(state: RoomState, message: FromService): void {
  switch (message.type) {
    case "welcome":
      state.you = message.you;
      state.replay = message.replay ?? null;
      state.replayHeardMs = performance.now();
      for (const event of message.events) addEvent(state, event);
      break;
    case "car":
      state.report = message.report;
      state.vin = message.vin;
      // What was told since the scan stands; what was told before it, the scan knows better.
      for (const event of state.events) if (event.kind === "dtc" && event.t_us / 1000 > (Date.parse(state.report.started ?? "") || 0)) takeDtcs(state, event);
      break;
    case "people":
      state.people = message.people;
      for (const id of state.views.keys()) if (!message.people.some((person) => person.id === id)) state.views.delete(id);
      break;
    case "beat":
      state.carOnline = message.agent;
      state.chain = message.chain ?? state.chain;
      break;
    case "event":
      addEvent(state, message);
      break;
    case "view":
      if (message.lead) state.views.set(message.who.id, message);
      else state.views.delete(message.who.id);
      break;
    case "refused":
      state.stills.drop(message.id);
      break;
    case "clock":
      if (state.replay) state.replay = { ...state.replay, at_us: message.at_us, speed: message.speed };
      state.replayHeardMs = performance.now();
      if (message.reset) forget(state);
      break;
    default:
      break;
  }
}

/** A replay jumped: what follows is the state of that time. */
function forget(state: RoomState): void {
  state.events = [];
  state.marks.clear();
  state.requests.clear();
  state.stills.clear();
  state.changedDtcs.clear();
  state.finished = null;
  state.stopped = null;
}

function addEvent(state: RoomState, event: RoomEvent): void {
  if (event.n <= (state.events.at(-1)?.n ?? 0)) return;
  state.events.push(event);
  state.marks.take(event);
  state.requests.take(event);
  state.stills.take(event);
  if (event.kind === "dtc") takeDtcs(state, event);
  if (event.kind === "finish") state.finished = event;
  if (event.kind === "stop") state.stopped = event.body["stopped"] === false ? null : event;
}

function takeDtcs(state: RoomState, event: RoomEvent): void {
  const dtcs = event.body["dtcs"];
  const changed = event.body["changed"];
  if (!Array.isArray(dtcs)) return;
  state.report = { ...state.report, dtcs: dtcs as Dtc[] };
  if (!Array.isArray(changed)) return;
  for (const display of changed) if (typeof display === "string") state.changedDtcs.set(display, event.t_us);
}

/** The session's first moment, seconds since 1970. */
export function sessionStart(state: RoomState): number {
  if (state.replay) return state.replay.from_us / 1e6;
  const first = state.events[0]?.t_us;
  const oldest = [...state.link.streams.values()].map((stream) => stream.oldestTime() ?? Infinity);
  return Math.min(first === undefined ? Infinity : first / 1e6, ...oldest);
}

/** The newest sample's time over all streams, 0 before there is one. */
export function newestTime(state: RoomState): number {
  return Math.max(0, ...[...state.link.streams.values()].map((stream) => stream.newestTime() ?? 0));
}

/** What time it is in the room, UTC microseconds: by the service's clock, in a replay by the record's. */
export function roomTimeUs(state: RoomState): number {
  const { replay } = state;
  if (!replay) return state.link.nowUs();
  return Math.min(replay.to_us, replay.at_us + (performance.now() - state.replayHeardMs) * 1000 * replay.speed);
}
