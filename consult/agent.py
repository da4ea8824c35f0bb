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
import time
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from consult.closing import check_statement
from consult.dialling import SILENCE_S, first_of, first_to_open, given_up, open_socket, refusal_of
from consult.enrolment import post
from consult.eras import Eras
from consult.errors import (
    JournalBroken,
    MessageBroken,
    RoomClosed,
    ServerCannotKeep,
    ServerRefused,
    ServerUnreachable,
    SessionRefused,
)
from consult.invites import SESSION_LIFE_S
from consult.laptopsession import LaptopSession
from consult.messages import (
    FROM_SERVER,
    MAX_CHAT_CHARS,
    PROTOCOL,
    Ack,
    Beat,
    Bye,
    Chat,
    Closed,
    Dtcs,
    Event,
    Finish,
    Hello,
    Hold,
    Refused,
    Welcome,
    encode_message,
    parse_message,
)
from consult.outflow import Outflow
from consult.rates import Pacer
from consult.spokenwords import SpokenWords
from consult.spool import Spool, store_block
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from consult.messages import Message
    from consult.spool import Lane
    from consult.spoolfolder import RoomIdentity
    from diag.frames import Frame
    from diag.samples import SampleBlock, StreamSchema

__all__ = ["Agent"]

RESTARTING: Final = "consult.service-restarting"
"""The service says goodbye with this when it comes back: no reason to end the room."""

_BEAT_S: Final = 0.5
_TICK_S: Final = 0.05
_SYNC_S: Final = 1.0
_BACKOFF_S: Final = (0.1, 0.2, 0.4, 0.8)
_PATIENCE_S: Final = 60.0
"""How long a service that knew us is asked again after it refused us: it may have been restarted without its rooms."""

_log = logging.getLogger(__name__)


class _ConnectionLost(Exception):
    """This connection is over; another one may go on."""


