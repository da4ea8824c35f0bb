"""Loading databases and looking messages up in them.

cantools parses; everything after that is ours: each message becomes a plan once, when the file is loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from dbc.errors import DatabaseBroken, FileMissing, NotADatabase, Phrase
from dbc.signals import Condition, DecodedFrame, Message, Signal
from dbc.table import pgn_from_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["MAX_BYTES", "Database", "Node", "load", "text_from_bytes"]

MAX_BYTES: Final = 64 << 20
"""The largest database file that is read."""

Attributes = dict[str, int | float | str]

_KEYWORD: Final = re.compile(r"^\s*(VERSION|NS_|BS_|BU_|BO_|SG_|CM_|BA_DEF_|VAL_|VAL_TABLE_)\b", re.MULTILINE)
_LINE: Final = re.compile(r"\bline (\d+)")
_HIGH_RUNS: Final = re.compile(rb"[\x80-\xff]+")
_FLOAT_BITS: Final = frozenset({16, 32, 64})
_ISO_TP_ON_29_BITS: Final = frozenset({0xDA00, 0xDB00})
_PGN_PDU: Final = 0x3FF00


@dataclass(frozen=True, slots=True)
class Node:
    """A control unit of the network.

    Args:
        attributes: all attributes of the node, defaults filled in.
    """

    name: str
    attributes: Mapping[str, int | float | str] = field(default_factory=dict)
    comment: str = ""

    def _id(self, attribute: str) -> int | None:
        value = self.attributes.get(attribute)
        return value if isinstance(value, int) and value > 0 else None

    @property
    def diag_request_id(self) -> int | None:
        """Identifier on which the unit takes diagnostic requests."""
        return self._id("DiagRequestId")

    @property
    def diag_response_id(self) -> int | None:
        """Identifier on which it answers them."""
        return self._id("DiagResponseId")


@dataclass(frozen=True, slots=True)
class Database:
    """One database file.

    Args:
        name: the file's name without its ending.
        path: as given.
        encoding: in which the file's text was understood.
        attributes: of the network as a whole, defaults filled in.
        duplicates: messages hidden by a later one with the same identifier.
    """

    name: str
    path: str
    messages: tuple[Message, ...]
    nodes: tuple[Node, ...] = ()
    encoding: str = "utf-8"
    version: str = ""
    attributes: Mapping[str, int | float | str] = field(default_factory=dict)
    duplicates: tuple[str, ...] = ()
    by_key: Mapping[int, Message] = field(init=False, repr=False, compare=False)
    by_pgn: Mapping[int, Message] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_key = {message.can_id | message.extended << 31: message for message in self.messages}
        by_pgn: dict[int, Message] = {}
        for message in self.messages:
            if message.is_j1939:
                by_pgn.setdefault(pgn_from_id(message.can_id), message)
        object.__setattr__(self, "by_key", by_key)
        object.__setattr__(self, "by_pgn", by_pgn)

    def find_message(self, can_id: int, *, extended: bool) -> Message | None:
        """The message of an identifier: the very same one, else for 29 bits the one of its parameter group."""
        exact = self.by_key.get(can_id | extended << 31)
        if exact is not None or not extended:
            return exact
        pgn = pgn_from_id(can_id)
        if can_id >> 24 & 0x03 == 0 and pgn & _PGN_PDU in _ISO_TP_ON_29_BITS:
            return None  # 18DAxxyy and 18DBxxyy are diagnostics on the same bus, no parameter groups
        return self.by_pgn.get(pgn)

    def find_message_by_name(self, name: str) -> Message | None:
        """The message with this name."""
        return next((message for message in self.messages if message.name == name), None)

    def find_node(self, name: str) -> Node | None:
        """The control unit with this name."""
        return next((node for node in self.nodes if node.name == name), None)

    def decode_frame(self, can_id: int, extended: bool, data: bytes) -> DecodedFrame | None:
        """Reads one frame; None when the database does not know it.

        A message longer than 8 bytes on a classic frame is a reassembled one: give its whole payload here.
        """
        message = self.find_message(can_id, extended=extended)
        if message is None:
            return None
        return DecodedFrame(
            message,
            message.decode(data),
            short=len(data) < message.length,
            source_address=can_id & 0xFF if message.is_j1939 else None,
        )


def text_from_bytes(raw: bytes) -> tuple[str, str]:
    """Text of a database file and the encoding in which it makes sense.

    UTF-8 when it is; else GB 18030 when its high bytes come in pairs that are Chinese characters; else Windows-1252,
    the habit of the tools that write DBC files.
    """
    try:
        return raw.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        pass
    runs: list[bytes] = _HIGH_RUNS.findall(raw)
    paired = sum(len(run) % 2 == 0 for run in runs)
    if paired * 2 > len(runs):
        try:
            text = raw.decode("gb18030")
        except UnicodeDecodeError:
            pass
        else:
            beyond = [char for char in text if char > "\x7f"]
            if sum("一" <= char <= "鿿" or "\u3000" <= char <= "〿" or char > "\uff00" for char in beyond) * 2 > len(
                beyond
            ):
                return text, "gb18030"
    return raw.decode("cp1252", errors="replace"), "cp1252"


def read_bytes(path: str | Path, limit: int) -> bytes:
    """The content of a file.

    Raises:
        FileMissing: not there, a folder, or not readable.
        NotADatabase: above ``limit`` bytes.
    """
    where = Path(path)
    try:
        if where.stat().st_size > limit:
            raise NotADatabase(str(path), Phrase(f"above {limit} bytes", f"超过 {limit} 字节"))
        return where.read_bytes()
    except (OSError, ValueError) as exc:
        raise FileMissing(str(path), getattr(exc, "strerror", None) or str(exc)) from exc


def _resolved(defined: Mapping[str, Any], explicit: Mapping[str, Any] | None, kind: str | None) -> Attributes:
    """Attributes of one object with the defaults of their definitions; enumerated ones as their text."""
    out: Attributes = {}
    for name, definition in defined.items():
        if definition.kind != kind:
            continue
        value = explicit[name].value if explicit and name in explicit else definition.default_value
        if value is None:
            continue
        choices = definition.choices
        if choices and isinstance(value, int) and 0 <= value < len(choices):
            value = choices[value]
        out[name] = value
    return out


def _ranges(ids: Iterable[int]) -> tuple[tuple[int, int], ...]:
    out: list[tuple[int, int]] = []
    for number in sorted(set(ids)):
        if out and out[-1][1] == number - 1:
            out[-1] = (out[-1][0], number)
        else:
            out.append((number, number))
    return tuple(out)


def _conditions(parsed: Any, by_name: Mapping[str, Any]) -> tuple[Condition, ...]:
    """What must hold for a signal to be there: its own selector first, then the selectors of that one."""
    out: list[Condition] = []
    seen: set[str] = set()
    while parsed is not None and parsed.multiplexer_ids is not None and parsed.multiplexer_signal is not None:
        if parsed.name in seen:
            break
        seen.add(parsed.name)
        out.append(Condition(parsed.multiplexer_signal, _ranges(parsed.multiplexer_ids)))
        parsed = by_name.get(parsed.multiplexer_signal)
    return tuple(out)


def _signal(parsed: Any, by_name: Mapping[str, Any]) -> Signal:
    return Signal(
        name=parsed.name,
        start=parsed.start,
        length=parsed.length,
        little_endian=parsed.byte_order == "little_endian",
        signed=parsed.is_signed,
        is_float=parsed.conversion.is_float,
        scale=parsed.conversion.scale,
        offset=parsed.conversion.offset,
        unit=parsed.unit or "",
        minimum=parsed.minimum,
        maximum=parsed.maximum,
        labels={int(raw): str(text) for raw, text in (parsed.conversion.choices or {}).items()},
        conditions=_conditions(parsed, by_name),
        comment=parsed.comment or "",
    )


def _is_readable(parsed: Any) -> bool:
    if parsed.conversion.is_float:
        return parsed.length in _FLOAT_BITS
    return bool(1 <= parsed.length <= 64)


def _message(parsed: Any, defined: Mapping[str, Any], *, j1939: bool) -> Message:
    attributes = _resolved(defined, parsed.dbc.attributes if parsed.dbc else None, "BO_")
    by_name = {signal.name: signal for signal in parsed.signals}
    cycle_ms = parsed.cycle_time
    return Message(
        name=parsed.name,
        can_id=parsed.frame_id,
        extended=parsed.is_extended_frame,
        length=parsed.length,
        signals=tuple(_signal(signal, by_name) for signal in parsed.signals if _is_readable(signal)),
        is_fd=bool(parsed.is_fd) or str(attributes.get("VFrameFormat", "")).endswith("_FD"),
        is_j1939=parsed.is_extended_frame and (j1939 or attributes.get("VFrameFormat") == "J1939PG"),
        senders=tuple(sender for sender in parsed.senders if sender != "Vector__XXX"),
        cycle_time_ms=int(cycle_ms) if _is_number(cycle_ms) and cycle_ms > 0 else None,
        attributes=attributes,
        comment=parsed.comment or "",
        unreadable=tuple(signal.name for signal in parsed.signals if not _is_readable(signal)),
    )


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float)


def _line_of(text: str, reason: str) -> int | str:
    """The line that a parser's complaint is about: the one it names, else the first with the thing it names."""
    if found := _LINE.search(reason):
        return int(found[1])
    words = re.findall(r"VAL_ \d+ \w+|SIG_VALTYPE_ \d+ \w+|(?<=message )\w+|(?<=signal )\w+", reason)
    for word in words:
        at = re.search(rf"\b{re.escape(word)}\b", text)
        if at:
            return text.count("\n", 0, at.start()) + 1
    return "?"


