"""What a tester may send on J1939, as the guard sees it: requests for named groups and the replies they entail.

A literal table like that of the diagnostic services. Frames are allowed one by one: the claim of an address, the
request of an open exchange, and the transport protocol's replies to a unit that answers it.

Standard: SAE J1939-21 (request, transport protocol), J1939-73 (diagnostic messages), J1939-81 (address claim).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CLEARING", "GLOBAL", "READABLE", "TESTERS", "J1939Exchange", "named"]

GLOBAL: Final = 0xFF
TESTERS: Final = (0xF9, 0xFA)
"""Addresses of off-board diagnostic tools."""

_REQUEST, _CONTROL, _CLAIM = 0xEA, 0xEC, 0xEE
_CTS, _END, _ABORT, _RTS = 0x11, 0x13, 0xFF, 0x10
_MOST_REPLIES: Final = 300

READABLE: Final[Mapping[int, Text]] = {
    0xFECA: Text("active codes (DM1)", "当前故障码（DM1）"),
    0xFECB: Text("previously active codes (DM2)", "历史故障码（DM2）"),
    0xFECD: Text("freeze frames (DM4)", "冻结帧（DM4）"),
    0xFECE: Text("readiness (DM5)", "就绪状态（DM5）"),
    0xFECF: Text("pending codes (DM6)", "待定故障码（DM6）"),
    0xFED4: Text("emission-related active codes (DM12)", "排放相关当前故障码（DM12）"),
    0xD300: Text("calibration (DM19)", "标定信息（DM19）"),
    0xC200: Text("monitor performance (DM20)", "监测性能（DM20）"),
    0xC100: Text("time and distance since clearing (DM21)", "清码后时间与里程（DM21）"),
    0xFDB5: Text("emission-related previous codes (DM23)", "排放相关历史故障码（DM23）"),
    0xFDB6: Text("supported parameters (DM24)", "支持的参数（DM24）"),
    0xFDB7: Text("expanded freeze frame (DM25)", "扩展冻结帧（DM25）"),
    0xFDB8: Text("readiness of this trip (DM26)", "本次行程就绪状态（DM26）"),
    0xFD80: Text("permanent codes (DM28)", "永久故障码（DM28）"),
    0x9E00: Text("numbers of codes (DM29)", "故障码数量（DM29）"),
    0xFEEC: Text("vehicle identification", "车辆识别号"),
    0xFEEB: Text("component identification", "部件标识"),
    0xFEDA: Text("software identification", "软件标识"),
    0xFDC5: Text("ECU identification", "ECU 标识"),
    0xFEE5: Text("hours", "运行小时数"),
    0xEE00: Text("address claim", "地址声明"),
}
"""Parameter groups that may be asked for, of one unit or of all."""

CLEARING: Final[Mapping[int, Text]] = {
    0xFECC: Text("clear previously active codes (DM3)", "清除历史故障码（DM3）"),
    0xFED3: Text("clear active codes (DM11)", "清除当前故障码（DM11）"),
}
"""Those that change something; of one unit only, each time asked."""


def named(pgn: int) -> Text | None:
    """What a request for this group is; None for one that is not allowed."""
    return READABLE.get(pgn) or CLEARING.get(pgn)


@dataclass(slots=True, eq=False)
class J1939Exchange:
    """One allowed request, or the claim of an address (``pgn`` None), until it is closed.

    Args:
        pgn: group asked for.
        destination: unit, or :data:`GLOBAL`.
        source: the tester's own address.
        name: NAME that is claimed, eight bytes; empty for a request.
        replies: source address -> transport replies that it may still get.
    """

    pgn: int | None
    destination: int
    source: int
    name: bytes = b""
    is_sent: bool = False
    replies: dict[int, int] = field(default_factory=dict)

    def takes(self, can_id: int, data: bytes) -> bool:
        """Whether a frame about to leave is the next of this exchange; if it is, the exchange moves on."""
        kind, to, source = can_id >> 16 & 0x3FF, can_id >> 8 & 0xFF, can_id & 0xFF
        if source != self.source:
            return False
        if self.pgn is None:
            is_claim = kind == _CLAIM and to == GLOBAL and data == self.name and not self.is_sent
            self.is_sent |= is_claim
            return is_claim
        if kind == _REQUEST and to == self.destination and data == self.pgn.to_bytes(3, "little"):
            is_first, self.is_sent = not self.is_sent, True
            return is_first
        is_reply = kind == _CONTROL and len(data) == 8 and data[0] in {_CTS, _END, _ABORT}
        if not is_reply or data[5:8] != self.pgn.to_bytes(3, "little") or self.replies.get(to, 0) <= 0:
            return False
        self.replies[to] -= 1
        return True

    def sees(self, can_id: int, data: bytes) -> None:
        """A received frame: a unit that announces its answer to this tester earns the replies to it."""
        kind, to, source = can_id >> 16 & 0x3FF, can_id >> 8 & 0xFF, can_id & 0xFF
        if self.pgn is None or not self.is_sent or kind != _CONTROL or to != self.source or len(data) != 8:
            return
        is_asked = self.destination in (GLOBAL, source) and data[5:8] == self.pgn.to_bytes(3, "little")
        if is_asked and data[0] == _RTS:
            self.replies.setdefault(source, _MOST_REPLIES)
