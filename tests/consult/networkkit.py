"""Two workshops, each with a library of its own, and the service of their network."""

import asyncio
import contextlib
import io
import json

from servicekit import browser_like

from casebase.library import Library
from casebase.query import Query
from casebase.record import case_from_json
from huizhen.cli import main

VIN = "LRW3E7EK0NC000042"
DTCS = [{"code": "P0AA6", "failure_type": "1A", "ecu_role": "bms", "status": "confirmed"}]
CAR = {"make": "BYD", "model": "Song PLUS", "model_year": 2022}


async def command(*words, expect=0):
    """``huizhen …`` in a thread, beside the service that runs here; its JSON, or its text."""

    def run():
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(word) for word in words])
        return code, out.getvalue(), err.getvalue()

    code, out, err = await asyncio.to_thread(run)
    assert code == expect, f"{words}: {code}\n{out}\n{err}"
    return json.loads(out) if "--json" in words and out.strip() else out + err


class Workshop:
    """One library in its own file."""

    def __init__(self, folder, name):
        self.name = name
        self.path = folder / f"{name}.db"
        with Library.open(self.path, create=True):
            pass

    async def case(self, action, *words, expect=0):
        """``huizhen case ACTION … --json``."""
        return await command("case", action, *words, "--library", self.path, "--json", expect=expect)

    async def join(self, service, *, region=""):
        """Is added by the service's owner, and joins."""
        words = ("consult", "site", "add", self.name, "--region", region, "--data", service.config.data, "--json")
        made = await command(*words)
        return await self.case("join", "--server", service.url, "--code", made["code"])

    def learn(self, *lines):
        """Cases from elsewhere."""
        with Library.open(self.path) as library:
            library.add_cases([case_from_json(line, library.cases.car_key) for line in lines])

    def open_job(self, *, vin=VIN, dtcs=DTCS, ticket="", opened_ns=None):
        """A job as a scan of a real car leaves it; its number and what was told."""
        with Library.open(self.path) as library:
            query = Query.from_json({"vehicle": CAR, "dtcs": dtcs, "read": ["bms"]})
            found = library.find(query)
            job = library.remember(query, found, vin=vin, now_ns=opened_ns)
            if ticket:
                library.network.remember_job(job, ticket)
        return job, [match.case_id for match in found.matches]


@contextlib.asynccontextmanager
async def files_without(folder, *secrets, names="*"):
    """Afterwards none of these bytes stands in any file of a folder."""
    yield
    for path in sorted(folder.rglob(names)):
        if path.is_file():
            data = path.read_bytes()
            for secret in secrets:
                assert secret not in data, f"{secret!r} in {path.name}"


class Person:
    """Somebody with an account."""

    def __init__(self, http, service):
        self.http, self.service = http, service

    async def post(self, path, body):
        async with self.http.post(f"{self.service.url}{path}", json=body) as answer:
            return answer.status, await answer.json()

    async def get(self, path):
        async with self.http.get(f"{self.service.url}{path}") as answer:
            return answer.status, await answer.json()


@contextlib.asynccontextmanager
async def people_signing_in(service, password):
    """Signs somebody with an account in, by their name, and gives the :class:`Person`."""
    async with contextlib.AsyncExitStack() as stack:

        async def enter(name):
            person = Person(await stack.enter_async_context(browser_like()), service)
            assert (await person.post("/login", {"name": name, "password": password}))[0] == 200
            return person

        yield enter
