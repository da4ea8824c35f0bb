"""Databases that turn bytes into physical values. No bus, no event loop, no clock.

The names below are loaded when they are first used, so that ``import dbc`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dbc.database import Database, load
    from dbc.decode import Decoded, decode_table
    from dbc.recording import Recording, open_recording
    from dbc.table import FrameTable

__all__ = ["Database", "Decoded", "FrameTable", "Recording", "decode_table", "load", "open_recording"]

_HOME: Final = {
    "Database": "dbc.database",
    "Decoded": "dbc.decode",
    "FrameTable": "dbc.table",
    "Recording": "dbc.recording",
    "decode_table": "dbc.decode",
    "load": "dbc.database",
    "open_recording": "dbc.recording",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'dbc' has no attribute {name!r}")
