"""A real car in, a simulated car out: ECUs that answer what was asked on a recording, in the recording's own time.

An OBDb case file or the frames of a visit become an ECU farm. A request that was asked there is answered as it was
answered there last before the present moment of the recording (which begins anew at its end); one that was not asked
stays unanswered, because nobody knows the answer. Broadcast frames are sent at their times.
"""

from __future__ import annotations

import json
import logging
import re
from bisect import bisect_right
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import isotp

from virtualbus.errors import FarmBroken, Phrase
from virtualbus.transport import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["Exchange", "Farm", "NamedEcu", "exchanges_from_cases", "exchanges_from_frames"]

_LOG: Final = logging.getLogger(__name__)
_TICK_NS: Final = 10_000_000
_CASE_NS: Final = 1_000_000_000
_ANSWER_NS: Final = 2_000_000_000
_MAX_WAITING: Final = 256
_FUNCTIONAL_11: Final = 0x7DF
_FUNCTIONAL_29: Final = 0x18DB33F1
_COMMAND: Final = re.compile(r"([0-9A-F]{3}|[0-9A-F]{6}|[0-9A-F]{8})\.(?:([0-9A-F]+)\.)?([0-9A-F]{2,})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request with what came back.

    Args:
        at_ns: time of the request since the beginning.
        request_id, extended: where it was sent.
        answers: (response identifier, payload) in order; several of one ECU after "response pending".
    """

    at_ns: int
    request_id: int
    extended: bool
    request: bytes
    answers: tuple[tuple[int, bytes], ...]


class _Assembler:
    """ISO-TP payloads of a conversation that others hold: nothing is sent. Standard: ISO 15765-2:2016."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, bool], tuple[int, bytearray, int]] = {}

    def feed(self, can_id: int, data: bytes, *, extended: bool) -> bytes | None:
        """A whole payload when this frame completes one."""
        key = (can_id, extended)
        kind = data[0] >> 4 if data else -1
        if kind == 0:
            length = data[0] & 0x0F
            self._open.pop(key, None)
            return data[1 : 1 + length] if 0 < length < len(data) else None
        if kind == 1 and len(data) > 2:
            self._open[key] = ((data[0] & 0x0F) << 8 | data[1], bytearray(data[2:]), 1)
            return None
        if kind == 2 and key in self._open:
            length, collected, number = self._open.pop(key)
            if data[0] & 0x0F != number & 0x0F:
                return None
            collected += data[1:]
            if len(collected) >= length:
                return bytes(collected[:length])
            self._open[key] = (length, collected, number + 1)
        return None


def _answer_ids(request_id: int, *, extended: bool) -> tuple[int, int]:
    """Identifier and mask of the answers to a request. Standard: ISO 15765-4:2021 §10.3 (clause unverified)."""
    if extended:
        if request_id == _FUNCTIONAL_29:
            return 0x18DAF100, 0x1FFFFF00
        return 0x18DA0000 | (request_id & 0xFF) << 8 | (request_id >> 8 & 0xFF), 0x1FFFFFFF
    if request_id == _FUNCTIONAL_11:
        return 0x7E8, 0x7F8
    return request_id + 8, 0x7FF


def _is_request(can_id: int, *, extended: bool) -> bool:
    if extended:
        return can_id & 0x1FFF00FF == 0x18DA00F1 or can_id == _FUNCTIONAL_29
    return can_id == _FUNCTIONAL_11 or 0x600 <= can_id <= 0x7F7


def exchanges_from_frames(
    frames: Iterable[tuple[int, int, bool, bytes]],
) -> tuple[list[Exchange], list[tuple[int, Frame]]]:
    """Requests with their answers, and the broadcast frames, of a recording.

    Args:
        frames: (time in ns, identifier, 29 bits, data), in order.

    Answers of services 01 and 22 whose request is not on the recording imply it.

    Returns:
        exchanges, and (time, frame) of what belongs to none; times begin at 0.
    """
    assembler = _Assembler()
    rows = list(frames)
    start = rows[0][0] if rows else 0
    asked: list[tuple[int, int, bool, bytes, list[tuple[int, bytes]]]] = []
    talking: set[tuple[int, bool]] = set()
    for at_ns, can_id, extended, data in rows:
        payload = assembler.feed(can_id, data, extended=extended)
        if payload is None:
            continue
        if _is_request(can_id, extended=extended) and not payload[0] & 0x40:
            asked.append((at_ns - start, can_id, extended, payload, []))
            continue
        for asked_ns, request_id, is_long, request, answers in reversed(asked[-32:]):
            if at_ns - start - asked_ns > _ANSWER_NS or is_long != extended:
                continue
            code, mask = _answer_ids(request_id, extended=extended)
            negative = payload[0] == 0x7F and payload[1:2] == request[:1]
            if can_id & mask == code & mask and (payload[0] == request[0] | 0x40 or negative):
                answers.append((can_id, payload))
                talking |= {(can_id, extended), (request_id, extended)}
                break
        else:
            request = _implied_request(can_id, payload, extended=extended)
            if request:
                to, _ = _physical(can_id, extended=extended)
                asked.append((at_ns - start, to, extended, request, [(can_id, payload)]))
                talking.add((can_id, extended))
    exchanges = [
        Exchange(at_ns, request_id, extended, request, tuple(answers))
        for at_ns, request_id, extended, request, answers in asked
        if answers
    ]
    physical = {_physical(can_id, extended=extended) for can_id, extended in talking}
    broadcast = [
        (at_ns - start, Frame(can_id, data, extended, len(data) > 8))
        for at_ns, can_id, extended, data in rows
        if (can_id, extended) not in talking and (can_id, extended) not in physical
    ]
    return exchanges, broadcast


def _implied_request(can_id: int, payload: bytes, *, extended: bool) -> bytes:
    """What must have been asked where a logger recorded the answers only; empty where that cannot be told."""
    is_answer = can_id & 0x1FFFFF00 == 0x18DAF100 if extended else 0x708 <= can_id <= 0x7FF
    if is_answer and payload[0] == 0x62 and len(payload) > 3:
        return b"\x22" + payload[1:3]
    if is_answer and payload[0] == 0x41 and len(payload) > 2:
        return b"\x01" + payload[1:2]
    return b""


def _physical(can_id: int, *, extended: bool) -> tuple[int, bool]:
    """Where flow control goes for an answer."""
    if extended:
        return 0x18DA0000 | (can_id & 0xFF) << 8 | (can_id >> 8 & 0xFF), True
    return can_id - 8, False


def exchanges_from_cases(path: Path) -> list[Exchange]:
    """The exchanges of an OBDb case file (JSON lines with ``command`` and ``response``), one second apart per command.

    Raises:
        FarmBroken: the file cannot be read, or holds no exchange; the error names the first bad line.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise FarmBroken(str(path), Phrase(reason, reason)) from exc
    out: list[Exchange] = []
    seen: dict[tuple[int, bytes], int] = defaultdict(int)
    bad: int | None = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        exchange = _exchange_from_case(line, seen)
        if exchange is None:
            bad = bad or number
        else:
            out.append(exchange)
    if not out:
        raise FarmBroken(
            str(path), Phrase(f"no exchange in it; line {bad or 1} is none", f"其中没有问答；第 {bad or 1} 行无法识别")
        )
    return out


def _exchange_from_case(line: str, seen: dict[tuple[int, bytes], int]) -> Exchange | None:
    try:
        row = json.loads(line)
        command = _COMMAND.fullmatch(str(row["command"]))
        lines = re.split(r"[\r\n]+", str(row["response"]).strip())
    except (ValueError, KeyError, TypeError):
        return None
    if command is None or len(command[3]) % 2:
        return None
    head = command[1]
    extended = len(head) > 3
    request_id = int(head, 16) | (0x18000000 if len(head) == 6 else 0)
    request = bytes.fromhex(command[3])
    digits = 8 if extended else 3
    assembler = _Assembler()
    answers = []
    for text in (line.replace(" ", "") for line in lines):
        if not re.fullmatch(rf"[0-9A-Fa-f]{{{digits}}}(?:[0-9A-Fa-f]{{2}})+", text):
            return None
        can_id = int(text[:digits], 16)
        payload = assembler.feed(can_id, bytes.fromhex(text[digits:]).ljust(8, b"\xaa"), extended=extended)
        if payload is not None:
            answers.append((can_id, payload))
    if not answers:
        return None
    key = (request_id, request)
    at_ns = seen[key] * _CASE_NS
    seen[key] += 1
    return Exchange(at_ns, request_id, extended, request, tuple(answers))


@dataclass(slots=True)
class _Line:
    """The answers to one request over time."""

    times: list[int] = field(default_factory=list)
    payloads: list[tuple[bytes, ...]] = field(default_factory=list)


class _Node:
    """One ECU of the farm: its response identifier, and ISO-TP behind it."""

    def __init__(self, response_id: int, request_id: int | None, *, extended: bool) -> None:
        self.response_id = response_id
        self.extended = extended
        self.request_id = _physical(response_id, extended=extended)[0] if request_id is None else request_id
        self.lines: dict[bytes, _Line] = defaultdict(_Line)
        self._arrived: deque[Any] = deque(maxlen=_MAX_WAITING)
        self._leaving: list[Frame] = []
        mode = isotp.AddressingMode.Normal_29bits if extended else isotp.AddressingMode.Normal_11bits
        own = isotp.Address(mode, rxid=self.request_id, txid=response_id)
        params = {"tx_padding": 0xAA, "blocksize": 0, "stmin": 0, "max_frame_size": 4095, "wait_func": _no_wait}
        self._layer = isotp.TransportLayerLogic(self._take, self._give, own, _tell, params)

    def _take(self, timeout: float) -> Any:  # noqa: ARG002 - can-isotp's signature; nothing here blocks
        return self._arrived.popleft() if self._arrived else None

    def _give(self, message: Any) -> None:
        self._leaving.append(Frame(message.arbitration_id, bytes(message.data), self.extended))

    def receive(self, frame: Frame, *, functional: bool, place_ns: int) -> None:
        """A frame for this ECU; ``place_ns`` is the present time of the recording."""
        if functional:
            if frame.data and frame.data[0] >> 4 == 0:
                self._answer(frame.data[1 : 1 + (frame.data[0] & 0x0F)], place_ns)
            return
        self._arrived.append(
            isotp.CanMessage(
                arbitration_id=frame.can_id, dlc=len(frame.data), data=frame.data, extended_id=self.extended
            )
        )
        self._layer.process()
        while self._layer.available():
            self._answer(bytes(self._layer.recv() or b""), place_ns)

    def _answer(self, request: bytes, place_ns: int) -> None:
        line = self.lines.get(request)
        if line is None:
            return
        at = max(0, bisect_right(line.times, place_ns) - 1)
        for payload in line.payloads[at]:
            self._layer.send(payload)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not (self._arrived or self._leaving or self._layer.transmitting())

    def poll(self) -> list[Frame]:
        """Frames that leave now."""
        self._layer.process()
        out, self._leaving = self._leaving, []
        return out


def _no_wait(seconds: float) -> None:
    """can-isotp tries its waiting function once; nothing here ever waits."""


def _tell(error: Exception) -> None:
    _LOG.debug("ISO-TP: %s", error)


@dataclass(frozen=True, slots=True)
class NamedEcu:
    """What the fronts want to know of an ECU."""

    name: str
    request_id: int
    response_id: int
    hears_functional: bool


class _Still:
    """The little of a plant that the fronts read: a supply that does not move."""

    class low:  # noqa: N801 - it stands for the plant's part of that name
        """12 V."""

        volts = 12.6


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    bitrate: int
    speaks: str
    databases: tuple[str, ...] = ("",)


class Farm:
    """ECUs that answer as a recording did; takes the place of a :class:`~virtualbus.car.Car` at the fronts.

    Args:
        name: of the recording.
        exchanges: requests with their answers.
        broadcast: (time, frame) of the rest.
        bitrate: of the bus, bit/s.

    Raises:
        FarmBroken: there is neither an exchange nor a broadcast frame.
    """

    def __init__(
        self,
        name: str,
        exchanges: Iterable[Exchange],
        broadcast: Iterable[tuple[int, Frame]] = (),
        *,
        bitrate: int = 500_000,
    ) -> None:
        self._nodes: dict[tuple[int, bool], _Node] = {}
        last_ns = 0
        vins = []
        exchanges = sorted(exchanges, key=lambda one: one.at_ns)
        asked_at = {
            (can_id, exchange.extended): exchange.request_id
            for exchange in exchanges
            if exchange.request_id not in (_FUNCTIONAL_11, _FUNCTIONAL_29)
            for can_id, _ in exchange.answers
        }
        for exchange in exchanges:
            last_ns = max(last_ns, exchange.at_ns)
            by_ecu: dict[int, list[bytes]] = defaultdict(list)
            for can_id, payload in exchange.answers:
                by_ecu[can_id].append(payload)
                vins += re.findall(rb"[A-HJ-NPR-Z0-9]{17}", payload)
            for can_id, payloads in by_ecu.items():
                key = (can_id, exchange.extended)
                node = self._nodes.setdefault(key, _Node(can_id, asked_at.get(key), extended=exchange.extended))
                line = node.lines[exchange.request]
                line.times.append(exchange.at_ns)
                line.payloads.append(tuple(payloads))
        self._broadcast = list(broadcast)
        if not self._nodes and not self._broadcast:
            raise FarmBroken(name, Phrase("no request with an answer and no other frame", "没有问答，也没有其他报文"))
        self._length_ns = max(last_ns, self._broadcast[-1][0] if self._broadcast else 0) + _CASE_NS
        self._busy: set[tuple[int, bool]] = set()
        self._ticks = 0
        self._next = 0
        self.vin = vins[0].decode() if vins else "0" * 17
        self.vehicle = _Kind(name, bitrate, "obd")
        self.plant = _Still()
        self.bus_count = 1
        self.ecus: Mapping[str, NamedEcu] = {
            f"{node.response_id:03X}": NamedEcu(
                f"{node.response_id:03X}", node.request_id, node.response_id, 0x7E8 <= node.response_id <= 0x7EF
            )
            for node in self._nodes.values()
            if not node.extended
        }

    @property
    def place_ns(self) -> int:
        """The present time of the recording."""
        return self._ticks * _TICK_NS % self._length_ns

    @property
    def answer_ids(self) -> frozenset[int]:
        """Identifiers of the ECUs' answers."""
        return frozenset(node.response_id for node in self._nodes.values())

    def tick(self) -> list[Frame]:
        """Lets 10 ms pass; broadcast frames whose time has come."""
        before = self.place_ns
        self._ticks += 1
        if self.place_ns < before:
            self._next = 0
        out = []
        while self._next < len(self._broadcast) and self._broadcast[self._next][0] <= self.place_ns:
            out.append(self._broadcast[self._next][1])
            self._next += 1
        return out

    def receive(self, frame: Frame, now_ns: int) -> None:  # noqa: ARG002 - the recording's own time counts
        """Takes a frame from the bus."""
        functional = frame.can_id == (_FUNCTIONAL_29 if frame.extended else _FUNCTIONAL_11)
        for key, node in self._nodes.items():
            if node.extended == frame.extended and (functional or frame.can_id == node.request_id):
                node.receive(frame, functional=functional, place_ns=self.place_ns)
                self._busy.add(key)

    def answers(self, now_ns: int) -> list[Frame]:  # noqa: ARG002 - answers leave at once
        """Diagnostic frames that are due."""
        out = []
        for key in list(self._busy):
            out += self._nodes[key].poll()
            if self._nodes[key].is_idle:
                self._busy.discard(key)
        return out

    def next_answer_ns(self, now_ns: int) -> int | None:
        """When :meth:`answers` has something to do again."""
        return now_ns + 2_000_000 if self._busy else None
