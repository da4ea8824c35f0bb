/** The lobby: experts with an account sign in, say whether they are on duty, take cars of the queue, enter rooms. */
import "./lobby.css";
import { carName } from "./carname";
import { h, setText } from "./dom";
import { LobbyQueue, type Queue } from "./lobbyqueue";
import { ask, problemOf, word } from "./lobbywords";
import { heedRefusal, noticeBlock, shownNotice } from "./notice";
import { startNotices, stopNotices } from "./notify";
import { regionDesk } from "./regiondesk";
import { lang, say, switchLanguage } from "./words";

interface Account {
  name: string;
  display: string;
  role: string;
  on_duty: boolean;
}

interface OpenRoom {
  room: string;
  path: string;
  opened_us: number;
  online: boolean;
  people: number;
  simulated: boolean;
  vehicle: { make: string | null; model: string | null; model_year: number | null };
}

const REFRESH_MS = 2000;
/** Roles that cars are offered to. */
const HANDS: readonly string[] = ["expert", "lead"];
let timer: number | undefined;
/** What is shown to somebody who has signed in, or has changed the language. */
let again: () => Promise<void> = showLobby;

function frame(...children: Node[]): void {
  document.documentElement.lang = lang();
  document.title = say("title");
  const language = h(
    "button",
    {
      class: "quiet",
      type: "button",
      "aria-label": say("otherLanguage"),
      click: () => {
        switchLanguage();
        void again();
      },
    },
    say("language"),
  );
  const card = h("div", { class: "door-card lobby-card" }, h("div", { class: "door-brand" }, "会诊 Huizhen"), ...children, language);
  document.body.replaceChildren(h("main", { class: "door" }, card));
}

/** The sign-in, or for somebody signed in the rooms. */
export async function showLobby(): Promise<void> {
  window.clearTimeout(timer);
  const me = await ask<Account>("/api/me");
  if (me.status === 200 && me.body) showRooms(me.body);
  else showSignIn(me.status === 401 ? "" : problemOf(me));
}

/** The sign-in of another page, which is shown afterwards. */
export function signInFor(page: () => Promise<void>): void {
  again = page;
  showSignIn("");
}

function showSignIn(first: string): void {
  stopNotices();
  const problem = h("p", { class: "problem", role: "alert" }, first);
  const name = h("input", { id: "account", type: "text", maxlength: 32, autocomplete: "username", required: true });
  const password = h("input", {
    id: "password",
    type: "password",
    maxlength: 256,
    autocomplete: "current-password",
    required: true,
  });
  const button = h("button", { class: "primary", type: "submit" }, word("signIn"));
  const form = h(
    "form",
    {
      submit: (event: SubmitEvent) => {
        event.preventDefault();
        button.disabled = true;
        setText(problem, "");
        void ask<Account>("/login", { name: name.value, password: password.value }).then((answer) => {
          if (answer.status === 200) {
            if (again === showLobby) history.replaceState(null, "", "/rooms");
            void again();
            return;
          }
          setText(problem, problemOf(answer));
          button.disabled = false;
          password.value = "";
          password.focus();
        });
      },
    },
    h("label", { for: "account" }, word("account")),
    name,
    h("label", { for: "password" }, word("password")),
    password,
    button,
    problem,
  );
  frame(h("h1", {}, word("signIn")), form, h("p", { class: "hint" }, word("guest")));
  name.focus();
}

