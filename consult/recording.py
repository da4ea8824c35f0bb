"""A room's recording as it is read: by the replay, the history, the export and the check. Nothing is written.

The file may be in use by a running service, or be a copy on a read-only disk.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from consult.errors import RecordingBroken
from consult.recordcontent import content_of, sealed_by
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from consult.chain import BlockRow
    from consult.roomkeys import KeySource

__all__ = ["Recording", "Span", "opened_database", "require_tables"]

_NO_RECORDING: Final = Text("it is no recording of a room", "不是会诊室记录")
_MAGIC: Final = b"SQLite format 3\0"
_FETCH: Final = 500
_OF_STREAM: Final = "SELECT seq, t_us FROM block WHERE stream = ? AND epoch = ?"
_SAMPLED_ENTRIES: Final = 2_000
_CLOCKS_AGREE_US: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Span:
    """The blocks of one stream in one epoch.

    Args:
        stream, epoch: see :mod:`consult.wire`.
        schema: ``{"stream", "signals": [{"name", "unit", …}], …}`` as the agent announced it.
        from_us, to_us: the time of the first and of the last one, UTC microseconds.
        first, next: number of the first block, and the one behind the last.
    """

    stream: int
    epoch: int
    schema: dict[str, Any]
    from_us: int
    to_us: int
    first: int
    next: int

    @property
    def is_empty(self) -> bool:
        """It was announced, and no block came."""
        return self.next == self.first

    @property
    def signals(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(str(signal["name"]) for signal in self.schema["signals"])

    @property
    def kind(self) -> str:
        """``signals``, ``cells`` or ``raw``."""
        return str(self.schema.get("kind", "signals"))


def require_tables(path: str, tables: set[str]) -> None:
    """Raises :class:`RecordingBroken` for a database that is something else."""
    if not {"migration", "block", "event", "document"} <= tables:
        raise RecordingBroken(path, _NO_RECORDING)


@contextmanager
def opened_database(path: str | Path) -> Iterator[sqlite3.Connection]:
    """The file's database for reading only.

    Raises:
        RecordingBroken: it cannot be read, or is none; also for what goes wrong inside the block.
    """
    where = Path(path)
    try:
        with where.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise RecordingBroken(str(path), _NO_RECORDING)
    except OSError as error:
        raise RecordingBroken(str(path), error.strerror or str(error)) from error
    database = None
    try:
        database = _connected(where)
        yield database
    except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite's own words may quote the damaged bytes
        raise RecordingBroken(str(path), str(error)) from error
    finally:
        if database is not None:
            database.close()


def _connected(where: Path) -> sqlite3.Connection:
    """A connection; where the folder cannot be written and nobody writes the file, without the usual side files."""
    address = f"file:{quote(str(where.absolute()))}?mode=ro"
    database = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
    try:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        database.close()
        if where.with_name(f"{where.name}-wal").exists():
            raise
        return sqlite3.connect(f"{address}&immutable=1", uri=True, check_same_thread=False, isolation_level=None)
    return database


class Recording:
    """One room's file, read only. Use it in one thread at a time.

    Args:
        path: the file.
        keys: where its key may be, should it be encrypted; None looks in the folder ``keys`` beside it.

    Raises:
        RecordingBroken: by every method, when the file cannot be read or is none.
        KeyMissing: by those that read content, where it is encrypted and its key is not there.
        ContentBroken: by these, where it was changed.
    """

    def __init__(self, path: str | Path, keys: KeySource | None = None) -> None:
        self.path = str(path)
        self._opened = opened_database(path)
        self._db = self._opened.__enter__()
        try:
            self._db.execute("BEGIN")
            tables = {name for (name,) in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
            require_tables(self.path, tables)
            self.is_chained = "chain" in tables
            self.sealed = sealed_by(self._db, self.path)
            """How it is encrypted; None where it is not."""
            self.content = content_of(path, self.sealed, keys)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the use of the file."""
        self._opened.__exit__(None, None, None)

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        try:
            cursor = self._db.execute(sql, values)
            while rows := cursor.fetchmany(_FETCH):
                yield from rows
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise RecordingBroken(self.path, str(error)) from error

    def _json(self, text: Any) -> Any:
        try:
            return json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise RecordingBroken(self.path, Text("a text in it is no JSON", "其中有文本不是 JSON")) from error

    @property
    def room(self) -> str:
        """The room's name; empty where an older program wrote the file."""
        if self.is_chained:
            for (detail,) in self._rows("SELECT detail FROM chain WHERE kind = 'begin' AND n = 1"):
                return str(self._json(detail).get("room", ""))
        return ""

    @property
    def head(self) -> tuple[int, bytes]:
        """Number and hash of the chain's last entry; 0 and nothing where there is no chain."""
        if self.is_chained:
            for n, sealed in self._rows("SELECT n, hash FROM chain ORDER BY n DESC LIMIT 1"):
                return n, sealed
        return 0, b""

    def events(self) -> list[dict[str, Any]]:
        """All events in order."""
        rows = self._rows("SELECT n, t_us, body FROM event ORDER BY n")
        return [self._json(self.content.event(*row)) for row in rows]

    def documents(self, name: str) -> list[tuple[int, dict[str, Any]]]:
        """``(t_us, body)`` of all versions of a document, oldest first."""
        rows = self._rows("SELECT rowid, name, t_us, body FROM document WHERE name = ? ORDER BY rowid", (name,))
        return [(row[2], self._json(self.content.document(*row))) for row in rows]

    def document_names(self) -> list[str]:
        """The names of all documents, each once."""
        return [name for (name,) in self._rows("SELECT DISTINCT name FROM document ORDER BY name")]

    def spans(self) -> tuple[Span, ...]:
        """All streams of all epochs that have blocks or were announced, in the order of their first time."""
        announced: dict[tuple[int, int], tuple[int, dict[str, Any]]] = {}
        for t_us, body in self.documents("schemas"):
            for schema in body["schemas"]:
                announced.setdefault((schema["stream"], body["epoch"]), (t_us, schema))
        spans = []
        for key, (t_us, schema) in announced.items():
            first, last = (
                next(self._rows(f"{_OF_STREAM} ORDER BY seq {way} LIMIT 1", key), None) for way in ("ASC", "DESC")
            )
            if first is None or last is None:
                spans.append(Span(*key, schema, t_us, t_us, 0, 0))
            else:
                spans.append(Span(*key, schema, first[1], last[1], first[0], last[0] + 1))
        return tuple(sorted(spans, key=lambda span: (span.from_us, span.epoch, span.stream)))

    def count_blocks(self) -> int:
        """How many blocks there are, of all streams and epochs."""
        return int(next(self._rows("SELECT count(*) FROM block"))[0])

    def count_rows(self) -> dict[str, int]:
        """How many ``blocks``, ``events`` and ``documents`` there are."""
        tables = ("block", "event", "document")
        return {f"{one}s": next(self._rows(f"SELECT count(*) FROM {one}"))[0] for one in tables}  # noqa: S608 - literals

    def clock_ahead_us(self) -> int:
        """How far the service's clock was ahead of the laptop's: the least time that a block took to be sealed.

        Blocks have the laptop's time and events the service's. A second or less is the way that a block went; 0 where
        there are no blocks or there is no chain.
        """
        if not self.is_chained:
            return 0
        ahead: list[int] = []
        total = next(self._rows("SELECT count(*) FROM chain"))[0]
        rows = self._rows(
            "SELECT t_us, detail FROM chain WHERE kind = 'blocks' AND n % ? = 0", (max(1, total // _SAMPLED_ENTRIES),)
        )
        for sealed_us, detail in rows:
            stream, epoch, _, last = self._json(detail)["blocks"][-1]
            found = self._rows(
                "SELECT t_us FROM block WHERE stream = ? AND epoch = ? AND seq = ?", (stream, epoch, last)
            )
            ahead += [sealed_us - t_us for (t_us,) in found]
        return min(ahead, key=abs, default=0)

    def bounds(self) -> tuple[int, int]:
        """The first and the last time of anything in it, UTC microseconds; 0 and 0 where it is empty.

        Times of events are told by the laptop's clock where the two differ by more than a moment.
        """
        low, high = next(self._rows("SELECT (SELECT min(t_us) FROM block), (SELECT max(t_us) FROM block)"))
        first, last = next(self._rows("SELECT min(t_us), max(t_us) FROM event"))
        shift = self.event_shift_us()
        times = [low, high] + [t_us - shift for t_us in (first, last) if t_us is not None]
        known = [t_us for t_us in times if t_us is not None]
        return (min(known), max(known)) if known else (0, 0)

    def event_shift_us(self) -> int:
        """What to take off the service's times, so that they stand beside the laptop's; 0 for clocks that agree."""
        ahead = self.clock_ahead_us()
        return ahead if abs(ahead) > _CLOCKS_AGREE_US else 0

    def blocks_after(self, after_us: int, until_us: int, most: int) -> tuple[list[BlockRow], int]:
        """Blocks with ``after_us < t_us <= until_us`` by time, and the time until which these are all.

        Args:
            after_us: see there.
            until_us: see there.
            most: about how many; those of one moment are never parted.
        """
        sql = (
            "SELECT stream, epoch, seq, t_us, data FROM block WHERE t_us > ? AND t_us <= ? "
            "ORDER BY t_us, epoch, stream, seq"
        )
        rows = list(self._rows(f"{sql} LIMIT ?", (after_us, until_us, most + 1)))
        if len(rows) > most:
            last_us = rows[-1][3]
            whole = [row for row in rows if row[3] < last_us]
            rows, until_us = (whole, last_us - 1) if whole else (list(self._rows(sql, (after_us, last_us))), last_us)
        return [(*row[:4], self.content.block(*row)) for row in rows], until_us

    def number_at(self, span: Span, t_us: int) -> int:
        """The number of the first block of a stream that is not before a time; the next one where there is none."""
        rows = self._rows(
            "SELECT seq FROM block WHERE +stream = ? AND +epoch = ? AND t_us >= ? ORDER BY t_us, seq LIMIT 1",
            (span.stream, span.epoch, t_us),
        )
        return next((seq for (seq,) in rows), span.next)

    def blocks_numbered(self, stream: int, epoch: int, first: int, last: int, until_us: int) -> list[tuple[int, bytes]]:
        """``(seq, data)`` of blocks between two numbers, both included, none of them later than ``until_us``."""
        rows = self._rows(
            "SELECT stream, epoch, seq, t_us, data FROM block "
            "WHERE stream = ? AND epoch = ? AND seq BETWEEN ? AND ? AND t_us <= ? ORDER BY seq",
            (stream, epoch, first, last, until_us),
        )
        return [(row[2], self.content.block(*row)) for row in rows]

    def blocks_of(self, span: Span, from_us: int = 0, to_us: int = (1 << 62)) -> Iterator[tuple[int, int, bytes]]:
        """``(seq, t_us, data)`` of one stream in one epoch with ``from_us <= t_us < to_us``, in order."""
        where, order = "stream = ? AND epoch = ?", "seq"
        if from_us > span.from_us or to_us <= span.to_us:
            # The signs before the columns keep SQLite from reading the whole stream for a minute of it.
            where, order = "+stream = ? AND +epoch = ?", "t_us, seq"
        rows = self._rows(
            f"SELECT stream, epoch, seq, t_us, data FROM block WHERE {where} AND t_us >= ? AND t_us < ? "  # noqa: S608
            f"ORDER BY {order}",  # two literals each
            (span.stream, span.epoch, from_us, to_us),
        )
        block = self.content.block
        for row in rows:
            yield row[2], row[3], block(*row)
