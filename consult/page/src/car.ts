/** What the scan found: findings, known fixes, ECUs. */
import { h } from "./dom";
import type { Finding, Report, Severity } from "./protocol";
import { pick, say, type Key } from "./words";

const SEVERITY: Record<Severity, Key> = {
  stop: "severityStop",
  soon: "severitySoon",
  monitor: "severityMonitor",
  low: "severityLow",
};
const ORDER: Severity[] = ["stop", "soon", "monitor", "low"];

export function card(title: string, id: string, ...children: (Node | string | false | null)[]): HTMLElement {
  return h("article", { class: "card", id }, h("h2", {}, title), ...children);
}

function chip(severity: Severity): HTMLElement {
  return h("span", { class: "chip", "data-severity": severity }, say(SEVERITY[severity] ?? "severityLow"));
}

function bySeverity<T extends { severity: Severity }>(items: readonly T[]): T[] {
  return [...items].sort((a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity));
}

export function ecuName(report: Report, address: string | null): string {
  return report.ecus?.find((ecu) => ecu.address === address)?.name || (address ?? "–");
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
    cases.why ? h("p", { class: "hint", "data-why": "" }, pick(cases.why)) : null,
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
