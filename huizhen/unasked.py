"""Libraries that other libraries take along without our asking: for seconds of start-up, and nothing that we use.

python-can imports asammdf where that is installed, and pandas and openpyxl with it, for MF4 files that it never reads
for us; sqlite-utils imports pandas for data frames. Both go on without. Whoever asks for asammdf or pandas by
themselves gets them as ever.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import FrameType, ModuleType

__all__ = ["leave_out_unasked"]

_UNASKED: Final = {"asammdf": "can.io.mf4", "pandas": "sqlite_utils.db"}
"""Library -> the module that takes it along."""


class _Absent:
    """Tells one module that a library is not installed; the first of the finders, so that none is asked before it."""

    @staticmethod
    def find_spec(
        name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None lets the other finders go on.

        Raises:
            ModuleNotFoundError: the module that asks is the one that does not need it.
        """
        if name in _UNASKED and _who_asks() == _UNASKED[name]:
            raise ModuleNotFoundError(f"{name} is left out here", name=name)
        return None


def _who_asks() -> str:
    """The module whose import statement is being run."""
    frame = sys._getframe(2)  # noqa: SLF001 - the only way to know
    while frame.f_back is not None and _name_of(frame).partition(".")[0] == "importlib":
        frame = frame.f_back
    return _name_of(frame)


def _name_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def leave_out_unasked() -> None:
    """From now on, for this process."""
    if _Absent not in sys.meta_path:
        sys.meta_path.insert(0, _Absent)
