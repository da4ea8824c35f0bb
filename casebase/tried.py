"""What became of the fixes of a library, looked up once as long as nobody writes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from casebase.success import RECENT, success_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from casebase.casetable import CaseTable
    from casebase.catalogue import Fix
    from casebase.store import Store
    from casebase.success import Success

__all__ = ["TriedFixes"]


class TriedFixes:
    """The success of fixes.

    Args:
        store, cases: of the library.
        elsewhere: fix -> on how many cars it worked and failed at other sites.
    """

    def __init__(
        self, store: Store, cases: Callable[[], CaseTable], elsewhere: Callable[[], Mapping[str, tuple[int, int]]]
    ) -> None:
        self._store, self._cases, self._elsewhere = store, cases, elsewhere
        self._known: dict[str, Success | None] = {}
        self._at = (0, 0)

    def refresh(self) -> None:
        """Forgets what was looked up before somebody wrote."""
        state = self._store.state
        if self._at != state:
            self._known.clear()
            self._at = state

    def success_of(self, fix: Fix) -> Success | None:
        """As of the last :meth:`refresh`; None where nobody knows."""
        if fix.fix_id not in self._known:
            ends, worked, failed = self._cases().outcomes_of(fix.fix_id, RECENT)
            success = success_of(ends, fix.source, self._elsewhere().get(fix.fix_id, (0, 0)))
            self._known[fix.fix_id] = None if success is None else replace(success, worked=worked, failed=failed)
        return self._known[fix.fix_id]
