"""Requests to the car on the technician's side: shown clearly, answered with a letter, or as JSON lines by a program.

In JSON every request and what becomes of it is one line ``huizhen.room-request/1`` on standard output; a line on
standard input that begins with ``{`` is a word about one::

    {"decide": "approve|session|deny", "id": ID, "unplugged": true}
    {"hold": ID}      {"stop": true}      {"resume": true}      {"phone": true}
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from consult.approver import Approver, Notice
    from consult.grantactions import Asked
    from huizhen.console import Console

__all__ = ["RoomRequests", "in_both_languages"]

_SETTLED_S: Final = 1.0
"""A decision right after the request before it went away may have been meant for that one."""

_SHOWN_BYTES: Final = 32


def in_both_languages(error: BaseException) -> Text:
    """An error's sentence in English and in Chinese."""
    from huizhen.language import Translator

    return Text(Translator("en").error(error), Translator("zh").error(error))


class RoomRequests:
    """Shows requests and takes the technician's words on them.

    Args:
        console: for both ways of output.
        is_json: JSON lines instead of sentences.
        show_phone: shows the link of the technician's own page.
        ecu_names: address -> name, from the report.
    """

    def __init__(
        self,
        console: Console,
        *,
        is_json: bool,
        show_phone: Callable[[], Awaitable[None]],
        ecu_names: Mapping[str, str],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._is_json, self._show_phone, self._names = console, is_json, show_phone, ecu_names
        self._now_s = now_s
        self._approver: Approver | None = None
        self._waiting: dict[str, tuple[Asked, Notice]] = {}
        self._current: str | None = None
        self._is_looking = self._had_one = False
        self._changed_s = float("-inf")

    def attach(self, approver: Approver) -> None:
        """Whom the words go to."""
        self._approver = approver

    # -- what happens ------------------------------------------------------------------------------------------------

    def notice(self, notice: Notice) -> None:
        """Tells the technician what happened."""
        if notice.kind == "shown" and notice.asked is not None:
            if self._approver is not None and notice.asked not in self._approver.book.open:
                return  # decided or withdrawn while the car was looked at
            self._waiting[notice.ident] = notice.asked, notice
        elif notice.kind in ("hold", "running", "over", "dropped", "gone"):
            self._waiting.pop(notice.ident, None)
        if self._is_json:
            self._console.json(self._notice_json(notice))
        else:
            self._tell(notice)
            self._show_next()
        self._console.out.flush()

    def _tell(self, notice: Notice) -> None:
        tr, asked = self._console.tr, notice.asked
        match notice.kind:
            case "hold":
                self._console.line(self._console.style(tr("requests.hold"), "title"))
            case "running" if asked is not None:
                self._console.note(tr("requests.running", what=self._what(asked), ecu=self._ecu(asked)))
            case "over" if asked is not None:
                self._tell_result(asked, notice)
            case "dropped" if notice.error is not None:
                self._console.note(tr("requests.not_done", why=tr.error(notice.error)))
            case "gone" if asked is not None and asked.needs_second and self._is_granted(asked):
                self._console.note(tr("requests.granted_more"))
            case "gone" if asked is not None and asked.ident == self._current and not self._is_granted(asked):
                self._console.note(tr("requests.gone", who=self._who(asked)))
            case "rejected" if notice.error is not None:
                self._console.error(tr("requests.rejected", why=tr.error(notice.error)))
            case "stopped":
                self._console.line(self._console.style(tr("requests.stopped"), "stop"))
            case "resumed":
                self._console.note(tr("requests.resumed"))

    def _is_granted(self, asked: Asked) -> bool:
        return self._approver is not None and self._approver.book.is_granted(asked.ident)

    def _tell_result(self, asked: Asked, notice: Notice) -> None:
        tr, body = self._console.tr, notice.body
        text = str(body.get("text", {}).get(tr.lang, ""))
        if body.get("ended"):
            endings = {
                "released": tr("requests.ended.released"),
                "stop": tr("requests.ended.stop"),
                "limit": tr("requests.ended.limit"),
                "car": tr("requests.ended.car"),
            }
            text = f"{text} ({endings.get(str(body['ended']), '')})"
        what = self._what(asked)
        if notice.outcome == "refused":
            self._console.error(tr("requests.not_done", why=text))
        else:
            self._console.line(tr("requests.done", ecu=self._ecu(asked), what=what, text=text))
        for answer in body.get("answers", ()):
            data = bytes.fromhex(answer["data"])
            shown = data[:_SHOWN_BYTES].hex(" ").upper() + (" …" if len(data) > _SHOWN_BYTES else "")
            self._console.line(f"  {tr('requests.raw', data=shown)}")

    def _show_next(self) -> None:
        """The request that the next letter is for, when it has become another one."""
        if self._current in self._waiting:
            return
        if self._approver is not None and self._approver.book.is_stopped:
            return  # what still waits is refused in this very moment
        self._is_looking = False
        self._current = next(iter(self._waiting), None)
        if self._current is None:
            self._had_one = False
            return
        if self._had_one:
            self._changed_s = self._now_s()
        self._had_one = True
        self._show(*self._waiting[self._current])

    def _show(self, asked: Asked, notice: Notice) -> None:
        tr, console = self._console.tr, self._console
        from huizhen.roomview import printable

        head = tr("requests.head", who=self._who(asked), ecu=self._ecu(asked), what=self._what(asked))
        console.line(console.style(head, "title"))
        left_s = max(0, round((asked.expires_ns - time.monotonic_ns()) / 1e9))
        meanings = {
            "A": tr("requests.class.A"),
            "B": tr("requests.class.B"),
            "C": tr("requests.class.C"),
            "D": tr("requests.class.D"),
        }
        data, risk = asked.data.hex(" ").upper(), asked.risk.value
        console.line(f"  {tr('requests.facts', data=data, risk=risk, meaning=meanings[risk], seconds=left_s)}")
        console.line(f"  {tr('requests.why', why=printable(asked.why))}")
        if asked.needs_state:
            console.line(f"  {self._state(notice)}")
        if notice.unmet is not None:
            console.line(f"  {tr('requests.unmet', why=notice.unmet.in_language(tr.lang))}")
        if asked.needs_second:
            console.line(f"  {tr('requests.second')}")
        if len(self._waiting) > 1:
            console.line(f"  {tr('requests.waiting', n=len(self._waiting) - 1)}")
        may_last = self._approver is not None and self._approver.book.may_last(asked)
        console.line(f"  {tr('requests.answer_session') if may_last else tr('requests.answer')}")

    def _state(self, notice: Notice) -> str:
        tr, state = self._console.tr, notice.state
        speed = None if state is None else state.speed_kmh
        volts = None if state is None else state.supply_v
        return tr(
            "requests.state",
            speed=tr("requests.speed_unknown") if speed is None else tr("requests.speed", value=speed),
            supply=tr("requests.supply_unknown") if volts is None else tr("requests.supply", value=volts),
        )

    # -- what is typed -----------------------------------------------------------------------------------------------

    def is_stop(self, line: str) -> bool:
        """Whether a typed line is the kill switch."""
        if self._is_json and line.lstrip().startswith("{"):
            try:
                word = json.loads(line)
            except (ValueError, RecursionError):
                return False
            return isinstance(word, dict) and word.get("stop") is True and not {"decide", "hold"} & set(word)
        return self._command(line).split(" ")[0] == "/stop"

    def _command(self, line: str) -> str:
        from huizhen.roomview import command_from_typed

        return command_from_typed(line.strip()).lower()

    async def take(self, line: str) -> bool:
        """A typed line; False when it is none about requests, but something said in the room."""
        approver, words = self._approver, line.strip()
        if approver is None:
            return False
        if self._is_json and words.startswith("{"):
            await self._take_json(words, approver)
            return True
        if not words:
            held = approver.book.held
            if held is not None:
                approver.hold(held.ident)
            return True
        match self._command(line):
            case command if command.split(" ")[0] == "/stop":
                approver.stop()
            case "/resume":
                approver.resume()
            case "/phone":
                await self._show_phone()
            case "/requests":
                self._list()
            case "y" | "n" | "s" if not self._is_json:
                self._decide(words.lower(), approver)
            case _:
                return False
        return True

    def _decide(self, letter: str, approver: Approver) -> None:
        tr = self._console.tr
        if self._current is None or self._current not in self._waiting:
            self._console.note(tr("requests.none"))
            return
        if self._now_s() - self._changed_s < _SETTLED_S:
            self._changed_s = float("-inf")
            self._console.note(tr("requests.changed"))
            return
        asked, notice = self._waiting[self._current]
        if letter == "s" and not approver.book.may_last(asked):
            self._console.note(tr("requests.not_session"))
        elif self._is_looking and letter == "n":
            self._is_looking = False
            self._show(asked, notice)
        elif letter == "y" and asked.needs_state and not self._is_looking:
            self._is_looking = True
            self._console.line(self._console.style(tr("requests.look"), "title"))
        else:
            decision = {"y": "approve", "s": "session", "n": "deny"}[letter]
            self._is_looking, self._current = False, None
            approver.decide(asked.ident, asked.digest, decision, unplugged=asked.needs_state and letter == "y")
        self._console.out.flush()

    def _list(self) -> None:
        if not self._waiting:
            self._console.note(self._console.tr("requests.none"))
        for asked, _ in self._waiting.values():
            self._console.line(
                self._console.tr(
                    "requests.listed",
                    id=asked.ident[:8],
                    who=self._who(asked),
                    ecu=self._ecu(asked),
                    what=self._what(asked),
                    data=asked.data.hex(" ").upper(),
                    risk=asked.risk.value,
                )
            )
        self._console.out.flush()

    async def _take_json(self, words: str, approver: Approver) -> None:
        try:
            word: Any = json.loads(words)
        except ValueError:
            word = None
        match word:
            case {"decide": "approve" | "session" | "deny" as decision, "id": str(ident)}:
                asked = next((one for one in approver.book.open if one.ident == ident), None)
                digest = word.get("digest", asked.digest if asked is not None else "")
                approver.decide(ident, str(digest), decision, unplugged=word.get("unplugged") is True)
            case {"hold": str(ident)}:
                approver.hold(ident)
            case {"stop": True}:
                approver.stop()
            case {"resume": True}:
                approver.resume()
            case {"phone": True}:
                await self._show_phone()
            case _:
                self._console.error(self._console.tr("requests.bad_json", line=words[:80]))

    # -- names -------------------------------------------------------------------------------------------------------

    def _what(self, asked: Asked) -> str:
        return asked.name.in_language(self._console.tr.lang)

    def _ecu(self, asked: Asked) -> str:
        name = self._names.get(asked.ecu)
        return f"{name} ({asked.ecu})" if name else asked.ecu

    def _who(self, asked: Asked) -> str:
        from huizhen.roomview import printable

        return printable(str(asked.who.get("name") or asked.who.get("role") or "?"))

    def _notice_json(self, notice: Notice) -> dict[str, Any]:
        asked, error = notice.asked, notice.error
        told: dict[str, Any] = {"schema": "huizhen.room-request/1", "event": notice.kind, "id": notice.ident}
        if asked is not None:
            told |= {
                "who": {"role": asked.who.get("role"), "name": asked.who.get("name")},
                "why": asked.why,
                "ecu": asked.ecu,
                "ecu_name": self._names.get(asked.ecu, ""),
                "data": asked.data.hex().upper(),
                "risk": asked.risk.value,
                "name": asked.name.to_json(),
                "hold": asked.hold,
                "second": asked.needs_second,
                "digest": asked.digest,
            }
        if notice.kind == "shown" and asked is not None:
            told |= {
                "expires_s": round((asked.expires_ns - time.monotonic_ns()) / 1e9, 1),
                "state": None if notice.state is None else notice.state.to_json(),
                "unmet": None if notice.unmet is None else notice.unmet.to_json(),
                "unplugged_needed": asked.needs_state,
            }
        if error is not None:
            told |= {"code": error.code, "text": in_both_languages(error).to_json()}
        if notice.outcome:
            told |= {"outcome": notice.outcome, "result": notice.body}
        return told
