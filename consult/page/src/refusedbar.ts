/** What the room did not take of what a person did, said where they look: above everything, when its own place is hidden. */
import { h } from "./dom";
import { say } from "./words";

/** Ids that a person's deed has (`randomId`): what the page itself says now and then has none. */
const DEED = /^[0-9a-f]{24}$/;

export class RefusedBar {
  readonly root = h("div", { class: "call-notice trouble", id: "refused", role: "alert" });

  /** `told`: where it is said already. */
  take(id: string, told: HTMLElement): void {
    if (told.offsetParent !== null) return told.scrollIntoView({ block: "nearest" });
    if (!DEED.test(id)) return;
    const close = h("button", { type: "button", class: "quiet", click: () => this.root.replaceChildren() }, say("close"));
    this.root.replaceChildren(h("span", {}, told.textContent ?? ""), close);
  }
}
