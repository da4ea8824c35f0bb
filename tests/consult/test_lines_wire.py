"""Raw frames, envelopes and batches as bytes: what goes in comes out, and anything else is a declared error."""

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from consult.batches import MAX_BATCH_BLOCKS, encode_batch, parse_batch
from consult.errors import BlockBroken
from consult.rawframes import encode_raw, parse_raw, parse_raw_head, split_frames
from consult.wire import (
    MAX_BLOCK_BYTES,
    encode_envelope,
    encode_samples,
    envelope_of,
    parse_envelope,
    parse_head,
    parse_samples,
)
from diag.frames import Frame

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "consult" / "page"
VECTORS = json.loads((HERE / "blocks.json").read_text())

FRAMES = st.lists(
    st.builds(
        Frame,
        st.integers(0, (1 << 29) - 1),
        st.binary(max_size=64),
        t_ns=st.integers(0, 10**6).map(lambda us: (1_760_000_000_000_000 + us) * 1000),
        extended=st.booleans(),
        fd=st.booleans(),
        remote=st.booleans(),
        error=st.booleans(),
        tx=st.booleans(),
    ),
    max_size=40,
)


@given(FRAMES)
def test_frames_come_out_as_they_went_in(frames):
    found = []
    for seq, run in enumerate(split_frames(frames)):
        data = encode_raw(run, stream=2, epoch=3, seq=seq)
        assert len(data) <= MAX_BLOCK_BYTES
        head, parsed = parse_raw(data)
        assert (head.stream, head.epoch, head.seq, head.count) == (2, 3, seq, len(run))
        found += parsed
    assert found == frames


def test_many_frames_make_several_blocks():
    frames = [Frame(n, bytes(64), t_ns=n * 1000, fd=True) for n in range(1000)]
    runs = list(split_frames(frames))
    assert len(runs) == 5
    assert [frame for run in runs for frame in run] == frames
    with pytest.raises(BlockBroken, match="bytes"):
        encode_raw(frames, stream=0, epoch=0, seq=0)


@st.composite
def series(draw):
    """Consecutive blocks of one stream: values that may be absent, odd or still, times that may step back."""
    count, n = draw(st.integers(0, 20)), draw(st.integers(1, 20))
    values = draw(hnp.arrays(np.float32, (n, count), elements=st.floats(width=32, allow_nan=True)))
    valid = draw(hnp.arrays(np.bool_, (n, count)))
    times = draw(st.lists(st.integers(0, 1 << 50), min_size=n, max_size=n))
    first = draw(st.integers(0, 1000))
    return [
        encode_samples(stream=4, epoch=9, seq=first + at, t_us=times[at], values=values[at], valid=valid[at])
        for at in range(n)
    ]


@given(series())
def test_a_batch_is_its_blocks_bit_for_bit(blocks):
    found = parse_batch(encode_batch(blocks))
    assert [data for _, data in found] == blocks
    assert [head for head, _ in found] == [parse_head(block) for block in blocks]


@given(series())
def test_an_envelope_holds_every_value_that_it_stands_for(blocks):
    frames = [parse_samples(block) for block in blocks]
    envelope = parse_envelope(encode_envelope(envelope_of(frames)))
    assert (envelope.first, envelope.head.seq) == (frames[0].head.seq, frames[-1].head.seq)
    values = np.stack([frame.values for frame in frames])
    seen = ~np.isnan(values)
    assert (np.isnan(envelope.low) == ~seen.any(axis=0)).all()
    for column in np.flatnonzero(seen.any(axis=0)):
        here = values[seen[:, column], column]
        assert (envelope.low[column], envelope.high[column]) == (here.min(), here.max())


@pytest.mark.parametrize("parse", [parse_raw, parse_batch, parse_envelope, parse_raw_head])
@given(data=st.data())
def test_damaged_bytes_are_never_another_error(parse, data):
    kinds = {parse_raw: "raw", parse_raw_head: "raw", parse_batch: "batches", parse_envelope: "envelopes"}
    whole = bytearray.fromhex(data.draw(st.sampled_from(VECTORS[kinds[parse]]))["hex"])
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BlockBroken):
        parse(bytes(whole[: data.draw(st.integers(0, len(whole)))]))


@pytest.mark.parametrize("parse", [parse_raw, parse_batch, parse_envelope])
@given(data=st.binary(max_size=300))
def test_any_bytes_are_one_or_a_declared_error(parse, data):
    with contextlib.suppress(BlockBroken):
        parse(data)


