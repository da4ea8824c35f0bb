"""Whether the clock may be believed when records are about to be deleted for their age.

No I/O; the clocks are arguments. A machine's clock can leap: a dead battery, a wrong hand, a time server that lies. A
leap forward would make every record old at once. So time that passed is believed only as far as it was lived through:
between two looks of one process the wall clock must have gone on as the steady clock did; over a restart it may have
gone on by no more than :data:`LONGEST_DOWN_S`. What goes beyond is a leap, and while one is open nothing is deleted. It
closes when the clock is back where it should be, when somebody who knows says that it is right, or after
:data:`BELIEVED_AFTER_S` of steady running, for a service that really stood still for long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["BELIEVED_AFTER_S", "LONGEST_DOWN_S", "ClockWatch"]

LONGEST_DOWN_S: Final = 3 * 86_400.0
BELIEVED_AFTER_S: Final = 7 * 86_400.0
_SLACK_S: Final = 600.0


@dataclass(slots=True)
class ClockWatch:
    """What was seen of the clock.

    Args:
        seen_us: the wall clock at the last look of any process, UTC microseconds; None before the first ever.
        leap_us: where the clock should have been when it leapt; None while there is no open leap.
    """

    seen_us: int | None = None
    leap_us: int | None = None
    _mono_s: float | None = None
    _steady_s: float = 0.0
    _was_down: bool = False

    def look(self, wall_us: int, mono_s: float) -> bool:
        """One look; whether ages may be counted by the wall clock now.

        Args:
            wall_us: UTC microseconds.
            mono_s: seconds that only grow, from any beginning, of this process.
        """
        before_us, before_s = self.seen_us, self._mono_s
        self.seen_us, self._mono_s = wall_us, mono_s
        if before_us is None:
            return True
        gone_s = (wall_us - before_us) / 1e6
        if before_s is None:
            lived_s, is_sound = 0.0, -_SLACK_S <= gone_s <= LONGEST_DOWN_S
        else:
            lived_s = mono_s - before_s
            is_sound = abs(gone_s - lived_s) <= _SLACK_S
        if self.leap_us is not None:
            self.leap_us += round((lived_s if before_s is not None else 0.0) * 1e6)
            # Over a restart some time went by of which nobody knows how much.
            self._was_down = self._was_down or before_s is None
            most_s = LONGEST_DOWN_S if self._was_down else _SLACK_S
            if -_SLACK_S <= (wall_us - self.leap_us) / 1e6 <= most_s:
                self.believe()  # it is back where it should be
                return True
        if not is_sound:
            self.leap_us = self.leap_us if self.leap_us is not None else before_us + round(lived_s * 1e6)
            self._steady_s = 0.0
        elif self.leap_us is not None:
            self._steady_s += lived_s
            if self._steady_s >= BELIEVED_AFTER_S:
                self.believe()
        return self.leap_us is None

    def believe(self) -> None:
        """Somebody who knows says that the clock is right."""
        self.leap_us = None
        self._steady_s, self._was_down = 0.0, False
