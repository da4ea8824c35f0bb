"""The page for the car's owner: what is the matter, may I drive, may I charge, what happens next.

Nothing here needs a dictionary; the codes stand in the small print at the end, for whoever is asked next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from huizhen.reports.icons import lightning, verdict_icon
from huizhen.reports.markup import Element, h
from huizhen.reports.plainwords import charging_words, finding_words
from huizhen.reports.plots import cell_legend, cell_map, health_bar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.facts import Json
    from huizhen.reports.wording import Wording

__all__ = ["customer_parts"]

_EVEN_MV: Final = 30.0


def customer_parts(report: Json, say: Wording) -> Iterator[Element]:
    """The sections of the page, in the order of the report's kind."""
    content, kind = report["content"], report["kind"]
    if kind == "battery":
        yield from _battery_first(content, say)
    else:
        yield _verdict(content, say)
    if kind == "post":
        yield from _repair(content, say)
    if content["complaint"]:
        yield h("h2", None, say.tr("report.your_words"))
        yield h("p", None, content["complaint"])
    yield from _what(content, kind, say)
    yield _answers(content, kind, say)
    yield from _orange(content, say)
    if kind != "battery":
        yield from _battery(content, say)
    yield from _unseen(content, kind, say)
    yield from _small_print(content, say)


def _is_only_repair_open(content: Json) -> bool:
    """No fault, everything answered; only the repair is not proven yet."""
    is_whole = content["complete"] and not content["unanswered"]
    return bool(content["proof"]) and is_whole and content["drive"] == "unproven"


def _verdict(content: Json, say: Wording) -> Element:
    tr = say.tr
    words = {
        "stop": tr("report.owner.stop"),
        "soon": tr("report.owner.soon"),
        "monitor": tr("report.owner.monitor"),
        "low": tr("report.owner.low"),
        "none": tr("report.owner.none"),
        "unproven": tr("report.owner.unproven"),
    }
    text = words[content["drive"]]
    if content["fire"] and content["drive"] == "stop":
        text = tr("report.owner.fire")
    elif _is_only_repair_open(content):
        text = tr("report.owner.repair_unproven")
    more = None if content["complete"] else h("p", None, tr("report.owner.incomplete"))
    return h(
        "div",
        {"class": f"verdict {content['drive']}"},
        verdict_icon(content["drive"]),
        h("div", None, h("p", {"class": "say"}, text), more),
    )


def _repair(content: Json, say: Wording) -> Iterator[Element]:
    tr, proof = say.tr, content["proof"]
    yield h("h2", None, tr("report.repair"))
    words = {
        "fixed": tr("report.repaired.fixed"),
        "cleared": tr("report.repaired.cleared"),
        "intermittent": tr("report.repaired.intermittent"),
        "not-fixed": tr("report.repaired.not_fixed"),
        "worse": tr("report.repaired.worse"),
        "nothing-to-prove": tr("report.repaired.nothing"),
    }
    yield h("p", None, h("strong", None, words[proof["verdict"]]))
    counts = proof["counts"]
    lines = [
        tr("report.count.fixed", n=counts.get("fixed", 0)) if counts.get("fixed") else None,
        tr("report.count.cleared", n=counts.get("cleared", 0)) if counts.get("cleared") else None,
        tr("report.count.intermittent", n=counts.get("intermittent", 0)) if counts.get("intermittent") else None,
        tr("report.count.not_fixed", n=counts.get("not-fixed", 0)) if counts.get("not-fixed") else None,
        tr("report.count.worse", n=counts.get("worse", 0)) if counts.get("worse") else None,
    ]
    if any(lines):
        yield h("ul", None, (h("li", None, line) for line in lines if line))
    yield h(
        "p",
        {"class": "note"},
        tr("report.repair_times", before=say.moment(proof["before"]), after=say.moment(content["started"])),
    )


def _what(content: Json, kind: str, say: Wording) -> Iterator[Element]:
    tr = say.tr
    if kind == "battery" and not content["findings"]:
        return
    yield h("h2", None, tr("report.what_after") if kind == "post" else tr("report.what"))
    told = finding_words(content["findings"], tr)
    if not told:
        is_whole = content["drive"] == "none" or _is_only_repair_open(content)
        yield h("p", None, tr("report.what_none") if is_whole else tr("report.what_unproven"))
    for severity, text in told:
        yield h("div", {"class": f"finding {severity}"}, h("p", None, text))


def _answers(content: Json, kind: str, say: Wording) -> Element:
    tr = say.tr
    is_open = _is_only_repair_open(content)
    if is_open:
        content = {**content, "drive": "monitor"}
    drive = {
        "stop": tr("report.drive.stop"),
        "soon": tr("report.drive.soon"),
        "monitor": tr("report.drive.monitor"),
        "low": tr("report.drive.low"),
        "none": tr("report.drive.none"),
        "unproven": tr("report.drive.unproven"),
    }[content["drive"]]
    following = {
        "stop": tr("report.next.stop"),
        "soon": tr("report.next.soon"),
        "monitor": tr("report.next.monitor"),
        "low": tr("report.next.low"),
        "none": tr("report.next.none"),
        "unproven": tr("report.next.unproven"),
    }[content["drive"]]
    if content["fire"] and content["drive"] == "stop":
        drive, following = tr("report.drive.fire"), tr("report.next.fire")
    lines = [following]
    if kind == "interim":
        lines.insert(0, _how_sure(content, say))
    proof = content["proof"]
    if proof and proof["drive"]:
        lines = [tr("report.next.prove"), *(lines if content["findings"] else [])]
    charge = charging_words(content, tr)
    cards = [(tr("report.ask_drive"), [drive])]
    if charge is not None:
        cards.append((tr("report.ask_charge"), [charge]))
    cards.append((tr("report.ask_next"), lines))
    return h(
        "div",
        {"class": "answers"},
        (
            h("div", {"class": "answer"}, h("h3", None, title), (h("p", None, line) for line in texts))
            for title, texts in cards
        ),
    )


