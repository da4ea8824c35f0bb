"""Which kinds of files the library takes, and how each is read."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from casebase.errors import BadEvidence
from casebase.imports.blocks import blocks_of_lines, blocks_of_rows
from casebase.imports.cases import (
    load_sheet,
    read_complaints,
    read_exposure,
    read_scan,
    read_scan_folder,
    read_sheet,
)
from casebase.imports.files import digest_of, opened, raw_lines
from casebase.imports.nhtsa import SOURCE, is_complaints, read_flat, read_recall_index
from casebase.imports.run import FileImport
from casebase.imports.samr import read_samr
from casebase.notices import Notice, NoticeTable
from casebase.population import put_exposure
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from casebase.casetable import CaseTable
    from casebase.fixarrays import FixArrays
    from casebase.imports.blocks import Block
    from casebase.imports.cases import CaseRow
    from casebase.imports.run import ImportResult
    from casebase.prepared import Prepared
    from casebase.store import Store

__all__ = ["KINDS", "import_file"]

_NOTICES: Final = {"nhtsa-recalls": read_recall_index, "nhtsa-flat": read_flat, "samr": read_samr}
_CASES: Final = ("jsonl", "scans", "sheet", "exposure")
KINDS: Final = (*_NOTICES, *_CASES)


def import_file(
    store: Store,
    kind: str,
    path: str | Path,
    cases: CaseTable,
    arrays: FixArrays,
    *,
    mapping: str | Path | None = None,
    progress: Callable[[ImportResult], None] = lambda _: None,
) -> ImportResult:
    """Takes one file over.

    Args:
        store: of the library.
        kind: one of :data:`KINDS`.
        path: the file, plain, gzip or zip.
        cases: the library's.
        arrays: the library's.
        mapping: of the columns, for a ``sheet`` whose headings are not the fields' own names.
        progress: told after each batch.

    Raises:
        ImportUnreadable: the file is not of this kind, or cannot be read.
        LibraryError: the library cannot take it; what was reported by ``progress`` is kept.
    """
    if kind not in KINDS:
        raise BadEvidence("kind", Text(f"must be one of {', '.join(KINDS)}", f"必须为 {'、'.join(KINDS)}"))
    path = Path(path)
    key = cases.car_key
    if kind == "scans" and path.is_dir():
        rows = read_scan_folder(path, key, "")
        named = f"scans:{_digest_of_folder(path)}"
        return CaseImport(store, named, kind, path.name, cases, arrays, progress).rows(rows)
    digest = f"{kind}:{digest_of(path)}"
    if kind == "exposure":

        def put_cars(batch: Sequence[tuple[int, tuple[str, str, int, float]]]) -> tuple[int, list[tuple[int, Text]]]:
            put_exposure(store, [row for _, row in batch])
            return len(batch), []

        with opened(path) as file:
            return FileImport(store, digest, kind, path.name).run(read_exposure(file, str(path)), put_cars, progress)
    into = CaseImport(store, digest, kind, path.name, cases, arrays, progress)
    if kind == "jsonl":
        with opened(path) as file:
            return into.lines(raw_lines(file))
    if kind == "scans":
        with opened(path) as file:
            return into.rows(read_scan(file, key, ""))
    if kind == "nhtsa-flat" and is_complaints(path):
        with opened(path) as file:
            return into.rows(read_complaints(file, key, SOURCE))
    if kind == "sheet":
        sheet = None if mapping is None else load_sheet(Path(mapping))
        digest = digest if mapping is None else f"{digest}:{digest_of(Path(mapping))}"
        into = CaseImport(store, digest, kind, path.name, cases, arrays, progress)
        packed = path.suffix.lower() in (".xlsx", ".xlsm")
        with path.open("rb") if packed else opened(path) as file:
            return into.rows(read_sheet(file, str(path), key, path.stem, sheet))
    table = NoticeTable(store)

    def put(batch: Sequence[tuple[int, Notice]]) -> tuple[int, list[tuple[int, Text]]]:
        return table.put(_merged([notice for _, notice in batch])), []

    with opened(path) as file:
        notices: Iterator[tuple[int, Notice | Text]] = _NOTICES[kind](file, str(path))
        return FileImport(store, digest, kind, path.name).run(notices, put, progress)


def _digest_of_folder(path: Path) -> str:
    told = [[one.name, one.stat().st_size, one.stat().st_mtime_ns] for one in sorted(path.iterdir())]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


class CaseImport:
    """Takes the cases of one file over and teaches the arrays with them.

    Args:
        store, cases, arrays: of the library.
        digest, kind, name: for the record.
        progress: told after each batch.
    """

    def __init__(
        self,
        store: Store,
        digest: str,
        kind: str,
        name: str,
        cases: CaseTable,
        arrays: FixArrays,
        progress: Callable[[ImportResult], None],
    ) -> None:
        self._file = FileImport(store, digest, kind, name)
        self._cases, self._arrays, self._progress = cases, arrays, progress

    def lines(self, lines: Iterable[bytes]) -> ImportResult:
        """Lines of JSON, made ready by helpers where they are many."""
        done = self._file.done
        if self._file.result.was_done:
            return self._file.result
        return self._run(blocks_of_lines(lines, self._cases.key, "", self._arrays.scales, skip=done))

    def rows(self, rows: Iterator[CaseRow]) -> ImportResult:
        """Cases that were read already."""
        done = self._file.done
        if self._file.result.was_done:
            return self._file.result
        return self._run(blocks_of_rows(rows, self._arrays.prepare, skip=done))

    def _run(self, blocks: Generator[Block]) -> ImportResult:
        after, learnt = self._cases.last_learnt, self._arrays.learnt()

        def put(made: Prepared) -> tuple[int, list[tuple[int, Text]]]:
            taken = self._cases.put(made)
            learnt.take(made.evidence, taken.taught)
            return taken.new, [(at, _no_fix(name)) for at, name in taken.unknown]

        try:
            with closing(blocks):
                result = self._file.run_blocks(blocks, put, self._progress)
            self._arrays.keep(learnt, after)
        except BaseException:
            self._cases.forget()
            raise
        finally:
            learnt.close()
        return result


def _no_fix(name: str) -> Text:
    said = name[:60]
    return Text(f"no fix '{said}' in the library", f"案例库中没有解决办法“{said}”")


def _merged(batch: Sequence[Notice]) -> list[Notice]:
    """Rows of the same notice as one."""
    out: dict[tuple[str, str], Notice] = {}
    for notice in batch:
        known = out.setdefault((notice.source, notice.source_id), notice)
        if known is not notice:
            known.vehicles |= notice.vehicles
            known.texts |= notice.texts
            for name in ("title", "component", "remedy", "maker", "published", "url"):
                if not getattr(known, name):
                    setattr(known, name, getattr(notice, name))
    return list(out.values())
