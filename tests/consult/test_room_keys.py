"""Keys of rooms: wrapped, found, wrapped anew, destroyed."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from servicekit import where_found

from consult.errors import JournalBroken
from consult.journal import Journal
from consult.roomkeys import KeyRing, KeyStore, load_key_file, shred
from consult.sealederrors import KeysBroken

ROOM = "0123456789ab"


@pytest.fixture
def keys(tmp_path):
    return KeyStore(tmp_path / "rooms" / "keys")


def test_keys_are_wrapped_and_found_again(keys, tmp_path):
    key = keys.create(ROOM)
    assert keys.find(key.fingerprint) == key
    assert KeyStore(keys.folder).find(key.fingerprint) == key
    assert keys.find("0" * 16) is None
    assert where_found(keys.folder, key.secret) == []
    assert "secret" not in repr(key)
    assert [path.stat().st_mode & 0o077 for path in keys.folder.glob("*.key")] == [0, 0]
    keys.export(key, tmp_path / "out.key")
    assert (tmp_path / "out.key").stat().st_mode & 0o077 == 0
    assert load_key_file(tmp_path / "out.key") == key
    told = json.loads((tmp_path / "out.key").read_text())
    for wrong in ({**told, "key": "00" * 32}, {**told, "key": "00"}, {"schema": 1}, []):
        (tmp_path / "bad.key").write_text(json.dumps(wrong))
        with pytest.raises(KeysBroken):
            load_key_file(tmp_path / "bad.key")


def test_a_key_file_of_one_room_is_no_key_of_another(keys):
    one, other = keys.create(ROOM), keys.create("ba9876543210")
    path = keys.folder / f"{one.fingerprint}.key"
    told = json.loads(path.read_text())
    for change_ in ({"room": "ba9876543210"}, {"wrapped": "00" + told["wrapped"][2:]}, {"nonce": "00" * 12}):
        path.write_text(json.dumps({**told, **change_}))
        with pytest.raises(KeysBroken, match="changed"):
            keys.find(one.fingerprint)
    shutil.copy(keys.folder / f"{other.fingerprint}.key", path)
    with pytest.raises(KeysBroken, match="changed"):
        keys.find(one.fingerprint)


def test_a_master_key_that_is_gone_is_never_made_anew(keys, tmp_path):
    key = keys.create(ROOM)
    shred(keys.master_file)
    for ask in (lambda: keys.find(key.fingerprint), lambda: keys.create("ba9876543210"), keys.rotate):
        with pytest.raises(KeysBroken, match="master key"):
            ask()
    assert not keys.master_file.exists()
    with pytest.raises(KeysBroken):
        KeyStore(tmp_path / "other", master_file=tmp_path / "not-mounted" / "master.key").create(ROOM)


def test_who_has_no_master_key_opens_nothing(keys, tmp_path):
    key = keys.create(ROOM)
    shutil.copytree(keys.folder, tmp_path / "stolen", ignore=shutil.ignore_patterns("master.key"))
    thief = KeyStore(tmp_path / "stolen", master="11" * 32)
    with pytest.raises(KeysBroken, match="another master key"):
        thief.find(key.fingerprint)
    assert KeyRing([thief, keys]).find(key.fingerprint) == key, "one source that fails hides no other"
    with pytest.raises(KeysBroken):
        KeyRing([thief]).find(key.fingerprint)


@pytest.mark.parametrize("text", ["", "zz", "00" * 31, "00" * 32 + "0"])
def test_a_master_key_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "master.key"
    path.write_text(text)
    with pytest.raises(KeysBroken, match="master key"):
        KeyStore(tmp_path / "keys", master_file=path).create(ROOM)


def test_keys_are_wrapped_anew_and_the_old_master_key_opens_nothing(keys):
    made = [keys.create(f"{n:012x}") for n in range(5)]
    keys.note_export(made[0].fingerprint, "cli:me", 7)
    old = keys.master_file.read_text()
    wrapped = [path.read_bytes() for path in keys.folder.glob("*.key")]
    assert keys.rotate() == 5
    assert [keys.find(key.fingerprint) for key in made] == made
    assert keys.master_file.read_text() != old
    assert next(one for one in keys.entries() if one.room == made[0].room).exports == ({"t_us": 7, "who": "cli:me"},)
    with pytest.raises(KeysBroken):
        KeyStore(keys.folder, master=old).find(made[0].fingerprint)
    now = [path.read_bytes() for path in keys.folder.iterdir()]
    assert not set(wrapped) & set(now)


def test_a_key_is_found_while_another_program_wraps_it_anew(keys, monkeypatch):
    key, others = keys.create("a" * 12), KeyStore(keys.folder, master_file=keys.master_file, makes_master=True)
    reads = []

    def read(fingerprint, of=keys._read):
        told = of(fingerprint)
        if not reads:
            reads.append(others.rotate())  # between the reading of the key and that of the master keys
        return told

    monkeypatch.setattr(keys, "_read", read)
    assert keys.find(key.fingerprint) == key
    assert reads == [1]


def test_an_owner_changes_the_master_key_by_a_line_on_top(tmp_path):
    master = tmp_path / "secret"
    master.write_text("# of the vault\n" + "aa" * 32 + "\n")
    keys = KeyStore(tmp_path / "keys", master_file=master)
    key = keys.create(ROOM)
    master.write_text("bb" * 32 + "\n" + "aa" * 32 + "\n")
    assert keys.find(key.fingerprint) == key
    assert keys.rotate() == 1
    assert keys.rotate() == 0
    master.write_text("bb" * 32)
    assert keys.find(key.fingerprint) == key
    assert not list((tmp_path / "keys").glob("master*")), "a master key of the owner's stays where it is"


def test_keys_that_are_made_while_others_are_wrapped_anew(keys):
    made = [keys.create(f"{n:012x}") for n in range(120)]
    with ThreadPoolExecutor(2) as threads:
        rotating = threads.submit(keys.rotate)
        while not rotating.done():
            made.append(KeyStore(keys.folder).create("ba9876543210"))
        assert rotating.result() >= 120
    assert [keys.find(key.fingerprint) for key in made] == made
    assert len(keys.master_file.read_text().split()) == 1
    assert len({entry.master for entry in keys.entries()}) == 1


@pytest.mark.parametrize("step", range(1, 8))
def test_a_rotation_that_is_broken_off_loses_no_key(keys, monkeypatch, step):
    from consult import roomkeys

    made = [keys.create(f"{n:012x}") for n in range(4)]
    real, calls = roomkeys.write_whole, []

    def failing(path, text):
        calls.append(path)
        if len(calls) == step:
            raise OSError(28, "No space left on device")
        real(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(roomkeys, "write_whole", failing)
        if step <= 6:
            with pytest.raises(KeysBroken, match="space"):
                keys.rotate()
        else:
            keys.rotate()
    assert [keys.find(key.fingerprint) for key in made] == made
    keys.rotate()
    assert [keys.find(key.fingerprint) for key in made] == made
    assert len(keys.master_file.read_text().split()) == 1


def test_what_a_killed_program_left_does_no_harm(keys):
    """A half written file goes; a second name of a key that is in use is not overwritten through it."""
    key = keys.create(ROOM)
    path = keys.folder / f"{key.fingerprint}.key"
    os.link(path, keys.folder / ".key-part-old-1234")
    (keys.folder / ".key-part-abcd").write_bytes(b"half")
    other = keys.create("ba9876543210")
    assert keys.find(key.fingerprint) == key
    assert keys.find(other.fingerprint) == other
    assert list(keys.folder.glob(".key-part*")) == []


def test_a_destroyed_key_is_overwritten_before_it_goes(keys):
    key = keys.create(ROOM)
    path = keys.folder / f"{key.fingerprint}.key"
    wrapped = path.read_bytes()
    os.link(path, keys.folder.parent / "same-bytes-on-disk")
    assert keys.destroy(key.fingerprint)
    assert not keys.destroy(key.fingerprint)
    assert keys.find(key.fingerprint) is None
    left = (keys.folder.parent / "same-bytes-on-disk").read_bytes()
    assert len(left) == len(wrapped)
    assert not any(wrapped[at : at + 8] in left for at in range(0, len(wrapped) - 8, 8))


def test_a_record_whose_key_cannot_be_made_is_not_begun(tmp_path):
    keys = KeyStore(tmp_path / "keys", master_file=tmp_path / "missing")
    with pytest.raises(JournalBroken, match="master key"):
        Journal(tmp_path / "a.room", room=ROOM, keys=keys)
    assert not (tmp_path / "a.room").exists()
