/** Who is here, how good each one's line is, and who leads. */
import { h } from "./dom";
import type { Line, Person } from "./protocol";
import type { RoomState } from "./state";
import { say, type Key } from "./words";

const ROLES: Record<string, Key> = {
  technician: "roleTechnician",
  lead: "roleLead",
  expert: "roleExpert",
  observer: "roleObserver",
  service: "roleService",
};

export function roleName(role: string): string {
  const key = ROLES[role];
  return key ? say(key) : role;
}

export function called(person: Pick<Person, "name" | "role">): string {
  return person.name || roleName(person.role);
}

/** 0 to 4 bars: what a line feels like to who works over it. */
export function barsOf(line: Line): number {
  let bars = line.rtt_ms < 80 ? 4 : line.rtt_ms < 200 ? 3 : line.rtt_ms < 500 ? 2 : 1;
  if (line.missing > 50) bars--;
  if (line.over === "wss") bars--;
  return Math.max(1, Math.min(4, bars));
}

function lineBars(line: Line): HTMLElement {
  const bars = barsOf(line);
  const text = `${say("line")} ${bars}/4 · ${line.rtt_ms} ms · ${say(line.over === "rtc" ? "overRtc" : "overWss")} · ${say("missing")} ${line.missing} · ${line.fps} fps`;
  return h("span", { class: "line-bars", role: "img", title: text, "aria-label": text, "data-bars": bars }, ...[1, 2, 3, 4].map((n) => h("i", { class: n <= bars ? "on" : "" })));
}

export class PeopleList {
  readonly root = h("ul", { class: "people", "aria-label": say("here") });
  private readonly state: RoomState;
  private readonly follow: (person: number | null) => void;
  private print = "";

  constructor(state: RoomState, follow: (person: number | null) => void) {
    this.state = state;
    this.follow = follow;
  }

  draw(): void {
    const { people, you, views, following, leading, replay } = this.state;
    const print = JSON.stringify([people, you?.id, [...views.keys()], following, leading]);
    if (print === this.print) return;
    this.print = print;
    this.root.replaceChildren(
      ...people.map((person) => {
        const own = !replay && person.id === you?.id;
        const leads = own ? leading : views.has(person.id);
        const followed = following === person.id;
        return h(
          "li",
          { "data-role": person.role, "data-person": person.id, class: leads ? "leads" : "" },
          person.line ? lineBars(person.line) : h("i", { class: "dot" }),
          h("span", { class: "who" }, called(person)),
          person.name ? h("span", { class: "dim role" }, roleName(person.role)) : null,
          own ? h("span", { class: "dim role" }, say("you")) : null,
          own && leads ? h("span", { class: "tag" }, say("youLead")) : null,
          !own && leads && !replay
            ? h("button", { type: "button", class: "follow", "aria-pressed": String(followed), click: () => this.follow(followed ? null : person.id) }, say(followed ? "following" : "follow"))
            : null,
        );
      }),
    );
  }
}
