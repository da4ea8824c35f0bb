"""The car without its name: reports as an expert may see them.

The vehicle identification number leads to a person, so an expert sees its maker's part and its last four characters.
It hides in more places than one: ECUs give it as identification, and raw answers hold it as hex.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["pseudonym_from_vin", "redact_event", "redact_report", "redact_words", "vins_of_report"]

_OF_THE_CAR: Final = frozenset({"request", "result", "finish"})
"""Kinds of events in which the car itself speaks; in all others people do."""

_VIN_DIDS: Final = ("F190", "F802")
_HELD_BACK: Final = {"en": "this may tell the VIN; your role does not see it", "zh": "可能涉及车架号；您的角色无权查看"}
_TELLING: Final = 6
"""Characters of a VIN in a row that are more than the pseudonym tells."""

_MAY_BE_ANYTHING: Final = ("23", "2A", "2C")
_VIN: Final = re.compile(r"[A-HJ-NPR-Z0-9]{17}", re.IGNORECASE)
_VIN_CHARS: Final = 17
_FEWEST_DIGITS: Final = 4
_DIGEST: Final = re.compile(r"[0-9a-f]{24}|[0-9a-f]{64}")
_TYPED_VIN: Final = re.compile(r"(?<![A-Za-z0-9])[A-HJ-NPR-Z0-9]{17}(?![A-Za-z0-9])", re.IGNORECASE)
_VIN_WORD: Final = re.compile(r"(?<![A-Za-z0-9])[A-HJ-NPR-Z0-9]{17}(?![A-Za-z0-9])")


def pseudonym_from_vin(vin: str) -> str:
    """``LHZ…1234``: who built it and which of the cars at hand it is, and no more."""
    return f"{vin[:3]}…{vin[-4:]}"


def vins_of_report(report: dict[str, Any]) -> tuple[str, ...]:
    """Every VIN that a ``huizhen.scan/1`` object names: the car's own, and those its ECUs claim."""
    found: set[str] = set()
    vehicle = report.get("vehicle")
    if isinstance(vehicle, dict) and isinstance(vehicle.get("vin"), str) and vehicle["vin"]:
        found.add(vehicle["vin"])
    ecus = report.get("ecus")
    for ecu in ecus if isinstance(ecus, list) else []:
        fields = ecu.get("identification") if isinstance(ecu, dict) else None
        for key, value in fields.items() if isinstance(fields, dict) else []:
            if isinstance(value, str) and "vin" in key.lower() and _VIN.fullmatch(value):
                found.add(value)
    return tuple(sorted(found, key=len, reverse=True))


def redact_report(report: dict[str, Any]) -> dict[str, Any]:
    """A copy in which no VIN stands, neither as text nor as the hex of its characters."""
    return cast("dict[str, Any]", _without(report, vins_of_report(report)))


def redact_event(event: dict[str, Any], vins: Iterable[str]) -> dict[str, Any]:
    """An event without a VIN. In what the car says: those known, and whatever an answer about the VIN says.

    An answer that was cut, or of a car whose VIN nobody knew, is held back whole; so is what was written into it, and
    what looks like a VIN in an answer about anything else: that of a car from which an ECU came.
    """
    vins = tuple(vins)
    if event["kind"] not in _OF_THE_CAR:
        return cast("dict[str, Any]", redact_words(event, vins))
    body = event["body"]
    request = body.get("request") if isinstance(body.get("request"), dict) else body
    data = str(request.get("data", "")).upper() if isinstance(request, dict) else ""
    if _names_vin(data) or _holds_vin(body, vins):
        body = (
            {**body, "values": [], "answers": [], "guard": [], "text": dict(_HELD_BACK)} if "answers" in body else body
        )
        if data.startswith("2E") and isinstance(request, dict):
            short = {**request, "data": data[:6] + "…"}
            body = {**body, "request": short} if "request" in body else {**body, **short}
    return cast("dict[str, Any]", _without({**event, "body": body}, vins))


