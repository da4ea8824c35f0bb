"""A scan as a person reads it in the terminal: most dangerous first, what to do next, then the details."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from diag.facts import Severity
from huizhen.commands.casenetwork import show_notes
from huizhen.console import display_width, program_name
from huizhen.scanmoments import show_freeze_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.facts import BatteryState, Cause, Dtc, Finding, Rejected
    from diag.vehiclereport import VehicleReport
    from huizhen.console import Console

__all__ = [
    "show_battery",
    "show_cases",
    "show_causes",
    "show_figures",
    "show_finding",
    "show_rejected",
    "show_report",
    "show_safety",
    "show_simulated",
]

_SHADES: Final = "▁▂▃▄▅▆▇█"
_SHOWN_CAUSES: Final = 3
_SHOWN_REFS: Final = 6
_WORTH_A_LOOK: Final = 0.03
_ROOMY: Final = 100
"""Columns from which on a table shows what few people look for."""


def show_report(
    report: VehicleReport,
    cases: dict[str, Any] | None,
    console: Console,
    *,
    link_words: str | None,
    is_marked: bool = False,
) -> None:
    """Prints a scan and its ranked cases.

    Args:
        report: of the scan.
        cases: the library's answer.
        console: where to.
        link_words: they reach the same car again; None = nothing does.
        is_marked: that the car is a simulated one was said before.
    """
    if report.simulated and not is_marked:
        show_simulated(console)
    _show_vehicle(report, console)
    _show_findings(report, console)
    steps = _next_steps(report, cases, console, link_words)
    _show_next(steps, console)
    if cases is not None:
        show_cases(cases, console)
    _show_dtcs(report, console)
    show_battery(report.battery, console)
    _show_ecus(report, console)
    for note in report.notes:
        console.wrapped(note.in_language(console.tr.lang), indent="  ")
    if steps and console.out.isatty():  # what was said above has left the screen by now
        text, command = steps[0]
        console.line()
        console.wrapped(console.tr("scan.again_next", step=text), style="title")
        if command:
            console.line(f"  {command}")


def _title(text: str, console: Console) -> None:
    console.line()
    console.line(console.style(text, "title"))


def show_simulated(console: Console) -> None:
    """Says at once, also into a pipe, that no real car is behind what follows."""
    console.stage_done()
    console.line(console.style(console.tr("scan.simulated"), "monitor"))
    console.out.flush()


def _show_vehicle(report: VehicleReport, console: Console) -> None:
    tr, vehicle = console.tr, report.vehicle
    if not report.complete:
        console.wrapped(console.style(tr("scan.incomplete"), "soon"))
    vin = vehicle.vin or tr("scan.no_vin")
    if vehicle.vin and vehicle.vin_valid is False:
        vin += f" ({tr('scan.vin_check_failed')})"
    parts = [part for part in (vehicle.make, vehicle.model, str(vehicle.model_year or "")) if part]
    console.line(console.style(f"VIN {vin}", "title") + (f"  {' '.join(parts)}" if parts else ""))
    console.line(
        tr(
            "scan.summary",
            ecus=len(report.ecus),
            dtcs=sum(dtc.status is None or dtc.status.is_fault for dtc in report.dtcs),
            seconds=f"{report.duration_s:.1f}",
        )
    )


def _severity(severity: Severity, console: Console) -> str:
    names = {
        Severity.STOP: console.tr("scan.severity.stop"),
        Severity.SOON: console.tr("scan.severity.soon"),
        Severity.MONITOR: console.tr("scan.severity.monitor"),
        Severity.LOW: console.tr("scan.severity.low"),
    }
    return names[severity]


def _show_findings(report: VehicleReport, console: Console) -> None:
    tr = console.tr
    _title(tr("scan.findings"), console)
    if not report.findings:
        if not report.complete or not report.ecus:
            console.line("  " + console.style(tr("scan.nothing_proven"), "monitor"))
        elif report.unanswered or report.battery is None:
            console.line("  " + console.style(tr("scan.no_findings_but"), "good"))
        else:
            console.line("  " + console.style(tr("scan.no_findings"), "good"))
        return
    for finding in sorted(report.findings, key=lambda finding: finding.severity.rank):
        show_finding(finding, console)
    show_causes(report.causes, console)
    show_safety(report.findings, console)


def _speaking(cause: Cause, lang: str) -> list[str]:
    """The codes that speak for a cause; findings stand above already, and are named where nothing else speaks."""
    codes = [item.ref.rpartition(" ")[2] for item in cause.because if item.kind != "finding"]
    return list(dict.fromkeys(codes or [item.text.in_language(lang) for item in cause.because]))


def show_causes(causes: Sequence[Cause], console: Console) -> None:
    """What may be behind it all, trouble by trouble: one cause where it stands out, else those to be told apart."""
    tr = console.tr
    for trouble in dict.fromkeys(cause.trouble for cause in causes):
        rivals = [cause for cause in causes if cause.trouble == trouble]
        words = [cause.title.in_language(tr.lang) for cause in rivals]
        if len(rivals) > 1:  # odds against nobody would be 100 %, and say nothing
            odds = [f"{min(99.0, 100 * cause.odds):.0f}" for cause in rivals]
            words = [tr("scan.cause", title=word, odds=share) for word, share in zip(words, odds, strict=True)]
        if rivals[0].is_likely:
            refs = _speaking(rivals[0], tr.lang)
            because = tr.listed(refs[:_SHOWN_REFS]) + (" …" if len(refs) > _SHOWN_REFS else "")
            text = tr("scan.cause_likely", cause=words[0], because=because)
        else:
            text = tr("scan.cause_unsure", causes=tr.listed(words[:_SHOWN_CAUSES]))
        console.wrapped(text, indent="    ", first="  → ")


def show_safety(findings: Sequence[Finding], console: Console) -> None:
    """Prints the safety steps of all findings once each, in order."""
    tr = console.tr
    steps = [step.in_language(tr.lang) for finding in findings for step in finding.safety]
    if safety := list(dict.fromkeys(steps)):
        console.line()
        console.line("  " + console.style(f" {tr('scan.safety')} ", "stop"))
        for number, step in enumerate(safety, start=1):
            console.wrapped(step, indent="     ", first=f"  {number}. ")


def show_finding(finding: Finding, console: Console) -> None:
    """Prints one finding with its evidence."""
    lang = console.tr.lang
    word = f"[{_severity(finding.severity, console)}]"
    badge = console.style(word, finding.severity.value)
    indent = " " * (display_width(word) + 3)
    console.wrapped(finding.title.in_language(lang), indent=indent, first=f"  {badge} ", style="title")
    for item in finding.evidence:
        console.wrapped(item.text.in_language(lang), indent="      ", first="    · ")


def show_cases(cases: dict[str, Any], console: Console) -> None:
    """Prints ranked cases (CASES of the contract)."""
    tr = console.tr
    if cases["verdict"] == "none":
        return
    _title(tr("scan.cases"), console)
    verdicts = {
        "direct": tr("scan.verdict.direct"),
        "test": tr("scan.verdict.test"),
        "expert": tr("scan.verdict.expert"),
        "unknown": tr("scan.verdict.unknown"),
    }
    console.wrapped(verdicts[cases["verdict"]], indent="  ")
    told: set[str] = set()
    for rank, match in enumerate(cases["matches"][: None if console.verbose else 3], start=1):
        first = f"  {rank}. {_odds(match):>5}  "
        title = f"{match['title'][tr.lang]}  ({match['source_id']})"
        console.wrapped(title, indent=" " * len(first), first=first, style="title")
        if rank > 1 and match["p"] < _WORTH_A_LOOK and not console.verbose:
            continue  # a rival that is all but excluded needs no evidence
        reasons = [reason[tr.lang] for reason in match["because"][:4]]
        fresh = [reason for reason in reasons if reason not in told or console.verbose]
        for reason in [*fresh, *([tr("scan.same_evidence")] if len(fresh) < len(reasons) else [])]:
            console.wrapped(reason, indent="           ", first="         + ")
        told.update(reasons)
        for reason in match["against"][:2]:
            console.wrapped(reason[tr.lang], indent="           ", first="         − ")
        if rank == 1:
            console.wrapped(match["fix"][tr.lang], indent="           ", first="         → ")
    if test := cases.get("next_test"):
        console.wrapped(tr("scan.next_test", test=test["title"][tr.lang]), indent="  ")
    show_notes(cases, console)


def _odds(match: dict[str, Any]) -> str:
    """A probability as people may trust it: never a round 0 or 100."""
    percent = match["p"] * 100
    return "< 1 %" if percent < 1 else "> 99 %" if percent > 99 else f"{percent:.0f} %"


def _status(dtc: Dtc, console: Console) -> str:
    tr, status = console.tr, dtc.status
    if status is None:
        words = {
            "stored": tr("scan.kind.stored"),
            "pending": tr("scan.kind.pending"),
            "permanent": tr("scan.kind.permanent"),
        }
        return tr.listed(words[kind.value] for kind in dtc.kind) or tr("scan.kind.stored")
    if status.failing_now:
        return tr("scan.status.active")
    if status.confirmed:
        return tr("scan.status.stored")
    if status.pending:
        return tr("scan.status.pending")
    return tr("scan.status.history")


def _urgency(dtc: Dtc) -> tuple[int, bool]:
    """The most dangerous first, and what fails now before what once failed."""
    return dtc.severity.rank, dtc.status is not None and not dtc.status.failing_now


def _show_dtcs(report: VehicleReport, console: Console) -> None:
    tr = console.tr
    shown = [dtc for dtc in report.dtcs if dtc.status is None or dtc.status.is_fault or console.verbose]
    if not shown:
        return
    _title(tr("scan.dtcs"), console)
    rows = []
    for dtc in sorted(shown, key=_urgency):
        status = f"{dtc.status.mask:02X} " if dtc.status else ""
        text = dtc.text.in_language(tr.lang) if dtc.text else tr("scan.no_text")
        rows.append(
            [dtc.display, dtc.ecu or "", status + _status(dtc, console), _severity(dtc.severity, console), text]
        )
    console.table(
        rows,
        head=[tr("scan.head.code"), "ECU", tr("scan.head.status"), tr("scan.head.severity"), tr("scan.head.meaning")],
    )
    _show_changes(report, console)
    show_freeze_frames(report, console)


def _show_changes(report: VehicleReport, console: Console) -> None:
    """Codes that came, went or changed while the car was read: intermittent faults show like this."""
    tr = console.tr
    for change in report.dtc_changes:
        before = tr("scan.not_there") if change.before is None else f"{change.before.mask:02X}"
        after = tr("scan.not_there") if change.after is None else f"{change.after.mask:02X}"
        console.wrapped(tr("scan.changed", code=change.code, ecu=change.ecu, before=before, after=after), indent="  ")


def show_rejected(battery: BatteryState, console: Console) -> None:
    """What was not believed, one line per reason."""
    groups: dict[str, list[Rejected]] = {}
    for item in battery.rejected:
        groups.setdefault(item.why.in_language(console.tr.lang), []).append(item)
    for why, items in groups.items():
        signal = items[0].signal if len(items) == 1 else f"{items[0].signal} … {items[-1].signal} ({len(items)})"
        n = sum(item.n for item in items)
        console.wrapped(console.tr("scan.rejected", signal=signal, n=n, why=why), indent="  ", first="  ")


def show_battery(battery: BatteryState | None, console: Console) -> None:
    """Prints the battery's figures and cells; nothing where there is none."""
    tr = console.tr
    if battery is None:
        return
    _title(tr("scan.battery"), console)
    show_figures(battery, console)
    _show_bars(battery, console)
    show_rejected(battery, console)


