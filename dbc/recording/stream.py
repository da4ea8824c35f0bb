"""Recordings of any size and dialect, piece by piece.

::

    with stream_recording(path) as stream:
        for table in stream.pieces():     # again and again, each time from the beginning
            …
        stream.facts                      # when the last piece has come

All of it needs memory for a piece only, MF4 as far as values stand near their records. What is packed (binary files in
gzip, all in zip) is unpacked to a file in the folder for temporary files. What of MF4 is left to asammdf is read whole.
"""

from __future__ import annotations

import tempfile
import zipfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from dbc.errors import DbcError, FileMissing, NotARecording, OutputError, Phrase, RecordingBroken, RecordingTooLarge
from dbc.recording import blf, columns, containers, database, mf4, pcap
from dbc.recording.blfstream import BlfSource
from dbc.recording.facts import Facts, Tally, common_channels, common_start, facts_from, joined, moved
from dbc.recording.lines import Read
from dbc.recording.linestream import opened_text
from dbc.recording.mf4stream import Mf4Source
from dbc.recording.source import forget_pages
from dbc.table import FrameTable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from dbc.recording.linestream import Readable
    from dbc.recording.source import Source

__all__ = ["RecordingStream", "stream_recording"]

_FRAMES: Final = 200_000
"""Frames that are worth a step."""
_HEAD: Final = 1 << 16
_MAX_UNPACKED: Final = 64 << 30
_COPIED: Final = 4 << 20


