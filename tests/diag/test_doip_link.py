"""Requests over DoIP: the simulated car's gateway, and gateways that misbehave, scripted byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from diag.addressing import Target
from diag.carscan import scan
from diag.direct import DirectLink
from diag.doip import DoipLink, open_doip, parse_doip_address
from diag.errors import LinkLost, LocalProtocolError, NoAdapter, NoAnswer, RefusedByPolicy, RemoteProtocolError
from huizhen.simlink import CarLink
from virtualbus.car import Car
from virtualbus.fronts import open_front, parse_front
from virtualbus.runner import CarRunner
from virtualbus.scenario import find_scenario

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator

    from diag.vehiclereport import Ecu

BMS = Target.at_logical(0x1003)
EVERYBODY = Target.at_logical(0xE400)


@pytest.fixture(scope="module")
def gateway() -> Iterator[int]:
    front = open_front(parse_front("doip:0"))
    runner = CarRunner(Car(find_scenario("isolation")), [front])
    runner.start()
    try:
        yield int(str(front.description["port"]))
    finally:
        runner.stop()


def message(kind: int, payload: bytes, *, version: int = 2) -> bytes:
    return bytes([version, version ^ 0xFF]) + kind.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload


def diagnostic(source: int, payload: str, target: int = 0x0E00) -> bytes:
    return message(0x8001, source.to_bytes(2, "big") + target.to_bytes(2, "big") + bytes.fromhex(payload))


def activation(code: int, tester: int = 0x0E00) -> bytes:
    return message(6, tester.to_bytes(2, "big") + bytes.fromhex("1000") + bytes([code]) + bytes(4))


class Gateway:
    """A gateway that says what a test writes down.

    Args:
        replies: a request's payload in hex -> what is sent back, in pieces with pauses of 10 ms.
    """

    def __init__(self, replies: dict[str, list[bytes]], activations: list[bytes]) -> None:
        self.replies, self.activations = replies, list(activations)
        self.got: list[tuple[int, bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, EOFError):
            while True:
                header = await reader.readexactly(8)
                payload = await reader.readexactly(int.from_bytes(header[4:], "big"))
                kind = int.from_bytes(header[2:4], "big")
                self.got.append((kind, payload))
                if kind == 5:
                    writer.write(self.activations.pop(0))
                elif kind == 0x8001:
                    for piece in self.replies.get(payload[4:].hex(), []):
                        if piece == b"close":
                            return
                        writer.write(piece)
                        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def talking(
    replies: dict[str, list[bytes]], *activations: bytes
) -> AsyncIterator[tuple[Gateway, Callable[[], Awaitable[DoipLink]]]]:
    gateway = Gateway(replies, list(activations) or [activation(0x10)])
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield gateway, lambda: open_doip("127.0.0.1", port)
    finally:
        server.close()


async def test_the_same_report_as_over_can_but_for_the_link(gateway: int) -> None:
    async with await open_doip("127.0.0.1", gateway) as link:
        report = await scan(link)
    async with CarLink(Car(find_scenario("isolation"))) as bus:
        other = await scan(bus, simulated=True)
    assert report.simulated, "the ECUs say so themselves"
    assert report.vehicle == other.vehicle
    assert report.complete

    def told(ecus: Iterable[Ecu]) -> list[tuple[object, ...]]:
        return sorted((ecu.name, ecu.role, ecu.protocol, ecu.identification) for ecu in ecus)

    assert [item[:1] + item[2:] for item in told(report.ecus)] == [item[:1] + item[2:] for item in told(other.ecus)]
    assert [(dtc.display, dtc.status) for dtc in report.dtcs] == [(dtc.display, dtc.status) for dtc in other.dtcs]
    assert [ecu.address for ecu in report.ecus] == [f"0x{address:04X}" for address in range(0x1001, 0x100D)]
    assert [frame.raw for frame in report.freeze_frames] == [frame.raw for frame in other.freeze_frames]


async def test_several_ecus_answer_one_request(gateway: int) -> None:
    async with await open_doip("127.0.0.1", gateway) as link:
        answers = await link.request(EVERYBODY, b"\x01\x00")
        assert len(answers) == 6
        assert len({answer.ecu for answer in answers}) == 6
        both = await asyncio.gather(*(link.request(answer.source, b"\x22\xf1\x90") for answer in answers))
        assert {told[0].ecu for told in both} == {answer.ecu for answer in answers}
        assert {told[0].payload[3:] for told in both if told[0].negative is None} == {b"LHZEV4D07RA775411"}


async def test_several_testers_at_once(gateway: int) -> None:
    async with await open_doip("127.0.0.1", gateway) as one, await open_doip("127.0.0.1", gateway) as two:
        assert one.tester != two.tester
        for link in (one, two):
            (answer,) = await link.request(BMS, b"\x3e\x00")
            assert answer.payload == b"\x7e\x00"


async def test_an_unknown_address_is_silence_at_once(gateway: int) -> None:
    async with await open_doip("127.0.0.1", gateway) as link:
        started = asyncio.get_running_loop().time()
        with pytest.raises(NoAnswer):
            await link.request(Target.at_logical(0x1FFF), b"\x3e\x00", timeout_s=30)
        assert asyncio.get_running_loop().time() - started < 15


async def test_the_guard_lets_nothing_out_that_it_does_not_know() -> None:
    async with talking({}) as (gateway, connect), await connect() as link:
        for payload in (b"\x11\x01", b"\x2e\xf1\x90\x00", b"\x10\x02", b"\x14\xff\xff\xff", b"\xba", b""):
            with pytest.raises(RefusedByPolicy):
                await link.request(BMS, payload)
        with pytest.raises(RefusedByPolicy):
            await link.request(Target(0x0E00, 0x0E00, logical=True), b"\x3e\x00")
        with pytest.raises(LocalProtocolError):
            await link.request(Target.physical(0x7E4), b"\x3e\x00")
        assert [kind for kind, _ in gateway.got] == [5]


async def test_pending_then_the_answer() -> None:
    wait = diagnostic(0x1003, "7f1978")
    replies = {"1902af": [*[wait] * 60, diagnostic(0x1003, "5902ff0aa61a2f")]}
    async with talking(replies) as (_, connect), await connect() as link:
        (answer,) = await link.request(BMS, b"\x19\x02\xaf", timeout_s=0.2)
        assert answer.payload.hex() == "5902ff0aa61a2f"


async def test_pending_for_ever_is_an_answer_that_says_so() -> None:
    async with talking({"1902af": [diagnostic(0x1003, "7f1978")]}) as (_, connect), await connect() as link:
        link.timing = type(link.timing)(pending_s=0.1, pending_total_s=0.2)
        (answer,) = await link.request(BMS, b"\x19\x02\xaf")
        assert answer.nrc == 0x78


async def test_busy_is_asked_again_and_an_answer_in_pieces_is_put_together() -> None:
    whole = diagnostic(0x1003, "62f190" + b"LHZEV4D07RA775411".hex())
    replies = {"22f190": [diagnostic(0x1003, "7f2221")]}
    async with talking(replies) as (gateway, connect), await connect() as link:
        link.timing = type(link.timing)(busy_pause_s=0.05)
        asked = asyncio.create_task(link.request(BMS, b"\x22\xf1\x90"))
        await asyncio.sleep(0.03)
        replies["22f190"] = [bytes([byte]) for byte in whole[:12]] + [whole[12:]]
        (answer,) = await asked
        assert answer.payload[3:] == b"LHZEV4D07RA775411"
        assert [kind for kind, _ in gateway.got].count(0x8001) == 2


async def test_a_late_refusal_is_not_taken_for_the_next_answer() -> None:
    replies: dict[str, list[bytes]] = {
        "22f190": [],
        "22f18c": [diagnostic(0x1003, "7f2231"), diagnostic(0x1003, "62f18c41")],
    }
    async with talking(replies) as (_, connect), await connect() as link:
        with pytest.raises(NoAnswer):
            await link.request(BMS, b"\x22\xf1\x90", timeout_s=0.05)
        (answer,) = await link.request(BMS, b"\x22\xf1\x8c")
        assert answer.payload.hex() == "62f18c41"


async def test_answers_of_others_and_to_others_are_not_taken() -> None:
    strangers = [
        diagnostic(0x1004, "7e00"),
        diagnostic(0x1003, "7e00", target=0x0E80),
        diagnostic(0x1003, "6200"),
        diagnostic(0x0E00, "7e00"),
        diagnostic(0x1003, ""),
    ]
    async with talking({"3e00": strangers}) as (_, connect), await connect() as link:
        with pytest.raises(NoAnswer):
            await link.request(BMS, b"\x3e\x00", timeout_s=0.3)


async def test_a_refusal_of_the_gateway_is_said() -> None:
    refused = message(0x8003, bytes.fromhex("10030e0008"))
    async with talking({"3e00": [refused]}) as (_, connect), await connect() as link:
        with pytest.raises(RemoteProtocolError, match="transport error"):
            await link.request(BMS, b"\x3e\x00")


async def test_the_gateway_s_alive_check_is_answered() -> None:
    async with talking({"3e00": [message(7, b""), diagnostic(0x1003, "7e00")]}) as (gateway, connect):
        async with await connect() as link:
            await link.request(BMS, b"\x3e\x00")
            await link.request(BMS, b"\x3e\x00")
        assert (8, bytes.fromhex("0e00")) in gateway.got


@pytest.mark.parametrize(
    "end",
    [[b"close"], [b"\x02\xfd\x80\x01\xff\xff\xff\xff\x00"], [message(0x8001, b"\x10")]],
    ids=["cut", "huge", "short"],
)
async def test_a_lost_or_damaged_connection_is_a_lost_link(end: list[bytes]) -> None:
    async with talking({"3e00": end}) as (_, connect), await connect() as link:
        with pytest.raises(LinkLost):
            await link.request(BMS, b"\x3e\x00", timeout_s=5)
        with pytest.raises(LinkLost):
            await link.request(BMS, b"\x3e\x00", timeout_s=5)


@pytest.mark.parametrize(
    ("code", "words"), [(0x07, "TLS"), (0x04, "authentication"), (0x01, "in use by other testers"), (0x77, "0x77")]
)
async def test_a_refused_activation_says_why(code: int, words: str) -> None:
    async with talking({}, activation(code)) as (_, connect):
        with pytest.raises(NoAdapter, match=words):
            await connect()


async def test_another_tester_s_address_is_left_alone() -> None:
    replies = {"3e00": [diagnostic(0x1003, "7e00", target=0x0E01)]}
    async with talking(replies, activation(3), activation(0x10, 0x0E01)) as (_, connect), await connect() as link:
        assert link.tester == 0x0E01
        await link.request(BMS, b"\x3e\x00")


async def test_nobody_there() -> None:
    with pytest.raises(NoAdapter):
        await open_doip("127.0.0.1", 1)


def test_addresses_as_people_write_them() -> None:
    assert parse_doip_address("192.0.2.1") == ("192.0.2.1", 13400)
    assert parse_doip_address("car.local:13401") == ("car.local", 13401)
    assert parse_doip_address("[fe80::1]:5") == ("fe80::1", 5)
    assert parse_doip_address("fe80::1") == ("fe80::1", 13400)
    for wrong in ("", ":13400", "a:b", "a:0", "a:99999", "[fe80::1", "[fe80::1]5"):
        with pytest.raises(ValueError):
            parse_doip_address(wrong)


def test_logical_addresses() -> None:
    assert issubclass(DoipLink, DirectLink)
    assert BMS.address == "0x1003"
    assert EVERYBODY.is_functional
    assert EVERYBODY.is_consistent
    for wrong in (0, 0x0E00, 0x10000):
        with pytest.raises(ValueError, match="0x"):
            Target.at_logical(wrong)
