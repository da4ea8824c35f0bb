/** The end of a job: what was wrong, what was done, whether it cured; a known fix may be named instead of described. */
import { h } from "./dom";
import { randomId } from "./link";
import { openPopup } from "./popup";
import { sharingQuestion } from "./privacy";
import { privacyWord } from "./privacywords";
import type { RoomState } from "./state";
import { lang, pick, say, type Key } from "./words";

const OUTCOMES: readonly [string, Key][] = [
  ["fixed", "outcomeFixed"],
  ["not-fixed", "outcomeNotFixed"],
  ["something-else", "outcomeSomethingElse"],
  ["unknown", "outcomeUnknown"],
];
const MOST = 400;

export function mayFinish(state: RoomState): boolean {
  return !state.replay && (state.you?.role === "technician" || state.you?.role === "lead");
}

export async function openFinish(state: RoomState, anchor: HTMLElement): Promise<void> {
  const question = await sharingQuestion(state);
  if (!anchor.isConnected) return;
  const field = (key: Key, name: string) => h("label", {}, h("span", { class: "label" }, say(key)), h("input", { type: "text", name, maxlength: MOST, autocomplete: "off" }));
  const matches = state.report.cases?.matches ?? [];
  const fix = h("select", { name: "fix" }, h("option", { value: "" }, say("noneOfThese")), ...matches.slice(0, 10).map((match) => h("option", { value: match.case_id }, pick(match.fix) || pick(match.title))));
  const note = h("textarea", { name: "note", rows: 2, maxlength: MOST });
  const tried = h("textarea", { name: "tried", rows: 2, maxlength: 4000, placeholder: say("triedHint") });
  const share = question && h("input", { type: "checkbox", name: "share", checked: question.given });
  const problem = h("p", { class: "problem", role: "alert" });
  const outcomes = h(
    "fieldset",
    { class: "outcomes" },
    h("legend", { class: "label" }, say("outcome")),
    ...OUTCOMES.map(([value, key]) => h("label", { class: "check" }, h("input", { type: "radio", name: "outcome", value, required: true }), say(key))),
  );
  const own = h("div", { class: "own-words" }, field("component", "component"), field("failureMode", "failure_mode"), field("action", "action"));
  fix.addEventListener("change", () => (own.hidden = fix.value !== ""));
  const form = h(
    "form",
    {
      class: "finish-form",
      submit: (event: SubmitEvent) => {
        event.preventDefault();
        const data = new FormData(form);
        const text = (name: string) => String(data.get(name) ?? "").trim();
        const body: Record<string, unknown> = { lang: lang(), outcome: text("outcome") };
        // Either a known fix or words of one's own: both would contradict each other.
        const parts = text("fix") ? ["fix", "note"] : ["component", "failure_mode", "action", "note"];
        for (const name of parts) if (text(name)) body[name] = text(name);
        const lines = text("tried").split("\n").map((line) => line.trim()).filter(Boolean).map((line) => line.slice(0, MOST)).slice(0, 50);
        if (lines.length > 0) body["tried"] = lines;
        if (share) body["share"] = share.checked;
        if (!body["fix"] && !body["component"] && !body["action"] && !body["note"]) {
          problem.textContent = say("finishNeedsWords");
          return;
        }
        if (state.link.tell({ type: "finish", id: randomId(), body })) close();
        else problem.textContent = say("reconnecting");
      },
    },
    h("h1", {}, say("finishTitle")),
    h("p", { class: "dim" }, say("finishText")),
    matches.length > 0 ? h("label", {}, h("span", { class: "label" }, say("knownFix")), fix) : null,
    own,
    outcomes,
    h("label", {}, h("span", { class: "label" }, say("tried")), tried),
    h("label", {}, h("span", { class: "label" }, say("note")), note),
    share && h("label", { class: "check share" }, share, h("span", {}, h("strong", {}, privacyWord("mayShare")), " ", question.text)),
    problem,
    h("div", { class: "row end" }, h("button", { type: "button", click: () => close() }, say("cancel")), h("button", { type: "submit", class: "primary" }, say("finish"))),
  );
  const close = openPopup(anchor, say("finishTitle"), "dialog", form);
}
