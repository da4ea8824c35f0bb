"""Trouble-code answers out of pasted CAN lines: what a technician copies from a log or a terminal.

Understood are ``7EC 10 35 59 02 …``, ``18 DA F1 10 03 59 …``, candump's ``(1.2) can0 7EC#1035…`` and ``can0  7EC
[8]  10 35 …``, adapters' ``7EC10355902…``, and the reassembled payload alone. A line that was cut inside a byte loses
that half byte only. An answer whose frames stop or skip keeps what came before and its announced length.

Standard: ISO 15765-2:2016 §9.6 for the frames, SAE J1939-21 for BAM; clauses of the latter unverified.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dbc.errors import BadPci
from dbc.pci import ConsecutiveFrame, FirstFrame, FlowControl, SingleFrame, parse_pci
from diag.dtc import parse_j1939_dtcs, parse_obd_dtcs, parse_uds_dtcs
from diag.dtcanswer import DtcAnswer
from diag.dtcmerge import merge_dtcs
from diag.errors import BadInput
from diag.facts import DtcKind, Text, hex_from_id
from diag.nrc import NEGATIVE_SID, PENDING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = [
    "SERVICES",
    "CanLine",
    "RawAnswer",
    "collect_isotp",
    "collect_j1939",
    "decode_payload",
    "parse_can_line",
    "parse_dtc_lines",
]

SERVICES: Final = ("obd", "uds", "j1939")

_MAX_LINES: Final = 200_000
_MAX_29_BIT: Final = 0x1FFF_FFFF
_ANSWERS: Final = {
    "obd": (frozenset({0x43, 0x47, 0x4A}), frozenset({0x03, 0x07, 0x0A})),
    "uds": (frozenset({0x59}), frozenset({0x19})),
}
"""Per service: first bytes of answers, and the services whose refusal counts."""

_CANDUMP: Final = re.compile(r"(?:^|\s)([0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})(?:##[0-9A-Fa-f]|#)([0-9A-Fa-f.]*)(?:\s|$)")
_SCREEN: Final = re.compile(r"(?:^|\s)([0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})\s+\[\d+\]\s+([0-9A-Fa-f ]*)")
_PLAIN: Final = re.compile(r"^(?:0x)?([0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})[\s:,]+([0-9A-Fa-f ,]*)$")
_SPACED: Final = re.compile(r"^([01][0-9A-Fa-f] [0-9A-Fa-f]{2} [0-9A-Fa-f]{2} [0-9A-Fa-f]{2})\s([0-9A-Fa-f ]+)$")
_COMPACT: Final = re.compile(r"^([0-7][0-9A-Fa-f]{2})((?:[0-9A-Fa-f]{2})+)$")
_COMPACT_29: Final = re.compile(r"^([01][0-9A-Fa-f]{7})((?:[0-9A-Fa-f]{2})+)$")
_PAYLOAD: Final = re.compile(r"^(?:59|43|47|4[Aa]|7[Ff])(?:\s*[0-9A-Fa-f]{2})+$")


@dataclass(frozen=True, slots=True)
class CanLine:
    """One frame as pasted; ``can_id`` is None for a line that is a whole payload."""

    can_id: int | None
    data: bytes
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """One message put together from frames: its payload as far as it came, and the length that was announced."""

    can_id: int | None
    payload: bytes
    declared_length: int
    kind: DtcKind = DtcKind.STORED

    @property
    def is_whole(self) -> bool:
        """Everything that was announced is there."""
        return len(self.payload) >= self.declared_length


def _bytes_from_hex(text: str) -> tuple[bytes, bool]:
    """The whole bytes of a hex text with or without separators, and whether half a byte was left over."""
    digits = re.sub(r"[^0-9A-Fa-f]", "", text)
    return bytes.fromhex(digits[: len(digits) & ~1]), bool(len(digits) & 1)


def parse_can_line(text: str) -> CanLine | None:
    """One pasted line; None where it holds no frame."""
    line = text.strip().strip(">").strip()
    if _PAYLOAD.match(line):
        return CanLine(None, _bytes_from_hex(line)[0])
    for pattern in (_CANDUMP, _SCREEN, _PLAIN, _SPACED, _COMPACT, _COMPACT_29):
        found = pattern.search(line)
        if found:
            can_id = int(found[1].replace(" ", ""), 16)
            data, is_cut = _bytes_from_hex(found[2])
            return CanLine(can_id, data, is_cut) if can_id <= _MAX_29_BIT else None
    return None


def _cut_frame(line: CanLine) -> SingleFrame | FirstFrame | None:
    """A single or first frame whose line was cut: the length it announces and the bytes that are there."""
    data = line.data
    if len(data) > 1 and 1 <= data[0] <= 7:
        return FirstFrame(data[0], data[1:])
    if len(data) > 2 and data[0] >> 4 == 1:
        return FirstFrame((data[0] & 0x0F) << 8 | data[1], data[2:])
    return None


@dataclass(slots=True)
class _Message:
    """A message in the making; ``is_broken`` after a skipped or cut frame, when nothing more can be added."""

    length: int
    data: bytearray
    next_sequence: int = 1
    is_broken: bool = False


@dataclass(slots=True)
class _Collector:
    """Puts the ISO-TP messages of many identifiers together, in the order in which they end."""

    done: list[RawAnswer] = field(default_factory=list)
    open: dict[int, _Message] = field(default_factory=dict)

    def flush(self, can_id: int) -> None:
        message = self.open.pop(can_id, None)
        if message:
            self.done.append(RawAnswer(can_id, bytes(message.data[: message.length]), message.length))

    def feed(self, can_id: int, line: CanLine) -> None:
        try:
            frame = parse_pci(line.data)
        except BadPci:
            cut = _cut_frame(line)
            if cut is None:
                return
            frame = cut
        if isinstance(frame, FlowControl):
            return
        if isinstance(frame, ConsecutiveFrame):
            self._add(can_id, frame, is_short=len(line.data) < 8)
            return
        self.flush(can_id)
        if isinstance(frame, SingleFrame):
            self.done.append(RawAnswer(can_id, frame.data, len(frame.data)))
        else:
            message = _Message(frame.length, bytearray(frame.data), is_broken=len(line.data) < 8)
            self.open[can_id] = message

    def _add(self, can_id: int, frame: ConsecutiveFrame, *, is_short: bool) -> None:
        message = self.open.get(can_id)
        if message is None or message.is_broken:
            return
        if frame.sequence != message.next_sequence:
            message.is_broken = True
            return
        message.data += frame.data
        message.next_sequence = (message.next_sequence + 1) & 0x0F
        if len(message.data) >= message.length:
            self.flush(can_id)
        elif is_short:
            message.is_broken = True


def collect_isotp(lines: Iterable[CanLine]) -> tuple[RawAnswer, ...]:
    """The messages in frames of any number of identifiers, interleaved or not."""
    collector = _Collector()
    for line in lines:
        if line.can_id is None:
            collector.done.append(RawAnswer(None, line.data, len(line.data)))
        else:
            collector.feed(line.can_id, line)
    for can_id in list(collector.open):
        collector.flush(can_id)
    return tuple(collector.done)


_DM_KINDS: Final[Mapping[int, DtcKind]] = {
    0xFECA: DtcKind.STORED,
    0xFECB: DtcKind.STORED,
    0xFECF: DtcKind.PENDING,
    0xFED4: DtcKind.STORED,
    0xFDB5: DtcKind.STORED,
    0xFD80: DtcKind.PERMANENT,
}
"""Parameter group of a diagnostic message with DM1's layout -> which list it is: DM1 2 6 12 23 28."""

