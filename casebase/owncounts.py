"""What this library's own real jobs say of its fixes, counted by car: exact, and not to be told as it is."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from casebase.evidence import terms_of_query
from casebase.fixjson import fix_from_body
from casebase.record import CASES, Pattern
from casebase.sharing import MOST_TERMS, OwnPattern, SharedPattern, is_clean, is_term
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from casebase.casetable import CaseTable
    from casebase.catalogue import FeatureScale, Fix
    from casebase.record import Case
    from casebase.words import Vocabulary

__all__ = ["own_patterns", "reviewed_pattern"]

_CONCEPT: Final = "#"
_WHOLE: Final = 1000


def own_patterns(
    cases: CaseTable, words: Vocabulary, scales: Mapping[str, FeatureScale], least: int
) -> Iterator[OwnPattern]:
    """The fixes that were tried on so many different cars, one after the other.

    A car counts once for each term, however often it came, with the most that the term counted as on it.
    """
    for body in cases.fixes_of_cars(least):
        fix = fix_from_body(body)
        worked: set[str] = set()
        failed: set[str] = set()
        seen: dict[str, dict[str, int]] = defaultdict(dict)
        for ends in cases.ends_of(fix.fix_id):
            failed.update(car for car, is_cured, _ in ends if not is_cured)
            cured = [(car, query) for car, is_cured, query in ends if is_cured]
            worked.update(car for car, _ in cured)
            said = words.terms_of([query.symptom for _, query in cured])
            for (car, query), spoken in zip(cured, said, strict=True):
                shown = terms_of_query(query, scales)
                shown.update({f"w|{term}": 1.0 for term in spoken if term.startswith(_CONCEPT)})
                for term, weight in shown.items():
                    seen[term][car] = max(seen[term].get(car, 0), round(_WHOLE * min(weight, 1.0)))
        # In whole thousandths and with halves up, so that one car more is one more at most.
        terms = {term: (len(by_car), (sum(by_car.values()) + _WHOLE // 2) // _WHOLE) for term, by_car in seen.items()}
        yield OwnPattern(_pattern(fix), len(worked | failed), len(worked), len(failed), terms)


def reviewed_pattern(case: Case, fix: Fix, scales: Mapping[str, FeatureScale]) -> SharedPattern | None:
    """What may be told of one cured, real case whose words an expert has reviewed; None of any other.

    Args:
        case: with its evidence.
        fix: what cured it.
        scales: of the library.
    """
    if case.query.simulated or case.outcome != "fixed":
        return None
    told = case.fix if isinstance(case.fix, Pattern) else _pattern(fix)
    names = [name for name in (told.scope.make, told.scope.model) if name]
    words = (told.component, told.failure_mode, told.action, told.title.en, told.title.zh, told.fix.en, told.fix.zh)
    if not is_clean([*words, *names]):
        return None
    terms = sorted(term for term in terms_of_query(case.query, scales) if is_term(term))[:MOST_TERMS]
    return SharedPattern(told, 1, 0, dict.fromkeys(terms, 1))


def _pattern(fix: Fix) -> Pattern:
    """Identity and words of a fix. What is not ours has no others than those that all of its cases share.

    Title and description of such a fix are those of its first case, which somebody wrote about one car.
    """
    told = fix.component, fix.failure_mode, fix.action
    if fix.source != CASES:
        return Pattern(*told, fix.title, fix.fix, fix.scope)
    title = " · ".join(told)
    return Pattern(*told, Text(title, title), Text(fix.action, fix.action), fix.scope)
