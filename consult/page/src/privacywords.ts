/** The words of what people decide about a room's privacy. */
import type { Sentence } from "./protocol";
import { lang } from "./words";

const WORDS = {
  privacy: { en: "Privacy", zh: "隐私" },
  title: { en: "Privacy in this room", zh: "本会诊室的隐私" },
  close: { en: "Close", zh: "关闭" },
  agreed: { en: "Consents", zh: "同意事项" },
  nothing: { en: "Nothing was agreed to that could be withdrawn.", zh: "没有可撤回的同意。" },
  media: { en: "Recording of the call", zh: "通话录制" },
  position: { en: "Position of the car", zh: "车辆位置" },
  abroad: { en: "Watching from elsewhere", zh: "境外或其他地区查看" },
  sharing: { en: "Network of workshops", zh: "门店网络" },
  mayShare: { en: "The network of workshops may remember this visit.", zh: "允许门店网络保存本次到店记录。" },
  given: { en: "agreed", zh: "已同意" },
  withdrawn: { en: "withdrawn", zh: "已撤回" },
  notGiven: { en: "not agreed", zh: "未同意" },
  withdraw: { en: "Withdraw", zh: "撤回" },
  agree: { en: "Agree", zh: "同意" },
  keptBack: { en: "the laptop sends none", zh: "本机不发送" },
  isOff: { en: "off", zh: "关闭" },
  isOn: { en: "on", zh: "开启" },
  isCoarse: { en: "on, to about a kilometre", zh: "开启，精度约一公里" },
  switchOff: { en: "Switch off", zh: "关闭" },
  switchOn: { en: "Switch on", zh: "开启" },
  howLong: { en: "How long the record is kept", zh: "记录保存期限" },
  daysAfter: { en: "Days after the room's end", zh: "会诊结束后天数" },
  save: { en: "Save", zh: "保存" },
  never: { en: "Until somebody deletes it, unless days are given here.", zh: "未填写天数时，保存至有人删除为止。" },
  hold: { en: "A legal hold keeps it longer.", zh: "法律保全期间不删除。" },
  fromTo: { en: "from {low} to {high}", zh: "{low} 到 {high}" },
  queue: { en: "Expert of the service", zh: "服务的专家" },
  waits: { en: "The car waits in the queue; whoever takes it may enter.", zh: "车辆正在排队；接单的专家可进入。" },
  takeBack: { en: "Take back", zh: "收回" },
  region: { en: "From where this room may be watched", zh: "允许查看的地区" },
  ownDemand: { en: "The laptop's own setting; nobody can lift it here.", zh: "本机设置，此处不能解除。" },
  liftedUntil: { en: "lifted until", zh: "已解除，至" },
  youAsked: { en: "You asked to lift it; an administrator has to agree within the hour.", zh: "您已申请解除，管理员须在一小时内同意。" },
  adminAgreed: { en: "An administrator agrees to lift it; you have to ask too.", zh: "管理员已同意解除，还需您提出申请。" },
  reason: { en: "Reason", zh: "理由" },
  liftWhat: {
    en: "Lifting lets people with an account watch from elsewhere for four hours: data of this car leave the region.",
    zh: "解除后，有账号的人员可在四小时内从其他地区查看：本车数据将离开该地区。",
  },
  askLift: { en: "Ask to lift", zh: "申请解除" },
  lockAgain: { en: "Lock again", zh: "恢复限制" },
  whole: { en: "Privacy: everything about it", zh: "隐私说明全文" },
  adminTitle: { en: "Rooms locked to regions", zh: "受地区限制的会诊室" },
  noneLocked: { en: "No open room is locked to a region.", zh: "没有受地区限制的会诊室。" },
  room: { en: "Room", zh: "会诊室" },
  since: { en: "since", zh: "开始于" },
  technicianAsks: { en: "The technician asks to lift the lock:", zh: "技师申请解除限制：" },
  waitsTechnician: { en: "You agreed; the technician has to ask within the hour.", zh: "您已同意，技师须在一小时内申请。" },
  turnedAway: { en: "turned away:", zh: "已拒绝：" },
  lift: { en: "Lift for 4 hours", zh: "解除 4 小时" },
  forOwner: { en: "Withdraw for a car's owner", zh: "代车主撤回" },
  forOwnerWhat: {
    en: "The network of workshops then remembers nothing more of this room's visit. What workshops have read by now stays with them.",
    zh: "门店网络不再保存该会诊室的到店记录。各门店此前已获取的内容不受影响。",
  },
  roomNumber: { en: "Number of the room", zh: "会诊室编号" },
  done: { en: "Withdrawn.", zh: "已撤回。" },
} satisfies Record<string, Sentence>;

export type PrivacyWord = keyof typeof WORDS;

export function privacyWord(key: PrivacyWord): string {
  return WORDS[key][lang()];
}

export function clock(tUs: number): string {
  return new Date(tUs / 1000).toLocaleTimeString(lang() === "zh" ? "zh-CN" : "en-GB", { hour: "2-digit", minute: "2-digit" });
}
