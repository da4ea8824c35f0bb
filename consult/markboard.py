"""Marks on the curves: who points at which signal at which time, seen by all and kept in the journal. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from consult.errors import MessageBroken, RoleRefused, TooMuch
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consult.messages import Mark

__all__ = ["MarkBoard"]

_MOST: Final = 500


@dataclass(slots=True)
class MarkBoard:
    """The marks of one room by their id."""

    _marks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def put(self, mark: Mark, person: int, streams: dict[int, dict[str, Any]]) -> dict[str, Any] | None:
        """What to keep of a mark; None where it stands already.

        Raises:
            MessageBroken: no such signal, or it ends before it begins.
            TooMuch: more marks than a chart can show.
        """
        schema = streams.get(mark.stream)
        if not mark.id or schema is None or all(one["name"] != mark.signal for one in schema["signals"]):
            raise MessageBroken(Text("a mark on no signal", "标记未指向任何信号"))
        if mark.t2_us and mark.t2_us < mark.t_us:
            raise MessageBroken(Text("a mark that ends before it begins", "标记的结束早于开始"))
        if mark.id in self._marks:
            return None
        if len(self._marks) >= _MOST:
            raise TooMuch(Text("marks", "标记"), str(_MOST))
        body = {"stream": mark.stream, "signal": mark.signal, "t_us": mark.t_us, "t2_us": mark.t2_us}
        self._marks[mark.id] = {**body, "person": person}
        return body

    def take_away(self, ident: str, person: int, *, may_all: bool) -> bool:
        """Removes a mark; False where there is none.

        Raises:
            RoleRefused: it is somebody else's.
        """
        mark = self._marks.get(ident)
        if mark is None:
            return False
        if mark["person"] != person and not may_all:
            raise RoleRefused("mark")
        del self._marks[ident]
        return True

    def restore(self, events: Iterable[dict[str, Any]]) -> None:
        """The marks that stand after some events of the journal."""
        for event in events:
            if event["kind"] == "mark":
                self._marks[event["id"]] = {**event["body"], "person": event["who"]["id"]}
            elif event["kind"] == "unmark":
                self._marks.pop(event["id"], None)
