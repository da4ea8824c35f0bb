/** The words of the lobby and of the queue. */
import type { Sentence } from "./protocol";
import { lang, refusal } from "./words";

const WORDS = {
  signIn: { en: "Sign in", zh: "登录" },
  account: { en: "Account", zh: "账号" },
  password: { en: "Password", zh: "密码" },
  review: { en: "Review", zh: "审核" },
  board: { en: "Board", zh: "看板" },
  signOut: { en: "Sign out", zh: "退出登录" },
  wrong: { en: "Account or password is wrong.", zh: "账号或密码错误。" },
  later: { en: "Too many attempts; wait a minute.", zh: "尝试次数过多；请稍候一分钟。" },
  guest: {
    en: "Guests need no account: open the link that the technician sent you.",
    zh: "来宾不需要账号：请打开技师发来的链接。",
  },
  onDuty: { en: "on duty", zh: "在岗" },
  offDuty: { en: "You are off duty: no car is offered to you.", zh: "您不在岗：不会派单给您。" },
  rooms: { en: "Open rooms", zh: "进行中的会诊室" },
  noRooms: {
    en: "No open room lets experts in at the moment.",
    zh: "目前没有允许专家进入的会诊室。",
  },
  enter: { en: "Enter", zh: "进入" },
  unnamed: { en: "Car without a name", zh: "未知车型" },
  people: { en: "people", zh: "人" },
  away: { en: "car not connected", zh: "车辆未连接" },
  since: { en: "since", zh: "开始于" },
  offers: { en: "For you", zh: "派给您的" },
  noOffers: { en: "Nothing is offered to you at the moment.", zh: "目前没有派给您的车辆。" },
  accept: { en: "Accept", zh: "接单" },
  pass: { en: "Pass", zh: "不接" },
  mine: { en: "Your open cases", zh: "您进行中的会诊" },
  handBack: { en: "Hand back", zh: "退回" },
  handBackSure: { en: "Really hand back?", zh: "确定退回？" },
  queue: { en: "The queue", zh: "排队" },
  noQueue: { en: "No car waits.", zh: "没有车辆等待。" },
  danger: { en: "Danger", zh: "危险" },
  high: { en: "High", zh: "紧急" },
  normal: { en: "Normal", zh: "一般" },
  isolation: { en: "isolation", zh: "绝缘" },
  thermal: { en: "heat", zh: "过热" },
  drive: { en: "loss of drive", zh: "失去动力" },
  waits: { en: "waits", zh: "已等待" },
  waiting: { en: "waits for its turn", zh: "等待派单" },
  offered: { en: "offered", zh: "派单中" },
  open: { en: "open to everybody", zh: "全员可接" },
  accepted: { en: "taken", zh: "处理中" },
  passesOn: { en: "goes to the next in ", zh: "" },
  passesOnAfter: { en: "", zh: " 后转给下一位" },
  untilTaken: { en: "open until somebody takes it", zh: "等待任意专家接单" },
  why: { en: "Why you: ", zh: "派给您的原因：" },
  whyLoad: { en: "you hold", zh: "您手上" },
  speaks: { en: "speaks ", zh: "语言：" },
  clockAccept: { en: "until accepted", zh: "排队到接单" },
  clockFinding: { en: "first finding", zh: "首个结论" },
  clockResolve: { en: "until resolved", zh: "接单到解决" },
  overdue: { en: "overdue", zh: "超时" },
  mean: { en: "mean", zh: "平均" },
  target: { en: "target", zh: "目标" },
  staffing: { en: "experts asked for now", zh: "当前所需专家" },
  staffed: { en: "on duty", zh: "在岗" },
  noFigures: { en: "no figures yet", zh: "暂无数据" },
  others: { en: "Open rooms", zh: "进行中的会诊室" },
  askExpert: { en: "Ask an expert", zh: "呼叫专家" },
  askHint: {
    en: "The library has no safe answer, or you want a second opinion: the expert who takes the car sees this room, leads may look.",
    zh: "案例库没有把握，或您需要第二意见：接单的专家会看到此会诊室，首席专家也可查看。",
  },
  inLine: { en: "in line", zh: "排队" },
  about: { en: "about", zh: "约" },
  minutes: { en: "min", zh: "分钟" },
  nobody: { en: "no expert is on duty at the moment", zh: "目前没有专家在岗" },
  beingAsked: { en: "an expert is being asked", zh: "正在询问专家" },
  everybodyAsked: { en: "everybody on duty is being asked", zh: "正在询问全部在岗专家" },
  hasTaken: { en: "has taken the car", zh: "已接单" },
  anExpert: { en: "an expert", zh: "专家" },
  stepQueued: { en: "The car waits for an expert", zh: "车辆进入专家排队" },
  stepBack: { en: "The expert handed the case back; it waits again", zh: "专家已退回，重新排队" },
  stepEscalated: { en: "The queue went on to the next experts", zh: "排队已升级到下一批专家" },
  stepFinding: { en: "The expert's first finding", zh: "专家的首个结论" },
} satisfies Record<string, Sentence>;

const SKILLS: Record<string, Sentence> = {
  battery: { en: "battery", zh: "动力电池" },
  isolation: { en: "isolation", zh: "绝缘" },
  charging: { en: "charging", zh: "充电" },
  drive: { en: "drive", zh: "电驱" },
  thermal: { en: "thermal", zh: "热管理" },
  "12v": { en: "12 V", zh: "低压" },
  network: { en: "network", zh: "网络" },
  adas: { en: "driver assistance", zh: "辅助驾驶" },
  body: { en: "body", zh: "车身" },
  chassis: { en: "chassis", zh: "底盘" },
  engine: { en: "engine", zh: "发动机" },
  software: { en: "software", zh: "软件" },
};

export type Word = keyof typeof WORDS;

export function word(key: Word): string {
  return WORDS[key][lang()];
}

export function skillName(skill: string): string {
  return SKILLS[skill]?.[lang()] ?? skill;
}

export function languageName(code: string): string {
  try {
    return new Intl.DisplayNames([lang()], { type: "language" }).of(code) ?? code;
  } catch {
    return code; // a word that is no language's tag
  }
}

/** A length of time for a glance: `42 s`, `3:20`, `1 h 05`. */
export function lengthOf(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}`;
}

export interface Answer<T> {
  status: number;
  body: (T & { error?: string }) | null;
}

/** One request to the service; status 0 where it does not answer. */
export async function ask<T>(path: string, body?: object): Promise<Answer<T>> {
  try {
    const response = await fetch(
      path,
      body === undefined
        ? {}
        : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) },
    );
    return { status: response.status, body: (await response.json()) as T & { error?: string } };
  } catch {
    return { status: 0, body: null };
  }
}

/** What a refusal says; two of them mean something else here than in a room. */
export function problemOf(answer: Answer<unknown>): string {
  if (answer.status === 429) return word("later");
  if (answer.body?.error === "consult.login-refused") return word("wrong");
  return refusal(answer.status === 0 ? "unreachable" : (answer.body?.error ?? "other"));
}
