"""The page for those who repair the car: everything that was found, with what it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from huizhen.reports.batterypart import battery_figures, cell_figure, curve_figure, health_part, unknown_part
from huizhen.reports.casepart import cases_part, causes_part
from huizhen.reports.icons import lightning, verdict_icon
from huizhen.reports.markup import Element, h
from huizhen.reports.plots import strip_chart
from huizhen.reports.proofpart import proof_part
from huizhen.reports.rows import badge, code, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.facts import Json
    from huizhen.reports.wording import Wording

__all__ = ["workshop_parts"]

_COLUMNS: Final = 4


def workshop_parts(report: Json, say: Wording) -> Iterator[Element]:
    """The sections of the page, in the order of the report's kind."""
    content, kind = report["content"], report["kind"]
    yield from _verdict(content, kind, say)
    if kind == "post":
        yield from proof_part(content, say)
    if kind == "battery":
        yield from _certificate(content, say)
        return
    is_calm = kind == "post" and not content["findings"]
    if not is_calm:
        yield from _safety(content, say)
    yield from _complaint(content, say)
    yield from _findings(content, kind, say)
    if kind == "interim":
        yield from _open_questions(content, say)
    yield from causes_part(content, say)
    yield from cases_part(content, say)
    yield from _moments(content, say)
    yield from _dtcs(content, say)
    yield from _freeze_frames(content, say)
    yield from _battery(content, say)
    if kind != "interim":
        yield from _open_questions(content, say)
    yield from _people(content, say)
    if is_calm:
        yield from _safety(content, say)
    yield from _ecus(content, say)


def _verdict(content: Json, kind: str, say: Wording) -> Iterator[Element]:
    tr = say.tr
    words = {
        "stop": tr("report.verdict.stop"),
        "soon": tr("report.verdict.soon"),
        "monitor": tr("report.verdict.monitor"),
        "low": tr("report.verdict.low"),
        "none": tr("report.verdict.none"),
        "unproven": tr("report.verdict.unproven"),
    }
    text = words[content["drive"]]
    if content["proof"] and content["complete"] and content["drive"] == "unproven":
        text = tr("report.verdict.repair_unproven")
    lines = []
    if not content["complete"]:
        lines.append(tr("scan.incomplete"))
    if kind != "battery":
        counts = {"codes": len(content["dtcs"]), "ecus": len(content["ecus"]), "silent": len(content["unanswered"])}
        lines.append(tr("report.counts", findings=len(content["findings"]), **counts))
    if content["findings"]:
        lines.insert(0, say.told(content["findings"][0]["title"]))
    yield h(
        "div",
        {"class": f"verdict {content['drive']}"},
        verdict_icon(content["drive"]),
        h("div", None, h("p", {"class": "say"}, text), (h("p", None, line) for line in lines)),
    )


def _safety(content: Json, say: Wording) -> Iterator[Element]:
    """What a person must do before touching anything orange."""
    if not content["high_voltage"]:
        return
    tr = say.tr
    yield h(
        "section",
        {"class": "hv"},
        h("div", {"class": "head"}, lightning(), h("span", None, tr("report.hv_title"))),
        h(
            "div",
            {"class": "body"},
            h("ol", None, (h("li", None, say.told(step)) for step in content["safety"])),
            h("p", {"class": "note"}, tr("report.hv_note")),
        ),
    )


def _complaint(content: Json, say: Wording) -> Iterator[Element]:
    if content["complaint"]:
        yield h("h2", None, say.tr("report.complaint"))
        yield h("p", None, content["complaint"])


def _findings(content: Json, kind: str, say: Wording) -> Iterator[Element]:
    tr = say.tr
    yield h("h2", None, tr("scan.findings"))
    if not content["findings"]:
        text = tr("report.no_findings") if content["drive"] == "none" else tr("scan.no_findings_but")
        yield h("p", None, tr("battery.no_findings") if kind == "battery" else text)
    for finding in content["findings"]:
        yield h(
            "div",
            {"class": f"finding {finding['severity']}"},
            h(
                "p",
                None,
                badge(finding["severity"], say.severity(finding["severity"])),
                h("strong", None, say.told(finding["title"])),
            ),
            h("ul", None, (h("li", None, say.told(item["text"])) for item in finding["evidence"]))
            if finding["evidence"]
            else None,
        )


