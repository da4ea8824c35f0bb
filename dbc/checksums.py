"""Checksums of broadcast messages, many frames at once, as makers compute them.

A scheme gives the checksum that each payload should have. Some hold a constant that the maker keeps to himself (the
data identifiers of AUTOSAR's profile 2, the start value of an XOR): these are learned from the frames, by the vote of
the majority, and say something only where frames repeat.

The algorithms are known from public reverse engineering; opendbc's own functions are the oracle of the tests.
Standard: SAE J1850 and AUTOSAR E2E for the polynomials 0x1D and 0x2F.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from dbc.signals import Signal

__all__ = ["PLUG_INS", "Scheme", "crc8", "crc16", "nibble_sum", "scheme_of"]

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scheme:
    """How the checksum of a message is made.

    Args:
        name: for people.
        expected: from uint8 (n, length) payloads, the identifier, the checksum's signal and int64 (n,) of the checksums
            that came, int64 (n,) of those that should have come.
        bits: how long the checksum is: 4, 8 or 16.
        learns: it holds a constant that is taken from the frames, so that a single one cannot be judged.
    """

    name: str
    expected: Callable[[NDArray[np.uint8], int, Signal, NDArray[np.int64]], NDArray[np.int64]]
    bits: int = 8
    learns: bool = False


@cache
def _crc_table(polynomial: int, bits: int) -> NDArray[np.uint16]:
    top, keep = 1 << bits - 1, (1 << bits) - 1
    out = np.zeros(256, np.uint16)
    for byte in range(256):
        crc = byte << bits - 8
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc & top else crc << 1) & keep
        out[byte] = crc
    return out


def crc8(data: NDArray[np.uint8], polynomial: int, start: int) -> NDArray[np.int64]:
    """int64 (n,): CRC of 8 bits over each row, highest bit first, nothing reflected, without a final XOR."""
    table = _crc_table(polynomial, 8)
    crc = np.full(len(data), start, np.uint16)
    for column in data.T:
        crc = table[crc ^ column]
    return crc.astype(np.int64)


def crc16(data: NDArray[np.uint8], polynomial: int, start: int) -> NDArray[np.int64]:
    """int64 (n,): CRC of 16 bits over each row, highest bit first, nothing reflected, without a final XOR."""
    table = _crc_table(polynomial, 16)
    crc = np.full(len(data), start, np.uint16)
    for column in data.T:
        crc = (crc << np.uint16(8)) ^ table[(crc >> np.uint16(8)) ^ column]
    return crc.astype(np.int64)


def nibble_sum(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """int64 (n,): sum of all half bytes of each row."""
    sums: NDArray[np.int64] = ((data >> np.uint8(4)) + (data & np.uint8(15))).sum(axis=1, dtype=np.int64)
    return sums


def _sum(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    sums: NDArray[np.int64] = data.sum(axis=1, dtype=np.int64)
    return sums


def _byte_of(signal: Signal) -> int:
    return signal.first_bit // 8


def _others(data: NDArray[np.uint8], signal: Signal) -> NDArray[np.uint8]:
    """The payloads without the checksum's own byte."""
    return np.delete(data, _byte_of(signal), axis=1)


def _without_nibble(data: NDArray[np.uint8], signal: Signal) -> NDArray[np.uint8]:
    """The payloads with zeros where a checksum of four bits stands."""
    out = data.copy()
    low = (signal.first_bit % 8 == 0) if signal.little_endian else (signal.first_bit % 8 == 4)
    out[:, _byte_of(signal)] &= np.uint8(0xF0 if low else 0x0F)
    return out


def _id_bytes(can_id: int) -> int:
    return sum(can_id.to_bytes(4, "big"))


def _majority(values: NDArray[np.int64]) -> int:
    return int(np.bincount(values).argmax()) if len(values) else 0


# --- the makers' ways ------------------------------------------------------------------------------------------------


def _toyota(data: NDArray[np.uint8], can_id: int, signal: Signal, _: NDArray[np.int64]) -> NDArray[np.int64]:
    sums: NDArray[np.int64] = _sum(_others(data, signal)) + _id_bytes(can_id) + data.shape[1] & 0xFF
    return sums


def _subaru(data: NDArray[np.uint8], can_id: int, signal: Signal, _: NDArray[np.int64]) -> NDArray[np.int64]:
    return _sum(_others(data, signal)) + _id_bytes(can_id) & 0xFF


def _honda(data: NDArray[np.uint8], can_id: int, signal: Signal, _: NDArray[np.int64]) -> NDArray[np.int64]:
    identifier = sum(int(digit, 16) for digit in f"{can_id:X}")
    extra = 3 if can_id > 0x7FF else 0
    sums: NDArray[np.int64] = 8 + extra - nibble_sum(_without_nibble(data, signal)) - identifier & 0xF
    return sums


_PSA_START: Final[Mapping[int, int]] = {0x452: 0x4, 0x38D: 0x7, 0x42D: 0xC}


def _psa(data: NDArray[np.uint8], can_id: int, signal: Signal, _: NDArray[np.int64]) -> NDArray[np.int64]:
    return _PSA_START.get(can_id, 0xB) - nibble_sum(_without_nibble(data, signal)) & 0xF


