"""A service with regions, visitors from everywhere, and a clock that tests move."""

import contextlib
import ipaddress
import time

import aiohttp
from servicekit import redeem

from consult.accounts import Account, AccountRole, PasswordCheck
from consult.invites import Role
from consult.messages import Hello, encode_message
from consult.privacyconfig import PrivacyConfig
from consult.regions import Region, RegionRules
from consult.service import ServiceConfig

PASSWORD = "correct horse battery"
HOME, CITY, ABROAD, NOWHERE = "36.110.1.7", "36.110.200.9", "203.0.113.5", "198.51.100.9"
"""In the region CN; in HK, a narrower network within one of CN; in EU; on no list."""


def networks(*words):
    return tuple(map(ipaddress.ip_network, words))


RULES = RegionRules(
    frozenset({"CN"}),
    (
        Region("CN", networks("36.110.0.0/16", "240e::/20")),
        Region("HK", networks("36.110.200.0/24")),
        Region("EU", networks("203.0.113.0/24", "2001:db8::/32")),
    ),
)


class MovedClock:
    """Both clocks of a service, moved by hand; the steady one goes on by itself too, for the service lives by it."""

    def __init__(self, now_s=1_800_000_000.0):
        self.now = now_s
        self.steady = 0.0
        self._began_s = time.monotonic()

    def clock_s(self):
        return self.steady + time.monotonic() - self._began_s

    def us(self):
        return int(self.now * 1_000_000)

    def go(self, seconds):
        self.now += seconds
        self.steady += seconds


def privacy_config(tmp_path, clock, *, state=True, **privacy):
    return ServiceConfig(
        data=tmp_path / "rooms",
        state=tmp_path / "rooms" / "service.db" if state else None,
        trusted_proxies=networks("127.0.0.1"),
        privacy=PrivacyConfig(**privacy),
        clock_s=clock.clock_s,
        now_us=clock.us,
    )


@contextlib.asynccontextmanager
async def visitor(address=HOME):
    """A client that a proxy vouches to come from an address, which may change."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, headers={"X-Forwarded-For": address}) as session:
        yield session


def from_(session, address):
    """The client has moved."""
    session.headers["X-Forwarded-For"] = address


async def post(session, url, path, body=None, token=None):
    """Status and body of a request that changes something."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with session.post(f"{url}{path}", json=body or {}, headers=headers) as answer:
        return answer.status, await answer.json()


async def get(session, url, path, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with session.get(f"{url}{path}", headers=headers) as answer:
        return answer.status, await answer.json()


async def technician(session, service):
    """A bearer token and the path of a new room."""
    status, body, _ = await redeem(session, service.url, service.invite_technician().code, agent=True, name="Wang")
    assert status == 200, body
    return body["token"], body["path"]


async def invited(session, service, path, role=Role.EXPERT, **more):
    """What redeeming a fresh invite into a room gives: status and body."""
    code = service.invite(path[3:], Role(role)).code
    status, body, _ = await redeem(session, service.url, code, name="Li", **more)
    return status, body


def add_account(service, name, role=AccountRole.EXPERT, region=""):
    service.state.put_account(Account(name, role=role, region=region, password=PasswordCheck.hash(name, PASSWORD)))


async def sign_in(session, service, name):
    status, body = await post(session, service.url, "/login", {"name": name, "password": PASSWORD})
    assert status == 200, body


def hello(report, allows=None, schemas=(), epoch=5):
    return encode_message(Hello(1, epoch, report, list(schemas), 0, "ab" * 32, allows or {}))


def report_of(vin="LHZEV4001N0001234", **more):
    return {"schema": "huizhen.scan/1", "vehicle": {"vin": vin, "make": "Huizhen"}, "ecus": [], **more}
