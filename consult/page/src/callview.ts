/** The call as people see it: who is in it, large and small, beside the curves; on a technician's phone the camera. */
import type { Call, JoinKind } from "./call";
import { sayCall, sayTrouble } from "./callwords";
import { h, setText } from "./dom";
import { called, roleName } from "./people";
import { openPopup } from "./popup";
import type { CallPerson, Person } from "./protocol";
import { canProve } from "./proof";
import type { RoomState } from "./state";
import { StillView, freeze, mayDraw } from "./still";
import { refusal, sentences } from "./words";

const SPEAKS = 0.02;
const LISTEN_MS = 250;

export class CallView {
  readonly root: HTMLElement;
  /** In the page's head: joins, or says that one is in. */
  readonly button = h("button", { type: "button", id: "call-open", class: "call-open", click: () => this.pressed() });
  /** Above the columns: others are in the call. */
  readonly notice = h("div", { class: "call-notice", role: "status", hidden: true });
  readonly still: StillView;
  /** What becomes of the page's layout: told whenever the card appears or goes. */
  private readonly state: RoomState;
  private readonly call: Call;
  private readonly resized: () => void;
  private readonly tiles = new Map<number, Tile>();
  private readonly stage = h("div", { class: "call-tiles" });
  private readonly start: HTMLElement;
  private readonly note = h("p", { class: "call-note", role: "status" });
  private readonly problem = h("p", { class: "problem", role: "alert" });
  private readonly controls = h("div", { class: "call-controls", role: "toolbar", "aria-label": sayCall("call") });
  private readonly muteButton = this.control("call-mute", () => void this.call.toggleMute());
  private readonly cameraButton = this.control("call-camera", () => void this.call.toggleCamera());
  private readonly turnButton = this.control("call-turn", () => void this.turn());
  private readonly torchButton = this.control("call-torch", () => void this.call.toggleTorch());
  private readonly freezeButton = this.control("call-freeze", () => this.freeze());
  private readonly recordButton = this.control("call-record", () => this.call.record(!this.call.status.recording.wanted));
  private readonly sizeButton = this.control("call-size", () => this.toggleSize());
  private readonly leaveButton = this.control("call-leave", () => this.call.leave());
  private readonly timer: number;
  private big: number | null = null;
  /** Why a picture of this page is not shown, until another is taken. */
  private lost = "";
  private shown = false;

  constructor(state: RoomState, call: Call, resized: () => void) {
    this.state = state;
    this.call = call;
    this.resized = resized;
    this.still = new StillView(state, (id) => this.showStill(id));
    this.start = h(
      "div",
      { class: "call-start" },
      this.joinButton("video", "primary"),
      h("p", { class: "hint" }, ""),
      h("div", { class: "row" }, this.joinButton("voice", ""), this.joinButton("listen", "")),
    );
    setText(this.turnButton, sayCall("turn"));
    this.turnButton.title = sayCall("turnHint");
    setText(this.freezeButton, sayCall("freeze"));
    this.freezeButton.title = `${sayCall("freezeHint")} ( ⇧F )`;
    setText(this.leaveButton, sayCall("leave"));
    this.leaveButton.title = sayCall("leaveHint");
    this.leaveButton.classList.add("leave");
    this.recordButton.title = sayCall("recordHint");
    this.cameraButton.title = "( v )";
    this.muteButton.title = "( ⇧M )";
    this.controls.append(this.muteButton, this.cameraButton, this.turnButton, this.torchButton, this.freezeButton, this.recordButton, this.sizeButton, this.leaveButton);
    this.root = h("section", { class: "call card", "aria-label": sayCall("call") }, h("div", { class: "call-stage" }, this.stage, this.still.root), this.note, this.problem, this.start, this.controls);
    this.timer = window.setInterval(() => this.listen(), LISTEN_MS);
    this.draw();
  }

  destroy(): void {
    window.clearInterval(this.timer);
    this.still.destroy();
    for (const tile of this.tiles.values()) tile.destroy();
  }

  /** Whether there is anything of it to see beside the charts. */
  get isOpen(): boolean {
    return this.call.joined || this.still.openId !== null;
  }

  get inCall(): boolean {
    return this.call.joined;
  }

  /** A still takes the stage, or leaves it to the camera. */
  showStill(id: string | null): void {
    this.call.openStill = id;
    this.still.open(id, this.call.joined);
    this.draw();
  }

