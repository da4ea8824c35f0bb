"""A deleted room: no byte of its key anywhere, a certificate that can be checked, and no way that brings it back."""

import asyncio
import json
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
from servicekit import ServeProcess, browser_like, bytes_in, keys_of, redeem, where_found
from test_file_cipher import PNG, bring
from test_record_cipher import write

from consult.accounts import Account, AccountRole, PasswordCheck
from consult.deletion import DELETED, DeletionPlace, certificates, delete_room
from consult.deletioncertificate import is_signed, load_certificate
from consult.deletioncheck import check_deletion
from consult.deletionredo import Redone, redo_deletions
from consult.deletionroutes import delete_in_service
from consult.errors import RoomClosed
from consult.journal import Journal
from consult.privacyconfig import PrivacyConfig
from consult.recordcheck import check_record
from consult.roomfiles import RoomFiles
from consult.roomkeys import GivenKeys, KeyStore
from consult.sealederrors import CertificateUnreadable, DeletionFailed, DeletionRefused, DeletionUnknown
from consult.service import ServiceConfig, running_service
from consult.servicestate import RoomEntry, ServiceState
from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.signing import KeySigner

ROOM, OTHER = "0123456789ab", "ba9876543210"
NOW = 1_796_000_000_000_000
PASSWORD = "correct horse battery"


@pytest.fixture
def signer():
    return KeySigner(Ed25519PrivateKey.generate())


def make_room(place, ident=ROOM, *, keys=True, ends=True):
    """A record with a file, and everything else that a room may leave behind."""
    record = place.data / f"20261130-101500-{ident}.room"
    with Journal(record, room=ident, signer=place.signer, keys=place.keys if keys else None) as journal:
        write(journal)
        bring(RoomFiles(record.with_suffix(".files"), journal.files), PNG)
        if ends:
            journal.end("consult.room-closed")
    spool = place.data / "spool" / ident
    spool.mkdir(parents=True)
    (spool / "1.seg").write_bytes(b"Geheimnis of the laptop")
    record.with_suffix(".extra").write_bytes(b"Geheimnis in the clear")
    return record


@pytest.fixture
def place(tmp_path, signer):
    data = tmp_path / "rooms"
    data.mkdir()
    with ServiceState(data / "service.db") as state:
        for ident in (ROOM, OTHER):
            entry = RoomEntry(ident, f"20261130-101500-{ident}.room", 5, closed_us=7, closed_code="consult.room-closed")
            state.put_room(entry)
        yield DeletionPlace(data, KeyStore(data / "keys", master_file=tmp_path / "m", makes_master=True), signer, state)


def secrets_of(place, ident=ROOM):
    """The room's key as it is, and as its file has it."""
    (entry,) = [one for one in place.keys.entries() if one.room == ident]
    told = json.loads((place.keys.folder / f"{entry.fingerprint}.key").read_text())
    return place.keys.find(entry.fingerprint).secret, bytes.fromhex(told["wrapped"]), bytes.fromhex(told["nonce"])


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


# -- backups ---------------------------------------------------------------------------------------------------------


def test_a_restored_backup_deletes_again_what_was_deleted(place, tmp_path, signer):
    make_room(place)
    make_room(place, OTHER)
    found = secrets_of(place)
    shutil.copytree(place.data, tmp_path / "backup")
    told = delete_room(place, ROOM, "why", "admin", NOW)
    restored = tmp_path / "backup"
    assert where_found(restored, found[1]), "the backup has the wrapped key"
    with ServiceState(restored / "service.db") as state:
        there = DeletionPlace(restored, KeyStore(restored / "keys", master_file=tmp_path / "m"), signer, state)
        forged = {**told, "room": OTHER}
        found_out = redo_deletions(there, [forged])
        assert (found_out.rooms, found_out.untrusted) == ([], [OTHER]), "nobody deletes a room by a forged certificate"
        (there.folder / f"{OTHER}.json").unlink()
        assert redo_deletions(there, [told]).rooms == [ROOM]
        assert redo_deletions(there) == Redone(), "and it stays so"
        ((code,),) = state.rows("SELECT closed_code FROM room WHERE ident = ?", (ROOM,))
        assert code == DELETED
        assert check_deletion(told, keys=there.keys, data=restored).is_good
        assert check_record(restored / f"20261130-101500-{OTHER}.room", keys=there.keys).is_readable
    assert where_found(restored, *found) == []


