"""A visit played as a car: what ``sim run --from BUNDLE`` gives its ECUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.addressing import FUNCTIONAL_11, FUNCTIONAL_29
from diag.broadcast import is_diagnostic_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.addressing import Target
    from diag.tape import Entry, Tape
    from virtualbus.farm import Exchange
    from virtualbus.transport import Frame

__all__ = ["parts_of_visit"]


def parts_of_visit(tape: Tape) -> tuple[list[Exchange], list[tuple[int, Frame]]]:
    """What a simulated car needs of a visit: requests with their answers, and the frames that came by themselves.

    ECUs behind a DoIP gateway get CAN identifiers: 0x7E0 and up, then 0x700 and up, each answering eight above.

    Returns:
        exchanges, and (time since the beginning in ns, frame).
    """
    from virtualbus.farm import Exchange
    from virtualbus.transport import Frame

    told = [entry for entry in tape.entries if entry.target is not None and entry.answers]
    places = _can_places(answer.source for entry in told for answer in entry.answers)
    start = min([tape.started_ns, *(frame.t_ns for frame in tape.frames[:1])])
    exchanges = []
    for entry in told:
        target, payload = entry.target, entry.payload
        if target is None:
            continue
        request_id = (
            places.get(target.request_id, target.request_id)
            if not target.is_functional
            else FUNCTIONAL_29
            if target.extended
            else FUNCTIONAL_11
        )
        answers = tuple((_response(answer.source, places), answer.payload) for answer in entry.answers)
        exchanges.append(Exchange(max(0, entry.t_ns - start), request_id, target.extended, payload, answers))
    talking = {number for entry in told for number in _numbers(entry)}
    frames = [
        (max(0, frame.t_ns - start), Frame(frame.can_id, frame.data, frame.extended, frame.fd))
        for frame in tape.frames
        if not (frame.tx or frame.error or frame.remote or (frame.can_id, frame.extended) in talking)
        and not is_diagnostic_id(frame.can_id, extended=frame.extended)
    ]
    return exchanges, frames


def _numbers(entry: Entry) -> Iterable[tuple[int, bool]]:
    for answer in entry.answers:
        yield answer.source.request_id, answer.source.extended
        if answer.source.response_id is not None:
            yield answer.source.response_id, answer.source.extended


def _can_places(sources: Iterable[Target]) -> dict[int, int]:
    """Logical address of DoIP -> request identifier."""
    free = [*range(0x7E0, 0x7E8), *(block + at for block in range(0x700, 0x7C0, 16) for at in range(8))]
    logical = dict.fromkeys(source.request_id for source in sources if source.logical)
    return dict(zip(logical, free, strict=False))


def _response(source: Target, places: dict[int, int]) -> int:
    if source.logical:
        return places.get(source.request_id, 0x7E0) + 8
    return source.response_id or 0
