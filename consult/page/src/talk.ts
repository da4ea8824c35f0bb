/** What is said, and what happened. */
import { sayCall, type CallKey } from "./callwords";
import { h, setText } from "./dom";
import type { RoomEvent } from "./protocol";
import { called } from "./people";
import { queueSentence } from "./placebar";
import { canProve } from "./proof";
import type { RoomState } from "./state";
import { addressOf } from "./still";
import { UploadRefused, uploadFile } from "./upload";
import { regionSentence } from "./regionwords";
import { colon, lang, pick, refusal, say, type Key } from "./words";

const HAPPENINGS: Record<string, Key> = { join: "joined", leave: "left", online: "carOnline", offline: "carOffline" };

function sentence(state: RoomState, event: RoomEvent): string | null {
  const who = called(event.who);
  const request = state.requests.get(event.id);
  const name = request ? (request.name ? pick(request.name) : request.data) : "";
  switch (event.kind) {
    case "online":
    case "offline":
      return say(HAPPENINGS[event.kind] ?? "carOnline");
    case "join":
    case "leave":
      return `${who} ${say(HAPPENINGS[event.kind] ?? "joined")}`;
    case "mark":
      return `${who} ${say("setsMark")}${event.text ? `: ${event.text}` : ""}`;
    case "unmark":
    case "seen":
      return null;
    case "request":
      return `${who} ${say("asks")}${colon()}${name}`;
    case "withdraw":
      return `${who} ${say("withdrew")}${colon()}${name}`;
    case "decision":
      return `${who} ${say(event.body["decision"] === "deny" ? "deniedIt" : event.body["decision"] === "second" ? "secondedIt" : "grantedIt")}: ${name}`;
    case "result":
      return `${name || say("requests")}: ${say(({ done: "reqDone", refused: "reqRefused", failed: "reqFailed", stopped: "reqStopped", expired: "reqExpired" } as Record<string, Key>)[String(event.body["outcome"])] ?? "reqFailed")}`;
    case "stop":
      return `■ ${who} ${say(event.body["stopped"] === false ? "goesOn" : "stoppedAll")}`;
    case "dtc":
      return `${say("codesChanged")}: ${Array.isArray(event.body["changed"]) ? event.body["changed"].join(", ") : ""}`;
    case "gap":
      return say("samplesLost");
    case "file":
      return `${who} ${say("fileShared")}${colon().trim()}`;
    case "call":
      return `${who} ${sayCall(event.body["joined"] === false ? "leftCall" : "joinedCall")}`;
    case "recording":
      return recordingSentence(who, String(event.body["state"]), event.body["why"]);
    case "consent":
      return `${who} ${sayCall(event.body["given"] === true ? "consented" : hadAgreed(state, event) ? "consentWithdrawn" : "unconsented")}`;
    case "still":
      return `${who} ${sayCall("froze")}${event.text ? `: ${event.text}` : ""}`;
    case "stroke":
    case "unstroke":
      return null;
    case "queue":
      return queueSentence(event);
    case "finish":
      return `${who} ${say("finishedJob")}`;
    case "region":
      return regionSentence(event.body, event.text);
    case "position":
      return `${who} ${say(event.body["withdrawn"] === true ? "positionWithheld" : "positionAgain")}`;
    default:
      return event.kind;
  }
}

/** Why there is no recording any more, where it is nobody's wish to end it. */
const RECORDING_OFF: Record<string, CallKey> = {
  failed: "recordingFailed",
  full: "recordingFull",
  refused: "recordingRefused",
  withdrawn: "recordingWithdrawn",
  empty: "recordingEmpty",
  restart: "recordingRestart",
};

/** Whether who says no had said yes to the same recording. */
function hadAgreed(state: RoomState, event: RoomEvent): boolean {
  const before = state.events.findLast(
    ({ n, kind, who, body }) => n < event.n && (kind === "recording" ? body["state"] === "asked" || body["state"] === "off" : (kind === "consent" || kind === "call") && who.id === event.who.id),
  );
  return before?.kind === "consent" && before.body["given"] === true;
}

function recordingSentence(who: string, state: string, why: unknown): string {
  if (state === "on") return sayCall("recordingRuns");
  if (state === "suspended") return sayCall("recordingRests");
  const off = RECORDING_OFF[String(why)];
  if (state === "off" && off) return sayCall(off);
  return `${who} ${sayCall(state === "asked" ? "recordingOn" : "recordingOff")}`;
}

export class TalkPanel {
  readonly root: HTMLElement;
  private readonly state: RoomState;
  private readonly openStill: (id: string) => void;
  private readonly log = h("ol", { class: "log", role: "log", "aria-live": "polite", tabindex: 0, "aria-label": say("talk") });
  private readonly problem = h("p", { class: "problem", role: "alert" });
  private readonly input = h("textarea", { rows: 2, maxlength: 2000, placeholder: say("say"), "aria-label": say("say"), enterkeyhint: "send" });
  private readonly foot = h("div", {});

