"""The documentation is whole: it builds strictly and fetches nothing, and what the program has is in it."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from loadedtools import loaded_tool

from consult.configfile import SETTINGS
from dbc.database import load_bytes
from diag.limits import limits_for
from huizhen.cli import build_parser
from huizhen.exits import Exit
from huizhen.language import Translator
from huizhen.settings import KEYS
from virtualbus.faults import FAULTS
from virtualbus.scenario import find_scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ADAPTERS = ("slcan", "gs-usb", "pcan", "kvaser", "elm327", "doip")
OWN = ("write-your-own", "other-tools", "case-library", "cli", "python", "virtual-cars")
"""Whose Chinese blocks of code are held to the English ones."""
IN_CHINESE = (
    *("quick-start", "install", "safety", "live", "battery", "bundles", "report", "limits"),
    *OWN,
    *("open-a-room", "room-page", "room-media", "room-queue", "run-for-a-brand", "security"),
    *(f"adapters/{name}" for name in ADAPTERS),
    *("operations", "room-service", "room-notices", "room-deletion", "room-record", "network"),
)
GUIDES = (
    "index",
    *IN_CHINESE,
    *(f"zh/{name}" for name in IN_CHINESE),
)
CJK = re.compile(r"[\u4e00-\u9fff]")


PACKAGES = ("dbc", "diag", "casebase", "consult", "huizhen", "virtualbus")


def sources(package: str) -> list[str]:
    """Those that are installed: the release job hides the checkout's."""
    folder = Path(importlib.import_module(package).__file__ or "").parent
    return [path.read_text(encoding="utf-8") for path in folder.rglob("*.py") if "node_modules" not in path.parts]


