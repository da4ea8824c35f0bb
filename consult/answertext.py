"""What the car answered, in words and values: for people who do not read hexadecimal digits.

Standard: ISO 14229-1:2020 §12.3 (19), §11.2 (22); SAE J1979 (01, 03, 06, 07, 09, 0A).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diag.dtc import parse_obd_dtcs, parse_uds_dtcs
from diag.errors import DiagError
from diag.facts import Reading, Text
from diag.guardrules import ROUTINES, RULES
from diag.nrc import nrc_text
from diag.readings import Wanted, read_out
from diag.uds import DID_LENGTHS, decode_did, parse_data, parse_dtc_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.answers import Answer
    from diag.dtcanswer import DtcAnswer

__all__ = ["readings_of", "text_of"]

_OBD_CODES: Final = frozenset({0x03, 0x07, 0x0A})
_SINGLE: Final = frozenset({0x01, 0x06, 0x09})
_SHOWN: Final = 8
"""Values or codes that one sentence names."""


def text_of(request: bytes, answers: Sequence[Answer]) -> Text:
    """One or a few sentences: what each ECU said."""
    parts = [_text_of_one(request, answer) for answer in answers]
    if not parts:
        return Text("sent, no answer wanted", "已发送，无需应答")
    return Text("; ".join(part.en for part in parts), "；".join(part.zh for part in parts))


def readings_of(request: bytes, answers: Sequence[Answer]) -> tuple[Reading, ...]:
    """The values in the answers, as far as a standard says what they mean."""
    found: list[Reading] = []
    for answer in answers:
        if answer.negative is not None or not answer.complete:
            continue
        try:
            found += _readings(request, answer)
        except DiagError:
            continue
    return tuple(found)


def _readings(request: bytes, answer: Answer) -> Sequence[Reading]:
    service = request[0]
    if service == 0x22 and len(request) > 3:
        asked = [int.from_bytes(request[at : at + 2], "big") for at in range(1, len(request), 2)]
        data = parse_data(answer.payload, asked)
        return [reading for did, raw in data.items() for reading in decode_did(did, raw)]
    if service == 0x22:
        return read_out(answer, Wanted(service, int.from_bytes(request[1:3], "big"))).readings
    if service in _SINGLE and len(request) == 2:
        return read_out(answer, Wanted(service, request[1])).readings
    return ()


def _text_of_one(request: bytes, answer: Answer) -> Text:
    negative = answer.negative
    if negative is not None:
        why = nrc_text(negative.nrc)
        return Text(f"{answer.ecu} refused: {why.en}", f"{answer.ecu} 拒绝：{why.zh}")
    if not answer.complete:
        return Text(f"{answer.ecu}: the answer is cut", f"{answer.ecu}：应答不完整")
    try:
        said = _said(request, answer)
    except DiagError:
        said = None
    if said is None:
        name = RULES[request[0]].name if request[0] in RULES else Text("request", "请求")
        if request[0] == 0x31 and len(request) >= 4 and (rule := ROUTINES.get(request[2] << 8 | request[3])):
            name = rule.name
        said = Text(f"{name.en}: done", f"{name.zh}：已完成")
    return Text(f"{answer.ecu}: {said.en}", f"{answer.ecu}：{said.zh}")


def _said(request: bytes, answer: Answer) -> Text | None:
    """What a positive answer says; None where it says no more than yes."""
    service = request[0]
    if service == 0x19:
        count = parse_dtc_count(answer.payload)
        if count is not None:
            return Text(f"{count.count} codes", f"{count.count} 个故障码")
        return _codes(parse_uds_dtcs(answer.payload, ecu=answer.ecu, did_lengths=DID_LENGTHS))
    if service in _OBD_CODES:
        return _codes(parse_obd_dtcs(answer.payload, ecu=answer.ecu, declared_length=answer.declared_length))
    readings = _readings(request, answer)
    if not readings:
        return None
    shown = [(_name(one), _value(one)) for one in readings[:_SHOWN]]
    rest = len(readings) - len(shown)
    return Text(
        ", ".join(f"{name.en} {value}" for name, value in shown) + (f", {rest} more" if rest else ""),
        "、".join(f"{name.zh} {value}" for name, value in shown) + (f"，另有 {rest} 项" if rest else ""),
    )


def _name(reading: Reading) -> Text:
    return reading.text or Text(reading.name, reading.name)


def _value(reading: Reading) -> str:
    if reading.value is None:
        return reading.raw.hex(" ").upper() or "–"
    value = f"{reading.value:.6g}" if isinstance(reading.value, float) else str(reading.value)
    return f"{value} {reading.unit}".strip()


def _codes(found: DtcAnswer) -> Text:
    if found.snapshots or found.extended:
        count = len(found.snapshots) + len(found.extended)
        return Text(f"{count} records", f"{count} 条记录")
    # A mask of FF brings every code that the ECU knows; one whose test merely has not run is no fault.
    faults = [dtc for dtc in found.dtcs if dtc.status is None or dtc.status.is_fault or dtc.kind]
    others = len(found.dtcs) - len(faults)
    other = Text(f"{others} more without a fault", f"另有 {others} 个未报故障") if others else None
    if not faults:
        none = Text("no codes", "无故障码")
        return none if other is None else Text(f"{none.en}; {other.en}", f"{none.zh}；{other.zh}")
    shown = ", ".join(dtc.display for dtc in faults[:_SHOWN])
    rest = len(faults) - _SHOWN
    more = Text(f", {rest} more", f"，另有 {rest} 个") if rest > 0 else Text("", "")
    last = Text(f"; {other.en}", f"；{other.zh}") if other else Text("", "")
    return Text(
        f"{len(faults)} codes: {shown}{more.en}{last.en}",
        f"{len(faults)} 个故障码：{shown}{more.zh}{last.zh}",
    )
