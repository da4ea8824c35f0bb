"""The technician's side of a room: brings the car's report and its samples, and talks.

Every block stays in a spool until the service says that it stands in the journal. A connection that is silent for two
seconds is dropped and built anew, and goes on at the block that the service asks for: nothing is lost and nothing
counts twice, however often the network is cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from consult.errors import (
    CertificateBroken,
    CertificateRefused,
    ConsultError,
    InviteExpired,
    InviteUnknown,
    InviteUsed,
    JournalBroken,
    MessageBroken,
    OriginRefused,
    RoleRefused,
    RoomClosed,
    ServerCannotKeep,
    ServerRefused,
    ServerUnreachable,
    SessionRefused,
    TooMuch,
)
from consult.invites import SESSION_LIFE_S
from consult.messages import (
    FROM_SERVER,
    MAX_CHAT_CHARS,
    PROTOCOL,
    Ack,
    Beat,
    Bye,
    Chat,
    Closed,
    Event,
    Hello,
    Refused,
    Welcome,
    encode_message,
    parse_message,
)
from consult.spool import Spool
from consult.wire import encode_samples
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from diag.facts import SampleBlock, StreamSchema

__all__ = ["Agent", "RoomInvite", "joined_room"]

SILENCE_S: Final = 2.0
"""The service beats twice a second; nothing for this long means that the connection is dead, whatever TCP thinks."""

_BEAT_S: Final = 0.5
_BACKOFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
_REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=10, connect=5)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RoomInvite:
    """An invite for somebody else. ``expires_us``: UTC microseconds since the Unix epoch."""

    code: str
    path: str
    url: str
    role: str
    expires_us: int


class _ConnectionLost(Exception):
    """This connection is over; another one may go on."""


@dataclass(slots=True)
class _Say:
    """Chat lines not yet seen coming back as events."""

    waiting: dict[str, str] = field(default_factory=dict)
    unsent: list[str] = field(default_factory=list)


class Agent:
    """One technician in one room. Made by :func:`joined_room`.

    Args:
        on_event: told every event of the room once, in order: chat, people who come and go.
        on_link: told True when the service is reached, False when it is lost.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        server: str,
        room: str,
        token: str,
        *,
        on_event: Callable[[Event], None],
        on_link: Callable[[bool], None],
    ) -> None:
        self.server = server
        self.room = room
        self.spool = Spool()
        self.connections = 0
        self._http = http
        self._token = token
        self._on_event = on_event
        self._on_link = on_link
        self._epoch = secrets.randbits(32)
        self._wake = asyncio.Event()
        self._ended = False
        self._leave = False
        self._events_seen = 0
        self._said = _Say()
        self._sent = 0
        self._heard_s = 0.0
        self._acked = 0

    @property
    def epoch(self) -> int:
        """Which counting of blocks this is."""
        return self._epoch

    def say(self, text: str) -> None:
        """Says something in the room; after a cut it is said again until it was heard."""
        for start in range(0, len(text), MAX_CHAT_CHARS):
            part = text[start : start + MAX_CHAT_CHARS]
            if part.strip():
                ident = secrets.token_hex(8)
                self._said.waiting[ident] = part
                self._said.unsent.append(ident)
        self._wake.set()

    async def invite(self, role: str = "expert") -> RoomInvite:
        """Asks the service for an invite for somebody else.

        Raises:
            ConsultError: what the service, or the way to it, refused.
        """
        body = await _post(self._http, self.server, f"/r/{self.room}/invites", {"role": role}, self._token)
        try:
            return RoomInvite(body["invite"], body["path"], body["url"], body["role"], body["expires_us"])
        except KeyError as error:
            raise MessageBroken(Text("an invite's answer", "邀请的应答")) from error

    def leave(self) -> None:
        """Ends the room for everybody once what was measured has arrived."""
        self._leave = True
        self._wake.set()

    async def run(self, report: dict[str, Any], schema: StreamSchema, blocks: AsyncIterator[SampleBlock]) -> None:
        """Brings the car into the room and its samples with it, until :meth:`leave` and the last block is kept.

        Args:
            report: ``huizhen.scan/1``.
            schema: the columns of ``blocks``.
            blocks: the live samples; their end ends the streaming, not the room.

        Raises:
            ConsultError: the room is closed or the service refuses us for good.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                source = tasks.create_task(self._measure(schema, blocks))
                renewer = tasks.create_task(self._renew())
                await self._stay_connected(report, schema)
                source.cancel()
                renewer.cancel()
        except ExceptionGroup as group:
            raise _first_of(group) from group

    async def _measure(self, schema: StreamSchema, blocks: AsyncIterator[SampleBlock]) -> None:
        async for block in blocks:
            if self._leave:
                return
            data = encode_samples(
                stream=schema.stream,
                epoch=self._epoch,
                seq=self.spool.next,
                t_us=block.t_ns // 1000,
                values=block.values,
                valid=block.valid,
            )
            self.spool.add(data)
            self._wake.set()

    async def _renew(self) -> None:
        """Keeps the session alive. A refusal ends the run; an unreachable service is tried again soon."""
        pause_s = SESSION_LIFE_S / 3
        while True:
            await asyncio.sleep(pause_s)
            try:
                answer = await _post(self._http, self.server, f"/r/{self.room}/renew", {}, self._token)
                self._token = str(answer.get("token", self._token))
                pause_s = SESSION_LIFE_S / 3
            except ServerUnreachable:
                pause_s = 30.0

    async def _stay_connected(self, report: dict[str, Any], schema: StreamSchema) -> None:
        failures = 0
        while True:
            before = self.connections
            try:
                await self._connect_once(report, schema)
            except _ConnectionLost as error:
                _log.info("connection to %s lost: %s", self.server, error)
            if self._ended:
                return
            failures = 0 if self.connections > before else failures + 1
            await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])

    async def _connect_once(self, report: dict[str, Any], schema: StreamSchema) -> None:
        """One connection from its first word to its end."""
        url = f"{self.server}/r/{self.room}/agent"
        try:
            socket = await self._http.ws_connect(
                url,
                headers={"Authorization": f"Bearer {self._token}"},
                compress=0,
                max_msg_size=1 << 20,
                timeout=aiohttp.ClientWSTimeout(ws_close=0.5),
            )
        except aiohttp.WSServerHandshakeError as error:
            if self._leave and error.status in (401, 410):
                self._ended = True
                return
            if error.status in (401, 403, 410):
                raise {401: SessionRefused(), 403: OriginRefused(), 410: RoomClosed()}[error.status] from error
            raise _ConnectionLost(f"HTTP {error.status}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _ConnectionLost(str(error)) from error
        try:
            await self._talk(socket, report, schema)
        finally:
            await socket.close()

    async def _talk(
        self, socket: aiohttp.ClientWebSocketResponse, report: dict[str, Any], schema: StreamSchema
    ) -> None:
        self._heard_s = time.monotonic()
        hello = Hello(PROTOCOL, self._epoch, report, [schema.to_json()], self._events_seen)
        try:
            async with asyncio.TaskGroup() as tasks:
                watchdog = tasks.create_task(self._watch_silence())
                await socket.send_str(encode_message(hello))
                welcome = await self._hear_welcome(socket)
                self._sent = self._wanted(welcome, schema)
                self._said.unsent = list(self._said.waiting)
                self.connections += 1
                self._on_link(True)
                try:
                    sender = tasks.create_task(self._send(socket))
                    await self._hear(socket)
                    sender.cancel()
                    watchdog.cancel()
                finally:
                    if not self._ended:
                        self._on_link(False)
        except ExceptionGroup as group:
            first = _first_of(group)
            if not isinstance(first, (_ConnectionLost, aiohttp.ClientError, ConnectionError)):
                raise first from group
            if not self._ended:
                raise _ConnectionLost(str(first)) from group

    async def _watch_silence(self) -> None:
        while True:
            await asyncio.sleep(SILENCE_S / 8)
            if time.monotonic() - self._heard_s > SILENCE_S:
                raise _ConnectionLost(f"silent for {SILENCE_S:g} s")

    def _wanted(self, welcome: Welcome, schema: StreamSchema) -> int:
        wanted = welcome.next.get(str(schema.stream))
        if not isinstance(wanted, int):
            raise MessageBroken(Text("a welcome without our stream", "欢迎消息缺少数据流"))
        return wanted

    async def _hear_welcome(self, socket: aiohttp.ClientWebSocketResponse) -> Welcome:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise self._end_of(socket)
        self._heard_s = time.monotonic()
        welcome = parse_message(message.data, FROM_SERVER)
        if not isinstance(welcome, Welcome):
            raise MessageBroken(Text("no welcome", "缺少欢迎消息"))
        return welcome

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            self._heard_s = time.monotonic()
            match parse_message(message.data, FROM_SERVER):
                case Ack(epoch=self._epoch, next=kept):
                    self._acked = max(self._acked, kept)
                    self.spool.acknowledge(kept)
                    self._wake.set()
                case Event() as event if event.n > self._events_seen:
                    self._events_seen = event.n
                    self._said.waiting.pop(event.id, None)
                    self._on_event(event)
                case Refused(code=code):
                    _log.warning("the service refused something: %s", code)
                case Closed():
                    self._ended = True
                    if self._leave:
                        return
                    raise RoomClosed
                case Beat() | Ack() | Event() | Welcome():
                    pass
        raise self._end_of(socket)

    def _end_of(self, socket: aiohttp.ClientWebSocketResponse) -> Exception:
        """What a closed connection means: a broken rule is final, everything else can be tried again."""
        if socket.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION:
            return MessageBroken(Text("the service did not understand us", "服务端无法识别本端消息"))
        return _ConnectionLost(f"closed with code {socket.close_code}")

    async def _send(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Sends blocks from where the service stands, chat lines, and beats when there is nothing else."""
        while True:
            self._wake.clear()
            while self._said.unsent:
                ident = self._said.unsent.pop(0)
                if ident in self._said.waiting:
                    await socket.send_str(encode_message(Chat(ident, self._said.waiting[ident])))
            while (entry := self.spool.from_seq(self._sent)) is not None:
                seq, block = entry
                await socket.send_bytes(block)
                self._sent = seq + 1
                if self._said.unsent:
                    break
            if self._leave and not len(self.spool) and not self._said.waiting:
                await socket.send_str(encode_message(Bye()))
            if not self._wake.is_set():
                try:
                    async with asyncio.timeout(_BEAT_S):
                        await self._wake.wait()
                except TimeoutError:
                    await socket.send_str(encode_message(Beat()))


