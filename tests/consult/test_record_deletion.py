"""A deleted room: no byte of its key anywhere, a certificate that can be checked, and no way that brings it back."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from deletionkit import NOW, OTHER, PASSWORD, ROOM, make_room, secrets_of
from servicekit import ServeProcess, browser_like, bytes_in, keys_of, redeem, where_found
from test_file_cipher import PNG

from consult.accounts import Account, AccountRole, PasswordCheck
from consult.deletion import DELETED, DeletionPlace, certificates, delete_room
from consult.deletioncertificate import is_signed, load_certificate
from consult.deletioncheck import check_deletion
from consult.deletionredo import redo_deletions
from consult.errors import RoomClosed
from consult.recordcheck import check_record
from consult.roomkeys import GivenKeys, KeyStore
from consult.sealederrors import CertificateUnreadable, DeletionFailed, DeletionRefused, DeletionUnknown
from consult.service import ServiceConfig, running_service
from consult.servicestate import RoomEntry, ServiceState
from huizhen.signing import KeySigner


@pytest.fixture
def signer():
    return KeySigner(Ed25519PrivateKey.generate())


@pytest.fixture
def place(tmp_path, signer):
    data = tmp_path / "rooms"
    data.mkdir()
    with ServiceState(data / "service.db") as state:
        for ident in (ROOM, OTHER):
            entry = RoomEntry(ident, f"20261130-101500-{ident}.room", 5, closed_us=7, closed_code="consult.room-closed")
            state.put_room(entry)
        yield DeletionPlace(data, KeyStore(data / "keys", master_file=tmp_path / "m", makes_master=True), signer, state)


def test_nothing_of_a_deleted_room_is_left(place):
    make_room(place)
    kept = make_room(place, OTHER)
    found = secrets_of(place)
    assert where_found(place.data, found[0]) == [], "the key itself never stands anywhere"
    assert len(where_found(place.data, found[1])) == 1, "and wrapped at one place"
    others = {path: data for path, data in bytes_in(place.data).items() if OTHER in str(path)}
    told = delete_room(place, ROOM, "the owner\nasked", "admin", NOW)
    assert where_found(place.data, *found) == []
    assert [str(path) for path in place.data.rglob(f"*{ROOM}*")] == [str(place.folder / f"{ROOM}.json")]
    assert others == {path: path.read_bytes() for path in others}, "other rooms are as they were"
    assert check_record(kept, keys=place.keys).is_readable
    assert (told["schema"], told["reason"], told["by"]) == ("huizhen.deletion/1", "the owner asked", "admin")
    assert told["record"]["rows"] == {"blocks": 60, "events": 6, "documents": 2}
    assert len(told["files"]) == 1
    assert {"audit", "copies", "counts", "medium"} == {one["code"] for one in told["remains"]}
    assert all(one["text"]["en"] and one["text"]["zh"] for one in told["remains"])
    assert is_signed(told, [place.signer.public_key])
    assert certificates(place.data) == [told]
    ((code,),) = place.state.rows("SELECT closed_code FROM room WHERE ident = ?", (ROOM,))
    assert code == DELETED
    assert [(one.what, one.who, one.room) for _, one in place.state.audit()] == [("room-delete", "admin", ROOM)]


def test_a_room_is_deleted_once(place):
    make_room(place)
    told = delete_room(place, ROOM, "first", "admin", NOW)
    assert delete_room(place, ROOM, "second", "somebody", NOW + 5) == told
    assert len(place.state.audit()) == 1


@pytest.mark.parametrize(
    ("ident", "reason", "error"),
    [
        ("000000000000", "why", DeletionUnknown),
        ("../../etc/x", "why", DeletionUnknown),
        (ROOM, " \n", DeletionRefused),
        (ROOM, "x" * 501, DeletionRefused),
        (ROOM, "car LHZEV4001N0001234 was sold", DeletionRefused),
    ],
)
def test_deletions_that_are_refused(place, ident, reason, error):
    record = make_room(place)
    with pytest.raises(error):
        delete_room(place, ident, reason, "admin", NOW)
    assert check_record(record, keys=place.keys).is_readable


def test_a_room_without_an_end_is_deleted_only_where_that_is_said(place):
    record = make_room(place, ends=False)
    place.state.put_room(RoomEntry(ROOM, record.name, 5))
    with pytest.raises(DeletionRefused, match="--end"):
        delete_room(place, ROOM, "why", "admin", NOW)
    with pytest.raises(DeletionRefused, match="open"):
        delete_room(replace(place, is_open=lambda _: True), ROOM, "why", "admin", NOW, end=True)
    with ServiceState(place.data / "service.db") as running:
        running.claim()
        with pytest.raises(DeletionRefused, match="runs"):
            delete_room(place, ROOM, "why", "admin", NOW, end=True)
    assert record.exists()
    told = delete_room(place, ROOM, "why", "admin", NOW, end=True, keep_ciphertext=True)
    assert check_record(record).closed == DELETED
    assert told["record"]["head"]["hash"] == check_record(record).head
    assert place.state.open_rooms() == []


def test_a_room_of_a_laptop_whose_program_was_killed(place):
    record = make_room(place, ends=False)
    (place.data / "embedded").mkdir()
    laptop = replace(place, state=None)
    with ServiceState(place.data / "embedded" / "aa.db") as state:
        state.put_room(RoomEntry(ROOM, record.name, 5))
    with pytest.raises(DeletionRefused, match="--end"):
        delete_room(laptop, ROOM, "why", "cli:me", NOW)
    told = delete_room(laptop, ROOM, "why", "cli:me", NOW, end=True)
    assert "audit" not in {one["code"] for one in told["remains"]}
    with ServiceState(place.data / "embedded" / "aa.db") as state:
        assert (state.open_rooms(), len(state.audit())) == ([], 1)


# -- the ciphertext that is kept -------------------------------------------------------------------------------------


def test_kept_ciphertext_can_be_checked_and_not_read(place):
    record = make_room(place)
    found = secrets_of(place)
    told = delete_room(place, ROOM, "why", "admin", NOW, keep_ciphertext=True)
    assert where_found(place.data, *found, b"Geheimnis") == [], "what stood in the clear is gone"
    assert len(list(record.with_suffix(".files").iterdir())) == 1
    check = check_deletion(told, keys=place.keys, trusted=[place.signer.public_key], record=record, data=place.data)
    assert [(one.code, one.is_good) for one in check.findings] == [
        (code, True) for code in ("signature", "key", "record", "chain", "content", "files")
    ]


def test_a_record_that_was_not_encrypted_is_overwritten(place, tmp_path):
    record = make_room(place, keys=False)
    links = [record, next(record.with_suffix(".files").iterdir())]
    for number, path in enumerate(links):
        os.link(path, tmp_path / f"same-bytes-{number}")
    with pytest.raises(DeletionRefused, match="not encrypted"):
        delete_room(place, ROOM, "why", "admin", NOW, keep_ciphertext=True)
    told = delete_room(place, ROOM, "why", "admin", NOW)
    assert told["key"] is None
    assert told["method"] == {"key": "none", "payload": "overwritten-and-removed"}
    assert where_found(tmp_path, b"Geheimnis", b"LHZEV4001N0001234", PNG[:64]) == []


def test_a_damaged_record_is_deleted_all_the_same(place):
    record = make_room(place)
    found = secrets_of(place)
    record.write_bytes(b"\0" * 5000)
    told = delete_room(place, ROOM, "why", "admin", NOW)
    assert told["record"]["head"] is None
    assert where_found(place.data, *found) == []


# -- certificates ----------------------------------------------------------------------------------------------------


def test_every_field_of_a_certificate_is_signed(place):
    make_room(place)
    told = delete_room(place, ROOM, "why", "admin", NOW)
    for name, value in told.items():
        other = f"{value}0" if isinstance(value, str) else [] if isinstance(value, list) else None
        assert not is_signed({**told, name: other if other != value else [1]}), name
    assert not is_signed({**told, "more": 1})
    assert not is_signed(told, [bytes(32)])


def test_a_certificate_is_found_out(place, tmp_path):
    """Of another record, of one that goes on, of a key that is still there, of files that came back."""
    record = make_room(place)
    other = make_room(place, OTHER)
    (key,) = [place.keys.find(one.fingerprint) for one in place.keys.entries() if one.room == ROOM]
    copy = Path(shutil.copy(record, tmp_path / "copy.room"))
    told = delete_room(place, ROOM, "why", "admin", NOW)

    def bad(**how):
        how = {"keys": place.keys, "record": copy, "data": place.data, **how}
        return [one.code for one in check_deletion(told, **how).findings if not one.is_good]

    assert bad() == []
    assert bad(trusted=[bytes(32)]) == ["signature"]
    assert bad(record=other) == ["record", "content"]
    assert bad(keys=GivenKeys([key])) == ["key", "content"]
    with closing(sqlite3.connect(copy)) as db:
        db.execute("DELETE FROM event WHERE n = 2")
        db.commit()
    assert bad() == ["chain"]
    shutil.copy(other, record)
    assert bad(record=None) == ["files"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"{" * 10_000, b'{"schema": "huizhen.deletion/1"}'])
def test_what_is_no_certificate(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(CertificateUnreadable):
        load_certificate(path)
    with pytest.raises(CertificateUnreadable):
        load_certificate(tmp_path / "missing.json")


# -- interrupted -----------------------------------------------------------------------------------------------------


STEPS = ("gathered", "key overwritten", "key gone", "files half gone", "files gone", "database", "certificate")


@pytest.mark.parametrize("step", STEPS)
def test_a_deletion_that_is_killed_goes_on(place, tmp_path, step):
    """SIGKILL at each step, in a process of its own; then the next start finishes it, and nothing is left."""
    make_room(place)
    found = secrets_of(place)
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from consult import deletion, roomkeys
        from huizhen.signing import KeySigner

        def die(*_, **__):
            os.kill(os.getpid(), signal.SIGKILL)

        data, step = Path(sys.argv[1]), sys.argv[2]
        if step == "gathered":
            deletion._erase = die
        if step == "key overwritten":
            Path.unlink = die
        if step == "key gone":
            deletion._remove = die
        if step == "files half gone":
            real = deletion._remove
            def remove(path, **how):
                real(path, **how)
                if path.suffix == ".room":
                    die()
            deletion._remove = remove
        if step == "files gone":
            deletion._note = die
        if step == "database":
            deletion.signed_certificate = die
        if step == "certificate":
            real = deletion.write_whole
            def write(path, text):
                real(path, text)
                if path.suffix == ".json":
                    die()
            deletion.write_whole = write
        keys = roomkeys.KeyStore(data / "keys", master_file=data.parent / "m", makes_master=True)
        with deletion.ServiceState(data / "service.db") as state:
            place = deletion.DeletionPlace(data, keys, KeySigner(Ed25519PrivateKey.generate()), state)
            deletion.delete_room(place, sys.argv[3], "why", "admin", 5)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(place.data), step, ROOM], check=False, capture_output=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert (place.folder / f"{ROOM}.pending").exists()
    if STEPS.index(step) >= 1:
        assert where_found(place.data, *found) == [], "the key is gone from the moment on that it was overwritten"
    assert redo_deletions(place).rooms == [ROOM]
    assert redo_deletions(place).rooms == []
    told = load_certificate(place.folder / f"{ROOM}.json")
    assert (told["by"], told["deleted_us"]) == ("admin", 5), "what was gathered before the kill"
    assert told["record"]["rows"] == {"blocks": 60, "events": 6, "documents": 2}
    assert check_deletion(told, keys=place.keys, trusted=[place.signer.public_key], data=place.data).is_good
    assert where_found(place.data, *found) == []
    assert len(place.state.audit()) == 1
    assert delete_room(place, ROOM, "again", "admin", 9) == told


def test_a_disk_that_refuses_is_told_and_the_next_try_goes_on(place, monkeypatch):
    from consult import deletion

    make_room(place)

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(deletion, "_remove", refuse)
        with pytest.raises(DeletionFailed, match="Read-only"):
            delete_room(place, ROOM, "why", "admin", NOW)
    assert delete_room(place, ROOM, "other words", "admin", NOW)["reason"] == "why"


# -- the service -----------------------------------------------------------------------------------------------------


async def signed_in(service, http, role):
    hashed = await asyncio.to_thread(PasswordCheck.hash, role.value, PASSWORD)
    service.state.put_account(Account(role.value, role=role, password=hashed))
    async with http.post(f"{service.url}/login", json={"name": role.value, "password": PASSWORD}) as answer:
        assert answer.status == 200


async def expect_closed(laptop):
    """The laptop hears that its room is over."""
    with pytest.raises(RoomClosed):
        await laptop.aclose()


async def test_administrators_delete_rooms_and_nobody_else(tmp_path, signer, car, report, in_room, eventually):
    data = tmp_path / "rooms"
    config = ServiceConfig(data=data, state=data / "service.db", signer=signer)
    async with running_service(config) as service, browser_like() as http, browser_like() as auditor:
        laptop = AsyncExitStack()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(expect_closed, laptop)
            agent = await laptop.enter_async_context(in_room(service, car, report))
            ident = agent.room
            room = service.rooms[ident]
            agent.say("Geheimnis 4711")
            await eventually(lambda: "Geheimnis 4711" in [one["text"] for one in room.events_after(0)])
            await eventually(lambda: len(car.sent) > 10 and not room.has_unwritten)
            url = f"{service.url}/api/rooms/{ident}/delete"
            async with http.post(url, json={"reason": "why"}) as answer:
                assert answer.status == 401
            await signed_in(service, auditor, AccountRole.AUDITOR)
            async with auditor.post(url, json={"reason": "why"}) as answer:
                assert answer.status == 403
            await signed_in(service, http, AccountRole.ADMIN)
            for body, status in (({}, 400), ({"reason": "why", "end": 1}, 400), ({"reason": "why"}, 409)):
                async with http.post(url, json=body) as answer:
                    assert answer.status == status, body
            assert service.room(ident) is room
            place = DeletionPlace(data, service.keys, signer)
            found = secrets_of(place, ident)
            assert where_found(data, found[0], b"Geheimnis", report["vehicle"]["vin"].encode()) == []
            async with http.post(url, json={"reason": "the owner asked", "end": True}) as answer:
                assert answer.status == 200, await answer.text()
                told = await answer.json()
        assert where_found(data, *found) == []
        assert list(data.glob(f"*-{ident}.*")) == []
        assert (told["by"], told["record"]["rows"]["blocks"] > 5) == ("admin", True)
        assert is_signed(told, [signer.public_key])
        async with http.post(url, json={"reason": "again"}) as answer:
            assert await answer.json() == told
        async with http.post(f"{service.url}/api/rooms/000000000000/delete", json={"reason": "x"}) as answer:
            assert answer.status == 404
        async with auditor.get(f"{service.url}/api/deletions") as answer:
            assert await answer.json() == {"deletions": [told]}
        what = [entry.what for _, entry in service.state.audit() if entry.room == ident]
        assert what[-1] == "room-delete"
        assert service.state.rows("SELECT 1 FROM session WHERE room = ?", (ident,)) == []


async def test_a_service_finishes_deletions_when_it_starts(tmp_path, eventually):
    async with ServeProcess(tmp_path) as service, browser_like() as http:
        _, body, _ = await redeem(http, service.url, service.offer["technician_invite"], agent=True)
        bearer = {"Authorization": f"Bearer {body['token']}"}
        async with http.ws_connect(f"{service.url}{body['path']}/agent", headers=bearer):
            await eventually(lambda: list(tmp_path.glob("*.room")))
        await service.end(signal.SIGKILL)
        ident = body["room"]
        script = (
            "import os, signal, sys; from consult import deletion; "
            "deletion._note = lambda *_: os.kill(os.getpid(), signal.SIGKILL); "
            "from huizhen.cli import main; main(sys.argv[1:])"
        )
        words = ["consult", "delete", ident, "--reason", "why", "--end", "--data", str(tmp_path)]
        env = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "settings")}
        killed = await asyncio.create_subprocess_exec(sys.executable, "-c", script, *words, env=env)
        async with asyncio.timeout(120):
            assert await killed.wait() == -signal.SIGKILL
        assert (tmp_path / "deletions" / f"{ident}.pending").exists()
        await service.start()
        await eventually((tmp_path / "deletions" / f"{ident}.json").exists)
        assert not (tmp_path / "deletions" / f"{ident}.pending").exists()
        assert ident not in {entry.room for entry in keys_of(tmp_path).entries()}
        _, said = await service.end(signal.SIGTERM)
        assert said == ""
