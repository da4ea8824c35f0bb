"""What an electric car's terminal reports to a platform: frames and streams of GB/T 32960.3, taken apart.

Both editions are read, 2016 (``##``) and 2025 (``$$``); they give the unit types 06 to 09 different meanings, so the
start bytes decide. A marker for "abnormal" or "invalid" is no number. A unit of unknown length ends its message: what
follows stays raw and is said. Encrypted data stay raw.

Standard: GB/T 32960.3-2016 and GB/T 32960.3-2025, §6 and §7.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from operator import xor
from typing import TYPE_CHECKING, Final

from diag.facts import Text
from diag.gbt32960units import Unit, read_login, read_units

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from diag.facts import Json

__all__ = ["COMMANDS", "Junk", "TelematicsMessage", "decode_stream", "merge_cells"]

_STARTS: Final = {b"##": "2016", b"$$": "2025"}
_HEADER: Final = 24
_CHINA: Final = timezone(timedelta(hours=8))
_PLAIN: Final = 0x01

COMMANDS: Final[Mapping[int, Text]] = {
    0x01: Text("vehicle login", "车辆登入"),
    0x02: Text("real-time report", "实时信息上报"),
    0x03: Text("re-sent report", "补发信息上报"),
    0x04: Text("vehicle logout", "车辆登出"),
    0x05: Text("platform login", "平台登入"),
    0x06: Text("platform logout", "平台登出"),
    0x07: Text("heartbeat", "心跳"),
    0x08: Text("time request", "终端校时"),
    0x09: Text("activation", "激活"),
    0x0A: Text("answer to the activation", "激活应答"),
    0x0B: Text("exchange of the data key", "数据密钥交换"),
    0x80: Text("query of parameters", "参数查询"),
    0x81: Text("setting of parameters", "参数设置"),
    0x82: Text("control of the terminal", "车载终端控制"),
}


@dataclass(frozen=True, slots=True)
class Junk:
    """Bytes of a stream that are no message, and why."""

    offset: int
    raw: bytes
    why: Text


@dataclass(frozen=True, slots=True)
class TelematicsMessage:
    """One message.

    Args:
        edition: ``2016`` or ``2025``.
        response: 0xFE for what a terminal or platform says by itself, else the code of an answer.
        time: of the report, None where the message has none or an impossible one.
        units: in the message's order; of a login one unit ``login``.
        problems: what could not be read.
        rest: data that were not read: encrypted, or behind a unit of unknown length.
    """

    edition: str
    command: int
    response: int
    vin: str
    encryption: int
    raw: bytes
    offset: int
    time: datetime | None = None
    units: tuple[Unit, ...] = ()
    problems: tuple[Text, ...] = ()
    rest: bytes = b""

    def find(self, name: str) -> Unit | None:
        """The first unit of this name."""
        return next((unit for unit in self.units if unit.name == name), None)

    def to_json(self) -> Json:
        """``huizhen.telematics/1``."""
        command = COMMANDS.get(self.command)
        return {
            "schema": "huizhen.telematics/1",
            "edition": self.edition,
            "command": f"0x{self.command:02X}",
            "command_name": command.to_json() if command else None,
            "response": f"0x{self.response:02X}",
            "vin": self.vin,
            "encryption": self.encryption,
            "time": self.time.isoformat() if self.time else None,
            "units": [
                {
                    "type": f"0x{unit.type:02X}",
                    "name": unit.name,
                    "values": {
                        item.name: {
                            "value": list(item.value) if isinstance(item.value, tuple) else item.value,
                            "unit": item.unit,
                            "quality": item.quality,
                            "raw": item.raw.hex().upper(),
                        }
                        for item in unit.fields
                    },
                    "raw": unit.raw.hex().upper(),
                }
                for unit in self.units
            ],
            "problems": [problem.to_json() for problem in self.problems],
            "rest": self.rest.hex().upper(),
            "raw": self.raw.hex().upper(),
        }


def _time(raw: bytes) -> datetime | None:
    try:
        return datetime(2000 + raw[0], raw[1], raw[2], raw[3], raw[4], raw[5], tzinfo=_CHINA)
    except (ValueError, IndexError):
        return None


def _decode(edition: str, frame: bytes, offset: int) -> TelematicsMessage:
    command, response, encryption = frame[2], frame[3], frame[21]
    identity = frame[4:21]
    vin = identity.rstrip(b"\0 ").decode("ascii", "replace")
    data = frame[_HEADER:-1]
    message = TelematicsMessage(edition, command, response, vin, encryption, frame, offset, rest=data)
    if encryption != _PLAIN:
        secret = Text("the data are encrypted", "数据已加密")
        return replace(message, problems=(secret,) if data else ())
    if len(data) < 6:
        return message
    time = _time(data[:6])
    wrong = () if time is not None else (Text("its time is impossible", "时间不合法"),)
    if command in (0x02, 0x03):
        units, problems, rest = read_units(edition, data[6:])
        return replace(message, time=time, units=units, problems=(*wrong, *problems), rest=rest)
    if command not in (0x01, 0x04):
        return replace(message, time=time, problems=wrong, rest=data[6:])
    unit, problems, left = read_login(edition, data[6:], is_logout=command == 0x04)
    return replace(message, time=time, units=(unit,), problems=(*wrong, *problems), rest=left)


def decode_stream(data: bytes) -> Iterator[TelematicsMessage | Junk]:
    """Every message of a stream, and between them what is none, in order; no byte is lost.

    A message whose check byte is wrong is junk, said as such; reading goes on one byte further, because its length may
    be what is damaged.
    """
    checks = (0, *accumulate(data, xor))
    at = begun = 0
    why = Text("no message begins here", "此处没有报文")
    while at < len(data):
        edition = _STARTS.get(data[at : at + 2])
        end = at + _HEADER + int.from_bytes(data[at + 22 : at + 24], "big") + 1
        if edition is not None and len(data) >= at + _HEADER and end <= len(data):
            if checks[at + 2] ^ checks[end - 1] == data[end - 1]:
                if begun < at:
                    yield Junk(begun, data[begun:at], why)
                yield _decode(edition, data[at:end], at)
                at = begun = end
                why = Text("no message begins here", "此处没有报文")
                continue
            why = Text("the check byte is wrong", "校验码错误")
        elif edition is not None:
            why = Text("a message is cut", "报文不完整")
        at += 1
    if begun < at:
        yield Junk(begun, data[begun:at], why)


def merge_cells(messages: Iterable[TelematicsMessage]) -> dict[tuple[datetime, int], tuple[float | None, ...]]:
    """Cell voltages in V by time and subsystem, put together where a pack is spread over several messages.

    A cell that no message told is None.
    """
    found: dict[tuple[datetime, int], dict[int, float | None]] = {}
    counts: dict[tuple[datetime, int], int] = {}
    for message in messages:
        if message.time is None:
            continue
        for unit in message.units:
            if unit.name != "cells":
                continue
            for item in unit.fields:
                number, _, name = item.name.partition(".")
                if name != "cells" or not isinstance(item.value, tuple):
                    continue
                key = message.time, int(number)
                first, total = unit.find(f"{number}.first_cell"), unit.find(f"{number}.cell_count")
                start = int(first.value) if first is not None and isinstance(first.value, float) else 1
                if total is not None and isinstance(total.value, float):
                    counts[key] = max(counts.get(key, 0), int(total.value))
                found.setdefault(key, {}).update(enumerate(item.value, start))
    return {
        key: tuple(cells.get(cell) for cell in range(1, max(counts.get(key, 0), *cells, 0) + 1))
        for key, cells in found.items()
    }
