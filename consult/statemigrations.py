"""The layout of the service's database, as named changes in the order in which they are applied."""

from __future__ import annotations

from typing import Final

__all__ = ["MIGRATIONS"]

_ACCOUNTS_ROOMS_SESSIONS: Final = (
    "0001-accounts-rooms-sessions-audit",
    (
        """CREATE TABLE account (
            name TEXT PRIMARY KEY, display TEXT NOT NULL, role TEXT NOT NULL, skills TEXT NOT NULL,
            languages TEXT NOT NULL, region TEXT NOT NULL, on_duty INTEGER NOT NULL, created_us INTEGER NOT NULL,
            password TEXT NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE login (
            digest BLOB PRIMARY KEY, account TEXT NOT NULL REFERENCES account (name) ON DELETE CASCADE,
            expires_s REAL NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE room (
            ident TEXT PRIMARY KEY, file TEXT NOT NULL, created_us INTEGER NOT NULL,
            lets_experts_in INTEGER NOT NULL, closed_us INTEGER, closed_code TEXT) WITHOUT ROWID""",
        """CREATE TABLE invite (
            digest BLOB PRIMARY KEY, room TEXT NOT NULL, role TEXT NOT NULL, expires_s REAL NOT NULL,
            used INTEGER NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE session (
            digest BLOB PRIMARY KEY, person INTEGER NOT NULL, room TEXT NOT NULL, role TEXT NOT NULL,
            name TEXT NOT NULL, expires_s REAL NOT NULL, account TEXT NOT NULL) WITHOUT ROWID""",
        "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        """CREATE TABLE audit (
            n INTEGER PRIMARY KEY, t_us INTEGER NOT NULL, what TEXT NOT NULL, who TEXT NOT NULL,
            room TEXT NOT NULL, detail TEXT NOT NULL)""",
        "CREATE INDEX audit_time ON audit (t_us)",
    ),
)

_QUEUE: Final = (
    "0002-queue",
    (
        "ALTER TABLE account ADD COLUMN makes TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE account ADD COLUMN at_once INTEGER NOT NULL DEFAULT 2",
        """CREATE TABLE waiting (
            n INTEGER PRIMARY KEY, room TEXT NOT NULL, severity TEXT NOT NULL, queued_us INTEGER NOT NULL,
            accepted_us INTEGER, finding_us INTEGER, ended_us INTEGER, ending TEXT NOT NULL, holder TEXT NOT NULL,
            body TEXT NOT NULL)""",
        "CREATE INDEX waiting_open ON waiting (n) WHERE ended_us IS NULL",
        "CREATE INDEX waiting_time ON waiting (queued_us)",
    ),
)

_WEBHOOKS: Final = (
    "0003-webhooks",
    (
        """CREATE TABLE notice (
            n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, t_us INTEGER NOT NULL, body TEXT NOT NULL)""",
        """CREATE TABLE delivery (
            notice INTEGER NOT NULL REFERENCES notice (n) ON DELETE CASCADE, hook TEXT NOT NULL, state TEXT NOT NULL,
            rank INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, next_us INTEGER NOT NULL DEFAULT 0,
            tried_us INTEGER NOT NULL DEFAULT 0, changed_us INTEGER NOT NULL, reason TEXT NOT NULL DEFAULT '',
            alone INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (notice, hook)) WITHOUT ROWID""",
        "CREATE INDEX delivery_waiting ON delivery (hook, state, rank, notice)",
        "CREATE TABLE board_minute (t_us INTEGER PRIMARY KEY, body TEXT NOT NULL)",
    ),
)

_PRIVACY: Final = (
    "0006-privacy",
    (
        """CREATE TABLE room_privacy (
            room TEXT PRIMARY KEY, retention_days INTEGER, hold TEXT NOT NULL DEFAULT '',
            due_us INTEGER NOT NULL DEFAULT 0,
            lifted_until_us INTEGER NOT NULL DEFAULT 0, lift_reason TEXT NOT NULL DEFAULT '',
            lift_technician_us INTEGER NOT NULL DEFAULT 0, lift_admin_us INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
        "CREATE TABLE room_car (room TEXT NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (room, hash)) WITHOUT ROWID",
        "CREATE INDEX room_car_hash ON room_car (hash)",
        """CREATE TABLE consent (
            n INTEGER PRIMARY KEY, t_us INTEGER NOT NULL, room TEXT NOT NULL, person INTEGER NOT NULL,
            name TEXT NOT NULL, account TEXT NOT NULL, kind TEXT NOT NULL, given INTEGER NOT NULL,
            version TEXT NOT NULL, lang TEXT NOT NULL)""",
        "CREATE INDEX consent_room ON consent (room)",
        """CREATE TABLE consent_text (
            version TEXT PRIMARY KEY, kind TEXT NOT NULL, en TEXT NOT NULL, zh TEXT NOT NULL,
            first_us INTEGER NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE retention_clock (
            id INTEGER PRIMARY KEY CHECK (id = 1), first_us INTEGER NOT NULL, seen_us INTEGER NOT NULL,
            leap_us INTEGER)""",
    ),
)

_NETWORK: Final = (
    "0004-network",
    (
        """CREATE TABLE network_site (
            id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, region TEXT NOT NULL, key TEXT UNIQUE, code BLOB,
            code_until_s REAL NOT NULL, created_us INTEGER NOT NULL, joined_us INTEGER, seen_us INTEGER)""",
        """CREATE TABLE network_nonce (
            site INTEGER NOT NULL, nonce TEXT NOT NULL, t_s INTEGER NOT NULL,
            PRIMARY KEY (site, nonce)) WITHOUT ROWID""",
        "CREATE TABLE network_ask (n INTEGER PRIMARY KEY, site INTEGER NOT NULL, t_us INTEGER NOT NULL)",
        "CREATE INDEX network_ask_time ON network_ask (site, t_us)",
        """CREATE TABLE network_ticket (
            digest BLOB PRIMARY KEY, site INTEGER NOT NULL, key INTEGER NOT NULL, car BLOB NOT NULL,
            until_us INTEGER NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE network_visit (
            id INTEGER PRIMARY KEY, site INTEGER NOT NULL, uid TEXT NOT NULL, key INTEGER, car BLOB, room TEXT NOT NULL,
            received_us INTEGER NOT NULL, day TEXT NOT NULL, what TEXT, model TEXT NOT NULL, outcome TEXT,
            body TEXT NOT NULL, UNIQUE (site, uid))""",
        "CREATE INDEX network_visit_car ON network_visit (car) WHERE car IS NOT NULL",
        "CREATE INDEX network_visit_what ON network_visit (what, model, day)",
        """CREATE TABLE network_counts (
            site INTEGER PRIMARY KEY, made TEXT NOT NULL, patterns INTEGER NOT NULL, body TEXT NOT NULL)""",
        """CREATE TABLE review_draft (
            number INTEGER PRIMARY KEY, room TEXT NOT NULL, author TEXT NOT NULL, state TEXT NOT NULL
            CHECK (state IN ('waiting', 'accepted', 'rejected')), reviewer TEXT NOT NULL, reason TEXT NOT NULL,
            proposal TEXT NOT NULL, pattern TEXT NOT NULL, opened_us INTEGER NOT NULL, changed_us INTEGER NOT NULL)""",
        """CREATE TABLE research_item (
            id INTEGER PRIMARY KEY, what TEXT NOT NULL, model TEXT NOT NULL, title_en TEXT NOT NULL,
            title_zh TEXT NOT NULL, rules TEXT NOT NULL, failed INTEGER NOT NULL, jobs INTEGER NOT NULL, p REAL,
            state TEXT NOT NULL CHECK (state IN ('open', 'taken', 'answered', 'closed')), who TEXT NOT NULL,
            note_en TEXT NOT NULL, note_zh TEXT NOT NULL, opened_us INTEGER NOT NULL, changed_us INTEGER NOT NULL,
            UNIQUE (what, model))""",
        """CREATE TABLE research_room (
            item INTEGER NOT NULL REFERENCES research_item (id) ON DELETE CASCADE, room TEXT NOT NULL,
            day TEXT NOT NULL, codes TEXT NOT NULL, PRIMARY KEY (item, room)) WITHOUT ROWID""",
    ),
)

_REVIEW_ROOMS: Final = (
    "0007-review-rooms",
    (
        "CREATE TABLE review_room (room TEXT PRIMARY KEY, author TEXT NOT NULL, taken_us INTEGER) WITHOUT ROWID",
        "INSERT INTO review_room SELECT ident, '', closed_us FROM room WHERE closed_us IS NOT NULL",
    ),
)

MIGRATIONS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    _ACCOUNTS_ROOMS_SESSIONS,
    _QUEUE,
    _WEBHOOKS,
    _NETWORK,
    _PRIVACY,
    _REVIEW_ROOMS,
)
"""Name and statements of each. A name, once published, never changes; nor do its statements."""
