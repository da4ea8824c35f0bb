"""The statements of a DBC text, each with its line: what a file says before anybody asks whether it makes sense.

One tolerant pattern per statement. What the pattern forgives (a missing semicolon, a colon, a receiver) is noted as an
issue; a message or signal that it does not recognise ends in :class:`DatabaseBroken` with its line, anything else that
it does not recognise is left out with an issue.

Standard: unverified; the DBC file format as Vector's CANdb++ documentation describes it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from dbc.errors import DatabaseBroken, Phrase
from dbc.issues import Issue, found

__all__ = ["KEYWORDS", "Scan", "Statement", "scan_statements"]

KEYWORDS: Final = frozenset(
    {
        *("BA_", "BA_DEF_", "BA_DEF_DEF_", "BA_DEF_DEF_REL_", "BA_DEF_REL_", "BA_DEF_SGTYPE_", "BA_REL_", "BA_SGTYPE_"),
        *("BO_", "BO_TX_BU_", "BS_", "BU_", "BU_BO_REL_", "BU_EV_REL_", "BU_SG_REL_", "CAT_", "CAT_DEF_", "CM_"),
        *("ENVVAR_DATA_", "EV_", "EV_DATA_", "FILTER", "NS_", "NS_DESC_", "SG_", "SG_MUL_VAL_", "SGTYPE_"),
        *("SGTYPE_VAL_", "SIG_GROUP_", "SIG_TYPE_REF_", "SIG_VALTYPE_", "SIGTYPE_VALTYPE_", "VAL_", "VAL_TABLE_"),
        "VERSION",
    }
)
"""Words that no name may be."""

_ESSENTIAL: Final = frozenset({"BO_", "SG_", "SG_MUL_VAL_", "SIG_VALTYPE_"})
_NO_SEMICOLON: Final = frozenset({"BO_", "SG_"})
_SHOWN: Final = 60
_MOST_UNREADABLE: Final = 500

_STRING: Final = r'"(?:\\"|[^"])*"'
_NAME: Final = r'[^\s:;,"\[\]()|]+'
_WORDS: Final = r'(?P<name>[^\s:"]++(?:[ \t]++[^\s:"]++)*?)'
_ID: Final = r"(?P<id>\d{1,10})"
_OBJECT: Final = rf"(?:(?P<kind>SG_|BO_|BU_|EV_)\s+)?(?:{_ID}\s+)?(?:(?P<name>(?![\d.+-]+\s*[;\n]){_NAME})\s+)?"
_NUMBER: Final = r"[^\s,()|\[\]]*"

_PATTERNS: Final[dict[str, re.Pattern[str]]] = {
    "VERSION": re.compile(r'VERSION[ \t]*(?P<text>"[^"\n]*"|[^\n]*)'),
    "NS_": re.compile(r"NS_\b[ \t]*(?P<colon>:?)[^\n]*(?:\n[ \t]*\w+[ \t]*(?=\n|$)|\n[ \t]*(?=\n))*"),
    "BS_": re.compile(r"BS_\b[ \t]*(?P<colon>:?)[ \t]*[\d:, \t]*;?"),
    "BU_": re.compile(
        rf"BU_\b[ \t]*(?P<colon>:?)(?P<names>[^\n;]*(?:\n[ \t]+(?!(?:{'|'.join(KEYWORDS)})\b)[^\n:;\"|]+(?=\n|$))*);?"
    ),
    "BO_": re.compile(
        rf"BO_\s+(?P<id>0[xX][0-9A-Fa-f]{{1,8}}|\d{{1,10}})\s+{_WORDS}[ \t]*+:\s*(?P<length>\d{{1,5}})"
        rf"(?:[ \t]+(?P<sender>(?!(?:SG_|BO_)\s){_NAME}))?[ \t]*(?P<stray>;?)"
    ),
    "SG_": re.compile(
        rf"SG_\s+{_WORDS}(?:[ \t]++(?P<mux>[Mm]|m\d{{1,20}}M?))?[ \t]*+:\s*(?P<start>\d{{1,5}})\s*\|\s*"
        r"(?P<length>\d{1,5})\s*"
        rf"@\s*(?P<order>[01])\s*(?P<sign>[+-])\s*\(\s*(?P<scale>{_NUMBER})\s*,\s*(?P<offset>{_NUMBER})\s*\)\s*"
        rf"\[(?P<range>[^\]\n\"]*)\]\s*(?P<unit>{_STRING})?(?P<receivers>(?:[^\n;\"]*,[ \t]*(?=\n[ \t]+(?!SG_|BO_)))?"
        r"(?:(?!\b(?:SG_|BO_)\s)[^\n;\"])*)(?P<stray>;?)"
    ),
    "CM_": re.compile(rf"CM_\s+{_OBJECT}(?P<text>{_STRING})\s*(?P<end>;?)"),
    "BA_DEF_": re.compile(
        rf"BA_DEF_\s+(?:(?P<kind>SG_|BO_|BU_|EV_)\s+)?(?P<attribute>{_STRING})\s+(?P<type>INT|HEX|FLOAT|STRING|ENUM)\b"
        rf"(?P<values>(?:\s*+,?\s*+{_STRING})+|(?:\s+[^\s;,\"]+)*)\s*(?P<end>;?)"
    ),
    "BA_DEF_DEF_": re.compile(
        rf"BA_DEF_DEF_\s+(?P<attribute>{_STRING})\s+(?P<value>{_STRING}|[^\s;\"]+)\s*(?P<end>;?)"
    ),
    "BA_": re.compile(rf"BA_\s+(?P<attribute>{_STRING})\s+{_OBJECT}(?P<value>{_STRING}|[^\s;\"]+)[ \t]*(?P<end>;?)"),
    "VAL_": re.compile(
        rf"VAL_\s+(?:{_ID}\s+|(?!\d))(?P<name>{_NAME})(?P<entries>(?:\s+[^\s;\"]+\s*{_STRING})*)\s*(?P<end>;?)"
    ),
    "SIG_VALTYPE_": re.compile(rf"SIG_VALTYPE_\s+{_ID}\s+(?P<name>{_NAME})\s*:?\s*(?P<type>\d\d?)\s*(?P<end>;?)"),
    "SG_MUL_VAL_": re.compile(
        rf"SG_MUL_VAL_\s+{_ID}\s+(?P<name>{_NAME})\s+(?P<selector>{_NAME})\s+"
        r"(?P<ranges>\d{1,20}\s*-\s*\d{1,20}(?:\s*+,?\s*+\d{1,20}\s*-\s*\d{1,20})*)\s*(?P<end>;?)"
    ),
    "BO_TX_BU_": re.compile(
        rf"BO_TX_BU_\s+{_ID}\s*:\s*(?P<senders>{_NAME}(?:(?:\s*+,\s*+|\s++){_NAME})*)\s*(?P<end>;?)"
    ),
}
_UNUSED: Final = re.compile(rf"(?:{_STRING}|[^\";])*?(?:;|(?=\n[ \t]*(?:{'|'.join(KEYWORDS)})\b)|\Z)")
_SKIP: Final = re.compile(r"(?:\s+|//[^\n]*)*")
_WORD: Final = re.compile(r"[A-Z_]+(?![A-Za-z0-9])")
_STARTS: Final = re.compile(
    r'\n[ \t]*(?:BO_ \d|SG_ [^\n:"]+:[^\n|"]*\|[^\n@"]*@|CM_ (?:SG_ |BO_ |BU_ |EV_ |")|VAL_ \d|BA_ "|BA_DEF_ '
    r"|BA_DEF_DEF_ )"
)
_NEXT: Final = re.compile(rf"\n[ \t]*(?=(?:{'|'.join(sorted(KEYWORDS, key=len, reverse=True))})\b)|;|\Z")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement.

    Args:
        kind: its keyword.
        line: where it begins, from 1.
        groups: its parts as they stand in the file.
    """

    kind: str
    line: int
    groups: dict[str, str | None]

    def text(self, name: str) -> str:
        """A part, empty when it is not there."""
        return self.groups.get(name) or ""


