"""All notices by term and by vehicle, as arrays that are mapped from a file and need no reading.

The index follows from the library's file and the vocabulary alone. It stands beside the library, is made anew when
either has changed, written under another name and then renamed, so that a reader never sees half of one.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.arrayfiles import load_folder, save_folder
from casebase.tokens import PAIR
from casebase.vehicles import best_model, make_key, model_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from casebase.notices import NoticeTable
    from casebase.tokens import Tokenizer

__all__ = ["Gate", "NoticeIndex"]

_BATCH: Final = 500
_ARRAYS: Final = (
    "ids", "numbers", "indptr", "rows", "counts", "words", "pairs", "texts", "scopes",
    "is_campaign", "vehicle_rows", "vehicle_years", "group_start",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gate:
    """The notices that may be meant.

    Args:
        rows: int32, rising.
        level: 0 for make, model and year · 1 make and model · 2 make · 3 whatever vehicle.
        background: int32, rising: what their words are compared with: all of the make, or all.
    """

    rows: NDArray[np.int32]
    level: int
    background: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class NoticeIndex:
    """Notices by term (CSR): those of term ``i`` stand at ``indptr[i]:indptr[i + 1]``.

    Args:
        ids: int64 ``(notices,)``: numbers in the library's file.
        numbers: uint64 ``(terms,)``, rising: see :mod:`casebase.tokens`.
        rows, counts: int32 ``(entries,)``: which notice, and how often there.
        words, pairs: int32 ``(notices,)``: how many of each all its texts have.
        texts, scopes: int32 ``(notices,)``: how many texts, how many vehicles (make, model and year).
        is_campaign: bool ``(notices,)``: something that a maker does about cars, and no investigation.
        vehicle_rows, vehicle_years: int32 ``(vehicles,)`` and ``(vehicles, 2)``: grouped by make and model.
        group_start: int64 ``(groups + 1,)``.
        groups: make -> model -> number of the group.
    """

    ids: NDArray[np.int64]
    numbers: NDArray[np.uint64]
    indptr: NDArray[np.int64]
    rows: NDArray[np.int32]
    counts: NDArray[np.int32]
    words: NDArray[np.int32]
    pairs: NDArray[np.int32]
    texts: NDArray[np.int32]
    scopes: NDArray[np.int32]
    is_campaign: NDArray[np.bool_]
    vehicle_rows: NDArray[np.int32]
    vehicle_years: NDArray[np.int32]
    group_start: NDArray[np.int64]
    groups: Mapping[str, Mapping[str, int]]

    def __len__(self) -> int:
        return int(self.ids.size)

    @classmethod
    def kept(cls, notices: NoticeTable, tokenizer: Tokenizer, folder: Path | None) -> NoticeIndex:
        """The index from its folder, or made anew and put there; without a folder it is made."""
        found = None if folder is None else cls.load(folder)
        if found is not None:
            return found
        made = cls.build(notices, tokenizer)
        if folder is not None:
            with suppress(OSError):
                made.save(folder)
        return made

    @classmethod
    def build(
        cls, table: NoticeTable, tokenizer: Tokenizer, progress: Callable[[int], None] = lambda _: None
    ) -> NoticeIndex:
        """Reads all texts and vehicles.

        Args:
            table: of the library.
            tokenizer: with its vocabulary.
            progress: told how many texts are read.
        """
        kinds = table.kinds()
        ids = np.array([number for number, _ in kinds], dtype=np.int64)
        is_campaign = np.array([kind != "investigation" for _, kind in kinds], dtype=np.bool_)
        entries: list[tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int32]]] = []
        words, pairs, texts = (np.zeros(ids.size, dtype=np.int32) for _ in range(3))
        after = done = 0
        while batch := table.texts(after, _BATCH):
            after, done = batch[-1][0], done + len(batch)
            owner = np.searchsorted(ids, np.array([notice for _, notice, _ in batch], dtype=np.int64))
            terms = tokenizer.terms([text for _, _, text in batch])
            row = owner[terms.text].astype(np.int32)
            is_pair = terms.kind == PAIR
            np.add.at(pairs, row[is_pair], 1)
            np.add.at(words, row[~is_pair], 1)
            np.add.at(texts, owner, 1)
            entries.append(_counted(terms.number, row, np.ones(row.size, dtype=np.int32)))
            progress(done)
        joined = (
            np.concatenate([entry[part] for entry in entries]) if entries else np.empty(0, dtype=kind)
            for part, kind in enumerate((np.uint64, np.int32, np.int32))
        )
        number, row, count = _counted(*joined)
        numbers, first = np.unique(number, return_index=True)
        vehicles = sorted(table.vehicles(), key=lambda v: (v[1], v[2], v[0], v[3]))
        groups: dict[str, dict[str, int]] = {}
        starts: list[int] = []
        for at, (_, make, model, _, _) in enumerate(vehicles):
            models = groups.setdefault(make, {})
            if model not in models:
                models[model] = len(starts)
                starts.append(at)
        vehicle_rows = np.searchsorted(ids, np.array([v[0] for v in vehicles], dtype=np.int64)).astype(np.int32)
        years = np.array([v[3:] for v in vehicles], dtype=np.int32).reshape(-1, 2)
        span = np.where(years[:, 1] - years[:, 0] > 100, 1, years[:, 1] - years[:, 0] + 1)
        scopes = np.bincount(vehicle_rows, weights=span, minlength=ids.size).astype(np.int32)
        return cls(
            ids, numbers, np.append(first, number.size).astype(np.int64), row, count, words, pairs, texts, scopes,
            is_campaign, vehicle_rows, years, np.array([*starts, len(vehicles)], dtype=np.int64), groups,
        )  # fmt: skip

    def save(self, folder: Path) -> None:
        """Writes the arrays as files of a folder, all or nothing; older ones are removed.

        Raises:
            OSError: they cannot be written; nothing is left behind.
        """
        save_folder(folder, {name: getattr(self, name) for name in _ARRAYS}, self.groups, "notices-*")

    @classmethod
    def load(cls, folder: Path) -> NoticeIndex | None:
        """The arrays of a folder, mapped; None when it is not there or not whole."""
        found = load_folder(folder, _ARRAYS)
        return None if found is None else cls(groups=found[1], **found[0])

    def gate(self, make: str | None, model: str | None, year: int | None) -> Gate:
        """The notices of a vehicle, with back-off: year, model, make; all where the make is unknown."""
        everything = np.arange(len(self), dtype=np.int32)
        models = self.groups.get(make_key(make), {})
        if not models:
            return Gate(everything, 3, everything)
        background = self._rows_of(models.values(), None)
        of_all = [models[""]] if "" in models else []
        known = best_model(model_key(model), (name for name in models if name)) if model else None
        if known is not None:
            groups = [models[known], *of_all]
            if (rows := self._rows_of(groups, year)).size:
                return Gate(rows, 0, background)
            return Gate(self._rows_of(groups, None), 1, background)
        return Gate(background, 2, background)

    def _rows_of(self, groups: Iterable[int], year: int | None) -> NDArray[np.int32]:
        parts = [slice(self.group_start[g], self.group_start[g + 1]) for g in groups]
        rows = np.concatenate([np.empty(0, np.int32), *(self.vehicle_rows[part] for part in parts)])
        if year is not None:
            years = np.concatenate([np.empty((0, 2), np.int32), *(self.vehicle_years[part] for part in parts)])
            rows = rows[(years[:, 0] <= year) & (year <= years[:, 1])]
        return np.unique(rows).astype(np.int32)

    def postings(self, numbers: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """Where terms stand: ``(which of the given terms, notice, how often)``, one row each."""
        at = np.minimum(np.searchsorted(self.numbers, numbers), max(0, self.numbers.size - 1))
        known = np.flatnonzero(self.numbers[at] == numbers) if self.numbers.size else np.empty(0, dtype=np.int64)
        slices = [slice(self.indptr[i], self.indptr[i + 1]) for i in at[known]]
        sizes = [part.stop - part.start for part in slices]
        which = np.repeat(known, sizes)
        none = np.empty(0, dtype=np.int32)
        rows = np.concatenate([none, *(self.rows[part] for part in slices)])
        return which, rows, np.concatenate([none, *(self.counts[part] for part in slices)])


def _counted(
    number: NDArray[np.uint64], row: NDArray[np.int32], count: NDArray[np.int32]
) -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int32]]:
    """Each (term, notice) once with the sum of its counts, in the order of term and notice."""
    order = np.lexsort((row, number))
    number, row, count = number[order], row[order], count[order]
    if not number.size:
        return number, row, count
    new = np.concatenate(([True], (number[1:] != number[:-1]) | (row[1:] != row[:-1])))
    at = np.flatnonzero(new)
    return number[at], row[at], np.add.reduceat(count, at).astype(np.int32)
