/**
 * The live edge: one peer connection with one lossy data channel, made anew whenever it dies.
 * No STUN or TURN server is ever asked: the service is reached directly, or the websocket does it all.
 */

const OPEN_TIMEOUT_MS = 6000;
const SILENCE_MS = 1800;
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
  private readonly owner: EdgeOwner;
  private peer: RTCPeerConnection | null = null;
  private failures = 0;
  private heardAt = 0;
  private timer: number | undefined;
  private watch: number | undefined;

  constructor(owner: EdgeOwner) {
    this.owner = owner;
  }

  async start(): Promise<void> {
    this.drop();
    if (typeof RTCPeerConnection !== "function") return;
    const attempt = ++this.attempts;
    try {
      const peer = new RTCPeerConnection({ iceServers: [] });
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
      await gathered(peer);
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

/** All local candidates are known, or half a second is over: the offer goes out whole, without trickling. */
function gathered(peer: RTCPeerConnection): Promise<void> {
  return new Promise((resolve) => {
    if (peer.iceGatheringState === "complete") return resolve();
    const timer = window.setTimeout(resolve, 500);
    peer.addEventListener("icegatheringstatechange", () => {
      if (peer.iceGatheringState === "complete") {
        window.clearTimeout(timer);
        resolve();
      }
    });
  });
}
