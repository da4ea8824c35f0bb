"""The question put to the library: what was seen on one car, what was read, what the customer says.

A :class:`Query` is built from a scan (live or saved: both go through the JSON of ``huizhen.scan/1``, so that they
cannot differ) or from one line of ``case find --jsonl``. Unknown keys are ignored, values that are not there are
absent, and a key of the wrong shape raises :class:`casebase.errors.BadEvidence` with its name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from casebase.errors import BadEvidence
from diag.facts import STATUS_BITS, EcuRole, Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.vehiclereport import VehicleReport

__all__ = [
    "ROLE_WORDS",
    "WEIGHT_CONFIRMED",
    "WEIGHT_HISTORY",
    "WEIGHT_PENDING",
    "DtcSeen",
    "Query",
    "VehicleFacets",
    "parse_dtc",
]

WEIGHT_CONFIRMED: Final = 1.0
"""Confirmed, or failing now."""
WEIGHT_PENDING: Final = 0.6
WEIGHT_HISTORY: Final = 0.3
"""Failed at some time since the last clear, and nothing more."""

MAX_TEXT: Final = 4000
MAX_ITEMS: Final = 500

_DTC: Final = re.compile(r"([PCBU][0-3][0-9A-F]{3})(?:[-:]?([0-9A-F]{2}))?(?:@(\S+))?", re.IGNORECASE)
_STATUS_BYTE: Final = re.compile(r"0x[0-9a-f]{1,2}|[0-9][0-9a-f]|[a-f][0-9]|[0-9]")
_J1939: Final = re.compile(r"SPN\s*(\d+)\s*FMI\s*(\d+)(?:@(\S+))?", re.IGNORECASE)
_ROLES: Final = frozenset(role.value for role in EcuRole) - {"unknown"}
ROLE_WORDS: Final = tuple(sorted(_ROLES))
"""What may stand behind the @ of a code, besides an ECU's address."""
_ALIASES: Final = {
    "obc": "charger",
    "inv": "inverter",
    "mcu": "inverter",
    "pcu": "inverter",
    "ecm": "engine",
    "pcm": "engine",
    "tcm": "transmission",
    "abs": "brakes",
    "esp": "brakes",
    "bcm": "body",
    "gw": "gateway",
    "eps": "steering",
    "tpms": "tyres",
    "ic": "cluster",
    "ipc": "cluster",
    "srs": "airbag",
    "tbox": "telematics",
    "t-box": "telematics",
    "tms": "thermal",
    "motor": "inverter",
    "battery": "bms",
    "hcu": "vcu",
    "becm": "bms",
    "bmu": "bms",
    "dc/dc": "dcdc",
}


@dataclass(frozen=True, slots=True)
class DtcSeen:
    """One code that an ECU reported.

    Args:
        role: the ECU's role, None when not known.
        failure_type: two hex digits, None without.
        weight: 1 confirmed or failing now, 0.6 pending, 0.3 history only.
        state: ``confirmed``, ``active``, ``pending`` or ``history``.
        ecu: the address as read, for the explanation.
    """

    code: str
    role: str | None = None
    failure_type: str | None = None
    weight: float = WEIGHT_CONFIRMED
    state: str = "confirmed"
    ecu: str | None = None

    @property
    def display(self) -> str:
        """``P0AA6-1A``."""
        return f"{self.code}-{self.failure_type}" if self.failure_type else self.code


@dataclass(frozen=True, slots=True)
class VehicleFacets:
    """What is known of the vehicle; everything lower case, None where not known."""

    make: str | None = None
    model: str | None = None
    model_year: int | None = None
    batch: str | None = None
    software: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """What is known, as the question's JSON says it."""
        told: dict[str, object] = {}
        if self.make:
            told["make"] = self.make
        if self.model:
            told["model"] = self.model
        if self.model_year:
            told["model_year"] = self.model_year
        if self.batch:
            told["batch"] = self.batch
        if self.software:
            told["software"] = dict(self.software)
        return told


