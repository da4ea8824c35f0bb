"""Everything of a room that is not samples: JSON messages on the websocket, parsed strictly.

No I/O. A message is an object with a ``type``; its other keys are the fields of one dataclass here. A field of the
same name means the same in every message and is checked by the same rule. Unknown keys are ignored, so that a newer
side may say more; unknown types and wrong fields are refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from consult.errors import MessageBroken
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "FROM_AGENT",
    "FROM_SERVER",
    "FROM_VIEWER",
    "MAX_CHAT_CHARS",
    "MAX_NAME_CHARS",
    "PROTOCOL",
    "Ack",
    "Beat",
    "Bye",
    "Chat",
    "Closed",
    "Event",
    "Hello",
    "Live",
    "Message",
    "Ping",
    "Pong",
    "Refused",
    "RtcOffer",
    "Want",
    "Welcome",
    "clean_name",
    "encode_message",
    "parse_message",
]

PROTOCOL: Final = 1
MAX_CHAT_CHARS: Final = 2000
MAX_NAME_CHARS: Final = 40
_MAX_SDP_CHARS: Final = 20_000
_U16: Final = 1 << 16
_U32: Final = 1 << 32


class Message:
    """Anything with a ``type``."""

    type: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """The agent's first word: the car, the columns of its streams, and which events it has seen."""

    protocol: int
    epoch: int
    report: dict[str, Any]
    schemas: list[Any]
    events_after: int
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
    """Something that happened in the room, numbered from 1 and kept in the journal."""

    n: int
    t_us: int
    kind: str
    who: dict[str, Any]
    id: str
    text: str
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
class Refused(Message):
    """Something asked for was not done; ``code`` names the error."""

    code: str
    type: ClassVar[str] = "refused"


@dataclass(frozen=True, slots=True)
class Bye(Message):
    """The technician ends the room."""

    type: ClassVar[str] = "bye"


@dataclass(frozen=True, slots=True)
class Closed(Message):
    """The room has ended; ``code`` names the reason."""

    code: str
    type: ClassVar[str] = "closed"


M = TypeVar("M", bound=Message)


def _catalogue(*classes: type[Message]) -> dict[str, type[Message]]:
    return {cls.type: cls for cls in classes}


FROM_AGENT: Final = _catalogue(Hello, Chat, Beat, Bye)
FROM_VIEWER: Final = _catalogue(Chat, Want, Live, RtcOffer, Ping)
FROM_SERVER: Final = _catalogue(Welcome, Ack, Beat, Event, Refused, Closed)
"""What an agent hears."""


def _whole(limit: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value < limit


def _text(limit: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and len(value) <= limit


def _object(value: Any) -> bool:
    return isinstance(value, dict)


_RULES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "protocol": _whole(_U16),
    "epoch": _whole(_U32),
    "stream": _whole(_U16),
    "first": _whole(_U32),
    "last": _whole(_U32),
    "attempt": _whole(_U32),
    "n": _whole(1 << 53),
    "t_us": _whole(1 << 53),
    "now_us": _whole(1 << 53),
    "events_after": _whole(1 << 53),
    "report": _object,
    "who": _object,
    "schemas": lambda value: isinstance(value, list) and len(value) <= 16,
    "next": lambda value: _whole(_U32 + 1)(value) or _object(value),
    "id": _text(64),
    "text": _text(MAX_CHAT_CHARS),
    "kind": _text(32),
    "code": _text(64),
    "room": _text(64),
    "over": lambda value: value in ("rtc", "wss"),
    "sdp": _text(_MAX_SDP_CHARS),
}


def encode_message(message: Message) -> str:
    """A message as one JSON text."""
    body = {field.name: getattr(message, field.name) for field in fields(message)}  # type: ignore[arg-type]  # every message class is a dataclass; the base alone is not
    return json.dumps({"type": message.type, **body}, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def parse_message(text: str, allowed: Mapping[str, type[Message]]) -> Message:
    """The message in a text, if it is one of ``allowed``.

    Raises:
        MessageBroken: no JSON object, a type that this side does not take, or a field that breaks its rule.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MessageBroken(Text("not JSON", "不是 JSON")) from error
    if not isinstance(body, dict):
        raise MessageBroken(Text("not an object", "不是对象"))
    kind = body.get("type")
    cls = allowed.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise MessageBroken(Text("unknown type", "未知类型"))
    found: dict[str, Any] = {}
    for field in fields(cls):  # type: ignore[arg-type]  # as above
        if field.name not in body or not _RULES[field.name](body[field.name]):
            raise MessageBroken(Text(f"field {field.name} of {kind}", f"{kind} 的字段 {field.name}"))
        found[field.name] = body[field.name]
    return cls(**found)


def clean_name(name: object) -> str:
    """A visitor's name fit for everybody's screen: printable, one line, not too long; empty when nothing is left."""
    if not isinstance(name, str):
        return ""
    printable = "".join(char if char.isprintable() else " " for char in name[: 4 * MAX_NAME_CHARS])
    return " ".join(printable.split())[:MAX_NAME_CHARS]
