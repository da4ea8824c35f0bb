"""Database formats beside DBC: KCD, SYM, ARXML and CDD, recognised by content and read through cantools.

XML is checked before anything else reads it: no entities, no external parts, bounded depth.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any, Final
from xml.parsers import expat

from dbc.encoding import decode_text
from dbc.errors import DatabaseBroken, NotADatabase, Phrase
from dbc.issues import found
from dbc.parsed import is_readable, layout_issues, message_from_parsed, signal_from_parsed

if TYPE_CHECKING:
    from dbc.issues import Issue
    from dbc.signals import Message, Signal

__all__ = ["Foreign", "read_foreign", "recognise"]

_DEPTH: Final = 200
_ROOTS: Final = {"NetworkDefinition": "kcd", "AUTOSAR": "arxml", "CANDELA": "cdd"}
_DECLARED: Final = re.compile(rb"^<\?xml[^>]*?encoding\s*=\s*[\"']([\w.-]+)[\"']")
_ENCODINGS: Final = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb18030": "gb18030",
    "shift_jis": "cp932",
    "windows-1252": "cp1252",
    "iso-8859-1": "cp1252",
    "iso-8859-15": "iso8859-15",
    "utf-8": "utf-8-sig",
    "utf-16": "utf-16",
}
_SYM: Final = re.compile(r"^FormatVersion\s*=\s*([\d.]+)", re.MULTILINE)
_XML_START: Final = re.compile(rb"^(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?(?:\s|\0)*<")
_SIGNAL_PDU: Final = re.compile(r"(<I-SIGNAL-I-PDU(?:\s[^>]*)?>)(.*?</I-SIGNAL-I-PDU>)", re.DOTALL)
_NO_HEADER: Final = "<CONTAINED-I-PDU-PROPS><HEADER-ID-SHORT-HEADER>0</HEADER-ID-SHORT-HEADER></CONTAINED-I-PDU-PROPS>"
_LINE: Final = re.compile(r"\bline (\d+)")


class Foreign:
    """What one file of another format holds.

    Attributes:
        dids: identifier, name, length in bytes and signals of what a diagnostic request reads (CDD only).
    """

    def __init__(self, format_: str, encoding: str) -> None:
        self.format = format_
        self.encoding = encoding
        self.version = ""
        self.messages: list[Message] = []
        self.nodes: list[tuple[str, str]] = []
        self.dids: list[tuple[int, str, int, tuple[Signal, ...]]] = []
        self.issues: list[Issue] = []


def recognise(raw: bytes) -> str:
    """``xml``, ``sym`` or, for everything else, ``dbc``: which reader a file is for."""
    if _XML_START.match(raw[:256]):
        return "xml"
    return "sym" if re.search(rb"^FormatVersion\s*=", raw[:4096], re.MULTILINE) else "dbc"


def _check_xml(text: str, path: str) -> str:
    """The root's name of a text that holds nothing but elements, text and comments.

    Raises:
        DatabaseBroken: it is no XML, declares entities, or is nested too deeply.
    """
    parser = expat.ParserCreate("utf-8")
    depth = 0
    root = ""

    def refuse(*_: object) -> None:
        reason = Phrase("it declares XML entities, which are not expanded", "声明了 XML 实体，不予展开")
        raise DatabaseBroken(path, parser.CurrentLineNumber, reason)

    def start(name: str, _attributes: object) -> None:
        nonlocal depth, root
        root = root or name
        depth += 1
        if depth > _DEPTH:
            reason = Phrase(f"more than {_DEPTH} elements inside each other", f"元素嵌套超过 {_DEPTH} 层")
            raise DatabaseBroken(path, parser.CurrentLineNumber, reason)

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse  # type: ignore[assignment]  # it raises, so it returns nothing
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(text.encode("utf-8", errors="replace"), True)
    except expat.ExpatError as exc:
        raise DatabaseBroken(path, exc.lineno, f"XML: {expat.errors.messages[exc.code]}") from exc
    return root.rpartition(":")[2]


def _xml_text(raw: bytes) -> tuple[str, str]:
    """Text of an XML file in the encoding that it declares, without the declaration."""
    declared = _DECLARED.match(raw)
    name = declared[1].decode("ascii", errors="replace").lower() if declared else ""
    if name in _ENCODINGS and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = raw.decode(_ENCODINGS[name], errors="replace").replace("\r\n", "\n")
        encoding = name
    else:
        read = decode_text(raw)
        text, encoding = read.text, read.encoding
    return re.sub(r"^(\s*<\?xml[^>]*?)\s+encoding\s*=\s*([\"'])[\w.-]+\2", r"\1", text, count=1), encoding


def read_foreign(raw: bytes, path: str, kind: str) -> Foreign:
    """Reads a file that is not DBC.

    Raises:
        NotADatabase: XML or SYM, but none that is known.
        DatabaseBroken: it cannot be read.
    """
    if kind == "xml":
        text, encoding = _xml_text(raw)
        root = _check_xml(text, path)
        if root not in _ROOTS:
            raise NotADatabase(path, Phrase(f"XML of another kind: {root}", f"其他类型的 XML：{root}"))
        kind = _ROOTS[root]
    else:
        read = decode_text(raw)
        text, encoding = read.text, read.encoding
        version = _SYM.search(text)
        if version is None or version[1] != "6.0":
            was = version[1] if version else "?"
            raise NotADatabase(path, Phrase(f"SYM of version {was}; 6.0 is read", f"SYM 版本 {was}；只支持 6.0"))
    out = Foreign(kind, encoding)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cantools would have CDD converted to ODX first
            _fill(out, text)
    except Exception as exc:
        reason = " ".join(str(exc).split())[:500] or type(exc).__name__
        line = _LINE.search(reason)
        raise DatabaseBroken(path, int(line[1]) if line else "?", reason) from exc
    return out


def _with_headers(text: str) -> str:
    """ARXML in which every PDU names a header; cantools wants that of all that are in a container. 0 is nobody's."""
    if "<CONTAINER-I-PDU" not in text:
        return text

    def mended(found: re.Match[str]) -> str:
        return found[0] if "<HEADER-ID-SHORT-HEADER>" in found[0] else _NO_HEADER.join(found.groups())

    return _SIGNAL_PDU.sub(mended, text)


