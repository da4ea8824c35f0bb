"""Makers' checksums against opendbc's own functions, message by message, on random payloads."""

from __future__ import annotations

import random
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dbc import checksums
from dbc.checksums import Scheme, crc8, crc16, scheme_of
from dbc.database import load
from dbc.decoding import decode_table
from dbc.protection import Protection, find_protection
from dbc.summary import summary_from_decoded
from dbc.table import EXTENDED, FD, FrameRow, FrameTable

needs_opendbc = pytest.mark.skipif(find_spec("opendbc") is None, reason="opendbc is not installed")

NAMES = [
    "honda_civic_touring_2016_can",
    "toyota_nodsu_pt",
    "hyundai_canfd",
    "vw_mqb",
    "vw_meb",
    "vw_mlb",
    "vw_pq",
    "subaru_global_2017",
    "chrysler_pacifica_2017_hybrid",
    "fca_giorgio",
    "tesla_model3_party",
    "psa_aee2010_r3",
]


def folder() -> Path:
    spec = find_spec("opendbc")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / "dbc"


def filled(oracle: object, can_id: int, length: int, counter: int, chance: random.Random) -> bytes | None:
    """A random payload whose counter and checksum are as opendbc makes them."""
    message = oracle.msgs.get(can_id)
    if message is None:
        return None
    data = bytearray(chance.randbytes(length))
    for signal in sorted(message.sigs.values(), key=lambda one: one.calc_checksum is not None):
        value = counter % (1 << signal.size) if signal.type == 1 else None
        if signal.calc_checksum is not None:
            value = signal.calc_checksum(can_id, signal, bytearray(data))
        if value is None:
            continue
        for bit in range(signal.size):
            if signal.is_little_endian:
                at = signal.start_bit + bit
            else:
                at = 8 * (signal.start_bit // 8) + 7 - signal.start_bit % 8 + signal.size - 1 - bit
                at = 8 * (at // 8) + 7 - at % 8
            data[at // 8] = data[at // 8] & ~(1 << at % 8) | (value >> bit & 1) << at % 8
    return bytes(data)


@needs_opendbc
@pytest.mark.parametrize("name", NAMES)
def test_every_protected_message_is_as_opendbc_makes_it(name: str) -> None:
    from opendbc.can.dbc import DBC
    from opendbc.car.volkswagen.mqbcan import VOLKSWAGEN_MQB_MEB_CONSTANTS as SECRETS

    path = next(folder().rglob(f"{name}.dbc"))
    is_generated = path.parent.parent.name == "generator"
    oracle, database, chance = DBC(f"{name}_generated" if is_generated else name), load(path), random.Random(4)
    checked = 0
    for message in database.by_key.values():
        theirs = oracle.msgs.get(message.can_id)
        if theirs is None or not any(signal.calc_checksum is not None for signal in theirs.sigs.values()):
            continue
        if name.startswith("vw_m") and name != "vw_mlb" and message.can_id not in SECRETS:
            continue  # where opendbc does not know the constants, it does not compute the real checksum
        protection = find_protection(message, name)
        assert protection is not None, message.name
        assert protection.checksum is not None, message.name
        last = message.length - 1
        expected_at = {"subaru": 0, "chrysler": last, "fca": last}.get(name.partition("_")[0])
        if expected_at not in {None, protection.checksum_byte}:
            continue  # opendbc's function leaves out that byte, wherever the database has the checksum
        rows = []
        for n in range(80):
            data = filled(oracle, message.can_id, message.length, n, chance)
            assert data is not None
            flags = FD if message.length > 8 else 0
            rows.append(FrameRow(n * 10_000_000, message.can_id, data, flags | EXTENDED * message.extended))
        spoiled = bytearray(rows[70].data)
        # In a byte that is neither counter nor checksum.
        taken = {protection.checksum_byte, protection.checksum_byte + protection.checksum.length // 16}
        taken |= {protection.counter.first_bit // 8} if protection.counter else set()
        free = [at for at in range(2 if message.length > 2 else 0, message.length) if at not in taken]
        if not free:
            continue
        spoiled[free[0]] ^= 0x10
        rows[70] = rows[70]._replace(data=bytes(spoiled))
        columns = decode_table(FrameTable.from_rows(rows), [database]).messages[message.name]
        verdicts = protection.check(columns)
        assert np.flatnonzero(~verdicts.checksum_ok).tolist() == [70], message.name
        if protection.counter is not None and protection.counter.name == "COUNTER":
            assert set(verdicts.step[1:].tolist()) == {1}, message.name
        if protection.scheme is not None and not protection.scheme.learns:
            assert protection.holds(rows[3].data)
            assert not protection.holds(rows[70].data)
        checked += 1
    assert checked >= 3


def test_published_check_values() -> None:
    data = np.frombuffer(b"123456789", np.uint8)[None, :]
    assert crc8(data, 0x1D, 0xFF)[0] ^ 0xFF == 0x4B  # SAE J1850
    assert crc8(data, 0x2F, 0xFF)[0] ^ 0xFF == 0xDF  # AUTOSAR's CRC8H2F
    assert crc16(data, 0x1021, 0)[0] == 0x31C3  # XMODEM


def test_a_plug_in_says_how(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    scheme = Scheme("ours", lambda data, _, __, ___: data.sum(axis=1, dtype=np.int64) & 0xFF)
    entries = {"toyota_": scheme, "workshop_": scheme, "broken_": "no scheme"}

    class Entry(metadata.EntryPoint):
        def load(self) -> object:
            return entries[self.name]

    found = [Entry(name, "somewhere:thing", checksums.PLUG_INS) for name in entries]
    monkeypatch.setattr(checksums, "entry_points", lambda *, group: found if group == checksums.PLUG_INS else [])
    checksums._plugged.cache_clear()
    try:
        assert scheme_of("workshop_2024") is scheme
        assert scheme_of("toyota_new") is scheme, "a plug-in comes before what is built in"
        assert scheme_of("broken_x") is None
        assert "no Scheme" in caplog.text
        assert scheme_of("nobody_knows") is None
    finally:
        monkeypatch.undo()
        checksums._plugged.cache_clear()


@needs_opendbc
def test_the_summary_counts_what_is_wrong() -> None:
    database = load(next(folder().rglob("toyota_nodsu_pt.dbc")))
    message, protection = next(
        (message, found)
        for message in database.messages
        if isinstance(found := find_protection(message, database.name), Protection) and found.checksum is not None
    )
    rows = []
    for n in range(10):
        data = bytearray(bytes([n] * message.length))
        data[protection.checksum_byte] = protection.checksum_of(bytes(data)) ^ (n == 4)
        rows.append(FrameRow(n * 10_000_000, message.can_id, bytes(data)))
    summary = summary_from_decoded(decode_table(FrameTable.from_rows(rows), [database]))
    protected = summary["messages"][message.name]["protection"]
    assert protected["checksum_errors"] == 1
    assert protected["scheme"] == "Toyota, sum"
    # Where the maker's scheme fits hardly any frame it is not this message's, and the frames are not blamed.
    wrong = [row._replace(data=bytes([*row.data[:-1], row.data[-1] ^ 0x55])) for row in rows]
    columns = decode_table(FrameTable.from_rows(wrong), [database]).messages[message.name]
    assert protection.trusted(protection.check(columns)).all()
    summary = summary_from_decoded(decode_table(FrameTable.from_rows(wrong), [database]))
    assert summary["messages"][message.name]["protection"]["checksum_errors"] is None