def _moments(content: Json, say: Wording) -> Iterator[Element]:
    tr = say.tr
    for moment in content["moments"]:
        titles = {
            "event": tr("report.moment_event"),
            "change": tr("report.moment_change"),
            "reading": tr("report.moment_reading"),
        }
        yield h("h2", None, titles[moment["kind"]])
        seconds = {"before": f"{-moment['from_s']:.0f}", "after": f"{moment['to_s']:.0f}"}
        if moment["kind"] == "reading":
            yield h("p", None, tr("report.moment_length", time=say.moment(moment["time"]), seconds=seconds["after"]))
        else:
            yield h("p", None, tr("report.moment_around", time=say.moment(moment["time"]), **seconds))
            if not moment["whole"]:
                yield h("p", {"class": "note"}, tr("report.moment_cut"))
        marks = [f"{mark['s']:+.1f} s: ".replace("-", "−") + say.told(mark["text"]) for mark in moment["marks"]]
        if marks:
            yield h("ul", None, (h("li", None, mark) for mark in marks))
        if not moment["strips"]:
            yield h("p", None, tr("report.moment_unread"))
        for strip in moment["strips"]:
            name = say.told(strip["name"]) if strip["name"] else strip["signal"]
            yield h(
                "div",
                {"class": "strip-figure"},
                h(
                    "p",
                    {"class": "strip-head"},
                    h("span", None, f"{name} ", h("small", None, strip["unit"])),
                    h("span", {"class": "code"}, strip["signal"] if strip["name"] else ""),
                ),
                strip_chart(strip, moment),
            )


def _dtcs(content: Json, say: Wording) -> Iterator[Element]:
    tr = say.tr
    yield h("h2", None, tr("scan.dtcs"))
    if not content["dtcs"]:
        yield h("p", None, tr("report.no_dtcs"))
        return
    yield table(
        (tr("scan.head.code"), "ECU", tr("scan.head.status"), tr("scan.head.severity"), tr("scan.head.meaning")),
        (
            (
                code(dtc["display"]),
                code(dtc["ecu"] or "–"),
                f"{(dtc['mask'] or '').removeprefix('0x')} {say.dtc_state(dtc['mask'], dtc['kind'])}".strip(),
                badge(dtc["severity"], say.severity(dtc["severity"])),
                say.told(dtc["text"]) if dtc["text"] else tr("scan.no_text"),
            )
            for dtc in content["dtcs"]
        ),
        stacks=True,
    )
    for change in content["dtc_changes"]:
        before, after = ((change[name] or tr("scan.not_there")).removeprefix("0x") for name in ("before", "after"))
        yield h("p", None, tr("scan.changed", code=change["code"], ecu=change["ecu"], before=before, after=after))


def _freeze_frames(content: Json, say: Wording) -> Iterator[Element]:
    """What ECUs kept of the moments when codes were set: one table per ECU, a column per moment."""
    if not content["freeze_frames"]:
        return
    tr = say.tr
    yield h("h2", None, tr("report.freeze_frames"))
    ecus: dict[str, list[Json]] = {}
    for frame in content["freeze_frames"]:
        ecus.setdefault(frame["ecu"], []).append(frame)
    for ecu, frames in ecus.items():
        for start in range(0, len(frames), _COLUMNS):
            part = frames[start : start + _COLUMNS]
            names = dict.fromkeys(say.told(item["name"]) for frame in part for item in frame["readings"])
            values = [
                {say.told(item["name"]): say.reading(item["value"], item["unit"]) for item in frame["readings"]}
                for frame in part
            ]
            yield table(
                (
                    tr("report.head_reading", ecu=ecu),
                    *(tr.listed(_record(code, say) for code in frame["codes"]) for frame in part),
                ),
                ((name, *(column.get(name, "–") for column in values)) for name in names),
                numeric=1,
            )


def _record(code: Json, say: Wording) -> str:
    return str(code["code"]) if code["record"] is None else f"{code['code']} {say.tr('scan.record', n=code['record'])}"


