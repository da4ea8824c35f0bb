/** One draft before an expert: what was seen on the car, what was done, and the case that it shall become. */
import { carName } from "./carname";
import { h, setText } from "./dom";
import { ask, problemOf } from "./lobbywords";
import type { Sentence } from "./protocol";
import { word, type ReviewKey } from "./reviewwords";
import { pick, say } from "./words";

export interface Proposal {
  fix: string;
  component: string;
  failure_mode: string;
  action: string;
  title: Sentence;
  text: Sentence;
  outcome: string;
}

export interface Draft {
  number: number;
  state: "waiting" | "accepted" | "rejected";
  own: boolean;
  reviewer: string;
  reason: string;
  opened_us: number;
  shared: boolean;
  proposal: Partial<Proposal>;
  car: { make: string | null; model: string | null; model_year: number | null; mileage_km: number | null; simulated: boolean } | null;
  seen?: { dtcs: { code: string; ecu: string; state: string; text: Sentence | null }[]; findings: Sentence[]; silent: string[]; symptom: string };
  said?: { note: string; tried: { what: string; result: string }[] };
  like?: { source_id: string; title: Sentence; likeness: number }[];
}

const OUTCOMES: readonly [string, ReviewKey][] = [
  ["fixed", "fixed"],
  ["not-fixed", "notFixed"],
  ["something-else", "somethingElse"],
  ["unknown", "unknown"],
];
const MOST = 400;

export function carOf(draft: Draft): string {
  return draft.car ? carName(draft.car, word("unnamed")) : word("unnamed");
}

/** The whole draft; `changed` is called when something was decided. */
export function draftView(draft: Draft, mayDecide: boolean, changed: () => void): HTMLElement {
  const km = draft.car?.mileage_km;
  const view = h(
    "article",
    { class: "review-detail" },
    h(
      "h1",
      { class: "review-car" },
      draft.car ? carOf(draft) : `${word("drafts")} ${draft.number}`,
      draft.car?.simulated ? h("span", { class: "simulated" }, say("simulated")) : null,
    ),
    h("p", { class: "dim" }, [`#${draft.number}`, km ? `${km.toLocaleString()} km` : "", word(draft.state)].filter(Boolean).join(" · ")),
    ...seenParts(draft),
  );
  if (draft.state === "waiting" && draft.car) view.append(caseForm(draft, mayDecide, changed));
  else view.append(decision(draft));
  return view;
}

function seenParts(draft: Draft): (Node | string)[] {
  const { seen, said } = draft;
  if (!seen || !said) return [];
  const part = (key: ReviewKey, ...children: (Node | string | null)[]) => h("section", { class: "card" }, h("h2", {}, word(key)), ...children);
  const codes = seen.dtcs.map((dtc) =>
    h("li", {}, h("strong", {}, dtc.code), h("span", { class: "tag" }, dtc.ecu || "–"), h("span", { class: "dim" }, say(stateKey(dtc.state))), h("span", { class: "review-text" }, pick(dtc.text))),
  );
  const findings = seen.findings.map((finding) => h("li", {}, h("span", {}, pick(finding))));
  const nothing = codes.length + findings.length === 0;
  return [
    part(
      "seen",
      nothing ? h("p", { class: "dim" }, word("noSeen")) : h("ul", { class: "plain review-codes" }, ...codes, ...findings),
      seen.silent.length ? h("p", { class: "dim" }, word("silent") + seen.silent.join(", ")) : null,
    ),
    ...(seen.symptom ? [part("customer", h("p", {}, seen.symptom))] : []),
    ...(said.tried.length ? [part("tried", h("ol", {}, ...said.tried.map((one) => h("li", {}, one.result ? `${one.what} → ${one.result}` : one.what))))] : []),
    ...(said.note ? [part("note", h("p", {}, said.note))] : []),
  ];
}

function stateKey(state: string): "failingNow" | "confirmed" | "pending" | "history" {
  return state === "active" ? "failingNow" : state === "pending" || state === "history" ? state : "confirmed";
}

