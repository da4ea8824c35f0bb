# ruff: noqa: S608 - the statements are this file's own
import hashlib
import json
import shutil
import sqlite3

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consult.errors import RecordingBroken
from consult.invites import Role
from consult.journal import MIGRATIONS, SIGN_EVERY_US, Journal
from consult.member import Member
from consult.messages import Hello
from consult.recordcheck import check_record
from consult.requestproof import signed_bytes
from consult.room import Room
from consult.wire import encode_samples
from huizhen.signing import KeySigner

SERVICE = KeySigner(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
LAPTOP = KeySigner(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
SCHEMA = {"stream": 1, "signals": [{"name": "a", "unit": "V"}, {"name": "b", "unit": "A"}]}
OTHER = {"stream": 2, "signals": [{"name": "c", "unit": ""}]}


def samples(stream, epoch, seq):
    count = 2 if stream == 1 else 1
    return encode_samples(
        stream=stream, epoch=epoch, seq=seq, t_us=1_700_000_000_000_000 + seq * 20_000,
        values=np.full(count, seq, np.float32), valid=np.ones(count, np.bool_),
    )  # fmt: skip


def make_record(path, *, signer=SERVICE, laptop=LAPTOP, rounds=12, end=True):
    """A room with everything in it, by the room's own code: two epochs, a restart, requests, a marked curve."""
    clock = [1_700_000_000_000_000]

    def now():
        clock[0] += 1_000
        return clock[0]

    def flush(room):
        batch = room.take_batch()
        room.write_batch(batch)
        room.acknowledge(batch)

    def hello(epoch):
        return Hello(
            1, epoch, {"vehicle": {"make": "惠诊"}, "epoch": epoch}, [SCHEMA, OTHER], 0, laptop.public_key.hex()
        )

    journal = Journal(path, room="0123456789ab", signer=signer, now_us=now)
    room = Room("0123456789ab", journal, created_us=now())
    room.take_hello(hello(7), 1, "王师傅", now())
    expert = Member(2, Role.EXPERT, "Li")
    room.enter(expert, now())
    for seq in range(rounds):
        room.accept(samples(1, 7, seq))
        if seq % 3 == 0:
            room.accept(samples(2, 7, seq))
        if seq % 4 == 0:
            room.happen("chat", expert.to_json(), now(), ident=f"c{seq}", text="看 16 号单体")
            clock[0] += SIGN_EVERY_US
        flush(room)
    digest = "ab" * 32
    body = {"digest": digest, "decision": "approve"}
    body["sig"] = laptop.sign(signed_bytes("decision", body)).hex()
    room.happen(
        "request", expert.to_json(), now(), ident="r1", body={"ecu": "0x7E4", "data": "1902FF", "digest": digest}
    )
    room.happen("decision", {"id": 1}, now(), ident="r1", body=body)
    flush(room)
    journal.close()
    journal = Journal(path, signer=signer, now_us=now)
    room.journal = journal
    room.take_hello(hello(8), 1, "王师傅", now())
    for seq in range(rounds):
        room.accept(samples(1, 8, seq))
        flush(room)
    done = {"request": {"digest": digest}, "answers": [{"data": "5902FF", "at_us": 5}]}
    done["sig"] = laptop.sign(signed_bytes("result", done)).hex()
    room.happen("result", {"id": 1}, now(), ident="r1", body=done)
    flush(room)
    if end:
        journal.end("consult.room-closed")
    journal.close()


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    path = tmp_path_factory.mktemp("record") / "whole.room"
    make_record(path)
    return path


def edited(record, tmp_path, *statements):
    """A copy with SQL done to it."""
    copy = tmp_path / "edited.room"
    shutil.copy(record, copy)
    db = sqlite3.connect(copy, isolation_level=None)
    for statement in statements:
        db.execute(*statement) if isinstance(statement, tuple) else db.execute(statement)
    db.close()
    return check_record(copy)


def codes(check):
    return {fault.code for fault in check.faults}


def test_a_record_as_written_is_intact(record):
    check = check_record(record)
    assert check.faults == ()
    assert (check.verdict, check.closed, check.room) == ("intact", "consult.room-closed", "0123456789ab")
    assert [one.public_key for one in check.keys] == [SERVICE.public_key]
    assert check.keys[0].count >= 4
    assert [(one.public_key, one.count) for one in check.laptop] == [(LAPTOP.public_key, 2)]
    assert check.unsigned == {"blocks": 0, "events": 0, "documents": 0}


def test_a_record_in_use_can_be_checked(tmp_path):
    make_record(tmp_path / "a.room", end=False)
    with Journal(tmp_path / "a.room", signer=SERVICE) as journal:
        head = journal.head
        check = check_record(tmp_path / "a.room")
    assert (check.verdict, check.closed) == ("intact", None)
    assert check.head == head.hash.hex()


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        (
            "UPDATE block SET data = CAST(substr(data, 1, 30) || x'77' AS BLOB) WHERE seq = 4",
            "content",
        ),
        ("UPDATE block SET t_us = t_us + 1 WHERE seq = 4 AND epoch = 7", "content"),
        ("UPDATE block SET epoch = 9 WHERE seq = 4 AND epoch = 7", "content"),
        ("DELETE FROM block WHERE seq = 4 AND stream = 1 AND epoch = 7", "missing"),
        ("INSERT INTO block SELECT stream, epoch, 900, t_us, data FROM block LIMIT 1", "extra"),
        ("UPDATE event SET body = replace(body, '16', '17') WHERE body LIKE '%16%'", "content"),
        ("DELETE FROM event WHERE n = 3", "missing"),
        ("INSERT INTO event VALUES (900, 1, '{}')", "extra"),
        ("UPDATE event SET body = CAST(body AS BLOB) WHERE n = 2", "row"),
        ("UPDATE document SET body = '{}' WHERE name = 'report'", "content"),
        ("DELETE FROM document WHERE id = 1", "missing"),
        ("INSERT INTO document (name, t_us, body) VALUES ('report', 1, '{}')", "extra"),
        ("UPDATE chain SET t_us = t_us + 1 WHERE n = 5", "chain"),
        ("UPDATE chain SET detail = detail || ' ' WHERE n = 5", "chain"),
        ("UPDATE chain SET kind = 'resume' WHERE n = 5", "chain"),
        ("UPDATE chain SET hash = zeroblob(32) WHERE n = 5", "chain"),
        ("DELETE FROM chain WHERE n = 5", "chain"),
        ("DELETE FROM signature WHERE n = (SELECT min(n) FROM signature)", "signature"),
        ("UPDATE signature SET t_us = t_us + 1 WHERE n = (SELECT min(n) FROM signature)", "signature"),
        ("UPDATE signature SET signature = zeroblob(64)", "signature"),
        ("INSERT INTO signature SELECT 3, t_us, public_key, signature FROM signature LIMIT 1", "signature"),
        ("DELETE FROM migration WHERE name LIKE '0002%'", "layout"),
        ("INSERT INTO migration VALUES ('0003-new')", "layout"),
        ("CREATE TABLE more (a)", "layout"),
        ("DROP INDEX block_time", "layout"),
        ("CREATE TRIGGER t AFTER INSERT ON block BEGIN DELETE FROM event; END", "layout"),
    ],
)
def test_each_kind_of_edit_is_named(record, tmp_path, statement, code):
    check = edited(record, tmp_path, statement)
    assert check.verdict == "changed"
    assert code in codes(check), [fault.text.en for fault in check.faults]


