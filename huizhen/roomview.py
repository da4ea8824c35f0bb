"""The expert room in a terminal: the link as a QR code, what is said, and lines typed by the technician."""

from __future__ import annotations

import asyncio
import codecs
import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consult.messages import Event
    from huizhen.console import Console

__all__ = ["command_from_typed", "event_json", "is_command", "qr_lines", "show_event", "show_findings", "typed_lines"]

_QUIET_ZONE = 2


def qr_lines(text: str, *, coloured: bool) -> list[str]:
    """A QR code in half-block characters, two rows of it per line.

    Args:
        text: what a phone shall read.
        coloured: black on white by terminal colours; else the characters draw the light parts, as on a dark terminal.
    """
    import segno

    rows = [list(row) for row in segno.make(text, error="l").matrix_iter(border=_QUIET_ZONE)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    drawn = 1 if coloured else 0
    signs = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
    lines = [
        "".join(
            signs[(bool(top) == bool(drawn), bool(bottom) == bool(drawn))] for top, bottom in zip(*pair, strict=True)
        )
        for pair in zip(rows[::2], rows[1::2], strict=True)
    ]
    return [f"\x1b[30;107m{line}\x1b[0m" for line in lines] if coloured else lines


def event_json(event: Event) -> dict[str, Any]:
    """One event of the room for scripts."""
    from diag.facts import iso_from_ns

    return {
        "schema": "huizhen.room-event/1",
        "n": event.n,
        "time": iso_from_ns(event.t_us * 1000),
        "kind": event.kind,
        "who": {"role": event.who.get("role"), "name": event.who.get("name")},
        "text": event.text,
    }


def show_event(event: Event, console: Console, cases: dict[str, Any] | None = None) -> None:
    """One event as a line: what others say, who comes and goes. Own words stand there already.

    Args:
        event: of the room.
        console: where it is shown.
        cases: the ranked fixes of the report, by which a known fix is called by its words.
    """
    role, name = event.who.get("role"), str(event.who.get("name") or "")
    roles = {
        "technician": console.tr("consult.role.technician"),
        "lead": console.tr("consult.role.lead"),
        "expert": console.tr("consult.role.expert"),
        "observer": console.tr("consult.role.observer"),
    }
    who = name or roles.get(str(role), str(role))
    if event.kind == "chat" and role != "technician":
        console.line(f"{console.style(who, 'title')}: {printable(event.text)}")
    elif event.kind == "join":
        console.note(console.tr("consult.event.join", who=who))
    elif event.kind == "leave":
        console.note(console.tr("consult.event.leave", who=who))
    elif event.kind == "region" and (why := event.body.get("refused")):
        turned_away = {
            "network": console.tr("privacy.region.network"),
            "account": console.tr("privacy.region.account"),
            "guest": console.tr("privacy.region.guest"),
        }
        console.note(turned_away.get(str(why), str(why)))
    elif event.kind == "region":
        console.note(
            console.tr("privacy.region.lifted") if event.body.get("lifted") else console.tr("privacy.region.asked")
        )
    elif event.kind == "position" and role == "service" and event.body.get("withdrawn"):
        console.note(console.tr("roomconsents.position_owner"))
    elif event.kind == "finish":
        said = [_fix_in_words(str(event.body.get("fix") or ""), cases, console.tr.lang)]
        said += [str(event.body.get(key) or "") for key in ("component", "failure_mode", "action")]
        words = printable(" · ".join(part for part in said if part) or str(event.body.get("note") or "—"))
        console.line(console.tr("roomclosing.finished", who=who, words=words))
    console.out.flush()


def _fix_in_words(fix: str, cases: dict[str, Any] | None, lang: str) -> str:
    for match in (cases or {}).get("matches") or ():
        if fix and match.get("case_id") == fix:
            return str((match.get("title") or match.get("fix") or {}).get(lang) or fix)
    return fix


def show_findings(report: dict[str, Any], console: Console) -> None:
    """The findings that cannot wait, and the warning of high voltage where the car must not be touched."""
    lang = console.tr.lang
    for finding in report["findings"]:
        if finding["severity"] not in {"stop", "soon"}:
            continue
        stop = finding["severity"] == "stop"
        mark = console.tr("consult.open.stop") if stop else console.tr("consult.open.soon")
        console.line(f"{console.style(f'[{mark}]', 'stop' if stop else 'soon')} {finding['title'][lang]}")
        if stop and finding["safety"]:
            console.line(f"  {console.tr('consult.open.high_voltage')}")
    console.out.flush()


def printable(text: str) -> str:
    """Words from the network without anything that a terminal would obey."""
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in text)


def command_from_typed(words: str) -> str:
    """A command as it was meant where a Chinese keyboard wrote it: ``、stop`` and ``／stop`` are ``/stop``."""
    meant = "/" + words[1:] if words[:1] in ("、", "／") else words
    return meant if is_command(meant) else words


def is_command(words: str) -> bool:
    """Whether a typed line is meant as a command, known or not: a slash and a word, but no path."""
    return re.fullmatch(r"/[A-Za-z-]+(\s.*)?", words) is not None


async def typed_lines() -> AsyncIterator[str]:
    """Lines from standard input, from a terminal, a pipe or a file alike, until it ends.

    A thread reads the bare file descriptor: not every input can be polled, and a lock of Python's own stream held by a
    waiting thread would break the program's end.
    """
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError, AttributeError):
        return  # no standard input at all: nothing will be typed

    def put(line: str | None) -> bool:
        try:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        except RuntimeError:
            return False  # the loop has ended: nobody listens any more
        return True

    def read() -> None:
        decoder, rest = codecs.getincrementaldecoder("utf-8")("replace"), ""
        while True:
            try:
                data = os.read(descriptor, 65_536)
            except OSError:
                data = b""
            rest += decoder.decode(data, final=not data)
            *whole, rest = rest.split("\n")
            if not all(put(line) for line in whole):
                return
            if not data:
                if rest:
                    put(rest)
                put(None)
                return

    threading.Thread(target=read, name="standard input", daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line.rstrip("\r")
