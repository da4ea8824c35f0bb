/** The review page: drafts of cases and the queue for research, each as a list beside the one that is looked at. */
import "./review.css";
import { h, setText } from "./dom";
import { signInFor } from "./lobby";
import { ask, problemOf } from "./lobbywords";
import { carOf, draftView, type Draft } from "./reviewdraft";
import { researchView, type Research } from "./reviewresearch";
import { word, type ReviewKey } from "./reviewwords";
import { lang, pick, say, switchLanguage } from "./words";

type Tab = "drafts" | "research";

const STATES = {
  drafts: ["waiting", "accepted", "rejected"],
  research: ["open", "taken", "answered", "closed"],
} as const satisfies Record<Tab, readonly ReviewKey[]>;

interface Place {
  tab: Tab;
  state: ReviewKey;
  number: number | null;
}

/** One thing on a list. */
interface Row {
  number: number;
  head: string;
  foot: string;
  view: (changed: () => void) => HTMLElement;
}

let place: Place = placeOf(location.hash);

// A notice that is opened here changes nothing but the hash.
if (location.pathname === "/review")
  window.addEventListener("hashchange", () => {
    place = placeOf(location.hash);
    void showReview();
  });

function placeOf(hash: string): Place {
  const found = /^#(draft|research)(?:-(\d{1,9}))?$/.exec(hash);
  const tab: Tab = found?.[1] === "research" ? "research" : "drafts";
  return { tab, state: STATES[tab][0], number: found?.[2] ? Number(found[2]) : null };
}

export async function showReview(): Promise<void> {
  const me = await ask<{ name: string; display: string }>("/api/me");
  if (me.status === 401) return signInFor(showReview);
  document.documentElement.lang = lang();
  document.title = `${word("title")} · ${say("brand")}`;
  const problem = h("p", { class: "problem", role: "alert" });
  const list = h("ul", { class: "plain review-list" });
  const detail = h("div", { class: "review-side" });
  const tabs = (["drafts", "research"] as const).map((tab) =>
    h(
      "button",
      { type: "button", "data-tab": tab, "aria-pressed": place.tab === tab ? "true" : "false", click: () => go({ tab, state: STATES[tab][0], number: null }) },
      word(tab),
    ),
  );
  const states = STATES[place.tab].map((state) =>
    h("button", { type: "button", class: "quiet", "aria-pressed": place.state === state ? "true" : "false", click: () => go({ ...place, state, number: null }) }, word(state)),
  );
  const language = h(
    "button",
    {
      class: "quiet",
      type: "button",
      "aria-label": say("otherLanguage"),
      click: () => {
        switchLanguage();
        void showReview();
      },
    },
    say("language"),
  );
  document.body.replaceChildren(
    h(
      "div",
      { class: "review" },
      h("header", {}, h("span", { class: "brand" }, say("brand")), h("nav", { class: "review-tabs" }, ...tabs), h("span", { class: "spring" }), h("a", { href: "/rooms", class: "review-link" }, word("rooms")), language),
      h("div", { class: "review-columns", "data-open": place.number === null ? "no" : "yes" }, h("aside", {}, h("div", { class: "review-states" }, ...states), list, problem), detail),
    ),
  );
  const answer = await rowsOf(place.tab, place.state);
  if (!list.isConnected) return;
  setText(problem, answer.problem);
  drawList(list, answer.rows);
  const chosen = answer.rows.find((row) => row.number === place.number);
  const back = h("button", { type: "button", class: "quiet review-back", click: () => go({ ...place, number: null }) }, `‹ ${word("back")}`);
  detail.replaceChildren(
    ...(chosen ? [back, chosen.view(() => go({ ...place, number: null }))] : [h("p", { class: "hint review-choose" }, answer.rows.length ? word("choose") : "")]),
  );
}

function go(next: Place): void {
  place = next;
  const name = next.tab === "drafts" ? "draft" : "research";
  history.replaceState(null, "", `/review#${name}${next.number === null ? "" : `-${next.number}`}`);
  void showReview();
}

async function rowsOf(tab: Tab, state: string): Promise<{ rows: Row[]; problem: string }> {
  if (tab === "drafts") {
    const answer = await ask<{ drafts: Draft[]; may_decide: boolean }>(`/api/drafts?state=${state}`);
    if (answer.status !== 200 || !answer.body) return { rows: [], problem: problemOf(answer) };
    const { drafts, may_decide } = answer.body;
    const codes = (draft: Draft) => draft.seen?.dtcs.map((dtc) => dtc.code).join(", ") || draft.reason;
    return {
      rows: drafts.map((draft) => ({
        number: draft.number,
        head: draft.car ? carOf(draft) : pick(draft.proposal.title ?? null) || `#${draft.number}`,
        foot: [new Date(draft.opened_us / 1000).toLocaleDateString(lang()), codes(draft)].filter(Boolean).join(" · "),
        view: (changed) => draftView(draft, may_decide, changed),
      })),
      problem: "",
    };
  }
  const answer = await ask<{ items: Research[]; may_decide: boolean }>(`/api/research?state=${state}`);
  if (answer.status !== 200 || !answer.body) return { rows: [], problem: problemOf(answer) };
  const { items, may_decide } = answer.body;
  return {
    rows: items.map((item) => ({
      number: item.number,
      head: pick(item.title),
      foot: [item.model.toUpperCase(), item.jobs ? `${item.failed}/${item.jobs}` : ""].filter(Boolean).join(" · "),
      view: (changed) => researchView(item, may_decide, changed),
    })),
    problem: "",
  };
}

function drawList(list: HTMLElement, rows: Row[]): void {
  if (!rows.length) list.replaceChildren(h("li", { class: "dim review-none" }, word(place.tab === "drafts" ? "noDrafts" : "noResearch")));
  else
    list.replaceChildren(
      ...rows.map((row) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", "data-number": row.number, "aria-current": row.number === place.number ? "true" : null, click: () => go({ ...place, number: row.number }) },
            h("strong", { class: place.tab === "drafts" ? "review-car" : "" }, row.head),
            h("span", { class: "dim" }, row.foot),
          ),
        ),
      ),
    );
}