def test_two_entries_that_changed_places_are_found(record, tmp_path):
    check = edited(
        record, tmp_path, "UPDATE chain SET n = -1 WHERE n = 4", "UPDATE chain SET n = 4 WHERE n = 5",
        "UPDATE chain SET n = 5 WHERE n = -1",
    )  # fmt: skip
    assert "chain" in codes(check)


def rechained(path):
    """What a forger without the key does: mends every digest and hash after an edit."""
    from consult import chain

    db = sqlite3.connect(path, isolation_level=None)
    before = chain.GENESIS
    for n, kind, t_us, digest, detail in db.execute(
        "SELECT n, kind, t_us, digest, detail FROM chain ORDER BY n"
    ).fetchall():
        if kind == "event":
            rows = db.execute(f"SELECT n, t_us, body FROM event WHERE n = {json.loads(detail)['events'][0]}")
            mended = chain.digest_events([(a, b, c.encode()) for a, b, c in rows])
        else:
            mended = digest
        entry = chain.next_entry(n, before, kind, t_us, mended, detail)
        db.execute("UPDATE chain SET digest = ?, hash = ? WHERE n = ?", (mended, entry.hash, n))
        before = entry.hash
    db.close()


def test_an_edit_with_the_whole_chain_mended_fails_at_the_signatures(record, tmp_path):
    copy = tmp_path / "forged.room"
    shutil.copy(record, copy)
    db = sqlite3.connect(copy, isolation_level=None)
    db.execute("UPDATE event SET body = replace(body, '16', '17') WHERE n = 2")
    db.close()
    rechained(copy)
    check = check_record(copy)
    assert codes(check) == {"signature"}


