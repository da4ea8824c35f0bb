"""How fast one webhook is served: the robot's own limit, and how long to wait when it does not answer. No clock."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from consult.noticesettings import DINGTALK, FEISHU, WECOM

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LIMITS", "LONGEST_WAIT_S", "Pace", "wait_after"]

LIMITS: Final = {WECOM: 20, DINGTALK: 20, FEISHU: 60}
"""Messages a minute that a robot takes (Feishu: 100, but no more than five a second)."""

_KEPT_FREE: Final = 5
"""Of those, for notices of danger only."""

_WINDOW_S: Final = 61.0
"""A second more than the robot's minute: clocks differ, and messages take a while to arrive."""

_FIRST_WAIT_S: Final = 5.0
LONGEST_WAIT_S: Final = 1800.0
_PROBE_S: Final = 5.0


def wait_after(attempts: int, chance: float) -> float:
    """Seconds to wait after so many attempts: twice as long each time, by ``chance`` (0–1) down to half of it."""
    longest = min(LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(attempts - 1, 20))
    return float(longest * (1 - chance / 2))


@dataclass(slots=True)
class Pace:
    """One webhook's pace. Times are seconds of one clock."""

    limit: int | None = None
    failures: int = 0
    resume_s: float = 0.0
    is_counted_out: bool = False
    """It waits because the other side counts, and not because it is away: nothing may go there."""
    failing_since_s: float | None = None
    _sent_s: deque[float] = field(default_factory=deque)
    _tried_s: float = float("-inf")

    def remember(self, sent_s: Iterable[float]) -> None:
        """Messages that were sent before this process began."""
        self._sent_s.extend(sorted(sent_s))

    def wait_s(self, now_s: float, *, is_danger: bool) -> float:
        """How long until a message may be sent; 0 for now. Danger does not wait for somebody who may be back."""
        wait = self.resume_s - now_s
        if is_danger and not self.is_counted_out:
            wait = min(wait, self._tried_s + _PROBE_S - now_s)
        return max(0.0, wait, self._window_wait_s(now_s, is_danger=is_danger))

    def _window_wait_s(self, now_s: float, *, is_danger: bool) -> float:
        if self.limit is None:
            return 0.0
        while self._sent_s and self._sent_s[0] <= now_s - _WINDOW_S:
            self._sent_s.popleft()
        free = self.limit if is_danger else self.limit - _KEPT_FREE
        if len(self._sent_s) < free:
            return 0.0
        return self._sent_s[len(self._sent_s) - free] + _WINDOW_S - now_s

    def note_try(self, now_s: float) -> None:
        """A message goes out; the robot counts it, whatever it says to it."""
        self._tried_s = now_s
        if self.limit is not None:
            self._sent_s.append(now_s)

    def note_sent(self) -> None:
        """It was taken."""
        self.failures, self.resume_s, self.is_counted_out, self.failing_since_s = 0, 0.0, False, None

    def note_refused(self, now_s: float) -> None:
        """It was refused; the next one may be taken."""
        self.failing_since_s = now_s if self.failing_since_s is None else self.failing_since_s
        self.resume_s, self.is_counted_out = now_s + 1.0, False

    def note_later(self, now_s: float, asked_s: float | None) -> None:
        """Nobody took it. ``asked_s``: for how long the other side wants to hear nothing."""
        self.failures += 1
        self.failing_since_s = now_s if self.failing_since_s is None else self.failing_since_s
        self.is_counted_out = asked_s is not None
        chance = random.random()  # noqa: S311 - spreads attempts, keeps no secret
        self.resume_s = now_s + (wait_after(self.failures, chance) if asked_s is None else asked_s + chance)