def load(path: str | Path) -> Database:
    """Reads a DBC file and makes the plan of each message.

    Raises:
        FileMissing: not there or not readable.
        NotADatabase: nothing of the DBC format in it.
        DatabaseBroken: a line of it cannot be understood.
    """
    where = str(path)
    text, encoding = text_from_bytes(read_bytes(path, MAX_BYTES))
    if "\0" in text or not _KEYWORD.search(text):
        raise NotADatabase(where, Phrase("nothing of the DBC format in it", "内容不是 DBC 格式"))
    import cantools.database.can.formats.dbc as parser

    try:
        parsed: Any = parser.load_string(text, strict=False)
        defined = parsed.dbc.attribute_definitions
        attributes = _resolved(defined, parsed.dbc.attributes, None)
        j1939 = str(attributes.get("ProtocolType", "")).upper().startswith("J1939")
        messages = tuple(_message(message, defined, j1939=j1939) for message in parsed.messages)
        nodes = tuple(
            Node(node.name, _resolved(defined, node.dbc.attributes if node.dbc else None, "BU_"), node.comment or "")
            for node in parsed.nodes
        )
    except Exception as exc:
        reason = " ".join(str(exc).split()) or type(exc).__name__
        raise DatabaseBroken(where, _line_of(text, reason), reason) from exc
    last = {message.can_id | message.extended << 31: message.name for message in messages}
    hidden = tuple(m.name for m in messages if last[m.can_id | m.extended << 31] != m.name)
    return Database(Path(where).stem, where, messages, nodes, encoding, parsed.version or "", attributes, hidden)
