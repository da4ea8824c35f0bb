"""Completes the navigation of the documentation's site (a hook of mkdocs, see mkdocs.yml).

The decisions of ``docs/adr`` follow by their numbers. A page that nobody has given a place yet stands under "More", so
that it is found and ``mkdocs build --strict`` passes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["completed", "on_config"]


def _named(nav: Any) -> Iterator[str]:
    """Every page that a navigation names, as deep as it stands."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for part in nav.values():
            yield from _named(part)
    else:
        for part in nav:
            yield from _named(part)


def completed(nav: list[Any], docs: Path) -> list[Any]:
    """The navigation with every page under ``docs`` in it, each once."""
    named = set(_named(nav))
    pages = sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
    left = [page for page in pages if page not in named]
    decisions = [page for page in left if page.startswith("adr/")]
    more = [page for page in left if not page.startswith("adr/")]
    return [*nav, *([{"More": more}] if more else []), *([{"Decisions": decisions}] if decisions else [])]


def on_config(config: Any) -> Any:
    """Called by mkdocs once it has read mkdocs.yml."""
    config.nav = completed(config.nav, Path(config.docs_dir))
    return config
