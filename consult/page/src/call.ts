/** The call of a room as this page takes part in it. It outlives the view: a change of language interrupts nobody. */
import { Awake } from "./awake";
import { Camera, CameraRefused, type CameraTrouble } from "./camera";
import { Ladder, LineMeter, type Level, type LineSample, type StatRow } from "./callquality";
import { Mesh, type Sending, type Servers } from "./mesh";
import type { CallPerson, CallState, FromService } from "./protocol";
import { Sfu } from "./sfu";
import type { RoomState } from "./state";

const MEASURE_MS = 1000;
/** So many of the car's blocks lacking and more each second, or the room's line so slow, and pictures make way. */
const LACKING = 60;
const SLOW_MS = 1000;

/** What the service names in a refusal of what has no id. */
const OWN_WORDS = ["call", "signal", "record", "consent"];

const NOBODY: CallState = { type: "call", mode: "none", ice: [], relay_only: false, people: [], recording: { wanted: false, running: false, since_us: 0, waiting: [] }, engine: { ready: false, session: 0 } };

export type JoinKind = "video" | "voice" | "listen";

export class Call {
  status: CallState = NOBODY;
  joined = false;
  /** The browser asks its person for the camera. */
  opening = false;
  muted = false;
  trouble: CameraTrouble | null = null;
  /** The service's code when it did not let this page in. */
  refusedCode: string | null = null;
  readonly camera: Camera;
  readonly ladder = new Ladder();
  readonly sample: { last: LineSample | null } = { last: null };
  private readonly state: RoomState;
  private readonly changed: () => void;
  private readonly streams = new Map<number, MediaStream>();
  private readonly meter = new LineMeter();
  /** How often the call was left, or ended: what was asked for before counts no more. */
  private drops = 0;
  private readonly awake = new Awake();
  private mesh: Mesh | null = null;
  private sfu: Sfu | null = null;
  private measuring = false;
  private told = "";
  private lacking = 0;
  private readonly timer: number;
  private visit = 0;
  private session = 0;
  /** The picture on the stage: it stays there when the language changes. */
  openStill: string | null = null;
  /** Pictures that this page froze: who froze one is told when the room does not take it. */
  readonly ownStills = new Set<string>();

  /** `changed` is called whenever something of it is to be drawn anew. */
  constructor(state: RoomState, changed: () => void) {
    this.state = state;
    this.changed = changed;
    this.camera = new Camera(window.matchMedia("(pointer: coarse)").matches ? "environment" : "user", () => this.mediaChanged());
    this.timer = window.setInterval(() => void this.measure(), MEASURE_MS);
    window.addEventListener("pagehide", () => this.leave());
  }

  /** How loud somebody is now, 0 to 1. */
  loudness(id: number): number {
    const track = this.streams.get(id)?.getAudioTracks()[0];
    if (!track) return 0;
    for (const connection of this.connections()) {
      const receiver = connection.getReceivers().find((one) => one.track === track);
      if (receiver) return receiver.getSynchronizationSources()[0]?.audioLevel ?? 0;
    }
    return 0;
  }

  connections(): RTCPeerConnection[] {
    return [...(this.mesh?.connections() ?? []), ...(this.sfu?.connections() ?? [])];
  }

  /** Observers listen and watch. */
  get maySend(): boolean {
    return this.state.you !== null && this.state.you.role !== "observer";
  }

  get level(): Level {
    return this.ladder.rung.level;
  }

  get sendsVideo(): boolean {
    return this.joined && this.camera.video !== null && this.level === "video";
  }

  person(id: number): CallPerson | undefined {
    return this.status.people.find((one) => one.id === id);
  }

  /** Those in the call besides this page. */
  others(): CallPerson[] {
    return this.status.people.filter((one) => one.id !== this.state.you?.id);
  }

  /** What arrives of somebody, or for oneself what one's own camera sees. */
  streamOf(id: number): MediaStream | null {
    if (id !== this.state.you?.id) return this.streams.get(id) ?? null;
    return this.camera.video ? new MediaStream([this.camera.video]) : null;
  }

  // -- what a person does ------------------------------------------------------------------------------------------