def _first_of(group: BaseExceptionGroup[Any]) -> BaseException:
    """The first single error in a group."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


_BY_CODE: Final[dict[str, Callable[[], ConsultError]]] = {
    InviteUnknown.code: InviteUnknown,
    InviteUsed.code: InviteUsed,
    InviteExpired.code: InviteExpired,
    SessionRefused.code: SessionRefused,
    OriginRefused.code: OriginRefused,
    RoomClosed.code: RoomClosed,
    RoleRefused.code: lambda: RoleRefused("?"),
    TooMuch.code: lambda: TooMuch(Text("requests", "请求"), "—"),
}


async def _post(
    http: aiohttp.ClientSession, server: str, path: str, body: dict[str, Any], token: str | None = None
) -> dict[str, Any]:
    """One JSON request to the service.

    Raises:
        ConsultError: what the service said, or why it could not be asked.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with http.post(f"{server}{path}", json=body, headers=headers, timeout=_REQUEST_TIMEOUT) as response:
            try:
                answer = await response.json()
            except (aiohttp.ContentTypeError, ValueError):
                answer = None
            if response.status == 200 and isinstance(answer, dict):
                return answer
            code = answer.get("error") if isinstance(answer, dict) else None
            if code in _BY_CODE:
                known = _BY_CODE[code]()
                raise known
            if code == JournalBroken.code:
                raise ServerCannotKeep(server)
            raise ServerRefused(server, response.status)
    except aiohttp.ClientConnectorCertificateError as error:
        raise CertificateRefused(server, error.certificate_error.verify_message) from error  # type: ignore[attr-defined]  # ssl's error has it, its stub hides it
    except aiohttp.ServerFingerprintMismatch as error:
        raise CertificateRefused(server, "fingerprint") from error
    except aiohttp.InvalidURL as error:
        raise ServerUnreachable(server, Text("not an address", "不是有效地址")) from error
    except TimeoutError as error:
        raise ServerUnreachable(server, Text("no answer in time", "超时无应答")) from error
    except (aiohttp.ClientError, OSError) as error:
        raise ServerUnreachable(server, str(error)) from error


