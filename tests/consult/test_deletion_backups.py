"""What was deleted stays so when a backup is restored."""

import shutil
from contextlib import closing
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from deletionkit import NOW, OTHER, ROOM, make_room, secrets_of
from servicekit import browser_like, where_found

from consult.deletion import DELETED, DeletionPlace, delete_room
from consult.deletioncertificate import is_signed, load_certificate
from consult.deletioncheck import check_deletion
from consult.deletionredo import Redone, redo_deletions
from consult.deletionroutes import delete_in_service
from consult.journal import Journal
from consult.privacyconfig import PrivacyConfig
from consult.recordcheck import check_record
from consult.roomkeys import KeyStore
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
            await eventually(lambda: not service.redone.failed)
            assert await reasons() == ["deleted-room-back"]
            assert list(restored.glob(f"*-{ROOM}.*")) == []
            assert list(restored.glob(f"*-{OTHER}.*")) != [], "nobody deletes by a certificate of another key"
            await delete_in_service(service, OTHER, "it was deleted before", "admin", end=True)
            await eventually(lambda: not service.redone.undone)
            assert await reasons() == []
            assert set(service.rooms) == {"c" * 12}
    finally:
        unable.undo()
    assert list(restored.glob(f"*-{OTHER}.*")) == []
