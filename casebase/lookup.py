"""The short way to known fixes for programs and notebooks: open a library, match a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from casebase.library import Library
from casebase.query import Query

if TYPE_CHECKING:
    from pathlib import Path

    from casebase.cases import Cases
    from diag.vehiclereport import VehicleReport

__all__ = ["match", "open_library"]


def open_library(path: str | Path | None = None, *, create: bool = False) -> Library:
    """A case library; use it with ``with``, or close it.

    Args:
        path: a file; None is your own library, as ``huizhen case`` uses it.
        create: make ``path`` when it is not there.

    Raises:
        LibraryError: the file cannot be used.
    """
    return Library.open(path, create=create)


def match(
    report: VehicleReport | Mapping[str, Any] | Query, *, symptom: str = "", library: Library | None = None
) -> Cases:
    """Ranks the known fixes for what was seen on one car. Nothing is remembered and nobody is asked.

    Args:
        report: of ``diag.scan``; or a saved scan's JSON (``huizhen.scan/1``), a line of ``case find --jsonl``, or a
            question made by hand.
        symptom: the customer's words, English or Chinese.
        library: an open one; None = the fixes that come with the program.

    Raises:
        BadEvidence: JSON of the wrong shape.
    """
    if isinstance(report, Query):
        question = report
    elif isinstance(report, Mapping):
        question = Query.from_json(report, symptom=symptom)
    else:
        question = Query.from_report(report, symptom=symptom)
    if library is not None:
        return library.find(question)
    with Library.built_in() as own:
        return own.find(question)
