"""Records go when their days are over: not later, and never because a clock is wrong."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from privacykit import (
    MovedClock,
    add_account,
    get,
    hello,
    invited,
    post,
    privacy_config,
    report_of,
    sign_in,
    technician,
    visitor,
)

from consult.accounts import AccountRole
from consult.deletion import DELETED
from consult.privacyconfig import PrivacyConfig
from consult.privacystore import KeptRoom, PrivacyStore, RoomPrivacy
from consult.retention import FIRST_WEEK_US, LOOK_EVERY_S, Retention, terms_of
from consult.retentionclock import BELIEVED_AFTER_S, LONGEST_DOWN_S, ClockWatch
from consult.service import running_service
from consult.servicestate import AuditEntry, RoomEntry

DAY = 86_400
DAY_US = DAY * 1_000_000
NOW = 1_800_000_000 * 1_000_000


# -- whether the clock is believed -------------------------------------------------------------------------------------


def watch_at(wall_us=NOW, mono_s=0.0):
    watch = ClockWatch()
    assert watch.look(wall_us, mono_s)
    return watch


def test_a_clock_that_goes_on_is_believed():
    watch = watch_at()
    assert all(watch.look(NOW + n * 3600 * 1_000_000, n * 3600.0) for n in range(1, 50))


@pytest.mark.parametrize("leap_s", [3601, 40 * DAY, 80 * 365 * DAY, -3601, -40 * DAY])
def test_a_leap_is_not_believed_however_often_it_is_looked_at(leap_s):
    watch = watch_at()
    for n in range(1, 100):
        assert not watch.look(NOW + (n * 3600 + leap_s) * 1_000_000, n * 3600.0)


def test_a_clock_that_is_back_where_it_should_be_is_believed():
    watch = watch_at()
    assert not watch.look(NOW + (3600 + 90 * DAY) * 1_000_000, 3600.0)
    assert watch.look(NOW + 2 * 3600 * 1_000_000, 7200.0)
    assert watch.look(NOW + 3 * 3600 * 1_000_000, 10_800.0)


def test_over_a_restart_only_so_much_time_may_have_passed():
    assert ClockWatch(NOW).look(NOW + int(LONGEST_DOWN_S) * 1_000_000, 5.0)
    assert not ClockWatch(NOW).look(NOW + int(LONGEST_DOWN_S + 1) * 1_000_000, 5.0)
    assert not ClockWatch(NOW).look(NOW - DAY_US, 5.0)


def test_a_leap_stays_one_over_a_restart():
    watch = watch_at()
    assert not watch.look(NOW + 90 * DAY_US, 3600.0)
    again = ClockWatch(watch.seen_us, watch.leap_us)
    assert not again.look(NOW + 90 * DAY_US + 60_000_000, 1.0), "the same wrong clock, a minute later"
    assert ClockWatch(watch.seen_us, watch.leap_us).look(NOW + 7200 * 1_000_000, 1.0), "it was set right meanwhile"


def test_who_knows_says_so_or_a_week_of_steady_running_does():
    watch = watch_at()
    assert not watch.look(NOW + 90 * DAY_US, 3600.0)
    watch.believe()
    assert watch.look(NOW + 90 * DAY_US + 3600 * 1_000_000, 7200.0)
    long = ClockWatch(NOW)
    hours = int(BELIEVED_AFTER_S // 3600)
    believed = [long.look(NOW + 30 * DAY_US + n * 3600 * 1_000_000, n * 3600.0) for n in range(hours + 2)]
    assert believed.index(True) == hours, "a service that stood still for a month"


@given(st.lists(st.tuples(st.integers(1, 7200), st.integers(-10_000, 10_000_000)), max_size=30))
def test_whatever_the_clock_does_no_more_is_believed_than_was_lived_through(steps):
    """Between two looks that are believed lies no more than the time that really passed, and a little."""
    watch, wall, mono = watch_at(), NOW, 0.0
    trusted_wall, trusted_mono = NOW, 0.0
    for lived, leap in steps:
        mono += lived
        wall += (lived + leap) * 1_000_000
        if watch.look(wall, mono):
            assert (wall - trusted_wall) / 1e6 <= (mono - trusted_mono) + 600 * (len(steps) + 1)
            trusted_wall, trusted_mono = wall, mono


# -- what goes when --------------------------------------------------------------------------------------------------


def kept(ident, closed_days_ago, **privacy):
    closed = None if closed_days_ago is None else NOW - closed_days_ago * DAY_US
    return KeptRoom(ident, f"x-{ident}.room", NOW - 400 * DAY_US, closed, RoomPrivacy(**privacy))


def states(*rooms, first_us=NOW - 400 * DAY_US, **config):
    found = terms_of(rooms, PrivacyConfig(**config), NOW, first_us, is_there=lambda room: room.ident != "gone")
    return {term.room.ident: (term.state, term.until_us) for term in found}


def test_a_record_is_due_when_its_days_are_over():
    found = states(
        kept("old", 91), kept("young", 89), kept("open", None), kept("gone", 91), kept("held", 91, hold="court"),
        kept("short", 31, retention_days=30), kept("long", 91, retention_days=365), retention_days=90,
    )  # fmt: skip
    assert {ident: state for ident, (state, _) in found.items()} == {
        "old": "due", "short": "due", "young": "kept", "long": "kept", "open": "open", "held": "hold",
    }  # fmt: skip
    assert found["young"][1] == NOW + DAY_US
    assert found["held"][1] is None


def test_a_deleted_room_whose_ciphertext_was_kept_is_not_deleted_again():
    assert states(replace(kept("sealed", 91), closed_code=DELETED), kept("old", 91)).keys() == {"old"}


def test_without_days_records_stay_unless_a_room_has_its_own():
    found = states(kept("old", 3000), kept("own", 31, retention_days=30), retention_days=0)
    assert found == {"old": ("kept", None), "own": ("due", NOW - DAY_US)}


def test_who_begins_to_use_retention_has_a_week_to_look():
    found = states(kept("old", 3000), first_us=NOW - DAY_US, retention_days=90)
    assert found["old"] == ("kept", NOW - DAY_US + FIRST_WEEK_US)


# -- the job -----------------------------------------------------------------------------------------------------------


async def a_closed_room(service, laptop, eventually, vin="LHZEV4001N0001234"):
    """A room with a car that has ended; its name and record."""
    token, path = await technician(laptop, service)
    async with laptop.ws_connect(f"{service.url}{path}/agent", headers={"Authorization": f"Bearer {token}"}) as agent:
        await agent.send_str(hello(report_of(vin)))
        assert (await agent.receive(timeout=120)).json()["type"] == "welcome"
        await agent.send_json({"type": "chat", "id": "1", "text": "the words of this room"})
        await agent.send_json({"type": "bye"})
        while (await agent.receive(timeout=120)).type.name == "TEXT":
            pass
    await eventually(lambda: path[3:] not in service.rooms)
    return path[3:], next(service.config.data.glob(f"*-{path[3:]}.room"))


def job(service):
    return next(part for part in service.parts if isinstance(part, Retention))


async def looked(service, clock, hours=1):
    """Hours go by, with a look in each."""
    for _ in range(hours):
        clock.go(LOOK_EVERY_S)
        await job(service).look()


@pytest.fixture
def clock():
    return MovedClock()


async def test_a_record_goes_after_its_days_with_a_certificate_and_a_note(tmp_path, clock, eventually):
    config = privacy_config(tmp_path, clock, retention_days=10)
    async with running_service(config) as service, visitor() as laptop:
        await job(service).look()
        ident, record = await a_closed_room(service, laptop, eventually)
        await looked(service, clock, 10 * 24 - 1)
        assert record.exists(), "its days are not over"
        await looked(service, clock)
        assert record.exists(), "one look is none"
        await looked(service, clock)
        assert not record.exists()
        certificate = json.loads((config.data / "deletions" / f"{ident}.json").read_bytes())
        assert (certificate["room"], certificate["by"]) == (ident, "retention")
        notes = [entry for _, entry in service.state.audit() if entry.what == "room-delete"]
        assert [(one.who, one.room) for one in notes] == [("retention", ident)]
        assert PrivacyStore(service.state).indexed_rooms() == set(), "nothing leads from the car to it any more"
        await looked(service, clock, 3)
        assert job(service).deleted == 1
        assert "huizhen_retention_deleted_total 1" in job(service).metrics()


async def test_security_a_clock_that_leaps_deletes_nothing_and_says_so(tmp_path, clock, eventually):
    config = privacy_config(tmp_path, clock, retention_days=10)
    async with running_service(config) as service, visitor() as laptop:
        told = []
        service.notices.listen(told.append)
        await job(service).look()
        _, record = await a_closed_room(service, laptop, eventually)
        await looked(service, clock, 6 * 24)
        clock.now += 365 * DAY
        await looked(service, clock, 24)
        assert record.exists()
        assert job(service).troubles() == ["clock-leapt"]
        assert len([one for one in told if "clock" in one.title.en]) == 1, "said once"
        async with laptop.get(f"{service.url}/health") as answer:
            assert "clock-leapt" in (await answer.json())["reasons"]
    async with running_service(config) as service:
        await looked(service, clock, 24)
        assert record.exists(), "nor after a restart"
        clock.now -= 365 * DAY
        await looked(service, clock, 3)
        assert job(service).troubles() == []
        assert record.exists()
        await looked(service, clock, 50)
        assert not record.exists(), "the clock is right again, and ten days have really gone by"


async def test_security_a_hold_that_comes_during_a_look_stays(tmp_path, clock, monkeypatch):
    async with running_service(privacy_config(tmp_path, clock, retention_days=10)) as service:
        store, ident = PrivacyStore(service.state), "a" * 12
        service.state.put_room(RoomEntry(ident, "x.room", 5, closed_us=7, closed_code="consult.room-closed"))
        (service.config.data / "x.room").touch()
        clock.go(30 * DAY)
        snapshot = PrivacyStore.kept_rooms

        def and_then_a_hold(self):
            found = snapshot(self)
            store.change(ident, hold="court file 7")
            return found

        monkeypatch.setattr(PrivacyStore, "kept_rooms", and_then_a_hold)
        for _ in range(3):
            job(service)._due_now(clock.us())
        job(service)._take_wishes({ident: 30})
        assert store.room(ident) == RoomPrivacy(30, "court file 7", store.room(ident).due_us)
        job(service)._take_wishes({ident: 60})
        assert store.room(ident).retention_days == 30


async def test_what_is_not_named_in_a_change_stays_and_the_audit_comes_with_it(tmp_path, clock):
    async with running_service(privacy_config(tmp_path, clock)) as service:
        store = PrivacyStore(service.state)
        store.change("a", hold="court", retention_days=7)
        store.change("a", (AuditEntry(1, "region-lift", "chief", "a"),), lifted_until_us=9, lift_reason="urgent")
        assert store.room("a") == RoomPrivacy(7, "court", 0, 9, "urgent")
        assert "region-lift" in {entry.what for _, entry in service.state.audit()}
        with pytest.raises(ValueError, match="nonsense"):
            store.change("a", nonsense=1)


async def test_short_runs_day_after_day_delete_too(tmp_path, clock, eventually):
    """A laptop's service runs for minutes: the two looks may be of two runs."""
    config = privacy_config(tmp_path, clock, retention_days=10)
    async with running_service(config) as service, visitor() as laptop:
        await job(service).look()
        _, record = await a_closed_room(service, laptop, eventually)
    for day in range(13):
        clock.now += DAY
        clock.steady = 0.0
        async with running_service(config) as service:
            await job(service).look()
        if day == 9:
            assert record.exists()
    assert not record.exists()


