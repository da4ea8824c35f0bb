"""The text of a PDF that a browser made: which fonts are in it, whether its Chinese can be read, searched and copied.

A browser without a Chinese font prints boxes and says nothing; so its PDF is looked at. And it names the shapes that a
radical shares with a character by the radical (U+2F08 for U+4EBA): the page looks right, and searching it for the word
finds nothing. The names are put right in an appended part, as the format foresees it; what was written stays.

Standard: ISO 32000-1:2008 §7.5.6 (incremental updates), §9.8 (font descriptors), §9.10.3 (ToUnicode).
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["PdfFonts", "fonts_in_pdf", "with_searchable_text"]

_OBJECT: Final = re.compile(rb"(?<![0-9])(\d+) 0 obj\s*(<<.*?>>)\s*(stream\r?\n|endobj)", re.DOTALL)
_LENGTH: Final = re.compile(rb"/Length (\d+)\b(?! \d+ R)")
_TRAILER: Final = re.compile(rb"trailer\s*<<(.*?)>>\s*startxref\s+(\d+)\s+%%EOF\s*\Z", re.DOTALL)
_CHAR: Final = re.compile(rb"(<[0-9A-Fa-f]+>\s*)<([0-9A-Fa-f]{4})>")
_RANGE: Final = re.compile(rb"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]{4})>")
_MOST_UNPACKED: Final = 5_000_000
_CJK: Final = range(0x4E00, 0xA000)
_RADICALS: Final = (range(0x2E80, 0x2FE0),)
_SIMPLIFIED: Final = str.maketrans(
    "⺁⺟⺠⺩⻁⻄⻅⻆⻉⻋⻓⻔⻘⻙⻚⻛⻜⻢⻣⻤⻥⻦⻨⻩⻬⻮⻰⻳⼾⾭",
    "厂母民王虎西见角贝车长门青韦页风飞马骨鬼鱼鸟麦黄齐齿龙龟户青",
)
"""Radicals without a compatibility mapping, or with one to another form than is written today."""


def _unified(char: str) -> str:
    """The character whose shape a radical is; itself for everything else."""
    if not any(ord(char) in block for block in _RADICALS):
        return char
    plain = char.translate(_SIMPLIFIED)
    return plain if plain != char else unicodedata.normalize("NFKC", char)


@dataclass(frozen=True, slots=True)
class PdfFonts:
    """The fonts of a PDF.

    Args:
        embedded: names of those whose shapes are in it.
        missing: names of those that it only names.
        chinese: Chinese characters that its fonts have a shape for.
    """

    embedded: tuple[str, ...]
    missing: tuple[str, ...]
    chinese: frozenset[str]


def _objects(content: bytes) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Number, dictionary and stream (as it stands) of every object with a dictionary."""
    at = 0
    while (found := _OBJECT.search(content, at)) is not None:
        at = found.end()
        stream = None
        if found[3].startswith(b"stream") and (length := _LENGTH.search(found[2])) is not None:
            stream = content[at : at + int(length[1])]
            at += int(length[1])
        yield int(found[1]), found[2], stream


def _unpacked(stream: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(stream, _MOST_UNPACKED)
    except zlib.error:
        return b""


def fonts_in_pdf(content: bytes) -> PdfFonts:
    """What fonts a browser's PDF has, and which Chinese characters can be read in it."""
    names: dict[int, tuple[str, bool]] = {}
    drawn: set[int] = set()
    chinese: set[str] = set()

    def seen(char: str) -> str:
        chinese.add(_unified(char))
        return char

    for number, told, stream in _objects(content):
        if b"/FontDescriptor" in told and b"/Type3" in told:  # its shapes are drawings in the file itself
            drawn.update(int(ref) for ref in re.findall(rb"/FontDescriptor (\d+) 0 R", told))
        elif re.search(rb"/Type\s*/FontDescriptor", told):
            name = re.search(rb"/FontName\s*/([^\s/<>\[\]()]+)", told)
            text = name[1].decode("ascii", "replace") if name else "?"
            names[number] = (text, re.search(rb"/FontFile[23]?\s", told) is not None)
        if stream is not None and b"begincmap" in (text_map := _unpacked(stream)):
            _renamed(text_map, seen)
    embedded = [name for number, (name, has_file) in names.items() if has_file or number in drawn]
    missing = [name for number, (name, has_file) in names.items() if not has_file and number not in drawn]
    found = frozenset(char for char in chinese if ord(char) in _CJK)
    return PdfFonts(tuple(dict.fromkeys(embedded)), tuple(dict.fromkeys(missing)), found)


def _renamed(text_map: bytes, name: Callable[[str], str]) -> bytes:
    """A ToUnicode map with every character named anew."""

    def digits(char: str) -> bytes:
        return f"<{ord(name(char)):04X}>".encode()

    def chars(block: re.Match[bytes]) -> bytes:
        return _CHAR.sub(lambda entry: entry[1] + digits(chr(int(entry[2], 16))), block[0])

    def one_range(entry: re.Match[bytes]) -> bytes:
        first, last, start = int(entry[1], 16), int(entry[2], 16), int(entry[3], 16)
        told = [chr(start + at) for at in range(min(0xFF, last - first) + 1)]
        named = b" ".join(digits(char) for char in told)
        return (
            entry[0]
            if all(_unified(char) == char for char in told)
            else b"<%s> <%s> [%s]" % (entry[1], entry[2], named)
        )

    text_map = re.sub(rb"beginbfchar.*?endbfchar", chars, text_map, flags=re.DOTALL)
    ranges = lambda block: _RANGE.sub(one_range, block[0])  # noqa: E731 - one of three of a kind
    return re.sub(rb"beginbfrange.*?endbfrange", ranges, text_map, flags=re.DOTALL)


def with_searchable_text(content: bytes) -> bytes:
    """A browser's PDF whose Chinese words are found when searched for; as it was where it is built otherwise."""
    trailer = _TRAILER.search(content)
    if trailer is None or not content[int(trailer[2]) :].startswith(b"xref"):
        return content
    out = bytearray(content if content.endswith(b"\n") else content + b"\n")
    places: list[tuple[int, int]] = []
    for number, _, stream in _objects(content):
        if stream is None or b"begincmap" not in (text_map := _unpacked(stream)):
            continue
        better = _renamed(text_map, _unified)
        if better == text_map:
            continue
        packed = zlib.compress(better)
        places.append((number, len(out)))
        head = b"%d 0 obj\n<</Filter /FlateDecode\n/Length %d>> stream\n" % (number, len(packed))
        out += head + packed + b"\nendstream\nendobj\n"
    if not places:
        return content
    start = len(out)
    out += b"xref\n0 1\n0000000000 65535 f \n" + b"".join(b"%d 1\n%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<<%s\n/Prev %s>>\nstartxref\n%d\n%%%%EOF\n" % (trailer[1].strip(), trailer[2], start)
    return bytes(out)
