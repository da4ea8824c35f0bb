"""Records of unsorted groups: found many at a time, they are those of a walk from the first byte on."""

from __future__ import annotations

import random

import numpy as np
import pytest

from dbc.recording import unsorted
from dbc.recording.unsorted import Walk

SIZES: dict[int, int | None] = {1: 22, 2: None, 3: 9, 5: 19}


def singly(stream: bytes, sizes: dict[int, int | None], id_size: int) -> tuple[dict[int, list[int]], int, int | None]:
    """What the standard says, record by record: places by number, the end, and an unknown number there."""
    places: dict[int, list[int]] = {number: [] for number in sizes}
    at = 0
    while at + id_size <= len(stream):
        number = int.from_bytes(stream[at : at + id_size], "little")
        if number not in sizes:
            return places, at, number
        begin = at + id_size
        size = sizes[number]
        if size is None:
            size = 4 + int.from_bytes(stream[begin : begin + 4], "little")
        if begin + size > len(stream):
            break
        places[number].append(begin)
        at = begin + size
    return places, at, None


def made(seed: int, mixed: float, count: int, id_size: int = 1) -> bytes:
    """Frames with their values behind them, and now and then something else between; bytes that look like numbers."""
    chance = random.Random(seed)
    out = bytearray()
    for _ in range(count):
        body = bytes(chance.choices((0, 1, 2, 3, 7), k=22))
        value = bytes(chance.choices((0, 1, 2, 8), k=chance.choice((8, 8, 8, 3, 0))))
        out += (1).to_bytes(id_size, "little") + body
        out += (2).to_bytes(id_size, "little") + len(value).to_bytes(4, "little") + value
        if chance.random() < mixed:
            number = chance.choice((3, 5))
            out += number.to_bytes(id_size, "little") + chance.randbytes(SIZES[number] or 0)
    return bytes(out)


def check(stream: bytes, id_size: int = 1) -> None:
    padded = np.frombuffer(stream + bytes(64), np.uint8)
    walk = Walk(padded, len(stream), id_size, SIZES)
    places, end, unknown = singly(stream, SIZES, id_size)
    assert {number: walk.places(number).tolist() for number in SIZES} == places
    assert (walk.end, walk.unknown) == (end, unknown)


@pytest.fixture(autouse=True)
def _small_streams_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsorted, "_WORTH_IT", 1000)


@pytest.mark.parametrize("mixed", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_every_way_gives_the_same(seed: int, mixed: float) -> None:
    check(made(seed, mixed, 3000))


@pytest.mark.parametrize("seed", range(3))
def test_cut_anywhere(seed: int) -> None:
    stream = made(seed, 0.01 * seed, 1200)
    for cut in random.Random(seed).sample(range(len(stream)), 12):
        check(stream[:cut])


@pytest.mark.parametrize("seed", range(6))
def test_damaged_anywhere(seed: int) -> None:
    chance = random.Random(seed)
    stream = bytearray(made(seed, 0.02 * (seed % 2), 1500))
    for _ in range(3):
        stream[chance.randrange(len(stream))] = chance.randrange(256)
    check(bytes(stream))


def test_numbers_of_two_bytes() -> None:
    check(made(5, 0.1, 2000, id_size=2), id_size=2)


def test_a_value_longer_than_a_stretch() -> None:
    long = b"\x02" + (30_000).to_bytes(4, "little") + bytes(30_000)
    check(made(1, 0.1, 800) + long + made(2, 0.1, 800))
    check(made(1, 0, 800) + long + made(2, 0, 800))
