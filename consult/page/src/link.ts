/** The websocket to the room: connects, watches for silence, comes back, and routes what arrives. */
import { Edge } from "./edge";
import type { FromService, ToService } from "./protocol";
import { StreamStore, type Carrier } from "./store";
import { BlockBroken, parseBlock } from "./wire";

const SILENCE_MS = 2000;
const BACKOFF_MS = [200, 500, 1000, 2000, 4000] as const;
const WANT_LIMIT = 600;
const PING_MS = 2000;
const RENEW_MS = 20 * 60_000;

export type LinkState = "connecting" | "online" | "away" | "ended";

export interface LinkOwner {
  said(message: FromService): void;
  changed(): void;
  ended(code: string): void;
}

export class Link {
  state: LinkState = "connecting";
  readonly edge: Edge;
  readonly streams = new Map<number, StreamStore>();
  /** What brings the live blocks now. */
  carrier: Carrier = "wss";
  brokenBlocks = 0;
  /** Median of the last delays in milliseconds, by the service's clock; null before there are any. */
  delayMs: number | null = null;
  private readonly path: string;
  private readonly owner: LinkOwner;
  private socket: WebSocket | null = null;
  private heardAt = 0;
  private failures = 0;
  /** Our clock minus the service's, from the quickest of the last exchanges. */
  private clockOffsetMs: number | null = null;
  private readonly exchanges: { roundTripMs: number; offsetMs: number }[] = [];
  private pingedAt = 0;
  private readonly delays: number[] = [];
  private readonly unsent = new Map<string, ToService>();
  private readonly timers: number[] = [];

  constructor(path: string, owner: LinkOwner) {
    this.path = path;
    this.owner = owner;
    this.edge = new Edge({
      offer: (attempt, sdp) => this.send({ type: "rtc", attempt, sdp }),
      take: (data) => this.takeBlock(data, "rtc"),
      changed: (open) => this.setCarrier(open ? "rtc" : "wss"),
    });
    this.timers.push(window.setInterval(() => this.tick(), 200));
    this.timers.push(window.setInterval(() => void this.renew(), RENEW_MS));
    this.connect();
  }

  /** Says something in the room; after a cut it is said again until it was heard. */
  say(text: string): void {
    const id = randomId();
    const message: ToService = { type: "chat", id, text };
    this.unsent.set(id, message);
    this.send(message);
  }

  private connect(): void {
    const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${this.path}/watch`;
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.heardAt = performance.now();
    socket.onmessage = (event: MessageEvent<unknown>) => {
      if (this.socket !== socket) return;
      this.heardAt = performance.now();
      if (typeof event.data === "string") this.takeText(event.data);
      else if (event.data instanceof ArrayBuffer) this.takeBlock(event.data, "wss");
    };
    socket.onclose = () => {
      if (this.socket === socket) void this.lost();
    };
  }

  private async lost(): Promise<void> {
    if (this.state === "ended") return;
    this.socket = null;
    this.state = "away";
    this.edge.drop();
    this.owner.changed();
    // A browser does not say why a websocket was refused; a plain request does.
    if (this.failures > 0 && !(await this.renew())) return;
    const pause = BACKOFF_MS[Math.min(this.failures++, BACKOFF_MS.length - 1)] ?? 4000;
    window.setTimeout(() => this.connect(), pause);
  }

  /** A fresh session cookie; false when the session has ended for good. */
  private async renew(): Promise<boolean> {
    try {
      const answer = await fetch(`${this.path}/renew`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: "{}",
      });
      if (answer.status !== 401) return true;
    } catch {
      return true;
    }
    this.end("consult.session-refused");
    return false;
  }

  private end(code: string): void {
    this.state = "ended";
    this.edge.drop();
    for (const timer of this.timers) window.clearInterval(timer);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.owner.ended(code);
  }

  private tick(): void {
    const now = performance.now();
    if (this.socket && now - this.heardAt > SILENCE_MS) {
      const silent = this.socket;
      this.socket = null;
      silent.close();
      void this.lost();
      return;
    }
    if (this.state !== "online") return;
    if (now - this.pingedAt > PING_MS) {
      this.pingedAt = now;
      this.send({ type: "ping", t_us: Math.round(wallMs() * 1000) });
    }
    for (const stream of this.streams.values()) {
      const want = stream.nextWant(now, WANT_LIMIT);
      if (want) this.send({ type: "want", stream: stream.id, epoch: stream.epoch, ...want });
    }
  }

  private send(message: ToService): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  private setCarrier(carrier: Carrier): void {
    this.carrier = carrier;
    this.delays.length = 0;
    if (carrier === "wss") this.send({ type: "live", over: "wss" });
    this.owner.changed();
  }

  private takeText(text: string): void {
    const message = JSON.parse(text) as FromService;
    switch (message.type) {
      case "welcome":
        this.state = "online";
        this.failures = 0;
        for (const waiting of this.unsent.values()) this.send(waiting);
        void this.edge.start();
        break;
      case "car":
        for (const info of message.streams) {
          const known = this.streams.get(info.stream);
          if (known?.epoch === info.epoch) known.beat(info.next);
          else this.streams.set(info.stream, new StreamStore(info.stream, info.epoch, info.signals, info.first, info.next));
        }
        break;
      case "beat": {
        for (const head of message.heads) {
          const stream = this.streams.get(head.stream);
          if (stream?.epoch === head.epoch) stream.beat(head.next);
        }
        break;
      }
      case "gone":
        for (const [first, last] of message.ranges) this.streams.get(message.stream)?.markGone(first, last);
        return;
      case "rtc":
        void this.edge.answer(message.attempt, message.sdp);
        return;
      case "live":
        if (message.over === "wss" && this.edge.open) void this.edge.start();
        return;
      case "event":
        this.unsent.delete(message.id);
        break;
      case "closed":
        this.end(message.code);
        return;
      case "pong":
        this.setClock(message.t_us / 1000, message.now_us / 1000);
        return;
      case "people":
      case "refused":
        break;
    }
    this.owner.said(message);
  }

  private takeBlock(data: ArrayBuffer, carrier: Carrier): void {
    try {
      const block = parseBlock(data);
      if (block.kind === "beat") return;
      const stream = this.streams.get(block.stream);
      if (stream?.epoch !== block.epoch) return;
      const fresh = block.seq > stream.newest;
      if (stream.add(block, carrier) && fresh) this.noteDelay(block.tUs);
    } catch (error) {
      if (!(error instanceof BlockBroken)) throw error;
      this.brokenBlocks++;
    }
  }

  private setClock(sentMs: number, serviceMs: number): void {
    const nowMs = wallMs();
    this.exchanges.push({ roundTripMs: nowMs - sentMs, offsetMs: (sentMs + nowMs) / 2 - serviceMs });
    if (this.exchanges.length > 16) this.exchanges.shift();
    this.clockOffsetMs = this.exchanges.reduce((a, b) => (b.roundTripMs < a.roundTripMs ? b : a)).offsetMs;
  }

  private noteDelay(tUs: number): void {
    if (this.clockOffsetMs === null) return;
    this.delays.push(wallMs() - this.clockOffsetMs - tUs / 1000);
    if (this.delays.length > 41) this.delays.shift();
    const sorted = [...this.delays].sort((a, b) => a - b);
    this.delayMs = Math.max(0, sorted[sorted.length >> 1] ?? 0);
  }
}

/** randomUUID exists only on https and on loopback; a workshop's own network may have neither. */
function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** UTC milliseconds with a fraction: finer than Date.now(). */
function wallMs(): number {
  return performance.timeOrigin + performance.now();
}
