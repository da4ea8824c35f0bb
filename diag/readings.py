"""Single readings: a parameter, a data identifier, a monitor's results or an InfoType, from one ECU or from all.

Standard: SAE J1979 (services 01, 06, 09), ISO 14229-1:2020 §11.2 (22).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from diag.addressing import TESTER_ADDRESS, Target
from diag.errors import BadInput, NoAnswer
from diag.facts import Json, Reading, Text, hex_from_bytes
from diag.obd import parse_items, parse_vehicle_information
from diag.obdmonitors import monitor_text, parse_in_use, parse_monitor_results, test_text
from diag.pids import decode_pid
from diag.request import ask
from diag.uds import decode_did, parse_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.answers import Answer, RequestLink
    from diag.nrc import Negative

__all__ = ["ReadOut", "Wanted", "parse_ecu", "parse_wanted", "read_out", "read_values"]

_CURRENT, _MONITORS, _INFORMATION, _BY_IDENTIFIER = 0x01, 0x06, 0x09, 0x22
_WORD: Final = re.compile(
    r"(?:(?P<service>01|06|09)[:.](?P<item>[0-9A-F]{2})|(?:22[:.]?)?(?P<did>[0-9A-F]{4})|(?P<pid>[0-9A-F]{2}))$"
)


_INFO_TYPES: Final = {
    0x02: ("VIN", Text("VIN", "车架号（VIN）")),
    0x04: ("calibrationId", Text("calibration identification", "标定识别码")),
    0x06: ("calibrationVerificationNumber", Text("calibration verification number", "标定验证码（CVN）")),
    0x0A: ("ecuName", Text("ECU name", "ECU 名称")),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: service and number."""

    service: int
    number: int

    @property
    def request(self) -> bytes:
        """The payload."""
        return bytes([self.service]) + self.number.to_bytes(2 if self.service == _BY_IDENTIFIER else 1, "big")

    @property
    def name(self) -> str:
        """As people write it: ``01:0C``, ``F190``."""
        return f"{self.number:04X}" if self.service == _BY_IDENTIFIER else f"{self.service:02X}:{self.number:02X}"


def parse_wanted(text: str) -> Wanted:
    """``0C`` and ``01:0C`` (parameter), ``F190`` and ``22F190`` (identifier), ``06:A1``, ``09:02``.

    Four digits alone are a data identifier; parameters of service 01 need two digits or the colon.

    Raises:
        BadInput: none of these.
    """
    found = _WORD.match(text.strip().upper().removeprefix("0X"))
    if found is None:
        raise BadInput(
            repr(text),
            Text("write 0C (PID), F190 (DID), 06:A1 or 09:02", "请写成 0C（PID）、F190（DID）、06:A1 或 09:02"),
        )
    if found["service"]:
        return Wanted(int(found["service"], 16), int(found["item"], 16))
    if found["did"]:
        return Wanted(_BY_IDENTIFIER, int(found["did"], 16))
    return Wanted(_CURRENT, int(found["pid"], 16))


def parse_ecu(text: str, *, is_logical: bool = False) -> Target:
    """An ECU as a scan shows it (``0x7EC``), by its request identifier (``7E4``), or by both (``7E4:7EC``).

    Args:
        text: hexadecimal.
        is_logical: addresses are those of DoIP.

    Raises:
        BadInput: no address, or one whose counterpart nobody can tell.
    """
    parts = text.strip().lower().replace("0x", "").split(":")
    try:
        numbers = [int(part, 16) for part in parts]
        if is_logical and len(numbers) == 1:
            return Target.at_logical(numbers[0])
        if len(numbers) == 2 and not is_logical:
            return Target.physical(numbers[0], numbers[1])
        (number,) = numbers
        if number > 0x7FF:
            ecu = number & 0xFF if number >> 8 & 0xFF == TESTER_ADDRESS else number >> 8 & 0xFF
            return Target.physical(0x18DA0000 | ecu << 8 | TESTER_ADDRESS)
        if 0x7E0 <= number <= 0x7E7:
            return Target.physical(number)
        return Target.physical(number - 8, number)
    except ValueError:
        raise BadInput(
            repr(text),
            Text(
                "no ECU address; write 0x7EC, or request:response (7E4:7EC)",
                "不是 ECU 地址；请写 0x7EC，或“请求：应答”（7E4:7EC）",
            ),
        ) from None