@dataclass(frozen=True, slots=True)
class Query:
    """Everything that is known of one car at one visit.

    Args:
        features: battery figures that were really measured, by the names of ``BatteryState.features``.
        findings: finding code -> its title.
        silent: roles of ECUs that were expected and did not answer.
        read: roles that were asked and answered completely: where a missing code says something.
        causes: what the readings rank behind codes and findings: code without prefix -> odds and title.
        scanned: whether the findings come from a scan, so that a missing finding says something.
        simulated: the simulated car; its outcome never counts.
    """

    symptom: str = ""
    vehicle: VehicleFacets = field(default_factory=VehicleFacets)
    dtcs: tuple[DtcSeen, ...] = ()
    features: Mapping[str, float] = field(default_factory=dict)
    findings: Mapping[str, Text] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    scanned: bool = False
    simulated: bool = False
    causes: Mapping[str, tuple[float, Text]] = field(default_factory=dict)

    def evidence_json(self) -> dict[str, Any]:
        """The evidence as the JSON that :meth:`from_json` reads, without complaint and vehicle."""
        told: dict[str, Any] = {
            "dtcs": [
                {
                    "code": dtc.code, "failure_type": dtc.failure_type, "ecu_role": dtc.role, "ecu": dtc.ecu,
                    "status": dtc.state,
                }
                for dtc in self.dtcs
            ],
            "features": dict(self.features),
            "findings": [{"code": code, "title": title.to_json()} for code, title in self.findings.items()],
            "causes": [
                {"code": f"cause.{name}", "odds": odds, "title": title.to_json()}
                for name, (odds, title) in self.causes.items()
            ],
            "silent": list(self.silent),
            "read": list(self.read),
        }  # fmt: skip
        return {key: value for key, value in told.items() if value or (key == "findings" and self.scanned)}

    @classmethod
    def from_report(cls, report: VehicleReport, symptom: str = "") -> Query:
        """The question that a scan asks, with the customer's words where there are any."""
        return cls.from_json(report.to_json(), symptom=symptom)

    @classmethod
    def from_json(cls, line: object, symptom: str = "") -> Query:
        """One line of ``case find --jsonl``, or a whole ``huizhen.scan/1``.

        Raises:
            BadEvidence: the line, or a key of it, has the wrong shape.
        """
        if not isinstance(line, Mapping):
            raise BadEvidence("line", Text("not a JSON object", "不是 JSON 对象"))
        if str(line.get("schema") or "").startswith("huizhen.scan/"):
            return _query_from_scan(line, symptom)
        said = _text(line, "symptom")
        return cls(
            symptom="\n".join(part for part in (said, symptom[:MAX_TEXT]) if part),
            vehicle=_vehicle(line),
            dtcs=_unique(parse_dtc(item) for item in _items(line, "dtcs")),
            features=_features(line),
            findings=_findings(line),
            silent=_roles(line, "silent"),
            read=_roles(line, "read"),
            scanned="findings" in line,
            simulated=line.get("simulated") is True,
            causes=_causes(line),
        )


def _query_from_scan(scan: Mapping[str, Any], symptom: str) -> Query:
    ecus = [ecu for ecu in _items(scan, "ecus") if isinstance(ecu, Mapping)]
    role_of = {str(ecu.get("address")): _role(ecu.get("role")) for ecu in ecus}
    lost = [item for item in _items(scan, "unanswered") if isinstance(item, Mapping)]
    lost_roles = {role for item in lost if (role := _role(item.get("role")))}
    lost_addresses = {str(item.get("address")) for item in lost}
    # A unit of J1939 has codes of its own kind: that it sets none of J2012's says nothing.
    mute = lost_addresses | {str(ecu.get("address")) for ecu in ecus if ecu.get("protocol") == "j1939"}
    complete = {role for address, role in role_of.items() if role and address not in mute} - lost_roles
    battery = scan.get("battery")
    seen: list[DtcSeen | None] = []
    for item in _items(scan, "dtcs"):
        if isinstance(item, Mapping) and item.get("ecu") is not None and not item.get("ecu_role"):
            seen.append(parse_dtc({**item, "ecu_role": role_of.get(str(item["ecu"]))}))
        else:
            seen.append(parse_dtc(item))
    return Query(
        symptom="\n".join(part for part in (_text(scan, "symptom"), symptom[:MAX_TEXT]) if part),
        vehicle=_vehicle(scan),
        dtcs=_unique(seen),
        features=_features(battery) if isinstance(battery, Mapping) else {},
        findings=_findings(scan),
        silent=tuple(sorted(lost_roles - {role for role in role_of.values() if role})),
        read=tuple(sorted(complete)),
        scanned=True,
        simulated=scan.get("simulated") is True,
        causes=_causes(scan),
    )