async def test_a_hold_and_a_room_s_own_days_count(tmp_path, clock, eventually):
    config = privacy_config(tmp_path, clock, retention_days=10, retention_min_days=5, retention_max_days=100)
    async with running_service(config) as service, visitor() as laptop, visitor() as admin, visitor() as expert:
        add_account(service, "chief", AccountRole.ADMIN)
        await sign_in(admin, service, "chief")
        await job(service).look()
        token, path = await technician(laptop, service)
        assert (await get(laptop, service.url, f"{path}/retention", token))[1]["days"] == 10
        assert (await invited(expert, service, path))[0] == 200
        where = f"{path}/retention"
        for body in ({"days": 4}, {"days": 101}, {"days": True}, {"days": "7"}, {}, {"days": 7, "hold": "x"}):
            assert (await post(laptop, service.url, where, body, token))[0] == 400, body
        assert (await post(expert, service.url, where, {"days": 7}))[0] == 403
        assert (await post(laptop, service.url, where, {"hold": "court"}, token))[0] == 403
        status, told = await post(laptop, service.url, where, {"days": 50}, token)
        assert (status, told["days"], told["own"]) == (200, 50, True)
        held, record = await a_closed_room(service, laptop, eventually)
        status, told = await post(admin, service.url, f"/r/{held}/retention", {"hold": "court file 7"})
        assert (status, told["hold"]) == (200, True)
        assert (await post(admin, service.url, "/r/ffffffffffff/retention", {"hold": "x"}))[0] == 410
        await looked(service, clock, 20 * 24)
        assert record.exists(), "held"
        await sign_in(admin, service, "chief")
        status, refused = await post(admin, service.url, f"/api/rooms/{held}/delete", {"reason": "by hand"})
        assert (status, refused["error"]) == (409, "consult.hold-set"), "nobody deletes it by hand either"
        assert (await post(admin, service.url, f"/r/{held}/retention", {"hold": ""}))[0] == 200
        await looked(service, clock, 3)
        assert not record.exists()
        assert {"hold", "hold-end", "retention"} <= {entry.what for _, entry in service.state.audit()}


