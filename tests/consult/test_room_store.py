"""What every store of a room's record has to keep, asked of each there is. A new one is added to STORES."""

import threading

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consult.errors import JournalBroken
from consult.journal import Journal
from consult.wire import encode_samples, parse_head
from huizhen.signing import KeySigner

SIGNER = KeySigner(Ed25519PrivateKey.generate())
STORES = {
    "journal": lambda folder: Journal(folder / "a.room", room="a" * 12),
    "signed journal": lambda folder: Journal(folder / "a.room", room="a" * 12, signer=SIGNER),
}


@pytest.fixture(params=STORES)
def opened(request, tmp_path):
    """Opens the same record, as often as one likes."""
    stores = []

    def open_store():
        stores.append(STORES[request.param](tmp_path))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


def block(seq, *, epoch=1, stream=1, value=1.0):
    values, valid = np.full(3, value, np.float32), np.ones(3, np.bool_)
    data = encode_samples(stream=stream, epoch=epoch, seq=seq, t_us=1_000 * seq, values=values, valid=valid)
    return parse_head(data), data


def event(n, text="x"):
    return {"n": n, "t_us": n, "kind": "chat", "text": text}


def test_what_was_written_is_there_in_order_and_once(opened):
    store = opened()
    store.write(blocks=[block(2), block(0)], events=[event(2)], documents=[("report", 5, {"a": "电"})])
    store.write(blocks=[block(1), block(2, value=9.0)], events=[event(1), event(2, "again")])
    store.write(documents=[("report", 6, {"b": 1}), ("other", 7, {})])
    assert store.blocks(1, 1, 0, 9) == [(seq, block(seq)[1]) for seq in range(3)], "the first one stays"
    assert store.blocks(1, 1, 1, 1) == [(1, block(1)[1])]
    assert store.blocks(1, 2, 0, 9) == store.blocks(2, 1, 0, 9) == []
    assert store.events() == [event(1), event(2)]
    assert store.documents("report") == [(5, {"a": "电"}), (6, {"b": 1})]
    assert store.documents("none") == []


def test_a_store_that_is_opened_again_goes_on(opened):
    store = opened()
    schema = {"epoch": 3, "schemas": [{"stream": 1, "signals": []}]}
    store.write(documents=[("schemas", 1, schema), ("report", 1, {"x": 1})], events=[event(7)])
    store.write(blocks=[block(seq, epoch=3) for seq in range(10)])
    before = store.head
    store.close()
    store.close()
    again = opened()
    kept = again.resume()
    assert (kept.epoch, kept.next, kept.report, kept.closed_code) == (3, {1: 10}, {"x": 1}, None)
    assert kept.events == (event(7),)
    assert [head.seq for head, _ in kept.blocks] == list(range(10))
    assert again.head.n > before.n
    again.end("consult.room-closed")
    again.end("something else")
    again.close()
    assert opened().resume().closed_code == "consult.room-closed"


def test_the_head_moves_with_each_write_and_never_comes_back(opened):
    store, heads = opened(), set()
    for n in range(1, 20):
        store.write(events=[event(n)])
        heads.add(store.head)
    assert len(heads) == 19
    assert [head.n for head in sorted(heads)] == sorted({head.n for head in heads})


def test_a_write_is_kept_whole_or_not_at_all(opened):
    store = opened()
    store.write(events=[event(1)])
    before = store.head
    with pytest.raises(JournalBroken):
        store.write(blocks=[block(0)], events=[event(2), event(1 << 70)])
    assert store.head == before
    assert store.events() == [event(1)]
    assert store.blocks(1, 1, 0, 9) == []
    store.write(blocks=[block(0)], events=[event(2)])
    assert len(store.events()) == 2


def test_several_threads_may_write_and_read(opened):
    store, failed = opened(), []

    def work(first):
        try:
            for n in range(first, first + 50):
                store.write(events=[event(n)], blocks=[block(n)])
                store.events()
        except Exception as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    threads = [threading.Thread(target=work, args=(1 + 50 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [one["n"] for one in store.events()] == list(range(1, 201))
    assert len(store.blocks(1, 1, 0, 999)) == 200


def test_a_store_that_is_closed_says_so(opened):
    store = opened()
    store.close()
    with pytest.raises(JournalBroken):
        store.write(events=[event(1)])
