/** Notices of the service for who is signed in: as notifications of the system, in the title, and in a list. */
import "./notify.css";
import { h, setText } from "./dom";
import { ownPath } from "./ownpath";
import type { Sentence } from "./protocol";
import { lang } from "./words";

const WORDS = {
  tell: { en: "Notify me", zh: "开启通知" },
  on: { en: "Notifications are on", zh: "通知已开启" },
  denied: {
    en: "The browser blocks notifications of this site; allow them in the site's settings.",
    zh: "浏览器已屏蔽本站通知，请在网站设置中允许。",
  },
  cannot: {
    en: "This browser shows no notifications here (they need https); new ones appear below.",
    zh: "此浏览器无法在此显示通知（需要 https），新通知将显示在下方。",
  },
  unable: {
    en: "This browser shows no notifications of a page like this one (Chrome on Android shows none). New ones appear below: keep this page open, with the sound on.",
    zh: "此浏览器不支持本页面的系统通知（Android 版 Chrome 不显示）。新通知将显示在下方：请保持页面打开并开启声音。",
  },
  press: { en: "Press anywhere on this page: until then the browser lets it make no sound.", zh: "请点按页面任意位置，否则浏览器不允许播放声音。" },
  sound: { en: "sound", zh: "声音" },
  away: { en: "no connection to the service, trying again…", zh: "与服务的连接已断开，正在重试…" },
  danger: { en: "DANGER", zh: "危险" },
  high: { en: "High", zh: "高" },
} satisfies Record<string, Sentence>;

interface Notice {
  n: number;
  id: string;
  kind: string;
  severity: "danger" | "high" | "normal";
  title: Sentence;
  text: Sentence;
  t_us: number;
  path: string;
}

interface Told {
  head: number;
  notices: Notice[];
}

/** What one tab says to the others: whose it is, and what came. */
interface ToTabs {
  account: string;
  notice?: Notice;
}

const SEEN = "huizhen.notices.seen";
const SOUND = "huizhen.notices.sound";
const SHOWN = 5;
const STALE_US = 600e6;
const SIGNED_OUT = 4401;

function word(key: keyof typeof WORDS): string {
  return WORDS[key][lang()];
}

function remembered(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function remember(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    /* a private window: it starts anew next time */
  }
}

/** One connection for all tabs of a browser: the tab that holds the lock listens and tells the others. */
class Watch {
  readonly recent: Notice[] = [];
  panel: Panel | undefined;
  private readonly account: string;
  private readonly ended: () => void;
  private unseen = 0;
  private stopped = false;
  private waits = 0;
  private audio: AudioContext | undefined;
  private readonly tabs: BroadcastChannel | undefined;
  private readonly listener = new AbortController();
  private release: () => void = () => undefined;
  private socket: WebSocket | undefined;

  /** `ended` is called when the service no longer takes this page for the account's: somebody signed out, or in. */
  constructor(account: string, ended: () => void) {
    this.account = account;
    this.ended = ended;
    this.tabs = "BroadcastChannel" in window ? new BroadcastChannel("huizhen.notices") : undefined;
    this.tabs?.addEventListener("message", (event: MessageEvent<ToTabs>) => {
      const { account: of, notice } = event.data;
      if (of !== account) void this.isStill(); // cookies are of all tabs: in another one somebody else has signed in
      else if (notice) this.take(notice);
    });
    this.tabs?.postMessage({ account } satisfies ToTabs);
    const { signal } = this.listener;
    document.addEventListener("visibilitychange", () => this.look(), { signal });
    // Browsers let a page sound from a person's first press on.
    for (const kind of ["pointerdown", "pointerup", "keydown"]) document.addEventListener(kind, () => this.wake(), { signal });
    const lead = (): Promise<void> =>
      new Promise((resolve) => {
        this.release = resolve;
        if (this.stopped) resolve();
        else void this.again(); // it may have waited for days
      });
    if ("locks" in navigator) void navigator.locks.request(`huizhen.notices.${account}`, lead);
    else void lead();
  }

  isOf(account: string): boolean {
    return this.account === account;
  }

