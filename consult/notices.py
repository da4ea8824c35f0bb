"""What experts and those who run the service should learn of at once: said here, carried on by whoever listens.

A notice holds no VIN, no plate, no person's name and no position: it may leave the service by a chat group's webhook.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from consult.roombus import NOTICES, LocalBus
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from consult.roombus import RoomBus

__all__ = ["KINDS", "SEVERITIES", "Notice", "NoticeBoard"]

KINDS: Final = (
    "queued",
    "accepted",
    "warning",
    "escalated",
    "first-finding",
    "resolved",
    "draft",
    "research",
    "service",
)
"""A car waits · somebody took it · a clock runs out · it went on to the next · an expert has found something · done ·
a case draft waits for review · a problem stays unsolved (R&D) · the service itself has a trouble."""

SEVERITIES: Final = ("danger", "high", "normal")
"""``danger``: loss of drive, isolation, thermal."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that happened.

    Args:
        kind: one of :data:`KINDS`. severity: one of :data:`SEVERITIES`.
        title: one line. text: what else is to be said; may be empty.
        t_us: UTC microseconds.
        room: the room it is about; empty for none.
        path: the address at the service where one goes on, beginning with ``/``.
        to: accounts whom it concerns; empty for everybody on duty.
    """

    kind: str
    severity: str
    title: Text
    text: Text
    t_us: int
    room: str = ""
    path: str = "/rooms"
    to: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As pages and generic webhooks get it."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "title": {"en": self.title.en, "zh": self.title.zh},
            "text": {"en": self.text.en, "zh": self.text.zh},
            "t_us": self.t_us,
            "room": self.room,
            "path": self.path,
            "to": list(self.to),
        }

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Notice:
        """As another process said it.

        Raises:
            KeyError: something is missing.
        """
        words = {**body, "to": tuple(body["to"])}
        return cls(**{**words, **{name: Text(**body[name]) for name in ("title", "text")}})


class NoticeBoard:
    """Hands each notice to everybody who listens. A listener must not block; one that fails harms no other.

    Args:
        bus: carries them to every process that serves rooms; without one they stay in this process.
    """

    def __init__(self, bus: RoomBus | None = None) -> None:
        self._bus: RoomBus = bus or LocalBus()

    def listen(self, listener: Callable[[Notice], None]) -> None:
        """From now on ``listener`` gets every notice."""
        self._bus.listen(NOTICES, lambda message: listener(Notice.from_json(message)))

    def publish(self, notice: Notice) -> None:
        """Tells all listeners."""
        self._bus.publish(NOTICES, notice.to_json())
