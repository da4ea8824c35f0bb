"""How long a link waits, and how long an ECU says that it takes.

Standard: ISO 15765-4:2021 §6, ISO 14229-2:2021 §7 (P2, P2*).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diag.addressing import Target
    from diag.answers import AnswerTimes

__all__ = ["Timing", "set_times"]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait.

    Args:
        answer_s: for one ECU to begin its answer (P2 and the way through a gateway).
        window_s: for all ECUs to begin theirs after a functional request; it is always waited out.
        pending_s: after each "response pending" (P2*).
        pending_total_s: for all of them together; enough for reading, more is for whoever asks for long work.
        busy_pause_s: before a request is repeated that met a busy ECU.
        busy_repeats: how often it is; only reading is ever repeated.
        second_s: how long a second ECU that answers with the same identifier is listened for. An identifier that a
            few answers have shown to be used by one ECU alone is not waited for any more.
    """

    answer_s: float = 0.5
    window_s: float = 0.25
    pending_s: float = 5.0
    pending_total_s: float = 10.0
    busy_pause_s: float = 0.2
    busy_repeats: int = 5
    second_s: float = 0.005


def set_times(kept: dict[Target, Timing], usual: Timing, target: Target, times: AnswerTimes | None) -> None:
    """Keeps an ECU's own times among those of a link; never shorter than the link's own time for an answer."""
    kept.pop(target, None)
    if times is not None:
        kept[target] = replace(
            usual,
            answer_s=max(usual.answer_s, times.answer_s),
            pending_s=times.pending_s,
            pending_total_s=max(usual.pending_total_s, times.pending_total_s),
        )
