"""``huizhen config``: settings that stay, checked before they are written."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.settings import KEYS, config_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for key in KEYS:
        monkeypatch.delenv(f"HUIZHEN_{key.upper()}", raising=False)


def told(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["config", *words, "--lang", "en"]) == Exit.DONE
    return capfd.readouterr().out.strip()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lang", "zh"), ("interface", "slcan"), ("channel", "/dev/ttyACM0"), ("bitrate", "250000"),
        ("adapter", "doip:169.254.1.2"),
        ("library", "/srv/cases.db"), ("room.position", "coarse"), ("room.regions", "CN, HK"),
        ("room.retention-days", "30"),
    ],
)  # fmt: skip
def test_set_get_unset(key: str, value: str, capfd: pytest.CaptureFixture[str]) -> None:
    told(capfd, "set", key, value)
    assert told(capfd, "get", key) == value
    assert value in told(capfd)
    assert told(capfd, "list") == told(capfd, "show")
    told(capfd, "unset", key)
    assert main(["config", "get", key]) == Exit.USAGE
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lang", "fr"), ("interface", "slcam"), ("bitrate", "fast"), ("bitrate", "-1"), ("adapter", "elm:/dev/ttyUSB0"),
        ("room.position", "yes"), ("room.regions", "cn"), ("room.retention-days", "0"), ("langg", "zh"),
        ("channel", ""),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_and_nothing_written(
    key: str, value: str, capfd: pytest.CaptureFixture[str]
) -> None:
    told(capfd, "set", "channel", "can0")
    before = (config_folder() / "config.toml").read_bytes()
    assert main(["config", "set", key, value, "--lang", "en"]) == Exit.USAGE
    assert capfd.readouterr().err.count("\n") == 1
    assert (config_folder() / "config.toml").read_bytes() == before


def test_comments_of_people_stay(capfd: pytest.CaptureFixture[str]) -> None:
    path = config_folder() / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('# our bay 3\nchannel = "can0"  # the long cable\n[room]\nposition = "off"\n', encoding="utf-8")
    told(capfd, "set", "bitrate", "500000")
    text = path.read_text(encoding="utf-8")
    assert "# our bay 3" in text
    assert "# the long cable" in text
    assert told(capfd, "get", "bitrate") == "500000"
    assert told(capfd, "get", "room.position") == "off"


def test_a_setting_in_a_table_can_be_changed_and_taken_away(capfd: pytest.CaptureFixture[str]) -> None:
    path = config_folder() / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text('[room]\nposition = "off"\n', encoding="utf-8")
    told(capfd, "set", "room.position", "on")
    assert told(capfd, "get", "room.position") == "on"
    told(capfd, "unset", "room.position")
    assert main(["config", "get", "room.position"]) == Exit.USAGE


def test_the_environment_is_said(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    told(capfd, "set", "channel", "can0")
    monkeypatch.setenv("HUIZHEN_CHANNEL", "can7")
    assert told(capfd, "get", "channel") == "can7"
    assert "can0; now can7 by the environment" in told(capfd)
    shown = json.loads(told(capfd, "--json"))
    assert shown["settings"]["channel"] == "can0"
    assert shown["environment"] == {"channel": "can7"}


def test_where_it_stands(capfd: pytest.CaptureFixture[str]) -> None:
    assert told(capfd, "path") == str(config_folder() / "config.toml")


@pytest.mark.parametrize("words", [["get"], ["set", "lang"], ["unset"], ["path", "lang"], ["show", "x"], ["nonsense"]])
def test_half_a_command_says_what_to_write(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["config", *words])
    except SystemExit as stop:
        code = stop.code
    assert code == Exit.USAGE
    assert capfd.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("home", [None, "", "somewhere/relative"])
def test_without_a_home_of_the_environment_the_accounts_counts(
    home: str | None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pwd = pytest.importorskip("pwd")
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    account = pwd.getpwuid(os.getuid()).pw_dir
    assert told(capfd, "path") == f"{account}/.config/huizhen/config.toml"
    assert os.environ["HOME"] == account


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_account_without_a_home_is_told_what_to_set(
    lang: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pwd = pytest.importorskip("pwd")

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == Exit.DONE
    capfd.readouterr()
    assert main(["config", "path", "--lang", lang]) == Exit.USAGE
    said = capfd.readouterr()
    assert (said.out, "HOME=/" in said.err, len(said.err.splitlines())) == ("", True, 1)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert told(capfd, "path") == f"{tmp_path}/huizhen/config.toml"
