"""A service's data are copied while it runs, and come back whole or not at all."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import sys
import tarfile
from contextlib import closing
from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from servicekit import ServeProcess, browser_like, redeem
from test_service_restart import Watcher, record_of

from consult.backup import make_backup, read_manifest
from consult.backupstore import PIECE, Seal, open_reader
from consult.deletion import DeletionPlace, delete_room
from consult.errors import ConsultError, DataInUse
from consult.invites import Role
from consult.joining import joined_room
from consult.journal import Journal
from consult.operatingerrors import BackupBroken, BackupFailed, PassphraseWrong, RestoreRefused, StateNewer
from consult.recordcheck import check_record
from consult.restore import restore
from consult.roomkeys import KeyStore, store_of
from consult.service import ServiceConfig, running_service
from consult.servicestate import RoomEntry, ServiceState
from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.roomkeychain import with_master_key
from huizhen.signing import KeySigner, load_signer, own_public_key

PASSPHRASE = b"correct horse battery"
NOW_US = 1_800_000_000_000_000


@pytest.fixture(scope="module")
def signer():
    return KeySigner(Ed25519PrivateKey.generate())


@pytest.fixture
def data(tmp_path, signer):
    """A service's folder with an open and an ended room, files, keys and things that no backup needs."""
    folder = tmp_path / "data"
    with ServiceState(folder / "service.db") as state:
        for ident, closed in (("a" * 12, None), ("b" * 12, 9)):
            state.put_room(RoomEntry(ident, f"x-{ident}.room", 5, closed_us=closed))
            with Journal(folder / f"x-{ident}.room", room=ident, signer=signer) as journal:
                journal.append([], [{"n": n, "t_us": n, "kind": "chat", "text": "word" * 9} for n in range(1, 51)])
                journal.end("consult.room-closed") if closed else None
    for name, content in {
        "x-files/" + "0" * 64: b"\xff\xd8\xff" + bytes(2 * PIECE + 5),
        "x-files/" + "1" * 64 + ".part": b"half",
        "keys/master.key": b"the master key",
        "keys/0123.key": b"a wrapped key",
        "tls/ca.key": b"the authority's key",
        "tls/ca.crt": b"its certificate",
        ".backup-left/copy": b"of a backup that was killed",
        "service.db.before-0002": b"an old copy",
        "empty": b"",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def backup(data, target, signer, **more):
    return make_backup(data, target, signer, program="1", now_us=more.pop("now_us", NOW_US), **more)


def bring_back(source, data, **more):
    return restore(source, data, now_us=NOW_US, who="test", **more)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("where", ["rooms", "rooms.tar"])
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_what_comes_back_is_what_was_there(data, tmp_path, signer, where, passphrase):
    backup(data, tmp_path / where, signer, passphrase=passphrase)
    found = bring_back(tmp_path / where, tmp_path / "new", passphrase=passphrase, key=signer.public_key)
    before, after = contents(data), contents(tmp_path / "new")
    dropped = {name for name in before if name.endswith((".part", "copy", "-wal", "-shm")) or ".before-" in name}
    assert set(after) == set(before) - dropped
    for name in after:
        assert name.endswith((".room", ".db")) or after[name] == before[name], name
    assert found.records == {"intact": 2}
    assert (found.changed, found.missing) == ((), ())
    for path in (tmp_path / "new").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    with ServiceState(tmp_path / "new" / "service.db") as state:
        assert [entry.ident for entry in state.open_rooms()] == ["a" * 12]
        assert state.audit()[-1][1].what == "restore"
    left = [path.name for path in tmp_path.iterdir()]
    assert sorted(left) == sorted(["data", "new", where]), "nothing half-made is left behind"


def test_what_has_not_changed_is_kept_once_and_old_backups_go(data, tmp_path, signer):
    store = tmp_path / "store"
    first = backup(data, store, signer)
    assert first.added == len({file.sha256 for file in first.files})
    second = backup(data, store, signer, now_us=NOW_US + 1_000_000)
    assert second.added == 0
    with Journal(data / f"x-{'a' * 12}.room", room="a" * 12, signer=signer) as journal:
        journal.append([], [{"n": 99, "t_us": 99, "kind": "chat", "text": "later"}])
    day_us = 86_400_000_000
    third = backup(data, store, signer, now_us=NOW_US + 2 * day_us)
    assert third.added == 1
    with closing(open_reader(store)) as reader:
        assert reader.manifests() == [first.name, second.name, third.name]
    for name, events in ((first.name, 50), (third.name, 51)):
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
        bring_back(store, tmp_path / "new", name=name)
        with Journal(tmp_path / "new" / f"x-{'a' * 12}.room") as journal:
            assert len(journal.events()) == events
    shutil.rmtree(data / "x-files")
    fourth = backup(data, store, signer, now_us=NOW_US + 3 * day_us, keep_days=1)
    with closing(open_reader(store)) as reader:
        assert reader.manifests() == [third.name, fourth.name]
    backup(data, store, signer, now_us=NOW_US + 9 * day_us, keep_days=1)
    held = {path.name for path in store.glob("objects/??/*")}
    assert "0" * 64 not in contents(store)
    assert held == {file.object for file in fourth.files}, "deleted from the backups too"
    shutil.rmtree(tmp_path / "new")
    bring_back(store, tmp_path / "new")


def test_a_backup_that_cannot_be_read_keeps_the_old_ones_and_is_named(data, tmp_path, signer):
    store, day_us = tmp_path / "store", 86_400_000_000
    first = backup(data, store, signer)
    second = backup(data, store, signer, now_us=NOW_US + 1_000_000)
    manifest = store / "manifests" / f"{first.name}.json"
    manifest.write_bytes(manifest.read_bytes()[:-9])
    third = backup(data, store, signer, now_us=NOW_US + 9 * day_us, keep_days=1)
    assert third.unreadable == (first.name,)
    with closing(open_reader(store)) as reader:
        assert reader.manifests() == [first.name, second.name, third.name]
    manifest.unlink()
    fourth = backup(data, store, signer, now_us=NOW_US + 9 * day_us + 1_000_000, keep_days=1)
    assert fourth.unreadable == ()
    with closing(open_reader(store)) as reader:
        assert reader.manifests() == [third.name, fourth.name]


def test_security_a_call_that_is_being_recorded_is_in_no_backup(data, tmp_path, signer):
    """Its packets stand in the clear; the room's deletion could not reach them."""
    folder = data / f"x-{'a' * 12}.media" / "5"
    folder.mkdir(parents=True)
    for name in ("1-audio.mjr", "1-video.mjr"):
        (folder / name).write_bytes(b"a voice in the clear")
    made = backup(data, tmp_path / "store", signer)
    assert made.left_out == (f"x-{'a' * 12}.media/",)
    assert b"a voice" not in b"".join(contents(tmp_path / "store").values())
    restored = bring_back(tmp_path / "store", tmp_path / "new")
    assert restored.missing == (), "nobody has to put it back"
    assert list((tmp_path / "new").glob("*.media")) == []


@pytest.mark.parametrize("with_keys", [True, False])
@pytest.mark.parametrize("among_settings", [True, False])
@pytest.mark.parametrize("at", [0, 2, 4])
def test_keys_that_are_wrapped_anew_while_they_are_copied(tmp_path, signer, among_settings, with_keys, at):
    """Whatever the backup has caught of the rotation: its master key opens all of its keys."""
    data, master = tmp_path / "rooms", tmp_path / "settings" / "room-master.key"
    keys = KeyStore(data / "keys", master_file=master if among_settings else None, makes_master=among_settings)
    ServiceState(data / "service.db").close()
    made = [keys.create(f"{n:012x}") for n in range(4)]
    seen = []

    def progress(path):
        if path.startswith("keys/"):
            seen.append(path)
            if len(seen) == at + 1:
                keys.rotate()

    files = [master] if among_settings else []
    done = backup(data, tmp_path / "store", signer, keys=files, with_keys=with_keys, progress=progress)
    assert len(seen) > at
    bring_back(tmp_path / "store", tmp_path / "new")
    if with_keys:
        assert done.left_out == ()
        back = tmp_path / "new" / ".settings" / "room-master.key" if among_settings else None
    else:
        assert done.left_out == (("room-master.key",) if among_settings else ("keys/master.key",))
        back = keys.master_file
    there = KeyStore(tmp_path / "new" / "keys", master_file=back)
    assert [there.find(key.fingerprint) for key in made] == made


def test_a_master_key_that_is_kept_elsewhere_is_named(tmp_path, signer):
    data, master = tmp_path / "rooms", tmp_path / "mine"
    master.write_text("ab" * 32 + "\n")
    ServiceState(data / "service.db").close()
    keys = KeyStore(data / "keys", master_file=master)
    keys.create("a" * 12)
    named = tuple(f"master-key:{one}" for one in keys.master_fingerprints())
    assert len(named) == 1
    assert backup(data, tmp_path / "store", signer).left_out == named
    assert bring_back(tmp_path / "store", tmp_path / "one").missing == named
    found = bring_back(tmp_path / "store", tmp_path / "two", masters=keys.master_fingerprints())
    assert found.missing == (), "it is here"


def test_a_file_that_was_touched_is_read_again(data, tmp_path, signer):
    store = tmp_path / "store"
    backup(data, store, signer)
    path = data / "keys" / "0123.key"
    content = path.read_bytes()
    path.write_bytes(content[::-1])
    assert backup(data, store, signer).added == 1
    bring_back(store, tmp_path / "new")
    assert (tmp_path / "new" / "keys" / "0123.key").read_bytes() == content[::-1]


def test_security_a_stolen_backup_says_nothing_without_its_passphrase(data, tmp_path, signer):
    backup(data, tmp_path / "sealed.tar", signer, passphrase=PASSPHRASE)
    backup(data, tmp_path / "sealed", signer, passphrase=PASSPHRASE)
    sealed = [(tmp_path / "sealed.tar").read_bytes(), *contents(tmp_path / "sealed").values()]
    names = "".join(contents(tmp_path / "sealed"))
    backup(data, tmp_path / "plain.tar", signer)
    plain = (tmp_path / "plain.tar").read_bytes()
    for word in (b"wordword", b"the master key", ("a" * 12).encode(), b"SQLite format 3", b"service.db"):
        assert word in plain, "else the look below would find nothing either way"
        assert not any(word in one for one in sealed), word
    with closing(open_reader(tmp_path / "plain.tar")) as reader:
        for file in read_manifest(reader, reader.manifests()[0]).backup.files:
            assert file.sha256 not in names, "whoever has a file does not learn that it was there"
    for wrong in (None, b"", b"correct horse batterz"):
        with pytest.raises(PassphraseWrong):
            bring_back(tmp_path / "sealed", tmp_path / "new", passphrase=wrong)
        with pytest.raises(PassphraseWrong):
            backup(data, tmp_path / "sealed", signer, passphrase=wrong)
    with pytest.raises(BackupFailed, match="not encrypted"):
        backup(data, _plain(data, tmp_path, signer), signer, passphrase=PASSPHRASE)


def _plain(data, tmp_path, signer):
    backup(data, tmp_path / "plain", signer)
    return tmp_path / "plain"


def test_security_without_keys_a_backup_opens_nothing_and_says_what_is_missing(data, tmp_path, signer):
    made = backup(data, tmp_path / "store", signer, with_keys=False)
    assert made.left_out == ("keys/master.key", "tls/ca.key")
    found = b"".join(contents(tmp_path / "store").values())
    assert b"the master key" not in found
    assert b"the authority's key" not in found
    restored = bring_back(tmp_path / "store", tmp_path / "new")
    assert restored.missing == made.left_out
    assert (tmp_path / "new" / "keys" / "0123.key").read_bytes() == b"a wrapped key"


def _edit_object(store):
    path = max(store.glob("objects/??/*"), key=lambda one: one.stat().st_size)
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")


def _cut_object(store):
    path = max(store.glob("objects/??/*"), key=lambda one: one.stat().st_size)
    path.write_bytes(path.read_bytes()[:-PIECE])


def _longer_object(store):
    path = max(store.glob("objects/??/*"), key=lambda one: one.stat().st_size)
    path.write_bytes(path.read_bytes() + b"more")


def _lost_object(store):
    max(store.glob("objects/??/*"), key=lambda one: one.stat().st_size).unlink()


def _swapped_objects(store):
    one, other = sorted(store.glob("objects/??/*"), key=lambda one: one.stat().st_size)[-2:]
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def _edited_manifest(store):
    (path,) = store.glob("manifests/*.json")
    path.write_bytes(path.read_bytes().replace(b"keys/master.key", b"keys/mister.key"))


def _renamed_manifest(store):
    (path,) = store.glob("manifests/*.json")
    path.rename(path.with_name("20990101T000000Z.json"))


def _no_head(store):
    (store / "backup.json").write_text("[]")


@pytest.mark.parametrize(
    "harm",
    [
        _edit_object, _cut_object, _longer_object, _lost_object, _swapped_objects, _edited_manifest, _renamed_manifest,
        _no_head,
    ],
)  # fmt: skip
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_security_a_backup_that_was_changed_is_not_restored(data, tmp_path, signer, harm, passphrase):
    store = tmp_path / "store"
    backup(data, store, signer, passphrase=passphrase)
    if harm is _edited_manifest and passphrase:
        (path,) = store.glob("manifests/*.json")
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    else:
        harm(store)
    with pytest.raises(BackupBroken):
        bring_back(store, tmp_path / "new", passphrase=passphrase)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "store"]


