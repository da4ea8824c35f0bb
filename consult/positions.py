"""Where the car is: signals, frames and values that tell it, found by name, unit and parameter group.

No I/O and no clock. Names come in English, Chinese and abbreviations, as databases spell them; lateral and longitudinal
acceleration, pedal and gear positions are none of it.

Standard: SAE J1939-71 (PGN 65267 Vehicle Position), NMEA 2000 (PGN 129025, 129029), GB/T 32960.3 (information type
0x05, vehicle position).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from consult.rawframes import encode_raw, parse_raw
from consult.wire import RAW, encode_samples, parse_samples
from dbc.table import pgn_from_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from consult.wire import BlockHead
    from dbc.database import Database
    from diag.frames import Frame

__all__ = [
    "COARSE_DEGREES",
    "POSITION_MODES",
    "SHARED_POSITION_PGNS",
    "PositionColumns",
    "coarse",
    "coarse_values",
    "columns_of",
    "frames_without",
    "is_degrees",
    "is_position",
    "is_position_frame",
    "mode_of",
    "position_keys",
    "raw_without",
    "samples_without",
    "tree_without",
]

POSITION_MODES: Final = ("off", "coarse", "on")
SHARED_POSITION_PGNS: Final = frozenset({65267, 129025, 129029})
COARSE_DEGREES: Final = 0.01
"""About a kilometre: enough for the weather, not for a house."""

_ANGLE: Final = re.compile(
    r"(?:°|deg|degree|degrees|度|arcmin|arcsec|urad|semicircles?|1e-?[67]\s*deg)\s*[NSEW]?", re.IGNORECASE
)
_DEGREES: Final = re.compile(r"°|deg|degrees?|度", re.IGNORECASE)
_LAT_LON: Final = re.compile(r"latitude|longitude|gps(?:lat|lon|lng)|经度|纬度", re.IGNORECASE)
_MOST_DEGREES: Final = 180.0
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[一-鿿]+")
_ALWAYS: Final = re.compile(
    r"latitude|longitude|geohash|geolocation|geoposition|pluscode|gps(?:lat|lon|lng)|streetname|roadname|bssid"
    r"|homeaddress|navdest|经度|纬度|地理位置|车辆位置|定位坐标|卫星定位位置|GPS位置|北斗位置|道路名称|街道|目的地"
    r"|家庭住址",
    re.IGNORECASE,
)
_SATELLITE: Final = frozenset(["gps", "gnss", "bds", "beidou", "glonass", "galileo", "nav", "navi", "北斗", "卫星"])
_OF_PLACE: Final = frozenset(
    [
        "pos",
        "posn",
        "position",
        "location",
        "loc",
        "coord",
        "coordinate",
        "coordinates",
        "altitude",
        "alt",
        "address",
        "x",
        "y",
        "dest",
        "destination",
        "坐标",
        "位置",
        "海拔",
        "高度",
    ]
)
_SHORT: Final = frozenset({"lat", "lon", "lng"})
_DYNAMIC: Final = frozenset(
    [
        "acc",
        "accel",
        "acceleration",
        "force",
        "vel",
        "velocity",
        "speed",
        "slip",
        "g",
        "ctrl",
        "control",
        "error",
        "offset",
        "dist",
        "distance",
        "jerk",
        "status",
        "sts",
        "valid",
        "quality",
        "accuracy",
        "fault",
    ]
)
_QUALITY: Final = frozenset(
    ["status", "sts", "valid", "validity", "quality", "accuracy", "fault", "state", "mode", "hdop"]
)


def is_position(name: str, unit: str = "") -> bool:
    """Whether a signal of this name and unit tells where the car is, or where it goes."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if _ALWAYS.search(re.sub(r"[\W_]+", "", name)):
        return not (words and words[-1] in _QUALITY)
    found = set(words)
    if found & _SHORT and not found & _DYNAMIC:
        return (
            bool(_ANGLE.fullmatch(unit.strip())) or bool(found & _SATELLITE) or (not unit.strip() and len(found) == 1)
        )
    return bool(found & _SATELLITE) and bool(found & _OF_PLACE) and not found & _QUALITY


def mode_of(allows: Mapping[str, Any]) -> str:
    """What a laptop said of its setting (``position`` of its ``allows``); who says nothing means off."""
    told = allows.get("position")
    return told if told in POSITION_MODES else "off"


def is_degrees(name: str, unit: str) -> bool:
    """Whether a position is a latitude or longitude in degrees, which alone can be rounded to a kilometre.

    Anything else (1e-7 degrees, minutes, metres, no unit, a street) would keep its precision, or be an address.
    """
    is_named = _LAT_LON.search(re.sub(r"[\W_]+", "", name)) or _SHORT & {word.lower() for word in _WORDS.findall(name)}
    return bool(is_named) and bool(_DEGREES.fullmatch(unit.strip()))


def coarse(value: float) -> float | None:
    """A latitude or longitude in degrees, rounded; None for a number that is no degrees, whatever its unit says."""
    return round(round(value / COARSE_DEGREES) * COARSE_DEGREES, 2) if abs(value) <= _MOST_DEGREES else None


