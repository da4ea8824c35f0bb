"""A simulated car's frames into a recording, as fast as the machine allows, with the truth beside it if wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.recording.facts import Facts, Tally
from dbc.table import BITRATE_SWITCH, EXTENDED, FD, FrameTable
from virtualbus.car import TICK_NS, Car

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbc.errors import Phrase
    from virtualbus.network import Frames
    from virtualbus.scenario import Scenario

__all__ = ["frame_tables", "record_car"]

_TICKS_PER_S: Final = 1_000_000_000 // TICK_NS
_PIECE_TICKS: Final = 10 * _TICKS_PER_S
_START_NS: Final = 1_767_225_600_000_000_000
"""2026-01-01 00:00 UTC: a recording of the same seed is the same file on any day."""


def _ticked_tables(car: Car, ticks: int) -> Iterator[FrameTable]:
    """Frame by frame: the car and its station talk to each other on a bus of their own, tick by tick."""
    for start in range(0, ticks, _PIECE_TICKS):
        found = [
            (tick, place, frame)
            for tick in range(start, min(ticks, start + _PIECE_TICKS))
            for place, frame in enumerate(car.tick())
        ]
        width = 64 if any(len(frame.data) > 8 for _, _, frame in found) else 8
        data = b"".join(frame.data.ljust(width, b"\0") for _, _, frame in found)
        flags = [EXTENDED * frame.extended | (FD | BITRATE_SWITCH) * frame.fd for _, _, frame in found]
        yield FrameTable(
            t_ns=np.array([tick * TICK_NS + place * 100_000 for tick, place, _ in found], dtype=np.int64),
            can_id=np.array([frame.can_id for _, _, frame in found], dtype=np.uint32),
            flags=np.array(flags, dtype=np.uint8),
            channel=np.array([frame.channel for _, _, frame in found], dtype=np.uint8),
            length=np.array([len(frame.data) for _, _, frame in found], dtype=np.uint8),
            data=np.frombuffer(data, dtype=np.uint8).reshape(len(found), width),
        )


def frame_tables(car: Car, ticks: int) -> Iterator[FrameTable]:
    """The frames of a car's next ticks, ten seconds at a time; times count from the first."""
    if car.dc_charging is not None:
        yield from _ticked_tables(car, ticks)
        return
    messages = car.catalogue.messages
    ids = np.array([message.can_id for message in messages], dtype=np.uint32)
    flags = np.array(
        [EXTENDED * message.extended | (FD | BITRATE_SWITCH) * message.fd for message in messages], dtype=np.uint8
    )
    channels = np.array([message.channel for message in messages], dtype=np.uint8)
    for start in range(0, ticks, _PIECE_TICKS):
        found: list[Frames] = list(car.blocks(min(_PIECE_TICKS, ticks - start)))
        tick = np.concatenate([part.tick for part in found]) + start
        index = np.concatenate([part.message for part in found])
        # Frames of one tick follow each other 100 µs apart, in the order of sending.
        first = np.flatnonzero(np.r_[True, tick[1:] != tick[:-1]])
        place = np.arange(len(tick)) - np.repeat(first, np.diff(np.r_[first, len(tick)]))
        yield FrameTable(
            t_ns=(tick * TICK_NS + place * 100_000).astype(np.int64),
            can_id=ids[index],
            flags=flags[index],
            channel=channels[index],
            length=np.concatenate([part.length for part in found]),
            data=np.concatenate([part.data for part in found]),
        )


def record_car(
    scenario: Scenario, seed: int | None, seconds: float, path: str, name: str | None = None
) -> tuple[int, tuple[Phrase, ...]]:
    """Writes the frames of the next seconds; the car is made twice, so that no more than ten seconds are in memory.

    ``name`` is the format; without it the ending of ``path`` tells.

    Returns:
        number of frames, and what the format could not hold.

    Raises:
        dbc.errors.DbcError: the file cannot be written.
    """
    from dbc.recording.writers import check_target, write_frames

    chosen = check_target(path, name)
    ticks = max(1, round(seconds * _TICKS_PER_S))

    def pieces() -> Iterator[FrameTable]:
        return frame_tables(Car(scenario, seed), ticks)

    tally = Tally()
    for table in pieces():
        tally.add(table)
    buses = tuple(f"can{bus}" for bus in range(max(tally.buses, default=0) + 1))
    facts = Facts(str(Path(path)), "simulated", buses, start_ns=_START_NS, tally=tally)
    return tally.frames, write_frames(facts, pieces, path, chosen)
