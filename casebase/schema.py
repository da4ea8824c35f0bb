"""How the library's file came to be what it is: named migrations, each made once, in order, never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlite_utils

__all__ = ["MIGRATIONS", "NOTICE_KINDS", "OUTCOMES"]

OUTCOMES: Final = ("fixed", "not-fixed", "something-else")
NOTICE_KINDS: Final = ("recall", "bulletin", "investigation")

Migration = tuple[str, "Callable[[sqlite_utils.Database], None]"]


def _fixes_and_terms(db: sqlite_utils.Database) -> None:
    db.execute(
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    )
    db.execute(
        "CREATE TABLE scopes (id INTEGER PRIMARY KEY, make TEXT NOT NULL DEFAULT '', model TEXT NOT NULL DEFAULT '',"
        " year_from INTEGER NOT NULL DEFAULT 0, year_to INTEGER NOT NULL DEFAULT 9999,"
        " UNIQUE (make, model, year_from, year_to))"
    )
    db.execute(
        "CREATE TABLE fixes (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, component TEXT NOT NULL,"
        " failure_mode TEXT NOT NULL, action TEXT NOT NULL, scope_id INTEGER NOT NULL REFERENCES scopes (id),"
        " source TEXT NOT NULL, safety TEXT NOT NULL, origin TEXT NOT NULL, n REAL NOT NULL CHECK (n > 0),"
        " retired INTEGER NOT NULL DEFAULT 0, body TEXT NOT NULL)"
    )
    db.execute(
        "CREATE TABLE terms (fix_id TEXT NOT NULL REFERENCES fixes (id), term TEXT NOT NULL,"
        " n REAL NOT NULL CHECK (n >= 0), PRIMARY KEY (fix_id, term)) WITHOUT ROWID"
    )
    db.execute("CREATE TABLE tests (id TEXT PRIMARY KEY, position INTEGER NOT NULL, body TEXT NOT NULL)")
    db.execute("CREATE TABLE scales (name TEXT PRIMARY KEY, position INTEGER NOT NULL, body TEXT NOT NULL)")


def _cases_and_outcomes(db: sqlite_utils.Database) -> None:
    db.execute(
        "CREATE TABLE cases (id INTEGER PRIMARY KEY, opened_ns INTEGER NOT NULL, closed_ns INTEGER,"
        " symptom TEXT NOT NULL DEFAULT '', vehicle TEXT NOT NULL DEFAULT '{}',"
        " simulated INTEGER NOT NULL CHECK (simulated IN (0, 1)))"
    )
    db.execute(
        "CREATE TABLE outcome_log (id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases (id),"
        " fix_id TEXT NOT NULL REFERENCES fixes (id), rank INTEGER NOT NULL, p REAL NOT NULL, verdict TEXT NOT NULL,"
        " simulated INTEGER NOT NULL CHECK (simulated IN (0, 1)), outcome TEXT CHECK (outcome IN ('fixed', 'not-fixed',"
        " 'something-else')), CHECK (simulated = 0 OR outcome IS NULL))"
    )
    db.execute("CREATE INDEX outcome_log_fix ON outcome_log (fix_id, outcome)")


def _notices(db: sqlite_utils.Database) -> None:
    """What makers and authorities published: recalls, bulletins, investigations; their vehicles and their texts."""
    db.execute(
        "CREATE TABLE notices (id INTEGER PRIMARY KEY, case_id TEXT NOT NULL UNIQUE, source TEXT NOT NULL,"
        " source_id TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('recall', 'bulletin', 'investigation')),"
        " title TEXT NOT NULL DEFAULT '', component TEXT NOT NULL DEFAULT '', remedy TEXT NOT NULL DEFAULT '',"
        " maker TEXT NOT NULL DEFAULT '', published TEXT NOT NULL DEFAULT '', url TEXT NOT NULL DEFAULT '',"
        " lang TEXT NOT NULL DEFAULT 'en', UNIQUE (source, source_id))"
    )
    db.execute(
        "CREATE TABLE notice_vehicles (notice_id INTEGER NOT NULL REFERENCES notices (id) ON DELETE CASCADE,"
        " make TEXT NOT NULL, model TEXT NOT NULL, year_from INTEGER NOT NULL, year_to INTEGER NOT NULL,"
        " PRIMARY KEY (notice_id, make, model, year_from, year_to)) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE notice_texts (id INTEGER PRIMARY KEY, notice_id INTEGER NOT NULL REFERENCES notices (id)"
        " ON DELETE CASCADE, digest BLOB NOT NULL, text TEXT NOT NULL, UNIQUE (notice_id, digest))"
    )
    db.execute(
        "CREATE TABLE imports (digest TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, rows INTEGER NOT NULL,"
        " kept INTEGER NOT NULL, bad INTEGER NOT NULL, finished INTEGER NOT NULL CHECK (finished IN (0, 1)),"
        " at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')))"
    )
    # What was shown may be a notice as well as a fix: the reference to the fixes goes.
    db.execute(
        "CREATE TABLE outcome_log_2 (id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases (id),"
        " fix_id TEXT NOT NULL, rank INTEGER NOT NULL, p REAL NOT NULL, verdict TEXT NOT NULL,"
        " simulated INTEGER NOT NULL CHECK (simulated IN (0, 1)), outcome TEXT CHECK (outcome IN ('fixed', 'not-fixed',"
        " 'something-else')), CHECK (simulated = 0 OR outcome IS NULL))"
    )
    db.execute(
        "INSERT INTO outcome_log_2 SELECT id, case_id, fix_id, rank, p, verdict, simulated, outcome FROM outcome_log"
    )
    db.execute("DROP TABLE outcome_log")
    db.execute("ALTER TABLE outcome_log_2 RENAME TO outcome_log")
    db.execute("CREATE INDEX outcome_log_fix ON outcome_log (fix_id, outcome)")


def _cases_that_teach(db: sqlite_utils.Database) -> None:
    """Cases with their evidence and their end, and which of them stand behind which fix, in the order they came."""
    for column in (
        "uid TEXT", "origin TEXT NOT NULL DEFAULT 'own'", "fix_id TEXT", "outcome TEXT",
        "make TEXT NOT NULL DEFAULT ''", "model TEXT NOT NULL DEFAULT ''", "model_year INTEGER NOT NULL DEFAULT 0",
        "batch TEXT NOT NULL DEFAULT ''", "mileage_km REAL", "car_key TEXT", "component TEXT NOT NULL DEFAULT ''",
        "evidence TEXT NOT NULL DEFAULT '{}'", "note TEXT NOT NULL DEFAULT ''",
    ):  # fmt: skip
        db.execute(f"ALTER TABLE cases ADD COLUMN {column}")
    db.execute(
        "UPDATE cases SET (fix_id, outcome) = (SELECT fix_id, outcome FROM outcome_log WHERE case_id = cases.id"
        " AND outcome IS NOT NULL ORDER BY outcome = 'fixed' DESC, rank LIMIT 1)"
        " WHERE id IN (SELECT case_id FROM outcome_log WHERE outcome IS NOT NULL)"
    )
    db.execute("CREATE UNIQUE INDEX cases_uid ON cases (uid) WHERE uid IS NOT NULL")
    db.execute("CREATE INDEX cases_fix ON cases (fix_id) WHERE fix_id IS NOT NULL")
    db.execute("CREATE INDEX cases_car ON cases (car_key) WHERE car_key IS NOT NULL")
    db.execute(
        "CREATE TABLE learnt (seq INTEGER PRIMARY KEY AUTOINCREMENT, case_id INTEGER NOT NULL REFERENCES cases (id),"
        " fix_id TEXT NOT NULL, weight INTEGER NOT NULL CHECK (weight IN (-1, 1)))"
    )
    db.execute("INSERT INTO meta VALUES ('identity', lower(hex(randomblob(8))))")
    # A simulated job is no experience, whoever writes it.
    db.execute(
        "CREATE TRIGGER learnt_is_real BEFORE INSERT ON learnt"
        " WHEN (SELECT simulated FROM cases WHERE id = NEW.case_id) <> 0"
        " BEGIN SELECT RAISE (ABORT, 'a simulated job is no experience'); END"
    )


def _exposure_and_verdicts(db: sqlite_utils.Database) -> None:
    """How many cars of a model are on the road, by week (0 is that of Monday 1970-01-05); what each job was told."""
    db.execute("ALTER TABLE cases ADD COLUMN verdict TEXT NOT NULL DEFAULT ''")
    db.execute(
        "UPDATE cases SET verdict = (SELECT verdict FROM outcome_log WHERE case_id = cases.id LIMIT 1)"
        " WHERE id IN (SELECT case_id FROM outcome_log)"
    )
    db.execute(
        "CREATE TABLE exposure (make TEXT NOT NULL, model TEXT NOT NULL, week INTEGER NOT NULL, cars REAL NOT NULL"
        " CHECK (cars >= 0), PRIMARY KEY (make, model, week)) WITHOUT ROWID"
    )


def _log_classes(db: sqlite_utils.Database) -> None:
    """Language, kind of evidence and time of each job's answer; probabilities as they were before the log spoke."""
    db.execute("ALTER TABLE cases ADD COLUMN language TEXT CHECK (language IN ('zh', 'en', 'none'))")
    db.execute(
        "ALTER TABLE cases ADD COLUMN evidence_class TEXT"
        " CHECK (evidence_class IN ('words', 'codes', 'measured', 'notice'))"
    )
    db.execute("ALTER TABLE cases ADD COLUMN answered_ms INTEGER CHECK (answered_ms >= 0)")
    db.execute("ALTER TABLE outcome_log ADD COLUMN p_raw REAL")
    db.execute("CREATE INDEX outcome_log_case ON outcome_log (case_id)")
    db.execute("CREATE INDEX outcome_log_first ON outcome_log (case_id) WHERE rank = 1")
    # Counts what happens to jobs that were answered, whoever writes it: what follows from the log is made anew then.
    db.execute("INSERT INTO meta VALUES ('log_version', '0')")
    db.execute(
        "CREATE TRIGGER answered_job_closed AFTER UPDATE OF outcome, fix_id ON cases WHEN NEW.verdict <> ''"
        " BEGIN UPDATE meta SET value = value + 1 WHERE key = 'log_version'; END"
    )


