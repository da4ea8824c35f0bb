/** "Follow me": who leads tells the others what they look at; who follows looks at it too, until they touch a chart. */
import { h, setText } from "./dom";
import { newestTime, type RoomState } from "./state";
import type { Span } from "./timeview";
import { say } from "./words";

const TELL_MS = 200;
const REPEAT_MS = 2000;
const MOST_TOLD = 32;

export class Leader {
  readonly button: HTMLButtonElement;
  private readonly state: RoomState;
  private readonly changed: () => void;
  private toldAt = 0;
  private told = "";

  constructor(state: RoomState, changed: () => void) {
    this.state = state;
    this.changed = changed;
    this.button = h("button", { type: "button", id: "lead", title: say("leadHint"), click: () => this.toggle() }, say("lead"));
    this.draw();
  }

  toggle(): void {
    const { state } = this;
    if (state.you?.role === "observer" || state.replay) return;
    state.leading = !state.leading;
    if (state.leading) state.following = null;
    else state.link.tell({ type: "view", t_us: 0, t2_us: 0, cursor_us: 0, signals: [], lead: false });
    this.told = "";
    this.draw();
    this.changed();
  }

  draw(): void {
    this.button.setAttribute("aria-pressed", String(this.state.leading));
    this.button.hidden = this.state.you?.role === "observer" || this.state.replay !== null;
  }

  /** Tells what is shown, where it is told anew or somebody may have come since. */
  look(now: number, shown: Span, cursor: number | null): void {
    const { state } = this;
    if (this.button.hidden !== (state.you?.role === "observer" || state.replay !== null)) this.draw();
    if (!state.leading || now - this.toldAt < TELL_MS) return;
    const signals = state.arrangement.names().slice(0, MOST_TOLD);
    // While live the window moves by itself on every page; only its length is news.
    const place = state.time.live ? `live ${(shown.to - shown.from).toFixed(1)}` : `${shown.from} ${shown.to}`;
    const print = `${place} ${cursor ?? 0} ${signals.join()}`;
    if (print === this.told && now - this.toldAt < REPEAT_MS) return;
    this.told = print;
    this.toldAt = now;
    const to = state.time.live ? newestTime(state) : shown.to;
    state.link.tell({ type: "view", t_us: Math.max(0, Math.round(shown.from * 1e6)), t2_us: Math.max(0, Math.round(to * 1e6)), cursor_us: cursor === null ? 0 : Math.max(0, Math.round(cursor * 1e6)), signals, lead: true });
  }
}

/** Says whom one follows, and how to stop. */
export class FollowBar {
  readonly root = h("div", { class: "follow-bar", role: "status", hidden: true });
  private readonly state: RoomState;
  private readonly text = h("span");

  constructor(state: RoomState, stop: () => void) {
    this.state = state;
    this.root.append(this.text, h("button", { type: "button", click: stop }, say("stopFollowing")));
    this.draw();
  }

  draw(): void {
    const { following, people, views } = this.state;
    const person = people.find((one) => one.id === following);
    this.root.hidden = following === null;
    if (following !== null) setText(this.text, `${say("youFollow")} ${person?.name || "…"}${views.has(following) ? "" : ` · ${say("leadsNoMore")}`}`);
  }
}