def show_figures(battery: BatteryState, console: Console) -> None:
    """Prints charge, pack voltage, current, spread, isolation and temperature."""
    tr = console.tr

    def shown(value: float | None, digits: int, unit: str) -> str:
        return tr("scan.unseen") if value is None else f"{value:.{digits}f} {unit}"

    console.table(
        [
            [tr("scan.soc"), shown(battery.soc_percent, 1, "%"), tr("scan.pack"), shown(battery.pack_v, 1, "V")],
            [
                tr("scan.current"),
                shown(battery.current_a, 1, "A"),
                tr("scan.spread"),
                shown(battery.spread_mv, 0, "mV"),
            ],
            [
                tr("scan.insulation"),
                shown(battery.insulation_kohm, 0, "kΩ"),
                tr("scan.temperature"),
                shown(battery.features.get("temp_max_c"), 1, "°C"),
            ],
        ]
    )


def _show_bars(battery: BatteryState, console: Console) -> None:
    tr = console.tr
    seen = [volts for volts in battery.cell_v if volts is not None]
    if seen:
        low, high = min(seen), max(seen)
        console.line(f"  {tr('scan.cells', n=len(battery.cell_v), low=f'{low:.3f}', high=f'{high:.3f}')}")
        floor = min(low, high - 0.02)
        for start in range(0, len(battery.cell_v), 32):
            cells = battery.cell_v[start : start + 32]
            bars = "".join(
                "·" if v is None else _SHADES[min(7, int((v - floor) / (high - floor) * 7.999))] for v in cells
            )
            console.line(f"  {start + 1:>4}  {bars}")
    if battery.weakest_cell and battery.weakest_why and (battery.features.get("cell_low_z") or 0) >= 4:
        label, why = battery.cell_label(battery.weakest_cell), battery.weakest_why.in_language(tr.lang)
        console.wrapped(tr("scan.weakest", cell=label, why=why), indent="  ")


