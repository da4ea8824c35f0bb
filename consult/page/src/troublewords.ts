/** What can be wrong with a service, in words: the codes are those of consult/troubles.py, `/health` says the same. */
import type { Sentence } from "./protocol";
import { lang } from "./words";

export const TROUBLES: Readonly<Record<string, Sentence>> = {
  "data-not-writable": {
    en: "Nothing can be written to the data folder: rooms end because they cannot be recorded. Make space, look at the disk.",
    zh: "数据目录无法写入：会诊室因无法记录而结束。请清理空间并检查磁盘。",
  },
  "state-not-readable": { en: "The service's database cannot be read.", zh: "服务数据库无法读取。" },
  "keeper-late": {
    en: "Rooms have not been written to disk for ten seconds: the disk hangs.",
    zh: "会诊室已十秒未写盘：磁盘无响应。",
  },
  "media-engine-down": {
    en: "The media engine does not run: calls of more than three experts and recordings wait for it. It is started again by itself.",
    zh: "媒体服务未运行：超过三名专家的通话和录制需等待其恢复。系统会自动重启它。",
  },
  "deletion-unfinished": {
    en: "A room could not be deleted. It stays shut and is tried again each minute; the log names the reason.",
    zh: "有会诊室未能删除。其保持关闭，每分钟重试；原因见日志。",
  },
  "deleted-room-back": {
    en: "A deleted room is here again, from a backup. It stays shut; delete it anew.",
    zh: "已删除的会诊室因恢复备份再次出现。其保持关闭，请重新删除。",
  },
  "car-index-not-written": {
    en: "Which car was in which room could not be noted: a request of its owner would not find it. It is tried again.",
    zh: "车辆与会诊室的对应关系未能写入：车主查询时将无法找到。系统会重试。",
  },
  "clock-leapt": {
    en: "The clock has leapt: no record is deleted for its age until it is right again, or somebody says that it is.",
    zh: "系统时钟发生跳变：在时钟恢复或经人确认之前，不会按期限删除记录。",
  },
  "retention-failed": {
    en: "A record whose days are over could not be deleted; the log names the reason.",
    zh: "有到期记录未能删除；原因见日志。",
  },
  "notices-waiting": { en: "A webhook or mail server has taken nothing for ten minutes.", zh: "有 webhook 或邮件服务器已十分钟未接收通知。" },
  "notices-lost": { en: "Notices were given up in the last hour; they are listed below.", zh: "过去一小时内有通知已放弃发送，见下方列表。" },
};

/** A service of another version may know more of them: then its code, which its own documentation explains. */
export function sayServiceTrouble(code: string): string {
  return TROUBLES[code]?.[lang()] ?? code;
}
