/** How good the page's line is: a badge in the head, and what it counted when opened. */
import { h, setText } from "./dom";
import type { RoomState } from "./state";
import { say } from "./words";

export class ConnectionBadge {
  readonly root: HTMLElement;
  private readonly state: RoomState;
  private readonly badge = h("summary", { class: "badge", id: "connection" });
  private readonly details = h("dl", { class: "counts" });

  constructor(state: RoomState) {
    this.state = state;
    this.root = h("details", { class: "connection" }, this.badge, this.details);
  }

  draw(): void {
    const { link, carOnline } = this.state;
    let kind: string;
    let text: string;
    if (link.state === "connecting") [kind, text] = ["wait", say("connecting")];
    else if (link.state !== "online") [kind, text] = ["bad", say("reconnecting")];
    else if (this.state.replay) [kind, text] = ["good", say("replay")];
    else if (!carOnline) [kind, text] = ["bad", say("carAway")];
    else {
      const carrier = say(link.carrier === "rtc" ? "overRtc" : "overWss");
      kind = link.carrier === "rtc" ? "good" : "fair";
      text = link.delayMs === null ? carrier : `${carrier} · ${Math.round(link.delayMs)} ms`;
    }
    this.badge.dataset["kind"] = kind;
    this.badge.dataset["carrier"] = link.carrier;
    setText(this.badge, text);
    const total = { rtc: 0, wss: 0, filled: 0, repeated: 0, gone: 0, missing: 0 };
    for (const stream of link.streams.values()) {
      total.rtc += stream.counts.rtc;
      total.wss += stream.counts.wss;
      total.filled += stream.counts.filled;
      total.repeated += stream.counts.repeated;
      total.gone += stream.counts.gone;
      total.missing += stream.missing();
    }
    const rows: [string, string, string][] = [
      ["carrier", say("carrier"), say(link.carrier === "rtc" ? "overRtc" : "overWss")],
      ["rtc", say("byRtc"), String(total.rtc)],
      ["wss", say("byWss"), String(total.wss)],
      ["filled", say("filled"), String(total.filled)],
      ["missing", say("missing"), String(total.missing - total.gone)],
      ["gone", say("gone"), String(total.gone)],
      ["repeated", say("repeated"), String(total.repeated)],
      ["broken", say("broken"), String(link.brokenBlocks)],
      ["attempts", say("attempts"), String(link.edge.attempts)],
      ["delay", say("delay"), link.delayMs === null ? "–" : `${Math.round(link.delayMs)} ms`],
      ["chain", say("record"), this.state.chain ? `${this.state.chain.n} · ${this.state.chain.hash}` : "–"],
    ];
    if (this.details.childElementCount === 0) {
      for (const [name, label] of rows) this.details.append(h("dt", {}, label), h("dd", { "data-count": name }));
    }
    for (const [name, , value] of rows) {
      const cell = this.details.querySelector(`[data-count="${name}"]`);
      if (cell) setText(cell, value);
    }
  }
}