def test_security_a_backup_of_somebody_else_is_told_by_its_key(data, tmp_path, signer):
    other = KeySigner(Ed25519PrivateKey.generate())
    backup(data, tmp_path / "store", other)
    with pytest.raises(BackupBroken, match="another key"):
        bring_back(tmp_path / "store", tmp_path / "new", key=signer.public_key)
    assert bring_back(tmp_path / "store", tmp_path / "new").public_key == other.public_key


@pytest.mark.parametrize("path", ["../out", "/etc/out", "a/../../out", "a//b", "", ".", "a\\..\\out", "a\0b"])
def test_security_no_path_of_a_backup_leads_out_of_the_folder(data, tmp_path, signer, path):
    """Signed by a key that somebody trusts, and still not believed."""
    store = tmp_path / "store"
    backup(data, store, signer)
    (manifest,) = store.glob("manifests/*.json")
    words = json.loads(json.loads(manifest.read_bytes())["manifest"])
    words["files"][-1]["path"] = path
    text = json.dumps(words)
    signature = signer.sign(b"huizhen.backup/1\0" + text.encode()).hex()
    envelope = {"manifest": text, "public_key": signer.public_key.hex(), "signature": signature}
    manifest.write_text(json.dumps(envelope))
    with pytest.raises(BackupBroken):
        bring_back(store, tmp_path / "new")


