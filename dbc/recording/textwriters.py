"""Frames written as text: candump, Vector ASC, our CSV. Each takes a piece of a table and gives its lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from dbc.recording.asc import UTC_REMARK
from dbc.recording.tables import FRAMES_HEADER, FRAMES_START, KINDS
from dbc.table import BITRATE_SWITCH, ERROR, ERROR_STATE, EXTENDED, FD, REMOTE, TX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbc.table import FrameTable

__all__ = ["asc_head", "asc_text", "candump_text", "csv_head", "csv_text"]

_SECOND_NS: Final = 1_000_000_000
_MICRO_NS: Final = 1000
_FD_CODES: Final = {length: code for code, length in enumerate((*range(9), 12, 16, 20, 24, 32, 48, 64))}
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_KIND_NAMES: Final = {flags: name for name, flags in KINDS.items()}
_KIND_MASK: Final = FD | BITRATE_SWITCH | ERROR_STATE | REMOTE | ERROR
_ERROR_BIT: Final = 0x2000_0000


def _stamp(t_ns: int) -> str:
    """Seconds with six decimals, or nine where the time needs them; not for negative times."""
    seconds, rest = divmod(t_ns, _SECOND_NS)
    return f"{seconds}.{rest // _MICRO_NS:06d}" if rest % _MICRO_NS == 0 else f"{seconds}.{rest:09d}"


def _rows(table: FrameTable, *, blanks: bool) -> Iterator[tuple[int, int, str, int, int, int]]:
    """Time, identifier, payload in hexadecimal, flags, channel, length of each frame."""
    step = 3 if blanks else 2
    digits = (table.data.tobytes().hex(" ") if blanks else table.data.tobytes().hex()).upper()
    begin, width = 0, step * table.width
    columns = (table.t_ns, table.can_id, table.flags, table.channel, table.length)
    for t_ns, can_id, flags, channel, length in zip(*(column.tolist() for column in columns), strict=True):
        size = 0 if flags & REMOTE else length
        yield t_ns, can_id, digits[begin : begin + max(step * size - (step - 2), 0)], flags, channel, length
        begin += width


def candump_text(table: FrameTable, names: Sequence[str], shift_ns: int, *, directed: bool) -> str:
    """Lines of ``candump -L``; ``directed`` adds R or T."""
    lines: list[str] = []
    for t_ns, can_id, data, flags, channel, length in _rows(table, blanks=False):
        if flags & ERROR:
            frame = f"{can_id | _ERROR_BIT:08X}#{data}"
        else:
            name = f"{can_id:08X}" if flags & EXTENDED else f"{can_id:03X}"
            if flags & REMOTE:
                frame = f"{name}#R{length or ''}"
            elif flags & FD:
                nibble = (flags & BITRATE_SWITCH != 0) | (flags & ERROR_STATE != 0) << 1
                frame = f"{name}##{nibble:X}{data}"
            else:
                frame = f"{name}#{data}"
        end = (" T\n" if flags & TX else " R\n") if directed else "\n"
        lines.append(f"({_stamp(t_ns + shift_ns)}) {names[channel]} {frame}{end}")
    return "".join(lines)


def asc_head(start_ns: int | None, local: datetime | None) -> str:
    """The head of an ASC file: the date by a clock without a zone (UTC where that is all we know), and our remark."""
    when = local
    if when is None:
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=(start_ns or 0) // 1_000_000)
    clock = f"{when:%H:%M:%S}.{when.microsecond // 1000:03d}"
    date = f"{_DAYS[when.weekday()]} {_MONTHS[when.month - 1]} {when.day:02d} {clock} {when.year}"
    remark = f"{UTC_REMARK}{start_ns}\n" if start_ns is not None else ""
    head = f"date {date}\nbase hex  timestamps absolute\ninternal events logged\n"
    return f"{head}{remark}Begin Triggerblock {date}\n   0.000000 Start of measurement\n"


def asc_text(table: FrameTable, numbers: Sequence[int], shift_ns: int) -> str:
    """Lines of ASC; ``numbers`` are the channels' numbers, from 1."""
    lines: list[str] = []
    for t_ns, can_id, text, flags, channel, length in _rows(table, blanks=True):
        stamp, bus = _stamp(t_ns + shift_ns).rjust(11), numbers[channel]
        way = "Tx" if flags & TX else "Rx"
        name = f"{can_id:X}{'x' if flags & EXTENDED else ''}"
        if flags & ERROR:
            lines.append(f"{stamp} {bus}  {way + ' ' if flags & TX else ''}ErrorFrame\n")
        elif flags & REMOTE:
            lines.append(f"{stamp} {bus}  {name:<15} {way}   r {length:x}\n")
        elif flags & FD:
            code = _FD_CODES.get(length) or next((c for n, c in _FD_CODES.items() if n >= length), 0)
            brs, esi = int(flags & BITRATE_SWITCH != 0), int(flags & ERROR_STATE != 0)
            marks = 0x1000 | brs << 13 | esi << 14
            body = f"{text} " if text else ""
            lines.append(
                f"{stamp} CANFD {bus:>3} {way}   {name:>8}  {'':>32} {brs} {esi} {code:x} {length:>2} {body}"
                f"{0:>8} {0:>4} {marks:>8X} {0:>8} {0:>8} {0:>8} {0:>8} {0:>8}\n"
            )
        else:
            lines.append(f"{stamp} {bus}  {name:<15} {way}   d {length:x} {text}".rstrip() + "\n")
    return "".join(lines)


def csv_head(start_ns: int | None) -> str:
    """The two first lines of our table of frames."""
    return f"{FRAMES_START}{'unknown' if start_ns is None else start_ns}\n{FRAMES_HEADER}\n"


def csv_text(table: FrameTable, names: Sequence[str]) -> str:
    """Lines of our table of frames, which holds everything."""
    quoted = [quote(name, safe=" ()[]:;/@") for name in names]
    lines: list[str] = []
    for t_ns, can_id, text, flags, channel, length in _rows(table, blanks=True):
        seconds, rest = divmod(abs(t_ns), _SECOND_NS)
        name, width = (f"0x{can_id:08X}", 29) if flags & EXTENDED else (f"0x{can_id:03X}", 11)
        kind = _KIND_NAMES.get(flags & _KIND_MASK) or ("error" if flags & ERROR else "fd" if flags & FD else "data")
        lines.append(
            f"{'-' if t_ns < 0 else ''}{seconds}.{rest:09d},{quoted[channel]},{name},{width},"
            f"{'tx' if flags & TX else 'rx'},{kind},{length},{text}\n"
        )
    return "".join(lines)
