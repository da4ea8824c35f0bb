"""Settings that stay: the configuration file, and the adapter that worked last.

The file is TOML in the platform's folder for configurations; people write it, ``huizhen config set`` changes single
lines of it and keeps their comments. What the program remembers by itself stands in a file of its own beside it.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from huizhen.errors import BadSettings, NoHome

__all__ = [
    "INTERFACES",
    "KEYS",
    "Remembered",
    "apply_own_limits",
    "config_folder",
    "find_home",
    "forget",
    "from_environment",
    "load_settings",
    "recall",
    "remember",
    "set_value",
]

KEYS: Final = {
    "lang": ("zh", "en"),
    "interface": str,
    "channel": str,
    "bitrate": int,
    "adapter": str,
    "library": str,
    "room.position": ("off", "coarse", "on"),
    "room.regions": str,
    "room.retention-days": int,
}
"""Setting -> what it may be: one of several words, any text, or a whole number above 0."""

_BY_ENVIRONMENT: Final = ("lang", "interface", "channel", "bitrate", "adapter")

INTERFACES: Final = (
    "canalystii", "cantact", "etas", "gs_usb", "iscan", "ixxat", "kvaser", "neousys", "neovi", "nican", "nixnet",
    "pcan",
    "robotell", "seeedstudio", "serial", "slcan", "socketcan", "socketcand", "systec", "udp_multicast", "usb2can",
    "vector",
    "virtual",
)  # fmt: skip
"""Those of python-can itself; installed plugins bring more."""

_ADAPTER: Final = re.compile(r"(elm327|doip):.+")
_FILE: Final = "config.toml"
_REMEMBERED: Final = "adapter.json"
_LIMITS: Final = "battery.toml"


def find_home() -> None:
    """Sees to it that ``HOME`` names a folder, wherever it is read: the account's where the environment has none.

    Standard: XDG Base Directory 0.8 (a relative path does not count).

    Raises:
        NoHome: the account has none either, and XDG's variables name no folders.
    """
    names = ("XDG_CONFIG_HOME", "XDG_DATA_HOME")
    if str(sys.platform) == "win32" or Path(os.environ.get("HOME", "")).is_absolute():
        return
    os.environ.pop("HOME", None)
    if Path(home := os.path.expanduser("~")).is_absolute():  # noqa: PTH111 - stays "~" where pathlib's raises
        os.environ["HOME"] = home
    elif not all(Path(os.environ.get(name, "")).is_absolute() for name in names):
        raise NoHome


def config_folder() -> Path:
    """``$XDG_CONFIG_HOME/huizhen`` on Linux, the usual places elsewhere."""
    base = os.environ.get("XDG_CONFIG_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "huizhen"
    if str(sys.platform) not in ("win32", "darwin"):
        return Path.home() / ".config" / "huizhen"  # what platformdirs says there; it takes long to import
    import platformdirs

    return Path(platformdirs.user_config_dir("huizhen", appauthor=False))


def _checked(path: Path, key: str, value: object) -> str | int:
    kind = KEYS.get(key)
    if kind is None:
        raise BadSettings(str(path), f"'{key}'", ", ".join(KEYS))
    if isinstance(kind, tuple):
        if value not in kind:
            raise BadSettings(str(path), f"{key} = {value!r}", " | ".join(kind))
        return str(value)
    if kind is int:
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise BadSettings(str(path), f"{key} = {value!r}", "1 …")
        return value
    if not isinstance(value, str) or not value:
        raise BadSettings(str(path), f"{key} = {value!r}", '"…"')
    if key == "adapter" and _ADAPTER.fullmatch(value) is None:
        raise BadSettings(str(path), f"{key} = {value!r}", "elm327:PORT, elm327:HOST:PORT, doip:HOST")
    return value


def _check_interface(path: Path, value: object) -> None:
    """One of python-can's, or of a plugin that is installed here."""
    from importlib.metadata import entry_points

    known = {*INTERFACES, *(entry.name for entry in entry_points(group="can.interface"))}
    if value not in known:
        raise BadSettings(str(path), f"interface = {value!r}", ", ".join(sorted(known)))


def from_environment(key: str) -> str | None:
    """The value that ``HUIZHEN_…`` gives a setting for now; None where it gives none."""
    return os.environ.get(f"HUIZHEN_{key.upper()}") if key in _BY_ENVIRONMENT else None


