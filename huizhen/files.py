"""Writing results: whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, Final

from huizhen.errors import CannotWrite

__all__ = ["check_writable", "is_bundle_name", "json_text", "write_bytes", "write_json", "write_text"]


_BUNDLE: Final = ".hzb"


def is_bundle_name(path: str) -> bool:
    """Whether a file is to be a session bundle."""
    return path.lower().endswith(_BUNDLE)


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
    import tempfile

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
    write_text(path, json_text(value))


def json_text(value: dict[str, Any]) -> str:
    """An object as it is written to files."""
    import json

    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def write_text(path: str, text: str) -> None:
    """Writes a text; see :func:`write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str, content: bytes) -> None:
    """Writes a file beside its place and moves it there, so that nothing half-written is left.

    Raises:
        CannotWrite: the place cannot be written, or the disk is full.
    """
    import tempfile

    target = _place(path)
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            temporary = file.name
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise CannotWrite(path, error.strerror or str(error)) from error
