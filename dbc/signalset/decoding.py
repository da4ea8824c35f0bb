"""From an adapter's text to the values of a command, with the raw bytes of each, or the reason why there are none."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from dbc.errors import AnswerCut, NothingUsable, Phrase, Refused, SignalSetError, UnknownCommand
from dbc.signalset.adaptertext import read_adapter_text
from dbc.signalset.model import Sample, find_command, parse_command_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from dbc.signalset.adaptertext import Heard
    from dbc.signalset.assembly import EcuAnswer
    from dbc.signalset.model import Command, SignalSet

__all__ = ["AnswerDecoder", "Decoded", "decode_payload", "ecu_text"]

_NEGATIVE: Final = 0x7F
_PENDING: Final = 0x78


def ecu_text(can_id: int | None) -> str | None:
    """An identifier as people write it: ``0x7EC``, ``0x17FE007B``."""
    if can_id is None:
        return None
    return f"0x{can_id:03X}" if can_id <= 0x7FF else f"0x{can_id:08X}"


@dataclass(frozen=True, slots=True)
class Decoded:
    """The values of one answer.

    Args:
        command: as the set has it.
        ecu: who answered, ``0x7EC``; None where neither the text nor the set says it.
        samples: signal name -> value with its raw bytes, in the set's order.
        error: a part of the answer is missing; the values that do not need it are there.
        others: what other ECUs answered to the same request; never of an ECU that the command does not ask.
    """

    command: Command
    ecu: str | None
    samples: Mapping[str, Sample]
    error: SignalSetError | None = None
    others: tuple[Decoded, ...] = field(default=())


def decode_payload(command: Command, payload: bytes, lost: Collection[int] = ()) -> dict[str, Sample]:
    """The values in a positive answer to the command.

    Args:
        command: with its decoders.
        payload: service byte first, as far as it came.
        lost: indices of its bytes that did not come; a value that needs one of them is None.

    Raises:
        NothingUsable: the payload answers another request.
    """
    start = command.answer_start
    if payload[: len(start)] != start:
        shown = payload[: len(start)].hex().upper()
        raise NothingUsable(
            command.text, Phrase(f"the answer {shown} is to another request", f"应答 {shown} 属于另一个请求")
        )
    data = payload[len(start) :]
    gaps = {at - len(start) for at in lost}
    return {
        signal.name: Sample(None, b"") if gaps.intersection(signal.decoder.span) else signal.decoder.decode(data)
        for signal in command.signals
    }


class AnswerDecoder:
    """Decodes answers with a car's own set and its fallbacks; commands are looked up once.

    Args:
        sets: the car's own set first; per command the first that has it wins.
    """

    def __init__(self, sets: Sequence[SignalSet]) -> None:
        self._sets = tuple(sets)
        self._known: dict[tuple[str, int | None], tuple[Command, Command] | UnknownCommand] = {}

    def _find(self, text: str, year: int | None) -> tuple[Command, Command]:
        """The command as asked, and as the set has it."""
        if (text, year) not in self._known:
            try:
                asked = parse_command_id(text)
                known = find_command(asked, self._sets, year)
                if asked.address.extended is None:
                    asked = replace(asked, address=replace(asked.address, extended=known.address.extended))
                self._known[text, year] = asked, known
            except UnknownCommand as error:
                self._known[text, year] = error
        found = self._known[text, year]
        if isinstance(found, UnknownCommand):
            raise UnknownCommand(found.command, found.reason)
        return found

    def decode(self, command: str, response: str, year: int | None = None) -> Decoded:
        """The values in an adapter's answer to a command.

        A command that names its receiver takes that ECU's answer only. One that names none takes any; of several
        positive answers the last one counts, and the others stand beside it.

        Args:
            command: by its published name, ``7E4.7EC.220105``.
            response: what the adapter printed.
            year: the car's model year; None when unknown.

        Raises:
            UnknownCommand: no set has the command for this year.
            NothingUsable: there is no answer to it.
            Refused: the ECU answered negatively.
        """
        asked, known = self._find(command, year)
        heard = read_adapter_text(response, asked)
        wanted = asked.address.response_id
        if wanted is None and known.service != 0x01:
            wanted = known.address.response_id
        ours = [answer for answer in heard.answers if wanted is None or answer.can_id in (None, wanted)]
        positive = [answer for answer in ours if answer.payload[: len(known.answer_start)] == known.answer_start]
        if not positive:
            raise _why_nothing(known, heard, ours)
        last: dict[int | None, EcuAnswer] = {}
        for answer in positive:
            last.pop(answer.can_id, None)
            last[answer.can_id] = answer
        decoded = [_decoded(known, answer, wanted) for answer in last.values()]
        best = decoded[-1]
        return Decoded(known, best.ecu, best.samples, best.error, tuple(decoded[:-1]))


def _decoded(command: Command, answer: EcuAnswer, wanted: int | None) -> Decoded:
    ecu = ecu_text(wanted if answer.can_id is None else answer.can_id)
    error = AnswerCut(ecu or "?", answer.missing) if answer.missing else None
    return Decoded(command, ecu, decode_payload(command, answer.payload, answer.lost), error)


def _why_nothing(command: Command, heard: Heard, ours: Sequence[EcuAnswer]) -> SignalSetError:
    """The reason why a text has no positive answer, the most telling first."""
    refusals = [
        answer
        for answer in ours
        if len(answer.payload) >= 3 and answer.payload[0] == _NEGATIVE and answer.payload[1] == command.service
    ]
    final = [answer for answer in refusals if answer.payload[2] != _PENDING] or refusals
    if final:
        ecu = ecu_text(final[-1].can_id) or ecu_text(command.address.response_id) or command.address.header
        return Refused(ecu, f"0x{command.service:02X}", f"0x{final[-1].payload[2]:02X}")
    if ours:
        shown = ours[-1].payload[:3].hex().upper()
        return NothingUsable(
            command.text, Phrase(f"the answer {shown} is to another request", f"应答 {shown} 属于另一个请求")
        )
    if heard.answers:
        others = ", ".join(sorted({ecu_text(answer.can_id) or "?" for answer in heard.answers}))
        return NothingUsable(command.text, Phrase(f"only {others} answered", f"只有 {others} 应答"))
    if heard.troubles:
        return NothingUsable(command.text, heard.troubles[-1])
    return NothingUsable(command.text, Phrase("there is no answer in the text", "文本中没有应答"))
