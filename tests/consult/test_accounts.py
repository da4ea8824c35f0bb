"""Experts with an account: how they get in, what strangers learn (nothing), and what an account opens by itself."""

import asyncio
import json
import sqlite3

import aiohttp
import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from servicekit import browser_like, redeem

from consult.accounts import Account, AccountRole, PasswordCheck
from consult.errors import AccountBroken
from consult.service import ServiceConfig, running_service
from consult.servicestate import ServiceState
from huizhen.cli import main
from huizhen.exits import Exit

PASSWORD = "correct horse battery"


class Clock:
    """Both clocks of a service, set by hand."""

    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now

    def us(self):
        return int(self.now * 1_000_000)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def whole_work(monkeypatch):
    """argon2 as the service has it, where other tests have it light."""
    monkeypatch.setattr("consult.accounts.PasswordHasher", PasswordHasher)


@pytest.fixture(scope="module")
def hashed():
    return PasswordCheck.hash("li", PASSWORD)


@pytest.fixture
def config(tmp_path, clock, hashed):
    config = ServiceConfig(data=tmp_path, state=tmp_path / "service.db", clock_s=clock, now_us=clock.us)
    with ServiceState(config.state) as state:
        state.put_account(Account("li", "李工", AccountRole.EXPERT, region="CN", password=hashed))
        state.put_account(Account("wu", "", AccountRole.LEAD, password=hashed))
        state.put_account(Account("boss", "", AccountRole.ADMIN, password=hashed))
        state.put_account(Account("eye", "", AccountRole.AUDITOR, password=hashed))
    return config


@pytest.fixture
async def http():
    async with browser_like() as session:
        yield session


async def post(http, url, body, **more):
    async with http.post(url, json=body, **more) as answer:
        return answer.status, await answer.json(), answer.cookies


async def get(http, url):
    async with http.get(url) as answer:
        return answer.status, await answer.json()


async def read_to_the_end(channel):
    while not channel.closed:
        await channel.receive()


async def sign_in(http, service, name="li"):
    status, body, cookies = await post(http, f"{service.url}/login", {"name": name, "password": PASSWORD})
    assert status == 200
    return body, cookies


async def open_room(service, *, allowed):
    """A technician's room, with experts of the service let in or not; the path and the technician's headers."""
    async with aiohttp.ClientSession() as laptop:
        _, body, _ = await redeem(laptop, service.url, service.invite_technician().code, agent=True, name="Wang")
        headers = {"Authorization": f"Bearer {body['token']}"}
        if allowed is not None:
            answer = await post(laptop, f"{service.url}{body['path']}/experts", {"allowed": allowed}, headers=headers)
            assert answer[:2] == (200, {"allowed": allowed})
    return body["path"], headers


