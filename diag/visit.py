"""One visit to a car: what each ECU gave, and the report that follows from it.

A report can be made at any moment, also of a visit that was cut short. What could not be read is said, never taken for
health.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from diag.battery import battery_from_series
from diag.batterydoctor import study_battery, with_study
from diag.broadcast import Broadcast, Choice, choose_database, decode_broadcast
from diag.causes import causes_of
from diag.dtchistory import DtcHistory
from diag.dtcmerge import merge_dtcs
from diag.facts import Dtc, EcuRole, FreezeFrame, Text, hex_from_id
from diag.findings import findings_from_facts
from diag.j1939 import address_text, node_names, nodes_from_frames
from diag.limits import limits_for
from diag.ownflags import find_flags
from diag.roles import role_from_names
from diag.tape import Hearing
from diag.vehiclereport import Ecu, Unanswered, Vehicle, VehicleReport
from diag.vin import parse_vin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dbc.database import Database
    from diag.addressing import Target
    from diag.errors import LinkLost
    from diag.facts import BatteryState, Json
    from diag.frames import Frame
    from diag.j1939 import J1939Node
    from diag.j1939requests import UnitReading
    from diag.limits import BatteryLimits
    from diag.obd import ObdEcu, VehicleInformation
    from diag.obdmonitors import InUsePerformance, MonitorResult, SinceClear
    from diag.obdonuds import ObdOnUdsEcu, RegulatedCodes
    from diag.polling import Polled
    from diag.readiness import Readiness
    from diag.vehiclereport import LinkInfo

__all__ = [
    "REQUEST_LINKS",
    "SIMULATOR_SUPPLIER",
    "EcuVisit",
    "Visit",
    "battery_from_visit",
    "codes_so_far",
    "decode_visit",
    "report_from_visit",
    "role_of",
    "the_battery_ecu",
    "vehicle_from_visit",
]

SIMULATOR_SUPPLIER: Final = "HZSIM"
"""What our simulated cars give as system supplier identifier (DID F18A), so that no front can hide what they are."""

_SHOWN_CODES: Final = 5
_HEARTBEATS: Final = 2
"""Broadcast identifiers that a gateway may let through although it hides the rest."""


_HIDDEN: Final = Text(
    "No broadcast frames arrive at this plug: a gateway hides them. The battery's cells cannot be seen from here.",
    "诊断口上收不到广播报文：被网关隔离，无法在此看到电池单体数据。",
)

REQUEST_LINKS: Final = ("doip", "elm327")
"""Kinds of link that carry no frames."""

_REQUESTS_ONLY: Final = Text(
    "This link carries requests and answers only: what the ECUs broadcast on CAN, the battery's cells among it, cannot"
    " be seen through it.",
    "该连接只传送请求和应答：无法看到控制器在 CAN 上的广播报文，包括电池单体数据。",
)

_J1939_BUS: Final = Text(
    "A J1939 bus: the codes are those that the units broadcast (DM1, active); stored ones could not be asked for.",
    "J1939 总线：所列为各控制器自行广播的当前故障码（DM1）；未能请求历史故障码。",
)

_SILENT_DIAGNOSTICS: Final = Text(
    "No ECU answers diagnostic requests; only broadcast frames were read.",
    "没有控制器应答诊断请求；只读取了广播报文。",
)


@dataclass(slots=True)
class EcuVisit:
    """What one ECU gave, while it is being read."""

    target: Target
    obd: ObdEcu | None = None
    information: VehicleInformation | None = None
    identification: dict[str, str] = field(default_factory=dict)
    vins: dict[str, str] = field(default_factory=dict)
    dtcs: list[Dtc] = field(default_factory=list)
    frames: list[FreezeFrame] = field(default_factory=list)
    readiness: Readiness | None = None
    obd_on_uds: ObdOnUdsEcu | None = None
    regulated: RegulatedCodes | None = None
    since_clear: SinceClear | None = None
    tests: tuple[MonitorResult, ...] = ()
    in_use: InUsePerformance | None = None
    speaks_uds: bool = False
    codes_read: bool = False

    @property
    def address(self) -> str:
        """Where it answers, as people write it."""
        return self.target.address


@dataclass(slots=True)
class Visit:
    """Everything found so far; a report can be made of it at any moment.

    Attributes:
        chosen: the database chosen for so many frames; None where none fits them.
        decoded: so many frames, decoded with the databases that were named.
        duration_s: how long it took, where that is known and not to be measured.
    """

    started_ns: int
    started_monotonic: float
    ecus: dict[int, EcuVisit] = field(default_factory=dict)
    dtcs: list[Dtc] = field(default_factory=list)
    unanswered: list[Unanswered] = field(default_factory=list)
    hearing: Hearing = field(default_factory=Hearing)
    duration_s: float | None = None
    polled: Polled | None = None
    units: dict[int, UnitReading] = field(default_factory=dict)
    history: DtcHistory = field(default_factory=DtcHistory)
    chosen: tuple[int, Choice | None] | None = None
    decoded: tuple[int, tuple[Database, ...], Broadcast] | None = None
    remarks: tuple[Text, ...] = ()
    describe: Callable[[Dtc], Dtc] | None = None
    finished: bool = False
    lost: LinkLost | None = None

    def fail(self, address: str, what: Text, why: Text) -> None:
        """Notes something that was asked and did not come."""
        self.unanswered.append(Unanswered(address, Text(f"{what.en}: {why.en}", f"{what.zh}：{why.zh}")))

    @property
    def frames(self) -> list[Frame]:
        """The broadcast frames."""
        return self.hearing.broadcast

    @property
    def complete(self) -> bool:
        """Nothing was cut short, and the codes of every ECU that is there were read."""
        return self.finished and all(ecu.codes_read for ecu in self.ecus.values())

    def sorted_ecus(self) -> list[EcuVisit]:
        """By response address."""
        return [self.ecus[key] for key in sorted(self.ecus)]


def codes_so_far(visit: Visit) -> Text:
    """What a technician wants to know first, while the rest is still being read."""
    best: dict[tuple[str, str], str] = {}
    for ecu in visit.sorted_ecus():
        for dtc in ecu.dtcs:  # OBD-II and UDS give the same code, one of them without the failure type
            key = ecu.address, dtc.code
            best[key] = max(best.get(key, ""), dtc.display, key=len)
    codes = list(best.values())
    shown = " ".join(codes[:_SHOWN_CODES]) + (" …" if len(codes) > _SHOWN_CODES else "")
    if not codes:
        return Text("no fault codes so far", "暂无故障码")
    return Text(f"{len(codes)} fault codes so far: {shown}", f"已读到 {len(codes)} 个故障码：{shown}")


def _nodes_by_response(databases: Iterable[Database]) -> dict[int, str]:
    return {
        node.diag_response_id: node.name
        for database in databases
        for node in database.nodes
        if node.diag_response_id is not None
    }


def role_of(visit: EcuVisit, node: str = "") -> EcuRole:
    """The job of an ECU by what it calls itself, or by the database's name for it."""
    obd_name = (visit.information.name if visit.information else None) or ""
    return role_from_names(obd_name, visit.identification.get("systemNameOrEngineType", ""), node)


