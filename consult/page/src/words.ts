/** Every sentence of the page in both languages. A sentence that lacks one does not compile. */
import type { Sentence } from "./protocol";

const WORDS = {
  title: { en: "Huizhen · consultation", zh: "会诊 · 远程诊断" },
  brand: { en: "Huizhen", zh: "会诊" },
  joinTitle: { en: "You are invited to look at a car", zh: "邀请您参加车辆会诊" },
  joinText: {
    en: "You will see the car's fault codes, findings and live signals, and can talk with the technician. The invite works once.",
    zh: "您将看到车辆的故障码、诊断结论和实时信号，并可与技师交流。邀请只能使用一次。",
  },
  yourName: { en: "Your name", zh: "您的称呼" },
  namePlaceholder: { en: "e.g. Dr Wang, battery", zh: "例如：王工，电池" },
  join: { en: "Join the room", zh: "加入会诊" },
  joining: { en: "Joining…", zh: "正在加入…" },
  noInvite: {
    en: "This address needs an invite. Open the link that the technician sent you.",
    zh: "此地址需要邀请。请打开技师发给您的链接。",
  },
  ended: { en: "The consultation is over", zh: "会诊已结束" },
  simulated: { en: "SIMULATED", zh: "模拟车辆" },
  faults: { en: "Faults", zh: "故障" },
  live: { en: "Live", zh: "实时" },
  talk: { en: "Talk", zh: "交流" },
  dtcs: { en: "Fault codes", zh: "故障码" },
  noDtcs: { en: "No fault codes stored.", zh: "没有存储的故障码。" },
  findings: { en: "Findings", zh: "诊断结论" },
  noFindings: { en: "Nothing conspicuous was found.", zh: "未发现异常。" },
  cases: { en: "Known fixes", zh: "已知解决办法" },
  noCases: { en: "No known fix matches.", zh: "没有匹配的已知办法。" },
  verdictDirect: { en: "direct match", zh: "直接匹配" },
  verdictTest: { en: "test first", zh: "先做检测" },
  verdictExpert: { en: "an expert should decide", zh: "需专家判断" },
  verdictUnknown: { en: "nothing known fits", zh: "无已知案例符合" },
  verdictNone: { en: "nothing is wrong", zh: "没有故障" },
  because: { en: "For", zh: "支持" },
  against: { en: "Against", zh: "反对" },
  fix: { en: "Fix", zh: "办法" },
  nextTest: { en: "Next test", zh: "下一步检测" },
  ecus: { en: "ECUs", zh: "控制器" },
  silent: { en: "silent", zh: "无应答" },
  code: { en: "Code", zh: "故障码" },
  ecu: { en: "ECU", zh: "控制器" },
  status: { en: "Status", zh: "状态" },
  failingNow: { en: "present", zh: "当前" },
  confirmed: { en: "confirmed", zh: "已确认" },
  pending: { en: "pending", zh: "待定" },
  permanent: { en: "permanent", zh: "永久" },
  history: { en: "history", zh: "历史" },
  rawBytes: { en: "raw", zh: "原始字节" },
  freezeFrame: { en: "Freeze frame", zh: "冻结帧" },
  noText: { en: "no text known for this code", zh: "此故障码没有说明" },
  severityStop: { en: "stop", zh: "立即停用" },
  severitySoon: { en: "soon", zh: "尽快维修" },
  severityMonitor: { en: "monitor", zh: "观察" },
  severityLow: { en: "low", zh: "轻微" },
  safety: { en: "High-voltage safety", zh: "高压安全" },
  battery: { en: "Battery", zh: "动力电池" },
  packVoltage: { en: "pack", zh: "总电压" },
  packCurrent: { en: "current", zh: "电流" },
  soc: { en: "SoC", zh: "荷电状态" },
  spread: { en: "spread", zh: "压差" },
  insulation: { en: "insulation", zh: "绝缘电阻" },
  lowest: { en: "lowest", zh: "最低" },
  highest: { en: "highest", zh: "最高" },
  cellsNow: { en: "cell voltages, live", zh: "单体电压（实时）" },
  cellsScan: { en: "cell voltages at the scan", zh: "单体电压（扫描时）" },
  cellHint: { en: "A cell's colour is its distance from the median, full from 50 mV. Select one to draw it.", zh: "颜色表示与中位数的偏差，50 mV 起为最深。点选单体可绘制曲线。" },
  signals: { en: "Signals", zh: "信号" },
  searchSignals: { en: "Search all signals  ( / )", zh: "搜索全部信号 （ / ）" },
  noSignals: { en: "Waiting for the car's signals…", zh: "正在等待车辆信号…" },
  noneChosen: { en: "Choose signals above to draw them.", zh: "请在上方选择要绘制的信号。" },
  nothingFound: { en: "No signal of that name.", zh: "没有此名称的信号。" },
  remove: { en: "remove", zh: "移除" },
  window: { en: "Window", zh: "时间窗" },
  pause: { en: "Pause", zh: "暂停" },
  resume: { en: "Resume", zh: "继续" },
  saveCsv: { en: "Save CSV", zh: "导出 CSV" },
  say: { en: "Write to the room", zh: "输入消息" },
  send: { en: "Send", zh: "发送" },
  youWatch: { en: "Observers do not write.", zh: "旁观者不能发言。" },
  here: { en: "Here", zh: "在场" },
  you: { en: "you", zh: "您" },
  roleTechnician: { en: "technician", zh: "技师" },
  roleLead: { en: "lead expert", zh: "首席专家" },
  roleExpert: { en: "expert", zh: "专家" },
  roleObserver: { en: "observer", zh: "旁观者" },
  joined: { en: "joined", zh: "加入了会诊" },
  left: { en: "left", zh: "离开了" },
  carOnline: { en: "the car is connected", zh: "车辆已连接" },
  carOffline: { en: "the car's connection was lost", zh: "车辆连接中断" },
  connecting: { en: "connecting…", zh: "正在连接…" },
  reconnecting: { en: "reconnecting…", zh: "正在重连…" },
  carAway: { en: "car offline", zh: "车辆离线" },
  overRtc: { en: "data channel", zh: "数据通道" },
  overWss: { en: "websocket", zh: "WebSocket" },
  byRtc: { en: "blocks by data channel", zh: "数据通道送达的数据块" },
  byWss: { en: "blocks by websocket", zh: "WebSocket 送达的数据块" },
  filled: { en: "blocks filled in later", zh: "事后补齐的数据块" },
  repeated: { en: "received twice", zh: "重复收到" },
  missing: { en: "missing now", zh: "当前缺失" },
  gone: { en: "lost for good", zh: "已丢失" },
  broken: { en: "broken", zh: "损坏" },
  attempts: { en: "data channel attempts", zh: "数据通道尝试次数" },
  delay: { en: "delay", zh: "延迟" },
  carrier: { en: "live blocks come by", zh: "实时数据经由" },
  language: { en: "中文", zh: "English" },
  otherLanguage: { en: "切换到中文", zh: "Switch to English" },
  incomplete: { en: "The scan was interrupted.", zh: "扫描被中断。" },
  unnamedCar: { en: "unidentified car", zh: "未识别车辆" },
} satisfies Record<string, Sentence>;

