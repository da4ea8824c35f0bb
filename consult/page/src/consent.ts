/** Recording of a call: asked of everybody in it, shown while it runs, taken back at any time. */
import type { Call } from "./call";
import { sayCall } from "./callwords";
import { h } from "./dom";
import { called } from "./people";
import type { RoomState } from "./state";

export class ConsentBar {
  readonly root = h("section", { class: "consent-bar", "aria-label": sayCall("record"), hidden: true });
  private readonly state: RoomState;
  private readonly call: Call;
  private print = "";

  constructor(state: RoomState, call: Call) {
    this.state = state;
    this.call = call;
  }

  draw(): void {
    const { state, call } = this;
    const { wanted, running, waiting } = call.status.recording;
    const you = state.you?.id ?? 0;
    const asked = call.joined && wanted && waiting.includes(you);
    const { ready } = call.status.engine;
    const print = JSON.stringify([wanted, running, waiting, you, call.joined, state.people.length, ready]);
    if (print === this.print) return;
    this.print = print;
    this.root.hidden = !wanted || (!call.joined && !running);
    if (this.root.hidden) return this.root.replaceChildren();
    if (running) this.root.replaceChildren(this.sign());
    else if (asked) this.root.replaceChildren(this.question());
    else this.root.replaceChildren(this.waits(waiting));
  }

  private question(): HTMLElement {
    const wish = this.state.events.findLast((event) => event.kind === "recording" && event.body["state"] === "asked");
    return h(
      "article",
      { class: "consent card", role: "alertdialog", "aria-label": sayCall("record") },
      h("h2", {}, `${wish ? called(wish.who) : "–"} ${sayCall("recordWanted")}`),
      h("p", {}, sayCall("recordWhat")),
      h("p", { class: "dim" }, sayCall("recordWithdrawable")),
      h("div", { class: "row" }, this.button("consent-agree", "agree", true), this.button("consent-refuse", "refuse", false)),
    );
  }

  private sign(): HTMLElement {
    return h("div", { class: "consent-note recording", role: "status" }, h("strong", { class: "recording-sign" }, sayCall("recording")), this.call.joined ? this.button("consent-withdraw", "withdraw", false) : null);
  }

  private waits(waiting: readonly number[]): HTMLElement {
    const names = waiting.map((id) => this.state.people.find((one) => one.id === id)).map((one) => (one ? called(one) : "–"));
    const begins = sayCall(this.call.status.engine.ready ? "recordBegins" : "recordEngine");
    return h("div", { class: "consent-note", role: "status" }, h("span", {}, names.length > 0 ? `${sayCall("recordWaits")} ${names.join(", ")}` : begins), this.button("consent-withdraw", "withdraw", false));
  }

  private button(id: string, words: "agree" | "refuse" | "withdraw", given: boolean): HTMLElement {
    return h("button", { type: "button", id, class: given ? "primary" : "", click: () => this.call.consent(given) }, sayCall(words));
  }
}
