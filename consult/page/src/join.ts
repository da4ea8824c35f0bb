/** The door: an invite is redeemed by a button, never by opening the address, because chat programs open addresses too. */
import { h, setText } from "./dom";
import { agreeWord, heedRefusal, noticeBlock, shownNotice } from "./notice";
import { keepSecret } from "./proof";
import { lang, refusal, say, switchLanguage } from "./words";

interface Answer {
  path?: string;
  error?: string;
}

function frame(...children: Node[]): HTMLElement {
  return h("main", { class: "door" }, h("div", { class: "door-card" }, h("div", { class: "door-brand" }, "会诊 Huizhen"), ...children));
}

/** `fragment`: the invite's code and, on the technician's own link, behind a dot the secret that is never sent. */
export function showDoor(fragment: string, enter: (path: string) => void): void {
  const [invite = "", secret = ""] = fragment.split(".");
  const isOwn = secret !== "";
  document.documentElement.lang = lang();
  document.title = say("title");
  const problem = h("p", { class: "problem", role: "alert" });
  const name = h("input", {
    id: "name",
    type: "text",
    maxlength: 40,
    autocomplete: "name",
    placeholder: say(isOwn ? "ownNamePlaceholder" : "namePlaceholder"),
  });
  const button = h("button", { class: "primary", type: "submit" }, say("join"));
  const form = h(
    "form",
    {
      submit: (event: SubmitEvent) => {
        event.preventDefault();
        button.disabled = true;
        setText(button, say("joining"));
        setText(problem, "");
        void redeem(invite, name.value.trim()).then((answer) => {
          if (answer.path) {
            if (secret) keepSecret(answer.path.slice(3), secret);
            return enter(answer.path);
          }
          setText(problem, refusal(answer.error ?? "other"));
          button.disabled = false;
          heedRefusal(answer.error);
          setText(button, agreeWord(say("join")));
        });
      },
    },
    h("label", { for: "name" }, say("yourName")),
    name,
    noticeBlock(() => setText(button, agreeWord(say("join")))),
    button,
    problem,
  );
  const language = h(
    "button",
    {
      class: "quiet",
      type: "button",
      "aria-label": say("otherLanguage"),
      click: () => {
        switchLanguage();
        showDoor(fragment, enter);
      },
    },
    say("language"),
  );
  document.body.replaceChildren(frame(h("h1", {}, say(isOwn ? "ownDoorTitle" : "joinTitle")), h("p", {}, say(isOwn ? "ownDoorText" : "joinText")), form, language));
  name.focus();
}

export function showMessage(title: string, text: string): void {
  document.documentElement.lang = lang();
  document.body.replaceChildren(frame(h("h1", {}, title), h("p", { role: "alert", class: "message" }, text)));
}

async function redeem(invite: string, name: string): Promise<Answer> {
  try {
    const response = await fetch("/redeem", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ invite, name, ...shownNotice() }),
    });
    return (await response.json()) as Answer;
  } catch {
    return { error: "unreachable" };
  }
}