def load_settings() -> dict[str, str | int]:
    """What the configuration file says; empty where there is none.

    Raises:
        BadSettings: it cannot be read, or says something that is no setting.
    """
    path = config_folder() / _FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(str(path), str(error), "TOML, UTF-8") from error
    import tomllib

    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(str(path), str(error), "TOML") from error
    # [room] with position = "on" is the same as "room.position" = "on".
    flat = {key: value for key, value in found.items() if not isinstance(value, dict)}
    flat |= {
        f"{key}.{name}": inner
        for key, value in found.items()
        if isinstance(value, dict)
        for name, inner in value.items()
    }
    checked = {key: _checked(path, key, value) for key, value in flat.items()}
    _check_regions(path, checked.get("room.regions"))
    return checked


def _check_regions(path: Path, value: object) -> None:
    """A demand that is misspelt would let nobody watch."""
    words = str(value).replace(",", " ").split() if value is not None else []
    if any(re.fullmatch(r"[A-Z][A-Z0-9-]{0,15}", word) is None for word in words):
        raise BadSettings(str(path), f"room.regions = {value!r}", '"CN", "CN, HK"')


def set_value(key: str, value: str | None) -> Path:
    """Writes one setting, or removes it (None); the rest of the file stays as it is.

    Raises:
        BadSettings: no such setting, or not such a value.
        CannotWrite: the file cannot be written.
    """
    import tomlkit

    from huizhen.errors import CannotWrite

    path = config_folder() / _FILE
    load_settings()
    typed: str | int | None = value
    if value is not None and KEYS.get(key) is int:
        with suppress(ValueError):
            typed = int(value)
    if value is not None or key not in KEYS:
        _checked(path, key, typed)
    if key == "room.regions":
        _check_regions(path, typed)
    if key == "interface" and typed is not None:
        _check_interface(path, typed)
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.is_file() else tomlkit.document()
    document.pop(key, None)  # also the quoted spelling, "room.position"
    table, _, name = key.rpartition(".")
    place: Any = document if not table else document.get(table)
    if typed is not None and place is None:
        place = document[table] = tomlkit.table()
    if place is not None:
        place.pop(name, None) if typed is None else place.update({name: typed})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(tomlkit.dumps(document), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise CannotWrite(str(path), error.strerror or str(error)) from error
    return path


@dataclass(frozen=True, slots=True)
class Remembered:
    """The link through which a car answered last.

    Args:
        adapter: as ``--adapter`` takes it; None for a python-can interface.
        protocol: the number of the car's bus at an ELM327, asked for first next time.
    """

    interface: str | None = None
    channel: str | None = None
    bitrate: int | None = None
    adapter: str | None = None
    protocol: str = ""
    options: tuple[str, ...] = field(default=(), compare=False)

    def words(self) -> str:
        """The options that name it."""
        if self.adapter:
            return f"--adapter {self.adapter}"
        bitrate = f" -b {self.bitrate}" if self.bitrate else ""
        return f"-i {self.interface} -c {self.channel}{bitrate}"


def recall() -> Remembered | None:
    """The adapter of last time; None where there was none, or what was kept makes no sense."""
    import json

    try:
        found: dict[str, Any] = json.loads((config_folder() / _REMEMBERED).read_text(encoding="utf-8"))
        bitrate = found.get("bitrate")
        kept = Remembered(
            found.get("interface"),
            found.get("channel"),
            int(bitrate) if bitrate else None,
            found.get("adapter"),
            str(found.get("protocol") or ""),
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return kept if kept.adapter or (kept.interface and kept.channel) else None


def remember(link: Remembered) -> None:
    """Keeps an adapter for next time; where it cannot be written, next time it has to be named again."""
    from huizhen.errors import CannotWrite
    from huizhen.files import write_json

    if recall() == link:
        return
    with suppress(CannotWrite, OSError):
        config_folder().mkdir(parents=True, exist_ok=True)
        write_json(
            str(config_folder() / _REMEMBERED),
            {
                "interface": link.interface,
                "channel": link.channel,
                "bitrate": link.bitrate,
                "adapter": link.adapter,
                "protocol": link.protocol,
            },
        )


def apply_own_limits() -> None:
    """The figures of ``battery.toml`` in the folder of the settings, where there is one.

    Raises:
        BadSettings: it cannot be read, or names something that is no limit.
    """
    from diag.limits import RULES, use_own_limits

    path = config_folder() / _LIMITS
    try:
        use_own_limits(path if path.is_file() else None)
    except (OSError, ValueError, TypeError) as error:
        raise BadSettings(str(path), str(error), f"[limits], [vin.…]; {RULES.name} [limits]") from error


def forget() -> bool:
    """Forgets the adapter; False where none was kept."""
    try:
        (config_folder() / _REMEMBERED).unlink()
    except OSError:
        return False
    return True