def test_what_follows_the_last_signature_is_counted(tmp_path):
    path = tmp_path / "a.room"
    make_record(path, end=False)
    db = sqlite3.connect(path, isolation_level=None)
    last, at_us = db.execute("SELECT n, t_us FROM signature ORDER BY n DESC LIMIT 1").fetchone()
    db.close()
    with Journal(path) as journal:  # a service without a key goes on
        room = Room("0123456789ab", journal, created_us=0)
        room._event_count = 90
        room.happen("chat", {"id": 1}, 5, text="behind")
        room.write_batch(room.take_batch())
    check = check_record(path)
    assert check.verdict == "unsigned-tail"
    assert check.unsigned == {"blocks": 0, "events": 1, "documents": 0}
    assert (check.signed_n, check.signed_us) == (last, at_us)


def test_a_removed_tail_shows_as_a_record_without_an_end_and_against_a_noted_head(record, tmp_path):
    whole = check_record(record)
    db = sqlite3.connect(record)
    *_, keep, _ = (n for (n,) in db.execute("SELECT n FROM signature ORDER BY n"))
    events = db.execute("SELECT detail FROM chain WHERE n > ? AND kind = 'event'", (keep,)).fetchall()
    blocks = db.execute("SELECT detail FROM chain WHERE n > ? AND kind = 'blocks'", (keep,)).fetchall()
    documents = db.execute("SELECT detail FROM chain WHERE n > ? AND kind = 'document'", (keep,)).fetchall()
    db.close()
    gone = [f"DELETE FROM event WHERE n = {json.loads(detail)['events'][0]}" for (detail,) in events]
    gone += [f"DELETE FROM document WHERE id = {json.loads(detail)['documents'][0]}" for (detail,) in documents]
    for (detail,) in blocks:
        for stream, epoch, first, last in json.loads(detail)["blocks"]:
            gone.append(f"DELETE FROM block WHERE stream={stream} AND epoch={epoch} AND seq BETWEEN {first} AND {last}")
    check = edited(
        record, tmp_path, f"DELETE FROM signature WHERE n > {keep}", f"DELETE FROM chain WHERE n > {keep + 1}", *gone
    )
    assert check.closed is None
    assert check.entries < whole.entries
    noted = (whole.entries, whole.head[:16])
    assert check_record(record, head=noted).faults == ()
    assert codes(check_record(tmp_path / "edited.room", head=noted)) == {"head"}


