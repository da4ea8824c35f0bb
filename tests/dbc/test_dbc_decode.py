"""Columns of values: equal to cantools value by value, to single frames, and to bits picked one by one."""

from __future__ import annotations

import logging
import math
import random
from typing import TYPE_CHECKING, Any

import cantools
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dbc.database import Database, load
from dbc.decoding import decode_table
from dbc.files import EV400
from dbc.signals import Condition, Message, Signal
from dbc.table import ERROR, EXTENDED, FD, REMOTE, FrameRow, FrameTable

if TYPE_CHECKING:
    from pathlib import Path

SHARED = (
    "css/j1939_demo.dbc",
    "css/tp_uds.dbc",
    "savvycan/bms.dbc",
    "savvycan/LeafPowertrainBus.dbc",
    "savvycan/ThinkCity.dbc",
)


def database_of(*messages: Message) -> Database:
    return Database("made", "made.dbc", messages)


def oracle(path: Path) -> Any:
    logging.getLogger("cantools").setLevel(logging.ERROR)
    return cantools.database.load_file(path, strict=False)


def overlapping(parsed: Any) -> bool:
    """cantools reads messages wrongly whose signals overlap or leave the frame; they have an oracle of their own."""
    taken: dict[int, tuple[Any, Any]] = {}
    for signal in parsed.signals:
        bits = set()
        at = signal.start
        for _ in range(signal.length):
            bits.add(at)
            at = at + 1 if signal.byte_order == "little_endian" else (at - 1 if at % 8 else at + 15)
        if max(bits) >= 8 * parsed.length:
            return True
        for bit in bits:
            other = taken.get(bit)
            mine = (signal.multiplexer_signal, tuple(signal.multiplexer_ids or ()))
            if other is not None and (other[0] is None or mine[0] is None or other == mine):
                return True
            taken[bit] = mine
    return False


def expected(parsed: Any, data: bytes) -> dict[str, float] | None:
    """What cantools makes of a frame; None when its selectors have no branch, which loses the frame there."""
    try:
        return parsed.decode_simple(data, decode_choices=False, allow_truncated=True)
    except cantools.database.errors.DecodeError as exc:
        if "expected multiplexer id" in str(exc):
            return None
        raise


def random_rows(database: Database, per_message: int) -> list[FrameRow]:
    """Frames of every message: random, all ones, all zeros, cut short, with selectors that choose something."""
    rows: list[FrameRow] = []
    for message in database.by_key.values():
        flags = EXTENDED * message.extended | FD * (message.length > 8)
        for _ in range(per_message):
            size = message.length if random.random() < 0.8 else random.randint(0, message.length)
            data = bytearray(random.randbytes(size))
            if random.random() < 0.3:
                data = bytearray(random.choice([b"\xff", b"\0"]) * size)
            for signal in message.signals:
                for condition in signal.conditions if random.random() < 0.3 else ():
                    selector = message.by_name[condition.selector]
                    if selector.needs_bytes <= size:
                        plant(data, selector, random.choice(condition.ranges)[0])
            rows.append(FrameRow(0, message.can_id, bytes(data), flags))
    random.shuffle(rows)
    return [row._replace(t_ns=n) for n, row in enumerate(rows)]


def check_sample(signal: Signal, parsed: Any, got: float, wanted: float) -> None:
    """One value is the one of cantools, or none where the raw code says "not available"."""
    raw = parsed.conversion.scaled_to_raw(wanted) if signal.not_available or signal.invalid_from is not None else 0
    if raw in signal.not_available or (signal.invalid_from is not None and raw >= signal.invalid_from):
        assert math.isnan(got)
    else:
        assert got == float(wanted), signal


