/** A request in words: what is asked of which ECU, in what state it is, and what came of it. */
import { digits, h, unitSign } from "./dom";
import { called } from "./people";
import { isLate, spaced, type RequestState, type RoomRequest } from "./requests";
import type { RoomState } from "./state";
import { pick, refusal, say, type Key } from "./words";

const STATES: Record<RequestState, Key> = {
  waiting: "reqWaiting",
  approved: "reqApproved",
  running: "reqRunning",
  done: "reqDone",
  denied: "reqDenied",
  expired: "reqExpired",
  stopped: "reqStopped",
  withdrawn: "reqWithdrawn",
  refused: "reqRefused",
  failed: "reqFailed",
};

const SIGNS: Record<RequestState, string> = {
  waiting: "…",
  approved: "✓",
  running: "▶",
  done: "✓",
  denied: "✕",
  expired: "⌛",
  stopped: "■",
  withdrawn: "↩",
  refused: "✕",
  failed: "!",
};

const RISKS: Record<string, Key> = { A: "riskA", B: "riskB", C: "riskC", D: "riskD" };

export function riskChip(risk: string): HTMLElement {
  const known = RISKS[risk];
  return h("span", { class: "risk", "data-risk": risk, title: known ? say(known) : risk }, risk || "?");
}

export function riskWords(risk: string): string {
  const known = RISKS[risk];
  return known ? say(known) : risk;
}

export function ecuWords(state: RoomState, address: string): string {
  const name = state.report.ecus?.find((ecu) => ecu.address === address)?.name;
  return name ? `${name} (${address})` : address;
}

export function stateChip(request: RoomRequest, nowUs: number): HTMLElement {
  const state: RequestState = isLate(request, nowUs) ? "expired" : request.state;
  return h("span", { class: "req-state", "data-state": state }, `${SIGNS[state]} ${say(STATES[state])}`);
}

/** The facts that anybody decides by. */
export function factsOf(state: RoomState, request: RoomRequest): HTMLElement {
  return h(
    "dl",
    { class: "facts" },
    h("dt", {}, say("ecu")),
    h("dd", {}, ecuWords(state, request.ecu)),
    h("dt", {}, say("bytes")),
    h("dd", {}, h("code", { class: "bytes" }, spaced(request.data))),
    h("dt", {}, say("riskClass")),
    h("dd", {}, riskChip(request.risk), ` ${riskWords(request.risk)}`),
    h("dt", {}, say("why")),
    h("dd", { class: "why" }, request.why || "–"),
    h("dt", {}, say("askedBy")),
    h("dd", {}, called(request.who)),
  );
}

interface Answer {
  source?: unknown;
  data?: unknown;
  complete?: unknown;
}

interface Value {
  name?: unknown;
  value?: unknown;
  unit?: unknown;
  text?: unknown;
  raw?: unknown;
}

function textIn(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "object" && value !== null && "en" in value) return pick(value as { en: string; zh: string });
  return "";
}

/** What came of a request: in words, as values, and byte for byte. */
export function resultOf(request: RoomRequest): HTMLElement | null {
  const body = request.result;
  if (!body) return null;
  const box = h("div", { class: "result" });
  const words = textIn(body["text"]) || request.resultText;
  if (words) box.append(h("p", {}, words));
  const code = body["code"];
  if (typeof code === "string" && code) box.append(h("p", { class: "problem" }, refusal(code)));
  const negative = body["negative"] as { nrc?: unknown; name?: unknown } | null | undefined;
  if (negative) box.append(h("p", { class: "problem" }, `${say("negative")} ${String(negative.nrc ?? "")} ${textIn(negative.name)}`));
  const values = Array.isArray(body["values"]) ? (body["values"] as Value[]) : [];
  if (values.length > 0) {
    const list = h("dl", { class: "readings" });
    for (const one of values.slice(0, 200)) {
      const unit = textIn(one.unit);
      // `text` is the name in words, not the value.
      const value = typeof one.value === "number" ? digits(one.value, unit) : textIn(one.value) || spaced(textIn(one.raw)) || "–";
      list.append(h("dt", {}, textIn(one.text) || textIn(one.name)), h("dd", {}, `${value} ${typeof one.value === "number" ? unitSign(unit) : ""}`));
    }
    box.append(list);
  }
  const answers = Array.isArray(body["answers"]) ? (body["answers"] as Answer[]) : [];
  for (const answer of answers.slice(0, 20)) {
    box.append(
      h("div", { class: "raw-answer" }, h("span", { class: "dim" }, textIn(answer.source)), h("code", { class: "bytes" }, spaced(textIn(answer.data)) || "–"), answer.complete === false ? h("span", { class: "tag" }, say("cutAnswer")) : null),
    );
  }
  return box.childElementCount > 0 ? box : null;
}
