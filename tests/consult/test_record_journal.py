import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from consult.chain import GENESIS, next_entry
from consult.errors import JournalBroken
from consult.journal import MIGRATIONS, SIGN_EVERY_US, Journal
from consult.wire import encode_samples, parse_head


class Clock:
    def __init__(self):
        self.now_us = 1_000_000_000

    def __call__(self):
        return self.now_us


@pytest.fixture
def signer():
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from huizhen.signing import KeySigner

    return KeySigner(Ed25519PrivateKey.generate())


def block(seq, *, stream=1, epoch=9):
    data = encode_samples(
        stream=stream, epoch=epoch, seq=seq, t_us=1_000_000 + seq * 20_000,
        values=np.array([seq, 2], np.float32), valid=np.array([True, False]),
    )  # fmt: skip
    return parse_head(data), data


def event(n):
    return {"type": "event", "n": n, "t_us": 1_000_000 + n, "kind": "chat", "who": {"id": 1}, "text": f"第{n}句"}


def entries(path):
    with sqlite3.connect(path) as db:
        return db.execute("SELECT n, kind, t_us, digest, detail, hash FROM chain ORDER BY n").fetchall()


def chain_holds(path):
    before = GENESIS
    for n, (number, kind, t_us, digest, detail, sealed) in enumerate(entries(path), 1):
        assert number == n
        entry = next_entry(n, before, kind, t_us, digest, detail)
        assert entry.hash == sealed
        before = sealed
    return True


def test_what_is_written_is_sealed_in_the_same_transaction(tmp_path):
    with Journal(tmp_path / "a.room", room="a") as journal:
        journal.write(
            documents=[("report", 5, {"vehicle": {}})],
            blocks=[block(0), block(1), block(5)],
            events=[event(1), event(2)],
        )
        assert journal.head.n == 5
    kinds = [(kind, detail) for _, kind, _, _, detail, _ in entries(tmp_path / "a.room")]
    assert [kind for kind, _ in kinds] == ["begin", "document", "blocks", "event", "event"]
    assert kinds[2][1] == '{"blocks":[[1,9,0,1],[1,9,5,5]]}'
    assert chain_holds(tmp_path / "a.room")


def test_what_was_there_already_is_not_sealed_twice(tmp_path):
    with Journal(tmp_path / "a.room") as journal:
        journal.append([block(0), block(1)], [event(1)])
        journal.append([block(1), block(2), block(1)], [event(1)])
        journal.append([block(0)], [event(1)])
    details = [detail for _, kind, _, _, detail, _ in entries(tmp_path / "a.room") if kind == "blocks"]
    assert details == ['{"blocks":[[1,9,0,1]]}', '{"blocks":[[1,9,2,2]]}']
    assert chain_holds(tmp_path / "a.room")


def test_the_head_is_signed_every_ten_seconds_at_a_restart_and_at_the_end(tmp_path, signer):
    clock, path = Clock(), tmp_path / "a.room"

    def signatures():
        with sqlite3.connect(path) as db:
            return [n for (n,) in db.execute("SELECT n FROM signature ORDER BY n")]

    journal = Journal(path, signer=signer, now_us=clock)
    journal.append([block(0)])
    assert len(signatures()) == 1
    journal.append([block(1)])
    assert len(signatures()) == 1
    assert not journal.must_sign
    clock.now_us += SIGN_EVERY_US
    assert journal.must_sign
    journal.write()
    assert len(signatures()) == 2
    clock.now_us += SIGN_EVERY_US
    assert not journal.must_sign, "nothing was written since"
    journal.append([block(2)])
    journal.append([block(3)])
    journal.close()
    assert len(signatures()) == 4
    journal = Journal(path, signer=signer, now_us=clock)
    assert len(signatures()) == 5
    journal.end("consult.room-closed")
    journal.end("consult.room-closed")
    journal.close()
    assert [kind for _, kind, *_ in entries(path)][-2:] == ["close", "signature"]
    assert chain_holds(path)
    with Journal(path, signer=signer, now_us=clock) as again:
        assert again.resume().closed_code == "consult.room-closed"
    assert [kind for _, kind, *_ in entries(path)][-2:] == ["close", "signature"]


def test_a_write_that_fails_leaves_head_and_file_as_they_were(tmp_path, signer):
    with Journal(tmp_path / "a.room", signer=signer) as journal:
        journal.append([block(0)])
        head = journal.head
        with pytest.raises(JournalBroken, match=r"a\.room"):
            journal.write(blocks=[block(1)], events=[{**event(1), "n": "not a number"}])
        assert journal.head == head
        assert [seq for seq, _ in journal.blocks(1, 9, 0, 9)] == [0]
        journal.append([block(1)])
    assert chain_holds(tmp_path / "a.room")


