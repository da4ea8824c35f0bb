"""ISO-TP put together from recordings: whole messages whole, broken ones as far as they go, nothing silent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dbc.pci import pad, segment
from dbc.reassembly import PAUSE_NS, Ending, Payload, Reassembly, reassemble
from dbc.table import FrameRow, FrameTable

MS = 1_000_000


def wire(payload: bytes, *, can_dl: int = 8) -> list[bytes]:
    return [pad(frame.encode()) for frame in segment(payload, can_dl=can_dl)]


def listen(frames: list[bytes], *, step_ns: int = MS, can_id: int = 0x7EC) -> Reassembly:
    rows = [FrameRow(n * step_ns, can_id, data) for n, data in enumerate(frames)]
    return reassemble(FrameTable.from_rows(rows))


def only(result: Reassembly) -> Payload:
    assert len(result.payloads) == 1
    return result.payloads[0]


@given(
    st.lists(st.tuples(st.sampled_from([0x7E8, 0x7EC, 0x7ED]), st.binary(min_size=1, max_size=200)), max_size=6),
    st.sampled_from([8, 64]),
    st.randoms(use_true_random=False),
)
def test_interleaved_messages_come_out_whole(messages: list[tuple[int, bytes]], can_dl: int, random) -> None:
    queues: dict[int, list[bytes]] = {}
    for can_id, payload in messages:
        queues.setdefault(can_id, []).extend(wire(payload, can_dl=can_dl))
    rows: list[FrameRow] = []
    while queues:
        can_id = random.choice(sorted(queues))
        rows.append(FrameRow(len(rows) * MS, can_id, queues[can_id].pop(0)))
        queues = {key: queue for key, queue in queues.items() if queue}
    result = reassemble(FrameTable.from_rows(rows))
    for can_id in {can_id for can_id, _ in messages}:
        sent = [payload for key, payload in messages if key == can_id]
        assert [payload.data for payload in result.payloads if payload.can_id == can_id] == sent
    assert all(payload.complete and payload.ending is Ending.COMPLETE for payload in result.payloads)
    assert sum(payload.frames for payload in result.payloads) == len(rows)


def test_a_lost_frame_leaves_the_part_before_it() -> None:
    frames = wire(bytes(range(62)))
    payload = only(result := listen(frames[:3] + frames[4:]))
    assert payload.data == bytes(range(6 + 14))
    assert (payload.missing, payload.ending, payload.frames) == (42, Ending.SEQUENCE, 3)
    assert result.stray == 5


def test_a_new_message_ends_the_open_one() -> None:
    frames = wire(bytes(range(30)))
    broken, whole = listen([*frames[:2], *wire(b"\x7f\x22\x31")]).payloads
    assert (broken.data, broken.missing, broken.ending) == (bytes(range(13)), 17, Ending.ABORTED)
    assert whole.data == b"\x7f\x22\x31"


def test_the_end_of_the_recording_cuts() -> None:
    payload = only(listen(wire(bytes(30))[:1]))
    assert (len(payload.data), payload.missing, payload.ending) == (6, 24, Ending.CUT)
    assert not payload.complete


def test_silence_and_a_clock_that_goes_back_break_a_message() -> None:
    frames = wire(bytes(13))
    assert only(listen(frames, step_ns=PAUSE_NS)).complete
    assert only(listen(frames, step_ns=PAUSE_NS + 1)).ending is Ending.PAUSE
    assert only(listen(frames, step_ns=-1)).ending is Ending.PAUSE


def test_a_frame_recorded_twice_counts_once() -> None:
    frames = wire(bytes(range(20)))
    result = listen([frames[0], frames[1], frames[1], frames[2]])
    assert only(result).data == bytes(range(20))
    assert result.repeated == 1


def test_strays_and_other_frames_are_counted() -> None:
    result = listen([b"\x21abcdefg", b"\x30\x00\x00", b"\xff" * 8, b"\x02\x3e\x00"])
    assert only(result).data == b"\x3e\x00"
    assert (result.stray, result.rejected) == (1, 1)


def test_each_bus_by_itself() -> None:
    frames = wire(bytes(range(20)))
    rows = [FrameRow(n, 0x7E8, data, 0, channel) for n, data in enumerate(frames) for channel in (0, 1)]
    result = reassemble(FrameTable.from_rows(rows))
    assert [(payload.channel, payload.complete) for payload in result.payloads] == [(0, True), (1, True)]


@given(st.lists(st.binary(max_size=8), max_size=40))
def test_any_frames_are_accounted_for(frames: list[bytes]) -> None:
    result = listen(frames)
    used = sum(payload.frames for payload in result.payloads)
    flow = sum(1 for data in frames if len(data) >= 3 and data[0] in {0x30, 0x31, 0x32})
    assert used + result.stray + result.rejected + result.repeated + flow == len(frames)
    assert all(payload.missing >= 0 for payload in result.payloads)
