"""The page: one file that loads nothing, in one language, for screen and paper."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from huizhen.reports.customer import customer_parts
from huizhen.reports.markup import Style, h, page_text
from huizhen.reports.stylesheet import style_for
from huizhen.reports.wording import Wording
from huizhen.reports.workshop import workshop_parts

if TYPE_CHECKING:
    from diag.facts import Json
    from huizhen.language import Translator
    from huizhen.reports.markup import Element

__all__ = ["report_page", "report_title"]


def report_title(kind: str, tr: Translator) -> str:
    """What a kind of report is called."""
    return {
        "intake": tr("report.title.intake"),
        "interim": tr("report.title.interim"),
        "post": tr("report.title.post"),
        "battery": tr("report.title.battery"),
    }[kind]


def report_page(report: Json, fingerprint: str, tr: Translator) -> str:
    """The page of a report.

    Args:
        report: ``huizhen.report/1``.
        fingerprint: of the key that seals it.
        tr: in which language.
    """
    say = Wording(tr)
    content, is_customer = report["content"], report["audience"] == "customer"
    title = report_title(report["kind"], tr)
    when = say.moment(content["started"])
    simulated = tr("report.simulated_short") if content["simulated"] else ""
    css = style_for(
        left=f"{title} · {when}",
        right=simulated,
        digest=f"SHA-256 {report['sha256'][:16]} · {fingerprint}",
        page=tr("report.page", n="{n}", of="{of}"),
    )
    allowed = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    parts = customer_parts(report, say) if is_customer else workshop_parts(report, say)
    root = h(
        "html",
        {"lang": "zh-CN" if tr.lang == "zh" else "en"},
        h(
            "head",
            None,
            h("meta", {"charset": "utf-8"}),
            h("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
            h("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
            h("meta", {"name": "referrer", "content": "no-referrer"}),
            h("title", None, title),
            Style(css),
        ),
        h("body", None, _header(report, title, when, say), h("main", None, parts), _footer(report, fingerprint, say)),
    )
    return page_text(root)


def _header(report: Json, title: str, when: str, say: Wording) -> Element:
    tr, content = say.tr, report["content"]
    vehicle = content["vehicle"]
    name = say.vehicle(vehicle)
    vin = vehicle["vin"] or tr("scan.no_vin")
    if vehicle.get("vin_valid") is False:
        vin += f" ({tr('scan.vin_check_failed')})"
    audience = tr("report.for_customer") if report["audience"] == "customer" else tr("report.for_workshop")
    car: list[Element | str] = [f"{name} "] if name else []
    if vehicle["vin"] or name:
        car.append(h("span", {"class": "vin"}, f"VIN {vin}"))
    return h(
        "header",
        {"class": "top"},
        h("div", {"class": "brand"}, h("strong", None, tr("report.brand")), h("span", None, audience)),
        h("h1", None, title),
        h("p", {"class": "car"}, car) if car else None,
        h("p", {"class": "note"}, tr("report.read_at", when=when)),
        h("div", {"class": "sim"}, tr("scan.simulated")) if content["simulated"] else None,
    )


def _footer(report: Json, fingerprint: str, say: Wording) -> Element:
    tr = say.tr
    if report["audience"] == "customer":
        names = (tr("report.sign_workshop"), tr("report.sign_customer"), tr("report.sign_date"))
    else:
        names = (tr("report.sign_technician"), tr("report.sign_checked"), tr("report.sign_date"))
    made = tr("report.made", when=say.moment(report["made"]), by=report["made_by"])
    return h(
        "footer",
        {"class": "foot"},
        h("div", {"class": "signs"}, (h("div", None, name) for name in names)),
        h(
            "div",
            {"class": "digest"},
            h("p", None, made, " ", tr("report.key", mark=fingerprint)),
            h(
                "p",
                None,
                tr("report.digest"),
                " ",
                h("span", {"class": "code", "data-digest": report["sha256"]}, report["sha256"]),
            ),
            h("p", None, tr("report.how_to_check")),
        ),
    )
