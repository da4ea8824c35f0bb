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

from consult.errors import BlockBroken
from consult.wire import HEAD_SIZE, MAX_BLOCK_BYTES, MAX_SIGNALS, encode_beat, encode_samples, parse_head, parse_samples

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "consult" / "page"
VECTORS = json.loads((HERE / "blocks.json").read_text())


def samples(count):
    return st.tuples(
        hnp.arrays(np.float32, count, elements=st.floats(width=32, allow_nan=True, allow_infinity=True)),
        hnp.arrays(np.bool_, count),
    )


@given(
    st.integers(0, 200).flatmap(samples),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 1 << 53),
)
def test_what_is_encoded_is_parsed(columns, stream, epoch, seq, t_us):
    values, valid = columns
    data = encode_samples(stream=stream, epoch=epoch, seq=seq, t_us=t_us, values=values, valid=valid)
    frame = parse_samples(data)
    assert (frame.head.stream, frame.head.epoch, frame.head.seq, frame.head.t_us) == (stream, epoch, seq, t_us)
    expected = valid & np.isfinite(values)
    assert (frame.valid == expected).all()
    assert (frame.values[expected] == values[expected]).all()
    assert np.isnan(frame.values[~expected]).all()
    assert parse_head(data) == frame.head


@given(st.binary(max_size=300))
def test_any_bytes_are_a_block_or_a_declared_error(data):
    with contextlib.suppress(BlockBroken):
        parse_samples(data)


@given(st.data())
def test_a_damaged_block_is_never_another_error(data):
    whole = bytearray(
        encode_samples(
            stream=1, epoch=2, seq=3, t_us=4, values=np.arange(9, dtype=np.float32), valid=np.ones(9, dtype=np.bool_)
        )
    )
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    with contextlib.suppress(BlockBroken):
        parse_samples(bytes(whole[:cut]))


def test_two_hundred_signals_fit_into_850_bytes():
    values = np.zeros(200, dtype=np.float32)
    data = encode_samples(stream=0, epoch=1, seq=0, t_us=0, values=values, valid=values == 0)
    assert len(data) == HEAD_SIZE + 800 + 25 == 849


def test_the_widest_block_is_within_a_data_channel_message():
    values = np.zeros(MAX_SIGNALS, dtype=np.float32)
    data = encode_samples(stream=0, epoch=1, seq=0, t_us=0, values=values, valid=values == 0)
    assert MAX_BLOCK_BYTES - 8 < len(data) <= MAX_BLOCK_BYTES
    wider = np.zeros(MAX_SIGNALS + 1, dtype=np.float32)
    with pytest.raises(BlockBroken, match=f"{MAX_SIGNALS + 1} signals"):
        encode_samples(stream=0, epoch=1, seq=0, t_us=0, values=wider, valid=wider == 0)


def test_a_beat_is_sixteen_bytes_and_no_block():
    assert len(encode_beat(7)) == 16
    with pytest.raises(BlockBroken, match="16 bytes"):
        parse_head(encode_beat(7))


@pytest.mark.parametrize("vector", VECTORS["blocks"], ids=lambda vector: vector["name"])
def test_vector(vector):
    values = [0.0 if value is None else value for value in vector["values"]]
    data = encode_samples(
        stream=vector["stream"],
        epoch=vector["epoch"],
        seq=vector["seq"],
        t_us=vector["t_us"],
        values=np.array(values, dtype=np.float32),
        valid=np.array([value is not None for value in vector["values"]], dtype=np.bool_),
    )
    assert data.hex() == vector["hex"]
    frame = parse_samples(bytes.fromhex(vector["hex"]))
    assert [float(v) if ok else None for v, ok in zip(frame.values, frame.valid, strict=True)] == vector["values"]


@pytest.mark.parametrize("vector", VECTORS["broken"], ids=lambda vector: vector["name"])
def test_broken_vector(vector):
    with pytest.raises(BlockBroken, match=vector["why"]):
        parse_samples(bytes.fromhex(vector["hex"]))


@pytest.fixture(scope="module")
def page_modules(tmp_path_factory):
    """The page's own modules, as Node.js can run them."""
    tsc, node = PAGE / "node_modules" / ".bin" / "tsc", shutil.which("node")
    if node is None or not tsc.exists():
        pytest.skip("Node.js or the page's node_modules are absent (`npm ci` in consult/page)")
    folder = tmp_path_factory.mktemp("page")
    (folder / "package.json").write_text('{"type": "module"}')
    command = [tsc, "--ignoreConfig", "--outDir", folder, "--target", "es2022", "--module", "es2022"]
    subprocess.run(
        [*command, "--moduleResolution", "bundler", "--skipLibCheck", PAGE / "src/wire.ts", PAGE / "src/store.ts"],
        check=True,
        capture_output=True,
    )
    return folder


def test_the_page_parses_the_same_vectors_and_merges_by_number(page_modules):
    environment = {**os.environ, "PAGE_MODULES": str(page_modules), "VECTORS": str(HERE / "blocks.json")}
    done = subprocess.run(
        [shutil.which("node"), "--test", str(HERE / "page_modules.mjs")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout or "ℹ fail 0" in done.stdout