def test_pieces_of_a_sealed_object_cannot_be_left_out_or_moved(tmp_path):
    seal = Seal(bytes(32))
    (tmp_path / "plain").write_bytes(os.urandom(3 * PIECE + 9))
    with (tmp_path / "plain").open("rb") as plain, (tmp_path / "sealed").open("wb") as sealed:
        seal.encrypt(plain, sealed)
    data = (tmp_path / "sealed").read_bytes()
    size, first = PIECE + 16, 20

    def opened(content):
        (tmp_path / "sealed").write_bytes(content)
        with (tmp_path / "sealed").open("rb") as file:
            return b"".join(seal.decrypt(file))

    assert opened(data) == (tmp_path / "plain").read_bytes()
    head, pieces = data[:first], [data[at : at + size] for at in range(first, len(data), size)]
    for harmed in (pieces[:-1], pieces[1:], [pieces[1], pieces[0], *pieces[2:]], [*pieces, pieces[-1]], []):
        with pytest.raises(InvalidTag):
            opened(head + b"".join(harmed))


def test_a_folder_that_holds_something_is_never_touched(data, tmp_path, signer):
    backup(data, tmp_path / "store", signer)
    before = contents(data)
    with pytest.raises(RestoreRefused, match="already"):
        bring_back(tmp_path / "store", data)
    assert contents(data) == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(RestoreRefused):
        bring_back(tmp_path / "store", tmp_path / "file")
    (tmp_path / "empty").mkdir()
    bring_back(tmp_path / "store", tmp_path / "empty")


