"""The battery by asking: the requests of a signal set, sent one by one, where no broadcast frames arrive.

Only reading requests of the default session are sent (services 01 and 22), and only those whose answer holds a value of
the traction battery. The numbers before the set's limits count, because published limits are often those of another
variant; what no battery can have is rejected by the judging of the battery and listed there.

Standard: ISO 14229-1:2020 §11.2 (22), SAE J1979 (01).
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from dbc.errors import NothingUsable
from dbc.signalset.decoding import decode_payload
from diag.addressing import FUNCTIONAL_11, FUNCTIONAL_29, Target
from diag.answers import ask
from diag.errors import NoAnswer, RefusedByPolicy, RemoteProtocolError
from diag.facts import Reading, Text
from diag.samples import Series

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dbc.signalset.model import Command, Signal, SignalSet
    from diag.answers import Answer, RequestLink

__all__ = ["BatteryQuestion", "Polled", "find_battery_questions", "poll_battery"]

_READING_SERVICES: Final = frozenset({0x01, 0x22})
_MOST_SILENCE: Final = 2
_MOST_QUESTIONS: Final = 400

_NOT_TRACTION: Final = re.compile(
    r"12\s?v|aux|start/stop|charger|target|request|limit|max|min|average|sum", re.IGNORECASE
)
_CELL: Final = re.compile(r"cell (?:\d+ )?voltage\D*(\d+)$|cell\D*(\d+),? voltage$", re.IGNORECASE)
_PROBE: Final = re.compile(r"(?:module|pack|cell)\b\D*(\d+)\)?$", re.IGNORECASE)
_PACK_V: Final = re.compile(r"^(?:hv|high voltage) battery,? voltage(?: \(dc\))?$", re.IGNORECASE)
_PACK_A: Final = re.compile(r"^(?:hv|high voltage) battery,? current$", re.IGNORECASE)
_NEAR_V: Final = re.compile(r"^battery (?:dc )?voltage$", re.IGNORECASE)
_NEAR_A: Final = re.compile(r"^battery (?:dc )?current$", re.IGNORECASE)
_INSULATION: Final = re.compile(r"\b(?:isolation|insulation)\b.*\bresistance", re.IGNORECASE)


def _number(found: re.Match[str] | None) -> int | None:
    """The number that a pattern found, whichever of its groups it is in."""
    digits = "".join(re.findall(r"\d+", next((group for group in found.groups() if group), ""))) if found else ""
    return int(digits) if 0 < len(digits) <= 4 else None


def _certain_name(signal: Signal, groups: Mapping[str, str]) -> str | None:
    """What a value is, where the set says so beyond doubt."""
    title, unit = signal.title, signal.unit
    if unit == "V":
        pattern = groups.get("batteryModulesVoltage")
        cell = _number(_CELL.search(title) or (re.fullmatch(pattern, signal.name) if pattern else None))
        if cell is not None:
            return f"CellVoltage_{cell:03d}"
        if signal.metric == "tractionBatteryVoltage" or _PACK_V.search(title):
            return "PackVoltage"
    if unit == "A" and (signal.metric == "tractionBatteryCurrent" or _PACK_A.search(title)):
        return "PackCurrent"
    if unit == "%" and signal.metric == "stateOfCharge" and not _NOT_TRACTION.search(title):
        return "StateOfCharge"
    if unit == "kOhm" and _INSULATION.search(title):
        return "InsulationResistance"
    return None


def _likely_name(signal: Signal) -> str | None:
    """What a value is when it stands in one answer with a certain one: short titles could mean the 12 V battery."""
    if signal.unit == "V" and _NEAR_V.search(signal.title):
        return "PackVoltage"
    if signal.unit == "A" and _NEAR_A.search(signal.title):
        return "PackCurrent"
    if signal.unit == "degC" and signal.path.startswith("Battery") and not _NOT_TRACTION.search(signal.title):
        probe = _number(_PROBE.search(signal.title))
        return None if probe is None else f"CellTemp_{probe:02d}"
    return None


@dataclass(frozen=True, slots=True)
class BatteryQuestion:
    """One request of a set whose answer says something about the traction battery.

    Args:
        names: the set's signal name -> ours, which :func:`diag.battery.battery_from_series` knows.
    """

    target: Target
    command: Command
    names: Mapping[str, str]


def find_battery_questions(signal_set: SignalSet, year: int | None = None) -> tuple[BatteryQuestion, ...]:
    """The reading requests of a set that tell of the traction battery, for a car of this model year.

    Left out are requests of other services, in other sessions, with an address byte in the frames, to everybody, and
    those that do not say who answers.
    """
    found = []
    for command in signal_set.commands:
        target = _target(command)
        if target is None or not command.years.admits(year):
            continue
        names = {signal.name: name for signal in command.signals if (name := _certain_name(signal, signal_set.groups))}
        is_battery = bool(names) or any(signal.path.startswith("Battery.Modules") for signal in command.signals)
        for signal in command.signals if is_battery else ():
            if signal.name not in names and (name := _likely_name(signal)):
                names[signal.name] = name
        if names:
            found.append(BatteryQuestion(target, command, names))
    return tuple(found[:_MOST_QUESTIONS])


def _target(command: Command) -> Target | None:
    address = command.address
    response_id = address.response_id
    is_plain = command.session in (None, 1) and address.extended is None and command.service in _READING_SERVICES
    if not is_plain or response_id is None or address.request_id in {FUNCTIONAL_11, FUNCTIONAL_29}:
        return None
    return Target(address.request_id, response_id, address.is_29bit)


@dataclass(frozen=True, slots=True)
class Polled:
    """What one round of asking gave.

    Args:
        set_name: the signal set.
        series: our signal name -> one value.
        readings: every value by the set's own name, with its raw bytes.
        asked: requests that were sent.
        answered: requests with a positive answer.
        failures: requests without one, and why.
    """

    set_name: str
    series: Mapping[str, Series]
    readings: tuple[Reading, ...]
    asked: int
    answered: int
    failures: tuple[tuple[str, Text], ...] = ()

    @property
    def source(self) -> str:
        """Where figures from this round come from."""
        return f"polled:{self.set_name}"


@dataclass(slots=True)
class _Round:
    """One round while it runs."""

    link: RequestLink
    timeout_s: float | None
    answers: list[tuple[BatteryQuestion, Answer]]
    failures: list[tuple[str, Text]]
    asked: int = 0

    async def ask_ecu(self, questions: list[BatteryQuestion]) -> None:
        """Asks one ECU everything; gives up where it stays silent from the start, or where nothing may be sent."""
        silent, has_answered = 0, False
        for question in questions:
            if silent >= _MOST_SILENCE and not has_answered:
                self._fail(question, Text("not asked: nothing came before", "未请求：此前没有应答"))
                continue
            self.asked += 1
            try:
                answer = await ask(self.link, question.target, question.command.request, timeout_s=self.timeout_s)
            except NoAnswer:
                silent += 1
                self._fail(question, Text("no answer", "无应答"))
                continue
            except RemoteProtocolError as error:
                reason = error.reason
                self._fail(question, reason if isinstance(reason, Text) else Text(reason, reason))
                continue
            except RefusedByPolicy:
                silent = _MOST_SILENCE
                self.asked -= 1
                self._fail(question, Text("the guard lets nothing out to this address", "安全策略不允许向该地址发送"))
                continue
            has_answered = True
            if (negative := answer.negative) is not None:
                self._fail(question, Text(f"refused: {negative.name}", f"被拒绝：{negative.text.zh}"))
            else:
                self.answers.append((question, answer))

    def _fail(self, question: BatteryQuestion, why: Text) -> None:
        self.failures.append((question.command.text, why))


async def poll_battery(
    link: RequestLink,
    signal_set: SignalSet,
    *,
    year: int | None = None,
    timeout_s: float | None = None,
    instead: Target | None = None,
) -> Polled:
    """Asks once for everything that the set knows of the traction battery; several ECUs side by side.

    Args:
        link: to the vehicle; its guard judges every request.
        signal_set: the car's.
        year: model year, for commands that only some years have.
        timeout_s: per answer; None is the link's own time.
        instead: the battery's ECU where the link has other addresses than the CAN identifiers of the set. It is asked
            when all questions of the set go to one ECU, which then is this one; else nothing is asked.

    Raises:
        LinkLost: the adapter went away.
    """
    by_ecu: dict[Target, list[BatteryQuestion]] = {}
    wanted = _redirected(find_battery_questions(signal_set, year), instead)
    for question in wanted:
        by_ecu.setdefault(question.target, []).append(question)
    current = _Round(link, timeout_s, [], [])
    await asyncio.gather(*(current.ask_ecu(questions) for questions in by_ecu.values()))
    places = {id(question): at for at, question in enumerate(wanted)}
    series: dict[str, Series] = {}
    readings: list[Reading] = []
    for question, answer in sorted(current.answers, key=lambda item: places[id(item[0])]):
        try:
            for name, item, reading in _values(question, answer):
                readings.append(reading)
                if item is not None and (name not in series or not series[name].valid.any()):
                    series[name] = item
        except NothingUsable as error:
            current.failures.append((question.command.text, Text(str(error.reason), getattr(error.reason, "zh", ""))))
    return Polled(
        signal_set.name,
        _without_empty_places(series),
        tuple(readings),
        current.asked,
        len(current.answers),
        tuple(current.failures),
    )


def _redirected(questions: tuple[BatteryQuestion, ...], instead: Target | None) -> tuple[BatteryQuestion, ...]:
    if instead is None:
        return questions
    is_one = len({question.target for question in questions}) == 1
    return tuple(replace(question, target=instead) for question in questions) if is_one else ()


def _values(question: BatteryQuestion, answer: Answer) -> Iterator[tuple[str, Series | None, Reading]]:
    """The values of one answer: our name, the value as a series where it is of the battery, and as a reading."""
    samples = decode_payload(question.command, answer.payload)
    for signal in question.command.signals:
        sample = samples[signal.name]
        value = sample.value if sample.unclamped is None else sample.unclamped
        reading = Reading(signal.name, value, signal.unit, sample.raw)
        name = question.names.get(signal.name)
        item = None
        if name is not None and not isinstance(value, str) and sample.raw:
            item = Series(
                name,
                signal.unit,
                np.array([answer.t_ns], dtype=np.int64),
                np.array([np.nan if value is None else value], dtype=np.float64),
                np.array([value is not None]),
            )
        yield name or "", item, reading


def _without_empty_places(series: Mapping[str, Series]) -> dict[str, Series]:
    """Leaves out the places behind the last cell: sets cover the largest pack, and a smaller one reports 0 V there."""
    cells = sorted(name for name in series if name.startswith("CellVoltage_"))
    while cells and not (series[cells[-1]].values > 0).any():
        cells.pop()
    return {name: item for name, item in series.items() if not name.startswith("CellVoltage_") or name in cells}