def test_a_signature_cannot_be_moved_behind_what_it_did_not_seal(tmp_path):
    """Forged entries slipped in between a signature and the entry that names it."""
    from consult import chain

    path = tmp_path / "a.room"
    make_record(path, end=False)
    db = sqlite3.connect(path, isolation_level=None)
    n, t_us, key, signature = db.execute("SELECT * FROM signature ORDER BY n DESC LIMIT 1").fetchone()
    db.execute("DELETE FROM chain WHERE n > ?", (n,))
    (before,) = db.execute("SELECT hash FROM chain WHERE n = ?", (n,)).fetchone()
    body = '{"n":900,"kind":"chat"}'
    db.execute("INSERT INTO event VALUES (900, 1, ?)", (body,))
    forged = chain.next_entry(
        n + 1, before, "event", t_us, chain.digest_events([(900, 1, body.encode())]), '{"events":[900]}'
    )
    sealing = chain.next_entry(
        n + 2, forged.hash, "signature", t_us, chain.digest_of("signature", key, signature),
        chain.canonical({"signature": n, "t_us": t_us}),
    )  # fmt: skip
    for entry in (forged, sealing):
        db.execute(
            "INSERT INTO chain VALUES (?, ?, ?, ?, ?, ?)",
            (entry.n, entry.kind, entry.t_us, entry.digest, entry.detail, entry.hash),
        )
    db.close()
    assert check_record(path).verdict == "changed"


def test_a_whole_file_of_another_key_is_told_by_its_fingerprint(tmp_path):
    other = KeySigner(Ed25519PrivateKey.generate())
    make_record(tmp_path / "a.room", signer=other)
    assert check_record(tmp_path / "a.room").keys[0].fingerprint == other.fingerprint
    check = check_record(tmp_path / "a.room", key=SERVICE.public_key)
    assert codes(check) == {"key"}
    assert other.fingerprint in check.faults[0].text.en


def test_a_laptop_signature_that_is_not_its_own_is_found_even_in_a_well_signed_record(tmp_path):
    """A service that invents an approval cannot sign it for the laptop."""

    class Liar(KeySigner):
        @property
        def public_key(self):
            return LAPTOP.public_key

    make_record(tmp_path / "a.room", laptop=Liar(Ed25519PrivateKey.generate()))
    check = check_record(tmp_path / "a.room")
    assert codes(check) == {"laptop"}
    assert len(check.faults) == 2


def test_a_record_of_before_the_chain_is_told_as_such(tmp_path):
    path = tmp_path / "old.room"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("CREATE TABLE migration (name TEXT PRIMARY KEY)")
    for statement in MIGRATIONS[0][1]:
        db.execute(statement)
    db.execute("INSERT INTO migration VALUES (?)", (MIGRATIONS[0][0],))
    db.execute("INSERT INTO event VALUES (1, 1, '{}')")
    db.close()
    check = check_record(path)
    assert (check.verdict, check.faults) == ("not-chained", ())
    assert check.unchained["events"] == 1
    with Journal(path, signer=SERVICE) as journal:
        journal.end("consult.room-closed")
    check = check_record(path)
    assert (check.verdict, check.unchained["events"]) == ("intact", 1)
    assert "content" in codes(edited(path, tmp_path, "UPDATE event SET body = '{\"a\":1}'"))


def test_a_file_beside_the_record_is_checked_by_its_event(tmp_path):
    path = tmp_path / "a.room"
    names = [hashlib.sha256(content).hexdigest() for content in (b"one", b"two")]
    with Journal(path, signer=SERVICE) as journal:
        room = Room("a", journal, created_us=0)
        for name in names:
            room.happen("file", {"id": 1}, 5, ident=name, text="photo.jpg", body={"sha256": name})
        room.happen("chat", {"id": 1}, 6, ident="c", text='a "file"')
        room.write_batch(room.take_batch())
    path.with_suffix(".files").mkdir()
    beside = path.with_suffix(".files") / names[0]
    beside.write_bytes(b"one")
    check = check_record(path)
    assert (check.faults, check.files, check.files_missing) == ((), 1, 1)
    beside.write_bytes(b"One")
    assert codes(check_record(path)) == {"file"}


def test_an_unsigned_record_is_not_called_intact(tmp_path):
    make_record(tmp_path / "a.room", signer=None)
    assert check_record(tmp_path / "a.room").verdict == "unsigned"


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(4096)])
def test_what_is_no_record_is_refused(tmp_path, content):
    (tmp_path / "a.room").write_bytes(content)
    with pytest.raises(RecordingBroken, match=r"a\.room"):
        check_record(tmp_path / "a.room")
    with pytest.raises(RecordingBroken):
        check_record(tmp_path / "missing.room")


