"""What the ECUs tell everybody: broadcast frames collected, matched to a database, decoded to series.

A gateway often hides these frames from the diagnostic plug; that is said, not taken for a silent car.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.database import load
from dbc.decoding import decode_table
from dbc.protection import find_protection
from dbc.table import ERROR, EXTENDED, FD, REMOTE, TX, FrameRow, FrameTable
from diag.facts import Text
from diag.frames import Frame
from diag.samples import Series

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from dbc.catalogue import Entry
    from dbc.database import Database, Node

__all__ = [
    "Broadcast",
    "Choice",
    "choose_database",
    "choose_for_recording",
    "decode_broadcast",
    "decode_recorded",
    "find_database",
    "frames_from_table",
    "is_diagnostic_id",
    "load_bundled",
    "load_likely",
    "table_from_frames",
]

_LOG: Final = logging.getLogger(__name__)
_FIT_NEEDED: Final = 0.8
_GUESSES: Final = 5
"""Databases of other people that are loaded to guess among: each takes a tenth of a second or more."""
_GUESS_NEEDED: Final = 0.8
_MESSAGES_NEEDED: Final = 2
_TESTERS_FROM: Final = 0x600
_LOOKED_AT: Final = 40_000
"""Frames of a recording by which its database is chosen."""


def is_diagnostic_id(can_id: int, *, extended: bool) -> bool:
    """Whether an identifier belongs to diagnostics and not to broadcast.

    Standard: ISO 15765-4:2021 §10.3: 0x7DF, 0x7E0 to 0x7EF, 0x18DAxxxx and 0x18DBxxxx.
    """
    if extended:
        return can_id >> 16 in {0x18DA, 0x18DB, 0x18CD, 0x18CE}
    return can_id == 0x7DF or 0x7E0 <= can_id <= 0x7EF


def table_from_frames(frames: Iterable[Frame]) -> FrameTable:
    """Frames of a link in columns."""
    return FrameTable.from_rows(
        FrameRow(
            frame.t_ns,
            frame.can_id,
            frame.data,
            (EXTENDED if frame.extended else 0)
            | (FD if frame.fd else 0)
            | (REMOTE if frame.remote else 0)
            | (ERROR if frame.error else 0)
            | (TX if frame.tx else 0),
        )
        for frame in frames
    )


def frames_from_table(table: FrameTable) -> list[Frame]:
    """Frames in columns one by one; the name of the bus is not kept."""
    columns = zip(
        table.t_ns.tolist(), table.can_id.tolist(), table.flags.tolist(), table.length.tolist(), table.data, strict=True
    )
    return [
        Frame(
            can_id,
            b"" if flags & REMOTE else row[:length].tobytes(),
            t_ns,
            bool(flags & EXTENDED),
            bool(flags & FD),
            bool(flags & REMOTE),
            bool(flags & ERROR),
            tx=bool(flags & TX),
        )
        for t_ns, can_id, flags, length, row in columns
    ]


def load_bundled() -> tuple[Database, ...]:
    """The databases that come with Huizhen."""
    from dbc.files import bundled

    return tuple(load(path) for path in bundled())


def _load_entries(entries: Iterable[Entry]) -> list[Database]:
    from dbc.errors import DatabaseError, FileMissing

    loaded = []
    for entry in entries:
        try:
            loaded.append(load(entry.path))
        except (DatabaseError, FileMissing) as error:
            _LOG.warning("%s is not used: %s", entry.path, error)
    return loaded


def load_likely(frames: Iterable[Frame]) -> tuple[Database, ...]:
    """The bundled databases and those of the user's folder that could belong to what is on the bus.

    Which one it is, if any, :func:`find_database` says.
    """
    from dbc.catalogue import likely_entries

    return tuple(_load_entries(likely_entries(_counts(frames), origins=("bundled", "user"), limit=8)))


def _counts(frames: Iterable[Frame]) -> dict[int, int]:
    """How many broadcast frames each identifier (bit 31 = extended) has."""
    return Counter(
        frame.can_id | frame.extended << 31
        for frame in frames
        if not (frame.error or frame.remote or is_diagnostic_id(frame.can_id, extended=frame.extended))
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """The database that a bus is decoded with.

    Args:
        certainty: 1 for one that fits by checksum and length throughout; else how likely the guess is.
        because: what speaks for a guess.
    """

    database: Database
    certainty: float = 1.0
    because: tuple[Text, ...] = ()

    @property
    def is_guess(self) -> bool:
        """Whether the database is other people's, and chosen by likelihood."""
        return self.certainty < 1

    @property
    def note(self) -> Text:
        """What a person has to know of a guess."""
        share = f"{100 * self.certainty:.0f} %"
        why_en, why_zh = "; ".join(text.en for text in self.because), "；".join(text.zh for text in self.because)
        name = self.database.name
        return Text(
            f"broadcast frames read with {name}, a guess ({share}): {why_en}. Name another with --dbc",
            f"广播报文按 {name} 解码，属推测（{share}）：{why_zh}。可用 --dbc 指定其他数据库",
        )


