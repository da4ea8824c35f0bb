"""Who is there and what each ECU tells: the asking half of a scan.

Standard: ISO 15765-4:2021 §6 (who is asked), ISO 14229-1:2020 §12.3 (19 02, 19 04, 19 06), SAE J1979 (03, 07, 0A, 09).
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from diag.addressing import OBD_FUNCTIONAL, OBD_FUNCTIONAL_29, Target
from diag.answers import ask
from diag.dtc import parse_obd_dtcs, parse_uds_dtcs
from diag.errors import DiagError, LinkLost, NoAnswer
from diag.facts import Text
from diag.j1939 import nodes_from_frames
from diag.nrc import nrc_text
from diag.obd import ObdSession, parse_items
from diag.obdonuds import ObdOnUdsSession
from diag.scanparts import SecondChance, answer_or_none, freeze_frame_from_obd, targets_of, why_of
from diag.snapshots import learn_lengths
from diag.uds import IDENTIFIERS, UdsSession, parse_freeze_frames
from diag.visit import (
    EcuVisit,
    Visit,
    codes_so_far,
    decode_visit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbc.database import Database
    from diag.broadcast import Broadcast
    from diag.reach import Reach

__all__ = ["IDENTIFIERS_ASKED", "PATIENCE_S", "Scanner"]

_DETAILS_PER_ECU: Final = 24
_MASK_FAULTS: Final = 0xAF
_PHYSICAL_11: Final = tuple(range(0x7E0, 0x7E8))
_PHYSICAL_29: Final = tuple(0x18DA00F1 | address << 8 for address in range(0x100) if address != 0xF1)
_PROBES_AT_ONCE: Final = 64
_MOST_SILENCE: Final = 2
PATIENCE_S: Final = 1.0
_PART_BUDGET_S: Final = 15.0
_SERVICE_NOT_SUPPORTED: Final = 0x11
_TELLING: Final = (0xF190, 0xF187, 0xF189, 0xF195, 0xF197, 0xF18A, 0xF18C, 0xF191, 0xF188, 0xF194)
IDENTIFIERS_ASKED: Final = (*_TELLING, *(did for did in IDENTIFIERS if did not in _TELLING))
"""The telling ones first, because an ECU that stays silent for unknown ones is not asked for all."""

_STAGE_FINDING: Final = Text("looking for ECUs", "正在查找控制器")
_WHAT_UNITS: Final = Text("stored codes and identification", "历史故障码与标识信息")

_WHAT_DISCOVERY: Final = Text("discovery", "查找")
_WHAT_CODES: Final = Text("fault codes", "故障码")
_WHAT_FROZEN: Final = Text("freeze frames", "冻结帧")
_WHAT_IDENTIFICATION: Final = Text("identification", "标识信息")
_TOO_LONG: Final = Text("took too long and was left", "耗时过长，已放弃")
_NOT_READ: Final = Text("could not be read; this ECU may have faults", "未能读取；该控制器可能存在故障")


class Scanner:
    """Asks one car; :func:`diag.carscan.scan` is the way in."""

    def __init__(
        self,
        car: Reach,
        visit: Visit,
        databases: Sequence[Database],
        timeout_s: float | None,
        progress: Callable[[Text], None],
        identifiers: Sequence[int],
    ) -> None:
        self._identifiers = tuple(identifiers)
        self._car, self._traits, self._visit = car, car.traits, visit
        self._named = tuple(databases)
        self._timeout_s, self._progress = timeout_s, progress
        self._patient = SecondChance(car)
        self._obd = ObdSession(car, timeout_s=timeout_s)
        self._probed: set[int] = set()

    async def collect(self) -> None:
        """Keeps the frames that pass, until cancelled; a lost link is noted."""
        try:
            await self._car.collect()
        except LinkLost as error:
            self._visit.lost = error

    def look(self) -> Broadcast:
        """What the frames that came until now say."""
        self._visit.hearing.look()
        return decode_visit(self._visit, self._named)

    async def find_ecus(self) -> None:
        """Asks everybody, with 11 bits and with 29, and the usual addresses and those of the database one by one.

        When nobody answers, all of it is asked once more with a second to answer, as slow gateways and adapters need.
        """
        self._progress(_STAGE_FINDING)
        await self._find(self._timeout_s)
        if not self._visit.ecus and self._timeout_s is None:
            await self._find(PATIENCE_S)

    async def _find(self, timeout_s: float | None) -> None:
        traits = self._traits
        for functional in (OBD_FUNCTIONAL, OBD_FUNCTIONAL_29) if traits.has_frames else traits.functional:
            for request in (b"\x01\x00", b"\x3e\x00"):
                for answer in await self._car.request(functional, request, timeout_s=timeout_s):
                    self._ecu(answer.source)
        asked = {visit.target.request_id for visit in self._visit.ecus.values()}
        if not traits.has_frames:
            await self._probe([target for target in traits.usual if target.request_id not in asked], timeout_s)
            return
        targets = {request_id: Target.physical(request_id) for request_id in _PHYSICAL_11}
        if any(visit.target.extended for visit in self._visit.ecus.values()):
            targets |= {request_id: Target.physical(request_id) for request_id in _PHYSICAL_29}
        targets |= targets_of(self._named)
        await self._probe([target for request_id, target in targets.items() if request_id not in asked], timeout_s)

    async def find_more(self, databases: Sequence[Database]) -> None:
        """Asks and reads the ECUs that the database of the broadcast frames names, beyond those found so far."""
        if not self._traits.is_can:
            return
        targets = targets_of(database for database in databases if database not in self._named)
        wanted = [
            target
            for request_id, target in targets.items()
            if request_id not in self._probed and (target.response_id or 0) not in self._visit.ecus
        ]
        if wanted:
            self._progress(_STAGE_FINDING)
        known = set(self._visit.ecus)
        await self._probe(wanted, self._timeout_s)
        if not self._is_slow:  # they are known to exist: one lost frame shall not make an ECU disappear
            silent = [target for target in wanted if target.response_id not in self._visit.ecus]
            await self._probe(silent, self._timeout_s or PATIENCE_S)
        await self.read_ecus([ecu for key, ecu in self._visit.ecus.items() if key not in known])

    async def _probe(self, wanted: Sequence[Target], timeout_s: float | None) -> None:
        self._probed |= {target.request_id for target in wanted}
        self._visit.hearing.spoken |= self._probed | {
            target.response_id for target in wanted if target.response_id is not None
        }
        for at in range(0, len(wanted), _PROBES_AT_ONCE):
            group = wanted[at : at + _PROBES_AT_ONCE]
            found = await asyncio.gather(*(self._is_there(target, timeout_s) for target in group))
            for target, is_there in zip(group, found, strict=True):
                if is_there:
                    self._ecu(target)

    async def _is_there(self, target: Target, timeout_s: float | None) -> bool:
        try:
            await self._car.request(target, b"\x3e\x00", timeout_s=timeout_s)
        except NoAnswer:
            return False
        except LinkLost:
            raise
        except DiagError as error:
            self._visit.fail(target.address, _WHAT_DISCOVERY, why_of(error))
            return False
        return True

    def _ecu(self, target: Target) -> EcuVisit:
        return self._visit.ecus.setdefault(target.response_id or 0, EcuVisit(target))

    async def search(self) -> None:
        """Asks every identifier that a maker may have chosen."""
        for target in await self._car.search(set(self._visit.ecus), self._progress):
            self._visit.hearing.spoken |= {target.request_id, target.response_id or 0}
            self._ecu(target)

    async def ask_j1939(self) -> None:
        """What the units of a J1939 bus tell only when they are asked: stored codes and identification."""
        nodes = nodes_from_frames(self._visit.frames)
        if not nodes:
            return
        try:
            await self._car.read_bus([node.address for node in nodes], self._visit.units, self._progress)
        except LinkLost as error:
            self._visit.lost = error
            raise
        except DiagError as error:
            self._visit.fail("J1939", _WHAT_UNITS, why_of(error))

    async def read_ecus(self, ecus: Sequence[EcuVisit] | None = None) -> None:
        """Reads these ECUs, or all, at the same time; what one of them fails in is noted and does not stop the others.

        Raises:
            LinkLost: the adapter went away.
        """
        ecus = self._visit.sorted_ecus() if ecus is None else ecus
        done = 0

        gate = asyncio.Semaphore((len(ecus) if self._traits.has_frames else self._traits.at_once) or 1)

        async def read(ecu: EcuVisit) -> None:
            nonlocal done
            async with gate:
                await self._read_ecu(ecu)
            done += 1
            self._progress(
                Text(
                    f"reading ECUs: {done} of {len(ecus)} · {codes_so_far(self._visit).en}",
                    f"正在读取控制器：{done}/{len(ecus)} · {codes_so_far(self._visit).zh}",
                )
            )

        self._progress(Text(f"reading {len(ecus)} ECUs", f"正在读取 {len(ecus)} 个控制器"))
        await asyncio.gather(*(read(ecu) for ecu in ecus))
        if self._visit.lost is not None:
            raise self._visit.lost

    async def _read_ecu(self, ecu: EcuVisit) -> None:
        """One ECU, codes first; each part has its own budget of time, so that no ECU holds the visit up for ever."""
        for what, part in (
            (_WHAT_CODES, self._read_uds_codes),
            (Text("OBD-II", "OBD-II"), self._read_obd),
            (Text("OBD on UDS", "OBDonUDS"), self._read_obd_on_uds),
            (_WHAT_FROZEN, self._read_details),
            (_WHAT_IDENTIFICATION, self._read_identification),
        ):
            try:
                async with asyncio.timeout(max(_PART_BUDGET_S, 40 * (self._timeout_s or 0))):
                    await part(ecu)
            except LinkLost as error:
                self._visit.lost = error
                return
            except TimeoutError:
                self._visit.fail(ecu.address, what, _TOO_LONG)
            except DiagError as error:
                self._visit.fail(ecu.address, what, why_of(error))
            if what is _WHAT_CODES and ecu.dtcs:
                self._progress(codes_so_far(self._visit))
        if not ecu.codes_read:
            self._visit.fail(ecu.address, _WHAT_CODES, _NOT_READ)

    async def _read_obd(self, ecu: EcuVisit) -> None:
        """Services 03, 07, 0A, 01, 09 and 02 where the ECU answers ``01 00``, whoever else it answers."""
        answer = await answer_or_none(self._car, ecu.target, b"\x01\x00", self._timeout_s)
        offered = None if answer is None else parse_items(answer.payload, service=0x01).get(0)
        if offered is None:
            return
        ecu.obd = await self._obd.read_map(ecu.target, offered)
        for service in (0x03, 0x07, 0x0A):
            for codes in await self._obd.read_codes(service, ecu.target):
                parsed = parse_obd_dtcs(codes.payload, ecu=ecu.address, declared_length=codes.declared_length)
                ecu.dtcs += parsed.dtcs
                self._note_missing(ecu, parsed.missing)
                if service == 0x03 and parsed.negative is None:
                    ecu.codes_read = True
        ecu.readiness = await self._obd.read_readiness(ecu.obd)
        ecu.information = await self._obd.read_vehicle_information(ecu.target)
        if ecu.information.vin:
            ecu.vins[f"{ecu.address} 09 02"] = ecu.information.vin
        ecu.in_use = ecu.information.in_use
        ecu.since_clear = await self._obd.read_since_clear(ecu.obd)
        frozen = await self._obd.read_freeze_frame(ecu.obd)
        if frozen is not None:
            ecu.frames.append(freeze_frame_from_obd(frozen))
        if not self._is_slow:
            ecu.tests = await self._obd.read_monitor_results(ecu.target)

    @property
    def _is_slow(self) -> bool:
        """One request after the other, each taking long: only what tells most is asked."""
        return not self._traits.has_frames and self._traits.at_once == 1

    async def _read_obd_on_uds(self, ecu: EcuVisit) -> None:
        """What the law wants, through UDS, where the ECU does not answer services 01 to 0A."""
        if ecu.obd is not None or not ecu.speaks_uds:
            return
        session = ObdOnUdsSession(self._car, timeout_s=self._timeout_s)
        found = await session.detect(ecu.target)
        if found is None:
            return
        ecu.obd_on_uds = found
        ecu.regulated = await session.read_codes(found)
        ecu.dtcs += ecu.regulated.dtcs
        self._note_missing(ecu, ecu.regulated.missing)
        ecu.codes_read = ecu.codes_read or found.group is not None
        ecu.readiness = await session.read_readiness(found)
        ecu.since_clear = await session.read_since_clear(found)
        ecu.information = await session.read_information(found)
        if ecu.information.vin:
            ecu.vins[f"{ecu.address} F802"] = ecu.information.vin
        ecu.in_use = await session.read_in_use(found)
        if not self._is_slow:
            ecu.tests = await session.read_monitor_results(found)

    async def _read_identification(self, ecu: EcuVisit) -> None:
        link = self._patient if ecu.speaks_uds else self._car
        session = UdsSession(link, ecu.target, timeout_s=self._timeout_s)
        wanted = self._identifiers[: len(_TELLING)] if self._is_slow else self._identifiers
        identification = await session.read_identification(wanted)
        ecu.identification = identification.texts
        ecu.speaks_uds = ecu.speaks_uds or bool(identification.readings)
        if identification.vin:
            ecu.vins[f"{ecu.address} F190"] = identification.vin
        if identification.readings and identification.silent:
            names = ", ".join(f"{did:04X}" for did in identification.silent)
            self._visit.fail(ecu.address, _WHAT_IDENTIFICATION, Text(f"no answer to {names}", f"{names} 无应答"))
        for answer in identification.cut:
            self._note_missing(ecu, 1 if answer.missing else 0)

    async def _read_uds_codes(self, ecu: EcuVisit) -> None:
        """19 02, asked of everybody who is there: its answer proves UDS, and a refusal of it is said."""
        codes = bytes([0x19, 0x02, _MASK_FAULTS])
        answer = await answer_or_none(self._patient, ecu.target, codes, self._timeout_s)
        if answer is None:
            return
        ecu.speaks_uds = answer.nrc != _SERVICE_NOT_SUPPORTED
        if answer.negative is not None:
            if ecu.speaks_uds:
                self._visit.fail(ecu.address, _WHAT_CODES, nrc_text(answer.negative.nrc))
            return
        parsed = parse_uds_dtcs(answer.payload, ecu=ecu.address, declared_length=answer.declared_length)
        ecu.dtcs += parsed.dtcs
        ecu.codes_read = parsed.complete
        if parsed.complete:
            self._visit.history.observe(answer.t_ns or time.time_ns(), ecu.address, parsed.dtcs)
        self._note_missing(ecu, parsed.missing)

    async def _read_details(self, ecu: EcuVisit) -> None:
        """Snapshots and extended data of the codes that are faults."""
        session = UdsSession(self._patient, ecu.target, timeout_s=self._timeout_s)
        faults = [dtc for dtc in ecu.dtcs if len(dtc.raw) == 4 and dtc.status is not None and dtc.status.is_fault]
        lengths: dict[int, int] = {}
        silent: dict[str, list[str]] = {"19 04": [], "19 06": []}
        for dtc in faults[:_DETAILS_PER_ECU]:
            for service, read in (("19 04", session.read_snapshots), ("19 06", session.read_extended)):
                if len(silent[service]) >= _MOST_SILENCE:
                    continue
                try:
                    details = await read(dtc.raw[:3])
                except NoAnswer:
                    silent[service].append(dtc.display)
                    continue
                if details.negative is None:
                    learned = await learn_lengths(session, details.payload, lengths)
                    ecu.frames += parse_freeze_frames(details, learned)
        for service, codes in silent.items():
            if codes:
                names = f"{service}, {', '.join(codes)}"
                self._visit.fail(ecu.address, _WHAT_FROZEN, Text(f"no answer ({names})", f"无应答（{names}）"))
        if len(faults) > _DETAILS_PER_ECU:
            n = len(faults) - _DETAILS_PER_ECU
            self._visit.fail(
                ecu.address,
                _WHAT_FROZEN,
                Text(f"of {n} more codes were not asked", f"另有 {n} 个故障码的未读取"),
            )

    async def read_again(self) -> None:
        """The codes once more at the end, which shows what came, went or changed meanwhile."""
        if self._is_slow:
            return
        await asyncio.gather(*(self._read_again(ecu) for ecu in self._visit.sorted_ecus() if ecu.codes_read))

    async def _read_again(self, ecu: EcuVisit) -> None:
        if not ecu.speaks_uds:
            return
        try:
            answer = await ask(self._car, ecu.target, bytes([0x19, 0x02, _MASK_FAULTS]), timeout_s=self._timeout_s)
        except LinkLost:
            raise
        except DiagError:
            return
        if answer.negative is None and answer.complete:
            parsed = parse_uds_dtcs(answer.payload, ecu=ecu.address, declared_length=answer.declared_length)
            if self._visit.history.observe(answer.t_ns or time.time_ns(), ecu.address, parsed.dtcs):
                known = {dtc.display for dtc in ecu.dtcs}
                ecu.dtcs += [dtc for dtc in parsed.dtcs if dtc.display not in known]

    def _note_missing(self, ecu: EcuVisit, missing: int) -> None:
        if missing:
            self._visit.fail(
                ecu.address,
                Text("an answer was cut", "应答不完整"),
                Text(f"{missing} items are missing", f"缺少 {missing} 项"),
            )
