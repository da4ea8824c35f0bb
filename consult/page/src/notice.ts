/** What is recorded, said before anybody enters a room: shown here, and sent along by its version. */
import "./notice.css";
import { h } from "./dom";
import type { Sentence } from "./protocol";
import { lang } from "./words";

const WORDS = {
  title: { en: "What is recorded", zh: "记录哪些内容" },
  more: { en: "Privacy: everything about it", zh: "隐私说明全文" },
  agree: { en: "Read, and join", zh: "已阅读，加入" },
} satisfies Record<string, Sentence>;

interface Notice {
  version: string;
  notice: Sentence;
}

let shown = "";
let block: { root: HTMLElement; told: () => void } | undefined;

/** The notice as the service has it now; `told` once it stands there. Without an answer nothing is shown or claimed. */
export function noticeBlock(told: () => void = () => undefined): HTMLElement {
  const root = h("div", { class: "notice" });
  block = { root, told };
  void load(root, told);
  return root;
}

async function load(root: HTMLElement, told: () => void): Promise<void> {
  try {
    const response = await fetch("/api/privacy");
    if (!response.ok) return;
    const notice = (await response.json()) as Notice;
    root.replaceChildren(
      h("h2", {}, WORDS.title[lang()]),
      h("p", {}, notice.notice[lang()]),
      h("a", { href: `/privacy?lang=${lang()}`, target: "_blank", rel: "noopener" }, WORDS.more[lang()]),
    );
    shown = notice.version;
    told();
  } catch {
    /* the service is away: a request to come in will say so */
  }
}

/** What the service answered to a request to come in: where its notice is another one by now, that is shown, and seen. */
export function heedRefusal(error: string | undefined): void {
  if (error !== "consult.notice-missing" || !block) return;
  const { root, told } = block;
  void load(root, told).then(() => {
    root.classList.add("notice-anew");
    root.scrollIntoView({ block: "nearest" });
  });
}

/** What a request to come in says of it. */
export function shownNotice(): { notice: string; lang: string } | Record<string, never> {
  return shown ? { notice: shown, lang: lang() } : {};
}

/** The words of the button once the notice is there. */
export function agreeWord(otherwise: string): string {
  return shown ? WORDS.agree[lang()] : otherwise;
}
