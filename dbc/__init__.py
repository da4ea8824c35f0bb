"""Databases that turn bytes into physical values. No bus, no event loop, no clock.

::

    decoded = dbc.decode("drive.mf4", "car.dbc")
    decoded["PackVoltage"].values
    decoded.to_pandas("PackVoltage", "PackCurrent")

The names below are loaded when they are first used, so that ``import dbc`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dbc.columns import Decoded, SignalColumn
    from dbc.database import Database, load
    from dbc.dataframes import decode
    from dbc.decoding import decode_table
    from dbc.errors import DbcError, LibraryMissing, UnknownSignal
    from dbc.recording import Recording, open_recording
    from dbc.table import FrameTable

__all__ = [
    "Database",
    "DbcError",
    "Decoded",
    "FrameTable",
    "LibraryMissing",
    "Recording",
    "SignalColumn",
    "UnknownSignal",
    "decode",
    "decode_table",
    "load",
    "open_recording",
]

_HOME: Final = {
    **dict.fromkeys(("Decoded", "SignalColumn"), "dbc.columns"),
    **dict.fromkeys(("Database", "load"), "dbc.database"),
    "decode": "dbc.dataframes",
    "decode_table": "dbc.decoding",
    **dict.fromkeys(("DbcError", "LibraryMissing", "UnknownSignal"), "dbc.errors"),
    **dict.fromkeys(("Recording", "open_recording"), "dbc.recording"),
    "FrameTable": "dbc.table",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'dbc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
