"""What a report says, in both languages and without any layout: the JSON that is signed and that the page is made of.

The customer's content is not the workshop's with parts hidden: what the customer does not need is not in it, neither in
the page nor in the JSON.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from consult.chain import canonical
from diag.facts import Text
from diag.personal import without_names
from huizhen import __version__
from huizhen.reports.cells import battery_content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.facts import Json
    from diag.repairproof import Proof
    from huizhen.reports.source import ReportSource

__all__ = ["AUDIENCES", "KINDS", "SCHEMA", "content_of", "report_now", "report_of"]

SCHEMA: Final = "huizhen.report/1"
KINDS: Final = ("intake", "interim", "post", "battery")
AUDIENCES: Final = ("workshop", "customer")
_RANKS: Final = ("stop", "soon", "monitor", "low")
_BATTERY: Final = ("battery.", "thermal.", "insulation.", "hv.", "data.cell")
_HIGH_VOLTAGE: Final = frozenset({"bms", "charger", "inverter", "dcdc"})
"""Control units that only a car with high voltage has; one whose battery is silent has it too."""
_CUSTOMER_VIN: Final = 6
_MOST_MATCHES: Final = 5
_FAULT: Final = 0x0D


def report_of(source: ReportSource, content: Json, *, kind: str, audience: str, made: str, made_by: str) -> Json:
    """``huizhen.report/1`` without its signature.

    Args:
        source: what it was made of.
        content: as :func:`content_of` gives it.
        kind: one of :data:`KINDS`.
        audience: one of :data:`AUDIENCES`.
        made: UTC, ISO 8601.
        made_by: program and version.
    """
    told: Json = {
        "kind": kind,
        "audience": audience,
        "source": {"schema": source.value["schema"], "sha256": source.sha256, "bundle": source.session is not None},
        "content": content,
    }
    # The digest is of what is said, not of when: the same scan gives the same one, on paper and in a file.
    return {
        "schema": SCHEMA,
        "made": made,
        "made_by": made_by,
        **told,
        "sha256": hashlib.sha256(canonical(told).encode()).hexdigest(),
    }


def report_now(source: ReportSource, content: Json, *, kind: str, audience: str) -> Json:
    """The same, made now by this version."""
    made = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return report_of(source, content, kind=kind, audience=audience, made=made, made_by=f"Huizhen {__version__}")


def content_of(
    source: ReportSource,
    *,
    kind: str,
    audience: str,
    proof: Proof | None = None,
    before: ReportSource | None = None,
    study: Json | None = None,
    moments: Sequence[Json] = (),
) -> Json:
    """What the report says.

    Args:
        source: the scan, or the battery report.
        kind: one of :data:`KINDS`.
        audience: one of :data:`AUDIENCES`.
        proof: of a repair, for ``post``.
        before: the scan before the repair, likewise.
        study: ``huizhen.battery/1`` made of a bundle's frames.
        moments: what signals did around faults.
    """
    value = source.value
    for_customer = audience == "customer"
    findings = _findings(value["findings"], kind)
    battery = source.battery
    content: Json = {
        "started": value["started"],
        "simulated": bool(value.get("simulated", False)),
        "complete": bool(value.get("complete", True)),
        "vehicle": _vehicle(value.get("vehicle"), for_customer=for_customer),
        "drive": _drive(source, findings, proof, kind),
        "fire": _is_fire(findings),
        "high_voltage": battery is not None
        or any(finding["safety?"] for finding in findings)
        or not _HIGH_VOLTAGE.isdisjoint(_roles(value).values()),
        "findings": [_finding(finding, for_customer=for_customer, roles=_roles(value)) for finding in findings],
        "safety": _steps(findings),
        "complaint": _complaint(source, for_customer=for_customer),
        "battery": battery_content(source, study, for_customer=for_customer),
        "unanswered": _unanswered(value, kind, for_customer=for_customer),
        "codes": _code_list(value) if kind != "battery" else [],
        "proof": _proof(proof, before, for_customer=for_customer),
    }
    if for_customer:
        # How sure the workshop is, without its words for it.
        return {**content, "diagnosis": value["cases"]["verdict"] if value.get("cases") else None}
    return {
        **content,
        "moments": list(moments),
        "causes": _causes(value),
        "cases": _cases(value.get("cases")),
        "dtcs": _dtcs(value) if kind != "battery" else [],
        "dtc_changes": [dict(item) for item in value.get("dtc_changes", ())],
        "freeze_frames": _freeze_frames(value) if kind != "battery" else [],
        "ecus": _ecus(value) if kind != "battery" else [],
        "notes": [_text(note) for note in value.get("notes", ())],
        "people": _people(source),
    }


def _text(value: Json) -> Json:
    return {"en": str(value["en"]), "zh": str(value["zh"])}


def _vehicle(vehicle: Json | None, *, for_customer: bool) -> Json:
    if vehicle is None:
        return {"vin": None, "make": None, "model": None, "model_year": None}
    vin = vehicle["vin"]
    if vin and for_customer:
        vin = f"…{vin[-_CUSTOMER_VIN:]}"
    found = {"vin": vin, "make": vehicle["make"], "model": vehicle.get("model"), "model_year": vehicle["model_year"]}
    return found if for_customer else {**found, "vin_valid": vehicle.get("vin_valid")}


def _findings(findings: Sequence[Json], kind: str) -> list[Json]:
    """Those that the kind is about, most urgent first."""
    kept = [one for one in findings if kind != "battery" or one["code"].startswith(_BATTERY)]
    return [
        {**one, "safety?": one.get("safety", [])} for one in sorted(kept, key=lambda one: _RANKS.index(one["severity"]))
    ]


def _finding(finding: Json, *, for_customer: bool, roles: dict[str, str]) -> Json:
    told: Json = {"code": finding["code"], "severity": finding["severity"], "title": _text(finding["title"])}
    if for_customer:
        # Of the evidence only which part of the car it is about: the words are made of that.
        ecus = [item["ref"].partition(" ")[0] for item in finding["evidence"] if item["kind"] == "dtc"]
        del told["title"]
        return {**told, "part": next((roles[ecu] for ecu in ecus if ecu in roles), "unknown")}
    return {
        **told,
        "evidence": [
            {"kind": item["kind"], "ref": item["ref"], "text": _text(item["text"])} for item in finding["evidence"]
        ],
    }


def _roles(value: Json) -> dict[str, str]:
    return {ecu["address"]: ecu["role"] for ecu in value.get("ecus", ())}


def _drive(source: ReportSource, findings: Sequence[Json], proof: Proof | None, kind: str) -> str:
    """May it be driven: the most urgent finding; ``none`` only where all was answered and a repair is proven."""
    if findings:
        return str(findings[0]["severity"])
    value, battery = source.value, source.battery
    if kind == "battery":
        return "none" if battery and any(cell is not None for cell in battery["cell_v"]) else "unproven"
    is_whole = value["complete"] and value["ecus"] and not value["unanswered"]
    is_whole = is_whole and (proof is None or proof.outcome is None or proof.outcome.value == "fixed")
    return "none" if is_whole else "unproven"


def _safety_rules(name: str) -> list[Text]:
    from diag.limits import load_rules

    return [Text(step["en"], step["zh"]) for step in load_rules()["safety"][name]]


def _is_fire(findings: Sequence[Json]) -> bool:
    """A finding asks for the steps against a burning battery."""
    first = _safety_rules("thermal")[0].en
    return any(step["en"] == first for finding in findings for step in finding["safety?"])


def _steps(findings: Sequence[Json]) -> list[Json]:
    """What a person has to do before touching anything: the findings' own steps; those for high voltage in any case."""
    own = [_text(step) for finding in findings for step in finding["safety?"]]
    every = [*own, *(step.to_json() for step in _safety_rules("hv"))]
    return list({step["en"]: step for step in every}.values())


