"""Everything of a room that is not samples: JSON messages on the websocket, and who may send which.

No I/O. The rules of their fields stand in :mod:`consult.messagerules`, the messages of a call in
:mod:`consult.callmessages`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from consult.callmessages import CALL_MESSAGES
from consult.messagerules import (
    MAX_CHAT_CHARS,
    MAX_NAME_CHARS,
    Message,
    clean_name,
    encode_message,
    parse_json,
    parse_message,
)

__all__ = [
    "FROM_AGENT",
    "FROM_SERVER",
    "FROM_VIEWER",
    "MAX_CHAT_CHARS",
    "MAX_NAME_CHARS",
    "PROTOCOL",
    "Ack",
    "Ask",
    "Beat",
    "Bye",
    "Chat",
    "Closed",
    "Decide",
    "Dtcs",
    "Event",
    "Finish",
    "Hello",
    "Hold",
    "Line",
    "Live",
    "Mark",
    "Message",
    "Ping",
    "Play",
    "Pong",
    "Refused",
    "Result",
    "RtcOffer",
    "Seen",
    "Stop",
    "Unmark",
    "View",
    "Want",
    "Welcome",
    "Withdraw",
    "clean_name",
    "encode_message",
    "parse_json",
    "parse_message",
]

PROTOCOL: Final = 1


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """The agent's first word: the car, the columns of its streams, and which events it has seen.

    ``key`` is the laptop's public Ed25519 key (hex), by which its approvals and results are signed; ``allows`` tells
    the experts what this laptop's own policy may grant (nothing that the service says widens it).
    """

    protocol: int
    epoch: int
    report: dict[str, Any]
    schemas: list[Any]
    events_after: int
    key: str = ""
    allows: dict[str, Any] = field(default_factory=dict)
    type: ClassVar[str] = "hello"


@dataclass(frozen=True, slots=True)
class Welcome(Message):
    """The service's answer to the agent: from which block on it wants each stream (stream -> seq)."""

    room: str
    next: dict[str, Any]
    type: ClassVar[str] = "welcome"


@dataclass(frozen=True, slots=True)
class Ack(Message):
    """Every block below ``next`` stands in the journal; the sender may forget it."""

    stream: int
    epoch: int
    next: int
    type: ClassVar[str] = "ack"


@dataclass(frozen=True, slots=True)
class Beat(Message):
    """A sign of life."""

    type: ClassVar[str] = "beat"


@dataclass(frozen=True, slots=True)
class Chat(Message):
    """Something said. ``id`` is the speaker's own, so that a repetition after a cut is recognised."""

    id: str
    text: str
    type: ClassVar[str] = "chat"


@dataclass(frozen=True, slots=True)
class Event(Message):
    """Something that happened in the room, numbered from 1 and kept in the journal.

    ``kind``: ``join leave online offline chat mark unmark request withdraw seen decision result stop dtc finish call
    recording consent position still stroke unstroke``; what a kind says beyond ``text`` stands in ``body``. ``id``
    names what it is about: a chat line, a mark, a request, a still.
    """

    n: int
    t_us: int
    kind: str
    who: dict[str, Any]
    id: str
    text: str
    body: dict[str, Any] = field(default_factory=dict)
    type: ClassVar[str] = "event"


@dataclass(frozen=True, slots=True)
class Want(Message):
    """A viewer lacks blocks ``first`` to ``last`` (both included) of a stream."""

    stream: int
    epoch: int
    first: int
    last: int
    type: ClassVar[str] = "want"


@dataclass(frozen=True, slots=True)
class Live(Message):
    """Which carrier shall bring a viewer the live blocks: ``rtc`` or ``wss``."""

    over: str
    type: ClassVar[str] = "live"


@dataclass(frozen=True, slots=True)
class RtcOffer(Message):
    """A viewer's offer for a peer connection of its own; ``attempt`` comes back with the answer."""

    attempt: int
    sdp: str
    type: ClassVar[str] = "rtc"


@dataclass(frozen=True, slots=True)
class Ping(Message):
    """A viewer asks what time it is here; ``t_us`` is its own clock and comes back with the answer."""

    t_us: int
    type: ClassVar[str] = "ping"


@dataclass(frozen=True, slots=True)
class Pong(Message):
    """The answer: the viewer's ``t_us`` and the service's clock."""

    t_us: int
    now_us: int
    type: ClassVar[str] = "pong"


@dataclass(frozen=True, slots=True)
class Mark(Message):
    """Somebody points at a signal at a time (UTC microseconds), or from ``t_us`` to ``t2_us``; 0 is no second end."""

    id: str
    stream: int
    signal: str
    t_us: int
    text: str = ""
    t2_us: int = 0
    type: ClassVar[str] = "mark"


@dataclass(frozen=True, slots=True)
class Unmark(Message):
    """A mark is taken away again."""

    id: str
    type: ClassVar[str] = "unmark"