def _how_sure(content: Json, say: Wording) -> str:
    tr = say.tr
    return {
        "direct": tr("report.sure.direct"),
        "test": tr("report.sure.test"),
        "expert": tr("report.sure.expert"),
        "unknown": tr("report.sure.unknown"),
        "none": tr("report.sure.none"),
    }.get(content["diagnosis"] or "unknown", tr("report.sure.unknown"))


def _orange(content: Json, say: Wording) -> Iterator[Element]:
    """Not to be touched by anybody."""
    if not content["high_voltage"]:
        return
    tr = say.tr
    lines = [tr("report.orange_fire")] if content["fire"] else []
    lines.append(tr("report.orange"))
    yield h(
        "section",
        {"class": "hv" if content["drive"] == "stop" else "hv calm"},
        h("div", {"class": "head"}, lightning(), h("span", None, tr("report.orange_title"))),
        h("div", {"class": "body"}, (h("p", None, line) for line in lines)),
    )


def _health_lines(battery: Json, say: Wording) -> Iterator[Element]:
    tr, health = say.tr, battery["health"]
    percent = health["percent"]
    if percent is None:
        yield h("p", None, tr("report.health_unknown"))
        return
    yield h("p", {"class": "big"}, f"{percent:.0f} %", h("small", None, say.range(health["interval"], 0, "%")))
    yield health_bar(health, tr)
    yield h("p", None, tr("report.health_means", percent=f"{percent:.0f}"))
    if health["by_car"]:
        yield h("p", None, tr("report.health_by_car"))
    years, line = f"{health['warranty_years']:g}", f"{health['warranty_percent']:g}"
    yield h("p", {"class": "note"}, tr("certificate.warranty", percent=line, years=years))


def _battery_first(content: Json, say: Wording) -> Iterator[Element]:
    """The certificate: health, evenness, and what nobody measured."""
    tr, battery = say.tr, content["battery"]
    yield h("h2", None, tr("report.health_title"))
    if battery is None:
        yield h("p", None, tr("report.no_battery_seen"))
        return
    yield from _health_lines(battery, say)
    yield from _evenness(content, say)


def _evenness(content: Json, say: Wording) -> Iterator[Element]:
    tr, battery = say.tr, content["battery"]
    cells = battery["cells"]
    if cells is None:
        yield h("p", None, tr("report.cells_unseen"))
        return
    spread, is_even = battery["spread_mv"], not any(one["code"].startswith("battery.") for one in content["findings"])
    if spread is not None and spread < _EVEN_MV and is_even:
        text = tr("report.cells_even", n=len(cells["v"]))
    elif cells["weakest"] is not None or not is_even:
        text = tr("report.cells_weak", n=len(cells["v"]))
    else:
        text = tr("report.cells_apart", n=len(cells["v"]))
    yield h("h2", None, tr("report.cells_title"))
    yield h("p", None, text)
    yield h(
        "figure",
        None,
        cell_map(cells, tr, shows_figures=False),
        cell_legend(tr, is_plain=True),
        h("figcaption", None, tr("report.cells_plain")),
    )


def _battery(content: Json, say: Wording) -> Iterator[Element]:
    battery = content["battery"]
    if battery is None:
        return
    if battery["health"]["percent"] is not None:
        yield h("h2", None, say.tr("report.health_title"))
        yield from _health_lines(battery, say)
    if any(finding["code"].startswith("battery.") for finding in content["findings"]):
        yield from _evenness(content, say)


def _unseen(content: Json, kind: str, say: Wording) -> Iterator[Element]:
    """What could not be looked at, in one place."""
    tr = say.tr
    lines = []
    if content["unanswered"]:
        lines.append(tr("report.silent_units", n=content["unanswered"]))
    battery = content["battery"]
    if battery is None and kind != "battery":
        lines.append(tr("report.battery_unseen"))
    elif battery is not None:
        if battery["health"]["percent"] is None and kind != "battery":
            lines.append(tr("report.health_unmeasured"))
        if battery["unknown"]:
            lines.append(tr("report.load_unseen"))
    if not content["complete"]:
        lines.append(tr("report.owner.incomplete"))
    lines.append(tr("report.limits"))
    yield h("h2", None, tr("report.unchecked"))
    yield h("ul", None, (h("li", None, line) for line in lines))


def _small_print(content: Json, say: Wording) -> Iterator[Element]:
    tr = say.tr
    if content["codes"]:
        codes = tr.listed(content["codes"])
        yield h(
            "div",
            {"class": "appendix"},
            h("h2", None, tr("report.appendix")),
            h("p", None, tr("report.appendix_codes", codes=codes)),
        )