_TRANSPORT_CONTROL: Final = 0xEC
_TRANSPORT_DATA: Final = 0xEB
_ANNOUNCES: Final = (0x10, 0x20)


def collect_j1939(lines: Iterable[CanLine]) -> tuple[RawAnswer, ...]:
    """DM1 and its kin, single frames or by the transport protocol; the rest of the bus is passed over.

    Standard: SAE J1939-21 (TP.CM BAM and RTS, TP.DT); clauses unverified.
    """
    done: list[RawAnswer] = []
    open_: dict[int, tuple[int, int, _Message]] = {}

    def flush(source: int) -> None:
        if source in open_:
            can_id, pgn, message = open_.pop(source)
            done.append(RawAnswer(can_id, bytes(message.data[: message.length]), message.length, _DM_KINDS[pgn]))

    for line in lines:
        if line.can_id is None:
            done.append(RawAnswer(None, line.data, len(line.data)))
            continue
        group, source, data = line.can_id >> 16 & 0xFF, line.can_id & 0xFF, line.data
        pgn = line.can_id >> 8 & 0xFFFF
        if pgn in _DM_KINDS:
            done.append(RawAnswer(line.can_id, data, len(data), _DM_KINDS[pgn]))
        elif group == _TRANSPORT_CONTROL and len(data) >= 8 and data[0] in _ANNOUNCES:
            flush(source)
            told = int.from_bytes(data[5:8], "little")
            if told in _DM_KINDS:
                open_[source] = (line.can_id, told, _Message(data[1] | data[2] << 8, bytearray()))
        elif group == _TRANSPORT_DATA and source in open_ and len(data) > 1:
            message = open_[source][2]
            if data[0] != message.next_sequence:
                message.is_broken = True
            if not message.is_broken:
                message.data += data[1:]
                message.next_sequence += 1
                message.is_broken = len(data) < 8
            if len(message.data) >= message.length:
                flush(source)
    for source in list(open_):
        flush(source)
    return tuple(done)


