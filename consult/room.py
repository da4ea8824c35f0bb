"""One room: the car, its streams, the people, and who gets what. No sockets here; no clock either.

Blocks come in once (:meth:`Room.accept`), go out to every viewer by the carrier that viewer uses, stay in a ring for
two minutes and in the journal for good. Nobody waits for anybody: each peer has its own :class:`consult.outbox.Outbox`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from consult.errors import BlockBroken, MessageBroken, RoleRefused, TooMuch
from consult.messages import Ack, Closed, Event, encode_message
from consult.outbox import Outbox
from consult.redaction import pseudonym_from_vin, redact_report, vins_of_report
from consult.wire import MAX_SIGNALS, parse_head
from diag.facts import Text

if TYPE_CHECKING:
    from consult.invites import Role
    from consult.journal import Journal
    from consult.messages import Chat, Hello, Want
    from consult.wire import BlockHead

__all__ = ["RING_US", "BlockCarrier", "Member", "Ring", "Room"]

RING_US: Final = 120_000_000
_RING_BYTES: Final = 32_000_000
_MAX_EVENTS: Final = 5_000
_MAX_MEMBERS: Final = 50
_MAX_UNWRITTEN_BYTES: Final = 64_000_000
MAX_WANT: Final = 1024
"""Blocks that one request may ask for."""


class BlockCarrier(Protocol):
    """The live edge as the room sees it."""

    def offer_block(self, data: bytes) -> bool:
        """Sends now, or not at all."""
        ...

    def offer_beat(self, data: bytes) -> bool:
        """A sign of life, likewise."""
        ...


@dataclass(slots=True, eq=False)
class Member:
    """Somebody who is in the room now. ``edge`` is set while the live blocks go over a data channel."""

    person: int
    role: Role
    name: str
    outbox: Outbox = field(default_factory=Outbox)
    edge: BlockCarrier | None = None

    def to_json(self) -> dict[str, Any]:
        """As others see them."""
        return {"id": self.person, "role": self.role.value, "name": self.name}


class Ring:
    """The last two minutes of one (stream, epoch), by number."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.next = 0
        self._blocks: dict[int, tuple[int, bytes]] = {}
        self._bytes = 0

    @property
    def first(self) -> int:
        """The oldest number still here; ``next`` when empty."""
        return next(iter(self._blocks), self.next)

    def add(self, head: BlockHead, data: bytes) -> bool:
        """Takes a block in; False when its number is not new."""
        if head.seq < self.next:
            return False
        self._blocks[head.seq] = (head.t_us, data)
        self._bytes += len(data)
        self.next = head.seq + 1
        while self._blocks:
            oldest = next(iter(self._blocks))
            t_us, old = self._blocks[oldest]
            if head.t_us - t_us <= RING_US and self._bytes <= _RING_BYTES:
                break
            del self._blocks[oldest]
            self._bytes -= len(old)
        return True

    def find(self, seq: int) -> bytes | None:
        """The block of a number, if it is still here."""
        entry = self._blocks.get(seq)
        return entry[1] if entry else None


