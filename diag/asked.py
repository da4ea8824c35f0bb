"""Live signals of a car that must be asked for each: over an ELM327, or a gateway that lets no broadcast frame through.

Round by round: current data of OBD-II from each ECU that offers any, up to six PIDs per request, and now and then the
battery's values by the car's signal set. A round takes as long as the car needs; each one ends with a block.

Standard: SAE J1979:2017 §6.1 (service 01, up to six PIDs at once on CAN).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from diag.answers import ask
from diag.direct import DirectLink
from diag.errors import NoAnswer
from diag.facts import EcuRole
from diag.obd import CURRENT_DATA, ObdEcu, ObdSession, parse_items
from diag.pids import PIDS
from diag.polling import poll_battery
from diag.samples import SampleBlock, SignalInfo, StreamSchema
from diag.scanparts import target_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Iterator

    from dbc.signalset.model import SignalSet
    from diag.addressing import Target
    from diag.answers import RequestLink
    from diag.vehiclereport import VehicleReport

__all__ = ["AskedStream", "BatteryQuestions"]

_ROUNDS_KEPT: Final = 3
_SHORTEST_AGE_S: Final = 3.0
_BATTERY_EVERY_S: Final = 5.0
_NO_VALUES: Final = frozenset({0x01, 0x02, 0x41})
"""Monitor states and the code of a freeze frame: the report has them."""


@dataclass(frozen=True, slots=True)
class BatteryQuestions:
    """What is asked of the battery; see :func:`diag.polling.poll_battery`."""

    signal_set: SignalSet
    year: int | None = None
    instead: Target | None = None


@dataclass(slots=True)
class _Column:
    info: SignalInfo
    limit_s: float
    value: float = 0.0
    seen_s: float = -np.inf


class AskedStream:
    """Values that are asked for, as blocks. Made by :meth:`of`, which asks everything once to learn the columns.

    Args:
        link: to the vehicle; others may ask beside.
        ecus: who offers OBD-II data, with a name for people.
        battery: what else to ask; None = nothing.
        period_s: least time from block to block.
        timeout_s: per answer.
        stream: number of the stream.

    Attributes:
        taken: how many values the car has given so far.
        round_s: how long the last round took.
    """

    def __init__(
        self,
        link: RequestLink,
        ecus: Iterable[tuple[ObdEcu, str]],
        battery: BatteryQuestions | None,
        *,
        period_s: float,
        timeout_s: float | None,
        stream: int = 0,
    ) -> None:
        self._link, self._battery, self._period_s, self._timeout_s = link, battery, period_s, timeout_s
        self._ecus = tuple(ecus)
        self._session = ObdSession(link, timeout_s=timeout_s)
        self._stream = stream
        self._columns: dict[tuple[str, str], _Column] = {}
        self._wanted: dict[str, list[int]] = {ecu.ecu: sorted(ecu.pids - _NO_VALUES) for ecu, _ in self._ecus}
        self._is_known = False
        self._battery_due_s = -np.inf
        self.taken = 0
        self.round_s = 0.0

    @classmethod
    async def of(
        cls,
        link: RequestLink,
        report: VehicleReport,
        battery: BatteryQuestions | None = None,
        *,
        signals: Collection[str] | None = None,
        with_data: bool = True,
        period_s: float = 0.05,
        timeout_s: float | None = None,
        stream: int = 0,
    ) -> Self:
        """What the ECUs of a report can be asked for.

        Args:
            link: to the vehicle.
            report: who is there.
            battery: what to ask of the battery.
            signals: only these, by name; None = all that have a number.
            with_data: False leaves the current data of OBD-II out.
            period_s: least time from block to block.
            timeout_s: per answer.
            stream: number of the stream.

        Raises:
            LinkLost: the adapter went away.
            RefusedByPolicy: the guard does not even let reading out.
        """
        session = ObdSession(link, timeout_s=timeout_s)
        found: list[tuple[ObdEcu, str]] = []
        for ecu in report.ecus if with_data else ():
            if "obd2" not in ecu.protocol.split("+") or not ecu.request_address:
                continue
            target = target_of(ecu, link)
            first = await _first_map(link, target, timeout_s)
            if first is not None:
                found.append((await session.read_map(target, first), ecu.name or ecu.address))
        made = cls(link, found, battery, period_s=period_s, timeout_s=timeout_s, stream=stream)
        await made._learn(signals)
        return made

    @classmethod
    async def of_car(
        cls,
        link: RequestLink,
        report: VehicleReport,
        signal_set: SignalSet | None,
        *,
        signals: Collection[str] | None = None,
        with_data: bool = True,
        period_s: float = 0.05,
        timeout_s: float | None = None,
    ) -> Self:
        """:meth:`of` with the battery's values, where there is a signal set for this car.

        Through a gateway with addresses of its own (DoIP) the set's CAN identifiers mean nothing: there the one ECU
        that the report knows as the battery's is asked instead, and nobody where there are several.

        Raises:
            LinkLost: the adapter went away.
            RefusedByPolicy: the guard does not even let reading out.
        """
        battery = None
        if signal_set is not None:
            bms = [ecu for ecu in report.ecus if ecu.role is EcuRole.BMS and ecu.request_address]
            is_logical = isinstance(link, DirectLink) and not link.is_can
            instead = target_of(bms[0], link) if is_logical and len(bms) == 1 else None
            battery = BatteryQuestions(signal_set, report.vehicle.model_year, instead)
        return await cls.of(
            link, report, battery, signals=signals, with_data=with_data, period_s=period_s, timeout_s=timeout_s
        )

    @property
    def schema(self) -> StreamSchema:
        """The columns of the blocks."""
        return StreamSchema(self._stream, tuple(one.info for one in self._columns.values()), "asked", "signals")

    async def blocks(self) -> AsyncIterator[SampleBlock]:
        """One block after each round, until the link ends.

        Raises:
            LinkLost: the adapter went away.
        """
        clock = time.monotonic
        due_s = clock()
        while True:
            began_s = clock()
            await self._round()
            yield self.block(time.monotonic_ns(), time.time_ns())
            due_s = max(due_s + self._period_s, began_s)
            await asyncio.sleep(max(0.0, due_s - clock()))

    async def _learn(self, signals: Collection[str] | None) -> None:
        """Asks for everything once: what has a number becomes a column, the rest is not asked for again."""
        await self._round()
        if signals is not None:
            self._columns = {key: one for key, one in self._columns.items() if one.info.name in signals}
        for ecu, numbers in self._wanted.items():
            self._wanted[ecu] = [n for n in numbers if any((ecu, name) in self._columns for name in _names_of(n))]
        if not any(not ecu for ecu, _ in self._columns):
            self._battery = None
        self._is_known = True

    async def _round(self) -> None:
        """Asks everybody once; who is silent keeps its last value until that is too old."""
        clock = time.monotonic
        began_s = clock()
        for ecu, name in self._ecus:
            if wanted := self._wanted[ecu.ecu]:
                answers = await self._session.read_pids(ecu, wanted)
                if not self._is_known:  # what an ECU lists and does not give would be asked for one by one, each round
                    self._wanted[ecu.ecu] = [number for number in wanted if number in answers.data]
                for reading in answers.readings:
                    self._take(ecu.ecu, name, reading.name, reading.unit, reading.value, clock())
        if self._battery is not None and clock() >= self._battery_due_s:
            await self._ask_battery(self._battery)
            self._battery_due_s = clock() + _BATTERY_EVERY_S
        self.round_s = clock() - began_s
        least_s = _ROUNDS_KEPT * self.round_s
        for column in self._columns.values():
            column.limit_s = max(column.limit_s, least_s)

    async def _ask_battery(self, questions: BatteryQuestions) -> None:
        polled = await poll_battery(
            self._link,
            questions.signal_set,
            year=questions.year,
            timeout_s=self._timeout_s,
            instead=questions.instead,
        )
        now_s = time.monotonic()
        for name, series in polled.series.items():
            value = float(series.values[-1]) if series.valid[-1] else None
            self._take("", "", name, series.unit, value, now_s, limit_s=_ROUNDS_KEPT * _BATTERY_EVERY_S)

    def _take(
        self,
        ecu: str,
        who: str,
        name: str,
        unit: str,
        value: float | str | None,
        now_s: float,
        *,
        limit_s: float = _SHORTEST_AGE_S,
    ) -> None:
        if isinstance(value, str) or value is None or not np.isfinite(value):
            return
        column = self._columns.get((ecu, name))
        if column is None:
            if self._is_known:
                return
            is_taken = any(other == name for _, other in self._columns)
            shown = f"{name} ({who or ecu})" if is_taken else name
            column = self._columns[ecu, name] = _Column(SignalInfo(shown, unit, who), limit_s)
        column.value, column.seen_s = float(value), now_s
        self.taken += 1

    def block(self, now_ns: int, t_ns: int) -> SampleBlock:
        """The values as they stand at ``now_ns`` (:func:`time.monotonic_ns`), stamped ``t_ns`` (UTC)."""
        columns, now_s = self._columns.values(), now_ns / 1e9
        values = np.array([one.value for one in columns], dtype=np.float32)
        valid = np.array([now_s - one.seen_s <= one.limit_s for one in columns], dtype=np.bool_)
        return SampleBlock(t_ns, values, valid)


def _names_of(number: int) -> Iterator[str]:
    """The names of a PID's values."""
    pid = PIDS.get(number)
    return iter(()) if pid is None else (field.name for field in pid.fields)


async def _first_map(link: RequestLink, target: Target, timeout_s: float | None) -> bytes | None:
    """The first map of an ECU's PIDs; None where it does not speak OBD-II now."""
    try:
        answer = await ask(link, target, bytes([CURRENT_DATA, 0]), timeout_s=timeout_s)
    except NoAnswer:
        return None
    if answer.negative is not None or not answer.complete:
        return None
    return parse_items(answer.payload, service=CURRENT_DATA, is_single=True).get(0)
