"""A serial port is one program's at a time.

Two programs on one serial adapter take each other's answers, and the one that leaves first closes the channel for
both. Drivers do not prevent that on POSIX systems; an advisory lock on the device does, for every program that asks
(pyserial's ``exclusive`` takes the same one). Windows opens such ports exclusively anyway.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

__all__ = ["PortClaim", "claim_port"]

_BUSY: Final = (errno.EAGAIN, errno.EACCES)


class PortClaim:
    """A device that is ours until :meth:`release`."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Lets others have it; may be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def claim_port(channel: str) -> PortClaim:
    """Claims a serial device for this process.

    Args:
        channel: as python-can and pyserial name it, ``/dev/ttyACM0`` or ``/dev/ttyACM0@115200``; addresses such as
            ``socket://host:port`` are no devices and are not claimed.

    Raises:
        OSError: EBUSY when another program has it; else why it cannot be opened.
    """
    path = channel.partition("@")[0]
    if sys.platform == "win32" or "://" in path or not path:
        return PortClaim(None)
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        if exc.errno in _BUSY:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path) from exc
        raise
    return PortClaim(descriptor)