class RecordingStream:
    """A recording that can be gone through again and again.

    Args:
        place: where it is.
        path: as given; names it in errors.
        is_nested: it came out of an archive, and may be none.
    """

    def __init__(self, place: Path, path: str, *, is_nested: bool = False) -> None:
        self._place, self._path, self._is_nested = place, path, is_nested
        self._facts: Facts | None = None

    @property
    def facts(self) -> Facts:
        """What is known of it when its pieces have been gone through once; that is done now where it was not."""
        if self._facts is None:
            for _ in self.pieces():
                pass
        if self._facts is None:
            raise RuntimeError("a recording that came to no end")
        return self._facts

    def pieces(self, frames: int = 0) -> Generator[FrameTable]:
        """All frames in the recording's order, about so many at a time; 0 is what is worth a step.

        Raises:
            FileMissing: it is not there or not readable.
            NotARecording: no dialect recognised.
            RecordingBroken: recognised, but unreadable.
            RecordingTooLarge: it inflates to more than 64 GiB.
            LibraryMissing: it needs a library that is not installed.
        """
        frames = frames or _FRAMES
        tally = Tally()
        waiting: list[FrameTable] = []
        held = 0
        with _readable(self._path), ExitStack() as stack:
            source = _opened(self._place, self._path, stack, is_nested=self._is_nested)
            for table in source.tables():
                tally.add(table, begins=isinstance(source, _Archive) and source.begins)
                waiting.append(table)
                held += len(table)
                if held >= frames:
                    yield FrameTable.concat(waiting)
                    waiting, held = [], 0
                    forget_pages(source.maps)
            read = source.outcome()
            if isinstance(source, _Archive):
                self._facts = source.facts(tally)
            else:
                self._facts = facts_from(self._path, source.name, read, tally, source.wraps)
        if held:
            yield FrameTable.concat(waiting)


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Says of a file that can no longer be read that it is so."""
    try:
        yield
    except OSError as exc:
        raise FileMissing(path, exc.strerror or str(exc)) from exc


@contextmanager
def stream_recording(path: str | Path) -> Iterator[RecordingStream]:
    """A recording of any dialect we know, plain, gzipped or in a zip archive.

    Raises:
        FileMissing: it is not there or not readable.
    """
    place = Path(path)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(place.open("rb"))
            is_regular = place.is_file()
        except (OSError, ValueError) as exc:
            raise FileMissing(str(path), getattr(exc, "strerror", None) or str(exc)) from exc
        # A pipe can be read only once.
        yield RecordingStream(place if is_regular else _unpacked(file, str(path), stack, _MAX_UNPACKED), str(path))


def _opened(place: Path, path: str, stack: ExitStack, *, is_nested: bool) -> Source:
    """A source of the frames of a file; what it needs is left open in ``stack``."""
    file = stack.enter_context(place.open("rb"))
    head = file.read(_HEAD)
    if not head:
        raise NotARecording(path, Phrase("the file is empty", "文件是空的"))
    if containers.is_gzip(head):
        return _from_gzip(file, path, stack)
    if containers.is_zip(head):
        if is_nested:
            raise NotARecording(path, Phrase("an archive inside an archive", "压缩包中套压缩包"))
        return _Archive(place, path)
    return _from_plain(place, path, file, head, stack)


def _from_plain(place: Path, path: str, file: BinaryIO, head: bytes, stack: ExitStack) -> Source:
    if database.is_sqlite(head):
        return database.opened(place, path)
    if columns.is_parquet(head):
        return columns.ParquetSource(place, path)
    if not is_binary(head):
        return opened_text(file, path)
    content = mmap(file.fileno(), 0, access=ACCESS_READ)
    # Arrays may still look into it when an error is on its way; then it is closed with the last of them.
    stack.callback(_close, content)
    if pcap.is_pcap(head):
        return pcap.PcapSource(content, path)
    if mf4.is_mf4(head):
        return Mf4Source(content, path)
    return BlfSource(content, path)


def _close(content: mmap) -> None:
    with suppress(BufferError):
        content.close()


class _Unpacked:
    """What came out of a gzip file; says where that is cut."""

    def __init__(self, source: Source, reader: containers.GzipReader) -> None:
        self.name = source.name
        self._source, self._reader = source, reader

    @property
    def wraps(self) -> int:
        return self._source.wraps

    @property
    def maps(self) -> Sequence[mmap]:
        return self._source.maps

    def tables(self) -> Iterator[FrameTable]:
        yield from self._source.tables()

    def outcome(self) -> Read:
        read = self._source.outcome()
        if self._reader.is_cut:
            text = "the compressed file is cut; what is there was read"
            read.notes.append(Phrase(text, "压缩文件不完整，已读取现有部分"))
        return read


def _from_gzip(file: BinaryIO, path: str, stack: ExitStack) -> Source:
    """Text is inflated as it is read; everything else to a file first."""
    reader = containers.GzipReader(file, path)
    head = reader.read(_HEAD)
    if not head:
        raise NotARecording(path, Phrase("the file is empty", "文件是空的"))
    if containers.is_gzip(head):
        raise NotARecording(path, Phrase("compressed twice", "重复压缩"))
    if containers.is_zip(head) or is_binary(head):
        reader.seek(0)
        place = _unpacked(reader, path, stack, _MAX_UNPACKED)
        return _Unpacked(_opened(place, path, stack, is_nested=False), reader)
    return _Unpacked(opened_text(reader, path, is_compressed=True), reader)


def is_binary(head: bytes) -> bool:
    """Whether a file with such a beginning is a recording that is no text."""
    kinds = (mf4.is_mf4, blf.is_blf, pcap.is_pcap, database.is_sqlite, columns.is_parquet)
    return any(is_one(head) for is_one in kinds)


def _unpacked(source: Readable, path: str, stack: ExitStack, most: int) -> Path:
    """A file with all that comes, which is gone with ``stack``.

    Raises:
        RecordingTooLarge: more than ``most`` bytes come.
        OutputError: there is no room for it.
    """
    total = 0
    try:
        place = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="huizhen-", ignore_cleanup_errors=True)))
            / "unpacked"
        )
        with place.open("wb") as out:
            while piece := source.read(_COPIED):
                total += len(piece)
                if total > most:
                    raise RecordingTooLarge(path, total, most)
                out.write(piece)
    except OSError as exc:
        raise OutputError(tempfile.gettempdir(), exc.strerror or str(exc)) from exc
    return place


class _Archive:
    """All recordings of a zip archive, one behind the other.

    Buses go by name, times by the common start where all recordings say theirs; that needs a look at all of them
    before the first frame is given, unless there is only one.
    """

    wraps = 0
    maps: tuple[mmap, ...] = ()

    def __init__(self, place: Path, path: str) -> None:
        self.name = ""
        self.begins = False
        self._place, self._path = place, path
        self._found: dict[int, tuple[zipfile.ZipInfo, Facts]] = {}
        self._others: list[tuple[str, DbcError]] = []
        self._buses: list[str] = []

    def tables(self) -> Iterator[FrameTable]:
        """The frames of one recording after those of another.

        Raises:
            NotARecording: there is none in it; the first file's error, where it has files.
            RecordingBroken: the archive is damaged or encrypted.
            RecordingTooLarge: its files become more than 64 GiB.
        """
        infos = self._infos()
        if len(infos) == 1:
            yield from self._tables_of(infos[0])
            return
        for info in infos:
            try:
                for _ in self._tables_of(info):
                    pass
            except OutputError:
                raise
            except DbcError as exc:
                self._others.append((info.filename, exc))
        if not self._found:
            if self._others:
                raise self._others[0][1]
            raise NotARecording(self._path, Phrase("an empty archive", "空的压缩包"))
        every = list(self._found.values())
        each = [facts for _, facts in every]
        self._buses, start_ns = common_channels(each), common_start(each)
        for info, facts in every:
            self.begins = True
            for table in self._tables_of(info):
                yield moved(table, facts, self._buses, start_ns)
                self.begins = False

    def _infos(self) -> list[zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(self._place) as archive:
                infos = containers.entries(archive, self._path)
        except containers.DAMAGED_ZIP as exc:
            raise self._broken(exc) from exc
        total = sum(info.file_size for info in infos)
        if total > _MAX_UNPACKED:
            raise RecordingTooLarge(self._path, total, _MAX_UNPACKED)
        return infos

    def _broken(self, exc: Exception) -> RecordingBroken:
        return RecordingBroken(self._path, Phrase("as zip", "zip 解压"), Phrase(f"damaged ({exc})", f"已损坏（{exc}）"))

    def _tables_of(self, info: zipfile.ZipInfo) -> Iterator[FrameTable]:
        """The frames of one file; notes its facts when the last has come."""
        path = f"{self._path}:{info.filename}"
        with ExitStack() as stack:
            try:
                archive = stack.enter_context(zipfile.ZipFile(self._place))
                with archive.open(info) as member:
                    place = _unpacked(member, path, stack, info.file_size)
            except containers.DAMAGED_ZIP as exc:
                raise self._broken(exc) from exc
            stream = RecordingStream(place, path, is_nested=True)
            yield from stream.pieces()
            self._found[info.header_offset] = info, stream.facts

    def outcome(self) -> Read:
        """Of all recordings together; see :meth:`facts`."""
        return Read(FrameTable.empty(), tuple(self._buses))

    def facts(self, tally: Tally) -> Facts:
        """Of all recordings together."""
        found = [(info.filename, facts) for info, facts in self._found.values()]
        if len(found) == 1 and not self._others:
            return replace(found[0][1], path=self._path, tally=tally)
        return Facts(**joined(self._path, found, self._others, self._buses).about(), tally=tally)
