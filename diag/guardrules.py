"""The classes of requests and the table that names every request a tester may send. What is not in it is refused.

Standard: ISO 14229-1:2020 (services), SAE J1979 (services 01 to 0A).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["FORBIDDEN_ROUTINES", "ROUTINES", "RULES", "Risk", "Rule", "release_of"]


class Risk(StrEnum):
    """What a request can do to car and people."""

    READ = "A"
    ASK_EACH_TIME = "B"
    ACTUATE = "C"
    ALTER = "D"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Rule:
    """One service, or one of its sub-functions.

    Args:
        lengths: whole request in bytes, service id included.
        subs: by sub-function without the suppress bit; a sub-function that is not there is refused.
        is_functional: whether it may go to all ECUs at once.
    """

    risk: Risk
    name: Text
    lengths: Collection[int] = ()
    subs: Mapping[int, Rule] = field(default_factory=dict)
    is_functional: bool = False


def _rule(risk: Risk, en: str, zh: str, lengths: Collection[int], *, functional: bool = False) -> Rule:
    return Rule(risk, Text(en, zh), lengths, is_functional=functional)


def _by_sub(
    en: str, zh: str, subs: Mapping[int, tuple[Risk, Collection[int]]], *, functional: Collection[int] = ()
) -> Rule:
    """A service whose risk depends on its sub-function: ``{sub: (risk, lengths)}``; ``functional`` names subs."""
    name = Text(en, zh)
    rules = {sub: Rule(risk, name, lengths, is_functional=sub in functional) for sub, (risk, lengths) in subs.items()}
    return Rule(Risk.REFUSED, name, subs=rules)


_A, _B, _C, _D, _NO = Risk.READ, Risk.ASK_EACH_TIME, Risk.ACTUATE, Risk.ALTER, Risk.REFUSED
_LONGEST: Final = 4095
_TO_THE_END: Final = range(3, _LONGEST + 1)

RULES: Final[Mapping[int, Rule]] = {
    0x01: _rule(_A, "current data", "读当前数据", range(2, 8), functional=True),
    0x02: _rule(_A, "freeze frame", "读冻结帧", (3, 5, 7), functional=True),
    0x03: _rule(_A, "confirmed codes", "读已确认故障码", (1,), functional=True),
    0x04: _rule(_B, "clear emission-related codes", "清除排放相关故障码", (1,), functional=True),
    0x06: _rule(_A, "monitor results", "读监测结果", range(2, 8), functional=True),
    0x07: _rule(_A, "pending codes", "读待定故障码", (1,), functional=True),
    0x08: _rule(_NO, "control of an on-board system", "控制车载系统", ()),
    0x09: _rule(_A, "vehicle information", "读车辆信息", range(2, 8), functional=True),
    0x0A: _rule(_A, "permanent codes", "读永久故障码", (1,), functional=True),
    0x10: _by_sub(
        "change of session", "切换会话", {0x01: (_A, (2,)), 0x02: (_D, (2,)), 0x03: (_B, (2,))}, functional=(1, 3)
    ),
    0x11: _by_sub("ECU reset", "ECU 复位", dict.fromkeys(range(1, 6), (_C, (2,)))),
    0x14: _rule(_B, "clear codes", "清除故障码", (4, 5), functional=True),
    0x19: _by_sub(
        "read codes",
        "读故障码",
        {
            **dict.fromkeys((1, 2, 15, 17, 18, 19), (_A, (3,))),
            **dict.fromkeys((3, 10, 11, 12, 13, 14, 20, 21), (_A, (2,))),
            **dict.fromkeys((4, 6, 16), (_A, (6,))),
            **dict.fromkeys((5, 22, 26, 85), (_A, (3,))),
            **dict.fromkeys((7, 8, 23, 86), (_A, (4,))),
            **dict.fromkeys((24, 25), (_A, (7,))),
            0x09: (_A, (5,)),
            0x42: (_A, (5,)),
        },
        functional=range(0x80),
    ),
    0x22: _rule(_A, "read data by identifier", "按标识符读数据", range(3, 2 * 32 + 2, 2), functional=True),
    0x23: _rule(_B, "read memory", "读内存", range(4, 34)),
    0x24: _rule(_A, "read scaling", "读标度数据", (3,)),
    0x27: _by_sub(
        "security access", "安全访问", {sub: (_D, range(2, 258)) for sub in (*range(0x01, 0x43), *range(0x61, 0x7F))}
    ),
    0x28: _by_sub(
        "communication control",
        "通信控制",
        {**dict.fromkeys(range(4), (_B, (3,))), **dict.fromkeys((4, 5), (_B, (5,)))},
    ),
    0x29: _by_sub("authentication", "身份认证", {sub: (_D, range(2, _LONGEST + 1)) for sub in range(9)}),
    0x2A: _by_sub("periodic data", "周期数据", {sub: (_B, range(2, 258)) for sub in range(1, 5)}),
    0x2C: _by_sub("dynamic identifiers", "动态定义标识符", {sub: (_B, range(2, 258)) for sub in range(1, 4)}),
    0x2E: _rule(_D, "write data by identifier", "按标识符写数据", range(4, _LONGEST + 1)),
    0x2F: _rule(_C, "control of an input or output", "输入输出控制", range(4, 258)),
    0x31: Rule(_NO, Text("routine", "例程")),
    0x34: _rule(_D, "download", "下载", _TO_THE_END),
    0x35: _rule(_D, "upload", "上传", _TO_THE_END),
    0x36: _rule(_D, "transfer of data", "传输数据", range(2, _LONGEST + 1)),
    0x37: _rule(_D, "end of transfer", "结束传输", range(1, _LONGEST + 1)),
    0x38: _rule(_D, "file transfer", "文件传输", _TO_THE_END),
    0x3D: _rule(_D, "write memory", "写内存", _TO_THE_END),
    0x3E: _by_sub("tester present", "诊断仪在线", {0x00: (_A, (2,))}, functional=(0,)),
    0x85: _by_sub("control of code setting", "故障码设置控制", {sub: (_B, range(2, 258)) for sub in (1, 2)}),
}
"""Every request that is known, by service id. Not there means refused: 83, 84, 86, 87 and all that makers invent.

27 5F and 60 (pyrotechnics) are left out of the sub-functions of 27 on purpose, and 31 names none: a routine is
allowed by :data:`ROUTINES` alone.
"""

ROUTINES: Final[Mapping[int, Rule]] = {}
"""Routine identifier to rule. Empty: no routine has been shown harmless on any car yet; a workshop's policy names those
of its maker to :class:`TransmitGuard`. Those that move contactors or end high voltage, and E200 to E2FF (safety
system), never belong here."""

FORBIDDEN_ROUTINES: Final = range(0xE200, 0xE300)


_IO_CONTROL, _ROUTINE = 0x2F, 0x31
_RETURN_CONTROL, _START, _STOP = 0x00, 0x01, 0x02


def release_of(payload: bytes) -> bytes | None:
    """The request that ends what this one begins: 2F … 00 for an output, 31 02 for a routine; None where none does.

    Standard: ISO 14229-1:2020 §13.2 (returnControlToECU), §14.2 (stopRoutine).
    """
    if len(payload) >= 4 and payload[0] == _IO_CONTROL and payload[3] != _RETURN_CONTROL:
        return payload[:3] + bytes([_RETURN_CONTROL])
    if len(payload) >= 4 and payload[0] == _ROUTINE and payload[1] & 0x7F == _START:
        return bytes([_ROUTINE, _STOP]) + payload[2:4]
    return None
