"""What a trouble code means, in English and Chinese, and what has to be done about it.

The words are our own; the tables stand in ``diag/texts/*.csv`` and are read once, when the first text is asked for.
A code of a manufacturer's range never gets a generic meaning; a standard code that the table lacks gets the
meaning of its range, and its source says so.

Standard: SAE J2012 (ISO 15031-6) ranges and failure type byte; SAE J1939-73 failure mode identifiers; clauses
unverified.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from diag.facts import STATUS_BITS, EcuRole, Severity, Text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CodeText",
    "find_code_text",
    "find_failure_type",
    "find_fmi_severity",
    "find_fmi_text",
    "find_reason",
    "find_severity",
    "find_text",
    "load_codes",
    "load_failure_types",
    "load_reasons",
    "ranges",
    "status_bit_text",
]

_LETTERS: Final = "PCBU"

_MAKER: Final = Text("manufacturer specific", "厂家自定义")
_ROLES: Final[Mapping[EcuRole, Text]] = {
    EcuRole.VCU: Text("vehicle control", "整车控制器"),
    EcuRole.BMS: Text("battery management", "电池管理系统"),
    EcuRole.CHARGER: Text("on-board charger", "车载充电机"),
    EcuRole.INVERTER: Text("inverter", "电机控制器"),
    EcuRole.ENGINE: Text("engine", "发动机"),
    EcuRole.TRANSMISSION: Text("transmission", "变速器"),
    EcuRole.BRAKES: Text("brakes", "制动系统"),
    EcuRole.BODY: Text("body", "车身"),
    EcuRole.GATEWAY: Text("gateway", "网关"),
    EcuRole.DCDC: Text("DC/DC converter", "DC/DC 变换器"),
    EcuRole.THERMAL: Text("thermal management", "热管理控制器"),
    EcuRole.STEERING: Text("power steering", "助力转向"),
    EcuRole.TYRES: Text("tyre pressures", "胎压监测"),
    EcuRole.CLUSTER: Text("instrument cluster", "组合仪表"),
    EcuRole.AIRBAG: Text("airbags", "安全气囊"),
    EcuRole.TELEMATICS: Text("telematics", "车载终端"),
}

_REASON_UNKNOWN: Final = Text(
    "no text for this code: look it up in the maker's documents", "没有该故障码的说明：请查厂家资料"
)
_FMI_LEGACY: Final = Text(
    "; the SPN is in a legacy byte order that the message does not tell", "；SPN 采用旧版字节序，报文未说明是哪一种"
)

_OVERHEATED: Final = ("4B", "98")
_HEAT_REASONS: Final[Mapping[str, str]] = {
    "cooling": "heat",
    "motor": "heat",
    "charging": "heat",
    "low_voltage": "heat",
    "pack_blind": "fire",
}
"""Why a code is urgent in itself -> why it is when its failure type is one of overheating."""


@dataclass(frozen=True, slots=True)
class CodeText:
    """One row of the code table; ``reason`` names the row of ``reasons.csv`` that says why it is that urgent."""

    code: str
    text: Text
    severity: Severity
    reason: str


@dataclass(frozen=True, slots=True)
class CodeRange:
    """A block of code numbers and who gives them their meaning; ``text`` is None in a maker's block."""

    first: int
    last: int
    is_maker: bool
    text: Text | None