def test_a_folder_in_use_is_refused_as_such(data, tmp_path, signer):
    backup(data, tmp_path / "store", signer)
    with ServiceState(data / "service.db") as state:
        state.claim()
        with pytest.raises(DataInUse):
            bring_back(tmp_path / "store", data)


def test_a_dry_run_leaves_nothing_behind(data, tmp_path, signer):
    backup(data, tmp_path / "store", signer)
    assert bring_back(tmp_path / "store", tmp_path / "far" / "away", dry_run=True).records == {"intact": 2}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "store"]


def test_a_record_that_was_changed_before_the_backup_is_told_and_keeps_nothing_back(data, tmp_path, signer):
    path = data / f"x-{'b' * 12}.room"
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE event SET body = replace(body, 'word', 'lies') WHERE n = 7")
        db.commit()
    (data / "broken.room").write_bytes(b"no database" * 100)
    backup(data, tmp_path / "store", signer)
    found = bring_back(tmp_path / "store", tmp_path / "new")
    assert found.changed == ("broken.room", path.name)
    assert found.records == {"intact": 1, "changed": 2}


def test_a_backup_of_a_newer_program_is_refused_by_name(data, tmp_path, signer, monkeypatch):
    with ServiceState(data / "service.db") as state, state.transaction() as db:
        db.execute("INSERT INTO migration VALUES ('9999-future')")
    backup(data, tmp_path / "store", signer)
    with pytest.raises(StateNewer, match="9999-future"):
        bring_back(tmp_path / "store", tmp_path / "new")


