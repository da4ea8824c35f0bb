"""In which encoding a database file was written, found out from its bytes.

DBC files say nothing about their encoding; tools write the one of the machine they run on. UTF-8 proves itself. For the
others every byte above 0x7F is read in each candidate and judged: are these characters that people of that language
write? Chinese, Japanese and Western texts rarely look alike.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Final

from dbc.issues import Issue, found

__all__ = ["FileText", "decode_text", "text_from_bytes"]

_HIGH_RUNS: Final = re.compile(rb"[\x80-\xff]+")
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROL: Final = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")
_WESTERN_SIGNS: Final = frozenset("°µ²³±§Ωº·×½¼¾–—‘’“”…€™‰")
_SAMPLE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FileText:
    """Text of a file with the ends of its lines made equal.

    Args:
        encoding: in which the bytes make sense.
        issues: what had to be set right.
    """

    text: str
    encoding: str
    issues: tuple[Issue, ...] = ()


def _chinese(char: str) -> float:
    """How much a character looks like Chinese text: GB 2312's common part, its signs, its rare part, beyond it."""
    try:
        raw = char.encode("gb2312")
    except UnicodeEncodeError:
        return -1.0
    lead = raw[0]
    if 0xB0 <= lead <= 0xD7 or 0xA1 <= lead <= 0xA3 or lead == 0xA6:
        return 1.0
    return 0.3 if lead >= 0xD8 else 0.0


def _japanese(char: str, before: str, after: str) -> float:
    """The same for Japanese: kana, kanji of the first level, half-width kana only among their like."""
    code = ord(char)
    if 0xFF61 <= code <= 0xFF9F:
        return 0.6 if any(0xFF61 <= ord(other) <= 0xFF9F for other in (before, after) if other) else -0.5
    if 0x3040 <= code <= 0x30FF:
        return 1.0
    if 0xE000 <= code <= 0xF8FF:
        return -1.0
    try:
        lead = char.encode("cp932")[0]
    except UnicodeEncodeError:
        return -1.0
    return 0.9 if lead <= 0x97 else 0.2


def _western(char: str, run: int) -> float:
    """The same for Western Europe: letters and signs that stand alone or in pairs between ASCII."""
    if not (char in _WESTERN_SIGNS or (char.isalpha() and "À" <= char <= "ÿ")):
        return -0.5
    return 1.0 if run == 1 else 0.5 if run == 2 else -0.7


def _score_western(raw: bytes) -> float:
    total = weight = 0.0
    for run in _HIGH_RUNS.findall(raw):
        try:
            text = run.decode("cp1252")
        except UnicodeDecodeError:
            return -1.0
        total += sum(_western(char, len(run)) for char in text)
        weight += len(run)
    return total / weight if weight else 0.0


def _score_asian(raw: bytes, encoding: str) -> float:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        return -2.0
    total = weight = 0.0
    for at, char in enumerate(text):
        if char < "\x80":
            continue
        size = len(char.encode(encoding))
        if encoding == "gb18030":
            total += size * _chinese(char)
        else:
            total += size * _japanese(char, text[at - 1 : at], text[at + 1 : at + 2])
        weight += size
    return total / weight if weight else 0.0


def _best(raw: bytes) -> str:
    """The candidate whose characters make most sense. Only lines with high bytes count, up to 1 MiB of them."""
    lines = b"\n".join(line for line in raw.splitlines() if _HIGH_RUNS.search(line))[:_SAMPLE]
    if len(lines) == _SAMPLE:
        lines = lines[: lines.rfind(b"\n") + 1] or lines
    scores = {
        "cp1252": _score_western(lines),
        "gb18030": _score_asian(lines, "gb18030"),
        "cp932": _score_asian(lines, "cp932"),
    }
    best = max(scores, key=lambda name: scores[name])
    return "cp1252" if scores[best] <= 0 else best


def _by_lines(raw: bytes) -> FileText | None:
    """A file that is UTF-8 in most of its lines; None when it is not."""
    lines = re.split(rb"(?<=\n)", raw)
    good, bad = [], []
    for number, line in enumerate(lines):
        if not _HIGH_RUNS.search(line):
            continue
        try:
            line.decode("utf-8")
            good.append(number)
        except UnicodeDecodeError:
            bad.append(number)
    if len(good) <= len(bad):
        return None
    other = _best(b"".join(lines[number] for number in bad))
    strange = frozenset(bad)
    text = "".join(
        line.decode(other if number in strange else "utf-8", errors="replace") for number, line in enumerate(lines)
    )
    issues = [found("mixed-encodings", number + 1, encoding="utf-8", other=_shown(other)) for number in bad]
    return FileText(text, "utf-8", tuple(issues))


def _is_chance(raw: bytes, text: str) -> bool:
    """Whether Chinese bytes only happen to be UTF-8: a word like 一 twice is,as letters that nobody writes."""
    strange = {char for char in text if char > "\x7f"}
    if not strange or any(not "\u017f" < char < "\u0800" for char in strange):
        return False
    known = any("Α" <= char <= "ω" or "Ѐ" <= char <= "џ" for char in strange)
    return not known and _score_asian(raw, "gb18030") == 1.0


def _shown(encoding: str) -> str:
    return "shift-jis" if encoding == "cp932" else encoding


def _characters(raw: bytes) -> FileText:
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            text = raw[len(mark) :].decode(encoding, errors="replace")
            return FileText(text, encoding, (found("byte-order-mark", 1),))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text or not raw:
        return FileText(raw.decode("gb18030"), "gb18030") if _is_chance(raw, text) else FileText(text, "utf-8")
    if (mixed := _by_lines(raw)) is not None:
        return mixed
    best = _best(raw)
    return FileText(raw.decode(best, errors="replace"), _shown(best))


def decode_text(raw: bytes) -> FileText:
    """Text of a file, its encoding, and what was wrong with its bytes. Lines end in a line feed afterwards.

    CR LF throughout is the habit of the tools that write DBC files, and no fault; a mixture or CR alone is.
    """
    read = _characters(raw)
    text, issues = read.text, list(read.issues)
    if "\r" in text:
        pairs, single = text.count("\r\n"), text.count("\r")
        if single > pairs:
            issues.append(found("line-ends", _first_line(text, re.compile("\r(?!\n)")), which="CR"))
        elif text.count("\n") > pairs:
            issues.append(found("line-ends", _first_line(text, re.compile("(?<!\r)\n")), which="CR LF, LF"))
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    strange: dict[str, int] = {}
    for match in _CONTROL.finditer(text):
        strange.setdefault(match[0], text.count("\n", 0, match.start()) + 1)
    if strange:
        issues += [found("control-character", line, which=f"U+{ord(char):04X}") for char, line in strange.items()]
        text = _CONTROL.sub(" ", text)
    if text.strip() and not text.endswith("\n"):
        issues.append(found("no-final-newline", text.count("\n") + 1))
        text += "\n"
    return FileText(text, read.encoding, tuple(issues))


def _first_line(text: str, pattern: re.Pattern[str]) -> int:
    at = pattern.search(text)
    before = text[: at.start()] if at else ""
    return len(re.findall("\r\n|\r|\n", before)) + 1


def text_from_bytes(raw: bytes) -> tuple[str, str]:
    """Text of a database file and the encoding in which it makes sense."""
    read = decode_text(raw)
    return read.text, read.encoding