function decision(draft: Draft): HTMLElement {
  const told = draft.proposal;
  return h(
    "section",
    { class: "card" },
    h("h2", {}, word("proposal")),
    told.title ? h("p", {}, h("strong", {}, pick(told.title) || told.fix || "")) : null,
    told.text ? h("p", {}, pick(told.text)) : null,
    draft.reason ? h("p", {}, draft.reason) : null,
    h("p", { class: "dim" }, [`${word(draft.state)} · ${word("by")} ${draft.reviewer}`, draft.shared ? word("shared") : ""].filter(Boolean).join(" · ")),
  );
}

function caseForm(draft: Draft, mayDecide: boolean, changed: () => void): HTMLElement {
  const first = draft.proposal as Proposal;
  const fixed = !mayDecide || draft.own;
  const field = (key: ReviewKey, value: string, long = false) => {
    const input = long ? h("textarea", { rows: 2, maxlength: MOST, disabled: fixed }) : h("input", { type: "text", maxlength: MOST, autocomplete: "off", disabled: fixed });
    input.value = value;
    return { input, box: h("label", {}, h("span", { class: "label" }, word(key)), input) };
  };
  const fix = h("select", { disabled: fixed }, h("option", { value: "" }, word("newFix")), ...fixOptions(draft, first));
  fix.value = first.fix;
  const parts = {
    component: field("component", first.component),
    failure_mode: field("cause", first.failure_mode),
    action: field("action", first.action),
    titleZh: field("titleZh", first.title.zh),
    titleEn: field("titleEn", first.title.en),
    textZh: field("textZh", first.text.zh, true),
    textEn: field("textEn", first.text.en, true),
  };
  const own = h("div", { class: "review-words" }, ...Object.values(parts).map((part) => part.box));
  own.hidden = fix.value !== "";
  fix.addEventListener("change", () => (own.hidden = fix.value !== ""));
  const outcome = h("select", { disabled: fixed }, ...OUTCOMES.map(([value, key]) => h("option", { value }, word(key))));
  outcome.value = first.outcome;
  const reason = field("reason", draft.reason, true);
  const problem = h("p", { class: "problem", role: "alert" });
  const proposal = (): Proposal => ({
    fix: fix.value,
    component: parts.component.input.value,
    failure_mode: parts.failure_mode.input.value,
    action: parts.action.input.value,
    title: { en: parts.titleEn.input.value, zh: parts.titleZh.input.value },
    text: { en: parts.textEn.input.value, zh: parts.textZh.input.value },
    outcome: outcome.value,
  });
  const button = (key: ReviewKey, what: string, kind = "") =>
    h("button", { type: "button", class: kind, "data-do": what, click: () => void decide(draft, what, proposal(), reason.input.value, problem, changed) }, word(key));
  const why = draft.own ? word("own") : word("onlyLook");
  return h(
    "section",
    { class: "card review-form" },
    h("h2", {}, word("proposal")),
    h("label", {}, h("span", { class: "label" }, word("knownFix")), fix),
    own,
    h("label", {}, h("span", { class: "label" }, word("outcome")), outcome),
    ...(fixed
      ? [h("p", { class: "hint" }, why)]
      : [
          reason.box,
          h("p", { class: "hint" }, word("goesOut")),
          h("div", { class: "review-buttons" }, button("accept", "accept", "primary"), button("save", "change"), button("reject", "reject")),
          problem,
        ]),
  );
}

function fixOptions(draft: Draft, first: Proposal): HTMLOptionElement[] {
  const like = draft.like ?? [];
  const options = like.map((one) => h("option", { value: one.source_id }, `${pick(one.title)} (${Math.round(one.likeness * 100)} % ${word("alike")})`));
  const known = !first.fix || like.some((one) => one.source_id === first.fix);
  return known ? options : [h("option", { value: first.fix }, first.fix), ...options];
}

async function decide(draft: Draft, what: string, proposal: Proposal, reason: string, problem: HTMLElement, changed: () => void): Promise<void> {
  setText(problem, "");
  const body = what === "reject" ? { reason } : { proposal, reason };
  const answer = await ask<{ text?: string }>(`/api/drafts/${draft.number}/${what}`, body);
  if (answer.status === 200) changed();
  else setText(problem, problemOf(answer));
}
