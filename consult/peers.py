"""The two kinds of websocket: the technician's agent, who brings blocks, and a page, which takes them."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientConnectionError, WSCloseCode, WSMsgType, web

from consult.edge import LiveEdge
from consult.errors import ConsultError, MessageBroken, TooMuch
from consult.gate import RateLimit
from consult.messages import (
    FROM_AGENT,
    FROM_VIEWER,
    PROTOCOL,
    Bye,
    Chat,
    Hello,
    Live,
    Message,
    Ping,
    Pong,
    Refused,
    RtcOffer,
    Want,
    Welcome,
    encode_message,
    parse_message,
)
from consult.outbox import Outbox
from consult.room import Member
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from consult.invites import Role, Session
    from consult.room import Room

__all__ = ["PeerContext", "serve_agent", "serve_viewer"]

_HELLO_TIMEOUT_S: Final = 10.0
_AGENT_SILENCE_S: Final = 10.0
_GOODBYE_S: Final = 1.0
_SLOW_DOWN_S: Final = 0.02
MAX_VIEWER_TEXT_BYTES: Final = 64 << 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PeerContext:
    """What a connection needs to know of the service around it."""

    clock_s: Callable[[], float]
    now_us: Callable[[], int]
    webrtc: bool
    edge_addresses: tuple[str, ...]
    chat_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=20, per_s=2))
    offer_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=5, per_s=0.2))
    want_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=60, per_s=30))
    block_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=60_000, per_s=1_000))


async def _send_from(outbox: Outbox, socket: web.WebSocketResponse) -> None:
    """Sends what is queued until the outbox is stopped or its peer is beyond hope."""
    try:
        while (item := await outbox.take()) is not None:
            if isinstance(item, str):
                await socket.send_str(item)
            else:
                await socket.send_bytes(item)
            if outbox.overrun:
                break
    except (ClientConnectionError, ConnectionError):
        return
    if not socket.closed:
        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER if outbox.overrun else WSCloseCode.GOING_AWAY)


async def _last_words(outbox: Outbox, sender: asyncio.Task[None]) -> None:
    """Lets what is queued go out, for as long as a goodbye may take."""
    outbox.stop()
    await asyncio.wait({sender}, timeout=_GOODBYE_S)


async def _refuse(socket: web.WebSocketResponse, error: ConsultError) -> None:
    """Ends a connection that broke a rule; the error's code goes along as the reason."""
    _log.info("connection ended: %s", error)
    code = WSCloseCode.MESSAGE_TOO_BIG if isinstance(error, TooMuch) else WSCloseCode.POLICY_VIOLATION
    if not socket.closed:
        await socket.close(code=code, message=error.code.encode())


async def serve_agent(socket: web.WebSocketResponse, room: Room, session: Session, context: PeerContext) -> None:
    """Serves the technician's agent until it goes. A newer connection of the agent takes the place of an older one."""
    outbox = Outbox()
    name = session.name
    try:
        hello = await _read_hello(socket)
        wanted = room.take_hello(hello, session.person, name, context.now_us())
    except ConsultError as error:
        await _refuse(socket, error)
        return
    returning = room.agent is not None
    if room.agent is not None:
        room.agent.stop()
    room.agent = outbox
    outbox.say(encode_message(Welcome(room=room.ident, next=wanted)))
    for text in (*room.acks(), *(json.dumps(event) for event in room.events_after(hello.events_after))):
        outbox.say(text)
    who = _agent_person(session)
    if not returning:
        room.happen("online", who, context.now_us())
    room.tell_presence()
    try:
        async with asyncio.TaskGroup() as tasks:
            sender = tasks.create_task(_send_from(outbox, socket))
            try:
                await _hear_agent(socket, room, session, context)
                await _last_words(outbox, sender)
            except ConsultError as error:
                await _refuse(socket, error)
            finally:
                sender.cancel()
    finally:
        if room.agent is outbox:
            room.agent = None
            room.idle_since_us = context.now_us()
            room.happen("offline", who, context.now_us())
            room.tell_presence()


def _agent_person(session: Session) -> dict[str, Any]:
    return {"id": session.person, "role": session.role.value, "name": session.name}


async def _read_hello(socket: web.WebSocketResponse) -> Hello:
    try:
        first = await socket.receive(timeout=_HELLO_TIMEOUT_S)
    except TimeoutError:
        raise MessageBroken(Text("no hello", "缺少 hello")) from None
    if first.type is not WSMsgType.TEXT:
        raise MessageBroken(Text("no hello", "缺少 hello"))
    hello = parse_message(first.data, FROM_AGENT)
    if not isinstance(hello, Hello) or hello.protocol != PROTOCOL:
        raise MessageBroken(Text(f"no hello of protocol {PROTOCOL}", f"缺少协议 {PROTOCOL} 的 hello"))
    return hello


async def _hear_agent(socket: web.WebSocketResponse, room: Room, session: Session, context: PeerContext) -> None:
    """Takes what the agent sends, until it closes, or says nothing for too long."""
    who = _agent_person(session)
    while True:
        try:
            message = await socket.receive(timeout=_AGENT_SILENCE_S)
        except TimeoutError:
            return
        if message.type is WSMsgType.BINARY:
            while not context.block_limit.take(session.person, context.clock_s()):  # noqa: ASYNC110 - it waits for time
                await asyncio.sleep(_SLOW_DOWN_S)  # not reading on slows the agent down, by TCP itself
            room.accept(message.data)
        elif message.type is WSMsgType.TEXT:
            match parse_message(message.data, FROM_AGENT):
                case Chat() as chat:
                    _say(room, chat, who, session.role, room.agent, context)
                case Hello() as again:
                    room.take_hello(again, session.person, session.name, context.now_us())
                case Bye():
                    room.close("consult.room-closed")
                    return
        else:
            return


