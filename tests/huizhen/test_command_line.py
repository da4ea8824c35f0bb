"""The command line as a contract: help in both languages, one line per error, documented codes, lazy imports."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from huizhen.cli import COMMANDS, build_parser, main
from huizhen.exits import Exit
from huizhen.language import Translator

ROOT = Path(__file__).parents[2]
CJK = re.compile(r"[\u4e00-\u9fff]")
HEAVY = ("can", "cantools", "numpy", "asyncio", "aiohttp", "aiortc", "sqlite_utils", "isotp", "cryptography")


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


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom huizhen.language import Translator\nfrom huizhen.cli import build_parser\n"
        "build_parser(Translator('en')).format_help()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_option_and_exit_code_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"## `huizhen {name}`" in text
    for code in Exit:
        assert f"| {int(code)} |" in text
    parser = build_parser(Translator("en"))
    for name, command in {"": parser, **subparsers(parser)}.items():
        for action in command._actions:
            longest = max(action.option_strings, key=len, default="")
            if longest and longest not in {"--help", "--version"}:
                assert longest in text, f"{name}: {longest} is not in docs/cli.md"


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
