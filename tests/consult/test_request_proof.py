"""Digests, proofs and signed bytes: the same in Python, in the page, and as an oracle written from the description."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consult.requestproof import (
    decision_proof,
    is_decision_proof,
    is_hold_proof,
    new_secret,
    request_digest,
    secret_from_text,
    signed_bytes,
    text_from_secret,
)

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "consult" / "page"
VECTORS = json.loads((HERE / "requests.json").read_text(encoding="utf-8"))


def listed(*texts):
    """Written a second time, from docs/room-page.md."""
    out = b""
    for text in texts:
        raw = text.encode()
        out += bytes([len(raw) >> 24 & 255, len(raw) >> 16 & 255, len(raw) >> 8 & 255, len(raw) & 255]) + raw
    return out


@pytest.mark.parametrize("vector", VECTORS["requests"], ids=lambda vector: vector["data"] + vector["id"])
def test_vectors(vector):
    room, ident, ecu, data, hold, risk = (vector[key] for key in ("room", "id", "ecu", "data", "hold", "risk"))
    digest = request_digest(room, ident, ecu, bytes.fromhex(data), hold=hold, risk=risk)
    words = listed("huizhen.request/1", room, ident, ecu, data, "1" if hold else "0", risk)
    assert digest == vector["digest"] == hashlib.sha256(words).hexdigest()
    secret = secret_from_text(vector["secret"])
    assert secret == base64.urlsafe_b64decode(vector["secret"] + "=")
    said = {"digest": digest, "ident": ident, "decision": vector["decision"], "unplugged": vector["unplugged"]}
    words = listed("huizhen.decision/1", digest, ident, said["decision"], "1" if said["unplugged"] else "0")
    assert decision_proof(secret, **said) == vector["proof"] == hmac.digest(secret, words, "sha256").hex()
    assert is_decision_proof(vector["proof"], secret, **said)
    words = listed("huizhen.hold/1", digest, ident, str(vector["count"]))
    assert vector["hold_proof"] == hmac.digest(secret, words, "sha256").hex()
    assert is_hold_proof(vector["hold_proof"], secret, digest=digest, ident=ident, count=vector["count"])
    assert not is_hold_proof(vector["hold_proof"], secret, digest=digest, ident=ident, count=vector["count"] + 1)


def test_every_field_counts_and_none_runs_into_the_next():
    digests = [vector["digest"] for vector in VECTORS["requests"]]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("vector", VECTORS["signed"], ids=lambda vector: vector["kind"])
def test_signed_bytes(vector):
    assert signed_bytes(vector["kind"], vector["body"]).hex() == vector["hex"]
    body = {**vector["body"], "sig": "another"}
    assert signed_bytes(vector["kind"], dict(reversed(body.items()))).hex() == vector["hex"]
    assert signed_bytes("other", vector["body"]).hex() != vector["hex"]


texts = st.text(max_size=20)


@given(st.lists(st.tuples(texts, texts, texts, st.binary(max_size=8), st.booleans(), texts), min_size=2, max_size=2))
def test_two_requests_have_one_digest_only_when_they_are_one(pair):
    first, second = (
        request_digest(room, ident, ecu, data, hold=hold, risk=risk) for room, ident, ecu, data, hold, risk in pair
    )
    assert (first == second) == (pair[0] == pair[1])


def test_a_secret_is_32_random_bytes_in_43_characters():
    secret = new_secret()
    text = text_from_secret(secret)
    assert (len(secret), len(text)) == (32, 43)
    assert "." not in text
    assert secret_from_text(text) == secret
    for broken in ("", "x", text[:-1], text + "A", text[:-1] + "é", "=" * 43):
        with pytest.raises(ValueError):
            secret_from_text(broken)


def test_the_page_computes_the_same(tmp_path):
    tsc, node = PAGE / "node_modules" / ".bin" / "tsc", shutil.which("node")
    if node is None or not tsc.exists():
        pytest.skip("Node.js or the page's node_modules are absent (`npm ci` in consult/page)")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    command = [tsc, "--ignoreConfig", "--outDir", tmp_path, "--target", "es2022", "--module", "es2022"]
    subprocess.run([*command, "--skipLibCheck", PAGE / "src/proof.ts"], check=True, capture_output=True)
    environment = {**os.environ, "PAGE_MODULES": str(tmp_path), "VECTORS": str(HERE / "requests.json")}
    done = subprocess.run(
        [node, "--test", str(HERE / "page_requests.mjs")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
