"""Records encrypted at rest: nothing of the content on disk, each row only at its place, keys that survive anything."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicekit import keys_of, where_found
from test_file_cipher import PNG, digest

from consult.errors import JournalBroken, RecordingBroken
from consult.export import export_recording
from consult.history import HistoryQuery, read_history
from consult.journal import MIGRATIONS, Journal
from consult.recordcheck import check_record
from consult.recording import Recording
from consult.roomcipher import RoomCipher, RoomKey, Wrong, block_place, event_place
from consult.roomkeys import GivenKeys, KeyStore, shred
from consult.sealederrors import ContentBroken, KeyMissing
from consult.wire import encode_samples, parse_head

ROOM = "0123456789ab"
VIN = "LHZEV4001N0001234"
T0 = 1_000_000
NOW = 3_000_000
SCHEMA = {
    "stream": 1, "kind": "signals", "name": "battery",
    "signals": [{"name": "volt", "unit": "V"}, {"name": "amp", "unit": "A"}],
}  # fmt: skip


def block(seq, *, epoch=9, value=3.3125):
    data = encode_samples(
        stream=1, epoch=epoch, seq=seq, t_us=T0 + seq * 20_000,
        values=np.array([value + seq, 7391.25], np.float32), valid=np.array([True, True]),
    )  # fmt: skip
    return parse_head(data), data


def event(n, text="Geheimnis"):
    return {"type": "event", "n": n, "t_us": T0 + n, "kind": "chat", "who": {"id": 1}, "id": f"c{n}", "text": text}


def write(journal):
    journal.keep_document("report", T0, {"schema": "huizhen.scan/1", "vehicle": {"vin": VIN}})
    journal.keep_document("schemas", T0, {"epoch": 9, "schemas": [SCHEMA]})
    journal.append([block(n) for n in range(40)], [event(n, f"Geheimnis {n}") for n in range(1, 6)])
    journal.append([block(n) for n in range(38, 60)], [event(5), event(6)])


@pytest.fixture
def signer():
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from huizhen.signing import KeySigner

    return KeySigner(Ed25519PrivateKey.generate())


@pytest.fixture
def keys(tmp_path):
    return KeyStore(tmp_path / "rooms" / "keys")


@pytest.fixture
def record(tmp_path, keys, signer):
    path = tmp_path / "rooms" / f"20261130-101500-{ROOM}.room"
    with Journal(path, room=ROOM, signer=signer, keys=keys, now_us=lambda: NOW) as journal:
        write(journal)
        journal.end("consult.room-closed")
    return path


def test_what_is_read_is_what_a_plain_record_gives(tmp_path, record, keys):
    plain_journal = Journal(tmp_path / "plain.room", room=ROOM, now_us=lambda: NOW)
    with plain_journal as plain, Journal(record, keys=keys) as sealed:
        assert not plain.is_encrypted
        write(plain)
        assert sealed.is_encrypted
        assert sealed.blocks(1, 9, 5, 50) == plain.blocks(1, 9, 5, 50)
        assert sealed.events() == plain.events()
        assert sealed.documents("report") == plain.documents("report")
        one, other = sealed.resume(), plain.resume()
        assert (one.blocks, one.events, one.schemas, one.report) == (
            other.blocks, other.events, other.schemas, other.report,
        )  # fmt: skip
    with Recording(tmp_path / "plain.room") as plain, Recording(record, keys) as sealed:
        assert plain.sealed is None
        for ask in (
            lambda one: one.blocks_after(T0 - 1, T0 + 500_000, 7),
            lambda one: one.blocks_numbered(1, 9, 3, 30, T0 + 10**9),
            lambda one: [list(one.blocks_of(span)) for span in one.spans()],
            lambda one: [list(one.blocks_of(span, T0 + 100_000, T0 + 300_000)) for span in one.spans()],
            lambda one: (one.events(), one.documents("schemas"), one.bounds(), one.document_names()),
        ):
            assert ask(sealed) == ask(plain)
    query = HistoryQuery(1, ("volt", "amp"), T0, T0 + 1_200_000, 20)
    assert read_history(record, query, keys) == read_history(tmp_path / "plain.room", query)
    for ending in ("csv", "parquet"):
        told = [
            export_recording(path, tmp_path / f"{path.stem}.{ending}") for path in (record, tmp_path / "plain.room")
        ]
        assert told[0] == told[1]
    assert (tmp_path / f"{record.stem}.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()


def test_no_byte_of_the_content_is_on_disk(tmp_path, keys):
    needles = (b"Geheimnis", VIN.encode(), np.float32(7391.25).tobytes(), b"battery", b"volt")
    path = tmp_path / "rooms" / "a.room"
    with Journal(path, room=ROOM, keys=keys) as journal:
        write(journal)
        assert Path(f"{path}-wal").stat().st_size > 0
        assert where_found(tmp_path, *needles) == [], "neither in the file nor in its log"
    assert where_found(tmp_path, *needles) == []
    with Journal(tmp_path / "plain.room", room=ROOM) as journal:
        write(journal)
    for needle in needles:
        assert where_found(tmp_path, needle) == [str(tmp_path / "plain.room")], "the search finds what is there"


def test_sizes_of_words_are_not_told(record):
    with sqlite3.connect(record) as db:
        sizes = {len(body) for (body,) in db.execute("SELECT body FROM event")}
    assert sizes == {256 + 28}


def test_a_record_is_checked_without_its_key_and_more_with_it(record, keys, tmp_path):
    with_key, without = check_record(record, keys=keys), check_record(record, keys=GivenKeys(()))
    assert (with_key.verdict, with_key.is_readable) == ("intact", True)
    assert (without.verdict, without.is_readable) == ("intact", False)
    assert with_key.key == without.key == keys.entries()[0].fingerprint
    elsewhere = shutil.copy(record, tmp_path / "copy.room")
    assert (check_record(elsewhere).verdict, check_record(elsewhere).is_readable) == ("intact", False)
    with Recording(elsewhere) as recording:
        assert recording.room == ROOM
        assert recording.count_blocks() == 60
        for ask in (recording.events, recording.spans, lambda: recording.blocks_after(0, T0 * 9, 5)):
            with pytest.raises(KeyMissing, match="key-file"):
                ask()
    with pytest.raises(KeyMissing):
        export_recording(elsewhere, tmp_path / "x.csv")
    assert not (tmp_path / "x.csv").exists()
    with pytest.raises(JournalBroken, match="encrypted"):
        Journal(elsewhere)


# -- tampering -------------------------------------------------------------------------------------------------------


def swap(table, column, one, other):
    def edit(db):
        name = "data" if table == "block" else "body"
        rows = dict(db.execute(f"SELECT {column}, {name} FROM {table}"))  # noqa: S608 - literals of this file
        for number, data in ((one, rows[other]), (other, rows[one])):
            db.execute(f"UPDATE {table} SET {name} = ? WHERE {column} = ?", (data, number))  # noqa: S608 - likewise

    return edit


def change(sql):
    return lambda db: db.execute(sql)


TAMPERING = {
    "blocks swapped": swap("block", "seq", 3, 4),
    "events swapped": swap("event", "n", 1, 2),
    "documents swapped": swap("document", "id", 1, 2),
    "a block at another time": change("UPDATE block SET t_us = t_us + 1 WHERE seq = 3"),
    "a block in another epoch": change("UPDATE block SET epoch = 8 WHERE seq = 3"),
    "a document of another name": change("UPDATE document SET name = 'agent' WHERE id = 1"),
    "the tag cut": change("UPDATE block SET data = substr(data, 1, length(data) - 1) WHERE seq = 3"),
    "the tag taken off": change("UPDATE event SET body = substr(body, 1, length(body) - 16) WHERE n = 3"),
    "an empty row": change("UPDATE event SET body = x'' WHERE n = 3"),
    "the nonce of another": change(
        "UPDATE block SET data = (SELECT substr(data, 1, 12) FROM block WHERE seq = 4) || substr(data, 13) "
        "WHERE seq = 3"
    ),
    "a run that is none": change("UPDATE event SET body = x'ffffffff' || substr(body, 5) WHERE n = 3"),
    "words in the clear": change("UPDATE event SET body = '{\"n\": 3}' WHERE n = 3"),
    "another salt": change('UPDATE chain SET detail = replace(detail, \'"salt":"\', \'"salt":"00\') WHERE n = 1'),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_a_row_opens_only_where_it_was_written(how, record, keys):
    with sqlite3.connect(record) as db:
        TAMPERING[how](db)
    assert check_record(record, keys=keys).verdict == "changed"
    assert check_record(record, keys=GivenKeys(())).verdict == "changed"

    def read_all():
        with Recording(record, keys) as recording:
            recording.events()
            for name in recording.document_names():
                recording.documents(name)
            recording.blocks_after(0, T0 * 9, 10**6)

    with pytest.raises((ContentBroken, RecordingBroken)):
        read_all()


def test_a_forged_chain_does_not_make_a_moved_row_good(record, keys, signer):
    """Who has the service's signing key can seal anything anew; without the room's key it does not open."""
    from consult import chain

    with sqlite3.connect(record) as db:
        TAMPERING["events swapped"](db)
        before = chain.GENESIS
        for n, kind, t_us, kept, detail in db.execute(
            "SELECT n, kind, t_us, digest, detail FROM chain ORDER BY n"
        ).fetchall():
            fresh = kept
            if kind == "event":
                rows = db.execute("SELECT n, t_us, body FROM event WHERE n = ?", json.loads(detail)["events"])
                fresh = chain.digest_events(rows.fetchall())
            if kind == "signature":
                ((t_signed,),) = db.execute("SELECT t_us FROM signature WHERE n = ?", (n - 1,))
                signature = signer.sign(chain.signed_head(n - 1, before, t_signed))
                db.execute("UPDATE signature SET signature = ? WHERE n = ?", (signature, n - 1))
                fresh = chain.digest_of("signature", signer.public_key, signature)
            before = chain.next_entry(n, before, kind, t_us, fresh, detail).hash
            db.execute("UPDATE chain SET digest = ?, hash = ? WHERE n = ?", (fresh, before, n))
    assert check_record(record, keys=GivenKeys(())).verdict == "intact", "the forgery is a good one"
    check = check_record(record, keys=keys)
    assert [fault.code for fault in check.faults] == ["content"]
    assert not check.is_readable


def test_rows_of_another_room_or_key_do_not_open(tmp_path, record, keys):
    with Journal(tmp_path / "rooms" / "b.room", room="ba9876543210", keys=keys) as journal:
        write(journal)
    with sqlite3.connect(tmp_path / "rooms" / "b.room") as db:
        (foreign,) = db.execute("SELECT body FROM event WHERE n = 3").fetchone()
    with sqlite3.connect(record) as db:
        db.execute("UPDATE event SET body = ? WHERE n = 3", (foreign,))
    with Recording(record, keys) as recording, pytest.raises(ContentBroken, match="event 3"):
        recording.events()


@given(st.binary(max_size=300), st.integers(0, 2**62), st.binary(min_size=16, max_size=16))
def test_the_cipher_gives_back_what_it_took_and_nothing_else(content, seq, salt):
    cipher = RoomCipher(RoomKey.generate(ROOM))
    cipher.begin(1, salt)
    place = block_place(1, 9, seq, 5)
    stored = cipher.seal(content, place)
    assert cipher.open(stored, place) == content
    other = RoomCipher(RoomKey(ROOM + "0", cipher.key.secret))
    other.know(1, salt)
    for wrong in (
        lambda: cipher.open(stored, block_place(1, 9, seq + 1, 5)),
        lambda: cipher.open(stored, event_place(seq, 5)),
        lambda: cipher.open(stored[:-1], place),
        lambda: cipher.open(stored[:12] + bytes([stored[12] ^ 1]) + stored[13:], place),
        lambda: other.open(stored, place),
    ):
        with pytest.raises(Wrong):
            wrong()


# -- nonces ----------------------------------------------------------------------------------------------------------


def used_nonces(path):
    """``(salt of the run, nonce)`` of every row."""
    with closing(sqlite3.connect(path)) as db:
        salts = {
            n: json.loads(detail)["salt"]
            for n, detail in db.execute("SELECT n, detail FROM chain WHERE kind IN ('begin', 'resume')")
        }
        rows = db.execute("SELECT data FROM block UNION ALL SELECT body FROM event UNION ALL SELECT body FROM document")
        return [(salts[int.from_bytes(data[:4], "little")], data[:12]) for (data,) in rows]


def test_no_nonce_comes_twice_under_one_key(tmp_path, keys):
    """Over transactions that are taken back, restarts, and two journals that go on from copies of one file."""
    path, fork = tmp_path / "rooms" / "a.room", tmp_path / "rooms" / "fork.room"
    seen = []
    with Journal(path, room=ROOM, keys=keys) as journal:
        write(journal)
        real, lost = journal._cipher.seal, []

        def seal(content, place):
            lost.append(real(content, place))
            return lost[-1]

        journal._cipher.seal = seal
        with pytest.raises(JournalBroken):
            journal.append([block(100)], [event(50), {**event(51), "n": "no number"}])
        assert len(lost) >= 2
        with closing(sqlite3.connect(path)) as db:
            salt = json.loads(db.execute("SELECT detail FROM chain WHERE n = 1").fetchone()[0])["salt"]
        seen += [(salt, data[:12]) for data in lost]
        journal._cipher.seal = real
        journal.append([block(100)], [event(50)])
    shutil.copy(path, fork)
    for one in (path, fork):
        for round_ in range(3):
            with Journal(one, keys=keys) as journal:
                journal.append([block(200 + round_)], [event(100 + round_)])
    both = set(used_nonces(path)) | set(used_nonces(fork))
    shared = set(used_nonces(path)) & set(used_nonces(fork))
    assert len(used_nonces(path)) == len(set(used_nonces(path)))
    assert len(shared) == len(both) - 2 * 6, "behind the copy the two share nothing"
    assert not set(seen) & both, "what was taken back stays used"


def test_nothing_is_written_behind_the_end(record, keys):
    with Journal(record, keys=keys) as journal, pytest.raises(JournalBroken, match="ended"):
        journal.append([], [event(99)])
    assert check_record(record, keys=keys).verdict == "intact"


def test_a_process_that_is_killed_while_it_writes_leaves_a_record_that_opens(tmp_path):
    path = tmp_path / "a.room"
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from test_record_cipher import block, event
        from consult.journal import Journal
        from consult.roomkeys import KeyStore
        path = Path(sys.argv[1])
        journal, n = Journal(path, room="0123456789ab", keys=KeyStore(path.parent / "keys")), 0
        while True:
            journal.append([block(n)], [event(n + 1)])
            n += 1
            print(n, flush=True)
        """
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path.cwd())])}
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True, env=env
    ) as child:
        told = 0
        for line in child.stdout:
            told = int(line)
            if told >= 150:
                break
        child.send_signal(signal.SIGKILL)
    with Journal(path, keys=KeyStore(tmp_path / "keys")) as journal:
        kept = len(journal.resume().events)
        assert kept >= told > 0
        assert len(journal.blocks(1, 9, 0, 1 << 31)) == kept
        journal.append([block(kept)], [event(kept + 1)])
    check = check_record(path)
    assert (check.faults, check.is_readable) == ((), True)
    assert len(used_nonces(path)) == len(set(used_nonces(path)))