def test_who_was_shut_out_can_be_kept_out(data, tmp_path, signer):
    with ServiceState(data / "service.db") as state, state.transaction() as db:
        db.execute("INSERT INTO session VALUES (x'00', 1, 'a', 'expert', 'Li', 9e9, '')")
        db.execute("INSERT INTO invite VALUES (x'01', 'a', 'expert', 9e9, 0)")
    backup(data, tmp_path / "store", signer)
    for name, sign_out, count in (("one", False, 1), ("two", True, 0)):
        bring_back(tmp_path / "store", tmp_path / name, sign_out=sign_out)
        with ServiceState(tmp_path / name / "service.db") as state:
            assert len(state.load_sessions()[0]) == len(state.load_invites()) == count


def test_targets_that_are_no_place_for_a_backup(data, tmp_path, signer):
    (tmp_path / "taken.tar").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    for target in ("taken.tar", "other", "data/inside", "no/such/folder.tar", "taken.tar/x"):
        with pytest.raises(BackupFailed):
            backup(data, tmp_path / target, signer)
    with pytest.raises(BackupFailed, match=r"no service\.db"):
        backup(tmp_path / "other", tmp_path / "store", signer)
    assert (tmp_path / "taken.tar").read_bytes() == b""


def test_a_tar_file_holds_no_names_of_this_machine(data, tmp_path, signer):
    backup(data, tmp_path / "rooms.tar", signer)
    with tarfile.open(tmp_path / "rooms.tar") as tar:
        for member in tar:
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
            assert member.isreg()
            assert str(tmp_path) not in member.name


def cli(*words, settings):
    environment = {**os.environ, "XDG_CONFIG_HOME": str(settings)}
    command = (sys.executable, "-m", "huizhen", "consult", *map(str, words), "--json")
    return asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1, env=environment)


