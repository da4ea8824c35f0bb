"""Completion: what the parser and this machine know, and the three shells themselves where they are installed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from huizhen.cli import COMMANDS, build_parser, main
from huizhen.commands.completion import SHELLS
from huizhen.completion import complete, words_of_line
from huizhen.exits import Exit
from huizhen.language import Translator
from huizhen.settings import INTERFACES, KEYS, forget, remember
from huizhen.settings import Remembered as Link
from virtualbus.scenario import scenario_names

if TYPE_CHECKING:
    from pathlib import Path

EN = Translator("en")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    forget()
    monkeypatch.setattr("diag.adapters.plugged_in", lambda: (("CANable", "/dev/ttyACM7"),))


def values(*words: str, lang: str = "en") -> list[str]:
    tr = Translator(lang)
    return [choice.value for choice in complete(build_parser(tr, words), words, tr).choices]


def places(*words: str) -> str:
    return complete(build_parser(EN, words), words, EN).places


def test_commands_with_their_lines() -> None:
    choices = complete(build_parser(EN, [""]), [""], EN).choices
    assert tuple(choice.value for choice in choices) == COMMANDS
    assert all(choice.about for choice in choices)
    assert values("sc") == ["scan"]
    assert values("--lang", "zh", "sc") == ["scan"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["scan", "--scen"], ["--scenario"]),
        (["scan", "--demo", "--de"], ["--debug"]),
        (["scan", "--dbc", "a.dbc", "--db"], ["--dbc"]),
        (["scan", "--fail-on", "s"], ["stop", "soon"]),
        (["scan", "--fail-on=s"], ["--fail-on=stop", "--fail-on=soon"]),
        (["--lang", ""], ["zh", "en"]),
        (["case", "sho"], ["show"]),
        (["consult", "user", "pass"], ["passwd"]),
        (["config", "set", "lang", ""], ["zh", "en"]),
        (["config", "set", "room.pos"], ["room.position"]),
        (["config", "set", "channel", ""], ["/dev/ttyACM7"]),
        (["scan", "-i", "soc"], ["socketcan", "socketcand"]),
        (["scan", "-c", ""], ["/dev/ttyACM7"]),
        (["scan", "--adapter", "elm327:/"], ["elm327:/dev/ttyACM7"]),
        (["doctor", "/dev"], ["/dev/ttyACM7"]),
        (["dtc", "explain", "P0AA6", "U011"], ["U0110", "U0111", "U0112"]),
        (["nonsense", ""], []),
        (["scan", "--", "--de"], []),
        (["completion", "z"], ["zsh"]),
        (["dtc", "clear", "--ecu", "all", "--conf"], ["--confirm"]),
    ],
)
def test_what_may_come_next(words: list[str], expected: list[str]) -> None:
    found = values(*words)
    assert found[: len(expected)] == expected if words[0] == "dtc" else found == expected


def test_scenarios_and_fixes_are_all_there_with_their_titles() -> None:
    from casebase.catalogue import CONTENT, load_catalogue

    assert set(values("scan", "--demo", "--scenario", "")) == set(scenario_names())
    assert set(values("sim", "show", "")) == set(scenario_names())
    assert set(values("case", "show", "")) == {fix.slug for fix in load_catalogue(CONTENT).fixes}
    about = {
        choice.value: choice.about
        for choice in complete(build_parser(Translator("zh"), ["sim"]), ["sim", "show", ""], Translator("zh")).choices
    }
    assert "单体" in about["weak-cell"]


def test_the_adapter_of_last_time_is_offered() -> None:
    remember(Link(adapter="doip:169.254.3.4"))
    assert values("scan", "--adapter", "doip")[0] == "doip:169.254.3.4"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["scan", "--from", ""], "files"), (["scan", "-o", ""], "files"), (["log", "info", ""], "files"),
        (["verify", "a.json", ""], "files"), (["log", "convert", "a.log", "b"], "files"),
        (["sim", "fleet", "-o", ""], "folders"),
        (["scan", "--symptom", ""], ""), (["scan", "--demo", ""], ""), (["consult", "serve", "--data", ""], "folders"),
    ],
)  # fmt: skip
def test_where_a_file_or_a_folder_may_stand(words: list[str], kind: str) -> None:
    assert places(*words) == kind


def test_interfaces_are_those_of_python_can() -> None:
    from can.interfaces import BACKENDS

    assert set(BACKENDS) - set(INTERFACES) == set()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("huizhen ", ["huizhen", ""]),
        ("huizhen sc", ["huizhen", "sc"]),
        ("huizhen scan --from 'my file", ["huizhen", "scan", "--from", "my file"]),
        (r"huizhen scan --from my\ fi", ["huizhen", "scan", "--from", "my fi"]),
        ('huizhen scan --symptom "" ', ["huizhen", "scan", "--symptom", "", ""]),
    ],
)
def test_a_line_in_words(line: str, words: list[str]) -> None:
    assert words_of_line(line) == words


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == Exit.DONE
    out, err = capfd.readouterr()
    assert "--answer" in out
    assert err == ""


def test_settings_are_all_offered() -> None:
    assert values("config", "unset", "") == list(KEYS)


# -- the shells themselves ------------------------------------------------------------------------------------------


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A folder with ``huizhen`` on it, and the script of each shell in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "huizhen").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m huizhen "$@"\n')
    (folder / "huizhen").chmod(0o755)
    for name in SHELLS:
        done = subprocess.run(
            [sys.executable, "-m", "huizhen", "completion", name], capture_output=True, text=True, check=True
        )
        (tmp_path / f"completion.{name}").write_text(done.stdout)
    (tmp_path / "drive one.log").write_text("")
    return tmp_path


def environment(program: Path) -> dict[str, str]:
    path = os.pathsep.join([str(program / "bin"), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "HUIZHEN_LANG": "en", "TERM": "dumb", "HOME": str(program)}


def printed(program: Path, *words: str) -> str:
    """What a shell prints in that folder."""
    done = subprocess.run(
        [*words], cwd=program, env=environment(program), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def bash_answers(program: Path, line: str) -> list[str]:
    """What bash itself offers for a line: its own splitting at ``:`` and ``=`` and its own variables."""
    words = " ".join(shlex.quote(word) for word in bash_words(line))
    code = f"""
