/**
 * A call by the service's media engine: one connection that brings this page's picture and voice there, and one that
 * fetches those of the others. Which engine it is nobody here knows. When one of the two dies it is made anew.
 */
import { configuration, limit, type MediaOwner, type Sending, type Servers } from "./mesh";
import { randomId } from "./link";
import type { CallPerson, SfuAnswer, ToService } from "./protocol";

const RETRY_MS = [500, 1000, 2000, 4000, 8000] as const;
const ANSWER_MS = 10_000;
const MEND_MS = 5000;
/** Who is in the call publishes a moment later: asked for again until they are there. */
const LOOK_AGAIN_MS = 1000;

type Body = Record<string, unknown>;

export interface SfuOwner extends MediaOwner {
  ask(message: Extract<ToService, { type: "sfu" }>): void;
}

export class EngineRefused extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

export class Sfu {
  private readonly owner: SfuOwner;
  private servers: Servers = { ice: [], relayOnly: false };
  private sending: Sending;
  private people: readonly CallPerson[] = [];
  private readonly waiting = new Map<string, { done: (body: Body) => void; failed: (error: Error) => void; timer: number }>();
  private readonly out: Outward;
  private readonly inward: Inward;
  private closed = false;

  constructor(owner: SfuOwner, sending: Sending) {
    this.owner = owner;
    this.sending = sending;
    const ask = (op: string, body: Body) => this.ask(op, body);
    this.out = new Outward(ask, () => ({ servers: this.servers, sending: this.sending }));
    this.inward = new Inward(ask, () => this.servers, (person, track) => this.owner.arrived(person, track));
  }

  update(people: readonly CallPerson[], servers: Servers): void {
    this.people = people;
    this.servers = servers;
    if (this.sending.may) this.out.begin();
    this.fetch();
  }

  send(sending: Sending): void {
    this.sending = sending;
    this.out.apply();
    this.fetch();
  }

  renew(): void {
    this.fail(new EngineRefused("unreachable"));
    this.out.renew();
    this.inward.renew();
  }

  /** An answer of the engine; or its word, without an id, that other media are there now. */
  answered(answer: SfuAnswer): void {
    if (answer.id === "" && answer.body?.["changed"] === true) this.inward.refresh();
    const waiting = this.waiting.get(answer.id);
    if (!waiting) return;
    this.waiting.delete(answer.id);
    window.clearTimeout(waiting.timer);
    if (answer.error) waiting.failed(new EngineRefused(answer.error));
    else waiting.done(answer.body ?? {});
  }

  connections(): RTCPeerConnection[] {
    return [this.out.connection, this.inward.connection].filter((one) => one !== null);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.out.close();
    this.inward.close();
    this.fail(new EngineRefused("unreachable"));
  }

  private fetch(): void {
    const { level } = this.sending.rung;
    // A line that bears no voice fetches none.
    const people = level === "chat" ? [] : this.people.filter((person) => person.audio || person.video);
    this.inward.want(people.map((person) => person.id), level === "video");
  }

  private ask(op: string, body: Body): Promise<Body> {
    if (this.closed) return Promise.reject(new EngineRefused("unreachable"));
    const id = randomId();
    return new Promise((done, failed) => {
      const timer = window.setTimeout(() => this.answered({ type: "sfu", id, error: "unreachable" }), ANSWER_MS);
      this.waiting.set(id, { done, failed, timer });
      this.owner.ask({ type: "sfu", id, op: op as "publish", body });
    });
  }

  private fail(error: Error): void {
    for (const { failed, timer } of this.waiting.values()) {
      window.clearTimeout(timer);
      failed(error);
    }
    this.waiting.clear();
  }
}

/** What both ways have in common: a connection that is watched and made anew. */
abstract class Way {
  connection: RTCPeerConnection | null = null;
  protected readonly ask: (op: string, body: Body) => Promise<Body>;
  private failures = 0;
  private timer: number | undefined;

  constructor(ask: (op: string, body: Body) => Promise<Body>) {
    this.ask = ask;
  }

  protected abstract start(): Promise<void>;
  protected abstract of: "publish" | "watch";

  protected open(servers: Servers): RTCPeerConnection {
    this.drop();
    const connection = new RTCPeerConnection(configuration(servers));
    this.connection = connection;
    connection.onicecandidate = ({ candidate }) => {
      if (candidate && this.connection === connection) this.ask("candidate", { of: this.of, candidate: candidate.toJSON() }).catch(() => undefined);
    };
    connection.onconnectionstatechange = () => {
      if (this.connection !== connection) return;
      const state = connection.connectionState;
      if (state === "connected") {
        this.failures = 0;
        window.clearTimeout(this.timer);
      } else if (state === "disconnected") this.after(MEND_MS, () => this.fail());
      else if (state === "failed") this.fail();
    };
    return connection;
  }

  protected run(): void {
    this.start().catch(() => this.fail());
  }

  protected fail(): void {
    this.drop();
    this.after(RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)] ?? 8000, () => this.run());
  }

  protected after(ms: number, then: () => void): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(then, ms);
  }

  protected drop(): void {
    window.clearTimeout(this.timer);
    const { connection } = this;
    this.connection = null;
    connection?.close();
  }

  close(): void {
    this.drop();
  }
}

