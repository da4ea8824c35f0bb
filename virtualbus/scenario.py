"""Scenarios: which car, which seed, what is broken. Built in, or a TOML file.

::

    vehicle = "ev400"
    seed = 7                                     # optional: another seed, another car of the same kind
    title = { en = "…", zh = "…" }               # optional

    [[faults]]
    kind = "weak-cell"
    cell = 31                                    # optional: what is left open is drawn from the seed
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from virtualbus.errors import Phrase, ScenarioBroken, ScenarioUnknown
from virtualbus.faults import FAULTS, Fault, Setting, settings_of

__all__ = ["Scenario", "find_scenario", "load_scenario", "scenario_names"]

_FOLDER: Final = Path(__file__).parent / "bundled"
_VEHICLES: Final = ("ev400",)
_KEYS: Final = ("vehicle", "seed", "title", "faults")
_MAX_BYTES: Final = 64 * 1024
_MAX_FAULTS: Final = 16
_MAX_SEED: Final = 2**32 - 1
_FIRST: Final = "healthy"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One car with what is wrong with it.

    Args:
        seed: given by the file, None when it leaves it to the caller.
    """

    name: str
    title: Phrase
    vehicle: str
    faults: tuple[Fault, ...]
    seed: int | None = None


def scenario_names() -> tuple[str, ...]:
    """Names of the built-in scenarios, the sound car first."""
    return tuple(sorted((path.stem for path in _FOLDER.glob("*.toml")), key=lambda name: (name != _FIRST, name)))


def find_scenario(name: str) -> Scenario:
    """A built-in scenario by its name, or a scenario file by its path.

    Raises:
        ScenarioUnknown: neither exists.
        ScenarioBroken: the file has a mistake.
    """
    if name in scenario_names():
        return load_scenario(_FOLDER / f"{name}.toml")
    path = Path(name)
    if not path.is_file():
        raise ScenarioUnknown(name, ", ".join(scenario_names()))
    return load_scenario(path)


def load_scenario(path: Path) -> Scenario:
    """Reads a scenario file.

    Raises:
        ScenarioBroken: not readable, not TOML, or a key that does not fit; the error names line and key.
    """
    try:
        raw = path.read_bytes()[: _MAX_BYTES + 1]
        if len(raw) > _MAX_BYTES:
            raise ScenarioBroken(
                str(path), Phrase("the file", "文件"), Phrase(f"over {_MAX_BYTES} bytes", f"超过 {_MAX_BYTES} 字节")
            )
        text = raw.decode("utf-8")
        table = tomllib.loads(text)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise ScenarioBroken(str(path), Phrase("the file", "文件"), Phrase(reason, reason)) from exc
    except UnicodeDecodeError as exc:
        line = raw[: exc.start].count(b"\n") + 1
        raise ScenarioBroken(
            str(path), Phrase(f"line {line}", f"第 {line} 行"), Phrase("not UTF-8 text", "不是 UTF-8 文本")
        ) from exc
    except tomllib.TOMLDecodeError as exc:
        found = re.search(r"\(at line (\d+)", str(exc))
        line = int(found[1]) if found else text.count("\n") + 1
        reason = re.sub(r"\s*\(at .*\)$", "", str(exc))
        raise ScenarioBroken(
            str(path), Phrase(f"line {line}", f"第 {line} 行"), Phrase(f"not TOML: {reason}", f"不是 TOML：{reason}")
        ) from exc
    return _Reader(path, text).scenario(table)


class _Reader:
    """Checks one parsed file; knows the lines of its keys."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def scenario(self, table: dict[str, Any]) -> Scenario:
        for key in table:
            if key not in _KEYS:
                self._refuse(key, *self._unknown(_KEYS))
        vehicle = table.get("vehicle", _VEHICLES[0])
        if vehicle not in _VEHICLES:
            self._refuse("vehicle", f"is not one of {', '.join(_VEHICLES)}", f"只能是 {'、'.join(_VEHICLES)}")
        seed = table.get("seed")
        if seed is not None and (type(seed) is not int or not 0 <= seed <= _MAX_SEED):
            self._refuse("seed", f"must be a whole number 0..{_MAX_SEED}", f"必须是 0..{_MAX_SEED} 的整数")
        faults = table.get("faults", [])
        if not isinstance(faults, list) or len(faults) > _MAX_FAULTS:
            self._refuse("faults", f"must be at most {_MAX_FAULTS} [[faults]]", f"最多写 {_MAX_FAULTS} 个 [[faults]]")
        made = tuple(self._fault(fault, number) for number, fault in enumerate(faults))
        name = self._path.stem
        return Scenario(name, self._title(table.get("title"), name), vehicle, made, seed)

    def _title(self, title: Any, name: str) -> Phrase:
        if title is None:
            return Phrase(name, name)
        if isinstance(title, str):
            return Phrase(title, title)
        if (
            not isinstance(title, dict)
            or set(title) != {"en", "zh"}
            or not all(isinstance(v, str) for v in title.values())
        ):
            self._refuse("title", "must be a text or { en, zh }", "必须是文本或 { en, zh }")
        return Phrase(title["en"], title["zh"])

    def _fault(self, table: Any, number: int) -> Fault:
        if not isinstance(table, dict):
            self._refuse("faults", "must be written as [[faults]]", "必须写成 [[faults]]")
        start = self._fault_line(number)
        kind = table.get("kind")
        if kind not in FAULTS:
            self._refuse("kind", f"is not one of {', '.join(FAULTS)}", f"只能是 {'、'.join(FAULTS)}", start)
        fault = FAULTS[kind]
        settings = settings_of(fault)
        given = {key: value for key, value in table.items() if key != "kind"}
        for key, value in given.items():
            if key not in settings:
                self._refuse(key, *self._unknown(("kind", *settings)), start)
            self._check(key, value, settings[key], start)
        return fault(**given)

    def _check(self, key: str, value: Any, setting: Setting, start: int) -> None:
        low, high = setting.low, setting.high
        if setting.kind == "text":
            if not isinstance(value, str) or (setting.choices and value not in setting.choices):
                words = ", ".join(setting.choices) or "text"
                self._refuse(key, f"must be one of: {words}", f"只能是：{words}", start)
            if setting.pattern and not re.fullmatch(setting.pattern, value):
                self._refuse(key, f"must look like {setting.example}", f"格式应为 {setting.example}", start)
            return
        wanted = (int,) if setting.kind == "integer" else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted) or not low <= value <= high:
            whole = ("a whole number ", "整数") if setting.kind == "integer" else ("a number ", "数值")
            self._refuse(key, f"must be {whole[0]}{low:g}..{high:g}", f"必须是 {low:g}..{high:g} 的{whole[1]}", start)

    @staticmethod
    def _unknown(known: tuple[str, ...]) -> tuple[str, str]:
        return f"is not known here; known are {', '.join(known)}", f"无此项，可用的有 {'、'.join(known)}"

    def _fault_line(self, number: int) -> int:
        heads = [at for at, line in enumerate(self._lines) if re.match(r"\s*\[\[\s*faults\s*\]\]", line)]
        return heads[number] if number < len(heads) else 0

    def _refuse(self, key: str, en: str, zh: str, start: int = 0) -> Any:
        pattern = re.compile(rf"(.*[{{,])?\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
        at = next((n for n in range(start, len(self._lines)) if pattern.match(self._lines[n])), start)
        raise ScenarioBroken(
            str(self._path), Phrase(f"line {at + 1}, key '{key}'", f"第 {at + 1} 行，键“{key}”"), Phrase(en, zh)
        )