def _say(room: Room, chat: Chat, who: dict[str, Any], role: Role, outbox: Outbox | None, context: PeerContext) -> None:
    """Passes a chat line on; who may not speak, or speaks too much, is told so and stays."""
    try:
        if not context.chat_limit.take(who["id"], context.clock_s()):
            raise TooMuch(Text("chat messages", "聊天消息"), "2/s")
        room.say(chat, who, role, context.now_us())
    except ConsultError as error:
        if outbox is not None:
            outbox.say(encode_message(Refused(code=error.code)))


async def serve_viewer(socket: web.WebSocketResponse, room: Room, session: Session, context: PeerContext) -> None:
    """Serves one page until it goes."""
    viewer = _Viewer(socket, room, Member(session.person, session.role, session.name), context)
    try:
        room.enter(viewer.member, context.now_us())
    except ConsultError as error:
        await _refuse(socket, error)
        return
    try:
        async with asyncio.TaskGroup() as tasks:
            sender = tasks.create_task(_send_from(viewer.member.outbox, socket))
            viewer.tasks = tasks
            try:
                await viewer.hear()
                await _last_words(viewer.member.outbox, sender)
            except ConsultError as error:
                await _refuse(socket, error)
            finally:
                viewer.end()
                sender.cancel()
    finally:
        room.leave(viewer.member, context.now_us())


class _Viewer:
    """One page's connection."""

    def __init__(self, socket: web.WebSocketResponse, room: Room, member: Member, context: PeerContext) -> None:
        self.socket = socket
        self.room = room
        self.member = member
        self.context = context
        self.tasks: asyncio.TaskGroup | None = None
        self._edge: asyncio.Task[None] | None = None

    async def hear(self) -> None:
        """Takes what the page sends, until it closes."""
        async for message in self.socket:
            if message.type is not WSMsgType.TEXT:
                raise MessageBroken(Text("a page sends no samples", "网页端不应发送采样数据"))
            await self._take(parse_message(message.data, FROM_VIEWER))

    async def _take(self, message: Message) -> None:
        member = self.member
        match message:
            case Chat() as chat:
                _say(self.room, chat, member.to_json(), member.role, member.outbox, self.context)
            case Want() as want:
                await self._fill(want)
            case RtcOffer() as offer:
                self._start_edge(offer)
            case Live(over="wss"):
                self._stop_edge()
            case Ping(t_us=t_us):
                member.outbox.say(encode_message(Pong(t_us=t_us, now_us=self.context.now_us())))

    async def _fill(self, want: Want) -> None:
        """Sends the blocks asked for: from the ring, else the journal; says which exist nowhere."""
        if not self.context.want_limit.take(self.member.person, self.context.clock_s()):
            self.member.outbox.say(encode_message(Refused(code=TooMuch.code)))
            return
        blocks, missing = self.room.blocks_in_ring(want)
        if missing:
            kept = dict(
                await asyncio.to_thread(self.room.journal.blocks, want.stream, want.epoch, missing[0], missing[-1])
            )
            blocks = [kept[seq] for seq in missing if seq in kept] + blocks
            missing = [seq for seq in missing if seq not in kept]
        self.member.outbox.push_fill(blocks)
        if missing:
            gone = {"type": "gone", "stream": want.stream, "epoch": want.epoch, "ranges": _ranges(missing)}
            self.member.outbox.say(json.dumps(gone))

    def _start_edge(self, offer: RtcOffer) -> None:
        self._stop_edge()
        if not self.context.webrtc or not self.context.offer_limit.take(self.member.person, self.context.clock_s()):
            self.member.outbox.say(encode_message(Live(over="wss")))
        elif self.tasks is not None:
            self._edge = self.tasks.create_task(self._run_edge(offer))

    def _stop_edge(self) -> None:
        self.member.edge = None
        if self._edge is not None:
            self._edge.cancel()
            self._edge = None

    async def _run_edge(self, offer: RtcOffer) -> None:
        """Answers an offer, hands the channel to the room while it is open, and cleans up."""
        edge, outbox = LiveEdge(self.context.edge_addresses), self.member.outbox
        try:
            answer = await edge.answer(offer.sdp)
            outbox.say(json.dumps({"type": "rtc", "attempt": offer.attempt, "sdp": answer}))
            if await edge.wait_open():
                self.member.edge = edge
                outbox.drop_live()
                outbox.say(encode_message(Live(over="rtc")))
                await edge.wait_closed()
        except MessageBroken as error:
            outbox.say(encode_message(Refused(code=error.code)))
        except Exception:  # noqa: BLE001 - the top of this carrier; logged, and the viewer is told below
            # The live edge is the dispensable carrier: whatever WebRTC does, the websocket goes on.
            _log.exception("the live edge failed")
        finally:
            if self.member.edge is edge:
                self.member.edge = None
                outbox.say(encode_message(Live(over="wss")))
            await edge.close()

    def end(self) -> None:
        """The connection is over: stops what runs for it."""
        self._stop_edge()
        self.member.outbox.stop()


def _ranges(numbers: list[int]) -> list[list[int]]:
    """Sorted numbers as ranges, both ends included."""
    runs = [list(run) for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])]
    return [[run[0][1], run[-1][1]] for run in runs]
