/**
 * How much a line carries: from what it is measured to be, which rung of the ladder a call stands on. Pictures get
 * smaller first, then go, then the voice goes; talk by letters is always there. The car's data comes before all of it.
 */

export type Level = "video" | "voice" | "chat";

export interface Rung {
  readonly level: Level;
  /** By how much a picture's sides are divided. */
  readonly scale: number;
  /** Of the picture, for everybody together who gets it. */
  readonly kbps: number;
  readonly fps: number;
}

export const RUNGS: readonly [Rung, ...Rung[]] = [
  { level: "video", scale: 1, kbps: 1800, fps: 30 },
  { level: "video", scale: 1.5, kbps: 700, fps: 20 },
  { level: "video", scale: 3, kbps: 200, fps: 12 },
  { level: "voice", scale: 1, kbps: 0, fps: 0 },
  { level: "chat", scale: 1, kbps: 0, fps: 0 },
];

const VOICE = RUNGS.findIndex((rung) => rung.level === "voice");

/** What was measured over the last second or so; null where nothing was. */
export interface LineSample {
  readonly atMs: number;
  /** 0 to 1, the worse of both directions. */
  readonly loss: number | null;
  readonly rttMs: number | null;
  /** What the browser believes can be sent. */
  readonly outKbps: number | null;
  /** 0 to 1: in how much of the time pictures that should move stood still. */
  readonly frozen: number | null;
  /** The car's samples are late or lacking here. */
  readonly dataBehind: boolean;
}

export type Verdict = "good" | "fair" | "bad" | "dreadful";

/** The sign that a line is thin may not come once: how long it has to stay. */
const BAD_MS = 3000;
const BAD_VOICE_MS = 8000;
/** After a step what is measured is still the step before. */
const SETTLE_MS = 4000;
const PATIENCE_MS = 15_000;
const MOST_PATIENCE_MS = 120_000;
/** Who falls again within this time went up too early. */
const RELAPSE_MS = 30_000;

export function judge(sample: LineSample, rung: Rung): Verdict {
  const { loss, rttMs, outKbps, frozen } = sample;
  const lost = loss ?? 0;
  const slow = rttMs ?? 0;
  // A voice bears more than a picture: what is said twice is still said.
  const bears = rung.level === "video" ? 1 : 2;
  if (rung.level !== "chat") {
    if (lost > 0.3 * bears || slow > 3000 * bears || (rung.kbps > 0 && outKbps !== null && outKbps < 60)) return "dreadful";
    if (lost > 0.1 * bears || slow > 1200 * bears || sample.dataBehind || (frozen ?? 0) > 0.3) return "bad";
    if (rung.kbps > 0 && outKbps !== null && outKbps < rung.kbps * 0.5) return "bad";
  }
  if (lost < 0.03 && slow < 700 && (frozen ?? 0) < 0.05 && !sample.dataBehind) return "good";
  return "fair";
}

/** Which rung a call stands on. Asks for time with every sample and keeps none of its own. */
export class Ladder {
  /** Index into RUNGS. */
  at = 0;
  private badSince: number | null = null;
  private goodSince: number | null = null;
  private settledAt = -Infinity;
  private steppedUpAt = -Infinity;
  private patienceMs = PATIENCE_MS;
  private readonly lowest: number;

  /** `lowest`: as far down as it goes. */
  constructor(lowest = RUNGS.length - 1) {
    this.lowest = lowest;
  }

  get rung(): Rung {
    return RUNGS[this.at] ?? RUNGS[0];
  }

  /** Takes a measurement. True when the rung is another one now. */
  take(sample: LineSample): boolean {
    if (sample.atMs < this.settledAt) return false;
    const verdict = judge(sample, this.rung);
    const { atMs } = sample;
    if (verdict === "bad" || verdict === "dreadful") {
      this.goodSince = null;
      this.badSince ??= atMs;
      const bears = this.rung.level === "voice" ? BAD_VOICE_MS : BAD_MS;
      if (atMs - this.badSince < bears || this.at >= this.lowest) return false;
      if (atMs - this.steppedUpAt < RELAPSE_MS) this.patienceMs = Math.min(MOST_PATIENCE_MS, this.patienceMs * 2);
      this.move(verdict === "dreadful" && this.at < VOICE ? Math.min(VOICE, this.lowest) : this.at + 1, atMs);
      return true;
    }
    this.badSince = null;
    if (verdict === "fair" || this.at === 0) {
      this.goodSince = null;
      if (this.at === 0 && atMs - this.steppedUpAt > RELAPSE_MS) this.patienceMs = PATIENCE_MS;
      return false;
    }
    this.goodSince ??= atMs;
    if (atMs - this.goodSince < this.patienceMs) return false;
    this.move(this.at - 1, atMs);
    this.steppedUpAt = atMs;
    return true;
  }

