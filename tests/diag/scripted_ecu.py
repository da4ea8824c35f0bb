"""ECUs for tests: answers by script, ISO-TP by can-isotp, on python-can's in-process bus, in a thread of their own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

import can
import isotp

Reply = bytes | tuple[float, bytes]
Script = Callable[[bytes], list[Reply]]


def answers_from_table(table: Mapping[str, str | list[str]]) -> Script:
    """``{"22F190": "62F190…"}`` in hex; an unlisted request gets serviceNotSupported."""

    def script(request: bytes) -> list[Reply]:
        found = table.get(request.hex().upper())
        if found is None:
            return [bytes([0x7F, request[0], 0x11])]
        return [bytes.fromhex(text) for text in ([found] if isinstance(found, str) else found)]

    return script


@dataclass
class ScriptedEcu:
    """One ECU. ``silent_functional`` makes it ignore functional requests that it would answer negatively."""

    request_id: int
    response_id: int
    script: Script
    params: dict[str, object] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)

    def build(self, send: Callable[[isotp.CanMessage], None]) -> None:
        mode = isotp.AddressingMode.Normal_29bits if self.request_id > 0x7FF else isotp.AddressingMode.Normal_11bits
        self._frames: deque[isotp.CanMessage] = deque()
        self._due: list[tuple[float, bytes]] = []
        self._stack = isotp.TransportLayerLogic(
            rxfn=lambda _timeout: self._frames.popleft() if self._frames else None,
            txfn=send,
            address=isotp.Address(mode, txid=self.response_id, rxid=self.request_id),
            params={"tx_padding": 0xAA, "rx_flowcontrol_timeout": 300, **self.params},
        )

    def feed(self, message: can.Message) -> None:
        functional = message.arbitration_id in {0x7DF, 0x18DB33F1}
        if functional and message.is_extended_id == (self.request_id > 0x7FF):
            self._respond(bytes(message.data[1 : 1 + message.data[0]]), functional=True)
        elif message.arbitration_id == self.request_id:
            self._frames.append(
                isotp.CanMessage(
                    arbitration_id=message.arbitration_id,
                    data=bytes(message.data),
                    extended_id=message.is_extended_id,
                    is_fd=message.is_fd,
                )
            )

    def work(self) -> bool:
        now = time.monotonic()
        for due in [due for due in self._due if due[0] <= now]:
            if self._stack.transmitting():
                break
            self._due.remove(due)
            self._stack.send(bytearray(due[1]))
        self._stack.process()
        if self._stack.available():
            self._respond(bytes(self._stack.recv()), functional=False)
            self._stack.process()
        return bool(self._due) or self._stack.transmitting()

    def _respond(self, request: bytes, *, functional: bool) -> None:
        self.requests.append(request)
        for reply in self.script(request):
            delay, payload = reply if isinstance(reply, tuple) else (0.0, reply)
            if functional and payload[:1] == b"\x7f" and payload[2] in {0x11, 0x12, 0x31, 0x7E, 0x7F}:
                continue
            self._due.append((time.monotonic() + delay, payload))


class Rig:
    """Several ECUs on one in-process bus; a context manager."""

    def __init__(self, channel: str, *ecus: ScriptedEcu, fd: bool = False) -> None:
        self.ecus = ecus
        protocol = can.CanProtocol.CAN_FD if fd else can.CanProtocol.CAN_20
        self.bus = can.Bus(interface="virtual", channel=channel, protocol=protocol)
        self._stop = threading.Event()
        for ecu in ecus:
            ecu.build(self._send)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _send(self, message: isotp.CanMessage) -> None:
        self.bus.send(
            can.Message(
                arbitration_id=message.arbitration_id,
                data=message.data,
                is_extended_id=message.is_extended_id,
                is_fd=message.is_fd,
            )
        )

    def _run(self) -> None:
        busy = False
        while not self._stop.is_set():
            message = self.bus.recv(timeout=0.0005 if busy else 0.02)
            if message is not None:
                for ecu in self.ecus:
                    ecu.feed(message)
            busy = sum(ecu.work() for ecu in self.ecus) > 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.bus.shutdown()
