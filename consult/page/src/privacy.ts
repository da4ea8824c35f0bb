/** What of a room's privacy people decide on its page: consents, positions, how long it is kept, who may come in. */
import "./privacy.css";
import { h, setText } from "./dom";
import { ask, problemOf, type Answer } from "./lobbywords";
import { openPopup } from "./popup";
import { clock, privacyWord as word, type PrivacyWord } from "./privacywords";
import type { Sentence } from "./protocol";
import type { RoomState } from "./state";
import { lang } from "./words";

interface Consent {
  t_us: number;
  person: number;
  kind: string;
  given: boolean;
}

interface Consents {
  consents: Consent[];
  position: { mode: "off" | "coarse" | "on"; withdrawn: boolean };
}

export interface Wordings {
  visit_days: number;
  consents: Record<string, { version: string; text: Sentence }>;
}

interface Term {
  days: number;
  min: number;
  max: number;
  hold: boolean;
}

export interface Lock {
  allowed: string[];
  demanded: string[] | null;
  lifted_until_us: number;
  asked_by: string[];
}

interface Known {
  said: Consents;
  wordings: Wordings;
  term: Term | null;
  lock: Lock | null;
  place: string;
}

const WAITING: readonly string[] = ["waiting", "offered", "open"];

/** Whether the technician is asked if the network of workshops may remember this car. */
export function mayShare(state: RoomState, wordings: Wordings | null): boolean {
  return state.you?.role === "technician" && wordings !== null && wordings.visit_days > 0 && state.report.simulated !== true && state.report.network !== false;
}

/** The wording of that question and whether it was answered with yes; null where it is not asked. */
export async function sharingQuestion(state: RoomState): Promise<{ text: string; given: boolean } | null> {
  if (state.you?.role !== "technician") return null;
  const [wordings, said] = await Promise.all([ask<Wordings>("/api/privacy"), ask<Consents>(`${state.path}/consent`)]);
  const text = wordings.status === 200 ? wordings.body?.consents["sharing"]?.text[lang()] : undefined;
  if (!text || !mayShare(state, wordings.body)) return null;
  return { text, given: said.body?.consents?.findLast((one) => one.kind === "sharing")?.given === true };
}

export function privacyButton(state: RoomState): HTMLButtonElement {
  const button = h("button", { type: "button", class: "quiet", id: "privacy", click: () => void new PrivacyPopup(state, button).open() }, word("privacy"));
  return button;
}

class PrivacyPopup {
  private readonly root = h("div", { class: "privacy" });
  private readonly problem = h("p", { class: "problem", role: "alert" });
  private readonly state: RoomState;
  private readonly anchor: HTMLElement;
  private close: () => void = () => undefined;

  constructor(state: RoomState, anchor: HTMLElement) {
    this.state = state;
    this.anchor = anchor;
  }

  /** Asks first and opens then: what floats is placed by its size. */
  async open(): Promise<void> {
    await this.draw();
    if (this.anchor.isConnected) this.close = openPopup(this.anchor, word("title"), "dialog", this.root);
  }

  private async draw(): Promise<void> {
    const { path, you } = this.state;
    const role = you?.role ?? "";
    const isTechnician = role === "technician";
    const [said, wordings, term, lock, place] = await Promise.all([
      ask<Consents>(`${path}/consent`),
      ask<Wordings>("/api/privacy"),
      isTechnician || role === "lead" ? ask<Term>(`${path}/retention`) : null,
      isTechnician ? ask<Lock>(`${path}/region`) : null,
      isTechnician ? ask<{ state: string }>(`${path}/queue`) : null,
    ]);
    const failed = [said, wordings, term, lock, place].find((one) => one !== null && one.status !== 200);
    setText(this.problem, failed ? problemOf(failed) : "");
    const title = h("div", { class: "popup-title" }, h("strong", {}, word("title")), h("button", { type: "button", class: "quiet", "data-key": "close", click: () => this.close() }, word("close")));
    const known = good(said) && good(wordings) ? { said: said.body, wordings: wordings.body, term: term && good(term) ? term.body : null, lock: lock && good(lock) ? lock.body : null, place: place && good(place) ? place.body.state : "" } : null;
    this.root.replaceChildren(
      title,
      this.problem,
      ...(known ? this.sections(known) : []),
      h("a", { href: `/privacy?lang=${lang()}`, target: "_blank", rel: "noopener" }, word("whole")),
    );
  }

  private sections(known: Known): HTMLElement[] {
    return [this.agreed(known), this.days(known.term), this.queue(known.place), this.region(known.lock)].filter((one) => one !== null);
  }

  // -- consents ------------------------------------------------------------------------------------------------------

  private agreed({ said, wordings }: Known): HTMLElement {
    const own = this.state.you?.id;
    const rows: (HTMLElement | null)[] = [];
    const last = (kind: string) => said.consents.findLast((one) => one.kind === kind && (kind !== "media" || one.person === own));
    const text = (kind: string) => wordings.consents[kind]?.text[lang()] ?? "";
    const recorded = last("media");
    if (recorded) rows.push(this.row("media", "media", stateOf(recorded), text("media"), recorded.given ? this.consentButton("media", "withdraw", false) : null));
    if (this.state.you?.role === "technician") {
      rows.push(this.positionRow(said.position, wordings));
      const abroad = last("export-abroad");
      if (abroad) rows.push(this.row("export-abroad", "abroad", stateOf(abroad), text("export-abroad"), abroad.given ? this.consentButton("export-abroad", "withdraw", false) : null));
      const shared = last("sharing");
      if (mayShare(this.state, wordings)) {
        const button = shared?.given ? this.consentButton("sharing", "withdraw", false) : this.consentButton("sharing", "agree", true, wordings.consents["sharing"]?.version);
        rows.push(this.row("sharing", "sharing", shared ? stateOf(shared) : word("notGiven"), text("sharing"), button));
      }
    }
    return section("agreed", rows.length ? h("ul", { class: "plain" }, ...rows) : h("p", { class: "dim" }, word("nothing")));
  }

