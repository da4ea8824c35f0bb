"""A document of counts as it comes from elsewhere: every part of it is checked before anything of it is used.

Pure: bytes in, a :class:`casebase.sharing.CountsDocument` or one sentence of what is wrong out.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from casebase.catalogue import Scope
from casebase.errors import ImportUnreadable
from casebase.folding import fold
from casebase.record import Pattern
from casebase.sharing import (
    LEAST_CARS,
    LONGEST,
    MOST_PATTERNS,
    MOST_TERMS,
    SCHEMA,
    CountsDocument,
    SharedPattern,
    canonical,
    is_term,
)
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LARGEST", "parse_counts", "parse_site"]

LARGEST: Final = 64 << 20
"""Bytes of a document, unpacked."""
_MOST_CARS: Final = 10_000_000
_MOST_EPSILON: Final = 100.0
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_DOCUMENT: Final = frozenset({"schema", "site", "made", "epsilon", "k", "patterns", "signature"})
_PATTERN: Final = frozenset(
    {"component", "failure_mode", "action", "scope", "title", "fix", "cases", "worked", "failed", "terms"}
)
_SCOPE: Final = frozenset({"make", "model", "year_from", "year_to"})
_LONGEST_MAKE: Final = 100


class _Wrong(Exception):
    """What is wrong, and where."""

    def __init__(self, where: Text, why: Text) -> None:
        super().__init__()
        self.reason = Text(f"{where.en}: {why.en}", f"{where.zh}：{why.zh}")


def parse_site(text: str) -> bytes | None:
    """A site's public key as people pass it on; None when it is none."""
    return _decoded(text.strip(), _KEY_BYTES)


