"""Requests to the control units of a J1939 bus: stored codes, readiness, identification, and clearing.

The tester claims an address first. Long answers come by agreement (RTS/CTS) when one unit was asked, announced to all
(BAM) when everybody was; lost packets are asked for again. Not more than ten requests a second are made.

Standard: SAE J1939-21 (request, acknowledgement, transport protocol), J1939-73 (DM), J1939-81 (address claim);
clauses unverified.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from diag.dtc import parse_j1939_dtcs
from diag.dtcmerge import merge_dtcs
from diag.errors import BadInput, LocalProtocolError, NoAnswer
from diag.facts import DtcKind, Text
from diag.frames import Frame
from diag.j1939 import address_text
from diag.j1939gate import GLOBAL, TESTERS
from diag.readiness import parse_readiness
from diag.uds import text_from_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from types import TracebackType

    from diag.facts import Dtc
    from diag.frames import FrameLink, FrameSubscription
    from diag.readiness import Readiness

    Ask = Callable[[int, int], Awaitable[tuple["J1939Answer", ...]]]

__all__ = [
    "J1939Answer",
    "J1939Tester",
    "UnitReading",
    "parse_freeze_frames_dm4",
    "parse_identification",
    "read_bus",
    "read_unit",
]

_ACK, _REQUEST, _CONTROL, _DATA, _CLAIM = 0xE8, 0xEA, 0xEC, 0xEB, 0xEE
_RTS, _CTS, _END, _BAM, _ABORT = 0x10, 0x11, 0x13, 0x20, 0xFF
_CANNOT_CLAIM: Final = 0xFE
_CLAIM_WAIT_S: Final = 0.25
_ANSWER_S: Final = 1.25
_T1_S, _T2_S = 0.75, 1.25
_PACE_S: Final = 0.1
_RETRIES: Final = 2
_LONGEST: Final = 1785
_TIMED_OUT: Final = 3

_LISTS: Final[Mapping[int, DtcKind]] = {
    0xFECB: DtcKind.STORED,
    0xFECF: DtcKind.PENDING,
    0xFDB5: DtcKind.STORED,
    0xFD80: DtcKind.PERMANENT,
}
_VIN, _COMPONENT, _SOFTWARE, _ECU = 0xFEEC, 0xFEEB, 0xFEDA, 0xFDC5
_READINESS, _FROZEN, _SINCE = 0xFECE, 0xFECD, 0xC100
_EVERYTHING: Final = (*_LISTS, _COMPONENT, _SOFTWARE, _ECU, _VIN, _READINESS, _FROZEN, _SINCE)
_BRIEFLY: Final = (0xFECB, 0xFECF, 0xFD80, _COMPONENT, _SOFTWARE)
_IDENTIFIED: Final[Mapping[int, tuple[str, ...]]] = {
    _COMPONENT: ("make", "model", "serialNumber", "unitNumber"),
    _ECU: ("ecuPartNumber", "ecuSerialNumber", "ecuLocation", "ecuType", "ecuManufacturer"),
}

NAME: Final = (1 << 63 | 0x81 << 40 | 0x7FF << 21 | 0x1F0_F0F).to_bytes(8, "little")
"""NAME of this tester: arbitrary address capable, function 129 (off-board tool), no assigned manufacturer."""


@dataclass(frozen=True, slots=True)
class J1939Answer:
    """What one unit said to a request.

    Args:
        source: its address.
        payload: the group's data as far as they came.
        control: of an acknowledgement: 0 done, 1 not supported, 2 access denied, 3 cannot now; None for data.
        missing: bytes that were announced and did not come.
    """

    source: int
    pgn: int
    payload: bytes = b""
    control: int | None = None
    missing: int = 0

    @property
    def ecu(self) -> str:
        """The address as people write it."""
        return address_text(self.source)


@dataclass(slots=True)
class _Long:
    """An answer in packets, while it comes in."""

    size: int
    packets: int
    is_to_all: bool
    parts: dict[int, bytes] = field(default_factory=dict)
    tries: int = 0
    deadline: float = 0.0

    def missing(self) -> list[int]:
        return [number for number in range(1, self.packets + 1) if number not in self.parts]

    def data(self) -> bytes:
        """Up to the first packet that is missing."""
        out = bytearray()
        for number in range(1, self.packets + 1):
            if number not in self.parts:
                break
            out += self.parts[number]
        return bytes(out[: self.size])


class J1939Tester:
    """Asks on a J1939 bus; ``async with`` claims the address.

    Args:
        link: frames in and out; its guard judges every request.
        answer_s: seconds until an answer begins.
    """

    def __init__(self, link: FrameLink, *, answer_s: float = _ANSWER_S) -> None:
        self._link, self._answer_s = link, answer_s
        self.address = TESTERS[0]
        self._is_claimed = False
        self._next = 0.0
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.claim()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is given back: an address lapses by silence."""

    async def claim(self) -> None:
        """Claims one of the two tester's addresses; a unit with a lower NAME keeps it.

        Raises:
            LocalProtocolError: both are taken.
        """
        for address in TESTERS:
            with self._link.frames(
                accept=lambda frame: frame.extended and frame.can_id >> 16 & 0x3FF == _CLAIM
            ) as others:
                exchange = self._link.guard.open_claim(NAME, address)
                try:
                    await self._send(_CLAIM << 16 | GLOBAL << 8 | address, NAME)
                finally:
                    self._link.guard.close_j1939(exchange)
                if not await self._is_contested(others, address):
                    self.address, self._is_claimed = address, True
                    return
        raise LocalProtocolError(Text("both tester addresses are taken", "两个诊断仪地址均被占用"))

    async def _is_contested(self, others: FrameSubscription, address: int) -> bool:
        try:
            async with asyncio.timeout(_CLAIM_WAIT_S):
                async for frame in others:
                    if frame.can_id & 0xFF == address and len(frame.data) == 8:
                        return int.from_bytes(frame.data, "little") < int.from_bytes(NAME, "little")
        except TimeoutError:
            pass
        return False

    async def _send(self, rest: int, data: bytes) -> None:
        priority = 7 if rest >> 16 & 0xFF == _CONTROL else 6
        await self._link.send(Frame(priority << 26 | rest, data, extended=True))

    async def request(self, pgn: int, destination: int = GLOBAL) -> tuple[J1939Answer, ...]:
        """Asks one unit, or all, for a parameter group.

        Returns:
            One answer per unit: of one unit exactly one, of all as many as answered.

        Raises:
            NoAnswer: the one unit stayed silent.
            RefusedByPolicy: the guard let nothing out.
            LocalProtocolError: no address was claimed.
            LinkLost: the adapter went away.
        """
        if not self._is_claimed:
            raise LocalProtocolError(Text("no address was claimed", "尚未声明地址"))
        async with self._lock:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(0.0, self._next - loop.time()))
            self._next = loop.time() + _PACE_S
            exchange = self._link.guard.open_j1939(pgn, destination, self.address)
            try:
                with self._link.frames(accept=lambda frame: frame.extended and not frame.error) as frames:
                    await self._send(_REQUEST << 16 | destination << 8 | self.address, pgn.to_bytes(3, "little"))
                    found = await self._collect(frames, pgn, destination)
            finally:
                self._link.guard.close_j1939(exchange)
        if not found and destination != GLOBAL:
            raise NoAnswer(address_text(destination), self._answer_s)
        return tuple(found[source] for source in sorted(found))

    async def _collect(self, frames: FrameSubscription, pgn: int, destination: int) -> dict[int, J1939Answer]:
        loop = asyncio.get_running_loop()
        found: dict[int, J1939Answer] = {}
        long: dict[int, _Long] = {}
        end = loop.time() + self._answer_s
        waiting = frames.__aiter__()
        while not (destination != GLOBAL and found):
            deadline = (
                max([end, *(one.deadline for one in long.values())])
                if not long
                else min(one.deadline for one in long.values())
            )
            try:
                async with asyncio.timeout_at(deadline):
                    frame = await waiting.__anext__()
            except (TimeoutError, StopAsyncIteration):
                if not long:
                    break
                await self._overdue(long, found, pgn, loop.time())
                continue
            source = frame.can_id & 0xFF
            if source == self.address or (destination not in (GLOBAL, source)):
                continue
            await self._take(frame, source, pgn, long, found)
            if not long and loop.time() > end:
                break
        return found

    async def _take(
        self, frame: Frame, source: int, pgn: int, long: dict[int, _Long], found: dict[int, J1939Answer]
    ) -> None:
        """One frame of a unit that may be answering."""
        kind, to, data = frame.can_id >> 16 & 0x3FF, frame.can_id >> 8 & 0xFF, frame.data
        group = frame.can_id >> 8 & 0x3FFFF
        group = group & 0x3FF00 if group & 0xFF00 < 0xF000 else group
        now = asyncio.get_running_loop().time()
        mine = to in (self.address, GLOBAL)
        if kind == _ACK and len(data) == 8 and int.from_bytes(data[5:8], "little") == pgn:
            if data[4] in (self.address, GLOBAL):
                found.setdefault(source, J1939Answer(source, pgn, control=data[0]))
        elif kind == _CONTROL and mine and len(data) == 8 and int.from_bytes(data[5:8], "little") == pgn:
            await self._announced(data, source, to, long, now)
            if data[0] == _ABORT and source in long:
                self._give_up(source, pgn, long, found)
        elif kind == _DATA and mine and source in long and data:
            one = long[source]
            if 1 <= data[0] <= one.packets:
                one.parts[data[0]] = data[1:8]
                one.deadline = now + _T1_S
            if not one.missing():
                del long[source]
                if not one.is_to_all:
                    await self._reply(
                        source, pgn, bytes([_END]) + one.size.to_bytes(2, "little") + bytes([one.packets, 0xFF])
                    )
                found.setdefault(source, J1939Answer(source, pgn, one.data()))
        elif group == pgn and (pgn >= 0xF000 or mine):
            found.setdefault(source, J1939Answer(source, pgn, data))

    async def _announced(self, data: bytes, source: int, to: int, long: dict[int, _Long], now: float) -> None:
        size, packets = int.from_bytes(data[1:3], "little"), data[3]
        is_good = 8 < size <= _LONGEST and packets == -(-size // 7)
        if data[0] == _BAM and to == GLOBAL and is_good:
            long[source] = _Long(size, packets, is_to_all=True, deadline=now + _T1_S)
        elif data[0] == _RTS and to == self.address and is_good:
            long[source] = _Long(size, packets, is_to_all=False, deadline=now + _T2_S)
            pgn = int.from_bytes(data[5:8], "little")
            await self._reply(source, pgn, bytes([_CTS, packets, 1, 0xFF, 0xFF]))

    async def _reply(self, to: int, pgn: int, head: bytes) -> None:
        await self._send(_CONTROL << 16 | to << 8 | self.address, head + pgn.to_bytes(3, "little"))

    async def _overdue(self, long: dict[int, _Long], found: dict[int, J1939Answer], pgn: int, now: float) -> None:
        """Packets that did not come are asked for again, then given up."""
        for source, one in tuple(long.items()):
            if one.deadline > now:
                continue
            if one.is_to_all or one.tries >= _RETRIES:
                if not one.is_to_all:
                    await self._reply(source, pgn, bytes([_ABORT, _TIMED_OUT, 0xFF, 0xFF, 0xFF]))
                self._give_up(source, pgn, long, found)
                continue
            one.tries += 1
            one.deadline = now + _T2_S
            first = one.missing()[0]
            await self._reply(source, pgn, bytes([_CTS, one.packets - first + 1, first, 0xFF, 0xFF]))

    @staticmethod
    def _give_up(source: int, pgn: int, long: dict[int, _Long], found: dict[int, J1939Answer]) -> None:
        one = long.pop(source)
        data = one.data()
        found.setdefault(source, J1939Answer(source, pgn, data, missing=one.size - len(data)))

    async def clear(self, address: int, *, active: bool) -> int | None:
        """DM11 (active codes) or DM3 (previously active ones) of one unit, which a person has confirmed.

        Returns:
            The acknowledgement: 0 done, 1 not supported, 2 access denied, 3 cannot now.
        """
        pgn = 0xFED3 if active else 0xFECC
        (answer,) = await self.request(pgn, address)
        return answer.control

    async def read_unit(self, address: int, groups: Sequence[int] | None = None) -> UnitReading:
        """See :func:`read_unit`."""
        return await read_unit(self.request, address, groups)


async def read_unit(request: Ask, address: int, groups: Sequence[int] | None = None) -> UnitReading:
    """What a unit tells on request; what it does not support is left out, silence ends the reading.

    Args:
        request: asks; as :meth:`J1939Tester.request`.
        address: of the unit.
        groups: what to ask for; left out, everything that :class:`UnitReading` holds.
    """
    reading = UnitReading(address)
    for pgn in _EVERYTHING if groups is None else groups:
        try:
            (answer,) = await request(pgn, address)
        except NoAnswer:
            reading.silent += 1
            if reading.silent > 1 and not reading.answered:
                break
            continue
        reading.take(answer)
    return reading


@dataclass(slots=True)
class UnitReading:
    """What one unit told on request.

    Attributes:
        dtcs: previously active, pending and permanent codes.
        identification: names of the fields with their texts.
        vin: None where it has none.
        readiness: monitors as DM5 tells them.
        frozen: freeze frames of DM4, raw.
        answered: groups that it answered with data.
        refused: groups that it does not support or would not give, with the acknowledgement.
        missing: bytes of answers that did not come.
    """

    address: int
    dtcs: list[Dtc] = field(default_factory=list)
    identification: dict[str, str] = field(default_factory=dict)
    vin: str | None = None
    readiness: Readiness | None = None
    frozen: tuple[tuple[str, bytes], ...] = ()
    since_clear: tuple[int | None, int | None] = (None, None)
    answered: list[int] = field(default_factory=list)
    refused: dict[int, int] = field(default_factory=dict)
    missing: int = 0
    silent: int = 0

    def take(self, answer: J1939Answer) -> None:
        """One answer."""
        if answer.control is not None:
            self.refused[answer.pgn] = answer.control
            return
        self.answered.append(answer.pgn)
        self.missing += answer.missing
        pgn, data = answer.pgn, answer.payload
        if pgn in _LISTS:
            length = len(data) + answer.missing
            parsed = parse_j1939_dtcs(data, ecu=answer.ecu, declared_length=length, kind=_LISTS[pgn])
            self.dtcs = list(merge_dtcs([*self.dtcs, *parsed.dtcs]))
        elif answer.missing:
            return
        elif pgn == _VIN:
            self.vin = next(iter(_fields(data)), None)
        elif pgn == _SOFTWARE:
            texts = _fields(data[1:])
            if texts:
                self.identification["softwareIdentification"] = ", ".join(texts)
        elif pgn in _IDENTIFIED:
            self.identification |= parse_identification(pgn, data)
        elif pgn == _READINESS and len(data) == 8:
            self.readiness = parse_readiness(bytes([data[0] & 0x7F, data[3], data[4], data[6]]), is_drive_cycle=True)
        elif pgn == _FROZEN:
            self.frozen = parse_freeze_frames_dm4(data)
        elif pgn == _SINCE and len(data) == 8:
            km, minutes = (int.from_bytes(data[at : at + 2], "little") for at in (2, 6))
            self.since_clear = (km if km <= 0xFAFF else None, minutes if minutes <= 0xFAFF else None)


def _is_claim(frame: Frame) -> bool:
    return frame.extended and frame.can_id >> 16 & 0x3FF == _CLAIM


def _fields(data: bytes) -> list[str]:
    """Texts that end with an asterisk; empty ones left out."""
    texts = (text_from_bytes(part) for part in data.split(b"*"))
    return [text for text in texts if text]


def parse_identification(pgn: int, data: bytes) -> dict[str, str]:
    """Fields of component or ECU identification by their place; an empty one is left out.

    Raises:
        BadInput: another group.
    """
    names = _IDENTIFIED.get(pgn)
    if names is None:
        raise BadInput(f"{pgn:04X}", Text("no identification", "不是标识信息"))
    texts = (text_from_bytes(part) for part in data.split(b"*"))
    return {name: text for name, text in zip(names, texts, strict=False) if text}


def parse_freeze_frames_dm4(data: bytes) -> tuple[tuple[str, bytes], ...]:
    """Blocks of DM4: a length, a code of four bytes, what was frozen; a block that is cut ends it."""
    found = []
    at = 0
    while at < len(data):
        length = data[at]
        block = data[at + 1 : at + 1 + length]
        if length < 4 or len(block) < length or block[:4] in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
            break
        (dtc,) = parse_j1939_dtcs(b"\0\xff" + block[:4]).dtcs or (None,)
        if dtc is not None:
            found.append((dtc.code, bytes(block)))
        at += 1 + length
    return tuple(found)


async def read_bus(
    request: Ask, addresses: Sequence[int], units: dict[int, UnitReading], progress: Callable[[Text], None]
) -> None:
    """Each unit in turn, with what tells most; the VIN is asked of all at once.

    Args:
        request: asks; as :meth:`J1939Tester.request`.
        addresses: units that were heard.
        units: filled as they answer, so that nothing is lost when the reading ends early.
        progress: told how far it is.

    Raises:
        LinkLost: the adapter went away.
        LocalProtocolError: no tester's address is free.
        RefusedByPolicy: the guard let nothing out.
    """
    for at, address in enumerate(addresses, start=1):
        progress(
            Text(
                f"asking the units of the J1939 bus: {at} of {len(addresses)}",
                f"正在请求 J1939 各控制器：{at}/{len(addresses)}",
            )
        )
        units[address] = await read_unit(request, address, _BRIEFLY)
    for answer in await request(_VIN, GLOBAL):
        units.setdefault(answer.source, UnitReading(answer.source)).take(answer)
