"""The container of a visit: whole, signed, and quick to say what was done to it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from diag.bundle import SCHEMA, fingerprint, is_bundle, pack, read_bundle
from diag.errors import BundleBroken

if TYPE_CHECKING:
    from pathlib import Path

MEMBERS = {"visit.json": b'{"a": 1}\n', "frames.log": b"(1.000000) can0 100#00\n" * 50, "notes.json": b"{}\n"}
FACTS = {"created": "2026-01-01T00:00:00Z", "made_by": "huizhen", "origin": None}


class Key:
    """A signer for tests, from the vector of RFC 8032 §7.1, TEST 1."""

    def __init__(self, seed: str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60") -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


def made(folder: Path, members: dict[str, bytes] | None = None) -> Path:
    path = folder / "visit.hzb"
    path.write_bytes(pack(MEMBERS if members is None else members, FACTS, Key()))
    return path


def rewritten(path: Path, change: dict[str, bytes | None]) -> Path:
    """The archive with members replaced, left out (None) or added."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content |= {name: data for name, data in change.items() if data is not None}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            if change.get(name, b"") is not None:
                archive.writestr(name, data)
    return path


def faults(path: Path) -> list[str]:
    bundle = read_bundle(path)
    assert not bundle.is_intact
    return [fault.en for fault in bundle.faults]


def test_what_was_packed_comes_out_and_the_same_gives_the_same_bytes(tmp_path: Path) -> None:
    path = made(tmp_path)
    bundle = read_bundle(path)
    assert bundle.is_intact
    assert dict(bundle.members) == MEMBERS
    assert bundle.manifest["schema"] == SCHEMA
    assert path.read_bytes() == pack(MEMBERS, FACTS, Key())
    assert is_bundle(path)


def test_the_public_key_and_the_signature_are_those_of_the_standard(tmp_path: Path) -> None:
    key = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    bundle = read_bundle(made(tmp_path))
    assert bundle.signature is not None
    assert bundle.signature.public_key == key
    assert bundle.signature.fingerprint == fingerprint(key)
    empty = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
    assert Key().sign(b"").hex().startswith(empty)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_agrees_with_the_signature(tmp_path: Path) -> None:
    with zipfile.ZipFile(made(tmp_path)) as archive:
        (tmp_path / "manifest.json").write_bytes(archive.read("manifest.json"))
        told = json.loads(archive.read("signature.json"))
    (tmp_path / "sig").write_bytes(base64.b64decode(told["signature"]))
    der = bytes.fromhex("302a300506032b6570032100") + base64.b64decode(told["public_key"])  # RFC 8410 §4
    (tmp_path / "key.der").write_bytes(der)
    words = "pkeyutl -verify -pubin -keyform DER -inkey key.der -rawin -in manifest.json -sigfile sig"
    run = subprocess.run(["openssl", *words.split()], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_each_change_is_named(tmp_path: Path) -> None:
    assert faults(rewritten(made(tmp_path), {"visit.json": b'{"a": 2}\n'})) == ["visit.json was changed"]
    assert faults(rewritten(made(tmp_path), {"frames.log": None})) == ["frames.log is missing"]
    assert faults(rewritten(made(tmp_path), {"more.txt": b"x"})) == ["more.txt was added"]
    assert faults(rewritten(made(tmp_path), {"signature.json": None})) == ["it is not signed"]
    assert faults(rewritten(made(tmp_path), {"signature.json": b"{}"})) == ["its signature cannot be read"]
    with zipfile.ZipFile(made(tmp_path)) as archive:
        manifest = archive.read("manifest.json")
    changed = manifest.replace(b"2026-01-01", b"2026-01-02")
    assert faults(rewritten(made(tmp_path), {"manifest.json": changed})) == [
        "its signature is not that of the manifest"
    ]


def test_a_signature_of_another_key_under_the_same_manifest_is_that_key_s(tmp_path: Path) -> None:
    path = made(tmp_path)
    with zipfile.ZipFile(path) as archive:
        manifest = archive.read("manifest.json")
    other = Key("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    told = {
        "algorithm": "Ed25519",
        "public_key": base64.b64encode(other.public_key).decode(),
        "signature": base64.b64encode(other.sign(manifest)).decode(),
    }
    bundle = read_bundle(rewritten(path, {"signature.json": json.dumps(told).encode()}))
    assert bundle.is_intact
    assert bundle.signature is not None
    assert bundle.signature.public_key == other.public_key


def test_no_flipped_byte_goes_unseen(tmp_path: Path) -> None:
    path = made(tmp_path)
    good = path.read_bytes()
    said = 0
    for at in range(0, len(good), 7):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        try:
            bundle = read_bundle(path)
        except BundleBroken:
            said += 1
            continue
        if not bundle.is_intact:
            said += 1
        else:  # a byte of the archive's own that says nothing of the content, such as a time of a file
            assert dict(bundle.members) == MEMBERS
    assert said > len(good) / 7 / 2


@pytest.mark.parametrize("length", [0, 1, 21, 22, 100, 700])
def test_a_cut_file_is_said_to_be_none(tmp_path: Path, length: int) -> None:
    path = made(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(BundleBroken):
        read_bundle(path)
    assert not is_bundle(path)


def test_other_versions_other_archives_and_no_file(tmp_path: Path) -> None:
    path = rewritten(made(tmp_path), {"manifest.json": b'{"schema": "huizhen.bundle/9", "members": {}}'})
    with pytest.raises(BundleBroken, match=r"huizhen\.bundle/9"):
        read_bundle(path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(BundleBroken, match="no session bundle"):
        read_bundle(tmp_path / "other.zip")
    with pytest.raises(BundleBroken, match="No such file"):
        read_bundle(tmp_path / "none.hzb")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.hzb"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", "{}")
        archive.writestr("signature.json", "{}")
        archive.writestr("frames.log", bytes(64 << 20))
    with pytest.raises(BundleBroken, match="absurdly"):
        read_bundle(path)