def _fill(out: Foreign, text: str) -> None:
    if out.format == "cdd":
        _fill_dids(out, text)
        return
    import cantools.database.can.formats.arxml as arxml
    import cantools.database.can.formats.kcd as kcd
    import cantools.database.can.formats.sym as sym

    reader: Any = {"kcd": kcd, "arxml": arxml, "sym": sym}[out.format]
    parsed: Any = reader.load_string(_with_headers(text) if out.format == "arxml" else text, strict=False)
    for message in parsed.messages:
        plan = message_from_parsed(message, {}, j1939=False)
        out.messages.append(plan)
        out.issues += layout_issues(plan, None, {signal.name: signal.length for signal in message.signals})
        if getattr(message, "is_container", False):
            _note_contained(out, message, plan)
    out.nodes = [(node.name, node.comment or "") for node in parsed.nodes]
    out.version = parsed.version or ""


def _note_contained(out: Foreign, parsed: Any, plan: Message) -> None:
    """What of a container cannot be read: messages without a number of 24 bits, and what their layout lacks."""
    inner = parsed.contained_messages or []
    if not inner or len(plan.contained) < len(inner):
        out.issues.append(found("container", 0, name=parsed.name, n=len(inner) - len(plan.contained)))
    lengths = {message.header_id: {s.name: s.length for s in message.signals} for message in inner}
    for number, message in plan.contained.items():
        out.issues += layout_issues(message, None, lengths[number])


def _fill_dids(out: Foreign, text: str) -> None:
    import cantools.database.diagnostics.formats.cdd as cdd

    parsed: Any = cdd.load_string(text)
    for did in parsed.dids:
        signals = tuple(signal_from_parsed(data, data.name) for data in did.datas if is_readable(data))
        out.dids.append((did.identifier, did.name, did.length, signals))
        for data in did.datas:
            if not is_readable(data):
                out.issues.append(found("signal-length", 0, name=data.name, message=did.name, bits=data.length))
