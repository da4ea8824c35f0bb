"""Scenarios: which car, in which weather, what it does, what is broken. Built in, or a TOML file.

::

    vehicle = "ev400"
    seed = 7                                     # optional: another seed, another car of the same kind
    title = { en = "…", zh = "…" }               # optional
    now = "ready"                                # optional: ready, drive, charge-ac, charge-dc

    [environment]                                # optional
    ambient_c = -5
    wet = true

    [history]                                    # optional: what years have done
    odometer_km = 84000
    health = 0.92                                # share of the capacity that is left in every cell
    bms_version = "3.3"

    [[cycle]]                                    # optional: what happens before anybody plugs in
    do = "drive"                                 # drive, park, charge-ac, charge-dc
    minutes = 24
    profile = "town"                             # of a drive

    [[faults]]
    kind = "weak-cell"
    severity = 0.7                               # optional
    from_s = 0                                   # optional: seconds after the beginning of the cycle
    cell = 31                                    # optional: what is left open is drawn from the seed

    [[transport]]                                # trouble between tester and ECU
    kind = "delay"
    ecu = "BMS"                                  # optional: all ECUs
    ms = 300
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from virtualbus.driving import PROFILES
from virtualbus.errors import Phrase, ScenarioBroken, ScenarioUnknown
from virtualbus.faults import FAULTS, Fault, Setting
from virtualbus.faults.kinds import DEFAULT_SEVERITY
from virtualbus.vehicles import VEHICLES, Vehicle
from virtualbus.wire import TRANSPORT_KINDS, TransportFault

__all__ = [
    "DEFAULT_CYCLE",
    "Environment",
    "History",
    "Phase",
    "Scenario",
    "find_scenario",
    "load_scenario",
    "scenario_names",
]

_FOLDER: Final = Path(__file__).parent / "bundled"
_KEYS: Final = ("vehicle", "seed", "title", "now", "environment", "history", "cycle", "faults", "transport")
_MAX_BYTES: Final = 64 * 1024
_MAX_FAULTS: Final = 16
_MAX_PHASES: Final = 64
_MAX_SEED: Final = 2**32 - 1
_FIRST: Final = "healthy"
_DEEDS: Final = ("drive", "park", "charge-ac", "charge-dc")
_NOW: Final = ("ready", "drive", "charge-ac", "charge-dc")
_MAX_FROM_S: Final = 1e8


@dataclass(frozen=True, slots=True)
class Environment:
    """The weather.

    Args:
        ambient_c: degrees Celsius; None = drawn, 12 to 27.
        wet: rain.
    """

    ambient_c: float | None = None
    wet: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """What years have done to the car; wear, not faults.

    Args:
        odometer_km: None = drawn.
        health: share of the capacity that is left in every cell.
        bms_version: program of the BMS, ``major.minor``; None = the newest.
    """

    odometer_km: float | None = None
    health: float = 1.0
    bms_version: str | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of the cycle.

    Args:
        do: ``drive``, ``park``, ``charge-ac`` or ``charge-dc``.
        minutes: how long.
        profile: of a drive.
    """

    do: str
    minutes: float
    profile: str = "mixed"


DEFAULT_CYCLE: Final = (Phase("drive", 24.0), Phase("park", 45.0))