  /** Only on a press: browsers ask their person then, and play what arrives. */
  async join(kind: JoinKind): Promise<void> {
    if (this.opening || this.joined) return;
    this.trouble = this.refusedCode = null;
    if (kind !== "listen" && this.maySend) {
      if (!(await this.open(true, kind === "video"))) return;
    }
    this.joined = true;
    this.muted = false;
    this.tell();
    this.follow();
    this.changed();
  }

  leave(): void {
    if (!this.joined) return;
    this.drop();
    this.state.link.tell({ type: "call", join: false, audio: false, video: false, level: "video" });
    this.changed();
  }

  async toggleMute(): Promise<void> {
    if (!this.joined || !this.maySend) return;
    if (!this.camera.audio) {
      if (!(await this.open(true, false))) return;
      this.muted = false;
    } else this.muted = !this.muted;
    this.mediaChanged();
  }

  async toggleCamera(): Promise<void> {
    if (!this.joined || !this.maySend) return;
    if (this.camera.video) this.camera.closeVideo();
    else if (!(await this.open(false, true))) return;
    this.mediaChanged();
  }

  async turnCamera(device = ""): Promise<void> {
    try {
      this.trouble = null;
      await this.camera.turn(device);
    } catch (error) {
      this.trouble = troubleOf(error);
    }
    this.mediaChanged();
  }

  async toggleTorch(): Promise<void> {
    await this.camera.light(!this.camera.torch).catch(() => undefined);
    this.changed();
  }

  /** Asks for a recording of the call, or no longer. */
  record(on: boolean): void {
    this.refusedCode = null;
    this.state.link.tell({ type: "record", on });
  }

  consent(given: boolean): void {
    this.refusedCode = null;
    this.state.link.tell({ type: "consent", given });
  }

  // -- what the service says ---------------------------------------------------------------------------------------

  /** True when it concerned nothing but the call. */
  said(message: FromService): boolean {
    switch (message.type) {
      case "welcome":
        // The line was away: the service knows nothing of this page's call, and signals were lost.
        this.status = this.joined ? { ...this.status, people: this.others() } : NOBODY;
        if (!this.joined) break;
        this.told = "";
        this.tell();
        this.mesh?.renew();
        this.sfu?.renew();
        break;
      case "call":
        this.status = message;
        if (this.joined) this.follow();
        break;
      case "signal":
        this.mesh?.take(message.from, message.body);
        return true;
      case "sfu":
        this.sfu?.answered(message);
        return true;
      case "refused":
        if (!OWN_WORDS.includes(message.id)) return false;
        // A signal for somebody who has just left, or an answer to what nobody wants any more.
        if (message.id === "signal" || message.code === "consult.request-unknown") return true;
        this.refusedCode = message.code;
        if (message.id === "call" && this.joined && !this.isIn()) this.drop();
        break;
      default:
        return false;
    }
    this.changed();
    return message.type !== "welcome";
  }

  /** The room is over. */
  end(): void {
    window.clearInterval(this.timer);
    this.drop();
  }

  // -- the way -----------------------------------------------------------------------------------------------------

  private isIn(): boolean {
    return this.status.people.some((one) => one.id === this.state.you?.id);
  }

  /** Goes the way that the service says, with those that it says. */
  private follow(): void {
    const { you } = this.state;
    const own = you ? this.person(you.id) : undefined;
    if (!you || !own) return;
    const { mode } = this.status;
    if (own.visit !== this.visit || this.status.engine.session !== this.session) {
      // The service, or its engine, knows nothing of what was agreed before.
      if (own.visit !== this.visit) {
        this.mesh?.close();
        this.mesh = null;
      }
      this.sfu?.close();
      this.sfu = null;
      [this.visit, this.session] = [own.visit, this.status.engine.session];
    }
    if (mode !== "mesh") {
      this.mesh?.close();
      this.mesh = null;
    }
    if (mode !== "sfu") {
      this.sfu?.close();
      this.sfu = null;
    }
    const owner = {
      signal: (to: number, body: Parameters<Mesh["take"]>[1]) => void this.state.link.tell({ type: "signal", to, body }),
      arrived: (person: number, track: MediaStreamTrack) => this.arrived(person, track),
      ask: (message: Parameters<Sfu["answered"]>[0] | object) => void this.state.link.tell(message as never),
    };
    if (mode === "mesh") this.mesh ??= new Mesh(owner, you.id, this.sending());
    if (mode === "sfu") this.sfu ??= new Sfu(owner, this.sending());
    // Two who send nothing have nothing to connect for.
    const others = this.others().filter((one) => this.maySend || this.roleOf(one.id) !== "observer");
    const servers: Servers = { ice: this.status.ice, relayOnly: this.status.relay_only };
    this.mesh?.update(others, servers);
    this.sfu?.update(others, servers);
    for (const id of this.streams.keys()) if (!others.some((one) => one.id === id)) this.streams.delete(id);
  }