def _shared_counts(db: sqlite_utils.Database) -> None:
    """What other sites told as counts; which of them are trusted, and how old what they told is."""
    db.execute(
        "CREATE TABLE shared_sites (site TEXT PRIMARY KEY, made_us INTEGER, digest TEXT, epsilon REAL, k INTEGER,"
        " trusted_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')))"
    )
    db.execute(
        "CREATE TABLE shared_counts (site TEXT NOT NULL REFERENCES shared_sites (site) ON DELETE CASCADE,"
        " fix_id TEXT NOT NULL REFERENCES fixes (id), worked INTEGER NOT NULL CHECK (worked >= 0),"
        " failed INTEGER NOT NULL CHECK (failed >= 0), PRIMARY KEY (site, fix_id)) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE shared_terms (site TEXT NOT NULL, fix_id TEXT NOT NULL, term TEXT NOT NULL,"
        " n INTEGER NOT NULL CHECK (n > 0), PRIMARY KEY (site, fix_id, term),"
        " FOREIGN KEY (site, fix_id) REFERENCES shared_counts (site, fix_id) ON DELETE CASCADE) WITHOUT ROWID"
    )


def _drafts(db: sqlite_utils.Database) -> None:
    """Consultations that wait for a person to confirm them: no cases yet, not matched and not counted."""
    db.execute(
        "CREATE TABLE drafts (id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, received_ns INTEGER NOT"
        " NULL, car_key TEXT, simulated INTEGER NOT NULL CHECK (simulated IN (0, 1)), state TEXT NOT NULL DEFAULT"
        " 'waiting' CHECK (state IN ('waiting', 'confirmed', 'dropped')), body TEXT NOT NULL)"
    )
    db.execute("CREATE INDEX drafts_car ON drafts (car_key) WHERE car_key IS NOT NULL")


