"""How a database's layout changes while its rows stay: named changes, each once, with a copy of what was there before.

A change is an **expansion** when a program that does not know it goes on working beside it: new tables and indexes, new
columns that may stay empty. Only those may be made under a running service (``docs/operations.md``). Everything else is
a contraction, and is refused while somebody serves the rooms.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consult.operatingerrors import StateNewer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    Migration = tuple[str, tuple[str, ...]]

__all__ = ["COPY_MARK", "Layout", "contractions", "copy_database", "is_expansion", "migrate", "read_layout"]

COPY_MARK: Final = ".before-"
"""Between a database's name and that of the first change which the copy lacks."""

_NAME: Final = r"[\"\[]?(\w+)[\"\]]?"
_CREATE_TABLE: Final = re.compile(rf"create\s+table\s+(?:if\s+not\s+exists\s+)?{_NAME}", re.IGNORECASE)
_CREATE_INDEX: Final = re.compile(
    rf"create\s+(unique\s+)?index\s+(?:if\s+not\s+exists\s+)?\w+\s+on\s+{_NAME}", re.IGNORECASE
)
_INSERT: Final = re.compile(rf"insert\s+(?:or\s+\w+\s+)?into\s+{_NAME}", re.IGNORECASE)
_ADD_COLUMN: Final = re.compile(rf"alter\s+table\s+{_NAME}\s+add\s+(?:column\s+)?\w+(.*)", re.IGNORECASE | re.DOTALL)
_BINDING: Final = re.compile(r"\b(unique|primary|references|check|generated)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of changes: made, still to be made, and made by a program that knows more than this one."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: tuple[str, ...]


def is_expansion(script: Iterable[str]) -> bool:
    """Whether programs that do not know this change go on working when it was made."""
    own: set[str] = set()
    for statement in script:
        words = statement.strip()
        if made := _CREATE_TABLE.match(words):
            own.add(made.group(1).lower())
        elif index := _CREATE_INDEX.match(words):
            if index.group(1) and index.group(2).lower() not in own:
                return False
        elif filled := _INSERT.match(words):
            if filled.group(1).lower() not in own:
                return False
        elif added := _ADD_COLUMN.match(words):
            rest = added.group(2).lower()
            if added.group(1).lower() not in own and (
                _BINDING.search(rest) or ("not null" in rest and "default" not in rest)
            ):
                return False
        else:
            return False
    return True


def contractions(names: Iterable[str], migrations: Iterable[Migration]) -> tuple[str, ...]:
    """Those of the named changes that a running service would not survive."""
    wanted = set(names)
    return tuple(name for name, script in migrations if name in wanted and not is_expansion(script))


def _applied(db: sqlite3.Connection) -> list[str]:
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'migration'").fetchone():
        return []
    return [name for (name,) in db.execute("SELECT name FROM migration ORDER BY name")]


def _layout(applied: Sequence[str], migrations: Sequence[Migration]) -> Layout:
    known = [name for name, _ in migrations]
    return Layout(
        tuple(applied),
        tuple(name for name in known if name not in applied),
        tuple(name for name in applied if name not in known),
    )


def read_layout(path: Path, migrations: Sequence[Migration]) -> Layout:
    """What a database has and lacks; nothing is written.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as db:
        return _layout(_applied(db), migrations)


def copy_database(source: Path, target: Path) -> None:
    """A copy of a database as it is at one moment, also while others write; readable by its owner alone.

    In write-ahead mode a copy keeps no writer waiting. ``target`` is written over, and not yet safe from a power cut.

    Raises:
        sqlite3.Error: it cannot be read, or there is no space.
        OSError: the target cannot be made.
    """
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as there,
        closing(sqlite3.connect(target, isolation_level=None)) as here,
    ):
        # Whoever keeps the copy brings it to the disk; one great flush here would keep the disk from everybody else.
        here.execute("PRAGMA synchronous = OFF")
        there.backup(here)
        # The copy is one file: without this it would ask for a write-ahead file as soon as it is opened.
        here.execute("PRAGMA journal_mode = DELETE")


def migrate(
    db: sqlite3.Connection,
    path: Path | None,
    migrations: Sequence[Migration],
    require_unserved: Callable[[tuple[str, ...]], None],
) -> None:
    """Makes the changes that the database lacks, all of them or none; before, keeps a copy beside it.

    Args:
        db: in autocommit mode.
        path: its file; None for one in memory.
        migrations: name and statements of each, in order.
        require_unserved: raises an error when another process serves from the file; asked only if it must not.

    Raises:
        StateNewer: a newer program has changed it.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        layout = _known_layout(db, path, migrations)
        if layout.pending:
            if layout.applied and path is not None:
                if unsafe := contractions(layout.pending, migrations):
                    require_unserved(unsafe)
                _keep_copy(path, layout.pending[0])
            db.execute("CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY)")
            for name, script in migrations:
                if name in layout.pending:
                    for statement in script:
                        db.execute(statement)
                    db.execute("INSERT INTO migration VALUES (?)", (name,))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _known_layout(db: sqlite3.Connection, path: Path | None, migrations: Sequence[Migration]) -> Layout:
    layout = _layout(_applied(db), migrations)
    if layout.unknown:
        raise StateNewer(str(path), ", ".join(layout.unknown))
    return layout


def _keep_copy(path: Path, name: str) -> None:
    kept = path.with_name(f"{path.name}{COPY_MARK}{name}")
    fresh = kept.with_name(f"{kept.name}.part")
    try:
        copy_database(path, fresh)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(kept)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