  private positionRow(position: Consents["position"], wordings: Wordings): HTMLElement {
    const { mode, withdrawn } = position;
    const text = wordings.consents["position"]?.text[lang()] ?? "";
    if (mode === "off") return this.row("position", "position", word("keptBack"), text, null);
    const now = withdrawn ? word("isOff") : word(mode === "coarse" ? "isCoarse" : "isOn");
    return this.row("position", "position", now, text, withdrawn ? this.consentButton("position", "switchOn", true, wordings.consents["position"]?.version) : this.consentButton("position", "switchOff", false));
  }

  private row(kind: string, name: PrivacyWord, now: string, text: string, button: HTMLElement | null): HTMLElement {
    return h("li", { "data-consent": kind }, h("div", {}, h("strong", {}, word(name)), " ", h("span", { class: "dim now" }, now), h("p", { class: "hint" }, text)), button);
  }

  private consentButton(kind: string, words: PrivacyWord, given: boolean, version?: string): HTMLElement {
    return this.button(kind, words, () => void this.change("consent", { kind, given, lang: lang(), ...(version ? { version } : {}) }, kind));
  }

  private button(key: string, words: PrivacyWord, does: () => void): HTMLElement {
    return h("button", { type: "button", "data-key": key, click: does }, word(words));
  }

  // -- the rest ------------------------------------------------------------------------------------------------------

  private days(term: Term | null): HTMLElement | null {
    if (!term) return null;
    const days = h("input", { type: "number", id: "keep-days", min: term.min, max: term.max, value: term.days || null, required: true, inputmode: "numeric" });
    const form = h(
      "form",
      {
        class: "privacy-days",
        submit: (event: SubmitEvent) => {
          event.preventDefault();
          void this.change("retention", { days: Number(days.value) }, "days");
        },
      },
      h("label", { for: "keep-days" }, word("daysAfter"), h("span", { class: "dim" }, ` ${word("fromTo").replace("{low}", String(term.min)).replace("{high}", String(term.max))}`)),
      h("div", { class: "row" }, days, h("button", { type: "submit", "data-key": "days" }, word("save"))),
    );
    return section("howLong", form, term.days ? null : h("p", { class: "hint" }, word("never")), term.hold ? h("p", { class: "hint" }, word("hold")) : null);
  }

  private queue(place: string): HTMLElement | null {
    if (!WAITING.includes(place)) return null;
    return section("queue", h("div", { class: "row", "data-consent": "experts" }, h("span", {}, word("waits")), this.button("experts", "takeBack", () => void this.change("experts", { allowed: false }, "close"))));
  }

  private region(lock: Lock | null): HTMLElement | null {
    if (!lock || (!lock.allowed.length && !lock.demanded)) return null;
    const where = h("p", {}, h("strong", {}, (lock.demanded ?? lock.allowed).join(", ")));
    if (!lock.allowed.length) return section("region", where, h("p", { class: "hint" }, word("ownDemand")));
    const back = () => this.button("lock", "lockAgain", () => void this.change("region", { lift: false }, "lock"));
    if (lock.lifted_until_us) return section("region", where, h("div", { class: "row" }, h("span", { class: "lifted" }, `${word("liftedUntil")} ${clock(lock.lifted_until_us)}`), back()));
    if (lock.asked_by.includes("technician")) return section("region", where, h("div", { class: "row" }, h("span", {}, word("youAsked")), back()));
    const reason = h("input", { type: "text", id: "lift-reason", maxlength: 300, required: true, autocomplete: "off" });
    const form = h(
      "form",
      {
        submit: (event: SubmitEvent) => {
          event.preventDefault();
          void this.change("region", { lift: true, reason: reason.value.trim() }, "lock");
        },
      },
      h("p", { class: "hint" }, word(lock.asked_by.includes("admin") ? "adminAgreed" : "liftWhat")),
      h("label", { for: "lift-reason" }, word("reason")),
      h("div", { class: "row" }, reason, h("button", { type: "submit", "data-key": "lock" }, word("askLift"))),
    );
    return section("region", where, form);
  }

  /** Tells the service, and shows what it is then; a refusal is said and nothing is claimed. */
  private async change(what: string, body: object, key: string): Promise<void> {
    for (const button of this.root.querySelectorAll("button")) if (button.dataset["key"] !== "close") button.disabled = true;
    const answer = await ask(`${this.state.path}/${what}`, body);
    await this.draw();
    if (answer.status !== 200) setText(this.problem, problemOf(answer));
    if (this.root.isConnected) (this.root.querySelector<HTMLElement>(`[data-key="${key}"]`) ?? this.root.querySelector<HTMLElement>("button"))?.focus();
  }
}

function good<T>(answer: Answer<T>): answer is Answer<T> & { body: T } {
  return answer.status === 200 && answer.body !== null;
}

function stateOf(consent: Consent): string {
  return `${word(consent.given ? "given" : "withdrawn")} ${clock(consent.t_us)}`;
}

function section(title: PrivacyWord, ...children: (Node | null)[]): HTMLElement {
  return h("section", {}, h("h2", {}, word(title)), ...children);
}
