"""The live edge: a WebRTC data channel to one viewer. The only module that knows aiortc.

What is special here was measured: without an explicit configuration aiortc asks a public STUN server (5 s and a
leak), a browser's ``.local`` candidates cost a second each join, a lossy channel still queues unless a gate stands in
front of it, and a peer whose consent is lost closes for good without ever saying ``disconnected``: so each connection
serves one viewer and one purpose, is watched by beats, and is rebuilt by the viewer, never repaired. A relay that
refuses us says nothing either: what is missing among our candidates is the only sign, and is told.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from typing import TYPE_CHECKING, Any, Final

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InvalidStateError
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from consult.errors import MessageBroken, RelayMissing
from consult.ice import has_relay
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aioice import Candidate
    from aiortc import RTCDataChannel

__all__ = ["GATE_BYTES", "LiveEdge", "loopback_addresses", "strip_offer"]

GATE_BYTES: Final = 8192
"""More than this waiting in the channel means that it does not keep up: blocks are skipped, not queued."""

_CONNECT_TIMEOUT_S: Final = 8.0
_CLOSE_TIMEOUT_S: Final = 5.0

_log = logging.getLogger(__name__)


def strip_offer(sdp: str) -> str:
    """A browser's offer without candidates that only its own machine can resolve.

    ``a=end-of-candidates`` goes as well: with it and no candidate left, the server would give up before the browser's
    first check arrives.
    """
    kept = [
        line
        for line in sdp.splitlines()
        if not (line.startswith("a=candidate:") and ".local" in line) and line != "a=end-of-candidates"
    ]
    return "\r\n".join(kept) + "\r\n"


def loopback_addresses(host: str) -> tuple[str, ...]:
    """Loopback addresses that a service bound to ``host`` may be reached at: aiortc offers none by itself."""
    try:
        address = ipaddress.ip_address(socket.gethostbyname(host) if host == "localhost" else host)
    except (ValueError, OSError):
        return ()
    return ("127.0.0.1",) if address.is_loopback or address.is_unspecified else ()


class LiveEdge:
    """One peer connection to one viewer, answered, then used or dropped.

    Args:
        extra_addresses: addresses of this machine to offer besides those that ICE finds: loopback for a browser on
            this machine.
        servers: STUN and TURN servers as ``RTCIceServer`` takes them; no other is ever asked.
        relay_only: no address of this machine is offered.
    """

    def __init__(
        self,
        extra_addresses: Sequence[str] = (),
        *,
        servers: Sequence[dict[str, Any]] = (),
        relay_only: bool = False,
    ) -> None:
        self._extra = () if relay_only else tuple(extra_addresses)
        self._relay_only = relay_only
        self._wants_relay = has_relay(servers)
        self.relay_found: bool | None = None
        policy = RTCIceTransportPolicy.RELAY if relay_only else RTCIceTransportPolicy.ALL
        found = [RTCIceServer(**server) for server in servers]
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=found, iceTransportPolicy=policy))
        self._channel: RTCDataChannel | None = None
        self._answering: asyncio.Task[str] | None = None
        self._opened = asyncio.Event()
        self._closed = asyncio.Event()
        self.sent = 0
        self.skipped = 0
        self._peer.on("datachannel", self._take_channel)
        self._peer.on("connectionstatechange", self._watch_state)

    def _take_channel(self, channel: RTCDataChannel) -> None:
        if self._channel is None:
            self._channel = channel
            channel.on("close", self._closed.set)
            self._opened.set()

    def _watch_state(self) -> None:
        if self._peer.connectionState in ("failed", "closed"):
            self._closed.set()

    async def answer(self, offer_sdp: str) -> str:
        """The answer to a viewer's offer, with all our candidates in it.

        Raises:
            MessageBroken: the offer is none, or offers no data channel.
            RelayMissing: only a relay may be used, and none let us.
        """
        self._answering = asyncio.create_task(self._answer(offer_sdp))
        return await asyncio.shield(self._answering)

    async def _answer(self, offer_sdp: str) -> str:
        wrong = MessageBroken(Text("an offer without a data channel", "不含数据通道的连接请求"))
        if "m=application" not in offer_sdp or "m=audio" in offer_sdp or "m=video" in offer_sdp:
            raise wrong
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(sdp=strip_offer(offer_sdp), type="offer"))
            self._widen_candidates()
            await self._peer.setLocalDescription(await self._peer.createAnswer())
        except (ValueError, KeyError, IndexError, AttributeError, AssertionError, InvalidStateError) as error:
            # aiortc's SDP parser answers bad text with whatever its first wrong index or conversion raises.
            _log.debug("offer refused", exc_info=error)
            raise wrong from error
        sdp = str(self._peer.localDescription.sdp)
        if self._wants_relay:
            self.relay_found = " typ relay" in sdp
            if not self.relay_found:
                _log.warning("the TURN server gives no relay: check its address, the secret and its certificate")
        if self._relay_only and not self.relay_found:
            raise RelayMissing
        return sdp

    def _widen_candidates(self) -> None:
        """Offers the extra addresses too. aioice has no setting for that, so this one gatherer's list is widened."""
        sctp = self._peer.sctp
        if sctp is None or not self._extra:
            return
        connection = sctp.transport.transport.iceGatherer._connection  # noqa: SLF001 - aiortc keeps aioice's object private
        gather = connection.get_component_candidates

        async def widened(component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:  # noqa: ASYNC109 - the signature is aioice's
            extra = [address for address in self._extra if address not in addresses]
            return await gather(component=component, addresses=[*addresses, *extra], timeout=timeout)

        connection.get_component_candidates = widened  # type: ignore[method-assign]  # the only seam that aioice has

    async def wait_open(self) -> bool:
        """Whether the channel opened within the time that a connection may take."""
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await self._opened.wait()
        except TimeoutError:
            return False
        return True

    @property
    def is_open(self) -> bool:
        """Whether blocks can go out now."""
        return self._channel is not None and self._channel.readyState == "open"

    def offer_block(self, data: bytes) -> bool:
        """Sends a block now or skips it; never queues behind more than :data:`GATE_BYTES`."""
        channel = self._channel
        if channel is None or channel.readyState != "open" or channel.bufferedAmount > GATE_BYTES:
            self.skipped += 1
            return False
        channel.send(data)
        self.sent += 1
        return True

    def offer_beat(self, data: bytes) -> bool:
        """Sends a sign of life, which counts as no block."""
        channel = self._channel
        if channel is None or channel.readyState != "open" or channel.bufferedAmount > GATE_BYTES:
            return False
        channel.send(data)
        return True

    async def wait_closed(self) -> None:
        """Waits until the channel or the connection below it has ended."""
        await self._closed.wait()

    async def close(self) -> None:
        """Ends the connection, to the end even when cancelled meanwhile: half a close would leave sockets open."""
        closing = asyncio.create_task(self._close())
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def _close(self) -> None:
        if self._answering is not None:
            # Gathering that is cut off forgets the sockets it has opened so far; it takes milliseconds, so wait for it.
            await asyncio.gather(self._answering, return_exceptions=True)
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._peer.close()
        except TimeoutError:
            _log.warning("a peer connection did not close in time")