def _tls(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise CertificateBroken(str(ca), str(error)) from error


@contextlib.asynccontextmanager
async def joined_room(
    server: str,
    invite: str,
    *,
    name: str = "",
    ca: Path | None = None,
    fingerprint: bytes | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    on_link: Callable[[bool], None] = lambda _: None,
) -> AsyncIterator[Agent]:
    """Redeems a technician's invite and gives the agent for its room.

    Args:
        server: ``http(s)://host:port`` of the service.
        invite: the code alone.
        name: how the technician is called in the room.
        on_event: told every event of the room once, in order.
        on_link: told True when the service is reached, False when it is lost.
        fingerprint: SHA-256 of the one certificate to trust, where it is known from elsewhere.
        ca: the certificate of the authority that signed the service's one, where the system does not know it.

    Raises:
        ConsultError: the invite is not good, or the service cannot be reached or trusted.
    """
    server = server.rstrip("/")
    connector = aiohttp.TCPConnector(ssl=aiohttp.Fingerprint(fingerprint) if fingerprint else _tls(ca))
    async with aiohttp.ClientSession(connector=connector) as http:
        answer = await _post(http, server, "/redeem", {"invite": invite, "name": name, "agent": True})
        room, token = answer.get("room"), answer.get("token")
        if not isinstance(room, str):
            raise MessageBroken(Text("an answer without a room", "应答缺少会诊室"))
        if not isinstance(token, str):
            raise RoleRefused(str(answer.get("role")))
        yield Agent(http, server, room, token, on_event=on_event, on_link=on_link)