  private roleOf(id: number): string {
    return this.state.people.find((one) => one.id === id)?.role ?? "";
  }

  private sending(): Sending {
    const { audio, video } = this.camera;
    if (audio) audio.enabled = !this.muted;
    return { audio, video, rung: this.ladder.rung, may: this.maySend };
  }

  private arrived(person: number, track: MediaStreamTrack): void {
    const before = this.streams.get(person)?.getTracks() ?? [];
    this.streams.set(person, new MediaStream([...before.filter((one) => one.kind !== track.kind), track]));
    this.changed();
  }

  private drop(): void {
    this.drops += 1;
    this.joined = false;
    this.told = "";
    this.camera.close();
    this.awake.want(false);
    this.mesh?.close();
    this.sfu?.close();
    this.mesh = this.sfu = null;
    this.streams.clear();
  }

  private async open(audio: boolean, video: boolean): Promise<boolean> {
    this.opening = true;
    this.trouble = null;
    this.changed();
    const drops = this.drops;
    try {
      await this.camera.open(audio, video);
      if (drops === this.drops) return true;
      this.camera.close(); // the person has left while the browser asked
      return false;
    } catch (error) {
      this.trouble = troubleOf(error);
      return false;
    } finally {
      this.opening = false;
      this.changed();
    }
  }

  private mediaChanged(): void {
    this.mesh?.send(this.sending());
    this.sfu?.send(this.sending());
    this.tell();
    this.changed();
  }

  /** What this page sends and what its line bears, whenever that is something else. */
  private tell(): void {
    if (!this.joined) return;
    this.awake.want(this.camera.video !== null);
    const audio = this.camera.audio !== null && !this.muted && this.level !== "chat";
    const message = { type: "call", join: true, audio, video: this.sendsVideo, level: this.level } as const;
    const print = JSON.stringify(message);
    if (print !== this.told && this.state.link.tell(message)) this.told = print;
  }

  // -- the line ----------------------------------------------------------------------------------------------------

  private async measure(): Promise<void> {
    if (!this.joined || this.measuring) return;
    this.measuring = true;
    try {
      const connections = this.connections();
      const rows: StatRow[] = [];
      for (const connection of connections) {
        for (const row of (await connection.getStats()).values() as Iterable<StatRow>) rows.push({ ...row, id: `${connections.indexOf(connection)} ${row.id}` });
      }
      const { link } = this.state;
      const sample = this.meter.read(rows, performance.now(), link.roundTripMs, this.isDataBehind());
      this.sample.last = sample;
      const steps = link.state === "online" && (connections.length > 0 || this.level === "chat");
      if (steps && this.ladder.take(sample)) this.mediaChanged();
      this.tell();
    } finally {
      this.measuring = false;
    }
  }

  private isDataBehind(): boolean {
    const { link } = this.state;
    let lacking = 0;
    for (const stream of link.streams.values()) lacking += Math.max(0, stream.missing() - stream.counts.gone);
    const grows = lacking > this.lacking;
    this.lacking = lacking;
    return (grows && lacking > LACKING) || (link.roundTripMs ?? 0) > SLOW_MS;
  }
}

function troubleOf(error: unknown): CameraTrouble {
  if (error instanceof CameraRefused) return error.trouble;
  throw error;
}
