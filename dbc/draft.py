"""A database on its way from file to parser: its messages, signals and nodes under the names that the parser accepts.

Names that the parser cannot read get stand-ins, identifiers that it refuses get free ones; what stands for what is
kept, so that people see the names and numbers of the file.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dbc.errors import DatabaseBroken, Phrase
from dbc.issues import found
from dbc.statements import KEYWORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbc.imports import Part
    from dbc.issues import Issue
    from dbc.statements import Statement

__all__ = ["Draft", "MessageText", "Ranges", "SignalText", "is_possible"]

_GOOD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GOOD_NUMBER: Final = re.compile(r"[-+]?\d+\.?\d*(?:[eE][+-]?\d+)?")
_BARE_POINT: Final = re.compile(r"([-+]?)(\.\d+(?:[eE][+-]?\d+)?)")
_INDEPENDENT: Final = "VECTOR__INDEPENDENT_SIG_MSG"
_EXTENDED: Final = 1 << 31
_MAX_STANDARD: Final = 0x7FF
_MAX_EXTENDED: Final = 0x1FFFFFFF

Ranges = tuple[tuple[int, int], ...]


@dataclass(slots=True)
class SignalText:
    """One signal of the file.

    Args:
        name: as the file spells it; ``parsed`` as the parser sees it, ``shown`` as people see it.
        mux: the multiplexing mark, empty when there is none.
        is_lost: no selector can be told, so that it must not be read.
    """

    name: str
    parsed: str
    shown: str
    line: int
    file: str
    mux: str
    text: str
    is_lost: bool = False


@dataclass(slots=True)
class MessageText:
    """One message of the file.

    Args:
        number: identifier as the file means it, bit 31 = extended.
        parsed_number: identifier that the parser sees.
        ranges: signal -> its selector and the values that choose it, where the file says so at length.
        wide: the same by the parser's name, for signals with more values than the parser is given.
    """

    number: int
    parsed_number: int
    name: str
    parsed: str
    shown: str
    line: int
    file: str
    length: str
    sender: str
    signals: list[SignalText] = field(default_factory=list)
    ranges: dict[str, tuple[str, Ranges]] = field(default_factory=dict)
    wide: dict[str, Ranges] = field(default_factory=dict)

    def find(self, name: str) -> list[SignalText]:
        """All signals of that name in the file's spelling."""
        return [signal for signal in self.signals if signal.name == name]


