"""What can go wrong in the expert room.

::

    ConsultError

Errors carry fields; ``__str__`` builds the English sentence from ``template`` (what happened, where, what to do
next). The Chinese sentence stands under the same ``code`` in the application's language catalogue.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["ConsultError"]


class ConsultError(Exception):
    """Root of this package's errors."""

    code: ClassVar[str] = "consult"
    template: ClassVar[str] = "error in the expert room"

    def __str__(self) -> str:
        return self.template.format(**vars(self))
