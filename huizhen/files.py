"""Writing results: whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from huizhen.errors import CannotWrite

__all__ = ["check_writable", "write_json"]


def check_writable(path: str) -> None:
    """Finds out before the work whether its result can be saved there.

    Raises:
        CannotWrite: the folder is missing or may not be written, or the path is a folder.
    """
    target = Path(path)
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise CannotWrite(path, error.strerror or str(error)) from error


def write_json(path: str, value: dict[str, Any]) -> None:
    """Writes one JSON object beside its place and moves it there, so that nothing half-written is left.

    Raises:
        CannotWrite: the place cannot be written, or the disk is full.
    """
    target = Path(path)
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as file:
            temporary = file.name
            json.dump(value, file, ensure_ascii=False, indent=1)
            file.write("\n")
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise CannotWrite(path, error.strerror or str(error)) from error
