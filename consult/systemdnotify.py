"""What systemd is told of a service: that it is ready, that it is alive, that it ends.

One datagram to the socket that ``$NOTIFY_SOCKET`` names, a path or (with ``@``) an abstract name. Without that variable
nothing is said.

Standard: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SystemdNotify"]

_MICROSECONDS: Final = 1_000_000


class SystemdNotify:
    """The line to systemd, or to any other supervisor that speaks its protocol.

    Args:
        environment: where the variables stand.
        pid: of this process; a watchdog that is meant for another one is not ours.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ, pid: int | None = None) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{name[1:]}" if name.startswith("@") else name if name.startswith("/") else ""
        self.watchdog_s = _watchdog_s(environment, os.getpid() if pid is None else pid) if self._address else None
        """Seconds after which a silent service is taken for dead; None where nobody watches."""
        self._status = ""

    def ready(self, status: str = "") -> None:
        """The service listens."""
        self._say(READY="1", **({"STATUS": status} if status else {}), MAINPID=str(os.getpid()))
        self._status = status

    def alive(self, status: str = "") -> None:
        """The service is at work; ``status``, where it has changed, is what ``systemctl status`` shows."""
        more = {"STATUS": status} if status and status != self._status else {}
        self._status = status or self._status
        self._say(WATCHDOG="1", **more)

    def stopping(self) -> None:
        """The service ends as it was told to."""
        self._say(STOPPING="1")

    def _say(self, **facts: str) -> None:
        if not self._address:
            return
        words = "\n".join(f"{name}={value.replace(chr(10), ' ')}" for name, value in facts.items())
        # A supervisor that does not listen must not end the service; it will notice the silence itself.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line,
        ):
            line.setblocking(False)
            line.connect(self._address)
            line.send(words.encode())


def _watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
        meant_for = int(environment.get("WATCHDOG_PID", pid))
    except ValueError:
        return None
    return microseconds / _MICROSECONDS if microseconds > 0 and meant_for == pid else None