def _belongs(answer: RawAnswer, service: str) -> bool:
    if service == "j1939":
        return True
    positive, refused = _ANSWERS[service]
    payload = answer.payload
    return payload[:1] != b"" and (
        payload[0] in positive or (payload[0] == NEGATIVE_SID and payload[1:2] != b"" and payload[1] in refused)
    )


def decode_payload(
    payload: bytes,
    service: str,
    *,
    ecu: str | None = None,
    declared_length: int | None = None,
    kind: DtcKind = DtcKind.STORED,
    can: bool = True,
) -> DtcAnswer:
    """One reassembled answer of ``obd``, ``uds`` or ``j1939``.

    Raises:
        RemoteProtocolError: the payload is no such answer.
    """
    if service == "j1939":
        return parse_j1939_dtcs(payload, ecu=ecu, declared_length=declared_length, kind=kind)
    if service == "uds":
        return parse_uds_dtcs(payload, ecu=ecu, declared_length=declared_length)
    return parse_obd_dtcs(payload, ecu=ecu, can=can)


def _join(answers: list[DtcAnswer], *, is_whole: bool) -> DtcAnswer:
    """Several answers as one; codes told more than once are united."""
    dtcs = [dtc for answer in answers for dtc in answer.dtcs]
    tellers = sum(bool(answer.dtcs) for answer in answers)
    refusals = [answer.negative for answer in answers if answer.negative]
    counts = [answer.count for answer in answers if answer.count is not None]
    masks = {answer.available for answer in answers if answer.available is not None}
    return DtcAnswer(
        dtcs=merge_dtcs(dtcs) if tellers > 1 else tuple(dtcs),
        complete=is_whole and all(answer.complete for answer in answers),
        missing=sum(answer.missing for answer in answers),
        negative=refusals[0] if refusals else None,
        count=sum(counts) if counts else None,
        available=masks.pop() if len(masks) == 1 else None,
        snapshots=tuple(item for answer in answers for item in answer.snapshots),
        extended=tuple(item for answer in answers for item in answer.extended),
        fault_counters=tuple(item for answer in answers for item in answer.fault_counters),
        lamps=tuple(item for answer in answers for item in answer.lamps),
        rest=b"".join(answer.rest for answer in answers),
    )


def _without_pending(answers: list[tuple[RawAnswer, DtcAnswer]]) -> Iterator[tuple[RawAnswer, DtcAnswer]]:
    """Leaves out "response pending" where the same ECU's answer follows."""
    for number, (raw, answer) in enumerate(answers):
        later = any(other.can_id == raw.can_id for other, _ in answers[number + 1 :])
        if not (answer.negative and answer.negative.nrc == PENDING and later):
            yield raw, answer


def parse_dtc_lines(lines: Iterable[str], service: str) -> DtcAnswer:
    """All answers of one service in pasted lines, joined.

    Args:
        lines: one frame, or one payload, per line; empty lines and lines that begin with ``#`` are passed over.
        service: ``obd``, ``uds`` or ``j1939``.

    Raises:
        BadInput: a line that is no frame, too many lines, or no answer of that service among them.
    """
    found: list[CanLine] = []
    for number, text in enumerate(lines, 1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        line = parse_can_line(text)
        if line is None or number > _MAX_LINES:
            shown = text.strip()[:40]
            raise BadInput(
                Text(f"line {number}", f"第 {number} 行"),
                Text(f"not a CAN frame: {shown!r}", f"不是 CAN 报文：{shown!r}")
                if line is None
                else Text(f"more than {_MAX_LINES} lines", f"超过 {_MAX_LINES} 行"),
            )
        found.append(line)
    collect: Callable[[Iterable[CanLine]], tuple[RawAnswer, ...]] = (
        collect_j1939 if service == "j1939" else collect_isotp
    )
    raws = [raw for raw in collect(found) if _belongs(raw, service)]
    if not raws:
        raise BadInput(
            Text("the lines", "输入的报文"),
            Text(
                f"no answer of service {service} in {len(found)} frames", f"{len(found)} 帧中没有 {service} 服务的应答"
            ),
        )
    answers = [
        (
            raw,
            decode_payload(
                raw.payload,
                service,
                ecu=None if raw.can_id is None else hex_from_id(raw.can_id),
                declared_length=raw.declared_length,
                kind=raw.kind,
            ),
        )
        for raw in raws
    ]
    kept = list(_without_pending(answers))
    return _join([answer for _, answer in kept], is_whole=all(raw.is_whole for raw, _ in kept))