def the_battery_ecu(visit: Visit) -> Target | None:
    """The one ECU that calls itself the battery's; None where there is none, or several."""
    found = [ecu.target for ecu in visit.sorted_ecus() if role_of(ecu) is EcuRole.BMS]
    return found[0] if len(found) == 1 else None


def _ecu_fact(visit: EcuVisit, nodes: Mapping[int, str]) -> Ecu:
    node = nodes.get(visit.target.response_id or 0, "")
    system = visit.identification.get("systemNameOrEngineType", "")
    obd_name = (visit.information.name if visit.information else None) or ""
    spoken = (
        ("obd2", visit.obd is not None),
        ("obd-on-uds", visit.obd_on_uds is not None),
        ("uds", visit.speaks_uds),
    )
    protocols = [name for name, is_spoken in spoken if is_spoken]
    return Ecu(
        address=visit.address,
        request_address=visit.target.request_address,
        name=" ".join(obd_name.replace("\0", " ").split()) or system or node,
        role=role_of(visit, node),
        protocol="+".join(protocols) or "uds",
        identification={
            **visit.identification,
            **_identification_from_obd(visit.information),
        },
        codes_read=visit.codes_read,
    )


def _ecus_from_nodes(
    nodes: Sequence[J1939Node], names: Mapping[int, str], units: Mapping[int, UnitReading]
) -> Iterable[Ecu]:
    for node in nodes:
        told = units[node.address].identification if node.address in units else {}
        name = names.get(node.address, "") or told.get("ecuType", "")
        claimed = {} if node.name is None else {"j1939Name": node.name.raw.hex().upper()}
        yield Ecu(
            address=address_text(node.address),
            request_address=address_text(node.address),
            name=name,
            role=role_from_names(name),
            protocol="j1939",
            identification={**told, **claimed},
            codes_read=node.is_heard,
        )