async def test_an_expert_signs_in_and_out(http, service):
    body, cookies = await sign_in(http, service)
    assert body == {
        "name": "li", "display": "李工", "role": "expert", "skills": [], "languages": [], "region": "CN",
        "on_duty": False, "makes": [], "at_once": 2,
    }  # fmt: skip
    cookie = cookies["huizhen_account"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert (await get(http, f"{service.url}/api/me"))[1]["name"] == "li"
    assert (await post(http, f"{service.url}/api/duty", {"on_duty": True}))[1]["on_duty"] is True
    assert service.state.find_account("li").on_duty
    assert (await post(http, f"{service.url}/logout", {}))[0] == 200
    async with http.get(f"{service.url}/api/me", headers={"Cookie": f"huizhen_account={cookie.value}"}) as answer:
        assert answer.status == 401, "the old cookie is worth nothing"


async def test_a_sign_in_lasts_a_working_day_and_over_a_restart(http, config, clock):
    async with running_service(config) as service:
        _, cookies = await sign_in(http, service)
    headers = {"Cookie": f"huizhen_account={cookies['huizhen_account'].value}"}
    async with running_service(config) as service, aiohttp.ClientSession() as other:
        async with other.get(f"{service.url}/api/me", headers=headers) as answer:
            assert answer.status == 200
        clock.now += 12 * 3600
        async with other.get(f"{service.url}/api/me", headers=headers) as answer:
            assert answer.status == 401


@pytest.mark.parametrize("name", ["li", "nobody", "LI ", "x" * 5000, "", "../etc", "李"])
async def test_a_stranger_learns_nothing_from_a_refusal(http, service, name):
    status, body, cookies = await post(http, f"{service.url}/login", {"name": name, "password": "wrong password"})
    assert (status, body["error"]) == (401, "consult.login-refused")
    assert not cookies
    assert name[:20] not in body["text"] or not name


async def test_unknown_names_cost_the_same_work_as_known_ones(whole_work, service, monkeypatch):
    """Not timed on a shared machine: the hash that is verified has the same parameters either way."""
    whole = await asyncio.to_thread(PasswordCheck.hash, "li", PASSWORD)
    service.state.put_account(Account("li", "李工", AccountRole.EXPERT, region="CN", password=whole))
    checked = []
    real = service.passwords._verify
    monkeypatch.setattr(
        service.passwords, "_verify", lambda kept, password: checked.append(kept) or real(kept, password)
    )
    assert not await service.passwords.fits(service.state.find_account("li"), "wrong")
    assert not await service.passwords.fits(service.state.find_account("nobody"), "wrong")
    assert len(checked) == 2
    assert checked[0].rsplit("$", 2)[0] == checked[1].rsplit("$", 2)[0], "algorithm, memory, time, lanes"
    assert checked[0].startswith("$argon2id$v=19$m=65536,t=3,p=4$"), "RFC 9106, the second recommended choice"


async def test_nobody_signs_in_with_the_password_that_strangers_are_checked_against(service, monkeypatch):
    monkeypatch.setattr(service.passwords, "_verify", lambda kept, typed: True)
    assert not await service.passwords.fits(None, "whatever fits")


async def test_guessing_is_slowed_down_by_account_and_by_address(http, service, clock):
    per_account = service.config.limits.logins // 2
    url = f"{service.url}/login"
    for _ in range(per_account):
        assert (await post(http, url, {"name": "li", "password": "guess"}))[0] == 401
    assert (await post(http, url, {"name": "li", "password": PASSWORD}))[0] == 429, "the right one too, for now"
    for n in range(service.config.limits.logins - per_account - 1):
        assert (await post(http, url, {"name": f"other{n}", "password": "guess"}))[0] == 401
    assert (await post(http, url, {"name": "another", "password": "guess"}))[0] == 429
    clock.now += 60
    assert (await post(http, url, {"name": "li", "password": PASSWORD}))[0] == 200


async def test_an_account_alone_opens_no_room(http, service):
    path, headers = await open_room(service, allowed=None)
    await sign_in(http, service)
    assert await get(http, f"{service.url}/api/rooms") == (200, {"rooms": []})
    closed = await post(http, f"{service.url}{path}/enter", {})
    missing = await post(http, f"{service.url}/r/{'0' * 12}/enter", {})
    assert closed[:2] == missing[:2], "a room that is not for them is one that does not exist"
    assert closed[0] == 410
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{service.url}{path}/watch")
    assert refused.value.status == 401
    # Only the technician opens the door, and may close it again.
    for who in ({}, {"headers": {"Authorization": "Bearer x"}}):
        assert (await post(http, f"{service.url}{path}/experts", {"allowed": True}, **who))[0] == 401
    for allowed, status in ((True, 200), (False, 410)):
        await post(http, f"{service.url}{path}/experts", {"allowed": allowed}, headers=headers)
        assert (await post(http, f"{service.url}{path}/enter", {}))[0] == status


@pytest.mark.parametrize(("name", "role"), [("li", "expert"), ("wu", "lead"), ("eye", "observer")])
async def test_a_room_that_lets_experts_in_is_listed_and_entered(http, service, name, role):
    path, _ = await open_room(service, allowed=True)
    await sign_in(http, service, name)
    _, body = await get(http, f"{service.url}/api/rooms")
    assert [room["path"] for room in body["rooms"]] == [path]
    assert "vin" not in json.dumps(body).lower()
    persons = set()
    for _ in range(2):
        status, entered, _ = await post(http, f"{service.url}{path}/enter", {})
        assert (status, entered["role"]) == (200, role)
        async with http.ws_connect(f"{service.url}{path}/watch") as channel:
            welcome = json.loads((await channel.receive()).data)
        persons.add(welcome["you"]["id"])
    assert len(persons) == 1, "one account is one person, however often it enters"
    assert welcome["you"]["name"] == (service.state.find_account(name).shown_name)


async def test_an_administrator_enters_no_room(http, service):
    path, _ = await open_room(service, allowed=True)
    await sign_in(http, service, "boss")
    assert await get(http, f"{service.url}/api/rooms") == (200, {"rooms": []})
    assert (await post(http, f"{service.url}{path}/enter", {}))[:2][0] == 403


async def test_the_audit_says_who_did_what_and_only_some_read_it(http, service):
    path, _ = await open_room(service, allowed=True)
    await post(http, f"{service.url}/login", {"name": "li", "password": "wrong one"})
    await post(http, f"{service.url}/login", {"name": "my secret password", "password": "li"})
    await sign_in(http, service)
    assert (await get(http, f"{service.url}/api/audit"))[0] == 403
    await post(http, f"{service.url}{path}/enter", {})
    await post(http, f"{service.url}/logout", {})
    assert (await get(http, f"{service.url}/api/audit"))[0] == 401
    await sign_in(http, service, "eye")
    status, body = await get(http, f"{service.url}/api/audit")
    assert status == 200
    said = [(entry["what"], entry["who"], entry["room"]) for entry in body["entries"]]
    room = path[3:]
    assert said == [
        ("invite", "", room),
        ("room-open", "", room),
        ("redeem", "Wang", room),
        ("room-experts", "Wang", room),
        ("login-refused", "li", ""),
        ("login-refused", "", ""),
        ("login", "li", ""),
        ("enter", "li", room),
        ("logout", "li", ""),
        ("login", "eye", ""),
    ]
    assert "secret" not in json.dumps(body)
    status, rest = await get(http, f"{service.url}/api/audit?after={body['entries'][-2]['n']}")
    assert [entry["what"] for entry in rest["entries"]] == ["login"]
    assert (await get(http, f"{service.url}/api/audit?after=-1"))[0] == 400


async def test_who_is_removed_is_shown_out_while_the_service_runs(http, service, config, eventually, clock):
    path, _ = await open_room(service, allowed=True)
    await sign_in(http, service)
    await post(http, f"{service.url}{path}/enter", {})
    async with http.ws_connect(f"{service.url}{path}/watch") as channel:
        reading = asyncio.create_task(read_to_the_end(channel))
        with ServiceState(config.state) as elsewhere:
            assert elsewhere.remove_account("li")
        clock.now += 1
        await eventually(lambda: not service.rooms[path[3:]].members)
        async with asyncio.timeout(120):
            await reading
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{service.url}{path}/watch")
    assert refused.value.status == 401
    assert (await get(http, f"{service.url}/api/me"))[0] == 401


@given(st.text(max_size=40))
def test_names_of_accounts_are_plain(name):
    import re

    fits = re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,31}", name) is not None
    try:
        account = Account(name)
    except AccountBroken:
        assert not fits
    else:
        assert fits
        assert account.shown_name == name


