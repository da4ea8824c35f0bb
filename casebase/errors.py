"""What can go wrong in the case library.

::

    CaseError

Errors carry fields; ``__str__`` builds the English sentence from ``template`` (what happened, where, what to do
next). The Chinese sentence stands under the same ``code`` in the application's language catalogue.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["CaseError"]


class CaseError(Exception):
    """Root of this package's errors."""

    code: ClassVar[str] = "casebase"
    template: ClassVar[str] = "error in the case library"

    def __str__(self) -> str:
        return self.template.format(**vars(self))
