import asyncio
import struct
import time

import aiohttp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import MultiDict

import consult.history
from consult.errors import MessageBroken
from consult.history import HistoryQuery, HistoryReader, parse_history_query, read_history
from consult.journal import Journal
from consult.wire import encode_samples, parse_head

T0 = 1_700_000_000_000_000


def parsed(body):
    magic, signals, zero, points, none, from_us, step_us = struct.unpack_from("<4sHHIIQQ", body)
    assert (magic, zero, none) == (b"HZH1", 0, 0)
    both = np.frombuffer(body, "<f4", offset=32).reshape(2, signals, points)
    return from_us, step_us, both[0], both[1]


def block(seq, values, *, t_us, stream=1, epoch=7):
    values = np.array(values, np.float32)
    data = encode_samples(
        stream=stream, epoch=epoch, seq=seq, t_us=t_us, values=np.nan_to_num(values), valid=~np.isnan(values)
    )
    return parse_head(data), data


def schemas(epoch, *streams):
    return ("schemas", T0, {"epoch": epoch, "schemas": list(streams)})


def schema(stream, *names, kind="signals"):
    return {"stream": stream, "kind": kind, "signals": [{"name": name, "unit": "V"} for name in names]}


@pytest.fixture
def record(tmp_path):
    """Ten seconds at 50 Hz, then another epoch with the columns in another order, a hole of two seconds between."""
    path = tmp_path / "a.room"
    with Journal(path) as journal:
        journal.write(documents=[schemas(7, schema(1, "a", "b"), schema(2, "frames", kind="raw"))])
        first = [block(n, [np.sin(n / 50), np.nan if 100 <= n < 200 else n], t_us=T0 + n * 20_000) for n in range(500)]
        journal.append(first)
        journal.write(documents=[schemas(8, schema(1, "b", "c", "a"))])
        journal.append([block(n, [-n, 1, 100 + n], t_us=T0 + 12_000_000 + n * 20_000, epoch=8) for n in range(100)])
    return path


def test_minima_and_maxima_of_each_point_are_those_of_its_samples(record):
    query = HistoryQuery(1, ("b", "a"), T0, T0 + 14_000_000, 140)
    from_us, step_us, low, high = parsed(read_history(record, query))
    assert (from_us, step_us) == (T0, 100_000)
    assert (low[0, 0], high[0, 0]) == (0, 4)
    assert np.isnan(low[0, 20:40]).all(), "the signal had no value"
    assert not np.isnan(low[1, 20:40]).any()
    assert np.isnan(low[:, 100:120]).all(), "nothing was sent between the two epochs"
    assert (low[0, 120], high[0, 120]) == (-4, 0)
    assert (low[1, 139], high[1, 139]) == (195, 199)
    sines = np.sin(np.arange(500) / 50).astype(np.float32).reshape(100, 5)
    np.testing.assert_array_equal(low[1, :100], sines.min(axis=1))
    np.testing.assert_array_equal(high[1, :100], sines.max(axis=1))


def test_a_signal_that_no_epoch_has_and_raw_frames_are_refused(record):
    with pytest.raises(MessageBroken, match="no signal d"):
        read_history(record, HistoryQuery(1, ("a", "d"), T0, T0 + 1, 10))
    with pytest.raises(MessageBroken, match="raw frames"):
        read_history(record, HistoryQuery(2, ("frames",), T0, T0 + 1, 10))
    with pytest.raises(MessageBroken):
        read_history(record, HistoryQuery(3, ("a",), T0, T0 + 1, 10))


GOOD = [("stream", "1"), ("signal", "a"), ("from_us", "0"), ("to_us", "10"), ("points", "10")]


@pytest.mark.parametrize(
    "change",
    [
        ("stream", "65536"), ("stream", "-1"), ("stream", ""), ("from_us", "10"), ("from_us", "1e3"), ("to_us", "0"),
        ("to_us", "9" * 40), ("points", "9"), ("points", "2001"), ("points", "٣٣"), ("signal", "x" * 201),
    ],
)  # fmt: skip
def test_a_query_out_of_its_ranges_is_refused(change):
    assert parse_history_query(MultiDict(GOOD)).points == 10
    with pytest.raises(MessageBroken):
        parse_history_query(MultiDict([*(pair for pair in GOOD if pair[0] != change[0]), change]))
    with pytest.raises(MessageBroken):
        parse_history_query(MultiDict([pair for pair in GOOD if pair[0] != change[0]]))