class Agent(LaptopSession):
    """One technician in one room. Made by :func:`consult.joining.joined_room`.

    Args:
        on_event: told every event of the room once, in order: chat, people who come and go, requests.
        on_link: told True when the service is reached, False when it is lost.

    Attributes:
        key: the laptop's public Ed25519 key (hex), by which it signs decisions and results; set before :meth:`run`.
        allows: what its policy may grant, for the experts to know; likewise.
        on_hold: told every sign of the hand on the technician's page.
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
        spool: Spool | None = None,
        identity: RoomIdentity | None = None,
    ) -> None:
        super().__init__(http, server, room, token)
        self.spool = Spool() if spool is None else spool  # an empty spool is false
        self.connections = 0
        self.outflow: Outflow | None = None
        self.pacer = Pacer()
        self.key = ""
        self.allows: dict[str, Any] = {}
        self.on_event = on_event
        self.on_hold: Callable[[Hold], None] = lambda _: None
        self._on_link = on_link
        self.identity = identity
        self._eras = Eras(self.spool, identity)
        self._wake = asyncio.Event()
        self._dtcs: dict[str, Any] | None = None
        self._dtcs_unsent = False
        self._refused_at_s: float | None = None
        self._ended = False
        self._leave = False
        self.finished: Event | None = None
        self.record_head: dict[str, Any] = {}
        self._events_seen = 0
        self._said = SpokenWords()
        self._heard_s = 0.0

    @property
    def has_ended(self) -> bool:
        """The room is over, and everybody knows."""
        return self._ended

    @property
    def epoch(self) -> int:
        """Which counting of blocks is in use for what is measured now."""
        return self._eras.current.epoch

    def tell_dtcs(self, body: dict[str, Any]) -> None:
        """Tells the room the fault codes as they are now; the newest is told again after a cut until it was heard."""
        self._dtcs = body
        self._dtcs_unsent = True
        self._wake.set()

    def say(self, text: str) -> None:
        """Says something in the room; after a cut it is said again until it was heard."""
        for start in range(0, len(text), MAX_CHAT_CHARS):
            part = text[start : start + MAX_CHAT_CHARS]
            if part.strip():
                ident = secrets.token_hex(8)
                self._said.say(Chat(ident, part))
        self._wake.set()

    def post(self, message: Message) -> None:
        """Brings a decision, a result or a stop to the room; after a cut it is sent again until it was heard."""
        self._said.say(message)
        self._wake.set()

    def finish(self, body: dict[str, Any]) -> None:
        """The job is done; the room ends for everybody once it has heard so and what was measured has arrived.

        Args:
            body: see :func:`consult.closing.check_statement`.

        Raises:
            MessageBroken: the room would not take it.
        """
        self.post(Finish(check_statement(body), id=secrets.token_hex(8)))

    @property
    def is_reached(self) -> bool:
        """Whether the service was heard within the last two seconds."""
        return time.monotonic() - self._heard_s < SILENCE_S

    def leave(self) -> None:
        """Ends the room for everybody once what was measured has arrived."""
        self._leave = True
        self._wake.set()

    async def run(
        self,
        report: dict[str, Any],
        schema: StreamSchema,
        blocks: AsyncIterator[SampleBlock],
        *,
        more: Sequence[tuple[StreamSchema, AsyncIterator[SampleBlock | tuple[Frame, ...]]]] = (),
    ) -> None:
        """Brings the car into the room and its samples with it, until :meth:`leave` and the last block is kept.

        Args:
            report: ``huizhen.scan/1``.
            schema: the columns of ``blocks``.
            blocks: the live samples; their end ends the streaming, not the room.
            more: other streams; one of kind ``raw`` gives runs of frames.

        Raises:
            ConsultError: the room is closed or the service refuses us for good.
        """
        era = self._eras.begin([schema.to_json(), *(one.to_json() for one, _ in more)], self._token)
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [
                    tasks.create_task(self._measure(era.lanes[one.stream], source))
                    for one, source in ((schema, blocks), *more)
                ]
                helpers += [tasks.create_task(self._renew()), tasks.create_task(self._sync())]
                await self._stay_connected(report)
                for task in helpers:
                    task.cancel()
        except ExceptionGroup as group:
            raise first_of(group) from group

    async def _measure(self, lane: Lane, blocks: AsyncIterator[SampleBlock | tuple[Frame, ...]]) -> None:
        async for block in blocks:
            if self._leave:
                return
            store_block(self.spool, lane, block)
            self._wake.set()

    async def _sync(self) -> None:
        """Has the disk keep what was measured, once a second."""
        while True:
            await asyncio.sleep(_SYNC_S)
            try:
                await asyncio.to_thread(self.spool.sync)
            except OSError as error:
                _log.warning("the spool's disk: %s", error)

    async def _renew(self) -> None:
        """Keeps the session alive. A refusal ends the run; an unreachable service is tried again soon."""
        pause_s = SESSION_LIFE_S / 3
        while True:
            await asyncio.sleep(pause_s)
            try:
                answer = await post(self._http, self.server, f"/r/{self.room}/renew", {}, self._token)
                self._token = str(answer.get("token", self._token))
                self._eras.keep(self._token)
                pause_s = SESSION_LIFE_S / 3
            except (ServerUnreachable, ServerRefused):
                pause_s = 30.0
            except SessionRefused:
                if self.is_reached:
                    raise
                pause_s = 30.0  # a service without its rooms is being restarted: the connection will tell

    async def _stay_connected(self, report: dict[str, Any]) -> None:
        failures = 0
        while True:
            before = self.connections
            try:
                await self._connect_once(report)
            except _ConnectionLost as error:
                _log.info("connection to %s lost: %s", self.server, error)
            if self._ended:
                return
            failures = 0 if self.connections > before else failures + 1
            await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])

    async def _connect_once(self, report: dict[str, Any]) -> None:
        """One connection from its first word to its end."""
        try:
            socket = await first_to_open(self._open_socket)
        except aiohttp.WSServerHandshakeError as error:
            self._judge_refusal(error)
            return
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _ConnectionLost(str(error)) from error
        self._refused_at_s = None
        try:
            await self._talk(socket, report)
        finally:
            await socket.close()

    def _judge_refusal(self, error: aiohttp.WSServerHandshakeError) -> None:
        """What an answer that is no websocket means: the end, or another attempt.

        Raises:
            _ConnectionLost: another attempt may work.
            ConsultError: none will.
        """
        final = refusal_of(error.status)
        if self._leave and error.status in (401, 410):
            self._ended = True
            return
        if final is None:
            raise _ConnectionLost(f"HTTP {error.status}") from error
        if self._refused_at_s is None:
            self._refused_at_s = time.monotonic()
        if not self.connections or time.monotonic() - self._refused_at_s > _PATIENCE_S:
            raise final from error
        raise _ConnectionLost(f"HTTP {error.status}, though we were in this room") from error

    async def _open_socket(self) -> aiohttp.ClientWebSocketResponse:
        return await open_socket(self._http, f"{self.server}/r/{self.room}/agent", self._token)

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse, report: dict[str, Any]) -> None:
        self._heard_s = time.monotonic()
        self.pacer, self.outflow = Pacer(), None
        try:
            async with asyncio.TaskGroup() as tasks:
                watchdog = tasks.create_task(self._watch_silence())
                await self._greet(socket, report)
                await self._hear_welcome(socket)
                self._said.repeat()
                self._dtcs_unsent = self._dtcs is not None
                self.connections += 1
                self._on_link(True)
                try:
                    sender = tasks.create_task(self._send(socket, report))
                    await self._hear(socket)
                    sender.cancel()
                    watchdog.cancel()
                finally:
                    if not self._ended:
                        self._on_link(False)
        except ExceptionGroup as group:
            first = first_of(group)
            if not isinstance(first, (_ConnectionLost, aiohttp.ClientError, ConnectionError)):
                raise first from group
            if not self._ended:
                raise _ConnectionLost(str(first)) from group

    async def _greet(self, socket: aiohttp.ClientWebSocketResponse, report: dict[str, Any]) -> None:
        """Says hello for the oldest epoch of which something is still here; what was measured first arrives first."""
        era = self._eras.oldest
        hello = Hello(PROTOCOL, era.epoch, report, era.schemas, self._events_seen, self.key, self.allows)
        await socket.send_str(encode_message(hello))

    async def _watch_silence(self) -> None:
        raise _ConnectionLost(await given_up(lambda: self._heard_s, lambda: self.pacer.rtt_s))

    def _take_welcome(self, welcome: Welcome) -> None:
        era = self._eras.oldest
        wanted = {stream: welcome.next.get(str(stream)) for stream in era.lanes}
        known = {stream: seq for stream, seq in wanted.items() if isinstance(seq, int)}
        if len(known) != len(wanted):
            raise MessageBroken(Text("a welcome without our stream", "欢迎消息缺少数据流"))
        self.outflow = Outflow(self.spool, era, known, self.pacer)
        self._wake.set()

    async def _hear_welcome(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        message = await socket.receive()
        while message.type in (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG):
            message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise self._end_of(socket)
        self._heard_s = time.monotonic()
        welcome = parse_message(message.data, FROM_SERVER)
        if not isinstance(welcome, Welcome):
            raise MessageBroken(Text("no welcome", "缺少欢迎消息"))
        self._take_welcome(welcome)

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            self._heard_s = time.monotonic()
            if message.type is not aiohttp.WSMsgType.TEXT:
                await self._hear_echo(socket, message)
                continue
            match parse_message(message.data, FROM_SERVER):
                case Ack() as ack:
                    self._eras.acknowledge(ack)
                    self._wake.set()
                case Event() as event:
                    self._take_event(event)
                case Welcome() as welcome:
                    self._take_welcome(welcome)
                case Closed(code=code) if code == RESTARTING and not self._leave:
                    raise _ConnectionLost(code)
                case Hold() as hold:
                    self.on_hold(hold)
                case Refused() as refused:
                    self._take_refusal(refused)
                case Closed(code=code, chain=head):
                    self.record_head = head
                    self._ended = True
                    if self._leave:
                        return
                    raise ServerCannotKeep(self.server) if code == JournalBroken.code else RoomClosed
                case Beat():
                    pass
        raise self._end_of(socket)

    async def _hear_echo(self, socket: aiohttp.ClientWebSocketResponse, message: aiohttp.WSMessage) -> None:
        if message.type is aiohttp.WSMsgType.PING:
            await socket.pong(message.data)
        elif message.type is aiohttp.WSMsgType.PONG:
            self.pacer.note_echo(int.from_bytes(message.data[:8], "little"), self._heard_s)
            self._wake.set()

    def _take_event(self, event: Event) -> None:
        if event.n <= self._events_seen:
            return
        self._events_seen = event.n
        self._said.hear(event)
        if event.kind == "dtc" and event.body == self._dtcs:
            self._dtcs = None
        if event.kind == "finish":
            self.finished = event
            self.leave()
        self.on_event(event)

    def _end_of(self, socket: aiohttp.ClientWebSocketResponse) -> Exception:
        """What a closed connection means: a broken rule is final, everything else can be tried again."""
        if socket.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION:
            return MessageBroken(Text("the service did not understand us", "服务端无法识别本端消息"))
        return _ConnectionLost(f"closed with code {socket.close_code}")

    def _take_refusal(self, refused: Refused) -> None:
        if refused.id:
            self._said.forget(refused.id)
        _log.warning("the service refused something: %s", refused.code)

    async def _send(self, socket: aiohttp.ClientWebSocketResponse, report: dict[str, Any]) -> None:
        """Sends words, then blocks as the line allows, and beats when there is nothing else."""
        beat_s = time.monotonic()
        while True:
            self._wake.clear()
            await self._send_words(socket)
            outflow = self.outflow
            if outflow is not None and self._eras.end_oldest(self._token):
                self.outflow = outflow = None
                await self._greet(socket, report)
            sent = False
            while outflow is not None and not self._said.has_unsent:
                message = outflow.next_message(time.monotonic(), time.time_ns() // 1000)
                if message is None:
                    break
                sent = True
                await socket.send_bytes(message)
                self.pacer.note_sent(len(message))
                await self._ping(socket)
            if not sent:
                await self._ping(socket)
            if self._leave and not len(self.spool) and not self._said:
                await socket.send_str(encode_message(Bye()))
            if sent:
                beat_s = time.monotonic()
            elif time.monotonic() - beat_s >= _BEAT_S:
                beat_s = time.monotonic()
                await socket.send_str(encode_message(Beat()))
            thin = outflow is not None and outflow.clock.is_thin
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S if thin else _BEAT_S / 2):
                    await self._wake.wait()

    async def _ping(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        token = self.pacer.next_ping(time.monotonic())
        if token is not None:
            await socket.ping(token.to_bytes(8, "little"))

    async def _send_words(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while (text := self._said.take()) is not None:
            await socket.send_str(text)
        if self._dtcs_unsent and self._dtcs is not None:
            self._dtcs_unsent = False
            await socket.send_str(encode_message(Dtcs(self._dtcs)))
