"""What a saved scan and a battery report have to look like before anything is made of them.

The file may come from anywhere. A shape is a literal: a type, ``None``, a tuple of choices, ``[shape]`` for a list,
``{name: shape}`` for an object (``name?`` may be missing, further names are let through), ``Mapping(shape)`` for an
object of any names. What does not fit is told by its place: ``dtcs[3].status.mask``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from diag.facts import Text

__all__ = ["BATTERY", "EVENT", "SCAN", "NotOfThisForm", "check_form"]

_MOST_ITEMS: Final = 100_000
_MOST_TEXT: Final = 20_000
_MOST_NUMBER: Final = 1e15
_TWO: Final = 2


class NotOfThisForm(ValueError):
    """A value is not what it has to be.

    Args:
        place: where it stands.
        what: what it has to be; None where it is missing.
    """

    def __init__(self, place: str, what: Text | None) -> None:
        super().__init__(place)
        self.place, self.what = place, what


@dataclass(frozen=True, slots=True)
class _Mapping:
    inner: Any


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two numbers, the lower first."""


@dataclass(frozen=True, slots=True)
class _Time:
    """A time with its distance from UTC, of the years in which there are cars to be read."""


@dataclass(frozen=True, slots=True)
class _Word:
    """A text of one kind."""

    pattern: re.Pattern[str]
    what: Text


_TEXT: Final = {"en": str, "zh": str}
_TIME: Final = _Time()
_PAIR: Final = _Pair()
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_YEARS: Final = range(1980, 2200)
_MASK: Final = _Word(re.compile(r"0x[0-9A-Fa-f]{2}"), Text("a status byte like 0x2F", "状态字节，如 0x2F"))
_SEVERITY: Final = _Word(
    re.compile("stop|soon|monitor|low"), Text("stop, soon, monitor or low", "stop、soon、monitor 或 low")
)
_VERDICT: Final = _Word(re.compile("direct|test|expert|unknown|none"), Text("a verdict on cases", "案例结论"))

_EVIDENCE: Final = {"kind": str, "ref": str, "text": _TEXT, "value": (float, None), "unit": str}
_FINDING: Final = {
    "code": str, "severity": _SEVERITY, "title": _TEXT, "evidence": [_EVIDENCE], "safety?": [_TEXT],
}  # fmt: skip
_REJECTED: Final = {"signal": str, "why": _TEXT, "n": int}
_SOH: Final = {"percent": float, "interval": (_PAIR, None), "method": str}
_BATTERY_PART: Final = {
    "source?": str, "cell_v": [(float, None)], "cell_labels?": [str], "temperatures_c?": [(float, None)],
    "pack_v?": (float, None), "current_a?": (float, None), "spread_mv": (float, None), "soc": (float, None),
    "weakest": ({"cell": int, "why": (_TEXT, None)}, None), "soh": (_SOH, None), "insulation_kohm": (float, None),
    "features": _Mapping((float, None)), "rejected": [_REJECTED],
}  # fmt: skip
_READING: Final = {"name": str, "value": (float, str, None), "unit": str, "raw": str, "text?": _TEXT}
_REASON: Final = {"en": str, "zh": str}
_MATCH: Final = {
    "source_id": str, "title": _TEXT, "p": float, "interval": _PAIR, "because": [_REASON], "against": [_REASON],
    "fix": _TEXT,
}  # fmt: skip
_TEST: Final = {"title": _TEXT, "how?": _TEXT, "minutes?": float}
_CASES: Final = {
    "verdict": _VERDICT, "matches": [_MATCH], "next_test": (_TEST, None), "p_unknown?": float, "unexplained?": [str],
}  # fmt: skip

SCAN: Final = {
    "started": _TIME, "duration_s": float, "complete": bool, "simulated": bool,
    "link": {"interface": str, "channel": str, "bitrate?": (int, None)},
    "vehicle": {"vin": (str, None), "vin_valid?": (bool, None), "make": (str, None), "model?": (str, None),
                "model_year": (int, None)},
    "ecus": [{"address": str, "name": str, "role": str, "protocol": str, "identification": _Mapping(str),
              "codes_read?": bool}],
    "dtcs": [{"display": str, "code": str, "ecu": (str, None), "status": ({"mask": _MASK}, None), "kind": [str],
              "text": (_TEXT, None), "severity": _SEVERITY, "occurrences?": (int, None), "raw": str}],
    "freeze_frames": [{"ecu": str, "code": str, "record": int, "source": str, "readings": [_READING], "raw": str}],
    "readiness": _Mapping({"ready?": (bool, None), "mil_on?": (bool, None), "monitors?": _Mapping((bool, None))}),
    "battery": (_BATTERY_PART, None), "findings": [_FINDING],
    "causes?": [{"code": str, "title": _TEXT, "trouble": int, "odds": float, "likely": bool, "because": [_EVIDENCE]}],
    "cases?": (_CASES, None), "unanswered": [{"address": str, "why": _TEXT}], "notes?": [_TEXT],
    "dtc_changes?": [{"t": _TIME, "ecu": str, "code": str, "before": (_MASK, None), "after": (_MASK, None)}],
}  # fmt: skip
"""``huizhen.scan/1``, as far as a report uses it."""

