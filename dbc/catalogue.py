"""The databases at hand: those that come with Huizhen, the user's own folder, and opendbc when it is installed.

Listing reads no database. To find the few that could belong to a bus, only the identifiers and lengths are read from
the files' message lines; whole databases are loaded by whoever asks for one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata, util
from math import log1p
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dbc.errors import DatabaseError, FileMissing, Phrase
from dbc.files import bundled
from dbc.imports import MAX_BYTES, MAX_IMPORTS, read_bytes
from dbc.table import pgn_from_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = [
    "ENDINGS",
    "ORIGINS",
    "Entry",
    "data_folder",
    "entries",
    "find_entry",
    "likely_entries",
    "outlines",
    "user_folder",
]

ENDINGS: Final = (".dbc", ".kcd", ".sym", ".arxml", ".cdd")
"""Files of the user's folder that are databases."""

ORIGINS: Final = ("bundled", "user", "opendbc")
"""Where entries come from."""

_MAKES: Final = {
    "acura": "Acura", "bmw": "BMW", "cadillac": "Cadillac", "chrysler": "Chrysler", "fca": "Alfa Romeo",
    "ford": "Ford", "gm": "General Motors", "gwm": "GWM", "honda": "Honda", "hongqi": "Hongqi", "hyundai": "Hyundai",
    "luxgen": "Luxgen", "mazda": "Mazda", "mercedes": "Mercedes-Benz", "nissan": "Nissan", "opel": "Opel",
    "psa": "Peugeot/Citroën", "rivian": "Rivian", "subaru": "Subaru", "tesla": "Tesla", "toyota": "Toyota",
    "volvo": "Volvo", "vw": "Volkswagen",
}  # fmt: skip
_MESSAGE: Final = re.compile(rb"^[ \t]*BO_\s+(\d{1,10})\s+([^\s:]+)[^:\n]*:\s*(\d{1,5})", re.MULTILINE)
_IMPORT: Final = re.compile(rb'^[ \t]*CM_\s+"IMPORT\s+([^"\n]+)"', re.MULTILINE)
_J1939: Final = re.compile(rb'"J1939(?:PG)?"')
_EXTENDED: Final = 1 << 31
_MAX_STANDARD: Final = 0x7FF
_MAX_ENTRIES: Final = 2000
_FITTING_MESSAGES: Final = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One database of the catalogue.

    Args:
        name: by which it is asked for.
        origin: ``bundled``, ``user`` or ``opendbc``.
        source: where it comes from, for people.
        licence: SPDX expression; empty where nobody said.
        make: the make that its name says, empty for none.
        is_fragment: a part that other files take in, of no use alone.
    """

    name: str
    path: Path
    origin: str
    source: Phrase
    licence: str = ""
    make: str = ""
    is_fragment: bool = False


def data_folder() -> Path:
    """Where the program keeps the user's data: ``$XDG_DATA_HOME/huizhen``, else where the system wants it.

    Standard: XDG Base Directory 0.8 (a relative path does not count); platformdirs on macOS and Windows.
    """
    base = os.environ.get("XDG_DATA_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "huizhen"
    import platformdirs

    return Path(platformdirs.user_data_dir("huizhen", appauthor=False))


def user_folder() -> Path:
    """Where the user's own databases are: the folder ``dbc`` of :func:`data_folder`."""
    return data_folder() / "dbc"


def _bundled() -> Iterable[Entry]:
    source = Phrase("written for Huizhen", "会诊自带")
    for path in bundled():
        yield Entry(path.stem, path, "bundled", source, "Apache-2.0")


def _user() -> Iterable[Entry]:
    folder = user_folder()
    source = Phrase("your folder", "用户文件夹")
    found: list[Path] = []
    try:
        for path in folder.rglob("*"):
            if path.suffix.lower() in ENDINGS and path.is_file():
                found.append(path)
                if len(found) >= _MAX_ENTRIES:
                    break
    except OSError:
        return
    for path in sorted(found):
        yield Entry(path.stem, path, "user", source, "", _make(path), path.stem.startswith("_"))


def _make(path: Path) -> str:
    for word in (path.stem, path.parent.name):
        if make := _MAKES.get(word.lstrip("_").lower().partition("_")[0].partition("-")[0]):
            return make
    return ""


def _opendbc() -> Iterable[Entry]:
    spec = util.find_spec("opendbc")
    if spec is None or not spec.submodule_search_locations:
        return
    folder = Path(next(iter(spec.submodule_search_locations))) / "dbc"
    try:
        about = metadata.metadata("opendbc")
        said = about.json
        version, licence = str(said.get("version", "")), str(said.get("license_expression", said.get("license", "")))
    except metadata.PackageNotFoundError:
        version, licence = "", ""
    source = Phrase(f"opendbc {version}".strip(), f"opendbc {version}".strip())
    for path in sorted(folder.rglob("*.dbc")):
        yield Entry(path.stem, path, "opendbc", source, licence, _make(path), path.stem.startswith("_"))