def redact_words(tree: Any, vins: Iterable[str]) -> Any:
    """What people said, and called their marks, files and themselves, without a VIN.

    The car's own goes with spaces or dashes in it too; any other is known only where it is typed whole.
    """
    patterns = [pattern for vin in vins for pattern in (_spread(vin), *_patterns_of(vin))]

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            if _DIGEST.fullmatch(value):
                return value
            for pattern, instead in patterns:
                value = pattern.sub(instead, value)
            return _TYPED_VIN.sub(_shown, value)
        if isinstance(value, dict):
            return {key: walk(child) for key, child in value.items()}
        return [walk(child) for child in value] if isinstance(value, list) else value

    return walk(tree)


@lru_cache(maxsize=1024)
def _spread(vin: str) -> tuple[re.Pattern[str], str]:
    return re.compile(r"[\s._-]{0,2}".join(map(re.escape, vin)), re.IGNORECASE), pseudonym_from_vin(vin)


def _shown(found: re.Match[str]) -> str:
    """A word of seventeen characters as it is shown: what has letters and at least four digits may be a VIN."""
    word = found.group()
    digits = sum(char.isdigit() for char in word)
    return pseudonym_from_vin(word) if _FEWEST_DIGITS <= digits < _VIN_CHARS else word


def _names_vin(data: str) -> bool:
    """Whether a request (hex) reads or writes the VIN, or may: memory, and identifiers that were made of others.

    Standard: ISO 14229-1:2020 Annex C (F190), SAE J1979 (09 02), SAE J1979-2 (F802).
    """
    if data.startswith("09"):
        return "02" in (data[at : at + 2] for at in range(2, len(data), 2))
    if data.startswith(_MAY_BE_ANYTHING):
        return True
    if data.startswith("22"):
        wanted = [data[at : at + 4] for at in range(2, len(data), 4)]
        return any(did in _VIN_DIDS or did.startswith(("F2", "F3")) for did in wanted)
    return data.startswith("2E") and data[2:6] in _VIN_DIDS


def _holds_vin(body: dict[str, Any], vins: tuple[str, ...]) -> bool:
    """Whether an answer holds a word of seventeen characters that is no VIN we know of, and may be one."""
    answers = body.get("answers")
    for answer in answers if isinstance(answers, list) else []:
        data = answer.get("data") if isinstance(answer, dict) else None
        try:
            said = bytes.fromhex(data).decode("latin-1") if isinstance(data, str) else ""
        except ValueError:
            continue
        if any(word not in vins for word in _VIN_WORD.findall(said)):
            return True
    return False


def _without(tree: Any, vins: Iterable[str]) -> Any:
    patterns = [pattern for vin in vins for pattern in _patterns_of(vin)]

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            for pattern, instead in patterns:
                value = pattern.sub(instead, value)
            return value
        if isinstance(value, dict):
            return {walk(key): walk(child) for key, child in value.items()}
        if isinstance(value, list):
            return [walk(child) for child in value]
        return value

    return walk(tree)


@lru_cache(maxsize=1024)
def _patterns_of(vin: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    whole = (re.compile(re.escape(vin), re.IGNORECASE), pseudonym_from_vin(vin))
    as_hex = (re.compile(vin.encode().hex(), re.IGNORECASE), "…")
    return (whole, as_hex, *((re.compile(part, re.IGNORECASE), "…") for part in _parts_of(vin) if part))


def _parts_of(vin: str) -> tuple[str, str]:
    """Patterns for a piece of a VIN that tells too much, in plain text and in hexadecimal digits; empty for none."""
    pieces = [vin[at:end] for at in range(len(vin)) for end in range(len(vin), at + _TELLING - 1, -1)]
    # Six digits alone may be any number; with a letter among them they are this car's.
    pieces = sorted((one for one in pieces if len(one) > _TELLING + 1 or not one.isdigit()), key=len, reverse=True)
    return "|".join(map(re.escape, pieces)), "|".join(one.encode().hex() for one in pieces)
