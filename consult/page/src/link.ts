/** The websocket to the room: connects, watches for silence, comes back, and routes what arrives. */
import { Edge } from "./edge";
import type { FromService, ToService } from "./protocol";
import { StreamStore, type Carrier } from "./store";
import { BlockBroken, parseBlock, unpack, type RawBlock, type SampleBlock } from "./wire";

const SILENCE_MS = 2000;
const BACKOFF_MS = [100, 200, 400, 800, 1000] as const;
/** While the path is dead an attempt hangs; a new one each second is there when it comes back. */
const DIAL_MS = 1000;
const DIALS = 4;
const DIAL_TIMEOUT_MS = 10_000;
const RENEW_TIMEOUT_MS = 5000;
/** The service says goodbye with this when it comes back. */
const RESTARTING = "consult.service-restarting";
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
  private readonly dialing = new Map<WebSocket, number>();
  private dialledAt = 0;
  private heardAt = 0;
  private failures = 0;
  /** Our clock minus the service's, from the quickest of the last exchanges. */
  private clockOffsetMs: number | null = null;
  private readonly exchanges: { roundTripMs: number; offsetMs: number }[] = [];
  private pingedAt = 0;
  private readonly delays: number[] = [];
  private readonly unsent = new Map<string, ToService>();
  private stopping = false;
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
    this.insist({ type: "chat", id: randomId(), text });
  }

  /** Sends something that has an id again after every cut, until it was heard or refused. */
  insist(message: ToService & { id: string }): void {
    this.unsent.set(message.id, message);
    this.send(message);
  }

  /** Stops everything: said at once, and after every cut again until the room has heard it. */
  stop(): void {
    this.stopping = true;
    this.send({ type: "stop", text: "" });
  }

  /** Sends something that is worth nothing later; false while there is no line. */
  tell(message: ToService): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN || this.state !== "online") return false;
    this.send(message);
    return true;
  }

  /** The service's clock, UTC microseconds; before the first exchange our own. */
  nowUs(): number {
    return Math.round((wallMs() - (this.clockOffsetMs ?? 0)) * 1000);
  }

  /** Milliseconds to the service and back, the median of the last exchanges; null before there are any. */
  get roundTripMs(): number | null {
    const sorted = this.exchanges.map((one) => one.roundTripMs).sort((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? null;
  }

  /** One more attempt; the first that opens is the connection. */
  private connect(): void {
    if (this.state === "ended") return;
    const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${this.path}/watch`;
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    this.dialledAt = performance.now();
    this.dialing.set(socket, this.dialledAt);
    socket.onopen = () => {
      if (!this.dialing.delete(socket) || this.socket) return socket.close();
      this.socket = socket;
      this.heardAt = performance.now();
      for (const other of this.dialing.keys()) other.close();
      this.dialing.clear();
    };
    socket.onmessage = (event: MessageEvent<unknown>) => {
      if (this.socket !== socket) return;
      this.heardAt = performance.now();
      if (typeof event.data === "string") this.takeText(event.data);
      else if (event.data instanceof ArrayBuffer) this.takeBlock(event.data, "wss");
    };
    socket.onclose = () => {
      const dialled = this.dialing.delete(socket);
      if (this.socket === socket || (dialled && !this.socket && this.dialing.size === 0)) this.lost();
    };
  }

  private lost(): void {
    if (this.state === "ended") return;
    this.socket = null;
    this.state = "away";
    this.edge.drop();
    this.owner.changed();
    // A browser does not say why a websocket was refused; a plain request does.
    if (this.failures > 0) void this.renew();
    const pause = BACKOFF_MS[Math.min(this.failures++, BACKOFF_MS.length - 1)] ?? 1000;
    window.setTimeout(() => {
      if (!this.socket && this.dialing.size === 0) this.connect();
    }, pause);
  }

  /** A fresh session cookie; the end when the session has ended for good. */
  private async renew(): Promise<void> {
    try {
      const answer = await fetch(`${this.path}/renew`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: "{}",
        signal: AbortSignal.timeout(RENEW_TIMEOUT_MS),
      });
      if (this.state === "online") return;
      if (answer.status === 401) this.end("consult.session-refused");
      else if (answer.status === 403 && ((await answer.json()) as { error?: string }).error === "consult.region-refused") this.end("consult.region-refused");
    } catch {
      // No answer says nothing about the session.
    }
  }

  private end(code: string): void {
    this.state = "ended";
    this.edge.drop();
    for (const timer of this.timers) window.clearInterval(timer);
    const sockets = [...this.dialing.keys(), ...(this.socket ? [this.socket] : [])];
    this.socket = null;
    this.dialing.clear();
    for (const socket of sockets) socket.close();
    this.owner.ended(code);
  }

  private tick(): void {
    const now = performance.now();
    if (this.socket && now - this.heardAt > SILENCE_MS) {
      const silent = this.socket;
      this.socket = null;
      silent.close();
      this.lost();
      return;
    }
    if (!this.socket && this.dialing.size > 0) {
      for (const [old, since] of this.dialing) if (now - since > DIAL_TIMEOUT_MS) old.close();
      if (now - this.dialledAt > DIAL_MS && this.dialing.size < DIALS) this.connect();
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
        if (this.stopping) this.send({ type: "stop", text: "" });
        this.edge.configure(message.ice ?? [], message.relay_only === true);
        void this.edge.start();
        break;
      case "car":
        for (const id of this.streams.keys()) if (!message.streams.some((info) => info.stream === id)) this.streams.delete(id);
        for (const info of message.streams) {
          const known = this.streams.get(info.stream);
          if (known?.epoch === info.epoch) {
            known.beat(info.next);
            continue;
          }
          const store = new StreamStore(info.stream, info.epoch, info.signals, info.first, info.next);
          store.name = info.name ?? "";
          store.kind = info.kind ?? "signals";
          this.streams.set(info.stream, store);
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
        if (message.kind === "stop" && message.body["stopped"] !== false) this.stopping = false;
        break;
      case "closed":
        // The socket closes next, and the page comes back by itself.
        if (message.code !== RESTARTING) this.end(message.code);
        return;
      case "pong":
        this.setClock(message.t_us / 1000, message.now_us / 1000);
        return;
      case "clock":
        if (message.reset) this.streams.clear();
        break;
      case "refused":
        this.unsent.delete(message.id);
        break;
      case "people":
      case "view":
      case "hold":
      case "call":
      case "signal":
      case "sfu":
        break;
    }
    this.owner.said(message);
  }

  private takeBlock(data: ArrayBuffer, carrier: Carrier): void {
    try {
      const block = parseBlock(data);
      switch (block.kind) {
        case "beat":
          return;
        case "batch":
          unpack(block).then(
            (blocks) => {
              for (const one of blocks) this.keep(one, carrier);
            },
            (error: unknown) => this.noteBroken(error),
          );
          return;
        case "envelope": {
          const stream = this.streams.get(block.stream);
          if (stream?.epoch === block.epoch && stream.addEnvelope(block)) this.noteDelay(block.tUs);
          return;
        }
        default:
          this.keep(block, carrier);
      }
    } catch (error) {
      this.noteBroken(error);
    }
  }

  private keep(block: SampleBlock | RawBlock, carrier: Carrier): void {
    const stream = this.streams.get(block.stream);
    if (stream?.epoch !== block.epoch) return;
    const fresh = block.seq > stream.newestShown;
    if (stream.add(block, carrier) && fresh) this.noteDelay(block.tUs);
  }

  private noteBroken(error: unknown): void {
    if (!(error instanceof BlockBroken)) throw error;
    this.brokenBlocks++;
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
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** UTC milliseconds with a fraction: finer than Date.now(). */
function wallMs(): number {
  return performance.timeOrigin + performance.now();
}
