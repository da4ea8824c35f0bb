/** Requests: what may be asked, asking, and how each request stands. */
import { h, setText } from "./dom";
import { randomId } from "./link";
import { called } from "./people";
import { canProve, digestOf } from "./proof";
import type { Sentence } from "./protocol";
import { isLate, OPEN_STATES, secondsLeft, spaced, type RoomRequest } from "./requests";
import { ecuWords, resultOf, riskChip, riskWords, stateChip } from "./requestview";
import { roomTimeUs, type RoomState } from "./state";
import { pick, refusal, say } from "./words";

interface Ready {
  name: Sentence;
  group: string;
  data: string;
  risk: string;
  hold: boolean;
  seconds: number;
  allowed: boolean;
}

interface CatalogueEcu {
  address: string;
  name: string;
  requests: Ready[];
}

const MOST_SHOWN = 60;
const MOST_WHY = 500;

export class AskPanel {
  readonly root = h("div", { class: "requests" });
  private readonly state: RoomState;
  private readonly list = h("ol", { class: "plain request-list", id: "requests" });
  private readonly problem = h("p", { class: "problem", role: "alert" });
  private readonly countdowns = new Map<string, HTMLElement>();
  private readonly opened = new Set<string>();
  private catalogue: CatalogueEcu[] | null = null;
  private asking = false;
  private drawn = "";

  constructor(state: RoomState) {
    this.state = state;
    this.draw();
  }

  private get mayAsk(): boolean {
    const role = this.state.you?.role;
    return !this.state.replay && (role === "expert" || role === "lead");
  }

  /** The whole panel; the list alone where a form is being filled in. */
  draw(): void {
    this.drawList();
    if (this.asking && this.root.querySelector("form")) return;
    const ask = this.mayAsk ? h("button", { type: "button", class: "primary wide", id: "ask", click: () => void this.openForm() }, say("ask")) : null;
    this.root.replaceChildren(...[ask, this.problem, this.list].filter((one) => one !== null));
  }

  /** Moves the clocks on. */
  tick(): void {
    const now = roomTimeUs(this.state);
    const print = this.state.requests.list().map((one) => `${one.id}${isLate(one, now)}`).join();
    if (print !== this.drawn) this.drawList();
    for (const [id, node] of this.countdowns) {
      const request = this.state.requests.get(id);
      if (request) setText(node, `${secondsLeft(request, now)} s`);
    }
  }

  /** Says it; where it stands. */
  refused(code: string, id: string): HTMLElement {
    const request = id ? this.state.requests.get(id) : undefined;
    setText(this.problem, `${request?.name ? `${pick(request.name)}: ` : ""}${refusal(code)}`);
    return this.problem;
  }

  private drawList(): void {
    const requests = this.state.requests.list();
    const now = roomTimeUs(this.state);
    this.drawn = requests.map((one) => `${one.id}${isLate(one, now)}`).join();
    this.countdowns.clear();
    this.list.replaceChildren(...requests.map((request) => this.entry(request, now)));
    if (requests.length === 0) this.list.append(h("li", { class: "hint" }, say("noRequests")));
  }

