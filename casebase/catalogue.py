"""What a content file may say, checked: fixes, tests that tell them apart, figures with their bins, safety steps.

``load_catalogue`` reads a folder of TOML files and refuses the first statement that breaks a rule, naming file, key and
reason. Every text needs both languages, every code a known role, every figure a bin that exists, every check a test
that exists, and every symptom a word of the vocabulary.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from casebase.cases import Safety
from casebase.contentfile import read_toml
from casebase.errors import ContentBroken
from casebase.words import Vocabulary, default_vocabulary
from diag.facts import EcuRole, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "CASES_OF",
    "CONTENT",
    "HOW_OFTEN",
    "NOTICE_TEST",
    "SOURCES",
    "Bin",
    "Catalogue",
    "Check",
    "CodeSeen",
    "FeatureScale",
    "Fix",
    "Scope",
    "TellingTest",
    "Usual",
    "content_hash",
    "load_catalogue",
    "load_safety",
]

CONTENT: Final = Path(__file__).parent / "content"

HOW_OFTEN: Final = {"usual": 0.9, "often": 0.6, "sometimes": 0.25, "rare": 0.1, "never": 0.0}
"""How many of the cars with this fault show it. Working values of ours, replaced by counts as cases come in."""

SOURCES: Final = ("standard", "public-notice", "physics", "judgement")
CASES_OF: Final = {"common": 40.0, "normal": 20.0, "rare": 10.0}
"""How many cases a fix of ours stands for until real ones are counted: how common it is beside the others."""

NOTICE_TEST: Final = "campaign-by-vin"
"""The test of ``tests.toml`` that tells whether a published campaign is open for a car."""
_NO_FIXES: Final = ("features", "makes", "tests", "words", "safety", "weights")
"""Kinds of files that hold something else."""
_TIMES: Final = ("minutes", "hour", "half-day", "day", "days")
_SLUG: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_DOTTED: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*")
_CODE: Final = re.compile(r"[PCBU][0-3][0-9A-F]{3}|SPN [0-9]+ FMI [0-9]+")
_FAILURE: Final = re.compile(r"[0-9A-F]{2}")
_HAN: Final = re.compile(r"[一-鿿]")
_ROLES: Final = frozenset(role.value for role in EcuRole) - {"unknown"}


@dataclass(frozen=True, slots=True)
class Scope:
    """Which vehicles a fix is for; None is any. Lower case."""

    make: str | None = None
    model: str | None = None
    year_from: int | None = None
    year_to: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The canonical form."""
        return {"make": self.make, "model": self.model, "year_from": self.year_from, "year_to": self.year_to}


@dataclass(frozen=True, slots=True)
class CodeSeen:
    """A code that goes with the fault, in which ECU, with which failure types, how often."""

    code: str
    role: str
    types: tuple[str, ...]
    how: str


@dataclass(frozen=True, slots=True)
class Usual:
    """A finding, a silent ECU or a bin of a figure that goes with the fault, and how often."""

    name: str
    how: str
    bin: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """What a test shows when this fix is the right one: ``positive`` is the probability of a yes."""

    test: str
    positive: float
    expect: Text


@dataclass(frozen=True, slots=True)
class Fix:
    """One known fix with everything a person needs to judge it and carry it out."""

    slug: str
    component: str
    failure_mode: str
    action: str
    title: Text
    fix: Text
    source: str
    source_note: Text
    safety: Safety
    time: str
    parts: tuple[Text, ...]
    symptoms_zh: tuple[str, ...]
    symptoms_en: tuple[str, ...]
    codes: tuple[CodeSeen, ...]
    findings: tuple[Usual, ...]
    silent: tuple[Usual, ...]
    features: tuple[Usual, ...]
    checks: tuple[Check, ...]
    steps: tuple[Text, ...]
    verify: Text
    causes: tuple[str, ...] = ()
    commonness: str = "normal"
    scope: Scope = field(default_factory=Scope)

    @property
    def fix_id(self) -> str:
        """Identity by content: the hash of component, failure mode, action and scope, 16 hex digits."""
        return _identity(self.component, self.failure_mode, self.action, self.scope)


@lru_cache(maxsize=1 << 13)
def _identity(component: str, failure_mode: str, action: str, scope: Scope) -> str:
    canonical = [component, failure_mode, action, scope.to_json()]
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Bin:
    """A range of a figure; ``below`` is its upper end, ``fault`` says that being in it is evidence of a fault."""

    name: str
    below: float
    fault: bool


