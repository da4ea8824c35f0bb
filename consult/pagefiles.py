"""The built page's files, all held in memory: nothing is read from disk while somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consult.errors import PageMissing

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load_page"]

_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".txt": "text/plain",
}


def load_page(folder: Path) -> dict[str, tuple[bytes, str]]:
    """The built page's files by their names in addresses.

    Raises:
        PageMissing: it was not built.
    """
    if not (folder / "index.html").is_file():
        raise PageMissing(str(folder / "index.html"))
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in _TYPES
    }