@cache
def read(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


@cache
def everything() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md")))


def fences(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


# --- the site -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as ``make docs`` builds it: a page that the navigation forgets, or a dead link, stops it."""
    pytest.importorskip("material", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_has_every_page_and_fetches_nothing(site: Path) -> None:
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    wanted = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")}
    assert wanted <= set(pages)
    foreign = []
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        tags = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", text)
        foreign += [(path.name, tag) for tag in tags if re.search(r"""(?:src|href)=["']?(?:https?:)?//""", tag)]
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        foreign += [(path.name, found) for found in re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", text)]
    assert foreign == []


def test_chinese_can_be_searched_for(site: Path) -> None:
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    assert "适配器" in index or r"\u9002\u914d\u5668" in index


def test_a_page_without_a_place_is_still_in_the_navigation(tmp_path: Path) -> None:
    for name in ("index.md", "live.md", "adr/0002-b.md", "adr/0001-a.md", "zh/new.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    completed = loaded_tool("sitenav").completed
    nav = ["index.md", {"Use": [{"Deep": ["live.md"]}]}]
    assert completed(nav, tmp_path) == [
        *nav,
        {"More": ["zh/new.md"]},
        {"Decisions": ["adr/0001-a.md", "adr/0002-b.md"]},
    ]
    (tmp_path / "zh" / "new.md").unlink()
    assert completed(nav, tmp_path)[2:] == [{"Decisions": ["adr/0001-a.md", "adr/0002-b.md"]}]


def test_chinese_lines_are_put_together_without_spaces(site: Path) -> None:
    joined = loaded_tool("sitenav").joined
    assert joined("读取，\n判断\n故障（\n`a`）") == "读取，判断故障（`a`）"
    assert joined("用\nCAN\n总线") == "用\nCAN\n总线"
    kept = "标题：\n\n- 甲；\n- 乙；\n  丙。\n1. 丁。\n2. 戊。\n| 甲 |\n| 乙 |\n```\n甲，\n乙\n```\n## 己\n"
    assert joined(kept) == kept.replace("乙；\n  丙", "乙；丙")
    page = (site / "zh" / "live.html").read_text(encoding="utf-8")
    assert '<html lang="zh-CN"' in page
    assert 'id="学习"' in (site / "zh" / "case-library.html").read_text(encoding="utf-8"), "the heading's own name"
    text = re.sub(r"<(pre|script).*?</\1>", "", page, flags=re.DOTALL)
    assert re.findall(r"[\u4e00-\u9fff，。；：]\n[\u4e00-\u9fff]", text) == []


# --- what the program has ------------------------------------------------------------------------------------------


def test_every_error_is_listed_as_the_program_says_it() -> None:
    made = loaded_tool("make_errors")
    assert made.page() == read("errors"), "docs/errors.md is not current: run tools/make_errors.py"


def test_every_setting_is_in_the_documents() -> None:
    for page in ("cli", "zh/cli"):
        assert [key for key in KEYS if f"`{key}`" not in read(page)] == []
    text = everything()
    missing = []
    for table, keys in SETTINGS.items():
        missing += [
            f"[{table}] {key}"
            for key in keys
            if f"`{key}`" not in text and not re.search(rf"^{key} = ", text, re.MULTILINE)
        ]
        if table and f"[{table}]" not in text and f"[[{table}]]" not in text:
            missing.append(f"[{table}]")
    assert missing == []


def test_every_variable_of_the_environment_is_in_the_documents() -> None:
    named = set()
    for package in PACKAGES:
        for text in sources(package):
            named |= set(re.findall(r"\bHUIZHEN_[A-Z_]+[A-Z]\b", text))
    assert len(named) > 4
    assert sorted(name for name in named if name not in everything()) == []


def test_every_kind_of_json_is_in_the_documents() -> None:
    """Schemas that the command line prints."""
    named = set()
    for text in sources("huizhen"):
        named |= set(re.findall(r'"(huizhen\.[a-z0-9-]+/\d+)"', text))
    assert len(named) > 20
    assert sorted(name for name in named if name not in everything()) == []


@pytest.mark.parametrize(("page", "heading"), [("cli", "## Exit codes"), ("zh/cli", "## 退出码")])
def test_every_exit_code_is_told_in_one_table(page: str, heading: str) -> None:
    table = read(page).partition(heading)[2].partition("##")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == {int(code) for code in Exit}


def test_every_benchmark_is_named_where_its_figures_stand() -> None:
    scripts = [path for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")]
    assert len(scripts) > 20
    tables = (ROOT / "benchmarks" / "tables.py").read_text(encoding="utf-8")
    text = everything()
    assert [path.name for path in scripts if path.name not in text and f'"{path.name}"' not in tables] == []


def test_every_table_that_is_measured_has_its_place() -> None:
    tables = (ROOT / "benchmarks" / "tables.py").read_text(encoding="utf-8")
    wanted = re.findall(r'^    "([a-z-]+)": lambda', tables, re.MULTILINE)
    assert len(wanted) > 15
    places = re.findall(r"^<!-- table: (\S+) -->$", read("performance") + read("case-library"), re.MULTILINE)
    assert sorted(name for name in places if not name.endswith("-when")) == sorted(wanted)
    speed = re.findall(r"^<!-- table: (\S+) -->$", read("performance"), re.MULTILINE)
    assert [name for name in speed if not name.endswith("-when") and f"{name}-when" not in speed] == []


# --- what the guides say -------------------------------------------------------------------------------------------


def commands_of(name: str) -> Iterator[list[str]]:
    for block in fences(read(name), "sh"):
        for line in re.split(r"\n|&&", block):
            words = shlex.split(line, comments=True)
            if words and words[0] in {"huizhen", ".venv/bin/huizhen"}:
                yield words[1 : words.index("<") if "<" in words else None]
    for code in re.findall(r"`huizhen ([^`]+)`", read(name)):
        yield shlex.split(code.partition(" > ")[0])


@pytest.mark.parametrize("name", GUIDES)
def test_every_command_of_a_guide_is_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = build_parser(Translator("en"))
    for words in commands_of(name):
        if "…" in words or "--help" in words:
            continue
        try:
            parser.parse_args(words)
        except SystemExit:
            wrong = capsys.readouterr().err
            if "arguments are required" in wrong and all(word.isalpha() for word in words):
                continue  # a command is named, not typed
            pytest.fail(f"{name}: huizhen {shlex.join(words)}: {wrong}")


@pytest.mark.parametrize("name", IN_CHINESE)
def test_the_chinese_page_says_the_same_commands(name: str) -> None:
    english, chinese = read(name), read(f"zh/{name}")
    assert CJK.search(chinese)
    up = "../" * (1 + name.count("/"))
    assert f"]({up}{name}.md)" in chinese
    assert f"](../zh/{name}.md)" in english or f"](zh/{name}.md)" in english

    def plain(page: str) -> list[list[str]]:
        return [
            [word for word in words if not CJK.search(word) and word not in {"CODE", "--lang", "zh"}]
            for words in commands_of(page)
        ]

    known = plain(name)
    assert [words for words in plain(f"zh/{name}") if words not in known] == []
    assert len(re.findall(r"^## ", chinese, re.MULTILINE)) == len(re.findall(r"^## ", english, re.MULTILINE))


def figures_of(page: str) -> list[list[str]]:
    """What stands alone as a figure in the rows of its tables."""
    rows = re.findall(r"^\|(.+)\|$", page, re.MULTILINE)
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    found = [[cell for cell in row if re.fullmatch(r"[\d.,]+(?: ?%)?", cell)] for row in cells]
    return [row for row in found if row]


def settings_of(page: str) -> list[object]:
    """What the blocks set, without words that people read."""
    return [tomllib.loads(re.sub(r'\b(zh|en) = "[^"]*"', r'\1 = ""', text)) for text in fences(page, "toml")]


def code_of(page: str) -> list[tuple[str, str]]:
    """Blocks of code without their comments, which the Chinese page has in Chinese."""
    found = re.findall(r"^```(python|dbc|toml)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [(language, re.sub(r"^\s*#.*\n|\s*#.*", "", text, flags=re.MULTILINE)) for language, text in found]


def tables_of(page: str) -> list[list[str]]:
    return [found.splitlines() for found in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)]


def measured_in(page: str) -> list[str]:
    return re.findall(r"^<!-- table: .*?^<!-- end -->$", page, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", IN_CHINESE)
def test_the_chinese_page_has_the_same_figures_and_settings(name: str) -> None:
    english, chinese = read(name), read(f"zh/{name}")
    assert figures_of(chinese) == figures_of(english)
    assert settings_of(chinese) == settings_of(english)


@pytest.mark.parametrize("name", OWN)
def test_the_code_and_the_measured_tables_of_the_chinese_page_are_the_english_ones(name: str) -> None:
    english, chinese = read(name), read(f"zh/{name}")
    assert code_of(chinese) == code_of(english)
    assert measured_in(chinese) == measured_in(english)
    assert len(list(commands_of(f"zh/{name}"))) == len(list(commands_of(name)))
    assert [len(table) for table in tables_of(chinese)] == [len(table) for table in tables_of(english)]


@pytest.mark.parametrize("name", OWN)
def test_whatever_stands_as_code_in_the_english_page_stands_in_the_chinese_one(name: str) -> None:
    """Options, settings, keys and words of JSON, schemas, variables of the environment, names of errors."""

    def named(page: str) -> set[str]:
        text = re.sub(r"^```.*?^```", "", read(page), flags=re.MULTILINE | re.DOTALL)
        return set(re.findall(r"`([^`]+)`", " ".join(text.splitlines())))

    said_in_chinese = {"LINK LOST"}
    assert named(name) - named(f"zh/{name}") - said_in_chinese == set()


@pytest.mark.parametrize("name", IN_CHINESE)
def test_a_chinese_page_leads_to_chinese_pages(name: str) -> None:
    up = "../" * (1 + name.count("/"))
    links = re.findall(rf"\[([^]]*)\]\({re.escape(up)}([a-z0-9/-]+)\.md[^)]*\)", read(f"zh/{name}"))
    assert [(text, page) for text, page in links if page in IN_CHINESE and page != name] == []


def rows_of(page: str, columns: int) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in read(page).splitlines()]
    return [row for row in rows if len(row) == columns and row[0].startswith("`")]


@pytest.mark.parametrize(("page", "lang"), [("virtual-cars", "en"), ("zh/virtual-cars", "zh")])
def test_the_table_of_faults_is_that_of_the_program(page: str, lang: str) -> None:
    rows = {row[0].strip("`"): row[1:] for row in rows_of(page, 5) if row[0].strip("`") in FAULTS}
    assert list(rows) == list(FAULTS)
    for name, fault in FAULTS.items():
        title, begins, settings, _ = rows[name]
        assert title == getattr(fault.title, lang)
        assert begins == ("–" if fault.from_s is None else f"{fault.from_s:g} s")
        assert re.findall(r"`(\w+)`", settings) == list(fault.settings)
        numbers = [f"{setting.mild:g} … {setting.severe:g}" for setting in fault.settings.values() if setting.mild]
        assert re.findall(r"[-\d.e+]+ … [-\d.e+]+", settings) == numbers


def test_the_codes_of_the_table_of_faults_are_the_same_in_chinese() -> None:
    def codes(page: str) -> list[list[str]]:
        return [[row[0], *re.findall(r"[A-Z]+ [PCU][0-9A-F]{4}-[0-9A-F]{2}", row[4])] for row in rows_of(page, 5)]

    assert codes("zh/virtual-cars") == codes("virtual-cars")


def test_every_chinese_page_is_linked_from_the_readme_and_has_its_place() -> None:
    readme, navigation = (ROOT / "README.md").read_text(encoding="utf-8"), (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = [path.relative_to(DOCS).as_posix() for path in sorted(DOCS.glob("zh/*.md"))]
    assert {f"zh/{name}.md" for name in (*IN_CHINESE, "glossary") if "/" not in name} == set(pages)
    assert [page for page in pages if f"](docs/{page})" not in readme or f"- {page}\n" not in navigation] == []
    assert [page for page in pages if f"]({page})" not in read("index")] == [], "the start page lists them"


def test_what_is_written_by_hand_is_read(tmp_path: Path) -> None:
    """The database, the scenario and the limits of the page on writing one's own."""
    text = read("write-your-own")
    (dbc,) = fences(text, "dbc")
    database = load_bytes(dbc.encode(), "car.dbc")
    assert [issue for issue in database.issues if not issue.repaired] == []
    frame = database.decode_frame(384, extended=False, data=bytes.fromhex("A00FF6FFFF000000"))
    assert frame is not None
    assert {name: value.value for name, value in frame.values.items()} == {
        "PackVoltage": 400.0,
        "PackCurrent": -1.0,
        "StateOfCharge": None,
    }
    scenario, rules = fences(text, "toml")
    (tmp_path / "mine.toml").write_text(scenario, encoding="utf-8")
    assert find_scenario(tmp_path / "mine.toml").faults
    limits = limits_for(None)
    for table in ("limits", *(f"vin.{name}" for name in tomllib.loads(rules)["vin"])):
        values = tomllib.loads(rules)
        for part in table.split("."):
            values = values[part]
        assert [key for key in values if not hasattr(limits, key)] == []