async def test_the_laptop_s_wish_counts_within_bounds_and_once(tmp_path, clock, eventually):
    config = privacy_config(tmp_path, clock, retention_days=10, retention_max_days=30)
    async with running_service(config) as service, visitor() as laptop:
        token, path = await technician(laptop, service)
        where, bearer = f"{service.url}{path}/agent", {"Authorization": f"Bearer {token}"}
        async with laptop.ws_connect(where, headers=bearer) as agent:
            await agent.send_str(hello(report_of(), {"retention_days": 999}))
            await eventually(lambda: PrivacyStore(service.state).room(path[3:]).retention_days == 30)
            assert (await post(laptop, service.url, f"{path}/retention", {"days": 20}, token))[0] == 200
            await agent.send_str(hello(report_of(), {"retention_days": 5}))
            await eventually(lambda: service.rooms[path[3:]].desk.allows == {"retention_days": 5})
            await job(service).tend()
            assert PrivacyStore(service.state).room(path[3:]).retention_days == 20, "people come before the setting"


async def test_a_record_that_cannot_be_deleted_is_told_and_tried_again(tmp_path, clock, eventually):
    config = privacy_config(tmp_path, clock, retention_days=10)
    async with running_service(config) as service, visitor() as laptop:
        told = []
        service.notices.listen(told.append)
        await job(service).look()
        _, record = await a_closed_room(service, laptop, eventually)
        (config.data / "deletions").write_text("a file where the folder should be")
        await looked(service, clock, 11 * 24)
        assert record.exists()
        assert job(service).troubles() == ["retention-failed"]
        assert any("too long" in one.title.en for one in told)
        (config.data / "deletions").unlink()
        await looked(service, clock)
        assert not record.exists()
        assert job(service).troubles() == []