def choose_database(frames: Sequence[Frame], *, make: str | None = None) -> Choice | None:
    """The database for a bus: a bundled or own one that fits, else the most likely of the installed catalogue.

    Args:
        frames: what was heard.
        make: the car's, by its VIN, where it is known.
    """
    found = find_database(frames, load_likely(frames))
    if found is not None:
        return Choice(found)
    from dbc.catalogue import likely_entries
    from dbc.fit import match_databases

    entries = likely_entries(_counts(frames), origins=("user", "opendbc"), limit=_GUESSES)
    loaded = _load_entries(entries)
    own = {entry.path.stem for entry in entries if make and entry.make and _same_make(entry.make, make)}
    table = table_from_frames(frame for frame in frames if not (frame.error or frame.remote))
    match = match_databases(table, loaded, likely=frozenset(own))
    if match.best is None or match.certainty < _GUESS_NEEDED:
        return None
    because = tuple(Text(reason.text.en, reason.text.zh) for reason in match.candidates[0].because[:3])
    database = next(one for one in loaded if one.name == match.best)
    return Choice(database, min(match.certainty, 0.99), because)


def choose_for_recording(table: FrameTable) -> Choice | None:
    """The database for a recording, by its first frames."""
    frames = [frame for frame in frames_from_table(table[:_LOOKED_AT]) if not frame.error]
    talking = _conversing(frames)
    return choose_database(
        [
            frame
            for frame in frames
            if not (frame.tx or is_diagnostic_id(frame.can_id, extended=frame.extended))
            and (frame.extended or frame.can_id not in talking)
        ]
    )


def _conversing(frames: Iterable[Frame]) -> set[int]:
    """11-bit identifiers from 0x600 on that a tester and an ECU talk with: both eight apart, all frames ISO-TP's.

    Standard: ISO 15765-2:2016 Table 9 (protocol control information).
    """
    good: dict[int, bool] = {}
    for frame in frames:
        if not frame.extended and frame.can_id >= _TESTERS_FROM and good.get(frame.can_id, True):
            good[frame.can_id] = _is_isotp(frame.data)
    found = {can_id for can_id, is_good in good.items() if is_good}
    return {can_id for can_id in found if can_id + 8 in found or can_id - 8 in found}


def _is_isotp(data: bytes) -> bool:
    if not data:
        return False
    kind, low = data[0] >> 4, data[0] & 0x0F
    if kind == 0:
        return 0 < low < len(data) and data[1] != 0
    return (len(data) == 8 and (low << 8 | data[1]) > 7) if kind == 1 else kind in (2, 3)


def _same_make(one: str, other: str) -> bool:
    words = set(one.casefold().replace("/", " ").split())
    return bool(words & set(other.casefold().replace("/", " ").split()))


