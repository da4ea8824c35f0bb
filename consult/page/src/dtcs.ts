/** Fault codes with their eight status bits, live: what changed last stands out, what fails now comes first. */
import { digits, h, unitSign } from "./dom";
import { card, ecuName } from "./car";
import { openPopup } from "./popup";
import type { Dtc, Report, Severity } from "./protocol";
import { roomTimeUs, type RoomState } from "./state";
import { lang, pick, say, type Key } from "./words";

const ORDER: Severity[] = ["stop", "soon", "monitor", "low"];

/** Bit 0 first. Standard: ISO 14229-1:2020 Annex D.2. */
const BITS: readonly { name: string; short: string; words: Key }[] = [
  { name: "testFailed", short: "TF", words: "bitTestFailed" },
  { name: "testFailedThisOperationCycle", short: "TFTOC", words: "bitFailedThisCycle" },
  { name: "pendingDTC", short: "PDTC", words: "bitPending" },
  { name: "confirmedDTC", short: "CDTC", words: "bitConfirmed" },
  { name: "testNotCompletedSinceLastClear", short: "TNCSLC", words: "bitNotSinceClear" },
  { name: "testFailedSinceLastClear", short: "TFSLC", words: "bitFailedSinceClear" },
  { name: "testNotCompletedThisOperationCycle", short: "TNCTOC", words: "bitNotThisCycle" },
  { name: "warningIndicatorRequested", short: "WIR", words: "bitWarning" },
];

const CHANGED_FOR_US = 120e6;

function statusOf(dtc: Dtc): { text: string; strong: boolean }[] {
  const status = dtc.status;
  const out: { text: string; strong: boolean }[] = [];
  if (status?.["testFailed"]) out.push({ text: say("failingNow"), strong: true });
  if (status?.["confirmedDTC"]) out.push({ text: say(status["testFailed"] ? "confirmed" : "pastFault"), strong: false });
  else if (status?.["pendingDTC"] || dtc.kind.includes("pending")) out.push({ text: say("pending"), strong: false });
  if (dtc.kind.includes("permanent")) out.push({ text: say("permanent"), strong: false });
  if (out.length === 0) out.push({ text: say(dtc.kind.includes("stored") && !status ? "confirmed" : "history"), strong: false });
  return out;
}

function bits(dtc: Dtc): HTMLElement | null {
  const status = dtc.status;
  if (!status) return null;
  // Highest bit first, as the byte is written.
  const row = h("span", { class: "bits", role: "img", tabindex: 0, "aria-label": `${status.mask}: ${BITS.filter((bit) => status[bit.name] === true).map((bit) => say(bit.words)).join(", ") || "0"}` });
  for (const bit of [...BITS].reverse()) {
    const set = status[bit.name] === true;
    row.append(h("i", { class: set ? "bit set" : "bit", title: `${bit.short} · ${say(bit.words)}: ${set ? "1" : "0"}` }, set ? "1" : "0"));
  }
  const show = (event: Event) => {
    event.preventDefault();
    event.stopPropagation();
    openPopup(row, say("statusBits"), "dialog", legend(status));
  };
  row.addEventListener("click", show);
  row.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") show(event);
  });
  return row;
}

/** The eight bits by name; with a status, what each of them says. */
function legend(status: Dtc["status"]): HTMLElement {
  return h(
    "div",
    { class: "legend-bits" },
    h("div", { class: "popup-title" }, h("strong", {}, say("statusBits")), status ? h("code", {}, status.mask) : null),
    h(
      "ol",
      { class: "plain", start: 0 },
      ...BITS.map((bit, i) =>
        h("li", {}, h("i", { class: status?.[bit.name] === true ? "bit set" : "bit" }, status ? (status[bit.name] === true ? "1" : "0") : String(i)), h("span", { class: "dim" }, `${i} ${bit.short}`), h("span", {}, say(bit.words))),
      ),
    ),
  );
}