@dataclass(frozen=True, slots=True)
class Scenario:
    """One car with what is wrong with it.

    Args:
        vehicle: of :data:`~virtualbus.vehicles.VEHICLES`.
        seed: given by the file, None when it leaves it to the caller.
        cycle: what happens before anybody plugs in.
        now: what the car does while somebody is connected.
    """

    name: str
    title: Phrase
    vehicle: str
    faults: tuple[Fault, ...] = ()
    seed: int | None = None
    environment: Environment = field(default_factory=Environment)
    cycle: tuple[Phase, ...] = DEFAULT_CYCLE
    now: str = "ready"
    history: History = field(default_factory=History)
    transport: tuple[TransportFault, ...] = ()


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
        vehicle = VEHICLES[self._word(table, "vehicle", tuple(VEHICLES), "ev400")]
        seed = table.get("seed")
        if seed is not None and (type(seed) is not int or not 0 <= seed <= _MAX_SEED):
            self._refuse("seed", f"must be a whole number 0..{_MAX_SEED}", f"必须是 0..{_MAX_SEED} 的整数")
        environment = self._environment(table.get("environment", {}))
        cycle = self._tables(table, "cycle", _MAX_PHASES)
        faults = self._tables(table, "faults", _MAX_FAULTS)
        phases = tuple(self._phase(item, number) for number, item in enumerate(cycle))
        made = tuple(self._fault(item, number, vehicle) for number, item in enumerate(faults))
        name = self._path.stem
        return Scenario(
            name, self._title(table.get("title"), name), vehicle.name, made, seed, environment,
            phases if "cycle" in table else DEFAULT_CYCLE, self._word(table, "now", _NOW, "ready"),
            self._history(table.get("history", {})),
            tuple(
                self._transport(item, number, vehicle)
                for number, item in enumerate(self._tables(table, "transport", _MAX_FAULTS))
            ),
        )  # fmt: skip

    def _word(self, table: dict[str, Any], key: str, words: tuple[str, ...], default: str, start: int = 0) -> str:
        word = table.get(key, default)
        if not isinstance(word, str) or word not in words:
            self._refuse(key, f"is not one of {', '.join(words)}", f"只能是 {'、'.join(words)}", start)
        return str(word)

    def _tables(self, table: dict[str, Any], key: str, most: int) -> list[Any]:
        found = table.get(key, [])
        if not isinstance(found, list) or len(found) > most or not all(isinstance(item, dict) for item in found):
            self._refuse(key, f"must be at most {most} [[{key}]]", f"最多写 {most} 个 [[{key}]]")
        return list(found)

    def _environment(self, table: Any) -> Environment:
        if not isinstance(table, dict):
            self._refuse("environment", "must be written as [environment]", "必须写成 [environment]")
        start = self._head("environment", 0)
        for key in table:
            if key not in ("ambient_c", "wet"):
                self._refuse(key, *self._unknown(("ambient_c", "wet")), start)
        if "ambient_c" in table:
            self._check("ambient_c", table["ambient_c"], "number", (-40.0, 60.0), start)
        wet = table.get("wet", False)
        if type(wet) is not bool:
            self._refuse("wet", "must be true or false", "必须是 true 或 false", start)
        ambient_c = table.get("ambient_c")
        return Environment(None if ambient_c is None else float(ambient_c), wet)

    def _history(self, table: Any) -> History:
        if not isinstance(table, dict):
            self._refuse("history", "must be written as [history]", "必须写成 [history]")
        start = self._head("history", 0)
        known = {"odometer_km": (0.0, 1e6), "health": (0.4, 1.0)}
        for key, value in table.items():
            if key in known:
                self._check(key, value, "number", known[key], start)
            elif key != "bms_version":
                self._refuse(key, *self._unknown((*known, "bms_version")), start)
        version = table.get("bms_version")
        if version is not None and not (isinstance(version, str) and re.fullmatch(r"\d{1,2}\.\d{1,2}", version)):
            self._refuse("bms_version", "must look like 3.3", "格式应为 3.3", start)
        km = table.get("odometer_km")
        return History(None if km is None else float(km), float(table.get("health", 1.0)), version)

    def _phase(self, table: dict[str, Any], number: int) -> Phase:
        start = self._head("cycle", number)
        for key in table:
            if key not in ("do", "minutes", "profile"):
                self._refuse(key, *self._unknown(("do", "minutes", "profile")), start)
        if "do" not in table or "minutes" not in table:
            self._refuse("cycle", "needs 'do' and 'minutes'", "必须有 do 和 minutes", start)
        do = self._word(table, "do", _DEEDS, "", start)
        low, high = (3.0, 600.0) if do == "drive" else (1.0, 60_000.0 if do == "park" else 1_440.0)
        self._check("minutes", table["minutes"], "number", (low, high), start)
        profile = self._word(table, "profile", tuple(PROFILES), "mixed", start)
        return Phase(do, float(table["minutes"]), profile)

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

    def _fault(self, table: dict[str, Any], number: int, vehicle: Vehicle) -> Fault:
        start = self._head("faults", number)
        kinds = tuple(name for name, kind in FAULTS.items() if kind.fits(vehicle))
        name = table.get("kind")
        if name not in kinds:
            self._refuse("kind", f"is not one of {', '.join(kinds)}", f"只能是 {'、'.join(kinds)}", start)
        kind = FAULTS[str(name)]
        given = {key: value for key, value in table.items() if key not in ("kind", "severity", "from_s")}
        for key, value in given.items():
            if key not in kind.settings:
                self._refuse(key, *self._unknown(("kind", "severity", "from_s", *kind.settings)), start)
            self._check_setting(key, value, kind.settings[key], vehicle, start)
        severity, from_s = table.get("severity", DEFAULT_SEVERITY), table.get("from_s", kind.from_s)
        self._check("severity", severity, "number", (0.0, 1.0), start)
        if from_s is not None:
            self._check("from_s", from_s, "number", (0.0, _MAX_FROM_S), start)
        return Fault(kind, given, float(severity), None if from_s is None else float(from_s))

    def _transport(self, table: dict[str, Any], number: int, vehicle: Vehicle) -> TransportFault:
        start = self._head("transport", number)
        kind = self._word(table, "kind", tuple(TRANSPORT_KINDS), "", start)
        known = TRANSPORT_KINDS[kind]
        figures = {name: default for name, (_, _, default) in known.items()}
        for key, value in table.items():
            if key in known:
                self._check(key, value, "number", known[key][:2], start)
                figures[key] = float(value)
            elif key not in ("kind", "ecu"):
                self._refuse(key, *self._unknown(("kind", "ecu", *known)), start)
        ecu = self._word(table, "ecu", vehicle.ecus, vehicle.ecus[0], start) if "ecu" in table else None
        return TransportFault(kind, ecu, figures)

    def _check_setting(self, key: str, value: Any, setting: Setting, vehicle: Vehicle, start: int) -> None:
        words = setting.words(vehicle)
        if setting.kind == "text" or words:
            if not isinstance(value, str) or (words and value not in words):
                listed = ", ".join(words) or "text"
                self._refuse(key, f"must be one of: {listed}", f"只能是：{listed}", start)
            if setting.pattern and not re.fullmatch(setting.pattern, value):
                self._refuse(key, f"must look like {setting.example}", f"格式应为 {setting.example}", start)
            return
        self._check(key, value, "number" if setting.kind == "number" else "integer", setting.bounds(vehicle), start)

    def _check(self, key: str, value: Any, kind: str, bounds: tuple[float, float], start: int) -> None:
        low, high = bounds
        wanted = (int,) if kind == "integer" else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted) or not low <= value <= high:
            whole = ("a whole number ", "整数") if kind == "integer" else ("a number ", "数值")
            self._refuse(key, f"must be {whole[0]}{low:g}..{high:g}", f"必须是 {low:g}..{high:g} 的{whole[1]}", start)

    @staticmethod
    def _unknown(known: tuple[str, ...]) -> tuple[str, str]:
        return f"is not known here; known are {', '.join(known)}", f"无此项，可用的有 {'、'.join(known)}"

    def _head(self, name: str, number: int) -> int:
        heads = [at for at, line in enumerate(self._lines) if re.match(rf"\s*\[\[?\s*{re.escape(name)}\s*\]\]?", line)]
        return heads[number] if number < len(heads) else 0

    def _refuse(self, key: str, en: str, zh: str, start: int = 0) -> Any:
        pattern = re.compile(rf"(.*[{{,])?\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
        at = next((n for n in range(start, len(self._lines)) if pattern.match(self._lines[n])), start)
        raise ScenarioBroken(
            str(self._path), Phrase(f"line {at + 1}, key '{key}'", f"第 {at + 1} 行，键“{key}”"), Phrase(en, zh)
        )