  /** Says what became of a line or a picture of this page that the room has not taken; where it stands. Else null. */
  refused(id: string, code: string): HTMLElement | null {
    if (this.call.ownStills.delete(id)) {
      this.lost = sentences(sayCall("stillRefused"), refusal(code));
      this.draw();
      return this.problem;
    }
    return this.still.refused(id, sentences(sayCall("strokeRefused"), refusal(code)));
  }

  /** A key of the call. True when it meant something. */
  key(key: string): boolean {
    if (!this.call.joined) return false;
    if (key === "M") void this.call.toggleMute();
    else if (key === "v") void this.call.toggleCamera();
    else if (key === "F" && !this.freezeButton.disabled) this.freeze();
    else return false;
    return true;
  }

  draw(): void {
    const { call, state } = this;
    const { you, replay } = state;
    const people = call.status.people;
    const phone = you?.role === "technician" && !replay;
    this.root.classList.toggle("open", this.isOpen);
    this.root.classList.toggle("in-call", call.joined);
    this.root.classList.toggle("with-still", this.still.openId !== null);
    this.drawTiles();
    this.start.hidden = call.joined || replay !== null || this.still.openId !== null;
    this.drawStart(phone);
    this.controls.hidden = !call.joined;
    if (call.joined) this.drawControls();
    const { level } = call;
    const small = call.ladder.at > 0 && call.sendsVideo;
    const away = call.status.mode === "sfu" && !call.status.engine.ready;
    setText(this.note, call.opening ? sayCall("opening") : !call.joined ? "" : away ? sayCall("engineAway") : level === "chat" ? sayCall("ownThinChat") : level === "voice" ? sayCall("ownThinVoice") : small ? sayCall("ownThinSmall") : "");
    const trouble = call.trouble ? sayTrouble(call.trouble) : call.refusedCode ? refusal(call.refusedCode) : "";
    setText(this.problem, sentences(this.lost, trouble));
    setText(this.button, `${sayCall("call")}${people.length > 0 ? ` ${people.length}` : ""}`);
    this.button.hidden = replay !== null || you === null;
    this.button.setAttribute("aria-pressed", String(call.joined));
    this.button.title = sayCall(call.joined ? "inTheCall" : "callOpen");
    this.drawNotice(people);
    this.still.draw();
    if (this.isOpen !== this.shown) {
      this.shown = this.isOpen;
      this.resized();
    }
  }

  // -- joining -----------------------------------------------------------------------------------------------------

  private joinButton(kind: JoinKind, look: string): HTMLButtonElement {
    return h("button", { type: "button", class: look, "data-join": kind, click: () => void this.call.join(kind) }, "");
  }

  private drawStart(phone: boolean): void {
    const words = { video: sayCall(phone ? "showCamera" : "withCamera"), voice: sayCall("voiceOnly"), listen: sayCall("listen") };
    for (const button of this.start.querySelectorAll<HTMLButtonElement>("[data-join]")) {
      const kind = button.dataset["join"] as JoinKind;
      setText(button, words[kind]);
      button.hidden = kind !== "listen" && !this.call.maySend;
      button.disabled = this.call.opening;
    }
    const hint = this.start.querySelector(".hint");
    const names = this.call.others().map((one) => called(this.personOf(one.id)));
    if (hint) setText(hint, names.length > 0 ? `${sayCall("inTheCall")} ${names.join(", ")}` : sayCall(phone ? "showCameraHint" : "nobodyYet"));
  }

  private pressed(): void {
    if (this.call.joined) {
      this.root.scrollIntoView({ block: "nearest" });
      return;
    }
    const press = (kind: JoinKind) => () => {
      close();
      void this.call.join(kind);
    };
    const kinds: JoinKind[] = this.call.maySend ? ["video", "voice", "listen"] : ["listen"];
    const words = { video: "withCamera", voice: "voiceOnly", listen: "listen" } as const;
    const close = openPopup(this.button, sayCall("callOpen"), "menu", ...kinds.map((kind) => h("button", { type: "button", "data-join-menu": kind, click: press(kind) }, sayCall(words[kind]))));
  }

  private drawNotice(people: readonly CallPerson[]): void {
    const problem = !this.call.joined && (this.call.trouble !== null || this.call.refusedCode !== null || this.call.opening);
    const others = !this.call.joined && people.length > 0 && !this.state.replay;
    this.notice.hidden = !problem && !others;
    if (this.notice.hidden) return;
    const names = people.map((one) => called(this.personOf(one.id))).join(", ");
    const text = this.call.opening ? sayCall("opening") : problem ? (this.problem.textContent ?? "") : `${sayCall("inTheCall")} ${names}`;
    if (this.notice.dataset["text"] === text) return;
    this.notice.dataset["text"] = text;
    this.notice.classList.toggle("trouble", problem && !this.call.opening);
    this.notice.replaceChildren(h("span", {}, text), others && !this.call.opening ? h("button", { type: "button", class: "primary", id: "call-join", click: (event: Event) => this.joinFrom(event.currentTarget as HTMLElement) }, sayCall("callOpen")) : "");
  }

