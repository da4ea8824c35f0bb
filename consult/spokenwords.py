"""What the technician's laptop said in the room and has not yet seen coming back as an event: it is said again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from consult.messages import Chat, Decide, Finish, Message, Result, Seen, Stop, encode_message

if TYPE_CHECKING:
    from consult.messages import Event

__all__ = ["SpokenWords"]

_KINDS: Final[dict[type[Message], str]] = {
    Chat: "chat",
    Decide: "decision",
    Seen: "seen",
    Result: "result",
    Stop: "stop",
    Finish: "finish",
}
"""What comes back as an event when the room has heard it."""


@dataclass(slots=True)
class SpokenWords:
    """Words in the order in which they were said."""

    _waiting: dict[tuple[str, str], str] = field(default_factory=dict)
    _unsent: list[tuple[str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether something was not yet heard."""
        return bool(self._waiting)

    @property
    def has_unsent(self) -> bool:
        """Whether something is to go out now."""
        return bool(self._unsent)

    def say(self, message: Message) -> None:
        """Something more. A later stop takes the place of an earlier one that was not heard."""
        key = _KINDS[type(message)], str(getattr(message, "id", ""))
        self._waiting[key] = encode_message(message)
        self._unsent.append(key)

    def repeat(self) -> None:
        """A new connection: everything that was not heard goes out again."""
        self._unsent = list(self._waiting)

    def take(self) -> str | None:
        """The next one to send; None when there is none."""
        while self._unsent:
            text = self._waiting.get(self._unsent.pop(0))
            if text is not None:
                return text
        return None

    def hear(self, event: Event) -> None:
        """An event of the room: what it repeats has arrived. Somebody else's stop is not this laptop's "go on"."""
        waiting = self._waiting.get((event.kind, event.id))
        if waiting is None:
            return
        if event.kind == "decision" and event.body.get("by") == "page":
            return  # the second person's, or the phone's: not what was said here
        if event.kind == "result" and event.who.get("role") == "service":
            return  # the room gave the request up; what really became of it is still to be told
        if event.kind == "stop" and json.loads(waiting)["resume"] is event.body.get("stopped"):
            return
        del self._waiting[event.kind, event.id]

    def forget(self, what: str) -> None:
        """The service does not take this; said again it would be no better.

        Args:
            what: ``type:id``, or the id alone for everything that was said about it.
        """
        type_, _, ident = what.partition(":")
        kinds = {kind for cls, kind in _KINDS.items() if cls.type == type_}
        if kinds:
            self._waiting = {key: text for key, text in self._waiting.items() if key[1] != ident or key[0] not in kinds}
        else:
            self._waiting = {key: text for key, text in self._waiting.items() if key[1] != what}
