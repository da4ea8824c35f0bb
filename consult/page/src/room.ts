/** The room: the view of what is known of it, built anew whenever the language changes. */
import { AskPanel } from "./askpanel";
import { casesCard, ecuCard, findingsCard } from "./car";
import { Call } from "./call";
import { CallView } from "./callview";
import { sayCall } from "./callwords";
import { BatteryCard } from "./cells";
import { ConnectionBadge } from "./connection";
import { ConsentBar } from "./consent";
import { DecideBar, stopButton } from "./decidebar";
import { h, setCount, setText } from "./dom";
import { DtcPanel } from "./dtcs";
import { mayFinish, openFinish } from "./finish";
import { openHelp } from "./help";
import { showMessage } from "./join";
import { Link } from "./link";
import { LivePanel } from "./live";
import { PeopleList } from "./people";
import { PlaceBar } from "./placebar";
import { privacyButton } from "./privacy";
import { exposeProbe } from "./probe";
import type { FromService } from "./protocol";
import { RawPanel } from "./rawcan";
import { RefusedBar } from "./refusedbar";
import { ReplayBar, span } from "./replaybar";
import { absorb, makeState, newestTime, roomTimeUs, sessionStart, type RoomState } from "./state";
import { TalkPanel } from "./talk";
import { lang, refusal, say, switchLanguage } from "./words";

const TABS = ["call", "faults", "live", "requests", "talk"] as const;
const SIDES = ["talk", "requests", "marks", "can"] as const;
const LINE_MS = 2000;
/** Up to this width the page is a phone's: one thing at a time. */
const PHONE_PX = 760;

type Tab = (typeof TABS)[number];
type Side = (typeof SIDES)[number];

export function enterRoom(path: string): void {
  let view: RoomView | null = null;
  const link = new Link(path, {
    said: (message) => {
      absorb(state, message);
      if (!call.said(message)) view?.said(message);
    },
    changed: () => view?.connectionChanged(),
    ended: (code) => {
      call.end();
      view?.destroy();
      view = null;
      showMessage(say("ended"), refusal(code));
    },
  });
  const state: RoomState = makeState(link, path);
  const call = new Call(state, () => view?.callChanged());
  const rebuild = () => {
    const [tab, side] = [view?.tab ?? "live", view?.side ?? "talk"];
    view?.destroy();
    view = new RoomView(state, call, () => {
      switchLanguage();
      rebuild();
    });
    document.body.replaceChildren(view.root);
    view.show(tab);
    view.showSide(side);
    view.resized();
  };
  rebuild();
  exposeProbe(
    state,
    call,
    () => view?.meter ?? missing(),
    () => view?.window() ?? missing(),
  );
}

function missing(): never {
  throw new Error("the room has ended");
}

class RoomView {
  readonly root: HTMLElement;
  tab: Tab = "live";
  side: Side = "talk";
  private readonly state: RoomState;
  private readonly car = h("div", { class: "car-name" });
  private readonly clock = h("div", { class: "session-clock", id: "session-clock" });
  private readonly connection: ConnectionBadge;
  private readonly faults = h("section", { class: "faults", "aria-label": say("faults") });
  private readonly live: LivePanel;
  private readonly talk: TalkPanel;
  private readonly asks: AskPanel;
  private readonly decide: DecideBar;
  private readonly place: PlaceBar;
  private readonly dtcs: DtcPanel;
  private readonly people: PeopleList;
  private readonly call: CallView;
  private readonly consent: ConsentBar;
  private readonly replay: ReplayBar;
  private readonly raw: RawPanel;
  private readonly battery: BatteryCard;
  private readonly stop: HTMLButtonElement;
  private readonly finish: HTMLButtonElement;
  private readonly privacy: HTMLButtonElement;
  private readonly tabs = new Map<Tab, HTMLButtonElement>();
  private readonly sides = new Map<Side, HTMLButtonElement>();
  private readonly sideCard = h("section", { class: "side card", "aria-label": say("talk") });
  private readonly unseen = { talk: 0, requests: 0, marks: 0, can: 0 };
  private readonly refusedBar = new RefusedBar();
  private readonly timer: number;
  private lineAt = 0;
  private welcomed: boolean;
  private readonly onKey = (event: KeyboardEvent) => this.key(event);
  private readonly onFollow = () => this.people.draw();

