"""How a room's messages are written and read: strictly. A field of one name means the same in every message.

No I/O. A message is an object with a ``type``; its other keys are the fields of one dataclass. Unknown keys are
ignored, so that a newer side may say more; unknown types and wrong fields are refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final

from consult.errors import MessageBroken
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "MAX_CHAT_CHARS",
    "MAX_NAME_CHARS",
    "MAX_SDP_CHARS",
    "Message",
    "clean_name",
    "encode_message",
    "parse_json",
    "parse_message",
]

MAX_CHAT_CHARS: Final = 2000
MAX_NAME_CHARS: Final = 40
MAX_SDP_CHARS: Final = 20_000
MAX_POINTS: Final = 300
"""Of one stroke."""

_HALF_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_U16: Final = 1 << 16
_U32: Final = 1 << 32


class Message:
    """Anything with a ``type``."""

    type: ClassVar[str]


def _whole(limit: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value < limit


def _text(limit: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and len(value) <= limit


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _points(value: Any) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= MAX_POINTS and all(map(_point, value))


def _point(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(one) in (int, float) and 0 <= one <= 1 for one in value)
    )


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
    "t2_us": _whole(1 << 53),
    "cursor_us": _whole(1 << 53),
    "count": _whole(_U32),
    "rtt_ms": _whole(1_000_000),
    "missing": _whole(_U32),
    "fps": _whole(1000),
    "signal": _text(200),
    "signals": lambda value: isinstance(value, list) and len(value) <= 32 and all(_text(200)(one) for one in value),
    "lead": _flag,
    "hold": _flag,
    "resume": _flag,
    "unplugged": _flag,
    "ecu": _text(16),
    "data": lambda value: isinstance(value, str) and re.fullmatch(r"(?:[0-9A-Fa-f]{2}){1,4095}", value) is not None,
    "digest": lambda value: isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None,
    "decision": lambda value: value in ("approve", "session", "deny", "second"),
    "proof": _text(256),
    "key": _text(128),
    "allows": _object,
    "chain": _object,
    "body": _object,
    "outcome": lambda value: value in ("done", "refused", "failed", "stopped", "expired"),
    "speed": lambda value: type(value) in (int, float) and 0 <= value <= 1000,
    "sdp": _text(MAX_SDP_CHARS),
    "join": _flag,
    "audio": _flag,
    "video": _flag,
    "level": lambda value: value in ("video", "voice", "chat"),
    "to": _whole(1 << 53),
    "of": _whole(1 << 53),
    "op": lambda value: value in ("publish", "watch", "watching", "candidate", "unpublish"),
    "on": _flag,
    "given": _flag,
    "file": lambda value: isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None,
    "still": _text(64),
    "points": _points,
    "colour": _whole(6),
}


def encode_message(message: Message) -> str:
    """A message as one JSON text."""
    body = {part.name: getattr(message, part.name) for part in fields(message)}  # type: ignore[arg-type]  # every message class is a dataclass; the base alone is not
    return json.dumps({"type": message.type, **body}, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def parse_json(text: str) -> Any:
    """The value in a JSON text, every string of which can be written down again.

    An escape may name half of a surrogate pair. Such a string is no text: neither a file nor a websocket takes it.

    Raises:
        ValueError: no JSON, or with half a character in it.
        RecursionError: it is nested too deeply.
    """
    value = json.loads(text)
    if _HALF_ESCAPE.search(text) is not None:
        json.dumps(value, ensure_ascii=False).encode()  # its error is a ValueError
    return value


def parse_message(text: str, allowed: Mapping[str, type[Message]]) -> Message:
    """The message in a text, if it is one of ``allowed``.

    Raises:
        MessageBroken: no JSON object, a type that this side does not take, or a field that breaks its rule.
    """
    try:
        body = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise MessageBroken(Text("not JSON", "不是 JSON")) from error
    if not isinstance(body, dict):
        raise MessageBroken(Text("not an object", "不是对象"))
    kind = body.get("type")
    cls = allowed.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise MessageBroken(Text("unknown type", "未知类型"))
    found: dict[str, Any] = {}
    for part in fields(cls):  # type: ignore[arg-type]  # as above
        if part.name not in body and not (part.default is MISSING and part.default_factory is MISSING):
            continue
        if part.name not in body or not _RULES[part.name](body[part.name]):
            raise MessageBroken(Text(f"field {part.name} of {kind}", f"{kind} 的字段 {part.name}"))
        found[part.name] = body[part.name]
    return cls(**found)


def clean_name(name: object) -> str:
    """A visitor's name fit for everybody's screen: printable, one line, not too long; empty when nothing is left."""
    if not isinstance(name, str):
        return ""
    printable = "".join(char if char.isprintable() else " " for char in name[: 4 * MAX_NAME_CHARS])
    return " ".join(printable.split())[:MAX_NAME_CHARS]
