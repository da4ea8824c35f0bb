"""What ECUs answer: one value per ECU and request, and which answer belongs to which request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from diag.errors import LocalProtocolError, NegativeResponse, NoAnswer, RemoteProtocolError
from diag.facts import Text
from diag.nrc import NEGATIVE_SID, Negative, parse_negative

if TYPE_CHECKING:
    from diag.addressing import Target

__all__ = ["Answer", "AnswerTimes", "RequestLink", "TimedLink", "ask", "is_answer_to", "is_silence_wanted"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one ECU said to one request.

    Args:
        source: the ECU, as a target for further requests.
        request: the payload that was asked.
        payload: as far as it came, service id first.
        complete: False when the answer was cut; ``missing`` says how many announced bytes did not come.
        t_ns: UTC nanoseconds since the Unix epoch at the last frame.
        reason: why it is not complete.
    """

    source: Target
    request: bytes
    payload: bytes
    complete: bool = True
    missing: int = 0
    t_ns: int = 0
    reason: Text | None = None

    @property
    def ecu(self) -> str:
        """The ECU's response address as people write it, ``0x7E8``."""
        return self.source.address

    @property
    def declared_length(self) -> int:
        """How many bytes the ECU announced; more than came when the answer was cut."""
        return len(self.payload) + self.missing

    @property
    def negative(self) -> Negative | None:
        """What it refused and why; None for a positive answer."""
        return parse_negative(self.payload)

    @property
    def nrc(self) -> int | None:
        """The negative response code; None for a positive answer."""
        negative = self.negative
        return None if negative is None else negative.nrc

    def positive(self) -> Answer:
        """This answer, when it is a positive one.

        Raises:
            NegativeResponse: the ECU refused.
        """
        negative = self.negative
        if negative is not None:
            raise NegativeResponse(self.ecu, negative.service, negative.nrc, negative.name)
        return self

    def whole(self) -> Answer:
        """This answer, when it is positive and nothing of it is missing.

        Raises:
            NegativeResponse: the ECU refused.
            RemoteProtocolError: the answer was cut.
        """
        self.positive()
        if not self.complete:
            reason = self.reason or Text("the answer was cut", "应答不完整")
            raise RemoteProtocolError(self.ecu, reason, self.payload)
        return self


@dataclass(frozen=True, slots=True)
class AnswerTimes:
    """How long one ECU may take, as it says itself, the way there and back included; seconds.

    Args:
        answer_s: until an answer begins (P2).
        pending_s: after each "response pending" (P2*).
        pending_total_s: for all of them together.
    """

    answer_s: float
    pending_s: float
    pending_total_s: float


@runtime_checkable
class TimedLink(Protocol):
    """A link that can be told how long an ECU takes."""

    def set_times(self, target: Target, times: AnswerTimes | None) -> None:
        """From now on this ECU gets these times; None = the link's own again."""
        ...


class RequestLink(Protocol):
    """Something that carries requests to ECUs and brings their answers back."""

    async def request(self, target: Target, payload: bytes, *, timeout_s: float | None = None) -> tuple[Answer, ...]:
        """Asks, and waits for whoever answers.

        Args:
            target: one ECU, or all.
            payload: service id and parameters.
            timeout_s: until an answer begins; None is the link's own time.

        Returns:
            One answer per ECU, in order of arrival. Physical: exactly one; none where the request suppressed the
            positive response. Functional: as many as answered, perhaps none.

        Raises:
            RefusedByPolicy: the guard let nothing out.
            NoAnswer: the one ECU asked stayed silent.
            RemoteProtocolError: it did not take a long request to its end.
            LinkLost: the adapter went away.
        """
        ...


async def ask(link: RequestLink, target: Target, payload: bytes, *, timeout_s: float | None = None) -> Answer:
    """The answer of one ECU, positive or negative.

    Raises:
        NoAnswer: it stayed silent, also where the request suppressed the positive response.
        LocalProtocolError: the target is functional.
    """
    if target.is_functional:
        raise LocalProtocolError(Text("one answer from all ECUs", "向所有 ECU 请求单个应答"))
    answers = await link.request(target, payload, timeout_s=timeout_s)
    if not answers:
        raise NoAnswer(target.address, timeout_s or 0.0)
    return answers[0]


_ECHOED: Final[dict[int, int]] = {
    **dict.fromkeys((0x10, 0x11, 0x19, 0x27, 0x28, 0x29, 0x2C, 0x3E, 0x83, 0x85, 0x86, 0x87), 1),
    **dict.fromkeys((0x24, 0x2E, 0x2F), 2),
    0x31: 3,
    0x36: 1,
}
"""How many bytes after the service id a positive answer repeats of the request."""

_ITEMS: Final[dict[int, tuple[int, int]]] = {0x01: (1, 1), 0x02: (1, 2), 0x06: (1, 1), 0x09: (1, 1), 0x22: (2, 2)}
"""Services that ask for several items: bytes of the item's name, bytes from one to the next in the request."""

_WITH_SUPPRESS_BIT: Final = frozenset({0x10, 0x11, 0x19, 0x27, 0x28, 0x29, 0x2C, 0x31, 0x3E, 0x83, 0x85, 0x86, 0x87})


def is_answer_to(request: bytes, payload: bytes) -> bool:
    """Whether a payload can be the answer to this request, and not a late one to an earlier request.

    Standard: ISO 14229-1:2020 §8.4 (positive responses repeat sub-function or identifier), §8.7 (negative).
    """
    service = request[0]
    if payload[0] == NEGATIVE_SID:
        return len(payload) < 2 or payload[1] == service
    if payload[0] != service | 0x40:
        return False
    if service in _ITEMS:
        size, step = _ITEMS[service]
        asked = {request[at : at + size] for at in range(1, len(request), step)}
        return len(payload) <= size or payload[1 : 1 + size] in asked
    count = _ECHOED.get(service, 0)
    wanted = bytearray(request[1 : 1 + count])
    if wanted and service in _WITH_SUPPRESS_BIT:
        wanted[0] &= 0x7F
    came = payload[1 : 1 + count]
    return came == wanted[: len(came)]


def is_silence_wanted(request: bytes) -> bool:
    """The request suppresses the positive response. Standard: ISO 14229-1:2020 §8.2.2."""
    return len(request) > 1 and request[0] in _WITH_SUPPRESS_BIT and request[1] & 0x80 != 0