def _complaint(source: ReportSource, *, for_customer: bool) -> str | None:
    if source.session is None:
        return None
    told = source.session.tape.settings.get("symptom")
    if not isinstance(told, str) or not told.strip():
        return None
    vin = source.value.get("vehicle", {}).get("vin")
    return without_names(told.strip(), vins=[vin] if vin else []) if for_customer else told.strip()


def _people(source: ReportSource) -> Json:
    """Notes and consents of a bundle, as people wrote them."""
    if source.session is None:
        return {"notes": [], "consents": []}
    return {
        name: [{"t": str(one.get("t", "")), "text": str(one.get("text", ""))} for one in source.session.texts(name)]
        for name in ("notes", "consents")
    }


def _causes(value: Json) -> list[Json]:
    troubles = [cause["trouble"] for cause in value.get("causes", ())]
    return [
        {
            "title": _text(cause["title"]),
            "trouble": cause["trouble"],
            # Odds against nobody would be 100 %, and say nothing.
            "odds": min(0.99, cause["odds"]) if troubles.count(cause["trouble"]) > 1 else None,
            "likely": cause["likely"],
            "because": [_text(item["text"]) for item in cause["because"]],
        }
        for cause in value.get("causes", ())
    ]


def _cases(cases: Json | None) -> Json | None:
    if cases is None:
        return None
    test = cases["next_test"]
    return {
        "verdict": cases["verdict"],
        "matches": [
            {
                "source_id": match["source_id"],
                "title": _text(match["title"]),
                "p": match["p"],
                "interval": list(match["interval"])[:2],
                "because": [_text(reason) for reason in match["because"]],
                "against": [_text(reason) for reason in match["against"]],
                "fix": _text(match["fix"]),
            }
            for match in cases["matches"][:_MOST_MATCHES]
        ],
        "p_unknown": cases.get("p_unknown"),
        "unexplained": list(cases.get("unexplained", ())),
        "next_test": None
        if test is None
        else {
            "title": _text(test["title"]),
            "how": _text(test["how"]) if "how" in test else None,
            "minutes": test.get("minutes"),
        },
    }