def of_another_key(place, tmp_path):
    """The folder as a backup of then has it, on a machine that signs with another key."""
    shutil.copytree(place.data, tmp_path / "back")
    state = ServiceState(tmp_path / "back" / "service.db")
    keys = KeyStore(tmp_path / "back" / "keys", master_file=tmp_path / "m")
    return DeletionPlace(tmp_path / "back", keys, KeySigner(Ed25519PrivateKey.generate()), state)


def test_security_a_deleted_room_that_is_back_under_another_key_is_told(place, tmp_path, signer):
    make_room(place)
    there = of_another_key(place, tmp_path)
    with closing(there.state):
        told = delete_room(place, ROOM, "why", "admin", NOW)
        redone = redo_deletions(there, [told])
        assert (redone.rooms, redone.untrusted, redone.undone) == ([], [ROOM], {ROOM})
        assert redo_deletions(there).untrusted == [ROOM], "it goes on being told"
        assert redo_deletions(there, trusted=[signer.public_key]).rooms == [ROOM]
        assert redo_deletions(there) == Redone(), "nothing of it is here"


def test_a_room_that_is_back_under_another_key_can_be_deleted_anew(place, tmp_path):
    make_room(place)
    there = of_another_key(place, tmp_path)
    with closing(there.state):
        redo_deletions(there, [delete_room(place, ROOM, "why", "admin", NOW)])
        told = delete_room(there, ROOM, "it was deleted before", "admin", NOW)
        assert is_signed(told, [there.signer.public_key])
        assert redo_deletions(there) == Redone()
        assert list(there.data.glob(f"*{ROOM}*")) == []


def test_kept_ciphertext_of_another_key_is_nothing_that_is_back(place, tmp_path):
    make_room(place)
    delete_room(place, ROOM, "why", "admin", NOW, keep_ciphertext=True)
    there = of_another_key(place, tmp_path)
    with closing(there.state):
        assert redo_deletions(there) == Redone()


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}"])
def test_one_deletion_that_fails_keeps_no_other_from_being_done(place, content):
    make_room(place)
    make_room(place, OTHER)
    told = delete_room(place, ROOM, "why", "admin", NOW)
    (place.folder / f"{ROOM}.json").rename(place.folder / f"{ROOM}.pending")
    broken = place.folder / f"{'0' * 12}.pending"
    broken.write_bytes(content)
    redone = redo_deletions(place)
    assert (redone.rooms, set(redone.failed), redone.undone) == ([ROOM], {"0" * 12}, {"0" * 12})
    assert load_certificate(place.folder / f"{ROOM}.json")["record"] == told["record"]
    broken.unlink()
    assert redo_deletions(place) == Redone()


def test_a_certificate_that_cannot_be_read_is_told_where_its_room_is_here(place):
    make_room(place)
    place.folder.mkdir(exist_ok=True)
    for ident in (ROOM, OTHER):
        (place.folder / f"{ident}.json").write_bytes(b"{")
    assert redo_deletions(place).untrusted == [ROOM]


def test_a_backup_without_the_old_master_key_opens_nothing(place, tmp_path):
    """After `keys rotate` the wrapped keys of older backups are useless, also for rooms that were deleted."""
    make_room(place)
    shutil.copytree(place.data, tmp_path / "backup")
    place.keys.rotate()
    old = KeyStore(tmp_path / "backup" / "keys", master_file=tmp_path / "m")
    check = check_record(next((tmp_path / "backup").glob("*.room")), keys=old)
    assert (check.verdict, check.is_readable) == ("intact", False)


async def test_a_restored_room_that_was_open_is_deleted_before_it_opens(place, tmp_path, signer):
    record = make_room(place, ends=False)
    place.state.put_room(RoomEntry(ROOM, record.name, 5))
    shutil.copytree(place.data, tmp_path / "backup")
    delete_room(place, ROOM, "why", "admin", NOW, end=True)
    restored = tmp_path / "backup"
    (restored / "deletions").mkdir()
    shutil.copy(place.folder / f"{ROOM}.json", restored / "deletions")
    privacy = PrivacyConfig(master_key_file=tmp_path / "m")
    config = ServiceConfig(data=restored, state=restored / "service.db", signer=signer, privacy=privacy)
    async with running_service(config) as service:
        assert service.rooms == {}
        assert ROOM not in {entry.room for entry in service.keys.entries()}
    assert not (restored / record.name).exists()


