"""What pages say about a call: who is in it, how two of them connect, recording, pictures that are drawn on. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from consult.messagerules import Message

__all__ = [
    "CALL_MESSAGES",
    "Call",
    "CallMessage",
    "Consent",
    "Record",
    "Sfu",
    "Signal",
    "Still",
    "Stroke",
    "Unstroke",
]


class CallMessage(Message):
    """Any message of a call."""


@dataclass(frozen=True, slots=True)
class Call(CallMessage):
    """I am in the call or not, what I send, and the level that my line allows: ``video``, ``voice`` or ``chat``."""

    join: bool
    audio: bool = False
    video: bool = False
    level: str = "video"
    type: ClassVar[str] = "call"


@dataclass(frozen=True, slots=True)
class Signal(CallMessage):
    """For another page in the same call, to connect with it (:mod:`consult.callsignals`). Never kept."""

    to: int
    body: dict[str, Any]
    type: ClassVar[str] = "signal"


@dataclass(frozen=True, slots=True)
class Sfu(CallMessage):
    """For the media engine, whichever it is: ``publish``, ``watch``, ``watching``, ``candidate``, ``unpublish``."""

    id: str
    op: str
    body: dict[str, Any] = field(default_factory=dict)
    type: ClassVar[str] = "sfu"


@dataclass(frozen=True, slots=True)
class Record(CallMessage):
    """The technician or the lead wants sound and picture recorded, or no longer."""

    on: bool
    type: ClassVar[str] = "record"


@dataclass(frozen=True, slots=True)
class Consent(CallMessage):
    """Whether somebody in the call lets themselves be recorded."""

    given: bool
    type: ClassVar[str] = "consent"


@dataclass(frozen=True, slots=True)
class Still(CallMessage):
    """A frozen picture for everybody: the SHA-256 of an uploaded file, whose camera it was (0: nobody's), and when."""

    id: str
    file: str
    of: int
    t_us: int
    text: str = ""
    type: ClassVar[str] = "still"


@dataclass(frozen=True, slots=True)
class Stroke(CallMessage):
    """A line drawn on a still: points from 0 to 1 of its width and height, and one of six colours."""

    id: str
    still: str
    points: list[Any]
    colour: int = 0
    type: ClassVar[str] = "stroke"


@dataclass(frozen=True, slots=True)
class Unstroke(CallMessage):
    """A stroke is taken away again."""

    id: str
    type: ClassVar[str] = "unstroke"


CALL_MESSAGES: Final[tuple[type[CallMessage], ...]] = (Call, Signal, Sfu, Record, Consent, Still, Stroke, Unstroke)
