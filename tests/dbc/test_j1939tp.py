"""J1939-TP: what the standard's senders send comes out whole, and what is broken comes out as far as it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbc.database import Database, load
from dbc.decoding import decode_table
from dbc.j1939tp import GroupReassembler, reassemble_groups
from dbc.reassembly import Ending
from dbc.recording import open_recording
from dbc.signals import Message, Signal
from dbc.table import EXTENDED, FrameRow, FrameTable, pgn_from_id

if TYPE_CHECKING:
    from pathlib import Path

VIN = 0xFEEC
MS = 1_000_000


def control(kind: int, size: int, pgn: int, *, source: int = 0, destination: int = 0xFF) -> tuple[int, bytes]:
    packets = -(-size // 7)
    body = bytes([kind]) + size.to_bytes(2, "little") + bytes([packets, 0xFF]) + pgn.to_bytes(3, "little")
    return 0x1CEC0000 | destination << 8 | source, body


def packets(data: bytes, *, source: int = 0, destination: int = 0xFF) -> list[tuple[int, bytes]]:
    can_id = 0x1CEB0000 | destination << 8 | source
    return [(can_id, bytes([at // 7 + 1]) + data[at : at + 7].ljust(7, b"\xff")) for at in range(0, len(data), 7)]


def broadcast(data: bytes, pgn: int = VIN, *, source: int = 0) -> list[tuple[int, bytes]]:
    return [control(0x20, len(data), pgn, source=source), *packets(data, source=source)]


def table_of(frames: list[tuple[int, bytes]], *, gap_ns: int = 50 * MS) -> FrameTable:
    return FrameTable.from_rows(FrameRow(n * gap_ns, i, d, EXTENDED) for n, (i, d) in enumerate(frames))


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=9, max_size=1785), st.integers(0, 253), st.sampled_from([VIN, 0xFECA, 0x1FF00]))
def test_a_broadcast_comes_out_whole(data: bytes, source: int, pgn: int) -> None:
    result = reassemble_groups(table_of(broadcast(data, pgn, source=source)))
    (group,) = result.groups
    assert (group.data, group.pgn, group.source, group.destination) == (data, pgn, source, 0xFF)
    assert group.complete
    assert group.ending is Ending.COMPLETE
    assert group.frames == 1 + -(-len(data) // 7)
    assert (result.stray, result.rejected, result.repeated) == (0, 0, 0)


def test_sessions_of_several_nodes_interleave() -> None:
    ours, theirs = broadcast(bytes(range(30)), source=1), broadcast(bytes(range(100, 130)), source=2)
    mixed = [frame for pair in zip(ours, theirs, strict=True) for frame in pair]
    assert [(g.source, g.data[0]) for g in reassemble_groups(table_of(mixed)).groups] == [(1, 0), (2, 100)]


def test_buses_are_kept_apart() -> None:
    frames = broadcast(bytes(range(20)))
    rows = [FrameRow(n, i, d, EXTENDED, channel=c) for n, (i, d) in enumerate(frames) for c in (0, 1)]
    assert [group.channel for group in reassemble_groups(FrameTable.from_rows(rows)).groups] == [0, 1]


def test_a_session_with_holds_and_a_packet_sent_again() -> None:
    data = bytes(range(25))
    one, two, three, four = packets(data, source=3, destination=9)
    cts = lambda n, at: (0x1CEC0309, bytes([0x11, n, at, 255, 255]) + VIN.to_bytes(3, "little"))  # noqa: E731 - a line
    end = (0x1CEC0309, bytes([0x13, 25, 0, 4, 255]) + VIN.to_bytes(3, "little"))
    begin = control(0x10, 25, VIN, source=3, destination=9)
    frames = [begin, cts(2, 1), one, three, cts(0, 2), cts(3, 2), two, three, four, end]
    result = reassemble_groups(table_of(frames))
    (group,) = result.groups
    assert group.data == data
    assert group.complete
    assert group.destination == 9
    assert group.can_id == 0x1CFEEC03
    assert (result.stray, result.repeated) == (0, 1)


def test_a_lost_packet_of_a_broadcast_ends_it_with_what_is_there() -> None:
    frames = broadcast(bytes(range(30)))
    del frames[3]
    result = reassemble_groups(table_of(frames))
    (group,) = result.groups
    assert group.data == bytes(range(14))
    assert group.missing == 16
    assert group.ending is Ending.SEQUENCE
    assert result.stray == 2


def test_a_new_announcement_replaces_the_old_one() -> None:
    result = reassemble_groups(table_of(broadcast(bytes(30))[:3] + broadcast(bytes(12))))
    assert [(g.ending, len(g.data), g.missing) for g in result.groups] == [
        (Ending.ABORTED, 14, 16),
        (Ending.COMPLETE, 12, 0),
    ]


@pytest.mark.parametrize("sender", [0x1CEC0309, 0x1CEC0903])
def test_either_side_may_abort(sender: int) -> None:
    frames = [control(0x10, 25, VIN, source=3, destination=9), packets(bytes(25), source=3, destination=9)[0]]
    frames.append((sender, bytes([0xFF, 3, 255, 255, 255]) + VIN.to_bytes(3, "little")))
    (group,) = reassemble_groups(table_of(frames)).groups
    assert (group.ending, group.missing) == (Ending.ABORTED, 18)


def test_silence_and_the_end_of_the_recording() -> None:
    frames = broadcast(bytes(30))
    assert reassemble_groups(table_of(frames, gap_ns=3_000 * MS)).groups[0].ending is Ending.PAUSE
    (cut,) = reassemble_groups(table_of(frames[:3])).groups
    assert (cut.ending, cut.missing) == (Ending.CUT, 16)


@pytest.mark.parametrize(
    "body",
    [
        bytes([0x20, 8, 0, 2, 255]) + VIN.to_bytes(3, "little"),  # eight bytes need no transport
        bytes([0x20, 0xFA, 6, 255, 255]) + VIN.to_bytes(3, "little"),  # 1786 bytes
        bytes([0x20, 20, 0, 2, 255]) + VIN.to_bytes(3, "little"),  # twenty bytes are three packets
        bytes([0x10, 20, 0, 3, 255]) + VIN.to_bytes(3, "little"),  # a request to send goes to one node
        bytes([0x20, 20, 0, 3, 255]) + b"\0\0\xff",  # no such parameter group
        bytes([0x42, 20, 0, 3, 255]) + VIN.to_bytes(3, "little"),
        bytes([0x20, 20, 0]),
    ],
)
def test_contradictions_are_rejected(body: bytes) -> None:
    result = reassemble_groups(table_of([(0x1CECFF00, body), *packets(bytes(20))]))
    assert result.groups == ()
    assert (result.rejected, result.stray) == (1, 3)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0x1CECFF00, 0x1CEBFF00, 0x1CEC0309, 0x1CEB0903, 0x18FEEC00]), st.binary(max_size=8))
    )
)
def test_any_frames_end_in_groups_and_counts(frames: list[tuple[int, bytes]]) -> None:
    listener = GroupReassembler()
    groups = [g for n, (can_id, data) in enumerate(frames) for g in listener.feed(n, can_id, data)]
    for group in groups + listener.finish():
        assert group.complete == (group.ending is Ending.COMPLETE)


def test_the_real_recording_decodes(shared: Path) -> None:
    folder = shared / "data/css"
    recording = open_recording(folder / "j1939_tp.mf4")
    rows = [row for row in recording.table.rows() if row.can_id == 0x1CECFF00]
    announced = sum(row.data[5:8] == b"\xe3\xfe\0" for row in rows)
    decoded = decode_table(recording.table, [load(folder / "tp_j1939.dbc")])
    columns = decoded.messages["EC1"]
    assert columns.source == "j1939-tp"
    assert len(columns) == announced == 13
    assert columns.can_frames == decoded.decoded_frames == 13 * 5
    assert set(columns.source_address.tolist()) == {0}
    # Bytes 13 and 14 of the first group, read by hand: the speed at point 5 in steps of 0.125 rpm.
    first = reassemble_groups(recording.table).groups[0].data
    speed = columns.columns["EngineSpeedAtPoint5"]
    assert speed.values[0] == int.from_bytes(first[12:14], "little") * 0.125
    assert not {key & 0x3FF0000 for key in decoded.unknown_ids} & {0xEC0000, 0xEB0000}


def test_a_group_that_also_comes_in_one_frame_keeps_both() -> None:
    lamp = Signal("Lamp", 6, 2, True)
    message = Message("DM1", 0x18FECAFE, True, 8, (lamp,), is_j1939=True)
    single = (0x18FECA0B, bytes([0x40]) + bytes(7))
    table = table_of([single, *broadcast(bytes([0xC0]) + bytes(13), 0xFECA, source=0x0B)])
    decoded = decode_table(table, [Database("made", "made.dbc", (message,))])
    assert decoded.messages["DM1"].columns["Lamp"].values.tolist() == [1.0]
    long = decoded.messages["DM1@j1939-tp"]
    assert long.columns["Lamp"].valid.tolist() == [False]
    assert long.source_address is not None
    assert long.source_address.tolist() == [0x0B]
    assert pgn_from_id(message.can_id) == 0xFECA
