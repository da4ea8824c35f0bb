"""The case library as the application sees it: open, ask, keep what was shown, learn what became of it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from casebase.bundled import take_over
from casebase.calibration import calibration_of
from casebase.casetable import CaseTable
from casebase.catalogue import Fix, load_safety
from casebase.cohort import cohort_cards
from casebase.drafttable import DraftTable
from casebase.errors import BadEvidence, FixUnknown, JobUnknown, LibraryFull, LibraryReadOnly, LibraryUnreadable
from casebase.escalation import escalations_of
from casebase.exchange import CountsExchange
from casebase.fixarrays import FixArrays
from casebase.fixjson import fix_from_body, scale_from_body, telling_from_body
from casebase.imports.kinds import import_file
from casebase.joblog import closed_jobs, first_matches, log_version, shown_jobs
from casebase.networktable import NetworkTable
from casebase.noticeindex import NoticeIndex
from casebase.noticematching import NoticeWeights
from casebase.notices import NoticeTable
from casebase.noticeside import NoticeSide
from casebase.place import default_path
from casebase.population import cars_with, cases_by_week
from casebase.query import Query
from casebase.ranking import answer
from casebase.recalibration import UNCORRECTED, recalibration_of
from casebase.schema import OUTCOMES
from casebase.sharedtable import SharedTable
from casebase.store import ShownRow, Store
from casebase.trends import trends_of
from casebase.tried import TriedFixes
from casebase.visits import failed_before
from casebase.wording import Wording
from casebase.words import default_vocabulary
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from casebase.calibration import Calibration
    from casebase.cases import Cases, Safety
    from casebase.catalogue import FeatureScale, TellingTest
    from casebase.cohort import Card
    from casebase.dense import Embedder
    from casebase.escalation import Escalation
    from casebase.imports.run import ImportResult
    from casebase.meaning import Meaning
    from casebase.notices import Notice
    from casebase.postings import Postings
    from casebase.recalibration import Recalibration
    from casebase.record import Case
    from casebase.success import Success
    from casebase.tokens import Tokenizer
    from casebase.trends import Trend
    from casebase.visits import Visit

__all__ = ["Library", "default_path"]

_MOST_FIXES: Final = 4000
"""Fixes that are kept in memory."""
_LIKELY: Final = 0.1
"""Probability of a fix from which on its parts are named."""


class Library:
    """An open case library. Use it as a context manager, or close it.

    Args:
        note: what a person should know about how it was opened, None when nothing.
        embedder: of the dense vote; None is the model of the extra, where it is installed.
    """

    def __init__(self, store: Store, note: Text | None = None, embedder: Embedder | None = None) -> None:
        self._store = store
        self.note = note
        self.words = default_vocabulary()
        self.wording = Wording(store, self.own_fixes, self.words.tokenizer, embedder)
        self._notice_index: tuple[int, NoticeIndex] | None = None
        self._fixes_at = ""
        self._tried = TriedFixes(store, lambda: self.cases, lambda: self._arrays.elsewhere)
        self._recalibration = UNCORRECTED
        self._log_state: tuple[int, int] | None = None
        self._log_version: tuple[str, str] | None = None

    @classmethod
    def open(cls, path: str | Path | None = None, *, create: bool = False, embedder: Embedder | None = None) -> Library:
        """Opens a library and takes over newer built-in fixes.

        Args:
            path: a file; None is the user's own, made at first use, and where it cannot be made, one in memory.
            create: make ``path`` when it is not there.
            embedder: of the dense vote; None is the model of the extra, where it is installed.

        Raises:
            LibraryError: the file cannot be used (exit code 6).
        """
        if path is not None:
            return cls._filled(Store.open(Path(path), create=create), embedder=embedder)
        own = default_path()
        try:
            return cls._filled(Store.open(own, create=True), embedder=embedder)
        except (LibraryFull, LibraryReadOnly, LibraryUnreadable):
            if own.exists():
                raise
            note = Text(
                f"no place to keep a case library ({own}); using the built-in fixes, nothing will be remembered",
                f"无法在 {own} 保存案例库；使用内置案例，不会留下记录",
            )
            return cls._filled(Store.memory(), note, embedder)

    @classmethod
    def built_in(cls, embedder: Embedder | None = None) -> Library:
        """The fixes that come with the program, in memory."""
        return cls._filled(Store.memory(), embedder=embedder)

    @classmethod
    def _filled(cls, store: Store, note: Text | None = None, embedder: Embedder | None = None) -> Library:
        try:
            take_over(store)
            return cls(store, note, embedder)
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

    @property
    def postings(self) -> Postings:
        """All fixes by term, as the file says it now."""
        return self._arrays.postings

    def tell_catching_up(self, progress: Callable[[int, int], None]) -> None:
        """Has somebody told how far it is where a question has to wait for many cases to be read again.

        That is so after an import that was killed. ``progress`` gets how many were read, and of how many.
        """
        self._arrays.catching_up = progress

    @cached_property
    def _arrays(self) -> FixArrays:
        words = self.words.digest
        return FixArrays(self._store, self.cases, self.tokenizer, lambda: self._scales, words, self.shared)

    @cached_property
    def cases(self) -> CaseTable:
        """The cases of this library."""
        return CaseTable(self._store)

    @cached_property
    def _scales(self) -> dict[str, FeatureScale]:
        return {name: scale_from_body(body) for name, body in self._store.bodies("scales")}

    @cached_property
    def _tests(self) -> tuple[TellingTest, ...]:
        return tuple(telling_from_body(body) for _, body in self._store.bodies("tests"))

    @cached_property
    def _fixes(self) -> dict[str, Fix]:
        """Those that were asked for, as long as :attr:`_fixes_at` stands."""
        return {}

    def _fix_of(self, fix_id: str) -> Fix:
        if fix_id not in self._fixes:
            while len(self._fixes) >= _MOST_FIXES:
                del self._fixes[next(iter(self._fixes))]
            self._fixes[fix_id] = fix_from_body(self._store.find_fix(fix_id).body)
        return self._fixes[fix_id]

    def find(self, query: Query, *, dense: bool | None = None, earlier: Sequence[Visit] = ()) -> Cases:
        """Ranks the known fixes for what was seen on one car. Changes nothing in the library.

        Args:
            query: what was seen.
            dense: whether the meaning of the complaint votes; None: where the extra is installed and its vectors can
                be kept beside the library.
            earlier: visits of this very car: what was done then and did not cure is less likely now.

        Raises:
            DenseMissing: the vote was asked for by ``dense=True``, and its extra is not installed.
            DenseUnusable: the same, and it cannot be loaded here.
        """
        postings = self.postings
        self._tried.refresh()
        if self._fixes_at != self._arrays.shared_version:
            self._fixes.clear()
            self._fixes_at = self._arrays.shared_version
        return answer(
            query,
            postings,
            self._fix_of,
            self._scales,
            self._tests,
            self.words,
            notices=self._notice_side,
            success_of_fix=self._tried.success_of,
            recalibration=self.recalibration,
            wording=lambda: self._wording(query.symptom, postings, dense),
            failed_before=failed_before(earlier, query),
        )

    def _wording(self, symptom: str, postings: Postings, dense: bool | None) -> Sequence[Meaning]:
        return () if self.words.is_quiet(symptom) else self.wording.ask(symptom, postings, wanted=dense)

    @property
    def recalibration(self) -> Recalibration:
        """How the log of closed jobs corrects the odds; fitted anew when a job was closed."""
        state = self._store.state
        if state != self._log_state:
            version = log_version(self._store)
            if version != self._log_version:
                self._recalibration, self._log_version = recalibration_of(first_matches(self._store)), version
            self._log_state = state
        return self._recalibration

    def success_of(self, fix: Fix) -> Success | None:
        """What became of a fix in the real jobs of this library and, by their counts, of others; None if unknown."""
        postings = self.postings  # first: what other sites told is as of these
        self._tried.refresh()
        return self._tried.success_of(fix) if postings else None

    @cached_property
    def shared(self) -> SharedTable:
        """What other sites told this library."""
        return SharedTable(self._store)

    @property
    def exchange(self) -> CountsExchange:
        """Tells other sites how often the fixes of this library worked, and hears it from them."""
        return CountsExchange(self._store, self.cases, self.shared, self.words, self._scales)

    @property
    def network(self) -> NetworkTable:
        """What this library knows of its network of workshops."""
        return NetworkTable(self._store, self.cases, self.shared, self._scales)

    @cached_property
    def notices(self) -> NoticeTable:
        """What makers and authorities published."""
        return NoticeTable(self._store)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Numbers the terms of texts."""
        return self.words.tokenizer

    @property
    def _notice_side(self) -> NoticeSide | None:
        version = self.notices.version
        if not version:
            return None
        if self._notice_index is None or self._notice_index[0] != version:
            named = f"notices-{version}-{self._store.identity}-{self.words.digest[:12]}"
            folder = None if self.path == ":memory:" else Path(f"{self.path}-index") / named
            self._notice_index = version, NoticeIndex.kept(self.notices, self.tokenizer, folder)
        return NoticeSide(self._notice_index[1], self.tokenizer, self.notices.get, NoticeWeights.load())

    def import_file(
        self,
        kind: str,
        path: str | Path,
        *,
        mapping: str | Path | None = None,
        progress: Callable[[ImportResult], None] = lambda _: None,
    ) -> ImportResult:
        """Takes a file over; see :func:`casebase.imports.kinds.import_file`."""
        return import_file(self._store, kind, path, self.cases, self._arrays, mapping=mapping, progress=progress)

    def get_notice(self, name: str) -> Notice:
        """A recall, bulletin or investigation by its number at its source or its identity.

        Raises:
            FixUnknown: there is none.
        """
        return self.notices.find(name)

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

    def own_fixes(self) -> tuple[Fix, ...]:
        """The fixes that come with the program, by name."""
        return tuple(fix_from_body(row.body) for row in self._store.fixes(own=True))

    def shown_for(self, job: int) -> list[str]:
        """Identities of what was shown for a job, best first.

        Raises:
            JobUnknown: there is no such job.
        """
        if not self._store.value("SELECT count(*) FROM cases WHERE id = ?", (job,)):
            raise JobUnknown(job)
        rows = self._store.rows("SELECT fix_id FROM outcome_log WHERE case_id = ? ORDER BY rank", (job,))
        return [row[0] for row in rows]

    def title_of(self, case_id: str) -> Text:
        """The title of a fix or a notice.

        Raises:
            FixUnknown: there is neither.
        """
        try:
            return self._fix_of(case_id).title
        except FixUnknown:
            return self.notices.find(case_id).heading

    def counts(self) -> dict[str, int]:
        """How much of everything the library has."""
        return self._store.counts()

    def remember(
        self,
        query: Query,
        cases: Cases,
        *,
        vin: str | None = None,
        now_ns: int | None = None,
        answered_ms: int | None = None,
    ) -> int:
        """Keeps what was shown, with its probabilities; a simulated car's is marked. Returns the job's number.

        Args:
            query: what was asked.
            cases: what was answered.
            vin: of the car, to find its earlier visits; only its keyed hash is kept.
            now_ns: UTC nanoseconds; None is now.
            answered_ms: milliseconds from the start of the scan, or from the question, to the answer; None where
                nobody knows.
        """  # fmt: skip
        shown = [
            ShownRow(m.case_id, i, m.p, m.uncorrected, cases.verdict.value)
            for i, m in enumerate(cases.matches, start=1)
        ]
        opened = time.time_ns() if now_ns is None else now_ns
        simulated = query.simulated or cases.simulated
        with self._store.transaction():
            key = self.cases.car_key(vin) if vin and not simulated else None
            job = self.cases.open_job(
                replace(query, simulated=simulated), cases.verdict.value, opened, key,
                first=cases.matches[0].case_id if cases.matches else None, answered_ms=answered_ms,
            )  # fmt: skip
            self._store.log_shown(job, shown, simulated=simulated)
        return job

    def close_job(self, job: int, fix: str | None, outcome: str, *, note: str = "", now_ns: int | None = None) -> None:
        """What became of a job; an earlier answer is taken back, and a cure teaches the library.

        Args:
            job: its number.
            fix: name or identity of the fix that was tried, None where it was something that the library does not know.
            outcome: ``fixed``, ``not-fixed`` or ``something-else``.
            note: in a person's words.
            now_ns: UTC nanoseconds; None is now.

        Raises:
            SimulatedOutcome: the car was simulated; nothing was recorded.
            FixUnknown: there is no such job or fix.
        """
        if outcome not in OUTCOMES:
            raise BadEvidence("outcome", Text(f"must be one of {', '.join(OUTCOMES)}", f"必须为 {'、'.join(OUTCOMES)}"))
        with self._store.transaction():
            fix_id = None if fix is None else self._identity(fix)
            self.cases.close(job, outcome, fix_id, time.time_ns() if now_ns is None else now_ns, note)

    def _identity(self, name: str) -> str:
        """Of a fix or a notice.

        Raises:
            FixUnknown: there is neither.
        """
        try:
            return self._store.find_fix(name).fix_id
        except FixUnknown:
            return self.notices.find(name).case_id

    def add_cases(self, cases: Sequence[Case]) -> int:
        """Adds cases, all or none; returns how many are new."""
        try:
            with self._store.transaction():
                return self.cases.put(self._arrays.prepare(cases), strict=True).new
        except BaseException:
            self.cases.forget()
            raise

    @cached_property
    def drafts(self) -> DraftTable:
        """Consultations that wait to become cases."""
        return DraftTable(self._store, self.cases, self.tokenizer, self._arrays.prepare)

    def calibration(self) -> Calibration:
        """What the log of shown answers supports."""
        return calibration_of(closed_jobs(self._store), shown_jobs(self._store), self.recalibration)

    def trends(
        self, *, recent_weeks: int = 8, lead_weeks: int = 4, simulated: bool = False, last_week: int | None = None
    ) -> tuple[list[Trend], frozenset[str]]:
        """Faults that become more frequent; and the models whose car-weeks nobody told, so that jobs stand in.

        Args:
            recent_weeks: how many weeks are looked at.
            lead_weeks: how long parts take to come.
            simulated: look at simulated cars instead of real ones.
            last_week: number of the last week that is known; None is the last one with exposure.
        """
        counted, exposure, told_by_jobs = cases_by_week(self._store, simulated=simulated)
        found = trends_of(counted, exposure, recent_weeks=recent_weeks, lead_weeks=lead_weeks, last_week=last_week)
        return found, told_by_jobs

    def escalations(self) -> list[Escalation]:
        """Problems for research and development."""
        return escalations_of(self._store)

    def cohort(self, outcome: str, *, simulated: bool = False, weeks: int = 8) -> list[Card]:
        """Batches with their software beside matched cars; for worse ones who is next in so many weeks."""
        return cohort_cards(cars_with(self._store, outcome, simulated=simulated), weeks=weeks)

    def parts_for(self, fault: str) -> list[tuple[Fix, float]]:
        """What to order for a fault of :meth:`trends`: its fix, or for a code those that need parts, with their p."""
        with suppress(FixUnknown):
            return [(self.get_fix(fault), 1.0)]
        try:
            matches = self.find(Query.from_json({"dtcs": [fault]})).matches
            likely = [(self.get_fix(match.case_id), match.p) for match in matches if match.p >= _LIKELY]
        except (BadEvidence, FixUnknown):
            return []
        return [(fix, p) for fix, p in likely if fix.parts]

    def check(self) -> None:
        """Reads the whole file through; opening a large one reads only what every question needs.

        Raises:
            LibraryDamaged: a page is not what it should be.
        """
        self._store.verify(create=False, whole=True)

    def backup(self, path: str | Path) -> None:
        """Copies the library while it is in use.

        Raises:
            LibraryError: it cannot be written there.
        """
        self._store.backup(Path(path))

    def restore(self, path: str | Path) -> None:
        """Takes everything from a backup, after checking it.

        Raises:
            LibraryError: it is no library, is damaged, or was written by a newer version; nothing was changed.
        """
        self._store.restore(Path(path))
        take_over(self._store)
        for remembered in ("cases", "_arrays", "drafts"):  # of the former contents
            self.__dict__.pop(remembered, None)
        self._fixes.clear()

    def outcomes(self) -> dict[str, dict[str, int]]:
        """Fix id -> how many real jobs ended how."""
        return self._store.outcomes()
