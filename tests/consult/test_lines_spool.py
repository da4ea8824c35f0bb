"""The spool on disk: what was measured survives, in order, once; what cannot is counted and told."""

import errno
import os
import stat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consult.errors import SpoolBroken
from consult.spool import Spool
from consult.spoolfiles import SegmentFiles
from consult.spoolfolder import find_unfinished, open_spool, resume_spool
from consult.wire import encode_samples


def block(seq, *, stream=0, epoch=1, signals=4):
    values = np.full(signals, seq, dtype=np.float32)
    return encode_samples(
        stream=stream, epoch=epoch, seq=seq, t_us=seq * 1000, values=values, valid=np.ones(signals, dtype=np.bool_)
    )


SIZE = len(block(0))


def fill(spool, lane, count, **options):
    for _ in range(count):
        spool.add(lane, block(lane.next, stream=lane.stream, epoch=lane.epoch, **options))


def everything(spool, lane):
    found, seq = [], 0
    while (entry := spool.from_seq(lane, seq)) is not None:
        found.append(entry)
        seq = entry[0] + 1
    return found


def test_memory_alone_forgets_what_is_acknowledged_and_bounds_the_rest():
    spool = Spool(max_memory_bytes=5 * SIZE)
    lane = spool.lane(1, 0)
    fill(spool, lane, 8)
    assert (lane.first, lane.next, spool.lost, len(spool)) == (3, 8, 3, 5)
    assert spool.from_seq(lane, 0) == (3, block(3))
    spool.acknowledge(lane, 6)
    assert spool.from_seq(lane, 0) == (6, block(6))
    assert spool.from_seq(lane, 8) is None
    spool.acknowledge(lane, 99)
    assert (len(spool), lane.next) == (0, 8)


def test_what_was_added_is_there_after_the_program_was_killed(tmp_path):
    spool = Spool(SegmentFiles(tmp_path, segment_bytes=20 * SIZE))
    lanes = [spool.lane(1, 0), spool.lane(1, 1), spool.lane(2, 0)]
    for turn in range(50):
        for lane in lanes:
            if lane.epoch == 1 or turn > 30:
                fill(spool, lane, 1)
    spool.acknowledge(lanes[0], 20)
    again = Spool(SegmentFiles(tmp_path))  # the first was never closed: the program was killed
    assert [(lane.epoch, lane.stream) for lane in again.lanes] == [(1, 0), (1, 1), (2, 0)]
    for old, new in zip(spool.lanes, again.lanes, strict=True):
        assert new.next == old.next
        assert new.first <= old.first
        assert [entry for entry in everything(again, new) if entry[0] >= old.first] == everything(spool, old)
    fill(again, again.lanes[2], 3)
    assert [seq for seq, _ in everything(again, again.lanes[2])] == list(range(again.lanes[2].next))
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("*.seg"))


def test_a_last_record_that_was_cut_is_dropped_and_counting_goes_on_there(tmp_path):
    files = SegmentFiles(tmp_path)
    spool = Spool(files)
    fill(spool, spool.lane(1, 0), 10)
    (segment,) = tmp_path.glob("*.seg")
    for cut in (1, 7, SIZE - 1, SIZE + 7):
        data = segment.read_bytes()
        segment.write_bytes(data[:-cut])
        found = SegmentFiles(tmp_path)
        lane = Spool(found).lane(1, 0)
        assert lane.next == (9 if cut < SIZE + 8 else 8)
        assert found.damaged == (cut != SIZE + 8)
        segment.write_bytes(data)


def test_a_damaged_record_costs_what_stands_behind_it_in_its_segment_only(tmp_path):
    spool = Spool(SegmentFiles(tmp_path, segment_bytes=10 * SIZE))
    fill(spool, spool.lane(1, 0), 40)
    second = sorted(tmp_path.glob("*.seg"))[1]
    data = bytearray(second.read_bytes())
    data[8 + 3 * (SIZE + 8) + 20] ^= 1
    second.write_bytes(data)
    again = Spool(SegmentFiles(tmp_path))
    found = everything(again, again.lane(1, 0))
    numbers = [seq for seq, _ in found]
    assert len(numbers) < 40
    assert numbers[:10] == list(range(10))
    assert numbers[-1] == 39
    assert all(data == block(seq) for seq, data in found)


@settings(deadline=None)
@given(noise=st.binary(max_size=400))
def test_a_file_that_is_no_segment_is_passed_over(tmp_path_factory, noise):
    folder = tmp_path_factory.mktemp("noise")
    (folder / "00000001.seg").write_bytes(noise)
    (folder / "notes.seg").write_bytes(noise)
    spool = Spool(SegmentFiles(folder))
    lane = spool.lane(1, 0)
    fill(spool, lane, 3)
    assert [seq for seq, _ in everything(spool, lane)][-3:] == list(range(lane.next - 3, lane.next))


