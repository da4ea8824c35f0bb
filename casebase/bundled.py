"""The content that comes with the program, taken over into a library's file."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from casebase.catalogue import CASES_OF, CONTENT, content_hash, load_catalogue
from casebase.fixjson import body_from
from casebase.postings import terms_from_fix
from casebase.store import FixRow
from casebase.words import default_vocabulary

if TYPE_CHECKING:
    from casebase.catalogue import Fix
    from casebase.store import Store

__all__ = ["take_over"]

_Fixes = tuple[tuple[FixRow, dict[str, float]], ...]
_Bodies = tuple[tuple[str, str], ...]

_CONTENT_HASH: Final = "content_hash"


def take_over(store: Store) -> None:
    """Brings the built-in fixes, tests and scales up to date; nothing where they are, or where nothing can be written.

    Raises:
        LibraryError: the file cannot take them.
    """
    if not store.writable or store.meta(_CONTENT_HASH) == (wanted := content_hash()):
        return
    store.put_bundled(wanted, *_content(wanted))


@lru_cache(maxsize=1)
def _content(wanted: str) -> tuple[_Fixes, _Bodies, _Bodies]:  # noqa: ARG001 - what was read before is of other files
    """The rows of fixes, tests and scales: read from the files once, however many libraries take them over."""
    words, catalogue = default_vocabulary(), load_catalogue(CONTENT)
    return (
        tuple((_row(fix), terms_from_fix(fix, words)) for fix in catalogue.fixes),
        tuple((test.test_id, body_from(test)) for test in catalogue.tests),
        tuple((scale.name, body_from(scale)) for scale in catalogue.scales.values()),
    )


def _row(fix: Fix) -> FixRow:
    scope = fix.scope
    return FixRow(
        fix.fix_id, fix.slug, fix.component, fix.failure_mode, fix.action, fix.source, fix.safety.value,
        CASES_OF[fix.commonness], scope.make, scope.model, scope.year_from, scope.year_to, body_from(fix),
    )  # fmt: skip