def entries() -> tuple[Entry, ...]:
    """The whole catalogue: bundled files first, then the user's, then opendbc's; nothing is read from them.

    A name that stands there already gets its origin and folder in front.
    """
    out: dict[str, Entry] = {}
    for entry in (*_bundled(), *_user(), *_opendbc()):
        name = entry.name
        if name in out:
            name = f"{entry.origin}/{entry.path.parent.name}/{name}"
        if name not in out:
            out[name] = Entry(
                name, entry.path, entry.origin, entry.source, entry.licence, entry.make, entry.is_fragment
            )
    return tuple(out.values())


def find_entry(name: str) -> Entry | None:
    """The entry of a name, upper and lower case alike, with or without the file's ending."""
    wanted = name.casefold()
    for entry in entries():
        if wanted in {entry.name.casefold(), entry.path.name.casefold()}:
            return entry
    return None


@dataclass(frozen=True, slots=True)
class _Outline:
    """What a file says of its messages at a glance.

    Args:
        lengths: identifier (bit 31 = extended) -> bytes.
        imports: files that it takes in.
        is_j1939: its extended identifiers are matched by parameter group.
    """

    lengths: Mapping[int, int]
    imports: tuple[str, ...]
    is_j1939: bool


@lru_cache(maxsize=4096)
def _outline(path: Path, _size: int, _changed_ns: int) -> _Outline:
    if path.suffix.lower() != ".dbc":
        return _loaded_outline(path)
    raw = read_bytes(path, MAX_BYTES)
    lengths: dict[int, int] = {}
    for number_text, name, length in _MESSAGE.findall(raw):
        number = int(number_text)
        if name == b"VECTOR__INDEPENDENT_SIG_MSG":
            continue
        lengths[number if number <= _MAX_STANDARD else number | _EXTENDED] = int(length)
    imports = tuple(name.decode("utf-8", errors="replace").strip() for name in _IMPORT.findall(raw))
    return _Outline(lengths, imports, bool(_J1939.search(raw)))


def _loaded_outline(path: Path) -> _Outline:
    """The outline of a format whose messages do not show at a glance."""
    from dbc.database import load

    database = load(path)
    lengths = {message.can_id | message.extended << 31: message.length for message in database.messages}
    return _Outline(lengths, (), any(message.is_j1939 for message in database.messages))


def _whole_outline(path: Path) -> _Outline:
    """The outline of a file with everything that it takes in; empty when it cannot be read."""
    lengths: dict[int, int] = {}
    is_j1939 = False
    waiting = [path]
    seen: set[Path] = set()
    while waiting and len(seen) <= MAX_IMPORTS:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        try:
            state = here.stat()
            outline = _outline(here, state.st_size, state.st_mtime_ns)
        except (OSError, DatabaseError, FileMissing):
            continue
        lengths.update(outline.lengths)
        is_j1939 |= outline.is_j1939
        waiting += [here.parent / name for name in outline.imports if "/" not in name and "\\" not in name]
    return _Outline(lengths, (), is_j1939)


def outlines() -> dict[str, dict[int, int]]:
    """Identifier (bit 31 = extended) -> length of the messages of every entry, by its name; no database is parsed."""
    return {entry.name: dict(_whole_outline(entry.path).lengths) for entry in entries()}


def likely_entries(
    frames: Mapping[int, int],
    *,
    origins: Collection[str] = ORIGINS,
    limit: int = 12,
    without: Collection[str] = (),
) -> tuple[Entry, ...]:
    """The databases worth loading for a bus, best first: those that know most of its identifiers.

    This only saves loading the others. Which of them it is, if any, says :mod:`dbc.fit`.

    Args:
        frames: identifier (bit 31 = extended) -> how many frames.
        origins: only entries from there.
        limit: so many entries at most.
        without: names that are left out.
    """
    total = max(sum(frames.values()), 1)
    ranked: list[tuple[float, int, Entry]] = []
    for number, entry in enumerate(entries()):
        if entry.is_fragment or entry.origin not in origins or entry.name in without:
            continue
        outline = _whole_outline(entry.path)
        known = set(outline.lengths)
        groups = {pgn_from_id(key & ~_EXTENDED) for key in known if key & _EXTENDED} if outline.is_j1939 else set()
        hits = [key for key in frames if key in known or (key & _EXTENDED and pgn_from_id(key & ~_EXTENDED) in groups)]
        if len(hits) >= _FITTING_MESSAGES:
            # How much of the database is there counts, and how much that is; how much of the bus it knows, less.
            share = len(hits) / max(len(known), len(hits)) * log1p(len(hits))
            ranked.append((share + 0.5 * sum(frames[key] for key in hits) / total, -number, entry))
    ranked.sort(key=lambda found: found[:2], reverse=True)
    return tuple(entry for _, _, entry in ranked[:limit])
