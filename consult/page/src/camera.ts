/** This machine's camera and microphone: opened on a press only, changed without a gap in what others get. */

export type CameraTrouble = "insecure" | "refused" | "absent" | "busy" | "failed";
export type Facing = "environment" | "user";

export class CameraRefused extends Error {
  readonly trouble: CameraTrouble;

  constructor(trouble: CameraTrouble) {
    super(trouble);
    this.trouble = trouble;
  }
}

/** What stands against it, by the names of the standard (W3C mediacapture-streams, getUserMedia). */
export function troubleOf(name: string): CameraTrouble {
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return "refused";
    case "NotFoundError":
    case "OverconstrainedError":
      return "absent";
    case "NotReadableError":
    case "AbortError":
      return "busy";
    default:
      return "failed";
  }
}

/** A camera as the browser lists it. */
export interface CameraChoice {
  readonly id: string;
  readonly label: string;
}

const SOUND: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

function picture(facing: Facing, device: string): MediaTrackConstraints {
  const size = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 24, max: 30 } };
  return device ? { ...size, deviceId: { exact: device } } : { ...size, facingMode: { ideal: facing } };
}

export class Camera {
  audio: MediaStreamTrack | null = null;
  video: MediaStreamTrack | null = null;
  facing: Facing;
  torch = false;
  private readonly changed: () => void;

  /** `changed` is called when a device goes away by itself. */
  constructor(facing: Facing, changed: () => void) {
    this.facing = facing;
    this.changed = changed;
  }

  /**
   * Opens what is wanted and not open yet.
   *
   * Throws CameraRefused; what was open stays so.
   */
  async open(audio: boolean, video: boolean): Promise<void> {
    const wants = { audio: audio && !this.audio, video: video && !this.video };
    if (!wants.audio && !wants.video) return;
    const stream = await ask({ audio: wants.audio && SOUND, video: wants.video && picture(this.facing, "") });
    for (const track of stream.getTracks()) this.keep(track);
  }

  closeVideo(): void {
    this.video?.stop();
    this.video = null;
    this.torch = false;
  }

  close(): void {
    this.closeVideo();
    this.audio?.stop();
    this.audio = null;
  }

  /** The other side of a phone, or the camera of that name. A phone opens no two at once: the old one goes first. */
  async turn(device = ""): Promise<void> {
    const before = this.video?.getSettings().deviceId ?? "";
    const facing = this.facing;
    this.closeVideo();
    if (!device) this.facing = facing === "environment" ? "user" : "environment";
    try {
      this.keepAll(await ask({ audio: false, video: picture(this.facing, device) }));
    } catch (error) {
      this.facing = facing;
      this.keepAll(await ask({ audio: false, video: picture(facing, before) }));
      throw error;
    }
  }

  /** Whether the lamp beside the lens can be lit. */
  get hasTorch(): boolean {
    const able = this.video?.getCapabilities?.() as { torch?: boolean } | undefined;
    return able?.torch === true;
  }

  async light(on: boolean): Promise<void> {
    await this.video?.applyConstraints({ advanced: [{ torch: on } as MediaTrackConstraintSet] });
    this.torch = on;
  }

  /** Names are told once a camera was allowed. */
  async list(): Promise<CameraChoice[]> {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    return devices.filter((one) => one.kind === "videoinput" && one.deviceId).map((one) => ({ id: one.deviceId, label: one.label }));
  }

  private keepAll(stream: MediaStream): void {
    for (const track of stream.getTracks()) this.keep(track);
  }

  private keep(track: MediaStreamTrack): void {
    const side = track.kind === "audio" ? "audio" : "video";
    this[side]?.stop();
    this[side] = track;
    track.addEventListener("ended", () => {
      if (this[side] !== track) return;
      this[side] = null;
      this.changed();
    });
  }
}

async function ask(constraints: MediaStreamConstraints): Promise<MediaStream> {
  // On plain http from another machine the browser has no such thing at all.
  if (!navigator.mediaDevices?.getUserMedia) throw new CameraRefused("insecure");
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    throw new CameraRefused(troubleOf(error instanceof DOMException ? error.name : ""));
  }
}