@dataclass(frozen=True, slots=True)
class FeatureScale:
    """A battery figure and its bins, lowest first."""

    name: str
    unit: str
    title: Text
    bins: tuple[Bin, ...]
    absolute: bool = False

    def bin_of(self, value: float) -> Bin:
        """The bin that a value falls into."""
        measured = abs(value) if self.absolute else value
        return next((b for b in self.bins if measured < b.below), self.bins[-1])


@dataclass(frozen=True, slots=True)
class TellingTest:
    """A test that tells fixes apart.

    Args:
        yes: what a positive result means.
        other: probability of a yes when none of the fixes that name the test is the cause.
    """

    test_id: str
    title: Text
    how: Text
    yes: Text
    minutes: float
    safety: Safety
    remote: bool
    other: float


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything that one folder of content says."""

    fixes: tuple[Fix, ...]
    tests: tuple[TellingTest, ...]
    scales: Mapping[str, FeatureScale]
    safety: Mapping[Safety, tuple[Text, ...]]


def content_hash(folder: Path = CONTENT) -> str:
    """The hash of all content files: another one means that the library has to take them over again."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.toml")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def load_catalogue(folder: Path = CONTENT) -> Catalogue:
    """Reads and checks all content files of a folder.

    Raises:
        ContentBroken: a file is missing, is no TOML, or says something that is not allowed.
    """
    scales = {s.name: s for s in (_scale(n) for n in _nodes(folder / "features.toml", "feature"))}
    tests = tuple(_test(n) for path in _files(folder, "tests") for n in _nodes(path, "test"))
    known_tests = _once("tests.toml", (t.test_id for t in tests))
    words = default_vocabulary() if folder == CONTENT else Vocabulary.load(folder)
    paths = [path for path in sorted(folder.glob("*.toml")) if path.stem.partition("-")[0] not in _NO_FIXES]
    nodes = [node for path in paths for node in _nodes(path, "fix")]
    words.remember([text for node in nodes for text in _texts_in(node.data.get("symptoms"))])
    fixes = [_fix(node, scales, known_tests, words) for node in nodes]
    _once("fix", (fix.slug for fix in fixes))
    _once("fix", (fix.fix_id for fix in fixes))
    return Catalogue(tuple(sorted(fixes, key=lambda f: f.slug)), tests, scales, load_safety(folder))


@cache
def load_safety(folder: Path = CONTENT) -> Mapping[Safety, tuple[Text, ...]]:
    """The steps before work near or at high voltage.

    Raises:
        ContentBroken: the file is missing or a class has no steps.
    """
    data = read_toml(folder / "safety.toml")
    steps: dict[Safety, tuple[Text, ...]] = {Safety.NONE: ()}
    for kind in (Safety.HV_NEARBY, Safety.HV_WORK):
        table = data.get(kind.value)
        steps[kind] = _safety(_Node("safety.toml", kind.value, table if isinstance(table, dict) else {}))
    return steps


def _files(folder: Path, kind: str) -> list[Path]:
    """``tests.toml`` and what further files of that kind there are: ``tests-engine.toml``."""
    return [folder / f"{kind}.toml", *sorted(folder.glob(f"{kind}-*.toml"))]


def _nodes(path: Path, key: str) -> list[_Node]:
    data = read_toml(path)
    if unknown := set(data) - {key}:
        raise ContentBroken(path.name, min(unknown), Text("unknown key", "未知的键"))
    whole = _Node(path.name, key, data)
    return [
        _Node(path.name, f"{key} {node.data.get('id', node.data.get('name', i))}", node.data)
        for i, node in enumerate(whole.children(key, 1), start=1)
    ]


