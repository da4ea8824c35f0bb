"""The text dialects that follow patterns, in the order in which they are tried: sure marks first, weak ones last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbc.recording.analyzers import BusMaster, BusMasterTab, Microchip, Pp2Can, UsbCan
from dbc.recording.asc import Asc
from dbc.recording.tables import FramesCsv, GenericId, PythonCan
from dbc.recording.terminals import Console, Crtd, ElmSession, PlainColumns, ScanAnswers, SerialBoard
from dbc.recording.traces import CanHacker, Pcan

if TYPE_CHECKING:
    from dbc.recording.patterns import PatternDialect

__all__ = ["DIALECTS"]

DIALECTS: Final[tuple[type[PatternDialect], ...]] = (
    FramesCsv,
    PythonCan,
    GenericId,
    BusMaster,
    Pcan,
    CanHacker,
    Pp2Can,
    Asc,
    BusMasterTab,
    Microchip,
    UsbCan,
    Crtd,
    SerialBoard,
    Console,
    ScanAnswers,
    ElmSession,
    PlainColumns,
)