class Draft:
    """One run over all parts of a database."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.issues: list[Issue] = []
        self.names: dict[str, str] = {}
        self.stand_ins: dict[str, str] = {}
        self.messages: list[MessageText] = []
        self.by_number: dict[int, list[MessageText]] = {}
        self.nodes: dict[str, str] = {}
        self.types: dict[str, tuple[str, list[str]]] = {}
        self.out: list[str] = []
        self.lines: list[tuple[str, int]] = []
        self.prefix = "hz_name_"
        used = {s.text("name")[:8] for part in parts for s in part.scan.statements if s.groups.get("name")}
        while any(name.startswith(self.prefix[:8]) for name in used):
            self.prefix = "z" + self.prefix

    def note(self, code: str, line: int, file: str, **fields: object) -> None:
        """One issue."""
        self.issues.append(found(code, line, file, **fields))

    def statements(self, *kinds: str) -> Iterator[tuple[Part, Statement]]:
        """All statements of some kinds with the file that they stand in, imported files first."""
        for part in self.parts:
            for statement in part.scan.statements:
                if statement.kind in kinds:
                    yield part, statement

    def write(self, text: str, file: str, line: int) -> None:
        """One statement into the new text."""
        self.out.append(text)
        self.lines += [(file, line)] * (text.count("\n") + 1)

    # --- names and numbers ---------------------------------------------------------------------------------------

    def name(self, name: str, line: int, file: str) -> str:
        """The name for the parser: itself, or a stand-in, said once."""
        if _GOOD_NAME.fullmatch(name) and name not in KEYWORDS and name != _INDEPENDENT:
            return name
        if name not in self.stand_ins:
            self.stand_ins[name] = self.fresh(name)
            self.note("name", line, file, name=name)
        return self.stand_ins[name]

    def fresh(self, shown: str) -> str:
        """A new stand-in."""
        stand_in = f"{self.prefix}{len(self.names)}"
        self.names[stand_in] = shown
        return stand_in

    def number(self, text: str, part: Part, line: int) -> str:
        """A number that the parser reads.

        Raises:
            DatabaseBroken: it is none; what it means cannot be guessed.
        """
        if _GOOD_NUMBER.fullmatch(text):
            return text
        if bare := _BARE_POINT.fullmatch(text):
            value = f"{bare[1]}0{bare[2]}"
            self.note("number", line, part.name, text=text, value=value)
            return value
        reason = Phrase(f'"{text}" is no number', f"“{text}”不是数字")
        raise DatabaseBroken(part.path, line, reason)

    # --- messages and signals ------------------------------------------------------------------------------------

    def read_nodes(self) -> None:
        """All lists of nodes, joined."""
        for part, statement in self.statements("BU_"):
            listed = re.split(r"[\s,]+", statement.text("names").strip())
            names = [name for name in listed if name]
            if not statement.text("colon") or "," in statement.text("names"):
                self.note("bu-block", statement.line, part.name, nodes=" ".join(names))
            for name, count in Counter(names).items():
                if count > 1:
                    self.note("duplicate-node", statement.line, part.name, name=name)
                self.nodes.setdefault(name, self.name(name, statement.line, part.name))
        if self.nodes:
            self.write(f"BU_: {' '.join(self.nodes.values())}", "", 1)

    def read_messages(self) -> None:
        """All messages with their signals."""
        for part in self.parts:
            message: MessageText | None = None
            last = ""
            independent = False
            for statement in part.scan.statements:
                if statement.kind == "BO_":
                    independent = statement.text("name") == _INDEPENDENT
                    message = self.message(part, statement)
                    if independent:
                        count = self.count_signals_after(part, statement)
                        self.note("independent-signals", statement.line, part.name, n=count)
                    else:
                        self.messages.append(message)
                elif statement.kind == "SG_":
                    if message is None:
                        reason = Phrase("a signal before any message", "信号出现在任何报文之前")
                        raise DatabaseBroken(part.path, statement.line, reason)
                    if not independent:
                        self.signal(part, statement, message, is_moved=last not in {"BO_", "SG_"})
                last = statement.kind

    @staticmethod
    def count_signals_after(part: Part, message: Statement) -> int:
        """How many signals follow a message."""
        count = 0
        statements = part.scan.statements
        for statement in statements[statements.index(message) + 1 :]:
            if statement.kind == "BO_":
                break
            count += statement.kind == "SG_"
        return count

    def message(self, part: Part, statement: Statement) -> MessageText:
        """One message; its identifier set right."""
        name, line = statement.text("name"), statement.line
        number = int(statement.text("id"), 0) if "x" in statement.text("id").lower() else int(statement.text("id"))
        if name != _INDEPENDENT:
            if not number & _EXTENDED and _MAX_STANDARD < number <= _MAX_EXTENDED:
                number |= _EXTENDED
                self.note("extended-id", line, part.name, id=f"0x{number & _MAX_EXTENDED:X}", name=name)
            elif not is_possible(number):
                self.note("impossible-id", line, part.name, id=f"0x{number:X}", name=name)
            if not statement.text("sender"):
                self.note("no-sender", line, part.name, name=name)
        sender = statement.text("sender") or "Vector__XXX"
        parsed = self.name(name, line, part.name) if name != _INDEPENDENT else name
        sender = self.name(sender, line, part.name)
        length = str(int(statement.text("length")))
        return MessageText(number, number, name, parsed, name, line, part.name, length, sender)

    def signal(self, part: Part, statement: Statement, message: MessageText, *, is_moved: bool) -> None:
        """One signal into its message."""
        name, line = statement.text("name"), statement.line
        parsed, shown = self.name(name, line, part.name), name
        if count := len(message.find(name)):
            taken = {signal.shown for signal in message.signals}
            shown = next(new for n in range(count + 1, 1 << 20) if (new := f"{name}_{n}") not in taken)
            parsed = self.fresh(shown)
            self.note("duplicate-signal", line, part.name, message=message.name, name=name, shown=shown)
        if is_moved:
            self.note("moved-signal", line, part.name, name=name, message=message.name)
        scale, offset = (self.number(statement.text(key).strip(), part, line) for key in ("scale", "offset"))
        limits = [text.strip() for text in statement.text("range").split("|")]
        if len(limits) != 2 or not all(_GOOD_NUMBER.fullmatch(text) for text in limits):
            bare = [_BARE_POINT.fullmatch(text) for text in limits]
            if len(limits) == 2 and all(b or _GOOD_NUMBER.fullmatch(t) for b, t in zip(bare, limits, strict=True)):
                limits = [self.number(text, part, line) for text in limits]
            else:
                self.note("range", line, part.name, text=statement.text("range"))
                limits = ["0", "0"]
        if statement.groups["unit"] is None:
            self.note("no-unit", line, part.name, name=name)
        if not statement.text("receivers").strip():
            self.note("no-receiver", line, part.name, name=name)
        mux = statement.text("mux")
        if mux == "m":
            self.note("selector-mark", line, part.name, name=name)
            mux = "M"
        text = (
            f"{statement.text('start')}|{statement.text('length')}@{statement.text('order')}{statement.text('sign')} "
            f"({scale},{offset}) [{limits[0]}|{limits[1]}] {statement.groups['unit'] or chr(34) * 2} Vector__XXX"
        )
        message.signals.append(SignalText(name, parsed, shown, line, part.name, mux, text))

    def settle_numbers(self) -> None:
        """Stand-ins for identifiers that are impossible or taken, and names that are taken; says which message wins."""
        last: dict[int, MessageText] = {}
        for message in self.messages:
            self.by_number.setdefault(message.number, []).append(message)
            last[message.number] = message
        free = iter(range(_EXTENDED | _MAX_EXTENDED, _EXTENDED, -1))
        for message in self.messages:
            winner = last[message.number]
            if winner is not message:
                shown = f"0x{message.number & _MAX_EXTENDED:X}"
                file = f"{winner.file} " if winner.file != message.file else ""
                where = Phrase(f"{file}line {winner.line}", f" {file}第 {winner.line} 行")
                self.note(
                    "duplicate-message",
                    message.line,
                    message.file,
                    id=shown,
                    name=message.name,
                    where=where,
                    winner=winner.name,
                )
            if winner is not message or not is_possible(message.number):
                message.parsed_number = next(number for number in free if number not in last)

    def settle_names(self) -> None:
        """Gives each message a name of its own."""
        names: set[str] = set()
        for message in self.messages:
            if message.shown in names:
                message.shown = next(new for n in range(2, 1 << 20) if (new := f"{message.name}_{n}") not in names)
                self.note("duplicate-name", message.line, message.file, name=message.name, shown=message.shown)
            names.add(message.shown)

    def settle_selectors(self) -> None:
        """Finds multiplexed signals of which it cannot be known when they are there."""
        for message in self.messages:
            selectors = [signal for signal in message.signals if signal.mux.endswith("M")]
            for signal in message.signals:
                if not signal.mux.startswith("m") or signal.name in message.ranges or len(selectors) == 1:
                    continue
                signal.is_lost = True
                self.note("no-selector", signal.line, signal.file, name=signal.name, message=message.name)

    def write_messages(self) -> None:
        """Messages and signals into the new text."""
        for message in self.messages:
            self.write(
                f"BO_ {message.parsed_number} {message.parsed}: {message.length} {message.sender}",
                message.file,
                message.line,
            )
            for signal in message.signals:
                mux = f" {signal.mux}" if signal.mux else ""
                self.write(f" SG_ {signal.parsed}{mux} : {signal.text}", signal.file, signal.line)

    def targets(self, statement: Statement, file: str, what: str) -> list[MessageText]:
        """The messages that a statement is about; notes when there is none."""
        if not statement.text("id"):
            self.note("unreadable", statement.line, file, text=what)
            return []
        number = int(statement.text("id"))
        for candidate in (number, number | _EXTENDED, number & _MAX_EXTENDED):
            if messages := self.by_number.get(candidate):
                return messages
        if number & _MAX_EXTENDED or not number >> 30:
            self.note("undefined-message", statement.line, file, what=what, id=f"0x{number & ~_EXTENDED:X}")
        return []

    def signal_targets(self, statement: Statement, file: str, what: str) -> list[tuple[MessageText, SignalText]]:
        """The signals that a statement is about; notes when there is none."""
        messages = self.targets(statement, file, what)
        name = statement.text("name")
        signals = [(message, signal) for message in messages for signal in message.find(name)]
        if messages and not signals:
            shown = f"0x{messages[0].number & _MAX_EXTENDED:X}"
            self.note("undefined-signal", statement.line, file, what=what, name=name, id=shown)
        return signals


def is_possible(number: int) -> bool:
    """Whether a CAN frame can have an identifier (bit 31 = extended)."""
    return number <= _MAX_STANDARD or (bool(number & _EXTENDED) and number & ~_EXTENDED <= _MAX_EXTENDED)
