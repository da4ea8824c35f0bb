"""One request in flight over ISO-TP: which frames belong to its answers, and when it is over. Sends nothing itself.

Standard: ISO 15765-2:2016 §9, ISO 14229-2:2021 §7 (response pending).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from diag.answers import Answer, is_answer_to
from diag.facts import Text
from diag.isotp import PayloadCut, PayloadReceived, Receiver, Sender, SendFrame, TransferFailed
from diag.nrc import PENDING

if TYPE_CHECKING:
    from diag.addressing import Target
    from diag.errors import LinkLost
    from diag.frames import Frame
    from diag.isotp import Event, IsoTpSettings
    from diag.timing import Timing

__all__ = ["Conversation"]

_NS: Final = 1_000_000_000
_FIRST: Final = 1
_FLOW_CONTROL: Final = 3
_TWO: Final = Text("two different answers with one identifier", "同一标识符出现两个不同的应答")


@dataclass(slots=True)
class _Peer:
    """One ECU within a conversation: its reassembly, and until when its answer may come.

    Attributes:
        first: the first frame of the running answer.
        replaced: the beginning of an answer that was given up for another.
        fallback: what counts as its answer when nothing better comes: a cut message, the last "pending", or a refusal
            that may belong to an earlier request.
    """

    source: Target
    receiver: Receiver
    pending_since_ns: int | None = None
    deadline_ns: int = 0
    first: bytes = b""
    replaced: bytes = b""
    fallback: Answer | None = None
    is_done: bool = False


class Conversation:
    """One request in flight: what arrives for it, and when it is over.

    Args:
        is_owed: the ECU still owes the answer to an earlier request of this service. A refusal names no identifier,
            so the first one that comes may be the late answer to that.
        second_s: how long to listen on after the answer of one ECU.

    Attributes:
        outgoing: request id and data of the frames to send for what came.
    """

    def __init__(
        self,
        target: Target,
        payload: bytes,
        settings: IsoTpSettings,
        timing: Timing,
        *,
        is_owed: bool = False,
        second_s: float = 0.0,
    ) -> None:
        self.target, self.payload = target, payload
        self.answers: list[Answer] = []
        self.sender = Sender(settings)
        self.sending_error: Text | None = None
        self.outgoing: deque[tuple[int, bytes]] = deque()
        self.lost: LinkLost | None = None
        self._settings, self._timing = settings, timing
        self._is_owed, self._second_ns = is_owed, int(second_s * _NS)
        self._doubted: Answer | None = None
        self._hold_ns = 0
        self._ends_ns: int | None = None
        self._peers: dict[int, _Peer] = {}
        self._window_ns = 0
        self._waiter: asyncio.Future[None] | None = None

    def start(self, now_ns: int) -> list[bytes]:
        """The first frames to send."""
        return [event.data for event in self.sender.start(self.payload, now_ns) if isinstance(event, SendFrame)]

    def open_window(self, now_ns: int, timeout_s: float) -> None:
        """The request is out: from now the ECUs have this long to begin."""
        self._window_ns = now_ns + int(timeout_s * _NS)
        self._hold_ns = 2 * int(timeout_s * _NS)

    @property
    def is_doubtful(self) -> bool:
        """All that came is a refusal that may be the answer to an earlier request."""
        return self._doubted is not None and self._doubted in self.answers

    @property
    def is_answered(self) -> bool:
        """The ECU owes nothing more: it said something that is not "wait"."""
        return any(answer.nrc != PENDING for answer in self.answers)

    def take(self, frame: Frame, now_ns: int) -> None:
        """Takes a frame of an answering ECU; what has to be sent for it is in :attr:`outgoing`."""
        out = self._take(frame, now_ns)
        if out:
            self.outgoing += out
            self._wake()

    def _take(self, frame: Frame, now_ns: int) -> list[tuple[int, bytes]]:
        peer = self._peers.get(frame.can_id)
        if peer is None:
            peer = self._peers[frame.can_id] = _Peer(self.target.ecu(frame.can_id), Receiver(self._settings))
        kind = frame.data[0] >> 4 if frame.data else -1
        if kind == _FLOW_CONTROL:
            return self._act(peer, self.sender.receive(frame.data, now_ns), frame.t_ns, now_ns)
        if kind == _FIRST:
            start = _start(frame.data)
            if not start or not is_answer_to(self.payload, start):
                return []  # a late answer to another request gets no flow control
            if peer.is_done:
                self._compare(peer, start, is_whole=False)
                return []
            if peer.receiver.is_receiving and frame.data != peer.first:
                return self._act(peer, peer.receiver.abort(_TWO), frame.t_ns, now_ns)
            peer.first = frame.data
        return self._act(peer, peer.receiver.receive(frame.data, now_ns), frame.t_ns, now_ns)

    def poll(self, now_ns: int) -> list[tuple[int, bytes]]:
        """Lets time pass in every state machine."""
        out = [(self.target.request_id, data) for data in self._send_on(self.sender.poll(now_ns))]
        for peer in self._peers.values():
            out += self._act(peer, peer.receiver.poll(now_ns), time.time_ns(), now_ns)
        return out

    def abort(self, request_id: int, reason: Text) -> None:
        """Gives up the running answer of one ECU."""
        for peer in self._peers.values():
            if peer.source.request_id == request_id:
                self._act(peer, peer.receiver.abort(reason), time.time_ns(), time.monotonic_ns())

    def lose(self, error: LinkLost) -> None:
        """The link is gone; whoever waits learns it."""
        self.lost = error
        self._wake()

    def _send_on(self, events: tuple[Event, ...]) -> list[bytes]:
        for event in events:
            if isinstance(event, TransferFailed):
                self.sending_error = event.reason
        if events:
            self._wake()
        return [event.data for event in events if isinstance(event, SendFrame)]

    def _act(self, peer: _Peer, events: tuple[Event, ...], t_ns: int, now_ns: int) -> list[tuple[int, bytes]]:
        for event in events:
            if isinstance(event, PayloadReceived):
                self._hear(peer, Answer(peer.source, self.payload, event.payload, t_ns=t_ns), now_ns)
            elif isinstance(event, PayloadCut):
                answer = Answer(
                    peer.source,
                    self.payload,
                    event.partial,
                    complete=False,
                    missing=event.missing,
                    t_ns=t_ns,
                    reason=event.reason,
                )
                self._hear_cut(peer, answer, is_replaced=event.is_replaced)
        return [(peer.source.request_id, data) for data in self._send_on(events)]

    def _hear(self, peer: _Peer, answer: Answer, now_ns: int) -> None:
        if not is_answer_to(self.payload, answer.payload):
            return
        if answer.nrc == PENDING:
            if not peer.is_done:
                self._extend(peer, answer, now_ns)
        elif peer.is_done:
            self._compare(peer, answer.payload, is_whole=True)
        elif self._is_owed and answer.negative is not None:
            self._is_owed, self._doubted, peer.fallback = False, answer, answer
            peer.deadline_ns = now_ns + self._hold_ns
        elif answer.payload.startswith(peer.replaced):
            self._conclude(peer, answer)
        else:
            self._conclude(peer, replace(answer, complete=False, reason=_TWO))

    def _extend(self, peer: _Peer, answer: Answer, now_ns: int) -> None:
        """The ECU asks for patience."""
        peer.fallback = answer
        if peer.pending_since_ns is None:
            peer.pending_since_ns = now_ns
        cap_ns = peer.pending_since_ns + int(self._timing.pending_total_s * _NS)
        peer.deadline_ns = min(now_ns + int(self._timing.pending_s * _NS), cap_ns)

    def _compare(self, peer: _Peer, start: bytes, *, is_whole: bool) -> None:
        """Something more came after the answer: when it is not the same again, nobody knows whose which is."""
        for at, answer in enumerate(self.answers):
            is_same = answer.payload == start if is_whole else answer.payload.startswith(start)
            if answer.source == peer.source and answer.complete and not is_same:
                self.answers[at] = replace(answer, complete=False, reason=_TWO)

    def _hear_cut(self, peer: _Peer, answer: Answer, *, is_replaced: bool) -> None:
        if peer.is_done or not answer.payload or not is_answer_to(self.payload, answer.payload):
            return
        if is_replaced:
            peer.fallback, peer.replaced = answer, answer.payload
        else:
            self._conclude(peer, answer)

    def _conclude(self, peer: _Peer, answer: Answer) -> None:
        peer.is_done = True
        self.answers.append(answer)

    def next_deadline_ns(self, now_ns: int) -> int | None:
        """When to look again if nothing comes; None when the conversation is over."""
        if self.sending_error is not None or self.lost is not None:
            return None
        if self.answers and not self.target.is_functional:
            self._ends_ns = now_ns + self._second_ns if self._ends_ns is None else self._ends_ns
            return self._ends_ns if self._ends_ns > now_ns else None
        if self.sender.is_sending:
            return self.sender.deadline_ns
        ends = [self._window_ns]
        for peer in self._peers.values():
            if not peer.is_done:
                ends += [peer.deadline_ns, peer.receiver.deadline_ns or 0]
        return min((end for end in ends if end > now_ns), default=None)

    def close(self) -> tuple[Answer, ...]:
        """Every answer, with the second best of the ECUs that never came to an end."""
        for peer in self._peers.values():
            if not peer.is_done and peer.fallback is not None:
                self._conclude(peer, peer.fallback)
        return tuple(self.answers)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, deadline_ns: int) -> None:
        """Until something happened, or the time is up. The clock of asyncio is the monotonic one."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_at(deadline_ns / _NS, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None


def _start(data: bytes) -> bytes:
    """The beginning of the message that a first frame carries."""
    return data[6:] if data[1:2] == b"\0" and data[0] & 0x0F == 0 else data[2:]
