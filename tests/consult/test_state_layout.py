"""The service's database changes its layout: under an older program that runs on it, and never by surprise."""

import sqlite3
import stat
from contextlib import closing

import pytest

from consult import servicestate, statemigrations
from consult.accounts import Account, AccountRole
from consult.invites import Invite, Role, Session
from consult.journal import MIGRATIONS, Journal
from consult.layout import contractions, is_expansion, read_layout
from consult.operatingerrors import MigrationUnsafe, StateNewer
from consult.recordcheck import check_record
from consult.recording import Recording
from consult.servicestate import AuditEntry, RoomEntry, ServiceState

BASE = statemigrations.MIGRATIONS
WIDER = (
    *statemigrations.MIGRATIONS,
    (
        "9001-wider",
        (
            "CREATE TABLE pager (room TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID",
            "CREATE UNIQUE INDEX pager_n ON pager (n)",
            "INSERT INTO pager VALUES ('0', 0)",
            *(
                f"ALTER TABLE {table} ADD COLUMN more TEXT NOT NULL DEFAULT 'as it was'"
                for table in ("account", "login", "room", "invite", "session", "counter", "audit")
            ),
        ),
    ),
)
NARROWER = (*statemigrations.MIGRATIONS, ("9002-narrower", ("DROP TABLE invite",)))


def use(state):
    """Everything that a program does to the tables of the first layout."""
    account = Account("li", "Li", AccountRole.EXPERT, ("battery",), ("zh",), "CN", True, 1, "hash")
    state.put_account(account)
    state.open_login(b"login", "li", 2e9, 1.0)
    assert state.find_login(b"login", 1.0) == account
    state.put_room(RoomEntry("0123456789ab", "a.room", 5))
    state.put_room(RoomEntry("0123456789ab", "a.room", 5, lets_experts_in=True))
    assert [entry.lets_experts_in for entry in state.open_rooms()] == [True]
    session = Session(1, "0123456789ab", Role.EXPERT, "Li", 2e9, "li")
    invite = Invite(b"invite", "0123456789ab", Role.EXPERT, 2e9)
    state.save_access({b"invite": invite}, {b"session": session}, 7, (AuditEntry(9, "redeem"),))
    assert state.load_invites() == [invite]
    assert state.load_sessions() == ({b"session": session}, 7)
    state.put_account(account, sign_out=True)
    assert state.accounts() == [account]
    assert state.audit()[-1][1].what == "redeem"
    assert state.remove_account("li")


@pytest.fixture
def layout(monkeypatch):
    """Which program opens the database from now on."""
    return lambda migrations: monkeypatch.setattr(servicestate, "MIGRATIONS", migrations)


def test_an_older_program_goes_on_working_while_a_newer_one_migrates(tmp_path, layout):
    path = tmp_path / "service.db"
    layout(BASE)
    with ServiceState(path) as older:
        older.claim()
        use(older)
        layout(WIDER)
        with ServiceState(path) as newer:
            use(newer)
            use(older)
            assert newer.rows("SELECT more FROM room") == [("as it was",)]
            newer.rows("UPDATE room SET more = 'new'")
            use(older)
            assert newer.rows("SELECT more FROM room") == [("new",)], "an older program forgets nothing of a newer one"


FIRST_PROGRAM = (
    """INSERT INTO account (name, display, role, skills, languages, region, on_duty, created_us, password)
    VALUES ('li', 'Li', 'expert', '[]', '[]', '', 1, 1, 'hash') ON CONFLICT (name) DO UPDATE SET display = 'Li'""",
    "INSERT OR REPLACE INTO login (digest, account, expires_s) VALUES (x'01', 'li', 2e9)",
    """INSERT INTO room (ident, file, created_us, lets_experts_in, closed_us, closed_code)
    VALUES ('a', 'a.room', 5, 0, NULL, NULL) ON CONFLICT (ident) DO UPDATE SET lets_experts_in = 1""",
    "INSERT OR REPLACE INTO invite (digest, room, role, expires_s, used) VALUES (x'02', 'a', 'expert', 2e9, 0)",
    """INSERT OR REPLACE INTO session (digest, person, room, role, name, expires_s, account)
    VALUES (x'03', 1, 'a', 'expert', 'Li', 2e9, 'li')""",
    "INSERT OR REPLACE INTO counter (name, value) VALUES ('persons', 7)",
    "INSERT INTO audit (t_us, what, who, room, detail) VALUES (1, 'redeem', '', '', '')",
)
"""What the first program says to the tables of the first layout, as it stands in running services."""


def test_every_migration_can_be_made_under_the_first_program(tmp_path):
    path = tmp_path / "service.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.execute("PRAGMA journal_mode = WAL")
        older.execute("CREATE TABLE migration (name TEXT PRIMARY KEY)")
        name, script = statemigrations.MIGRATIONS[0]
        older.execute("INSERT INTO migration VALUES (?)", (name,))
        for statement in (*script, *FIRST_PROGRAM):
            older.execute(statement)
        with ServiceState(path) as newer:
            newer.claim()
            assert read_layout(path, statemigrations.MIGRATIONS).pending == ()
            for statement in FIRST_PROGRAM:
                older.execute(statement)
            assert [account.name for account in newer.accounts()] == ["li"]
            assert len(newer.load_invites()) == 1
    names = [name for name, _ in statemigrations.MIGRATIONS]
    assert contractions(names, statemigrations.MIGRATIONS) == (), "say in docs/operations.md what has to be stopped"


