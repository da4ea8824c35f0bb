"""Files that a database takes in: ``CM_ "IMPORT other.dbc";`` puts the other file's content before its own.

opendbc builds most of its databases of such fragments. Only files inside the folder of the importing file are taken in,
each once, and not without bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dbc.encoding import decode_text
from dbc.errors import FileMissing, NotADatabase, Phrase
from dbc.issues import Issue, found
from dbc.statements import Scan, scan_statements

__all__ = ["KEYWORD", "MAX_BYTES", "MAX_IMPORTS", "Part", "collect_parts", "read_bytes"]

MAX_BYTES: Final = 64 << 20
"""The largest database file that is read, and the most that a database and its imports have together."""
MAX_IMPORTS: Final = 64
"""So many files are taken in at most."""
KEYWORD: Final = re.compile(
    r"^\s*(VERSION|NS_|BS_|BU_|BO_|SG_|CM_|BA_DEF_|VAL_|VAL_TABLE_)(?![A-Za-z0-9])", re.MULTILINE
)
"""What a DBC file has at least one of."""

_IMPORT: Final = re.compile(r"IMPORT\s+(\S.*?)\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a database.

    Args:
        path: where it was read.
        name: how issues call it; empty for the file that was asked for.
        scan: its statements.
        encoding: of its text.
        issues: of its bytes and of its imports.
    """

    path: str
    name: str
    scan: Scan
    encoding: str
    issues: tuple[Issue, ...]


def read_bytes(path: str | Path, limit: int = MAX_BYTES) -> bytes:
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


def _named(inside: str) -> str | None:
    match = _IMPORT.fullmatch(inside[1:-1])
    return match[1] if match else None


class _Collector:
    """Follows imports depth first, so that each file stands after those that it takes in."""

    def __init__(self, top: Path) -> None:
        self._folder = top.resolve().parent
        self._seen: set[Path] = set()
        self._bytes = 0
        self.parts: list[Part] = []

    def take(self, path: Path, shown: str, name: str, raw: bytes, above: frozenset[Path]) -> None:
        """Adds a file after everything that it imports."""
        where = path.resolve()
        self._seen.add(where)
        self._bytes += len(raw)
        read = decode_text(raw)
        if "\0" in read.text or not KEYWORD.search(read.text):
            raise NotADatabase(shown, Phrase("nothing of the DBC format in it", "内容不是 DBC 格式"))
        scan = scan_statements(read.text, shown)
        issues = list(read.issues)
        kept = []
        for statement in scan.statements:
            imported = None
            if statement.kind == "CM_" and not (statement.groups["kind"] or statement.groups["id"]):
                imported = _named(statement.text("text"))
            if imported is None:
                kept.append(statement)
            elif issue := self._follow(path, imported, statement.line, above | {where}):
                issues.append(issue)
        scan.statements[:] = kept
        self.parts.append(Part(shown, name, scan, read.encoding, tuple(issues)))

    def _follow(self, path: Path, imported: str, line: int, above: frozenset[Path]) -> Issue | None:
        """Takes in one file; the issue when that does not work."""
        wanted = path.parent / imported
        try:
            where = wanted.resolve()
            is_inside = where.is_relative_to(self._folder) and not Path(imported).is_absolute()
            is_file = wanted.is_file()
        except (OSError, ValueError):
            return found("missing-import", line, name=imported)
        if not is_inside:
            return found("refused-import", line, name=imported)
        if where in above:
            return found("import-cycle", line, name=imported)
        if where in self._seen:
            return None
        if not is_file:
            return found("missing-import", line, name=imported)
        if len(self._seen) > MAX_IMPORTS:
            return found("import-limit", line, limit=MAX_IMPORTS, name=imported)
        raw = read_bytes(wanted, MAX_BYTES - self._bytes)
        self.take(wanted, str(wanted), str(where.relative_to(self._folder)), raw, above)
        return None


def collect_parts(path: str | Path, raw: bytes) -> tuple[Part, ...]:
    """A database file and all that it takes in, imported ones first, the file itself last.

    Raises:
        DatabaseBroken: a statement of one of the files that matters cannot be understood.
        NotADatabase: one of the files is something else.
    """
    collector = _Collector(Path(path))
    collector.take(Path(path), str(path), "", raw, frozenset())
    return tuple(collector.parts)
