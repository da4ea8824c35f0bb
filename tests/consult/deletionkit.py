"""A room that leaves everything behind that a room may leave, to be deleted."""

import json

from test_file_cipher import PNG, bring
from test_record_cipher import write

from consult.journal import Journal
from consult.roomfiles import RoomFiles

ROOM, OTHER = "0123456789ab", "ba9876543210"
NOW = 1_796_000_000_000_000
PASSWORD = "correct horse battery"


def make_room(place, ident=ROOM, *, keys=True, ends=True):
    """A record with a file, and everything else that a room may leave behind."""
    record = place.data / f"20261130-101500-{ident}.room"
    with Journal(record, room=ident, signer=place.signer, keys=place.keys if keys else None) as journal:
        write(journal)
        bring(RoomFiles(record.with_suffix(".files"), journal.files), PNG)
        if ends:
            journal.end("consult.room-closed")
    spool = place.data / "spool" / ident
    spool.mkdir(parents=True)
    (spool / "1.seg").write_bytes(b"Geheimnis of the laptop")
    record.with_suffix(".extra").write_bytes(b"Geheimnis in the clear")
    return record


def secrets_of(place, ident=ROOM):
    """The room's key as it is, and as its file has it."""
    (entry,) = [one for one in place.keys.entries() if one.room == ident]
    told = json.loads((place.keys.folder / f"{entry.fingerprint}.key").read_text())
    return place.keys.find(entry.fingerprint).secret, bytes.fromhex(told["wrapped"]), bytes.fromhex(told["nonce"])