  constructor(state: RoomState, call: Call, onLanguage: () => void) {
    this.state = state;
    this.welcomed = state.you !== null; // a view in another language stays where the one before was
    this.live = new LivePanel(state, (id) => this.showStill(id, false));
    this.talk = new TalkPanel(state, (id) => this.showStill(id, true));
    this.call = new CallView(state, call, () => this.live.resized());
    this.connection = new ConnectionBadge(state);
    this.consent = new ConsentBar(state, call);
    this.asks = new AskPanel(state);
    this.decide = new DecideBar(state);
    this.place = new PlaceBar(state);
    this.dtcs = new DtcPanel(state);
    this.people = new PeopleList(state, (person) => this.follow(person));
    this.replay = new ReplayBar(state);
    this.raw = new RawPanel(state);
    this.battery = new BatteryCard(state, {
      toggle: (name) => this.live.toggle(name),
      drawn: (name) => state.arrangement.has(name),
      pageName: (store, index) => this.live.nameOf(store, index),
      lookedAt: () => this.live.lookedAt(),
    });
    this.stop = stopButton(state);
    this.finish = h("button", { type: "button", id: "finish", click: () => void openFinish(state, this.finish) }, say("finish"));
    this.privacy = privacyButton(state);
    const language = h("button", { type: "button", class: "quiet", "aria-label": say("otherLanguage"), click: onLanguage }, say("language"));
    const help = h("button", { type: "button", class: "quiet help", "aria-label": say("keys"), title: `${say("keys")} ( ? )`, click: () => openHelp(help) }, "?");
    const nav = h("nav", { class: "tabs" });
    for (const tab of TABS) {
      const button = h("button", { type: "button", "data-tab": tab, click: () => this.show(tab) }, tab === "call" ? sayCall("call") : say(tab));
      this.tabs.set(tab, button);
      nav.append(button);
    }
    const sideNav = h("div", { class: "side-tabs segments", role: "group", "aria-label": say("talk") });
    for (const side of SIDES) {
      const button = h("button", { type: "button", "data-side": side, click: () => this.showSide(side) }, say(side));
      this.sides.set(side, button);
      sideNav.append(button);
    }
    const panels = { talk: this.talk.root, requests: this.asks.root, marks: this.live.marksPanel.root, can: this.raw.root };
    this.sideCard.append(this.people.root, sideNav, ...SIDES.map((side) => h("div", { class: "side-panel", "data-panel": side }, panels[side])));
    this.root = h(
      "div",
      { class: "room", "data-tab": "live" },
      h(
        "header",
        {},
        h("span", { class: "brand" }, say("brand")),
        this.car,
        h("span", { class: "spring" }),
        this.clock,
        this.call.button,
        this.finish,
        this.privacy,
        this.connection.root,
        help,
        language,
        this.stop,
      ),
      h("div", { class: "bars" }, this.replay.root, this.place.root, this.refusedBar.root, this.call.notice, this.consent.root, this.decide.root),
      h("div", { class: "columns" }, this.faults, h("div", { class: "middle" }, this.call.root, this.live.root), this.battery.root, this.sideCard),
      nav,
    );
    document.documentElement.lang = lang();
    this.show("live");
    this.showSide("talk");
    this.drawCar();
    this.battery.streamsChanged();
    this.drawRole();
    this.connection.draw();
    this.talk.drawAll();
    this.people.draw();
    this.call.showStill(call.openStill);
    this.callChanged();
    document.addEventListener("keydown", this.onKey);
    document.addEventListener("huizhen-follow", this.onFollow);
    this.timer = window.setInterval(() => this.tick(), 500);
  }

  destroy(): void {
    window.clearInterval(this.timer);
    document.removeEventListener("keydown", this.onKey);
    document.removeEventListener("huizhen-follow", this.onFollow);
    this.decide.destroy();
    this.call.destroy();
    this.live.destroy();
  }

  get meter() {
    return this.live.meter;
  }

  window() {
    return this.live.window();
  }

  resized(): void {
    this.live.resized();
  }