async def run(*words, settings):
    process = await cli(*words, settings=settings)
    out, err = await process.communicate()
    return process.returncode, json.loads(out) if out else {}, err.decode()


async def test_a_service_is_backed_up_under_load_killed_and_restored_elsewhere(tmp_path, car, report, eventually):
    """Samples at 50 Hz and words come while the backup is made; what was acknowledged before it began comes back."""
    car.period_s = 0.02
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "settings").mkdir(parents=True)
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(ServeProcess(old))
        http = await stack.enter_async_context(browser_like())
        code = service.offer["technician_invite"]
        agent = await stack.enter_async_context(joined_room(service.url, code, name="Wang"))
        running = asyncio.create_task(agent.run(report, car.schema, car.blocks()))
        _, body, _ = await redeem(http, service.url, (await agent.invite("expert")).code, name="Li")
        watcher = Watcher(http, service.url, body["path"])
        watching = asyncio.create_task(watcher.run())
        try:
            await eventually(lambda: len(watcher.blocks) > 100, 60)
            agent.say("before the backup")
            await eventually(lambda: any(event["text"] == "before the backup" for event in watcher.events), 60)
            for store in ("store", "store", "rooms.tar"):  # a whole one, one more in the same folder, one file
                acked = len(car.sent) - len(agent.spool)
                done, made, said = await run("backup", "--data", old, "-o", tmp_path / store, settings=old / "settings")
                assert (done, made["open_rooms"], made["records"]) == (0, 1, 1), said
            seen = len(watcher.blocks)
            await eventually(lambda: len(watcher.blocks) > seen + 50, 60)
            await service.end(signal.SIGKILL)
            for source, place in ((tmp_path / "rooms.tar", new), (tmp_path / "store", tmp_path / "other")):
                words = ("restore", source, "--data", place, "--key", made["key"])
                done, found, said = await run(*words, settings=old / "settings")
                assert (done, found["changed"]) == (0, []), said
            record = record_of(new, agent.room)
            assert check_record(record).verdict in ("intact", "unsigned-tail")
            with closing(sqlite3.connect(record)) as db:
                (kept,) = db.execute("SELECT count(*) FROM block").fetchone()
            assert kept >= acked, "everything that was acknowledged before the backup began"
            shutil.move(old / "settings", new / "settings")
            service.folder = new
            seen = len(watcher.blocks)
            await service.start()
            await eventually(lambda: len(watcher.blocks) > seen + 50, 60)
            assert {welcome["you"]["id"] for welcome in watcher.welcomes} == {watcher.welcomes[0]["you"]["id"]}
            assert "before the backup" in [event["text"] for event in watcher.welcomes[-1]["events"]]
            agent.say("after the restore")
            await eventually(lambda: any(event["text"] == "after the restore" for event in watcher.events), 60)
            agent.leave()
            await asyncio.wait_for(running, 60)
            await eventually(lambda: watcher.closed is not None, 60)
        finally:
            for task in (running, watching):
                task.cancel()
            await asyncio.gather(running, watching, return_exceptions=True)
        assert (await service.end(signal.SIGTERM))[0] == 0
    check = check_record(record_of(new, agent.room))
    assert (check.verdict, check.closed) == ("intact", "consult.room-closed")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """From now on the commands run on this machine: its settings are its own."""
    return lambda name: monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / name))


