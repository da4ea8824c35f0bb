"""``huizhen case export --counts`` and ``huizhen case import counts``: what workshops tell each other, never cases."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from huizhen.console import wants_json
from huizhen.exits import Exit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from casebase.library import Library
    from casebase.sharedtable import SharedSite
    from huizhen.console import Console
    from huizhen.language import Translator

    Written = Callable[[str, Translator], AbstractContextManager[Callable[[str], object]]]

__all__ = ["COUNTS", "export_counts", "import_counts", "json_from_site", "site_row"]

COUNTS = "counts"
_KEY_SHOWN = 12


def export_counts(args: argparse.Namespace, console: Console, library: Library, written: Written) -> int:
    """Writes the library's own counts and says under which key they go."""
    from casebase.sharing import encoded, fingerprint

    document, told = library.exchange.export()
    with written(args.file, console.tr) as write:
        write(json.dumps(told, ensure_ascii=False, indent=1, sort_keys=True) + "\n")
    if args.file != "-":
        tr = console.tr
        console.note(tr("casesharing.exported", n=f"{len(document.patterns):,}", path=args.file))
        site = document.site
        console.note(tr("casesharing.own_key", public=encoded(site), fingerprint=fingerprint(site)))
    return Exit.DONE


def import_counts(args: argparse.Namespace, console: Console, library: Library) -> int:
    """Takes the counts of another workshop."""
    from casebase.sharing import encoded

    document, new = library.exchange.take(args.file, trust=args.trust)
    site = encoded(document.site)
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.import/1",
                "kind": COUNTS,
                "file": args.file,
                "site": site,
                "made": _told(document.made),
                "rows": len(document.patterns),
                "kept": 0 if new is None else len(document.patterns),
                "new": new or 0,
                "left_out": 0,
                "resumed": 0,
                "was_done": new is None,
                "bad": [],
            }
        )
        return Exit.DONE
    tr = console.tr
    if new is None:
        console.line(tr("caselib.import.was_done", path=args.file))
        return Exit.DONE
    day = document.made.strftime("%Y-%m-%d")
    patterns = f"{len(document.patterns):,}"
    console.line(tr("casesharing.imported", patterns=patterns, new=f"{new:,}", site=site[:_KEY_SHOWN], day=day))
    return Exit.DONE


def json_from_site(site: SharedSite) -> dict[str, object]:
    """One entry of ``shared`` of ``case stats --json``."""
    return {"site": site.key, "made": None if site.made is None else _told(site.made), "patterns": site.patterns}


def site_row(site: SharedSite, tr: Translator) -> list[str]:
    """Key, day and number of fixes of a site, as ``case stats`` shows it."""
    day = "-" if site.made is None else site.made.strftime("%Y-%m-%d")
    return [site.key[:_KEY_SHOWN], day, tr("casesharing.patterns", n=f"{site.patterns:,}")]


def _told(made: datetime) -> str:
    return made.astimezone(UTC).isoformat(timespec="seconds")
