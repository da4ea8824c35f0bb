/** The technician's answers on a page: every open request with all its facts, hold-to-run, and the stop of everything. */
import { h, setText } from "./dom";
import { called } from "./people";
import { canProve, digestOf, proofOfDecision, proofOfHold, secretOf } from "./proof";
import { secondsLeft, type RoomRequest } from "./requests";
import { factsOf, riskChip } from "./requestview";
import { roomTimeUs, type RoomState } from "./state";
import { pick, say } from "./words";

const HOLD_MS = 250;

export class DecideBar {
  readonly root = h("section", { class: "decide-bar", "aria-label": say("decisions") });
  private readonly state: RoomState;
  private readonly room: string;
  private readonly countdowns = new Map<string, HTMLElement>();
  /** Cards of what runs: they stay in place while other requests come and go, or a hand would lose its button. */
  private readonly holding = h("div", { class: "decide-cards" });
  private readonly waiting = h("div", { class: "decide-cards" });
  private readonly notes = h("div", { class: "decide-cards" });
  private readonly spoken = h("div", { class: "spoken", role: "alert" });
  private readonly unplugged = new Set<string>();
  private runningDrawn = "";
  private drawn = "";
  private held: { id: string; count: number; timer: number; button: HTMLElement } | null = null;
  private readonly counts = new Map<string, number>();
  private readonly release = () => this.letGo();
  private readonly hidden = () => {
    if (document.hidden) this.letGo();
  };

  constructor(state: RoomState) {
    this.state = state;
    this.room = state.path.slice(3);
    this.root.append(this.notes, this.holding, this.waiting, this.spoken);
    for (const kind of ["pointerup", "pointercancel", "blur", "pagehide"] as const) window.addEventListener(kind, this.release);
    document.addEventListener("visibilitychange", this.hidden);
    this.draw();
  }

  destroy(): void {
    this.letGo();
    for (const kind of ["pointerup", "pointercancel", "blur", "pagehide"] as const) window.removeEventListener(kind, this.release);
    document.removeEventListener("visibilitychange", this.hidden);
  }

  draw(): void {
    const { state } = this;
    const now = roomTimeUs(state);
    const technician = state.you?.role === "technician" && !state.replay;
    const waiting = technician ? state.requests.waiting(now) : [];
    const running = technician ? state.requests.list().filter((one) => one.state === "running") : [];
    this.drawn = `${state.requests.changes} ${waiting.map((one) => one.id).join()}`;
    this.countdowns.clear();
    if (this.held && !running.some((one) => one.id === this.held?.id)) this.letGo();
    const stopped = state.stopped && !state.replay ? h("div", { class: "stopped-note", role: "status" }, h("strong", {}, `■ ${say("allStopped")}`), h("span", {}, `${called(state.stopped.who)} · ${say("resumeHow")}`)) : null;
    const runningPrint = running.map((one) => one.id).join();
    if (runningPrint !== this.runningDrawn) {
      this.runningDrawn = runningPrint;
      this.holding.replaceChildren(...running.map((one) => this.holdCard(one)));
    }
    this.waiting.replaceChildren(...waiting.map((one) => this.card(one, now)));
    // Said once to who does not see it; the seconds that pass are not.
    const newest = waiting.at(-1);
    setText(this.spoken, newest ? `${say("newRequest")} ${newest.name ? pick(newest.name) : newest.data}` : "");
    const finished = state.finished && !state.replay ? h("div", { class: "finished-note", role: "status" }, h("strong", {}, say("isFinished")), h("span", {}, `${called(state.finished.who)} · ${say("closesSoon")}`)) : null;
    const notes = [finished, stopped].filter((note) => note !== null);
    this.notes.replaceChildren(...notes);
    this.root.hidden = running.length + waiting.length + notes.length === 0;
  }

  tick(): void {
    const now = roomTimeUs(this.state);
    const waiting = this.state.you?.role === "technician" ? this.state.requests.waiting(now).map((one) => one.id) : [];
    if (`${this.state.requests.changes} ${waiting.join()}` !== this.drawn) this.draw();
    for (const [id, node] of this.countdowns) {
      const request = this.state.requests.get(id);
      if (request) setText(node, `${secondsLeft(request, now)} s`);
    }
  }

