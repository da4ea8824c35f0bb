"""What happened to codes and their status bits during a session.

A code that was read twice has a history: which of its bits changed, and when. That tells an intermittent fault from a
standing one, and what a repair or a test drive did.

Standard: ISO 14229-1:2020 Annex D.2 (status bits).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.facts import DtcChange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.facts import Dtc, DtcStatus

__all__ = ["DtcHistory"]


class DtcHistory:
    """Keeps the last status of every code, and each change of it."""

    def __init__(self) -> None:
        self._last: dict[str, dict[str, DtcStatus]] = {}
        self._changes: list[DtcChange] = []

    @property
    def changes(self) -> tuple[DtcChange, ...]:
        """In the order of time."""
        return tuple(self._changes)

    def observe(self, t_ns: int, ecu: str, dtcs: Iterable[Dtc]) -> tuple[DtcChange, ...]:
        """Takes all codes that one ECU told at once; the first time is the beginning and no change.

        Args:
            t_ns: UTC nanoseconds since the Unix epoch.
            ecu: its address.
            dtcs: whole list; a code that is not in it any more has gone. Codes without a status byte have no history.
        """
        now = {dtc.display: dtc.status for dtc in dtcs if dtc.status is not None}
        before = self._last.get(ecu)
        self._last[ecu] = now
        if before is None:
            return ()
        found = [
            DtcChange(t_ns, ecu, code, before.get(code), now.get(code))
            for code in sorted(before.keys() | now.keys())
            if _bits(before.get(code)) != _bits(now.get(code))
        ]
        self._changes += found
        return tuple(found)


def _bits(status: DtcStatus | None) -> int | None:
    return None if status is None else status.effective
