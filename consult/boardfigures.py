"""Figures of a service for those who run it: now, and each minute of the last day."""

from __future__ import annotations

import asyncio
import json
import math
import os
import platform
import shutil
import sqlite3
from collections import deque
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from consult.metrics import journal_lag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consult.member import Member
    from consult.room import Room
    from consult.service import Service
    from consult.servicestate import ServiceState

__all__ = [
    "FIGURES",
    "MINUTES",
    "MINUTE_US",
    "History",
    "RoomRates",
    "line_json",
    "memory_mb",
    "percentile",
    "room_json",
    "service_json",
]

MINUTES: Final = 1440
MINUTE_US: Final = 60_000_000
FIGURES: Final = (
    "waiting",
    "rooms",
    "people",
    "blocks_s",
    "bytes_s",
    "rtt_ms",
    "loop_ms",
    "memory_mb",
    "lag_blocks",
    "notices",
)
"""What a minute keeps: cars that wait for an expert, open rooms, people in them, blocks and bytes taken in a second,
the 95th percentile of the round trips, the event loop's longest delay, resident memory, blocks that wait for a journal,
notices that wait for a webhook."""


class History:
    """One point a minute for a day: in memory, and in the table ``board_minute`` so that it outlives a restart."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state
        self._points: deque[dict[str, Any]] = deque(maxlen=MINUTES)

    def load(self, now_us: int) -> None:
        """Takes up what an earlier process has kept.

        Raises:
            StateBroken: the database cannot be read.
        """
        oldest_us = now_us - MINUTES * MINUTE_US
        rows = self._state.rows("SELECT t_us, body FROM board_minute WHERE t_us > ? ORDER BY t_us", (oldest_us,))
        self._points.extend({"t_us": t_us, **json.loads(body)} for t_us, body in rows if t_us <= now_us)

    def add(self, t_us: int, figures: dict[str, float | None]) -> None:
        """One more minute.

        Raises:
            StateBroken: it cannot be written; it is kept in memory all the same.
        """
        self._points.append({"t_us": t_us, **figures})
        with self._state.transaction() as db:
            db.execute("INSERT OR REPLACE INTO board_minute VALUES (?, ?)", (t_us, json.dumps(figures)))
            db.execute("DELETE FROM board_minute WHERE t_us <= ?", (t_us - MINUTES * MINUTE_US,))

    def columns(self) -> dict[str, list[float | None]]:
        """As the page draws it: a list for each figure, oldest first, and ``t_us``."""
        points = list(self._points)
        return {key: [point.get(key) for point in points] for key in ("t_us", *FIGURES)}


class RoomRates:
    """How many blocks and bytes come in a second, by room and in all."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, int, int]] = {}
        self.by_room: dict[str, tuple[float, float]] = {}

    def look(self, rooms: Iterable[Room], now_s: float) -> None:
        """Counts once more; to be called every few seconds."""
        seen, rates = {}, {}
        for room in rooms:
            before = self._seen.get(room.ident)
            seen[room.ident] = (now_s, room.blocks_in, room.bytes_in)
            if before is not None and now_s > before[0]:
                span_s = now_s - before[0]
                rates[room.ident] = ((room.blocks_in - before[1]) / span_s, (room.bytes_in - before[2]) / span_s)
        self._seen, self.by_room = seen, rates

    def total(self) -> tuple[float, float]:
        """Blocks and bytes a second of all rooms."""
        return sum(one[0] for one in self.by_room.values()), sum(one[1] for one in self.by_room.values())


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that at least ``share`` (0–1) of the values do not exceed; None without values."""
    found = sorted(values)
    if not found:
        return None
    return found[max(0, math.ceil(share * len(found)) - 1)]


def line_json(member: Member) -> dict[str, Any]:
    """How good somebody's line is, as their page told last; None is not told yet."""
    line = member.line or {}
    return {
        "carrier": "rtc" if member.edge is not None else "wss",
        "rtt_ms": line.get("rtt_ms"),
        "missing": line.get("missing"),
        "fps": line.get("fps"),
        "lags": member.outbox.lags,
        "dropped": member.outbox.dropped,
    }


def room_json(room: Room, rate: tuple[float, float] | None, *, number: int, is_open: bool) -> dict[str, Any]:
    """A room with its people. ``is_open``: whether whoever looks may know which one it is, and who is in it."""
    people = [
        {"role": member.role.value, "name": member.name if is_open else "", **line_json(member)}
        for member in room.members.values()
    ]
    return {
        "number": number,
        "room": room.ident if is_open else "",
        "opened_us": room.created_us,
        "online": room.agent is not None,
        "blocks_s": None if rate is None else round(rate[0], 1),
        "bytes_s": None if rate is None else round(rate[1]),
        "lag_blocks": journal_lag(room),
        "people": people,
    }


async def service_json(service: Service, loop_ms: float | None) -> dict[str, Any]:
    """Memory, disk, versions."""
    free, total = await asyncio.to_thread(_disk, service.config.data)
    return {
        "memory_mb": memory_mb(),
        "loop_ms": loop_ms,
        "disk_free_gb": free,
        "disk_total_gb": total,
        "sockets": len(service.sockets),
        "journal_failures": service.metrics.journal_failures,
        "versions": {
            "huizhen": _version("huizhen"),
            "python": platform.python_version(),
            "aiohttp": aiohttp.__version__,
            "sqlite": sqlite3.sqlite_version,
        },
    }


def memory_mb() -> float | None:
    """Resident memory; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def _disk(folder: Path) -> tuple[float | None, float | None]:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None, None
    return round(usage.free / 1e9, 1), round(usage.total / 1e9, 1)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
