"""Frozen pictures and what people draw on them: seen by all, kept in the journal. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from consult.errors import FileUnknown, MessageBroken, RoleRefused, TooMuch
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from consult.callmessages import Still, Stroke

__all__ = ["MAX_STILLS", "MAX_STROKES", "StillBoard"]

MAX_STILLS: Final = 100
MAX_STROKES: Final = 200
"""On one still."""

_MOST_STROKES: Final = 2000
"""On all of them: whoever comes is told them all."""

_DIGITS: Final = 4
"""A ten-thousandth of a picture's side is less than a pixel."""


@dataclass(slots=True)
class StillBoard:
    """The stills of one room, with how many strokes each has; and the strokes, with still and person."""

    _stills: dict[str, int] = field(default_factory=dict)
    _strokes: dict[str, tuple[str, int]] = field(default_factory=dict)

    def put(self, still: Still, files: Mapping[str, dict[str, Any]]) -> dict[str, Any] | None:
        """What to keep of a still; None where it stands already.

        Raises:
            MessageBroken: it has no id, or its file is no picture.
            FileUnknown: nobody brought such a file.
            TooMuch: there are too many.
        """
        if not still.id:
            raise MessageBroken(Text("a still without an id", "静态画面缺少标识"))
        if still.id in self._stills:
            return None
        told = files.get(still.file)
        if told is None:
            raise FileUnknown
        if not str(told["type"]).startswith("image/"):
            raise MessageBroken(Text("a still that is no picture", "静态画面不是图片"))
        if len(self._stills) >= MAX_STILLS:
            raise TooMuch(Text("stills", "静态画面"), str(MAX_STILLS))
        self._stills[still.id] = 0
        return {"file": still.file, "of": still.of, "t_us": still.t_us}

    def draw(self, stroke: Stroke, person: int) -> dict[str, Any] | None:
        """What to keep of a stroke; None where it stands already.

        Raises:
            MessageBroken: it is on no still.
            TooMuch: there are too many.
        """
        if not stroke.id or stroke.still not in self._stills:
            raise MessageBroken(Text("a stroke on no still", "笔画未落在任何静态画面上"))
        if stroke.id in self._strokes:
            return None
        if self._stills[stroke.still] >= MAX_STROKES or len(self._strokes) >= _MOST_STROKES:
            raise TooMuch(Text("strokes", "笔画"), str(MAX_STROKES))
        self._stills[stroke.still] += 1
        self._strokes[stroke.id] = (stroke.still, person)
        points = [[round(x, _DIGITS), round(y, _DIGITS)] for x, y in stroke.points]
        return {"still": stroke.still, "points": points, "colour": stroke.colour}

    def take_away(self, ident: str, person: int, *, may_all: bool) -> bool:
        """Removes a stroke; False where there is none.

        Raises:
            RoleRefused: it is somebody else's.
        """
        if ident not in self._strokes:
            return False
        still, drawer = self._strokes[ident]
        if drawer != person and not may_all:
            raise RoleRefused("stroke")
        del self._strokes[ident]
        self._stills[still] -= 1
        return True

    def restore(self, events: Iterable[dict[str, Any]]) -> None:
        """What stands after some events of the journal."""
        for event in events:
            ident = event["id"]
            if event["kind"] == "still":
                self._stills[ident] = 0
            elif event["kind"] == "stroke" and event["body"]["still"] in self._stills:
                self._strokes[ident] = (event["body"]["still"], event["who"]["id"])
                self._stills[event["body"]["still"]] += 1
            elif event["kind"] == "unstroke" and ident in self._strokes:
                self._stills[self._strokes.pop(ident)[0]] -= 1
