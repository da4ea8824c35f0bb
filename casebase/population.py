"""What the library's cases say of whole populations: counts by week for trends, cars with an outcome for cohorts."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from casebase.cohort import CohortCar
from casebase.errors import BadEvidence
from casebase.query import parse_dtc
from casebase.trends import Counted
from casebase.vehicles import make_key, model_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from casebase.store import Store

__all__ = [
    "WEEK_NS", "cars_with", "cases_by_week", "is_cured", "model_name", "put_exposure", "week_of",
]  # fmt: skip

WEEK_NS: Final = 7 * 86_400 * 1_000_000_000
_MONDAY_NS: Final = 4 * 86_400 * 1_000_000_000
"""1970-01-05 was a Monday."""
_TOGETHER: Final = 0.8
_MOST_CODES: Final = 60
_SAME_WEEKS: Final = 8
"""In which the same code on the same car is the same fault."""


def week_of(t_ns: int) -> int:
    """Number of the week, Monday to Sunday in UTC; that of 1970-01-05 is 0."""
    return (t_ns - _MONDAY_NS) // WEEK_NS


def model_name(make: str, model: str) -> str:
    """``make model``, whatever of them is known."""
    return f"{make} {model}".strip()


def is_cured(outcome: str | None) -> bool:
    """Whether a job ended with a cure, by whatever."""
    return outcome in ("fixed", "something-else")


def put_exposure(store: Store, rows: Iterable[tuple[str, str, int, float]]) -> None:
    """How many cars are on the road, inside the caller's transaction: make, model, week, cars."""
    store.db.conn.executemany(
        "INSERT INTO exposure VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET cars = excluded.cars",
        [(make_key(make), model_key(model), week, cars) for make, model, week, cars in rows],
    )


def cases_by_week(
    store: Store, *, simulated: bool = False
) -> tuple[list[Counted], dict[tuple[str, int], float], frozenset[str]]:
    """Cases by fault, model and week; car-weeks; and the models whose car-weeks nobody told.

    A case counts for its fix (else its component) and for each code that was confirmed or failing. A car that comes
    again with the same code within eight weeks has it still, and counts once. Codes that come together on the same cars
    are one fault, named after the one that comes most. Where nobody told the car-weeks, the jobs of the model in the
    week stand in for its cars: a fault's share of all jobs is compared.
    """
    rows = store.rows(
        "SELECT make, model, coalesce(nullif(opened_ns, 0), closed_ns) AS t_ns,"
        " coalesce(slug, nullif(cases.component, '')), car_key, json_extract(evidence, '$.dtcs')"
        " FROM cases LEFT JOIN fixes ON fixes.id = cases.fix_id WHERE simulated = ? AND t_ns > 0"
        " ORDER BY t_ns, cases.id",
        (int(simulated),),
    )
    counts: Counter[tuple[str, str, int]] = Counter()
    jobs: Counter[tuple[str, int]] = Counter()
    seen: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    last: dict[tuple[str, str], int] = {}
    for make, model, t_ns, fault, car, dtcs in rows:
        name, week = model_name(make, model), week_of(t_ns)
        jobs[name, week] += 1
        if fault:
            counts[fault, name, week] += 1
        codes = _codes(dtcs) if dtcs else ()
        seen[name][codes] += 1
        for code in codes:
            is_new = not car or week - last.get((car, code), week - _SAME_WEEKS) >= _SAME_WEEKS
            if car:
                last[car, code] = week
            if is_new:
                counts[code, name, week] += 1
    told = {
        (model_name(make, model), week): float(cars)
        for make, model, week, cars in store.rows("SELECT make, model, week, cars FROM exposure")
    }
    known = {name for name, _ in told}
    exposure = told | {(name, week): float(n) for (name, week), n in jobs.items() if name not in known}
    leaders = {name: _leaders(codes) for name, codes in seen.items()}
    together: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, led in leaders.items():
        for code, leader in sorted(led.items()):
            together[leader, name].append(code)
    counted = [
        Counted(fault, name, week, n, tuple(together.get((fault, name), ())))
        for (fault, name, week), n in counts.items()
        if fault not in leaders.get(name, {})
    ]
    return counted, exposure, frozenset({name for name, _ in jobs} - known)


