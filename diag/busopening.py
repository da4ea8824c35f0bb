"""Opening a bus with python-can, and what its drivers' errors mean to a person."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from diag.errors import NoAdapter
from diag.facts import Text
from diag.pythoncan import can
from diag.serialport import claim_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.serialport import PortClaim

__all__ = ["Comeback", "bus_options", "is_simulation", "open_bus", "reason_of", "shut_down"]

_LOG = logging.getLogger(__name__)

_BY_ERRNO: Final[dict[int, Text]] = {
    errno.ENOENT: Text("there is no such device", "没有该设备"),
    errno.ENODEV: Text(
        "there is no such interface; for SocketCAN: ip link set can0 up type can bitrate 500000",
        "没有该接口；SocketCAN 请先执行 ip link set can0 up type can bitrate 500000",
    ),
    errno.EACCES: Text(
        "no permission; on Linux join the group dialout and log in again",
        "没有权限；Linux 下请加入 dialout 组后重新登录",
    ),
    errno.EBUSY: Text("another program uses it", "被其他程序占用"),
    errno.ENETDOWN: Text(
        "the interface is down; ip link set can0 up type can bitrate 500000",
        "接口未启用；请执行 ip link set can0 up type can bitrate 500000",
    ),
    errno.EAFNOSUPPORT: Text("this system has no SocketCAN", "本系统不支持 SocketCAN"),
    errno.EINVAL: Text("this interface has no such channel", "该接口没有这个通道"),
    errno.EIO: Text("it was unplugged", "设备已拔出"),
    errno.ENXIO: Text("it was unplugged", "设备已拔出"),
    errno.ENOBUFS: Text(
        "nobody on the bus acknowledges; check the bit rate and the wiring", "总线上无应答位；请检查波特率和接线"
    ),
}


def reason_of(exc: BaseException) -> Text:
    """Why a driver failed, as a person can use it; the driver's own words where we know no better."""
    seen: BaseException | None = exc
    while seen is not None:
        code = getattr(seen, "errno", None) or getattr(seen, "error_code", None)
        if code in _BY_ERRNO:
            return _BY_ERRNO[code]
        seen = seen.__cause__ or seen.__context__
    words = str(exc) or type(exc).__name__
    if isinstance(exc, can.CanInterfaceNotImplementedError) and words.startswith("Unknown interface"):
        return Text("python-can knows no such interface", "python-can 没有这种接口")
    if isinstance(exc, NameError):  # python-can's way of missing a vendor's library; its words are about Python
        return Text("the driver is not installed", "驱动未安装")
    if isinstance(exc, (can.CanInterfaceNotImplementedError, ImportError)) or "library not found" in words:
        return Text(f"the driver is not installed: {words}", f"驱动未安装：{words}")
    if "buffer full" in words:
        return _BY_ERRNO[errno.ENOBUFS]
    return Text(words, f"驱动报告：{words}")


def is_simulation(interface: str, channel: str) -> bool:
    """Whether the other end is a simulation by the look of it.

    Nothing here proves it: a bridge can put a real car behind UDP multicast, vcan or a pseudo-terminal. Whoever opens
    such a link says ``simulated=False``; a scan also looks at what the ECUs call themselves.
    """
    return interface in {"virtual", "udp_multicast"} or channel.startswith(("vcan", "/dev/pts/"))


def bus_options(
    interface: str, channel: str, bitrate: int | None, data_bitrate: int | None, *, fd: bool
) -> dict[str, Any]:
    """What ``can.Bus`` takes for this adapter."""
    options: dict[str, Any] = {"interface": interface, "channel": channel}
    if bitrate is not None:
        options["bitrate"] = bitrate
    if interface == "udp_multicast":
        options |= {"hop_limit": 0, "fd": fd}
    elif interface == "slcan":
        # Reading must not wait inside the event loop; a pseudo-terminal does not restart as a USB adapter may.
        options |= {"timeout": 0, "sleep_after_open": 0.0 if channel.startswith("/dev/pts/") else 2.0}
    elif fd:
        options["fd"] = True
        if data_bitrate is not None:
            options["data_bitrate"] = data_bitrate
    return options


@dataclass(frozen=True, slots=True)
class Comeback:
    """What opened an adapter, how long it is waited for when it is unplugged, and who is told."""

    wanted: dict[str, Any]
    patience_s: float
    notice: Callable[[Text], None]


async def open_bus(wanted: dict[str, Any]) -> tuple[can.BusABC, PortClaim | None]:
    """The bus, and the claim on its serial port where it has one; the event loop runs on while the driver starts.

    Args:
        wanted: what ``can.Bus`` takes; see :func:`bus_options`.

    Raises:
        NoAdapter: no such interface or channel, no driver, no permission, or in use.
    """
    interface, channel = wanted["interface"], wanted["channel"]
    claim = None
    try:
        claim = claim_port(channel) if interface == "slcan" else None
        bus = await asyncio.to_thread(lambda: can.Bus(**wanted))
    except (can.CanError, OSError, ValueError, ImportError, TypeError, NameError, AttributeError) as exc:
        # Drivers of python-can raise nearly anything when their vendor library is absent.
        if claim is not None:
            claim.release()
        raise NoAdapter(interface, channel, reason_of(exc)) from exc
    if interface == "udp_multicast" and sys.platform == "linux":
        # Else Linux hands over what any program of this machine has joined on the port: another car's frames.
        with socket.socket(fileno=os.dup(bus.fileno())) as own:
            own.setsockopt(*((41, 29) if own.family == socket.AF_INET6 else (0, 49)), 0)  # IP(V6)_MULTICAST_ALL
    return bus, claim


def shut_down(bus: can.BusABC) -> None:
    """Ends it; what its driver says against that is only logged."""
    try:
        bus.shutdown()
    except (can.CanError, OSError) as exc:
        _LOG.warning("while closing: %s", exc)
