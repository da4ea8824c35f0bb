/** The room: what is known of it, and the view that is built from that anew whenever the language changes. */
import { batteryCard } from "./cells";
import { casesCard, dtcCard, ecuCard, findingsCard } from "./car";
import { h, setText } from "./dom";
import { showMessage } from "./join";
import { Link } from "./link";
import { LivePanel } from "./live";
import type { FromService, Person, Report, RoomEvent } from "./protocol";
import { TalkPanel } from "./talk";
import { lang, refusal, say, switchLanguage } from "./words";

export interface RoomState {
  readonly link: Link;
  you: Person | null;
  report: Report;
  vin: string;
  people: Person[];
  events: RoomEvent[];
  carOnline: boolean;
  /** Names of the signals that are drawn, in order; null until the first choice was made. */
  chosen: string[] | null;
}

type Tab = "faults" | "live" | "talk";

export function enterRoom(path: string): void {
  let view: RoomView | null = null;
  const link = new Link(path, {
    said: (message) => {
      absorb(state, message);
      view?.said(message);
    },
    changed: () => view?.connectionChanged(),
    ended: (code) => {
      view?.destroy();
      view = null;
      showMessage(say("ended"), refusal(code));
    },
  });
  const state: RoomState = {
    link,
    you: null,
    report: {},
    vin: "",
    people: [],
    events: [],
    carOnline: false,
    chosen: null,
  };
  const rebuild = () => {
    view?.destroy();
    view = new RoomView(state, () => {
      switchLanguage();
      rebuild();
    });
    document.body.replaceChildren(view.root);
  };
  rebuild();
}

function absorb(state: RoomState, message: FromService): void {
  switch (message.type) {
    case "welcome":
      state.you = message.you;
      for (const event of message.events) addEvent(state, event);
      break;
    case "car":
      state.report = message.report;
      state.vin = message.vin;
      break;
    case "people":
      state.people = message.people;
      break;
    case "beat":
      state.carOnline = message.agent;
      break;
    case "event":
      addEvent(state, message);
      break;
    default:
      break;
  }
}

function addEvent(state: RoomState, event: RoomEvent): void {
  if (event.n > (state.events.at(-1)?.n ?? 0)) state.events.push(event);
}

class RoomView {
  readonly root: HTMLElement;
  private readonly state: RoomState;
  private readonly car = h("div", { class: "car-name" });
  private readonly badge = h("summary", { class: "badge", id: "connection" });
  private readonly details = h("dl", { class: "counts" });
  private readonly faults = h("section", { class: "faults", "aria-label": say("faults") });
  private readonly live: LivePanel;
  private readonly talk: TalkPanel;
  private readonly battery: ReturnType<typeof batteryCard>;
  private readonly tabs = new Map<Tab, HTMLButtonElement>();
  private readonly timer: number;

  constructor(state: RoomState, onLanguage: () => void) {
    this.state = state;
    this.live = new LivePanel(state);
    this.talk = new TalkPanel(state);
    this.battery = batteryCard(state, (name) => this.live.toggle(name));
    const language = h(
      "button",
      { type: "button", class: "quiet", "aria-label": say("otherLanguage"), click: onLanguage },
      say("language"),
    );
    const nav = h("nav", { class: "tabs" });
    for (const tab of ["faults", "live", "talk"] as const) {
      const button = h("button", { type: "button", click: () => this.show(tab) }, say(tab));
      this.tabs.set(tab, button);
      nav.append(button);
    }
    this.root = h(
      "div",
      { class: "room", "data-tab": "live" },
      h(
        "header",
        {},
        h("span", { class: "brand" }, say("brand")),
        this.car,
        h("span", { class: "spring" }),
        h("details", { class: "connection" }, this.badge, this.details),
        language,
      ),
      h("div", { class: "columns" }, this.faults, this.live.root, this.battery.root, this.talk.root),
      nav,
    );
    document.documentElement.lang = lang();
    this.show("live");
    this.drawCar();
    this.drawConnection();
    this.talk.drawAll();
    this.timer = window.setInterval(() => {
      this.drawConnection();
      this.battery.update();
    }, 500);
  }

  destroy(): void {
    window.clearInterval(this.timer);
    this.live.destroy();
  }

  said(message: FromService): void {
    switch (message.type) {
      case "welcome":
        this.talk.drawAll();
        break;
      case "car":
        this.drawCar();
        this.live.streamsChanged();
        break;
      case "people":
        this.talk.drawPeople();
        break;
      case "event":
        this.talk.add(message);
        break;
      case "refused":
        this.talk.refused(message.code);
        break;
      default:
        break;
    }
    if (message.type !== "beat") this.drawConnection();
  }

  connectionChanged(): void {
    this.drawConnection();
  }

  private show(tab: Tab): void {
    this.root.setAttribute("data-tab", tab);
    for (const [name, button] of this.tabs) button.setAttribute("aria-pressed", String(name === tab));
    if (tab === "live") this.live.resized();
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
    this.faults.replaceChildren(
      report.complete === false ? h("p", { class: "hint" }, say("incomplete")) : "",
      findingsCard(report),
      dtcCard(report),
      casesCard(report),
      ecuCard(report),
    );
    this.battery.update();
  }

  private drawConnection(): void {
    const { link, carOnline } = this.state;
    let kind: string;
    let text: string;
    if (link.state === "connecting") [kind, text] = ["wait", say("connecting")];
    else if (link.state !== "online") [kind, text] = ["bad", say("reconnecting")];
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
