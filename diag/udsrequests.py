"""The requests of every UDS service as bytes, and the answers of those that carry more than an echo.

Pure functions: values in, payload out. Nothing here is sent; the guard judges each payload by its class when it is.

Standard: ISO 14229-1:2020 §10 to §17.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from diag.errors import BadInput
from diag.facts import Text, hex_from_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ALL_CODES",
    "EMISSION_CODES",
    "SUB_FUNCTIONS_19",
    "AuthenticationTask",
    "IoControl",
    "MemoryArea",
    "PeriodicRate",
    "ResetKind",
    "RoutineKind",
    "SessionKind",
    "authentication_request",
    "clear_definition_request",
    "clear_request",
    "code_setting_request",
    "communication_request",
    "define_by_identifier_request",
    "define_by_memory_request",
    "download_request",
    "dtc_request",
    "file_request",
    "io_request",
    "key_request",
    "parse_block_length",
    "parse_scaling",
    "parse_seed",
    "periodic_request",
    "read_memory_request",
    "reset_request",
    "routine_request",
    "scaling_request",
    "seed_request",
    "session_request",
    "transfer_exit_request",
    "transfer_request",
    "upload_request",
    "write_memory_request",
    "write_request",
]

ALL_CODES: Final = 0xFFFFFF
EMISSION_CODES: Final = 0xFFFF33


class SessionKind(IntEnum):
    """Diagnostic sessions that the standard names."""

    DEFAULT = 0x01
    PROGRAMMING = 0x02
    EXTENDED = 0x03
    SAFETY_SYSTEM = 0x04


class ResetKind(IntEnum):
    """How an ECU starts anew."""

    HARD = 0x01
    KEY_OFF_ON = 0x02
    SOFT = 0x03


class RoutineKind(IntEnum):
    """What is wanted of a routine."""

    START = 0x01
    STOP = 0x02
    RESULTS = 0x03


class IoControl(IntEnum):
    """inputOutputControlParameter."""

    RETURN_TO_ECU = 0x00
    RESET_TO_DEFAULT = 0x01
    FREEZE = 0x02
    ADJUST = 0x03


class PeriodicRate(IntEnum):
    """transmissionMode of periodic data."""

    SLOW = 0x01
    MEDIUM = 0x02
    FAST = 0x03
    STOP = 0x04


class AuthenticationTask(IntEnum):
    """authenticationTask."""

    DE_AUTHENTICATE = 0x00
    VERIFY_CERTIFICATE_UNIDIRECTIONAL = 0x01
    VERIFY_CERTIFICATE_BIDIRECTIONAL = 0x02
    PROOF_OF_OWNERSHIP = 0x03
    TRANSMIT_CERTIFICATE = 0x04
    REQUEST_CHALLENGE = 0x05
    VERIFY_PROOF_UNIDIRECTIONAL = 0x06
    VERIFY_PROOF_BIDIRECTIONAL = 0x07
    CONFIGURATION = 0x08


def _number(value: int, size: int, what: Text) -> bytes:
    """An unsigned number in so many bytes, big-endian.

    Raises:
        BadInput: it does not fit.
    """
    if not 0 <= value < 1 << 8 * size:
        raise BadInput(str(value), Text(f"{what.en} of {size} bytes", f"{what.zh}须为 {size} 字节"))
    return value.to_bytes(size, "big")


_SUB: Final = Text("a sub-function", "子功能")
_DID: Final = Text("a data identifier", "数据标识符")
_RID: Final = Text("a routine identifier", "例程标识符")
_BYTE: Final = Text("a parameter", "参数")


def _with_sub(service: int, sub: int, rest: bytes = b"", *, quiet: bool = False) -> bytes:
    if not 0 <= sub < 0x80:
        raise BadInput(str(sub), _SUB)
    return bytes([service, sub | (0x80 if quiet else 0)]) + rest


def session_request(kind: int, *, quiet: bool = False) -> bytes:
    """10: change to a session; ``quiet`` suppresses the positive response, as it does below."""
    return _with_sub(0x10, kind, quiet=quiet)


def reset_request(kind: int, *, quiet: bool = False) -> bytes:
    """11: start the ECU anew."""
    return _with_sub(0x11, kind, quiet=quiet)


def clear_request(group: int = ALL_CODES, *, memory: int | None = None) -> bytes:
    """14: forget the codes of a group, or one code by its three bytes; of a user memory where one is named."""
    rest = b"" if memory is None else _number(memory, 1, _BYTE)
    return b"\x14" + _number(group, 3, Text("a group of codes", "故障码组")) + rest


SUB_FUNCTIONS_19: Final[dict[int, tuple[str, tuple[int, ...]]]] = {
    0x01: ("reportNumberOfDTCByStatusMask", (1,)),
    0x02: ("reportDTCByStatusMask", (1,)),
    0x03: ("reportDTCSnapshotIdentification", ()),
    0x04: ("reportDTCSnapshotRecordByDTCNumber", (3, 1)),
    0x05: ("reportDTCStoredDataByRecordNumber", (1,)),
    0x06: ("reportDTCExtDataRecordByDTCNumber", (3, 1)),
    0x07: ("reportNumberOfDTCBySeverityMaskRecord", (1, 1)),
    0x08: ("reportDTCBySeverityMaskRecord", (1, 1)),
    0x09: ("reportSeverityInformationOfDTC", (3,)),
    0x0A: ("reportSupportedDTC", ()),
    0x0B: ("reportFirstTestFailedDTC", ()),
    0x0C: ("reportFirstConfirmedDTC", ()),
    0x0D: ("reportMostRecentTestFailedDTC", ()),
    0x0E: ("reportMostRecentConfirmedDTC", ()),
    0x0F: ("reportMirrorMemoryDTCByStatusMask", (1,)),
    0x10: ("reportMirrorMemoryDTCExtDataRecordByDTCNumber", (3, 1)),
    0x11: ("reportNumberOfMirrorMemoryDTCByStatusMask", (1,)),
    0x12: ("reportNumberOfEmissionsOBDDTCByStatusMask", (1,)),
    0x13: ("reportEmissionsOBDDTCByStatusMask", (1,)),
    0x14: ("reportDTCFaultDetectionCounter", ()),
    0x15: ("reportDTCWithPermanentStatus", ()),
    0x16: ("reportDTCExtDataRecordByRecordNumber", (1,)),
    0x17: ("reportUserDefMemoryDTCByStatusMask", (1, 1)),
    0x18: ("reportUserDefMemoryDTCSnapshotRecordByDTCNumber", (3, 1, 1)),
    0x19: ("reportUserDefMemoryDTCExtDataRecordByDTCNumber", (3, 1, 1)),
    0x1A: ("reportSupportedDTCExtDataRecord", (1,)),
    0x42: ("reportWWHOBDDTCByMaskRecord", (1, 1, 1)),
    0x55: ("reportWWHOBDDTCWithPermanentStatus", (1,)),
    0x56: ("reportDTCInformationByDTCReadinessGroupIdentifier", (1, 1)),
}
"""Service 19: sub-function -> its name and the sizes of its parameters in bytes.