def test_too_many_signals_are_refused():
    with pytest.raises(MessageBroken):
        parse_history_query(MultiDict([*GOOD, *[("signal", "a")] * 32]))


@settings(deadline=None)
@given(
    times=st.lists(st.integers(0, 10_000), min_size=1, max_size=60, unique=True),
    from_us=st.integers(0, 5_000), length=st.integers(1, 8_000), points=st.integers(10, 50),
)  # fmt: skip
def test_every_sample_in_the_window_is_in_one_point_and_no_other(tmp_path_factory, times, from_us, length, points):
    path = tmp_path_factory.mktemp("h") / "a.room"
    times.sort()
    with Journal(path) as journal:
        journal.write(
            documents=[schemas(7, schema(1, "a"))],
            blocks=[block(n, [t], t_us=t) for n, t in enumerate(times)],
        )
    query = HistoryQuery(1, ("a",), from_us, from_us + length, points)
    _, step_us, low, high = parsed(read_history(path, query))
    expected = {}
    for t in times:
        if from_us <= t < from_us + length:
            expected.setdefault((t - from_us) // step_us, []).append(t)
    assert {at: (low[0, at], high[0, at]) for at in np.flatnonzero(~np.isnan(low[0]))} == {
        at: (min(found), max(found)) for at, found in expected.items()
    }


async def test_a_member_of_the_room_looks_into_its_past(service, car, report, in_room, eventually):
    async with in_room(service, car, report) as agent:
        invite = await agent.invite("observer")
        await eventually(lambda: len(car.sent) >= 20)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            question = {
                "stream": "1", "signal": "PackCurrent", "points": "50",
                "from_us": str(car.sent[0].t_ns // 1000), "to_us": str(car.sent[-1].t_ns // 1000 + 1_000_000),
            }  # fmt: skip
            async with http.get(f"{service.url}/r/{agent.room}/history", params=question) as refused:
                assert refused.status == 401
            async with http.post(f"{service.url}/redeem", json={"invite": invite.code, "name": "x"}) as entered:
                assert entered.status == 200

            async def told():
                async with http.get(f"{service.url}/r/{agent.room}/history", params=question) as answer:
                    assert answer.status == 200
                    assert answer.content_type == "application/octet-stream"
                    return parsed(await answer.read())

            _, _, low, high = await told()
            while np.isnan(low).all():
                _, _, low, high = await told()
            current = np.array([one.values[97] for one in car.sent])
            assert np.nanmin(low) >= current.min() - 1e-3
            assert np.nanmax(high) <= np.array([one.values[97] for one in car.sent]).max() + 1e-3
            async with http.get(f"{service.url}/r/{agent.room}/history", params={**question, "points": "5"}) as wrong:
                assert wrong.status == 400


async def test_many_looks_into_the_past_keep_neither_the_journals_nor_other_people_waiting(monkeypatch):
    order = []

    def slow(path, query, keys):
        time.sleep(0.05)
        order.append(query)
        return b""

    monkeypatch.setattr(consult.history, "read_history", slow)
    reader = HistoryReader()
    greedy = [asyncio.create_task(reader.read(1, "a.room", "greedy")) for _ in range(20)]
    await asyncio.sleep(0)
    began_s = time.perf_counter()
    await asyncio.to_thread(lambda: None)
    assert time.perf_counter() - began_s < 0.5, "as long as a few reads at most, on a busy machine"
    await reader.read(2, "a.room", "patient")
    assert order.index("patient") <= 3
    for task in greedy:
        task.cancel()
    await asyncio.gather(*greedy, return_exceptions=True)
    reader.close()
    assert order.count("greedy") <= 4, "who has gone is not read for"
