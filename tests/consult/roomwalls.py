"""Two rooms full of secrets, everybody who may be in the first one, and a way to try everything on the second one."""

import asyncio
import contextlib
import dataclasses
import functools

import aiohttp
import numpy as np
from servicekit import redeem

from consult.accounts import Account, AccountRole, PasswordCheck
from consult.messages import FROM_AGENT, FROM_VIEWER, Hello, encode_message
from consult.wire import encode_samples

PASSWORD = "correct horse battery"
SECRET = "Geheimnis7391"
"""Stands in everything of the second room."""

EPOCH = 77
STREAM = 7
ROLES = ("technician", "lead", "expert", "observer", "account", "signed-in", "stranger")


def secret_report():
    return {
        "schema": "huizhen.scan/1",
        "vehicle": {"vin": "LHZEV4001N0007391", "make": SECRET, "model": SECRET},
        "findings": [{"code": SECRET, "title": {"en": SECRET, "zh": SECRET}}],
        "ecus": [{"address": "0x7E4", "name": SECRET}],
    }


def secret_blocks(count=5):
    values = np.array([7391.25], dtype=np.float32)
    return [
        encode_samples(
            stream=STREAM, epoch=EPOCH, seq=n, t_us=1_700_000_000_000_000 + n, values=values, valid=np.ones(1, np.bool_)
        )
        for n in range(count)
    ]


def traces(room):
    """What must never be seen outside the second room, as bytes."""
    return (SECRET.encode(), room.encode(), b"0007391", np.float32(7391.25).tobytes())


@functools.cache
def hashed_once():
    return PasswordCheck.hash("li", PASSWORD)


class Walls:
    """The service with both rooms, and one client per role of the first."""

    def __init__(self, service):
        self.service = service
        self.clients = {}
        self.stack = contextlib.AsyncExitStack()
        self.mine = self.other = ""
        self.my_token = self.other_token = ""

    async def __aenter__(self):
        await self.stack.__aenter__()
        self.mine, self.my_token = await self._technician()
        self.other, self.other_token = await self._technician()
        self.service.state.put_account(Account("li", role=AccountRole.LEAD, password=hashed_once()))
        mine = await self.client()
        async with mine.post(
            f"{self.service.url}/r/{self.mine}/experts", json={"allowed": True}, headers=bearer(self.my_token)
        ) as answer:
            assert answer.status == 200
        for role in ROLES:
            self.clients[role] = await self._enter(role)
        self.other_agent = await self._agent(self.other, self.other_token, secret_report(), secret_blocks())
        self.my_agent = await self._agent(self.mine, self.my_token, {"vehicle": {"make": "Mine"}}, [])
        expert = await self._guest(self.other, self.other_token, "lead")
        self.other_expert = await self.stack.enter_async_context(
            expert.ws_connect(f"{self.service.url}/r/{self.other}/watch")
        )
        for body in (
            {"type": "chat", "id": "c", "text": SECRET},
            {"type": "mark", "id": "m7391", "stream": STREAM, "signal": SECRET, "t_us": 5, "text": SECRET},
        ):
            await self.other_expert.send_json(body)
        room = self.service.room(self.other)
        async with asyncio.timeout(120):
            while not {"chat", "mark"} <= {event["kind"] for event in room.events_after(0)}:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return self

    async def __aexit__(self, *error):
        await self.stack.__aexit__(*error)

    async def client(self):
        jar = aiohttp.CookieJar(unsafe=True)
        return await self.stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))

    async def _technician(self):
        laptop = await self.client()
        _, body, _ = await redeem(laptop, self.service.url, self.service.invite_technician().code, agent=True, name="T")
        return body["room"], body["token"]

    async def _guest(self, room, token, role):
        client = await self.client()
        async with client.post(
            f"{self.service.url}/r/{room}/invites", json={"role": role}, headers=bearer(token)
        ) as answer:
            code = (await answer.json())["invite"]
        assert (await redeem(client, self.service.url, code, name=role))[0] == 200
        return client

    async def _enter(self, role):
        """A client and the headers that show everything this role of the first room has, to any address."""
        if role in ("account", "signed-in"):
            client = await self.client()
            signed = {"name": "li", "password": PASSWORD}
            async with client.post(f"{self.service.url}/login", json=signed) as answer:
                assert answer.status == 200
            if role == "account":
                async with client.post(f"{self.service.url}/r/{self.mine}/enter", json={}) as answer:
                    assert answer.status == 200
            return client
        return await self.client() if role == "stranger" else await self._guest(self.mine, self.my_token, role)

    def headers(self, role):
        """All cookies of a role, whatever path they are for; the technician's bearer token too."""
        cookies = "; ".join(f"{one.key}={one.value}" for one in self.clients[role].cookie_jar)
        found = {"Cookie": cookies} if cookies else {}
        return found | (bearer(self.my_token) if role == "technician" else {})

    async def _agent(self, room, token, report, blocks):
        client = await self.client()
        channel = await self.stack.enter_async_context(
            client.ws_connect(f"{self.service.url}/r/{room}/agent", headers=bearer(token))
        )
        schema = {"stream": STREAM, "signals": [{"name": SECRET if blocks else "mine", "unit": "V"}]}
        hello = Hello(1, EPOCH, report, [schema], 0, "", {"classes": ["A"]})
        await channel.send_str(encode_message(hello))
        for block in blocks:
            await channel.send_bytes(block)
        found = self.service.room(room)
        async with asyncio.timeout(120):
            while STREAM not in found.rings or found.rings[STREAM].next < len(blocks):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return channel


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