  private entry(request: RoomRequest, now: number): HTMLElement {
    const { state } = this;
    const late = isLate(request, now);
    const open = OPEN_STATES.includes(request.state) && !late;
    const countdown = request.state === "waiting" && !late ? h("span", { class: "countdown" }, `${secondsLeft(request, now)} s`) : null;
    if (countdown) this.countdowns.set(request.id, countdown);
    const you = state.you?.id;
    const mine = request.who.id === you;
    const buttons = h("div", { class: "row" });
    if (open && request.state === "waiting" && (mine || state.you?.role === "lead") && this.mayAsk) {
      buttons.append(h("button", { type: "button", click: () => state.link.insist({ type: "withdraw", id: request.id }) }, say("withdraw")));
    }
    if (open && request.state === "waiting" && request.seconds > request.seconded.length && !mine && this.mayAsk && !request.seconded.some((one) => one.id === you)) {
      buttons.append(h("button", { type: "button", class: "primary", click: () => void this.second(request) }, say("secondPerson")));
    }
    const decided = request.decidedBy ? `${say(request.state === "denied" ? "deniedBy" : "grantedBy")} ${called(request.decidedBy)}${request.session ? ` · ${say("forSession")}` : ""}` : "";
    const details = h(
      "details",
      { open: open || this.opened.has(request.id), "data-request": request.id, toggle: (event: Event) => {
        if ((event.target as HTMLDetailsElement).open) this.opened.add(request.id);
        else this.opened.delete(request.id);
      } },
      h("summary", {}, riskChip(request.risk), h("span", { class: "req-name" }, request.name ? pick(request.name) : spaced(request.data)), stateChip(request, now), countdown),
      h("div", { class: "dim req-line" }, [ecuWords(state, request.ecu), called(request.who), decided].filter(Boolean).join(" · ")),
      h("div", { class: "req-line" }, h("code", { class: "bytes" }, spaced(request.data))),
      request.why ? h("p", { class: "why" }, `“${request.why}”`) : null,
      request.seconds > 0 ? h("p", { class: "dim" }, `${say("secondsNeeded")} ${request.seconded.length}/${request.seconds} ${request.seconded.map((one) => one.name).join(", ")}`) : null,
      request.seen?.unmet && open ? h("p", { class: "problem" }, pick(request.seen.unmet)) : null,
      resultOf(request),
      buttons.childElementCount > 0 ? buttons : null,
    );
    return h("li", { class: "request", "data-state": late ? "expired" : request.state }, details);
  }

  private async second(request: RoomRequest): Promise<void> {
    if (!canProve()) {
      setText(this.problem, say("needsSecure"));
      return;
    }
    const room = this.state.path.slice(3);
    const digest = await digestOf(room, request);
    if (digest !== request.digest) setText(this.problem, say("digestWrong"));
    else this.state.link.tell({ type: "decide", id: request.id, digest, decision: "second", proof: "", unplugged: false });
  }

  private async openForm(): Promise<void> {
    this.asking = true;
    setText(this.problem, "");
    this.root.replaceChildren(h("p", { class: "hint" }, "…"), this.list);
    if (this.catalogue === null) {
      try {
        const answer = await fetch(`${this.state.path}/catalogue`);
        if (!answer.ok) throw new Error(String(answer.status));
        this.catalogue = ((await answer.json()) as { ecus: CatalogueEcu[] }).ecus;
      } catch {
        // Without a list one still may ask byte by byte.
        setText(this.problem, say("noCatalogue"));
      }
    }
    this.root.replaceChildren(this.form(), this.problem, this.list);
    this.root.querySelector<HTMLElement>("input, select")?.focus();
  }

  private closeForm(): void {
    this.asking = false;
    this.root.replaceChildren();
    this.draw();
  }

