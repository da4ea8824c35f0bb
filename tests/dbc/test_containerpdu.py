"""Containers of AUTOSAR against cantools, on an ARXML that Vector's tool wrote, and on made ones."""

from __future__ import annotations

import logging
import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cantools.database.can.formats.arxml as arxml
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbc.containerpdu import contained_rows, parts
from dbc.database import Database, load
from dbc.decoding import decode_table
from dbc.formats import _with_headers
from dbc.signals import Message, Signal
from dbc.summary import summary_from_decoded
from dbc.table import FD, FrameRow, FrameTable

INNER = Message("Inner", 1, False, 2, (Signal("A", 0, 8, True), Signal("B", 15, 8, False, scale=0.5)))
OTHER = Message("Other", 1, False, 1, (Signal("A", 0, 8, True, signed=True),))
OUTER = Message("Outer", 0x123, False, 64, (), is_fd=True, contained={0x000102: INNER, 7: OTHER})
DATABASE = Database("made", "made.arxml", (OUTER,))


def table_of(*payloads: bytes) -> FrameTable:
    return FrameTable.from_rows(FrameRow(n * 1000, 0x123, data, FD) for n, data in enumerate(payloads))


def test_every_part_is_read_and_what_is_unknown_or_cut_is_said() -> None:
    decoded = decode_table(
        table_of(
            bytes.fromhex("000102020a14 000007 01ff 000000 00 5555"),  # two parts, then padding
            bytes.fromhex("000009 03 010203 00010202 6401 00010202 6502"),  # an unknown one, one twice
            bytes.fromhex("000102 02 07"),  # cut
            b"\0\1",
        ),
        [DATABASE],
    )
    outer, inner, other = (decoded.messages[name] for name in ("Outer", "Inner", "Other"))
    assert (decoded.frames, decoded.decoded_frames, decoded.unknown_ids) == (4, 4, ())
    assert (outer.source, outer.short, dict(outer.unknown_parts)) == ("frame", 0, {9: 1})
    assert (inner.source, inner.can_frames, inner.short) == ("container", 0, 1)
    assert inner.t_ns.tolist() == [0, 1000, 1000, 2000]
    assert inner.columns["A"].values.tolist() == [10, 100, 101, 7]
    assert inner.columns["B"].values.tolist() == [10.0, 0.5, 1.0]
    assert inner.columns["B"].t_ns.tolist() == [0, 1000, 1000]
    assert other.columns["A"].values.tolist() == [-1]
    assert summary_from_decoded(decoded)["messages"]["Outer"]["unknown_parts"] == {"0x000009": 1}
    asked = decode_table(table_of(bytes.fromhex("000102020a14")), [DATABASE], signals=["Inner.B"])
    assert {name: list(columns.columns) for name, columns in asked.messages.items()} == {"Inner": ["B"]}
    frame = DATABASE.decode_frame(0x123, False, bytes.fromhex("000009000001020207"))
    assert frame is not None
    assert [(part.message.name, part.short) for part in frame.contained] == [("Inner", True)]
    assert frame.contained[0].values["A"].value == 7


@given(st.lists(st.binary(max_size=64), min_size=1, max_size=8), st.booleans())
def test_many_containers_give_what_single_ones_give(payloads: list[bytes], little: bool) -> None:
    wanted: dict[int, list[tuple[int, bytes]]] = {}
    for row, data in enumerate(payloads):
        for part in parts(data, little=little):
            wanted.setdefault(part.number, []).append((row, part.data))
    data = np.zeros((len(payloads), 64), np.uint8)
    for row, payload in enumerate(payloads):
        data[row, : len(payload)] = np.frombuffer(payload, np.uint8)
    from dbc.bits import Payloads

    found = contained_rows(Payloads(data, np.array([len(p) for p in payloads], np.uint8)), little=little)
    got = {
        number: [
            (row, bytes(part.payloads.data[at, :size]))
            for at, (row, size) in enumerate(zip(part.rows.tolist(), part.payloads.length.tolist(), strict=True))
        ]
        for number, part in found.items()
    }
    assert got == wanted


def test_an_arxml_that_cantools_alone_refuses_decodes_as_cantools_does() -> None:
    spec = find_spec("canmatrix")
    if spec is None or spec.origin is None:
        pytest.skip("canmatrix, whose ARXML with containers is read here, is not installed")
    path = Path(spec.origin).parent / "tests" / "ARXMLContainerTest.arxml"
    database = load(path)
    logging.getLogger("cantools").setLevel(logging.ERROR)
    reference: Any = arxml.load_string(_with_headers(path.read_text(encoding="utf-8")), strict=False)
    (told,) = database.issues
    assert (told.code, told.repaired) == ("container", False)
    chance = random.Random(3)
    compared = 0
    for theirs in reference.messages:
        if not theirs.is_container:
            continue
        ours = database.find_message(theirs.frame_id, extended=theirs.is_extended_frame)
        assert ours is not None
        known = {m.header_id: m for m in theirs.contained_messages if m.header_id}
        assert set(ours.contained) == set(known)
        for _ in range(40):
            data = b""
            for number in chance.sample(sorted(known), chance.randint(1, len(known))):
                size = known[number].length
                if len(data) + 4 + size <= theirs.length:
                    data += number.to_bytes(3, "big") + bytes([size]) + chance.randbytes(size)
            frame = database.decode_frame(theirs.frame_id, theirs.is_extended_frame, data)
            assert frame is not None
            want = [(m.name, values) for m, values in theirs.decode_container(data, decode_choices=False)]
            got = [(part.message.name, {n: v.value for n, v in part.values.items()}) for part in frame.contained]
            assert got == want
            compared += len(got)
    assert compared > 100
