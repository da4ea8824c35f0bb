"""One room: the car, its streams, the people, and who gets what. No sockets here; no clock either.

Blocks come in once (:meth:`Room.accept`), go out to every viewer by the carrier that viewer uses, stay in a ring for
two minutes and in the journal for good. Nobody waits for anybody: each peer has its own :class:`consult.outbox.Outbox`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from consult.batches import parse_batch
from consult.calldesk import CallDesk
from consult.closing import Ending
from consult.errors import BlockBroken, MessageBroken, RoleRefused, TooMuch
from consult.eventlist import EventList
from consult.markboard import MarkBoard
from consult.member import connections, still_here
from consult.messages import Ack, Closed, Event, Mark, encode_message
from consult.positions import PositionColumns, tree_without
from consult.rawframes import parse_raw_head
from consult.redaction import pseudonym_from_vin, redact_event, redact_report, redact_words, vins_of_report
from consult.requestdesk import RequestDesk
from consult.ring import Ring
from consult.roomstore import Batch
from consult.streamschema import checked_schema
from consult.wire import BATCH, ENVELOPE, MAX_BLOCK_BYTES, RAW, kind_of, parse_envelope, parse_head
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from consult.invites import Role
    from consult.journal import ResumedRoom
    from consult.member import Member
    from consult.messages import Chat, Hello, Unmark, View, Want
    from consult.outbox import Outbox
    from consult.roomstore import RoomStore
    from consult.wire import BlockHead

__all__ = ["Room"]

_EVENT_LEAP: Final = 1_000
_MAX_MEMBERS: Final = 50
_MAX_UNWRITTEN_BYTES: Final = 64_000_000
MAX_WANT: Final = 1024
"""Blocks that one request may ask for."""


class Room:
    """A car and the people around it.

    Args:
        ident: the room's name in addresses.
        journal: where everything is kept.
    """

    def __init__(self, ident: str, journal: RoomStore, *, created_us: int) -> None:
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
        self.agent_key = ""
        self.closed_code: str | None = None
        self.idle_since_us = created_us
        self.on_event: Callable[[], None] = lambda: None
        self.on_heard: Callable[[dict[str, Any]], None] = lambda _: None
        self.on_car: Callable[[], None] = lambda: None
        self.blocks_in = self.bytes_in = self.blocks_dropped = 0
        self._events = EventList()
        self._event_count = 0
        self.positions = PositionColumns()
        self._chat_ids: dict[tuple[int, str], None] = {}
        self.marks = MarkBoard()
        self.ending = Ending(self)
        self.desk = RequestDesk(ident, self.happen)
        self.calls = CallDesk(self.happen, self.tell_call)
        self.ice_for: Callable[[int, int], list[dict[str, Any]]] = lambda _person, _now_us: []
        self.relay_only = False
        self.is_held: Callable[[], bool] = lambda: False
        """Whether something still comes into the record, which is not closed before."""
        self._unwritten: list[tuple[BlockHead, bytes]] = []
        self._unwritten_bytes = 0
        self._unwritten_events: list[dict[str, Any]] = []
        self._unwritten_documents: list[tuple[str, int, dict[str, Any]]] = []

    def restore(self, kept: ResumedRoom) -> None:
        """Takes up where the journal ends, after the service's process was killed or started again.

        The numbers of events go on with a leap: some were told in the last moments and never written, and a page that
        saw such a one must not take the next one of that number for it.
        """
        self.report, self.epoch = kept.report, kept.epoch
        self.schemas = {schema["stream"]: schema for schema in kept.schemas}
        self.rings = {stream: Ring(kept.epoch) for stream in self.schemas}
        for head, data in kept.blocks:
            self.rings[head.stream].add(head, data)
        for stream, following in kept.next.items():
            self.rings[stream].next = self.durable[stream] = following
        self._events.restore(kept.events)
        if kept.events:
            self._event_count = kept.events[-1]["n"] + _EVENT_LEAP
        self._chat_ids = {(event["who"]["id"], event["id"]): None for event in kept.events if event["kind"] == "chat"}
        self.marks.restore(kept.events)
        laptops = self.journal.documents("agent")
        laptop: dict[str, Any] = laptops[-1][1] if laptops else {}
        self.agent_key = laptop.get("key", "")
        self.desk.meet_car(self.report, laptop.get("allows", {}))
        self.positions.look(self.desk.allows, self.schemas)
        self.desk.restore(kept.events)
        self.calls.restore(kept.events)
        self.ending.restore()

    # -- the technician's side ---------------------------------------------------------------------------------------

    def take_hello(self, hello: Hello, person: int, name: str, now_us: int) -> dict[str, int]:
        """The agent is here, first or again. Returns the next block wanted of each stream, by the stream's number.

        Raises:
            MessageBroken: a schema that is none, or another one without a new epoch.
        """
        schemas = {entry["stream"]: entry for entry in map(checked_schema, hello.schemas)}
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
        if hello.key and (hello.key, hello.allows) != (self.agent_key, self.desk.allows):
            self.agent_key = hello.key
            laptop = {"key": hello.key, "epoch": self.epoch, "allows": hello.allows}
            self._unwritten_documents.append(("agent", now_us, laptop))
        report = tree_without(hello.report, self.positions.mode_for(hello.allows))
        if report != self.report:
            self.report = report
            self._unwritten_documents.append(("report", now_us, report))
        self.desk.meet_car(self.report, hello.allows)
        self.positions.look(self.desk.allows, self.schemas)
        self.agent_name, self.agent_person = name, person
        for member in self.members.values():
            member.outbox.say(self.car_for(member.role))
        self.tell_presence()
        self.on_car()
        return {str(stream): ring.next for stream, ring in self.rings.items()}

    def accept(self, data: bytes, now_us: int = 0) -> None:
        """A block from the agent, a batch of them, or an envelope of those that are still to come.

        Blocks are kept and passed on to everybody at once; numbers that were left out are told to all. ``now_us`` is
        the service's clock; 0 takes the block's own time for such an event.

        Raises:
            BlockBroken: not a block of a stream that the agent announced.
            TooMuch: the journal cannot keep up.
        """
        kind = kind_of(data)
        if kind == ENVELOPE:
            self._pass_envelope(data)
        elif kind == BATCH:
            for head, block in parse_batch(data):
                self._take(head, block, now_us, is_late=True)
        else:
            self._take(parse_raw_head(data) if kind == RAW else parse_head(data), data, now_us)

    def _announced(self, head: BlockHead) -> tuple[dict[str, Any], Ring]:
        schema, ring = self.schemas.get(head.stream), self.rings.get(head.stream)
        if schema is None or ring is None or head.epoch != ring.epoch:
            raise BlockBroken(Text(f"stream {head.stream} was not announced", f"数据流 {head.stream} 未声明"))
        if (head.kind == RAW) != (schema["kind"] == "raw"):
            raise BlockBroken(Text(f"kind {head.kind} in stream {head.stream}", f"数据流 {head.stream} 的类型不符"))
        if head.kind != RAW and head.count != len(schema["signals"]):
            raise BlockBroken(Text(f"{head.count} signals, announced otherwise", f"{head.count} 个信号，与声明不符"))
        return schema, ring

    def withdraw_positions(self, withdrawn: bool) -> None:
        """The technician no longer wants positions here, whatever the laptop's setting says; or wants them again."""
        self.positions.is_withdrawn = withdrawn
        self.positions.look(self.desk.allows, self.schemas)

    def _take(self, head: BlockHead, data: bytes, now_us: int, *, is_late: bool = False) -> None:
        _, ring = self._announced(head)
        data = self.positions.removed_from(head, data)
        missed = ring.next
        if head.seq >= missed and self._unwritten_bytes + len(data) > _MAX_UNWRITTEN_BYTES:
            # Before the ring counts it: the agent must bring this very block again.
            raise TooMuch(Text("unwritten samples", "未写入的采样数据"), f"{_MAX_UNWRITTEN_BYTES // 1_000_000} MB")
        if not ring.add(head, data):
            return
        if head.seq > missed:
            who = {"id": self.agent_person, "role": "technician", "name": self.agent_name}
            body = {"stream": head.stream, "epoch": head.epoch, "first": missed, "last": head.seq - 1}
            self.happen("gap", who, now_us or head.t_us, body=body)
        self._unwritten_bytes += len(data)
        self._unwritten.append((head, data))
        self.blocks_in += 1
        self.bytes_in += len(data)
        for member in self.members.values():
            if head.kind == RAW and not member.role.may_see_vin:
                continue
            if is_late:
                member.outbox.push_fill([data])
            elif member.edge is None or head.kind == RAW:
                member.outbox.push_live(data)
            else:
                member.edge.offer_block(data)

    def _pass_envelope(self, data: bytes) -> None:
        """Shows what a thin line will bring later. Never kept: what is kept was measured."""
        envelope = parse_envelope(data)
        head = envelope.head
        self._announced(head)
        if self.positions.are_in(head.stream):
            return  # the samples come later, without what is kept back
        for member in self.members.values():
            if member.edge is None or len(data) > MAX_BLOCK_BYTES or not member.edge.offer_block(data):
                member.outbox.push_envelope(head.stream, data)

    @property
    def has_unwritten(self) -> bool:
        """Whether something waits for :meth:`take_batch`."""
        return bool(self._unwritten or self._unwritten_events or self._unwritten_documents)

    def keep_document(self, name: str, t_us: int, body: dict[str, Any]) -> None:
        """Keeps a document with the next batch."""
        self._unwritten_documents.append((name, t_us, body))

    def take_batch(self) -> Batch:
        """What has to be written, taken out; on the event loop."""
        batch = Batch(self._unwritten, self._unwritten_events, self._unwritten_documents, self.epoch)
        self._unwritten, self._unwritten_events, self._unwritten_documents = [], [], []
        self._unwritten_bytes = 0
        return batch

    def write_batch(self, batch: Batch) -> None:
        """Puts a batch into the journal; may run in any thread."""
        self.journal.write(documents=batch.documents, blocks=batch.blocks, events=batch.events)

    def acknowledge(self, batch: Batch) -> None:
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
        member.shadowed = still_here(self.members.get(member.person))
        if member.shadowed is not None:
            member.shadowed.told = self._event_count
        self.members[member.person] = member
        member.outbox.say(
            _json(
                {
                    "type": "welcome",
                    "you": member.to_json(),
                    "room": self.ident,
                    "now_us": now_us,
                    "events": [self.event_for(member.role, event) for event in self._events],
                    "ice": self.ice_for(member.person, now_us),
                    "relay_only": self.relay_only,
                }
            )
        )
        member.outbox.say(self.car_for(member.role))
        if self.calls.people:
            self._tell_call_to(member, now_us)
        if not known:
            self.happen("join", member.to_json(), now_us)
        self.tell_presence()

    def leave(self, member: Member, now_us: int) -> None:
        """A viewer's connection ended. Does nothing when they have come back by another one meanwhile."""
        self.blocks_dropped += member.outbox.dropped
        member.has_left = True
        if self.members.get(member.person) is member:
            older = still_here(member.shadowed)
            if older is not None:
                # Two attempts of one page got through, and it gave the later one up.
                self.members[member.person] = older
                self._catch_up(older)
                return
            del self.members[member.person]
            self.idle_since_us = now_us
            self.calls.leave(member.person, now_us)
            self.happen("leave", member.to_json(), now_us)
            self.tell_presence()

    def _catch_up(self, member: Member) -> None:
        """Tells what a newer connection was told alone. The blocks of that time are asked for by number."""
        member.outbox.say(self.car_for(member.role))
        for event in self.events_after(member.told):
            member.outbox.say(_json(self.event_for(member.role, event)))
        self.tell_presence()

    def connections_of(self, person: int) -> list[Member]:
        """All connections of somebody, the newest first."""
        return connections(self.members.get(person))

    def car_for(self, role: Role) -> str:
        """The report and the streams as this role may see them."""
        report = self.report if role.may_see_vin else redact_report(self.report)
        streams = [
            {**schema, "epoch": ring.epoch, "first": ring.first, "next": ring.next}
            for schema, ring in ((schema, self.rings[stream]) for stream, schema in self.schemas.items())
            if self.may_see(role, schema["stream"])
        ]
        vins = vins_of_report(self.report)
        vehicle = self.report.get("vehicle")
        vin = vehicle.get("vin") if isinstance(vehicle, dict) else None
        label = "" if not vins or not vin else (vin if role.may_see_vin else pseudonym_from_vin(vin))
        return _json({"type": "car", "report": report, "streams": streams, "vin": label, "allows": self.desk.allows})

    def may_see(self, role: Role, stream: int) -> bool:
        """Whether a role may have a stream at all: raw frames can tell the vehicle identification number."""
        return role.may_see_vin or self.schemas.get(stream, {}).get("kind") != "raw"

    def heads(self, now_us: int, role: Role | None = None) -> str:
        """The beat that viewers of a role get: how far each stream is."""
        return _json(
            {
                "type": "beat",
                "now_us": now_us,
                "agent": self.agent is not None,
                "chain": self.journal.head.to_json(),
                "heads": [
                    {"stream": stream, "epoch": ring.epoch, "next": ring.next}
                    for stream, ring in self.rings.items()
                    if role is None or self.may_see(role, stream)
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

    def point(self, message: Mark | Unmark, who: dict[str, Any], role: Role, now_us: int) -> None:
        """A mark is set or taken away.

        Raises:
            RoleRefused: the role only watches, or the mark is somebody else's.
            MessageBroken: it points at nothing.
            TooMuch: there are too many.
        """
        if not role.may_speak:
            raise RoleRefused(role.value)
        if isinstance(message, Mark):
            body = self.marks.put(message, who["id"], self.schemas)
            if body is not None:
                self.happen("mark", who, now_us, ident=message.id, text=message.text.strip(), body=body)
        elif self.marks.take_away(message.id, who["id"], may_all=role.may_invite):
            self.happen("unmark", who, now_us, ident=message.id)

    def tell_view(self, looker: Member, view: View) -> None:
        """Lets the others know what somebody looks at; not kept, and dropped for those who lag."""
        text = _json(json.loads(encode_message(view)) | {"who": looker.to_json()})
        for member in self.members.values():
            if member is not looker and not member.outbox.lags:
                member.outbox.say(text)

    def happen(
        self,
        kind: str,
        who: dict[str, Any],
        now_us: int,
        *,
        ident: str = "",
        text: str = "",
        body: dict[str, Any] | None = None,
    ) -> None:
        """Numbers an event, keeps it and tells everybody."""
        self._event_count += 1
        event = Event(n=self._event_count, t_us=now_us, kind=kind, who=who, id=ident, text=text, body=body or {})
        message = encode_message(event)
        body = json.loads(message)
        self._events.add(body, len(message))
        self._unwritten_events.append(body)
        self._tell_event(body, message)
        self.on_event()
        self.on_heard(body)

    def _tell_event(self, event: dict[str, Any], message: str) -> None:
        """Tells everybody; those who may not see the VIN get what holds one without it."""
        redacted = ""
        for member in self.members.values():
            if member.role.may_see_vin:
                member.outbox.say(message)
            else:
                redacted = redacted or _json(self.event_for(member.role, event))
                member.outbox.say(redacted)
        if self.agent is not None:
            self.agent.say(message)

    def event_for(self, role: Role, event: dict[str, Any]) -> dict[str, Any]:
        """An event as this role may see it. The journal has it whole."""
        if role.may_see_vin:
            return event
        return redact_event(event, vins_of_report(self.report))

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """What is known of the files that people brought, by SHA-256."""
        return self._events.files

    def file_name(self, role: Role, told: dict[str, Any]) -> str:
        """What a file is called, as this role may see it."""
        name = str(told["name"])
        return name if role.may_see_vin else str(redact_words(name, vins_of_report(self.report)))

    def events_after(self, n: int) -> list[dict[str, Any]]:
        """Events with a higher number."""
        return self._events.after(n)

    def tell(self, text: str) -> None:
        """Says something to everybody, the agent too."""
        for member in self.members.values():
            member.outbox.say(text)
        if self.agent is not None:
            self.agent.say(text)

    def tell_presence(self) -> None:
        """Tells the viewers who is here."""
        people = [{**member.to_json(), "line": member.line} for member in self.members.values()]
        if self.agent is not None:
            people.insert(0, {"id": self.agent_person, "role": "technician", "name": self.agent_name})
        text = _json({"type": "people", "people": people})
        for member in self.members.values():
            member.outbox.say(text)

    def tell_call(self, now_us: int) -> None:
        """Tells the viewers how the call stands."""
        for member in self.members.values():
            self._tell_call_to(member, now_us)

    def _tell_call_to(self, member: Member, now_us: int) -> None:
        told = {**self.calls.to_json(), "ice": self.ice_for(member.person, now_us), "relay_only": self.relay_only}
        member.outbox.say(_json(told))

    def close(self, code: str) -> None:
        """Ends the room for everybody, with a reason."""
        if self.closed_code is None:
            self.closed_code = code
            self.tell(encode_message(Closed(code=code, chain=self.journal.head.to_json())))


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