def _once(file: str, names: Iterable[str]) -> frozenset[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ContentBroken(file, name, Text("stands twice", "重复出现"))
        seen.add(name)
    return frozenset(seen)


@dataclass(slots=True)
class _Node:
    """One table of a file: hands out checked values and complains by file and key."""

    file: str
    where: str
    data: Mapping[str, Any]

    def fail(self, key: str, en: str, zh: str) -> ContentBroken:
        return ContentBroken(self.file, f"{self.where}: {key}", Text(en, zh))

    def only(self, *keys: str) -> None:
        if unknown := set(self.data) - set(keys):
            raise self.fail(min(unknown), "unknown key", "未知的键")

    def string(self, key: str, pattern: re.Pattern[str] | None = None) -> str:
        value = self.data.get(key)
        if not isinstance(value, str) or (pattern is not None and not pattern.fullmatch(value)):
            raise self.fail(key, f"{value!r} is not allowed here", f"不允许 {value!r}")
        return value

    def one_of(self, key: str, allowed: Iterable[str]) -> str:
        value = self.data.get(key)
        if value not in (options := tuple(allowed)):
            raise self.fail(
                key, f"{value!r} is none of {', '.join(options)}", f"{value!r} 不在 {', '.join(options)} 之中"
            )
        return str(value)

    def number(self, key: str, low: float, high: float) -> float:
        value = self.data.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.fail(
                key, f"{value!r} is not between {low:g} and {high:g}", f"{value!r} 不在 {low:g} 与 {high:g} 之间"
            )
        return float(value)

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        value = self.data.get(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, "must be true or false", "必须为 true 或 false")
        return value

    def text(self, key: str) -> Text:
        return self.text_of(key, self.data.get(key))

    def text_of(self, key: str, value: object) -> Text:
        if not isinstance(value, dict) or set(value) != {"en", "zh"}:
            raise self.fail(key, "needs en and zh", "需要 en 与 zh")
        en, zh = value["en"], value["zh"]
        if not (isinstance(en, str) and en.strip() and isinstance(zh, str) and zh.strip()):
            raise self.fail(key, "a language is empty", "有一种语言为空")
        if _HAN.search(en) or not _HAN.search(zh):
            raise self.fail(key, "the languages are mixed up", "语言混淆")
        return Text(en, zh)

    def texts(self, key: str, least: int) -> tuple[Text, ...]:
        return tuple(self.text_of(key, value) for value in self.items(key, least))

    def items(self, key: str, least: int = 0) -> list[Any]:
        value = self.data.get(key, [] if least == 0 else None)
        if not isinstance(value, list) or len(value) < least:
            raise self.fail(key, f"needs a list of at least {least}", f"需要至少 {least} 项的列表")
        return value

    def children(self, key: str, least: int = 0) -> list[_Node]:
        out = []
        for i, item in enumerate(self.items(key, least), start=1):
            if not isinstance(item, dict):
                raise self.fail(key, "must be tables", "必须为表")
            out.append(_Node(self.file, f"{self.where}: {key} {i}", item))
        return out


def _scale(node: _Node) -> FeatureScale:
    node.only("name", "unit", "title", "bins", "absolute")
    bins: list[Bin] = []
    children = node.children("bins", 2)
    for i, child in enumerate(children):
        child.only("name", "below", "fault")
        last = i == len(children) - 1
        if last and "below" in child.data:
            raise child.fail("below", "the last bin has no upper end", "最后一档没有上限")
        below = float("inf") if last else child.number("below", -1e9, 1e9)
        if bins and below <= bins[-1].below:
            raise child.fail("below", "bins must rise", "各档必须递增")
        bins.append(Bin(child.one_of("name", ("good", "watch", "fault")), below, child.flag("fault", default=False)))
    unit = node.data.get("unit")
    if not isinstance(unit, str):
        raise node.fail("unit", "must be text", "必须是文本")
    name = node.string("name", re.compile(r"[a-z][a-z0-9_]*"))
    return FeatureScale(name, unit, node.text("title"), tuple(bins), node.flag("absolute", default=False))


def _test(node: _Node) -> TellingTest:
    node.only("id", "title", "how", "yes", "minutes", "safety", "remote", "other")
    return TellingTest(
        node.string("id", _SLUG),
        node.text("title"),
        node.text("how"),
        node.text("yes"),
        node.number("minutes", 1, 10_000),
        Safety(node.one_of("safety", (s.value for s in Safety))),
        node.flag("remote"),
        node.number("other", 0.01, 0.99),
    )


def _safety(node: _Node) -> tuple[Text, ...]:
    en, zh = node.items("en", 1), node.items("zh", 1)
    if len(en) != len(zh):
        raise node.fail("zh", "another number of steps than en", "步骤数与 en 不同")
    return tuple(node.text_of("zh", {"en": a, "zh": b}) for a, b in zip(en, zh, strict=True))


_FIX_KEYS: Final = (
    "id", "component", "failure_mode", "action", "title", "fix", "source", "source_note", "safety", "time", "parts",
    "symptoms", "codes", "findings", "silent", "features", "checks", "steps", "verify", "commonness", "scope", "causes",
)  # fmt: skip


def _fix(node: _Node, scales: Mapping[str, FeatureScale], tests: frozenset[str], words: Vocabulary) -> Fix:
    node.only(*_FIX_KEYS)
    zh, en = _symptoms(node, words)
    return Fix(
        slug=node.string("id", _SLUG),
        component=node.string("component", _DOTTED),
        failure_mode=node.string("failure_mode", _SLUG),
        action=node.string("action", _SLUG),
        title=node.text("title"),
        fix=node.text("fix"),
        source=node.one_of("source", SOURCES),
        source_note=node.text("source_note"),
        safety=Safety(node.one_of("safety", (s.value for s in Safety))),
        time=node.one_of("time", _TIMES),
        parts=node.texts("parts", 0),
        symptoms_zh=zh,
        symptoms_en=en,
        codes=_codes(node),
        findings=tuple(_usual(child, "code", _DOTTED) for child in node.children("findings")),
        silent=tuple(_usual(child, "role", None, _ROLES) for child in node.children("silent")),
        features=tuple(_feature(child, scales) for child in node.children("features")),
        checks=tuple(_check(child, tests) for child in node.children("checks", 1)),
        steps=node.texts("steps", 2),
        verify=node.text("verify"),
        causes=_causes(node),
        commonness=node.one_of("commonness", CASES_OF) if "commonness" in node.data else "normal",
        scope=_scope(node),
    )


def _symptoms(node: _Node, words: Vocabulary) -> tuple[tuple[str, ...], tuple[str, ...]]:
    table = node.data.get("symptoms")
    if not isinstance(table, dict) or set(table) != {"en", "zh"}:
        raise node.fail("symptoms", "needs en and zh", "需要 en 与 zh")
    both = _Node(node.file, f"{node.where}: symptoms", table)
    for lang in ("zh", "en"):
        phrases = both.items(lang, 2)
        for phrase in phrases:
            if not isinstance(phrase, str) or bool(_HAN.search(phrase)) != (lang == "zh"):
                raise both.fail(lang, f"{phrase!r} is not a sentence of this language", f"{phrase!r} 不是该语言的句子")
        for phrase, terms in zip(phrases, words.terms_of(phrases), strict=True):
            if not any(term.startswith("#") for term in terms):
                raise both.fail(lang, f"{phrase!r} has no word of the vocabulary", f"{phrase!r} 不含词表中的词")
    return tuple(both.items("zh")), tuple(both.items("en"))


def _texts_in(table: object) -> Iterator[str]:
    """Whatever sentences there are; whether they are right is looked at later."""
    for listed in table.values() if isinstance(table, dict) else ():
        yield from (text for text in listed if isinstance(text, str)) if isinstance(listed, list) else ()


def _causes(node: _Node) -> tuple[str, ...]:
    """Causes of ``diag/rules/causes.toml`` that this fix cures, without their prefix."""
    names = node.items("causes")
    for name in names:
        if not isinstance(name, str) or not _SLUG.fullmatch(name):
            raise node.fail("causes", f"{name!r} is not allowed here", f"不允许 {name!r}")
    return tuple(names)


def _codes(node: _Node) -> tuple[CodeSeen, ...]:
    out = []
    for child in node.children("codes", 1):
        child.only("code", "role", "types", "how")
        types = child.items("types")
        if not all(isinstance(t, str) and _FAILURE.fullmatch(t) for t in types):
            raise child.fail("types", "must be two hex digits each", "每项必须为两位十六进制")
        out.append(
            CodeSeen(
                child.string("code", _CODE), child.one_of("role", sorted(_ROLES)), tuple(types),
                child.one_of("how", HOW_OFTEN),
            )
        )  # fmt: skip
    _once(node.file, (f"{node.where}: {seen.role} {seen.code}" for seen in out))
    return tuple(out)


def _usual(node: _Node, key: str, pattern: re.Pattern[str] | None, allowed: frozenset[str] | None = None) -> Usual:
    node.only(key, "how")
    name = node.string(key, pattern) if allowed is None else node.one_of(key, sorted(allowed))
    return Usual(name, node.one_of("how", HOW_OFTEN))


def _feature(node: _Node, scales: Mapping[str, FeatureScale]) -> Usual:
    node.only("name", "bin", "how")
    name = node.one_of("name", sorted(scales))
    return Usual(name, node.one_of("how", HOW_OFTEN), node.one_of("bin", (b.name for b in scales[name].bins)))


def _check(node: _Node, tests: frozenset[str]) -> Check:
    node.only("test", "positive", "expect")
    return Check(node.one_of("test", sorted(tests)), node.number("positive", 0.01, 0.99), node.text("expect"))


def _scope(node: _Node) -> Scope:
    table = node.data.get("scope", {})
    if not isinstance(table, dict):
        raise node.fail("scope", "must be a table", "必须为表")
    scope = _Node(node.file, f"{node.where}: scope", table)
    scope.only("make", "model", "year_from", "year_to")
    years = [int(scope.number(key, 1950, 2100)) if key in table else None for key in ("year_from", "year_to")]
    names = [scope.string(key).lower() if key in table else None for key in ("make", "model")]
    return Scope(names[0], names[1], years[0], years[1])
