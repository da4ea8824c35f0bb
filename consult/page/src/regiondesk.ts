/** What an administrator does for rooms without entering them: lifts a region lock with the technician, withdraws for a car's owner. */
import "./privacy.css";
import { h, setText } from "./dom";
import { ask, problemOf } from "./lobbywords";
import type { Lock } from "./privacy";
import { clock, privacyWord as word } from "./privacywords";

interface LockedRoom extends Lock {
  room: string;
  opened_us: number;
  reason: string;
  refused: number;
}

const REFRESH_MS = 2000;

/** The card of the lobby; it looks again by itself as long as it is shown. */
export function regionDesk(): HTMLElement {
  const list = h("ul", { class: "lobby-rooms" });
  const problem = h("p", { class: "problem", role: "alert" });
  const root = h("section", { class: "region-desk" }, h("h2", {}, word("adminTitle")), list, problem, ...forOwner());
  let drawn = "";
  const refresh = async (): Promise<void> => {
    const answer = await ask<{ rooms: LockedRoom[] }>("/api/regions");
    if (answer.status !== 200 || !answer.body) setText(problem, problemOf(answer));
    else {
      const print = JSON.stringify(answer.body.rooms);
      if (print !== drawn) draw(answer.body.rooms);
      drawn = print;
    }
  };
  const draw = (rooms: LockedRoom[]): void => {
    const typed = new Map([...list.querySelectorAll("input")].map((input) => [input.name, input.value]));
    list.replaceChildren(...(rooms.length ? rooms.map((room) => entry(room, typed.get(room.room) ?? "", change)) : [h("li", { class: "dim" }, word("noneLocked"))]));
  };
  const change = async (room: string, body: object): Promise<void> => {
    const answer = await ask(`/r/${room}/region`, body);
    setText(problem, answer.status === 200 ? "" : problemOf(answer));
    await refresh();
  };
  void refresh();
  const timer = window.setInterval(() => {
    if (root.isConnected) void refresh();
    else window.clearInterval(timer);
  }, REFRESH_MS);
  return root;
}

function entry(room: LockedRoom, typed: string, change: (room: string, body: object) => Promise<void>): HTMLElement {
  const asks = room.asked_by.includes("technician");
  const lockAgain = () => h("button", { type: "button", click: () => void change(room.room, { lift: false }) }, word("lockAgain"));
  const reason = h("input", { type: "text", name: room.room, value: typed, maxlength: 300, required: true, autocomplete: "off", placeholder: word("reason"), "aria-label": word("reason") });
  const form = h(
    "form",
    {
      submit: (event: SubmitEvent) => {
        event.preventDefault();
        void change(room.room, { lift: true, reason: reason.value.trim() });
      },
    },
    reason,
    h("button", { type: "submit", class: asks ? "primary" : "" }, word("lift")),
  );
  const own = !room.allowed.length;
  const agreed = room.asked_by.includes("admin");
  return h(
    "li",
    { "data-room": room.room },
    h("span", {}, `${word("room")} `, h("code", {}, room.room)),
    h("span", { class: "dim" }, `${word("since")} ${clock(room.opened_us)} · ${(room.demanded ?? room.allowed).join(", ")}`),
    room.refused ? h("span", { class: "dim" }, `${word("turnedAway")} ${room.refused}`) : null,
    h("span", { class: "spring" }),
    room.lifted_until_us ? h("span", { class: "lobby-off" }, `${word("liftedUntil")} ${clock(room.lifted_until_us)}`) : null,
    !room.lifted_until_us && asks ? h("span", { class: "asks" }, `${word("technicianAsks")} ${room.reason}`) : null,
    !room.lifted_until_us && agreed ? h("span", { class: "dim" }, word("waitsTechnician")) : null,
    own ? h("span", { class: "dim" }, word("ownDemand")) : room.lifted_until_us || agreed ? lockAgain() : form,
  );
}

function forOwner(): HTMLElement[] {
  const said = h("p", { class: "dim", role: "status" });
  const problem = h("p", { class: "problem", role: "alert" });
  const room = h("input", { type: "text", id: "owner-room", pattern: "[0-9a-f]{12}", maxlength: 12, required: true, autocomplete: "off", placeholder: word("roomNumber"), "aria-label": word("roomNumber") });
  const form = h(
    "form",
    {
      submit: (event: SubmitEvent) => {
        event.preventDefault();
        void ask(`/r/${room.value}/consent`, { kind: "sharing", given: false }).then((answer) => {
          setText(said, answer.status === 200 ? word("done") : "");
          setText(problem, answer.status === 200 ? "" : problemOf(answer));
        });
      },
    },
    room,
    h("button", { type: "submit" }, word("withdraw")),
  );
  return [h("h2", {}, word("forOwner")), h("p", { class: "hint" }, word("forOwnerWhat")), form, said, problem];
}
