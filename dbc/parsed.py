"""What the parser found, as our messages and signals: each with its plan for reading, made once.

Messages come from every format that cantools reads. For DBC files the draft says which names and identifiers stood for
which of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeGuard

from dbc.issues import found
from dbc.signals import Condition, Message, Signal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dbc.draft import MessageText, SignalText
    from dbc.issues import Issue

__all__ = [
    "Attributes",
    "is_readable",
    "layout_issues",
    "message_from_parsed",
    "resolve_attributes",
    "signal_from_parsed",
]

Attributes = dict[str, int | float | str]

_FLOAT_BITS: Final = frozenset({16, 32, 64})
_SHOWN_OVERLAPS: Final = 3


def resolve_attributes(defined: Mapping[str, Any], explicit: Mapping[str, Any] | None, kind: str | None) -> Attributes:
    """Attributes of one object with the defaults of their definitions; enumerated ones as their text."""
    out: Attributes = {}
    for name, definition in defined.items():
        if definition.kind != kind:
            continue
        value = explicit[name].value if explicit and name in explicit else definition.default_value
        if value is None:
            continue
        choices = definition.choices
        if choices and isinstance(value, int) and 0 <= value < len(choices):
            value = choices[value]
        out[name] = value
    return out


def _ranges(ids: Iterable[int]) -> tuple[tuple[int, int], ...]:
    out: list[tuple[int, int]] = []
    for number in sorted(set(ids)):
        if out and out[-1][1] == number - 1:
            out[-1] = (out[-1][0], number)
        else:
            out.append((number, number))
    return tuple(out)


def _conditions(
    parsed: Any, by_name: Mapping[str, Any], shown: Mapping[str, str], wide: Mapping[str, tuple[tuple[int, int], ...]]
) -> tuple[Condition, ...]:
    """What must hold for a signal to be there: its own selector first, then the selectors of that one."""
    out: list[Condition] = []
    seen: set[str] = set()
    while parsed is not None and parsed.multiplexer_ids is not None and parsed.multiplexer_signal is not None:
        if parsed.name in seen:
            break
        seen.add(parsed.name)
        selector = parsed.multiplexer_signal
        ranges = wide.get(parsed.name) or _ranges(parsed.multiplexer_ids)
        out.append(Condition(shown.get(selector, selector), ranges))
        parsed = by_name.get(selector)
    return tuple(out)


def signal_from_parsed(
    parsed: Any, name: str, conditions: tuple[Condition, ...] = (), *, is_j1939: bool = False
) -> Signal:
    """The plan of one signal."""
    return Signal(
        name=name,
        start=parsed.start,
        length=parsed.length,
        little_endian=parsed.byte_order == "little_endian",
        signed=bool(getattr(parsed, "is_signed", False)),
        is_float=parsed.conversion.is_float,
        scale=parsed.conversion.scale,
        offset=parsed.conversion.offset,
        unit=parsed.unit or "",
        minimum=parsed.minimum,
        maximum=parsed.maximum,
        labels={int(raw): str(text) for raw, text in (parsed.conversion.choices or {}).items()},
        conditions=conditions,
        comment=getattr(parsed, "comment", None) or "",
        is_j1939=is_j1939,
    )


def is_readable(parsed: Any) -> bool:
    """Whether a number holds the signal: up to 64 bits, or a float of 16, 32 or 64."""
    if parsed.conversion.is_float:
        return parsed.length in _FLOAT_BITS
    return bool(1 <= parsed.length <= 64)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float)


def message_from_parsed(
    parsed: Any,
    defined: Mapping[str, Any],
    *,
    j1939: bool,
    text: MessageText | None = None,
    names: Mapping[str, str] | None = None,
) -> Message:
    """The plan of one message.

    Args:
        parsed: the parser's message.
        defined: definitions of the database's attributes.
        j1939: the whole network speaks J1939.
        text: the message as the file has it, where names and identifiers were changed for the parser.
        names: stand-in -> name of a node.
    """
    attributes = resolve_attributes(defined, parsed.dbc.attributes if parsed.dbc else None, "BO_")
    by_name = {signal.name: signal for signal in parsed.signals}
    texts = {signal.parsed: signal for signal in text.signals} if text else {}
    shown = {name: texts[name].shown if name in texts else name for name in by_name}
    lost = {name for name, signal in texts.items() if signal.is_lost}
    good = [signal for signal in parsed.signals if is_readable(signal) and signal.name not in lost]
    readable = {signal.name for signal in good}
    wide = text.wide if text else {}
    number = text.number if text else parsed.frame_id | parsed.is_extended_frame << 31
    extended = bool(number >> 31)
    cycle_ms = parsed.cycle_time
    is_j1939 = extended and (j1939 or attributes.get("VFrameFormat") == "J1939PG")
    return Message(
        name=text.shown if text else parsed.name,
        can_id=number & 0x7FFFFFFF,
        extended=extended,
        length=parsed.length,
        signals=tuple(
            signal_from_parsed(signal, shown[signal.name], _conditions(signal, by_name, shown, wide), is_j1939=is_j1939)
            for signal in good
        ),
        is_fd=bool(parsed.is_fd) or str(attributes.get("VFrameFormat", "")).endswith("_FD"),
        is_j1939=is_j1939,
        senders=tuple((names or {}).get(sender, sender) for sender in parsed.senders if sender != "Vector__XXX"),
        cycle_time_ms=int(cycle_ms) if _is_number(cycle_ms) and cycle_ms > 0 else None,
        attributes=attributes,
        comment=parsed.comment or "",
        unreadable=tuple(shown[signal.name] for signal in parsed.signals if signal.name not in readable),
        contained=_contained(parsed),
        little_headers=getattr(parsed, "header_byte_order", None) == "little_endian",
    )


def _contained(parsed: Any) -> dict[int, Message]:
    """The messages inside a container, by the number of their header."""
    if not getattr(parsed, "is_container", False):
        return {}
    return {
        inner.header_id: message_from_parsed(inner, {}, j1939=False)
        for inner in parsed.contained_messages or ()
        if inner.header_id
    }


# --- what the layout says that cannot be meant -----------------------------------------------------------------------


def _bits(signal: Signal, size: int) -> int:
    """The signal's bits in a payload of ``size`` bytes, as a mask of the little-endian number."""
    if signal.little_endian:
        return signal.mask << signal.first_bit
    mask = signal.mask << 8 * size - signal.first_bit - signal.length
    return int.from_bytes(mask.to_bytes(size, "big"), "little")


