/** One problem that stays unsolved: why it is in the queue, where it was seen, and what research answers. */
import { h, setText } from "./dom";
import { ask, problemOf } from "./lobbywords";
import type { Sentence } from "./protocol";
import { word, type ReviewKey } from "./reviewwords";
import { pick } from "./words";

export interface Research {
  number: number;
  what: string;
  model: string;
  title: Sentence;
  rules: string[];
  failed: number;
  jobs: number;
  p: number | null;
  state: "open" | "taken" | "answered" | "closed";
  who: string;
  note: Sentence;
  rooms: { room: string; day: string; codes: string[] }[];
}

const RULES: Record<string, ReviewKey> = { room: "ruleRoom", "three-in-a-row": "ruleThree", failing: "ruleFailing" };

/** The whole problem; `changed` is called when something was decided. */
export function researchView(item: Research, mayDecide: boolean, changed: () => void): HTMLElement {
  const part = (key: ReviewKey, ...children: (Node | string | null)[]) => h("section", { class: "card" }, h("h2", {}, word(key)), ...children);
  const counted = item.jobs ? `${item.failed}/${item.jobs} ${word("notCured")}${item.p === null ? "" : ` · p = ${item.p}`}` : "";
  return h(
    "article",
    { class: "review-detail" },
    h("h1", {}, pick(item.title)),
    h("p", { class: "dim" }, h("span", { class: "review-car" }, item.model || word("unnamed")), ` · ${word(item.state)}${item.who ? ` · ${item.who}` : ""}`),
    part("why", h("ul", {}, ...item.rules.map((rule) => h("li", {}, RULES[rule] ? word(RULES[rule]) : rule))), counted ? h("p", { class: "dim" }, counted) : null),
    item.rooms.length
      ? part("rows", h("ul", { class: "plain review-codes" }, ...item.rooms.map((room) => h("li", {}, h("code", {}, room.room), h("span", { class: "dim" }, room.day), h("span", {}, room.codes.join(", "))))))
      : null,
    answerForm(item, mayDecide, changed),
  );
}

function answerForm(item: Research, mayDecide: boolean, changed: () => void): HTMLElement {
  const area = (key: ReviewKey, value: string) => {
    const input = h("textarea", { rows: 3, maxlength: 2000, disabled: !mayDecide });
    input.value = value;
    return { input, box: h("label", {}, h("span", { class: "label" }, word(key)), input) };
  };
  const zh = area("answerZh", item.note.zh);
  const en = area("answerEn", item.note.en);
  const problem = h("p", { class: "problem", role: "alert" });
  const put = async (state: string): Promise<void> => {
    setText(problem, "");
    const answer = await ask(`/api/research/${item.number}`, { state, note: { en: en.input.value, zh: zh.input.value } });
    if (answer.status === 200) changed();
    else setText(problem, problemOf(answer));
  };
  const button = (key: ReviewKey, state: string, kind = "") => h("button", { type: "button", class: kind, "data-do": state, click: () => void put(state) }, word(key));
  const over = item.state === "closed";
  return h(
    "section",
    { class: "card review-form" },
    h("h2", {}, word("answer")),
    zh.box,
    en.box,
    ...(mayDecide
      ? [
          h(
            "div",
            { class: "review-buttons" },
            ...(over ? [button("reopen", "open")] : [button("sendAnswer", "answered", "primary"), button("take", "taken"), button("close", "closed")]),
          ),
          problem,
        ]
      : [h("p", { class: "hint" }, word("onlyLook"))]),
  );
}