def parse_counts(data: bytes, name: str, *, least: int = LEAST_CARS) -> CountsDocument:
    """The document of a file's bytes, its signature verified.

    Args:
        data: at most :data:`LARGEST` bytes and one.
        name: of the file, for what is said.
        least: cars that must stand behind anything in it.

    Raises:
        ImportUnreadable: it is too large, no such document, signed wrongly, or a part of it is not what it must be.
    """
    if len(data) > LARGEST:
        megabytes = LARGEST >> 20
        raise ImportUnreadable(name, Text(f"larger than {megabytes} MB", f"超过 {megabytes} MB"))
    try:
        told = json.loads(data, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ImportUnreadable(name, Text("not JSON", "不是 JSON")) from error
    except _Wrong as error:
        raise ImportUnreadable(name, error.reason) from None
    schema = told.get("schema") if isinstance(told, dict) else None
    if not isinstance(told, dict) or schema != SCHEMA:
        shown = str(schema)[:40] if isinstance(schema, str) and schema.isprintable() else "-"
        reason = Text(f"schema {shown}, this program reads {SCHEMA}", f"格式为 {shown}，本程序可读 {SCHEMA}")
        raise ImportUnreadable(name, reason)
    try:
        _keys(told, _DOCUMENT, _THE_FILE)
        return _document(told, _verified(told), least)
    except _Wrong as error:
        raise ImportUnreadable(name, error.reason) from None


_THE_FILE: Final = Text("the document", "文件")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a key that stands twice has no one meaning to be signed."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Wrong(_THE_FILE, Text("a key stands twice", "存在重复的键"))
    return made


def _no_number(name: str) -> None:
    raise _Wrong(_THE_FILE, Text(f"{name} is no number", f"{name} 不是数值"))


def _decoded(text: object, size: int) -> bytes | None:
    if not isinstance(text, str) or not text.isascii():
        return None
    try:
        data = base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == size else None


def _verified(told: Mapping[str, Any]) -> bytes:
    """The public key under whose signature the document stands."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    site, signature = _decoded(told["site"], _KEY_BYTES), _decoded(told["signature"], _SIGNATURE_BYTES)
    if site is None:
        raise _Wrong(Text("site", "site"), Text("not an Ed25519 public key", "不是 Ed25519 公钥"))
    bad = _Wrong(Text("signature", "签名"), Text("does not fit; the file was changed", "不匹配，文件已被改动"))
    if signature is None:
        raise bad
    try:
        content = canonical({key: value for key, value in told.items() if key != "signature"})
        Ed25519PublicKey.from_public_bytes(site).verify(signature, content)
    except (InvalidSignature, ValueError):
        raise bad from None
    return site


def _document(told: Mapping[str, Any], site: bytes, least: int) -> CountsDocument:
    made = told["made"]
    try:
        moment = datetime.fromisoformat(made) if isinstance(made, str) else None
        moment = None if moment is None or moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.year < 2000:
        raise _Wrong(Text("made", "made"), Text("not a time with its zone", "不是带时区的时间"))
    epsilon = told["epsilon"]
    is_number = isinstance(epsilon, int | float) and not isinstance(epsilon, bool)
    if not is_number or not math.isfinite(epsilon) or not 0.0 < epsilon <= _MOST_EPSILON:
        raise _Wrong(Text("epsilon", "epsilon"), Text(f"not between 0 and {_MOST_EPSILON:g}", "超出允许范围"))
    k = _count(told["k"], least, Text("k", "k"))
    patterns = told["patterns"]
    if not isinstance(patterns, list) or len(patterns) > MOST_PATTERNS:
        most = Text(f"not a list of at most {MOST_PATTERNS:,}", f"不是至多 {MOST_PATTERNS:,} 项的列表")
        raise _Wrong(Text("patterns", "patterns"), most)
    read: dict[tuple[object, ...], SharedPattern] = {}
    for number, item in enumerate(patterns, start=1):
        where = Text(f"pattern {number}", f"第 {number} 项")
        pattern = _pattern(item, k, where)
        if read.setdefault(pattern.pattern.key, pattern) is not pattern:
            raise _Wrong(where, Text("stands twice", "重复出现"))
    return CountsDocument(site, moment, float(epsilon), k, tuple(read.values()))


def _pattern(item: object, k: int, where: Text) -> SharedPattern:
    told = _keys(item, _PATTERN, where)
    words = [_words(told[key], _in(where, key), folded=True) for key in ("component", "failure_mode", "action")]
    title, fix = (_text(told[key], _in(where, key)) for key in ("title", "fix"))
    pattern = Pattern(words[0], words[1], words[2], title, fix, _scope(told["scope"], _in(where, "scope")))
    worked, failed = (_count(told[key], 0, _in(where, key)) for key in ("worked", "failed"))
    if _count(told["cases"], k, _in(where, "cases")) != worked + failed:
        raise _Wrong(_in(where, "cases"), Text("not worked and failed together", "不等于 worked 与 failed 之和"))
    terms = told["terms"]
    if not isinstance(terms, dict) or len(terms) > MOST_TERMS:
        raise _Wrong(_in(where, "terms"), Text(f"not at most {MOST_TERMS:,}", f"超过 {MOST_TERMS:,} 项或不是对象"))
    for term, count in terms.items():
        if not is_term(term):
            shown = term[:40] if term.isprintable() else "?"
            raise _Wrong(_in(where, "terms"), Text(f"'{shown}' may not be shared", f"“{shown}”不属于可共享的证据"))
        if _count(count, k, _in(where, term)) > worked:
            raise _Wrong(_in(where, term), Text("more often than the fix worked", "次数多于 worked"))
    return SharedPattern(pattern, worked, failed, terms)


def _in(where: Text, key: str) -> Text:
    return Text(f"{where.en}, {key}", f"{where.zh}，{key}")


def _keys(value: object, names: frozenset[str], where: Text) -> Mapping[str, Any]:
    """An object with exactly these keys."""
    if not isinstance(value, dict):
        raise _Wrong(where, Text("not an object", "不是对象"))
    if missing := sorted(names - set(value)):
        raise _Wrong(where, Text(f"'{missing[0]}' is missing", f"缺少 {missing[0]}"))
    if len(value) != len(names):
        raise _Wrong(where, Text("it says more than such a document may", "含有不应出现的内容"))
    return value


def _count(value: object, least: int, where: Text) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST_CARS:
        why = Text(f"not a whole number from {least} to {_MOST_CARS:,}", f"不是 {least} 至 {_MOST_CARS:,} 的整数")
        raise _Wrong(where, why)
    return value


def _words(value: object, where: Text, *, longest: int = LONGEST, folded: bool = False) -> str:
    """A text that can be shown as it is."""
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable() or value.isspace():
        raise _Wrong(where, Text(f"not a text of up to {longest} characters", f"不是至多 {longest} 字的文本"))
    if folded and fold(value) != value:
        raise _Wrong(where, Text("not in its one spelling", "书写形式不规范"))
    return value


def _text(value: object, where: Text) -> Text:
    told = _keys(value, frozenset({"en", "zh"}), where)
    return Text(_words(told["en"], where), _words(told["zh"], where))


def _scope(value: object, where: Text) -> Scope:
    told = _keys(value, _SCOPE, where)
    make, model = (
        None if told[key] is None else _words(told[key], _in(where, key), longest=_LONGEST_MAKE)
        for key in ("make", "model")
    )
    years: list[int | None] = []
    for key in ("year_from", "year_to"):
        year = told[key]
        if year is not None and (isinstance(year, bool) or not isinstance(year, int) or not 1900 <= year <= 2100):
            raise _Wrong(_in(where, key), Text("not a year", "不是年份"))
        years.append(year)
    return Scope(make, model, years[0], years[1])
