"""The services of an ECU that change it: reset, write, routines, communication, and its program memory.

Only in the sessions and after the unlocking that real ECUs ask for.

Standard: ISO 14229-1:2020 §10 to §14 (clauses unverified).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from virtualbus.flash import BASE, BLOCK, SIZE, Flash

if TYPE_CHECKING:
    from collections.abc import Callable

    from virtualbus.ecu import Ecu

__all__ = ["Changing", "Refusal"]

_WRITABLE: Final = (0xF198, 0xF199)
_ERASE, _CHECK = 0xFF00, 0xFF01
_START: Final = 0x01
_RETURN_CONTROL, _ADJUST = 0x00, 0x03


class Refusal(Exception):
    """A negative response."""

    def __init__(self, nrc: int) -> None:
        super().__init__(nrc)
        self.nrc = nrc


class Changing:
    """State of what a tester may change in one ECU.

    Attributes:
        is_unlocked: the security level was opened.
        is_programming: the programming session is active.
        is_default: the default session is.
    """

    def __init__(self, ecu: Ecu) -> None:
        self._ecu = ecu
        self._flash = Flash()
        self.is_unlocked = False
        self.is_programming = False
        self.is_default = True
        self._is_checked = False
        self._adjusted: set[int] = set()
        self.services: dict[int, Callable[[bytes], bytes]] = {
            0x11: self._reset,
            0x24: self._scaling,
            0x28: self._communication,
            0x2E: self._write,
            0x2F: self._control,
            0x31: self._routine,
            0x34: self._download,
            0x35: self._upload,
            0x36: self._transfer,
            0x37: self._exit,
        }

    def _need_session(self) -> None:
        if self.is_default:
            raise Refusal(0x7F)

    def _need_programming(self) -> None:
        if not self.is_programming:
            raise Refusal(0x7F)
        if not self.is_unlocked:
            raise Refusal(0x33)

    def _reset(self, request: bytes) -> bytes:
        self._need_session()
        if len(request) != 2:
            raise Refusal(0x13)
        if request[1] not in (1, 2, 3):
            raise Refusal(0x12)
        if not self._ecu.may_clear():
            raise Refusal(0x22)
        if self._is_checked and (image := self._flash.program()) is not None:
            self._ecu.install(image.version, image.cell)
            self._is_checked = False
        return bytes([0x51, request[1]])

    def _scaling(self, request: bytes) -> bytes:
        if len(request) != 3:
            raise Refusal(0x13)
        did = request[1] << 8 | request[2]
        content = self._ecu.data(did)
        if content is None or len(content) > 0x0F or not 0xF180 <= did <= 0xF19F:
            raise Refusal(0x31)
        return b"\x64" + request[1:3] + bytes([0x60 | len(content)])

    def _communication(self, request: bytes) -> bytes:
        self._need_session()
        if len(request) != 3:
            raise Refusal(0x13)
        if request[1] not in (0, 1, 2, 3) or request[2] & 0x0F not in (1, 2, 3):
            raise Refusal(0x31 if request[1] <= 3 else 0x12)
        return bytes([0x68, request[1]])

    def _write(self, request: bytes) -> bytes:
        self._need_session()
        if len(request) < 4:
            raise Refusal(0x13)
        did = request[1] << 8 | request[2]
        if did not in _WRITABLE:
            raise Refusal(0x31)
        if not self.is_unlocked:
            raise Refusal(0x33)
        self._ecu.identification[did] = request[3:]
        return b"\x6e" + request[1:3]

    def _control(self, request: bytes) -> bytes:
        """Adjusts an output for as long as the session lasts, or gives it back.

        Standard: ISO 14229-1:2020 §13.2 (clause unverified): 00 returnControlToECU, 03 shortTermAdjustment.
        """
        self._need_session()
        if len(request) < 4:
            raise Refusal(0x13)
        did = request[1] << 8 | request[2]
        adjust = self._ecu.outputs().get(did)
        if adjust is None or request[3] not in (_RETURN_CONTROL, _ADJUST):
            raise Refusal(0x31)
        if request[3] == _RETURN_CONTROL:
            if len(request) != 4:
                raise Refusal(0x13)
            adjust(None)
            self._adjusted.discard(did)
        else:
            if not self._ecu.may_clear():
                raise Refusal(0x22)
            if not adjust(request[4:]):
                raise Refusal(0x31)
            self._adjusted.add(did)
        return b"\x6f" + request[1:4] + (self._ecu.data(did) or b"")

    def give_back(self) -> None:
        """The session is over: every output is the ECU's own again."""
        outputs = self._ecu.outputs()
        for did in self._adjusted:
            outputs[did](None)
        self._adjusted.clear()

    def _routine(self, request: bytes) -> bytes:
        if len(request) < 4:
            raise Refusal(0x13)
        rid = request[2] << 8 | request[3]
        if rid not in (_ERASE, _CHECK):
            raise Refusal(0x31)
        self._need_programming()
        if request[1] != _START:
            raise Refusal(0x12)
        if rid == _ERASE:
            self._flash.erase()
            return b"\x71\x01" + request[2:4] + b"\x00"
        image = self._flash.program()
        self._is_checked = image is not None and image.ecu == self._ecu.name and self._ecu.takes(image.cell)
        return b"\x71\x01" + request[2:4] + (b"\x00" if self._is_checked else b"\x01")

    def _download(self, request: bytes) -> bytes:
        self._need_programming()
        if len(request) < 5:
            raise Refusal(0x13)
        address, size = request[2] & 0x0F, request[2] >> 4
        if len(request) != 3 + address + size:
            raise Refusal(0x13)
        where = int.from_bytes(request[3 : 3 + address], "big")
        if request[1] or not self._flash.begin(where, int.from_bytes(request[3 + address :], "big")):
            raise Refusal(0x31 if BASE <= where < BASE + SIZE else 0x70)
        return b"\x74\x20" + BLOCK.to_bytes(2, "big")

    def _upload(self, request: bytes) -> bytes:  # noqa: ARG002 - nothing is ever given out
        self._need_programming()
        raise Refusal(0x70)

    def _transfer(self, request: bytes) -> bytes:
        self._need_programming()
        if len(request) < 2:
            raise Refusal(0x13)
        refused = self._flash.take(request[1], request[2:])
        if refused is not None:
            raise Refusal(refused)
        return bytes([0x76, request[1]])

    def _exit(self, request: bytes) -> bytes:
        self._need_programming()
        if len(request) != 1:
            raise Refusal(0x13)
        if not self._flash.is_taking:
            raise Refusal(0x24)
        if not self._flash.finish():
            raise Refusal(0x72)
        return b"\x77"
