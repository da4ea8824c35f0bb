"""One Chinese term per thing: what docs/zh/glossary.md says not to write stands nowhere; Chinese is set as it says."""

from __future__ import annotations

import ast
import contextlib
import csv
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from huizhen.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGES = ("dbc", "diag", "casebase", "virtualbus", "consult", "huizhen")
GLOSSARY = ROOT / "docs" / "zh" / "glossary.md"
CJK = re.compile(r"[\u4e00-\u9fff]")
QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
LIKE_OWNERS = {"symptoms", "concepts", "words", "synonyms", "aliases"}
"""What people type or say in their own words."""
FORMULA = re.compile(r"[RU][预总]")
SETTING = (
    (re.compile(r"[\u4e00-\u9fff][A-Za-z0-9]|[A-Za-z0-9%Ω][\u4e00-\u9fff]"), "no space between Chinese and Latin"),
    (re.compile(r"[\d}]%(?!\})"), "no space before %"),
    (re.compile(r"[，。；：？！、（“] (?=\S)|\S [，。；：？！、）”]"), "a space beside full-width punctuation"),
    (re.compile(r"'huizhen "), "half-width quotation marks"),
    (re.compile(r"\d(?: ?(?:mV|A|V|km/h))?,\d+ ?[A-Zm]"), "a half-width comma"),
)


def forbidden() -> list[str]:
    rows = [line.split("|") for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    words = [word.strip() for row in rows if len(row) == 6 for word in row[3].split("、")]
    return sorted({word for word in words if CJK.search(word) and word != "不写"})


def of_toml(node: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, child in node.items():
            if name not in LIKE_OWNERS:
                yield from of_toml(child, f"{where} {name}")
    elif isinstance(node, list):
        for child in node:
            yield from of_toml(child, where)
    elif isinstance(node, str) and (CJK.search(node) or where.endswith(" zh")):
        yield where, node


def of_page(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for found in QUOTED.findall(line):
            if CJK.search(found):
                yield f"{path.name}:{number}", found


def of_program(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CJK.search(node.value):
            yield f"{path.name}:{node.lineno}", node.value


def of_guide(path: Path) -> Iterator[tuple[str, str]]:
    is_code = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        is_code ^= line.startswith("```")
        if not is_code and CJK.search(line):
            yield f"{path.name}:{number}", re.sub(r"`[^`]*`", "``", line)


def tables() -> Iterator[tuple[str, str]]:
    """Sentences that a person reads, without people's own words."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.toml")):
            if "node_modules" not in path.parts and not path.name.startswith(("words", "makes")):
                yield from of_toml(tomllib.loads(path.read_text(encoding="utf-8")), path.name)
    for path in sorted((ROOT / "diag" / "texts").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield f"{path.name} {next(iter(row.values()))}", row["zh"]


def sources() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "node_modules" not in path.parts:
                yield from of_program(path)
    for path in sorted((ROOT / "consult" / "page" / "src").glob("*.ts")):
        yield from of_page(path)


def guides() -> Iterator[tuple[str, str]]:
    for path in (*sorted((ROOT / "docs" / "zh").rglob("*.md")), ROOT / "docs" / "privacy.zh.md"):
        if path != GLOSSARY:
            yield from of_guide(path)


def test_the_glossary_forbids_something() -> None:
    assert {"电芯", "飞行记录仪", "变速箱", "散列"} <= set(forbidden())


@pytest.mark.parametrize("texts", [tables, sources, guides], ids=lambda texts: texts.__name__)
def test_what_the_glossary_forbids_stands_nowhere(texts: Any) -> None:
    words = forbidden()
    assert [f"{where}: {word}: {text}" for where, text in texts() for word in words if word in text] == []


def test_chinese_is_set_as_the_glossary_says() -> None:
    wrong = []
    for where, text in tables():
        plain = re.sub(r"\{[^{}]*\}", "{}", FORMULA.sub("U", text))
        for line in plain.splitlines():
            if not line.startswith("  "):  # examples and columns
                wrong += [f"{where}: {why}: {line}" for rule, why in SETTING if rule.search(line)]
    assert wrong == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scna"], "参数 命令：“scna”无效，可选“doctor”、“scan”"),
        (["live", "--demo", "--duration", "x"], "参数 --duration：“x”不是有效的秒数（大于 0）"),
        (["battery", "--demo", "--rated-ah", "x"], "参数 --rated-ah：“x”不是有效的安时数（Ah）"),
        (["verify", "nothing-here.json"], "无法读取 nothing-here.json：文件或目录不存在"),
    ],
)
def test_a_mistyped_command_is_told_in_chinese(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):
        main(["--lang", "zh", *words])
    assert said in capsys.readouterr().err
