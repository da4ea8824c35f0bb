"""What one answer about trouble codes says, as values, and the notation of codes.

Standard: SAE J2012 (ISO 15031-6) for the notation; ISO 14229-1:2020 §12.3 for the records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from diag.errors import BadInput
from diag.facts import Json, Text, hex_from_bytes

if TYPE_CHECKING:
    from diag.facts import Dtc
    from diag.nrc import Negative

__all__ = [
    "DtcAnswer",
    "FaultCounter",
    "Lamp",
    "StoredRecord",
    "bytes_from_code",
    "code_from_bytes",
    "split_code",
]

LETTERS: Final = "PCBU"


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A snapshot or extended data record of one code, as far as the answer tells.

    Args:
        record: record number.
        raw: the record from its number on (from its code on for service 19 16); where its length is not known, all
            that follows in the answer.
        values: identifier and bytes of each value, where the identifiers' lengths were given.
    """

    code: str
    failure_type: str | None
    record: int
    raw: bytes = b""
    values: tuple[tuple[int, bytes], ...] = ()
    ecu: str | None = None

    def to_json(self) -> Json:
        """One entry of ``snapshots`` or ``extended``."""
        return {
            "code": self.code,
            "failure_type": self.failure_type,
            "ecu": self.ecu,
            "record": self.record,
            "values": {f"0x{did:04X}": hex_from_bytes(value) for did, value in self.values},
            "raw": hex_from_bytes(self.raw),
        }


@dataclass(frozen=True, slots=True)
class FaultCounter:
    """How near a test is to failing: 1..126 failing more often than not, 127 failed, -128 passed.

    Standard: ISO 14229-1:2020 §12.3 (service 19 14).
    """

    code: str
    failure_type: str | None
    counter: int

    def to_json(self) -> Json:
        """One entry of ``fault_counters``."""
        return {"code": self.code, "failure_type": self.failure_type, "counter": self.counter}


@dataclass(frozen=True, slots=True)
class Lamp:
    """One lamp of a J1939 DM message; None = the node does not say."""

    name: str
    on: bool | None
    flash: str | None

    def to_json(self) -> Json:
        """One entry of ``lamps``."""
        return {"name": self.name, "on": self.on, "flash": self.flash}


@dataclass(frozen=True, slots=True)
class DtcAnswer:
    """What one answer says about trouble codes.

    Args:
        complete: the answer came whole. A negative response can be complete: look at ``negative`` before trusting an
            empty list.
        missing: codes that the answer announced, or began, and that are not in it.
        count: the number of codes that the ECU itself stated, where the answer has one.
        available: DTCStatusAvailabilityMask, where the answer has one.
        rest: bytes after the last record that belong to no code and are no padding.
    """

    dtcs: tuple[Dtc, ...] = ()
    complete: bool = True
    missing: int = 0
    negative: Negative | None = None
    count: int | None = None
    available: int | None = None
    snapshots: tuple[StoredRecord, ...] = ()
    extended: tuple[StoredRecord, ...] = ()
    fault_counters: tuple[FaultCounter, ...] = ()
    lamps: tuple[Lamp, ...] = ()
    rest: bytes = b""


def code_from_bytes(data: bytes) -> str:
    """``0A A6`` is P0AA6, ``0A A6 1A`` is P0AA6-1A.

    Raises:
        BadInput: neither two nor three bytes.

    Standard: SAE J2012 (ISO 15031-6).
    """
    if len(data) not in (2, 3):
        raise BadInput(hex_from_bytes(data) or '""', Text("a code has two or three bytes", "故障码为两或三个字节"))
    high, low = data[0], data[1]
    code = f"{LETTERS[high >> 6]}{high >> 4 & 3}{high & 15:X}{low:02X}"
    return code if len(data) == 2 else f"{code}-{data[2]:02X}"


def split_code(text: str) -> tuple[str, str | None]:
    """A code as people write it -> code and failure type: ``p0aa6``, ``P0AA6-1A``, ``P0AA6:1A``, ``P0AA61A``.

    Raises:
        BadInput: not a code.
    """
    plain = text.strip().upper()
    code, rest = plain[:5], plain[5:].lstrip("-:. ")
    digits = "0123456789ABCDEF"
    good = (
        len(code) == 5
        and code[0] in LETTERS
        and code[1] in "0123"
        and all(char in digits for char in code[2:])
        and (plain[5:] == "" or (len(rest) == 2 and all(char in digits for char in rest)))
    )
    if not good:
        raise BadInput(
            repr(text),
            Text(
                "not a trouble code; write P0AA6, P0AA6-1A or SPN 5464 FMI 3",
                "不是故障码；请写成 P0AA6、P0AA6-1A 或 SPN 5464 FMI 3",
            ),
        )
    return code, rest or None


def bytes_from_code(text: str) -> bytes:
    """P0AA6 is ``0A A6``, P0AA6-1A is ``0A A6 1A``.

    Raises:
        BadInput: not a code.
    """
    code, failure_type = split_code(text)
    letter, first, rest = code[0], code[1], code[2:]
    number = LETTERS.index(letter) << 14 | int(first) << 12 | int(rest, 16)
    return number.to_bytes(2, "big") + (bytes.fromhex(failure_type) if failure_type else b"")