  private form(): HTMLElement {
    const ecus = this.catalogue ?? (this.state.report.ecus ?? []).map(({ address, name }) => ({ address, name, requests: [] }));
    const chosen = { ecu: "", data: "", hold: false, risk: "" };
    const search = h("input", { type: "search", placeholder: say("searchRequests"), "aria-label": say("searchRequests"), autocomplete: "off" });
    const which = h("select", { "aria-label": say("ecu") }, h("option", { value: "" }, say("allEcus")), ...ecus.map((ecu) => h("option", { value: ecu.address }, `${ecu.name} ${ecu.address}`)));
    const found = h("ul", { class: "plain ready", role: "listbox", "aria-label": say("ask") });
    const picked = h("div", { class: "picked" });
    const why = h("textarea", { rows: 2, maxlength: MOST_WHY, placeholder: say("whyHint"), "aria-label": say("why"), required: true });
    const send = h("button", { type: "submit", class: "primary", disabled: true }, say("sendRequest"));
    const choose = (ecu: string, data: string, risk: string, hold: boolean, name: string) => {
      Object.assign(chosen, { ecu, data, hold, risk });
      picked.replaceChildren(
        risk ? riskChip(risk) : "",
        h("strong", {}, name),
        h("div", { class: "dim" }, [ecuWords(this.state, ecu), risk ? riskWords(risk) : say("classedByService"), hold ? say("needsHold") : ""].filter(Boolean).join(" · ")),
        h("code", { class: "bytes" }, spaced(data)),
      );
      check();
    };
    const check = () => (send.disabled = !(chosen.data && chosen.ecu && why.value.trim()));
    const fill = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const rows = ecus
        .filter((ecu) => !which.value || ecu.address === which.value)
        .flatMap((ecu) => ecu.requests.map((ready) => ({ ecu, ready })))
        .filter(({ ecu, ready }) => {
          const text = `${ecu.name} ${ecu.address} ${ready.name.en} ${ready.name.zh} ${ready.data}`.toLowerCase();
          return words.every((word) => text.includes(word));
        });
      found.replaceChildren(
        ...rows.slice(0, MOST_SHOWN).map(({ ecu, ready }) =>
          h(
            "li",
            {},
            h(
              "button",
              { type: "button", disabled: !ready.allowed, title: ready.allowed ? "" : say("notAllowed"), click: () => choose(ecu.address, ready.data, ready.risk, ready.hold, pick(ready.name)) },
              riskChip(ready.risk),
              h("span", { class: "req-name" }, pick(ready.name)),
              h("span", { class: "dim" }, ready.allowed ? ecu.name || ecu.address : say("notAllowed")),
            ),
          ),
        ),
      );
      if (rows.length === 0) found.append(h("li", { class: "hint" }, say(this.catalogue ? "nothingReady" : "noCatalogue")));
    };
    const bytes = h("input", { type: "text", placeholder: "22 F1 90", "aria-label": say("bytes"), autocomplete: "off", spellcheck: "false", class: "mono" });
    const hold = h("input", { type: "checkbox" });
    const address = h("select", { "aria-label": say("ecu") }, ...ecus.map((ecu) => h("option", { value: ecu.address }, `${ecu.name} ${ecu.address}`)));
    const wrong = h("p", { class: "problem", role: "alert" });
    const free = () => {
      const data = bytes.value.replace(/[\s:,-]/g, "").toUpperCase();
      const good = /^(?:[0-9A-F]{2})+$/.test(data);
      setText(wrong, data && !good ? say("badHex") : "");
      if (good) choose(address.value, data, "", hold.checked, say("ownBytes"));
      else if (chosen.risk === "") {
        chosen.data = "";
        picked.replaceChildren();
        check();
      }
    };
    for (const input of [bytes, hold, address]) input.addEventListener("input", free);
    search.addEventListener("input", fill);
    which.addEventListener("input", fill);
    why.addEventListener("input", check);
    fill();
    return h(
      "form",
      {
        class: "ask-form",
        submit: (event: SubmitEvent) => {
          event.preventDefault();
          const text = why.value.trim();
          if (!chosen.data || !chosen.ecu || !text) return;
          this.state.link.insist({ type: "ask", id: randomId(), ecu: chosen.ecu, data: chosen.data, text, hold: chosen.hold });
          this.closeForm();
        },
        keydown: (event: KeyboardEvent) => {
          if (event.key === "Escape") this.closeForm();
        },
      },
      h("div", { class: "row" }, search, which),
      found,
      h("details", { class: "free" }, h("summary", {}, say("freeBytes")), h("div", { class: "row" }, address, bytes), h("label", { class: "check" }, hold, say("needsHold")), wrong),
      picked,
      why,
      h("div", { class: "row end" }, h("button", { type: "button", click: () => this.closeForm() }, say("cancel")), send),
    );
  }
}