def check_against_cantools(path: Path, *, per_message: int, seed: int) -> int:
    """Random frames of every message; returns how many values were compared."""
    random.seed(seed)
    database, other = load(path), oracle(path)
    rows = random_rows(database, per_message)
    decoded = decode_table(FrameTable.from_rows(rows), [database])
    assert decoded.decoded_frames == len(rows)
    assert decoded.unknown_ids == ()
    compared = 0
    for columns in decoded.messages.values():
        try:
            parsed = other.get_message_by_frame_id(columns.message.can_id, columns.message.extended)
        except KeyError:  # imported from another file, which cantools does not follow
            continue
        selectors = {signal.multiplexer_signal for signal in parsed.signals} - {None}
        lost = not all(parsed.get_signal_by_name(name).is_multiplexer for name in selectors)
        if overlapping(parsed) or lost or parsed.name != columns.message.name:
            continue  # "lost": cantools takes a selector marked "m" for none and drops what it selects
        samples: list[dict[str, float]] = [{} for _ in range(len(columns))]
        for name, column in columns.columns.items():
            for row, value in zip(column.rows.tolist(), column.values.tolist(), strict=True):
                samples[row][name] = value
        for sample, t_ns in zip(samples, columns.t_ns.tolist(), strict=True):
            wanted = expected(parsed, rows[t_ns].data)
            if wanted is None:
                continue
            assert sample.keys() == wanted.keys(), (columns.name, rows[t_ns].data.hex())
            compared += len(wanted)
            for name, value in wanted.items():
                check_sample(columns.message.by_name[name], parsed.get_signal_by_name(name), sample[name], value)
    return compared


def plant(data: bytearray, signal: Signal, bits: int) -> None:
    """Writes a signal's bits."""
    order = "little" if signal.little_endian else "big"
    shift = signal.first_bit if signal.little_endian else 8 * len(data) - signal.first_bit - signal.length
    whole = int.from_bytes(data, order) & ~(((1 << signal.length) - 1) << shift) | bits << shift
    data[:] = whole.to_bytes(len(data), order)


@pytest.mark.parametrize("name", SHARED)
def test_shared_databases_equal_cantools(shared: Path, name: str) -> None:
    assert check_against_cantools(shared / "data" / name, per_message=12, seed=7) > 10


def test_bundled_database_equals_cantools() -> None:
    assert check_against_cantools(EV400, per_message=300, seed=8) > 5000


@st.composite
def layouts(draw: st.DrawFn) -> tuple[str, int]:
    """A DBC text with one message of signals that do not overlap, and its length."""
    length = draw(st.sampled_from([1, 3, 7, 8, 12, 64]))
    lines = []
    free = 8 * length
    bit = 0
    big = draw(st.booleans())
    number = 0
    types = []
    while bit < free and number < 12:
        bit += draw(st.integers(0, 5))
        left = free - bit
        if left <= 0:
            break
        is_float = left >= 32 and draw(st.integers(0, 5)) == 0
        size = draw(st.sampled_from([32, 64])) if is_float and left >= 64 else 32 if is_float else None
        size = size or draw(st.integers(1, min(64, left)))
        # Runs of bits in one byte order never overlap when laid one after the other.
        start = 8 * (bit // 8) + 7 - bit % 8 if big else bit
        signed = draw(st.booleans())
        scale = draw(st.sampled_from(["1", "0.1", "2", "0.00390625", "-0.5", "1e-7", "3.0", "1000000007"]))
        offset = draw(st.sampled_from(["0", "-40", "0.5", "-1000", "100000000000000007"]))
        sign = "-" if signed else "+"
        order = 0 if big else 1
        lines.append(f' SG_ S{number} : {start}|{size}@{order}{sign} ({scale},{offset}) [0|0] "" X')
        if is_float:
            types.append(f"SIG_VALTYPE_ 256 S{number} : {1 if size == 32 else 2};")
        bit += size
        number += 1
    body = "\n".join(lines)
    return f'VERSION ""\nBU_: X\nBO_ 256 M: {length} X\n{body}\n' + "\n".join(types) + "\n", length


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking a 64-byte layout takes minutes
)
@given(layouts(), st.data())
def test_generated_layouts_equal_cantools(tmp_path: Path, layout: tuple[str, int], data: st.DataObject) -> None:
    text, length = layout
    path = tmp_path / "made.dbc"
    path.write_text(text)
    parsed = oracle(path).messages[0]
    payloads = data.draw(st.lists(st.binary(min_size=length, max_size=length), min_size=1, max_size=4))
    payloads += data.draw(st.lists(st.binary(max_size=length), max_size=2))
    rows = [FrameRow(n, 256, payload, FD) for n, payload in enumerate(payloads)]
    database = load(path)
    columns = decode_table(FrameTable.from_rows(rows), [database]).messages["M"]
    for row, payload in enumerate(payloads):
        wanted = parsed.decode_simple(payload, decode_choices=False, allow_truncated=True)
        got = {
            name: column.values[np.flatnonzero(column.rows == row)].tolist() for name, column in columns.columns.items()
        }
        assert {name for name, values in got.items() if values} == set(wanted)
        for name, value in wanted.items():
            if math.isfinite(value):
                assert got[name] == [float(value)], (text, name, payload.hex())
            else:
                assert math.isnan(got[name][0])
    check_scalar(database, rows)


