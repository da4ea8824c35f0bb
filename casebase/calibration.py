"""Which of the promises the log supports: how often the first answer was right, how right its odds were, and how soon.

Everything comes from what people were shown and what the job turned out to be (:mod:`casebase.joblog`). Jobs on the
simulated car count for nothing, jobs that nobody closed only for how many were shown. Pure.

*Common faults* are those whose cures make up the more frequent half of the cured jobs, equally frequent ones included.
A closed job that nothing is known to have cured counts as a common fault that was missed: who left it out would leave
out the library's own failures.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from casebase.intervals import Z95, wilson
from casebase.jobclasses import EVIDENCE, LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from casebase.joblog import ClosedJob
    from casebase.recalibration import Recalibration
    from diag.facts import Json

__all__ = ["WITHIN_MS", "AnswerTimes", "Calibration", "Promise", "Rate", "Table", "calibration_of"]

_BINS: Final = 10
_DECIDED: Final = ("direct", "test")
_LEAST: Final = 30
"""Jobs below which nothing is claimed."""
WITHIN_MS: Final = 180_000
"""Three minutes."""


@dataclass(frozen=True, slots=True)
class Rate:
    """``hits`` of ``n`` with Wilson's 95 % interval."""

    hits: int
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 %; everything where there is nothing."""
        return wilson(self.hits / self.n, self.n, Z95) if self.n else (0.0, 1.0)

    @property
    def value(self) -> float | None:
        """The share, None without any."""
        return self.hits / self.n if self.n else None

    def to_json(self) -> Json:
        """Share, number and interval."""
        low, high = self.interval
        value = self.value
        return {
            "hits": self.hits, "n": self.n, "value": None if value is None else round(value, 4),
            "interval": [round(low, 4), round(high, 4)],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise and whether the log supports it: ``yes``, ``no``, or ``open`` while the interval holds it."""

    name: str
    goal: float
    rate: Rate

    @property
    def verdict(self) -> str:
        """Nothing is claimed from fewer than thirty jobs."""
        low, high = self.rate.interval
        if self.rate.n < _LEAST:
            return "open"
        return "yes" if low >= self.goal else "no" if high < self.goal else "open"

    def to_json(self) -> Json:
        """The promise with its numbers."""
        return {"name": self.name, "goal": self.goal, **self.rate.to_json(), "supported": self.verdict}


@dataclass(frozen=True, slots=True)
class Table:
    """Some closed jobs, counted.

    Args:
        shown: jobs with an answer; ``closed`` of them have a known end.
        covered: closed jobs whose answer was ``direct`` or ``test``.
        first, three: of the covered ones, whether the cure was first, or among the first three.
        reliability: for each tenth of probability: mean probability, jobs, how many were right.
        error: mean distance of probability and truth over the tenths, None without jobs.
        error_raw: the same of the probabilities before the log corrected them.
    """

    shown: int
    closed: int
    covered: Rate
    first: Rate
    three: Rate
    reliability: tuple[tuple[float, int, int], ...]
    error: float | None
    error_raw: float | None

    def to_json(self) -> Json:
        """The numbers."""
        return {
            "shown": self.shown,
            "closed": self.closed,
            "coverage": self.covered.to_json(),
            "first": self.first.to_json(),
            "among_three": self.three.to_json(),
            "reliability": [{"p": round(p, 4), "n": n, "right": right} for p, n, right in self.reliability],
            "calibration_error": None if self.error is None else round(self.error, 4),
            "calibration_error_uncorrected": None if self.error_raw is None else round(self.error_raw, 4),
        }


