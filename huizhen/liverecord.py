"""A recording that is started and stopped by a key while a car is watched.

Candump lines, whole after every batch: what was recorded stays readable whatever ends the program.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from diag.flightrecorder import candump_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from diag.frames import Frame

__all__ = ["LiveRecorder"]


@dataclass(slots=True)
class LiveRecorder:
    """Frames into a new file each time it is started.

    Args:
        folder: where the files go; it is made at the first start.
        path: of the file being written, or written last; None before the first.
        frames, size: of that file, in frames and bytes.
        failure: why the last one ended by itself; None when it did not.
    """

    folder: Path
    path: Path | None = None
    frames: int = 0
    size: int = 0
    started_s: float = 0.0
    failure: str | None = None
    _file: IO[str] | None = None

    @property
    def is_on(self) -> bool:
        """Whether frames are being written."""
        return self._file is not None

    def start(self, stamp: str, now_s: float) -> Path:
        """Begins a new file named by ``stamp``.

        Raises:
            OSError: it cannot be written.
        """
        self.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            path = self.folder / f"huizhen-{stamp}{f'-{number}' if number > 1 else ''}.log"
            try:
                self._file = path.open("x", encoding="ascii")
            except FileExistsError:
                number += 1
                continue
            self.path, self.frames, self.size, self.started_s, self.failure = path, 0, 0, now_s, None
            return path

    def take(self, frames: Sequence[Frame]) -> None:
        """Writes frames; a disk that is full ends the recording, and :attr:`failure` says so."""
        file = self._file
        if file is None:
            return
        text = "".join(map(candump_line, frames))
        try:
            file.write(text)
            file.flush()
        except OSError as error:
            self.failure = error.strerror or str(error)
            self.stop()
            return
        self.frames += len(frames)
        self.size += len(text)

    def stop(self) -> None:
        """Ends the file; without one it does nothing."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # what could not be written has been told by take()
                file.close()
