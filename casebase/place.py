"""Where the user's own library stands."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["default_path"]


def default_path() -> Path:
    """The user's own library: ``$XDG_DATA_HOME/huizhen/cases.db``, else where the system wants data.

    Standard: XDG Base Directory 0.8; platformdirs on macOS and Windows.
    """
    base = os.environ.get("XDG_DATA_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "huizhen" / "cases.db"
    import platformdirs

    return Path(platformdirs.user_data_dir("huizhen", appauthor=False)) / "cases.db"