@dataclass(frozen=True, slots=True)
class AnswerTimes:
    """How long the answers of closed jobs took.

    Args:
        known: jobs whose time is known; ``unknown`` ones count as later than promised.
        median_ms, p95_ms: of the known ones (nearest rank), None without any.
    """

    known: int
    unknown: int
    median_ms: int | None
    p95_ms: int | None

    @classmethod
    def of(cls, jobs: Sequence[ClosedJob]) -> AnswerTimes:
        """Those of some jobs."""
        took = sorted(job.answered_ms for job in jobs if job.answered_ms is not None)
        if not took:
            return cls(0, len(jobs), None, None)
        median, p95 = (took[math.ceil(q * len(took)) - 1] for q in (0.5, 0.95))
        return cls(len(took), len(jobs) - len(took), median, p95)

    def to_json(self) -> Json:
        """Counts, and times in milliseconds."""
        return {
            "known": self.known, "unknown": self.unknown, "median_ms": self.median_ms, "p95_ms": self.p95_ms,
            "promised_ms": WITHIN_MS,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the log says.

    Args:
        overall: all jobs.
        classes: ``(language, evidence)`` and its jobs, those with closed ones.
        common: the fixes whose faults count as common, the most frequent first.
        missed: closed jobs that nothing is known to have cured.
        solved, in_time: of the common faults, how many the first answer cured, and how many of these in time.
        times: of all closed jobs.
        recalibration: how the odds are corrected now.
    """

    overall: Table
    classes: tuple[tuple[tuple[str, str], Table], ...]
    common: tuple[str, ...]
    missed: int
    solved: Rate
    in_time: Rate
    times: AnswerTimes
    recalibration: Recalibration

    @property
    def promises(self) -> tuple[Promise, ...]:
        """The product's promises that this log can speak of."""
        return (
            Promise("fixes-for-common-faults", 0.7, self.solved),
            Promise("diagnostic-accuracy", 0.9, self.overall.first),
            Promise("within-three-minutes", 0.7, self.in_time),
        )

    def to_json(self) -> Json:
        """``huizhen.calibration/1``."""
        return {
            "schema": "huizhen.calibration/1",
            **self.overall.to_json(),
            "promises": [promise.to_json() for promise in self.promises],
            "common_faults": {"fixes": list(self.common), "jobs": self.solved.n, "without_known_cure": self.missed},
            "answer_times": self.times.to_json(),
            "classes": [
                {"language": language, "evidence": evidence, **table.to_json()}
                for (language, evidence), table in self.classes
            ],
            "corrections": self.recalibration.to_json(),
        }


def calibration_of(
    jobs: Sequence[ClosedJob], shown: Mapping[tuple[str, str], int], recalibration: Recalibration
) -> Calibration:
    """Counts the log.

    Args:
        jobs: all closed ones with an answer.
        shown: how many jobs had an answer, by language and evidence.
        recalibration: how the odds are corrected now.
    """
    by_class: dict[tuple[str, str], list[ClosedJob]] = {}
    for job in jobs:
        by_class.setdefault((job.language, job.evidence), []).append(job)
    names = [(language, evidence) for language in LANGUAGES for evidence in EVIDENCE]
    classes = tuple((name, _table(by_class[name], shown.get(name, 0))) for name in names if name in by_class)
    common = _common(jobs)
    missed = sum(_cure(job) is None for job in jobs)
    counted = [job for job in jobs if (cure := _cure(job)) is None or cure in common]
    solved = [job for job in counted if _is_decided(job) and job.is_cured_by(job.shown[0])]
    in_time = sum(job.answered_ms is not None and job.answered_ms <= WITHIN_MS for job in solved)
    return Calibration(
        _table(jobs, sum(shown.values())), classes, common, missed, Rate(len(solved), len(counted)),
        Rate(in_time, len(counted)), AnswerTimes.of(jobs), recalibration,
    )  # fmt: skip


def _cure(job: ClosedJob) -> str | None:
    return job.cure if job.outcome == "fixed" else None


def _is_decided(job: ClosedJob) -> bool:
    return job.verdict in _DECIDED and bool(job.shown)


def _common(jobs: Iterable[ClosedJob]) -> tuple[str, ...]:
    """The fixes that cure the more frequent half, with those that are as frequent as the last of them."""
    counts = Counter(cure for job in jobs if (cure := _cure(job)) is not None)
    ranked = sorted(counts, key=lambda fix_id: (-counts[fix_id], fix_id))
    half = sum(counts.values()) / 2
    reached = 0
    for fix_id in ranked:
        reached += counts[fix_id]
        if reached >= half:
            return tuple(other for other in ranked if counts[other] >= counts[fix_id])
    return ()


def _table(jobs: Sequence[ClosedJob], shown: int) -> Table:
    decided = [job for job in jobs if _is_decided(job)]
    pairs = [(job.shown[0].p, job.is_cured_by(job.shown[0])) for job in decided]
    reliability = _reliability(pairs)
    raw = _reliability([(job.shown[0].p_raw, job.is_cured_by(job.shown[0])) for job in decided])
    among = sum(any(map(job.is_cured_by, job.shown[:3])) for job in decided)
    return Table(
        shown, len(jobs), Rate(len(decided), len(jobs)), Rate(sum(right for _, right in pairs), len(pairs)),
        Rate(among, len(decided)), reliability, _error(reliability), _error(raw),
    )  # fmt: skip


def _reliability(pairs: Sequence[tuple[float, bool]]) -> tuple[tuple[float, int, int], ...]:
    bins = [[pair for pair in pairs if min(_BINS - 1, int(pair[0] * _BINS)) == b] for b in range(_BINS)]
    return tuple(
        (sum(p for p, _ in part) / len(part), len(part), sum(right for _, right in part)) for part in bins if part
    )


def _error(reliability: Sequence[tuple[float, int, int]]) -> float | None:
    n = sum(jobs for _, jobs, _ in reliability)
    return sum(jobs * abs(p - right / jobs) for p, jobs, right in reliability) / n if n else None
