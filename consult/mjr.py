"""Janus' recordings (``.mjr``: the RTP packets as they came) turned into WebM that every browser and player takes.

Nothing is decoded: VP8 frames and Opus packets are taken out of RTP and put into WebM as they are, so that a recording
is what was sent. Packets that came late are put in order, doubles dropped, frames with a hole left out.

Standard: RTP RFC 3550, VP8 in RTP RFC 7741, Opus in RTP RFC 7587, EBML RFC 8794, Matroska/WebM RFC 9559.
"""

from __future__ import annotations

import heapq
import json
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["MediaInfo", "MjrBroken", "read_info", "webm_from_mjr"]

_HEADER: Final = b"MJR00002"
_PACKET: Final = b"MEET"
_MAX_INFO: Final = 1 << 16
_REORDER: Final = 256
"""Packets that may come before one that they follow."""

_RTP_HEADER: Final = 12
_CLUSTER_MS: Final = 2_000
_BLOCK_SPAN_MS: Final = 30_000
_CODECS: Final = {"vp8": (b"V_VP8", 1, 90), "opus": (b"A_OPUS", 2, 48)}
"""Codec -> its name in WebM, the kind of track, RTP ticks per millisecond."""


class MjrBroken(ValueError):
    """A file that is no recording of Janus, or of a codec that is not turned into WebM."""


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a recording says of itself: ``vp8`` or ``opus`` (or another), and when it began, UTC microseconds."""

    codec: str
    began_us: int


@dataclass(frozen=True, slots=True)
class _Packet:
    seq: int
    time: int
    ends: bool
    """It is a picture's last (the marker bit)."""
    payload: bytes


def _read_head(file: BinaryIO) -> MediaInfo:
    if file.read(8) != _HEADER:
        raise MjrBroken("no recording of Janus")
    length = int.from_bytes(file.read(2), "big")
    try:
        told: dict[str, Any] = json.loads(file.read(min(length, _MAX_INFO)))
        return MediaInfo(str(told["c"]), int(told.get("u") or told["s"]))
    except (ValueError, KeyError, TypeError) as error:
        raise MjrBroken("its head is broken") from error


def read_info(path: Path) -> MediaInfo:
    """What a file says of itself.

    Raises:
        MjrBroken: it is no recording of Janus.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return _read_head(file)


def _payload_of(packet: bytes) -> _Packet | None:
    """An RTP packet, its number and time as they stand there; None where it carries nothing."""
    if len(packet) < _RTP_HEADER or packet[0] >> 6 != 2:
        return None
    at = _RTP_HEADER + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        if len(packet) < at + 4:
            return None
        at += 4 + 4 * int.from_bytes(packet[at + 2 : at + 4], "big")
    end = len(packet) - (packet[-1] if packet[0] & 0x20 else 0)
    if at >= end:
        return None
    seq, time = struct.unpack_from("!HI", packet, 2)
    return _Packet(seq, time, bool(packet[1] & 0x80), packet[at:end])


def _packets(file: BinaryIO) -> Iterator[_Packet]:
    """Packets in the order in which they were sent, each once, with numbers and times that do not wrap."""
    waiting: list[tuple[int, _Packet]] = []
    held: set[int] = set()
    last_seq = last_time = given = -1
    while len(head := file.read(10)) == 10:
        length = int.from_bytes(head[8:], "big")
        data = file.read(length)
        if head[:4] != _PACKET or len(data) < length:
            break  # what was being written when Janus died
        found = _payload_of(data)
        if found is None:
            continue
        seq = _unwrapped(found.seq, last_seq, 16)
        time = _unwrapped(found.time, last_time, 32)
        last_seq, last_time = max(seq, last_seq), max(time, last_time)
        if seq > given and seq not in held:
            held.add(seq)
            heapq.heappush(waiting, (seq, replace(found, seq=seq, time=time)))
        if len(waiting) > _REORDER:
            given, packet = heapq.heappop(waiting)
            held.discard(given)
            yield packet
    while waiting:
        yield heapq.heappop(waiting)[1]


def _unwrapped(value: int, last: int, bits: int) -> int:
    """The number nearest to ``last`` of which ``value`` is the lower bits; the first begins a round up."""
    span = 1 << bits
    if last < 0:
        return value + span
    return last + ((value - last + span // 2) % span) - span // 2


def _vp8_part(payload: bytes) -> tuple[bool, bytes] | None:
    """Whether a frame begins here, and its bytes, behind the payload descriptor (RFC 7741, 4.2)."""
    first, at = payload[0], 1
    if first & 0x80:
        if len(payload) < 2:
            return None
        more, at = payload[1], 2
        if more & 0x80:
            at += 2 if at < len(payload) and payload[at] & 0x80 else 1
        at += bool(more & 0x40) + bool(more & 0x30)
    return (bool(first & 0x10) and not first & 0x07, payload[at:]) if at < len(payload) else None


def _frames(packets: Iterator[_Packet], codec: str) -> Iterator[tuple[int, bool, bytes]]:
    """Time in ticks, whether it can be begun with, and bytes of each whole frame."""
    if codec == "opus":
        for packet in packets:
            yield packet.time, True, packet.payload
        return
    parts: list[bytes] = []
    time = before = -1
    is_whole = False
    for packet in packets:
        part = _vp8_part(packet.payload)
        if part is None:
            continue
        begins, data = part
        if begins:
            # The last frame is whole where nothing is missing up to this one's beginning.
            if parts and packet.seq == before + 1:
                yield time, not parts[0][0] & 1, b"".join(parts)
            parts, time = [data], packet.time
        elif parts and packet.seq == before + 1 and packet.time == time:
            parts.append(data)
        else:
            parts = []
        before, is_whole = packet.seq, packet.ends
    if parts and is_whole:
        yield time, not parts[0][0] & 1, b"".join(parts)


# -- WebM ------------------------------------------------------------------------------------------------------------


def _element(ident: int, body: bytes) -> bytes:
    name = ident.to_bytes((ident.bit_length() + 7) // 8, "big")
    return name + (len(body) | 1 << 56).to_bytes(8, "big") + body


def _number(ident: int, value: int) -> bytes:
    return _element(ident, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def _open_master(ident: int) -> bytes:
    """A master element whose end is the file's, or the next of its kind."""
    return ident.to_bytes(4, "big") + b"\x01\xff\xff\xff\xff\xff\xff\xff"


