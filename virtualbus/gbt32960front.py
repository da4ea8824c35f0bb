"""The T-box's line to a platform: TCP, login, a report every ten seconds (every second in an alarm), logout."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

from virtualbus.car import Car
from virtualbus.errors import FrontBroken, Phrase
from virtualbus.gbt32960 import Tbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from virtualbus.farm import Farm
    from virtualbus.fronts import Front
    from virtualbus.transport import Frame

__all__ = ["Gbt32960Front"]

_LOG: Final = logging.getLogger(__name__)
_REPORT_S: Final = 10.0
_ALARM_S: Final = 1.0
_RETRY_S: Final = 5.0
_ANSWER_S: Final = 5.0
_LOGIN_FLAG_AT: Final = 3
_OK: Final = 0x01


class Gbt32960Front:
    """One line; a platform that goes away is called again.

    Args:
        host, port: of the platform.
        edition: of the standard.

    Raises:
        FrontBroken: nobody listens there.
    """

    def __init__(self, host: str, port: int, edition: str) -> None:
        self._where = (host, port)
        self._edition = edition
        try:
            self._line: socket.socket | None = socket.create_connection(self._where, timeout=_ANSWER_S)
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise FrontBroken(f"gbt32960:{host}:{port}", Phrase(reason, reason)) from exc
        self._tbox: Tbox | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def description(self) -> dict[str, str | int]:
        """The platform that is reported to."""
        return {"front": "gbt32960", "host": self._where[0], "port": self._where[1], "edition": self._edition}

    def attach(self, car: Car | Farm) -> None:
        """The car whose T-box this is.

        Raises:
            FrontBroken: a recording has no T-box.
        """
        if not isinstance(car, Car):
            raise FrontBroken(
                str(self.description["front"]), Phrase("a recording has no T-box", "记录文件没有车载终端")
            )
        self._tbox = Tbox(car, self._edition)

    def start(self, sink: Callable[[Front, Frame], None]) -> None:  # noqa: ARG002 - a T-box sends nothing to the bus
        """Logs in and reports, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="front gbt32960", daemon=True)
        self._thread.start()

    def send(self, frame: Frame) -> None:
        """The T-box reads the signals, not the frames."""

    def stop(self) -> None:
        """Logs out."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_ANSWER_S + 1)
        if self._line is not None:
            self._line.close()

    def _run(self) -> None:
        while not self._stopping.is_set() and self._tbox is not None:
            try:
                self._serve(self._tbox)
            except OSError as exc:
                _LOG.warning("gbt32960: %s", exc)
                if self._line is not None:
                    self._line.close()
                    self._line = None
                self._stopping.wait(_RETRY_S)

    def _serve(self, tbox: Tbox) -> None:
        if self._line is None:
            self._line = socket.create_connection(self._where, timeout=_ANSWER_S)
        line = self._line
        line.settimeout(_ANSWER_S)
        line.sendall(tbox.login(time.time()))
        answer = line.recv(4096)
        if not answer:
            raise ConnectionResetError("the platform closed the line")
        if len(answer) <= _LOGIN_FLAG_AT or answer[_LOGIN_FLAG_AT] != _OK:
            raise ConnectionRefusedError(f"the platform refused the login: {answer[:8].hex()}")
        while not self._stopping.is_set():
            for message in tbox.reports(time.time()):
                line.sendall(message)
            line.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                if not line.recv(4096):
                    raise ConnectionResetError("the platform closed the line")
            line.settimeout(_ANSWER_S)
            self._stopping.wait(_ALARM_S if tbox.alarm_level >= 3 else _REPORT_S)
        line.sendall(tbox.logout(time.time()))
