/** The board: how the service is, for leads, auditors and administrators. */
import "./board.css";
import { h, setText } from "./dom";
import { signInFor } from "./lobby";
import type { Sentence } from "./protocol";
import { sparkline } from "./sparkline";
import { sayServiceTrouble } from "./troublewords";
import { lang, refusal, say, switchLanguage } from "./words";

const WORDS = {
  title: { en: "Board", zh: "运行看板" },
  lobby: { en: "Rooms", zh: "会诊室列表" },
  forbidden: {
    en: "The board is for leads, auditors and administrators.",
    zh: "看板仅供首席专家、审计员和管理员使用。",
  },
  updated: { en: "as of", zh: "更新于" },
  stale: { en: "no answer from the service; figures as of", zh: "服务无应答，数据截至" },
  well: { en: "No troubles.", zh: "运行正常。" },
  queue: { en: "Queue", zh: "排队" },
  noQueue: { en: "This service has no queue.", zh: "此服务未启用排队。" },
  queueEmpty: { en: "Nobody waits.", zh: "无人等待。" },
  rooms: { en: "Rooms", zh: "会诊室" },
  noRooms: { en: "No room is open.", zh: "没有进行中的会诊室。" },
  room: { en: "Room", zh: "会诊室" },
  hidden: { en: "no experts let in", zh: "未对专家开放" },
  since: { en: "since", zh: "开始于" },
  carOn: { en: "car connected", zh: "车辆已连接" },
  carOff: { en: "car not connected", zh: "车辆未连接" },
  blocks: { en: "blocks/s", zh: "块/秒" },
  waitDisk: { en: "blocks wait for the disk", zh: "块等待写盘" },
  alone: { en: "nobody watches", zh: "无人观看" },
  who: { en: "Who", zh: "人员" },
  carrier: { en: "Line", zh: "线路" },
  rtt: { en: "Round trip", zh: "往返时延" },
  missing: { en: "Missing", zh: "缺失" },
  fps: { en: "Frames/s", zh: "帧率" },
  lags: { en: "lagging", zh: "滞后" },
  slow: { en: "slow line", zh: "线路慢" },
  isLive: { en: "live", zh: "实时" },
  webhooks: { en: "Webhooks and mail", zh: "Webhook 与邮件" },
  noHooks: { en: "None is configured.", zh: "未配置。" },
  name: { en: "Name", zh: "名称" },
  sent: { en: "Sent", zh: "已送达" },
  waiting: { en: "Waiting", zh: "待发送" },
  dead: { en: "Given up", zh: "已放弃" },
  state: { en: "State", zh: "状态" },
  fine: { en: "fine", zh: "正常" },
  failingFor: { en: "not taken for", zh: "未送达已持续" },
  deadList: { en: "Given up in the last seven days", zh: "近七天已放弃的通知" },
  service: { en: "Service", zh: "服务" },
  memory: { en: "Memory", zh: "内存" },
  loop: { en: "Event loop, longest delay", zh: "事件循环最长延迟" },
  disk: { en: "Disk free", zh: "磁盘剩余" },
  sockets: { en: "Connections", zh: "连接数" },
  failures: { en: "Journal failures", zh: "记录写入失败" },
  versions: { en: "Versions", zh: "版本" },
  day: { en: "Last 24 hours", zh: "近 24 小时" },
  people: { en: "People", zh: "人员" },
  blocksIn: { en: "Blocks taken in", zh: "接收数据块" },
  bytesIn: { en: "Data taken in", zh: "接收数据量" },
  rtt95: { en: "Round trip, 95 %", zh: "往返时延 95 %" },
  lag: { en: "Waiting for the disk", zh: "等待写盘" },
  noticesWait: { en: "Notices waiting", zh: "待发送通知" },
  danger: { en: "DANGER", zh: "危险" },
  high: { en: "High", zh: "高" },
  normal: { en: "Normal", zh: "一般" },
  waited: { en: "Waited", zh: "已等待" },
  severity: { en: "Severity", zh: "级别" },
  car: { en: "Make", zh: "品牌" },
  skills: { en: "Skills", zh: "技能" },
  language: { en: "Language", zh: "语言" },
  clock: { en: "Clock", zh: "时钟" },
  count: { en: "Count", zh: "次数" },
  mean: { en: "Mean", zh: "平均" },
  p95: { en: "95 %", zh: "95 %" },
  accept: { en: "until accepted", zh: "接单用时" },
  finding: { en: "until first finding", zh: "首个结论用时" },
  resolve: { en: "until resolved", zh: "结案用时" },
  within: { en: "In time", zh: "按时" },
  onDuty: { en: "{n} on duty", zh: "在岗 {n} 人" },
  asked: { en: "{n} asked for (Erlang C)", zh: "所需 {n} 人（Erlang C）" },
  carsWaiting: { en: "Cars waiting", zh: "等待的车辆" },
  lead: { en: "lead", zh: "首席专家" },
  expert: { en: "expert", zh: "专家" },
  observer: { en: "observer", zh: "旁观者" },
  technician: { en: "technician", zh: "技师" },
} satisfies Record<string, Sentence>;

