"""One content file as TOML."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from casebase.errors import ContentBroken
from diag.facts import Text

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_toml"]


def read_toml(path: Path) -> dict[str, Any]:
    """What a file says.

    Raises:
        ContentBroken: it is missing or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ContentBroken(path.name, "-", Text("cannot be read", "无法读取")) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ContentBroken(path.name, "-", str(exc)) from exc
