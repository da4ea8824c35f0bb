/** What the room hears of its region lock: who was turned away, and whether it is lifted. */
import type { Sentence } from "./protocol";
import { lang } from "./words";

const WORDS = {
  network: { en: "Somebody was turned away: not from an allowed network", zh: "已拒绝一次进入：不在允许的网络" },
  account: { en: "Somebody was turned away: account of another region", zh: "已拒绝一次进入：账号属于其他地区" },
  guest: { en: "A guest was turned away: this room is for accounts", zh: "已拒绝一位来宾：本会诊室仅限账号进入" },
  lifted: { en: "The region lock is lifted for a few hours", zh: "地区限制已临时解除" },
  asked: { en: "Lifting the region lock was asked for; the other one has to agree", zh: "已申请解除地区限制，待另一方同意" },
  locked: { en: "The region lock is on again", zh: "地区限制已恢复" },
} satisfies Record<string, Sentence>;

export function regionSentence(body: Record<string, unknown>, reason: string): string {
  const refused = body["refused"];
  const key = refused === "network" || refused === "account" || refused === "guest" ? refused : body["lifted"] === true ? "lifted" : body["wanted"] === true ? "asked" : "locked";
  return `${WORDS[key][lang()]}${reason ? `: ${reason}` : ""}`;
}
