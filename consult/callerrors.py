"""What can go wrong in a call.

::

    ConsultError
    └── CallError
        ├── CallFull           more people than go without a media engine (HTTP 409)
        ├── NotInCall          only who is in the call, or for somebody in it (409)
        ├── NoMediaEngine      recording needs a media engine, and none runs (503)
        ├── MediaEngineFailed  the media engine refused, or broke off (502)
        └── MediaEngineBroken  the media engine cannot be started or reached (500)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from consult.errors import ConsultError

if TYPE_CHECKING:
    from diag.facts import Text

__all__ = ["CallError", "CallFull", "MediaEngineBroken", "MediaEngineFailed", "NoMediaEngine", "NotInCall"]


class CallError(ConsultError):
    """Something about a call is not done."""

    code: ClassVar[str] = "consult.call"
    template: ClassVar[str] = "error in a call"


@dataclass(eq=False)
class CallFull(CallError):
    """Browser to browser goes for a few; more need a media engine."""

    most: int
    code: ClassVar[str] = "consult.call-full"
    template: ClassVar[str] = "the call is full: {most} without a media engine; set one up as docs/room-media.md says"
    status: ClassVar[int] = 409


class NotInCall(CallError):
    """Somebody who is not in the call, or no longer, says something of it or is spoken to."""

    code: ClassVar[str] = "consult.not-in-call"
    template: ClassVar[str] = "not in the call; join it first"
    status: ClassVar[int] = 409


class NoMediaEngine(CallError):
    """What needs a media engine is asked for, and none runs."""

    code: ClassVar[str] = "consult.no-media-engine"
    template: ClassVar[str] = "no media engine runs; set one up as docs/room-media.md says, or wait until it is back"
    status: ClassVar[int] = 503


@dataclass(eq=False)
class MediaEngineFailed(CallError):
    """The engine answered with an error, or not at all."""

    reason: str | Text
    code: ClassVar[str] = "consult.media-failed"
    template: ClassVar[str] = "the media engine did not do it: {reason}; join the call again"
    status: ClassVar[int] = 502


@dataclass(eq=False)
class MediaEngineBroken(CallError):
    """The engine cannot be started or reached at all."""

    reason: str | Text
    code: ClassVar[str] = "consult.media-broken"
    template: ClassVar[str] = "the media engine cannot be used: {reason}; check [media] in the configuration"
    status: ClassVar[int] = 500
