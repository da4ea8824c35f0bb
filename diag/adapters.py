"""Which adapters are really plugged in, and what is wrong with those that cannot be used.

Looking asks the computer and the adapter, never the car: interfaces of the kernel, devices on USB, and serial ports
with a chip that diagnostic adapters have, which are asked who they are. Listening to the bus acknowledges nothing.

Standard: LAWICEL protocol (``V``), ELM327 data sheet (``ATI``); /sys of Linux.
"""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from diag.facts import Text
from diag.serialport import claim_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Candidate", "Heard", "find_adapters", "listen_to", "plugged_in"]

_ARPHRD_CAN: Final = "280"
_IFF_UP: Final = 1
_SERIAL_CHIPS: Final = {
    (0x16D0, 0x117E): "CANable",
    (0xAD50, 0x60C4): "CANable",
    (0x0483, 0x5740): "STM32",
    (0x1D50, 0x60C4): "CANtact",
    (0x04D8, 0x000A): "USBtin",
    (0x0403, 0x6001): "FTDI FT232",
    (0x0403, 0x6015): "FTDI FT231 (OBDLink)",
    (0x10C4, 0xEA60): "CP210x",
    (0x1A86, 0x7523): "CH340",
    (0x1A86, 0x55D4): "CH9102",
    (0x067B, 0x2303): "PL2303",
}
"""USB vendor and product of serial chips in CAN and OBD adapters. Others are not spoken to: who knows what they are."""

_KERNEL_USB: Final = {
    (0x1D50, 0x606F): ("gs_usb", "candleLight"),
    (0x1209, 0x2323): ("gs_usb", "candleLight"),
    (0x1CD2, 0x606F): ("gs_usb", "CES CANext FD"),
    (0x16D0, 0x10B8): ("gs_usb", "ABE CANdebugger FD"),
    (0x0C72, 0x000C): ("peak_usb", "PEAK PCAN-USB"),
    (0x0C72, 0x0012): ("peak_usb", "PEAK PCAN-USB FD"),
    (0x0BFD, 0x0120): ("kvaser_usb", "Kvaser Leaf"),
}
"""USB adapters that a driver of the kernel makes a network interface of. Standard: unverified (drivers' tables)."""