def check_scalar(database: Database, rows: list[FrameRow]) -> None:
    """Single frames say the same as columns."""
    decoded = decode_table(FrameTable.from_rows(rows), [database])
    found: dict[tuple[str, int], dict[str, tuple[float | None, int]]] = {}
    for columns in decoded.messages.values():
        for t_ns in columns.t_ns.tolist():
            found[columns.name, t_ns] = {}
        for name, column in columns.columns.items():
            for t_ns, value, valid, raw in zip(
                column.t_ns.tolist(), column.values.tolist(), column.valid.tolist(), column.raw.tolist(), strict=True
            ):
                assert valid != math.isnan(value)
                found[columns.name, t_ns][name] = (value if valid else None, raw)
    for row in rows:
        frame = database.decode_frame(row.can_id, bool(row.flags & EXTENDED), row.data)
        assert frame is not None
        single = {name: (value.value, value.raw) for name, value in frame.values.items()}
        assert single == found[frame.message.name, row.t_ns]


def test_single_frames_equal_columns_on_the_bundled_database() -> None:
    random.seed(3)
    database = load(EV400)
    rows = [
        FrameRow(n, message.can_id, random.choice([random.randbytes(random.randint(0, 8)), b"\xff" * 8]))
        for n, message in enumerate(random.choices(database.messages, k=600))
    ]
    check_scalar(database, rows)