def _leaders(seen: Mapping[tuple[str, ...], int]) -> dict[str, str]:
    """Code -> the more frequent one with which it comes on four of five of the cars that have either.

    Args:
        seen: how often these codes were seen at one visit.
    """
    alone: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for codes, n in seen.items():
        for at, code in enumerate(codes[:_MOST_CODES]):
            alone[code] += n
            for other in codes[at + 1 : _MOST_CODES]:
                pairs[code, other] += n
    leader = {code: code for code in alone}
    for (one, two), n in pairs.items():
        if n >= _TOGETHER * (alone[one] + alone[two] - n):
            first, second = sorted((leader[one], leader[two]), key=lambda code: (-alone[code], code))
            leader = {code: first if led == second else led for code, led in leader.items()}
    return {code: led for code, led in leader.items() if code != led}


@lru_cache(maxsize=1 << 14)
def _codes(dtcs: str) -> tuple[str, ...]:
    """``P0AA6-1A@bms`` of each code that is confirmed or failing now."""
    found = set()
    for item in json.loads(dtcs):
        try:
            seen = parse_dtc(item)
        except BadEvidence:
            continue
        if seen is not None and seen.state in ("active", "confirmed"):
            found.add(f"{seen.display}@{seen.role}" if seen.role else seen.display)
    return tuple(sorted(found))


def cars_with(store: Store, outcome: str, *, simulated: bool = False) -> list[CohortCar]:
    """Cars with an outcome, each by its last visit.

    Args:
        store: of the library.
        outcome: name of a battery figure, a trouble code, or a finding (``battery.spread``); cars that were not asked
            for it are left out.
        simulated: those of the simulator instead of real ones.
    """
    latest: dict[str, tuple[int, CohortCar]] = {}
    visits: dict[str, list[tuple[int, float]]] = defaultdict(list)
    after = 0
    while rows := store.rows(
        "SELECT id, car_key, make, model, batch, vehicle, mileage_km, evidence, coalesce(nullif(opened_ns, 0),"
        " closed_ns, 0) FROM cases WHERE simulated = ? AND batch <> '' AND id > ? ORDER BY id LIMIT 2000",
        (int(simulated), after),
    ):
        after = rows[-1][0]
        for number, key, make, model, batch, vehicle, km, evidence, t_ns in rows:
            told = json.loads(evidence)
            value = _outcome(told, outcome)
            software = json.loads(vehicle).get("software")
            if value is None or not isinstance(software, dict) or not software:
                continue
            name = key or f"case {number}"
            if t_ns > 0:
                visits[name].append((week_of(t_ns), value))
            if name in latest and t_ns < latest[name][0]:
                continue
            context = told.get("context")
            traits = {str(k): str(v) for k, v in context.items()} if isinstance(context, dict) else {}
            programs = {str(k): str(v) for k, v in software.items()}
            short = key[:8] if key else ""
            car = CohortCar(model_name(make, model), batch, programs, value, km, traits, number, name=short)
            latest[name] = t_ns, car
    return [replace(car, visits=tuple(sorted(visits[name]))) for name, (_, car) in latest.items()]


def _outcome(told: dict[str, Any], name: str) -> float | None:
    features = told.get("features")
    if isinstance(features, dict) and isinstance(features.get(name), int | float):
        return float(features[name])
    if "." in name:
        findings = told.get("findings")
        return None if not isinstance(findings, list) else float(any(_code(one) == name for one in findings))
    dtcs = told.get("dtcs")
    if dtcs is None and not told.get("read"):
        return None
    if name[:1].upper() in "PCBU" and len(name) >= 5 and name[1:2].isdigit():
        return float(_has_code(dtcs if isinstance(dtcs, list) else [], name.upper()))
    return None


def _code(finding: object) -> object:
    return finding.get("code") if isinstance(finding, dict) else finding


def _has_code(dtcs: Sequence[object], name: str) -> bool:
    for item in dtcs:
        seen = parse_dtc(item)
        if seen is not None and name in (seen.code, seen.display):
            return True
    return False
