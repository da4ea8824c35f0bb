"""``huizhen consult`` as a person or a script runs it: processes, real sockets, the simulated car."""

import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
from argparse import Namespace
from types import SimpleNamespace

import aiohttp
import pytest

from huizhen.cli import main
from huizhen.console import standard
from huizhen.exits import Exit
from huizhen.language import Translator
from huizhen.roomservice import _show_technician_invite
from huizhen.roomview import printable, qr_lines

DEMO = ("--demo", "--scenario", "weak-cell", "--listen", "1")


@contextlib.asynccontextmanager
async def huizhen(*words, tmp_path):
    """The program in a process of its own; ended by Ctrl-C if it has not ended itself."""
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1", "HUIZHEN_LANG": "en"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "huizhen",
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        async with asyncio.timeout(120):
            out, err = await process.communicate()
        process.rest = out.decode(), err.decode()


async def json_line(process, schema, timeout_s=120):
    """The next line of a schema on standard output."""
    async with asyncio.timeout(timeout_s):
        while line := await process.stdout.readline():
            found = json.loads(line)
            if found["schema"] == schema:
                return found
    raise AssertionError((await process.stderr.read()).decode())


async def join(http, url, name="Li"):
    """Redeems an invite as the page does and opens its websocket."""
    server, _, code = url.partition("/join#")
    async with http.post(f"{server}/redeem", json={"invite": code, "name": name}) as answer:
        assert answer.status == 200
        path = (await answer.json())["path"]
    return await http.ws_connect(f"{server}{path}/watch", compress=0)


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


async def heard(socket, condition, timeout_s=120):
    """The first JSON message that fits."""
    async with asyncio.timeout(timeout_s):
        while True:
            message = await socket.receive()
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
            if message.type is aiohttp.WSMsgType.TEXT and condition(found := json.loads(message.data)):
                return found


async def test_open_demo_shows_the_car_streams_and_chats(tmp_path, http):
    async with huizhen("consult", "open", *DEMO, "--json", "--name", "Wang", tmp_path=tmp_path) as process:
        room = await json_line(process, "huizhen.room/1")
        assert room["url"].startswith("http://127.0.0.1:")
        assert room["invite_expires"].endswith("Z")
        socket = await join(http, room["url"])
        car = await heard(socket, lambda message: message["type"] == "car" and message["report"])
        assert car["report"]["schema"] == "huizhen.scan/1"
        assert car["report"]["simulated"] is True
        assert "P0DE6-16" in [dtc["display"] for dtc in car["report"]["dtcs"]]
        assert car["report"]["cases"]["matches"][0]["fix"]["zh"]
        assert "…" in car["vin"]
        assert set(car["report"]["cases"]) >= {"verdict", "why"}
        assert [(stream["stream"], stream["kind"]) for stream in car["streams"]] == [(0, "signals"), (1, "cells")]
        brought = await heard(socket, lambda message: message["type"] == "event" and message["kind"] == "file")
        assert (brought["text"], brought["body"]["open"]) == ("scan.hzb", False)
        assert "CellVoltage_096" in [signal["name"] for signal in car["streams"][0]["signals"]]
        head = await heard(socket, lambda message: message["type"] == "beat" and message["heads"][0]["next"] > 20)
        assert head["agent"] is True
        process.stdin.write("看一下 17 号\n".encode())
        said = await heard(socket, lambda message: message["type"] == "event" and message["kind"] == "chat")
        assert (said["text"], said["who"]["name"]) == ("看一下 17 号", "Wang")
        await socket.send_json({"type": "chat", "id": "1", "text": "ok"})
        async with asyncio.timeout(120):
            while (event := await json_line(process, "huizhen.room-event/1"))["who"]["name"] != "Li" or not event[
                "text"
            ]:
                pass
        assert event["text"] == "ok"
        process.send_signal(signal.SIGINT)
        assert (await heard(socket, lambda message: message["type"] == "closed"))["code"] == "consult.room-closed"
        await socket.close()
    assert process.returncode == Exit.DONE
    assert process.rest[1] == ""
    assert list((tmp_path / "huizhen" / "rooms").glob("*.room"))


async def test_open_in_words_prints_link_and_code_and_ends_by_itself(tmp_path):
    async with huizhen("consult", "open", *DEMO, "--duration", "2", tmp_path=tmp_path) as process:
        async with asyncio.timeout(120):
            out, err = (part.decode() for part in await process.communicate(b"hello\n"))
    assert process.returncode == Exit.DONE
    assert "/join#" in out
    assert "█▀" in out
    assert "only" in err
    assert "The room is closed" in out
    assert "Traceback" not in err