async def test_security_rooms_that_should_be_deleted_do_not_open(tmp_path, place, signer, eventually, monkeypatch):
    """One cannot be deleted now, one was deleted under another key: both stay shut, and the health check says so."""
    from consult import deletion, deletionroutes

    for ident in (ROOM, OTHER):
        place.state.put_room(RoomEntry(ident, make_room(place, ident, ends=False).name, 5))
    place.state.put_room(RoomEntry("c" * 12, "x.room", 5))
    Journal(place.data / "x.room", room="c" * 12, signer=signer, keys=place.keys).close()
    shutil.copytree(place.data, tmp_path / "backup")
    other = replace(place, signer=KeySigner(Ed25519PrivateKey.generate()))
    delete_room(place, ROOM, "why", "admin", NOW, end=True)
    delete_room(other, OTHER, "why", "admin", NOW, end=True)
    restored = tmp_path / "backup"
    shutil.copytree(place.folder, restored / "deletions")
    config = ServiceConfig(
        data=restored,
        state=restored / "service.db",
        signer=signer,
        privacy=PrivacyConfig(master_key_file=tmp_path / "m"),
    )

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(deletionroutes, "_AGAIN_S", 0.0)
    unable = pytest.MonkeyPatch()
    unable.setattr(deletion, "_remove", refuse)
    try:
        async with running_service(config) as service, browser_like() as http:

            async def reasons():
                async with http.get(f"{service.url}/health") as answer:
                    return (await answer.json())["reasons"]

            assert set(service.rooms) == {"c" * 12}
            assert await reasons() == ["deletion-unfinished", "deleted-room-back"]
            unable.undo()
            await eventually(lambda: not service.redone.failed, 60)
            assert await reasons() == ["deleted-room-back"]
            assert list(restored.glob(f"*-{ROOM}.*")) == []
            assert list(restored.glob(f"*-{OTHER}.*")) != [], "nobody deletes by a certificate of another key"
            await delete_in_service(service, OTHER, "it was deleted before", "admin", end=True)
            await eventually(lambda: not service.redone.undone, 60)
            assert await reasons() == []
            assert set(service.rooms) == {"c" * 12}
    finally:
        unable.undo()
    assert list(restored.glob(f"*-{OTHER}.*")) == []


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
            await eventually(lambda: "Geheimnis 4711" in [one["text"] for one in room.events_after(0)], 30)
            await eventually(lambda: len(car.sent) > 10 and not room.has_unwritten, 30)
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
            await eventually(lambda: list(tmp_path.glob("*.room")), 30)
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
        async with asyncio.timeout(60):
            assert await killed.wait() == -signal.SIGKILL
        assert (tmp_path / "deletions" / f"{ident}.pending").exists()
        await service.start()
        await eventually((tmp_path / "deletions" / f"{ident}.json").exists, 30)
        assert not (tmp_path / "deletions" / f"{ident}.pending").exists()
        assert ident not in {entry.room for entry in keys_of(tmp_path).entries()}
        _, said = await service.end(signal.SIGTERM)
        assert said == ""


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.delenv("HUIZHEN_MASTER_KEY", raising=False)
    from huizhen.roomkeychain import with_master_key
    from huizhen.signing import load_signer

    data = tmp_path / "rooms"
    keys = KeyStore(data / "keys", master_file=with_master_key().master_key_file, makes_master=True)
    return DeletionPlace(data, keys, load_signer())