function showRooms(me: Account): void {
  const problem = h("p", { class: "problem", role: "alert" });
  const off = h("p", { class: "lobby-off", hidden: me.on_duty || !HANDS.includes(me.role) }, word("offDuty"));
  const duty = h("input", {
    type: "checkbox",
    checked: me.on_duty,
    change: () => {
      void ask<Account>("/api/duty", { on_duty: duty.checked }).then((answer) => {
        if (answer.status !== 200) {
          duty.checked = !duty.checked;
          setText(problem, problemOf(answer));
        }
        off.hidden = duty.checked || !HANDS.includes(me.role);
        void refresh();
      });
    },
  });
  const leave = h(
    "button",
    { type: "button", class: "quiet", click: () => void ask("/logout", {}).then(() => showLobby()) },
    word("signOut"),
  );
  const list = h("ul", { class: "lobby-rooms" });
  // Apart from what a refresh says, which comes every other second.
  const refused = h("p", { class: "problem", role: "alert" });
  const queue = new LobbyQueue(() => void refresh());
  const others = h("section", {}, h("h2", {}, word("others")), refused, list);
  frame(
    h(
      "div",
      { class: "lobby-head" },
      h("strong", {}, me.display || me.name),
      h("label", { class: "lobby-duty" }, duty, word("onDuty")),
      h("span", { class: "spring" }),
      ...linksFor(me.role),
      leave,
    ),
    off,
    ...(me.role === "admin" ? [regionDesk()] : []),
    queue.root,
    others,
    problem,
    noticeBlock(),
  );
  startNotices(queue.root.parentElement!.insertBefore(h("section"), queue.root), me.name, () => void showLobby());
  list.closest(".lobby-card")?.classList.add("lobby-wide");
  let drawn = "";
  const refresh = async (): Promise<void> => {
    window.clearTimeout(timer);
    const [line, answer] = await Promise.all([ask<Queue>("/api/queue"), ask<{ rooms: OpenRoom[] }>("/api/rooms")]);
    if (!list.isConnected) return;
    if (answer.status === 401) return showSignIn("");
    const failed = [line, answer].find((one) => one.status !== 200);
    setText(problem, failed ? problemOf(failed) : "");
    if (line.status === 200 && line.body) queue.draw(line.body);
    if (answer.status === 200 && answer.body) {
      const held = new Set(line.body?.mine?.map((car) => car.room));
      const rooms = answer.body.rooms.filter((room) => !held.has(room.room));
      const print = JSON.stringify(rooms);
      if (print !== drawn) drawRooms(list, rooms, refused);
      drawn = print;
    }
    window.clearTimeout(timer);
    timer = window.setTimeout(() => void refresh(), REFRESH_MS);
  };
  void refresh();
}

/** Pages beside the lobby that somebody of this role may read. */
function linksFor(role: string): HTMLElement[] {
  const pages: [string, "review" | "board", readonly string[]][] = [
    ["/review", "review", HANDS],
    ["/board", "board", ["lead", "auditor", "admin"]],
  ];
  return pages.filter(([, , roles]) => roles.includes(role)).map(([path, key]) => h("a", { class: "lobby-link", href: path }, word(key)));
}

function drawRooms(list: HTMLElement, rooms: OpenRoom[], problem: HTMLElement): void {
  if (!rooms.length) {
    list.replaceChildren(h("li", { class: "dim" }, word("noRooms")));
    return;
  }
  list.replaceChildren(
    ...rooms.map((room) => {
      const since = new Date(room.opened_us / 1000).toLocaleTimeString(lang(), { hour: "2-digit", minute: "2-digit" });
      const button = h(
        "button",
        {
          type: "button",
          class: "primary",
          click: () => {
            button.disabled = true;
            void ask<{ path?: string }>(`${room.path}/enter`, shownNotice()).then((answer) => {
              if (answer.body?.path) return location.assign(answer.body.path);
              button.disabled = false;
              setText(problem, problemOf(answer));
              heedRefusal(answer.body?.error);
            });
          },
        },
        word("enter"),
      );
      return h(
        "li",
        { "data-room": room.room },
        h("strong", {}, carName(room.vehicle, word("unnamed"))),
        room.simulated ? h("span", { class: "simulated" }, say("simulated")) : null,
        h("span", { class: "dim" }, `${word("since")} ${since} · ${room.people} ${word("people")}`),
        room.online ? null : h("span", { class: "dim" }, word("away")),
        h("span", { class: "spring" }),
        button,
      );
    }),
  );
}