@pytest.mark.parametrize(
    "wrong",
    [{"display": "a\nb"}, {"skills": ("x" * 41,)}, {"skills": ("a",) * 21}, {"region": "<b>"}, {"languages": ("",)}],
)
def test_fields_that_do_not_fit_are_refused(wrong):
    with pytest.raises(AccountBroken):
        Account("li", **wrong)


# -- the command line --------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    import io

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))

    def run(*words, typed="", lang="en"):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = main(["--lang", lang, "consult", "user", *words, "--data", str(tmp_path / "rooms")])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_accounts_are_made_changed_listed_and_removed(run, tmp_path):
    ServiceState(tmp_path / "rooms" / "service.db").close()
    assert run("list")[1] == "There are no accounts yet; 'huizhen consult user add NAME' makes one.\n"
    words = (
        "--role",
        "lead",
        "--skill",
        "battery",
        "--skill",
        "bms",
        "--language",
        "zh",
        "--region",
        "CN",
        "--on-duty",
    )
    code, out, err = run("add", "wang", "--display", "王工", *words, typed=f"{PASSWORD}\n")
    assert (code, out, err) == (Exit.DONE, "Account wang is made.\n", "")
    code, out, _ = run("set", "wang", "--off-duty", "--json")
    assert json.loads(out) == {
        "schema": "huizhen.account/1", "name": "wang", "display": "王工", "role": "lead", "skills": ["battery", "bms"],
        "languages": ["zh"], "region": "CN", "on_duty": False, "makes": [], "at_once": 2,
    }  # fmt: skip
    assert "wang (王工)" in run("list")[1]
    assert json.loads(run("list", "--json")[1])["accounts"][0]["name"] == "wang"
    assert run("passwd", "wang", typed="another password\n")[0] == Exit.DONE
    assert run("remove", "wang")[1] == "Account wang is removed.\n"
    told = json.loads(run("audit", "--json")[1])["entries"]
    assert [entry["what"] for entry in told] == ["account-add", "account-set", "account-passwd", "account-remove"]
    content = (tmp_path / "rooms" / "service.db").read_bytes()
    assert PASSWORD.encode() not in content


