"""What may be behind a trouble, and what has helped others: with odds and intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from huizhen.reports.markup import Element, h
from huizhen.reports.plots import odds_bar
from huizhen.reports.rows import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.facts import Json
    from huizhen.reports.wording import Wording

__all__ = ["cases_part", "causes_part"]

_MOST_REASONS: Final = 4
_TOLD_FROM: Final = 0.03
"""Below this a case is named in one line: what speaks for it reads like advice."""


def _once(reasons: Sequence[Json], say: Wording) -> list[str]:
    """What several units say alike is said once."""
    return list(dict.fromkeys(say.told(reason) for reason in reasons))[:_MOST_REASONS]


def causes_part(content: Json, say: Wording) -> Iterator[Element]:
    """Causes by the readings, trouble by trouble."""
    if not content["causes"]:
        return
    tr = say.tr
    yield h("h2", None, tr("report.causes"))
    for trouble in dict.fromkeys(cause["trouble"] for cause in content["causes"]):
        rivals = [cause for cause in content["causes"] if cause["trouble"] == trouble]
        yield table(
            (tr("report.head_cause"), tr("report.head_odds"), tr("report.head_because")),
            (
                (
                    h("strong", None, say.told(cause["title"])) if cause["likely"] else say.told(cause["title"]),
                    "–"
                    if cause["odds"] is None
                    else h("span", None, odds_bar(cause["odds"], None), say.odds(cause["odds"])),
                    tr("report.between").join(_once(cause["because"], say)),
                )
                for cause in rivals
            ),
            stacks=True,
        )
    yield h("p", {"class": "note"}, tr("report.causes_note"))


def cases_part(content: Json, say: Wording) -> Iterator[Element]:
    """Known fixes, the likely ones in full, the others by name; then the test that tells them apart."""
    tr, cases = say.tr, content["cases"]
    if cases is None or cases["verdict"] == "none":
        return
    yield h("h2", None, tr("scan.cases"))
    verdicts = {
        "direct": tr("scan.verdict.direct"),
        "test": tr("scan.verdict.test"),
        "expert": tr("scan.verdict.expert"),
        "unknown": tr("scan.verdict.unknown"),
    }
    yield h("p", None, h("strong", None, verdicts[cases["verdict"]]))
    for rank, match in enumerate(cases["matches"], start=1):
        is_told = rank == 1 or match["p"] >= _TOLD_FROM
        low, high = (say.odds(value) for value in match["interval"]) if len(match["interval"]) == 2 else ("", "")
        yield h(
            "div",
            {"class": "case"},
            h(
                "div",
                {"class": "case-head"},
                h(
                    "div",
                    {"class": "name"},
                    f"{rank}. {say.told(match['title'])} ",
                    h("small", {"class": "code"}, match["source_id"]),
                ),
                h(
                    "div",
                    {"class": "case-odds"},
                    odds_bar(match["p"], match["interval"]),
                    h("strong", None, say.odds(match["p"])),
                    h("small", None, f" ({low} … {high})") if low else None,
                ),
            ),
            h(
                "ul",
                None,
                (h("li", {"class": "for"}, say.told(reason)) for reason in match["because"][:_MOST_REASONS]),
                (h("li", {"class": "against"}, say.told(reason)) for reason in match["against"][:_MOST_REASONS]),
            )
            if is_told and (match["because"] or match["against"])
            else None,
            h("p", {"class": "fix"}, tr("report.fix", fix=say.told(match["fix"]))) if is_told else None,
        )
    if cases["p_unknown"] is not None:
        yield h("p", None, tr("report.p_unknown", odds=say.odds(cases["p_unknown"])))
    if cases["unexplained"]:
        yield h("p", None, tr("report.unexplained", codes=tr.listed(cases["unexplained"])))
    test = cases["next_test"]
    if test is not None:
        yield h(
            "div",
            {"class": "next"},
            h("p", None, h("strong", None, tr("scan.next_test", test=say.told(test["title"])))),
            h("p", None, say.told(test["how"])) if test["how"] else None,
            h("p", {"class": "note"}, tr("report.minutes", minutes=f"{test['minutes']:g}"))
            if test["minutes"]
            else None,
        )
    yield h("p", {"class": "note"}, tr("report.interval_note"))