def test_resume_gives_all_that_a_service_needs(tmp_path):
    path = tmp_path / "a.room"
    old, new = {"stream": 1, "signals": []}, {"stream": 2, "signals": [{"name": "a", "unit": "V"}]}
    with Journal(path) as journal:
        journal.write(documents=[("schemas", 1, {"epoch": 9, "schemas": [old]}), ("report", 1, {"v": 1})])
        journal.append([block(seq) for seq in range(3)], [event(1)])
        journal.write(documents=[("schemas", 2, {"epoch": 10, "schemas": [old, new]}), ("report", 2, {"v": 2})])
        journal.append([block(seq, epoch=10) for seq in range(7_000)], [event(2)])
    with Journal(path) as journal:
        room = journal.resume()
    assert room.epoch == 10
    assert room.schemas == (old, new)
    assert room.report == {"v": 2}
    assert [one["n"] for one in room.events] == [1, 2]
    assert room.next == {1: 7_000, 2: 0}
    assert [head.seq for head, _ in room.blocks] == list(range(999, 7_000)), "two minutes at fifty a second"
    assert room.closed_code is None
    assert room.last_us > 0


def test_an_empty_journal_resumes_as_an_empty_room(tmp_path):
    with Journal(tmp_path / "a.room") as journal:
        room = journal.resume()
    assert (room.epoch, room.schemas, room.report, room.events, room.next, room.blocks) == (0, (), {}, (), {}, ())


def test_a_file_of_before_the_chain_is_sealed_as_found(tmp_path):
    path = tmp_path / "old.room"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE migration (name TEXT PRIMARY KEY)")
        for statement in MIGRATIONS[0][1]:
            db.execute(statement)
        db.execute("INSERT INTO migration VALUES (?)", (MIGRATIONS[0][0],))
        db.execute("INSERT INTO document VALUES ('report', 1, '{}')")
        db.execute("INSERT INTO event VALUES (1, 1, '{}')")
        head, data = block(0)
        db.execute("INSERT INTO block VALUES (?, ?, ?, ?, ?)", (head.stream, head.epoch, head.seq, head.t_us, data))
    db.close()
    with Journal(path) as journal:
        journal.append([block(1)])
        assert [seq for seq, _ in journal.blocks(1, 9, 0, 9)] == [0, 1]
    found = [(kind, detail) for _, kind, _, _, detail, _ in entries(path)]
    assert found[1] == ("found", '{"blocks":[[1,9,0,0]],"documents":[1],"events":[1]}')
    assert chain_holds(path)


def test_a_killed_process_leaves_a_chain_that_holds_and_goes_on(tmp_path):
    path = tmp_path / "a.room"
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from test_record_journal import block, event
        from consult.journal import Journal
        journal, n = Journal(Path(sys.argv[1])), 0
        while True:
            journal.append([block(n)], [event(n + 1)])
            n += 1
            print(n, flush=True)
        """
    )
    folder = str(Path(__file__).parent)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([folder, str(Path.cwd())])}
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True, env=env
    ) as child:
        told = 0
        for line in child.stdout:
            told = int(line)
            if told >= 200:
                break
        child.send_signal(signal.SIGKILL)
    with Journal(path) as journal:
        room = journal.resume()
        kept = len(room.events)
        assert kept >= told
        assert len(journal.blocks(1, 9, 0, 1 << 31)) == kept
        journal.append([block(kept)], [event(kept + 1)])
    assert [kind for _, kind, *_ in entries(path)].count("resume") == 1
    assert chain_holds(path)


def test_a_clock_that_is_set_back_does_not_leave_the_record_unsigned(tmp_path, signer):
    clock = Clock()
    with Journal(tmp_path / "a.room", signer=signer, now_us=clock) as journal:
        journal.append([], [event(1)])
        signed = sum(kind == "signature" for _, kind, *_ in entries(journal.path))
        clock.now_us -= 3 * 3600 * 1_000_000
        journal.append([], [event(2)])
        assert sum(kind == "signature" for _, kind, *_ in entries(journal.path)) == signed + 1
        clock.now_us += 1_000_000
        journal.append([], [event(3)])
        assert sum(kind == "signature" for _, kind, *_ in entries(journal.path)) == signed + 1
