"""Findings over time as notices: one per change of state, with hysteresis, the dangerous ones first and at once.

A live car is judged again and again. A finding that flickers about its limit would be told every second; here it is
told when it begins, when it becomes more urgent, and when it has been gone for a while. No clock: every call is given
its time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from diag.facts import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.facts import Finding, Json

__all__ = ["AlertBook", "Change", "Notice"]

_SEEN_FOR_S: Final = {Severity.STOP: 0.0, Severity.SOON: 2.0, Severity.MONITOR: 10.0, Severity.LOW: 10.0}
"""How long a finding has to hold until it is told; danger is told at once."""

_GONE_FOR_S: Final = {Severity.STOP: 60.0, Severity.SOON: 30.0, Severity.MONITOR: 30.0, Severity.LOW: 30.0}
"""How long it has to be gone until its end is told; danger is held longest."""


class Change(StrEnum):
    """What a notice says."""

    BEGAN = "began"
    ROSE = "rose"
    FELL = "fell"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Notice:
    """One change of state.

    Args:
        t_ns: when it happened, not when it was sure.
        finding: as it stands; at the end, as it stood last.
    """

    t_ns: int
    change: Change
    finding: Finding

    @property
    def is_fast_lane(self) -> bool:
        """An expert should be called at once."""
        return self.finding.is_fast_lane and self.change in (Change.BEGAN, Change.ROSE)

    def to_json(self) -> Json:
        """``notice`` of a live stream."""
        return {"t_ns": self.t_ns, "change": self.change.value, "finding": self.finding.to_json()}


@dataclass(slots=True)
class _State:
    finding: Finding
    since_ns: int
    seen_ns: int
    told: Severity | None = None
    other: Severity | None = None
    other_since_ns: int = 0


@dataclass(slots=True)
class AlertBook:
    """All findings of one car that stand or have just gone.

    A battery has each finding once, whatever it rests on now; codes of two ECUs are two findings.
    """

    _states: dict[tuple[str, str], _State] = field(default_factory=dict)

    def update(self, findings: Iterable[Finding], now_ns: int) -> tuple[Notice, ...]:
        """Takes the findings of one judging.

        Args:
            findings: all that stand now.
            now_ns: any clock, the same in every call, not decreasing.

        Returns:
            What has to be told now, the most urgent first.
        """
        notices: list[Notice] = []
        for finding in findings:
            key = finding.code, _place(finding)
            state = self._states.setdefault(key, _State(finding, now_ns, now_ns))
            state.seen_ns = now_ns
            notices += self._seen(state, finding, now_ns)
        for key, state in list(self._states.items()):
            if state.seen_ns == now_ns:
                continue
            if state.told is None:
                del self._states[key]  # it flickered: nobody was told, nobody needs to hear of its end
            elif now_ns - state.seen_ns >= _GONE_FOR_S[state.told] * 1e9:
                notices.append(Notice(state.seen_ns, Change.ENDED, state.finding))
                del self._states[key]
        return tuple(sorted(notices, key=lambda notice: notice.finding.severity.rank))

    @staticmethod
    def _seen(state: _State, finding: Finding, now_ns: int) -> list[Notice]:
        state.finding = finding
        severity = finding.severity
        if state.told is None:
            if now_ns - state.since_ns >= _SEEN_FOR_S[severity] * 1e9:
                state.told = severity
                return [Notice(state.since_ns, Change.BEGAN, finding)]
            return []
        if severity is state.told:
            state.other = None
            return []
        if severity is not state.other:
            state.other, state.other_since_ns = severity, now_ns
        rises = severity.rank < state.told.rank
        needed_s = _SEEN_FOR_S[severity] if rises else _GONE_FOR_S[state.told]
        if now_ns - state.other_since_ns < needed_s * 1e9:
            return []
        state.told, state.other = severity, None
        return [Notice(state.other_since_ns, Change.ROSE if rises else Change.FELL, finding)]

    @property
    def standing(self) -> tuple[Finding, ...]:
        """Everything told and not ended, the most urgent first."""
        told = [state.finding for state in self._states.values() if state.told is not None]
        return tuple(sorted(told, key=lambda finding: finding.severity.rank))


def _place(finding: Finding) -> str:
    """What tells findings of one code apart: two ECUs with a code each are two, a battery has each trouble once."""
    return finding.title.en if finding.code.startswith(_SEVERAL) else ""


_SEVERAL: Final = ("dtc.", "network.", "monitor.")