def test_acknowledged_segments_are_deleted_and_the_disk_stays_bounded(tmp_path):
    files = SegmentFiles(tmp_path, segment_bytes=10 * SIZE, max_bytes=60 * SIZE)
    spool = Spool(files)
    lane, other = spool.lane(1, 0), spool.lane(1, 1)
    fill(spool, other, 1)
    fill(spool, lane, 40)
    spool.acknowledge(lane, 40)
    assert len(list(tmp_path.glob("*.seg"))) > 2, "the other stream's first block holds the first segment"
    spool.acknowledge(other, 1)
    assert len(list(tmp_path.glob("*.seg"))) == 1
    fill(spool, lane, 200)
    assert files.total_bytes < 75 * SIZE
    assert spool.lost == lane.first - 40 > 100
    numbers = [seq for seq, _ in everything(spool, lane)]
    assert numbers == list(range(lane.first, 240))


class FullDisk(SegmentFiles):
    """A disk that is full for a while, at the place where the system says so."""

    is_full = False

    def _write(self, data):
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super()._write(data)


def test_a_full_disk_is_told_and_the_room_goes_on_from_memory(tmp_path):
    files, told = FullDisk(tmp_path), []
    spool = Spool(files, on_trouble=told.append)
    lane = spool.lane(1, 0)
    fill(spool, lane, 5)
    files.is_full = True
    fill(spool, lane, 5)
    assert told == [os.strerror(errno.ENOSPC)]
    assert everything(spool, lane) == [(seq, block(seq)) for seq in range(10)]
    files.is_full = False
    fill(spool, lane, 1_000_000 // SIZE + 2)
    assert told == [os.strerror(errno.ENOSPC), None], "a megabyte later the disk is tried again"
    assert spool.lost == 0


def test_more_than_memory_holds_comes_back_from_the_disk(tmp_path):
    spool = Spool(SegmentFiles(tmp_path))
    lane = spool.lane(1, 0)
    fill(spool, lane, 3000, signals=1000)
    assert sum(map(len, lane.held.values())) <= 8_000_000 < 3000 * 4000
    assert [seq for seq, _ in everything(spool, lane)] == list(range(3000))


def test_a_room_s_identity_is_kept_for_its_owner_alone_and_found_again(tmp_path):
    spool, identity = open_spool(tmp_path, "http://x", "abc", "secret-token", name="王", extra={"embedded": True})
    identity.keep(token="newer-token", eras=[(7, [{"stream": 0}])])
    fill(spool, spool.lane(7, 0), 3)
    assert stat.S_IMODE((tmp_path / "abc" / "room.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "abc").stat().st_mode) == 0o700
    with pytest.raises(SpoolBroken, match="another program"):
        resume_spool(tmp_path, "abc")
    identity.release()
    assert find_unfinished(tmp_path) == ["abc"]
    again, who = resume_spool(tmp_path, "abc")
    assert (who.server, who.room, who.token, who.name) == ("http://x", "abc", "newer-token", "王")
    assert (who.eras, who.extra) == ([(7, [{"stream": 0}])], {"embedded": True})
    assert len(again) == 3
    who.discard()
    assert find_unfinished(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "x"}', '{"schema": "huizhen.room-identity/1"}', "\xff"])
def test_an_identity_that_is_none_is_refused_in_words(tmp_path, text):
    (tmp_path / "abc").mkdir()
    (tmp_path / "abc" / "room.json").write_text(text)
    with pytest.raises(SpoolBroken, match="cannot resume the room"):
        resume_spool(tmp_path, "abc")


def test_a_room_that_was_never_there_is_refused(tmp_path):
    for name in ("abc", "../abc", "a/b"):
        with pytest.raises(SpoolBroken):
            resume_spool(tmp_path, name)


def test_numbers_are_counted_on_only_where_none_can_have_been_used_unseen(tmp_path):
    """After trouble with the disk, or when the machine was off, blocks may have been sent that no file has."""
    _, identity = open_spool(tmp_path, "http://x", "abc", "t")
    identity.keep(token="t", eras=[(1, [])])
    identity.release()
    _, who = resume_spool(tmp_path, "abc")
    assert who.may_go_on
    who.note_trouble()
    who.release()
    _, troubled = resume_spool(tmp_path, "abc")
    assert not troubled.may_go_on
    troubled.release()
    path = tmp_path / "abc" / "room.json"
    path.write_text(path.read_text().replace('"boot": "', '"boot": "another'))
    _, rebooted = resume_spool(tmp_path, "abc")
    assert not rebooted.may_go_on
    rebooted.release()


def test_where_no_folder_can_be_made_memory_has_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    told = []
    spool, _ = open_spool(tmp_path / "file", "http://x", "abc", "t", on_trouble=told.append)
    fill(spool, spool.lane(1, 0), 2)
    assert len(spool) == 2
    assert len(told) == 1