_METHOD: Final = {
    "method": str, "name": _TEXT, "capacity_ah": (float, None), "interval_ah": (_PAIR, None),
    "percent": (float, None), "interval": (_PAIR, None),
}  # fmt: skip
_STUDY: Final = {
    "seconds": float, "cell_type": (str, None), "pack_resistance_mohm": (float, None),
    "causes": [{"cell": int, "cause": str}],
    "not_visible": [{"what": str, "why": _TEXT, "remedy": _TEXT}],
}  # fmt: skip
BATTERY: Final = {
    **_BATTERY_PART, "started": (_TIME, None), "simulated?": bool, "soh_methods": [_METHOD],
    "soh_missing": (_TEXT, None), "study": (_STUDY, None), "warranty_percent": float, "warranty_years": float,
    "findings": [_FINDING],
}  # fmt: skip
"""``huizhen.battery/1``, as far as a report uses it."""

EVENT: Final = {
    "time": _TIME, "frames_file": str, "from_s": float, "to_s": float, "whole": bool,
    "reasons": [{"s": float, "text": _TEXT}], "moved?": [{"signal": str, "unit": str, "s": float}],
}  # fmt: skip
"""``huizhen.event/1``: what the flight recorder kept."""

_WORDS: Final = {
    str: Text("a text", "文本"), bool: Text("true or false", "true 或 false"), int: Text("a whole number", "整数"),
    float: Text("a number", "数字"), None: Text("null", "null"),
}  # fmt: skip


def check_form(value: Any, shape: Any, place: str = "") -> None:
    """Holds a value against a shape.

    Raises:
        NotOfThisForm: says where and what it has to be.
    """
    if isinstance(shape, tuple):
        if value is not None or None not in shape:
            _check_choice(value, shape, place)
    elif isinstance(shape, dict):
        _check_object(value, shape, place)
    elif isinstance(shape, list):
        if not isinstance(value, list) or len(value) > _MOST_ITEMS:
            raise NotOfThisForm(place, Text("a list", "数组"))
        for at, item in enumerate(value):
            check_form(item, shape[0], f"{place}[{at}]")
    elif isinstance(shape, _Mapping):
        _check_mapping(value, shape, place)
    elif isinstance(shape, _Pair):
        _check_pair(value, place)
    else:
        _check_value(value, shape, place)


def _check_value(value: Any, shape: Any, place: str) -> None:
    if isinstance(shape, _Time):
        if not _is_time(value):
            raise NotOfThisForm(place, Text("a time like 2026-01-31T12:00:00Z", "时间，如 2026-01-31T12:00:00Z"))
    elif isinstance(shape, _Word):
        if not isinstance(value, str) or not shape.pattern.fullmatch(value):
            raise NotOfThisForm(place, shape.what)
    elif not _is_of_kind(value, shape):
        raise NotOfThisForm(place, _WORDS[shape])


def _check_mapping(value: Any, shape: _Mapping, place: str) -> None:
    if not isinstance(value, dict) or len(value) > _MOST_ITEMS or not all(map(_is_told, value)):
        raise NotOfThisForm(place, _object_words())
    for name, item in value.items():
        check_form(item, shape.inner, f"{place}.{name[:40]}")


def _check_pair(value: Any, place: str) -> None:
    check_form(value, [float], place)
    if len(value) != _TWO or value[0] > value[1]:
        raise NotOfThisForm(place, Text("two numbers, the lower first", "两个数字，小的在前"))


def _object_words() -> Text:
    return Text("an object", "对象")


def _is_time(value: Any) -> bool:
    if not isinstance(value, str) or not _STAMP.fullmatch(value):
        return False
    try:
        return datetime.fromisoformat(value).year in _YEARS
    except ValueError:
        return False


def _is_told(text: str) -> bool:
    """A text that can be written again: not endless, and no half of a surrogate pair, which JSON lets through."""
    return len(text) <= _MOST_TEXT and not any(0xD800 <= ord(char) < 0xE000 for char in text)


def _is_of_kind(value: Any, shape: Any) -> bool:
    if shape is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST_NUMBER
    if shape is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MOST_NUMBER
    if shape is str:
        return isinstance(value, str) and _is_told(value)
    if shape is bool:
        return isinstance(value, bool)
    if isinstance(shape, _Time | _Word):
        return isinstance(value, str)
    return isinstance(value, list) if isinstance(shape, list | _Pair) else isinstance(value, dict)


def _check_choice(value: Any, shapes: tuple[Any, ...], place: str) -> None:
    fitting = [one for one in shapes if one is not None and _is_of_kind(value, one)]
    if not fitting:
        raise NotOfThisForm(place, _WORDS[shapes[0]] if shapes[0] in (str, bool, int, float) else _object_words())
    check_form(value, fitting[0], place)


def _check_object(value: Any, shape: dict[str, Any], place: str) -> None:
    if not isinstance(value, dict):
        raise NotOfThisForm(place, _object_words())
    dot = "." if place else ""
    for name, inner in shape.items():
        key = name.removesuffix("?")
        if key in value:
            check_form(value[key], inner, f"{place}{dot}{key}")
        elif not name.endswith("?"):
            raise NotOfThisForm(f"{place}{dot}{key}", None)
