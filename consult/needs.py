"""What a car that waits for an expert needs: how urgent it is, and who knows such things. Pure.

Everything comes from the report (``huizhen.scan/1``) that the technician's laptop told its room, and none of it leads
to a person or to one car: no VIN, no plate, no position.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from diag.dtctext import find_code_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["ESCALATING", "SKILLS", "Need", "need_of_report", "skill_from_word", "verdict_of_report", "word_or_empty"]

ESCALATING: Final = frozenset({"expert", "unknown"})
"""Verdicts of the case library that call for an expert."""

SKILLS: Final = (
    "battery",
    "isolation",
    "charging",
    "drive",
    "thermal",
    "12v",
    "network",
    "adas",
    "body",
    "chassis",
    "engine",
    "software",
)
"""What a case can be about."""

_DANGERS: Final = {"shock": "isolation", "fire": "thermal", "heat": "thermal", "drive": "drive"}
"""What a code can do to people (its reason in :mod:`diag.dtctext`) -> the danger: isolation, thermal, loss of drive."""

_BY_REASON: Final[Mapping[str, tuple[str, ...]]] = {
    "pack_blind": ("battery",),
    "cell": ("battery",),
    "ageing": ("battery",),
    "contactor": ("battery",),
    "protection": ("battery",),
    "fire": ("battery", "thermal"),
    "shock": ("isolation",),
    "isolation_blind": ("isolation",),
    "charging": ("charging",),
    "motor": ("drive",),
    "drive": ("drive",),
    "heat": ("thermal",),
    "cooling": ("thermal",),
    "network": ("network",),
    "low_voltage": ("12v",),
    "comfort": ("body",),
    "engine": ("engine",),
}
_BY_FINDING: Final[Mapping[str, tuple[str, ...]]] = {
    "battery": ("battery",),
    "thermal": ("battery", "thermal"),
    "insulation": ("isolation",),
    "hv": ("battery",),
    "network": ("network",),
    "software": ("software",),
}
_BY_ROLE: Final[Mapping[str, tuple[str, ...]]] = {
    "bms": ("battery",),
    "charger": ("charging",),
    "inverter": ("drive",),
    "vcu": ("drive",),
    "transmission": ("drive",),
    "engine": ("engine",),
    "dcdc": ("12v",),
    "thermal": ("thermal",),
    "gateway": ("network",),
    "telematics": ("network",),
    "body": ("body",),
    "cluster": ("body",),
    "airbag": ("body",),
    "brakes": ("chassis",),
    "steering": ("chassis",),
    "tyres": ("chassis",),
}
_OTHER_WORDS: Final[Mapping[str, str]] = {
    "bms": "battery", "pack": "battery", "cell": "battery", "cells": "battery", "hv": "battery",
    "high-voltage": "battery", "电池": "battery", "动力电池": "battery", "insulation": "isolation", "绝缘": "isolation",
    "charge": "charging", "charger": "charging", "obc": "charging", "充电": "charging", "inverter": "drive",
    "motor": "drive", "powertrain": "drive", "vcu": "drive", "mcu": "drive", "电驱": "drive", "电机": "drive",
    "cooling": "thermal", "热管理": "thermal", "12 v": "12v", "dcdc": "12v", "低压": "12v", "can": "network",
    "gateway": "network", "网络": "network", "通信": "network", "智驾": "adas", "辅助驾驶": "adas", "车身": "body",
    "brakes": "chassis", "steering": "chassis", "底盘": "chassis", "发动机": "engine", "ota": "software",
    "软件": "software",
}  # fmt: skip
"""What people write of themselves for one of :data:`SKILLS`."""

_ADAS: Final = re.compile(r"adas|radar|camera|雷达|摄像|智驾", re.IGNORECASE)
_RANKS: Final = {"stop": 0, "soon": 1, "monitor": 2, "low": 3}
_MOST_SKILLS: Final = 3
_WORD: Final = re.compile(r"[\w .+/-]{1,40}")


@dataclass(frozen=True, slots=True)
class Need:
    """What somebody who takes the case should know.

    Args:
        severity: ``danger``, ``high`` or ``normal``, as notices have it.
        skills: of :data:`SKILLS`, the most needed first.
        dangers: of ``isolation thermal drive``.
        make: the car's, as the report writes it; empty when unknown.
        model: likewise.
        language: what the technician speaks, such as ``zh``; region: such as ``CN``; each may be empty.
        verdict: of the case library.
    """

    severity: str = "normal"
    skills: tuple[str, ...] = ()
    dangers: tuple[str, ...] = ()
    make: str = ""
    model: str = ""
    language: str = ""
    region: str = ""
    verdict: str = ""


def skill_from_word(word: str) -> str:
    """One of :data:`SKILLS` where the word means one, else the word itself in lower case."""
    plain = word.strip().casefold()
    return _OTHER_WORDS.get(plain, plain)


def word_or_empty(value: object) -> str:
    """A plain word from outside, or nothing."""
    return value.strip() if isinstance(value, str) and _WORD.fullmatch(value.strip()) else ""


def verdict_of_report(report: Mapping[str, Any]) -> str:
    """The case library's verdict in a report; empty where it was not asked."""
    cases = report.get("cases")
    verdict = cases.get("verdict") if isinstance(cases, dict) else None
    return verdict if verdict in ("direct", "test", "expert", "unknown", "none") else ""