@dataclass(slots=True)
class Scan:
    """All statements of one text in order, and what was forgiven."""

    path: str
    statements: list[Statement] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)


def _closed_strings(text: str, lines: list[int], issues: list[Issue]) -> str:
    """Closes texts that swallow the statements after them: such a text ends with its line."""
    out: list[str] = []
    at = 0
    pattern = re.compile(_STRING)
    while True:
        start = text.find('"', at)
        if start < 0:
            return "".join((*out, text[at:]))
        whole = pattern.match(text, start)
        inside = whole[0] if whole else text[start:]
        if (("\n" in inside) and _STARTS.search(inside)) or not whole:
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            rest = text[start:end].rstrip()
            closing = rest.rstrip(";").rstrip().removesuffix('"').removesuffix("\\")
            out += [text[at:start], closing, '"', ";" if rest.endswith(";") else ""]
            issues.append(found("unclosed-string", bisect_right(lines, start)))
            at = end
        else:
            out.append(text[at : whole.end()])
            at = whole.end()


def _comments_blanked(text: str) -> str:
    """``//`` comments, which some tools write, as spaces; not inside texts."""
    if "//" not in text:
        return text
    return re.sub(
        rf"{_STRING}|//[^\n]*", lambda found_: found_[0] if found_[0][0] == '"' else " " * len(found_[0]), text
    )


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer("\n", text))]