def parse_dtc(item: object) -> DtcSeen | None:
    """One code as people and programs write it; None when its test never failed.

    ``"P0AA6-1A"``, ``"P0AA6@bms"``, or an object with ``code``, ``failure_type``, ``ecu_role``, ``status`` (a word, the
    status byte as a number or in hex, or the object of a scan) and ``kind``.

    Raises:
        BadEvidence: it is no code.
    """
    if isinstance(item, str):
        return _dtc_from_text(item.strip())
    if not isinstance(item, Mapping) or not isinstance(item.get("code"), str):
        raise BadEvidence("dtcs", Text(f"{_short(item)} is not a code", f"{_short(item)} 不是故障码"))
    base = _dtc_from_text(str(item["code"]).strip())
    failure = item.get("failure_type", base.failure_type)
    if isinstance(failure, int) and not isinstance(failure, bool) and 0 <= failure <= 255:
        failure = f"{failure:02X}"
    failure = failure.strip().upper() if isinstance(failure, str) else base.failure_type
    state = _state(item.get("status"), item.get("kind"))
    if state is None:
        return None
    ecu = item.get("ecu")
    return DtcSeen(
        base.code,
        _role(item.get("ecu_role")) or _role(ecu) or base.role,
        failure if failure not in ("", "00") else None,
        {"history": WEIGHT_HISTORY, "pending": WEIGHT_PENDING}.get(state, WEIGHT_CONFIRMED),
        state,
        ecu if isinstance(ecu, str) else base.ecu,
    )


@lru_cache(maxsize=1 << 14)
def _dtc_from_text(text: str) -> DtcSeen:
    if found := _DTC.fullmatch(text):
        code, failure, where = found.groups()
        failure = failure.upper() if failure else None
        return DtcSeen(code.upper(), _role(where), failure if failure != "00" else None, ecu=where)
    if found := _J1939.fullmatch(text):
        spn, fmi, where = found.groups()
        return DtcSeen(f"SPN {int(spn)} FMI {int(fmi)}", _role(where), ecu=where)
    raise BadEvidence("dtcs", Text(f"'{text[:40]}' is not a code", f"“{text[:40]}”不是故障码"))


_WORDS: Final[Mapping[str, str | None]] = {
    "active": "active",
    "present": "active",
    "current": "active",
    "failing": "active",
    "testfailed": "active",
    "pending": "pending",
    "pendingdtc": "pending",
    "history": "history",
    "historic": "history",
    "past": "history",
    "passed": None,
    "untested": None,
    "none": None,
}
"""Words for a code's state; every other word counts as confirmed."""


def _state(status: object, kind: object) -> str | None:
    if isinstance(status, Mapping):
        if any(name in status for name in STATUS_BITS):
            return _state_from_bits({name for name in STATUS_BITS if status.get(name) is True})
        return _state(status.get("mask"), kind)
    if isinstance(status, list):
        return _state_from_bits({name for name in status if isinstance(name, str)}) if status else None
    if isinstance(status, str):
        word = status.strip().lower()
        if _STATUS_BYTE.fullmatch(word):
            return _state(int(word, 16), kind)
        return _WORDS.get(word, "confirmed")
    if isinstance(status, int) and not isinstance(status, bool):
        return _state_from_bits({name for i, name in enumerate(STATUS_BITS) if status >> i & 1})
    kinds = set(kind) if isinstance(kind, list) and all(isinstance(word, str) for word in kind) else set()
    return "pending" if kinds == {"pending"} else "confirmed"


def _state_from_bits(bits: set[str]) -> str | None:
    if "testFailed" in bits:
        return "active"
    if "confirmedDTC" in bits:
        return "confirmed"
    if bits & {"pendingDTC", "testFailedThisOperationCycle"}:
        return "pending"
    return "history" if "testFailedSinceLastClear" in bits else None