# -- records that are not encrypted ----------------------------------------------------------------------------------


def test_a_plain_record_goes_on_as_it_was_begun(tmp_path, keys):
    path = tmp_path / "a.room"
    with Journal(path, room=ROOM) as journal:
        write(journal)
    with Journal(path, room=ROOM, keys=keys) as journal:
        assert not journal.is_encrypted
        journal.append([block(70)], [event(9)])
    check = check_record(path)
    assert (check.faults, check.key, check.is_readable) == ((), "", True)
    assert keys.entries() == []
    with Journal(tmp_path / "b.room", room=ROOM, keys=keys, encrypt=False) as journal:
        assert not journal.is_encrypted


def test_a_record_of_before_the_chain_is_read_and_goes_on(tmp_path, keys):
    path = tmp_path / "old.room"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE migration (name TEXT PRIMARY KEY)")
        name, script = MIGRATIONS[0]
        for statement in script:
            db.execute(statement)
        db.execute("INSERT INTO migration VALUES (?)", (name,))
        db.execute("INSERT INTO event VALUES (1, 5, ?)", (json.dumps(event(1)),))
    assert check_record(path).verdict == "not-chained"
    with Recording(path) as recording:
        assert recording.events() == [event(1)]
    with Journal(path, room=ROOM, keys=keys) as journal:
        journal.append([], [event(2)])
        assert journal.events() == [event(1), event(2)]
        assert not journal.is_encrypted
    assert check_record(path).faults == ()


