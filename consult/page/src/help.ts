/** The keys of the page. */
import { sayCall, type CallKey } from "./callwords";
import { h } from "./dom";
import { openPopup } from "./popup";
import { say, type Key } from "./words";

const KEYS: readonly [string, Key][] = [
  ["/", "keySearch"],
  ["Space", "keyPause"],
  ["l", "keyLive"],
  ["← →", "keyPan"],
  ["+ −", "keyZoom"],
  ["0", "keyWhole"],
  ["⇧ ← →", "keyCursor"],
  ["m", "keyMark"],
  ["f", "keyLead"],
  ["c", "keyTalk"],
  ["r", "keyRequests"],
  ["Esc", "keyClose"],
  ["?", "keyHelp"],
];

const CALL_KEYS: readonly [string, CallKey][] = [
  ["⇧ M", "keyMute"],
  ["v", "keyCamera"],
  ["⇧ F", "keyFreeze"],
];

export function openHelp(anchor: HTMLElement): void {
  openPopup(
    anchor,
    say("keys"),
    "dialog",
    h("div", { class: "popup-title" }, h("strong", {}, say("keys"))),
    h("dl", { class: "keys" }, ...KEYS.flatMap(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, say(words))]), ...CALL_KEYS.flatMap(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, sayCall(words))])),
    h("p", { class: "dim" }, say("keysMouse")),
  );
}