def block(seq, stream=1, count=2):
    values = np.zeros(count, dtype=np.float32)
    return encode_samples(stream=stream, epoch=1, seq=seq, t_us=seq, values=values, valid=values == 0)


@pytest.mark.parametrize(
    "blocks",
    [[], [block(0), block(2)], [block(0), block(1, stream=2)], [block(0), block(1, count=3)], [block(1), block(0)]],
)
def test_blocks_that_do_not_belong_together_make_no_batch(blocks):
    with pytest.raises(BlockBroken, match="belong together"):
        encode_batch(blocks)


def test_a_batch_cannot_inflate_to_more_than_it_says():
    """A kilobyte that would become gigabytes is refused before it does."""
    bomb = bytearray(encode_batch([block(seq, count=3000) for seq in range(8)]))
    assert len(bomb) < 2000
    bomb[24:28] = (0).to_bytes(4, "little")
    bomb[4:8] = (MAX_BATCH_BLOCKS).to_bytes(4, "little")
    with pytest.raises(BlockBroken, match="blocks in"):
        parse_batch(bytes(bomb))


def test_signals_that_move_little_become_a_third():
    """Two hundred signals as a bus tells them: steps of 0.1, most of them still."""
    rng = np.random.default_rng(1)
    values = np.round(rng.uniform(0, 400, 200), 1)
    blocks = []
    for seq in range(100):
        moving = rng.random(200) < 0.2
        values = np.where(moving, np.round(values + rng.choice([-0.1, 0.1], 200), 1), values)
        row = values.astype(np.float32)
        blocks.append(encode_samples(stream=0, epoch=1, seq=seq, t_us=seq * 20_000, values=row, valid=row == row))
    assert 3 * len(encode_batch(blocks)) < sum(map(len, blocks))


def test_vectors_of_raw_frames():
    for vector in VECTORS["raw"]:
        head, frames = parse_raw(bytes.fromhex(vector["hex"]))
        assert (head.seq, head.t_us, len(frames)) == (vector["seq"], vector["t_us"], len(vector["frames"]))
        told = [(f.t_ns // 1000, f.can_id, f.extended, f.fd, f.remote, f.error, f.tx, f.data.hex()) for f in frames]
        assert told == [tuple(frame.values()) for frame in vector["frames"]]


def test_vectors_of_envelopes_and_batches():
    for vector in VECTORS["envelopes"]:
        envelope = parse_envelope(bytes.fromhex(vector["hex"]))
        assert (envelope.first, envelope.head.seq, envelope.head.t_us) == (
            vector["first"],
            vector["seq"],
            vector["t_us"],
        )
        for column, key in ((envelope.low, "low"), (envelope.high, "high")):
            assert [None if np.isnan(value) else float(value) for value in column] == vector[key]
    for vector in VECTORS["batches"]:
        assert [data.hex() for _, data in parse_batch(bytes.fromhex(vector["hex"]))] == vector["blocks"]


@pytest.mark.parametrize("vector", VECTORS["broken_kinds"], ids=lambda vector: vector["name"])
def test_broken_vector(vector):
    parse = {"raw": parse_raw, "envelope": parse_envelope, "batch": parse_batch}[vector["name"].partition("-")[0]]
    with pytest.raises(BlockBroken, match=vector["why"]):
        parse(bytes.fromhex(vector["hex"]))


def test_the_page_parses_the_same_vectors_and_shows_what_is_still_to_come(tmp_path):
    tsc, node = PAGE / "node_modules" / ".bin" / "tsc", shutil.which("node")
    if node is None or not tsc.exists():
        pytest.skip("Node.js or the page's node_modules are absent (`npm ci` in consult/page)")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    command = [tsc, "--ignoreConfig", "--outDir", tmp_path, "--target", "es2022", "--module", "es2022"]
    sources = [PAGE / "src/wire.ts", PAGE / "src/store.ts"]
    subprocess.run([*command, "--moduleResolution", "bundler", "--skipLibCheck", *sources], check=True)
    environment = {**os.environ, "PAGE_MODULES": str(tmp_path), "VECTORS": str(HERE / "blocks.json")}
    done = subprocess.run(
        [node, "--test", str(HERE / "page_lines.mjs")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout or "ℹ fail 0" in done.stdout