  constructor(state: RoomState, openStill: (id: string) => void) {
    this.state = state;
    this.openStill = openStill;
    const form = h(
      "form",
      {
        class: "say",
        submit: (event: SubmitEvent) => {
          event.preventDefault();
          const text = this.input.value.trim();
          if (!text) return;
          setText(this.problem, "");
          this.state.link.say(text);
          this.input.value = "";
        },
      },
      this.input,
      h("div", { class: "say-buttons" }, h("button", { type: "submit", class: "primary" }, say("send")), this.attachButton()),
    );
    this.input.addEventListener("keydown", (event) => {
      // While an input method composes Chinese, Enter chooses a word.
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    new ResizeObserver(() => (this.log.scrollTop = this.log.scrollHeight)).observe(this.log);
    this.root = h("div", { class: "talk-body" }, this.log, this.problem, this.foot);
    this.foot.append(form);
  }

  focus(): void {
    this.input.focus();
  }

  drawAll(): void {
    this.log.replaceChildren();
    for (const event of this.state.events) this.add(event);
    if (this.state.replay) this.foot.replaceChildren(h("p", { class: "hint" }, say("replayNoTalk")));
    else if (this.state.you?.role === "observer") this.foot.replaceChildren(h("p", { class: "hint" }, say("youWatch")));
  }

  add(event: RoomEvent): void {
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    const time = new Date(event.t_us / 1000).toLocaleTimeString(lang() === "zh" ? "zh-CN" : "en-GB", { hour: "2-digit", minute: "2-digit" });
    if (event.kind === "chat") {
      const own = event.who.id === this.state.you?.id;
      this.log.append(
        h("li", { class: own ? "said own" : "said", "data-role": event.who.role }, h("div", { class: "by" }, called(event.who), h("time", {}, time)), h("div", { class: "text" }, event.text)),
      );
    } else {
      const text = sentence(this.state, event);
      if (text === null) return;
      // A frozen picture is seen where it is told of; that its file came says no more.
      if (event.kind === "still") this.log.querySelector(`[data-file="${CSS.escape(String(event.body["file"]))}"]`)?.remove();
      this.log.append(
        h("li", { class: "happened", "data-kind": event.kind, "data-file": event.kind === "file" ? event.id : null }, h("time", {}, time), " ", text, event.kind === "file" ? this.fileLink(event) : null, event.kind === "still" ? this.picture(event, atEnd) : null),
      );
    }
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  /** Sends a photo or a log into the room; where the browser withholds WebCrypto there is no button. */
  private attachButton(): HTMLElement | null {
    if (!canProve()) return null;
    const choose = h("input", { type: "file", hidden: true, "aria-label": say("attach"), accept: ".png,.jpg,.jpeg,.hzb,.log,.txt,.csv,.asc,.trc" });
    const button = h("button", { type: "button", class: "attach", "aria-label": say("attach"), title: say("attach"), click: () => choose.click() }, say("attachShort"));
    choose.addEventListener("change", () => {
      const file = choose.files?.[0];
      choose.value = "";
      if (!file) return;
      setText(this.problem, "");
      button.disabled = true;
      uploadFile(this.state.path, file, (share) => setText(button, `${Math.round(share * 100)} %`))
        .catch((error: unknown) => setText(this.problem, `${file.name}: ${refusal(error instanceof UploadRefused ? error.code : "other")}`))
        .finally(() => {
          button.disabled = false;
          setText(button, say("attachShort"));
        });
    });
    return h("span", {}, button, choose);
  }

  /** A file's name; a link where this person may have it. A replay has none: its files need not stand beside it. */
  private fileLink(event: RoomEvent): HTMLElement {
    const { name, bytes, open, sha256 } = event.body;
    const size = typeof bytes === "number" ? ` (${bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`})` : "";
    const words = ` ${typeof name === "string" ? name : event.text}${size}`;
    const seesVin = this.state.you?.role === "technician" || this.state.you?.role === "lead";
    const there = !this.state.replay && typeof sha256 === "string" && /^[0-9a-f]{64}$/.test(sha256);
    return there && (open === true || seesVin) ? h("a", { href: `${this.state.path}/files/${sha256}`, download: typeof name === "string" ? name : "" }, words) : h("span", {}, words);
  }

  private picture(event: RoomEvent, atEnd: boolean): HTMLElement | null {
    const still = this.state.stills.get(event.id);
    if (!still) return null;
    const label = `${sayCall("still")} ${still.number}${still.text ? `: ${still.text}` : ""}`;
    const image = h("img", { src: addressOf(this.state, still), alt: label, loading: "lazy" });
    const button = h("button", { type: "button", class: "talk-still", "data-still": still.id, "aria-label": label, click: () => this.openStill(still.id) }, image);
    if (atEnd) image.addEventListener("load", () => (this.log.scrollTop = this.log.scrollHeight));
    image.addEventListener("error", () => image.replaceWith(h("span", { class: "lacking" }, `▣ ${label} · ${sayCall("stillGone")}`)));
    return button;
  }

  /** Says it; where it stands. */
  refused(code: string): HTMLElement {
    setText(this.problem, refusal(code));
    return this.problem;
  }
}
