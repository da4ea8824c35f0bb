"""The agent through a network that is cut: a TCP relay in user space that can go silent or hang up."""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import ipaddress

import numpy as np
import pytest

from consult.errors import CertificateRefused, InviteUnknown, InviteUsed, RoleRefused, ServerRefused, ServerUnreachable
from consult.invites import Role
from consult.joining import joined_room
from consult.service import running_service
from consult.wire import parse_samples


class Relay:
    """Between agent and service. ``silent``: bytes vanish as on a dead radio link, and nobody is told."""

    def __init__(self, port):
        self.target = port
        self.silent = False
        self.port = 0
        self._server = None
        self._tasks = set()
        self._writers = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.hang_up()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def hang_up(self):
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader, writer):
        if self.silent:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers |= {writer, up_writer}
        pumps = [asyncio.create_task(self._pump(reader, up_writer)), asyncio.create_task(self._pump(up_reader, writer))]
        self._tasks |= set(pumps)
        await asyncio.wait(pumps)
        for end in (writer, up_writer):
            self._writers.discard(end)
            end.close()
            with contextlib.suppress(OSError):
                await end.wait_closed()

    async def _pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if not self.silent:
                    writer.write(data)
                    await writer.drain()
            writer.close()


def port_of(service):
    return int(service.url.rpartition(":")[2])


def kept(room):
    return [parse_samples(data) for _, data in room.journal.blocks(1, room.epoch, 0, 1 << 31)]


def assert_whole(room, car):
    """Every block that was measured stands in the journal once, in order, with its values."""
    frames = kept(room)
    assert [frame.head.seq for frame in frames] == list(range(len(car.sent)))
    for frame, sent in zip(frames, car.sent, strict=True):
        assert frame.head.t_us == sent.t_ns // 1000
        assert (frame.valid == sent.valid).all()
        assert (frame.values[frame.valid] == sent.values[sent.valid]).all()
        assert np.isnan(frame.values[~sent.valid]).all()


async def test_all_blocks_arrive_in_the_journal_as_measured(service, car, report, in_room, eventually):
    car.period_s, car.count = 0.005, 200
    async with in_room(service, car, report) as agent:
        room = service.room(agent.room)
        await eventually(lambda: len(car.sent) == 200 and not len(agent.spool))
        assert_whole(room, car)


async def test_nothing_is_lost_or_doubled_when_the_line_hangs_up(service, car, report, in_room, eventually):
    car.period_s = 0.01
    events = []
    async with Relay(port_of(service)) as relay:
        server = f"http://127.0.0.1:{relay.port}"
        async with in_room(service, car, report, server=server, on_event=events.append) as agent:
            room = service.room(agent.room)
            for cut in range(1, 4):
                await eventually(lambda cut=cut: room.agent and room.rings and room.rings[1].next > 30 * cut)
                agent.say(f"before cut {cut}")
                relay.hang_up()
                agent.say(f"after cut {cut}")
                await eventually(lambda cut=cut: agent.connections > cut)
            car.count = 0
            await eventually(lambda: not len(agent.spool))
            await eventually(lambda: len([e for e in events if e.kind == "chat"]) == 6)
            assert_whole(room, car)
            assert agent.spool.lost == 0
    said = [event.text for event in events if event.kind == "chat"]
    assert sorted(said) == sorted(f"{when} cut {cut}" for cut in (1, 2, 3) for when in ("before", "after"))
    assert [event.n for event in events] == sorted({event.n for event in events}), "each event once, in order"


async def test_a_silent_line_is_noticed_within_two_seconds_and_replaced(service, car, report, in_room, eventually):
    car.period_s = 0.02
    async with (
        Relay(port_of(service)) as relay,
        in_room(service, car, report, server=f"http://127.0.0.1:{relay.port}") as agent,
    ):
        room = service.room(agent.room)
        await eventually(lambda: room.rings and room.rings[1].next > 20)
        loop = asyncio.get_running_loop()
        relay.silent = True
        began = loop.time()
        before = room.rings[1].next
        await asyncio.sleep(2.6)
        assert room.rings[1].next <= before + 2, "nothing got through"
        relay.silent = False
        await eventually(lambda: agent.connections == 2)
        assert loop.time() - began < 6
        await eventually(lambda: room.rings[1].next > before + 100)
        car.count = 0
        await eventually(lambda: not len(agent.spool))
        assert_whole(room, car)
        assert room.rings[1].next == len(car.sent)


async def test_the_service_refuses_in_words(service):
    code = service.invite_technician().code
    async with joined_room(service.url, code):
        pass
    with pytest.raises(InviteUsed, match="used before"):
        async with joined_room(service.url, code):
            pass
    with pytest.raises(InviteUnknown):
        async with joined_room(service.url, "wrong"):
            pass
    room = next(iter(service.rooms))
    with pytest.raises(RoleRefused):
        async with joined_room(service.url, service.invite(room, Role.EXPERT).code):
            pass


@pytest.mark.parametrize("server", ["http://127.0.0.1:9", "http://no-such-host.invalid", "nonsense", "http://[::1"])
async def test_no_service_there(server):
    with pytest.raises(ServerUnreachable):
        async with joined_room(server, "x"):
            pass


async def test_another_web_server_is_no_room_service():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ServerRefused, match="404"):
            async with joined_room(f"http://127.0.0.1:{port}", "x"):
                pass


@pytest.fixture
def authority(tmp_path):
    """A certificate authority of our own and a certificate for this machine's loopback address."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = dt.datetime.now(dt.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def certificate(subject, public, *extensions):
        builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("workshop CA"))
        builder = builder.public_key(public).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    ca = certificate(
        "workshop CA",
        ca_key.public_key(),
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (usage, True),
        (identifier, False),
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    own = certificate("laptop", key.public_key(), (names, False), (by, False))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files = {}
    for what, content in (("ca", ca), ("cert", own), ("key", private)):
        files[what] = tmp_path / f"{what}.pem"
        files[what].write_bytes(content)
    return files


async def test_the_agent_over_tls_trusts_the_workshop_s_authority_only(config, authority, car, report, eventually):
    car.count = 10
    secured = dataclasses.replace(config, tls_cert=authority["cert"], tls_key=authority["key"])
    async with running_service(secured) as service:
        assert service.url.startswith("https://")
        with pytest.raises(CertificateRefused, match="--ca"):
            async with joined_room(service.url, service.invite_technician().code):
                pass
        with pytest.raises(CertificateRefused, match="fingerprint"):
            async with joined_room(service.url, service.invite_technician().code, fingerprint=bytes(32)):
                pass
        async with joined_room(service.url, service.invite_technician().code, fingerprint=service.fingerprint):
            pass
        code = service.invite_technician().code
        async with joined_room(service.url, code, ca=authority["ca"]) as agent:
            run = asyncio.create_task(agent.run(report, car.schema, car.blocks()))
            await eventually(lambda: len(car.sent) == 10 and not len(agent.spool))
            assert_whole(service.room(agent.room), car)
            assert (await agent.invite()).url.startswith("https://127.0.0.1:")
            agent.leave()
            async with asyncio.timeout(120):
                await run
