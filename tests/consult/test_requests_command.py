"""Requests as the technician meets them: ``consult open`` in a process of its own, answered in JSON and by letters."""

from __future__ import annotations

import asyncio
import json
import signal

import aiohttp
import pytest
from test_consult_command import DEMO, huizhen, json_line

from consult.invites import Role
from consult.messages import Ask, Decide, Hold, encode_message
from consult.requestproof import decision_proof, secret_from_text
from huizhen.exits import Exit

BMS = "0x7EC"


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def watch(http, url, name):
    """Redeems a link as a page does: what stands behind a dot is kept."""
    base, _, fragment = url.partition("/join#")
    code, _, secret = fragment.partition(".")
    async with http.post(f"{base}/redeem", json={"invite": code, "name": name}) as answer:
        body, cookie = await answer.json(), answer.cookies["huizhen_session"].value
    headers = {"Cookie": f"huizhen_session={cookie}", "Origin": base}
    return await http.ws_connect(f"{base}{body['path']}/watch", headers=headers), secret, body


async def event(socket, kind, ident=None):
    async with asyncio.timeout(120):
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            told = json.loads(message.data)
            if told["type"] == "event" and told["kind"] == kind and ident in (None, told["id"]):
                return told
    raise AssertionError("the socket closed")


async def request_line(process, kind, ident=None):
    while True:
        line = await json_line(process, "huizhen.room-request/1")
        if line["event"] == kind and ident in (None, line["id"]):
            return line


def type_in(process, text):
    process.stdin.write(f"{text}\n".encode())


async def test_a_program_answers_in_json_and_a_phone_with_its_secret(tmp_path, http):
    async with huizhen("consult", "open", *DEMO, "--json", tmp_path=tmp_path) as process:
        room = await json_line(process, "huizhen.room/1")
        expert, *_ = await watch(http, room["url"], "Li")
        await expert.send_str(encode_message(Ask("one", BMS, "1902FF", "which codes")))
        shown = await request_line(process, "shown", "one")
        assert (shown["ecu"], shown["data"], shown["risk"], shown["why"]) == (BMS, "1902FF", "A", "which codes")
        assert shown["name"] == {"en": "read codes", "zh": "读故障码"}
        assert 0 < shown["expires_s"] <= 60
        type_in(process, '{"decide": "approve", "id": "one"}')
        over = await request_line(process, "over", "one")
        assert (over["outcome"], over["result"]["answers"][0]["data"][:4]) == ("done", "5902")
        assert (await event(expert, "result", "one"))["body"]["sig"] == over["result"]["sig"]

        type_in(process, '{"phone": true}')
        link = await json_line(process, "huizhen.room/1")
        assert link["role"] == Role.TECHNICIAN
        phone, secret, _ = await watch(http, link["url"], "phone")
        await expert.send_str(encode_message(Ask("two", BMS, "14FFFFFF", "clear them")))
        seen = await event(phone, "seen", "two")
        digest, key = seen["body"]["digest"], secret_from_text(secret)
        assert seen["body"]["unplugged"] is True
        assert seen["body"]["state"]["speed_kmh"] == 0
        proof = decision_proof(key, digest=digest, ident="two", decision="approve", unplugged=True)
        await phone.send_str(encode_message(Decide("two", digest, "approve", proof, unplugged=True)))
        over = await request_line(process, "over", "two")
        assert (over["outcome"], over["result"]["answers"][0]["data"]) == ("done", "54")

        type_in(process, '{"decide": "approve"}')
        type_in(process, '{"decide": "approve", "id": "two"}')
        rejected = await request_line(process, "rejected", "two")
        assert rejected["code"] == "consult.already-decided"
        assert rejected["text"]["zh"]
        await phone.send_str(encode_message(Hold("two", 1)))
        type_in(process, "/quit")
        await process.wait()
    assert process.returncode == Exit.DONE
    assert "no word for requests" in process.rest[1]
    assert "Traceback" not in process.rest[1]


async def read_until(process, words, timeout_s=120):
    """What the terminal shows up to some words and the end of their line; the rest waits for the next call."""
    text = getattr(process, "unread", "")
    async with asyncio.timeout(timeout_s):
        while words not in text or "\n" not in text[text.index(words) :]:
            data = await process.stdout.read(4096)
            assert data, text
            text += data.decode(errors="replace")
    end = text.index("\n", text.index(words)) + 1
    process.unread = text[end:]
    return text[:end]


async def test_letters_in_the_terminal_and_the_first_interrupt_as_kill_switch(tmp_path, http):
    async with huizhen("consult", "open", *DEMO, tmp_path=tmp_path) as process:
        text = await read_until(process, "/join#")
        url = next(word for word in text.split() if "/join#" in word)
        expert, *_ = await watch(http, url, "Li\x1b[2J")
        await expert.send_str(encode_message(Ask("one", BMS, "14FFFFFF", "clear\x1b[2J")))
        text = await read_until(process, "/stop stops everything")
        assert "REQUEST from Li" in text
        assert "14 FF FF FF" in text
        assert "class B" in text
        assert "0 km/h" in text
        assert "\x1b[2J" not in text
        type_in(process, "y")
        await read_until(process, "is no charging cable plugged in?")
        type_in(process, "n")
        await read_until(process, "/stop stops everything")
        type_in(process, "y")
        await read_until(process, "is no charging cable plugged in?")
        type_in(process, "y")
        text = await read_until(process, "answer 54")
        assert "clear codes" in text
        assert (await event(expert, "result", "one"))["body"]["outcome"] == "done"
        await expert.send_str(encode_message(Ask("two", BMS, "1902FF", "again")))
        await read_until(process, "s = it and its like until the end")
        process.send_signal(signal.SIGINT)
        await read_until(process, "Nothing is granted until you type /resume")
        stopped = await event(expert, "stop")
        assert stopped["body"] == {"stopped": True}
        await expert.send_str(encode_message(Ask("three", BMS, "1902FF", "again")))
        assert (await event(expert, "result", "three"))["body"]["code"] == "consult.grants-stopped"
        type_in(process, "/resume")
        assert (await event(expert, "stop"))["body"] == {"stopped": False}
        type_in(process, "that was close")
        assert (await event(expert, "chat"))["text"] == "that was close"
        process.send_signal(signal.SIGINT)
        await process.wait()
    assert process.returncode == Exit.DONE
    assert "press Ctrl-C again" in process.rest[1]
    assert "Traceback" not in process.rest[1]


async def test_the_kill_switch_is_heard_while_something_else_is_asked(tmp_path):
    async with huizhen("consult", "open", *DEMO, tmp_path=tmp_path) as process:
        await read_until(process, "/join#")
        type_in(process, "/close")
        type_in(process, "/stop")
        text = await read_until(process, "Nothing is granted until you type /resume")
        assert "STOPPED" in text
        type_in(process, "/cancel")
        type_in(process, "、resume")
        type_in(process, "/stpo")
        type_in(process, "/invite lead")
        await read_until(process, "Send this link to the lead expert")
        type_in(process, "/quit")
        await process.wait()
    assert process.returncode == Exit.DONE
    assert "requests can be granted again" in process.rest[1]
    assert "there is no /stpo" in process.rest[1]
