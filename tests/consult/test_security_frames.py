"""Bytes that lie: only the declared error comes out of the parsers, in Python and in the page, and the room stands."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import tracemalloc
import zlib
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roomwalls import EPOCH, STREAM, Walls

from consult.batches import encode_batch, parse_batch
from consult.errors import BlockBroken
from consult.rawframes import encode_raw, parse_raw, parse_raw_head
from consult.service import ServiceConfig
from consult.wire import (
    HEAD_SIZE,
    encode_beat,
    encode_envelope,
    encode_samples,
    envelope_of,
    kind_of,
    parse_envelope,
    parse_head,
    parse_samples,
)
from diag.frames import Frame

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "consult" / "page"
PARSERS = (parse_head, parse_samples, parse_raw_head, parse_raw, parse_envelope, parse_batch)


def samples(seq, count=3):
    values = np.array([1.5, -2.0, 0.25][:count], dtype=np.float32)
    valid = np.array([True, False, True][:count])
    return encode_samples(stream=STREAM, epoch=EPOCH, seq=seq, t_us=1_000_000 + seq, values=values, valid=valid)


def whole_messages():
    """One good message of every kind."""
    frames = (
        Frame(0x7E8, bytes.fromhex("0462F19001"), 1_000_000_000),
        Frame(0x18DAF110, b"", 1_000_900_000, extended=True),
    )
    return (
        samples(1),
        encode_beat(5),
        encode_raw(frames, stream=STREAM, epoch=EPOCH, seq=1),
        encode_envelope(envelope_of([parse_samples(samples(n)) for n in range(3)])),
        encode_batch([samples(n) for n in range(4)]),
    )


WHOLE = whole_messages()


@st.composite
def damaged(draw):
    """A good message with bits turned, bytes cut out, doubled or put in: what random bytes hardly ever reach."""
    data = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 4)):
            case 0 if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 1:
                del data[at:]
            case 2:
                data[at:at] = draw(st.binary(max_size=8))
            case 3 if data:
                data[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
            case _:
                data += data[at:]
    return bytes(data)


@settings(max_examples=600, deadline=None)
@given(damaged() | st.binary(max_size=200))
def test_any_bytes_are_a_block_or_the_declared_error(data):
    kind_of(data)
    for parse in PARSERS:
        with contextlib.suppress(BlockBroken):
            parse(data)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**53 - 1),
    st.lists(st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=40),
)  # fmt: skip
def test_what_was_written_is_read(stream, epoch, seq, t_us, wanted):
    values = np.array([0 if one is None else one for one in wanted], dtype=np.float32)
    valid = np.array([one is not None for one in wanted], dtype=np.bool_)
    frame = parse_samples(encode_samples(stream=stream, epoch=epoch, seq=seq, t_us=t_us, values=values, valid=valid))
    assert (frame.head.stream, frame.head.epoch, frame.head.seq, frame.head.t_us) == (stream, epoch, seq, t_us)
    assert (frame.valid == valid).all()
    assert (frame.values[valid] == values[valid]).all()
    assert np.isnan(frame.values[~valid]).all()


def test_a_batch_that_unpacks_to_more_than_it_may_is_refused():
    """A bomb: a megabyte of zeros in a kilobyte, with a head that promises little."""
    head = encode_batch([samples(0)])[: HEAD_SIZE + 8]
    for size in (1 << 20, 1 << 26):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = head + packer.compress(bytes(size)) + packer.flush()
        assert len(bomb) < size / 500
        tracemalloc.start()
        with pytest.raises(BlockBroken, match="another size"):
            parse_batch(bomb)
        assert tracemalloc.get_traced_memory()[1] < 500_000
        tracemalloc.stop()


# -- the page ----------------------------------------------------------------------------------------------------------

SCRIPT = """
import { readFileSync } from "node:fs";
import * as wire from "./wire.js";
const messages = JSON.parse(readFileSync(process.argv[2], "utf8"));
let taken = 0, refused = 0;
for (const hex of messages) {
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  {
    try {
      let found = wire.parseBlock(bytes.buffer);
      if (found?.kind === "batch") found = await wire.unpack(found);
      if (found === undefined || found === null) throw new TypeError("nothing came out");
      taken++;
    } catch (error) {
      if (!(error instanceof wire.BlockBroken)) {
        console.log(JSON.stringify({ hex, error: String(error) }));
        process.exit(1);
      }
      refused++;
    }
  }
}
console.log(JSON.stringify({ taken, refused }));
"""


def mutated(count, seed=20260101):
    """Thousands of damaged messages, the same ones in every run."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        data = bytearray(chance.choice(WHOLE))
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(len(data)) if data else 0
            match chance.randrange(5):
                case 0 if data:
                    data[at] ^= 1 << chance.randrange(8)
                case 1 if data:
                    data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
                case 2:
                    del data[at:]
                case 3:
                    data[at:at] = chance.randbytes(chance.randrange(12))
                case _:
                    data += data[at:]
        made.append(bytes(data).hex())
    return made