source completion.bash
COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)} COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_huizhen
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    return printed(program, shell("bash"), "--norc", "-c", code).splitlines()


def bash_words(line: str) -> list[str]:
    """As COMP_WORDBREAKS takes a line apart."""
    words = [""]
    for char in line:
        if char == " ":
            words.append("")
        elif char in ":=":
            words += [char, ""]
        else:
            words[-1] += char
    return [word for number, word in enumerate(words) if word or (number == len(words) - 1 and line[-1] == " ")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("huizhen sca", ["scan"]),
        ("huizhen scan --demo --scenario weak-c", ["weak-cell"]),
        ("huizhen scan --fail-on=st", ["stop"]),
        ("huizhen scan --fail-on=", ["stop", "soon", "monitor", "low"]),
        ("huizhen scan --adapter doip", ["doip:"]),
        ("huizhen scan --adapter elm327:/dev/nothing", [""]),
        ("huizhen log info dri", ["drive one.log"]),
        ("huizhen consult user pas", ["passwd"]),
        ("huizhen ", list(COMMANDS)),
    ],
)
def test_in_bash(program: Path, line: str, expected: list[str]) -> None:
    assert bash_answers(program, line) == expected


def test_in_fish(program: Path) -> None:
    fish = shell("fish")

    def offered(line: str) -> list[str]:
        return printed(program, fish, "--no-config", "-c", f"source completion.fish; complete -C '{line}'").splitlines()

    assert offered("huizhen sca") == ["scan\tread the whole car: codes, battery, findings, ranked fixes"]
    assert offered("huizhen scan --demo --scenario weak-c")[0].startswith("weak-cell\t")
    assert [line.partition("\t")[0] for line in offered("huizhen log info dri")] == ["drive one.log"]
    assert [line.partition("\t")[0] for line in offered("huizhen ")] == list(COMMANDS)


def test_in_zsh(program: Path) -> None:
    """In a terminal of its own, as zsh completes nowhere else: what the Tab key puts on the line."""
    zsh = shell("zsh")
    (program / ".zshrc").write_text(
        "PS1='> '\nautoload -U compinit\ncompinit -u -D\nsource completion.zsh\n"
        "bindkey '^I' complete-word\nprint rea''dy\n"
    )
    code = f"""
zmodload zsh/zpty
zpty -b car {shlex.quote(zsh)} -i
zpty -r car answer '*ready*'
zpty -w -n car $'huizhen scan --demo --scenario weak-c\\t'
zpty -r car answer '*weak-cell*' && print FOUND
zpty -w -n car $'\\C-uhuizhen log info dri\\t'
zpty -r car answer '*drive*one.log*' && print FOUND
zpty -d car
"""
    assert printed(program, zsh, "-f", "-c", code).split() == ["FOUND", "FOUND"]