def _fit(table: FrameTable, database: Database) -> float:
    """Share of the frames that are as the database describes them; 0 where that would prove nothing.

    Two messages at least must fit. Where the database protects messages by checksum and counter, two of these must
    fit, with a counter that moves: an identifier of the right length alone is chance.
    """
    decoded = decode_table(table, [database])
    protected_in_database = sum(find_protection(message) is not None for message in database.messages)
    good, fitting, proven = 0, 0, 0
    for columns in decoded.messages.values():
        protection = find_protection(columns.message)
        intact = len(columns) - columns.short
        if protection is not None:
            verdicts = protection.check(columns)
            intact = int(np.count_nonzero(verdicts.checksum_ok))
            proven += bool(intact and (len(columns) == 1 or np.any(verdicts.step[verdicts.checksum_ok] > 0)))
        good += intact
        fitting += intact > 0
    if fitting < _MESSAGES_NEEDED or proven < min(_MESSAGES_NEEDED, protected_in_database):
        return 0.0
    return good / len(table)


def find_database(frames: Sequence[Frame], databases: Sequence[Database]) -> Database | None:
    """The database that fits what is on the bus, or None.

    An identifier alone proves nothing: identifier, length and, where the database names them, checksum and counter must
    be right for at least 80 % of the frames, and for at least two messages.
    """
    table = table_from_frames(frame for frame in frames if not (frame.error or frame.remote))
    if not len(table):
        return None
    fits = [(_fit(table, database), database) for database in databases]
    best = max(fits, key=lambda fit: fit[0], default=None)
    return best[1] if best and best[0] >= _FIT_NEEDED else None


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What one stretch of listening gave.

    Args:
        frames: how many broadcast frames arrived.
        databases: what they were decoded with; empty when none fits.
        series: signal name -> series; of two messages with the same signal name the first database's.
        silent_nodes: nodes of the databases that should send and did not, although others did.
        damaged: message name -> frames with a wrong checksum, which were not used.
        guess: what a person has to know where the database was guessed.
    """

    frames: int
    databases: tuple[Database, ...]
    series: Mapping[str, Series]
    silent_nodes: tuple[Node, ...]
    damaged: Mapping[str, int]
    guess: Text | None = None

    @property
    def source(self) -> str:
        """Where figures from this broadcast come from."""
        return f"broadcast:{','.join(database.name for database in self.databases)}" if self.databases else "none"


def _silent_nodes(databases: Iterable[Database], seen: Collection[str]) -> tuple[Node, ...]:
    silent = []
    for database in databases:
        expected = {sender for message in database.messages if message.cycle_time_ms for sender in message.senders}
        heard = {sender for message in database.messages if message.name in seen for sender in message.senders}
        silent += [node for node in database.nodes if heard and node.name in expected - heard]
    return tuple(silent)


def decode_broadcast(frames: Iterable[Frame], databases: Sequence[Database]) -> Broadcast:
    """Decodes broadcast frames to series; frames with a wrong checksum are counted and not used."""
    kept = [
        frame
        for frame in frames
        if not (frame.error or frame.remote or is_diagnostic_id(frame.can_id, extended=frame.extended))
    ]
    return decode_recorded(table_from_frames(kept), databases)


def decode_recorded(table: FrameTable, databases: Sequence[Database]) -> Broadcast:
    """Decodes frames in columns as :func:`decode_broadcast` does; reassembles what is longer than a frame."""
    decoded = decode_table(table, databases)
    series: dict[str, Series] = {}
    damaged: dict[str, int] = {}
    for name, columns in decoded.messages.items():
        protection = find_protection(columns.message, columns.database)
        intact = (
            protection.trusted(protection.check(columns))
            if protection is not None and protection.checksum is not None
            else np.ones(len(columns), dtype=np.bool_)
        )
        if wrong := int(np.count_nonzero(~intact)):
            damaged[name] = wrong
        for signal_name, column in columns.columns.items():
            good = intact[column.rows]
            series.setdefault(
                signal_name,
                Series(
                    signal_name,
                    column.signal.unit,
                    column.t_ns[good],
                    column.values[good].astype(np.float64),
                    column.valid[good],
                ),
            )
    return Broadcast(len(table), tuple(databases), series, _silent_nodes(databases, set(decoded.messages)), damaged)