@dataclass(frozen=True, slots=True)
class ReadOut:
    """What one ECU said to one question.

    Args:
        readings: decoded as far as a standard says how; a value of None is "not available".
        raw: data bytes without service and number.
        negative: what it refused, None otherwise.
        missing: bytes that were announced and did not come.
        is_silent: it did not answer.
    """

    ecu: str
    wanted: Wanted
    readings: tuple[Reading, ...] = ()
    raw: bytes = b""
    negative: Negative | None = None
    missing: int = 0
    is_silent: bool = False

    def to_json(self) -> Json:
        """One entry of ``readings``."""
        return {
            "ecu": self.ecu,
            "id": self.wanted.name,
            "values": [reading.to_json() for reading in self.readings],
            "raw": hex_from_bytes(self.raw),
            "negative": None
            if self.negative is None
            else {"nrc": f"0x{self.negative.nrc:02X}", "name": self.negative.name},
            "missing": self.missing,
            "answered": not self.is_silent,
        }


def _decoded(answer: Answer, wanted: Wanted) -> tuple[tuple[Reading, ...], bytes]:
    payload, number = answer.payload, wanted.number
    if wanted.service == _BY_IDENTIFIER:
        data = parse_data(payload, [number]).get(number, b"")
        if payload[1:2] == b"\xf6" and number % 0x20:
            return _of_monitors(answer), data
        return decode_did(number, data), data
    if wanted.service == _CURRENT:
        data = parse_items(payload, service=_CURRENT, is_single=True, asked=(number,)).get(number, b"")
        return decode_pid(number, data), data
    if wanted.service == _MONITORS:
        if number % 0x20 == 0:
            name = f"supportedMonitors{number:02X}"
            return (Reading(name, payload[2:6].hex().upper(), "", payload[2:6]),), payload[2:]
        return _of_monitors(answer), payload[1:]
    data = payload[2:]
    counted = parse_in_use(number, data)
    if counted is not None:
        done = (Reading(name, f"{finished}/{met}", "", b"", text) for name, text, finished, met in counted.monitors)
        return tuple(done), data
    information = parse_vehicle_information(answer.ecu, {number: data})
    texts = (information.vin, information.name, *information.calibration_ids, *information.cvns)
    value = ", ".join(text for text in texts if text)
    name, text = _INFO_TYPES.get(number, (f"infoType{number:02X}", None))
    return (Reading(name, value or None, "", data, text),), data


def _of_monitors(answer: Answer) -> tuple[Reading, ...]:
    results, _ = parse_monitor_results(answer.ecu, answer.payload)
    readings = []
    for result in results:
        watched, measure = monitor_text(result.monitor), test_text(result.test)
        name = f"mid{result.monitor:02X}tid{result.test:02X}"
        text = Text(f"{watched.en}: {measure.en}", f"{watched.zh}：{measure.zh}")
        readings.append(Reading(name, result.value, result.unit, result.raw, text))
    return tuple(readings)


async def read_values(
    link: RequestLink, wanted: Sequence[Wanted], targets: Sequence[Target], *, timeout_s: float | None = None
) -> tuple[ReadOut, ...]:
    """Asks each target each question, in the order given; a functional target is answered by whoever can.

    Raises:
        LinkLost: the adapter went away.
        RefusedByPolicy: the guard let nothing out.
    """
    found: list[ReadOut] = []
    for one in wanted:
        for target in targets:
            try:
                if target.is_functional:
                    answers = await link.request(target, one.request, timeout_s=timeout_s)
                else:
                    answers = (await ask(link, target, one.request, timeout_s=timeout_s),)
            except NoAnswer:
                found.append(ReadOut(target.address, one, is_silent=True))
                continue
            found.extend(read_out(answer, one) for answer in answers)
    return tuple(found)


def read_out(answer: Answer, wanted: Wanted) -> ReadOut:
    """What an answer says, decoded as far as a standard says how."""
    if answer.negative is not None:
        return ReadOut(answer.ecu, wanted, negative=answer.negative)
    if not answer.complete:
        return ReadOut(answer.ecu, wanted, raw=answer.payload[1:], missing=answer.missing or 1)
    readings, raw = _decoded(answer, wanted)
    return ReadOut(answer.ecu, wanted, readings, raw)