def _j1850(data: NDArray[np.uint8], _: int, signal: Signal, __: NDArray[np.int64]) -> NDArray[np.int64]:
    crc = crc8(_others(data, signal), 0x1D, 0xFF)
    return crc ^ 0xFF


_GIORGIO_XOR: Final[Mapping[int, int]] = {0xDE: 0x10, 0x106: 0xF6, 0x122: 0xF1}


def _giorgio(data: NDArray[np.uint8], can_id: int, signal: Signal, _: NDArray[np.int64]) -> NDArray[np.int64]:
    return crc8(_others(data, signal), 0x1D, 0) ^ _GIORGIO_XOR.get(can_id, 0x0A)


_HYUNDAI_XOR: Final[Mapping[int, int]] = {8: 0x5F29, 16: 0x041D, 24: 0x819D, 32: 0x9F5B}


def _hyundai_fd(data: NDArray[np.uint8], can_id: int, _: Signal, __: NDArray[np.int64]) -> NDArray[np.int64]:
    identifier = np.broadcast_to(np.array([can_id & 0xFF, can_id >> 8 & 0xFF], np.uint8), (len(data), 2))
    crc = crc16(np.concatenate([data[:, 2:], identifier], axis=1), 0x1021, 0)
    return crc ^ _HYUNDAI_XOR.get(data.shape[1], 0)


def _xor(data: NDArray[np.uint8], _: int, signal: Signal, __: NDArray[np.int64]) -> NDArray[np.int64]:
    sums: NDArray[np.int64] = np.bitwise_xor.reduce(_others(data, signal), axis=1).astype(np.int64)
    return sums


def _xor_learned(data: NDArray[np.uint8], can_id: int, signal: Signal, got: NDArray[np.int64]) -> NDArray[np.int64]:
    plain = _xor(data, can_id, signal, got)
    return plain ^ _majority(plain ^ got)


def _profile_2(data: NDArray[np.uint8], _: int, signal: Signal, got: NDArray[np.int64]) -> NDArray[np.int64]:
    """CRC with 0x2F over the payload and one of 16 secret bytes, which the counter in the second byte chooses."""
    table = _crc_table(0x2F, 8).astype(np.int64)
    before = crc8(_others(data, signal), 0x2F, 0xFF)
    back = np.argsort(table)
    secret = before ^ back[got & 0xFF ^ 0xFF]
    counter = data[:, 1] & np.uint8(15)
    expected = np.zeros(len(data), np.int64)
    for value in np.unique(counter).tolist():
        rows = counter == value
        expected[rows] = table[before[rows] ^ _majority(secret[rows])] ^ 0xFF
    return expected


def _by_xor_or_profile_2(
    data: NDArray[np.uint8], can_id: int, signal: Signal, got: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Some messages of one platform have an XOR, others the CRC: the one that explains more frames."""
    one, other = _xor_learned(data, can_id, signal, got), _profile_2(data, can_id, signal, got)
    return one if np.count_nonzero(one == got) >= np.count_nonzero(other == got) else other


_SCHEMES: Final[tuple[tuple[tuple[str, ...], Scheme], ...]] = (
    (("honda_", "acura_"), Scheme("Honda, sum of half bytes", _honda, bits=4)),
    (("toyota_", "lexus_"), Scheme("Toyota, sum", _toyota)),
    (("hyundai_canfd",), Scheme("Hyundai CAN FD, CRC-16", _hyundai_fd, bits=16)),
    (("vw_mqb", "vw_meb"), Scheme("VW, AUTOSAR E2E profile 2", _profile_2, learns=True)),
    (("vw_mlb",), Scheme("VW, XOR or AUTOSAR E2E profile 2", _by_xor_or_profile_2, learns=True)),
    (("vw_pq",), Scheme("VW, XOR", _xor)),
    (("subaru_global_",), Scheme("Subaru, sum", _subaru)),
    (("chrysler_",), Scheme("Chrysler, CRC-8 SAE J1850", _j1850)),
    (("fca_giorgio",), Scheme("FCA, CRC-8", _giorgio)),
    (("tesla_",), Scheme("Tesla, sum", _subaru)),
    (("psa_",), Scheme("PSA, sum of half bytes", _psa, bits=4)),
)
PLUG_INS: Final = "huizhen.checksums"
"""Group of entry points that add schemes: an entry's name is how the databases' names begin, its object the scheme."""


@cache
def _plugged() -> Mapping[str, Scheme]:
    found: dict[str, Scheme] = {}
    for entry in entry_points(group=PLUG_INS):
        scheme = entry.load()
        if isinstance(scheme, Scheme):
            found[entry.name] = scheme
        else:
            _LOG.warning("plug-in %s = %s is no Scheme and is not used", entry.name, entry.value)
    return found


def scheme_of(database: str) -> Scheme | None:
    """The scheme of a database by its name, those of plug-ins first; None where none is known."""
    for prefix, scheme in _plugged().items():
        if database.startswith(prefix):
            return scheme
    for prefixes, scheme in _SCHEMES:
        if database.startswith(prefixes):
            return scheme
    return None
