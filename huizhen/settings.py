"""Settings that stay: the configuration file, and the adapter that worked last.

The file is TOML in the platform's folder for configurations; people write it, ``huizhen config set`` changes single
lines of it and keeps their comments. What the program remembers by itself stands in a file of its own beside it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from huizhen.errors import BadSettings
from huizhen.files import write_json

__all__ = ["KEYS", "Remembered", "config_folder", "forget", "load_settings", "recall", "remember", "set_value"]

KEYS: Final = {
    "lang": ("zh", "en"),
    "interface": str,
    "channel": str,
    "bitrate": int,
    "adapter": str,
    "library": str,
}
"""Setting -> what it may be: one of several words, any text, or a whole number above 0."""

_FILE: Final = "config.toml"
_REMEMBERED: Final = "adapter.json"


def config_folder() -> Path:
    """``$XDG_CONFIG_HOME/huizhen`` on Linux, the usual places elsewhere."""
    base = os.environ.get("XDG_CONFIG_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "huizhen"
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
    return value


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
    return {key: _checked(path, key, value) for key, value in found.items()}


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
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.is_file() else tomlkit.document()
    if typed is None:
        document.pop(key, None)
    else:
        document[key] = typed
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


def forget() -> bool:
    """Forgets the adapter; False where none was kept."""
    try:
        (config_folder() / _REMEMBERED).unlink()
    except OSError:
        return False
    return True
