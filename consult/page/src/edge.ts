/**
 * The live edge: one peer connection with one lossy data channel, made anew whenever it dies.
 * Only the STUN and TURN servers that the service names are asked. Without any, or where they do not help, the websocket
 * does it all.
 */
import type { IceServer } from "./protocol";

const OPEN_TIMEOUT_MS = 6000;
const SILENCE_MS = 1800;
const GATHER_MS = 500;
const GATHER_RELAY_MS = 2500;
const RETRY_MS = [1000, 5000, 15_000, 60_000] as const;

export interface EdgeOwner {
  /** Sends the offer to the service. */
  offer(attempt: number, sdp: string): void;
  /** A message came by the channel. */
  take(data: ArrayBuffer): void;
  /** The channel is usable, or no longer. */
  changed(open: boolean): void;
}

export class Edge {
  attempts = 0;
  open = false;
  /** What is used of the network: after the last start, whether a relay was found where one was asked for. */
  relayFound: boolean | null = null;
  private servers: readonly IceServer[] = [];
  private relayOnly = false;
  private readonly owner: EdgeOwner;
  private peer: RTCPeerConnection | null = null;
  private failures = 0;
  private heardAt = 0;
  private timer: number | undefined;
  private watch: number | undefined;

  constructor(owner: EdgeOwner) {
    this.owner = owner;
  }

  /** Which servers to ask from the next start on; `relayOnly` lets no address of this machine be tried. */
  configure(servers: readonly IceServer[], relayOnly: boolean): void {
    this.servers = servers;
    this.relayOnly = relayOnly;
  }

  async start(): Promise<void> {
    this.drop();
    if (typeof RTCPeerConnection !== "function") return;
    const attempt = ++this.attempts;
    try {
      const peer = new RTCPeerConnection({
        iceServers: this.servers.map((server) => ({ ...server })),
        iceTransportPolicy: this.relayOnly ? "relay" : "all",
      });
      this.peer = peer;
      const channel = peer.createDataChannel("live", { ordered: false, maxPacketLifeTime: 200 });
      channel.binaryType = "arraybuffer";
      channel.onopen = () => {
        if (this.peer !== peer) return;
        this.failures = 0;
        this.open = true;
        this.heardAt = performance.now();
        window.clearTimeout(this.timer);
        this.watch = window.setInterval(() => this.checkSilence(), 300);
        this.owner.changed(true);
      };
      channel.onmessage = (event: MessageEvent<unknown>) => {
        this.heardAt = performance.now();
        if (event.data instanceof ArrayBuffer) this.owner.take(event.data);
      };
      channel.onclose = () => this.fail(peer);
      peer.onconnectionstatechange = () => {
        if (peer.connectionState === "failed" || peer.connectionState === "closed") this.fail(peer);
      };
      this.timer = window.setTimeout(() => this.fail(peer), OPEN_TIMEOUT_MS);
      await peer.setLocalDescription();
      const turn = this.servers.some((server) => server.urls.some((url) => url.startsWith("turn")));
      await gathered(peer, turn ? GATHER_RELAY_MS : GATHER_MS);
      // Wrong credentials give no candidate and no error: what is missing in the offer is the only sign.
      this.relayFound = turn ? (peer.localDescription?.sdp.includes(" typ relay") ?? false) : null;
      if (this.peer === peer && peer.localDescription) this.owner.offer(attempt, peer.localDescription.sdp);
    } catch {
      this.scheduleRetry();
    }
  }

  async answer(attempt: number, sdp: string): Promise<void> {
    const peer = this.peer;
    if (peer === null || attempt !== this.attempts) return;
    try {
      await peer.setRemoteDescription({ type: "answer", sdp });
    } catch {
      this.fail(peer);
    }
  }

  /** Gives the connection up without trying again. */
  drop(): void {
    window.clearTimeout(this.timer);
    window.clearInterval(this.watch);
    const peer = this.peer;
    this.peer = null;
    peer?.close();
    if (this.open) {
      this.open = false;
      this.owner.changed(false);
    }
  }

  private checkSilence(): void {
    if (this.peer && performance.now() - this.heardAt > SILENCE_MS) this.fail(this.peer);
  }

  private fail(peer: RTCPeerConnection): void {
    if (this.peer !== peer) return;
    this.drop();
    this.scheduleRetry();
  }

  private scheduleRetry(): void {
    const pause = RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)] ?? 60_000;
    this.timer = window.setTimeout(() => void this.start(), pause);
  }
}

/** All local candidates are known, or the time for that is over: the offer goes out whole, without trickling. */
function gathered(peer: RTCPeerConnection, limitMs: number): Promise<void> {
  return new Promise((resolve) => {
    if (peer.iceGatheringState === "complete") return resolve();
    const timer = window.setTimeout(resolve, limitMs);
    peer.addEventListener("icegatheringstatechange", () => {
      if (peer.iceGatheringState === "complete") {
        window.clearTimeout(timer);
        resolve();
      }
    });
  });
}
