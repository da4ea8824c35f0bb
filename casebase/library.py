"""The case library as the application sees it: open, ask, keep what was shown, learn what became of it."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from casebase.catalogue import CASES_OF, CONTENT, Catalogue, Fix, Scope, content_hash, load_catalogue, load_safety
from casebase.errors import BadEvidence, FixUnknown, LibraryFull, LibraryReadOnly, LibraryUnreadable
from casebase.fixjson import body_from, fix_from_body, scale_from_body, telling_from_body
from casebase.postings import Postings, terms_from_fix
from casebase.ranking import answer
from casebase.store import OUTCOMES, FixRow, ShownRow, Store
from casebase.words import Vocabulary
from diag.facts import Text

if TYPE_CHECKING:
    from types import TracebackType

    from casebase.cases import Cases, Safety
    from casebase.catalogue import FeatureScale, TellingTest
    from casebase.query import Query

__all__ = ["Library", "default_path"]

_CONTENT_HASH: Final = "content_hash"


def default_path() -> Path:
    """The user's own library: ``$XDG_DATA_HOME/huizhen/cases.db``."""
    base = os.environ.get("XDG_DATA_HOME")
    home = Path(base) if base and Path(base).is_absolute() else Path.home() / ".local" / "share"
    return home / "huizhen" / "cases.db"


class Library:
    """An open case library. Use it as a context manager, or close it.

    Args:
        note: what a person should know about how it was opened, None when nothing.
    """

    def __init__(self, store: Store, note: Text | None = None) -> None:
        self._store = store
        self.note = note
        self.words = Vocabulary.load()

    @classmethod
    def open(cls, path: str | Path | None = None, *, create: bool = False) -> Library:
        """Opens a library and takes over newer built-in fixes.

        Args:
            path: a file; None is the user's own, made at first use, and where it cannot be made, one in memory.
            create: make ``path`` when it is not there.

        Raises:
            LibraryError: the file cannot be used (exit code 6).
        """
        if path is not None:
            return cls._filled(Store.open(Path(path), create=create))
        own = default_path()
        try:
            return cls._filled(Store.open(own, create=True))
        except (LibraryFull, LibraryReadOnly, LibraryUnreadable):
            if own.exists():
                raise
            note = Text(
                f"no place to keep a case library ({own}); using the built-in fixes, nothing will be remembered",
                f"无法在 {own} 保存案例库；使用内置案例，不会留下记录",
            )
            return cls._filled(Store.memory(), note)

    @classmethod
    def _filled(cls, store: Store, note: Text | None = None) -> Library:
        try:
            if store.writable and store.meta(_CONTENT_HASH) != (wanted := content_hash()):
                _take_over(store, load_catalogue(CONTENT), wanted)
            return cls(store, note)
        except BaseException:
            store.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets the file go."""
        self._store.close()

    @property
    def path(self) -> str:
        """The file; ``:memory:`` without one."""
        return self._store.path

    @cached_property
    def postings(self) -> Postings:
        """All fixes by term, read once."""
        rows = self._store.fixes()
        number = {row.fix_id: i for i, row in enumerate(rows)}
        scopes = [(row.fix_id, row.n, Scope(row.make, row.model, row.year_from, row.year_to)) for row in rows]
        return Postings.build(scopes, ((number[fix_id], term, n) for fix_id, term, n in self._store.terms()))

    @cached_property
    def _scales(self) -> dict[str, FeatureScale]:
        return {name: scale_from_body(body) for name, body in self._store.bodies("scales")}

    @cached_property
    def _tests(self) -> tuple[TellingTest, ...]:
        return tuple(telling_from_body(body) for _, body in self._store.bodies("tests"))

    @cached_property
    def _fixes(self) -> dict[str, Fix]:
        return {}

    def _fix_of(self, fix_id: str) -> Fix:
        if fix_id not in self._fixes:
            self._fixes[fix_id] = fix_from_body(self._store.find_fix(fix_id).body)
        return self._fixes[fix_id]

    def find(self, query: Query) -> Cases:
        """Ranks the known fixes for what was seen on one car. Reads only."""
        return answer(query, self.postings, self._fix_of, self._scales, self._tests, self.words)

    def get_fix(self, name: str) -> Fix:
        """A fix by its name, its id, or the beginning of its id.

        Raises:
            FixUnknown: there is none.
        """
        return fix_from_body(self._store.find_fix(name).body)

    def get_test(self, name: str) -> TellingTest:
        """A test that a fix's check names.

        Raises:
            FixUnknown: there is none.
        """
        for test in self._tests:
            if test.test_id == name:
                return test
        raise FixUnknown(name)

    def safety_steps(self, safety: Safety) -> tuple[Text, ...]:
        """What to read out before work of this class; none where no high voltage is near."""
        return load_safety()[safety]

    def fixes(self) -> tuple[Fix, ...]:
        """All fixes, by name."""
        return tuple(fix_from_body(row.body) for row in self._store.fixes())

    def counts(self) -> dict[str, int]:
        """How much of everything the library has."""
        return self._store.counts()

    def remember(self, query: Query, cases: Cases, *, now_ns: int | None = None) -> int:
        """Keeps what was shown, with its probabilities; a simulated car's is marked. Returns the job's number."""
        shown = [ShownRow(m.case_id, i, m.p, cases.verdict.value) for i, m in enumerate(cases.matches, start=1)]
        opened = time.time_ns() if now_ns is None else now_ns
        return self._store.log_shown(
            opened, query.symptom, asdict(query.vehicle), shown, simulated=query.simulated or cases.simulated
        )

    def close_job(self, job: int, fix_id: str, outcome: str, *, now_ns: int | None = None) -> None:
        """What became of a fix that was shown: ``fixed``, ``not-fixed`` or ``something-else``.

        Raises:
            SimulatedOutcome: the car was simulated; nothing was recorded.
        """
        if outcome not in OUTCOMES:
            raise BadEvidence("outcome", Text(f"must be one of {', '.join(OUTCOMES)}", f"必须为 {'、'.join(OUTCOMES)}"))
        self._store.close_job(job, fix_id, outcome, time.time_ns() if now_ns is None else now_ns)

    def outcomes(self) -> dict[str, dict[str, int]]:
        """Fix id -> how many real jobs ended how."""
        return self._store.outcomes()


def _take_over(store: Store, catalogue: Catalogue, wanted: str) -> None:
    words = Vocabulary.load()
    store.put_bundled(
        wanted,
        ((_row(fix), terms_from_fix(fix, words)) for fix in catalogue.fixes),
        [(test.test_id, body_from(test)) for test in catalogue.tests],
        [(scale.name, body_from(scale)) for scale in catalogue.scales.values()],
    )


def _row(fix: Fix) -> FixRow:
    scope = fix.scope
    return FixRow(
        fix.fix_id, fix.slug, fix.component, fix.failure_mode, fix.action, fix.source, fix.safety.value,
        CASES_OF[fix.commonness], scope.make, scope.model, scope.year_from, scope.year_to, body_from(fix),
    )  # fmt: skip
