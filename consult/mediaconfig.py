"""How a service reaches its media engine: the configuration's table ``[media]``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["MediaConfig"]


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """What the owner chose.

    Args:
        engine: ``"janus"``, or empty for none: calls then go browser to browser only.
        janus: the program that the service starts and looks after itself.
        url: of an engine that runs already (``ws://HOST:PORT``); none is started then.
        secret: that engine's API secret.
        interface: the addresses or interfaces at which media are taken, with commas between; empty takes the
            address that the service listens at, and all of the machine where that is none of its own.
        public_ip: the address that others reach it at, where the machine has a private one (1:1 NAT).
        ports: first and last UDP port for media.
        bitrate_kbps: the most that one camera may send.
        record_mb: of recordings, per room; recording ends there.
    """

    engine: str = ""
    janus: Path = Path("/usr/bin/janus")
    url: str = ""
    secret: str = field(default="", repr=False)
    interface: str = ""
    public_ip: str = ""
    ports: tuple[int, int] = (20_000, 21_000)
    bitrate_kbps: int = 1_500
    record_mb: int = 2_000
