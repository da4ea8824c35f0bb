"""Ready requests for the ECUs of a report, so that nobody has to type hexadecimal digits.

Built from the report and the tables of :mod:`diag`. Nothing is granted by standing here: the laptop looks at each
request by itself. What its policy does not allow is listed as such.

Standard: ISO 14229-1:2020 (10, 11, 14, 19, 22, 85), SAE J1979 (01, 03, 07, 09), SAE J1979-3 (ZEVonUDS by 22 F4xx).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from consult.remotepolicy import RemotePolicy, needs_hold, policy_from_allows
from consult.reportecus import ecus_from_report, names_from_report, targets_from_report
from diag.dtcanswer import bytes_from_code
from diag.errors import BadInput
from diag.facts import Text
from diag.guard import judge
from diag.guardrules import Risk
from diag.pids import PIDS
from diag.uds import IDENTIFIERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diag.addressing import Target

__all__ = ["catalogue_for"]

_MAX_CODES: Final = 12
_NAMES_SHOWN: Final = 2
_LIVE: Final = (
    0x00, 0x01, 0x04, 0x05, 0x06, 0x07, 0x0B, 0x0C, 0x0D, 0x0F, 0x10, 0x11, 0x1F, 0x21, 0x2F, 0x31, 0x33, 0x42, 0x46,
    0x49, 0x4D, 0x4E, 0x5A, 0x5B, 0x5C, 0x5E, 0x61, 0x62, 0x63, 0x9A, 0xA6, 0xB2, 0xD3,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Ready:
    group: str
    name: Text
    data: bytes


def catalogue_for(report: Mapping[str, Any], allows: Mapping[str, Any]) -> dict[str, Any]:
    """``huizhen.catalogue/1``.

    Args:
        report: ``huizhen.scan/1``, as it came.
        allows: what the laptop told of its policy.
    """
    policy, names = policy_from_allows(allows), names_from_report(report)
    protocols = {str(one.get("address")): str(one.get("protocol") or "uds") for one in ecus_from_report(report)}
    ecus = []
    for address, target in targets_from_report(report).items():
        ready = [*_ready(address, set(protocols[address].split("+")), report), *_routines(policy)]
        entries = [_entry(one, address, target, policy) for one in ready]
        ecus.append({"address": address, "name": names[address], "requests": [one for one in entries if one]})
    return {"schema": "huizhen.catalogue/1", "ecus": ecus}


def _entry(one: _Ready, address: str, target: Target, policy: RemotePolicy) -> dict[str, Any] | None:
    risk, _, complaint = judge(one.data, target, policy.rules)
    if complaint is not None:
        return None
    return {
        "name": one.name.to_json(),
        "group": one.group,
        "data": one.data.hex().upper(),
        "risk": risk.value,
        "hold": needs_hold(one.data, risk),
        "seconds": int(risk is Risk.ALTER),
        "allowed": policy.allows(address, one.data, risk),
    }


def _ready(address: str, protocols: set[str], report: Mapping[str, Any]) -> Iterator[_Ready]:
    if "uds" in protocols:
        yield from _uds(address, report)
    if "obd2" in protocols:
        yield _Ready("codes", Text("Confirmed codes (OBD)", "读已确认故障码（OBD）"), b"\x03")
        yield _Ready("codes", Text("Pending codes (OBD)", "读待定故障码（OBD）"), b"\x07")
        yield _Ready("codes", Text("Permanent codes (OBD)", "读永久故障码（OBD）"), b"\x0a")
        yield _Ready("codes", Text("Clear emission-related codes", "清除排放相关故障码"), b"\x04")
        for pid, name in _live():
            yield _Ready("live", name, bytes([0x01, pid]))
        yield _Ready("data", Text("VIN (OBD)", "车架号（OBD）"), b"\x09\x02")
        yield _Ready("data", Text("Calibration identification", "标定识别码"), b"\x09\x04")


def _uds(address: str, report: Mapping[str, Any]) -> Iterator[_Ready]:
    yield _Ready("codes", Text("Read all codes with their status", "读取全部故障码及状态"), b"\x19\x02\xff")
    yield _Ready("codes", Text("Count the codes", "统计故障码数量"), b"\x19\x01\x0d")
    for display, code in _codes_of(address, report):
        snapshot = Text(f"Snapshots of {display}", f"{display} 的冻结帧")
        yield _Ready("codes", snapshot, b"\x19\x04" + code + b"\xff")
        extended = Text(f"Extended data of {display}", f"{display} 的扩展数据")
        yield _Ready("codes", extended, b"\x19\x06" + code + b"\xff")
    yield _Ready("codes", Text("Clear all codes", "清除全部故障码"), b"\x14\xff\xff\xff")
    for did in IDENTIFIERS.values():
        yield _Ready("data", did.text, b"\x22" + did.did.to_bytes(2, "big"))
    for pid, name in _live():
        yield _Ready("live", name, bytes([0x22, 0xF4, pid]))
    yield _Ready("session", Text("Default session", "默认会话"), b"\x10\x01")
    yield _Ready("session", Text("Extended session (kept alive)", "扩展会话（自动保持）"), b"\x10\x03")
    yield _Ready("session", Text("Stop storing codes", "停止记录故障码"), b"\x85\x02")
    yield _Ready("session", Text("Store codes again", "恢复记录故障码"), b"\x85\x01")
    yield _Ready("actuator", Text("Hard reset of the ECU", "ECU 硬复位"), b"\x11\x01")
    yield _Ready("actuator", Text("Soft reset of the ECU", "ECU 软复位"), b"\x11\x03")


def _live() -> Iterator[tuple[int, Text]]:
    """Parameters that tell the state of the car now, as far as the datasheet names them."""
    for number in _LIVE:
        if (pid := PIDS.get(number)) is not None:
            names = [field.text for field in pid.fields[:_NAMES_SHOWN]]
            more = "…" if len(pid.fields) > _NAMES_SHOWN else ""
            yield number, Text(", ".join(en for en, _ in names) + more, "、".join(zh for _, zh in names) + more)


def _codes_of(address: str, report: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    """The ECU's codes of three bytes, as the report shows them."""
    found: dict[str, bytes] = {}
    dtcs = report.get("dtcs")
    for dtc in dtcs if isinstance(dtcs, list) else []:
        if not isinstance(dtc, dict) or dtc.get("ecu") != address or len(found) >= _MAX_CODES:
            continue
        try:
            code = bytes_from_code(str(dtc.get("display")))
        except BadInput:
            continue
        if len(code) == 3:
            found[str(dtc["display"])] = code
    return sorted(found.items())


def _routines(policy: RemotePolicy) -> Iterator[_Ready]:
    for rid, (_, name) in policy.routines.items():
        yield _Ready("actuator", name, b"\x31\x01" + rid.to_bytes(2, "big"))
        results = Text(f"Results of: {name.en}", f"结果：{name.zh}")
        yield _Ready("actuator", results, b"\x31\x03" + rid.to_bytes(2, "big"))