type Word = keyof typeof WORDS;

interface Person {
  role: string;
  name: string;
  carrier: string;
  rtt_ms: number | null;
  missing: number | null;
  fps: number | null;
  lags: boolean;
}

interface Room {
  number: number;
  room: string;
  opened_us: number;
  online: boolean;
  blocks_s: number | null;
  lag_blocks: number;
  people: Person[];
}

interface Hook {
  name: string;
  kind: string;
  sent: number;
  waiting: number;
  dead: number;
  failing_s: number;
  reason: string;
}

interface Dead {
  id: string;
  hook: string;
  reason: string;
  given_up_us: number;
  title: Sentence;
}

interface Board {
  now_us: number;
  rooms: Room[];
  webhooks: { hooks: Hook[]; dead: Dead[] };
  service: {
    memory_mb: number | null;
    loop_ms: number | null;
    disk_free_gb: number | null;
    disk_total_gb: number | null;
    sockets: number;
    journal_failures: number;
    versions: Record<string, string>;
  };
  troubles: string[];
  history: Record<string, (number | null)[]>;
}

interface Waiting {
  room: string;
  severity: string;
  since_us: number;
  skills?: string[];
  make?: string;
  language?: string;
  state?: string;
}

interface Queue {
  waiting: Waiting[];
  stats?: Record<string, { n: number; mean_s: number | null; p95_s: number | null; within?: number | null }>;
  on_duty?: number;
  staffing?: { agents?: number } | null;
}

const REFRESH_MS = 5000;
const SLOW_MS = 400;
let timer: number | undefined;

function word(key: Word): string {
  return WORDS[key][lang()];
}

/** A word that a service of another version may have sent: as it stands where we have none for it. */
function wordOr(key: string): string {
  return key in WORDS ? word(key as Word) : key;
}

async function get<T>(path: string): Promise<{ status: number; body: T | null; error: string }> {
  try {
    const response = await fetch(path);
    const body = (await response.json()) as T & { error?: string };
    return { status: response.status, body: response.ok ? body : null, error: body.error ?? "" };
  } catch {
    return { status: 0, body: null, error: "unreachable" };
  }
}

function clockOf(us: number): string {
  return new Date(us / 1000).toLocaleTimeString(lang());
}

function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

function number(value: number | null, unit = ""): string {
  if (value === null) return "–";
  const shown = Math.abs(value) >= 100 || Number.isInteger(value) ? Math.round(value).toLocaleString(lang()) : value.toFixed(1);
  return unit ? `${shown} ${unit}` : shown;
}

function section(title: string, ...children: Node[]): HTMLElement {
  return h("section", { class: "board-card" }, h("h2", {}, title), ...children);
}

function table(heads: string[], rows: (string | Node)[][], classes: string[] = []): HTMLElement {
  const head = h("tr", {}, ...heads.map((name) => h("th", { scope: "col" }, name)));
  const body = rows.map((row, n) =>
    h("tr", { class: classes[n] || null }, ...row.map((cell, at) => h("td", { "data-head": heads[at] ?? "" }, cell))),
  );
  return h("div", { class: "board-scroll" }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...body)));
}

function note(text: string): HTMLElement {
  return h("p", { class: "dim" }, text);
}