0F to 13 are of the edition of 2013. Standard: ISO 14229-1:2020 §12.3.
"""


def dtc_request(sub: int, *parameters: int) -> bytes:
    """19 with any sub-function: ``dtc_request(0x04, 0x0AA61A, 0xFF)``.

    Raises:
        BadInput: an unknown sub-function, the wrong number of parameters, or one that does not fit.
    """
    if sub not in SUB_FUNCTIONS_19:
        raise BadInput(f"{sub:02X}", Text("service 19 has no such sub-function", "服务 19 没有该子功能"))
    name, sizes = SUB_FUNCTIONS_19[sub]
    if len(parameters) != len(sizes):
        need = len(sizes)
        raise BadInput(name, Text(f"takes {need} parameters", f"需要 {need} 个参数"))
    return bytes([0x19, sub]) + b"".join(
        _number(value, size, _BYTE) for value, size in zip(parameters, sizes, strict=True)
    )


def write_request(did: int, data: bytes) -> bytes:
    """2E: write the content of an identifier."""
    return b"\x2e" + _number(did, 2, _DID) + data


def io_request(did: int, control: int, state: bytes = b"", mask: bytes = b"") -> bytes:
    """2F: take an input or output over, or give it back."""
    return b"\x2f" + _number(did, 2, _DID) + _number(control, 1, _BYTE) + state + mask


def routine_request(kind: int, rid: int, option: bytes = b"", *, quiet: bool = False) -> bytes:
    """31: start or stop a routine, or read its results."""
    return _with_sub(0x31, kind, _number(rid, 2, _RID) + option, quiet=quiet)


def scaling_request(did: int) -> bytes:
    """24: how the content of an identifier is to be read."""
    return b"\x24" + _number(did, 2, _DID)


def communication_request(kind: int, communication: int, *, node: int | None = None, quiet: bool = False) -> bytes:
    """28: let an ECU receive or send its broadcast frames, or not; ``node`` for kinds 04 and 05."""
    rest = _number(communication, 1, _BYTE) + (b"" if node is None else _number(node, 2, _BYTE))
    return _with_sub(0x28, kind, rest, quiet=quiet)


def code_setting_request(*, on: bool, option: bytes = b"", quiet: bool = False) -> bytes:
    """85: let the ECU store codes, or not."""
    return _with_sub(0x85, 0x01 if on else 0x02, option, quiet=quiet)


def seed_request(level: int, record: bytes = b"") -> bytes:
    """27 with an odd level: ask for the seed.

    Raises:
        BadInput: an even level, which is the key's.
    """
    if not level & 1:
        raise BadInput(f"{level:02X}", Text("a security level is odd; the key has the next one", "安全等级为奇数"))
    return _with_sub(0x27, level, record)


def key_request(level: int, key: bytes) -> bytes:
    """27 with the level after that of the seed: give the key."""
    if not level & 1:
        raise BadInput(f"{level:02X}", Text("a security level is odd; the key has the next one", "安全等级为奇数"))
    return _with_sub(0x27, level + 1, key)


def parse_seed(payload: bytes) -> bytes:
    """The seed from ``67 level seed``; all zeros, or empty, means that the level is open already."""
    return payload[2:]


def authentication_request(task: int, *records: bytes, configuration: int | None = None) -> bytes:
    """29: each record with its length of two bytes in front, after the communication configuration where one is due."""
    rest = b"" if configuration is None else _number(configuration, 1, _BYTE)
    for record in records:
        rest += _number(len(record), 2, Text("the length of a record", "记录长度")) + record
    return _with_sub(0x29, task, rest)


def periodic_request(rate: int, identifiers: Iterable[int] = ()) -> bytes:
    """2A: send these again and again (low byte of F2xx each), or stop."""
    return bytes([0x2A]) + _number(rate, 1, _BYTE) + b"".join(_number(one, 1, _BYTE) for one in identifiers)


def define_by_identifier_request(did: int, sources: Iterable[tuple[int, int, int]]) -> bytes:
    """2C 01: a new identifier out of parts of others: ``(identifier, position from 1, bytes)``."""
    parts = b"".join(
        _number(source, 2, _DID) + _number(position, 1, _BYTE) + _number(size, 1, _BYTE)
        for source, position, size in sources
    )
    return b"\x2c\x01" + _number(did, 2, _DID) + parts


@dataclass(frozen=True, slots=True)
class MemoryArea:
    """An area of memory, and how many bytes each of its figures takes in a request (None = as few as needed)."""

    address: int
    size: int
    address_bytes: int | None = None
    size_bytes: int | None = None

    def _widths(self) -> tuple[int, int]:
        if self.address < 0 or self.size <= 0:
            raise BadInput(f"0x{self.address:X}+{self.size}", Text("no memory area", "不是有效的内存区域"))
        address = self.address_bytes or max(1, (self.address.bit_length() + 7) // 8)
        size = self.size_bytes or max(1, (self.size.bit_length() + 7) // 8)
        if address > 0xF or size > 0xF:
            raise BadInput(f"0x{self.address:X}+{self.size}", Text("no memory area", "不是有效的内存区域"))
        return address, size

    def format(self) -> bytes:
        """addressAndLengthFormatIdentifier: bytes of the size in the high half, of the address in the low one."""
        address, size = self._widths()
        return bytes([size << 4 | address])

    def figures(self) -> bytes:
        """Address, then size."""
        address, size = self._widths()
        return _number(self.address, address, Text("a memory address", "内存地址")) + _number(
            self.size, size, Text("a memory size", "内存长度")
        )


def define_by_memory_request(did: int, areas: Iterable[MemoryArea]) -> bytes:
    """2C 02: a new identifier out of pieces of memory, all with figures as wide as the first one's.

    Raises:
        BadInput: no area, or areas of different widths.
    """
    pieces = tuple(areas)
    if not pieces or len({area.format() for area in pieces}) > 1:
        raise BadInput(f"{did:04X}", Text("memory areas of one format", "内存区域格式须一致"))
    return b"\x2c\x02" + _number(did, 2, _DID) + pieces[0].format() + b"".join(area.figures() for area in pieces)


def clear_definition_request(did: int) -> bytes:
    """2C 03: forget a defined identifier."""
    return b"\x2c\x03" + _number(did, 2, _DID)


def read_memory_request(area: MemoryArea) -> bytes:
    """23."""
    return b"\x23" + area.format() + area.figures()


def write_memory_request(area: MemoryArea, data: bytes) -> bytes:
    """3D.

    Raises:
        BadInput: the data are not as long as the area.
    """
    if len(data) != area.size:
        raise BadInput(hex_from_bytes(data[:8]), Text("as many bytes as the area has", "数据须与内存区域等长"))
    return b"\x3d" + area.format() + area.figures() + data


def download_request(area: MemoryArea, data_format: int = 0) -> bytes:
    """34; ``data_format``: compression in the high half, encryption in the low one, 0 = plain."""
    return b"\x34" + _number(data_format, 1, _BYTE) + area.format() + area.figures()


def upload_request(area: MemoryArea, data_format: int = 0) -> bytes:
    """35."""
    return b"\x35" + _number(data_format, 1, _BYTE) + area.format() + area.figures()


def transfer_request(counter: int, data: bytes = b"") -> bytes:
    """36; the counter begins at 1 and goes on at 0 after 255."""
    return bytes([0x36, counter & 0xFF]) + data


def transfer_exit_request(parameters: bytes = b"") -> bytes:
    """37."""
    return b"\x37" + parameters


def file_request(
    mode: int, path: str, *, data_format: int | None = None, sizes: tuple[int, int] | None = None, size_bytes: int = 4
) -> bytes:
    """38: a file of the ECU.

    Args:
        mode: 01 add, 02 delete, 03 replace, 04 read, 05 read directory, 06 resume.
        path: ASCII.
        data_format: compression and encryption; not for delete and read directory.
        sizes: uncompressed and compressed size in bytes; for add, replace and resume.
        size_bytes: bytes that each of the two takes.
    """
    try:
        name = path.encode("ascii")
    except UnicodeEncodeError:
        raise BadInput(path, Text("a path in ASCII", "路径须为 ASCII 字符")) from None
    out = bytes([0x38]) + _number(mode, 1, _BYTE) + _number(len(name), 2, _BYTE) + name
    if data_format is not None:
        out += _number(data_format, 1, _BYTE)
    if sizes is not None:
        out += bytes([size_bytes]) + b"".join(_number(size, size_bytes, _BYTE) for size in sizes)
    return out


def parse_block_length(payload: bytes) -> int | None:
    """How long one 36 may be, its first two bytes included, from ``74 format length``; None when cut or 0."""
    if len(payload) < 2 or payload[0] not in {0x74, 0x75}:
        return None
    size = payload[1] >> 4
    if not size or len(payload) < 2 + size:
        return None
    return int.from_bytes(payload[2 : 2 + size], "big") or None


_SCALINGS: Final = {
    0x0: "unSignedNumeric",
    0x1: "signedNumeric",
    0x2: "bitMappedReportedWithOutMask",
    0x3: "bitMappedReportedWithMask",
    0x4: "binaryCodedDecimal",
    0x5: "stateEncodedVariable",
    0x6: "aSCII",
    0x7: "signedFloatingPoint",
    0x8: "packet",
    0x9: "formula",
    0xA: "unit_format",
    0xB: "stateAndConnectionType",
}


def parse_scaling(payload: bytes) -> tuple[tuple[str, int], ...]:
    """The scaling bytes of ``64 did …`` that describe data: kind and number of bytes, in the order of the data.

    Formulas and units carry further bytes whose layout the kind fixes; reading stops at the first kind that is not
    a plain one. Standard: ISO 14229-1:2020 Annex C.2, C.3.
    """
    found = []
    for byte in payload[3:]:
        kind = byte >> 4
        if kind not in {0x0, 0x1, 0x2, 0x4, 0x6, 0x7, 0x8}:
            break
        found.append((_SCALINGS[kind], byte & 0x0F))
    return tuple(found)