class Outward extends Way {
  protected readonly of = "publish";
  private readonly now: () => { servers: Servers; sending: Sending };
  private senders: { audio?: RTCRtpSender; video?: RTCRtpSender } = {};
  private begun = false;
  private applying: Promise<void> = Promise.resolve();

  constructor(ask: Way["ask"], now: Outward["now"]) {
    super(ask);
    this.now = now;
  }

  begin(): void {
    if (this.begun) return;
    this.begun = true;
    this.run();
  }

  renew(): void {
    if (this.begun) this.run();
  }

  apply(): void {
    this.applying = this.applying.then(async () => {
      const { sending } = this.now();
      const { audio, video } = this.senders;
      const picture = sending.rung.level === "video" ? sending.video : null;
      await audio?.replaceTrack(sending.rung.level === "chat" ? null : sending.audio);
      await video?.replaceTrack(picture);
      if (video && picture) await limit(video, sending.rung, 1);
    }).catch(() => undefined);
  }

  protected async start(): Promise<void> {
    const connection = this.open(this.now().servers);
    const { sending } = this.now();
    this.senders = {};
    for (const kind of ["audio", "video"] as const) {
      const track = sending[kind];
      const transceiver = connection.addTransceiver(track ?? kind, { direction: "sendonly" });
      this.senders[kind] = transceiver.sender;
    }
    await connection.setLocalDescription();
    const { sdp } = await this.ask("publish", { sdp: connection.localDescription?.sdp ?? "" });
    if (this.connection !== connection) return;
    await connection.setRemoteDescription({ type: "answer", sdp: String(sdp) });
    this.apply();
  }
}

interface Feed {
  mid: string;
  person: number;
  kind: string;
}

class Inward extends Way {
  protected readonly of = "watch";
  private readonly servers: () => Servers;
  private readonly arrived: (person: number, track: MediaStreamTrack) => void;
  private wanted: readonly number[] = [];
  private pictures = true;
  private print = "";
  private running = false;
  /** Something has changed since the engine was asked last. */
  private stale = false;
  private readonly told = new Map<string, string>();

  constructor(ask: Way["ask"], servers: () => Servers, arrived: Inward["arrived"]) {
    super(ask);
    this.servers = servers;
    this.arrived = arrived;
  }

  /** Whom to fetch, and whether their pictures too. */
  want(people: readonly number[], pictures: boolean): void {
    const print = `${pictures} ${[...people].sort((a, b) => a - b).join()}`;
    if (print === this.print) return;
    this.print = print;
    this.wanted = people;
    // Whether a picture comes is said in an answer, and the engine only offers when there is something new.
    if (pictures !== this.pictures && this.connection) this.drop();
    this.pictures = pictures;
    this.refresh();
  }

  /** Somebody's media are there now, or are gone. */
  refresh(): void {
    this.stale = true;
    this.run();
  }

  renew(): void {
    this.drop();
    this.refresh();
  }

  protected override drop(): void {
    super.drop();
    this.told.clear();
  }

  protected async start(): Promise<void> {
    if (this.running) return;
    this.running = true;
    this.stale = true;
    try {
      while (this.stale) {
        this.stale = false;
        await this.look(this.wanted);
      }
    } finally {
      this.running = false;
    }
  }

  /** Asks for the people and takes the engine's offer: one that goes on with the connection that is there, or a first. */
  private async look(people: readonly number[]): Promise<void> {
    if (people.length === 0 && !this.connection) return;
    const body = await this.ask("watch", { people: [...people], fresh: !this.connection });
    const feeds = Array.isArray(body["feeds"]) ? (body["feeds"] as Feed[]) : [];
    if (typeof body["sdp"] === "string" && body["sdp"] !== "") await this.take(body["sdp"], body["fresh"] === true, feeds);
    if (people.some((person) => !feeds.some((feed) => feed.person === person))) this.after(LOOK_AGAIN_MS, () => this.refresh());
  }

  private async take(sdp: string, fresh: boolean, feeds: readonly Feed[]): Promise<void> {
    // An offer that goes on with a connection which this page has given up meanwhile leads nowhere.
    if (!fresh && !this.connection) throw new EngineRefused("other");
    const connection = this.connection && !fresh ? this.connection : this.open(this.servers());
    await connection.setRemoteDescription({ type: "offer", sdp });
    for (const transceiver of connection.getTransceivers()) {
      if (transceiver.receiver.track.kind === "video") transceiver.direction = this.pictures ? "recvonly" : "inactive";
    }
    await connection.setLocalDescription();
    if (this.connection !== connection) return;
    for (const feed of feeds) {
      const track = connection.getTransceivers().find((one) => one.mid === feed.mid)?.receiver.track;
      // A line of the connection that is used again is somebody else's now.
      if (!track || this.told.get(feed.mid) === `${feed.person} ${track.id}`) continue;
      this.told.set(feed.mid, `${feed.person} ${track.id}`);
      this.arrived(feed.person, track);
    }
    await this.ask("watching", { sdp: connection.localDescription?.sdp ?? "" });
  }
}
