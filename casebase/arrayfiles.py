"""Arrays as the files of a folder: written under another name and then renamed, so that nobody sees half of them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import BinaryIO

    from numpy.typing import NDArray

__all__ = ["load_folder", "save_folder"]

_TOLD: Final = "told.json"
_ABANDONED_S: Final = 3600.0
"""Age from which a folder that was never renamed is what a killed process left."""


def save_folder(folder: Path, arrays: Mapping[str, NDArray[Any]], told: object, others: str) -> None:
    """Writes a folder, all or nothing, and removes older ones beside it, and what killed processes left.

    Args:
        folder: its name says what it follows from.
        arrays: by name.
        told: JSON that goes with them.
        others: pattern of the older ones' names.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, array in arrays.items():
            with (made / f"{name}.npy").open("wb") as file:
                np.save(file, array, allow_pickle=False)
                _to_disk(file)
        with (made / _TOLD).open("wb") as file:
            file.write(json.dumps(told, ensure_ascii=False).encode())
            _to_disk(file)
        made.chmod(0o755)
        try:
            made.rename(folder)
        except OSError:  # another process was quicker, with the same content; or half of one is there
            if load_folder(folder, arrays) is None:
                shutil.rmtree(folder, ignore_errors=True)
                made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    for other in folder.parent.glob(others):
        if other != folder:
            with suppress(OSError):
                shutil.rmtree(other)
    for other in folder.parent.glob(f".{others}"):
        with suppress(OSError):
            if time.time() - other.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(other)


def _to_disk(file: BinaryIO) -> None:
    """Before the folder gets its name: a power cut must not leave a whole folder of empty files."""
    file.flush()
    os.fsync(file.fileno())


def load_folder(folder: Path, names: Iterable[str]) -> tuple[dict[str, NDArray[Any]], Any] | None:
    """The arrays, mapped, and what was told with them; None where they are not there or not whole."""
    try:
        mapped = ((name, np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)) for name in names)
        arrays = {name: np.asarray(array) for name, array in mapped}  # the same memory, without a memmap's overhead
        return arrays, json.loads((folder / _TOLD).read_text(encoding="utf-8"))
    except (OSError, ValueError, EOFError):
        return None