  said(message: FromService): void {
    switch (message.type) {
      case "welcome":
        this.drawRole();
        this.call.draw();
        // On a technician's phone the camera is the main thing.
        if (!this.welcomed && this.state.you?.role === "technician" && !this.state.replay && window.innerWidth <= PHONE_PX) this.show("call");
        this.welcomed = true;
        this.talk.drawAll();
        this.asks.draw();
        this.decide.draw();
        this.live.happened();
        this.replay.tick();
        break;
      case "car":
        this.drawCar();
        this.live.streamsChanged();
        this.battery.streamsChanged();
        break;
      case "people":
        this.people.draw();
        this.callChanged();
        break;
      case "view":
        this.people.draw();
        this.live.viewed();
        break;
      case "event":
        this.happened(message);
        break;
      case "clock":
        if (message.reset) {
          this.talk.drawAll();
          this.asks.draw();
          this.live.forget();
          this.call.showStill(null);
          this.live.happened();
        }
        this.replay.tick();
        break;
      case "refused":
        this.refusedBar.take(message.id, this.refused(message.code, message.id));
        break;
      default:
        break;
    }
    if (message.type !== "beat") this.connection.draw();
  }

  connectionChanged(): void {
    this.connection.draw();
  }

  callChanged(): void {
    this.call.draw();
    this.consent.draw();
    this.tabs.get("call")?.classList.toggle("on-air", this.call.inCall);
  }

  show(tab: Tab): void {
    this.tab = tab;
    this.root.setAttribute("data-tab", tab);
    if (tab === "talk" || tab === "requests") this.showSide(tab === "requests" ? "requests" : this.side === "requests" ? "talk" : this.side);
    for (const [name, button] of this.tabs) button.setAttribute("aria-pressed", String(name === tab));
    if (tab === "live") this.live.resized();
  }

  showSide(side: Side): void {
    this.side = side;
    this.unseen[side] = 0;
    this.sideCard.setAttribute("data-side", side);
    this.root.setAttribute("data-side", side);
    for (const [name, button] of this.sides) button.setAttribute("aria-pressed", String(name === side));
    this.drawUnseen();
  }

  /** Where the room's no to something of this page is said. */
  private refused(code: string, id: string): HTMLElement {
    const asks = this.side === "requests" || this.state.requests.get(id) !== undefined;
    return this.call.refused(id, code) ?? (asks ? this.asks.refused(code, id) : this.talk.refused(code));
  }

  private happened(event: Extract<FromService, { type: "event" }>): void {
    this.talk.add(event);
    const own = event.who.id === this.state.you?.id;
    switch (event.kind) {
      case "chat":
        if (!own) this.note("talk");
        break;
      case "mark":
      case "unmark":
        this.live.happened();
        if (!own && event.kind === "mark") this.note("marks");
        break;
      case "still":
        this.live.happened();
        this.stillCame(event.id, own);
        if (!own) this.note("talk");
        break;
      case "stroke":
      case "unstroke":
        this.call.draw();
        break;
      case "recording":
      case "consent":
        this.consent.draw();
        break;
      case "dtc":
        this.dtcs.draw();
        this.live.happened();
        break;
      case "queue":
        this.place.happened();
        break;
      case "finish":
      case "stop":
        this.decide.draw();
        break;
      case "request":
      case "withdraw":
      case "seen":
      case "decision":
      case "result":
        this.asks.draw();
        this.decide.draw();
        this.live.happened();
        if (!own && event.kind !== "seen") this.note("requests");
        break;
      default:
        break;
    }
  }

  /** A picture that somebody froze takes the stage of all who are in the call; in a replay that of who looks. */
  private stillCame(id: string, own: boolean): void {
    const replays = this.state.replay !== null && this.state.replay.speed > 0;
    if (!this.call.inCall && !own && !replays) return;
    this.call.showStill(id);
    if (window.innerWidth <= PHONE_PX && this.call.inCall) this.show("call");
  }

  /** A picture of the record: on the stage, and the curves at its time. */
  private showStill(id: string, moves: boolean): void {
    const still = this.state.stills.get(id);
    if (!still) return;
    this.call.showStill(id);
    if (moves) this.live.showTime(still.tUs / 1e6, still.tUs / 1e6);
    if (window.innerWidth <= PHONE_PX) this.show("call");
  }

  /** Something new stands where nobody looks. */
  private note(side: Side): void {
    if (this.side !== side || this.sideCard.offsetParent === null) this.unseen[side]++;
    this.drawUnseen();
  }