def coarse_values(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same for samples; not a number instead of None."""
    # In two steps: a float32 of 116.397 has no exact hundredth, the nearest one to it is good enough.
    rounded = np.round(values / COARSE_DEGREES) * COARSE_DEGREES
    return np.where(np.abs(values) <= _MOST_DEGREES, rounded, np.nan)


# -- frames ----------------------------------------------------------------------------------------------------------


def position_keys(databases: Iterable[Database]) -> frozenset[int]:
    """The frames of some databases that hold a position: identifiers, with bit 31 set where they have 29 bits."""
    return frozenset(
        message.can_id | message.extended << 31
        for database in databases
        for message in database.messages
        if any(is_position(signal.name, signal.unit) for signal in message.signals)
    )


def is_position_frame(frame: Frame, keys: frozenset[int]) -> bool:
    """Whether a raw frame tells a position: by a database, or by the parameter group that all trucks share."""
    if frame.can_id | frame.extended << 31 in keys:
        return True
    if not frame.extended:
        return False
    group = pgn_from_id(frame.can_id)
    return group in SHARED_POSITION_PGNS or any(
        key >> 31 and pgn_from_id(key & ~(1 << 31)) == group and group >= 0xF000 for key in keys
    )


def frames_without(frames: Sequence[Frame], keys: frozenset[int]) -> tuple[Frame, ...]:
    """The frames that tell no position."""
    return tuple(frame for frame in frames if not is_position_frame(frame, keys))


# -- what the service has of it --------------------------------------------------------------------------------------


def columns_of(schema: Mapping[str, Any], mode: str = "off") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which columns of an announced stream tell a position: those that go, and those that are rounded (``coarse``)."""
    gone: list[int] = []
    rounded: list[int] = []
    for at, signal in enumerate(schema.get("signals") or ()):
        name, unit = str(signal.get("name", "")), str(signal.get("unit", ""))
        if is_position(name, unit):
            (rounded if mode == "coarse" and is_degrees(name, unit) else gone).append(at)
    return tuple(gone), tuple(rounded)


def samples_without(data: bytes, gone: Sequence[int], rounded: Sequence[int] = ()) -> bytes:
    """A block of samples without some columns' values, and with others rounded.

    Raises:
        BlockBroken: it is none.
    """
    block = parse_samples(data)
    values, valid = block.values.copy(), block.valid.copy()
    at = list(rounded)
    values[at] = coarse_values(values[at])
    valid[at] &= ~np.isnan(values[at])
    valid[list(gone)] = False
    values[list(gone)] = np.nan
    head = block.head
    return encode_samples(
        stream=head.stream, epoch=head.epoch, seq=head.seq, t_us=head.t_us, values=values, valid=valid
    )


def raw_without(data: bytes) -> bytes:
    """A block of raw frames in which those that tell a position by a shared parameter group hold only zeros.

    They stay in their places, so that numbers and times stay as they were.

    Raises:
        BlockBroken: it is none.
    """
    head, frames = parse_raw(data)
    none: frozenset[int] = frozenset()
    if not any(is_position_frame(frame, none) for frame in frames):
        return data
    kept = [replace(one, data=bytes(len(one.data))) if is_position_frame(one, none) else one for one in frames]
    return encode_raw(kept, stream=head.stream, epoch=head.epoch, seq=head.seq)


class PositionColumns:
    """Where positions would stand in a room that the laptop's setting keeps back: dropped here too, should one come.

    Attributes:
        is_withdrawn: the technician wants none here, whatever the laptop's setting says.
    """

    def __init__(self) -> None:
        self.is_withdrawn = False
        self._mode = "off"
        self._columns: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def mode_for(self, allows: Mapping[str, Any]) -> str:
        """``on``, ``coarse`` or ``off``, by what the technician said here and the laptop's setting."""
        return "off" if self.is_withdrawn else mode_of(allows)

    def look(self, allows: Mapping[str, Any], schemas: Mapping[int, Mapping[str, Any]]) -> None:
        """Finds them in the announced streams, by number."""
        mode = self._mode = self.mode_for(allows)
        kept_back = {} if mode == "on" else {n: columns_of(one, mode) for n, one in schemas.items()}
        self._columns = {stream: columns for stream, columns in kept_back.items() if any(columns)}

    def are_in(self, stream: int) -> bool:
        """Whether a stream of samples has any."""
        return stream in self._columns

    def removed_from(self, head: BlockHead, data: bytes) -> bytes:
        """A block without them.

        Raises:
            BlockBroken: it is none.
        """
        if head.kind == RAW:
            return raw_without(data) if self._mode != "on" else data
        return samples_without(data, *self._columns[head.stream]) if self.are_in(head.stream) else data


def tree_without(tree: Any, mode: str) -> Any:
    """A report or an answer without the readings that tell a position: ``value`` and ``raw`` of such a name go."""
    if mode == "on":
        return tree
    if isinstance(tree, list):
        return [tree_without(child, mode) for child in tree]
    if not isinstance(tree, dict):
        return tree
    out = {key: tree_without(child, mode) for key, child in tree.items()}
    if "value" in out and isinstance(out.get("name"), str) and is_position(out["name"], str(out.get("unit") or "")):
        value = out["value"]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        is_kept = mode == "coarse" and is_number and is_degrees(out["name"], str(out.get("unit") or ""))
        out["value"] = coarse(value) if is_kept else None
        for key in ("raw", "text"):
            if key in out:
                out[key] = "" if key == "raw" else None
    return out
