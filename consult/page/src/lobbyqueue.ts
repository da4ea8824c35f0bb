/** The queue in the lobby: what is offered to me, what I hold, who waits, how long that takes, and how many are needed. */
import { carName } from "./carname";
import { h, setText } from "./dom";
import { ask, languageName, lengthOf, problemOf, skillName, word, type Word } from "./lobbywords";
import { heedRefusal, shownNotice } from "./notice";
import { lang, say } from "./words";

interface Clock {
  begin_us: number;
  end_us: number | null;
  target_s: number;
}

interface Car {
  room: string | null;
  severity: "danger" | "high" | "normal";
  dangers: ("isolation" | "thermal" | "drive")[];
  skills: string[];
  make: string;
  model: string;
  language: string;
  region: string;
  since_us: number;
  state: "waiting" | "offered" | "open" | "accepted";
  clocks: Record<string, Clock>;
  place: number | null;
  holder: string;
}

interface Offered extends Car {
  room: string;
  path: string;
  simulated: boolean;
  until_us: number;
  because: string[];
}

interface Figures {
  n: number;
  mean_s: number | null;
  p95_s: number | null;
  within: number | null;
}

export interface Queue {
  now_us: number;
  on_duty: number;
  offers: Offered[];
  waiting: Car[];
  taken: Car[];
  mine: Car[];
  stats: Record<string, Figures>;
  targets_s: Record<string, number>;
  staffing: { agents: number; arrivals_per_hour: number; target_s: number; target_share: number } | null;
}

const CLOCKS: Record<string, Word> = { accept: "clockAccept", finding: "clockFinding", resolve: "clockResolve" };

/** A time that ticks by itself: `data-since` counts up, `data-until` down, `data-due` turns red when it is over. */
function ticking(attributes: Record<string, number>): HTMLElement {
  return h("time", { class: "ticking", ...attributes });
}

function pill(car: Car): HTMLElement {
  const dangers = car.dangers.map((one) => word(one)).join(" · ");
  return h("span", { class: "severity" }, word(car.severity), dangers ? ` · ${dangers}` : null);
}

function skills(car: Car): HTMLElement[] {
  return car.skills.map((skill) => h("span", { class: "skill" }, skillName(skill)));
}

/** `skill:battery` and the like, as a person reads it. */
function reason(because: string): string {
  const [kind, value = ""] = because.split(/:(.*)/s);
  if (kind === "skill") return skillName(value);
  if (kind === "language") return languageName(value);
  if (kind === "load") return `${word("whyLoad")} ${value}`;
  return value;
}

function clockLine(car: Car, name: "accept" | "finding" | "resolve"): HTMLElement | null {
  const clock = car.clocks[name];
  const key = CLOCKS[name];
  if (!clock || !key || clock.end_us !== null) return null;
  const due = clock.begin_us + clock.target_s * 1e6;
  return h("span", { class: "clock dim" }, `${word(key)} `, ticking({ "data-since": clock.begin_us, "data-due": due }), ` / ${lengthOf(clock.target_s)}`);
}

export class LobbyQueue {
  readonly root: HTMLElement;
  private readonly offers = h("ul", { class: "offers" });
  private readonly mine = h("ul", { class: "lobby-rooms" });
  private readonly mineCard = h("section", { class: "lobby-mine" });
  private readonly line = h("ol", { class: "line" });
  private readonly lineHead = h("h2", {});
  private readonly figures = h("dl", { class: "lobby-figures" });
  private readonly problem = h("p", { class: "problem", role: "alert" });
  private readonly timer: number;
  private readonly prints = new Map<HTMLElement, string>();
  private readonly onChange: () => void;
  private skewUs = 0;

  constructor(onChange: () => void) {
    this.onChange = onChange;
    this.mineCard.append(h("h2", {}, word("mine")), this.mine);
    this.mineCard.hidden = true;
    this.root = h(
      "div",
      { class: "lobby-queue" },
      h("section", { class: "lobby-offers", "aria-live": "polite" }, h("h2", {}, word("offers")), this.offers, this.problem),
      this.mineCard,
      h("section", { class: "lobby-line" }, this.lineHead, this.line),
      this.figures,
    );
    this.timer = window.setInterval(() => this.tick(), 500);
  }

  /** Draws what has changed; what a finger may be on stays where it is. */
  draw(queue: Queue): void {
    this.skewUs = queue.now_us - Date.now() * 1000;
    this.drawOnce(this.offers, queue.offers, () =>
      queue.offers.length ? queue.offers.map((offer) => this.offer(offer)) : [h("li", { class: "dim" }, word("noOffers"))],
    );
    this.mineCard.hidden = !queue.mine.length;
    this.drawOnce(this.mine, queue.mine, () => queue.mine.map((car) => this.held(car)));
    const rest = [...queue.waiting, ...queue.taken];
    setText(this.lineHead, `${word("queue")} · ${queue.waiting.length}`);
    this.drawOnce(this.line, rest, () =>
      rest.length ? rest.map((car) => this.row(car)) : [h("li", { class: "dim" }, word("noQueue"))],
    );
    this.drawOnce(this.figures, [queue.stats, queue.staffing, queue.on_duty], () => this.strip(queue));
    this.tick();
  }

  private drawOnce(list: HTMLElement, value: unknown, make: () => HTMLElement[]): void {
    const print = JSON.stringify([lang(), value]);
    if (this.prints.get(list) === print) return;
    this.prints.set(list, print);
    list.replaceChildren(...make());
  }

  private tick(): void {
    if (!this.root.isConnected) return window.clearInterval(this.timer); // another page took its place
    const nowUs = Date.now() * 1000 + this.skewUs;
    for (const time of this.root.querySelectorAll<HTMLElement>("time.ticking")) {
      const { since, until, due } = time.dataset;
      setText(time, lengthOf((since ? nowUs - Number(since) : Number(until) - nowUs) / 1e6));
      time.classList.toggle("late", due !== undefined && nowUs > Number(due));
    }
  }

