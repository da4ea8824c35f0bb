/** What the scan found: codes, findings, known fixes, ECUs. */
import { digits, h, unitSign } from "./dom";
import type { Dtc, Finding, Report, Severity } from "./protocol";
import { pick, say, type Key } from "./words";

const SEVERITY: Record<Severity, Key> = {
  stop: "severityStop",
  soon: "severitySoon",
  monitor: "severityMonitor",
  low: "severityLow",
};
const ORDER: Severity[] = ["stop", "soon", "monitor", "low"];

function card(title: string, id: string, ...children: (Node | string | false | null)[]): HTMLElement {
  return h("article", { class: "card", id }, h("h2", {}, title), ...children);
}

function chip(severity: Severity): HTMLElement {
  return h("span", { class: "chip", "data-severity": severity }, say(SEVERITY[severity] ?? "severityLow"));
}

function bySeverity<T extends { severity: Severity }>(items: readonly T[]): T[] {
  return [...items].sort((a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity));
}

function ecuName(report: Report, address: string | null): string {
  return report.ecus?.find((ecu) => ecu.address === address)?.name || (address ?? "–");
}

function statusOf(dtc: Dtc): { text: string; strong: boolean }[] {
  const status = dtc.status;
  const out: { text: string; strong: boolean }[] = [];
  if (status?.["testFailed"]) out.push({ text: say("failingNow"), strong: true });
  if (status?.["confirmedDTC"]) out.push({ text: say("confirmed"), strong: false });
  else if (status?.["pendingDTC"] || dtc.kind.includes("pending")) out.push({ text: say("pending"), strong: false });
  if (dtc.kind.includes("permanent")) out.push({ text: say("permanent"), strong: false });
  if (out.length === 0) out.push({ text: say(dtc.kind.includes("stored") && !status ? "confirmed" : "history"), strong: false });
  return out;
}

function dtcDetails(dtc: Dtc, report: Report): HTMLElement {
  const set = Object.entries(dtc.status ?? {})
    .filter(([, value]) => value === true)
    .map(([name]) => name);
  const box = h("div", { class: "dtc-details" });
  if (dtc.status) box.append(h("div", {}, h("code", {}, dtc.status.mask), " ", set.join(", ")));
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

export function dtcCard(report: Report): HTMLElement {
  const dtcs = bySeverity(report.dtcs ?? []);
  if (dtcs.length === 0) return card(say("dtcs"), "dtcs", h("p", { class: "hint" }, report.dtcs ? say("noDtcs") : "…"));
  const list = h("div", { class: "dtcs" });
  for (const dtc of dtcs) {
    list.append(
      h(
        "details",
        { class: "dtc", "data-code": dtc.display, "data-severity": dtc.severity },
        h(
          "summary",
          {},
          h("code", { class: "dtc-code" }, dtc.display),
          h(
            "span",
            { class: "dtc-status" },
            ...statusOf(dtc).map(({ text, strong }) => h("span", { class: strong ? "tag strong" : "tag" }, text)),
          ),
          h("span", { class: "dtc-text" }, dtc.text ? pick(dtc.text) : say("noText")),
          h("span", { class: "dtc-ecu" }, ecuName(report, dtc.ecu)),
        ),
        dtcDetails(dtc, report),
      ),
    );
  }
  return card(`${say("dtcs")} ${dtcs.length}`, "dtcs", list);
}

function finding(item: Finding): HTMLElement {
  const box = h("li", { class: "finding", "data-code": item.code, "data-severity": item.severity });
  box.append(h("div", { class: "finding-title" }, chip(item.severity), h("span", {}, pick(item.title))));
  if (item.evidence.length > 0) {
    box.append(h("ul", { class: "evidence" }, ...item.evidence.map((evidence) => h("li", {}, pick(evidence.text)))));
  }
  if (item.safety.length > 0) {
    box.append(
      h(
        "details",
        { class: "safety", ...(item.severity === "stop" ? { open: "" } : {}) },
        h("summary", {}, say("safety")),
        h("ol", {}, ...item.safety.map((step) => h("li", {}, pick(step)))),
      ),
    );
  }
  return box;
}

export function findingsCard(report: Report): HTMLElement {
  const findings = bySeverity(report.findings ?? []);
  return findings.length > 0
    ? card(say("findings"), "findings", h("ul", { class: "plain" }, ...findings.map(finding)))
    : card(say("findings"), "findings", h("p", { class: "hint" }, report.findings ? say("noFindings") : "…"));
}

const VERDICTS: Record<string, Key> = {
  direct: "verdictDirect",
  test: "verdictTest",
  expert: "verdictExpert",
  unknown: "verdictUnknown",
  none: "verdictNone",
};

export function casesCard(report: Report): HTMLElement | string {
  const cases = report.cases;
  if (!cases) return "";
  const verdict = VERDICTS[cases.verdict];
  const list = h("ol", { class: "cases" });
  // What is less likely than one in two hundred only distracts; the best one is always shown.
  const shown = cases.matches.filter((match, rank) => rank === 0 || match.p >= 0.005).slice(0, 5);
  shown.forEach((match, rank) => {
    const percent = Math.round(match.p * 100);
    const bar = h("span", { class: "bar" });
    bar.style.setProperty("--p", `${percent}%`);
    const reasons = (label: string, texts: CaseMatch["because"]) =>
      texts && texts.length > 0
        ? h("div", { class: "reasons" }, h("span", { class: "label" }, label), h("ul", {}, ...texts.map((text) => h("li", {}, pick(text)))))
        : null;
    list.append(
      h(
        "li",
        { "data-case": match.case_id },
        h(
          "details",
          { open: rank === 0 },
          h("summary", {}, h("span", { class: "case-title" }, pick(match.title)), h("span", { class: "percent" }, `${percent} %`), bar),
          reasons(say("because"), match.because),
          reasons(say("against"), match.against),
          match.fix ? h("p", {}, h("span", { class: "label" }, say("fix")), ` ${pick(match.fix)}`) : null,
        ),
      ),
    );
  });
  const next = cases.next_test;
  const nextText = next ? [pick(next.title), pick(next.how)].filter(Boolean).join(" — ") : "";
  return card(
    say("cases"),
    "cases",
    verdict ? h("p", { class: "verdict", "data-verdict": cases.verdict }, h("span", { class: "tag" }, say(verdict))) : null,
    shown.length > 0 ? list : h("p", { class: "hint" }, say("noCases")),
    nextText ? h("p", {}, h("span", { class: "label" }, say("nextTest")), ` ${nextText}`) : null,
  );
}

type CaseMatch = NonNullable<Report["cases"]>["matches"][number];

/** The version a terminal's report shows: the supplier's number, else the maker's, else none. */
function softwareVersion(identification: Record<string, string>): string {
  return (
    identification.systemSupplierECUSoftwareVersionNumber ?? identification.vehicleManufacturerECUSoftwareVersionNumber ?? ""
  );
}

export function ecuCard(report: Report): HTMLElement | string {
  if (!report.ecus) return "";
  const list = h("ul", { class: "plain ecus" });
  for (const ecu of report.ecus) {
    const version = softwareVersion(ecu.identification);
    list.append(h("li", {}, h("code", {}, ecu.address), h("span", {}, ecu.name || ecu.role), h("span", { class: "dim" }, version)));
  }
  for (const silent of report.unanswered ?? []) {
    list.append(h("li", { class: "silent" }, h("code", {}, silent.address), h("span", {}, say("silent")), h("span", { class: "dim" }, pick(silent.why))));
  }
  return card(say("ecus"), "ecus", list);
}
