"""What a room that has ended tells the network's memory. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from casebase.cases import Verdict
from consult.closing import consultation

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RoomTold", "what_room_tells"]

_VERDICTS: Final = frozenset(verdict.value for verdict in Verdict)
"""Whatever else a laptop says is none: visits are read again by who knows these alone."""


@dataclass(frozen=True, slots=True)
class RoomTold:
    """What is kept of a room.

    Args:
        document: ``huizhen.consultation/1``.
        verdict: of the library, when the room was opened.
        first: identity of its first match; empty for none.
        author: account of who finished the job; empty for somebody without one.
        is_finished: False for a room that was left without a word.
    """

    document: Mapping[str, Any]
    verdict: str
    first: str
    author: str
    is_finished: bool


def what_room_tells(
    ident: str,
    report: Mapping[str, Any],
    document: Mapping[str, Any] | None,
    author: str,
    *,
    opened_us: int,
    closed_us: int,
) -> RoomTold | None:
    """None for nothing: the customer wants nothing remembered, or no car came, or nothing was found.

    Args:
        ident: the room's name.
        report: the newest ``huizhen.scan/1``; empty for none.
        document: the consultation; None where nobody finished the job.
        author: see :class:`RoomTold`.
        opened_us: UTC microseconds.
        closed_us: likewise.
    """
    if not report or report.get("network") is False:
        return None
    cases = report.get("cases")
    cases = cases if isinstance(cases, dict) else {}
    verdict, matches = cases.get("verdict"), cases.get("matches")
    if not isinstance(verdict, str) or verdict not in _VERDICTS:
        verdict = ""
    if document is None and (verdict in ("", Verdict.NONE.value) or report.get("simulated") is True):
        return None
    first = matches[0].get("case_id", "") if isinstance(matches, list) and matches else ""
    told = document or consultation(ident, report, {}, opened_us=opened_us, closed_us=closed_us)
    return RoomTold(told, verdict, str(first), author, document is not None)
