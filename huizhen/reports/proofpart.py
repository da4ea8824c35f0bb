"""What a repair has changed: fault by fault, figure by figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from huizhen.reports.markup import Element, h
from huizhen.reports.rows import badge, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.facts import Json
    from huizhen.reports.wording import Wording

__all__ = ["proof_part"]


def proof_part(content: Json, say: Wording) -> Iterator[Element]:
    """What became of each fault, with what shows it and what would still prove it."""
    tr, proof = say.tr, content["proof"]
    yield h("h2", None, tr("report.proof"))
    yield h(
        "p", None, tr("report.proof_times", before=say.moment(proof["before"]), after=say.moment(content["started"]))
    )
    if proof["verdict"] == "nothing-to-prove":
        yield h("p", None, tr("verify.nothing"))
    else:
        verdict = say.outcome(proof["verdict"])
        yield h("p", None, badge(proof["verdict"], verdict), h("strong", None, _sentence(proof["verdict"], say)))
    if not (proof["complete"] and content["complete"]):
        yield h("p", {"class": "note"}, tr("verify.incomplete"))
    if proof["items"]:
        yield table(
            (tr("report.head_fault"), tr("report.head_outcome"), tr("report.head_proof"), tr("report.head_needed")),
            (
                (
                    say.told(item["title"]),
                    badge(item["outcome"], say.outcome(item["outcome"])),
                    say.told(item["because"]),
                    say.told(item["needed"]) if item["needed"] else "–",
                )
                for item in proof["items"]
            ),
            stacks=True,
        )
    if proof["figures"]:
        yield table(
            (tr("verify.figure"), tr("verify.head_before"), tr("verify.head_after")),
            (
                (
                    _figure_name(name, say),
                    *("–" if pair[side] is None else f"{pair[side]:g}" for side in ("before", "after")),
                )
                for name, pair in proof["figures"].items()
            ),
            numeric=1,
        )


def _sentence(verdict: str, say: Wording) -> str:
    """The verdict on a repair as a sentence."""
    tr = say.tr
    return {
        "fixed": tr("report.proven.fixed"),
        "cleared": tr("report.proven.cleared"),
        "intermittent": tr("report.proven.intermittent"),
        "not-fixed": tr("report.proven.not_fixed"),
        "worse": tr("report.proven.worse"),
    }[verdict]


def _figure_name(name: str, say: Wording) -> str:
    tr = say.tr
    known = {
        "spread_mv": tr("report.figure.spread_mv"),
        "cell_low_mv": tr("report.figure.cell_low_mv"),
        "cell_low_z": tr("report.figure.cell_low_z"),
        "cell_high_mv": tr("report.figure.cell_high_mv"),
        "neighbour_opposition_mv": tr("report.figure.neighbour_opposition_mv"),
        "opposition_cell": tr("report.figure.opposition_cell"),
        "insulation_ohm_per_v": tr("report.figure.insulation_ohm_per_v"),
        "temp_max_c": tr("report.figure.temp_max_c"),
        "temp_spread_k": tr("report.figure.temp_spread_k"),
        "sum_mismatch_v": tr("report.figure.sum_mismatch_v"),
        "cell_resistance_excess": tr("report.figure.cell_resistance_excess"),
        "cell_capacity_deficit": tr("report.figure.cell_capacity_deficit"),
        "cell_charge_deficit": tr("report.figure.cell_charge_deficit"),
        "pack_resistance_mohm": tr("report.figure.pack_resistance_mohm"),
    }
    return known.get(name, name)
