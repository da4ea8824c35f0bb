"""What the media engine has written of a recording: found, put among the room's files, taken away. All of it blocks."""

from __future__ import annotations

import hashlib
import logging
import shutil
from typing import TYPE_CHECKING, Any

from consult.mjr import MjrBroken, read_info, webm_from_mjr
from consult.roomkeys import shred

if TYPE_CHECKING:
    from pathlib import Path

    from consult.roomfiles import RoomFiles

__all__ = ["clear_recorded", "keep_recorded", "recorded_files", "recorded_so_far"]

_log = logging.getLogger(__name__)


def recorded_files(folder: Path) -> list[Path]:
    """What the engine wrote into a folder."""
    return sorted(folder.glob("*.mjr"))


def clear_recorded(folder: Path, *, is_secret: bool) -> None:
    """Takes away what the engine wrote; where the room is encrypted, it is overwritten first."""
    for path in folder.iterdir() if is_secret else ():
        shred(path)
    shutil.rmtree(folder, ignore_errors=True)


def recorded_so_far(folder: Path) -> tuple[int, bool]:
    """Bytes of what the engine has written so far, and whether there is any file of it."""
    try:
        sizes = [path.stat().st_size for path in folder.glob("*.mjr")]
    except FileNotFoundError:
        return 0, False
    return sum(sizes), bool(sizes)


def keep_recorded(files: RoomFiles, path: Path, person: int) -> dict[str, Any] | None:
    """Puts one recorded file among the room's files, as what players take where that is possible; None if it is empty.

    Done again it makes the same file.
    """
    made = path.with_suffix(".webm")
    try:
        info = read_info(path)
        kind = {"vp8": "video", "opus": "audio"}.get(info.codec, "media")
        if kind == "media":
            media_type, made = "application/octet-stream", path.with_suffix(".copy")
            shutil.copyfile(path, made)
        else:
            webm_from_mjr(path, made)
            media_type = f"{kind}/webm"
    except MjrBroken as error:
        _log.info("a recorded file holds nothing: %s", error)
        return None
    size = made.stat().st_size
    with made.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    files.take_in(made, digest)
    name = f"recording-{person}-{kind}-{info.began_us}{'.mjr' if kind == 'media' else '.webm'}"
    told = {"person": person, "kind": kind, "began_us": info.began_us}
    return {"sha256": digest, "name": name, "bytes": size, "type": media_type, "open": False, "recording": told}