def _rows(name: str) -> list[dict[str, str]]:
    text = files("diag").joinpath("texts", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _number(code: str) -> int:
    return _LETTERS.index(code[0]) << 14 | int(code[1]) << 12 | int(code[2:5], 16)


@cache
def load_codes() -> Mapping[str, CodeText]:
    """Every standard code that has a text of its own."""
    return {
        row["code"]: CodeText(row["code"], Text(row["en"], row["zh"]), Severity(row["severity"]), row["reason"])
        for row in _rows("codes.csv")
    }


@cache
def load_failure_types() -> Mapping[str, Text]:
    """Failure type byte as two hex digits -> its meaning. Standard: SAE J2012-DA (ISO 15031-6)."""
    return {row["failure_type"]: Text(row["en"], row["zh"]) for row in _rows("failure_types.csv")}


@cache
def load_reasons() -> Mapping[str, Text]:
    """Why something is urgent and what to do: key -> sentence."""
    return {row["reason"]: Text(row["en"], row["zh"]) for row in _rows("reasons.csv")}


@cache
def ranges() -> tuple[CodeRange, ...]:
    """The blocks of J2012, which do not overlap; what lies in none is reserved."""
    return tuple(
        CodeRange(
            _number(row["first"]),
            _number(row["last"]),
            row["owner"] == "maker",
            Text(row["en"], row["zh"]) if row["en"] else None,
        )
        for row in _rows("ranges.csv")
    )


@cache
def _fmis() -> Mapping[int, tuple[Text, Severity]]:
    return {int(row["fmi"]): (Text(row["en"], row["zh"]), Severity(row["severity"])) for row in _rows("fmi.csv")}


@cache
def _status_bits() -> Mapping[str, Text]:
    return {row["name"]: Text(row["en"], row["zh"]) for row in _rows("status_bits.csv")}


def status_bit_text(name: str) -> Text:
    """One of :data:`diag.facts.STATUS_BITS` in words.

    Raises:
        KeyError: no such bit.
    """
    if name not in STATUS_BITS:
        raise KeyError(name)
    return _status_bits()[name]


def find_code_text(code: str) -> CodeText | None:
    """The row of a code without its failure type, ``P0AA6``."""
    return load_codes().get(code)


def find_failure_type(failure_type: str) -> Text | None:
    """A failure type byte in words, ``1A``; F0 to FF belong to the manufacturer."""
    if failure_type.startswith("F"):
        return _MAKER
    return load_failure_types().get(failure_type)


def _find_range(code: str) -> CodeRange | None:
    number = _number(code)
    return next((block for block in ranges() if block.first <= number <= block.last), None)


def find_text(code: str, failure_type: str | None = None, ecu_role: EcuRole | None = None) -> tuple[Text | None, str]:
    """What a J2012 code means, and where the words are from.

    Args:
        code: without failure type, ``P0AA6``.
        failure_type: two hex digits, which add how it failed.
        ecu_role: the ECU that reported it; names whose documents explain a manufacturer's code.

    Returns:
        The text or None, and its source: ``generic`` (this code), ``range`` (only its block is known),
        ``maker-range`` (the manufacturer's own number) or ``none``.
    """
    block = _find_range(code)
    if block and block.is_maker:
        role = _ROLES.get(ecu_role) if ecu_role else None
        return (Text(f"{_MAKER.en} ({role.en})", f"{_MAKER.zh}（{role.zh}）") if role else _MAKER), "maker-range"
    known = find_code_text(code)
    if known:
        text, source = known.text, "generic"
    elif block and block.text:
        text, source = Text(f"{block.text.en} (range only)", f"{block.text.zh}（仅知范围）"), "range"
    else:
        return None, "none"
    how = find_failure_type(failure_type) if failure_type not in (None, "00") else None
    return (Text(f"{text.en}: {how.en}", f"{text.zh}：{how.zh}") if how else text), source


def find_severity(code: str, failure_type: str | None = None) -> Severity:
    """What has to be done about a J2012 code; SOON when nothing is known of it.

    A failure type of overheating makes a standard code at least as urgent as the overheating itself.
    """
    known = find_code_text(code)
    if known is None:
        return Severity.SOON
    return Severity.STOP if _is_heated(known, failure_type) else known.severity


def _is_heated(known: CodeText, failure_type: str | None) -> bool:
    """The failure type says that something got too hot, which the code itself does not say."""
    return failure_type in _OVERHEATED and known.reason in _HEAT_REASONS


def find_reason(code: str, failure_type: str | None = None) -> Text:
    """Why a code is as urgent as :func:`find_severity` says."""
    known = find_code_text(code)
    if known is None:
        return _REASON_UNKNOWN
    return load_reasons()[_HEAT_REASONS[known.reason] if _is_heated(known, failure_type) else known.reason]


def find_fmi_text(fmi: int, *, legacy: bool = False) -> Text | None:
    """A J1939 failure mode identifier in words; None for the reserved ones.

    Args:
        fmi: 0..31.
        legacy: the record's conversion method is one of the old ones.

    Standard: SAE J1939-73, failure mode identifiers; clause unverified.
    """
    known = _fmis().get(fmi)
    if known is None:
        return None
    text = known[0]
    return Text(text.en + _FMI_LEGACY.en, text.zh + _FMI_LEGACY.zh) if legacy else text


def find_fmi_severity(fmi: int) -> Severity:
    """How urgent a failure mode is by itself; SOON for the reserved ones."""
    known = _fmis().get(fmi)
    return known[1] if known else Severity.SOON