function details(dtc: Dtc, report: Report): HTMLElement {
  const box = h("div", { class: "dtc-details" });
  const set = BITS.filter((bit) => dtc.status?.[bit.name] === true);
  if (dtc.status) box.append(h("div", {}, h("code", {}, dtc.status.mask), " ", set.map((bit) => say(bit.words)).join(lang() === "zh" ? "、" : ", ")));
  box.append(h("div", {}, `${say("rawBytes")} `, h("code", {}, dtc.raw), dtc.ecu ? ` · ${dtc.ecu}` : ""));
  for (const frame of report.freeze_frames ?? []) {
    if (frame.ecu !== dtc.ecu || (frame.code !== dtc.display && frame.code !== dtc.code)) continue;
    const list = h("dl", { class: "readings" });
    for (const reading of frame.readings) {
      const value = typeof reading.value === "number" ? digits(reading.value, reading.unit) : (reading.value ?? "–");
      list.append(h("dt", {}, reading.name), h("dd", {}, `${value} ${unitSign(reading.unit)}`));
    }
    box.append(h("div", { class: "label" }, say("freezeFrame")), list);
  }
  return box;
}

function rank(dtc: Dtc): number {
  const now = dtc.status?.["testFailed"] === true ? 0 : dtc.status?.["confirmedDTC"] === true ? 100 : 200;
  return now + ORDER.indexOf(dtc.severity);
}

function keyOf(dtc: Dtc): string {
  return `${dtc.ecu} ${dtc.display}`;
}

export class DtcPanel {
  readonly root = h("div", { class: "dtc-panel" });
  private readonly state: RoomState;
  private readonly opened = new Set<string>();

  constructor(state: RoomState) {
    this.state = state;
  }

  draw(): void {
    const { report, changedDtcs } = this.state;
    const dtcs = [...(report.dtcs ?? [])].sort((a, b) => rank(a) - rank(b));
    if (dtcs.length === 0) {
      this.root.replaceChildren(card(say("dtcs"), "dtcs", this.gone(), h("p", { class: "hint" }, report.dtcs ? say("noDtcs") : "…")));
      return;
    }
    const now = roomTimeUs(this.state);
    const list = h("div", { class: "dtcs" });
    for (const dtc of dtcs) {
      const changed = changedDtcs.get(dtc.display);
      const fresh = changed !== undefined && now - changed < CHANGED_FOR_US;
      const box = h(
        "details",
        { class: fresh ? "dtc fresh" : "dtc", "data-code": dtc.display, "data-severity": dtc.severity, open: this.opened.has(keyOf(dtc)), toggle: () => {
          if (box.open) this.opened.add(keyOf(dtc));
          else this.opened.delete(keyOf(dtc));
        } },
        h(
          "summary",
          {},
          h("code", { class: "dtc-code" }, dtc.display),
          h("span", { class: "dtc-status" }, ...statusOf(dtc).map(({ text, strong }) => h("span", { class: strong ? "tag strong" : "tag" }, text))),
          h("span", { class: "dtc-text" }, dtc.text ? pick(dtc.text) : say("noText")),
          h("span", { class: "dtc-foot" }, h("span", { class: "dtc-ecu" }, ecuName(report, dtc.ecu)), bits(dtc)),
          changed !== undefined ? h("span", { class: "dtc-changed" }, `${fresh ? "● " : ""}${say("changedAt")} `, h("time", {}, new Date(changed / 1000).toTimeString().slice(0, 8))) : null,
        ),
        details(dtc, report),
      );
      list.append(box);
    }
    const help = h("button", { type: "button", class: "icon", "aria-label": say("statusBits"), title: say("statusBits"), click: () => openPopup(help, say("statusBits"), "dialog", legend(null)) }, "?");
    const box = card(`${say("dtcs")} ${dtcs.length}`, "dtcs", this.gone(), list);
    box.querySelector("h2")?.append(help);
    this.root.replaceChildren(box);
  }

  /** Codes that changed and are no longer there were cleared. */
  private gone(): HTMLElement | null {
    const here = new Set((this.state.report.dtcs ?? []).map((dtc) => dtc.display));
    const cleared = [...this.state.changedDtcs].filter(([display]) => !here.has(display));
    if (cleared.length === 0) return null;
    return h("p", { class: "hint cleared" }, `${say("clearedCodes")} `, ...cleared.map(([display, at]) => h("span", {}, h("code", {}, display), ` ${new Date(at / 1000).toTimeString().slice(0, 8)} `)));
  }
}