  private card(request: RoomRequest, now: number): HTMLElement {
    const countdown = h("span", { class: "countdown" }, `${secondsLeft(request, now)} s`);
    this.countdowns.set(request.id, countdown);
    const { seen } = request;
    const car = seen
      ? [`${say("speed")} ${seen.speedKmh === null ? say("unknownState") : `${seen.speedKmh} km/h`}`, `${say("supply")} ${seen.supplyV === null ? say("unknownState") : `${seen.supplyV} V`}`].join(" · ")
      : say("notLookedAt");
    const unplugged = h("input", { type: "checkbox", checked: this.unplugged.has(request.id) });
    const buttons = h("div", { class: "row" });
    const problem = h("p", { class: "problem", role: "alert" });
    const box = h(
      "article",
      { class: "decide card", "data-request": request.id },
      h("h2", {}, riskChip(request.risk), h("span", {}, request.name ? pick(request.name) : request.data), countdown),
      factsOf(this.state, request),
      h("p", { class: "car-state" }, h("span", { class: "label" }, say("carState")), ` ${car}`),
      seen?.unmet ? h("p", { class: "problem" }, pick(seen.unmet)) : null,
      request.seconds > request.seconded.length ? h("p", { class: "problem" }, say("waitsForSecond")) : null,
      seen?.unplugged ? h("label", { class: "check" }, unplugged, say("unplugged")) : null,
      problem,
      buttons,
    );
    const deny = h("button", { type: "button", class: "deny", click: () => void this.decide(request, "deny", false) }, say("deny"));
    if (this.secretProblem()) {
      setText(problem, say(this.secretProblem() ?? "noSecret"));
      buttons.append(deny);
      return box;
    }
    // The buttons come with the digest: what is shown must be what is approved.
    void digestOf(this.room, request).then((digest) => {
      if (digest !== request.digest) {
        setText(problem, say("digestWrong"));
        buttons.append(deny);
        return;
      }
      const approve = h("button", { type: "button", class: "primary", click: () => void this.decide(request, "approve", unplugged.checked) }, say(request.hold ? "approveHold" : "approve"));
      const session = seen?.session ? h("button", { type: "button", click: () => void this.decide(request, "session", unplugged.checked) }, say("approveSession")) : null;
      const check = () => {
        // Beyond reading the laptop's own look at the car comes first: it says what the technician has to say.
        approve.disabled = seen ? seen.unplugged && !unplugged.checked : request.risk !== "A";
        if (session) session.disabled = approve.disabled;
      };
      unplugged.addEventListener("change", check);
      check();
      buttons.append(approve, ...(session ? [session] : []), deny);
    });
    return box;
  }

  private holdCard(request: RoomRequest): HTMLElement {
    const button = h("button", { type: "button", class: "hold-button", "data-hold": request.id }, say("holdToRun"));
    const press = (event: Event) => {
      event.preventDefault();
      void this.hold(request, button);
    };
    button.addEventListener("pointerdown", press);
    button.addEventListener("keydown", (event) => {
      if ((event.key === " " || event.key === "Enter") && !event.repeat) press(event);
    });
    button.addEventListener("keyup", () => this.letGo());
    button.addEventListener("blur", () => this.letGo());
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    const why = this.secretProblem();
    button.disabled = why !== null;
    if (this.held?.id === request.id) {
      this.held.button = button;
      button.classList.add("held");
    }
    return h(
      "article",
      { class: "decide card", "data-running": request.id },
      h("h2", {}, riskChip(request.risk), h("span", {}, request.name ? pick(request.name) : request.data)),
      h("p", { class: "dim" }, say(why ?? "holdHint")),
      button,
    );
  }

  private secretProblem(): "needsSecure" | "noSecret" | null {
    if (!canProve()) return "needsSecure";
    return secretOf(this.room) === null ? "noSecret" : null;
  }

  private async decide(request: RoomRequest, decision: "approve" | "session" | "deny", unplugged: boolean): Promise<void> {
    const digest = canProve() ? await digestOf(this.room, request) : request.digest;
    const secret = secretOf(this.room);
    const proof = secret && canProve() ? await proofOfDecision(secret, digest, request.id, decision, unplugged) : "";
    if (decision !== "deny" && !proof) return;
    this.state.link.tell({ type: "decide", id: request.id, digest, decision, proof, unplugged });
  }

  private async hold(request: RoomRequest, button: HTMLElement): Promise<void> {
    const secret = secretOf(this.room);
    if (!secret || this.held) return;
    button.classList.add("held");
    const held = { id: request.id, count: this.counts.get(request.id) ?? 0, timer: 0, button };
    this.held = held;
    const began = performance.now();
    const first = held.count + 1;
    const beat = async () => {
      // Counts the time that passes, so that a page that was busy for a moment does not seem to fall behind.
      held.count = Math.max(held.count + 1, first + Math.floor((performance.now() - began) / HOLD_MS));
      this.counts.set(request.id, held.count);
      const proof = await proofOfHold(secret, request.digest, request.id, held.count);
      if (this.held === held) this.state.link.tell({ type: "hold", id: request.id, count: held.count, proof });
    };
    held.timer = window.setInterval(() => void beat(), HOLD_MS);
    await beat();
  }

  private letGo(): void {
    const held = this.held;
    if (!held) return;
    this.held = null;
    window.clearInterval(held.timer);
    held.button.classList.remove("held");
  }
}

/** The red button: everything that runs stops, at once and without a question. */
export function stopButton(state: RoomState): HTMLButtonElement {
  return h("button", { type: "button", class: "stop", id: "stop", title: say("stopHint"), click: () => state.link.stop() }, say("stop"));
}