TABLES = {
    "block": ("stream", "epoch", "seq", "t_us", "data"),
    "event": ("n", "t_us", "body"),
    "document": ("id", "name", "t_us", "body"),
    "chain": ("n", "kind", "t_us", "digest", "detail", "hash"),
    "signature": ("n", "t_us", "public_key", "signature"),
    "migration": ("name",),
}


def rows_of(path):
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    db.text_factory = bytes
    try:
        found = {table: db.execute(f"SELECT * FROM {table} ORDER BY 1, 2" if table != "migration" else
                 "SELECT * FROM migration ORDER BY 1").fetchall() for table in TABLES}  # fmt: skip
        found["schema"] = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()
        return found
    finally:
        db.close()


def changed_value(draw, value):
    if isinstance(value, int):
        return draw(st.integers(-(1 << 62), 1 << 62).filter(lambda one: one != value))
    if draw(st.booleans()):
        at, bit = draw(st.integers(0, len(value) - 1)), draw(st.integers(0, 7))
        return value[:at] + bytes([value[at] ^ (1 << bit)]) + value[at + 1 :]
    return draw(st.sampled_from([value[:-1], value + b"\0", value + b" ", b"", value[1:]]))


@st.composite
def an_edit(draw, tables):
    """One edit of one row of any table: another value, the row gone, the row twice, two rows' values exchanged."""
    table = draw(st.sampled_from(sorted(TABLES)))
    rows = tables[table]
    at = draw(st.integers(0, len(rows) - 1))
    columns = TABLES[table]
    column = draw(st.integers(0, len(columns) - 1))
    kind = draw(st.sampled_from(["change", "remove", "double", "exchange"]))
    if kind == "remove":
        return table, "remove", rows[at], None
    if kind == "double":
        copy = list(rows[at])
        copy[0] = changed_value(draw, copy[0])
        return table, "add", None, tuple(copy)
    fresh = list(rows[at])
    if kind == "exchange":
        fresh[column] = rows[draw(st.integers(0, len(rows) - 1))][column]
    else:
        fresh[column] = changed_value(draw, fresh[column])
    return table, "change", rows[at], tuple(fresh)


def as_stored(table, row):
    texts = {"body", "name", "kind", "detail"}
    return [
        ("CAST(? AS TEXT)" if column in texts and isinstance(value, bytes) else "?", value)
        for column, value in zip(TABLES[table], row, strict=True)
    ]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_edit_of_any_row_is_found(record, tmp_path, data):
    before = rows_of(record)
    table, _, old, new = data.draw(an_edit(before))
    copy = tmp_path / "one.room"
    shutil.copy(record, copy)
    db = sqlite3.connect(copy, isolation_level=None)
    try:
        if old is not None:
            where = " AND ".join(
                f"{column} IS {sql}" for column, (sql, _) in zip(TABLES[table], as_stored(table, old), strict=True)
            )
            assert db.execute(f"DELETE FROM {table} WHERE {where}", old).rowcount == 1
        if new is not None:
            places = ", ".join(sql for sql, _ in as_stored(table, new))
            db.execute(f"INSERT INTO {table} VALUES ({places})", new)
    except (sqlite3.IntegrityError, OverflowError):
        return  # the file itself refuses two rows of one name
    finally:
        db.close()
    if rows_of(copy) != before:
        check = check_record(copy)
        assert check.verdict == "changed", (table, old, new)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_of_the_file_is_found_or_changes_nothing_that_is_recorded(record, tmp_path, data):
    content = bytearray(record.read_bytes())
    at = data.draw(st.integers(16, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    copy = tmp_path / "one.room"
    copy.write_bytes(content)
    try:
        check = check_record(copy)
    except RecordingBroken:
        return
    if check.verdict == "intact":
        assert rows_of(copy) == rows_of(record)
