"""The main job: who is there, what is stored, how is the battery, what is wrong.

While the broadcast frames are collected, every ECU is found and read, all at the same time. One ECU that falls silent
half-way costs only its own part; everything that failed is listed. Interrupted, the visit ends with what there is.
Only reading services of the default session are used.

Standard: ISO 15765-4:2021 §6 (who is asked), ISO 14229-1:2020 §12.3 (19 02, 19 04, 19 06), SAE J1979 (03, 07, 0A, 09).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from diag.addressing import OBD_FUNCTIONAL, OBD_FUNCTIONAL_29, Target
from diag.battery import battery_from_series
from diag.broadcast import Broadcast, decode_broadcast, find_database, is_diagnostic_id, load_bundled
from diag.dtc import find_unknown_did, merge_dtcs, parse_obd_dtcs, parse_uds_dtcs
from diag.errors import DiagError, LinkLost, NoAnswer
from diag.facts import (
    Dtc,
    Ecu,
    EcuRole,
    FreezeFrame,
    Text,
    Unanswered,
    Vehicle,
    VehicleReport,
    hex_from_id,
)
from diag.findings import findings_from_facts
from diag.obd import ObdSession
from diag.request import IsoTpLink, Timing
from diag.roles import role_from_names
from diag.uds import DID_LENGTHS, UdsSession, parse_data, parse_freeze_frames
from diag.vin import parse_vin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dbc.database import Database
    from diag.frames import Frame, FrameLink
    from diag.obd import FrozenMoment, ObdEcu, Readiness, VehicleInformation
    from diag.request import Answer

__all__ = ["SIMULATOR_SUPPLIER", "scan"]

SIMULATOR_SUPPLIER: Final = "HZSIM"
"""What our simulated cars give as system supplier identifier (DID F18A), so that no front can hide what they are."""

_DETAILS_PER_ECU: Final = 24
_MASK_FAULTS: Final = 0xAF
_PHYSICAL_11: Final = tuple(range(0x7E0, 0x7E8))
_PROBE_S: Final = 0.2
_LENGTHS_PER_ECU: Final = 32

_STAGE_LISTENING: Final = Text("listening to the bus", "正在监听总线")
_STAGE_FINDING: Final = Text("looking for ECUs", "正在查找控制器")
_STAGE_JUDGING: Final = Text("judging", "正在分析")

_HIDDEN: Final = Text(
    "No broadcast frames arrive at this plug: a gateway hides them. The battery's cells cannot be seen from here.",
    "诊断口上收不到广播报文:被网关隔离,无法在此看到电池单体数据。",
)
_SILENT_DIAGNOSTICS: Final = Text(
    "No ECU answers diagnostic requests; only broadcast frames were read.",
    "没有控制器应答诊断请求;只读取了广播报文。",
)


@dataclass(slots=True)
class _EcuVisit:
    """What one ECU gave, while it is being read."""

    target: Target
    obd: ObdEcu | None = None
    information: VehicleInformation | None = None
    identification: dict[str, str] = field(default_factory=dict)
    vins: dict[str, str] = field(default_factory=dict)
    dtcs: list[Dtc] = field(default_factory=list)
    frames: list[FreezeFrame] = field(default_factory=list)
    readiness: Readiness | None = None
    speaks_uds: bool = False

    @property
    def address(self) -> str:
        return self.target.address


@dataclass(slots=True)
class _Visit:
    """Everything found so far; a report can be made of it at any moment."""

    started_ns: int
    started_monotonic: float
    ecus: dict[int, _EcuVisit] = field(default_factory=dict)
    dtcs: list[Dtc] = field(default_factory=list)
    unanswered: list[Unanswered] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    complete: bool = False

    def fail(self, address: str, what: Text, error: DiagError) -> None:
        """Notes something that was asked and did not come."""
        self.unanswered.append(Unanswered(address, Text(f"{what.en}: {error}", f"{what.zh}:{error}"), EcuRole.UNKNOWN))

    def sorted_ecus(self) -> list[_EcuVisit]:
        """By response address."""
        return [self.ecus[key] for key in sorted(self.ecus)]


class _Scanner:
    """Runs one visit; :func:`scan` is the way in."""

    def __init__(
        self,
        link: FrameLink,
        requests: IsoTpLink,
        visit: _Visit,
        databases: Sequence[Database],
        timeout_s: float | None,
        progress: Callable[[Text], None],
    ) -> None:
        self._link, self._requests, self._visit = link, requests, visit
        self._named = tuple(databases)
        self._timeout_s, self._progress = timeout_s, progress
        self._obd = ObdSession(requests, timeout_s=timeout_s)

    async def collect(self) -> None:
        """Keeps all frames that pass, until cancelled."""
        with self._link.frames() as subscription:
            while frames := await subscription.batch():
                self._visit.frames += frames

    async def find_ecus(self) -> None:
        """Asks everybody, with 11 bits and then 29, and the usual addresses and those of the database one by one."""
        self._progress(_STAGE_FINDING)
        for functional in (OBD_FUNCTIONAL, OBD_FUNCTIONAL_29):
            for ecu in await self._obd.find_ecus(functional):
                self._ecu(ecu.target).obd = ecu
            for answer in await self._functional(functional, b"\x3e\x00"):
                self._ecu(answer.source)
            if self._visit.ecus:
                break
        asked = {visit.target.request_id for visit in self._visit.ecus.values()}
        targets = [Target.physical(request_id) for request_id in _PHYSICAL_11 if request_id not in asked]
        known = {target.request_id for target in targets} | asked
        targets += [target for target in self._database_targets() if target.request_id not in known]
        found = await asyncio.gather(*(self._is_there(target) for target in targets))
        for target, is_there in zip(targets, found, strict=True):
            if is_there:
                self._ecu(target)

    def _database_targets(self) -> list[Target]:
        return [
            Target.physical(node.diag_request_id, node.diag_response_id)
            for database in self._named
            for node in database.nodes
            if node.diag_request_id is not None and node.diag_response_id is not None
        ]

    async def _functional(self, target: Target, payload: bytes) -> tuple[Answer, ...]:
        return await self._requests.request(target, payload, timeout_s=self._timeout_s)

    async def _is_there(self, target: Target) -> bool:
        try:
            await self._requests.request(target, b"\x3e\x00", timeout_s=self._timeout_s or _PROBE_S)
        except NoAnswer:
            return False
        return True

    def _ecu(self, target: Target) -> _EcuVisit:
        return self._visit.ecus.setdefault(target.response_id or 0, _EcuVisit(target))

    async def read_ecus(self) -> None:
        """Reads all ECUs at the same time; what one of them fails in is noted and does not stop the others."""
        ecus = self._visit.sorted_ecus()
        done = 0

        async def read(ecu: _EcuVisit) -> None:
            nonlocal done
            for what, part in (
                (Text("OBD-II", "OBD-II"), self._read_obd),
                (Text("identification", "标识信息"), self._read_identification),
                (Text("fault codes", "故障码"), self._read_uds_codes),
            ):
                try:
                    await part(ecu)
                except DiagError as error:
                    self._visit.fail(ecu.address, what, error)
            done += 1
            self._progress(Text(f"reading ECUs: {done} of {len(ecus)}", f"正在读取控制器:{done}/{len(ecus)}"))

        self._progress(Text(f"reading {len(ecus)} ECUs", f"正在读取 {len(ecus)} 个控制器"))
        await asyncio.gather(*(read(ecu) for ecu in ecus))

    async def _read_obd(self, ecu: _EcuVisit) -> None:
        if ecu.obd is None:
            return
        for service in (0x03, 0x07, 0x0A):
            for answer in await self._obd.read_codes(service, ecu.target):
                parsed = parse_obd_dtcs(answer.payload, ecu=ecu.address)
                ecu.dtcs += parsed.dtcs
                self._note_missing(ecu, parsed.missing)
        ecu.readiness = await self._obd.read_readiness(ecu.obd)
        ecu.information = await self._obd.read_vehicle_information(ecu.target)
        if ecu.information.vin:
            ecu.vins[f"{ecu.address} 09 02"] = ecu.information.vin
        frozen = await self._obd.read_freeze_frame(ecu.obd)
        if frozen is not None:
            ecu.frames.append(_freeze_frame_from_obd(frozen))

    async def _read_identification(self, ecu: _EcuVisit) -> None:
        session = UdsSession(self._requests, ecu.target, timeout_s=self._timeout_s)
        identification = await session.read_identification()
        ecu.identification = identification.texts
        ecu.speaks_uds = bool(identification.readings or identification.refused)
        if identification.vin:
            ecu.vins[f"{ecu.address} F190"] = identification.vin
        for answer in identification.cut:
            self._note_missing(ecu, 1 if answer.missing else 0)

    async def _read_uds_codes(self, ecu: _EcuVisit) -> None:
        if not ecu.speaks_uds:
            return
        session = UdsSession(self._requests, ecu.target, timeout_s=self._timeout_s)
        answer = await session.read_codes(_MASK_FAULTS)
        if answer.negative is not None:
            return
        parsed = parse_uds_dtcs(answer.payload, ecu=ecu.address, declared_length=answer.declared_length)
        ecu.dtcs += parsed.dtcs
        self._note_missing(ecu, parsed.missing)
        faults = [dtc for dtc in parsed.dtcs if dtc.status is not None and dtc.status.is_fault]
        lengths: dict[int, int] = {}
        for dtc in faults[:_DETAILS_PER_ECU]:
            for details in (await session.read_snapshots(dtc.raw[:3]), await session.read_extended(dtc.raw[:3])):
                if details.negative is None:
                    await self._learn_lengths(session, details.payload, lengths)
                    ecu.frames += parse_freeze_frames(details, lengths)

    async def _learn_lengths(self, session: UdsSession, payload: bytes, lengths: dict[int, int]) -> None:
        """Asks the ECU for each identifier of a snapshot whose length nobody knows: its own answer shows the length.

        Where the ECU does not give it, the record stays raw from there on.
        """
        while len(lengths) < _LENGTHS_PER_ECU:
            did = find_unknown_did(payload, {**DID_LENGTHS, **lengths})
            if did is None:
                return
            answer = await session.read_data(did)
            if answer.negative is not None or not answer.complete:
                return
            lengths[did] = len(parse_data(answer.payload, [did]).get(did, b""))

    def _note_missing(self, ecu: _EcuVisit, missing: int) -> None:
        if missing:
            self._visit.unanswered.append(
                Unanswered(
                    ecu.address,
                    Text(f"an answer was cut: {missing} items are missing", f"应答不完整:缺少 {missing} 项"),
                )
            )


def _freeze_frame_from_obd(frozen: FrozenMoment) -> FreezeFrame:
    return FreezeFrame(frozen.ecu, frozen.code, frozen.frame, frozen.raw, frozen.readings, "obd-freeze-frame")


def _nodes_by_response(databases: Iterable[Database]) -> dict[int, str]:
    return {
        node.diag_response_id: node.name
        for database in databases
        for node in database.nodes
        if node.diag_response_id is not None
    }


def _ecu_fact(visit: _EcuVisit, nodes: Mapping[int, str]) -> Ecu:
    node = nodes.get(visit.target.response_id or 0, "")
    system = visit.identification.get("systemNameOrEngineType", "")
    obd_name = (visit.information.name if visit.information else None) or ""
    protocols = [name for name, spoken in (("obd2", visit.obd is not None), ("uds", visit.speaks_uds)) if spoken]
    return Ecu(
        address=visit.address,
        request_address=hex_from_id(visit.target.request_id),
        name=" ".join(obd_name.replace("\0", " ").split()) or system or node,
        role=role_from_names(obd_name, system, node),
        protocol="+".join(protocols) or "uds",
        identification={
            **visit.identification,
            **_identification_from_obd(visit.information),
        },
    )


def _identification_from_obd(information: VehicleInformation | None) -> dict[str, str]:
    if information is None:
        return {}
    return {
        name: value
        for name, value in (
            ("calibrationId", ", ".join(information.calibration_ids)),
            ("calibrationVerificationNumber", ", ".join(information.cvns)),
        )
        if value
    }


def _silent_ecus(visit: _Visit, broadcast: Broadcast) -> list[Unanswered]:
    """Nodes that the database expects and that answered nothing; whether they still broadcast is said too."""
    quiet = {node.name for node in broadcast.silent_nodes}
    out = []
    for database in broadcast.databases:
        for node in database.nodes:
            if node.diag_response_id is None or node.diag_response_id in visit.ecus:
                continue
            name = Text(node.name, node.name)
            why = (
                Text(
                    f"{name.en}: no answer to requests, and none of its broadcast frames arrive",
                    f"{name.zh}:不应答请求,也收不到其广播报文",
                )
                if node.name in quiet
                else Text(f"{name.en}: no answer to requests", f"{name.zh}:不应答请求")
            )
            out.append(Unanswered(hex_from_id(node.diag_response_id), why, role_from_names(node.name, node.comment)))
    return out


def _vehicle(vins: Mapping[str, str], today_year: int) -> Vehicle:
    """The car by the VIN that most ECUs report."""
    told = list(vins.values())
    if not told:
        return Vehicle()
    vin = parse_vin(max(told, key=told.count), today_year=today_year)
    return vin.to_vehicle() if vin else Vehicle()


def _report(
    visit: _Visit, link: FrameLink, databases: Sequence[Database], timeout_s: float | None, *, simulated: bool
) -> VehicleReport:
    """Judges what was found; works on a visit that was cut short as well."""
    frames = [frame for frame in visit.frames if not is_diagnostic_id(frame.can_id, extended=frame.extended)]
    chosen = tuple(databases)
    if not chosen and (found := find_database(frames, load_bundled())):
        chosen = (found,)
    broadcast = decode_broadcast(frames, chosen)
    ecus = tuple(_ecu_fact(ecu, _nodes_by_response(chosen)) for ecu in visit.sorted_ecus())
    if not ecus and not frames and visit.complete:
        raise NoAnswer(Text("the vehicle", "车辆"), timeout_s or Timing().window_s)
    vins = {source: vin for ecu in visit.sorted_ecus() for source, vin in ecu.vins.items()}
    dtcs = merge_dtcs(dtc for ecu in visit.sorted_ecus() for dtc in ecu.dtcs)
    battery = battery_from_series(broadcast.series, source=broadcast.source)
    silent = _silent_ecus(visit, broadcast) if visit.complete else []
    unanswered = (*visit.unanswered, *silent)
    is_simulated = simulated or any(
        ecu.identification.get("systemSupplierIdentifier") == SIMULATOR_SUPPLIER for ecu in ecus
    )
    return VehicleReport(
        started_ns=visit.started_ns,
        duration_s=time.monotonic() - visit.started_monotonic,
        complete=visit.complete,
        simulated=is_simulated,
        link=replace(link.info, simulated=is_simulated),
        vehicle=_vehicle(vins, datetime.now(UTC).year),
        ecus=ecus,
        dtcs=dtcs,
        freeze_frames=tuple(frame for ecu in visit.sorted_ecus() for frame in ecu.frames),
        readiness={ecu.address: ecu.readiness.to_json() for ecu in visit.sorted_ecus() if ecu.readiness},
        battery=battery,
        findings=findings_from_facts(
            dtcs=dtcs, battery=battery, unanswered=silent, ecus=ecus, vins=tuple(vins.items())
        ),
        unanswered=unanswered,
        notes=tuple(_notes(ecus, broadcast)),
    )


def _notes(ecus: Sequence[Ecu], broadcast: Broadcast) -> Iterable[Text]:
    if ecus and not broadcast.frames:
        yield _HIDDEN
    if not ecus:
        yield _SILENT_DIAGNOSTICS
    if broadcast.frames and not broadcast.databases:
        yield Text(
            f"{broadcast.frames} broadcast frames arrived and no database fits them: name the car's with --dbc.",
            f"收到 {broadcast.frames} 帧广播报文,但没有匹配的数据库:请用 --dbc 指定该车的数据库。",
        )
    for name, count in broadcast.damaged.items():
        yield Text(
            f"{name}: {count} frames with a wrong checksum were not used.", f"{name}:{count} 帧校验错误,未采用。"
        )


def _ignore(_: Text) -> None:
    """No progress wanted."""


async def scan(
    link: FrameLink,
    *,
    databases: Sequence[Database] = (),
    simulated: bool = False,
    listen_s: float = 2.0,
    timeout_s: float | None = None,
    progress: Callable[[Text], None] = _ignore,
) -> VehicleReport:
    """Reads a whole car and says what is wrong with it.

    Args:
        link: an open bus; its guard decides what may be sent.
        databases: of the broadcast frames, first match wins; empty = a bundled one where it fits.
        simulated: the caller knows that the car is not real.
        listen_s: seconds of broadcast frames to collect at least.
        timeout_s: per answer; None = the protocol's own times.
        progress: told each stage, for people.

    Returns:
        The report; with ``complete`` false when the task was cancelled, holding what there was until then.

    Raises:
        NoAnswer: neither an answer nor a single frame.
        LinkLost: the adapter went away before anything was found.
        RefusedByPolicy: the link's guard allows less than reading.
    """
    visit = _Visit(time.time_ns(), time.monotonic())
    progress(_STAGE_LISTENING)
    async with IsoTpLink(link) as requests:
        scanner = _Scanner(link, requests, visit, databases, timeout_s, progress)
        collector = asyncio.create_task(scanner.collect())
        try:
            await scanner.find_ecus()
            await scanner.read_ecus()
            progress(_STAGE_LISTENING)
            await asyncio.sleep(max(0.0, visit.started_monotonic + listen_s - time.monotonic()))
            visit.complete = True
        except (asyncio.CancelledError, LinkLost):
            if not visit.ecus and not visit.frames:
                raise
        finally:
            collector.cancel()
            await asyncio.gather(collector, return_exceptions=True)
    progress(_STAGE_JUDGING)
    return _report(visit, link, databases, timeout_s, simulated=simulated)
