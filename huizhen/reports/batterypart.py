"""The battery in the page: figures, cells, their place on the curve, health, what is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from huizhen.reports.markup import Element, h
from huizhen.reports.plots import cell_legend, cell_map, health_bar, voltage_curve
from huizhen.reports.rows import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.facts import Json
    from huizhen.reports.wording import Wording

__all__ = ["battery_figures", "cell_figure", "curve_figure", "health_part", "unknown_part"]

_SECONDS: Final = 120
"""A shorter recording is told in seconds."""


def battery_figures(battery: Json, say: Wording) -> Element:
    """The pack's own figures."""
    tr = say.tr
    ohms = battery["insulation_ohm_per_v"]
    rows = [
        (tr("scan.soc"), say.figure(battery["soc"], 1, "%"), battery["soc"]),
        (tr("scan.pack"), say.figure(battery["pack_v"], 1, "V"), battery["pack_v"]),
        (tr("scan.current"), say.figure(battery["current_a"], 1, "A"), battery["current_a"]),
        (tr("scan.spread"), say.figure(battery["spread_mv"], 0, "mV"), battery["spread_mv"]),
        (tr("scan.insulation"), say.figure(battery["insulation_kohm"], 0, "kΩ"), battery["insulation_kohm"]),
        (tr("scan.temperature"), say.figure(battery["temp_max_c"], 1, "°C"), battery["temp_max_c"]),
        (tr("report.temp_spread"), say.figure(battery["temp_spread_k"], 1, "K"), battery["temp_spread_k"]),
    ]
    if ohms is not None:
        rows.insert(5, (tr("report.isolation_per_volt"), say.figure(ohms, 0, "Ω/V"), ohms))
    more, length = battery["resistance_mohm"], battery["seconds"]
    if more is not None:
        rows.append((tr("certificate.resistance"), say.figure(more, 2, "mΩ"), more))
    if length is not None:
        shown = say.figure(length, 0, "s") if length < _SECONDS else say.figure(length / 60, 1, "min")
        rows.append((tr("certificate.length"), shown, length))
    return h(
        "dl",
        {"class": "facts"},
        (
            h(
                "div",
                {"class": "fact"},
                h("dt", None, name),
                h("dd", {"class": "gone" if value is None else None}, shown),
            )
            for name, shown, value in rows
        ),
    )


def cell_figure(cells: Json, say: Wording, *, title: str | None = None) -> Element:
    """Every cell, with a legend and what is marked."""
    tr = say.tr
    seen = [value for value in cells["v"] if value is not None]
    caption = tr("report.cells_caption", n=len(cells["v"]), low=f"{min(seen):.3f}", high=f"{max(seen):.3f}")
    labels = cells.get("labels") or [str(at + 1) for at in range(len(cells["v"]))]
    marks = []
    if cells["weakest"] is not None and cells.get("why"):
        marks.append(tr("scan.weakest", cell=labels[cells["weakest"] - 1], why=say.told(cells["why"])))
    names = {
        "joint": tr("battery.mark_joint"),
        "resistance": tr("battery.mark_resistance"),
        "capacity": tr("battery.mark_capacity"),
        "charge-low": tr("battery.mark_charge"),
        "charge-high": tr("battery.mark_charge"),
    }
    marks += [
        tr("report.cell_cause", cell=labels[one["cell"] - 1], cause=names[one["cause"]])
        for one in cells.get("causes", ())
        if 1 <= one["cell"] <= len(labels) and one["cause"] in names
    ]
    return h(
        "figure",
        None,
        h("h3", None, title or tr("battery.heatmap", median=f"{cells['median_v']:.3f}")),
        cell_map(cells, tr),
        cell_legend(tr),
        h("figcaption", None, caption),
        (h("figcaption", None, mark) for mark in marks),
    )


def curve_figure(ocv: Json, cells: Json, say: Wording) -> Element:
    """The cells' place on their voltage curve."""
    tr = say.tr
    labels = cells["labels"]
    low, middle, high = ocv["points"]
    points = tr(
        "report.ocv_points",
        low=labels[low["cell"] - 1],
        low_v=f"{low['v']:.3f}",
        low_soc=_about(low),
        median_v=f"{middle['v']:.3f}",
        median_soc=_about(middle),
        high=labels[high["cell"] - 1],
        high_v=f"{high['v']:.3f}",
        high_soc=_about(high),
    )
    chemistry = say.told(ocv["chemistry"])
    kind = tr("report.ocv_guess", kind=chemistry) if ocv["guess"] else tr("report.ocv_kind", kind=chemistry)
    if ocv["rested"] is None:
        rest = tr("report.ocv_rest_unknown")
    elif ocv["rested"]:
        rest = tr("report.ocv_rested")
    else:
        rest = tr("report.ocv_loaded", current=say.figure(ocv["current_a"], 1, "A"))
    return h(
        "figure",
        None,
        h("h3", None, tr("report.ocv_title")),
        voltage_curve(ocv, tr),
        h("figcaption", None, points),
        h("figcaption", None, kind, " ", rest),
    )


def _about(point: Json) -> str:
    low, high = point["interval"]
    return f"{point['soc']:.0f} % ({low:.0f} … {high:.0f})"


def health_part(health: Json, say: Wording) -> Iterator[Element]:
    """State of health with interval and method, all methods, and the usual line of a warranty."""
    tr = say.tr
    if health["percent"] is None:
        yield h("p", None, h("strong", None, tr("certificate.no_health")))
    else:
        yield h(
            "p",
            {"class": "big"},
            f"{health['percent']:.1f} %",
            h("small", None, say.range(health["interval"], 1, "%") or tr("report.soh_no_interval")),
        )
        yield health_bar(health, tr)
        method = say.told(health["method"])
        yield h("p", None, tr("report.soh_method", method=method))
        if health["by_car"]:
            yield h("p", {"class": "note"}, tr("report.soh_by_car"))
    if len(health["methods"]) > 1 or (health["methods"] and health["percent"] is None):
        head = (tr("report.head_method"), tr("battery.health"), tr("report.head_capacity"))
        yield table(head, (_method(item, say) for item in health["methods"]), numeric=1)
    if health["missing"]:
        yield h("p", None, say.told(health["missing"]))
    years, percent = f"{health['warranty_years']:g}", f"{health['warranty_percent']:g}"
    yield h("p", {"class": "note"}, tr("certificate.warranty", percent=percent, years=years))


def _method(item: Json, say: Wording) -> tuple[str, str, str]:
    def shown(value: float | None, interval: list[float] | None, unit: str) -> str:
        return "–" if value is None else f"{value:.1f} {unit} {say.range(interval, 1, unit)}".strip()

    percent = shown(item["percent"], item["interval"], "%")
    return say.told(item["name"]), percent, shown(item["capacity_ah"], item["interval_ah"], "Ah")


def unknown_part(battery: Json, say: Wording) -> Iterator[Element]:
    """What these data cannot tell, and what would."""
    tr = say.tr
    items = [
        tr("battery.unseen", what=say.told(one["what"]), why=say.told(one["why"]), remedy=say.told(one["remedy"]))
        for one in battery["unknown"]
    ]
    rejected = [
        tr("scan.rejected", signal=one["signal"], n=one["n"], why=say.told(one["why"]))
        for one in battery.get("rejected", ())
    ]
    if items or rejected:
        yield h("h2", None, tr("battery.not_visible"))
        yield h("ul", None, (h("li", None, text) for text in (*items, *rejected)))