def _battery(content: Json, say: Wording) -> Iterator[Element]:
    battery = content["battery"]
    if battery is None:
        return
    tr = say.tr
    yield h("h2", None, tr("scan.battery"))
    yield battery_figures(battery, say)
    proof = content["proof"]
    cells = battery["cells"]
    if cells is not None:
        title = tr("report.cells_after", median=f"{cells['median_v']:.3f}") if proof else None
        if proof and any(value is not None for value in proof["cell_v"]):
            yield _cells_before(proof, say)
        yield cell_figure(cells, say, title=title)
        if battery["ocv"] is not None:
            yield curve_figure(battery["ocv"], cells, say)
    else:
        yield h("p", None, tr("battery.no_cells"))
    if battery["health"]["percent"] is not None:
        yield h("h3", None, tr("battery.health"))
        yield from health_part(battery["health"], say)


def _cells_before(proof: Json, say: Wording) -> Element:
    seen = sorted(value for value in proof["cell_v"] if value is not None)
    median = (seen[(len(seen) - 1) // 2] + seen[len(seen) // 2]) / 2
    cells = {"v": proof["cell_v"], "median_v": median, "weakest": None}
    return cell_figure(cells, say, title=say.tr("report.cells_before", median=f"{median:.3f}"))


def _open_questions(content: Json, say: Wording) -> Iterator[Element]:
    """What was asked and not answered: what nobody knows of this car yet."""
    tr = say.tr
    yield h("h2", None, tr("report.unanswered"))
    lines = [f"{one['address']}: {say.told(one['why'])}" for one in content["unanswered"]]
    battery = content["battery"]
    if battery is None:
        lines.append(tr("report.no_battery_seen"))
    else:
        if battery["cells"] is None:
            lines.append(tr("battery.no_cells"))
        lines += [
            tr("battery.unseen", what=say.told(one["what"]), why=say.told(one["why"]), remedy=say.told(one["remedy"]))
            for one in battery["unknown"]
        ]
        lines += [
            tr("scan.rejected", signal=one["signal"], n=one["n"], why=say.told(one["why"]))
            for one in battery["rejected"]
        ]
    lines += [say.told(note) for note in content["notes"]]
    if not content["unanswered"]:
        lines.insert(0, tr("report.all_answered"))
    yield h("ul", None, (h("li", None, line) for line in lines))


def _people(content: Json, say: Wording) -> Iterator[Element]:
    tr = say.tr
    for title, items in (
        (tr("report.people_notes"), content["people"]["notes"]),
        (tr("report.people_consents"), content["people"]["consents"]),
    ):
        if items:
            yield h("h2", None, title)
            yield h("ul", None, (h("li", None, h("small", None, f"{item['t']} "), item["text"]) for item in items))


def _ecus(content: Json, say: Wording) -> Iterator[Element]:
    tr = say.tr
    if not content["ecus"]:
        return
    yield h("h2", None, tr("scan.ecus"))
    yield table(
        ("ECU", tr("scan.head.role"), tr("scan.head.name"), tr("scan.head.software"), tr("scan.head.protocol")),
        (
            (code(ecu["address"]), say.told(ecu["role"]), ecu["name"], ecu["software"], ecu["protocol"])
            for ecu in content["ecus"]
        ),
    )


def _certificate(content: Json, say: Wording) -> Iterator[Element]:
    """State of health first, then the cells, then what is not known."""
    tr, battery = say.tr, content["battery"]
    yield h("h2", None, tr("battery.health"))
    if battery is None:
        yield h("p", None, tr("report.no_battery_seen"))
        return
    yield from health_part(battery["health"], say)
    yield from _findings(content, "battery", say)
    yield h("h2", None, tr("report.figures"))
    yield battery_figures(battery, say)
    cells = battery["cells"]
    if cells is None:
        yield h("p", None, tr("battery.no_cells"))
    else:
        yield cell_figure(cells, say)
        if battery["ocv"] is not None:
            yield curve_figure(battery["ocv"], cells, say)
    yield from _moments(content, say)
    yield from unknown_part(battery, say)
    yield from _safety(content, say)
    yield h("p", {"class": "note"}, tr("certificate.disclaimer"))