def test_the_page_takes_thousands_of_damaged_frames_without_another_error(tmp_path):
    tsc, node = PAGE / "node_modules" / ".bin" / "tsc", shutil.which("node")
    if node is None or not tsc.exists():
        pytest.skip("Node.js or the page's node_modules are absent (`npm ci` in consult/page)")
    options = ["--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler", "--skipLibCheck"]
    built = subprocess.run(
        [tsc, "--ignoreConfig", "--outDir", tmp_path, *options, PAGE / "src" / "wire.ts"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "fuzz.mjs").write_text(SCRIPT)
    messages = [*(message.hex() for message in WHOLE), *mutated(6000)]
    (tmp_path / "messages.json").write_text(json.dumps(messages))
    done = subprocess.run(
        [node, str(tmp_path / "fuzz.mjs"), str(tmp_path / "messages.json")],
        capture_output=True, text=True, check=False, env={**os.environ, "NODE_NO_WARNINGS": "1"}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["taken"] >= len(WHOLE), "good ones are taken"
    assert found["refused"] > 2000, "and most damaged ones are not"


# -- the service -------------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path):
    return ServiceConfig(data=tmp_path / "rooms")


@pytest.mark.parametrize("who", ["agent", "page"])
async def test_a_damaged_frame_ends_its_connection_and_nothing_else(service, who):
    async with Walls(service) as walls:
        before = service.room(walls.other).events_after(0)
        chance = random.Random(7)
        closes = []
        frames = [bytes.fromhex(text) for text in chance.sample(mutated(400), 25)]
        for data in (*frames, b"", b"\xff" * 20_000, "{", '{"type":"x"}', "[]", '{"type":["a"]}', "[" * 50_000):
            end, headers = ("agent", walls.headers("technician")) if who == "agent" else ("watch", {})
            client = await walls.client() if who == "agent" else walls.clients["expert"]
            async with client.ws_connect(f"{service.url}/r/{walls.mine}/{end}", headers=headers) as channel:
                if who == "agent":
                    schema = {"stream": STREAM, "signals": [{"name": n, "unit": ""} for n in "abc"]}
                    hello = {"type": "hello", "protocol": 1, "epoch": EPOCH + 1, "report": {}, "schemas": [schema]}
                    await channel.send_json({**hello, "events_after": 0})
                await (channel.send_str(data) if isinstance(data, str) else channel.send_bytes(data))
                # Something sound behind it: a connection that still stands answers or closes on this one.
                await channel.send_str('{"type":"no such word"}')
                while not channel.closed:
                    await channel.receive()
                closes.append(channel.close_code)
        assert set(closes) <= {aiohttp.WSCloseCode.POLICY_VIOLATION, aiohttp.WSCloseCode.MESSAGE_TOO_BIG}
        assert service.room(walls.mine).closed_code is None
        assert service.room(walls.other).events_after(0) == before
        assert not walls.other_expert.closed


async def test_a_message_that_is_too_long_is_not_even_read(service):
    async with Walls(service) as walls:
        for text in ("x" * 70_000, '{"type":"chat","id":"a","text":"' + "x" * 200_000 + '"}'):
            async with walls.clients["expert"].ws_connect(f"{service.url}/r/{walls.mine}/watch") as channel:
                await channel.send_str(text)
                while not channel.closed:
                    await channel.receive()
                assert channel.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
