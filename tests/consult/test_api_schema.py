"""Schemathesis against the running service: whatever is sent, the answer is one that openapi.json promises."""

import asyncio
import dataclasses
import json
import os
import sys

import pytest
from servicekit import browser_like, redeem

from consult.accounts import Account, AccountRole, PasswordCheck
from consult.operationroutes import OPENAPI
from consult.pagefiles import load_page
from consult.service import ServiceConfig, running_service
from consult.serviceconfig import Limits

DOCUMENT = json.loads(OPENAPI.read_text(encoding="utf-8"))
PAGES = {"/", "/board", "/join", "/rooms", "/review", "/r/{room}", "/trust/style.css", "/privacy/style.css"}
"""The page and what it looks like: no interface for programs."""
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance,ignored_auth"
)


@pytest.fixture
def config(tmp_path):
    plenty = Limits(rooms=10_000, requests=1_000_000, joins=1_000_000, logins=1_000_000, request_s=5.0)
    return ServiceConfig(
        data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db", limits=plenty, tls_auto=False
    )


async def test_every_route_for_programs_is_described_and_every_description_is_a_route(service):
    from consult.service import SERVICE

    app = service.application()
    assert app[SERVICE] is service
    routes = {
        (route.method.lower(), (route.resource.canonical if route.resource else ""))
        for route in app.router.routes()
        if route.method != "HEAD"
    }
    websockets = {("get", "/api/notices/watch"), ("get", "/r/{room}/agent"), ("get", "/r/{room}/watch")}
    described = {(method, path) for path, item in DOCUMENT["paths"].items() for method in item}
    pages = {("get", path) for path in (*PAGES, *(f"/{name}" for name in load_page(service.config.static)))}
    assert described == routes - websockets - pages


@pytest.mark.parametrize("who", ["stranger", "expert", "technician"])
async def test_no_request_gets_an_answer_that_was_not_promised(who, tmp_path, config):
    async with running_service(dataclasses.replace(config)) as service, browser_like() as http:
        hashed = await asyncio.to_thread(PasswordCheck.hash, "li", "correct horse battery")
        service.state.put_account(Account("li", role=AccountRole.AUDITOR, password=hashed))
        _, body, _ = await redeem(http, service.url, service.invite_technician().code, agent=True)
        headers = {"Authorization": f"Bearer {body['token']}"}
        async with http.post(f"{service.url}{body['path']}/experts", json={"allowed": True}, headers=headers) as answer:
            assert answer.status == 200
        given = {"stranger": [], "technician": ["-H", f"Authorization: {headers['Authorization']}"]}.get(who)
        if given is None:
            signed = {"name": "li", "password": "correct horse battery"}
            async with http.post(f"{service.url}/login", json=signed) as answer:
                account = answer.cookies["huizhen_account"].value
            async with http.post(f"{service.url}{body['path']}/enter", json={}) as answer:
                session = answer.cookies["huizhen_session"].value
            given = ["-H", f"Cookie: huizhen_account={account}; huizhen_session={session}"]
        said, code = await schemathesis(service.url, body["room"], tmp_path, given, who)
        assert code == 0, said
        assert len(service.rooms) >= 1
        async with http.get(f"{service.url}/health") as answer:
            assert (await answer.json())["status"] == "ok", "and the service is as it was"


async def schemathesis(url, room, folder, given, who):
    """Runs it on this room half of the time and on any text else; returns what it said and its exit code."""
    document = json.loads(json.dumps(DOCUMENT))
    document["components"]["parameters"]["room"]["example"] = room
    if given:  # what the headers already prove is not left out now and then
        for item in document["paths"].values():
            for operation in item.values():
                operation["security"] = []
    path = folder / "openapi.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    # A stranger's requests are all refused, so its run asks only that nothing else comes of them.
    excluded = [] if who == "stranger" else ["--exclude-operation-id", "logout"]
    words = (
        "-m", "schemathesis.cli", "run", str(path), "--url", url, "--checks", CHECKS, "--max-examples", "8",
        "--seed", "1", "--request-timeout", "20",
        "--phases", "examples,coverage,fuzzing", "--no-color", "--suppress-health-check", "all",
        "--generation-database", "none", "--warnings", "off", *excluded, *given,
    )  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, cwd=folder, env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(120):
        said, _ = await process.communicate()
    return said.decode(), process.returncode
