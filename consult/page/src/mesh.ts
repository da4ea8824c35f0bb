/**
 * A call from browser to browser: one peer connection for each other person.
 *
 * The person with the lower number makes the connection; each has a number (`call`) that all its signals bear, so that
 * what belongs to one that was given up is dropped. Glare is settled as the W3C's webrtc ("perfect negotiation") says:
 * who makes it is the impolite one. Nothing is negotiated when somebody mutes or turns a camera: tracks are replaced.
 */
import { shareOf, type Rung } from "./callquality";
import type { CallPerson, IceServer, SignalBody } from "./protocol";

/** Somebody who should have made a connection and did not: then the other one does. */
const WAIT_FOR_OFFER_MS = 2500;
const CONNECT_MS = 12_000;
/** A path that answers no more may come back by itself within this time. */
const MEND_MS = 5000;
const RETRY_MS = [300, 1000, 2000, 4000, 8000] as const;

export interface MediaOwner {
  signal(to: number, body: SignalBody): void;
  /** A picture or a voice of somebody arrives. */
  arrived(person: number, track: MediaStreamTrack): void;
}

/** What this page sends, and how much of it. */
export interface Sending {
  readonly audio: MediaStreamTrack | null;
  readonly video: MediaStreamTrack | null;
  readonly rung: Rung;
  /** Observers send nothing, ever. */
  readonly may: boolean;
}

export interface Servers {
  readonly ice: readonly IceServer[];
  readonly relayOnly: boolean;
}

export function configuration(servers: Servers): RTCConfiguration {
  return { iceServers: servers.ice.map((one) => ({ ...one })), iceTransportPolicy: servers.relayOnly ? "relay" : "all", bundlePolicy: "max-bundle" };
}

/** Sets how large and how often a sender's picture goes out. */
export async function limit(sender: RTCRtpSender, rung: Rung, receivers: number): Promise<void> {
  const parameters = sender.getParameters();
  const [encoding] = parameters.encodings;
  // Before the first negotiation there is nothing to set yet; it is set again after it.
  if (!encoding) return;
  encoding.maxBitrate = shareOf(rung, receivers);
  encoding.maxFramerate = rung.fps || 1;
  encoding.scaleResolutionDownBy = rung.scale;
  await sender.setParameters(parameters);
}

export class Mesh {
  private readonly peers = new Map<number, Peer>();
  private readonly owner: MediaOwner;
  private readonly me: number;
  private servers: Servers = { ice: [], relayOnly: false };
  private sending: Sending;
  private people: readonly CallPerson[] = [];

  constructor(owner: MediaOwner, me: number, sending: Sending) {
    this.owner = owner;
    this.me = me;
    this.sending = sending;
  }

  /** Who is in the call now, besides this page. */
  update(people: readonly CallPerson[], servers: Servers): void {
    this.people = people;
    this.servers = servers;
    for (const [id, peer] of this.peers) {
      // Who left and came back has a new page, or lost what was agreed.
      if (people.some((person) => person.id === id && person.visit === peer.visit)) continue;
      peer.close();
      this.peers.delete(id);
    }
    for (const person of people) {
      let peer = this.peers.get(person.id);
      if (!peer) {
        peer = new Peer(person.id, person.visit, this.me < person.id, this.owner, () => ({ servers: this.servers, sending: this.sending, receivers: this.receivers(), level: this.levelOf(person.id) }));
        this.peers.set(person.id, peer);
        peer.begin();
      }
    }
    this.apply();
  }

  send(sending: Sending): void {
    this.sending = sending;
    this.apply();
  }

  take(from: number, body: SignalBody): void {
    void this.peers.get(from)?.take(body);
  }

  /** All connections anew: the line to the room was away, and what was signalled meanwhile is lost. */
  renew(): void {
    for (const peer of this.peers.values()) peer.renew();
  }

  connections(): RTCPeerConnection[] {
    return [...this.peers.values()].flatMap((peer) => peer.connection ?? []);
  }

  close(): void {
    for (const peer of this.peers.values()) peer.close();
    this.peers.clear();
  }

  private apply(): void {
    for (const peer of this.peers.values()) peer.apply();
  }

  private receivers(): number {
    return this.people.filter((person) => person.level === "video").length;
  }

  private levelOf(id: number): CallPerson["level"] {
    return this.people.find((person) => person.id === id)?.level ?? "video";
  }
}

interface Now {
  servers: Servers;
  sending: Sending;
  receivers: number;
  level: CallPerson["level"];
}

class Peer {
  connection: RTCPeerConnection | null = null;
  readonly visit: number;
  private readonly id: number;
  /** Makes the connection, and holds on to its own offer when two cross. */
  private readonly leads: boolean;
  private readonly owner: MediaOwner;
  private readonly now: () => Now;
  private call = 0;
  private making = false;
  private ignoring = false;
  private senders: { audio?: RTCRtpSender; video?: RTCRtpSender } = {};
  private timer: number | undefined;
  private failures = 0;
  private applying: Promise<void> = Promise.resolve();

  constructor(id: number, visit: number, leads: boolean, owner: MediaOwner, now: () => Now) {
    this.id = id;
    this.visit = visit;
    this.leads = leads;
    this.owner = owner;
    this.now = now;
  }

