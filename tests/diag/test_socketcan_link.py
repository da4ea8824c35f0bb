"""The link over SocketCAN, with the Linux kernel's own ISO-TP as the ECU. Needs vcan0: run it under tools/vcan-vm."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from diag.addressing import Target
from diag.answers import ask
from diag.canbus import open_can
from diag.errors import NoAdapter
from diag.request import IsoTpLink, Timing

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not Path("/sys/class/net/vcan0").exists(), reason="no vcan0 on this machine"
)
SLOW_MACHINE = Timing(answer_s=20.0, window_s=5.0)
VIN = b"LHZEV400XP0000001"
SOL_CAN_ISOTP, RECV_FC = 106, 2


class KernelEcu:
    """Answers 22 F190 with a VIN and 22 xxxx with 300 bytes; segmentation and flow control are the kernel's."""

    def __init__(self, request_id: int, response_id: int, *, block_size: int = 0, stmin: int = 0) -> None:
        flag = socket.CAN_EFF_FLAG if request_id > 0x7FF else 0
        self.socket = socket.socket(socket.AF_CAN, socket.SOCK_DGRAM, socket.CAN_ISOTP)
        self.socket.setsockopt(SOL_CAN_ISOTP, RECV_FC, bytes([block_size, stmin, 0]))
        self.socket.bind(("vcan0", request_id | flag, response_id | flag))
        self.socket.settimeout(0.2)
        self.requests: list[bytes] = []
        self._is_on = True
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while self._is_on:
            with contextlib.suppress(TimeoutError):
                request = self.socket.recv(4095)
                self.requests.append(request)
                body = VIN if request[1:3] == b"\xf1\x90" else bytes(at & 0xFF for at in range(300))
                self.socket.send(bytes([request[0] | 0x40]) + request[1:3] + body)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_on = False
        self._thread.join()
        self.socket.close()


@pytest.mark.parametrize("request_id", [0x7E4, 0x18DA10F1])
async def test_the_kernel_understands_us_and_we_the_kernel(request_id):
    target = Target.physical(request_id)
    dids = bytes.fromhex("F190F18CF195F188F189")
    with KernelEcu(request_id, target.response_id, block_size=1, stmin=1) as ecu:
        async with await open_can("socketcan", "vcan0") as link, IsoTpLink(link, timing=SLOW_MACHINE) as requests:
            assert link.info.simulated
            assert (await ask(requests, target, bytes.fromhex("22F190"))).whole().payload == b"\x62\xf1\x90" + VIN
            assert len((await ask(requests, target, bytes.fromhex("22F18C"))).whole().payload) == 303
            await ask(requests, target, b"\x22" + dids)
    assert ecu.requests[-1] == b"\x22" + dids


async def test_two_ecus_at_once():
    with KernelEcu(0x7E0, 0x7E8), KernelEcu(0x7E4, 0x7EC):
        async with await open_can("socketcan", "vcan0") as link, IsoTpLink(link, timing=SLOW_MACHINE) as requests:
            targets = [Target.physical(0x7E0), Target.physical(0x7E4)]
            answers = await asyncio.gather(*(ask(requests, target, bytes.fromhex("22F18C")) for target in targets))
            assert [len(answer.whole().payload) for answer in answers] == [303, 303]


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # python-can forgets its socket when bind fails
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_interface_that_is_not_there():
    try:
        await open_can("socketcan", f"nocan{os.getpid() % 1000}")
    except NoAdapter as failure:
        reason = failure.reason
    assert "ip link set" in reason.zh
    gc.collect()
