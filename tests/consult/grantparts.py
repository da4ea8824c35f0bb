"""Real parts for requests and grants: the simulated car on its bus, a listener of its own there, room and agent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import can
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import virtualbus
from consult.approver import Approver
from consult.execution import CarHands
from consult.grants import GrantBook
from consult.invites import Role
from consult.joining import joined_room
from consult.messages import Ask, Decide, Hold, Stop, Withdraw, encode_message
from consult.plugsigns import PlugSigns
from consult.remotepolicy import RemotePolicy
from consult.reportecus import targets_from_report
from consult.requestproof import new_secret, request_digest
from diag.canbus import open_can
from diag.guard import TransmitGuard
from diag.live import LiveStream
from diag.request import IsoTpLink
from huizhen.roomrequests import in_both_languages

BMS, TMS, VCU = "0x7EC", "0x7EF", "0x7E8"
ANSWERS = range(0x7E8, 0x7F0)
REPORT = {
    "schema": "huizhen.scan/1",
    "simulated": True,
    "ecus": [
        {"address": VCU, "request_address": "0x7E0", "name": "VCU", "protocol": "obd2+uds", "identification": {}},
        {"address": BMS, "request_address": "0x7E4", "name": "BMS", "protocol": "obd2+uds", "identification": {}},
        {"address": TMS, "request_address": "0x7E7", "name": "TMS", "protocol": "uds", "identification": {}},
    ],
    "dtcs": [],
    "findings": [],
}


class Witness:
    """Everything that a tester says on the bus, heard by a bus of its own: ``(seconds, id, data)``."""

    def __init__(self, interface, channel):
        self.frames = []
        self._bus = can.Bus(interface=interface, channel=channel)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        while not self._ends.is_set():
            message = self._bus.recv(0.05)
            if message is None or not 0x700 <= message.arbitration_id <= 0x7FF:
                continue
            if message.arbitration_id not in ANSWERS:
                self.frames.append((time.monotonic(), message.arbitration_id, bytes(message.data)))

    def close(self):
        self._ends.set()
        self._thread.join(2)
        self._bus.shutdown()

    def payloads(self, can_id=None):
        """The single-frame requests that were said."""
        return [
            data[1 : 1 + data[0]]
            for _, one, data in self.frames
            if (can_id is None or one == can_id) and data[:1] and 0 < data[0] < 8
        ]

    def times(self, payload):
        return [t for t, _, data in self.frames if data[1 : 1 + data[0]] == payload]


@dataclass
class Laptop:
    """The technician's side as ``consult open`` builds it."""

    agent: object
    approver: object
    book: object
    guard: object
    secret: bytes
    key: object
    notices: list = field(default_factory=list)

    def shown(self, ident):
        return next((n for n in self.notices if n.kind == "shown" and n.ident == ident), None)

    def ended(self, ident):
        return next((n for n in self.notices if n.ident == ident and n.kind in ("over", "dropped")), None)

    def rejected(self, ident):
        return next((n.error for n in self.notices if n.ident == ident and n.kind == "rejected"), None)


@contextlib.asynccontextmanager
async def laptop_in_room(service, car, report, *, policy=None, server=None, databases=()):
    """Service, agent, approver and the simulated car's bus; ends like the program does."""
    policy, secret, key = policy or RemotePolicy(), new_secret(), Ed25519PrivateKey.generate()
    guard = TransmitGuard(routines=policy.routines)
    async with contextlib.AsyncExitStack() as stack:
        link = await open_can(car.interface, car.channel, 500_000, guard=guard)
        await stack.enter_async_context(link)
        requests = await stack.enter_async_context(IsoTpLink(link))
        invite = service.invite_technician()
        agent = await stack.enter_async_context(
            joined_room(
                server or service.url,
                invite.code,
                name="王师傅",
            )
        )
        agent.key, agent.allows = key.public_key().public_bytes_raw().hex(), policy.to_json()
        laptop = Laptop(agent, None, None, guard, secret, key)
        hands = CarHands(
            requests,
            guard,
            sign=key.sign,
            say=in_both_languages,
            may_keep=lambda: agent.is_reached,
            plug=PlugSigns(link, databases),
        )
        laptop.book = GrantBook(agent.room, targets_from_report(report), policy, secret, key.sign)
        laptop.approver = Approver(laptop.book, hands, post=agent.post, notify=laptop.notices.append)
        agent.on_event, agent.on_hold = laptop.approver.take, laptop.approver.take_hold
        stream = LiveStream(link, ())

        async def nothing():
            return
            yield

        running = asyncio.create_task(agent.run(report, stream.schema, nothing()))
        deciding = asyncio.create_task(laptop.approver.run())
        try:
            yield laptop
        finally:
            deciding.cancel()
            await asyncio.gather(deciding, return_exceptions=True)
            agent.leave()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await running
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


class Page:
    """One person's page, without its drawing: the websocket and what came over it."""

    def __init__(self, socket, room):
        self.socket, self.room = socket, room
        self.heard = []
        self._task = asyncio.create_task(self._listen())

    async def _listen(self):
        async for message in self.socket:
            self.heard.append(json.loads(message.data))

    async def say(self, message):
        await self.socket.send_str(encode_message(message))

    async def ask(self, ident, data, *, ecu=BMS, text="why not", hold=False):
        await self.say(Ask(ident, ecu, data, text, hold))

    async def decide(self, ident, digest, decision, proof="", *, unplugged=False):
        await self.say(Decide(ident, digest, decision, proof, unplugged))

    async def withdraw(self, ident):
        await self.say(Withdraw(ident))

    async def hold(self, ident, count, proof):
        await self.say(Hold(ident, count, proof))

    async def stop(self, text="", *, resume=False):
        await self.say(Stop(text, resume))

    def events(self, kind, ident=None):
        told = [one for m in self.heard if m["type"] == "welcome" for one in m["events"]]
        told += [m for m in self.heard if m["type"] == "event"]
        return [e for e in told if e["kind"] == kind and ident in (None, e["id"])]

    def event(self, kind, ident):
        return next(iter(self.events(kind, ident)), None)

    def refusal(self, ident):
        return next((m["code"] for m in self.heard if m["type"] == "refused" and m["id"] == ident), None)

    def digest(self, ident):
        """As a page computes it, from what it shows."""
        body = self.event("request", ident)["body"]
        data = bytes.fromhex(body["data"])
        return request_digest(self.room, ident, body["ecu"], data, hold=body["hold"], risk=body["risk"])

    async def close(self):
        await self.socket.close()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@contextlib.asynccontextmanager
async def page_in(http, service, room, role=Role.EXPERT, name="李工"):
    """Somebody redeems an invite and watches."""
    invite = service.invite(room, role)
    async with http.post(f"{service.url}/redeem", json={"invite": invite.code, "name": name}) as answer:
        cookie = answer.cookies["huizhen_session"].value
    socket = await http.ws_connect(
        f"{service.url}/r/{room}/watch", headers={"Cookie": f"huizhen_session={cookie}", "Origin": service.url}
    )
    page = Page(socket, room)
    try:
        yield page
    finally:
        await page.close()


@contextlib.contextmanager
def car_and_witness(scenario="isolation"):
    with virtualbus.running(scenario) as car:
        witness = Witness(car.interface, car.channel)
        try:
            yield car, witness
        finally:
            witness.close()


@contextlib.contextmanager
def silent_bus():
    """A bus on which nobody answers."""
    channel = f"silent-{time.monotonic_ns()}"
    witness = Witness("virtual", channel)
    try:
        yield SimpleNamespace(interface="virtual", channel=channel), witness
    finally:
        witness.close()
