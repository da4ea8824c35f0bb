"""What the service's database holds of a room beside its record: shown to who may ask, gone with the room."""

import json
import re

import pytest

from consult.deletion import DELETED, DeletionPlace, delete_room
from consult.journal import Journal
from consult.privacystore import Consent, PrivacyStore
from consult.roomkeys import KeyStore
from consult.roomtraces import held_about_account, held_about_room
from consult.servicestate import RoomEntry, ServiceState

ROOM, OTHER, NOW = "0123456789ab", "ba9876543210", 1_800_000_000_000_000
REMAINS = {
    "audit": "who did what, until its days are over",
    "room": "that it was, and is deleted",
    "consent": "that somebody agreed, without who it was, until the audit's days are over",
}
"""Tables that still name a deleted room, and why."""


def filled(state, ident):
    """Everything that may be kept of one room in other tables than ``room`` and ``audit``."""
    offer = {"name": "li", "t_us": 1, "until_us": 2, "because": []}
    offers = [offer, offer | {"name": "zhang"}]
    wait = {
        "need": {},
        "since_us": 1,
        "stage": "experts",
        "offers": offers,
        "asked": ["wang"],
        "because": [],
        "told": [],
    }
    notice = {
        "kind": "queue",
        "title": {"en": "a", "zh": "b"},
        "room": ident,
        "path": f"/r/{ident}",
        "to": ["li", "bo"],
    }
    with state.transaction() as db:
        db.execute("INSERT INTO session VALUES (?, 1, ?, 'expert', 'Li', 9e9, 'li')", (ident.encode(), ident))
        db.execute("INSERT INTO invite VALUES (?, ?, 'expert', 9e9, 0)", (ident.encode(), ident))
        db.execute("INSERT INTO room_car VALUES (?, ?)", (ident, b"car"))
        db.execute(
            "INSERT INTO waiting (room, severity, queued_us, accepted_us, ending, holder, body)"
            " VALUES (?, 'high', 1, 2, '', 'li', ?)",
            (ident, json.dumps(wait)),
        )
        db.execute("INSERT INTO notice (id, t_us, body) VALUES (?, 1, ?)", (ident, json.dumps(notice)))
        db.execute(
            "INSERT INTO network_visit (site, uid, key, car, room, received_us, day, model, body)"
            " VALUES (0, ?, 1, ?, ?, 1, '2027-01-01', 'BYD Song', '{}')",
            (ident[:6], b"car", ident),
        )
        db.execute(
            "INSERT INTO review_draft (room, author, state, reviewer, reason, proposal, pattern, opened_us, changed_us)"
            " VALUES (?, 'li', 'waiting', 'zhang', '', '{}', '{}', 1, 2)",
            (ident,),
        )
        db.execute(
            "INSERT OR IGNORE INTO research_item VALUES"
            " (1, 'P0AA6', 'BYD Song', 't', 't', '[]', 1, 1, NULL, 'taken', 'li', '', '', 1, 1)"
        )
        db.execute("INSERT OR IGNORE INTO review_room (room, author) VALUES (?, 'li')", (ident,))
        db.execute("INSERT INTO research_room VALUES (1, ?, '2027-01-01', '[\"P0AA6\"]')", (ident,))
    store = PrivacyStore(state)
    store.change(ident, lift_reason="urgent", lift_admin_us=5)
    store.put_consent(Consent(1, ident, 2, "Li", "li", "notice", True, "v1", "zh"))


def tables_that_name(state, ident):
    tables = [name for (name,) in state.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {name: state.rows(f"SELECT * FROM {name}") for name in tables}  # noqa: S608 - names of its own
    return {name for name, rows in found.items() if any(ident in str(row) for row in rows)}


@pytest.fixture
def place(tmp_path):
    data = tmp_path / "rooms"
    data.mkdir()
    with ServiceState(data / "service.db") as state:
        for ident in (ROOM, OTHER):
            state.put_room(RoomEntry(ident, f"x-{ident}.room", 5, closed_us=7, closed_code="consult.room-closed"))
            filled(state, ident)
        yield DeletionPlace(data, KeyStore(data / "keys", master_file=tmp_path / "m", makes_master=True), None, state)


def test_no_table_names_a_deleted_room_but_those_that_must(place):
    columns = place.state.rows(
        "SELECT t.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table' AND c.name = 'room'"
    )
    named = tables_that_name(place.state, ROOM)
    assert {name for (name,) in columns} - {"audit"} <= named, "a new table has to be filled above, and forgotten"
    with Journal(place.data / f"x-{ROOM}.room", room=ROOM, keys=place.keys) as journal:
        journal.end("consult.room-closed")
    told = delete_room(place, ROOM, "owner", "admin", NOW)
    assert tables_that_name(place.state, ROOM) == set(REMAINS)
    assert tables_that_name(place.state, OTHER) == (named - {"audit"}), "another room's are as they were"
    proof = place.state.rows("SELECT name, account, version FROM consent ORDER BY n")
    assert proof == [("", "", "v1"), ("Li", "li", "v1")], "that somebody agreed stays, and who it was does not"
    remains = {one["code"]: one for one in told["remains"]}
    assert {"network-visit", "case-draft", "waiting", "consent"} <= remains.keys()
    assert all(re.match(r"20\d\d-", remains[code]["until"]) for code in ("network-visit", "waiting", "consent"))


def test_what_is_written_after_the_deletion_goes_with_the_next_look_also_without_a_car(place):
    with place.state.transaction() as db:
        db.execute("UPDATE room SET closed_code = ? WHERE ident = ?", (DELETED, ROOM))
        db.execute("DELETE FROM room_car")
    PrivacyStore(place.state).forget_deleted(DELETED)
    assert tables_that_name(place.state, ROOM) == {"room", "consent"}
    assert place.state.rows("SELECT name, account FROM consent WHERE room = ?", (ROOM,)) == [("", "")]
    assert place.state.rows("SELECT name, account FROM consent WHERE room = ?", (OTHER,)) == [("Li", "li")]


def test_what_is_held_about_somebody_names_nobody_else(place):
    told = dict(held_about_account(place.state, "li"))
    assert told.keys() == {"waiting", "reviews", "research", "notices"}
    assert [one["room"] for one in told["waiting"]["rows"]] == [ROOM, OTHER]
    assert [one["name"] for row in told["waiting"]["rows"] for one in row["offers"]] == ["li", "li"]
    assert "zhang" not in json.dumps(told)
    assert "bo" not in {name for row in told["notices"]["rows"] for name in row["body"]["to"]}
    asked = dict(held_about_account(place.state, "wang"))["waiting"]["rows"][0]
    assert (asked["was_asked"], asked["holder"], asked["offers"]) == (True, "", [])
    assert held_about_account(place.state, "nobody") == []


def test_what_is_held_about_a_room(place):
    told = {name.rpartition("/")[2]: body["rows"] for name, body in held_about_room(place.state, ROOM)}
    assert told.keys() == {"waiting", "notices", "research", "reviews", "privacy"}
    assert (told["privacy"][0]["lift_reason"], told["research"][0]["codes"]) == ("urgent", ["P0AA6"])
    assert OTHER not in json.dumps(told)