  private move(to: number, atMs: number): void {
    this.at = to;
    this.badSince = this.goodSince = null;
    this.settledAt = atMs + SETTLE_MS;
  }
}

/** What of WebRTC's statistics is read here (W3C webrtc-stats). */
export interface StatRow {
  readonly id: string;
  readonly type: string;
  readonly kind?: string;
  readonly state?: string;
  readonly nominated?: boolean;
  readonly availableOutgoingBitrate?: number;
  readonly currentRoundTripTime?: number;
  readonly fractionLost?: number;
  readonly packetsLost?: number;
  readonly packetsReceived?: number;
  readonly totalFreezesDuration?: number;
  readonly framesDecoded?: number;
  readonly framesSent?: number;
  readonly qualityLimitationReason?: string;
}

interface Counted {
  lost: number;
  got: number;
  frozenS: number;
  frames: number;
}

/** Frames after which a browser has felt its way up from the 300 kbit/s that it begins with. */
const SETTLED_FRAMES = 200;

/** Turns the statistics of all connections of a call into one measurement: the worst of each counts. */
export class LineMeter {
  private before = new Map<string, Counted>();
  private beforeMs = 0;

  /**
   * `rows`: those of all connections, each `id` with its connection's number and a space before it. `rttMs`: of the room's
   * own line, for when no connection tells one. What may go out counts where it is what holds a picture back: elsewhere the
   * browser never tried for more. With several receivers each gets its share, so that it is reckoned up to the whole.
   */
  read(rows: Iterable<StatRow>, atMs: number, rttMs: number | null, dataBehind: boolean): LineSample {
    const counted = new Map<string, Counted>();
    const seconds = Math.max(0.1, (atMs - this.beforeMs) / 1000);
    let loss: number | null = null;
    let rtt: number | null = null;
    let out: number | null = null;
    let frozen: number | null = null;
    const all = [...rows];
    const pictures = all.filter((row) => row.type === "outbound-rtp" && row.kind === "video");
    const held = new Set(
      pictures.filter((row) => row.qualityLimitationReason === "bandwidth" && (row.framesSent ?? 0) > SETTLED_FRAMES).map(connectionOf),
    );
    const receivers = new Set(pictures.map(connectionOf)).size;
    for (const row of all) {
      if (row.type === "candidate-pair" && row.state === "succeeded" && row.nominated !== false) {
        if (row.currentRoundTripTime !== undefined) rtt = Math.max(rtt ?? 0, row.currentRoundTripTime * 1000);
        if (row.availableOutgoingBitrate && held.has(connectionOf(row))) out = Math.min(out ?? Infinity, (row.availableOutgoingBitrate / 1000) * receivers);
      } else if (row.type === "remote-inbound-rtp" && row.fractionLost !== undefined) {
        loss = Math.max(loss ?? 0, row.fractionLost);
      } else if (row.type === "inbound-rtp") {
        const now = { lost: row.packetsLost ?? 0, got: row.packetsReceived ?? 0, frozenS: row.totalFreezesDuration ?? 0, frames: row.framesDecoded ?? 0 };
        counted.set(row.id, now);
        const last = this.before.get(row.id);
        if (!last) continue;
        const lost = Math.max(0, now.lost - last.lost);
        const got = Math.max(0, now.got - last.got);
        // Of a handful of packets the share says nothing.
        if (lost + got >= 10) loss = Math.max(loss ?? 0, lost / (lost + got));
        if (row.kind === "video" && now.frames > last.frames) frozen = Math.max(frozen ?? 0, Math.min(1, (now.frozenS - last.frozenS) / seconds));
      }
    }
    this.before = counted;
    this.beforeMs = atMs;
    return { atMs, loss, rttMs: rtt ?? rttMs, outKbps: out, frozen, dataBehind };
  }
}

function connectionOf(row: StatRow): string {
  return row.id.split(" ", 1)[0] ?? "";
}

/** What one of `receivers` gets of a rung's picture, in bits a second. */
export function shareOf(rung: Rung, receivers: number): number {
  return Math.max(60_000, Math.round((rung.kbps * 1000) / Math.max(1, receivers)));
}
