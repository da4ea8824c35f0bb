"""A real pseudo-terminal with a program in it, and what its screen shows."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress

import pyte

from huizhen.console import display_width

_PRIVATE = re.compile(r"\x1b\[[<>=][0-9;]*[a-z]|\x1b\[\?[0-9;]*\$p")
"""Questions and keyboard modes of newer terminals, which pyte would print."""


class Terminal:
    """``words`` run in a terminal of a size; everything that they draw is kept."""

    def __init__(self, words: list[str], *, width: int = 80, height: int = 24, **env: str | None) -> None:
        self.screen = pyte.Screen(width, height)
        self._stream = pyte.Stream(self.screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.raw = ""
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        settings = {**os.environ, "TERM": "xterm-256color", "COLORTERM": ""} | env
        settings.pop("NO_COLOR", None) if "NO_COLOR" not in env else None
        environment = {name: value for name, value in settings.items() if value is not None}
        # A program started in the background may have been told to ignore Ctrl-C, and hands that on.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "huizhen", *words], stdin=slave, stdout=slave, stderr=slave, env=environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread forks here
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def read(self, timeout_s: float) -> bool:
        """Takes what has been drawn; False when the program has ended."""
        if select.select([self._master], [], [], timeout_s)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return False
            if not data:
                return False
            text = self._text.decode(data)
            self.raw += text
            self._stream.feed(_PRIVATE.sub("", text))
        return True

    @property
    def text(self) -> str:
        """The screen as it is now."""
        return "\n".join(line.rstrip() for line in self.lines)

    @property
    def lines(self) -> list[str]:
        """Its lines; pyte's own ``display`` fails while half of a wide character is painted over."""
        found = []
        for y in range(self.screen.lines):
            row, line = self.screen.buffer[y], ""
            for x in range(self.screen.columns):
                # What is empty stands behind a wide character, or is the rest of one that is gone.
                line += row[x].data or ("" if x and display_width(row[x - 1].data) == 2 else " ")
            found.append(line)
        return found

    def wait_for(self, *words: str, timeout_s: float = 120) -> str:
        """Reads until all words are on the screen, then gives the screen."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if all(word in self.text for word in words):
                return self.text
            if not self.read(0.2):
                break
        missing = [word for word in words if word not in self.text]
        raise AssertionError(f"{missing} is not on the screen:\n{self.text}")

    def wait_until_gone(self, word: str, timeout_s: float = 120) -> str:
        """Reads until a word is on the screen no more."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if word not in self.text:
                return self.text
            if not self.read(0.2):
                break
        raise AssertionError(f"{word} is still on the screen:\n{self.text}")

    def wait_for_output(self, *words: str, timeout_s: float = 120) -> None:
        """Reads until all words have been written, one after the other or at once, wherever they are now."""
        end = time.monotonic() + timeout_s
        while not all(word in self.raw for word in words):
            if time.monotonic() > end or not self.read(0.2):
                raise AssertionError(f"{words} were not all written:\n{self.raw}")

    def type(self, keys: str) -> None:
        """Keys as a terminal sends them."""
        os.write(self._master, keys.encode())

    def end(self, timeout_s: float = 120) -> int:
        """Reads until the program has ended; gives its exit code."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and self.read(0.2):
            pass
        return self.process.wait(20)

    def close(self) -> None:
        """Ends it in any case."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        with suppress(OSError):
            os.close(self._master)