  private drawUnseen(): void {
    for (const [name, button] of this.sides) setCount(button, this.unseen[name]);
    for (const [name, button] of this.tabs) {
      if (name === "talk") setCount(button, this.unseen.talk + this.unseen.marks);
      else if (name === "requests") setCount(button, this.unseen.requests);
    }
  }

  private follow(person: number | null): void {
    this.state.following = person;
    if (person !== null && this.state.leading) this.live.stopLeading();
    this.people.draw();
    this.live.viewed();
  }

  private key(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || /^(input|textarea|select)$/i.test(target.tagName) || target.isContentEditable) return;
    if (event.key === " " && /^(button|summary)$/i.test(target.tagName)) return;
    if (event.key === "?") openHelp(this.root.querySelector<HTMLElement>(".help") ?? this.root);
    else if (event.key === "c") {
      this.show("talk");
      this.showSide("talk");
      this.talk.focus();
    } else if (event.key === "r") {
      if (this.tab !== "live" || window.innerWidth < 761) this.show("requests");
      this.showSide("requests");
      this.sideCard.querySelector<HTMLElement>("#ask")?.focus();
    } else if (event.key === " " && this.state.replay) this.replay.toggle();
    else if (!this.call.key(event.key) && !this.live.key(event)) return;
    event.preventDefault();
  }

  private tick(): void {
    this.connection.draw();
    this.battery.update();
    this.asks.tick();
    this.decide.tick();
    this.place.tick(performance.now());
    this.replay.tick();
    this.raw.update(this.side === "can");
    this.drawClock();
    const now = performance.now();
    if (now - this.lineAt >= LINE_MS && !this.state.replay) {
      this.lineAt = now;
      this.tellLine();
    }
  }

  /** Tells the room how good this page's line is. */
  private tellLine(): void {
    const { link } = this.state;
    let lacking = 0;
    for (const stream of link.streams.values()) lacking += Math.max(0, stream.missing() - stream.counts.gone);
    link.tell({ type: "line", rtt_ms: Math.min(999_999, Math.round(link.roundTripMs ?? 0)), missing: lacking, fps: Math.min(999, this.live.meter.perSecond()), over: link.carrier });
  }

  /** Since when the room is open, and what time it is at the car. */
  private drawClock(): void {
    const start = sessionStart(this.state);
    const car = newestTime(this.state);
    const now = roomTimeUs(this.state) / 1e6;
    if (!Number.isFinite(start) || now <= 0) return;
    const text = `${say("open")} ${span((now - start) * 1e6)}`;
    const at = car > 0 ? ` · ${say("atTheCar")} ${new Date(car * 1000).toTimeString().slice(0, 8)}` : "";
    setText(this.clock, text + at);
    this.clock.title = this.state.chain ? `${say("record")} ${this.state.chain.n} · ${this.state.chain.hash}` : "";
  }

  private drawRole(): void {
    const { you, replay } = this.state;
    this.stop.hidden = you === null || replay !== null || you.role === "observer";
    this.finish.hidden = !mayFinish(this.state);
    this.privacy.hidden = you === null || replay !== null;
    this.root.classList.toggle("replaying", replay !== null);
  }

  private drawCar(): void {
    const { report, vin } = this.state;
    const vehicle = report.vehicle;
    const known = Object.keys(report).length > 0;
    const make = [vehicle?.make, vehicle?.model].filter(Boolean).join(" ");
    const label = make || (known && !vin ? say("unnamedCar") : "");
    this.car.replaceChildren(
      label ? h("strong", {}, label) : "",
      vin ? h(label ? "code" : "strong", { class: "vin" }, vin) : "",
      vehicle?.model_year ? h("span", { class: "dim" }, String(vehicle.model_year)) : "",
      report.simulated ? h("span", { class: "simulated" }, say("simulated")) : "",
    );
    document.title = [label || vin, say("title")].filter(Boolean).join(" · ");
    const can = this.sides.get("can");
    if (can) can.hidden = !this.raw.exists;
    if (this.side === "can" && !this.raw.exists) this.showSide("talk");
    this.dtcs.draw();
    this.faults.replaceChildren(
      report.complete === false ? h("p", { class: "hint" }, say("incomplete")) : "",
      findingsCard(report),
      this.dtcs.root,
      casesCard(report),
      ecuCard(report),
    );
  }
}
