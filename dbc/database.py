"""Loading databases and looking messages up in them.

A DBC file is mended first (:mod:`dbc.repair`); cantools parses; everything after that is ours: each message becomes a
plan once, when the file is loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dbc.containerpdu import parts
from dbc.encoding import text_from_bytes
from dbc.errors import DatabaseBroken
from dbc.formats import read_foreign, recognise
from dbc.imports import MAX_BYTES, collect_parts, read_bytes
from dbc.parsed import layout_issues, message_from_parsed, resolve_attributes
from dbc.repair import repair_parts
from dbc.signals import DecodedFrame, Message
from dbc.table import pgn_from_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbc.issues import Issue
    from dbc.repair import Repaired
    from dbc.signals import Signal

__all__ = ["MAX_BYTES", "DataIdentifier", "Database", "Node", "load", "load_bytes", "text_from_bytes"]

_LINE: Final = re.compile(r"\bline (\d+)")
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
class DataIdentifier:
    """What one identifier of a diagnostic description reads.

    Args:
        identifier: of 16 bits, as service 22 names it.
        length: of its data in bytes.
        signals: layouts inside the data, which begin behind the echoed identifier.
    """

    identifier: int
    name: str
    length: int
    signals: tuple[Signal, ...]


@dataclass(frozen=True, slots=True)
class Database:
    """One database file.

    Args:
        name: the file's name without its ending.
        path: as given.
        encoding: in which the file's text was understood.
        attributes: of the network as a whole, defaults filled in.
        duplicates: messages hidden by a later one with the same identifier.
        format: ``dbc``, ``kcd``, ``sym``, ``arxml`` or ``cdd``.
        dids: data identifiers of a diagnostic description (CDD).
        issues: what was wrong in the file and in those that it takes in, and whether it was mended.
        imports: the files that it takes in, as it names them.
    """

    name: str
    path: str
    messages: tuple[Message, ...]
    nodes: tuple[Node, ...] = ()
    encoding: str = "utf-8"
    version: str = ""
    attributes: Mapping[str, int | float | str] = field(default_factory=dict)
    duplicates: tuple[str, ...] = ()
    format: str = "dbc"
    dids: tuple[DataIdentifier, ...] = ()
    issues: tuple[Issue, ...] = ()
    imports: tuple[str, ...] = ()
    by_key: Mapping[int, Message] = field(init=False, repr=False, compare=False)
    by_pgn: Mapping[int, Message] = field(init=False, repr=False, compare=False)
    by_name: Mapping[str, Message] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_key = {message.can_id | message.extended << 31: message for message in self.messages}
        by_pgn: dict[int, Message] = {}
        for message in self.messages:
            if message.is_j1939:
                by_pgn.setdefault(pgn_from_id(message.can_id), message)
        object.__setattr__(self, "by_key", by_key)
        object.__setattr__(self, "by_pgn", by_pgn)
        object.__setattr__(self, "by_name", {message.name: message for message in reversed(self.messages)})

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
        return self.by_name.get(name)

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
            short=len(data) < message.length and not message.contained,
            source_address=can_id & 0xFF if message.is_j1939 else None,
            contained=tuple(
                DecodedFrame(inner, inner.decode(part.data), short=len(part.data) < inner.length)
                for part in (parts(data, little=message.little_headers) if message.contained else ())
                if (inner := message.contained.get(part.number)) is not None
            ),
        )


def _line_of(repaired: Repaired, reason: str) -> tuple[str, int | str]:
    """Where in the files on disk the parser's complaint is about: the line it names, else the first with the thing."""
    number = int(found[1]) if (found := _LINE.search(reason)) else 0
    if not number:
        words = re.findall(r"(?:VAL_|SIG_VALTYPE_) \d+ \w+|(?<=message )\w+|(?<=signal )\w+", reason)
        for word in words:
            if at := re.search(rf"\b{re.escape(word)}\b", repaired.text):
                number = repaired.text.count("\n", 0, at.start()) + 1
                break
    if 1 <= number <= len(repaired.lines):
        return repaired.lines[number - 1]
    return "", "?"


def load(path: str | Path) -> Database:
    """Reads a database file of any format that we know and makes the plan of each message.

    What can be mended is, and said in :attr:`Database.issues`.

    Raises:
        FileMissing: not there or not readable.
        NotADatabase: nothing of a known format in it.
        DatabaseBroken: a line of it cannot be understood.
    """
    return load_bytes(read_bytes(path), path)


def load_bytes(raw: bytes, path: str | Path) -> Database:
    """The same from the content of a file; ``path`` is where its imports are looked for.

    Raises:
        NotADatabase: nothing of a known format in it.
        DatabaseBroken: a line of it cannot be understood.
    """
    kind = recognise(raw)
    if kind != "dbc":
        return _foreign(raw, path, kind)
    where = str(path)
    parts = collect_parts(path, raw)
    repaired = repair_parts(parts)
    import cantools.database.can.formats.dbc as parser

    try:
        parsed: Any = parser.load_string(repaired.text, strict=False)
        database = _database(parsed, repaired, where)
    except Exception as exc:
        reason = " ".join(str(exc).split())[:500] or type(exc).__name__
        file, line = _line_of(repaired, reason)
        broken = str(Path(where).parent / file) if file else where
        raise DatabaseBroken(broken, line, reason) from exc
    imports = tuple(part.name for part in parts[:-1])
    return replace(database, encoding=parts[-1].encoding, imports=imports)


def _database(parsed: Any, repaired: Repaired, where: str) -> Database:
    """The parser's result under the names and identifiers of the file."""
    defined = parsed.dbc.attribute_definitions
    attributes = resolve_attributes(defined, parsed.dbc.attributes, None)
    j1939 = str(attributes.get("ProtocolType", "")).upper().startswith("J1939")
    names = repaired.names
    issues = list(repaired.issues)
    messages = []
    for message in parsed.messages:
        text = repaired.messages[message.frame_id | message.is_extended_frame << 31]
        plan = message_from_parsed(message, defined, j1939=j1939, text=text, names=names)
        shown = {signal.parsed: signal.shown for signal in text.signals}
        lengths = {shown.get(signal.name, signal.name): signal.length for signal in message.signals}
        issues += layout_issues(plan, text, lengths)
        messages.append(plan)
    nodes = tuple(
        Node(
            names.get(node.name, node.name),
            resolve_attributes(defined, node.dbc.attributes if node.dbc else None, "BU_"),
            node.comment or "",
        )
        for node in parsed.nodes
    )
    last = {message.can_id | message.extended << 31: message.name for message in messages}
    hidden = tuple(m.name for m in messages if last[m.can_id | m.extended << 31] != m.name)
    issues.sort(key=lambda issue: (issue.file != "", issue.file, issue.line, issue.code))
    return Database(
        Path(where).stem,
        where,
        tuple(messages),
        nodes,
        "utf-8",
        parsed.version or "",
        attributes,
        hidden,
        issues=tuple(issues),
    )


def _foreign(raw: bytes, path: str | Path, kind: str) -> Database:
    """A database of another format."""
    read = read_foreign(raw, str(path), kind)
    last = {message.can_id | message.extended << 31: message.name for message in read.messages}
    return Database(
        Path(path).stem,
        str(path),
        tuple(read.messages),
        tuple(Node(name, {}, comment) for name, comment in read.nodes),
        read.encoding,
        read.version,
        duplicates=tuple(m.name for m in read.messages if last[m.can_id | m.extended << 31] != m.name),
        format=read.format,
        dids=tuple(DataIdentifier(*did) for did in read.dids),
        issues=tuple(read.issues),
    )