@dataclass(frozen=True, slots=True)
class View(Message):
    """What somebody looks at, for those who follow: a time window, a cursor (0 is none), the signals. Not kept."""

    t_us: int
    t2_us: int
    cursor_us: int = 0
    signals: list[Any] = field(default_factory=list)
    lead: bool = False
    type: ClassVar[str] = "view"


@dataclass(frozen=True, slots=True)
class Line(Message):
    """How good a viewer's line is, as its page measures it. Not kept; others see it."""

    rtt_ms: int
    missing: int = 0
    fps: int = 0
    over: str = "wss"
    type: ClassVar[str] = "line"


@dataclass(frozen=True, slots=True)
class Ask(Message):
    """An expert asks for a diagnostic request: the ECU's address (``0x7E4``), the exact bytes as hex, and why.

    ``hold``: it runs only while the technician holds it.
    """

    id: str
    ecu: str
    data: str
    text: str
    hold: bool = False
    type: ClassVar[str] = "ask"


@dataclass(frozen=True, slots=True)
class Withdraw(Message):
    """Who asked does not want it any more."""

    id: str
    type: ClassVar[str] = "withdraw"


@dataclass(frozen=True, slots=True)
class Decide(Message):
    """An answer to a request: ``approve``, ``session`` (with its like until the end; class A), ``deny``, ``second``.

    ``digest`` is that of the request as the person saw it (hex SHA-256); ``proof`` shows the laptop that it was its
    own technician: its signature, or a page's HMAC by the secret that only the QR code carried. ``unplugged``: the
    person looked and no charging cable is plugged in, which no standard parameter tells.
    """

    id: str
    digest: str
    decision: str
    proof: str = ""
    unplugged: bool = False
    type: ClassVar[str] = "decide"


@dataclass(frozen=True, slots=True)
class Hold(Message):
    """The technician's hand is on what runs; without it for a second it stops. Not kept. ``count`` grows."""

    id: str
    count: int
    proof: str = ""
    type: ClassVar[str] = "hold"


@dataclass(frozen=True, slots=True)
class Stop(Message):
    """Everything that runs stops and nothing more is granted until the technician says so. Anybody may stop.

    ``resume`` lifts it again; only the laptop itself says that.
    """

    text: str = ""
    resume: bool = False
    type: ClassVar[str] = "stop"


@dataclass(frozen=True, slots=True)
class Seen(Message):
    """The laptop has looked at a request itself: its own class and digest of it, and the car's state."""

    id: str
    body: dict[str, Any]
    type: ClassVar[str] = "seen"


@dataclass(frozen=True, slots=True)
class Result(Message):
    """What became of a request at the car: ``done refused failed stopped expired``; all else is in the body."""

    id: str
    outcome: str
    body: dict[str, Any]
    type: ClassVar[str] = "result"


@dataclass(frozen=True, slots=True)
class Dtcs(Message):
    """The fault codes as they are now, where they changed since last told."""

    body: dict[str, Any]
    type: ClassVar[str] = "dtcs"


@dataclass(frozen=True, slots=True)
class Finish(Message):
    """The job is done: what was found and what cured it (``body``: see :mod:`consult.closing`)."""

    body: dict[str, Any]
    id: str = ""
    type: ClassVar[str] = "finish"


@dataclass(frozen=True, slots=True)
class Play(Message):
    """A replay goes on from a time (UTC microseconds, 0: from where it is) at a speed; 0 is a pause."""

    speed: float
    t_us: int = 0
    type: ClassVar[str] = "play"


@dataclass(frozen=True, slots=True)
class Refused(Message):
    """Something asked for was not done; ``code`` names the error, ``id`` what it was about."""

    code: str
    id: str = ""
    type: ClassVar[str] = "refused"


@dataclass(frozen=True, slots=True)
class Bye(Message):
    """The technician ends the room."""

    type: ClassVar[str] = "bye"


@dataclass(frozen=True, slots=True)
class Closed(Message):
    """The room has ended; ``code`` names the reason, ``chain`` the head of its record (``{"n", "hash"}``)."""

    code: str
    chain: dict[str, Any] = field(default_factory=dict)
    type: ClassVar[str] = "closed"


def _catalogue(*classes: type[Message]) -> dict[str, type[Message]]:
    return {cls.type: cls for cls in classes}


FROM_AGENT: Final = _catalogue(Hello, Chat, Beat, Bye, Decide, Hold, Stop, Seen, Result, Dtcs, Finish)
FROM_VIEWER: Final = _catalogue(
    Chat, Want, Live, RtcOffer, Ping, Mark, Unmark, View, Line, Ask, Withdraw, Decide, Hold, Stop, Finish, Play,
    *CALL_MESSAGES,
)  # fmt: skip
FROM_SERVER: Final = _catalogue(Welcome, Ack, Beat, Event, Refused, Closed, Hold)
"""What an agent hears."""
