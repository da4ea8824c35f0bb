"""A battery certificate: one self-contained page to print or to send, in one language, without scripts.

It states what was measured, with intervals, and what was not: an indication beside the maker's own method, never a
replacement of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

from huizhen import __version__

if TYPE_CHECKING:
    from huizhen.language import Translator

__all__ = ["certificate"]

_COLUMNS: Final = 16
_CELL_PX: Final = 40
_ROW_PX: Final = 24

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE: Final = """
body{font:15px/1.5 system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif;color:#1b1f24;max-width:820px;
margin:2em auto;padding:0 1em}
h1{font-size:1.5em;margin:0}h2{font-size:1.1em;margin:1.6em 0 .4em;border-bottom:1px solid #cfd6de}
table{border-collapse:collapse;width:100%}td,th{padding:.25em .6em .25em 0;text-align:left;vertical-align:top}
th{font-weight:600;color:#47525e}.note{color:#47525e;font-size:.9em}.sim{background:#ffe9a8;padding:.3em .8em}
.stop{background:#b3261e;color:#fff}.soon{background:#f2b8a0}.monitor{background:#ffe9a8}.low{background:#dbe7f3}
.badge{border-radius:3px;padding:0 .5em;font-size:.85em;white-space:nowrap}ul{margin:.2em 0 .6em;padding-left:1.4em}
svg{max-width:100%;height:auto}@media print{body{margin:0}}
"""


def certificate(report: dict[str, Any], tr: Translator, *, made: datetime | None = None) -> str:
    """The page.

    Args:
        report: ``huizhen.battery/1``.
        tr: in which language.
        made: when, UTC; None = now.
    """
    when = (made or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC")
    language = "zh-CN" if tr.lang == "zh" else "en"
    told = tr("certificate.made", when=when, version=__version__, source=report["source"])
    parts = [
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>{escape(tr('certificate.title'))}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(tr('certificate.title'))}</h1>",
        f'<p class="note">{escape(told)}</p>',
    ]
    if report.get("simulated"):
        parts.append(f'<p class="sim">{escape(tr("scan.simulated"))}</p>')
    parts += [_health(report, tr), _figures(report, tr), _findings(report, tr), _cells(report, tr), _unseen(report, tr)]
    parts.append(f'<p class="note">{escape(tr("certificate.disclaimer"))}</p></body></html>')
    return "\n".join(part for part in parts if part) + "\n"


def _head(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def _health(report: dict[str, Any], tr: Translator) -> str:
    line = float(report["warranty_percent"])
    parts = [_head(tr("battery.health"))]
    soh = report["soh"]
    if soh is None:
        parts.append(f"<p><strong>{escape(tr('certificate.no_health'))}</strong></p>")
    else:
        parts.append(_bar(soh, line, tr))
    rows = []
    for item in report["soh_methods"]:
        percent = "" if item["percent"] is None else f"{item['percent']:.1f} %"
        if item["interval"]:
            percent += f" ({item['interval'][0]:.1f} … {item['interval'][1]:.1f})"
        ah = ""
        if item["capacity_ah"] is not None:
            low, high = item["interval_ah"]
            ah = f"{item['capacity_ah']:.1f} Ah ({low:.1f} … {high:.1f})"
        rows.append(f"<tr><td>{escape(item['name'][tr.lang])}</td><td>{percent}</td><td>{ah}</td></tr>")
    if rows:
        parts.append(f"<table>{''.join(rows)}</table>")
    if report["soh_missing"]:
        parts.append(f"<p>{escape(report['soh_missing'][tr.lang])}</p>")
    years = f"{report['warranty_years']:g}"
    told = tr("certificate.warranty", percent=f"{line:g}", years=years)
    parts.append(f'<p class="note">{escape(told)}</p>')
    return "".join(parts)


def _bar(soh: dict[str, Any], line: float, tr: Translator) -> str:
    """Percent with its interval over the warranty line, 40 to 110 %."""

    def x(percent: float) -> float:
        return 8 + (min(max(percent, 40.0), 110.0) - 40.0) * 10

    percent, interval = soh["percent"], soh["interval"]
    shapes = ['<rect x="8" y="22" width="700" height="14" fill="#e6ebf0"/>']
    if interval:
        left, right = x(interval[0]), x(interval[1])
        shapes.append(f'<rect x="{left:.0f}" y="22" width="{max(2.0, right - left):.0f}" height="14" fill="#7fb3d8"/>')
    shapes.append(f'<rect x="{x(percent) - 2:.0f}" y="16" width="4" height="26" fill="#0b5394"/>')
    shapes.append(f'<rect x="{x(line) - 1:.0f}" y="12" width="2" height="34" fill="#b3261e"/>')
    shapes.append(
        f'<text x="{x(line):.0f}" y="58" text-anchor="middle" font-size="12" fill="#b3261e">{line:g} %</text>'
    )
    shapes.append(f'<text x="{x(percent):.0f}" y="11" text-anchor="middle" font-size="13">{percent:.1f} %</text>')
    label = escape(tr("certificate.bar", percent=f"{percent:.1f}"))
    return f'<svg viewBox="0 0 716 62" role="img" aria-label="{label}">{"".join(shapes)}</svg>'


def _figures(report: dict[str, Any], tr: Translator) -> str:
    def shown(value: float | None, digits: int, unit: str) -> str:
        return tr("scan.unseen") if value is None else f"{value:.{digits}f} {unit}"

    study = report["study"] or {}
    rows = (
        (tr("scan.soc"), shown(report["soc"], 1, "%")),
        (tr("scan.pack"), shown(report["pack_v"], 1, "V")),
        (tr("scan.spread"), shown(report["spread_mv"], 0, "mV")),
        (tr("scan.insulation"), shown(report["insulation_kohm"], 0, "kΩ")),
        (tr("scan.temperature"), shown(report["features"].get("temp_max_c"), 1, "°C")),
        (tr("certificate.resistance"), shown(study.get("pack_resistance_mohm"), 2, "mΩ")),
        (tr("certificate.length"), shown(study.get("seconds", 0.0) / 60, 1, "min")),
    )
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"{_head(tr('scan.battery'))}<table>{body}</table>"


def _findings(report: dict[str, Any], tr: Translator) -> str:
    parts = [_head(tr("scan.findings"))]
    if not report["findings"]:
        parts.append(f"<p>{escape(tr('battery.no_findings'))}</p>")
    names = {
        "stop": tr("scan.severity.stop"),
        "soon": tr("scan.severity.soon"),
        "monitor": tr("scan.severity.monitor"),
        "low": tr("scan.severity.low"),
    }
    for finding in report["findings"]:
        severity = finding["severity"]
        evidence = "".join(f"<li>{escape(item['text'][tr.lang])}</li>" for item in finding["evidence"])
        parts.append(
            f'<p><span class="badge {severity}">{escape(names[severity])}</span> '
            f"<strong>{escape(finding['title'][tr.lang])}</strong></p><ul>{evidence}</ul>"
        )
    steps = [step[tr.lang] for finding in report["findings"] for step in finding["safety"]]
    if steps:
        listed = "".join(f"<li>{escape(step)}</li>" for step in dict.fromkeys(steps))
        parts.append(f"<p><strong>{escape(tr('scan.safety'))}</strong></p><ol>{listed}</ol>")
    return "".join(parts)


def _cells(report: dict[str, Any], tr: Translator) -> str:
    """The cells as a table of colours with their millivolts from the median."""
    volts = report["cell_v"]
    seen = sorted(value for value in volts if value is not None)
    if not seen:
        return ""
    middle = (seen[(len(seen) - 1) // 2] + seen[len(seen) // 2]) / 2
    shapes = []
    for at, value in enumerate(volts):
        x, y = at % _COLUMNS * (_CELL_PX + 2), at // _COLUMNS * (_ROW_PX + 2)
        away = None if value is None else (value - middle) * 1000
        text = "·" if away is None else f"{away:+.0f}" if round(away) else "0"
        title = f"{at + 1}" if value is None else f"{at + 1}: {value:.3f} V"
        shapes.append(
            f'<g><title>{title}</title><rect x="{x}" y="{y}" width="{_CELL_PX}" height="{_ROW_PX}" '
            f'fill="{_colour(away)}"/><text x="{x + _CELL_PX / 2}" y="{y + 16}" text-anchor="middle" '
            f'font-size="11">{text}</text></g>'
        )
    height = -(-len(volts) // _COLUMNS) * (_ROW_PX + 2)
    width = _COLUMNS * (_CELL_PX + 2)
    caption = escape(tr("battery.heatmap", median=f"{middle:.3f}"))
    return (
        f'{_head(caption)}<svg viewBox="0 0 {width} {height}" role="img" aria-label="{caption}">{"".join(shapes)}</svg>'
    )


def _colour(away_mv: float | None) -> str:
    if away_mv is None:
        return "#ffffff"
    strength = min(1.0, abs(away_mv) / 50)
    pale = round(235 - 115 * strength)
    return f"rgb(240,{pale},{pale})" if away_mv < 0 else f"rgb({pale},{round(235 - 50 * strength)},245)"


def _unseen(report: dict[str, Any], tr: Translator) -> str:
    items = (report["study"] or {}).get("not_visible") or []
    if not items:
        return ""
    names = {
        "resistance": tr("battery.what_resistance"),
        "capacity": tr("battery.what_capacity"),
        "charge": tr("battery.what_charge"),
    }
    listed = "".join(
        "<li>"
        + escape(
            tr(
                "battery.unseen",
                what=names[item["what"]],
                why=item["why"][tr.lang],
                remedy=item["remedy"][tr.lang],
            )
        )
        + "</li>"
        for item in items
    )
    return f"{_head(tr('battery.not_visible'))}<ul>{listed}</ul>"
