"""The certificate of a deletion: what was deleted, how, what remains, signed by the service. No I/O and no clock.

``huizhen.deletion/1`` is JSON. The signature is Ed25519 over ``"huizhen.deletion/1" ‖ canonical JSON without the field
signature``, the tag with its length before it as in the chain. It holds nothing of what was deleted: the head of the
record's chain names the record, the key's fingerprint the key.

Standard: RFC 8032 (Ed25519).
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Final

from consult.chain import canonical
from consult.sealederrors import CertificateUnreadable
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from diag.bundle import Signer

__all__ = ["SCHEMA", "is_signed", "load_certificate", "remains", "signed_certificate"]

SCHEMA: Final = "huizhen.deletion/1"
_MOST_BYTES: Final = 4_000_000
_NEEDED: Final = {
    "room": str,
    "deleted": str,
    "deleted_us": int,
    "reason": str,
    "by": str,
    "record": dict,
    "files": list,
    "method": dict,
    "remains": list,
    "public_key": str,
    "signature": str,
}


def _signed_bytes(certificate: dict[str, Any]) -> bytes:
    content = {name: value for name, value in certificate.items() if name != "signature"}
    tag = SCHEMA.encode()
    return struct.pack("<Q", len(tag)) + tag + canonical(content).encode()


def signed_certificate(facts: dict[str, Any], signer: Signer | None) -> dict[str, Any]:
    """The certificate of a deletion. Without a signer its signature is empty and proves nothing."""
    certificate = {"schema": SCHEMA, **facts, "public_key": "" if signer is None else signer.public_key.hex()}
    signature = "" if signer is None else signer.sign(_signed_bytes(certificate)).hex()
    return {**certificate, "signature": signature}


def is_signed(certificate: dict[str, Any], keys: Iterable[bytes] | None = None) -> bool:
    """Whether the certificate is as it was signed.

    Args:
        certificate: as :func:`load_certificate` gives it.
        keys: public keys that may have signed; None takes any.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = bytes.fromhex(certificate["public_key"])
        Ed25519PublicKey.from_public_bytes(key).verify(
            bytes.fromhex(certificate["signature"]), _signed_bytes(certificate)
        )
    except (InvalidSignature, ValueError):
        return False
    return keys is None or key in keys


def load_certificate(path: Path) -> dict[str, Any]:
    """A certificate's file.

    Raises:
        CertificateUnreadable: it cannot be read, or is none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        told = json.loads(data) if len(data) <= _MOST_BYTES else None
    except OSError as error:
        raise CertificateUnreadable(str(path), error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise CertificateUnreadable(str(path), Text("it is no JSON", "不是 JSON")) from error
    if not isinstance(told, dict) or told.get("schema") != SCHEMA:
        raise CertificateUnreadable(str(path), Text(f"its schema is not {SCHEMA}", f"其 schema 不是 {SCHEMA}"))
    for name, kind in _NEEDED.items():
        if not isinstance(told.get(name), kind):
            raise CertificateUnreadable(str(path), Text(f"{name} is missing", f"缺少 {name}"))
    return told


def _remaining(code: str, en: str, zh: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "text": {"en": en, "zh": zh}, **more}


def remains(
    *,
    audit_until: str | None,
    exports: list[dict[str, Any]],
    keeps_ciphertext: bool,
    was_encrypted: bool,
    kept: Collection[str] = (),
    visits_until: str = "",
) -> list[dict[str, Any]]:
    """What a deletion does not reach, said plainly: ``{"code", "text": {"en", "zh"}, …}``.

    Args:
        audit_until: ISO time until which the service's audit is kept; None where there is none.
        exports: when and by whom the room's key was handed out.
        keeps_ciphertext: the encrypted record stays.
        was_encrypted: the record had a key.
        kept: what the service's database keeps without the room's name, as :func:`consult.roomtraces.kept_of_room`.
        visits_until: ISO time until which the network remembers a visit, at most.
    """
    told = []
    if keeps_ciphertext:
        told.append(_remaining("ciphertext", "the encrypted record, without its key", "已加密的记录（密钥已销毁）"))
    if audit_until is not None:
        told.append(
            _remaining(
                "audit",
                "entries of the service's audit with the room's name and names of accounts, until the time said",
                "服务审计中含会诊室名称和账号名的条目，保留至所示时间",
                until=audit_until,
            )
        )
    if "consent" in kept:
        told.append(
            _remaining(
                "consent",
                "that somebody agreed to which wording and when, without who it was, until the time said",
                "何时同意哪一版本文字的记录（不含本人信息），保留至所示时间",
                until=audit_until,
            )
        )
    if "waiting" in kept:
        told.append(
            _remaining(
                "waiting",
                "how long a car waited for an expert, what it needed and which account took it, without the room's "
                "name, until the time said or the days of the queue's statistics",
                "等待专家的时长、所需技能和接诊账号（不含会诊室名称），保留至所示时间或排队统计期满",
                until=audit_until,
            )
        )
    if "network-visit" in kept:
        told.append(
            _remaining(
                "network-visit",
                "the visit in the network's memory: codes, findings and outcome under a keyed hash of the car, without "
                "the room's name, until the time said; `huizhen consult forget VIN` deletes it at once",
                "门店网络记忆中的到店记录：故障码、诊断结论和处理结果，仅以车辆的加密哈希标识，不含会诊室名称，"
                "保留至所示时间；可用 huizhen consult forget VIN 立即删除",
                until=visits_until,
            )
        )
    if "case-draft" in kept:
        told.append(
            _remaining(
                "case-draft",
                "a draft or case made of it, with its author's account, in the service's case library: no "
                "VIN, kept until somebody rejects or removes it; `huizhen consult forget VIN` cuts its tie to the car",
                "由其生成的案例或草稿（含作者账号），保存在服务端案例库：不含车架号，保留至被驳回或移除；"
                "可用 huizhen consult forget VIN 断开其与车辆的关联",
            )
        )
    if exports:
        told.append(
            _remaining(
                "exported-keys",
                "copies of the key that were handed out; who has one and the record can read it",
                "已导出的密钥副本；持有副本和记录的人仍可读取",
                exports=exports,
            )
        )
    told.append(
        _remaining(
            "copies",
            "copies made before: backups (restoring one deletes the room again), exports, drafts in a case library, "
            "what experts saw",
            "此前的副本：备份（恢复时会再次删除）、导出文件、案例库草稿、专家看到的内容",
        )
    )
    told.append(_remaining("counts", "counts over many rooms that name no car", "跨会诊室的汇总计数，不含具体车辆信息"))
    if was_encrypted:
        told.append(
            _remaining(
                "medium",
                "the key was overwritten where it stood; a drive of flash memory, a snapshot or a copying file system "
                "may keep the old bytes, which nobody reads without the master key; `huizhen consult keys rotate` "
                "with a master key kept elsewhere makes them useless for good",
                "密钥已原位覆写；闪存盘、快照或写时复制文件系统可能保留旧数据，但没有主密钥无法使用；"
                "主密钥另行保管时，执行 huizhen consult keys rotate 可使其永久失效",
            )
        )
    else:
        told.append(
            _remaining(
                "medium",
                "the record was not encrypted: its files were overwritten where they stood, but a drive of flash "
                "memory, a snapshot or a copying file system may keep them",
                "该记录未加密：文件已原位覆写，但闪存盘、快照或写时复制文件系统可能仍有残留",
            )
        )
    return told
