"""What the catalogue's own test does not see: texts in the code, argparse's words, the page's words, data files."""

from __future__ import annotations

import argparse
import ast
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import huizhen
from huizhen.cli import Parser
from huizhen.language import Translator, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(huizhen.__file__).parent.parent
PAGE = Path(__file__).parents[1] / "consult" / "page" / "src"
PACKAGES = ("dbc", "diag", "casebase", "virtualbus", "consult", "huizhen")
CJK = re.compile(r"[\u4e00-\u9fff]")
ENGLISH_WORD = re.compile(r"[a-z]{3,}")
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;!]|[,;!][\u4e00-\u9fff]|[\u4e00-\u9fff][:?] |[\u4e00-\u9fff][:?]$")
LANGUAGE_SWITCH = {"中文", "切换到中文"}
"""The words by which a reader of English finds the Chinese page."""

HALVES = {("goes to the next in ", ""), ("", " 后转给下一位")}
"""What stands before and behind a clock of the page: each language needs one of the two."""


def literal(node: ast.expr | None) -> str | None:
    """A string as it stands in the code, with ``\0`` for what comes in; None for what is made elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) or "\0" for part in node.values)
    return None


def texts_in_code() -> Iterator[tuple[str, str, str]]:
    """Place, English and Chinese of every ``Text`` and ``Phrase`` that is written out."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "node_modules" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name not in ("Text", "Phrase", "_Text"):
                    continue
                given = dict(zip(("en", "zh"), node.args, strict=False)) | {
                    word.arg: word.value for word in node.keywords
                }
                en, zh = literal(given.get("en")), literal(given.get("zh"))
                if en is not None and zh is not None:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", en, zh


def trouble_with(en: str, zh: str) -> str:
    """What is wrong with a pair; empty for a good one. What is the same in both is a name or a command."""
    if en in LANGUAGE_SWITCH or (en, zh) in HALVES or en.casefold() == zh.casefold():
        return "Chinese in the English" if CJK.search(en) and en not in LANGUAGE_SWITCH else ""
    if bool(en.strip()) != bool(zh.strip()):
        return "one of the two is empty"
    if CJK.search(en):
        return "Chinese in the English"
    if en != zh and not CJK.search(zh) and ENGLISH_WORD.search(zh) and ENGLISH_WORD.search(en.replace(zh, "")):
        shared = set(ENGLISH_WORD.findall(zh)) - set(ENGLISH_WORD.findall(en))
        if shared or len(ENGLISH_WORD.findall(en)) > len(ENGLISH_WORD.findall(zh)):
            return "no Chinese"
    return "half-width punctuation" if HALF_WIDTH.search(zh) else ""


def test_texts_in_the_code() -> None:
    found = list(texts_in_code())
    assert len(found) > 1200
    assert [f"{place}: {why}: {en} | {zh}" for place, en, zh in found if (why := trouble_with(en, zh))] == []


@pytest.mark.parametrize(
    ("en", "zh", "good"),
    [
        ("no answer", "无应答", True), ("can0", "can0", True), ("no answer", "no answer here", False),
        ("no answer", "", False),
        ("无", "无", False), ("silent, off", "无应答,未上电", False), ("PEAK adapters", "PEAK 适配器", True),
    ],
)  # fmt: skip
def test_the_look_at_a_pair(en: str, zh: str, *, good: bool) -> None:
    assert (trouble_with(en, zh) == "") is good


# -- argparse -------------------------------------------------------------------------------------------------------

DEVELOPERS = (
    "conflicting", "cannot", "usage: ", "positional arguments", "options", "show this help", "is not callable",
    "invalid option", "dest=", "invalid conflict", "mutually exclusive", "'required'", ".__call__", "can't open",
    'argument "-"', "argument %(", "%(prog)s: error", "deprecat",
)  # fmt: skip
"""Parts of what argparse says to programmers, or what is said in our words elsewhere."""


