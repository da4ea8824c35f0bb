"""ISO-TP of one ECU, by can-isotp: requests in, answers out, frame by frame.

Standard: ISO 15765-2:2016, normal 11-bit addressing.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import isotp

from virtualbus.uds_services import UdsServer

if TYPE_CHECKING:
    from virtualbus.ecu import Ecu
    from virtualbus.wire import Wire

__all__ = ["FUNCTIONAL_ID", "EcuTransport", "Frame"]

FUNCTIONAL_ID: Final = 0x7DF
_PADDING: Final = 0xAA
_MAX_WAITING: Final = 64
_FRAME_BYTES: Final = 8
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Frame:
    """One CAN frame.

    Args:
        extended: 29-bit identifier.
        fd: CAN FD (with bit rate switch), up to 64 bytes.
        channel: which of the car's buses, 0 = the diagnostic one.
    """

    can_id: int
    data: bytes
    extended: bool = False
    fd: bool = False
    channel: int = 0


def _no_wait(seconds: float) -> None:
    """can-isotp tries its waiting function once for every layer that is made; nothing here ever waits."""


def _tell(error: Exception) -> None:
    _LOG.debug("ISO-TP: %s", error)


class EcuTransport:
    """Both request addresses of an ECU and its one response address.

    Time is a monotonic clock in nanoseconds, given by the caller; only the time-outs inside can-isotp (one second for
    a missing flow control) run on its own clock.
    """

    def __init__(self, ecu: Ecu, wire: Wire | None = None) -> None:
        self._server = UdsServer(ecu)
        if wire is not None and (storm := wire.of("pending-storm", ecu.name)) is not None:
            self._server.storm = (int(storm.figures["count"]), round(storm.figures["gap_ms"] * 1_000_000))
        if wire is not None and (lock := wire.of("security-lock", ecu.name)) is not None:
            self._server.lock_for(round(lock.figures["seconds"] * 1_000_000_000))
        self._hears_functional = ecu.hears_functional
        self.request_id = ecu.request_id
        self.response_id = ecu.response_id
        self._arrived: deque[Any] = deque(maxlen=_MAX_WAITING)
        self._leaving: list[Frame] = []
        self._waiting: list[tuple[int, bytes]] = []
        params = {"tx_padding": _PADDING, "blocksize": 0, "stmin": 0, "max_frame_size": 4095, "wait_func": _no_wait}
        mode = isotp.AddressingMode.Normal_11bits
        physical = isotp.Address(mode, rxid=ecu.request_id, txid=ecu.response_id)
        functional = isotp.Address(mode, rxid=FUNCTIONAL_ID, txid=ecu.response_id)
        self._physical = isotp.TransportLayerLogic(self._take, self._give, physical, _tell, params)
        # Functional requests fit one frame; listening only, this layer never sends a flow control.
        self._functional = isotp.TransportLayerLogic(
            self._take, self._give, functional, _tell, {**params, "listen_mode": True}
        )

    def wants(self, frame: Frame) -> bool:
        """Whether a frame has one of this ECU's request addresses."""
        if frame.extended or frame.channel:
            return False
        return frame.can_id == self.request_id or (frame.can_id == FUNCTIONAL_ID and self._hears_functional)

    def _take(self, timeout: float) -> Any:  # noqa: ARG002 - can-isotp's signature; nothing here blocks
        return self._arrived.popleft() if self._arrived else None

    def _give(self, message: Any) -> None:
        self._leaving.append(Frame(message.arbitration_id, bytes(message.data)))

    def receive(self, frame: Frame, now_ns: int) -> None:
        """Takes a frame for one of this ECU's request addresses."""
        functional = frame.can_id == FUNCTIONAL_ID
        if functional and (not frame.data or frame.data[0] >> 4 != 0):
            return
        layer = self._functional if functional else self._physical
        self._arrived.append(isotp.CanMessage(arbitration_id=frame.can_id, dlc=len(frame.data), data=frame.data))
        layer.process()
        while layer.available():
            request = bytes(layer.recv() or b"")
            for reply in self._server.answer(request, functional=functional, now_ns=now_ns):
                self._waiting.append((now_ns + reply.delay_ns, reply.payload))

    def is_idle(self) -> bool:
        """Whether nothing is under way and no session is open."""
        busy = self._waiting or self._leaving or self._arrived or self._physical.transmitting()
        return not busy and self._server.is_default

    def poll(self, now_ns: int) -> list[Frame]:
        """Frames that are due."""
        self._server.expire(now_ns)
        if self._waiting:
            due = [item for item in self._waiting if item[0] <= now_ns]
            for item in sorted(due, key=lambda item: item[0]):
                self._waiting.remove(item)
                self._physical.send(item[1])
        if self._physical.transmitting() or self._leaving:
            self._physical.process()
        out, self._leaving = self._leaving, []
        return out

    def next_ns(self, now_ns: int) -> int | None:
        """When :meth:`poll` has something to do again, None when nothing is under way."""
        if self._leaving:
            return now_ns
        if self._physical.transmitting():
            delay_s = self._physical.next_cf_delay()
            return now_ns + (5_000_000 if delay_s is None else max(0, round(delay_s * 1e9)))
        return min((at for at, _ in self._waiting), default=None)