function queueCard(queue: Queue | null, nowUs: number): HTMLElement {
  if (!queue) return section(word("queue"), note(word("noQueue")));
  const order = ["danger", "high", "normal"];
  const waiting = [...queue.waiting].sort(
    (a, b) => order.indexOf(a.severity) - order.indexOf(b.severity) || a.since_us - b.since_us,
  );
  const rows = waiting.map((one) => [
    wordOr(one.severity),
    span((nowUs - one.since_us) / 1e6),
    one.make ?? "",
    (one.skills ?? []).join(" "),
    one.language ?? "",
  ]);
  const list = rows.length
    ? table([word("severity"), word("waited"), word("car"), word("skills"), word("language")], rows, waiting.map((one) => `sev-${one.severity}`))
    : note(word("queueEmpty"));
  const stats = Object.entries(queue.stats ?? {}).map(([clock, one]) => [
    wordOr(clock),
    String(one.n),
    one.mean_s === null ? "–" : span(one.mean_s),
    one.p95_s === null ? "–" : span(one.p95_s),
    one.within == null ? "–" : `${Math.round(one.within * 100)} %`,
  ]);
  const hands = [
    queue.on_duty === undefined ? "" : word("onDuty").replace("{n}", String(queue.on_duty)),
    queue.staffing?.agents === undefined ? "" : word("asked").replace("{n}", String(queue.staffing.agents)),
  ].filter(Boolean);
  const told: Node[] = hands.length ? [h("p", { class: "board-hands" }, hands.join(" · "))] : [];
  if (stats.length) told.push(table([word("clock"), word("count"), word("mean"), word("p95"), word("within")], stats));
  return section(`${word("queue")} (${rows.length})`, list, ...told);
}

function isSlow(person: Person): boolean {
  return (person.rtt_ms ?? 0) > SLOW_MS;
}

function roomCard(room: Room): HTMLElement {
  const people = room.people.map((one) => [
    one.name ? `${one.name} (${wordOr(one.role)})` : wordOr(one.role),
    one.carrier === "rtc" ? "WebRTC" : "WebSocket",
    number(one.rtt_ms, "ms"),
    number(one.missing),
    number(one.fps),
    word(one.lags ? "lags" : isSlow(one) ? "slow" : "isLive"),
  ]);
  const classes = room.people.map((one) => (one.lags || isSlow(one) ? "poor" : ""));
  const heads = [word("who"), word("carrier"), word("rtt"), word("missing"), word("fps"), word("state")];
  return h(
    "li",
    { class: "board-room", "data-room": room.room },
    h(
      "div",
      { class: "board-room-head" },
      h("strong", {}, room.room ? `${word("room")} ${room.room}` : `${word("room")} ${room.number}`),
      room.room ? null : h("span", { class: "dim" }, word("hidden")),
      h("span", { class: "dim" }, `${word("since")} ${clockOf(room.opened_us)}`),
      h("span", { class: room.online ? "good" : "poor" }, word(room.online ? "carOn" : "carOff")),
      h("span", {}, `${number(room.blocks_s)} ${word("blocks")}`),
      room.lag_blocks > 0 ? h("span", { class: room.lag_blocks > 500 ? "poor" : "dim" }, `${room.lag_blocks} ${word("waitDisk")}`) : null,
    ),
    people.length ? table(heads, people, classes) : note(word("alone")),
  );
}

function roomsCard(board: Board): HTMLElement {
  if (!board.rooms.length) return section(word("rooms"), note(word("noRooms")));
  return section(`${word("rooms")} (${board.rooms.length})`, h("ul", { class: "plain board-rooms" }, ...board.rooms.map(roomCard)));
}

function hooksCard(board: Board): HTMLElement {
  const { hooks, dead } = board.webhooks;
  const rows = hooks.map((one) => [
    `${one.name} (${one.kind})`,
    number(one.sent),
    number(one.waiting),
    number(one.dead),
    one.failing_s > 0 ? `${word("failingFor")} ${span(one.failing_s)} (${one.reason})` : word("fine"),
  ]);
  const list = hooks.length
    ? table([word("name"), word("sent"), word("waiting"), word("dead"), word("state")], rows, hooks.map((one) => (one.failing_s > 0 || one.dead ? "poor" : "")))
    : note(word("noHooks"));
  if (!dead.length) return section(word("webhooks"), list);
  const lost = dead.map((one) =>
    h("li", {}, h("span", { class: "dim" }, `${new Date(one.given_up_us / 1000).toLocaleString(lang())} · ${one.hook} · ${one.reason}`), ` ${one.title[lang()]}`),
  );
  return section(word("webhooks"), list, h("h2", {}, word("deadList")), h("ul", { class: "plain board-dead" }, ...lost));
}

