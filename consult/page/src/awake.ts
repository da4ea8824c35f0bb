/** Keeps a phone's screen lit while its camera is shown: one that sleeps shows nothing. */

interface Sentinel {
  release(): Promise<void>;
}

export class Awake {
  private wanted = false;
  private held: Sentinel | null = null;

  constructor() {
    // The browser lets go whenever the page is out of sight.
    document.addEventListener("visibilitychange", () => void this.hold());
  }

  want(wanted: boolean): void {
    if (wanted === this.wanted) return;
    this.wanted = wanted;
    void this.hold();
  }

  private async hold(): Promise<void> {
    const lock = (navigator as { wakeLock?: { request(kind: "screen"): Promise<Sentinel> } }).wakeLock;
    const before = this.held;
    this.held = null;
    try {
      await before?.release();
      if (this.wanted && !document.hidden) this.held = (await lock?.request("screen")) ?? null;
    } catch {
      // An empty battery or a browser's setting forbids it: the screen then sleeps as ever.
    }
  }
}