  private async act(path: string, button: HTMLButtonElement, others: HTMLButtonElement[] = []): Promise<void> {
    for (const one of [button, ...others]) one.disabled = true;
    const answer = await ask<{ path?: string }>(path, shownNotice());
    if (answer.status === 200 && answer.body?.path) return location.assign(answer.body.path);
    setText(this.problem, answer.status === 200 ? "" : problemOf(answer));
    heedRefusal(answer.body?.error);
    for (const one of [button, ...others]) one.disabled = false;
    this.onChange();
  }

  private offer(offer: Offered): HTMLElement {
    const accept: HTMLButtonElement = h("button", { type: "button", class: "primary accept", click: () => void this.act(`${offer.path}/accept`, accept, [pass]) }, word("accept"));
    const pass: HTMLButtonElement = h("button", { type: "button", class: "pass", click: () => void this.act(`${offer.path}/pass`, pass, [accept]) }, word("pass"));
    const accepting = offer.clocks["accept"];
    const due = accepting ? accepting.begin_us + accepting.target_s * 1e6 : offer.since_us;
    return h(
      "li",
      { class: "offer", "data-severity": offer.severity, "data-room": offer.room },
      h(
        "div",
        { class: "offer-head" },
        pill(offer),
        h("strong", {}, carName(offer, word("unnamed"))),
        offer.simulated ? h("span", { class: "simulated" }, say("simulated")) : null,
        h("span", { class: "spring" }),
        h("span", { class: "waited" }, `${word("waits")} `, ticking({ "data-since": offer.since_us, "data-due": due })),
      ),
      h("div", { class: "offer-facts" }, ...skills(offer), offer.language ? h("span", { class: "dim" }, `${word("speaks")}${languageName(offer.language)}`) : null, offer.region ? h("span", { class: "dim" }, offer.region) : null),
      offer.because.length ? h("p", { class: "hint" }, `${word("why")}${offer.because.map(reason).join(" · ")}`) : null,
      h(
        "div",
        { class: "offer-foot" },
        accept,
        pass,
        offer.until_us ? h("span", { class: "dim" }, word("passesOn"), ticking({ "data-until": offer.until_us }), word("passesOnAfter")) : h("span", { class: "dim" }, word("untilTaken")),
      ),
    );
  }

  private held(car: Car): HTMLElement {
    const path = `/r/${car.room}`;
    const enter: HTMLButtonElement = h("button", { type: "button", class: "primary", click: () => void this.act(`${path}/enter`, enter) }, word("enter"));
    // Twice, so that a finger that slips gives no case away.
    const back: HTMLButtonElement = h(
      "button",
      {
        type: "button",
        class: "quiet",
        click: () => {
          if (back.dataset["sure"]) return void this.act(`${path}/pass`, back, [enter]);
          back.dataset["sure"] = "yes";
          setText(back, word("handBackSure"));
        },
      },
      word("handBack"),
    );
    return h(
      "li",
      { "data-severity": car.severity, "data-room": car.room ?? "" },
      pill(car),
      h("strong", {}, carName(car, word("unnamed"))),
      ...skills(car),
      clockLine(car, "finding"),
      clockLine(car, "resolve"),
      h("span", { class: "spring" }),
      back,
      enter,
    );
  }

  private row(car: Car): HTMLElement {
    const running = car.state === "accepted" ? (car.clocks["finding"]?.end_us === null ? clockLine(car, "finding") : clockLine(car, "resolve")) : h("span", { class: "clock dim" }, ticking({ "data-since": car.since_us }));
    return h(
      "li",
      { "data-severity": car.severity, "data-state": car.state },
      h("span", { class: "place" }, car.place === null ? "" : String(car.place)),
      pill(car),
      h("strong", {}, carName(car, word("unnamed"))),
      ...skills(car),
      h("span", { class: "spring" }),
      h("span", { class: "dim" }, car.holder ? `${word(car.state)}: ${car.holder}` : word(car.state)),
      running,
    );
  }

  private strip(queue: Queue): HTMLElement[] {
    const tiles = Object.entries(CLOCKS).map(([name, key]) => {
      const one = queue.stats[name];
      const target = queue.targets_s[name] ?? 0;
      const late = one?.p95_s !== null && one !== undefined && (one.p95_s ?? 0) > target;
      return h(
        "div",
        { "data-clock": name },
        h("dt", {}, word(key)),
        h("dd", {}, ...(one?.mean_s === null || one === undefined ? ["–"] : [lengthOf(one.mean_s), h("small", {}, ` ${word("mean")}`)])),
        h("dd", { class: late ? "dim late" : "dim" }, one?.p95_s === null || one === undefined ? word("noFigures") : `p95 ${lengthOf(one.p95_s ?? 0)} · n ${one.n}`),
        h("dd", { class: "dim" }, `${word("target")} ${lengthOf(target)}`),
      );
    });
    const needed = queue.staffing?.agents;
    tiles.push(
      h(
        "div",
        { "data-clock": "staffing" },
        h("dt", {}, word("staffing")),
        h("dd", { class: needed !== undefined && needed > queue.on_duty ? "late" : "" }, needed === undefined ? "–" : String(needed)),
        h("dd", { class: "dim" }, `${queue.on_duty} ${word("staffed")}`),
        h("dd", { class: "dim" }, queue.staffing ? `Erlang C: ${Math.round(queue.staffing.target_share * 100)} % ≤ ${lengthOf(queue.staffing.target_s)}` : word("noFigures")),
      ),
    );
    return tiles;
  }
}