def _is_fault(dtc: Json) -> bool:
    status = dtc["status"]
    return status is None or bool(int(status["mask"], 16) & _FAULT) or bool(dtc["kind"])


def _dtcs(value: Json) -> list[Json]:
    shown = [dtc for dtc in value.get("dtcs", ()) if _is_fault(dtc)]
    shown.sort(key=lambda dtc: _RANKS.index(dtc["severity"]))
    return [
        {
            "display": dtc["display"],
            "ecu": dtc["ecu"],
            "mask": dtc["status"]["mask"] if dtc["status"] else None,
            "kind": list(dtc["kind"]),
            "severity": dtc["severity"],
            "text": _text(dtc["text"]) if dtc["text"] else None,
            "occurrences": dtc.get("occurrences"),
            "raw": dtc["raw"],
        }
        for dtc in shown
    ]


def _code_list(value: Json) -> list[str]:
    """The codes alone, for the small print."""
    return list(dict.fromkeys(dtc["display"] for dtc in value.get("dtcs", ()) if _is_fault(dtc)))


def _freeze_frames(value: Json) -> list[Json]:
    """Moments that ECUs kept, codes with the same moment together, as the terminal shows them."""
    frames = value.get("freeze_frames", ())
    snapshots = [frame for frame in frames if frame["source"] == "uds-snapshot"]
    uds = {frame["code"].partition("-")[0] for frame in snapshots}
    moments: dict[tuple[Any, ...], Json] = {}
    for frame in frames:
        if frame["source"] == "obd-freeze-frame" and frame["code"].partition("-")[0] in uds:
            continue
        readings = [
            {
                "name": _text(item["text"]) if "text" in item else {"en": item["name"], "zh": item["name"]},
                "value": item["value"],
                "unit": item["unit"],
            }
            for item in frame["readings"]
            if item["value"] is not None
        ]
        if not readings:
            continue
        records = sum(other["ecu"] == frame["ecu"] and other["code"] == frame["code"] for other in snapshots)
        told = {"code": frame["code"], "record": frame["record"] if records > 1 else None}
        key = (frame["ecu"], canonical({"readings": readings}))
        moments.setdefault(key, {"ecu": frame["ecu"], "codes": [], "readings": readings})["codes"].append(told)
    return list(moments.values())


def _ecus(value: Json) -> list[Json]:
    from diag.facts import EcuRole
    from diag.findings import ROLE_NAMES

    known = {role.value: ROLE_NAMES[role].to_json() for role in EcuRole}
    versions = ("systemSupplierECUSoftwareVersionNumber", "vehicleManufacturerECUSoftwareVersionNumber")
    return [
        {
            "address": ecu["address"],
            "role": known.get(ecu["role"], known["unknown"]),
            "name": ecu["name"],
            "protocol": ecu["protocol"],
            "software": next((ecu["identification"][name] for name in versions if ecu["identification"].get(name)), ""),
        }
        for ecu in value.get("ecus", ())
    ]


def _unanswered(value: Json, kind: str, *, for_customer: bool) -> Any:
    """What was asked, or expected, and stayed silent; for the customer how many."""
    items = (
        []
        if kind == "battery"
        else [{"address": one["address"], "why": _text(one["why"])} for one in value.get("unanswered", ())]
    )
    if kind != "battery":
        unread = Text("it answered, but not when asked for its fault codes", "有应答，但未答复故障码请求")
        told = {item["address"] for item in items}
        items += [
            {"address": ecu["address"], "why": unread.to_json()}
            for ecu in value.get("ecus", ())
            if not ecu.get("codes_read", True) and ecu["address"] not in told
        ]
    return len(items) if for_customer else items


def _proof(proof: Proof | None, before: ReportSource | None, *, for_customer: bool) -> Json | None:
    if proof is None or before is None:
        return None
    value = proof.to_json()
    told: Json = {"before": before.value["started"], "before_sha256": before.sha256, "verdict": value["verdict"]}
    if for_customer:
        counts: dict[str, int] = {}
        for item in value["items"]:
            counts[item["outcome"]] = counts.get(item["outcome"], 0) + 1
        return {**told, "counts": counts, "drive": any(item["needed"] for item in value["items"])}
    figures = {name: pair for name, pair in value["figures"].items() if pair["before"] != pair["after"]}
    battery = before.value["battery"]
    return {
        **told,
        "complete": bool(before.value["complete"]),
        "items": value["items"],
        "figures": figures,
        "cell_v": list(battery["cell_v"]) if battery else [],
    }
