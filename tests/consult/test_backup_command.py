"""Backups by the commands: under load, on another machine, with keys of one's own."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from servicekit import ServeProcess, browser_like, redeem
from test_service_restart import Watcher, record_of

from consult.deletion import DeletionPlace, delete_room
from consult.errors import ConsultError
from consult.invites import Role
from consult.joining import joined_room
from consult.journal import Journal
from consult.recordcheck import check_record
from consult.roomkeys import store_of
from consult.service import ServiceConfig, running_service
from consult.servicestate import RoomEntry, ServiceState
from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.roomkeychain import with_master_key
from huizhen.signing import KeySigner, load_signer, own_public_key

NOW_US = 1_800_000_000_000_000


@pytest.fixture(scope="module")
def signer():
    return KeySigner(Ed25519PrivateKey.generate())


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
            await eventually(lambda: len(watcher.blocks) > 100)
            agent.say("before the backup")
            await eventually(lambda: any(event["text"] == "before the backup" for event in watcher.events))
            for store in ("store", "store", "rooms.tar"):  # a whole one, one more in the same folder, one file
                acked = len(car.sent) - len(agent.spool)
                done, made, said = await run("backup", "--data", old, "-o", tmp_path / store, settings=old / "settings")
                assert (done, made["open_rooms"], made["records"]) == (0, 1, 1), said
            seen = len(watcher.blocks)
            await eventually(lambda: len(watcher.blocks) > seen + 50)
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
            await eventually(lambda: len(watcher.blocks) > seen + 50)
            assert {welcome["you"]["id"] for welcome in watcher.welcomes} == {watcher.welcomes[0]["you"]["id"]}
            assert "before the backup" in [event["text"] for event in watcher.welcomes[-1]["events"]]
            agent.say("after the restore")
            await eventually(lambda: any(event["text"] == "after the restore" for event in watcher.events))
            agent.leave()
            await asyncio.wait_for(running, 60)
            await eventually(lambda: watcher.closed is not None)
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