def _cut_lists(nodes: Sequence[J1939Node]) -> Iterable[Unanswered]:
    for node in nodes:
        if node.missing:
            why = Text(
                f"its list of codes was cut: {node.missing} missing", f"故障码列表不完整：缺少 {node.missing} 个"
            )
            yield Unanswered(address_text(node.address), why)


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


def _silent_ecus(visit: Visit, broadcast: Broadcast) -> tuple[list[Unanswered], list[Unanswered]]:
    """Nodes that the database expects and that answered nothing.

    Returns:
        Those that are wholly silent while others broadcast: something is wrong with them; and those that still
        broadcast, or that nothing can be said of, because a gateway or a listening adapter may stand between.
    """
    quiet = {node.name for node in broadcast.silent_nodes}
    silent, unheard = [], []
    for node in (node for database in broadcast.databases for node in database.nodes):
        if node.diag_response_id is None or node.diag_response_id in visit.ecus:
            continue
        role = role_from_names(node.name, node.comment)
        address = hex_from_id(node.diag_response_id)
        if node.name in quiet:
            why = Text(
                f"{node.name}: no answer to requests, and none of its broadcast frames arrive",
                f"{node.name}：不应答请求，也收不到其广播报文",
            )
            silent.append(Unanswered(address, why, role))
        else:
            why = Text(f"{node.name}: no answer to requests", f"{node.name}：不应答诊断请求")
            unheard.append(Unanswered(address, why, role))
    return silent, unheard


def _vins(visit: Visit) -> dict[str, list[str]]:
    """ECU address -> the well-formed VINs that it reports; an unprogrammed one says nothing."""
    year = datetime.fromtimestamp(visit.started_ns / 1e9, UTC).year
    told: dict[str, list[str]] = {}
    claims = [(ecu.address, vin) for ecu in visit.sorted_ecus() for vin in dict.fromkeys(ecu.vins.values())]
    claims += [(address_text(unit.address), unit.vin) for unit in visit.units.values() if unit.vin]
    for address, vin in claims:
        if vin:
            parsed = parse_vin(vin, today_year=year)
            if parsed is not None and parsed.syntax_ok:
                told.setdefault(address, []).append(parsed.text)
    return told


def vehicle_from_visit(visit: Visit) -> Vehicle:
    """The car by the VIN that most ECUs report, one vote each, one with a right check digit before one without."""
    year = datetime.fromtimestamp(visit.started_ns / 1e9, UTC).year
    votes = Counter(vin for vins in _vins(visit).values() for vin in vins)
    parsed = [(parse_vin(vin, today_year=year), count) for vin, count in votes.items()]
    ranked = [(vin.is_valid, count, vin) for vin, count in parsed if vin is not None]
    if ranked:
        return max(ranked, key=lambda item: item[:2])[2].to_vehicle()
    broken = [vin for ecu in visit.sorted_ecus() for vin in ecu.vins.values()]
    vin = parse_vin(broken[0], today_year=year) if broken else None
    return vin.to_vehicle() if vin else Vehicle()


