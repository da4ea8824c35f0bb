"""Links over real python-can buses: in-process, UDP multicast, slcan on a pseudo-terminal, and drivers that fail."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import sys
import threading
import time
import tty

import can
import pytest

from diag.canbus import CanLink, Frame, open_can
from diag.errors import LinkLost, NoAdapter, RefusedByPolicy
from diag.guard import TransmitGuard
from diag.request import Target
from diag.vehiclereport import LinkInfo

CHANNELS = (f"link{n}" for n in itertools.count())
ECU = Target.physical(0x7E0)


@pytest.fixture
def channel():
    return next(CHANNELS)


@pytest.fixture
def peer(channel):
    with can.Bus(interface="virtual", channel=channel) as bus:
        yield bus


def message(can_id=0x123, data=b"\1\2", **kinds):
    return can.Message(arbitration_id=can_id, data=data, is_extended_id=can_id > 0x7FF, **kinds)


async def take(subscription, n, timeout_s=2.0):
    async with asyncio.timeout(timeout_s):
        return [await anext(subscription) for _ in range(n)]


async def test_frames_come_with_all_they_are(channel, peer):
    async with await open_can("virtual", channel, 500_000) as link:
        subscription = link.frames()
        before = time.time_ns()
        peer.send(message())
        peer.send(message(0x18DAF110, b""))
        peer.send(message(0x7FF, None, is_remote_frame=True, dlc=3))
        plain, extended, remote = await take(subscription, 3)
        assert (plain.can_id, plain.data, plain.extended, plain.channel, plain.tx) == (
            0x123,
            b"\1\2",
            False,
            channel,
            False,
        )
        assert abs(plain.t_ns - before) < 10**9
        assert extended.extended
        assert extended.data == b""
        assert remote.remote
        assert link.info == LinkInfo("virtual", channel, 500_000, simulated=True)


async def test_every_reader_has_a_queue_of_its_own(channel, peer):
    async with await open_can("virtual", channel) as link:
        greedy, picky, lazy = link.frames(), link.frames(accept=lambda f: f.can_id == 5), link.frames(capacity=10)
        for n in range(100):
            peer.send(message(n))
        assert [frame.can_id for frame in await take(greedy, 100)] == list(range(100))
        assert [frame.can_id for frame in await take(picky, 1)] == [5]
        assert [frame.can_id for frame in await lazy.batch()] == list(range(90, 100))
        assert (greedy.dropped, picky.dropped, lazy.dropped) == (0, 0, 90)


async def test_sent_frames_are_seen_by_those_who_want_them(channel, peer):
    async with await open_can("virtual", channel) as link:
        received, everything = link.frames(), link.frames(is_sent_wanted=True)
        exchange = link.guard.open(b"\x3e\x00", ECU)
        await link.send(Frame(0x7E0, b"\x02\x3e\x00"))
        link.guard.close(exchange)
        peer.send(message())
        own, other = await take(everything, 2)
        assert (own.tx, own.can_id, other.tx) == (True, 0x7E0, False)
        assert [frame.can_id for frame in await take(received, 1)] == [0x123]
        assert peer.recv(1).data == b"\x02\x3e\x00"


async def test_nothing_is_sent_that_the_guard_did_not_open(channel, peer):
    async with await open_can("virtual", channel) as link:
        for frame in (Frame(0x7E0, b"\x02\x3e\x00"), Frame(0x100, b""), Frame(0x7E0, b"", remote=True)):
            with pytest.raises(RefusedByPolicy):
                await link.send(frame)
        assert peer.recv(0) is None
        assert link.guard.refused == 3


async def test_frames_from_other_threads_wake_the_loop(channel, peer):
    async with await open_can("virtual", channel) as link:
        subscription = link.frames()
        thread = threading.Thread(target=lambda: [peer.send(message(n)) for n in range(500)])
        thread.start()
        assert [frame.can_id for frame in await take(subscription, 500)] == list(range(500))
        thread.join()
        assert threading.active_count() == 1 or not any("can" in t.name for t in threading.enumerate())


async def test_closing_ends_every_reader_and_may_be_repeated(channel, peer):
    link = await open_can("virtual", channel)
    subscription = link.frames()
    peer.send(message())
    await asyncio.sleep(0)
    await link.close()
    await link.close()
    assert [frame.can_id async for frame in subscription] == [0x123]
    assert await link.frames().batch() == ()
    link.guard.open(b"\x3e\x00", ECU)
    with pytest.raises(LinkLost):
        await link.send(Frame(0x7E0, b"\x02\x3e\x00"))


async def test_a_forgotten_subscription_costs_nothing(channel, peer):
    async with await open_can("virtual", channel) as link:
        for _ in range(10):
            link.frames()
        kept = link.frames()
        gc.collect()
        assert len(list(link._living())) == 1
        with kept:
            pass
        assert list(link._living()) == []


async def test_a_flood_does_not_block_the_sender(channel, peer):
    async with await open_can("virtual", channel) as link:
        for n in range(20_000):
            peer.send(message(n & 0x7FF))
        await asyncio.sleep(0.01)
        assert link.dropped == 20_000 - 16_384


class FailingBus(can.BusABC):
    """A driver that can only block, and that breaks when told to."""

    def __init__(self):
        super().__init__(channel="broken")
        self.pending, self.error, self.sent = [message(7)], None, []

    def _recv_internal(self, timeout):
        if self.error:
            raise self.error
        if self.pending:
            return self.pending.pop(), False
        time.sleep(0.005)
        return None, False

    def send(self, msg, timeout=None):
        if self.error:
            raise self.error
        self.sent.append(msg)


async def test_a_driver_that_only_blocks_gets_a_thread():
    bus = FailingBus()
    async with CanLink(bus, info=LinkInfo("x", "y"), guard=TransmitGuard()) as link:
        assert [frame.can_id for frame in await take(link.frames(), 1)] == [7]
        link.guard.open(b"\x3e\x00", ECU)
        await link.send(Frame(0x7E0, b"\x02\x3e\x00"))
        assert bus.sent[0].arbitration_id == 0x7E0


async def test_a_link_that_breaks_tells_every_reader():
    bus = FailingBus()
    link = CanLink(bus, info=LinkInfo("x", "y"))
    first, second = link.frames(), link.frames()
    bus.error = can.CanOperationError("gone", 5)
    with pytest.raises(LinkLost, match="unplugged"):
        await take(first, 100)
    with pytest.raises(LinkLost):
        [frame async for frame in second]
    with pytest.raises(LinkLost):
        await link.frames().batch()
    await link.close()


async def test_an_error_while_sending_is_a_lost_link():
    bus = FailingBus()
    async with CanLink(bus, info=LinkInfo("x", "y")) as link:
        link.guard.open(b"\x3e\x00", ECU)
        bus.error = can.CanOperationError("Transmit buffer full")
        with pytest.raises(LinkLost, match="acknowledges"):
            await link.send(Frame(0x7E0, b"\x02\x3e\x00"))


@pytest.mark.parametrize(
    ("interface", "name", "words", "zh"),
    [
        ("nonsense", "x", "knows no such interface", "没有这种接口"),
        ("slcan", "/dev/ttyNOTHERE", "there is no such device", "没有该设备"),
        ("slcan", "", "serial port", "驱动报告"),
        ("pcan", "PCAN_USBBUS1", "driver is not installed", "驱动未安装"),
        ("kvaser", "0", "driver is not installed", "驱动未安装"),
        ("socketcan", "nocan7", "S", ""),
        ("udp_multicast", "1.2.3.4", "no such channel", "没有这个通道"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_what_cannot_be_opened_says_why(interface, name, words, zh):
    with pytest.raises(NoAdapter) as failure:
        await open_can(interface, name)
    assert words in failure.value.reason.en
    assert zh in failure.value.reason.zh
    assert "is not defined" not in failure.value.reason.en
    assert failure.value.interface == interface
    gc.collect()


async def test_udp_multicast_stays_on_this_machine():
    group = "239.74.163.2"
    async with await open_can("udp_multicast", group, port=43999) as link:
        assert link._bus._multicast.hop_limit == 0
        assert link.info.simulated
        with can.Bus(interface="udp_multicast", channel=group, port=43999, hop_limit=0) as peer:
            subscription = link.frames()
            peer.send(message(0x321))
            (frame,) = await take(subscription, 1)
            assert frame.can_id == 0x321
            link.guard.open(b"\x3e\x00", ECU)
            await link.send(Frame(0x7E0, b"\x02\x3e\x00"))
            assert any((got := peer.recv(1)) and got.arbitration_id == 0x7E0 for _ in range(5))


async def test_the_guard_counts_only_what_left():
    bus = FailingBus()
    async with CanLink(bus, info=LinkInfo("x", "y")) as link:
        link.guard.open(b"\x3e\x00", ECU)
        bus.error = can.CanOperationError("Transmit buffer full")
        for _ in range(2):  # the driver fails; then the link is lost already
            with pytest.raises(LinkLost):
                await link.send(Frame(0x7E0, b"\x02\x3e\x00"))
    assert link.guard.sent == 0
    assert [entry.stage for entry in link.guard.log] == ["request", "frame", "failure"]
    assert bus.sent == []


class SlcanTerminal:
    """The far end of an slcan adapter: a pseudo-terminal whose lines the test writes and reads."""

    def __enter__(self):
        self.master, self.slave = os.openpty()
        tty.setraw(self.master)
        tty.setraw(self.slave)
        self.name = os.ttyname(self.slave)
        return self

    def write(self, data: bytes) -> None:
        os.write(self.master, data)

    def read(self) -> bytes:
        os.set_blocking(self.master, False)
        with contextlib.suppress(BlockingIOError):
            return os.read(self.master, 4096)
        return b""

    async def heard(self, wanted: bytes, timeout_s: float = 30.0) -> bytes:
        """What was written, once the wanted bytes are in it."""
        seen = b""
        async with asyncio.timeout(timeout_s):
            while wanted not in (seen := seen + self.read()):  # noqa: ASYNC110 - a terminal sets no event
                await asyncio.sleep(0.005)
        return seen

    def unplug(self) -> None:
        os.close(self.slave)
        os.close(self.master)
        self.master = -1

    def __exit__(self, *_):
        if self.master >= 0:
            self.unplug()


async def test_slcan_on_a_pseudo_terminal():
    with SlcanTerminal() as terminal:
        async with await open_can("slcan", terminal.name, 500_000) as link:
            assert link.info.simulated
            await terminal.heard(b"S6\r")
            subscription = link.frames()
            terminal.write(b"t7E83AB")
            await asyncio.sleep(0.02)
            terminal.write(b"CDEF\rT18DAF1101FF\r")
            first, second = await take(subscription, 2, timeout_s=30)
            assert (first.can_id, first.data) == (0x7E8, b"\xab\xcd\xef")
            assert (second.can_id, second.data, second.extended) == (0x18DAF110, b"\xff", True)
            link.guard.open(b"\x3e\x00", ECU)
            await link.send(Frame(0x7E0, b"\x02\x3e\x00"))
            await terminal.heard(b"t7E03023E00\r")


async def test_an_unreadable_line_is_counted_and_survived():
    with SlcanTerminal() as terminal:
        async with await open_can("slcan", terminal.name) as link:
            subscription = link.frames()
            terminal.write(b"tXYZ\rt1231AA\r")
            (frame,) = await take(subscription, 1)
            assert frame.can_id == 0x123
            assert link.malformed == 1


async def test_an_unplugged_serial_adapter_is_a_lost_link():
    with SlcanTerminal() as terminal:
        link = await open_can("slcan", terminal.name)
        subscription = link.frames()
        terminal.unplug()
        with pytest.raises(LinkLost) as failure:
            await take(subscription, 1)
        assert failure.value.channel == terminal.name
        await link.close()


async def test_a_serial_adapter_serves_one_program_at_a_time():
    other = "import serial, sys; serial.Serial(sys.argv[1], exclusive=True)"
    with SlcanTerminal() as terminal:
        async with await open_can("slcan", terminal.name, 500_000):
            await terminal.heard(b"O\r")
            with pytest.raises(NoAdapter) as failure:
                await open_can("slcan", terminal.name)
            assert failure.value.reason.en == "another program uses it"
            program = await asyncio.create_subprocess_exec(sys.executable, "-c", other, terminal.name, stderr=-3)
            assert await program.wait() == 1  # pyserial's own lock agrees
            assert terminal.read() == b""  # the first program's channel was not touched
        async with await open_can("slcan", terminal.name):
            await terminal.heard(b"O\r")
