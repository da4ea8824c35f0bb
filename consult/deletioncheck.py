"""Whether a deletion certificate is true: its signature, the record that it names, and that nothing here opens it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consult.deletion import traces_of
from consult.deletioncertificate import is_signed
from consult.recordcheck import check_record
from consult.recording import Recording
from consult.roomkeys import GivenKeys
from consult.sealederrors import KeysBroken
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from consult.roomkeys import KeySource

__all__ = ["DeletionCheck", "Finding", "check_deletion"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: ``signature``, ``key``, ``record``, ``chain``, ``content`` or ``files``."""

    code: str
    is_good: bool
    text: Text

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"code": self.code, "good": self.is_good, "text": self.text.to_json()}


@dataclass(frozen=True, slots=True)
class DeletionCheck:
    """What was found, in the order in which it was looked at."""

    findings: tuple[Finding, ...]

    @property
    def is_good(self) -> bool:
        """Whether everything is as the certificate says."""
        return all(finding.is_good for finding in self.findings)


def check_deletion(
    certificate: dict[str, Any],
    *,
    keys: KeySource,
    trusted: Iterable[bytes] | None = None,
    record: str | Path | None = None,
    data: Path | None = None,
) -> DeletionCheck:
    """Looks at everything that can be looked at here.

    Args:
        certificate: as :func:`consult.deletioncertificate.load_certificate` gives it.
        keys: wherever the room's key could still be.
        trusted: public keys that may have signed; None takes any.
        record: a copy of the room's record, or the ciphertext that was kept.
        data: a data folder that should have no trace of the room.

    Raises:
        RecordingBroken: ``record`` cannot be read.
    """
    key = certificate.get("key")
    named = str(key.get("fingerprint")) if isinstance(key, dict) else ""
    found = [_signature(certificate, trusted)]
    if named:
        found.append(_key(named, keys))
    if record is not None:
        found += _record(certificate, named, record, keys)
    if data is not None:
        found += _files(certificate, data)
    return DeletionCheck(tuple(found))


def _signature(certificate: dict[str, Any], trusted: Iterable[bytes] | None) -> Finding:
    if is_signed(certificate, None if trusted is None else list(trusted)):
        return Finding("signature", True, Text("the signature is good", "签名有效"))
    return Finding("signature", False, Text("the signature is not good", "签名无效"))


def _key(named: str, keys: KeySource) -> Finding:
    try:
        is_here = keys.find(named) is not None
    except KeysBroken:
        is_here = True
    if is_here:
        return Finding("key", False, Text(f"the key {named} is still here", f"密钥 {named} 仍然存在"))
    return Finding("key", True, Text(f"the key {named} is in no key store here", f"此处没有密钥 {named}"))


def _record(certificate: dict[str, Any], named: str, record: str | Path, keys: KeySource) -> list[Finding]:
    """Whether it is the record that the certificate names, whole, and sealed for good."""
    with Recording(record, GivenKeys(())) as recording:
        n, sealed = recording.head
        head = {"n": n, "hash": sealed.hex()}
        fingerprint = recording.sealed.key if recording.sealed else ""
        room = recording.room
    is_same = certificate["record"].get("head") == head and certificate["room"] == room
    found = [
        Finding("record", True, Text(f"the record's head is the one named, {n}", f"记录的链头与证明一致（第 {n} 项）"))
        if is_same
        else Finding("record", False, Text("it is another record, or goes on behind the head", "不是证明所述的记录"))
    ]
    check = check_record(record, keys=keys)
    found.append(
        Finding("chain", True, Text("its chain holds", "哈希链完整"))
        if not check.faults
        else Finding("chain", False, Text("it was changed", "记录已被改动"))
    )
    can_read = check.is_readable or not fingerprint or fingerprint != named
    found.append(
        Finding("content", False, Text("its content can be read", "内容仍可读取"))
        if can_read
        else Finding("content", True, Text("nothing here opens its content", "此处无法解密其内容"))
    )
    return found


def _files(certificate: dict[str, Any], data: Path) -> list[Finding]:
    keeps = certificate["method"].get("payload") == "ciphertext-kept"
    left = [
        path
        for path in traces_of(data, str(certificate["room"]))
        if not (keeps and (path.suffix == ".files" or ".room" in path.suffix))
    ]
    if left:
        names = ", ".join(path.name for path in left)
        return [Finding("files", False, Text(f"files of the room are here: {names}", f"仍有该会诊室的文件：{names}"))]
    return [Finding("files", True, Text("no file of the room is here", "没有该会诊室的文件"))]