  /** Nobody is signed in any more, or somebody else. */
  stop(): void {
    this.stopped = true;
    this.socket?.close();
    this.tabs?.close();
    this.listener.abort();
    void this.audio?.close();
    this.unseen = 0;
    this.badge();
    this.release();
    if (watch === this) watch = undefined;
  }

  private signedOut(): void {
    if (this.stopped) return;
    this.stop();
    this.ended();
  }

  private connect(): void {
    if (this.stopped) return;
    const seen = remembered(SEEN);
    const after = seen && /^\d{1,15}$/.test(seen) ? `?after=${seen}` : "";
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/api/notices/watch${after}`);
    this.socket = socket;
    socket.addEventListener("message", (event: MessageEvent<string>) => {
      if (this.stopped) return; // it was on its way when somebody signed out
      this.waits = 0;
      this.panel?.setAway(false);
      const told = JSON.parse(event.data) as Told;
      remember(SEEN, String(told.head));
      for (const notice of told.notices) {
        if (!this.take(notice)) continue;
        this.tabs?.postMessage({ account: this.account, notice } satisfies ToTabs);
        this.show(notice);
      }
    });
    socket.addEventListener("close", (event) => {
      if (this.stopped) return;
      if (event.code === SIGNED_OUT) return this.signedOut();
      this.panel?.setAway(true);
      this.waits += 1;
      window.setTimeout(() => void this.again(), Math.min(30_000, 500 * 2 ** this.waits) * (0.5 + Math.random() / 2));
    });
  }

  /** Looks first who is signed in: a refused websocket does not say why, and one that is taken not for whom. */
  private async again(): Promise<void> {
    if (!this.stopped && (await this.isStill())) this.connect();
  }

  /** Whether the service still takes this browser for the account's; where it does not, that is the end of it here. */
  private async isStill(): Promise<boolean> {
    try {
      const me = await fetch("/api/me");
      const other = me.status === 401 || (me.ok && ((await me.json()) as { name: string }).name !== this.account);
      if (other) this.signedOut();
      return !other;
    } catch {
      return true; // the service is away: the socket will say so again
    }
  }

  /** Whether it is new here. */
  private take(notice: Notice): boolean {
    if (this.recent.some((one) => one.id === notice.id)) return false;
    this.recent.unshift(notice);
    this.recent.length = Math.min(this.recent.length, SHOWN);
    if (document.hidden) this.unseen += 1;
    this.badge();
    this.panel?.draw(this.recent);
    return true;
  }

  private look(): void {
    if (!document.hidden) {
      this.unseen = 0;
      void this.isStill(); // in another tab somebody may have signed out
    }
    this.badge();
  }

  badge(): void {
    const title = document.title.replace(/^\(\d+\) /, "");
    document.title = this.unseen ? `(${this.unseen}) ${title}` : title;
  }

  private show(notice: Notice): void {
    if (Date.now() * 1000 - notice.t_us > STALE_US) return;
    this.ring(notice.severity);
    if (!("Notification" in window) || Notification.permission !== "granted") return;
    const grade = notice.severity === "normal" ? "" : `${word(notice.severity)} · `;
    try {
      const shown = new Notification(grade + notice.title[lang()], {
        body: notice.text[lang()],
        tag: notice.id,
        lang: lang(),
        icon: "/icon.svg",
        silent: true,
        requireInteraction: notice.severity === "danger",
      });
      shown.addEventListener("click", () => {
        window.focus();
        shown.close();
        location.assign(ownPath(notice.path));
      });
    } catch {
      constructs = false; // the list and the title tell
      this.panel?.tellState();
    }
  }

  hasSound(): boolean {
    return remembered(SOUND) === "on";
  }

  /** Sound needs a gesture once: the box is one. */
  setSound(on: boolean): void {
    remember(SOUND, on ? "on" : "off");
    this.wake();
    if (on) void this.audio?.resume().then(() => this.ring("normal"));
  }

  /** Whether a notice would be heard now. */
  get isMute(): boolean {
    return this.hasSound() && this.audio?.state !== "running" && navigator.userActivation?.hasBeenActive === false;
  }

  private wake(): void {
    if (this.hasSound()) {
      this.audio ??= new AudioContext();
      if (this.audio.state === "suspended") void this.audio.resume().catch(() => undefined);
    }
    this.panel?.setMute(this.isMute);
  }

  private ring(severity: string): void {
    this.panel?.setMute(this.isMute);
    // What a page without leave to sound is given to play comes out all at once when it gets it.
    if (!this.hasSound() || this.isMute) return;
    this.audio ??= new AudioContext();
    const audio = this.audio;
    void audio.resume().catch(() => undefined);
    for (let n = 0; n < (severity === "danger" ? 4 : 1); n += 1) {
      const tone = audio.createOscillator();
      const volume = audio.createGain();
      tone.frequency.value = severity === "danger" ? 880 : 660;
      volume.gain.value = 0.1;
      tone.connect(volume).connect(audio.destination);
      tone.start(audio.currentTime + n * 0.3);
      tone.stop(audio.currentTime + n * 0.3 + 0.18);
    }
  }
}

let watch: Watch | undefined;
let constructs: boolean | undefined;

/** Chromium on Android has the class and shows notifications of service workers only: it says so when one is made. */
function canConstruct(): boolean {
  // Without leave nothing is seen of the trial; with it only those on Android are asked, who refuse.
  if (constructs === undefined && (Notification.permission !== "granted" || /Android/.test(navigator.userAgent))) {
    try {
      new Notification("", { silent: true }).close();
      constructs = true;
    } catch {
      constructs = false;
    }
  }
  return constructs !== false;
}

class Panel {
  private readonly state = h("p", { class: "hint notices-state" });
  private readonly away = h("p", { class: "hint", role: "status" });
  private readonly mute = h("p", { class: "hint notices-mute", role: "status" });
  private readonly list = h("ul", { class: "plain notices-list", "aria-live": "polite" });
  private readonly button: HTMLButtonElement;

  constructor(element: HTMLElement, source: Watch) {
    this.button = h("button", { type: "button", class: "notices-tell", click: () => void this.ask() }, word("tell"));
    const sound = h("input", {
      type: "checkbox",
      checked: source.hasSound(),
      change: () => source.setSound(sound.checked),
    });
    element.replaceChildren(
      h("div", { class: "notices-head" }, this.button, this.state, h("label", { class: "notices-sound" }, sound, word("sound"))),
      this.mute,
      this.away,
      this.list,
    );
    element.classList.add("notices");
    this.tellState();
    this.setMute(source.isMute);
    this.draw(source.recent);
  }

  private async ask(): Promise<void> {
    await Notification.requestPermission();
    this.tellState();
  }

  tellState(): void {
    const can = "Notification" in window && window.isSecureContext;
    const permission = !can ? "none" : canConstruct() ? Notification.permission : "unable";
    this.button.hidden = permission !== "default";
    const said = { granted: word("on"), denied: word("denied"), none: word("cannot"), unable: word("unable"), default: "" }[permission];
    setText(this.state, said);
    this.state.hidden = said === "";
  }

  setMute(mute: boolean): void {
    setText(this.mute, mute ? word("press") : "");
  }

  setAway(away: boolean): void {
    setText(this.away, away ? word("away") : "");
  }

  draw(recent: readonly Notice[]): void {
    this.list.replaceChildren(
      ...recent.map((notice) => {
        const time = new Date(notice.t_us / 1000).toLocaleTimeString(lang(), { hour: "2-digit", minute: "2-digit" });
        const grade = notice.severity === "normal" ? null : h("strong", {}, word(notice.severity));
        return h(
          "li",
          { class: `notice-${notice.severity}`, "data-notice": notice.id },
          h("span", { class: "dim" }, time),
          grade,
          h("a", { href: ownPath(notice.path) }, notice.title[lang()]),
          notice.text[lang()] ? h("span", { class: "dim" }, notice.text[lang()]) : null,
        );
      }),
    );
  }
}

/** Shows an account's notices in an element of its page; may be called again for another element or account. */
export function startNotices(element: HTMLElement, account: string, ended: () => void): void {
  if (!watch?.isOf(account)) {
    watch?.stop();
    watch = new Watch(account, ended);
  }
  watch.panel = new Panel(element, watch);
  watch.badge();
}

/** Nobody is signed in on this page any more. */
export function stopNotices(): void {
  watch?.stop();
}