function serviceCard(board: Board): HTMLElement {
  const { service } = board;
  const disk = service.disk_free_gb === null ? "–" : `${number(service.disk_free_gb)} / ${number(service.disk_total_gb)} GB`;
  const figures: [string, string][] = [
    [word("memory"), number(service.memory_mb, "MB")],
    [word("loop"), number(service.loop_ms, "ms")],
    [word("disk"), disk],
    [word("sockets"), number(service.sockets)],
    [word("failures"), number(service.journal_failures)],
    [word("versions"), Object.entries(service.versions).map(([name, version]) => `${name} ${version}`).join(" · ")],
  ];
  return section(word("service"), h("dl", { class: "board-facts" }, ...figures.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

function chartsCard(board: Board): HTMLElement {
  const times = (board.history.t_us ?? []).filter((at): at is number => at !== null);
  const plain = (value: number): string => number(value);
  const curves: [Word, string, string, (value: number) => string][] = [
    ["carsWaiting", "waiting", "", plain],
    ["rooms", "rooms", "", plain],
    ["people", "people", "", plain],
    ["blocksIn", "blocks_s", "/s", plain],
    ["bytesIn", "bytes_s", "kB/s", (value) => number(value / 1000)],
    ["rtt95", "rtt_ms", "ms", plain],
    ["loop", "loop_ms", "ms", plain],
    ["memory", "memory_mb", "MB", plain],
    ["lag", "lag_blocks", "", plain],
    ["noticesWait", "notices", "", plain],
  ];
  const drawn = curves.map(([name, key, unit, show]) =>
    sparkline({ name: word(name), unit, times, values: board.history[key] ?? [], nowUs: board.now_us, show }),
  );
  return section(word("day"), h("div", { class: "board-charts" }, ...drawn));
}

function troublesCard(board: Board): HTMLElement {
  if (!board.troubles.length) return h("p", { class: "board-well good", role: "status" }, word("well"));
  return h("ul", { class: "plain board-troubles", role: "alert" }, ...board.troubles.map((one) => h("li", { "data-trouble": one }, sayServiceTrouble(one))));
}

function door(text: string): void {
  document.body.replaceChildren(
    h("main", { class: "door" }, h("div", { class: "door-card" }, h("div", { class: "door-brand" }, "会诊 Huizhen"), h("h1", {}, word("title")), h("p", {}, text), h("a", { href: "/rooms", class: "board-link" }, word("lobby")))),
  );
}

/** The board, drawn anew every five seconds. */
export async function showBoard(): Promise<void> {
  window.clearTimeout(timer);
  document.documentElement.lang = lang();
  document.title = `${word("title")} · ${say("title")}`;
  const when = h("span", { class: "dim board-when", role: "status" });
  const language = h("button", { class: "quiet", type: "button", "aria-label": say("otherLanguage"), click: () => { switchLanguage(); void showBoard(); } }, say("language"));
  const body = h("div", { class: "board-body" });
  const head = h("header", { class: "board-head" }, h("span", { class: "brand" }, say("brand")), h("h1", {}, word("title")), when, h("a", { href: "/rooms", class: "board-link" }, word("lobby")), language);
  let lastUs = 0;
  const refresh = async (): Promise<void> => {
    const [board, queue] = await Promise.all([get<Board>("/api/board"), get<Queue>("/api/queue")]);
    if (!head.isConnected && lastUs) return;
    if (board.status === 401) return signInFor(showBoard);
    if (board.status === 403) return door(word("forbidden"));
    if (board.body) {
      const now = board.body;
      if (!lastUs) document.body.replaceChildren(h("main", { class: "board" }, head, body));
      lastUs = now.now_us;
      setText(when, `${word("updated")} ${clockOf(lastUs)}`);
      when.classList.remove("poor");
      body.replaceChildren(troublesCard(now), queueCard(queue.body, now.now_us), roomsCard(now), hooksCard(now), chartsCard(now), serviceCard(now));
    } else if (lastUs) {
      setText(when, `${word("stale")} ${clockOf(lastUs)}`);
      when.classList.add("poor");
    } else {
      return door(refusal(board.error || "other"));
    }
    timer = window.setTimeout(() => void refresh(), REFRESH_MS);
  };
  await refresh();
}
