"""The two kinds of websocket: the technician's agent, who brings blocks, and a page, which takes them."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientConnectionError, WSCloseCode, WSMsgType, web

from consult.callmessages import CallMessage
from consult.callpeers import CallLimits, take_call_message
from consult.dtcwords import check_dtcs
from consult.edge import LiveEdge
from consult.errors import ConsultError, MessageBroken, RelayMissing, RoleRefused, TooMuch
from consult.gate import RateLimit
from consult.granterrors import RequestUnknown
from consult.member import Member
from consult.messages import (
    FROM_AGENT,
    FROM_VIEWER,
    PROTOCOL,
    Ask,
    Bye,
    Chat,
    Decide,
    Dtcs,
    Finish,
    Hello,
    Hold,
    Line,
    Live,
    Mark,
    Message,
    Ping,
    Pong,
    Refused,
    Result,
    RtcOffer,
    Seen,
    Stop,
    Unmark,
    View,
    Want,
    Welcome,
    Withdraw,
    encode_message,
    parse_message,
)
from consult.outbox import Outbox
from consult.rates import Pacer
from consult.wire import RAW, kind_of
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
_TOKEN_BYTES: Final = 8
MAX_VIEWER_TEXT_BYTES: Final = 64 << 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PeerContext:
    """What a connection needs to know of the service around it."""

    clock_s: Callable[[], float]
    now_us: Callable[[], int]
    webrtc: bool
    edge_addresses: tuple[str, ...]
    call_limits: CallLimits = field(default_factory=CallLimits)
    chat_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=20, per_s=2))
    mark_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=20, per_s=2))
    stop_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=3, per_s=0.2))
    ask_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=6, per_s=0.2))
    hold_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=20, per_s=10))
    offer_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=5, per_s=0.2))
    view_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=40, per_s=20))
    line_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=5, per_s=1))
    word_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=1_000, per_s=300))
    want_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=60, per_s=30))
    block_limit: RateLimit = field(default_factory=lambda: RateLimit(burst=60_000, per_s=1_000))


async def _send_from(outbox: Outbox, socket: web.WebSocketResponse, clock_s: Callable[[], float]) -> None:
    """Sends what is queued until the outbox is stopped or its peer is beyond hope."""
    pacer = outbox.pacer
    try:
        while (item := await outbox.take(clock_s)) is not None:
            if isinstance(item, str):
                await socket.send_str(item)
            else:
                await socket.send_bytes(item)
            if pacer is not None:
                pacer.note_sent(len(item))
                if (token := pacer.next_ping(clock_s())) is not None:
                    await socket.ping(token.to_bytes(8, "little"))
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
            sender = tasks.create_task(_send_from(outbox, socket, context.clock_s))
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
    while True:
        try:
            message = await socket.receive(timeout=_AGENT_SILENCE_S)
        except TimeoutError:
            return
        if message.type is WSMsgType.BINARY:
            while not context.block_limit.take(session.person, context.clock_s()):  # noqa: ASYNC110 - it waits for time
                await asyncio.sleep(_SLOW_DOWN_S)  # not reading on slows the agent down, by TCP itself
            room.accept(message.data, context.now_us())
        elif message.type is WSMsgType.PING:
            # Echoed here, behind the blocks that came before it: they were accepted by now.
            await socket.pong(message.data)
        elif message.type is WSMsgType.PONG:
            continue
        elif message.type is WSMsgType.TEXT:
            if _take_from_agent(parse_message(message.data, FROM_AGENT), room, session, context):
                return
        else:
            return


def _take_from_agent(message: Message, room: Room, session: Session, context: PeerContext) -> bool:
    """One message of the agent; True when it was the last."""
    who, now_us = _agent_person(session), context.now_us()
    match message:
        case Chat() as chat:
            _say(room, chat, who, session.role, room.agent, context)
        case Hello() as again:
            wanted = room.take_hello(again, session.person, session.name, now_us)
            if room.agent is not None:
                room.agent.say(encode_message(Welcome(room=room.ident, next=wanted)))
        case Dtcs(body=body):
            room.happen("dtc", who, now_us, body=check_dtcs(body))
        case Decide() | Seen() | Result() as said:
            if not room.desk.hear_laptop(said, who, now_us) and room.agent is not None:
                room.agent.say(encode_message(Refused(code=RequestUnknown.code, id=f"{said.type}:{said.id}"[:64])))
        case Stop() as stop:
            room.desk.stop(stop, who, now_us, is_laptop=True)
        case Finish() as finish:
            _finish(room, finish, who, session.role, room.agent, now_us)
        case Bye():
            room.close(room.ending.code)
            return True
    return False


def _say(room: Room, chat: Chat, who: dict[str, Any], role: Role, outbox: Outbox | None, context: PeerContext) -> None:
    """Passes a chat line on; who may not speak, or speaks too much, is told so and stays."""
    try:
        if not context.chat_limit.take(who["id"], context.clock_s()):
            raise TooMuch(Text("chat messages", "聊天消息"), "2/s")
        room.say(chat, who, role, context.now_us())
    except ConsultError as error:
        if outbox is not None:
            outbox.say(encode_message(Refused(code=error.code)))


def _finish(room: Room, finish: Finish, who: dict[str, Any], role: Role, outbox: Outbox | None, now_us: int) -> None:
    """The job is done; who may not say so, or says it wrongly, is told so and stays."""
    try:
        room.ending.finish(finish, who, role, now_us)
    except ConsultError as error:
        if outbox is not None:
            outbox.say(encode_message(Refused(code=error.code, id=finish.id)))


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
            viewer.member.outbox.pacer = Pacer()
            sender = tasks.create_task(_send_from(viewer.member.outbox, socket, context.clock_s))
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
            if message.type is WSMsgType.PONG:
                self._take_echo(message.data)
                continue
            if message.type is WSMsgType.PING:
                await self.socket.pong(message.data)
                continue
            while not self.context.word_limit.take(self.member.person, self.context.clock_s()):  # noqa: ASYNC110 - time
                await asyncio.sleep(_SLOW_DOWN_S)  # as for an agent: who floods waits, and nobody else
            if message.type is not WSMsgType.TEXT:
                raise MessageBroken(Text("a page sends no samples", "网页端不应发送采样数据"))
            word = parse_message(message.data, FROM_VIEWER)
            if isinstance(word, CallMessage):
                now_us, clock_s = self.context.now_us(), self.context.clock_s()
                limits = self.context.call_limits
                take_call_message(word, self.room, self.member, limits, now_us=now_us, clock_s=clock_s)
            else:
                await self._take(word)

    def _take_echo(self, data: bytes) -> None:
        outbox = self.member.outbox
        if outbox.pacer is not None and len(data) == _TOKEN_BYTES:
            outbox.pacer.note_echo(int.from_bytes(data, "little"), self.context.clock_s())
            outbox.wake()

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
            case Line() as line:
                told = {"rtt_ms": line.rtt_ms, "missing": line.missing, "fps": line.fps, "over": line.over}
                if told != member.line and self.context.line_limit.take(member.person, self.context.clock_s()):
                    member.line = told
                    self.room.tell_presence()
            case View() as view:
                if self.context.view_limit.take(member.person, self.context.clock_s()):
                    self.room.tell_view(member, view)
            case Mark() | Unmark():
                self._point(message)
            case Finish() as finish:
                _finish(self.room, finish, member.to_json(), member.role, member.outbox, self.context.now_us())
            case Ask() | Withdraw() | Decide() | Stop():
                self._request(message)
            case Hold() as hold:
                self._hold(hold)
            case _:
                member.outbox.say(encode_message(Refused(code=RoleRefused.code)))

    def _point(self, message: Mark | Unmark) -> None:
        """Sets a mark or takes it away; who may not is told so and stays."""
        member, now_us = self.member, self.context.now_us()
        try:
            if not self.context.mark_limit.take(member.person, self.context.clock_s()):
                raise TooMuch(Text("marks", "标记"), "2/s")
            self.room.point(message, member.to_json(), member.role, now_us)
        except ConsultError as error:
            member.outbox.say(encode_message(Refused(code=error.code, id=message.id)))

    def _request(self, message: Ask | Withdraw | Decide | Stop) -> None:
        """Takes a request to the car, or a word on one, to the room's desk; who may not is told so and stays."""
        member, desk, now_us = self.member, self.room.desk, self.context.now_us()
        who = member.to_json()
        try:
            limit = self.context.ask_limit if isinstance(message, Ask) else self.context.mark_limit
            if not isinstance(message, Stop) and not limit.take(member.person, self.context.clock_s()):
                raise TooMuch(Text("requests", "请求"), "12/min" if isinstance(message, Ask) else "2/s")
            match message:
                case Ask():
                    desk.ask(message, who, member.role, now_us, is_car_here=self.room.agent is not None)
                case Withdraw():
                    desk.withdraw(message, who, member.role, now_us)
                case Decide():
                    desk.decide(message, who, member.role, now_us)
                case Stop():
                    if self.context.stop_limit.take(member.person, self.context.clock_s()) or not desk.is_stopped:
                        desk.stop(message, who, now_us, is_laptop=False)
        except ConsultError as error:
            ident = "" if isinstance(message, Stop) else message.id
            member.outbox.say(encode_message(Refused(code=error.code, id=ident)))

    def _hold(self, hold: Hold) -> None:
        """Passes a sign of the technician's hand on to the laptop at once."""
        member, room = self.member, self.room
        if not room.desk.may_hold(hold.id, member.role):
            member.outbox.say(encode_message(Refused(code=RoleRefused.code, id=hold.id)))
        elif room.agent is not None and self.context.hold_limit.take(member.person, self.context.clock_s()):
            room.agent.say(encode_message(hold))

    async def _fill(self, want: Want) -> None:
        """Sends the blocks asked for: from the ring, else the journal; says which exist nowhere."""
        may_have = self.room.may_see(self.member.role, want.stream)
        if not may_have or not self.context.want_limit.take(self.member.person, self.context.clock_s()):
            code = TooMuch.code if may_have else RoleRefused.code
            self.member.outbox.say(encode_message(Refused(code=code)))
            return
        may_see_raw = self.member.role.may_see_vin
        blocks, missing = self.room.blocks_in_ring(want)
        if missing:
            kept = dict(
                await asyncio.to_thread(self.room.journal.blocks, want.stream, want.epoch, missing[0], missing[-1])
            )
            # By the block's own kind: in an older epoch the stream of this number may have been one of raw frames.
            kept = {seq: block for seq, block in kept.items() if may_see_raw or kind_of(block) != RAW}
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
        outbox = self.member.outbox
        servers = self.room.ice_for(self.member.person, self.context.now_us())
        edge = LiveEdge(self.context.edge_addresses, servers=servers, relay_only=self.room.relay_only)
        try:
            answer = await edge.answer(offer.sdp)
            told = {"type": "rtc", "attempt": offer.attempt, "sdp": answer, "relay": edge.relay_found}
            outbox.say(json.dumps(told))
            if await edge.wait_open():
                self.member.edge = edge
                outbox.drop_live()
                outbox.say(encode_message(Live(over="rtc")))
                await edge.wait_closed()
        except (MessageBroken, RelayMissing) as error:
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