def _unique(seen: Iterator[DtcSeen | None] | list[DtcSeen | None]) -> tuple[DtcSeen, ...]:
    """Each (role, code, failure type) once, with its strongest state, in a fixed order."""
    best: dict[tuple[str, str, str], DtcSeen] = {}
    for dtc in seen:
        if dtc is None:
            continue
        key = (dtc.role or "", dtc.code, dtc.failure_type or "")
        if key not in best or dtc.weight > best[key].weight:
            best[key] = dtc
    return tuple(best[key] for key in sorted(best))


def _role(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    word = value.strip().lower()
    word = _ALIASES.get(word, word)
    return word if word in _ROLES else None


def _roles(line: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(sorted({role for item in _items(line, key) if (role := _role(item))}))


def _items(line: Mapping[str, Any], key: str) -> list[Any]:
    value = line.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadEvidence(key, Text("must be a list", "必须是列表"))
    if len(value) > MAX_ITEMS:
        raise BadEvidence(key, Text(f"more than {MAX_ITEMS} entries", f"超过 {MAX_ITEMS} 项"))
    return value


def _text(line: Mapping[str, Any], key: str) -> str:
    value = line.get(key)
    if value is None:
        return ""
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "\n".join(value)[:MAX_TEXT]
    raise BadEvidence(key, Text("must be text", "必须是文本"))


def _features(line: Mapping[str, Any]) -> dict[str, float]:
    values = line.get("features")
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise BadEvidence("features", Text("must be an object", "必须是对象"))
    out = {}
    for name, value in values.items():
        if isinstance(name, str) and isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                continue
            if math.isfinite(number):
                out[name] = number
    return out


def _findings(line: Mapping[str, Any]) -> dict[str, Text]:
    out: dict[str, Text] = {}
    for item in _items(line, "findings"):
        code = item.get("code") if isinstance(item, Mapping) else item
        if not isinstance(code, str):
            raise BadEvidence("findings", Text(f"{_short(item)} is not a finding", f"{_short(item)} 不是诊断结论"))
        title = item.get("title") if isinstance(item, Mapping) else None
        if isinstance(title, Mapping) and isinstance(title.get("en"), str) and isinstance(title.get("zh"), str):
            out[code] = Text(title["en"], title["zh"])
        else:
            out[code] = Text(code, code)
    return out


def _causes(line: Mapping[str, Any]) -> dict[str, tuple[float, Text]]:
    """The causes that a scan ranks, by their odds."""
    out: dict[str, tuple[float, Text]] = {}
    for item in _items(line, "causes"):
        if not isinstance(item, Mapping) or not isinstance(item.get("code"), str):
            raise BadEvidence("causes", Text(f"{_short(item)} is not a cause", f"{_short(item)} 不是原因"))
        odds, title = item.get("odds"), item.get("title")
        name = item["code"].removeprefix("cause.")
        if isinstance(odds, int | float) and not isinstance(odds, bool) and 0.0 < odds <= 1.0:
            told = isinstance(title, Mapping) and isinstance(title.get("en"), str) and isinstance(title.get("zh"), str)
            text = Text(title["en"], title["zh"]) if told and isinstance(title, Mapping) else Text(name, name)
            out[name] = float(odds), text
    return out


def _vehicle(line: Mapping[str, Any]) -> VehicleFacets:
    value = line.get("vehicle")
    if value is None:
        return VehicleFacets()
    if not isinstance(value, Mapping):
        raise BadEvidence("vehicle", Text("must be an object", "必须是对象"))
    software = value.get("software")
    return VehicleFacets(
        _facet(value.get("make")),
        _facet(value.get("model")),
        _year(value.get("model_year")),
        _facet(value.get("batch")),
        {str(k): str(v) for k, v in software.items()} if isinstance(software, Mapping) else {},
    )


def _facet(value: object) -> str | None:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return " ".join(str(value).lower().split())[:100] or None
    return None


def _year(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and math.isfinite(value):
        value = int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{4}\s*", value):
        value = int(value)
    return value if isinstance(value, int) and 1900 <= value <= 2100 else None


def _short(item: object) -> str:
    return repr(item)[:40]