# -- the command -----------------------------------------------------------------------------------------------------


def huizhen(tmp_path, *words):
    import os

    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "settings"), "HUIZHEN_LANG": "en"}
    return subprocess.run(
        [sys.executable, "-m", "huizhen", "consult", *words],
        capture_output=True, text=True, env=environment, check=False, timeout=120,
    )  # fmt: skip


async def test_the_command_lists_holds_and_believes(tmp_path, clock, eventually):
    config = privacy_config(tmp_path, clock, retention_days=10)
    async with running_service(config) as service, visitor() as laptop:
        await job(service).look()
        ident, _ = await a_closed_room(service, laptop, eventually)
        clock.now += 400 * DAY
        await looked(service, clock)
        assert job(service).troubles() == ["clock-leapt"]
        data = str(config.data)
        (config.data / "20200101-000000-aaaaaaaaaaaa.room").write_bytes(b"")
        done = await asyncio.to_thread(huizhen, tmp_path, "retention", "--dry-run", "--json", "--data", data)
        told = json.loads(done.stdout)
        assert (done.returncode, told["schema"], told["clock_leapt"]) == (0, "huizhen.retention/1", True)
        assert [(one["room"], one["days"]) for one in told["rooms"]] == [(ident, 90)]
        assert told["others"] == ["20200101-000000-aaaaaaaaaaaa.room"]
        assert told["configured"] is False, "the days are those of no configuration, and it says so"
        for words in (("--hold", ident, "--reason", "x"), ("--release", ident), ("--trust-clock",)):
            done = await asyncio.to_thread(huizhen, tmp_path, "retention", "--dry-run", *words, "--data", data)
            assert (done.returncode, "--dry-run" in done.stderr) == (2, True), words
        assert PrivacyStore(service.state).room(ident).hold == ""
        held = await asyncio.to_thread(huizhen, tmp_path, "retention", "--hold", ident, "--data", data)
        assert (held.returncode, "--reason" in held.stderr) == (2, True)
        held = await asyncio.to_thread(
            huizhen, tmp_path, "retention", "--hold", ident, "--reason", "court file 7", "--data", data
        )
        assert (held.returncode, "legal hold" in held.stdout, "court file 7" in held.stdout) == (0, True, True)
        done = await asyncio.to_thread(huizhen, tmp_path, "retention", "--release", ident, "--data", data)
        assert done.returncode == 0
        done = await asyncio.to_thread(huizhen, tmp_path, "retention", "--trust-clock", "--data", data)
        assert done.returncode == 0
        await looked(service, clock, 3)
        assert job(service).troubles() == [], "the running service has heard it"
