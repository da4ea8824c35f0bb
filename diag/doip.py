"""DoIP: diagnostics over Ethernet, as cars with an Ethernet diagnostic plug and gateways in the network speak it.

The messages are doipclient's; sockets are asyncio's, so that many ECUs are asked at once over one connection.
A gateway says at once when it does not know an address, so single addresses are cheap to try.

Standard: ISO 13400-2:2019 §7 (TCP), Table 49 (routing activation response codes), Table 24 (diagnostic message
negative acknowledge codes).
"""

from __future__ import annotations

import asyncio
import logging
import struct
from contextlib import suppress
from typing import Any, Final

from doipclient.client import Parser
from doipclient.messages import (
    AliveCheckRequest,
    AliveCheckResponse,
    DiagnosticMessage,
    DiagnosticMessageNegativeAcknowledgement,
    DiagnosticMessagePositiveAcknowledgement,
    GenericDoIPNegativeAcknowledge,
    RoutingActivationRequest,
    RoutingActivationResponse,
)

from diag.addressing import LOGICAL_TESTERS, Target
from diag.direct import DirectLink
from diag.errors import LinkLost, LocalProtocolError, NoAdapter, NoAnswer, RemoteProtocolError
from diag.facts import Text
from diag.guard import TransmitGuard
from diag.vehiclereport import LinkInfo

__all__ = ["DEFAULT_PORT", "DoipLink", "open_doip", "parse_doip_address"]

_LOG = logging.getLogger(__name__)

DEFAULT_PORT: Final = 13400

_CONNECT_S: Final = 5.0
_VERSION: Final = 0x02
_LONGEST: Final = 1 << 20
"""Bytes of a message; a header that announces more is damaged."""

_TESTERS: Final = (0x0E00, 0x0E01, 0x0E80, 0x0EFF)
"""Addresses of ours, tried in turn: the first may be another tester's already."""

_TESTER_TAKEN: Final = 0x03
_CONFIRMATION: Final = 0x11
_SUCCESS: Final = 0x10

_ACTIVATION: Final = {
    0x00: Text("the gateway does not accept this tester's address", "网关不接受该诊断仪地址"),
    0x01: Text("all connections of the gateway are in use by other testers", "网关的连接均被其他诊断仪占用"),
    0x02: Text("another tester address is active on this connection", "该连接上已有其他诊断仪地址"),
    0x03: Text("the tester address is in use", "诊断仪地址已被占用"),
    0x04: Text("the gateway wants authentication", "网关要求身份认证"),
    0x05: Text("the car's side rejected the confirmation", "车辆侧拒绝确认"),
    0x06: Text("the gateway does not know this kind of activation", "网关不支持该激活类型"),
    0x07: Text("the gateway wants an encrypted (TLS) connection", "网关要求加密（TLS）连接"),
}

_REFUSALS: Final = {
    0x02: Text("the gateway does not accept the tester's address", "网关不接受诊断仪地址"),
    0x04: Text("the request is too long for the gateway", "请求过长，网关无法处理"),
    0x05: Text("the gateway is out of memory", "网关内存不足"),
    0x07: Text("the network behind the gateway is unknown", "网关后的网络未知"),
    0x08: Text("the gateway reports a transport error", "网关报告传输层错误"),
}
_UNKNOWN_TARGET: Final = 0x03
_UNREACHABLE: Final = 0x06

_USUAL: Final = tuple(
    Target.at_logical(address)
    for area in (range(0x1000, 0x1100), range(0x0001, 0x0100), range(0x0700, 0x0800), range(0x4000, 0x4200))
    for address in area
)
"""Where makers put their ECUs: low addresses as on CAN, 0x10xx, 0x40xx. Standard: unverified (maker's choice)."""