def decode_visit(visit: Visit, databases: Sequence[Database]) -> Broadcast:
    """The broadcast frames, decoded with the databases that were named, else with the one that fits or is likely."""
    heard = len(visit.frames)
    if visit.decoded is not None and visit.decoded[:2] == (heard, tuple(databases)):
        return visit.decoded[2]
    broadcast = _decode(visit, databases)
    visit.decoded = heard, tuple(databases), broadcast
    return broadcast


def _decode(visit: Visit, databases: Sequence[Database]) -> Broadcast:
    if databases:
        return decode_broadcast(visit.frames, databases)
    heard = len(visit.frames)
    if visit.chosen is None or visit.chosen[0] != heard:
        visit.chosen = heard, choose_database(visit.frames, make=vehicle_from_visit(visit).make)
    choice = visit.chosen[1]
    if choice is None:
        return decode_broadcast(visit.frames, ())
    broadcast = decode_broadcast(visit.frames, (choice.database,))
    return replace(broadcast, guess=choice.note) if choice.is_guess else broadcast


def battery_from_visit(visit: Visit, broadcast: Broadcast, limits: BatteryLimits | None = None) -> BatteryState | None:
    """The battery as its broadcast frames show it, else as it answered when it was asked."""
    battery = battery_from_series(broadcast.series, source=broadcast.source, limits=limits)
    if battery is None and visit.polled is not None:
        battery = battery_from_series(visit.polled.series, source=visit.polled.source, limits=limits)
    return battery


def report_from_visit(visit: Visit, link: LinkInfo, databases: Sequence[Database], *, simulated: bool) -> VehicleReport:
    """Judges what was found; works on a visit that was cut short as well."""
    visit.hearing.finish()
    broadcast = decode_visit(visit, databases)
    ecus = tuple(_ecu_fact(ecu, _nodes_by_response(broadcast.databases)) for ecu in visit.sorted_ecus())
    nodes = nodes_from_frames(visit.frames)
    ecus = (*ecus, *_ecus_from_nodes(nodes, node_names(broadcast.databases), visit.units))
    told = (*(dtc for ecu in visit.sorted_ecus() for dtc in ecu.dtcs), *(dtc for node in nodes for dtc in node.dtcs))
    told = (*told, *(dtc for unit in visit.units.values() for dtc in unit.dtcs))
    dtcs = merge_dtcs(told)
    if visit.describe is not None:
        dtcs = tuple(visit.describe(dtc) for dtc in dtcs)
    vehicle = vehicle_from_visit(visit)
    limits = limits_for(vehicle.vin)
    battery = battery_from_visit(visit, broadcast, limits)
    study = study_battery(broadcast.series, limits=limits, state=battery) if battery is not None else None
    battery = with_study(battery, study) if battery is not None else None
    silent, unheard = _silent_ecus(visit, broadcast) if visit.finished else ([], [])
    is_simulated = simulated or any(
        ecu.identification.get("systemSupplierIdentifier") == SIMULATOR_SUPPLIER for ecu in ecus
    )
    flags = find_flags(broadcast.series) if broadcast.guess is None else []
    findings = findings_from_facts(
        dtcs=dtcs,
        battery=battery,
        unanswered=silent,
        ecus=ecus,
        vins=tuple((address, vin) for address, vins in _vins(visit).items() for vin in vins),
        since_clear={ecu.address: ecu.since_clear for ecu in visit.sorted_ecus() if ecu.since_clear},
        tests=tuple(test for ecu in visit.sorted_ecus() for test in ecu.tests),
        studied=(*(study.findings if study is not None else ()), *flags),
        limits=limits,
    )
    return VehicleReport(
        started_ns=visit.started_ns,
        duration_s=time.monotonic() - visit.started_monotonic if visit.duration_s is None else visit.duration_s,
        complete=visit.complete,
        simulated=is_simulated,
        link=replace(link, simulated=is_simulated),
        vehicle=vehicle,
        ecus=ecus,
        dtcs=dtcs,
        freeze_frames=tuple(frame for ecu in visit.sorted_ecus() for frame in ecu.frames),
        readiness={ecu.address: found for ecu in visit.sorted_ecus() if (found := _readiness_json(ecu))},
        battery=battery,
        findings=findings,
        causes=causes_of(dtcs, findings, ecus, battery, study, limits),
        unanswered=(*sorted(visit.unanswered, key=lambda item: item.address), *_cut_lists(nodes), *silent, *unheard),
        dtc_changes=tuple(sorted(visit.history.changes, key=lambda change: (change.t_ns, change.ecu))),
        notes=tuple(_notes(visit, broadcast, link.interface, is_j1939=bool(nodes))),
    )


