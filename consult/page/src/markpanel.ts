/** Marks as people write and read them: the note at the curve, and the list of all. */
import { h } from "./dom";
import { randomId } from "./link";
import type { MarkNote } from "./marks";
import { called } from "./people";
import { openPopup } from "./popup";
import type { Found } from "./signals";
import type { RoomState } from "./state";
import { say } from "./words";

const MOST_CHARS = 200;

function clock(us: number): string {
  return new Date(us / 1000).toTimeString().slice(0, 8);
}

/** Asks for a small note and sets the mark. */
export function writeMark(state: RoomState, choices: readonly Found[], name: string, t: number, at: { x: number; y: number }): void {
  const input = h("input", { type: "text", maxlength: MOST_CHARS, placeholder: say("markNote"), "aria-label": say("markNote"), autofocus: true });
  const select = h("select", { "aria-label": say("signals") }, ...choices.map((one) => h("option", { value: one.name, selected: one.name === name }, one.name)));
  const form = h(
    "form",
    {
      submit: (event: SubmitEvent) => {
        event.preventDefault();
        const signal = choices.find((one) => one.name === select.value) ?? choices[0];
        if (!signal) return;
        state.link.insist({ type: "mark", id: randomId(), stream: signal.store.id, signal: signal.own, t_us: Math.round(t * 1e6), t2_us: 0, text: input.value.trim() });
        close();
      },
    },
    h("div", { class: "popup-title" }, h("strong", {}, say("markAt")), h("time", {}, clock(t * 1e6))),
    choices.length > 1 ? select : h("div", { class: "dim" }, name),
    input,
    h("div", { class: "row" }, h("button", { type: "button", click: () => close() }, say("cancel")), h("button", { type: "submit", class: "primary" }, say("setMark"))),
  );
  const close = openPopup(at, say("markAt"), "dialog", form);
  input.focus();
}

/** Shows a mark that stands; its owner may take it away. */
export function openMark(state: RoomState, id: string, at: { x: number; y: number }): void {
  const mark = state.marks.get(id);
  if (!mark) return;
  const remove = mayRemove(state, mark)
    ? h("button", { type: "button", click: () => {
        state.link.tell({ type: "unmark", id });
        close();
      } }, say("removeMark"))
    : null;
  const close = openPopup(
    at,
    say("mark"),
    "dialog",
    h("div", { class: "popup-title" }, h("strong", {}, `${mark.number} · ${mark.signal}`), h("time", {}, clock(mark.tUs))),
    h("p", {}, mark.text || "–"),
    h("div", { class: "row" }, h("span", { class: "dim" }, called(mark.who)), remove),
  );
}

function mayRemove(state: RoomState, mark: MarkNote): boolean {
  if (state.replay || !state.you) return false;
  return mark.who.id === state.you.id || state.you.role === "lead" || state.you.role === "technician";
}

export class MarkPanel {
  readonly root = h("div", { class: "marks", id: "marks" });
  private readonly state: RoomState;
  private readonly show: (id: string) => void;

  constructor(state: RoomState, show: (id: string) => void) {
    this.state = state;
    this.show = show;
    this.draw();
  }

  draw(): void {
    const marks = this.state.marks.list();
    if (marks.length === 0) {
      this.root.replaceChildren(h("p", { class: "hint" }, say("noMarks")));
      return;
    }
    this.root.replaceChildren(
      h(
        "ol",
        { class: "plain" },
        ...marks.map((mark) =>
          h(
            "li",
            { "data-mark": mark.id },
            h(
              "button",
              { type: "button", class: "mark-go", click: () => this.show(mark.id) },
              h("span", { class: "mark-number" }, String(mark.number)),
              h("span", { class: "mark-text" }, h("strong", {}, mark.text || mark.signal), h("span", { class: "dim" }, `${clock(mark.tUs)} · ${mark.text ? `${mark.signal} · ` : ""}${called(mark.who)}`)),
            ),
            mayRemove(this.state, mark)
              ? h("button", { type: "button", class: "icon close", "aria-label": `${say("removeMark")} ${mark.number}`, title: say("removeMark"), click: () => this.state.link.tell({ type: "unmark", id: mark.id }) }, "×")
              : null,
          ),
        ),
      ),
    );
  }
}