def argparse_messages() -> Iterator[str]:
    """Everything that argparse hands to gettext, as it comes out of it with some values put in."""
    values = {"argument_name": "-x", "option": "--ab", "matches": "--abc, --abd", "value": "'9'", "choices": "'a', 'b'"}
    values |= {"type": "int", "parser_name": "'z'", "filename": "f", "error": "e", "prog": "huizhen", "message": "m"}
    for node in ast.walk(ast.parse(Path(argparse.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("_", "ngettext"):
            for argument in node.args:
                text = literal(argument)
                if text is None or any(words in text for words in DEVELOPERS):
                    continue
                if "%(" in text:
                    yield re.sub(r"%\((\w+)\)[rs]", lambda found: values.get(found[1], "x"), text)
                else:
                    yield text.replace("%s", "2").replace("%r", "'2'")


def test_argparse_speaks_chinese(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parser, "tr", Translator("zh"))
    parser = Parser(prog="huizhen")
    messages = list(argparse_messages())
    assert len(messages) >= 10
    wrong = []
    for message in messages:
        whole = (
            message
            if message.startswith(("the following", "unrec", "ambig", "one of", "unexp", "unknown"))
            else f"argument -x: {message}"
        )
        with pytest.raises(SystemExit):
            parser.error(whole)
        said = capsys.readouterr().err.replace("huizhen --help", "").replace("huizhen: ", "")
        if ENGLISH_WORD.search(said.replace("abc", "").replace("abd", "").replace("int", "")):
            wrong.append(f"{whole} -> {said}")
    assert wrong == []


# -- the page -------------------------------------------------------------------------------------------------------

SENTENCE = re.compile(r'\ben:\s*"((?:[^"\\]|\\.)*)",?\s*zh:\s*"((?:[^"\\]|\\.)*)"')


@pytest.mark.skipif(not PAGE.is_dir(), reason="the page's sources are not here")
def test_words_of_the_page() -> None:
    """That each has both languages its types say already (``Sentence``); here that the Chinese is Chinese."""
    found = [
        (path.name, en, zh)
        for path in sorted(PAGE.glob("*.ts"))
        for en, zh in SENTENCE.findall(path.read_text(encoding="utf-8"))
    ]
    assert len(found) > 400
    assert [f"{name}: {why}: {en} | {zh}" for name, en, zh in found if (why := trouble_with(en, zh))] == []


@pytest.mark.skipif(not PAGE.is_dir(), reason="the page's sources are not here")
@pytest.mark.parametrize("severity", ["stop", "soon", "monitor", "low"])
def test_urgency_has_one_name(severity: str) -> None:
    """On the terminal, in a code's explanation and on the page, in both languages."""
    scan, dtc = (sentences(area)[f"severity.{severity}"] for area in ("scan", "dtc"))
    words = (PAGE / "words.ts").read_text(encoding="utf-8")
    found = re.search(rf'severity{severity.title()}: {{ en: "([^"]+)", zh: "([^"]+)" }}', words)
    assert found is not None
    assert scan["zh"] == dtc["zh"] == found[2]
    assert scan["en"].lower() == dtc["en"] == found[1]


# -- data -----------------------------------------------------------------------------------------------------------


def pairs(node: object, place: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Every table that has a text in one of the languages."""
    if isinstance(node, dict):
        if isinstance(node.get("en"), str) or isinstance(node.get("zh"), str):
            yield place, node
        for key, value in node.items():
            yield from pairs(value, f"{place}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from pairs(value, f"{place}[{number}]")


def data_files() -> list[Path]:
    return [
        path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.toml"))
        if "language" not in path.parts and "node_modules" not in path.parts
    ]


@pytest.mark.parametrize("path", data_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_texts_in_data_have_both_languages(path: Path) -> None:
    wrong = []
    for place, node in pairs(tomllib.loads(path.read_text(encoding="utf-8")), path.stem):
        if not isinstance(node.get("en"), str) or not isinstance(node.get("zh"), str):
            wrong.append(f"{place}: {node}")
        elif why := trouble_with(str(node["en"]), str(node["zh"])):
            wrong.append(f"{place}: {why}: {node}")
    assert wrong == []
