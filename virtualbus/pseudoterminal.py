"""A serial line that does not exist: the pseudo-terminal through which other programs meet a simulated adapter.

Only POSIX systems have them. Standard: IEEE Std 1003.1 (posix_openpt).
"""

from __future__ import annotations

import os

from virtualbus.errors import FrontBroken, Phrase

__all__ = ["open_terminal"]

_NONE = Phrase("this system has no pseudo-terminals", "此系统没有伪终端")


def open_terminal(front: str) -> tuple[int, int, str]:
    """Our end, the other end (which stays open, so that programs may come and go), and the path for others to open.

    Args:
        front: who asks, for the error.

    Raises:
        FrontBroken: the system has none, or none is left.
    """
    try:
        import tty

        master, slave = os.openpty()
    except (ImportError, AttributeError) as exc:
        raise FrontBroken(front, _NONE) from exc
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise FrontBroken(front, Phrase(reason, reason)) from exc
    tty.setraw(slave)
    os.set_blocking(master, False)
    return master, slave, os.ttyname(slave)
