"""A visit without the names in it: whose car it is, and where it was.

A vehicle identification number leads to a person. It hides in more places than its own field: in the answers of every
ECU, cut into frames, in broadcast messages, as hexadecimal digits in raw records. The pseudonym keeps what describes
the kind of car (places 1 to 8, 10 and 11) and is a VIN itself, so that everything that reads the bundle still works.
Serial numbers of ECUs lead to the car as well. Frames that tell a position are left out.

Standard: ISO 3779 (the indicator section of a VIN, places 10 to 17); SAE J1939-71 (PGN 65267, vehicle position);
clauses unverified.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from diag.j1939requests import J1939Answer, parse_identification
from diag.uds import text_from_bytes
from diag.vin import check_digit, parse_vin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dbc.database import Database
    from diag.frames import Frame
    from diag.tape import Entry, Tape

__all__ = ["Redaction", "names_on_tape", "position_ids", "pseudonyms", "redact_tape", "redact_value"]

_VIN: Final = re.compile(rb"[A-HJ-NPR-Z0-9]{17}")
_FRAGMENT: Final = 5
"""Characters of a VIN in one frame that are no chance."""
_SERIAL: Final = 4
"""A serial number of fewer characters would be found everywhere."""
_SKIPS: Final = (0, 1, 2)
"""Bytes in front of the payload in each frame: none, a counter, an address and a counter."""
_VIN_PGN, _COMPONENT_PGN, _ECU_PGN = 0xFEEC, 0xFEEB, 0xFDC5
_POSITION_PGNS: Final = frozenset({0xFEF3, 0x1F801, 0x1F805})
"""SAE J1939-71 vehicle position; NMEA 2000 position, rapid update, and GNSS position data."""
_POSITION: Final = re.compile(r"\b(lat|lon|long|gps|gnss)\b|latitude|longitude", re.IGNORECASE)
_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|_")
_DEGREES: Final = re.compile(r"deg|°|^$|grad|min", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Redaction:
    """What becomes of what.

    Args:
        vins: VIN -> its pseudonym.
        serials: raw bytes of a serial number -> what stands there instead.
        positions: broadcast frames that were left out.
    """

    vins: Mapping[str, str]
    serials: Mapping[bytes, bytes] = field(default_factory=dict)
    positions: int = 0

    def of_bytes(self, data: bytes) -> bytes:
        """A payload without the names, pieces of a VIN included."""
        for vin, other in self.vins.items():
            data = _without_vin(data, vin.encode(), other.encode())
        for serial, instead in self.serials.items():
            data = data.replace(serial, instead)
        return data

    def of_text(self, text: str) -> str:
        """A text without them, as characters or as hexadecimal digits."""
        for vin, other in self.vins.items():
            text = re.sub(re.escape(vin), other, text, flags=re.IGNORECASE)
            text = _without_hex(text, vin.encode(), other.encode())
        for serial, instead in self.serials.items():
            shown = text_from_bytes(serial)
            text = text.replace(shown, text_from_bytes(instead) or "") if shown else text
            text = _without_hex(text, serial, instead)
        return text


def _without_hex(text: str, old: bytes, new: bytes) -> str:
    return re.sub(old.hex(), new.hex().upper(), text, flags=re.IGNORECASE)


def _without_vin(data: bytes, vin: bytes, other: bytes) -> bytes:
    """Every run of at least five characters of the VIN, place by place."""
    upper = data.upper()
    if not any(vin[at : at + _FRAGMENT] in upper for at in range(len(vin) - _FRAGMENT + 1)):
        return data
    out = bytearray(data)
    for at in range(len(vin) - _FRAGMENT + 1):
        found = upper.find(vin[at : at + _FRAGMENT])
        while found >= 0:
            out[found : found + _FRAGMENT] = other[at : at + _FRAGMENT]
            found = upper.find(vin[at : at + _FRAGMENT], found + 1)
    return bytes(out)


def pseudonyms(vins: Iterable[str], *, year: int) -> dict[str, str]:
    """VIN -> one of the same kind of car with a running number for the serial one.

    A right check digit stays right and a wrong one wrong.

    Args:
        vins: 17 characters each, in the order in which they are numbered.
        year: the present one, for the model year.
    """
    found: dict[str, str] = {}
    number = 0
    for vin in dict.fromkeys(text.upper() for text in vins):
        parsed = parse_vin(vin, today_year=year)
        if parsed is None or not parsed.syntax_ok:
            continue
        while True:
            number += 1
            other = f"{vin[:11]}{number:06d}"
            if parsed.check_ok:
                other = other[:8] + check_digit(other) + other[9:]
            if (check_digit(other) == other[8]) == parsed.check_ok and other not in vins:
                break
        found[vin] = other
    return found


def names_on_tape(tape: Tape, known: Iterable[str] = ()) -> tuple[list[str], dict[bytes, bytes]]:
    """VINs and serial numbers that the ECUs told.

    Args:
        tape: of the visit.
        known: VINs that are known from elsewhere.

    Returns:
        VINs in the order in which they were told; serial number -> what stands there instead.
    """
    vins = {vin.upper(): None for vin in known if len(vin) == 17}
    serials: dict[bytes, bytes] = {}
    for entry in tape.entries:
        for answer in entry.answers:
            data = answer.payload
            if data[:3] == b"\x62\xf1\x8c":
                _add_serial(serials, data[3:])
            is_vin = data[:3] in (b"\x62\xf1\x90", b"\x49\x02\x01") or data[:2] == b"\x49\x02"
            _add_vins(vins, data, is_vin=is_vin)
        for group in entry.groups:
            _add_vins(vins, group.payload, is_vin=group.pgn == _VIN_PGN)
            if group.pgn in (_COMPONENT_PGN, _ECU_PGN):
                told = parse_identification(group.pgn, group.payload)
                for name, text in told.items():
                    if "serial" in name.lower():
                        _add_serial(serials, text.encode("latin-1", "replace"))
    return list(vins), serials


def _add_vins(vins: dict[str, None], data: bytes, *, is_vin: bool) -> None:
    for found in _VIN.findall(data):
        text = found.decode()
        check = check_digit(text) == text[8]
        if is_vin or (check and any(char.isalpha() for char in text) and any(char.isdigit() for char in text)):
            vins[text] = None


def _add_serial(serials: dict[bytes, bytes], data: bytes) -> None:
    told = data.strip(b"\0\xff \xaa\x55")
    if len(told) >= _SERIAL:
        serials[told] = bytes(_instead(byte) for byte in told)


def _instead(byte: int) -> int:
    char = chr(byte)
    if char.isascii() and char.isalpha():
        return ord("X")
    return ord("0") if char.isdigit() and char.isascii() else byte if char.isascii() and char.isprintable() else 0


def position_ids(databases: Iterable[Database]) -> frozenset[tuple[int, bool]]:
    """Identifiers of the messages that tell where the car is: latitude, longitude, in degrees or without a unit."""
    return frozenset(
        (message.can_id, message.extended)
        for database in databases
        for message in database.messages
        if any(_is_position(signal.name, signal.unit) for signal in message.signals)
    )


def _is_position(name: str, unit: str) -> bool:
    words = " ".join(_WORDS.split(name))
    return bool(_POSITION.search(words)) and bool(_DEGREES.search(unit))


def _tells_position(frame: Frame, ids: frozenset[tuple[int, bool]]) -> bool:
    if (frame.can_id, frame.extended) in ids:
        return True
    return frame.extended and frame.can_id >> 8 & 0x3FFFF in _POSITION_PGNS


def redact_tape(tape: Tape, redaction: Redaction, ids: frozenset[tuple[int, bool]]) -> tuple[Tape, Redaction]:
    """The same visit without names and positions.

    Args:
        tape: of the visit; it stays as it is.
        redaction: what becomes of what.
        ids: see :func:`position_ids`.

    Returns:
        the new tape, and the redaction with the number of frames that are left out.
    """
    kept: list[Frame] = []
    before = [0]
    for frame in tape.frames:
        if not _tells_position(frame, ids):
            kept.append(frame)
        before.append(len(kept))
    frames = _frames(kept, redaction)
    out = replace(
        tape,
        entries=[_entry(entry, redaction) for entry in tape.entries],
        frames=frames,
        marks=[before[mark] for mark in tape.marks],
        settings=redact_value(tape.settings, redaction),
    )
    return out, replace(redaction, positions=len(tape.frames) - len(kept))


def _entry(entry: Entry, redaction: Redaction) -> Entry:
    return replace(
        entry,
        answers=tuple(replace(answer, payload=redaction.of_bytes(answer.payload)) for answer in entry.answers),
        groups=tuple(_group(group, redaction) for group in entry.groups),
    )


def _group(group: J1939Answer, redaction: Redaction) -> J1939Answer:
    return replace(group, payload=redaction.of_bytes(group.payload))


def _frames(frames: Sequence[Frame], redaction: Redaction) -> list[Frame]:
    """Frames without the names, wherever a name is cut over frames of one identifier."""
    datas = [redaction.of_bytes(frame.data) for frame in frames]
    rows: dict[tuple[int, bool], list[int]] = defaultdict(list)
    for at, frame in enumerate(frames):
        if not (frame.error or frame.remote):
            rows[(frame.can_id, frame.extended)].append(at)
    names = [(vin.encode(), other.encode()) for vin, other in redaction.vins.items()]
    names += list(redaction.serials.items())
    for places in rows.values():
        for skip in _SKIPS:
            _cut_names(datas, frames, places, skip, names)
    return [
        frame if frame.data == data else replace(frame, data=data) for frame, data in zip(frames, datas, strict=True)
    ]


def _cut_names(
    datas: list[bytes], frames: Sequence[Frame], rows: Sequence[int], skip: int, names: Sequence[tuple[bytes, bytes]]
) -> None:
    """Replaces names that run on from frame to frame, in place; the frames are looked at as they were."""
    stream = b"".join(frames[row].data[skip:] for row in rows)
    hits = [
        (found.start(), other) for name, other in names for found in re.finditer(re.escape(name), stream, re.IGNORECASE)
    ]
    if not hits:
        return
    places = [(row, at) for row in rows for at in range(skip, len(frames[row].data))]
    for start, other in hits:
        for offset, byte in enumerate(other):
            row, at = places[start + offset]
            data = bytearray(datas[row])
            data[at] = byte
            datas[row] = bytes(data)


def redact_value(value: Any, redaction: Redaction) -> Any:
    """A JSON value without the names; keys are looked at too."""
    if isinstance(value, str):
        return redaction.of_text(value)
    if isinstance(value, dict):
        return {redaction.of_text(key): redact_value(child, redaction) for key, child in value.items()}
    if isinstance(value, list):
        return [redact_value(child, redaction) for child in value]
    return value
