"""Visits in files: what ``scan -o FILE.hzb`` keeps, and what becomes of it again.

The members of a bundle: ``visit.json`` (link, settings, times), ``requests.jsonl`` (asked and answered),
``frames.log`` (every frame, as can-utils write it), ``report.json`` (as ``scan -o FILE.json`` writes it),
``databases.json`` (what it was read with, by SHA-256), ``notes.json`` and ``consents.json``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from diag.bundle import Bundle, pack, read_bundle
from diag.errors import BundleBroken
from diag.facts import Text
from diag.tape import Tape
from huizhen import __version__
from huizhen.files import json_text, write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dbc.database import Database
    from dbc.signalset.model import SignalSet
    from diag.bundle import Signer
    from diag.facts import Dtc, Json
    from diag.frames import Frame
    from diag.vehiclereport import VehicleReport

__all__ = [
    "Session",
    "Source",
    "load_session",
    "replay_session",
    "save_session",
    "saved_bytes",
    "sources_of",
]

_VISIT, _REQUESTS, _FRAMES, _REPORT = "visit.json", "requests.jsonl", "frames.log", "report.json"
_SOURCES, _NOTES, _CONSENTS, _SETS = "databases.json", "notes.json", "consents.json", "databases/"


@dataclass(frozen=True, slots=True)
class Source:
    """A file that a visit was read with.

    Args:
        use: ``dbc``, ``signals`` or ``odx``.
        name: of the database or set.
        path: of the file; None where it is not at hand.
        sha256: of its content, hexadecimal.
        is_named: a person named it; else it was chosen by what is on the bus.
        member: where it stands in the bundle; empty where it does not.
    """

    use: str
    name: str
    path: Path | None
    sha256: str
    is_named: bool
    member: str = ""

    def to_json(self) -> Json:
        """One entry of ``databases.json``."""
        return {
            "use": self.use,
            "name": self.name,
            "sha256": self.sha256,
            "named": self.is_named,
            "member": self.member or None,
        }


def sources_of(tape: Tape, *, named: Iterable[str], signals: str | None, odx: str | None) -> list[Source]:
    """The files that a visit was read with: those that were named, used or not, and those that were chosen."""
    named = list(named)
    found = [_source("dbc", Path(path).stem, path, is_named=True) for path in named]
    if not named:
        found += [_source("dbc", database.name, database.path, is_named=False) for database in tape.databases]
    if signals:
        found.append(_source("signals", Path(signals).stem, signals, is_named=True))
    elif tape.signal_set is not None:
        found.append(_source("signals", tape.signal_set.name, tape.signal_set.path, is_named=False))
    if odx:
        found.append(_source("odx", Path(odx).stem, odx, is_named=True))
    return found


def _source(use: str, name: str, path: str, *, is_named: bool) -> Source:
    try:
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        digest = ""
    return Source(use, name, Path(path), digest, is_named)


def _log_from_frames(frames: Sequence[Frame], channel: str) -> bytes:
    from dbc.recording.textwriters import candump_text
    from diag.broadcast import table_from_frames

    name = "".join(char if char.isalnum() else "_" for char in channel.rpartition("/")[2]) or "can0"
    return candump_text(table_from_frames(frames), [name], 0, directed=True).encode()


def _frames_from_log(content: bytes, path: str) -> list[Frame]:
    """Frames of a recording as can-utils write it."""
    from dbc.recording.candump import read
    from diag.broadcast import frames_from_table

    return frames_from_table(read(content, path).table)


def _stamped(texts: Iterable[str]) -> list[Json]:
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return [{"t": now, "text": text} for text in texts]


def _one_line(value: Json) -> bytes:
    return (json.dumps(value, ensure_ascii=False) + "\n").encode()


def save_session(
    path: str,
    tape: Tape,
    report: Json,
    signer: Signer,
    *,
    sources: Sequence[Source],
    is_embedding: bool = False,
    notes: Iterable[str] = (),
    consents: Iterable[str] = (),
    before: Bundle | None = None,
    texts: Mapping[str, Sequence[Json]] | None = None,
    origin: Json | None = None,
) -> None:
    """Writes a bundle, whole or not at all.

    Args:
        path: where.
        tape: of the visit.
        report: as ``scan -o`` writes it.
        signer: signs it.
        sources: what the visit was read with.
        is_embedding: take these files in, where they are at hand.
        notes: what a person wrote about the visit.
        consents: to what the car's owner agreed.
        before: the bundle that this one is made from; its notes and consents, and the files in it, come along.
        texts: ``notes`` and ``consents`` that come along instead.
        origin: what of the other bundle this one is.

    Raises:
        CannotWrite: the place cannot be written, or the disk is full.
    """
    members: dict[str, bytes] = {
        _VISIT: json_text(tape.to_json()).encode(),
        _REQUESTS: b"".join(_one_line(entry.to_json()) for entry in tape.entries),
        _REPORT: json_text(report).encode(),
    }
    if tape.frames:
        members[_FRAMES] = _log_from_frames(tape.frames, tape.traits.info.channel if tape.traits else "")
    told: list[Json] = []
    for at, source in enumerate(sources):
        content = _content(source, before) if is_embedding or source.member else None
        member = ""
        if content is not None:
            ending = source.path.suffix if source.path is not None else Path(source.member).suffix
            member = source.member or f"{_SETS}{at}-{source.name}{ending}"
            members[member] = content
        told.append({**source.to_json(), "member": member or None})
    members[_SOURCES] = json_text({"files": told}).encode()
    for name, key, new in ((_NOTES, "notes", notes), (_CONSENTS, "consents", consents)):
        kept = texts[key] if texts is not None else _texts(before, key) if before is not None else []
        members[name] = json_text({key: [*kept, *_stamped(new)]}).encode()
    created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    facts = {"created": created, "made_by": f"huizhen {__version__}", "origin": origin}
    write_bytes(path, pack(members, facts, signer))


def _texts(bundle: Bundle, key: str) -> list[Json]:
    """Notes or consents of a bundle."""
    told = bundle.value(f"{key}.json")
    items = told.get(key) if isinstance(told, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _content(source: Source, before: Bundle | None) -> bytes | None:
    if source.member and before is not None:
        return before.members.get(source.member)
    try:
        return source.path.read_bytes() if source.path is not None else None
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Session:
    """A visit out of a bundle.

    Args:
        bundle: where it comes from.
        tape: of the visit.
        sources: what it was read with.
    """

    bundle: Bundle
    tape: Tape
    sources: tuple[Source, ...]

    @property
    def report(self) -> Json:
        """As it was made then."""
        value = self.bundle.value(_REPORT)
        return value if isinstance(value, dict) else {}

    def texts(self, name: str) -> list[Json]:
        """``notes`` or ``consents``."""
        return _texts(self.bundle, name)

    def databases(self, given: Sequence[str]) -> tuple[Database, ...]:
        """Those that a person named then, from the bundle, among those given, or of this installation.

        Raises:
            BundleBroken: one is not at hand.
            dbc.errors.DbcError: it cannot be read.
        """
        from dbc.database import load, load_bytes

        found = []
        for source in self.sources:
            if source.use == "dbc" and source.is_named:
                place, content = self._find(source, [Path(path) for path in given])
                database = load(place) if content is None else load_bytes(content, place)
                found.append(replace(database, name=source.name))  # the file may be called otherwise by now
        return tuple(found)

    def chosen_databases(self) -> tuple[Database, ...]:
        """Those that were chosen then by what was on the bus, as far as the very same files are at hand."""
        from dbc.database import load, load_bytes

        found = []
        for source in self.sources:
            if source.use == "dbc" and not source.is_named:
                try:
                    place, content = self._find(source, ())
                except BundleBroken:
                    continue
                found.append(load(place) if content is None else load_bytes(content, place))
        return tuple(found)

    def signal_set(self, given: str | None) -> SignalSet | None:
        """The one that the battery was asked with; see :meth:`databases`."""
        from dbc.signalset.loading import load_signal_set, parse_signal_set

        for source in self.sources:
            if source.use == "signals":
                place, content = self._find(source, [Path(given)] if given else [])
                if content is None:
                    return replace(load_signal_set(place), name=source.name)
                return parse_signal_set(content, name=source.name, path=str(place))
        return None

    def describe(self, given: str | None) -> Callable[[Dtc], Dtc] | None:
        """The maker's description that named the codes; see :meth:`databases`."""
        for source in self.sources:
            if source.use == "odx":
                from diag.odx import load_odx

                place, content = self._find(source, [Path(given)] if given else [])
                if content is None:
                    return load_odx(str(place)).with_text
                import tempfile

                with tempfile.NamedTemporaryFile(suffix=Path(source.member).suffix) as file:
                    file.write(content)
                    file.flush()
                    return load_odx(file.name).with_text
        return None

    def _find(self, source: Source, given: Sequence[Path]) -> tuple[Path, bytes | None]:
        """Where the very same file is: a path, or a name and the content."""
        if source.member and (content := self.bundle.members.get(source.member)) is not None:
            return Path(source.member).with_name(f"{source.name}{Path(source.member).suffix}"), content
        for path in (*given, *_installed(source)):
            try:
                if hashlib.sha256(path.read_bytes()).hexdigest() == source.sha256:
                    return path, None
            except OSError:
                continue
        option = {"dbc": "--dbc", "signals": "--signals", "odx": "--odx"}[source.use]
        raise BundleBroken(
            self.bundle.path,
            Text(
                f"it was made with {source.name} (SHA-256 {source.sha256[:12]}…), which is not here; name the file"
                f" with {option}",
                f"生成时使用了 {source.name}（SHA-256 {source.sha256[:12]}…），本机没有；请用 {option} 指定该文件",
            ),
        )