def _meet(one: Signal, other: Signal) -> bool:
    """Whether two signals can be there in the same frame."""
    for first in one.conditions:
        for second in other.conditions:
            if first.selector == second.selector and not any(
                low <= top and bottom <= high for low, high in first.ranges for bottom, top in second.ranges
            ):
                return False
    return True


def layout_issues(message: Message, text: MessageText | None, lengths: Mapping[str, int]) -> Iterator[Issue]:
    """Signals that overlap, end beyond the message, or hold more bits than a number.

    Args:
        message: the plan.
        text: the message as the file has it, for the lines.
        lengths: bits of every signal that the parser found, by its name for people.
    """
    at: dict[str, SignalText] = {signal.shown: signal for signal in text.signals} if text else {}

    def issue(code: str, name: str, **fields: object) -> Issue:
        where = at.get(name)
        line, file = (where.line, where.file) if where else (0, "")
        return found(code, line, file, name=name, message=message.name, **fields)

    for name in message.unreadable:
        if not (name in at and at[name].is_lost):
            yield issue("signal-length", name, bits=lengths.get(name, 0))
    size = max((signal.needs_bytes for signal in message.signals), default=0)
    before: list[tuple[int, Signal]] = []
    taken = 0
    for signal in message.signals:
        if signal.needs_bytes > message.length:
            yield issue("signal-outside", signal.name, needs=signal.needs_bytes, length=message.length)
        bits = _bits(signal, size)
        if bits & taken:
            others = [other.name for mask, other in before if mask & bits and _meet(signal, other)]
            if others:
                more = " …" if len(others) > _SHOWN_OVERLAPS else ""
                yield issue("overlap", signal.name, others=", ".join(others[:_SHOWN_OVERLAPS]) + more)
        before.append((bits, signal))
        taken |= bits
