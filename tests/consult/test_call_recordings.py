"""Janus' recordings as WebM: FFmpeg decodes them, whatever order and holes the network left; files that are none."""

import json
import random
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consult.mjr import MjrBroken, read_info, webm_from_mjr

BEGAN_US = 1_790_000_000_000_000


def pictures(count):
    """VP8 pictures, a key frame at first and every ten."""
    encoder = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 320, 240, "yuv420p"
    encoder.framerate, encoder.gop_size, encoder.bit_rate = 25, 10, 2_000_000
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"deadline": "realtime", "lag-in-frames": "0"}
    noise = np.random.default_rng(3).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    found = []
    for n in range(count):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.roll(noise, 3 * n, axis=1)), format="rgb24")
        frame.pts = n
        found += encoder.encode(frame)
    return [bytes(packet) for packet in (*found, *encoder.encode(None))]


def rtp(seq, time, payload, *, marker=False, extension=b"", padding=0):
    first = 0x80 | (0x10 if extension else 0) | (0x20 if padding else 0)
    head = struct.pack("!BBHII", first, 96 | (marker << 7), seq & 0xFFFF, time & 0xFFFFFFFF, 7)
    if extension:
        head += struct.pack("!HH", 0xBEDE, len(extension) // 4) + extension
    return head + payload + (bytes(padding - 1) + bytes([padding]) if padding else b"")


def packets_of_pictures(count, *, first_seq=65_500, first_time=0xFFFF0000, size=1000):
    """As a browser sends them: pieces with a payload descriptor of a 15-bit picture number, numbers that wrap."""
    seq, found = first_seq, []
    for n, picture in enumerate(pictures(count)):
        for at in range(0, len(picture), size):
            descriptor = bytes([0x80 | (0x10 if at == 0 else 0), 0x80, 0x80 | (n >> 8), n & 0xFF])
            piece, is_last = descriptor + picture[at : at + size], at + size >= len(picture)
            found.append(rtp(seq, first_time + 3600 * n, piece, marker=is_last, extension=b"\x10\x30\0\0"))
            seq += 1
    return found


def mjr(packets, *, codec="vp8", tail=b""):
    info = json.dumps({"t": "v", "c": codec, "s": BEGAN_US - 5, "u": BEGAN_US}).encode()
    body = b"".join(b"MEET" + struct.pack("!IH", 0, len(one)) + one for one in packets)
    return b"MJR00002" + struct.pack("!H", len(info)) + info + body + tail


def mjr_of_pictures(count):
    return mjr(packets_of_pictures(count))


@pytest.fixture
def turned(tmp_path):
    def turned(data):
        (tmp_path / "a.mjr").write_bytes(data)
        info = webm_from_mjr(tmp_path / "a.mjr", tmp_path / "a.webm")
        assert info == read_info(tmp_path / "a.mjr")
        with av.open(str(tmp_path / "a.webm"), format="matroska") as container:
            frames = list(container.decode(container.streams[0]))
        return info, frames

    return turned


def test_pictures_come_out_as_they_went_in(turned):
    info, frames = turned(mjr_of_pictures(40))
    assert (info.codec, info.began_us) == ("vp8", BEGAN_US)
    assert [round(frame.time * 1000) for frame in frames] == [40 * n for n in range(40)]
    assert (frames[0].width, frames[0].height) == (320, 240)


def test_late_and_doubled_packets_are_put_right(turned):
    packets = packets_of_pictures(40)
    mixed = packets[:1]
    for at in range(1, len(packets), 12):
        few = packets[at : at + 12] * 2
        random.Random(at).shuffle(few)
        mixed += few
    whole = [frame.to_ndarray() for frame in turned(mjr(packets))[1]]
    again = [frame.to_ndarray() for frame in turned(mjr(mixed))[1]]
    assert len(again) == 40
    assert all(np.array_equal(one, other) for one, other in zip(whole, again, strict=True))


def test_a_picture_with_a_hole_is_left_out_and_the_rest_is_there(turned):
    packets = packets_of_pictures(40)
    (hole,) = [at for at, one in enumerate(packets) if one[4:8] == packets[-1][4:8]][:1]
    _, frames = turned(mjr(packets[: hole - 1] + packets[hole:]))
    assert len(frames) == 39
    _, frames = turned(mjr(packets[1:]))
    assert len(frames) == 30, "it begins with the next key frame"


def test_padding_and_what_is_not_whole_at_the_end_are_left_out(turned):
    packets = packets_of_pictures(20)
    last = 65_500 + len(packets)
    padded = [*packets, rtp(last, 0xFFFF0000 + 3600 * 19, b"", padding=200)]
    assert len(turned(mjr(padded, tail=b"MEET\0\0"))[1]) == 20
    assert len(turned(mjr(padded, tail=b"garbage of a crash"))[1]) == 20
    assert len(turned(mjr(padded)[:-30])[1]) == 20
    assert len(turned(mjr(packets)[:-30])[1]) == 19, "the last picture is not whole"


def test_a_long_pause_and_a_long_recording_keep_their_times(turned):
    pieces = [packet[20:] for packet in packets_of_pictures(1)]
    packets = [
        rtp(n * len(pieces) + at, n * 90_000 * 60, piece, marker=at + 1 == len(pieces))
        for n in range(5)
        for at, piece in enumerate(pieces)
    ]
    _, frames = turned(mjr(packets))
    assert [round(frame.time) for frame in frames] == [0, 60, 120, 180, 240]


def test_sound_comes_out_too(turned):
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "stereo", "s16"
    packets = []
    for n in range(100):
        wave = (8000 * np.sin(np.arange(960) * 0.05)).astype(np.int16).repeat(2)
        frame = av.AudioFrame.from_ndarray(wave[None, :], format="s16", layout="stereo")
        frame.sample_rate, frame.pts = 48_000, 960 * n
        packets += encoder.encode(frame)
    sent = [rtp(n, 960 * n, bytes(packet)) for n, packet in enumerate(packets)]
    info, frames = turned(mjr(sent, codec="opus"))
    assert info.codec == "opus"
    assert sum(frame.samples for frame in frames) / 48_000 > 1.9
    assert max(np.abs(frame.to_ndarray()).max() for frame in frames) > 0.1


@pytest.mark.parametrize(
    "data",
    [b"", b"MJR00002", b"MJR00001\0\2{}", b"MJR00002\0\2{}", mjr([], codec="h264"), mjr([]), mjr([b"short"]),
     mjr([rtp(1, 1, b"\x10\x01")]), mjr([rtp(1, 1, b"\x10\x00\x00\x00")])],
    ids=range(9),
)  # fmt: skip
def test_files_that_are_none_are_refused_and_leave_nothing(tmp_path, data):
    (tmp_path / "a.mjr").write_bytes(data)
    with pytest.raises(MjrBroken):
        webm_from_mjr(tmp_path / "a.mjr", tmp_path / "a.webm")
    assert not (tmp_path / "a.webm").exists() or not (tmp_path / "a.webm").stat().st_size


@given(st.lists(st.binary(max_size=60), max_size=30), st.sampled_from(["vp8", "opus"]))
def test_any_packets_make_a_file_or_a_declared_error(tmp_path_factory, packets, codec):
    folder = tmp_path_factory.mktemp("any")
    framed = [rtp(n, n * 3000, one) if n % 2 else one for n, one in enumerate(packets)]
    (folder / "a.mjr").write_bytes(mjr(framed, codec=codec))
    try:
        webm_from_mjr(folder / "a.mjr", folder / "a.webm")
    except MjrBroken:
        return
    assert (folder / "a.webm").stat().st_size > 40
