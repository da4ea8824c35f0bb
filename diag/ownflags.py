"""What the car's own units say of themselves in broadcast: fault flags that a database names.

A flag counts when its name says so (error, fault, failed, alarm), its values are few whole numbers, and it is set in
most of what was received. Names that say the opposite (``NoError``), counters and masks are left alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from diag.evidence import finding_of
from diag.facts import Evidence, Severity, Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.facts import Finding
    from diag.samples import Series

__all__ = ["find_flags"]

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_FAULT: Final = frozenset(
    ["err", "error", "errors", "fault", "faults", "faulted", "fail", "failed", "failure", "alarm"]
)
_NOT: Final = frozenset(
    [
        "no",
        "not",
        "free",
        "ok",
        "without",
        "count",
        "counter",
        "cnt",
        "number",
        "cat",
        "category",
        "code",
        "mask",
        "max",
        "min",
        "limit",
        "reset",
        "clear",
        "request",
        "req",
        "ack",
        "threshold",
        "sum",
        "crc",
        "checksum",
        "enable",
        "test",
        "state",
        "status",
        "mode",
        "steer",
        "steering",
        "lka",
        "lkas",
        "acc",
        "cruise",
        "radar",
        "camera",
        "adas",
    ]
)
"""Words that make another thing of it; those of driver assistance, whose "fault" is often "cannot just now", too."""
_URGENT: Final = frozenset(
    [
        "iso",
        "isolation",
        "insulation",
        "leak",
        "overvoltage",
        "overcurrent",
        "overtemp",
        "thermal",
        "cells",
        "cell",
        "contactor",
        "interlock",
        "hvil",
        "precharge",
    ]
)
_MOST_VALUES: Final = 4
_HIGHEST: Final = 15
_FEWEST: Final = 5
_SET_SHARE: Final = 0.8
_SHOWN: Final = 12
_NAMED: Final = 3


def find_flags(series: Mapping[str, Series]) -> list[Finding]:
    """One finding for all flags that are set; none where no flag is.

    Args:
        series: signal name -> series, as the database names them.
    """
    found: list[tuple[str, float]] = []
    words_of_all: set[str] = set()
    for name, item in series.items():
        words = _words(name)
        if item.unit or not words & _FAULT or words & _NOT:
            continue
        values = item.values[item.valid]
        kinds = np.unique(values)
        is_flag = len(values) >= _FEWEST and len(kinds) <= _MOST_VALUES and (kinds == np.rint(kinds)).all()
        if not is_flag or kinds[0] < 0 or kinds[-1] > _HIGHEST:
            continue
        # Two bits that are all ones say "not available" (SAE J1939-71), and so does every value where a unit sleeps.
        share = float(np.mean((values > 0) & (values != 3) if kinds[-1] == 3 else values > 0))
        if share >= _SET_SHARE:
            found.append((name, float(np.median(values))))
            words_of_all |= words
    if not found:
        return []
    evidence = []
    for name, value in found[:_SHOWN]:
        text = Text(f"{name} = {value:g} in what the unit broadcasts", f"{name} = {value:g}（控制器广播）")
        evidence.append(Evidence("flag", name, text, value))
    is_urgent = bool(words_of_all & _URGENT)
    names = ", ".join(name for name, _ in found[:_NAMED]) + (" …" if len(found) > _NAMED else "")
    severity = Severity.SOON if is_urgent else Severity.MONITOR
    return [finding_of("car.own-flags", evidence, severity, safety="hv" if is_urgent else "", flags=names)]


def _words(name: str) -> set[str]:
    return {word.lower() for part in re.split(r"[_\W]+", name) for word in _WORDS.findall(part)}
