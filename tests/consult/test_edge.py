"""The live edge against an independent end of its own library, and against offers that are none."""

import asyncio
import gc

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from consult.edge import GATE_BYTES, LiveEdge, loopback_addresses, strip_offer
from consult.errors import MessageBroken


@pytest.fixture
async def caller():
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    yield peer
    await peer.close()


@pytest.fixture
async def edge():
    made = LiveEdge(["127.0.0.1"])
    yield made
    await made.close()


async def offer_of(peer):
    channel = peer.createDataChannel("live", ordered=False, maxPacketLifeTime=200)
    await peer.setLocalDescription(await peer.createOffer())
    return channel, peer.localDescription.sdp


async def test_blocks_go_through_and_the_gate_skips_what_would_queue(caller, edge, eventually):
    channel, sdp = await offer_of(caller)
    got = []
    channel.on("message", got.append)
    assert not edge.offer_block(b"early")
    answer = await edge.answer(sdp)
    assert "127.0.0.1" in answer
    assert "srflx" not in answer, "no STUN server was asked"
    await caller.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    assert await edge.wait_open()
    assert edge.is_open
    assert edge.offer_block(b"x" * 100)
    await eventually(lambda: got)
    assert got == [b"x" * 100]
    sent = sum(edge.offer_block(b"y" * 1000) for _ in range(100))
    assert 0 < sent <= GATE_BYTES // 1000 + 1, "the rest was skipped at once, not queued"
    assert edge.skipped == 1 + 100 - sent
    await caller.close()
    async with asyncio.timeout(120):
        await edge.wait_closed()
    assert not edge.offer_block(b"late")


def test_candidates_that_only_the_viewer_s_machine_knows_are_dropped():
    hidden, seen = "a=candidate:1 1 udp 2 abc.local 5 typ host", "a=candidate:2 1 udp 2 10.0.0.1 5 typ host"
    offer = f"v=0\r\n{hidden}\r\n{seen}\r\na=end-of-candidates\r\n"
    assert strip_offer(offer) == f"v=0\r\n{seen}\r\n"


def test_loopback_is_offered_where_a_browser_on_this_machine_can_reach_it():
    assert loopback_addresses("127.0.0.1") == loopback_addresses("localhost") == ("127.0.0.1",)
    assert loopback_addresses("0.0.0.0") == ("127.0.0.1",)
    assert loopback_addresses("192.0.2.7") == ()


async def test_offers_that_are_none_are_refused_with_a_declared_error(caller):
    _, good = await offer_of(caller)
    lines = good.splitlines()
    broken = ["", "v=0", "m=application", "x" * 1000, good.replace("m=application", "m=audio"), good[: len(good) // 2]]
    broken += ["\r\n".join(lines[:at] + lines[at + 1 :]) + "\r\n" for at in range(len(lines))]
    broken += ["\r\n".join([*lines[:at], lines[at].split(":")[0] + ":", *lines[at + 1 :]]) for at in range(len(lines))]
    broken += [good.replace(" ", "  "), good.replace("9", "99999999999"), good.replace("=", "")]
    refused = 0
    for sdp in broken:
        edge = LiveEdge()
        try:
            async with asyncio.timeout(120):
                await edge.answer(sdp)
        except MessageBroken:
            refused += 1
        finally:
            await edge.close()
    assert refused > len(broken) // 4


async def test_an_edge_that_is_given_up_while_it_answers_leaves_no_socket_open(caller):
    _, sdp = await offer_of(caller)
    for pause in (0, 0, 0.001, 0.002, 0.005):
        edge = LiveEdge(["127.0.0.1"])
        answering = asyncio.create_task(edge.answer(sdp))
        await asyncio.sleep(pause)
        answering.cancel()
        closing = asyncio.create_task(edge.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(answering, closing, return_exceptions=True)
        gc.collect()