# -- the whole service -----------------------------------------------------------------------------------------------


async def test_a_service_keeps_nothing_in_the_clear(service, car, report, in_room, eventually, tmp_path):
    car_bytes = None
    async with in_room(service, car, report) as agent, aiohttp.ClientSession() as http:
        room = service.rooms[agent.room]
        agent.say("Geheimnis 4711")
        await eventually(lambda: "Geheimnis 4711" in [one["text"] for one in room.events_after(0)])
        await eventually(lambda: len(car.sent) > 20 and not room.has_unwritten)
        url = f"{service.url}/r/{agent.room}/files/{digest(PNG)}"
        bearer = {"Authorization": f"Bearer {agent._token}"}
        query = {"offset": "0", "size": str(len(PNG)), "name": "a.png"}
        async with http.put(url, params=query, data=PNG, headers=bearer) as answer:
            assert answer.status == 200
        async with http.get(url, headers=bearer) as answer:
            assert (answer.status, await answer.read(), answer.content_length) == (200, PNG, len(PNG))
        car_bytes = np.asarray(car.sent[5].values[:4], "<f4").tobytes()
        assert any(car_bytes in data for _, data in room.journal.blocks(1, agent.epoch, 0, 1 << 31))
        needles = (b"Geheimnis", report["vehicle"]["vin"].encode(), car_bytes, PNG[:64], b"EV400")
        assert where_found(tmp_path, *needles) == []
    await eventually(lambda: agent.room not in service.rooms)
    assert where_found(tmp_path, *needles) == []
    check = check_record(room.journal.path)
    assert (check.faults, check.is_readable, check.files, check.files_missing) == ((), True, 1, 0)
    stored = next(room.journal.path.with_suffix(".files").iterdir())
    stored.write_bytes(stored.read_bytes()[:-1] + b"\0")
    assert [fault.code for fault in check_record(room.journal.path).faults] == ["file"]


async def test_a_service_that_lost_its_master_key_says_so(tmp_path, eventually):
    from servicekit import ServeProcess, browser_like, redeem

    async with ServeProcess(tmp_path) as service, browser_like() as http:
        _, body, _ = await redeem(http, service.url, service.offer["technician_invite"], agent=True)
        bearer = {"Authorization": f"Bearer {body['token']}"}
        async with http.ws_connect(f"{service.url}{body['path']}/agent", headers=bearer):
            await eventually(lambda: list(tmp_path.glob("*.room")))
        await service.end(signal.SIGKILL)
        master = keys_of(tmp_path).master_file
        kept = master.read_text()
        shred(master)
        await service.start()
        _, said = await service.end(signal.SIGTERM)
        assert body["room"] in said
        assert "master key" in said
        master.write_text(kept)
        await service.start()
        _, said = await service.end(signal.SIGTERM)
        assert said == ""
