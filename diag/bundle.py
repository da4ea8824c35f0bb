"""The session bundle: one file that holds a visit, whole, signed, and open to anybody's tools.

A zip archive of plain members; ``manifest.json`` has the SHA-256 of each, ``signature.json`` signs the manifest with
Ed25519. A changed byte, a missing member and one too many are all found. ``docs/bundles.md`` describes the format.

Standard: RFC 8032 (Ed25519), FIPS 180-4 (SHA-256).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from diag.errors import BundleBroken
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.facts import Json

__all__ = ["SCHEMA", "Bundle", "Signature", "Signer", "fingerprint", "is_bundle", "pack", "read_bundle"]

SCHEMA: Final = "huizhen.bundle/1"
_MANIFEST: Final = "manifest.json"
_SIGNATURE: Final = "signature.json"
_MOST_MEMBERS: Final = 64
_MOST_BYTES: Final = 1 << 30
_MOST_RATIO: Final = 1000
"""Text of numbers shrinks to a twentieth; what shrinks to a thousandth is made to fill a disk."""
_ALWAYS_READ: Final = 16 << 20
_STAMP: Final = (1980, 1, 1, 0, 0, 0)
_NO_ZIP: Final = Text("it is no session bundle", "不是会话包")
_DAMAGED: Final = Text("the file is damaged", "文件已损坏")


class Signer(Protocol):
    """Who signs. The one key of this installation is the application's; see ``huizhen.signing``."""

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        ...

    def sign(self, data: bytes) -> bytes:
        """64 bytes. Standard: RFC 8032 §5.1.6."""
        ...


def fingerprint(public_key: bytes) -> str:
    """A key as people compare it: 16 hexadecimal digits of its SHA-256 in groups of four."""
    digits = hashlib.sha256(public_key).hexdigest()[:16].upper()
    return " ".join(digits[at : at + 4] for at in range(0, 16, 4))


