"""ELM327 and STN adapters: an interpreter chip between us and the bus, over a serial port, Bluetooth or Wi-Fi.

The chip sends a request, answers flow control and prints the frames that come back; python-OBD drives it in a process
of its own (:mod:`diag.elm327worker`). What the frames mean is decided here: answers are put together per ECU, a frame
that is missing stays missing, and a line of text is never data.

Standard: ELM327 data sheet v2.2 (AT commands and messages); ISO 15765-2:2016 for the frames.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from diag.addressing import OBD_FUNCTIONAL, OBD_FUNCTIONAL_29, Target
from diag.direct import DirectLink
from diag.dtclines import CanLine, collect_isotp, parse_can_line
from diag.errors import LinkLost, LocalProtocolError, NoAdapter, RemoteProtocolError
from diag.facts import Text
from diag.frames import Frame
from diag.guard import TransmitGuard
from diag.serialport import claim_port
from diag.vehiclereport import LinkInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.serialport import PortClaim

__all__ = ["Elm327Link", "open_elm327", "parse_elm327_port"]

_CONNECT_S: Final = 60.0
_COMMAND_S: Final = 30.0
_MOST_BYTES: Final = 7
"""Of a request: the chip sends single frames only."""

_STOPS: Final = 2
_FOR_ONE: Final = "19"
"""Patience with one ECU, in 4 ms: 100 ms, twice its P2; one that was heard before gets more when it stays silent."""

_FOR_ALL: Final = "64"
"""Patience with everybody: 400 ms."""
_LINE_LIMIT: Final = 1 << 24
_HIGH: Final = ("7", "9")
"""Protocols with 29-bit identifiers."""

_SETTINGS: Final = ("ATS0", "ATAL", "ATCAF1", "ATAT1", "ATFCSD300000")
_FEATURES: Final = {
    "ATAL": Text("answers longer than seven bytes", "超过 7 字节的应答"),
    "ATFCSD300000": Text("flow control for ECUs beyond the OBD range", "OBD 范围以外控制器的流控"),
    "ATAT1": Text("adaptive timing", "自适应定时"),
    "ATCRA7E8": Text("receive filters", "接收过滤"),
}
"""What a chip can or cannot: probed, because clones print any version."""

_NEVER_MADE: Final = ("v1.5", "v2.1")
"""Versions that only copies print: the maker went from 1.4b to 2.0 and from 2.0 to 2.2. Standard: unverified."""

_SERIAL: Final = re.compile(r"(?P<port>.+?)(?:@(?P<baud>\d{3,7}))?$")
_HOST: Final = re.compile(r"(?:socket://)?(?P<host>[\w.-]+|\[[0-9A-Fa-f:]+\]):(?P<port>\d{1,5})$")

_TROUBLE: Final = {
    "UNABLE TO CONNECT": Text(
        "the adapter reaches no ECU: ignition on? plug home?", "适配器连不上控制器：点火开关已开？插头插好？"
    ),
    "CAN ERROR": Text(
        "the adapter cannot send on CAN: wiring, speed, or nobody awake",
        "适配器无法在 CAN 上发送：线路、波特率或控制器未唤醒",
    ),
    "BUS ERROR": Text("the bus is disturbed or shorted", "总线受干扰或短路"),
    "BUS BUSY": Text("the bus is never free", "总线一直忙"),
    "FB ERROR": Text("the adapter does not hear itself: its hardware is broken", "适配器收不到自己的信号：硬件故障"),
    "ERR": Text("internal error of the adapter: unplug it and plug it in again", "适配器内部错误：请拔下后重新插入"),
    "?": Text("the adapter does not know this command", "适配器不支持该命令"),
}


def parse_elm327_port(text: str) -> tuple[str, str]:
    """Port as pyserial names it, and its speed in bit/s ("" = to be found out).

    ``/dev/ttyUSB0``, ``/dev/rfcomm0@38400``, ``COM3``, ``192.168.0.10:35000``, ``socket://192.168.0.10:35000``.

    Raises:
        ValueError: it is none of them.
    """
    host = _HOST.match(text)
    if host:
        if not 0 < int(host["port"]) <= 0xFFFF:
            raise ValueError(text)
        return f"socket://{host['host']}:{host['port']}", "38400"  # a socket has no speed; so none is looked for
    serial = _SERIAL.match(text)
    if serial is None or ("://" in text and not text.startswith(("socket://", "rfc2217://"))):
        raise ValueError(text)
    if text.startswith("socket://"):
        raise ValueError(text)
    port, baud = serial["port"], serial["baud"] or ""
    return port, "38400" if port.startswith("/dev/pts/") and not baud else baud


class Elm327Link(DirectLink):
    """One adapter, which asks one ECU after the other; :func:`open_elm327` makes it.

    Attributes:
        protocol: the chip's number of the bus: 6 and 8 with 11-bit identifiers, 7 and 9 with 29-bit ones.
        chip: what it calls itself; clones call themselves anything.
        missing: what it was found not to be able to do.
    """

    at_once = 1
    is_can = True

    def __init__(
        self, process: asyncio.subprocess.Process, info: LinkInfo, guard: TransmitGuard, claim: PortClaim
    ) -> None:
        super().__init__(info, guard)
        self.protocol, self.chip = "", ""
        self.missing: tuple[Text, ...] = ()
        if process.stdin is None or process.stdout is None:
            raise ValueError(process)
        self._process, self._in, self._out, self._claim = process, process.stdin, process.stdout, claim
        self._lock = asyncio.Lock()
        self._number = 0
        self._now: dict[str, str] = {}
        self._seen: set[Target] = set()

    async def begin(self) -> None:
        """Waits for the chip and the car behind it, and makes the settings.

        Raises:
            NoAdapter: no python-OBD, no chip, or no car that it can reach.
        """
        told = await self._answer(_CONNECT_S)
        if "error" in told:
            reason = {
                "no-obd": Text(
                    "python-OBD is not installed: pip install 'huizhen[elm327]'",
                    "未安装 python-OBD：pip install 'huizhen[elm327]'",
                ),
                "no-chip": Text(
                    "no ELM327 answers there: is it another kind of adapter, another speed, switched off?",
                    "该端口无 ELM327 应答：是否为其他适配器、波特率不符或未上电？",
                ),
            }.get(told["error"], Text("the adapter went away", "适配器已断开"))
            raise self._no(reason)
        if told["protocol"] is None:
            raise self._no(
                Text(
                    "the adapter is there, but no ECU answers through it: ignition on? plug home?",
                    "适配器已连接，但没有控制器应答：点火开关已开？插头插好？",
                )
            )
        self.protocol = str(told["protocol"])
        self.chip = " ".join(told["chip"])[:60]
        if self.protocol not in "6789":
            raise self._no(
                Text(
                    f"the car's bus is none of CAN for diagnostics (protocol {self.protocol})",
                    f"该车诊断总线不是 CAN（协议 {self.protocol}）",
                )
            )
        is_high = self.protocol in _HIGH
        self.functional = (OBD_FUNCTIONAL_29 if is_high else OBD_FUNCTIONAL,)
        self.usual = () if is_high else tuple(Target.physical(0x7E0 + number) for number in range(8))
        said = {command: await self._command(command) for command in (*_SETTINGS, *([] if is_high else ["ATCRA7E8"]))}
        self._now = {"ATCRA": "7E8"}
        self.missing = tuple(
            _FEATURES[command] for command, lines in said.items() if "OK" not in lines and command in _FEATURES
        )
        self.remarks = tuple(_grade(self.chip, self.missing))

    def _no(self, reason: Text) -> NoAdapter:
        return NoAdapter("elm327", self.info.channel, reason)

    async def _answer(self, patience_s: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(patience_s):
                line = await self._out.readline()
        except TimeoutError:
            return {"error": "silent"}
        except ValueError:
            return {"error": "gone"}
        if not line:
            return {"error": "gone"}
        value: dict[str, Any] = json.loads(line)
        return value

    async def _ask(self, request: dict[str, Any], patience_s: float = _COMMAND_S) -> list[str]:
        self._number += 1
        try:
            self._in.write(json.dumps(request | {"id": self._number}).encode() + b"\n")
            await self._in.drain()
            told = await self._answer(patience_s)
            while "error" not in told and told["id"] != self._number:  # of a request that was given up while it ran
                told = await self._answer(patience_s)
        except OSError:
            told = {"error": "gone"}
        if "error" in told:
            error = LinkLost(self.info.channel, Text("the adapter does not answer any more", "适配器不再应答"))
            self._lose(error)
            raise error
        return [str(line) for line in told["lines"]]

    async def _command(self, text: str) -> list[str]:
        self.guard.note_link(self.info.channel, text.encode(), Text("a setting of the adapter", "适配器设置"))
        return await self._ask({"send": text})

    async def _set(self, command: str, value: str) -> None:
        """A setting that is not already so."""
        if self._now.get(command) != value:
            self._now[command] = value
            await self._command(command + value)

    async def _aim(self, target: Target) -> None:
        """Where the next request goes and whose answers come through."""
        if target.extended:
            await self._set("ATCP", f"{target.request_id >> 24:02X}")
            await self._set("ATSH", f"{target.request_id & 0xFFFFFF:06X}")
        else:
            await self._set("ATSH", f"{target.request_id:03X}")
        if target.is_functional or target.response_id is None:
            await self._open_filter()
            await self._set("ATFCSM", "0")
            return
        digits = 8 if target.extended else 3
        await self._set("ATCRA", f"{target.response_id:0{digits}X}")
        await self._set("ATFCSH", f"{target.request_id:0{digits}X}")
        await self._set("ATFCSM", "1")

    async def _open_filter(self) -> None:
        """Whoever answers comes through."""
        if self._now.pop("ATCRA", None) is not None:
            await self._command("ATAR")
            await self._command("ATCRA")

    async def _transmit(self, target: Target, payload: bytes) -> None:
        if target.logical or target.extended != (self.protocol in _HIGH):
            raise LocalProtocolError(Text("an identifier of another bus", "其他总线的标识符"))
        if len(payload) > _MOST_BYTES:
            raise RemoteProtocolError(
                target.address,
                Text("an ELM327 sends no request longer than seven bytes", "ELM327 无法发送超过 7 字节的请求"),
                b"",
            )
        talk = self._talks[target.response_id]
        async with self._lock:
            await self._aim(target)
            loop = asyncio.get_running_loop()
            end = loop.time() + self.timing.pending_total_s
            stops = 0
            await self._set("ATST", _FOR_ALL if target.is_functional else _FOR_ONE)
            while True:
                lines = await self._ask({"send": payload.hex().upper()})
                if any(line.startswith("STOPPED") for line in lines) and stops < _STOPS:
                    stops += 1
                    continue
                self._take(target, lines)
                if "NO DATA" in lines and self._now["ATST"] == _FOR_ONE and target in self._seen:
                    await self._set("ATST", _FOR_ALL)  # it is there, and slow
                    continue
                if not talk.is_waited_for or loop.time() > end:
                    break
                await self._set("ATST", "FF")  # the chip gives up waiting before the ECU does: asked again
        trouble = None if talk.is_answered or talk.is_waited_for else _trouble(lines)
        if trouble is not None and not target.is_functional:
            talk.fail(RemoteProtocolError(target.address, trouble, " ".join(lines).encode()))
        talk.end()

    async def listen(self, seconds: float) -> Sequence[Frame]:
        """What the chip prints of the frames that pass: some of them, as many as its serial port carries."""
        async with self._lock:
            await self._open_filter()
            started_ns = time.time_ns()
            lines = await self._ask({"listen": seconds}, _COMMAND_S + seconds)
        found = [frame for line in lines if (frame := parse_can_line(line)) is not None and frame.can_id is not None]
        step_ns = int(seconds * 1e9) // max(1, len(found))
        return [  # the chip prints no times: they are spread over the seconds that it listened
            Frame(frame.can_id or 0, frame.data, started_ns + at * step_ns, extended=self.protocol in _HIGH)
            for at, frame in enumerate(found)
            if not frame.is_cut
        ]

    def _take(self, target: Target, lines: Sequence[str]) -> None:
        """The answers among the lines."""
        frames = [frame for line in lines if (frame := parse_can_line(line.removeprefix("SEARCHING...")))]
        wanted: list[CanLine] = [
            frame
            for frame in frames
            if frame.can_id is not None and target.is_answered_by(frame.can_id, extended=target.extended)
        ]
        for raw in collect_isotp(wanted):
            if raw.payload and raw.can_id is not None:
                self._seen.add(target.ecu(raw.can_id))
                self._hear(target.ecu(raw.can_id), raw.payload, max(0, raw.declared_length - len(raw.payload)))

    async def close(self) -> None:
        """Gives the adapter back; may be called twice."""
        if not self._in.is_closing():
            self._in.close()
        try:
            async with asyncio.timeout(3):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._claim.release()


def _trouble(lines: Sequence[str]) -> Text | None:
    """What a line of text says is wrong; None where it is only silence."""
    for line in lines:
        for words, reason in _TROUBLE.items():
            if line.upper().startswith(words):
                return reason
    return None


def _grade(chip: str, missing: Sequence[Text]) -> Iterator[Text]:
    """What the adapter is worth: by what it can, and by the versions that only copies claim."""
    is_copy = any(version in chip for version in _NEVER_MADE)
    if missing:
        en, zh = ", ".join(text.en for text in missing), "、".join(text.zh for text in missing)
        yield Text(
            f"This adapter ({chip}) cannot do what its kind should: {en}. Answers may be missing; prefer another one.",
            f"该适配器（{chip}）不具备应有的功能：{zh}。可能读不到部分应答，建议更换适配器。",
        )
    elif is_copy:
        yield Text(
            f"This adapter calls itself {chip}, which its maker never made: a copy, but it did what was needed.",
            f"该适配器自称 {chip}，原厂并无此版本：属仿制品，但本次所需功能均正常。",
        )


async def open_elm327(
    port: str, baud: str = "", protocol: str = "", *, guard: TransmitGuard | None = None
) -> Elm327Link:
    """Connects to an ELM327 and the car behind it.

    Args:
        port: as pyserial names it.
        baud: bit/s; empty = found out.
        protocol: the chip's number of the car's bus to try first, as it was last time; empty = those of CAN in turn.
        guard: decides what may be sent; reading alone when left out.

    Raises:
        NoAdapter: no such port, no chip, no python-OBD, or no car.
    """
    try:
        claim = claim_port(port)
    except OSError as exc:
        raise NoAdapter("elm327", port, exc.strerror or str(exc)) from exc
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "diag.elm327worker",
            port,
            baud,
            protocol,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this process, which then ends the other in order
            limit=_LINE_LIMIT,
        )
    except OSError as exc:
        claim.release()
        raise NoAdapter("elm327", port, exc.strerror or str(exc)) from exc
    link = Elm327Link(process, LinkInfo("elm327", port), guard if guard is not None else TransmitGuard(), claim)
    try:
        await link.begin()
    except BaseException:
        await link.close()
        raise
    return link