@pytest.mark.parametrize(
    ("words", "typed", "said"),
    [
        (("add", "Wang"), PASSWORD, "a name is 1–32 of a-z 0-9 . _ -"),
        (("add", "wang"), "", "no password"),
        (("add", "wang"), "short", "a password has 10 to 256 characters"),
        (("add", "old"), PASSWORD, "it exists already"),
        (("set", "none", "--on-duty"), "", "there is no such account"),
        (("passwd", "none"), PASSWORD, "there is no such account"),
        (("remove", "none"), "", "there is no such account"),
        (("add", "wang", "--skill", "<script>"), PASSWORD, "at most 20 words"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(run, words, typed, said):
    assert run("add", "old", typed=f"{PASSWORD}\n")[0] == Exit.DONE
    code, out, err = run(*words, typed=typed)
    assert (code, out) == (Exit.USAGE, "")
    assert said in err
    assert err.count("\n") == 1
    assert "没有" in run("remove", "none", lang="zh")[2]


def test_a_password_is_no_option(capsys):
    with pytest.raises(SystemExit):
        main(["consult", "user", "add", "x", "--password", "y"])
    assert "--password" in capsys.readouterr().err


def test_a_new_password_signs_everybody_out(tmp_path, hashed):
    with ServiceState(tmp_path / "service.db") as state:
        state.put_account(Account("li", password=hashed))
        state.open_login(b"x" * 32, "li", 2e9, 1.0)
        assert state.find_login(b"x" * 32, 1.0).name == "li"
        state.put_account(Account("li", password=hashed), sign_out=True)
        assert state.find_login(b"x" * 32, 1.0) is None


def test_a_file_that_is_no_database_says_so(tmp_path):
    from consult.errors import StateBroken

    (tmp_path / "service.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StateBroken, match=r"service\.db"):
        ServiceState(tmp_path / "service.db")
    with ServiceState(tmp_path / "service2.db") as state:
        with sqlite3.connect(state.path) as db:
            db.execute("DROP TABLE audit")
        db.close()
        with pytest.raises(StateBroken):
            state.audit()


async def test_a_technician_s_program_lets_experts_in(tmp_path, eventually, http):
    import os
    import signal
    import sys

    from servicekit import ServeProcess

    async with ServeProcess(tmp_path / "rooms") as service:
        words = ("consult", "open", "--demo", "--listen", "1", "--server", service.url, "--invite")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "huizhen", *words, service.offer["technician_invite"], "--let-experts-in", "--json",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.PIPE,
            env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)},
        )  # fmt: skip
        try:
            async with asyncio.timeout(120):
                told = json.loads(await process.stdout.readline())
                while told["schema"] != "huizhen.room/1":  # that the car is there may be told first
                    told = json.loads(await process.stdout.readline())
            room = told["room"]
            with ServiceState(tmp_path / "rooms" / "service.db") as state:
                assert [(entry.ident, entry.lets_experts_in) for entry in state.open_rooms()] == [(room, True)]
        finally:
            process.send_signal(signal.SIGINT)
            await process.communicate()


def test_without_a_server_there_are_no_accounts_to_let_in(capsys):
    assert main(["--lang", "en", "consult", "open", "--demo", "--let-experts-in"]) == Exit.USAGE
    assert "--let-experts-in needs --server" in capsys.readouterr().err