@dataclass(frozen=True, slots=True)
class Signature:
    """Whose signature is under a bundle.

    Args:
        public_key: 32 bytes.
        is_good: the manifest is what that key signed.
    """

    public_key: bytes
    is_good: bool

    @property
    def fingerprint(self) -> str:
        """See :func:`fingerprint`."""
        return fingerprint(self.public_key)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as read.

    Args:
        path: as given.
        manifest: the content of ``manifest.json``.
        members: name -> content; all that the manifest names and that came out right.
        faults: what is wrong with it; empty for one that is as it was made.
        signature: None where none is there that could be checked.
        digest: SHA-256 of the manifest, hexadecimal: the name of this bundle in those that are made from it.
    """

    path: str
    manifest: Json
    members: Mapping[str, bytes]
    faults: tuple[Text, ...]
    signature: Signature | None
    digest: str
    _values: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_intact(self) -> bool:
        """Every member is as it was made, none is missing, none too many, and the signature is that of its key."""
        return not self.faults and self.signature is not None and self.signature.is_good

    def value(self, name: str) -> Any:
        """A JSON member; None where there is none.

        Raises:
            BundleBroken: it is no JSON.
        """
        if name not in self._values:
            content = self.members.get(name)
            self._values[name] = None if content is None else _json(content, self.path, name)
        return self._values[name]

    def lines(self, name: str) -> list[Any]:
        """The values of a member of JSON lines; empty where there is none.

        Raises:
            BundleBroken: a line is no JSON.
        """
        return [_json(line, self.path, name) for line in self.members.get(name, b"").splitlines() if line.strip()]


def is_bundle(path: str | Path) -> bool:
    """Whether a file is a session bundle by its look; nothing is checked. A pipe is none, and nothing is read of it."""
    try:
        if not Path(path).is_file():
            return False
        with zipfile.ZipFile(path) as archive:
            return _MANIFEST in archive.namelist() and _SIGNATURE in archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError):
        return False


def pack(members: Mapping[str, bytes], facts: Json, signer: Signer) -> bytes:
    """A bundle as bytes; the same members, facts and key give the same bytes.

    Args:
        members: name -> content; ``databases/…`` may be in a folder.
        facts: of the manifest: ``created``, ``made_by``, ``origin``.
        signer: signs the manifest.
    """
    listed = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        for name, content in sorted(members.items())
    }
    manifest = _text({"schema": SCHEMA, **facts, "members": listed})
    signature = _text(
        {
            "algorithm": "Ed25519",
            "public_key": base64.b64encode(signer.public_key).decode(),
            "signature": base64.b64encode(signer.sign(manifest)).decode(),
        }
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in ((_MANIFEST, manifest), (_SIGNATURE, signature), *sorted(members.items())):
            info = zipfile.ZipInfo(name, _STAMP)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, 6)
    return out.getvalue()


def _text(value: Json) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def _json(content: bytes, path: str, name: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = Text(f"{name} is no JSON", f"{name} 不是 JSON")
        raise BundleBroken(path, reason) from error


def read_bundle(path: str | Path) -> Bundle:
    """Reads a bundle and checks it; what is wrong with its content stands in :attr:`Bundle.faults`.

    Raises:
        BundleBroken: it cannot be read, is none, or is of a version that this program does not know.
    """
    place = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            contents, faults = _contents(archive, place)
    except OSError as error:
        why = error.strerror or str(error)
        raise BundleBroken(place, Text(why, why)) from error
    except (zipfile.BadZipFile, ValueError) as error:
        raise BundleBroken(place, _NO_ZIP) from error
    raw = contents.pop(_MANIFEST, None)
    if raw is None:
        raise BundleBroken(place, _NO_ZIP)
    manifest = _json(raw, place, _MANIFEST)
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        reason = Text(f"its version is {schema!r}, this program reads {SCHEMA}", f"版本为 {schema!r}，可读 {SCHEMA}")
        raise BundleBroken(place, reason if str(schema).startswith("huizhen.bundle/") else _NO_ZIP)
    signature, wrong_with_it = _signature(contents.pop(_SIGNATURE, None), raw)
    listed = manifest.get("members")
    good, wrong = _checked(contents, listed if isinstance(listed, dict) else {})
    faults = (*faults, *wrong, *((wrong_with_it,) if wrong_with_it is not None else ()))
    return Bundle(place, manifest, good, faults, signature, hashlib.sha256(raw).hexdigest())


def _contents(archive: zipfile.ZipFile, path: str) -> tuple[dict[str, bytes], tuple[Text, ...]]:
    infos = archive.infolist()
    if len(infos) > _MOST_MEMBERS or sum(info.file_size for info in infos) > _MOST_BYTES:
        raise BundleBroken(path, Text("it is larger than any visit", "文件过大，超出一次检测的范围"))
    faults: list[Text] = []
    found: dict[str, bytes] = {}
    for info in infos:
        if info.file_size > max(_ALWAYS_READ, _MOST_RATIO * info.compress_size):
            raise BundleBroken(path, Text(f"{info.filename} is packed absurdly", f"{info.filename} 压缩异常"))
        if info.filename in found:
            faults.append(Text(f"{info.filename} is there twice", f"{info.filename} 出现两次"))
            continue
        try:
            found[info.filename] = archive.read(info)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, zlib.error) as error:
            if info.filename == _MANIFEST:
                raise BundleBroken(path, _DAMAGED) from error
            faults.append(Text(f"{info.filename} cannot be unpacked", f"{info.filename} 无法解压"))
    return found, tuple(faults)


def _checked(contents: Mapping[str, bytes], listed: Mapping[str, Any]) -> tuple[dict[str, bytes], list[Text]]:
    good: dict[str, bytes] = {}
    faults: list[Text] = []
    for name, told in listed.items():
        content = contents.get(name)
        if content is None:
            faults.append(Text(f"{name} is missing", f"缺少 {name}"))
        elif not isinstance(told, dict) or hashlib.sha256(content).hexdigest() != told.get("sha256"):
            faults.append(Text(f"{name} was changed", f"{name} 已被修改"))
        else:
            good[name] = content
    faults += [Text(f"{name} was added", f"{name} 为后加内容") for name in contents if name not in listed]
    return good, faults


def _signature(content: bytes | None, manifest: bytes) -> tuple[Signature | None, Text | None]:
    """The signature, and what is wrong with it."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    unreadable = Text("its signature cannot be read", "签名无法识别")
    if content is None:
        return None, Text("it is not signed", "没有签名")
    try:
        told = json.loads(content)
        public_key = base64.b64decode(told["public_key"], validate=True)
        signature = base64.b64decode(told["signature"], validate=True)
        key = Ed25519PublicKey.from_public_bytes(public_key)
        is_known_kind = told["algorithm"] == "Ed25519"
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        return None, unreadable
    if not is_known_kind:
        return None, unreadable
    try:
        key.verify(signature, manifest)
    except InvalidSignature:
        return Signature(public_key, is_good=False), Text("its signature is not that of the manifest", "签名与清单不符")
    return Signature(public_key, is_good=True), None
