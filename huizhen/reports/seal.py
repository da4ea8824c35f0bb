"""The seal of a report: who made it, and that nobody changed it.

The JSON carries its signature as a field. A page and a PDF carry it in their last line (a comment in both formats),
over every byte before it; so nothing can be put in, taken out or put behind unseen.

Standard: RFC 8032 (Ed25519), FIPS 180-4 (SHA-256).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from consult.chain import canonical
from diag.bundle import fingerprint
from diag.facts import Text
from huizhen.files import json_text
from huizhen.reporterrors import ReportChanged
from huizhen.reports.content import SCHEMA

if TYPE_CHECKING:
    from diag.bundle import Signer
    from diag.facts import Json

__all__ = ["Seal", "check_report", "sealed_file", "signed_report"]

_TAG: Final = b"huizhen.seal/1"
_HTML: Final = (b"<!-- huizhen.seal/1 ", b" -->\n")
_PDF: Final = (b"% huizhen.seal/1 ", b"\n")
_SEAL: Final = re.compile(rb"(?:<!--|%) huizhen\.seal/1 ([A-Za-z0-9+/=]{44}) ([A-Za-z0-9+/=]{88})(?: -->)?\n\Z")
_NO_SEAL: Final = Text("it has no seal", "没有签名")
_CHANGED: Final = Text("it was changed after it was signed", "签名后内容被改动")


@dataclass(frozen=True, slots=True)
class Seal:
    """Whose seal is under a report.

    Args:
        public_key: 32 bytes.
        form: ``json``, ``html`` or ``pdf``.
        report: the JSON report itself; None of a page or PDF.
    """

    public_key: bytes
    form: str
    report: Json | None = None

    @property
    def fingerprint(self) -> str:
        """As people compare it."""
        return fingerprint(self.public_key)


def _tagged(tag: bytes, content: bytes) -> bytes:
    return struct.pack("<Q", len(tag)) + tag + content


def signed_report(report: Json, signer: Signer) -> Json:
    """The report with its signature, over everything else in it."""
    signature = signer.sign(_tagged(SCHEMA.encode(), canonical(report).encode()))
    return {
        **report,
        "signature": {
            "algorithm": "Ed25519",
            "public_key": base64.b64encode(signer.public_key).decode(),
            "signature": base64.b64encode(signature).decode(),
        },
    }


def sealed_file(content: bytes, signer: Signer) -> bytes:
    """A page or a PDF with the seal as its last line."""
    if not content.endswith(b"\n"):
        content += b"\n"
    signature = signer.sign(_tagged(_TAG, hashlib.sha256(content).digest()))
    return content + _line(signer.public_key, signature, "pdf" if content.startswith(b"%PDF-") else "html")


def _line(public_key: bytes, signature: bytes, form: str) -> bytes:
    start, end = _PDF if form == "pdf" else _HTML
    return start + base64.b64encode(public_key) + b" " + base64.b64encode(signature) + end


def check_report(content: bytes, path: str) -> Seal:
    """Whose a report is.

    Raises:
        ReportChanged: it is none, is not signed, or was changed.
    """
    if content.lstrip()[:1] == b"{":
        return _check_json(content, path)
    found = _SEAL.search(content, max(0, len(content) - 400))
    if found is None:
        raise ReportChanged(path, _NO_SEAL)
    before = content[: found.start()]
    try:
        public_key, signature = base64.b64decode(found[1], validate=True), base64.b64decode(found[2], validate=True)
    except ValueError as error:
        raise ReportChanged(path, _CHANGED) from error
    form = "pdf" if before.startswith(b"%PDF-") else "html"
    # Base64 has several spellings of the same bytes, and each format one comment: only what was written counts.
    if content[found.start() :] != _line(public_key, signature, form):
        raise ReportChanged(path, _CHANGED)
    _verify(public_key, signature, _tagged(_TAG, hashlib.sha256(before).digest()), path)
    return Seal(public_key, form)


def _check_json(content: bytes, path: str) -> Seal:
    try:
        told: Any = json.loads(content, object_pairs_hook=_once)
        if told["schema"] != SCHEMA or told["signature"]["algorithm"] != "Ed25519":
            raise ReportChanged(path, Text(f"its schema is not {SCHEMA}", f"schema 不是 {SCHEMA}"))
        public_key = base64.b64decode(told["signature"]["public_key"], validate=True)
        signature = base64.b64decode(told["signature"]["signature"], validate=True)
        if set(told["signature"]) != {"algorithm", "public_key", "signature"}:
            raise ReportChanged(path, _CHANGED)
        body = {name: value for name, value in told.items() if name != "signature"}
        signed = _tagged(SCHEMA.encode(), canonical(body).encode())
        said = {name: body[name] for name in ("kind", "audience", "source", "content")}
        digest = hashlib.sha256(canonical(said).encode()).hexdigest()
        # A file is written in one of these two ways; another spelling of the same values was made by somebody else.
        is_as_written = content in (json_text(told).encode(), (json.dumps(told, ensure_ascii=False) + "\n").encode())
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise ReportChanged(path, _NO_SEAL) from error
    _verify(public_key, signature, signed, path)
    if digest != body["sha256"] or not is_as_written:
        raise ReportChanged(path, _CHANGED)
    return Seal(public_key, "json", told)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names stand in it once: of two, readers would take different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("twice")
    return found


def _verify(public_key: bytes, signature: bytes, data: bytes, path: str) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError) as error:
        raise ReportChanged(path, _CHANGED) from error
