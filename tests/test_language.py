"""The language catalogue is whole: both languages everywhere, every error in Chinese, no text printed past it."""

from __future__ import annotations

import ast
import csv
import importlib
import re
import string
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import huizhen
from huizhen.exits import Exit, exit_from_error
from huizhen.language import AREAS, LANGUAGES, MissingSentence, Translator, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("dbc", "diag", "casebase", "virtualbus", "consult", "huizhen")
APPLICATION = Path(huizhen.__file__).parent
ROOT = APPLICATION.parent
CATALOGUE = APPLICATION / "language"
CJK = re.compile(r"[\u4e00-\u9fff]")
ENGLISH_WORD = re.compile(r"[a-z]{3,}")
SENTENCE_AREAS = [area for area in AREAS() if not area.startswith("errors_")]


def placeholders(text: str) -> set[str]:
    """Names of the fields in a sentence, without attribute, index, conversion and format."""
    return {re.split(r"[.\[]", name)[0] for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def without_placeholders(text: str) -> str:
    return "".join(literal for literal, _, _, _ in string.Formatter().parse(text))


def leaves(node: dict, prefix: str = ""):
    """Every table of the file that holds text, whatever else stands beside the text."""
    for name, child in node.items():
        assert isinstance(child, dict), f"{prefix}{name} is a bare value, not {{ en, zh }}"
        if any(isinstance(value, str) for value in child.values()):
            yield f"{prefix}{name}", child
        else:
            yield from leaves(child, f"{prefix}{name}.")


def area_leaves(area: str):
    return list(leaves(tomllib.loads((CATALOGUE / f"{area}.toml").read_text(encoding="utf-8"))))


def python_files(*packages: str) -> list[Path]:
    return [
        path
        for package in packages
        for path in sorted((ROOT / package).rglob("*.py"))
        if "node_modules" not in path.parts
    ]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


# --- sentences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("area", SENTENCE_AREAS)
def test_every_sentence_is_in_both_languages(area: str) -> None:
    found = area_leaves(area)
    assert found, f"{area}.toml has no sentence"
    for key, leaf in found:
        assert set(leaf) == set(LANGUAGES), f"{area}.{key}"
        assert all(text.strip() for text in leaf.values()), f"{area}.{key} is empty"
        assert placeholders(leaf["en"]) == placeholders(leaf["zh"]), f"{area}.{key}"
        assert not CJK.search(leaf["en"]) or key == "description", f"{area}.{key}: Chinese in the English sentence"


@pytest.mark.parametrize("area", AREAS())
def test_chinese_sentences_are_chinese(area: str) -> None:
    """Abbreviations that workshops use as they are (ECU, SOC, VIN) and pure placeholders need no Chinese."""
    for key, leaf in area_leaves(area):
        plain = without_placeholders(leaf["zh"])
        assert CJK.search(plain) or not ENGLISH_WORD.search(plain), f"{area}.{key}: {leaf['zh']}"


@pytest.mark.parametrize("area", AREAS())
def test_the_catalogue_serves_what_the_file_says(area: str) -> None:
    assert sentences(area) == dict(area_leaves(area))


def test_a_missing_sentence_is_an_error() -> None:
    with pytest.raises(MissingSentence):
        Translator("zh")("scan.no_such_sentence")


# --- where sentences are said ---------------------------------------------------------------------------------------


def is_translator(function: ast.expr) -> bool:
    return (isinstance(function, ast.Name) and function.id == "tr") or (
        isinstance(function, ast.Attribute) and function.attr == "tr"
    )


def keys_of(argument: ast.expr) -> list[str] | None:
    """The literal keys of a call's first argument; None when it is not literal."""
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return [argument.value]
    if isinstance(argument, ast.IfExp):
        one, other = keys_of(argument.body), keys_of(argument.orelse)
        return None if one is None or other is None else one + other
    return None


def said_sentences():
    """Every call of a translator in the application: place, keys, names of the fields (None with ``**``)."""
    for path in python_files("huizhen"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and is_translator(node.func):
                keys = keys_of(node.args[0]) if node.args else None
                named = {word.arg for word in node.keywords}
                yield where(path, node), keys, None if None in named else named


def test_keys_are_literal_known_and_get_their_fields() -> None:
    wrong = []
    for place, keys, fields in said_sentences():
        if keys is None:
            wrong.append(f"{place}: the key is not literal")
            continue
        for key in keys:
            area, _, rest = key.partition(".")
            entry = sentences(area).get(rest)
            if entry is None:
                wrong.append(f"{place}: no sentence {key}")
            elif fields is not None and fields != placeholders(entry["en"]):
                wrong.append(f"{place}: {key} has {sorted(placeholders(entry['en']))}, given {sorted(fields)}")
    assert wrong == []


def test_no_sentence_is_unused() -> None:
    used = {key for _, keys, _ in said_sentences() for key in keys or []}
    known = {f"{area}.{key}" for area in SENTENCE_AREAS for key in sentences(area)}
    assert sorted(known - used) == []


def spoken_text(argument: ast.expr) -> str:
    """The letters that stand in the source as they will be printed."""
    if isinstance(argument, ast.Constant):
        return argument.value if isinstance(argument.value, str) else ""
    if isinstance(argument, ast.JoinedStr):
        return " ".join(spoken_text(part) for part in argument.values)
    if isinstance(argument, ast.BinOp):
        return f"{spoken_text(argument.left)} {spoken_text(argument.right)}"
    if isinstance(argument, ast.IfExp):
        return f"{spoken_text(argument.body)} {spoken_text(argument.orelse)}"
    return ""


def is_prose(text: str) -> bool:
    """Words of a language; example command lines are the same in every one."""
    lines = [line for line in text.splitlines() if not line.strip().startswith("huizhen ")]
    return any(ENGLISH_WORD.search(line) or CJK.search(line) for line in lines)


SPEAKING = {"line", "note", "error", "stage", "wrapped"}


def test_nothing_is_printed_past_the_catalogue() -> None:
    wrong = []
    for path in python_files("huizhen"):
        if path.name == "console.py":
            continue
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            speaks = isinstance(function, ast.Attribute) and function.attr in SPEAKING and node.args
            if speaks and isinstance(function.value, ast.Name | ast.Attribute):
                owner = function.value.id if isinstance(function.value, ast.Name) else function.value.attr
                if owner == "console" and is_prose(said := spoken_text(node.args[0])):
                    wrong.append(f"{where(path, node)}: {said.strip()}")
            if isinstance(function, ast.Name) and function.id == "print":
                wrong.append(f"{where(path, node)}: print")
            wrong += [
                f"{where(path, node)}: {word.arg}={spoken_text(word.value)}"
                for word in node.keywords
                if word.arg in {"help", "description", "epilog"} and is_prose(spoken_text(word.value))
            ]
    assert wrong == []


# --- errors ---------------------------------------------------------------------------------------------------------


def error_classes() -> list[type[Exception]]:
    """Every class of the six error trees."""
    found: list[type[Exception]] = []

    def walk(kind: type[Exception]) -> None:
        if kind not in found:
            found.append(kind)
            for child in kind.__subclasses__():
                walk(child)

    modules = sorted(f"{package}.{path.stem}" for package in PACKAGES for path in (ROOT / package).glob("*errors.py"))
    for module in modules:
        for value in vars(importlib.import_module(module)).values():
            if isinstance(value, type) and issubclass(value, Exception) and "code" in vars(value):
                walk(value)
    return found


def is_abstract(kind: type[Exception]) -> bool:
    """A branch of a tree, there to be caught: it has children and no fields of its own."""
    return bool(kind.__subclasses__()) and "__dataclass_fields__" not in vars(kind)


CONCRETE = sorted((kind for kind in error_classes() if not is_abstract(kind)), key=lambda kind: kind.code)
ABSTRACT = [kind for kind in error_classes() if is_abstract(kind)]


def entry_of(code: str) -> dict[str, str] | None:
    return sentences(f"errors_{code.partition('.')[0]}").get(code)


def test_every_package_has_its_tree() -> None:
    roots = {kind.__module__ for kind in error_classes()}
    assert {f"{package}.errors" for package in PACKAGES} <= roots
    assert all(root.endswith("errors") for root in roots), "a topic's own branch stands in its own errors module"


def test_codes_are_unique_and_carry_their_package() -> None:
    codes = [kind.code for kind in error_classes()]
    own = [kind.code for kind in error_classes() if "code" in vars(kind)]
    assert len(own) == len(codes), "an error without a code of its own"
    assert len(set(codes)) == len(codes)
    for kind in error_classes():
        assert kind.code.partition(".")[0] == kind.__module__.partition(".")[0], kind


@pytest.mark.parametrize("kind", CONCRETE, ids=lambda kind: kind.code)
def test_every_error_speaks_both_languages(kind: type[Exception]) -> None:
    assert kind.template
    entry = entry_of(kind.code)
    assert entry is not None, f"{kind.code} has no Chinese sentence"
    assert set(entry) == {"zh"}
    assert placeholders(entry["zh"]) == placeholders(kind.template)
    assert placeholders(kind.template) <= set(getattr(kind, "__dataclass_fields__", {}))


def test_branches_of_the_trees_are_never_raised() -> None:
    names = {kind.__name__ for kind in ABSTRACT}
    wrong = [
        where(path, node)
        for path in python_files(*PACKAGES)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        and node.exc.func.id in names
    ]
    assert wrong == []


def test_no_sentence_for_an_error_that_does_not_exist() -> None:
    known = {kind.code for kind in error_classes()}
    told = {key for area in AREAS() if area.startswith("errors_") for key in sentences(area)}
    assert sorted(told - known) == []


def test_errors_are_declared_in_the_trees() -> None:
    names = {kind.__name__ for kind in error_classes()}
    wrong = [
        where(path, node)
        for path in python_files(*PACKAGES)
        if not path.name.endswith("errors.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id in names for base in node.bases)
    ]
    assert wrong == []


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.code)
def test_every_error_has_an_exit_code(kind: type[Exception]) -> None:
    exit_ = exit_from_error(kind.__new__(kind))
    assert exit_ not in (Exit.DONE, Exit.FINDINGS, Exit.INTERNAL, Exit.INTERRUPTED)


def test_an_error_is_said_in_chinese_with_its_fields() -> None:
    from diag.errors import BadInput
    from diag.facts import Text

    error = BadInput("XYZ", Text("no bytes in it", "没有任何字节"))
    assert Translator("zh").error(error) == "无法使用 XYZ：没有任何字节"
    assert Translator("en").error(error) == "cannot use XYZ: no bytes in it"


HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;:?!]|[,;:?!][\u4e00-\u9fff]")


def chinese_of(value: object, where: str) -> Iterator[tuple[str, str]]:
    """Every Chinese sentence of a TOML file."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from chinese_of(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from chinese_of(inner, where)
    elif isinstance(value, str) and (where.endswith(".zh") or re.search("[\u4e00-\u9fff]", value)):
        yield where, value


@pytest.mark.parametrize("folder", ["huizhen/language", "casebase/content", "diag/rules", "diag/texts"])
def test_chinese_has_chinese_punctuation(folder: str) -> None:
    found = 0
    for path in sorted((ROOT / folder).iterdir()):
        if path.suffix == ".toml":
            sentences = list(chinese_of(tomllib.loads(path.read_text(encoding="utf-8")), path.name))
        elif path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                sentences = [(path.name, row["zh"]) for row in csv.DictReader(file) if row.get("zh")]
        else:
            continue
        found += len(sentences)
        assert [pair for pair in sentences if HALF_WIDTH.search(pair[1]) and "/" not in pair[1]] == []
    assert found > 20