def test_what_a_running_service_would_not_survive_waits_for_its_end(tmp_path, layout):
    path = tmp_path / "service.db"
    layout(BASE)
    with ServiceState(path) as older:
        older.claim()
        layout(NARROWER)
        with pytest.raises(MigrationUnsafe, match=r"9002-narrower.*stop the service first"):
            ServiceState(path)
        use(older)
    with ServiceState(path) as newer:
        assert newer.rows("SELECT 1 FROM sqlite_master WHERE name = 'invite'") == []
        newer.claim()
    with ServiceState(path) as again:
        again.claim()


def test_a_database_of_a_newer_program_is_refused_by_name_and_left_alone(tmp_path, layout):
    path = tmp_path / "service.db"
    layout(WIDER)
    ServiceState(path).close()
    before = path.read_bytes()
    layout(BASE)
    with pytest.raises(StateNewer, match="9001-wider"):
        ServiceState(path)
    assert path.read_bytes() == before
    assert read_layout(path, BASE).unknown[-1] == "9001-wider"


def test_before_a_change_a_copy_is_kept_and_the_older_program_can_go_back_to_it(tmp_path, layout):
    path = tmp_path / "service.db"
    layout(BASE)
    with ServiceState(path) as older:
        older.put_room(RoomEntry("0123456789ab", "a.room", 5))
        assert list(tmp_path.glob("*.before-*")) == []
        layout(WIDER)
        ServiceState(path).close()  # the older one still has it open: its newest words are in the write-ahead file
    (kept,) = tmp_path.glob("*.before-*")
    assert kept.name == f"service.db.before-{WIDER[-1][0]}"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    for end in ("", "-wal", "-shm"):
        path.with_name(f"service.db{end}").unlink(missing_ok=True)
    kept.rename(path)
    layout(BASE)
    with ServiceState(path) as back:
        assert [entry.ident for entry in back.open_rooms()] == ["0123456789ab"]
        use(back)


def test_a_change_that_fails_leaves_everything_as_it_was(tmp_path, layout):
    path = tmp_path / "service.db"
    layout(BASE)
    ServiceState(path).close()
    layout((*BASE, ("9003-broken", ("CREATE TABLE half (n INTEGER)", "CREATE TABLE room (n INTEGER)"))))
    with pytest.raises(servicestate.StateBroken, match="already exists"):
        ServiceState(path)
    layout(BASE)
    with ServiceState(path) as state:
        assert state.rows("SELECT 1 FROM sqlite_master WHERE name = 'half'") == []


@pytest.mark.parametrize(
    ("script", "is_safe"),
    [
        (["CREATE TABLE a (n INTEGER)", "CREATE UNIQUE INDEX a_n ON a (n)", "INSERT INTO a VALUES (1)"], True),
        (["CREATE INDEX room_time ON room (created_us)"], True),
        (["CREATE UNIQUE INDEX room_file ON room (file)"], False),
        (["ALTER TABLE room ADD COLUMN region TEXT"], True),
        (["ALTER TABLE room ADD region TEXT NOT NULL DEFAULT ''"], True),
        (["ALTER TABLE room ADD COLUMN region TEXT NOT NULL"], False),
        (["ALTER TABLE room ADD COLUMN region TEXT CHECK (region <> '')"], False),
        (["ALTER TABLE room RENAME COLUMN file TO path"], False),
        (["INSERT INTO room VALUES (1)"], False),
        (["UPDATE room SET file = ''"], False),
        (["CREATE TRIGGER t AFTER INSERT ON room BEGIN SELECT 1; END"], False),
        (["DROP TABLE room"], False),
        (["PRAGMA foreign_keys = OFF"], False),
    ],
)
def test_which_changes_an_older_program_survives(script, is_safe):
    assert is_expansion(script) is is_safe


def test_readers_of_a_recording_never_change_its_layout(tmp_path):
    """A recording of the first program: blocks, events and documents, no chain."""
    path = tmp_path / "old.room"
    with closing(sqlite3.connect(path)) as db:
        for statement in (
            "CREATE TABLE migration (name TEXT PRIMARY KEY)",
            *MIGRATIONS[0][1],
            "INSERT INTO migration VALUES ('0001-blocks-events-documents')",
            """INSERT INTO event VALUES (1, 5, '{"n": 1, "t_us": 5, "kind": "chat", "text": "x"}')""",
        ):
            db.execute(statement)
        db.commit()
    before = path.read_bytes()
    with Recording(path) as recording:
        assert not recording.is_chained
    assert check_record(path).verdict == "not-chained"
    assert path.read_bytes() == before
    with Journal(path) as journal:
        assert [event["text"] for event in journal.events()] == ["x"]
    with closing(sqlite3.connect(path)) as db:
        assert len(db.execute("SELECT * FROM migration").fetchall()) > 1