export type Key = keyof typeof WORDS;

/** What the service may answer, said to a visitor. */
const REFUSALS = {
  "consult.invite-unknown": { en: "This invite is not valid. Copy the whole link, or ask the technician for a new one.", zh: "邀请无效。请完整复制链接，或向技师索取新的邀请。" },
  "consult.invite-used": { en: "This invite was used before. Each works once; ask the technician for a new one.", zh: "此邀请已被使用。每个邀请只能用一次，请向技师索取新的邀请。" },
  "consult.invite-expired": { en: "This invite has expired. Ask the technician for a new one.", zh: "此邀请已过期。请向技师索取新的邀请。" },
  "consult.session-refused": { en: "Your session has ended. Ask the technician for a new invite.", zh: "您的会话已结束。请向技师索取新的邀请。" },
  "consult.role-refused": { en: "Your role does not allow this.", zh: "您的角色不允许此操作。" },
  "consult.origin-refused": { en: "Refused: open the room by its own address.", zh: "已拒绝：请用会诊室自己的地址打开。" },
  "consult.too-much": { en: "Too much at once. Wait a little and try again.", zh: "操作过于频繁，请稍候再试。" },
  "consult.room-closed": { en: "The technician has closed the room.", zh: "技师已关闭会诊室。" },
  "consult.journal-broken": { en: "The service cannot record any more, so the room was closed. Ask the technician to check the disk.", zh: "服务端无法继续记录，会诊室已关闭。请技师检查磁盘。" },
  "consult.service": { en: "The service failed and closed the room. Ask the technician to open a new one.", zh: "服务端发生故障，会诊室已关闭。请技师重新开设。" },
  unreachable: { en: "The service does not answer. Check the network and try again.", zh: "服务无应答。请检查网络后重试。" },
  other: { en: "The service refused this.", zh: "服务拒绝了此请求。" },
} satisfies Record<string, Sentence>;

export type Lang = "en" | "zh";

function firstLanguage(): Lang {
  let stored: string | null = null;
  try {
    stored = localStorage.getItem("huizhen.lang");
  } catch {
    // Storage may be forbidden; the browser's language then decides.
  }
  return (stored ?? navigator.language).toLowerCase().startsWith("zh") ? "zh" : "en";
}

let current: Lang = firstLanguage();

export function lang(): Lang {
  return current;
}

export function switchLanguage(): void {
  current = current === "zh" ? "en" : "zh";
  try {
    localStorage.setItem("huizhen.lang", current);
  } catch {
    // As above: the choice then lasts as long as the page.
  }
}

export function say(key: Key): string {
  return WORDS[key][current];
}

/** A bilingual text of the data; plain text stays as it is. */
export function pick(text: Sentence | string | null | undefined): string {
  if (text === null || text === undefined) return "";
  return typeof text === "string" ? text : (text[current] ?? text.en);
}

export function refusal(code: string): string {
  const known = code in REFUSALS ? REFUSALS[code as keyof typeof REFUSALS] : REFUSALS.other;
  return known[current];
}