async def test_the_technician_reads_the_findings_before_the_link(tmp_path):
    words = ("consult", "open", "--demo", "--scenario", "isolation", "--duration", "1")
    async with huizhen(*words, tmp_path=tmp_path) as process:
        async with asyncio.timeout(120):
            out = (await process.communicate(b""))[0].decode()
    assert process.returncode == Exit.DONE
    assert out.index("STOP") < out.index("HIGH VOLTAGE") < out.index("/join#") < out.index("The room is closed")


async def test_open_at_a_service_elsewhere_and_its_refusals(tmp_path, http):
    async with huizhen("consult", "serve", "--port", "0", "--json", tmp_path=tmp_path) as service:
        offer = await json_line(service, "huizhen.service/1")
        there = ("--server", offer["url"], "--invite", offer["technician_invite"])
        async with huizhen("consult", "open", *DEMO, *there, "--json", tmp_path=tmp_path) as process:
            room = await json_line(process, "huizhen.room/1")
            assert room["url"].startswith(offer["url"])
            socket = await join(http, room["url"])
            await heard(socket, lambda message: message["type"] == "beat" and message["heads"][0]["next"] > 5)
            process.stdin.write(b"/quit\n")
            await heard(socket, lambda message: message["type"] == "closed")
            await socket.close()
            await process.wait()
        assert process.returncode == Exit.DONE
        following = await json_line(service, "huizhen.service/1")
        assert following["technician_invite"] != offer["technician_invite"], "the next technician's is at hand"
        async with huizhen("consult", "open", *DEMO, *there, tmp_path=tmp_path) as again:
            await again.wait()
        assert again.returncode == Exit.REMOTE
        assert again.rest[1] == "huizhen: this invite was used before; each works once, ask for a new one\n"
    assert service.returncode == Exit.DONE


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("open", "--demo", "--server", "http://127.0.0.1:9"), Exit.USAGE, "--server and --invite belong together"),
        (("open", "--demo", "--invite", "x"), Exit.USAGE, "--server and --invite belong together"),
        (("open", *DEMO, "--server", "http://127.0.0.1:9", "--invite", "x"), Exit.REMOTE, "no room service at"),
        (("open",), Exit.USAGE, "'huizhen doctor' says"),
        (("open", "-i", "slcan"), Exit.USAGE, "no car named: give -i"),
        (("serve", "--host", "203.0.113.7"), Exit.REMOTE, "cannot listen on 203.0.113.7"),
        (("serve", "--tls-cert", "/nonexistent.pem"), Exit.USAGE, "cannot use the certificate /nonexistent.pem"),
        (("serve", "--data", "/proc/x"), Exit.USAGE, "cannot keep recordings in /proc/x"),
        (("open", *DEMO, "--data", "/proc/x"), Exit.USAGE, "cannot keep recordings in /proc/x"),
        (("open", *DEMO, "--server", "ftp://x", "--invite", "x"), Exit.USAGE, "begins with http:// or https://"),
        (
            ("open", *DEMO, "--server", "https://127.0.0.1:9", "--invite", "x", "--ca", "/nonexistent.pem"),
            Exit.USAGE,
            "cannot use the certificate /nonexistent.pem",
        ),
    ],
)
def test_one_clear_line_and_the_exit_code(words, code, said, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("CAN_INTERFACE", raising=False)
    assert main(["--lang", "en", "consult", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [("serve", "--port", "70000"), ("serve", "--duration", "0"), ("open", "--duration", "x"), ()]
)
def test_options_that_make_no_sense(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(["consult", *words])
    assert end.value.code == Exit.USAGE
    assert "Traceback" not in capsys.readouterr().err


def test_the_code_on_the_screen_is_the_link():
    import segno

    text = "http://127.0.0.1:8443/join#abc"
    lines = qr_lines(text, coloured=False)
    light = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}
    rows = [[light[sign][half] for sign in line] for line in lines for half in (0, 1)]
    expected = [[1 - int(dark) for dark in row] for row in segno.make(text, error="l").matrix_iter(border=2)]
    assert rows[: len(expected)] == expected


def test_words_from_the_network_do_not_steer_the_terminal():
    assert printable("a\x1b[2Jb\x07\r\n中") == "a�[2Jb��\n中"


def test_the_technicians_command_can_be_pasted_whatever_the_folder_is_called(capsys, tmp_path):
    path = tmp_path / "我的 车" / "ca.pem"
    service = SimpleNamespace(
        url="https://a:8443", certificate=SimpleNamespace(authority=SimpleNamespace(certificate_path=path))
    )
    invite = SimpleNamespace(code="x", expires_us=0)
    _show_technician_invite(invite, service, Namespace(), standard(Translator("en")))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "--invite" in line]
    words = shlex.split(line)
    assert words[words.index("--ca") + 1] == str(path)
