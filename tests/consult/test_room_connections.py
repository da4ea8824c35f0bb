"""Somebody with several connections at once, and what a role may not have by any of them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import itertools
import json
import sqlite3
import time
import weakref

import numpy as np
import pytest
from servicekit import browser_like, redeem

import consult.room
from consult.accounts import Account, AccountRole
from consult.errors import TooMuch
from consult.invites import Role
from consult.journal import Journal
from consult.member import Member
from consult.messages import Chat, Hello, Line, View, Want
from consult.peers import PeerContext, _Viewer
from consult.rawframes import encode_raw
from consult.room import Room
from consult.service import running_service
from consult.wire import RAW, encode_samples, kind_of
from diag.frames import Frame

SIGNALS = {"stream": 1, "signals": [{"name": "a", "unit": "V"}]}
FRAMES = {"stream": 2, "signals": [], "kind": "raw"}


def block(seq, *, epoch=9):
    values = np.zeros(1, np.float32)
    return encode_samples(stream=1, epoch=epoch, seq=seq, t_us=seq, values=values, valid=np.ones(1, np.bool_))


@pytest.fixture
def room(tmp_path):
    with Journal(tmp_path / "a.room") as journal:
        room = Room("a", journal, created_us=0)
        room.take_hello(Hello(1, 9, {}, [SIGNALS, FRAMES], 0), 1, "Wang", 0)
        yield room


def written(room):
    batch = room.take_batch()
    room.write_batch(batch)
    room.acknowledge(batch)


def kinds(member):
    """The kinds of the events that somebody was told since their welcome."""
    return [said["kind"] for said in map(json.loads, member.outbox._words) if said["type"] == "event"]


def test_who_falls_back_on_an_older_connection_misses_no_event(room):
    first, second = Member(2, Role.EXPERT, "Li"), Member(2, Role.EXPERT, "Li")
    room.enter(first, 0)
    room.enter(second, 1)
    speaker = Member(3, Role.LEAD, "Zhao")
    room.enter(speaker, 2)
    for number in range(3):
        room.say(Chat(str(number), "x"), speaker.to_json(), Role.LEAD, 3)
    assert kinds(first) == ["join"], "a newer connection has taken its place"
    room.leave(second, 4)
    assert room.members[2] is first
    assert kinds(first) == ["join", "join", "chat", "chat", "chat"]
    room.say(Chat("last", "x"), speaker.to_json(), Role.LEAD, 5)
    assert kinds(first)[-1:] == ["chat"]
    assert len(kinds(first)) == 6


def test_connections_that_ended_are_let_go_of_however_often_somebody_comes_back(room):
    members = [Member(2, Role.EXPERT, "Li") for _ in range(20)]
    seen = [weakref.ref(member.outbox) for member in members]
    room.enter(members[0], 0)
    for older, newer in itertools.pairwise(members):
        room.enter(newer, 1)  # the silent one is known to be dead only later
        room.leave(older, 2)
    assert room.connections_of(2) == [members[-1]]
    del members, older, newer
    gc.collect()
    assert sum(outbox() is not None for outbox in seen) <= 2


async def test_an_account_that_is_removed_loses_all_its_connections(service, eventually):
    ident = service.invite_technician().code
    async with browser_like() as laptop, browser_like() as page:
        _, body, _ = await redeem(laptop, service.url, ident, agent=True)
        room = service.room(body["room"])
        service.state.put_account(Account("li", role=AccountRole.LEAD))
        token, _ = service.sessions.open(room.ident, Role.LEAD, "li", service.utc_s, "li")
        address, headers = f"{service.url}/r/{room.ident}/watch", {"Authorization": f"Bearer {token}"}
        older = await page.ws_connect(address, headers=headers)
        newer = await page.ws_connect(address, headers=headers)
        await eventually(lambda: len(room.connections_of(next(iter(room.members), 0))) == 2)
        gone = service.sessions.close_accounts({})
        assert gone
        service.show_out(gone)
        for socket in (newer, older):
            while not socket.closed:
                await socket.receive(timeout=5)
        await eventually(lambda: not room.members)


async def test_raw_frames_of_an_older_epoch_are_for_who_may_see_the_vin(room):
    frames = (Frame(0x7E8, b"LHZEV400", t_ns=1_000),)
    room.accept(encode_raw(frames, stream=2, epoch=9, seq=0))
    room.accept(block(0))
    written(room)
    # The laptop begins anew, without the raw stream, or with another one of its number.
    for schemas in ([SIGNALS], [SIGNALS, {**SIGNALS, "stream": 2}]):
        room.take_hello(Hello(1, room.epoch + 1, {}, schemas, 0), 1, "Wang", 0)
        context = PeerContext(time.monotonic, lambda: 0, webrtc=False, edge_addresses=())
        for role in Role:
            viewer = _Viewer(None, room, Member(2, role, "Li"), context)
            for stream in (1, 2):
                await viewer._fill(Want(stream, 9, 0, 5))
            got = {kind_of(one) for one in viewer.member.outbox._fill}
            assert (RAW in got) is role.may_see_vin
            assert got


def test_a_block_that_there_was_no_room_for_is_asked_for_again(room, monkeypatch):
    monkeypatch.setattr(consult.room, "_MAX_UNWRITTEN_BYTES", 2 * len(block(0)))
    for seq in range(2):
        room.accept(block(seq))
    with pytest.raises(TooMuch):
        room.accept(block(2))
    written(room)
    wanted = room.take_hello(Hello(1, 9, {}, [SIGNALS, FRAMES], 0), 1, "Wang", 0)
    assert wanted["1"] == 2
    for seq in range(2, 4):
        room.accept(block(seq))
    written(room)
    assert [seq for seq, _ in room.journal.blocks(1, 9, 0, 99)] == [0, 1, 2, 3]
    assert all(event["kind"] != "gap" for event in room.events_after(0))


async def test_who_floods_the_room_with_looks_throws_nobody_out(room):
    watchers = [Member(number, Role.EXPERT, "Li") for number in range(3, 30)]
    context = PeerContext(lambda: 0.0, lambda: 0, webrtc=False, edge_addresses=())
    viewer = _Viewer(None, room, Member(2, Role.OBSERVER, "Ma"), context)
    for member in (viewer.member, *watchers):
        room.enter(member, 0)
    for number in range(5_000):
        await viewer._take(View(number, number + 1, 0, ["s" * 200] * 32))
        await viewer._take(Line(number))
    assert not any(member.outbox.overrun for member in watchers)
    assert max(member.outbox._words_bytes for member in watchers) < 1_000_000
    # Without the limit of its own, too: who lags is spared what is worth nothing later.
    for number in range(5_000):
        room.tell_view(viewer.member, View(number, number + 1, 0, ["s" * 200] * 32))
    assert max(member.outbox._words_bytes for member in watchers) < 1_000_000


async def test_an_invite_for_the_technician_s_phone_opens_no_room_that_has_ended(service, eventually):
    async with browser_like() as laptop, browser_like() as phone:
        _, body, _ = await redeem(laptop, service.url, service.invite_technician().code, agent=True)
        ident = body["room"]
        late = service.invite(ident, Role.TECHNICIAN).code
        service.room(ident).close("consult.room-closed")
        await eventually(lambda: ident not in service.rooms)
        for as_agent in (True, False):
            status, body, _ = await redeem(phone, service.url, late, agent=as_agent)
            assert (status, body["error"]) in ((410, "consult.room-closed"), (410, "consult.invite-used"))
        assert ident not in service.rooms


def test_somebody_can_still_come_in_however_much_was_said(room):
    speaker = {"id": 2, "role": "expert", "name": "Li"}
    for number in range(4_500):
        room.say(Chat(str(number), "长" * 2_000), speaker, Role.EXPERT, number)
    late = Member(3, Role.LEAD, "Zhao")
    room.enter(late, 0)
    assert not late.outbox.overrun
    welcome = json.loads(late.outbox._words[0])
    assert welcome["events"][-1]["id"] == "4499"
    written(room)
    again = Room("a", room.journal, created_us=0)
    again.restore(room.journal.resume())
    later = Member(4, Role.LEAD, "Chen")
    again.enter(later, 0)
    assert not later.outbox.overrun
    assert again.events_after(0)[0]["kind"] == "chat"


async def test_a_program_that_writes_to_the_database_keeps_nobody_waiting_but_who_writes_too(config, eventually):
    settings = dataclasses.replace(config, state=config.data / "service.db")
    async with running_service(settings) as service, browser_like() as laptop:
        _, body, _ = await redeem(laptop, service.url, service.invite_technician().code, agent=True)
        address, headers = f"{service.url}/r/{body['room']}/invites", {"Authorization": f"Bearer {body['token']}"}
        with contextlib.closing(sqlite3.connect(settings.state, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            asking = asyncio.create_task(laptop.post(address, json={"role": "expert"}, headers=headers))
            await eventually(service._saving.locked)
            began_s = time.perf_counter()
            async with laptop.get(f"{service.url}/join") as answer:
                assert answer.status == 200
            assert time.perf_counter() - began_s < 2
            assert not asking.done()
            other.execute("ROLLBACK")
        async with await asking as answer:
            assert answer.status == 200