def told_json(capsys, *words):
    code = main([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_technician_hands_a_key_out_and_deletes_a_room(settings, tmp_path, capsys):
    record = make_room(settings)
    copy = Path(shutil.copy(record, tmp_path / "copy.room"))
    where = ("--data", settings.data)
    code, told = told_json(capsys, "consult", "keys", "list", *where)
    assert (code, told["schema"], [one["room"] for one in told["keys"]]) == (0, "huizhen.room-keys/1", [ROOM])
    assert main(["consult", "export", str(copy), str(tmp_path / "a.csv")]) == Exit.USAGE
    assert "key-file" in capsys.readouterr().err
    out = tmp_path / "room.key"
    assert told_json(capsys, "consult", "keys", "export", ROOM, "-o", out, *where)[0] == 0
    assert main(["consult", "export", str(copy), str(tmp_path / "a.csv"), "--key-file", str(out)]) == 0
    assert (tmp_path / "a.csv").stat().st_size > 1000
    capsys.readouterr()
    code, told = told_json(capsys, "consult", "verify", copy, "--key-file", out)
    assert (code, told["encryption"]["readable"]) == (0, True)
    assert told_json(capsys, "consult", "verify", copy)[1]["encryption"]["readable"] is False
    assert told_json(capsys, "consult", "keys", "rotate", *where)[1]["keys"] == 1
    assert main(["consult", "replay", str(record), "--duration", "0.2", "--json"]) == 0
    capsys.readouterr()
    code, told = told_json(capsys, "consult", "delete", ROOM, "--reason", "sold", *where)
    assert (code, told["schema"]) == (0, "huizhen.deletion/1")
    assert told["by"].startswith("cli:")
    assert "exported-keys" in {one["code"] for one in told["remains"]}
    certificate = settings.folder / f"{ROOM}.json"
    code, told = told_json(capsys, "consult", "verify", certificate, "--record", copy)
    assert (code, told["schema"], told["good"]) == (0, "huizhen.deletion-check/1", True)
    code, told = told_json(capsys, "consult", "verify", certificate, "--record", copy, "--key-file", out)
    assert (code, told["good"]) == (Exit.USAGE, False)
    code, told = told_json(capsys, "consult", "verify", certificate, "--key", "00" * 32)
    assert (code, [one["code"] for one in told["findings"] if not one["good"]]) == (Exit.USAGE, ["signature"])
    for words in (["delete", OTHER, "--reason", "x"], ["keys", "export", ROOM, "-o", str(out)]):
        assert main(["consult", *words, "--data", str(settings.data)]) == Exit.USAGE
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.parametrize(("lang", "said"), [("en", "is destroyed"), ("zh", "已销毁")])
def test_people_are_told_what_remains(settings, capsys, lang, said):
    make_room(settings)
    where = ["--data", str(settings.data), "--lang", lang]
    assert main(["consult", "keys", "list", *where]) == 0
    assert main(["consult", "keys", "rotate", *where]) == 0
    assert main(["consult", "delete", ROOM, "--reason", "x", *where]) == 0
    assert main(["consult", "verify", str(settings.folder / f"{ROOM}.json"), "--lang", lang]) == 0
    out = capsys.readouterr().out
    assert said in out
    assert {"en": "what remains", "zh": "仍保留的内容"}[lang] in out
    assert main(["consult", "keys", "list", *where]) == 0
    assert {"en": "no room keys", "zh": "没有会诊室密钥"}[lang] in capsys.readouterr().out


def test_an_operators_own_master_key(tmp_path, settings, capsys, monkeypatch):
    config, master = tmp_path / "service.toml", tmp_path / "vault.key"
    config.write_text('data = "rooms"\n[privacy]\nmaster_key_file = "vault.key"\n', encoding="utf-8")
    master.write_text("ab" * 32 + "\n")
    keys = KeyStore(settings.data / "keys", master_file=master)
    make_room(replace(settings, keys=keys))
    master.write_text("cd" * 32 + "\n" + "ab" * 32 + "\n")
    assert main(["consult", "keys", "rotate", "--config", str(config)]) == 0
    assert "kept by you" in capsys.readouterr().err
    monkeypatch.setenv("HUIZHEN_MASTER_KEY", "cd" * 32)
    master.unlink()
    assert told_json(capsys, "consult", "verify", next(settings.data.glob("*.room")))[1]["encryption"]["readable"]
    monkeypatch.setenv("HUIZHEN_MASTER_KEY", "ab" * 32)
    record = next(settings.data.glob("*.room"))
    assert told_json(capsys, "consult", "verify", record)[1]["encryption"]["readable"] is False