FIELDS = {
    "id": ("m7391", "c", "new"), "text": ("hello",), "stream": (STREAM,), "epoch": (EPOCH,), "first": (0,),
    "last": (4,), "over": ("wss", "rtc"), "attempt": (1,), "sdp": ("v=0",), "t_us": (1_700_000_000_000_000,),
    "signal": (SECRET, "mine"), "t2_us": (1_700_000_000_000_009,), "cursor_us": (0,), "signals": ([SECRET],),
    "lead": (True,), "rtt_ms": (1,), "missing": (0,), "fps": (30,), "ecu": ("0x7E4",), "data": ("22F190",),
    "hold": (False, True), "digest": ("0" * 64,), "decision": ("approve", "deny", "second"), "proof": ("",),
    "unplugged": (False,), "count": (1,), "resume": (False, True), "body": ({}, {"dtcs": []}), "speed": (1.0,),
    "outcome": ("done",), "protocol": (1,), "report": ({},), "schemas": ([],), "events_after": (0,), "key": ("",),
    "allows": ({},), "join": (True, False), "audio": (False,), "video": (False,), "level": ("voice",),
    "to": (1, 2, 3), "op": ("watch", "publish", "candidate"), "on": (True, False), "given": (True, False),
    "file": ("ab" * 32,), "of": (1,), "still": ("m7391",), "points": ([[0.1, 0.2]],), "colour": (1,),
}  # fmt: skip
"""Sensible values of every field that a message may have; one that is missing here fails the test that uses it."""


def messages_of(catalogue):
    """Some messages of every type, in every form that :data:`FIELDS` gives."""
    for name, cls in catalogue.items():
        parts = [part.name for part in dataclasses.fields(cls)]
        longest = max((len(FIELDS[part]) for part in parts), default=1)
        for n in range(longest):
            yield {"type": name, **{part: FIELDS[part][n % len(FIELDS[part])] for part in parts}}


VIEWER_MESSAGES = tuple(messages_of(FROM_VIEWER))
AGENT_MESSAGES = tuple(one for one in messages_of(FROM_AGENT) if one["type"] not in ("hello", "bye"))


def routes_of(service):
    """``(method, path, is about a room, is a websocket)`` of every route, from the router itself."""
    app = service.application()
    found = set()
    for route in app.router.routes():
        assert route.resource is not None
        path = route.resource.canonical.replace("{sha256}", "ab" * 32).replace("{number}", "1")
        found.add((route.method, path, "{room}" in path, path.endswith(("/agent", "/watch"))))
        left = path.replace("{room}", "")
        assert "{" not in left, f"{path}: say here what its other parts may be"
    return sorted(found)


def body_of(path):
    """A body that the route would take from somebody who may."""
    bodies = {
        "invites": {"role": "expert"},
        "experts": {"allowed": True},
        "duty": {"on_duty": True},
        "redeem": {"invite": "x"},
    }
    return bodies.get(path.rpartition("/")[2], {})
