"""``huizhen db match``: which database a recording is of, as a table and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dbc.database import Database
    from dbc.fit import Match
    from dbc.table import FrameTable
    from huizhen.console import Console

__all__ = ["first_frames", "load_candidates", "match_json", "show_match"]

_LIKELY: Final = 12
_LOOKED_AT: Final = 2_000_000
"""Frames of a recording that are looked at: a quarter of an hour of a full bus."""
_SHOWN: Final = 5
_WORTH_SHOWING: Final = 0.001


def first_frames(path: str, console: Console) -> FrameTable:
    """The first two million frames of a recording, which tell enough."""
    from dbc.recording.stream import stream_recording
    from dbc.table import FrameTable

    console.stage(console.tr("log.reading", path=path))
    tables: list[FrameTable] = []
    left = _LOOKED_AT
    with stream_recording(path) as stream:
        pieces = stream.pieces()
        for piece in pieces:
            tables.append(piece[:left])
            left -= len(tables[-1])
            if not left:
                break
        pieces.close()
    console.stage_done()
    return FrameTable.concat(tables)


def load_candidates(
    table: FrameTable, named: Sequence[tuple[str, Path]], console: Console
) -> tuple[list[Database], list[str]]:
    """The databases to choose among, and the names of those that cannot be read.

    Args:
        table: what is to be matched.
        named: name and path of those asked for; empty for the whole catalogue.
        console: says which are being read.

    Raises:
        DatabaseError: one that was named cannot be read.
        FileMissing: one that was named is not there.
    """
    from dbc.catalogue import likely_entries
    from dbc.database import load
    from dbc.errors import DatabaseError, FileMissing
    from dbc.evidence import Sample

    loaded: list[Database] = []
    failed: list[str] = []
    if named:
        for name, path in named:
            console.stage(console.tr("db.lint.reading", path=name))
            loaded.append(load(path))
    else:
        for entry in likely_entries(Sample(table).frames, limit=_LIKELY):
            console.stage(console.tr("db.lint.reading", path=entry.name))
            try:
                loaded.append(load(entry.path))
            except (DatabaseError, FileMissing):
                failed.append(entry.name)
    console.stage_done()
    return loaded, failed


def match_json(match: Match, table: FrameTable, failed: Sequence[str]) -> dict[str, Any]:
    """``huizhen.match/1``; ``none`` is the probability that it is none of them."""
    return {
        "schema": "huizhen.match/1",
        "best": match.best,
        "certainty": round(match.certainty, 4),
        "none": round(match.none, 4),
        "frames": len(table),
        "candidates": [
            {
                "database": one.name,
                "probability": round(one.probability, 4),
                "because": [{"kind": r.kind, "en": r.text.en, "zh": r.text.zh} for r in one.because],
                "against": [{"kind": r.kind, "en": r.text.en, "zh": r.text.zh} for r in one.against],
                "relatives": list(one.same),
            }
            for one in match.candidates
        ],
        "notes": [{"en": note.en, "zh": note.zh} for note in match.notes],
        "unreadable": list(failed),
    }


def show_match(match: Match, failed: Sequence[str], console: Console) -> None:
    """The likely ones with their reasons, and the verdict."""
    tr = console.tr
    lang = tr.lang
    if match.best is not None:
        console.line(
            console.style(tr("db.match.best", name=match.best, share=f"{100 * match.certainty:.0f} %"), "title")
        )
    else:
        console.line(console.style(tr("db.match.none", share=f"{100 * match.none:.0f} %"), "title"))
    for note in match.notes:
        console.wrapped(getattr(note, lang))
    shown = [one for one in match.candidates if one.probability >= _WORTH_SHOWING][:_SHOWN] or match.candidates[:1]
    for one in shown:
        console.line(f"{100 * one.probability:5.1f} %  {one.name}")
        for reason in one.because:
            console.wrapped(f"+ {getattr(reason.text, lang)}", "         ")
        for reason in one.against:
            console.wrapped(f"− {getattr(reason.text, lang)}", "         ")
        if one.same:
            console.wrapped(tr("db.match.relatives", names=tr.listed(one.same)), "         ")
    console.line(f"{100 * match.none:5.1f} %  {tr('db.match.no_database')}")
    if failed:
        console.note(tr("db.match.unreadable", names=tr.listed(failed)))