def _head(codec: str, size: tuple[int, int]) -> bytes:
    name, kind, _ = _CODECS[codec]
    ebml = _number(0x4286, 1) + _number(0x42F7, 1) + _number(0x42F2, 4) + _number(0x42F3, 8)
    ebml += _element(0x4282, b"webm") + _number(0x4287, 4) + _number(0x4285, 2)
    info = _number(0x2AD7B1, 1_000_000) + _element(0x4D80, b"huizhen") + _element(0x5741, b"huizhen")
    track = _number(0xD7, 1) + _number(0x73C5, 1) + _number(0x9C, 0) + _number(0x83, kind) + _element(0x86, name)
    if codec == "vp8":
        track += _element(0xE0, _number(0xB0, size[0]) + _number(0xBA, size[1]))
    else:
        # OpusHead (RFC 7845, 5.1): two channels; the encoder's delay is not told in RTP, so none is.
        opus = b"OpusHead" + struct.pack("<BBHIhB", 1, 2, 0, 48_000, 0, 0)
        track += _element(0x63A2, opus) + _element(0xE1, _element(0xB5, struct.pack(">d", 48_000.0)) + _number(0x9F, 2))
    tracks = _element(0x1654AE6B, _element(0xAE, track))
    return _element(0x1A45DFA3, ebml) + _open_master(0x18538067) + _element(0x1549A966, info) + tracks


def _picture_size(frame: bytes) -> tuple[int, int]:
    """Width and height of a VP8 key frame (RFC 6386, 9.1)."""
    if len(frame) < 10 or frame[3:6] != b"\x9d\x01\x2a":
        raise MjrBroken("no key frame where one should be")
    width, height = struct.unpack_from("<HH", frame, 6)
    return width & 0x3FFF, height & 0x3FFF


def webm_from_mjr(source: Path, target: Path) -> MediaInfo:
    """Writes a recording as WebM; returns what it says of itself.

    A picture begins with its first key frame.

    Raises:
        MjrBroken: it is no recording of VP8 or Opus, or holds nothing that can be shown.
        OSError: a file cannot be read or written.
    """
    with source.open("rb") as file:
        info = _read_head(file)
        if info.codec not in _CODECS:
            raise MjrBroken(f"codec {info.codec}")
        ticks_per_ms = _CODECS[info.codec][2]
        began = cluster_ms = -1
        with target.open("wb") as out:
            for time, is_key, data in _frames(_packets(file), info.codec):
                if began < 0:
                    if not is_key:
                        continue
                    began = time
                    out.write(_head(info.codec, _picture_size(data) if info.codec == "vp8" else (0, 0)))
                at_ms = max(0, time - began) // ticks_per_ms
                late = at_ms - cluster_ms
                if cluster_ms < 0 or late > _BLOCK_SPAN_MS or (is_key and late > _CLUSTER_MS):
                    cluster_ms, late = at_ms, 0
                    out.write(_open_master(0x1F43B675) + _number(0xE7, at_ms))
                block = b"\x81" + struct.pack(">hB", late, 0x80 if is_key else 0) + data
                out.write(_element(0xA3, block))
    if began < 0:
        target.unlink(missing_ok=True)
        raise MjrBroken("nothing in it")
    return info
