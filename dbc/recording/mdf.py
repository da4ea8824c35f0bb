"""The blocks of ASAM MDF 4 that bus logging uses, read from bytes in memory.

Every link is checked against the file, every chain against going round, every inflated size against a limit.

Standard: ASAM MDF 4.1 §4 (block structure).
"""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dbc.errors import Phrase, RecordingBroken
from dbc.recording.containers import inflated_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Beyond", "Block", "Channel", "Damaged", "File", "Group"]

_HEADER: Final = struct.Struct("<4sIQQ")
_CHANNEL: Final = struct.Struct("<BBBBIII")
_GROUP: Final = struct.Struct("<QQHHIII")
_ZIPPED: Final = struct.Struct("<2sBBIQQ")
_MAX_INFLATED: Final = 4 << 30
"""Bytes that one file may inflate to, all its blocks together."""
_MAX_BLOCKS: Final = 1 << 20
_UNFINISHED_LENGTH: Final = 24
_METHODS: Final = 5
_INFLATERS: Final = 2
"""Blocks that are inflated at once."""
_HELD_BLOCKS: Final = 16
_COLUMN_BLOCKS: Final = frozenset({"LD", "DV", "DI"})


class Beyond(Exception):
    """A part of the standard that this reader leaves out."""


class Damaged(Exception):
    """A layout that contradicts itself."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.reason = Phrase(en, zh)


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its kind (``DG``), its links, and where its data section lies in the file."""

    kind: str
    links: tuple[int, ...]
    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes of its data section."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a group.

    Args:
        kind: 0 fixed length, 1 variable length by offset, 2 master.
        data_type: 0 and 1 unsigned little and big endian, 4 and 5 IEEE 754, 10 bytes.
        data: link to where variable-length values are.
        factor: of a linear conversion, 1 without one.
        offset: of a linear conversion.
    """

    name: str
    kind: int
    data_type: int
    bit_offset: int
    byte_offset: int
    bit_count: int
    data: int
    factor: float
    offset: float


@dataclass(frozen=True, slots=True)
class Group:
    """Records of one layout.

    Args:
        address: of its block; variable-length channels point at it.
        variable: its records are values of variable length.
        size: bytes of a record without its number.
    """

    address: int
    record_id: int
    cycles: int
    variable: bool
    size: int
    channels: dict[str, Channel]


class _Zipped(NamedTuple):
    """A compressed block of data.

    Args:
        block: where the block's own data begins.
        begin: where the compressed bytes begin.
        zipped: how many they are.
        size: bytes that come out.
        columns: of the table that was transposed before it was compressed; 1 where it was not.
    """

    block: int
    begin: int
    zipped: int
    size: int
    columns: int

    @property
    def end(self) -> int:
        """Behind the compressed bytes."""
        return self.begin + self.zipped


class File:
    """One MDF 4 file.

    Args:
        content: all of its bytes.
        path: names it in errors.
        room: bytes at the end of ``content`` that are no part of the file.
        most: bytes that all blocks together may inflate to; 0 is 4 GiB.
    """

    def __init__(self, content: bytes | memoryview, path: str, *, room: int = 0, most: int = 0) -> None:
        self._most = most or _MAX_INFLATED
        self._whole = memoryview(content)
        self.content = self._whole[: len(content) - room]
        self.path = path
        self._inflated = 0
        self.unfinished = bytes(self.content[:7]) == b"UnFinMF"
        if len(content) < 64:
            raise self.broken(0, "the file ends in its first block", "文件在第一个块内结束")
        version: int = struct.unpack_from("<H", content, 28)[0]
        if not 300 <= version < 500:
            raise self.broken(28, f"an unknown MDF version {version}", f"未知的 MDF 版本 {version}")
        if version < 400:
            raise Beyond(f"MDF version {version}")

    def broken(self, at: int, en: str, zh: str) -> RecordingBroken:
        """The error for a damaged place of the file."""
        return RecordingBroken(self.path, Phrase(f"byte {at}", f"第 {at} 字节"), Phrase(en, zh))

    def block(self, at: int, *kinds: str) -> Block:
        """The block at an address.

        Raises:
            RecordingBroken: outside the file, or another kind of block.
        """
        if not 64 <= at <= len(self.content) - _HEADER.size:
            raise self.broken(at, "a link outside the file", "链接指向文件之外")
        mark, _, length, count = _HEADER.unpack_from(self.content, at)
        kind = mark[2:].decode("latin-1")
        if mark[:2] != b"##" or (kinds and kind not in kinds):
            raise self.broken(at, f"no {'/'.join(kinds)} block there", f"该处没有 {'/'.join(kinds)} 块")
        start = at + _HEADER.size + 8 * count
        end = at + length
        if kind == "DT" and self.unfinished and length <= _UNFINISHED_LENGTH:
            end = len(self.content)
        if end > len(self.content) and self.unfinished and kind in {"DT", "SD"}:
            end = len(self.content)
        if start > end or end > len(self.content):
            raise self.broken(at, "a block longer than the file", "块长度超出文件")
        return Block(kind, struct.unpack_from(f"<{count}Q", self.content, at + _HEADER.size), start, end)

    def link(self, block: Block, number: int) -> int:
        """One link of a block, 0 where it has none."""
        return block.links[number] if number < len(block.links) else 0

    def chain(self, at: int, kind: str) -> Iterator[tuple[int, Block]]:
        """Blocks that point at each other with their first link, with their addresses."""
        seen: set[int] = set()
        while at:
            if at in seen or len(seen) > _MAX_BLOCKS:
                raise self.broken(at, "a chain of blocks that goes round", "块链成环")
            seen.add(at)
            block = self.block(at, kind)
            yield at, block
            at = self.link(block, 0)

    def unpack(self, layout: struct.Struct, block: Block) -> tuple[int, ...]:
        """The beginning of a block's data section."""
        if block.start + layout.size > block.end:
            raise self.broken(block.start, "a block that is too short", "块过短")
        return layout.unpack_from(self.content, block.start)

    def text(self, at: int) -> str:
        """A text block; empty for the link 0."""
        if not at:
            return ""
        block = self.block(at, "TX", "MD")
        return bytes(self.content[block.start : block.end]).split(b"\0", 1)[0].decode("utf-8", "replace")

    def groups(self, data_group: Block) -> list[Group]:
        """The channel groups of a data group."""
        return [self._group(at, block) for at, block in self.chain(self.link(data_group, 1), "CG")]

    def _group(self, at: int, block: Block) -> Group:
        record_id, cycles, flags, _, _, data_bytes, invalid_bytes = self.unpack(_GROUP, block)
        channels: dict[str, Channel] = {}
        waiting = [self.link(block, 1)]
        while waiting:
            for place, found in self.chain(waiting.pop(), "CN"):
                if len(channels) > _MAX_BLOCKS:
                    raise self.broken(place, "too many channels", "通道过多")
                channel = self._channel(found)
                if channel.name in channels:
                    continue
                channels[channel.name] = channel
                inner = self.link(found, 1)
                if inner and self.block(inner).kind == "CN":
                    waiting.append(inner)
        return Group(at, record_id, cycles, bool(flags & 1), data_bytes + invalid_bytes, channels)

    def _channel(self, block: Block) -> Channel:
        kind, _, data_type, bit_offset, byte_offset, bit_count, _ = self.unpack(_CHANNEL, block)
        factor, offset = self._conversion(self.link(block, 4))
        name = self.text(self.link(block, 2))
        return Channel(name, kind, data_type, bit_offset, byte_offset, bit_count, self.link(block, 5), factor, offset)

    def _conversion(self, at: int) -> tuple[float, float]:
        """Factor and offset of a linear conversion; any other one leaves the raw number."""
        if not at:
            return 1.0, 0.0
        block = self.block(at, "CC")
        if block.start + 40 > block.end or self.content[block.start] != 1:
            return 1.0, 0.0
        offset, factor = struct.unpack_from("<dd", self.content, block.start + 24)
        return factor, offset

    def stream(self, at: int, *, room: int = 0) -> NDArray[np.uint8]:
        """uint8 (n + room,): all bytes that a data link leads to, through lists and inflated, with others behind them.

        Raises:
            RecordingBroken: damaged.
            Beyond: a kind of block or compression that is not read here.
        """
        parts: list[Block | _Zipped] = []
        self._collect(at, parts, 0)
        if len(parts) == 1 and isinstance(only := parts[0], Block) and only.end + room <= len(self._whole):
            return np.frombuffer(self._whole[only.start : only.end + room], np.uint8)
        # An array's memory comes in large pages, which cost a fraction of what those of bytes do.
        out = np.empty(sum(part.size for part in parts) + room, np.uint8)
        inflated = self._each_inflated([part for part in parts if isinstance(part, _Zipped)])
        end = 0
        for part in parts:
            content = next(inflated) if isinstance(part, _Zipped) else self.content[part.start : part.end]
            begin, end = end, end + len(content)
            out[begin:end] = np.frombuffer(content, np.uint8)
        out[end:] = 0
        return out

    def pieces(self, at: int, size: int) -> Iterator[NDArray[np.uint8]]:
        """uint8 (n,): the bytes that a data link leads to, some after the others, about so many at once.

        Raises:
            RecordingBroken: damaged.
            Beyond: a kind of block or compression that is not read here.
        """
        parts: list[Block | _Zipped] = []
        self._collect(at, parts, 0)
        inflated = self._each_inflated([part for part in parts if isinstance(part, _Zipped)])
        waiting: list[NDArray[np.uint8]] = []
        held = 0
        for part in parts:
            content = next(inflated) if isinstance(part, _Zipped) else self.content[part.start : part.end]
            for begin in range(0, len(content), size):
                waiting.append(np.frombuffer(content[begin : begin + size], np.uint8))
                held += len(waiting[-1])
                if held >= size:
                    yield np.concatenate(waiting)
                    waiting, held = [], 0
        if held:
            yield np.concatenate(waiting)

    def _each_inflated(self, zipped: list[_Zipped]) -> Iterator[bytes]:
        """What comes out of each block; not many of them are held at once."""
        if len(zipped) < 2:
            yield from map(self._inflate, zipped)
            return
        # zlib lets others run meanwhile: two at once are nearly twice as fast.
        with ThreadPoolExecutor(_INFLATERS) as pool:
            for begin in range(0, len(zipped), _HELD_BLOCKS):
                yield from pool.map(self._inflate, zipped[begin : begin + _HELD_BLOCKS])

    def _collect(self, at: int, parts: list[Block | _Zipped], depth: int) -> None:
        if not at:
            return
        block = self.block(at)
        if block.kind in {"DT", "SD"}:
            parts.append(block)
        elif block.kind == "DZ":
            parts.append(self._zipped(block))
        elif block.kind == "HL" and depth == 0:
            self._collect(self.link(block, 0), parts, 1)
        elif block.kind == "DL" and depth <= 1:
            for _, listed in self.chain(at, "DL"):
                for link in listed.links[1:]:
                    self._collect(link, parts, 2)
        elif block.kind in _COLUMN_BLOCKS:
            raise Beyond(f"{block.kind} blocks")
        else:
            raise self.broken(at, f"{block.kind} is no data block", f"{block.kind} 不是数据块")
        if len(parts) > _MAX_BLOCKS:
            raise self.broken(at, "too many blocks", "数据块过多")

    def _zipped(self, block: Block) -> _Zipped:
        """Where a compressed block lies; its size counts against the limit for the whole file."""
        if block.start + _ZIPPED.size > block.end:
            raise self.broken(block.start, "a block that is too short", "块过短")
        _, method, _, columns, size, zipped = _ZIPPED.unpack_from(self.content, block.start)
        if method > _METHODS:
            raise self.broken(block.start, f"an unknown compression {method}", f"未知的压缩方式 {method}")
        if method > 1:
            raise Beyond(f"compression method {method}")
        begin = block.start + _ZIPPED.size
        self._inflated += size
        if self._inflated > self._most or begin + zipped > len(self.content):
            raise self.broken(block.start, "an inflated size out of range", "解压长度超出范围")
        return _Zipped(block.start, begin, zipped, size, columns if method == 1 else 1)

    def _inflate(self, part: _Zipped) -> bytes:
        try:
            data = inflated_block(self.content[part.begin : part.end], part.size)
        except zlib.error as exc:
            raise self.broken(part.block, f"compressed data is damaged ({exc})", f"压缩数据已损坏（{exc}）") from exc
        if part.columns > 1:
            whole = part.size // part.columns * part.columns
            flat = np.frombuffer(data, np.uint8, whole).reshape(part.columns, -1).T
            data = flat.tobytes() + data[whole:]
        return data
