"""A folder that holds no service's data is a mistake to every action but those that may begin one."""

import argparse
import json
import os
import re
from pathlib import Path

import pytest

from consult.deletion import FOLDER as DELETIONS
from consult.servicestate import ServiceState
from huizhen.cli import build_parser, main
from huizhen.errors import ServiceMissing, ServiceUnreadable
from huizhen.exits import Exit, exit_from_error
from huizhen.language import Translator
from huizhen.servicefolder import MAY_BEGIN, require_service

CJK = re.compile(r"[\u4e00-\u9fff]")
VALUES = {"vin": "LHZEV4001N0001234", "room": "0123456789ab", "name": "wang", "output": "out"}
"""What an action insists on -> something that it takes; a new action's fails here until it is named."""


def parsers_below(parser):
    """Each action of a parser, with the words that lead to it."""
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in found:
        for name, child in action.choices.items():
            deeper = list(parsers_below(child))
            yield from (((name, *words), leaf) for words, leaf in deeper) if deeper else [((name,), child)]


def consult_actions():
    commands = dict(parsers_below(build_parser(Translator("en"))))
    return {words[1:]: parser for words, parser in commands.items() if words[0] == "consult"}


def needed_words(parser):
    """What the parser insists on, filled in."""
    words = []
    for action in parser._actions:
        if action.required:
            words += [*action.option_strings[-1:], VALUES.get(action.dest) or {"reason": "why"}[action.dest]]
    for group in parser._mutually_exclusive_groups:
        if group.required:
            words.append(group._group_actions[0].option_strings[-1])
    return words


ACTIONS = consult_actions()
FINDING = [
    words
    for words, parser in ACTIONS.items()
    if any(action.dest == "data" for action in parser._actions)
    and (words[0], words[1] if len(words) > 1 else None) not in MAY_BEGIN
]


def test_every_action_that_takes_a_folder_is_looked_at():
    assert {words[0] for words in FINDING} >= {
        "car", "forget", "retention", "delete", "keys", "queue", "backup", "migrate", "site", "drafts", "research",
        "user",
    }  # fmt: skip
    exempt = {(words[0], words[1] if len(words) > 1 else None) for words in ACTIONS}
    assert exempt >= MAY_BEGIN, "an exemption names an action that there is not"


@pytest.fixture
def run(capfd, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)

    def run(*words, lang="en"):
        code = main(["--lang", lang, "consult", *map(str, words)])
        return code, *capfd.readouterr()

    return run


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("words", FINDING, ids=" ".join)
def test_a_mistyped_folder_is_a_usage_error(run, tmp_path, words, lang):
    given, missing = (*words, *needed_words(ACTIONS[words])), tmp_path / "typo"
    code, out, err = run(*given, "--data", missing, lang=lang)
    assert (code, out) == (Exit.USAGE, "")
    assert err.count("\n") == 1, err
    assert all(part in err for part in (str(missing), "--data", "--config", "service.db"))
    assert bool(CJK.search(err)) is (lang == "zh")
    (tmp_path / "service.toml").write_text('data = "typo"\n')
    assert run(*given, "--config", tmp_path / "service.toml", lang=lang)[0] == Exit.USAGE
    code, _, err = run(*given, "--config", tmp_path / "none.toml", lang=lang)
    assert (code, err.count("\n")) == (Exit.USAGE, 1)
    assert "none.toml" in err
    code, out, _ = run(*given, "--json", lang=lang)  # the user's own folder, where no room was ever
    told = json.loads(out)
    assert (code, told["schema"], told["code"]) == (Exit.USAGE, "huizhen.error/1", "huizhen.service-missing")
    assert not missing.exists(), "what is mistyped is not made"
    assert not (tmp_path / "out").exists()


def test_a_missing_configuration_is_a_usage_error_of_notify_and_serve_too(run):
    for words in (("notify",), ("serve", "--check")):
        code, _, err = run(*words, "--config", "none.toml")
        assert (code, err.count("\n")) == (Exit.USAGE, 1)


def test_what_is_a_services_folder(tmp_path):
    for name in (DELETIONS, "keys"):
        (tmp_path / name / name).mkdir(parents=True)
        require_service(tmp_path / name)
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "20261130-101500-0123456789ab.room").touch()
    require_service(tmp_path / "recordings")
    ServiceState(tmp_path / "database" / "service.db").close()
    require_service(tmp_path / "database")
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name in ("file", "empty", "none"):
        with pytest.raises(ServiceMissing):
            require_service(tmp_path / name)


def test_a_folder_of_another_user_is_named_as_such(tmp_path):
    own = os.geteuid()
    (tmp_path / "theirs" / "rooms").mkdir(parents=True)
    (tmp_path / "theirs").chmod(0)
    try:
        if own == 0:
            os.seteuid(65_534)  # root may look everywhere
        with pytest.raises(ServiceUnreadable) as wrong:
            require_service(tmp_path / "theirs" / "rooms")
    finally:
        os.seteuid(own)
        (tmp_path / "theirs").chmod(0o700)
    assert exit_from_error(wrong.value) == Exit.USAGE
    assert str(wrong.value).endswith("rooms: Permission denied; run this as the user of the room service")


def test_a_service_is_found_and_an_account_may_begin_one(run, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("a long enough password\n"))
    assert run("user", "add", "Wang", "--data", "new")[0] == Exit.USAGE, "a name in small letters"
    assert not Path("new").exists(), "what is refused begins nothing"
    code, _, err = run("user", "add", "wang", "--data", "new")
    assert (code, "a new room service begins in new;" in err) == (Exit.DONE, True)
    for words in (("user", "list"), ("queue",), ("retention",), ("keys", "list"), ("drafts",), ("site", "list")):
        code, out, _ = run(*words, "--json", "--data", "new")
        assert code == Exit.DONE
        assert json.loads(out)["schema"].startswith("huizhen.")