class Room:
    """A car and the people around it.

    Args:
        ident: the room's name in addresses.
        journal: where everything is kept.
    """

    def __init__(self, ident: str, journal: Journal, *, created_us: int) -> None:
        self.ident = ident
        self.journal = journal
        self.created_us = created_us
        self.report: dict[str, Any] = {}
        self.schemas: dict[int, dict[str, Any]] = {}
        self.epoch = 0
        self.rings: dict[int, Ring] = {}
        self.durable: dict[int, int] = {}
        self.members: dict[int, Member] = {}
        self.agent: Outbox | None = None
        self.agent_name = ""
        self.agent_person = 0
        self.closed_code: str | None = None
        self.idle_since_us = created_us
        self._events: list[dict[str, Any]] = []
        self._event_count = 0
        self._chat_ids: dict[tuple[int, str], None] = {}
        self._unwritten: list[tuple[BlockHead, bytes]] = []
        self._unwritten_bytes = 0
        self._unwritten_events: list[dict[str, Any]] = []
        self._unwritten_documents: list[tuple[str, int, dict[str, Any]]] = []

    # -- the technician's side ---------------------------------------------------------------------------------------

    def take_hello(self, hello: Hello, person: int, name: str, now_us: int) -> dict[str, int]:
        """The agent is here, first or again. Returns the next block wanted of each stream, by the stream's number.

        Raises:
            MessageBroken: a schema that is none, or another one without a new epoch.
        """
        schemas = {entry["stream"]: entry for entry in map(_checked_schema, hello.schemas)}
        fresh = hello.epoch != self.epoch
        if not fresh and schemas != self.schemas:
            raise MessageBroken(Text("other streams in the same epoch", "同一纪元内数据流发生变化"))
        if fresh:
            self.durable = dict.fromkeys(schemas, 0)
            self.rings = {stream: Ring(hello.epoch) for stream in schemas}
            self.schemas, self.epoch = schemas, hello.epoch
            self._unwritten_documents.append(
                ("schemas", now_us, {"epoch": self.epoch, "schemas": list(schemas.values())})
            )
        if hello.report != self.report:
            self.report = hello.report
            self._unwritten_documents.append(("report", now_us, hello.report))
        self.agent_name, self.agent_person = name, person
        for member in self.members.values():
            member.outbox.say(self.car_for(member.role))
        self.tell_presence()
        return {str(stream): ring.next for stream, ring in self.rings.items()}

    def accept(self, data: bytes) -> None:
        """A block from the agent: kept, and passed on to everybody at once.

        Raises:
            BlockBroken: not a block of a stream that the agent announced.
            TooMuch: the journal cannot keep up.
        """
        head = parse_head(data)
        schema, ring = self.schemas.get(head.stream), self.rings.get(head.stream)
        if schema is None or ring is None or head.epoch != ring.epoch:
            raise BlockBroken(Text(f"stream {head.stream} was not announced", f"数据流 {head.stream} 未声明"))
        if head.count != len(schema["signals"]):
            raise BlockBroken(Text(f"{head.count} signals, announced otherwise", f"{head.count} 个信号，与声明不符"))
        if not ring.add(head, data):
            return
        self._unwritten_bytes += len(data)
        if self._unwritten_bytes > _MAX_UNWRITTEN_BYTES:
            raise TooMuch(Text("unwritten samples", "未写入的采样数据"), f"{_MAX_UNWRITTEN_BYTES // 1_000_000} MB")
        self._unwritten.append((head, data))
        for member in self.members.values():
            if member.edge is None:
                member.outbox.push_live(data)
            else:
                member.edge.offer_block(data)

    def take_batch(self) -> _Batch:
        """What has to be written, taken out; on the event loop."""
        batch = _Batch(self._unwritten, self._unwritten_events, self._unwritten_documents, self.epoch)
        self._unwritten, self._unwritten_events, self._unwritten_documents = [], [], []
        self._unwritten_bytes = 0
        return batch

    def write_batch(self, batch: _Batch) -> None:
        """Puts a batch into the journal; may run in any thread."""
        for name, t_us, body in batch.documents:
            self.journal.keep_document(name, t_us, body)
        if batch.blocks or batch.events:
            self.journal.append(batch.blocks, batch.events)

    def acknowledge(self, batch: _Batch) -> None:
        """Notes that a batch is committed and tells the agent what it may forget; on the event loop."""
        newest = {head.stream: head.seq + 1 for head, _ in batch.blocks if head.epoch == self.epoch}
        self.durable.update(newest)
        if newest and self.agent is not None:
            for ack in self.acks():
                self.agent.say(ack)

    def acks(self) -> list[str]:
        """How far each stream stands in the journal, as messages for the agent."""
        return [
            encode_message(Ack(stream=stream, epoch=self.epoch, next=seq))
            for stream, seq in self.durable.items()
            if seq
        ]

    # -- the experts' side -------------------------------------------------------------------------------------------

    def enter(self, member: Member, now_us: int) -> None:
        """Lets a viewer in and tells them everything that is known.

        Raises:
            TooMuch: the room is full.
        """
        if len(self.members) >= _MAX_MEMBERS and member.person not in self.members:
            raise TooMuch(Text("people in the room", "室内人数"), str(_MAX_MEMBERS))
        known = member.person in self.members
        self.members[member.person] = member
        member.outbox.say(
            _json(
                {
                    "type": "welcome",
                    "you": member.to_json(),
                    "room": self.ident,
                    "now_us": now_us,
                    "events": self._events,
                }
            )
        )
        member.outbox.say(self.car_for(member.role))
        if not known:
            self.happen("join", member.to_json(), now_us)
        self.tell_presence()

    def leave(self, member: Member, now_us: int) -> None:
        """A viewer's connection ended. Does nothing when they have come back by another one meanwhile."""
        if self.members.get(member.person) is member:
            del self.members[member.person]
            self.idle_since_us = now_us
            self.happen("leave", member.to_json(), now_us)
            self.tell_presence()

    def car_for(self, role: Role) -> str:
        """The report and the streams as this role may see them."""
        report = self.report if role.may_see_vin else redact_report(self.report)
        streams = [
            {**schema, "epoch": ring.epoch, "first": ring.first, "next": ring.next}
            for schema, ring in ((schema, self.rings[stream]) for stream, schema in self.schemas.items())
        ]
        vins = vins_of_report(self.report)
        vehicle = self.report.get("vehicle")
        vin = vehicle.get("vin") if isinstance(vehicle, dict) else None
        label = "" if not vins or not vin else (vin if role.may_see_vin else pseudonym_from_vin(vin))
        return _json({"type": "car", "report": report, "streams": streams, "vin": label})

    def heads(self, now_us: int) -> str:
        """The beat that viewers get: how far each stream is."""
        return _json(
            {
                "type": "beat",
                "now_us": now_us,
                "agent": self.agent is not None,
                "heads": [
                    {"stream": stream, "epoch": ring.epoch, "next": ring.next} for stream, ring in self.rings.items()
                ],
            }
        )

    def blocks_in_ring(self, want: Want) -> tuple[list[bytes], list[int]]:
        """The blocks a viewer asks for that are in the ring, and the numbers that are not."""
        ring = self.rings.get(want.stream)
        numbers = range(want.first, min(want.last, want.first + MAX_WANT - 1) + 1)
        if ring is None or ring.epoch != want.epoch:
            return [], list(numbers)
        found = [(seq, ring.find(seq)) for seq in numbers if seq < ring.next]
        return [block for _, block in found if block is not None], [seq for seq, block in found if block is None]

    # -- everybody ---------------------------------------------------------------------------------------------------

    def say(self, chat: Chat, speaker: dict[str, Any], role: Role, now_us: int) -> None:
        """Somebody says something. A repetition of the same ``id`` is not said again.

        Raises:
            RoleRefused: the role only watches.
            MessageBroken: there are no words in it.
        """
        if not chat.text.strip():
            raise MessageBroken(Text("an empty chat message", "空的聊天消息"))
        if not role.may_speak:
            raise RoleRefused(role.value)
        key = (speaker["id"], chat.id)
        if key not in self._chat_ids:
            self._chat_ids[key] = None
            self.happen("chat", speaker, now_us, ident=chat.id, text=chat.text.strip())

    def happen(self, kind: str, who: dict[str, Any], now_us: int, *, ident: str = "", text: str = "") -> None:
        """Numbers an event, keeps it and tells everybody."""
        self._event_count += 1
        event = Event(n=self._event_count, t_us=now_us, kind=kind, who=who, id=ident, text=text)
        message = encode_message(event)
        body = json.loads(message)
        self._events.append(body)
        del self._events[:-_MAX_EVENTS]
        self._unwritten_events.append(body)
        self.tell(message)

    def events_after(self, n: int) -> list[dict[str, Any]]:
        """Events with a higher number."""
        return [event for event in self._events if event["n"] > n]

    def tell(self, text: str) -> None:
        """Says something to everybody, the agent too."""
        for member in self.members.values():
            member.outbox.say(text)
        if self.agent is not None:
            self.agent.say(text)

    def tell_presence(self) -> None:
        """Tells the viewers who is here."""
        people = [member.to_json() for member in self.members.values()]
        if self.agent is not None:
            people.insert(0, {"id": self.agent_person, "role": "technician", "name": self.agent_name})
        text = _json({"type": "people", "people": people})
        for member in self.members.values():
            member.outbox.say(text)

    def close(self, code: str) -> None:
        """Ends the room for everybody, with a reason."""
        if self.closed_code is None:
            self.closed_code = code
            self.tell(encode_message(Closed(code=code)))


@dataclass(frozen=True, slots=True)
class _Batch:
    blocks: list[tuple[BlockHead, bytes]]
    events: list[dict[str, Any]]
    documents: list[tuple[str, int, dict[str, Any]]]
    epoch: int

    def __bool__(self) -> bool:
        return bool(self.blocks or self.events or self.documents)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _checked_schema(entry: Any) -> dict[str, Any]:
    """A stream's schema as the agent sent it, when every part is what it should be."""
    wrong = MessageBroken(Text("a stream's schema", "数据流的声明"))
    if not isinstance(entry, dict) or not isinstance(entry.get("stream"), int) or not 0 <= entry["stream"] < 1 << 16:
        raise wrong
    signals = entry.get("signals")
    if not isinstance(signals, list) or len(signals) > MAX_SIGNALS:
        raise wrong
    for signal in signals:
        if not isinstance(signal, dict) or not all(isinstance(signal.get(key), str) for key in ("name", "unit")):
            raise wrong
    return {"stream": entry["stream"], "signals": signals}