def _readiness_json(ecu: EcuVisit) -> Json:
    """One ECU's entry of ``readiness``: monitors, codes not tested yet, time since codes were cleared, test results."""
    found: Json = ecu.readiness.to_json() if ecu.readiness else {}
    if ecu.regulated is not None and ecu.regulated.is_ready is not None:
        found |= {"ready_by_code": ecu.regulated.is_ready, "untested_codes": list(ecu.regulated.untested)}
    if ecu.since_clear is not None and ecu.since_clear.is_known:
        found["since_clear"] = ecu.since_clear.to_json()
    if ecu.tests:
        found["tests"] = [test.to_json() for test in ecu.tests]
    if ecu.in_use is not None:
        found["in_use_performance"] = ecu.in_use.to_json()
    return found


def _notes(visit: Visit, broadcast: Broadcast, interface: str, *, is_j1939: bool) -> Iterable[Text]:
    yield from visit.remarks
    if visit.lost is not None:
        yield Text("The adapter went away during the scan.", "扫描过程中适配器断开。")
    if visit.hearing.dropped:
        heard, dropped = len(visit.hearing.frames), visit.hearing.dropped
        yield Text(
            f"Only the first {heard} frames were judged, {dropped} came after them: record such a long time with"
            " 'huizhen log record' and judge it with 'huizhen battery --from'.",
            f"仅分析了前 {heard} 帧，其后还有 {dropped} 帧：长时间数据请用 huizhen log record 录制，"
            "再用 huizhen battery --from 分析。",
        )
    polled = visit.polled
    if polled is not None:
        yield Text(
            f"The battery was asked with the signal set {polled.set_name}: {polled.answered} of {polled.asked} requests"
            " were answered.",
            f"已按信号集 {polled.set_name} 请求电池数据：{polled.asked} 个请求中有 {polled.answered} 个得到应答。",
        )
    if visit.ecus and len({frame.can_id for frame in visit.frames}) <= _HEARTBEATS:
        if not (polled and polled.answered):
            yield _REQUESTS_ONLY if interface in REQUEST_LINKS else _HIDDEN
    elif broadcast.databases and not broadcast.series:
        names = ", ".join(database.name for database in broadcast.databases)
        yield Text(
            f"None of the {broadcast.frames} broadcast frames is in {names}: is it this car's database?",
            f"收到的 {broadcast.frames} 帧广播报文均不在 {names} 中：请确认是否为该车的数据库。",
        )
    elif broadcast.frames and not broadcast.databases:
        yield Text(
            f"{broadcast.frames} broadcast frames arrived and no database fits them: name the car's with --dbc.",
            f"收到 {broadcast.frames} 帧广播报文，但没有匹配的数据库：请用 --dbc 指定该车的数据库。",
        )
    if broadcast.guess is not None:
        yield broadcast.guess
    if is_j1939 and not visit.ecus:
        if not any(unit.answered for unit in visit.units.values()):
            yield _J1939_BUS
    elif not visit.ecus and visit.finished:
        yield _SILENT_DIAGNOSTICS
    for name, count in broadcast.damaged.items():
        yield Text(
            f"{name}: {count} frames with a wrong checksum were not used.", f"{name}：{count} 帧校验错误，未采用。"
        )
