/** The controls of a record that is played: go, stand, how fast, and where. */
import { h, setText } from "./dom";
import { roomTimeUs, type RoomState } from "./state";
import { say } from "./words";

const SPEEDS = [0.5, 1, 2, 5, 10, 50] as const;

export class ReplayBar {
  readonly root: HTMLElement;
  private readonly state: RoomState;
  private readonly play = h("button", { type: "button", id: "replay-play", class: "primary", click: () => this.toggle() });
  private readonly speed: HTMLSelectElement;
  private readonly slider = h("input", { type: "range", id: "replay-seek", min: 0, max: 1000, step: 1, value: 0, "aria-label": say("seek") });
  private readonly ticks = h("div", { class: "ticks", "aria-hidden": "true" });
  private readonly clock = h("time", { class: "replay-clock" });
  private wanted = 1;
  private dragging = false;
  private drawn = "";

  constructor(state: RoomState) {
    this.state = state;
    this.wanted = state.replay?.speed || 1;
    this.speed = h("select", { id: "replay-speed", "aria-label": say("speedOfReplay") }, ...SPEEDS.map((speed) => h("option", { value: speed, selected: speed === this.wanted }, `× ${speed}`)));
    this.speed.addEventListener("change", () => {
      this.wanted = Number(this.speed.value);
      if (this.running) this.tell(this.wanted, 0);
    });
    this.slider.addEventListener("input", () => {
      this.dragging = true;
      this.drawClock(this.sought());
    });
    this.slider.addEventListener("change", () => {
      this.dragging = false;
      this.tell(this.running ? this.wanted : 0, Math.round(this.sought()));
    });
    this.root = h("section", { class: "replay-bar", "aria-label": say("replay"), hidden: true }, h("span", { class: "tag" }, say("replay")), this.play, this.speed, h("div", { class: "seek" }, this.slider, this.ticks), this.clock);
  }

  toggle(): void {
    if (this.state.replay) this.tell(this.running ? 0 : this.wanted, 0);
  }

  /** Moves on by what has been played. */
  tick(): void {
    const { replay } = this.state;
    this.root.hidden = replay === null;
    if (!replay) return;
    if (replay.speed > 0 && replay.speed !== this.wanted) this.setSpeed(replay.speed);
    setText(this.play, this.running ? `❚❚ ${say("stand")}` : `▶ ${say("play")}`);
    const length = Math.max(1, replay.to_us - replay.from_us);
    const at = roomTimeUs(this.state);
    if (!this.dragging) {
      this.slider.value = String(Math.round(((at - replay.from_us) / length) * 1000));
      this.drawClock(at);
    }
    const marks = this.state.marks.list();
    const print = `${this.state.marks.changes} ${this.state.events.length}`;
    if (print === this.drawn) return;
    this.drawn = print;
    const spots = [
      ...marks.map((mark) => ({ at: mark.tUs, kind: "mark", text: mark.text || mark.signal })),
      ...this.state.events.filter((event) => event.kind === "dtc" || event.kind === "request").map((event) => ({ at: event.t_us, kind: event.kind as string, text: event.text })),
    ];
    this.ticks.replaceChildren(
      ...spots.map(({ at: spot, kind, text }) => {
        const tick = h("i", { class: kind, title: text });
        tick.style.left = `${(Math.min(1, Math.max(0, (spot - replay.from_us) / length)) * 100).toFixed(2)}%`;
        return tick;
      }),
    );
  }

  /** The speed that the service plays at; one that is not on the list joins it. */
  private setSpeed(speed: number): void {
    this.wanted = speed;
    if (![...this.speed.options].some((option) => Number(option.value) === speed)) this.speed.append(h("option", { value: speed }, `× ${speed}`));
    this.speed.value = String(speed);
  }

  private get running(): boolean {
    return (this.state.replay?.speed ?? 0) > 0;
  }

  private sought(): number {
    const { replay } = this.state;
    return replay ? replay.from_us + (Number(this.slider.value) / 1000) * (replay.to_us - replay.from_us) : 0;
  }

  private tell(speed: number, tUs: number): void {
    this.state.link.tell({ type: "play", speed, t_us: tUs });
  }

  private drawClock(us: number): void {
    const { replay } = this.state;
    if (!replay) return;
    const text = `${new Date(us / 1000).toTimeString().slice(0, 8)} · ${span(us - replay.from_us)} / ${span(replay.to_us - replay.from_us)}`;
    setText(this.clock, text);
    this.slider.setAttribute("aria-valuetext", text);
  }
}

/** Minutes and seconds, hours when there are any. */
export function span(us: number): string {
  const seconds = Math.max(0, Math.floor(us / 1e6));
  const two = (value: number) => String(value).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  return `${hours > 0 ? `${hours}:` : ""}${hours > 0 ? two(Math.floor(seconds / 60) % 60) : Math.floor(seconds / 60)}:${two(seconds % 60)}`;
}