  begin(): void {
    if (this.leads) this.make();
    else this.after(WAIT_FOR_OFFER_MS, () => this.make());
  }

  renew(): void {
    if (this.connection?.connectionState === "connected") return;
    this.drop();
    this.begin();
  }

  close(): void {
    this.drop();
  }

  /** Puts on the way what is to be sent to this person now. */
  apply(): void {
    this.applying = this.applying.then(() => this.applyNow()).catch(() => {
      // The connection ended meanwhile; its successor is told anew.
    });
  }

  async take(body: SignalBody): Promise<void> {
    try {
      if (body.kind === "candidate") {
        if (body.call !== this.call || !this.connection) return;
        const { candidate = "", sdpMid = null, sdpMLineIndex = null, usernameFragment = null } = body;
        await this.connection.addIceCandidate({ candidate, sdpMid, sdpMLineIndex, usernameFragment }).catch((error: unknown) => {
          if (!this.ignoring) throw error;
        });
      } else if (body.kind === "answer") {
        if (body.call === this.call && this.connection?.signalingState === "have-local-offer") {
          await this.connection.setRemoteDescription({ type: "answer", sdp: body.sdp });
          this.apply();
        }
      } else await this.answer(body.call, body.sdp);
    } catch {
      this.fail();
    }
  }

  // -- one connection ----------------------------------------------------------------------------------------------

  private open(call: number): RTCPeerConnection {
    this.drop();
    const connection = new RTCPeerConnection(configuration(this.now().servers));
    this.connection = connection;
    this.call = call;
    connection.onicecandidate = ({ candidate }) => {
      if (candidate && this.connection === connection) this.owner.signal(this.id, { ...candidate.toJSON(), kind: "candidate", call });
    };
    connection.ontrack = ({ track }) => {
      if (this.connection === connection) this.owner.arrived(this.id, track);
    };
    connection.onnegotiationneeded = () => void this.offer(connection, call);
    connection.onconnectionstatechange = () => {
      if (this.connection === connection) this.changed(connection.connectionState);
    };
    this.after(CONNECT_MS, () => this.fail());
    return connection;
  }

  private make(): void {
    const connection = this.open(crypto.getRandomValues(new Uint32Array(1))[0] ?? 1);
    const { sending } = this.now();
    for (const kind of ["audio", "video"] as const) {
      const transceiver = connection.addTransceiver(kind, { direction: sending.may ? "sendrecv" : "recvonly" });
      this.senders[kind] = transceiver.sender;
    }
    this.apply();
  }

  private async offer(connection: RTCPeerConnection, call: number): Promise<void> {
    try {
      this.making = true;
      await connection.setLocalDescription();
      if (this.connection === connection && connection.localDescription) this.owner.signal(this.id, { kind: "offer", sdp: connection.localDescription.sdp, call });
    } catch {
      if (this.connection === connection) this.fail();
    } finally {
      this.making = false;
    }
  }

  private async answer(call: number, sdp: string): Promise<void> {
    const another = call !== this.call || !this.connection;
    const collides = this.making || this.connection?.signalingState === "have-local-offer";
    this.ignoring = this.leads && collides;
    if (this.ignoring) return;
    const connection = another || !this.connection ? this.open(call) : this.connection;
    await connection.setRemoteDescription({ type: "offer", sdp });
    if (this.connection !== connection) return;
    const { sending } = this.now();
    for (const transceiver of connection.getTransceivers()) {
      transceiver.direction = sending.may ? "sendrecv" : "recvonly";
      this.senders[transceiver.receiver.track.kind as "audio" | "video"] = transceiver.sender;
    }
    await this.applyNow();
    await connection.setLocalDescription();
    if (this.connection !== connection || !connection.localDescription) return;
    this.owner.signal(this.id, { kind: "answer", sdp: connection.localDescription.sdp, call });
    this.apply();
  }

  private async applyNow(): Promise<void> {
    const { sending, level, receivers } = this.now();
    const { audio, video } = this.senders;
    const voice = sending.rung.level !== "chat" && level !== "chat";
    const picture = sending.rung.level === "video" && level === "video";
    await audio?.replaceTrack(voice ? sending.audio : null);
    await video?.replaceTrack(picture ? sending.video : null);
    if (video && picture) await limit(video, sending.rung, receivers);
  }

  private changed(state: RTCPeerConnectionState): void {
    if (state === "connected") {
      this.failures = 0;
      window.clearTimeout(this.timer);
      this.apply();
    } else if (state === "disconnected") this.after(MEND_MS, () => this.fail());
    else if (state === "failed" || state === "closed") this.fail();
  }

  private fail(): void {
    this.drop();
    const pause = RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)] ?? 8000;
    this.after(this.leads ? pause : pause + WAIT_FOR_OFFER_MS, () => this.make());
  }

  private drop(): void {
    window.clearTimeout(this.timer);
    const { connection } = this;
    this.connection = null;
    this.call = 0;
    this.senders = {};
    this.making = this.ignoring = false;
    connection?.close();
  }

  private after(ms: number, then: () => void): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(then, ms);
  }
}
