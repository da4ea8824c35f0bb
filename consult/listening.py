"""Where the service listens, how that address is written, and that its folder can be written."""

from __future__ import annotations

import re
import socket
import tempfile
from typing import TYPE_CHECKING

from aiohttp import web

from consult.errors import CannotListen, DataUnusable

if TYPE_CHECKING:
    from pathlib import Path
    from ssl import SSLContext

    from consult.serviceconfig import ServiceConfig

__all__ = ["address_url", "listen_on", "require_writable", "service_url"]


def require_writable(folder: Path) -> None:
    """Makes the folder and a file in it, so that a full room is never the first to find out.

    Raises:
        DataUnusable: one of the two fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataUnusable(str(folder), error.strerror or str(error)) from error


def _outward_address() -> str:
    """The address by which this machine would talk to the rest of the network; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def service_url(config: ServiceConfig, port: int) -> str:
    """How people reach the service that listens on a port."""
    if config.public_url:
        return config.public_url.rstrip("/")
    return address_url(config, "https" if config.is_encrypted else "http", port)


def address_url(config: ServiceConfig, scheme: str, port: int) -> str:
    """The address of a port of this machine, as others on its network reach it."""
    host = _outward_address() if config.host in ("0.0.0.0", "::", "") else config.host  # noqa: S104 - compared, not bound
    return f"{scheme}://{f'[{host}]' if re.search(':', host) else host}:{port}"


async def listen_on(runner: web.AppRunner, host: str, port: int, context: SSLContext | None) -> int:
    """Listens, and returns the port.

    Raises:
        CannotListen: the address cannot be bound.
    """
    site = web.TCPSite(runner, host, port, ssl_context=context)
    try:
        await site.start()
    except OSError as error:
        raise CannotListen(f"{host}:{port}", error.strerror or str(error)) from error
    return site.port
