"""The live edge through a real relay (coturn) on this machine, over udp and tcp, and a relay that refuses."""

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import hmac
import shutil
import socket
import time

import pytest
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from test_consult_browser import count, enter

from consult.edge import LiveEdge
from consult.errors import RelayMissing
from consult.ice import has_relay, servers_for, turn_credential
from consult.serviceconfig import IceServer

SECRET = "north-wind"
TURNSERVER = shutil.which("turnserver")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
async def relay(tmp_path):
    """A coturn that knows our secret; gives its port."""
    async with running_relay(tmp_path) as port:
        yield port


@contextlib.asynccontextmanager
async def running_relay(tmp_path, relay_ip="127.0.0.1", *more):
    """The same, with the address at which it relays, and more words of its command line."""
    if TURNSERVER is None:
        pytest.skip("coturn is not installed (Debian: apt install coturn)")
    port = free_port()
    words = (
        *("-n", "--listening-ip", "127.0.0.1", "--relay-ip", relay_ip, "--listening-port", str(port)),
        *("--realm", "huizhen.test", "--use-auth-secret", "--static-auth-secret", SECRET),
        *("--allow-loopback-peers", "--no-tls", "--no-dtls", "--no-cli", "--min-port", "49200", "--max-port", "49400"),
        *("--pidfile", str(tmp_path / "turn.pid"), "--log-file", str(tmp_path / "turn.log"), "--simple-log"),
        *("--userdb", str(tmp_path / "turn.db"), "--no-software-attribute", "--verbose", *more),
    )
    process = await asyncio.create_subprocess_exec(
        TURNSERVER, *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(120):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                if process.returncode is not None:
                    pytest.fail((tmp_path / "turn.log").read_text())
                await asyncio.sleep(0.05)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def ice(port, transport="udp", secret=SECRET):
    return (IceServer((f"turn:127.0.0.1:{port}?transport={transport}",), secret=secret),)


def test_a_credential_is_what_coturn_computes():
    username, password = turn_credential("s", "abc-1", 1_760_000_000)
    assert username == "1760000000:abc-1"
    assert base64.b64decode(password) == hmac.new(b"s", b"1760000000:abc-1", hashlib.sha1).digest()


def test_each_person_gets_credentials_that_end_and_nobody_the_secret():
    servers = (
        IceServer(("stun:x",)),
        IceServer(("turn:x",), secret="geheim"),
        IceServer(("turns:y",), username="u", credential="p"),
    )
    told = servers_for(servers, "abc-1", 1_000_000_000_000)
    assert told[0] == {"urls": ["stun:x"]}
    assert told[1]["username"] == f"{1_000_000 + 6 * 3600}:abc-1"
    assert told[2] == {"urls": ["turns:y"], "username": "u", "credential": "p"}
    assert "geheim" not in repr(told)
    assert told[1]["credential"] != servers_for(servers, "abc-2", 1_000_000_000_000)[1]["credential"]
    assert has_relay(told)
    assert not has_relay(told[:1])


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_blocks_go_by_the_relay_alone(relay, transport, eventually):
    told = servers_for(ice(relay, transport), "abc-1", time.time_ns() // 1000)
    edge = LiveEdge(["127.0.0.1"], servers=told, relay_only=True)
    found = [RTCIceServer(**server) for server in told]
    caller = RTCPeerConnection(RTCConfiguration(iceServers=found, iceTransportPolicy=RTCIceTransportPolicy.RELAY))
    try:
        channel, got = caller.createDataChannel("live", ordered=False, maxPacketLifeTime=200), []
        channel.on("message", got.append)
        await caller.setLocalDescription(await caller.createOffer())
        offer = caller.localDescription.sdp
        answer = await edge.answer(offer)
        for sdp in (offer, answer):
            candidates = [line for line in sdp.splitlines() if line.startswith("a=candidate")]
            assert candidates
            assert all(" typ relay" in line for line in candidates), candidates
        assert edge.relay_found
        await caller.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        assert await edge.wait_open()
        for number in range(50):
            edge.offer_block(bytes([number]) * 800)
            await asyncio.sleep(0.01)
        await eventually(lambda: len(got) > 40)
        assert set(map(len, got)) == {800}
    finally:
        await caller.close()
        await edge.close()


async def offer():
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.createDataChannel("live")
    await peer.setLocalDescription(await peer.createOffer())
    sdp = peer.localDescription.sdp
    await peer.close()
    return sdp


async def test_a_relay_that_refuses_us_is_told(relay, caplog):
    """Neither aiortc nor a browser says a word about a wrong secret: what is missing in the answer is the only sign."""
    told = servers_for(ice(relay, secret="another"), "abc-1", time.time_ns() // 1000)
    edge = LiveEdge(["127.0.0.1"], servers=told)
    assert "127.0.0.1" in await edge.answer(await offer()), "other ways are still offered"
    assert edge.relay_found is False
    assert "gives no relay" in caplog.text
    await edge.close()
    strict = LiveEdge(servers=told, relay_only=True)
    with pytest.raises(RelayMissing, match="shared secret"):
        await strict.answer(await offer())
    await strict.close()


async def test_a_credential_that_has_ended_lets_nobody_in(relay):
    told = servers_for(ice(relay), "abc-1", (int(time.time()) - 7 * 3600) * 1_000_000)
    edge = LiveEdge(servers=told, relay_only=True)
    with pytest.raises(RelayMissing):
        await edge.answer(await offer())
    await edge.close()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_chromium_watches_by_the_relay_alone(relay, transport, config, browser, car, report, in_room, eventually):
    from consult.service import running_service

    config = dataclasses.replace(config, ice=ice(relay, transport), relay_only=True)
    async with running_service(config) as service, in_room(service, car, report) as agent:
        invite = await agent.invite("expert")
        page = await browser.new_page()
        await enter(page, invite.url)
        room = service.rooms[agent.room]
        await eventually(lambda: any(member.edge is not None for member in room.members.values()))
        (member,) = (one for one in room.members.values() if one.edge is not None)
        before = member.edge.sent
        await eventually(lambda: member.edge is not None and member.edge.sent > before + 20)
        pair = member.edge._peer.sctp.transport.transport.iceGatherer._connection._nominated
        assert {one.local_candidate.type for one in pair.values()} == {"relay"}
        assert {one.remote_candidate.type for one in pair.values()} == {"relay"}
        assert await count(page, "rtc") > 10
