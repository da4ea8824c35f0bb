"""Known fixes: store, matching, learning from outcomes.

::

    cases = casebase.match(report, symptom="续航变短")
    cases.verdict, [(match.p, match.title.en) for match in cases.matches]

The names below are loaded when they are first used, so that ``import casebase`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from casebase.cases import Cases, Match, NextTest, Verdict
    from casebase.errors import CaseError, LibraryError
    from casebase.library import Library
    from casebase.lookup import match, open_library
    from casebase.query import Query

__all__ = [
    "CaseError",
    "Cases",
    "Library",
    "LibraryError",
    "Match",
    "NextTest",
    "Query",
    "Verdict",
    "match",
    "open_library",
]

_HOME: Final = {
    **dict.fromkeys(("Cases", "Match", "NextTest", "Verdict"), "casebase.cases"),
    **dict.fromkeys(("CaseError", "LibraryError"), "casebase.errors"),
    "Library": "casebase.library",
    **dict.fromkeys(("match", "open_library"), "casebase.lookup"),
    "Query": "casebase.query",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'casebase' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