def _show_ecus(report: VehicleReport, console: Console) -> None:
    tr = console.tr
    from diag.findings import ROLE_NAMES

    _title(tr("scan.ecus"), console)
    has_room = console.verbose or console.width >= _ROOMY
    rows = []
    for ecu in report.ecus:
        version = ecu.identification.get("systemSupplierECUSoftwareVersionNumber") or ecu.identification.get(
            "vehicleManufacturerECUSoftwareVersionNumber", ""
        )
        protocol = [ecu.protocol] if has_room else []
        rows.append([ecu.address, ROLE_NAMES[ecu.role].in_language(tr.lang), *protocol, ecu.name, version])
    protocol = [tr("scan.head.protocol")] if has_room else []
    console.table(rows, head=["ECU", tr("scan.head.role"), *protocol, tr("scan.head.name"), tr("scan.head.software")])
    for item in report.unanswered:
        console.line("  " + console.style(f"{item.address}  {item.why.in_language(tr.lang)}", "soon"))


def _next_steps(
    report: VehicleReport, cases: dict[str, Any] | None, console: Console, link_words: str | None
) -> list[tuple[str, str]]:
    """What to do now, in order, and the command for each; an expert's room is always one command away."""
    tr, program = console.tr, program_name()
    if not report.findings and (cases is None or cases["verdict"] == "none"):
        return []
    steps: list[tuple[str, str]] = []
    if any(finding.severity is Severity.STOP for finding in report.findings):
        steps.append((tr("scan.do_stop"), ""))
    if cases is not None and cases["matches"] and cases["verdict"] in ("direct", "test"):
        if cases["verdict"] == "test" and (test := cases.get("next_test")):
            steps.append((tr("scan.do_test", test=test["title"][tr.lang]), ""))
        first = cases["matches"][0]
        steps.append((first["title"][tr.lang], f"{program} case show {first['source_id']}"))
    if link_words is not None:
        steps.append((tr("scan.call_expert"), f"{program} consult open {link_words}".rstrip()))
    return steps


def _show_next(steps: list[tuple[str, str]], console: Console) -> None:
    if not steps:
        return
    _title(console.tr("scan.next"), console)
    for number, (text, command) in enumerate(steps, start=1):
        console.wrapped(text, indent="     ", first=f"  {number}. ")
        if command:
            console.line(f"     {command}")  # whole, to be copied
