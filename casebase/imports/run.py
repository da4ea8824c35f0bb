"""An import: rows in batches, one transaction each with the record of how far it came, so that it can be resumed.

A row that says nothing is counted and reported with its number; the others are taken. A file that was taken over
before is not taken twice; one whose import was interrupted goes on behind the last batch that was written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casebase.imports.blocks import Block
    from casebase.prepared import Prepared
    from casebase.store import Store

__all__ = ["FileImport", "ImportResult"]

_BATCH: Final = 2000
_MOST_REPORTED: Final = 1000

Thing = TypeVar("Thing")
Put = Callable[[Sequence[tuple[int, Thing]]], tuple[int, list[tuple[int, Text]]]]


@dataclass(slots=True)
class ImportResult:
    """What an import did.

    Args:
        rows: read now.
        kept: of them taken.
        new: notices, fixes or cases that were not there before.
        bad: ``(row, reason)`` of the first thousand rows that were left out.
        bad_rows: how many were.
        resumed: rows that an earlier run had done.
        was_done: the very file had been imported before.
    """

    rows: int = 0
    kept: int = 0
    new: int = 0
    bad: list[tuple[int, Text]] = field(default_factory=list)
    bad_rows: int = 0
    resumed: int = 0
    was_done: bool = False


class FileImport:
    """Takes the rows of one file over.

    Args:
        store: of the library.
        digest: SHA-256 of the file and of how it is read.
        kind, name: for the record.
    """

    def __init__(self, store: Store, digest: str, kind: str, name: str) -> None:
        self._store, self._digest, self._kind, self._name = store, digest, kind, name
        self.result = ImportResult()

    def run(
        self,
        rows: Iterator[tuple[int, Thing | Text]],
        put: Put[Thing],
        progress: Callable[[ImportResult], None] = lambda _: None,
    ) -> ImportResult:
        """Reads them all.

        Args:
            rows: number of each, and the thing or why there is none.
            put: writes a batch of numbered things inside a transaction; returns how many are new, and the rows left
                out.
            progress: told after each batch.

        Raises:
            LibraryError: the library cannot take more; what was reported by ``progress`` is kept.
        """
        result = self.result
        if self.done == 0 and result.was_done:
            return result
        batch: list[tuple[int, Thing]] = []
        bad = 0
        since = 0
        last = result.resumed
        for number, thing in rows:
            if number <= result.resumed:
                continue
            last = number
            since += 1
            result.rows += 1
            if isinstance(thing, Text):
                self._leave_out(number, thing)
                bad += 1
            else:
                batch.append((number, thing))
            if since >= _BATCH:
                self._write(batch, put, last, bad, finished=False)
                batch, since, bad = [], 0, 0
                progress(result)
        self._write(batch, put, last, bad, finished=True)
        progress(result)
        return result

    @property
    def done(self) -> int:
        """Rows that an earlier run has done; the whole file is told by the result."""
        done = self._store.rows("SELECT rows, finished FROM imports WHERE digest = ?", (self._digest,))
        self.result.was_done = bool(done and done[0][1])
        self.result.resumed = done[0][0] if done and not done[0][1] else 0
        return self.result.resumed

    def run_blocks(
        self,
        blocks: Iterator[Block],
        put: Callable[[Prepared], tuple[int, Sequence[tuple[int, Text]]]],
        progress: Callable[[ImportResult], None] = lambda _: None,
    ) -> ImportResult:
        """Writes blocks of cases as they come.

        Args:
            blocks: see :data:`casebase.imports.blocks.Block`.
            put: writes one inside a transaction; returns how many are new, and index and reason of those left out.
            progress: told after each.

        Raises:
            LibraryError: the library cannot take more; what was reported by ``progress`` is kept.
        """
        for last, numbers, bad, made in blocks:
            with self._store.transaction():
                new, refused = put(made)
                left_out = [*bad, *((numbers[at], reason) for at, reason in refused)]
                self._record(last, len(numbers) - len(refused), len(left_out), finished=False)
            self.result.new += new
            self.result.rows += len(numbers) + len(bad)
            self.result.kept += len(numbers) - len(refused)
            for number, reason in sorted(left_out, key=lambda row: row[0]):
                self._leave_out(number, reason)
            progress(self.result)
        with self._store.transaction():
            self._record(None, 0, 0, finished=True)
        return self.result

    def _leave_out(self, number: int, reason: Text) -> None:
        self.result.bad_rows += 1
        if len(self.result.bad) < _MOST_REPORTED:
            self.result.bad.append((number, reason))

    def _write(
        self, batch: Sequence[tuple[int, Thing]], put: Put[Thing], last: int, bad: int, *, finished: bool
    ) -> None:
        with self._store.transaction():
            new, left_out = put(batch) if batch else (0, [])
            kept = len(batch) - len(left_out)
            self._record(last, kept, bad + len(left_out), finished=finished)
        self.result.new += new
        self.result.kept += kept
        for number, reason in left_out:
            self._leave_out(number, reason)

    def _record(self, last: int | None, kept: int, bad: int, *, finished: bool) -> None:
        """How far it came, in the caller's transaction; None for no further."""
        self._store.db.execute(
            "INSERT INTO imports (digest, kind, name, rows, kept, bad, finished) VALUES (?, ?, ?, coalesce(?, 0), ?, ?,"
            " ?) ON CONFLICT (digest) DO UPDATE SET rows = max(rows, excluded.rows), kept = kept + excluded.kept,"
            " bad = bad + excluded.bad, finished = excluded.finished",
            (self._digest, self._kind, self._name, last, kept, bad, int(finished)),
        )