  private joinFrom(button: HTMLElement): void {
    this.pressed();
    button.blur();
  }

  private personOf(id: number): Person {
    return this.state.people.find((one) => one.id === id) ?? { id, role: "", name: "" };
  }

  // -- tiles -------------------------------------------------------------------------------------------------------

  private drawTiles(): void {
    const { call, state } = this;
    const people = call.joined ? call.status.people : [];
    for (const [id, tile] of this.tiles) {
      if (people.some((one) => one.id === id)) continue;
      tile.destroy();
      this.tiles.delete(id);
    }
    const big = this.chosen(people);
    for (const person of people) {
      let tile = this.tiles.get(person.id);
      if (!tile) {
        tile = new Tile(person.id === state.you?.id, () => this.tilePressed(person.id));
        this.tiles.set(person.id, tile);
        this.stage.append(tile.root);
      }
      tile.draw(person, this.personOf(person.id), call.streamOf(person.id), person.id === big, call.camera.facing === "user", call.level !== "video");
    }
    this.stage.classList.toggle("alone", people.length < 2);
    this.stage.dataset["people"] = String(people.length);
  }

  /** Whom the large picture shows: whom one chose, else the technician's camera. */
  private chosen(people: readonly CallPerson[]): number | null {
    const you = this.state.you?.id;
    if (this.big !== null && people.some((one) => one.id === this.big)) return this.big;
    const technicians = people.filter((one) => this.personOf(one.id).role === "technician");
    const others = people.filter((one) => one.id !== you);
    const first = technicians.find((one) => one.video) ?? others.find((one) => one.video) ?? technicians.find((one) => one.id !== you) ?? others[0] ?? people[0];
    return first?.id ?? null;
  }

  private tilePressed(id: number): void {
    if (this.chosen(this.call.status.people) === id) return this.toggleSize();
    this.big = id;
    this.draw();
  }

  private toggleSize(): void {
    this.root.classList.toggle("large");
    this.draw();
    this.resized();
  }

  private bigTile(): Tile | undefined {
    return this.tiles.get(this.chosen(this.call.status.people) ?? -1);
  }

  private listen(): void {
    if (!this.call.joined) return;
    for (const [id, tile] of this.tiles) tile.speaks(this.call.person(id)?.audio === true && this.call.loudness(id) > SPEAKS);
    const frozen = !this.bigTile()?.video.videoWidth;
    if (this.freezeButton.disabled !== frozen) this.freezeButton.disabled = frozen;
  }

  // -- controls ----------------------------------------------------------------------------------------------------

  private control(id: string, press: () => void): HTMLButtonElement {
    return h("button", { type: "button", id, click: press });
  }

  private drawControls(): void {
    const { call } = this;
    const { camera } = call;
    const silent = camera.audio === null || call.muted;
    setText(this.muteButton, sayCall(silent ? "unmute" : "mute"));
    this.muteButton.setAttribute("aria-pressed", String(silent));
    setText(this.cameraButton, sayCall(camera.video ? "cameraOff" : "cameraOn"));
    this.cameraButton.setAttribute("aria-pressed", String(camera.video !== null));
    for (const button of [this.muteButton, this.cameraButton]) {
      button.hidden = !call.maySend;
      button.disabled = call.opening;
    }
    this.turnButton.hidden = camera.video === null;
    this.torchButton.hidden = !camera.hasTorch;
    setText(this.torchButton, sayCall(camera.torch ? "torchOff" : "torchOn"));
    this.freezeButton.hidden = !mayDraw(this.state) || !canProve();
    this.freezeButton.disabled = !this.bigTile()?.video.videoWidth;
    const { recording, engine } = call.status;
    const mayRecord = this.state.you?.role === "technician" || this.state.you?.role === "lead";
    this.recordButton.hidden = !mayRecord || (!engine.ready && !recording.wanted);
    setText(this.recordButton, sayCall(recording.wanted ? "recordStop" : "record"));
    this.recordButton.classList.toggle("runs", recording.running);
    setText(this.sizeButton, sayCall(this.root.classList.contains("large") ? "smaller" : "enlarge"));
  }