def parse_doip_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST``, ``HOST:PORT``, ``[IPV6]:PORT`` or a bare IPv6 address.

    Raises:
        ValueError: it is none.
    """
    host, port = text, ""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError(text)
        port = port[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) <= 0xFFFF)):
        raise ValueError(text)
    return host, int(port) if port else DEFAULT_PORT


def _packed(message: Any) -> bytes:
    payload = message.pack()
    return struct.pack("!BBHL", _VERSION, _VERSION ^ 0xFF, message.payload_type, len(payload)) + bytes(payload)


class DoipLink(DirectLink):
    """One TCP connection to a DoIP gateway on which routing is activated; :func:`open_doip` makes it."""

    functional = (Target.at_logical(0xE400), Target.at_logical(0xE000))
    usual = _USUAL

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        info: LinkInfo,
        guard: TransmitGuard,
    ) -> None:
        super().__init__(info, guard)
        self.tester = _TESTERS[0]
        self._reader, self._writer = reader, writer
        self._parser = Parser()
        self._task: asyncio.Task[None] | None = None

    async def activate(self) -> None:
        """Activates routing, for each of our addresses in turn while they are taken.

        Raises:
            NoAdapter: the gateway refuses, or says nothing.
        """
        self._write(RoutingActivationRequest(self.tester, 0x00), Text("routing activation", "路由激活"))
        while True:
            message = await self._next()
            if isinstance(message, AliveCheckRequest):
                self._write(AliveCheckResponse(self.tester), Text("alive", "在线应答"))
            elif isinstance(message, GenericDoIPNegativeAcknowledge):
                raise self._no(Text("the gateway does not understand DoIP as we speak it", "网关无法识别该 DoIP 报文"))
            elif isinstance(message, RoutingActivationResponse) and (code := message.pack()[4]) != _CONFIRMATION:
                break  # the packed byte, because the property raises on a code that it has no name for
        if code != _SUCCESS:
            unnamed = Text(f"routing activation answered 0x{code:02X}", f"路由激活应答 0x{code:02X}")
            raise _Refused(code, self._no(_ACTIVATION.get(code, unnamed)))
        self._task = asyncio.create_task(self._read(), name="doip reader")

    def _no(self, reason: Text) -> NoAdapter:
        return NoAdapter("doip", self.info.channel, reason)

    def _write(self, message: Any, what: Text) -> None:
        data = _packed(message)
        self.guard.note_link(self.info.channel, data, what)
        self._writer.write(data)

    async def _next(self) -> Any:
        """The next whole message.

        Raises:
            ConnectionError: the gateway closed, or sends what is no DoIP.
        """
        data = b""
        while True:
            try:
                message = self._parser.read_message(data)
            except (struct.error, ValueError, IndexError) as exc:
                raise ConnectionError(str(exc)) from exc
            if message is not None:
                return message
            if (self._parser.payload_size or 0) > _LONGEST:
                raise ConnectionError("damaged DoIP header")
            data = await self._reader.read(1 << 16)
            if not data:
                raise ConnectionError("closed by the gateway")

    async def _read(self) -> None:
        lost = LinkLost(self.info.channel, Text("it was closed", "已关闭"))
        try:
            while True:
                self._take(await self._next())
        except (OSError, EOFError) as exc:
            closed = Text("the gateway closed the connection", "网关关闭了连接")
            lost = LinkLost(self.info.channel, closed if isinstance(exc, ConnectionError) else str(exc))
        finally:
            self._lose(lost)

    def _take(self, message: Any) -> None:
        match message:
            case DiagnosticMessage():
                address = message.source_address
                if address in LOGICAL_TESTERS or message.target_address != self.tester:
                    return
                with suppress(ValueError):  # a group cannot answer
                    self._hear(Target.at_logical(address), bytes(message.user_data))
            case DiagnosticMessageNegativeAcknowledgement():
                self._refused(message.source_address, message.pack()[4])
            case AliveCheckRequest():
                self._write(AliveCheckResponse(self.tester), Text("alive", "在线应答"))
            case DiagnosticMessagePositiveAcknowledgement():
                pass
            case _:
                _LOG.debug("%s: %r", self.info.channel, message)

    def _refused(self, address: int, code: int) -> None:
        """The gateway could not deliver the request to this address."""
        talk = self._talks.get(address) or self._talks.get(None)
        if talk is None or talk.target.request_id != address:
            return
        if talk.target.is_functional:
            talk.end()
        elif code in (_UNKNOWN_TARGET, _UNREACHABLE):
            talk.fail(NoAnswer(talk.target.address, self.timing.answer_s))
        else:
            unnamed = Text(f"the gateway refused (0x{code:02X})", f"网关拒绝（0x{code:02X}）")
            talk.fail(RemoteProtocolError(talk.target.address, _REFUSALS.get(code, unnamed), b""))

    async def _transmit(self, target: Target, payload: bytes) -> None:
        if not target.logical:
            raise LocalProtocolError(Text("a CAN identifier as an address of DoIP", "将 CAN 标识符用作 DoIP 地址"))
        try:
            self._writer.write(_packed(DiagnosticMessage(self.tester, target.request_id, payload)))
            await self._writer.drain()
        except OSError as exc:
            raise LinkLost(self.info.channel, exc.strerror or str(exc)) from exc

    async def close(self) -> None:
        """Closes the connection; may be called twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


class _Refused(Exception):
    def __init__(self, code: int, error: NoAdapter) -> None:
        super().__init__(code)
        self.code, self.error = code, error


async def open_doip(host: str, port: int = DEFAULT_PORT, *, guard: TransmitGuard | None = None) -> DoipLink:
    """Connects to a DoIP gateway and activates routing.

    Args:
        host: name or address.
        port: TCP.
        guard: decides what may be sent; reading alone when left out.

    Raises:
        NoAdapter: nobody there, or the gateway refuses testers.
    """
    channel = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    guard = guard if guard is not None else TransmitGuard()
    for tester in _TESTERS:
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await asyncio.open_connection(host, port)
        except TimeoutError as exc:
            raise NoAdapter("doip", channel, Text("nobody answers there", "该地址无应答")) from exc
        except (OSError, UnicodeError) as exc:
            raise NoAdapter("doip", channel, getattr(exc, "strerror", None) or str(exc)) from exc
        link = DoipLink(reader, writer, LinkInfo("doip", channel), guard)
        link.tester = tester
        try:
            async with asyncio.timeout(_CONNECT_S):
                await link.activate()
        except _Refused as refused:
            await link.close()
            if refused.code != _TESTER_TAKEN or tester == _TESTERS[-1]:
                raise refused.error from None
        except TimeoutError as exc:
            await link.close()
            silent = Text("it does not answer the routing activation", "对路由激活无应答")
            raise NoAdapter("doip", channel, silent) from exc
        except OSError as exc:
            await link.close()
            closed = Text("it closed the connection; is it a DoIP gateway?", "对方关闭了连接；它是 DoIP 网关吗？")
            raise NoAdapter("doip", channel, closed) from exc
        except BaseException:
            await link.close()
            raise
        else:
            return link
    raise NoAdapter("doip", channel, _ACTIVATION[_TESTER_TAKEN])