def _installed(source: Source) -> list[Path]:
    if source.use == "dbc":
        from dbc.catalogue import entries

        return [entry.path for entry in entries() if entry.path.stem == source.name]
    if source.use == "signals":
        from dbc.files import SIGNALS
        from dbc.signalset.folder import signal_set_folder

        try:
            own = [place / "default.json" if place.is_dir() else place for place in signal_set_folder().iterdir()]
        except OSError:
            own = []
        return [SIGNALS, *own]
    return []


def load_session(path: str) -> Session:
    """A visit out of a bundle that is as it was made.

    Raises:
        BundleBroken: it cannot be read, was changed since it was signed, or lacks what makes a visit.
    """
    bundle = read_bundle(path)
    if not bundle.is_intact:
        en = "; ".join(fault.en for fault in bundle.faults)
        zh = "；".join(fault.zh for fault in bundle.faults)
        raise BundleBroken(path, Text(f"it is not as it was made: {en}", f"内容与生成时不符：{zh}"))
    try:
        frames = _frames_from_log(bundle.members.get(_FRAMES, b""), path)
        tape = Tape.from_json(bundle.value(_VISIT), bundle.lines(_REQUESTS), frames)
        sources = tuple(_source_from_json(item) for item in bundle.value(_SOURCES)["files"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = Text("there is no visit in it that this program can read", "其中没有本程序可读的检测记录")
        raise BundleBroken(path, reason) from error
    return Session(bundle, tape, sources)


def replay_session(
    session: Session,
    tape: Tape,
    *,
    dbc: Sequence[str] = (),
    signals: str | None = None,
    odx: str | None = None,
) -> tuple[VehicleReport, int]:
    """The report of a session, made again with its databases and with the limits that it was judged with.

    Args:
        session: the bundle's.
        tape: its own, or one that was made of it.
        dbc: databases that the bundle names and does not hold.
        signals: the signal set, likewise.
        odx: the maker's description, likewise.

    Returns:
        the report, and how many questions of today were not asked then.

    Raises:
        BundleBroken: a file is not at hand, or the settings make no sense.
        NoAnswer: there is neither an answer nor a frame in it.
    """
    import asyncio

    from diag.limits import use_own_limits
    from diag.replay import replay

    own = tape.settings.get("own_limits")
    try:
        use_own_limits(own if isinstance(own, dict) else None)
    except (ValueError, TypeError) as error:
        raise BundleBroken(session.bundle.path, Text(f"its settings: {error}", f"其设置：{error}")) from error
    databases, signal_set, describe = session.databases(dbc), session.signal_set(signals), session.describe(odx)
    return asyncio.run(replay(tape, databases=databases, signal_set=signal_set, describe=describe))


def saved_bytes(path: str, most: int) -> bytes:
    """A saved scan: the content of a JSON file, or the report in a bundle.

    Args:
        path: of either.
        most: no more bytes than this and one more are read of a JSON file.

    Raises:
        OSError: it cannot be read.
        BundleBroken: it is a bundle that is not as it was made.
    """
    from diag.bundle import is_bundle

    if is_bundle(path):
        return load_session(path).bundle.members.get(_REPORT, b"")
    with Path(path).open("rb") as file:
        return file.read(most + 1)


def _source_from_json(value: Json) -> Source:
    use = str(value["use"])
    if use not in {"dbc", "signals", "odx"}:
        raise ValueError(use)
    return Source(use, str(value["name"]), None, str(value["sha256"]), bool(value["named"]), str(value["member"] or ""))