  private async turn(): Promise<void> {
    const cameras = await this.call.camera.list();
    // Two are the sides of a phone; of more one chooses by name.
    if (cameras.length < 3) return this.call.turnCamera(cameras.length === 2 ? this.other(cameras.map((one) => one.id)) : "");
    const press = (id: string) => () => {
      close();
      void this.call.turnCamera(id);
    };
    const close = openPopup(
      this.turnButton,
      sayCall("turnHint"),
      "menu",
      h("button", { type: "button", click: press("") }, sayCall("otherSide")),
      ...cameras.map((one, index) => h("button", { type: "button", click: press(one.id) }, one.label || `${sayCall("camera")} ${index + 1}`)),
    );
  }

  /** Where sides have no names the other one of two devices is meant; phones go by side. */
  private other(ids: readonly string[]): string {
    const settings = this.call.camera.video?.getSettings();
    if (settings?.facingMode) return "";
    return ids.find((id) => id !== settings?.deviceId) ?? "";
  }

  private freeze(): void {
    const tile = this.bigTile();
    const of = this.chosen(this.call.status.people);
    this.lost = "";
    if (!tile?.video.videoWidth || of === null) setText(this.problem, sayCall("noPicture"));
    else freeze(this.state, this.call, tile.video, of, this.freezeButton);
  }
}

/** One person in the call. */
class Tile {
  readonly root: HTMLElement;
  readonly video: HTMLVideoElement;
  private readonly name = h("span", { class: "tile-name" });
  private readonly sign = h("span", { class: "tile-sign" });
  private readonly face = h("span", { class: "tile-face", "aria-hidden": "true" });
  private readonly hear = h("button", { type: "button", class: "tile-hear primary", hidden: true, click: (event: Event) => this.play(event) }, sayCall("hear"));
  private readonly own: boolean;
  private tracks: readonly MediaStreamTrack[] = [];

  constructor(own: boolean, press: () => void) {
    this.own = own;
    this.video = h("video", { autoplay: true, playsinline: true, tabindex: -1 });
    this.video.muted = own;
    this.root = h("figure", { class: "tile", role: "button", tabindex: 0, click: press }, this.video, this.face, h("figcaption", {}, this.name, this.sign), this.hear);
    this.root.addEventListener("keydown", (event) => {
      if (event.target !== this.root || (event.key !== "Enter" && event.key !== " ")) return;
      event.preventDefault();
      event.stopPropagation();
      press();
    });
  }

  destroy(): void {
    this.video.srcObject = null;
    this.root.remove();
  }

  draw(person: CallPerson, who: Person, stream: MediaStream | null, big: boolean, mirrored: boolean, thin: boolean): void {
    const tracks = stream?.getTracks() ?? [];
    // Not by their names: an engine gives the tracks of its next connection the same ones.
    if (tracks.length !== this.tracks.length || tracks.some((track, index) => track !== this.tracks[index])) {
      this.tracks = tracks;
      this.video.srcObject = stream;
      if (stream) this.play();
    }
    const picture = person.video && stream !== null && stream.getVideoTracks().length > 0 && (this.own || !thin);
    const waits = person.video && !picture && !thin;
    const sign = person.level === "chat" ? sayCall("thinChat") : person.level === "voice" ? sayCall("thinVoice") : waits ? sayCall("comes") : person.audio ? "" : sayCall("muted");
    this.root.dataset["person"] = String(person.id);
    this.root.dataset["role"] = who.role;
    this.root.classList.toggle("big", big);
    this.root.classList.toggle("own", this.own);
    this.root.classList.toggle("has-picture", picture);
    this.root.classList.toggle("mirrored", this.own && mirrored);
    setText(this.name, called(who));
    setText(this.sign, sign);
    this.sign.hidden = sign === "";
    setText(this.face, [...called(who)].slice(0, 1).join("").toUpperCase());
    const label = [called(who), who.name ? roleName(who.role) : "", sign, picture ? "" : sayCall("noPicture")].filter(Boolean).join(", ");
    this.root.setAttribute("aria-label", big ? label : `${sayCall("bigPicture")} ${label}`);
    this.root.title = sayCall("enlarge");
  }

  speaks(loud: boolean): void {
    if (this.root.classList.contains("speaks") !== loud) this.root.classList.toggle("speaks", loud);
  }

  /** Where the browser wants a press before it lets something sound, it gets one. */
  private play(event?: Event): void {
    event?.stopPropagation();
    this.video.play().then(
      () => (this.hear.hidden = true),
      (error: unknown) => (this.hear.hidden = !(error instanceof DOMException && error.name === "NotAllowedError")),
    );
  }
}