def need_of_report(report: Mapping[str, Any], *, language: str = "", region: str = "") -> Need:
    """What a report asks for. Whatever is not as it should be in it is left out.

    ``danger`` is what stops the car now: a finding that says so, or a code of isolation, heat or loss of drive that
    fails at the moment. One that failed in the past, and what has to be seen to soon, is ``high``.
    """
    worst, dangers, weights = 3, dict[str, None](), dict[str, float]()
    for rank, skills, danger in (*_findings(report), *_codes(report)):
        worst = min(worst, rank)
        if rank == 0 and danger:
            dangers[danger] = None
        for place, skill in enumerate(skills):
            weights[skill] = weights.get(skill, 0.0) + 10.0 ** -(2 * rank) / (1 + place)
    most = max(weights.values(), default=0.0)
    # What a lesser fault asks for does not count beside a graver one: each rank weighs a hundredth of the one above.
    needed = sorted((skill for skill, weight in weights.items() if weight > most / 20), key=lambda one: -weights[one])
    vehicle = report.get("vehicle")
    vehicle = vehicle if isinstance(vehicle, dict) else {}
    return Need(
        severity="danger" if worst == 0 else "high" if worst == 1 else "normal",
        skills=tuple(needed[:_MOST_SKILLS]),
        dangers=tuple(dangers),
        make=word_or_empty(vehicle.get("make")),
        model=word_or_empty(vehicle.get("model")),
        language=language,
        region=region,
        verdict=verdict_of_report(report),
    )


def _objects(report: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = report.get(key)
    return [one for one in found[:2000] if isinstance(one, dict)] if isinstance(found, list) else []


def _rank(value: object) -> int:
    return _RANKS.get(value, 3) if isinstance(value, str) else 3


def _findings(report: Mapping[str, Any]) -> Iterator[tuple[int, Iterable[str], str]]:
    dangers = {"insulation": "isolation", "thermal": "thermal", "network": "drive", "hv": "isolation"}
    for finding in _objects(report, "findings"):
        family = str(finding.get("code", "")).partition(".")[0]
        yield _rank(finding.get("severity")), _BY_FINDING.get(family, ()), dangers.get(family, "")


def _codes(report: Mapping[str, Any]) -> Iterator[tuple[int, Iterable[str], str]]:
    ecus = {
        str(ecu.get("address")): (str(ecu.get("role")), str(ecu.get("name", ""))) for ecu in _objects(report, "ecus")
    }
    for dtc in _objects(report, "dtcs"):
        role, name = ecus.get(str(dtc.get("ecu")), ("", ""))
        known = find_code_text(str(dtc.get("code", "")))
        reason = known.reason if known else ""
        rank = _rank(dtc.get("severity"))
        status = dtc.get("status")
        if rank == 0 and isinstance(status, dict) and status.get("testFailed") is False:
            rank = 1
        skills = ("adas",) if _ADAS.search(name) else _BY_REASON.get(reason, ()) or _BY_ROLE.get(role, ())
        yield rank, skills, _DANGERS.get(reason, "")