@given(st.integers(1, 64), st.data())
def test_bits_one_by_one(length: int, data: st.DataObject) -> None:
    size = data.draw(st.integers((length + 7) // 8, 64))
    little = data.draw(st.booleans())
    first = data.draw(st.integers(0, 8 * size - length))
    payload = data.draw(st.binary(min_size=size, max_size=size))
    start = first if little else 8 * (first // 8) + 7 - first % 8
    signal = Signal("S", start, length, little, signed=data.draw(st.booleans()))
    bits = 0
    if little:
        for k in range(length):
            bits |= (payload[(first + k) // 8] >> (first + k) % 8 & 1) << k
    else:
        for k in range(length):
            bits = bits << 1 | payload[(first + k) // 8] >> 7 - (first + k) % 8 & 1
    raw = bits - (1 << length) if signal.signed and bits >> length - 1 else bits
    table = FrameTable.from_rows([FrameRow(0, 1, payload, FD)])
    database = database_of(Message("M", 1, False, size, (signal,)))
    column = decode_table(table, [database]).messages["M"].columns["S"]
    assert column.raw.tolist() == [raw]
    assert column.values.tolist() == [float(raw)]
    over_nine_bytes = (first + length - 1) // 8 - first // 8 >= 8
    whole = decode_table(table, [database], native=True).messages["M"].columns["S"].values.tolist()
    assert whole == [float(raw) if over_nine_bytes else raw]
    assert signal.raw_from_bits(signal.bits_of(payload)) == raw


def test_wide_integers_keep_their_last_digit() -> None:
    signal = Signal("S", 0, 64, True, scale=3, offset=7)
    data = (2**63 + 1).to_bytes(8, "little")
    table = FrameTable.from_rows([FrameRow(0, 1, data)])
    column = decode_table(table, [database_of(Message("M", 1, False, 8, (signal,)))]).messages["M"].columns["S"]
    assert column.values.tolist() == [float((2**63 + 1) * 3 + 7)]


@pytest.mark.parametrize(("scale", "offset"), [(3, 7), (1000000007, 0.5), (3.0, -40), (3.0, 0.5), (1, 10**17 + 7)])
@pytest.mark.parametrize("bits", [2**61 - 1, 2**60 + 12345, 2**63 + 1])
def test_long_integers_are_rounded_once(scale: float, offset: float, bits: int) -> None:
    conversion = cantools.database.conversion.BaseConversion.factory(scale, offset)
    signal = Signal("S", 0, 64, True, scale=scale, offset=offset)
    assert signal.value_from_bits(bits) == float(conversion.raw_to_scaled(bits))
    table = FrameTable.from_rows([FrameRow(0, 1, bits.to_bytes(8, "little"))])
    column = decode_table(table, [database_of(Message("M", 1, False, 8, (signal,)))]).messages["M"].columns["S"]
    assert column.values.tolist() == [signal.value_from_bits(bits)]


def test_floats_that_are_no_numbers() -> None:
    signal = Signal("S", 0, 32, True, is_float=True)
    payloads = [bytes.fromhex(text) for text in ("0000c07f", "0100807f", "0000807f", "000080ff", "0000803f")]
    rows = [FrameRow(n, 1, payload) for n, payload in enumerate(payloads)]
    database = database_of(Message("M", 1, False, 4, (signal,)))
    column = decode_table(FrameTable.from_rows(rows), [database]).messages["M"].columns["S"]
    assert column.valid.tolist() == [False, False, False, False, True]
    check_scalar(database, rows)


def test_not_available_is_no_value() -> None:
    table = FrameTable.from_rows([FrameRow(0, 0x180, b"\xff" * 8), FrameRow(1, 0x180, b"\x10\x0f\xff\xff\0\0\0\0")])
    decoded = decode_table(table, [load(EV400)])
    voltage = decoded.find_signal("PackVoltage")
    assert voltage is not None
    assert voltage.valid.tolist() == [False, True]
    assert voltage.raw.tolist() == [0xFFFF, 0x0F10]
    assert voltage.latest == (1, pytest.approx(385.6))
    assert voltage.not_available == 1
    current = decoded.find_signal("BMS_Pack.PackCurrent")
    assert current is not None
    assert current.latest is None


def test_short_frames_give_what_is_there() -> None:
    table = FrameTable.from_rows([FrameRow(0, 0x180, b"\x10\x0f\x10"), FrameRow(1, 0x180, bytes(8))])
    decoded = decode_table(table, [load(EV400)])
    columns = decoded.messages["BMS_Pack"]
    assert (decoded.short_frames, columns.short) == (1, 1)
    assert columns.columns["PackVoltage"].t_ns.tolist() == [0, 1]
    assert columns.columns["PackCurrent"].t_ns.tolist() == [1]


def test_multiplexed_signals_are_there_when_chosen() -> None:
    selector = Signal("Mode", 0, 8, True)
    inner = Signal("Inner", 8, 8, True, conditions=(Condition("Mode", ((1, 1), (4, 6))),))
    deep = Signal("Deep", 16, 8, True, conditions=(Condition("Inner", ((9, 9),)), Condition("Mode", ((1, 1), (4, 6)))))
    database = database_of(Message("M", 1, False, 3, (selector, inner, deep)))
    payloads = [b"\x01\x09\x07", b"\x05\x08\x07", b"\x00\x09\x07", b"\x06\x09", b"\x07\x09\x07"]
    rows = [FrameRow(n, 1, payload) for n, payload in enumerate(payloads)]
    columns = decode_table(FrameTable.from_rows(rows), [database]).messages["M"].columns
    assert columns["Inner"].t_ns.tolist() == [0, 1, 3]
    assert columns["Deep"].t_ns.tolist() == [0]
    check_scalar(database, rows)


def test_the_first_database_wins_and_names_stay_apart() -> None:
    one = Message("Pack", 1, False, 8, (Signal("A", 0, 8, True),))
    same_id = Message("Other", 1, False, 8, (Signal("B", 0, 8, True),))
    same_name = Message("Pack", 2, False, 8, (Signal("C", 0, 8, True),))
    databases = [Database("first", "", (one,)), Database("second", "", (same_id, same_name))]
    table = FrameTable.from_rows([FrameRow(0, 1, bytes(8)), FrameRow(1, 2, bytes(8)), FrameRow(2, 3, bytes(8))])
    decoded = decode_table(table, databases)
    assert list(decoded.messages) == ["Pack", "Pack@second"]
    assert decoded.unknown_ids == (3,)
    assert (decoded.frames, decoded.decoded_frames) == (3, 2)


def test_frames_without_a_message_are_passed_over() -> None:
    rows = [FrameRow(0, 0x180, b"", REMOTE, 0, 8), FrameRow(1, 0x181, b"", ERROR | EXTENDED)]
    decoded = decode_table(FrameTable.from_rows(rows), [load(EV400)])
    assert (decoded.frames, decoded.decoded_frames, decoded.unknown_ids) == (2, 0, ())


def test_no_frames_and_no_databases() -> None:
    assert decode_table(FrameTable.empty(), [load(EV400)]).messages == {}
    decoded = decode_table(FrameTable.from_rows([FrameRow(0, 5, b"")]), [])
    assert decoded.unknown_ids == (5,)


def test_asked_for_signals_only() -> None:
    table = FrameTable.from_rows([FrameRow(0, 0x180, bytes(8)), FrameRow(1, 0x100, bytes(8))])
    decoded = decode_table(table, [load(EV400)], signals=["PackVoltage"])
    assert {name: list(columns.columns) for name, columns in decoded.messages.items()} == {"BMS_Pack": ["PackVoltage"]}
    assert decoded.decoded_frames == 2


def test_parameter_groups_match_whatever_the_source() -> None:
    speed = Signal("Speed", 24, 16, True, scale=0.125)
    database = database_of(Message("EEC1", 0x0CF004FE, True, 8, (speed,), is_j1939=True))
    rows = [
        FrameRow(0, 0x0CF00400, bytes(8), EXTENDED),
        FrameRow(1, 0x18F00411, bytes(8), EXTENDED),
        FrameRow(2, 0x18F00500, bytes(8), EXTENDED),
        FrameRow(3, 0x004, bytes(8)),
    ]
    decoded = decode_table(FrameTable.from_rows(rows), [database])
    columns = decoded.messages["EEC1"]
    assert columns.source == "j1939"
    assert columns.source_address is not None
    assert columns.source_address.tolist() == [0x00, 0x11]
    assert decoded.unknown_ids == (0x004, 0x80000000 | 0x18F00500)


@given(st.lists(st.integers(0, 0x1FFFFFFF), min_size=1, max_size=400))
def test_any_set_of_identifiers_is_told_apart(ids: list[int]) -> None:
    known = sorted(set(ids))[::2]
    database = database_of(*(Message(f"M{can_id}", can_id, True, 8, ()) for can_id in known))
    rows = [FrameRow(n, can_id, b"", EXTENDED) for n, can_id in enumerate(ids)]
    decoded = decode_table(FrameTable.from_rows(rows), [database])
    assert decoded.unknown_ids == tuple(can_id | 1 << 31 for can_id in sorted(set(ids) - set(known)))
    for columns in decoded.messages.values():
        assert {ids[t_ns] for t_ns in columns.t_ns.tolist()} == {columns.message.can_id}
    assert decoded.decoded_frames == sum(can_id in known for can_id in ids)
