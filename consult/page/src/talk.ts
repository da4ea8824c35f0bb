/** Who is here and what is said. */
import { h, setText } from "./dom";
import type { Person, RoomEvent } from "./protocol";
import type { RoomState } from "./room";
import { lang, refusal, say, type Key } from "./words";

const ROLES: Record<string, Key> = {
  technician: "roleTechnician",
  lead: "roleLead",
  expert: "roleExpert",
  observer: "roleObserver",
};
const HAPPENINGS: Record<string, Key> = { join: "joined", leave: "left", online: "carOnline", offline: "carOffline" };

function roleName(role: string): string {
  const key = ROLES[role];
  return key ? say(key) : role;
}

function called(person: Person): string {
  return person.name || roleName(person.role);
}

export class TalkPanel {
  readonly root: HTMLElement;
  private readonly state: RoomState;
  private readonly people = h("ul", { class: "people", "aria-label": say("here") });
  private readonly log = h("ol", { class: "log", role: "log", "aria-live": "polite", tabindex: 0 });
  private readonly problem = h("p", { class: "problem", role: "alert" });
  private readonly input = h("textarea", { rows: 2, maxlength: 2000, placeholder: say("say"), "aria-label": say("say"), enterkeyhint: "send" });
  private readonly form: HTMLFormElement;

  constructor(state: RoomState) {
    this.state = state;
    this.input.addEventListener("keydown", (event) => {
      // While an input method composes Chinese, Enter chooses a word.
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.form.requestSubmit();
      }
    });
    this.form = h(
      "form",
      {
        class: "say",
        submit: (event: SubmitEvent) => {
          event.preventDefault();
          const text = this.input.value.trim();
          if (!text) return;
          setText(this.problem, "");
          this.state.link.say(text);
          this.input.value = "";
        },
      },
      this.input,
      h("button", { type: "submit", class: "primary" }, say("send")),
    );
    new ResizeObserver(() => (this.log.scrollTop = this.log.scrollHeight)).observe(this.log);
    this.root = h("section", { class: "talk card", "aria-label": say("talk") }, h("h2", {}, say("talk")), this.people, this.log, this.problem, this.form);
  }

  drawAll(): void {
    this.log.replaceChildren();
    for (const event of this.state.events) this.add(event);
    this.drawPeople();
    if (this.state.you?.role === "observer") this.form.replaceWith(h("p", { class: "hint" }, say("youWatch")));
  }

  drawPeople(): void {
    this.people.replaceChildren(
      ...this.state.people.map((person) =>
        h(
          "li",
          { "data-role": person.role },
          h("span", {}, called(person)),
          person.name ? h("span", { class: "dim" }, roleName(person.role)) : null,
          person.id === this.state.you?.id ? h("span", { class: "dim" }, say("you")) : null,
        ),
      ),
    );
  }

  add(event: RoomEvent): void {
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    const time = new Date(event.t_us / 1000).toLocaleTimeString(lang() === "zh" ? "zh-CN" : "en-GB", { hour: "2-digit", minute: "2-digit" });
    if (event.kind === "chat") {
      const own = event.who.id === this.state.you?.id;
      this.log.append(
        h(
          "li",
          { class: own ? "said own" : "said", "data-role": event.who.role },
          h("div", { class: "by" }, called(event.who), h("time", {}, time)),
          h("div", { class: "text" }, event.text),
        ),
      );
    } else {
      const key = HAPPENINGS[event.kind];
      const text = key ? (event.kind === "online" || event.kind === "offline" ? say(key) : `${called(event.who)} ${say(key)}`) : event.kind;
      this.log.append(h("li", { class: "happened" }, h("time", {}, time), " ", text));
    }
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  refused(code: string): void {
    setText(this.problem, refusal(code));
  }
}