def _outcomes_in_order(db: sqlite_utils.Database) -> None:
    """What became of a fix, the latest first, from an index alone: a popular one has thousands of jobs behind it."""
    db.execute("DROP INDEX cases_fix")
    db.execute(
        "CREATE INDEX cases_tried ON cases (fix_id, coalesce(closed_ns, opened_ns), id, outcome, simulated)"
        " WHERE fix_id IS NOT NULL"
    )


def _network(db: sqlite_utils.Database) -> None:
    """The network of workshops that this library has joined, which jobs it was told of, and notes of research."""
    db.execute(
        "CREATE TABLE networks (server TEXT PRIMARY KEY, service TEXT NOT NULL, reviewed TEXT NOT NULL,"
        " ca TEXT NOT NULL, joined_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')))"
    )
    db.execute(
        "CREATE TABLE network_jobs (case_id INTEGER PRIMARY KEY REFERENCES cases (id), ticket TEXT NOT NULL,"
        " state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'refused')))"
    )
    db.execute(
        "CREATE TABLE network_notes (what TEXT NOT NULL, model TEXT NOT NULL, en TEXT NOT NULL, zh TEXT NOT NULL,"
        " PRIMARY KEY (what, model)) WITHOUT ROWID"
    )


MIGRATIONS: Final[tuple[Migration, ...]] = (
    ("001-fixes-and-terms", _fixes_and_terms),
    ("002-cases-and-outcomes", _cases_and_outcomes),
    ("003-notices", _notices),
    ("004-cases-that-teach", _cases_that_teach),
    ("005-exposure-and-verdicts", _exposure_and_verdicts),
    ("006-log-classes", _log_classes),
    ("007-shared-counts", _shared_counts),
    ("008-drafts", _drafts),
    ("009-outcomes-in-order", _outcomes_in_order),
    ("010-network", _network),
)