def told_by(capsys, *words):
    assert main(["consult", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_encrypted_rooms_come_back_on_another_machine_and_deleted_ones_do_not(tmp_path, machine, capsys):
    machine("old")
    data, store, idents = tmp_path / "rooms", tmp_path / "store", ("a" * 12, "b" * 12)
    keys = store_of(data, with_master_key())
    with ServiceState(data / "service.db") as state:
        place = DeletionPlace(data, keys, load_signer(), state)
        for ident in idents:
            state.put_room(RoomEntry(ident, f"x-{ident}.room", 5, closed_us=7, closed_code="consult.room-closed"))
            with Journal(data / f"x-{ident}.room", room=ident, signer=place.signer, keys=keys) as journal:
                journal.append([], [{"n": 1, "t_us": 1, "kind": "chat", "text": "word"}])
                journal.end("consult.room-closed")
        assert told_by(capsys, "backup", "--data", data, "-o", store)["left_out"] == []
        bare = told_by(capsys, "backup", "--data", data, "-o", tmp_path / "bare.tar", "--without-keys")
        assert bare["left_out"] == ["room-master.key", "signing-key.pem"]
        delete_room(place, idents[0], "the owner asked", "admin", NOW_US)

    def words_of(folder, ident):
        with Journal(folder / f"x-{ident}.room", keys=store_of(folder, with_master_key())) as journal:
            return [event["text"] for event in journal.events()]

    machine("another")
    told = told_by(capsys, "restore", store, "--data", tmp_path / "one", "--deletions", data / "deletions")
    assert (told["deleted_again"], told["other_keys"]) == ([idents[0]], [])
    assert words_of(tmp_path / "one", idents[1]) == ["word"]
    assert list((tmp_path / "one").glob(f"*{idents[0]}*room")) == []
    assert own_public_key() == place.signer.public_key
    told = told_by(capsys, "restore", store, "--data", tmp_path / "two")
    assert words_of(tmp_path / "two", idents[0]) == ["word"], "who does not say what was deleted has it back"
    machine("a stranger's")
    told = told_by(capsys, "restore", tmp_path / "bare.tar", "--data", tmp_path / "three")
    assert told["missing"] == bare["left_out"]
    with pytest.raises(ConsultError):
        words_of(tmp_path / "three", idents[0])
    told = told_by(capsys, "restore", store, "--data", tmp_path / "four")
    assert "signing-key.pem" in told["other_keys"], "the stranger's own was made meanwhile, and is not written over"
    assert own_public_key() != place.signer.public_key
    assert (tmp_path / "four" / ".settings" / "signing-key.pem").read_bytes().startswith(b"-----BEGIN")


def test_what_was_deleted_under_another_key_is_told_by_the_restore(tmp_path, machine, capsys):
    """The backup's own key counts, also on a machine that signs with another; one of a third key is told, exit 7."""
    machine("old")
    data, store, idents = tmp_path / "rooms", tmp_path / "store", ("a" * 12, "b" * 12)
    keys, stranger = store_of(data, with_master_key()), KeySigner(Ed25519PrivateKey.generate())
    with ServiceState(data / "service.db") as state:
        place = DeletionPlace(data, keys, load_signer(), state)
        for ident in idents:
            state.put_room(RoomEntry(ident, f"x-{ident}.room", 5, closed_us=7, closed_code="consult.room-closed"))
            with Journal(data / f"x-{ident}.room", room=ident, signer=place.signer, keys=keys) as journal:
                journal.end("consult.room-closed")
        told_by(capsys, "backup", "--data", data, "-o", store, "--without-keys")
        delete_room(place, idents[0], "the owner asked", "admin", NOW_US)
        delete_room(replace(place, signer=stranger), idents[1], "the owner asked", "admin", NOW_US)
    machine("another")
    words = ("consult", "restore", store, "--data", tmp_path / "one", "--deletions", data / "deletions", "--json")
    assert main([*map(str, words)]) == Exit.REFUSED
    told = json.loads(capsys.readouterr().out)
    assert own_public_key() != place.signer.public_key
    assert (told["deleted_again"], told["untrusted"], told["not_deleted"]) == ([idents[0]], [idents[1]], {})
    assert [path.stem for path in (tmp_path / "one").glob("*.room")] == [f"x-{idents[1]}"]
    words = ("consult", "restore", store, "--data", tmp_path / "two", "--deletions", data / "deletions", "--lang", "en")
    assert main([*map(str, words)]) == Exit.REFUSED
    assert f"{idents[1]} is here, though a certificate says it was deleted" in capsys.readouterr().err


def test_old_backups_that_stay_end_the_command_as_failed(tmp_path, machine, capsys):
    machine("old")
    data, store = tmp_path / "rooms", tmp_path / "store"
    ServiceState(data / "service.db").close()
    name = told_by(capsys, "backup", "--data", data, "-o", store)["name"]
    (store / "manifests" / f"{name}.json").write_text("{")
    words = ["consult", "backup", "--data", str(data), "-o", str(store), "--keep-days", "1"]
    assert main([*words, "--json"]) == Exit.REFUSED
    assert json.loads(capsys.readouterr().out)["unreadable"] == [name]
    assert main([*words, "--lang", "en"]) == Exit.REFUSED
    assert name in capsys.readouterr().err
    assert told_by(capsys, "backup", "--data", data, "-o", store)["unreadable"] == [], "nobody wished to delete any"


def test_a_master_key_of_ones_own_is_named_by_the_commands(tmp_path, machine, capsys, monkeypatch):
    machine("old")
    monkeypatch.setenv("HUIZHEN_MASTER_KEY", "cd" * 32)
    data, store = tmp_path / "rooms", tmp_path / "store"
    ServiceState(data / "service.db").close()
    store_of(data, with_master_key()).create("a" * 12)
    (named,) = told_by(capsys, "backup", "--data", data, "-o", store)["left_out"]
    assert named.startswith("master-key:")
    assert told_by(capsys, "restore", store, "--data", tmp_path / "one")["missing"] == []
    monkeypatch.delenv("HUIZHEN_MASTER_KEY")
    assert told_by(capsys, "restore", store, "--data", tmp_path / "two")["missing"] == [named]
    (tmp_path / "mine").write_text("cd" * 32 + "\n")
    lines = (f'data = "{tmp_path / "three"}"', "[privacy]", f'master_key_file = "{tmp_path / "mine"}"')
    (tmp_path / "x.toml").write_text("\n".join(lines))
    assert told_by(capsys, "restore", store, "--config", tmp_path / "x.toml")["missing"] == []


async def test_commands_say_what_they_do_and_refuse_in_one_line(tmp_path):
    settings, data = tmp_path / "settings", tmp_path / "data"
    async with running_service(ServiceConfig(data=data, state=data / "service.db")) as service:
        service.invite("0" * 12, Role.EXPERT)
        assert (await run("migrate", "--check", "--data", data, settings=settings))[1]["pending"] == []
    (tmp_path / "phrase").write_text("long enough a phrase\n")
    (tmp_path / "short").write_text("short\n")
    store, phrase = tmp_path / "store", ("--passphrase-file", tmp_path / "phrase")
    done, made, _ = await run("backup", "--data", data, "-o", store, *phrase, settings=settings)
    assert (done, made["schema"], made["encrypted"]) == (0, "huizhen.backup-made/1", True)
    for words, code, said in (
        (("restore", store, "--data", tmp_path / "new"), 2, "--passphrase-file"),
        (("restore", store, "--data", tmp_path / "new", "--passphrase-file", tmp_path / "short"), 2, "too short"),
        (("restore", store, "--data", tmp_path / "new", "--passphrase-file", tmp_path / "none"), 2, "cannot read"),
        (("restore", store, "--data", tmp_path / "new", *phrase, "--at", "1999"), 2, "no such backup"),
        (("restore", store, "--data", data, *phrase), 7, "move it away"),
        (("restore", tmp_path / "phrase", "--data", tmp_path / "new"), 2, "no backup"),
        (("backup", "--data", tmp_path / "none", "-o", store), 2, "service.db"),
        (("migrate", "--apply", "--data", tmp_path / "none"), 2, "no room service in"),
    ):
        done, _, err = await run(*words, settings=settings)
        assert done == code, (words, err)
        assert said in err
        assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()
    done, found, _ = await run("restore", store, "--data", tmp_path / "new", *phrase, settings=settings)
    assert (done, found["schema"], found["records"]) == (0, "huizhen.restore/1", {})
    with ServiceState(tmp_path / "new" / "service.db") as state:
        assert [invite.room for invite in state.load_invites()] == ["0" * 12]