def scan_statements(text: str, path: str) -> Scan:
    """All statements of a text whose lines end in a single line feed.

    Raises:
        DatabaseBroken: a message, signal or something that changes how signals are read cannot be understood.
    """
    scan = Scan(path)
    text = _comments_blanked(_closed_strings(text, _line_starts(text), scan.issues))
    lines = _line_starts(text)
    at = 0
    while True:
        skipped = _SKIP.match(text, at)
        at = skipped.end() if skipped else at
        if at >= len(text):
            return scan
        line = bisect_right(lines, at)
        word = _WORD.match(text, at)
        kind = word[0] if word and word[0] in KEYWORDS else ""
        pattern = _PATTERNS.get(kind)
        if kind and pattern is None:
            unused = _UNUSED.match(text, at)
            at = max(unused.end() if unused else 0, at + len(kind))
            continue
        match = pattern.match(text, at) if pattern else None
        if match is None:
            at = _leave_out(scan, text, at, line, kind)
            continue
        _note(scan, kind, match, line, text)
        scan.statements.append(Statement(kind, line, match.groupdict()))
        at = match.end()


def _leave_out(scan: Scan, text: str, at: int, line: int, kind: str) -> int:
    """Passes over what is not understood; where that would change what frames mean, refuses the file."""
    if kind in _ESSENTIAL:
        shown = text[at:].partition("\n")[0].strip()[:_SHOWN]
        reason = Phrase(f"cannot be understood: {shown}", f"无法理解：{shown}")
        raise DatabaseBroken(scan.path, line, reason)
    end = _NEXT.search(text, at + 1) if kind else re.compile(r"\n|\Z").search(text, at)
    stop = end.end() if end else len(text)
    left = text[at:stop].strip()
    if sum(issue.code == "unreadable" for issue in scan.issues[-_MOST_UNREADABLE:]) == _MOST_UNREADABLE:
        reason = Phrase(
            f"{_MOST_UNREADABLE} places in a row cannot be understood", f"连续 {_MOST_UNREADABLE} 处无法理解"
        )
        raise DatabaseBroken(scan.path, line, reason)
    if left.strip(";"):
        scan.issues.append(found("unreadable", line, text=" ".join(left.split())[:_SHOWN]))
    elif left:
        scan.issues.append(found("stray-semicolon", line, what=Phrase("an empty statement", "空语句")))
    return max(stop, at + 1)


def _note(scan: Scan, kind: str, match: re.Match[str], line: int, text: str) -> None:
    """What the pattern forgave."""
    groups = match.groupdict()
    what = " ".join(match[0].split()[:3])[:_SHOWN].rstrip(';"')
    if kind in _NO_SEMICOLON:
        if groups["stray"]:
            scan.issues.append(found("stray-semicolon", line, what=what))
    elif groups.get("end") == "":
        scan.issues.append(found("missing-semicolon", line, what=what))
    if kind == "VERSION" and not groups["text"].startswith('"'):
        scan.issues.append(found("version", line))
    if kind == "BS_" and not groups["colon"]:
        scan.issues.append(found("bs-block", line))
    if kind == "NS_":
        following = text[match.end() :].lstrip()[:3]
        if not groups["colon"] or (following and following not in {"BS_", "BU_"}):
            scan.issues.append(found("ns-block", line))