_BAUDS: Final = (115_200, 38_400, 9_600)
_ANSWER_S: Final = 0.12
_NO_INTERFACE: Final = Text("its driver is not loaded, so that it has no CAN interface", "驱动未加载，没有 CAN 接口")
_DOWN: Final = Text("the interface is down", "接口未启用")
_FORBIDDEN: Final = Text("no permission to open it", "没有打开权限")
_IN_USE: Final = Text("another program has it", "被其他程序占用")
_MUTE: Final = Text(
    "it answers neither as slcan nor as ELM327: other firmware, or not an adapter",
    "不是 slcan 也不是 ELM327 应答：固件不同或不是适配器",
)
_STRANGER: Final = Text(
    "no chip that CAN or OBD adapters have; not spoken to", "不是 CAN/OBD 适配器常用芯片；未与其通信"
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something plugged in that may be an adapter.

    Args:
        kind: ``slcan``, ``elm327``, ``socketcan``, or ``usb`` and ``serial`` for what cannot be used yet.
        channel: its name for python-can or pyserial.
        name: what it calls itself, or what its chip is called.
        options: of the command line that reach it; empty where it cannot be used.
        bitrate: bit/s that the kernel has configured, None where it is unknown.
        why: what is wrong with it, None for a good one.
        fix: what to type or do.
    """

    kind: str
    channel: str
    name: str
    options: tuple[str, ...] = ()
    bitrate: int | None = None
    why: Text | None = None
    fix: Text | None = None

    @property
    def is_usable(self) -> bool:
        """A scan can go through it."""
        return self.why is None


@dataclass(slots=True)
class Heard:
    """What came while a bus was listened to.

    Args:
        bitrate: bit/s at which it came, None where the speed was not ours to choose.
        frames: data frames per second.
        identifiers: how many different ones.
        errors: error frames.
    """

    bitrate: int | None = None
    frames: float = 0.0
    identifiers: int = 0
    errors: int = 0
    tried: list[int] = field(default_factory=list)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _bitrate_of(name: str) -> int | None:
    program = shutil.which("ip")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - the kernel's own name of an interface
            [program, "-j", "-d", "link", "show", name], capture_output=True, timeout=0.5, check=True
        )
        told: Any = json.loads(done.stdout)
        bitrate = told[0]["linkinfo"]["info_data"]["bittiming"]["bitrate"]
    except (OSError, ValueError, LookupError, TypeError, subprocess.SubprocessError):
        return None
    return int(bitrate)


def _kernel_interfaces(root: Path) -> Iterable[Candidate]:
    for folder in sorted((root / "sys/class/net").glob("*")):
        if _read(folder / "type") != _ARPHRD_CAN:
            continue
        name = folder.name
        up = int(_read(folder / "flags") or "0", 16) & _IFF_UP
        if up:
            options = ("-i", "socketcan", "-c", name)
            yield Candidate("socketcan", name, "SocketCAN", options, _bitrate_of(name))
        else:
            command = f"sudo ip link set {name} up type can bitrate 500000"
            yield Candidate("socketcan", name, "SocketCAN", why=_DOWN, fix=Text(command, command))


def _usb_without_driver(root: Path) -> Iterable[Candidate]:
    for device in sorted((root / "sys/bus/usb/devices").glob("*")):
        vendor, product = _read(device / "idVendor"), _read(device / "idProduct")
        if not vendor or not product:
            continue
        driver, name = _KERNEL_USB.get((int(vendor, 16), int(product, 16)), ("", ""))
        if driver and not any(device.glob("*/net/*")):
            command = f"sudo modprobe {driver}"
            fix = Text(f"{command}, then unplug it and plug it in", f"{command}，然后重新插拔")
            yield Candidate("usb", f"{vendor}:{product}", name, why=_NO_INTERFACE, fix=fix)


def _until(port: Any, ends: bytes, limit_s: float) -> bytes:
    """What arrives until one of these bytes, or the time is over."""
    got = bytearray()
    end = time.monotonic() + limit_s
    while time.monotonic() < end and not any(byte in ends for byte in got[-1:]):
        got += port.read(max(1, port.in_waiting))
    return bytes(got)


def _who(port: Any) -> tuple[str, str] | None:
    """Kind and name of what answers at this speed: two bytes that mean nothing, then the question of each protocol."""
    port.reset_input_buffer()
    port.write(b"\x7f\x7f\r")
    if b">" in _until(port, b">", _ANSWER_S):
        port.write(b"ATI\r")
        told = _until(port, b">", 4 * _ANSWER_S).decode("ascii", "replace")
        lines = [line.strip(" >") for line in told.replace("\n", "\r").split("\r")]
        name = next((line for line in lines if line and line not in ("ATI", "?")), "ELM327")
        return "elm327", name[:40]
    port.reset_input_buffer()
    port.write(b"V\r")
    told = _until(port, b"\r\a", _ANSWER_S).decode("ascii", "replace").strip("\r\a ")
    if told.startswith("V") and 1 < len(told) <= 20:
        return "slcan", f"slcan {told}"
    return None


def _probe(channel: str, chip: str) -> Candidate:
    """Asks what is at a serial port who it is."""
    import serial

    try:
        claim = claim_port(channel)
    except OSError as exc:
        return _rejected(channel, chip, exc)
    try:
        is_terminal = channel.startswith(("/dev/pts/", "/dev/ttyACM"))  # without a speed of its own
        with serial.Serial(channel, _BAUDS[0], timeout=0.02, write_timeout=0.5) as port:
            for baud in _BAUDS[: 1 if is_terminal else None]:
                port.baudrate = baud
                found = _who(port)
                if found is None:
                    continue
                kind, name = found
                speed = "" if is_terminal or baud == _BAUDS[0] else f"@{baud}"
                if kind == "elm327":
                    at = channel if is_terminal else f"{channel}@{baud}"
                    return Candidate(kind, channel, name, ("--adapter", f"elm327:{at}"))
                return Candidate(kind, channel, name, ("-i", "slcan", "-c", channel + speed))
    except (OSError, ValueError) as exc:  # pyserial's errors are OSErrors
        return _rejected(channel, chip, exc)
    finally:
        claim.release()
    return Candidate("serial", channel, chip, why=_MUTE)


def _rejected(channel: str, chip: str, error: Exception) -> Candidate:
    number = getattr(error, "errno", None)
    if number in (errno.EACCES, errno.EPERM):
        command = "sudo usermod -aG dialout $USER"
        fix = Text(f"{command}, then log out and in", f"{command}，然后重新登录")
        return Candidate("serial", channel, chip, why=_FORBIDDEN, fix=fix)
    if number == errno.EBUSY:
        fix = Text(f"end it (fuser {channel} names it)", f"请结束该程序（fuser {channel} 可查出）")
        return Candidate("serial", channel, chip, why=_IN_USE, fix=fix)
    reason = getattr(error, "strerror", None) or str(error)
    return Candidate("serial", channel, chip, why=Text(reason, reason))


def _serial_ports() -> list[tuple[str, str | None]]:
    """Ports and their chip's name; None for a chip that is not spoken to. Ports of the mainboard are left out."""
    from serial.tools.list_ports import comports

    found: list[tuple[str, str | None]] = []
    for port in comports():
        if port.vid is not None:
            found.append((port.device, _SERIAL_CHIPS.get((port.vid, port.pid))))
        elif "rfcomm" in port.device:
            found.append((port.device, "Bluetooth"))
    return found


def plugged_in(root: Path = Path("/")) -> tuple[tuple[str, str], ...]:
    """Name and channel of what is an adapter by its kind or its chip, without opening or asking anything."""
    found = [(one.name, one.channel) for one in _kernel_interfaces(root) if one.is_usable]
    return tuple(found + [(chip, channel) for channel, chip in _serial_ports() if chip is not None])


def find_adapters(named: Sequence[str] = (), *, root: Path = Path("/")) -> tuple[Candidate, ...]:
    """Looks for adapters; takes less than a second however many ports there are.

    Args:
        named: serial ports to ask whatever chip they have.
        root: where ``sys`` is, for tests.

    Returns:
        Usable ones first.
    """
    ports: dict[str, str | None] = dict(_serial_ports())
    ports.update(dict.fromkeys(named, "serial port"))
    asked = [(channel, chip) for channel, chip in ports.items() if chip is not None]
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        probed = [pool.submit(_probe, *pair) for pair in asked]
        found = [*_kernel_interfaces(root), *_usb_without_driver(root)]
        found += [one.result() for one in probed]
    found += [Candidate("serial", channel, "USB", why=_STRANGER) for channel, chip in ports.items() if chip is None]
    return tuple(sorted(found, key=lambda one: not one.is_usable))


def listen_to(adapter: Candidate, bitrates: Sequence[int], seconds: float) -> Heard:
    """Listens to the bus behind an adapter, at each speed until something is heard; nothing is sent, not even ACK.

    Args:
        adapter: a usable ``slcan`` or ``socketcan`` one; a speed of the kernel's is not changed.
        bitrates: bit/s to try.
        seconds: per speed.

    Raises:
        OSError: it cannot be opened.
    """
    heard = Heard()
    for bitrate in bitrates if adapter.kind == "slcan" else (adapter.bitrate,):
        part = _listen(adapter, bitrate, seconds)
        heard.errors += part.errors
        if bitrate is not None:
            heard.tried.append(bitrate)
        if part.frames:
            part.tried, part.errors = heard.tried, heard.errors
            return part
    return heard


def _listen(adapter: Candidate, bitrate: int | None, seconds: float) -> Heard:
    from diag.pythoncan import can

    options: dict[str, Any] = {"interface": adapter.kind, "channel": adapter.channel}
    if adapter.kind == "slcan":
        options |= {"bitrate": bitrate, "listen_only": True, "sleep_after_open": 0.0}
        options["channel"] = adapter.options[-1]
    try:
        bus = can.Bus(**options)
    except can.CanError as exc:
        raise OSError(str(exc)) from exc
    frames, errors, identifiers = 0, 0, set()
    with bus:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            message = bus.recv(left)
            if message is None:
                continue
            if message.is_error_frame:
                errors += 1
            else:
                frames += 1
                identifiers.add((message.arbitration_id, message.is_extended_id))
    return Heard(bitrate, frames / seconds, len(identifiers), errors)
