"""What ``huizhen`` alone shows: where to begin, from what is at hand here and now.

It has to be there at once, so nothing is opened or asked: the adapter of last time, what is plugged in by its chip, and
recordings in this folder by their names.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from huizhen.console import Console

__all__ = ["show_first_steps"]

_RECORDINGS: Final = (".hzb", ".blf", ".asc", ".mf4", ".trc", ".crtd", ".pcapng", ".log")
_SCANNED: Final = (".hzb", ".blf", ".asc", ".mf4", ".trc", ".crtd", ".pcapng")
_LOOKED_AT: Final = 2000
"""Names in a folder that are looked at: a home folder may have very many."""


def recordings_here(folder: Path) -> tuple[Path, ...]:
    """Files of this folder that are recordings or session bundles by their names, the newest first.

    A ``.log`` counts only where it begins as candump writes it: most of them are no recordings.
    """
    found: list[tuple[float, Path]] = []
    try:
        for number, path in enumerate(folder.iterdir()):
            if number >= _LOOKED_AT:
                break
            ending = path.suffix.lower()
            if ending in _RECORDINGS and path.is_file() and (ending in _SCANNED or _is_candump(path)):
                found.append((path.stat().st_mtime, path))
    except OSError:
        return ()
    return tuple(path for _, path in sorted(found, reverse=True))


def _is_candump(path: Path) -> bool:
    """``(1700000000.000000) can0 123#…``."""
    try:
        with path.open("rb") as file:
            first = file.read(64)
    except OSError:
        return False
    head, _, rest = first.partition(b") ")
    return head[:1] == b"(" and head[1:].replace(b".", b"").isdigit() and b"#" in rest


def show_first_steps(console: Console) -> None:
    """Prints where to begin; the first command is the one for this moment."""
    from diag.adapters import plugged_in
    from huizhen.console import program_name
    from huizhen.settings import recall

    tr, program = console.tr, program_name()
    console.wrapped(tr("firststeps.title"))
    console.line()
    kept, adapters, recordings = recall(), plugged_in(), recordings_here(Path())
    if kept is not None:
        console.line(tr("firststeps.remembered", words=kept.words()))
    for name, channel in adapters:
        console.line(tr("firststeps.plugged_in", name=name, channel=channel))
    if not adapters and kept is None:
        console.line(tr("firststeps.nothing_plugged_in"))
    if recordings:
        more = tr("firststeps.more", n=len(recordings) - 1) if len(recordings) > 1 else ""
        console.line(tr("firststeps.recording", name=recordings[0].name, more=more))
    console.line()
    rows: list[tuple[str, str]] = []
    if kept is not None or len(adapters) == 1:
        rows.append((tr("firststeps.scan"), f"{program} scan"))
    if recordings:
        rows.append((tr("firststeps.judge"), f"{program} scan --from {shlex.quote(recordings[0].name)}"))
    if kept is None:
        rows.append((tr("firststeps.doctor"), f"{program} doctor"))
    rows += [
        (tr("firststeps.demo"), f"{program} scan --demo"),
        (tr("firststeps.explain"), f"{program} dtc explain P0AA6"),
        (tr("firststeps.room"), f"{program} consult open{'' if kept or adapters else ' --demo'}"),
        (tr("firststeps.all"), f"{program} --help"),
    ]
    console.table(rows)
