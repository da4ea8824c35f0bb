"""Technicians and experts around a queue, by HTTP, with clocks that are set by hand."""

import contextlib
import functools

import aiohttp
from servicekit import browser_like, redeem

from consult.accounts import Account, AccountRole, PasswordCheck
from consult.messages import Hello, encode_message
from consult.service import ServiceConfig
from consult.servicestate import ServiceState
from consult.waitpart import QueuePart

PASSWORD = "correct horse battery"
VIN = "LHZEV4001N0001234"


class Clock:
    """Both clocks of a service."""

    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now

    def us(self):
        return int(self.now * 1_000_000)


@functools.cache
def hashed_once():
    return PasswordCheck.hash("li", PASSWORD)


def staff():
    """Two experts, one of batteries and one of chargers, both leads' elders, and those who only look."""
    made = functools.partial(Account, password=hashed_once())
    return [
        made("li", "李工", skills=("battery",), languages=("zh",), region="CN", on_duty=True),
        made("mo", "Mo", skills=("charging",), languages=("en",), makes=("Huizhen",), on_duty=True),
        made("wu", "吴工", AccountRole.LEAD, skills=("battery",), on_duty=True),
        made("eye", "", AccountRole.AUDITOR),
        made("boss", "", AccountRole.ADMIN),
    ]


def hire(path, accounts):
    with ServiceState(path) as state:
        for account in accounts:
            state.put_account(account)


def staffed(folder, clock):
    """A service's settings on this clock, with its people."""
    config = ServiceConfig(data=folder / "rooms", state=folder / "rooms" / "service.db", now_us=clock.us)
    hire(config.state, staff())
    return config


def sick_report(verdict="expert", *, severity="soon", codes=(("P0DE6", "0x7EC", "soon"),), findings=()):
    """What a scan may have said."""
    return {
        "schema": "huizhen.scan/1",
        "simulated": True,
        "vehicle": {"vin": VIN, "vin_valid": True, "make": "Huizhen", "model": "EV400", "model_year": 2022},
        "ecus": [
            {"address": "0x7EC", "name": "BMS", "role": "bms", "identification": {}},
            {"address": "0x7ED", "name": "OBC", "role": "charger", "identification": {}},
        ],
        "dtcs": [
            {
                "code": code,
                "ecu": ecu,
                "severity": worst,
                "status": {"mask": "0x2F", "testFailed": True},
                "display": code,
                "kind": ["stored"],
                "failure_type": None,
                "text": None,
            }
            for code, ecu, worst in codes
        ],
        "findings": [
            {"code": code, "severity": severity, "title": {"en": code, "zh": code}, "evidence": []} for code in findings
        ],
        "cases": {"schema": "huizhen.cases/1", "verdict": verdict, "matches": []},
    }


class Technician:
    """A laptop in its room, by hand."""

    def __init__(self, http, url, ident, token):
        self.http = http
        self.url = url
        self.ident = ident
        self.headers = {"Authorization": f"Bearer {token}"}
        self.channel = None

    async def tell(self, report):
        """Connects the agent and brings the report."""
        self.channel = await self.http.ws_connect(f"{self.url}/r/{self.ident}/agent", headers=self.headers)
        await self.channel.send_str(encode_message(Hello(1, 7, report, [], 0)))
        await self.channel.receive()

    async def post(self, what, body):
        async with self.http.post(f"{self.url}/r/{self.ident}/{what}", json=body, headers=self.headers) as answer:
            return answer.status, await answer.json()

    async def place(self):
        async with self.http.get(f"{self.url}/r/{self.ident}/queue", headers=self.headers) as answer:
            assert answer.status == 200
            return await answer.json()


@contextlib.asynccontextmanager
async def technician(url, invite):
    async with aiohttp.ClientSession() as http:
        _, body, _ = await redeem(http, url, invite, agent=True, name="Wang")
        yield Technician(http, url, body["room"], body["token"])


@contextlib.asynccontextmanager
async def waiting_car(service, report=None, **words):
    """A car whose technician has asked for an expert."""
    async with technician(service.url, service.invite_technician().code) as laptop:
        await laptop.tell(report or sick_report())
        status, place = await laptop.post("escalate", words)
        assert status == 200
        assert place["state"] != "none"
        yield laptop


class Person:
    """Somebody with an account, signed in."""

    def __init__(self, http, url):
        self.http = http
        self.url = url

    async def post(self, path, body=None):
        async with self.http.post(f"{self.url}{path}", json=body or {}) as answer:
            return answer.status, await answer.json()

    async def get(self, path):
        async with self.http.get(f"{self.url}{path}") as answer:
            return answer.status, await answer.json()

    async def queue(self):
        status, body = await self.get("/api/queue")
        assert status == 200
        return body


@contextlib.asynccontextmanager
async def signed_in(url, name):
    async with browser_like() as http:
        person = Person(http, url)
        status, _ = await person.post("/login", {"name": name, "password": PASSWORD})
        assert status == 200
        yield person


def queue_of(service):
    return next(part for part in service.parts if isinstance(part, QueuePart))
