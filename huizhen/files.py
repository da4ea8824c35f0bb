"""Writing results: whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from huizhen.errors import CannotWrite

__all__ = ["check_writable", "write_json", "write_text"]


def _place(path: str) -> Path:
    """The regular file, existing or not, that a path means; links are followed.

    Raises:
        CannotWrite: a folder, a device, a pipe: nothing that could be replaced by a file.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise CannotWrite(path, os.strerror(errno.EISDIR))
    if target.exists() and not target.is_file():
        raise CannotWrite(path, os.strerror(errno.EINVAL))
    return target


def check_writable(path: str) -> None:
    """Finds out before the work whether its result can be saved there.

    Raises:
        CannotWrite: no regular file can stand there, or the folder is missing or may not be written.
    """
    target = _place(path)
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise CannotWrite(path, error.strerror or str(error)) from error


def write_json(path: str, value: dict[str, Any]) -> None:
    """Writes one JSON object, whole or not at all.

    Raises:
        CannotWrite: the place cannot be written, or the disk is full.
    """
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def write_text(path: str, text: str) -> None:
    """Writes a text beside its place and moves it there, so that nothing half-written is left.

    Raises:
        CannotWrite: the place cannot be written, or the disk is full.
    """
    target = _place(path)
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as file:
            temporary = file.name
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise CannotWrite(path, error.strerror or str(error)) from error
