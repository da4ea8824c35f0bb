"""``read``, ``dtc clear`` and ``config`` as people and scripts use them, against the simulated car."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.errors import BadInput
from diag.readings import Wanted, parse_ecu, parse_wanted
from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.settings import Remembered, config_folder, load_settings, recall, remember, set_value


def said(capsys, *words, code=Exit.DONE):
    assert main([*words, "--lang", "en"]) == code, capsys.readouterr().err
    return capsys.readouterr()


def read_json(capsys, *words, code=Exit.DONE):
    return json.loads(said(capsys, *words, "--json", code=code).out)


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("0C", Wanted(0x01, 0x0C)), ("01:0c", Wanted(0x01, 0x0C)), ("0x0C", Wanted(0x01, 0x0C)),
        ("F190", Wanted(0x22, 0xF190)), ("22F190", Wanted(0x22, 0xF190)), ("22:f190", Wanted(0x22, 0xF190)),
        ("010C", Wanted(0x22, 0x010C)), ("06:A1", Wanted(0x06, 0xA1)), ("09.02", Wanted(0x09, 0x02)),
    ],
)  # fmt: skip
def test_what_is_asked_is_understood(word, wanted):
    assert parse_wanted(word) == wanted
    assert wanted.request[0] == wanted.service


@given(st.text(max_size=12))
def test_any_word_is_understood_or_refused(word):
    for parse in (parse_wanted, parse_ecu):
        with contextlib.suppress(BadInput):
            parse(word)


@pytest.mark.parametrize(
    ("word", "pair"),
    [
        ("0x7EC", (0x7E4, 0x7EC)), ("7e4", (0x7E4, 0x7EC)), ("7A4:7AC", (0x7A4, 0x7AC)), ("768", (0x760, 0x768)),
        ("18DAF110", (0x18DA10F1, 0x18DAF110)), ("18DA10F1", (0x18DA10F1, 0x18DAF110)),
    ],
)  # fmt: skip
def test_an_ecu_is_named_as_a_scan_shows_it(word, pair):
    target = parse_ecu(word)
    assert (target.request_id, target.response_id) == pair


def test_readings_of_every_kind_from_those_that_have_them(capsys):
    found = read_json(capsys, "read", "0D", "5B", "F190", "09:02", "--demo")["readings"]
    assert {one["id"] for one in found} == {"01:0D", "01:5B", "F190", "09:02"}
    vins = {one["values"][0]["value"] for one in found if one["id"] in ("F190", "09:02")}
    assert len(vins) == 1
    (charge, *_) = [one for one in found if one["id"] == "01:5B"]
    assert charge["values"][0]["unit"] == "%"
    assert charge["raw"] == charge["values"][0]["raw"]


def test_a_refusal_is_no_reading(capsys):
    found = read_json(capsys, "read", "FFFF", "--ecu", "7EC", "--demo", code=Exit.PROTOCOL)["readings"]
    assert found == [
        {"ecu": "0x7EC", "id": "FFFF", "values": [], "raw": "", "missing": 0, "answered": True,
         "negative": {"nrc": "0x31", "name": "requestOutOfRange"}}
    ]  # fmt: skip
    silent = read_json(capsys, "read", "F190", "--ecu", "7D0:7D8", "--timeout", "0.1", "--demo", code=Exit.NO_ANSWER)
    assert silent["readings"][0]["answered"] is False
    for words in (("read", "hello"), ("read", "0D", "--ecu", "nobody")):
        said(capsys, *words, "--demo", code=Exit.USAGE)


def test_nothing_is_cleared_without_confirmation_or_with_an_unknown_state(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    car = ("--demo", "--scenario", "isolation")
    would = said(capsys, "dtc", "clear", "--ecu", "all", *car, code=Exit.REFUSED)
    assert "14 FF FF FF" in would.out
    refused = said(capsys, "dtc", "clear", "--ecu", "all", "--confirm", *car, code=Exit.REFUSED)
    assert "not known not to charge" in refused.err
    assert list(tmp_path.iterdir()) == []
    said(capsys, "dtc", "clear", "--ecu", "7FF", "--confirm", "--unplugged", *car, code=Exit.USAGE)


def test_clearing_saves_what_was_there_and_says_what_is_there_now(capsys, tmp_path):
    place = tmp_path / "前.json"
    report = read_json(
        capsys, "dtc", "clear", "--ecu", "0x7EC", "--confirm", "--unplugged", "-o", str(place), "--demo",
        "--scenario", "isolation",
    )  # fmt: skip
    (bms,) = report["ecus"]
    assert (bms["address"], bms["cleared"], bms["request"]) == ("0x7EC", True, "14FFFFFF")
    assert [dtc["display"] for dtc in bms["before"]] == ["P0AA6-1A"]
    assert report["state"]["speed_kmh"] == 0
    assert report["state"]["supply_v"] > 12
    saved = json.loads(place.read_text(encoding="utf-8"))
    assert any(dtc["display"] == "P0AA6-1A" for dtc in saved["dtcs"])
    assert saved["freeze_frames"]


def test_settings_are_kept_with_their_comments_and_checked(capsys):
    path = set_value("lang", "zh")
    path.write_text("# 我的设置\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    said(capsys, "config", "set", "bitrate", "250000")
    assert load_settings() == {"lang": "zh", "bitrate": 250000}
    assert path.read_text(encoding="utf-8").startswith("# 我的设置")
    shown = read_json(capsys, "config")
    assert shown["settings"]["bitrate"] == 250000
    for words in ("set lang fr", "set bitrate fast", "set colour red", "set lang", "show lang"):
        said(capsys, "config", *words.split(), code=Exit.USAGE)
    said(capsys, "config", "unset", "bitrate")
    assert load_settings() == {"lang": "zh"}
    path.write_text("lang = ", encoding="utf-8")
    assert "config.toml" in said(capsys, "config", code=Exit.USAGE).err
    path.unlink()


def test_the_language_of_the_settings_counts_after_the_environment(capsys, monkeypatch):
    monkeypatch.delenv("HUIZHEN_LANG", raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    set_value("lang", "zh")
    main(["config"])
    assert "尚未记住适配器" in capsys.readouterr().out
    monkeypatch.setenv("HUIZHEN_LANG", "en")
    main(["config"])
    assert "No adapter is remembered" in capsys.readouterr().out
    set_value("lang", None)


def test_the_adapter_that_answered_is_taken_next_time(capsys, tmp_path):
    front = subprocess.Popen(
        [sys.executable, "-m", "huizhen", "sim", "run", "--front", "slcan", "--scenario", "healthy"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        port = json.loads(front.stdout.readline())["channel"]
        said(capsys, "scan", "-i", "slcan", "-c", port, "-b", "500000", "-o", str(tmp_path / "one.json"))
        assert recall() == Remembered("slcan", port, 500000)
        again = said(capsys, "read", "F190")
        assert f"-i slcan -c {port}" in again.err
        assert "VIN" in again.out
    finally:
        front.terminate()
        front.communicate(timeout=120)
    said(capsys, "config", "forget")
    assert recall() is None


def test_what_was_kept_and_makes_no_sense_is_forgotten():
    remember(Remembered(adapter="doip:127.0.0.1"))
    assert recall().words() == "--adapter doip:127.0.0.1"
    for text in ("", "[]", '{"bitrate": "x", "interface": "a", "channel": "b"}', '{"interface": "slcan"}', "\xff"):
        (config_folder() / "adapter.json").write_text(text, encoding="utf-8")
        assert recall() is None
    (config_folder() / "adapter.json").unlink()


@pytest.mark.parametrize("words", [["battery"], ["charge"], ["log", "record", "-o", "never.log"]])
@pytest.mark.parametrize("by", ["option", "environment", "memory"])
def test_what_listens_to_the_bus_says_that_this_adapter_does_not(by, words, capsys, monkeypatch):
    monkeypatch.setattr("diag.adapters.find_adapters", lambda: ())
    monkeypatch.delenv("HUIZHEN_ADAPTER", raising=False)
    if by == "environment":
        monkeypatch.setenv("HUIZHEN_ADAPTER", "doip:127.0.0.1")
    elif by == "memory":
        remember(Remembered(adapter="doip:127.0.0.1"))
    named = ["--adapter", "doip:127.0.0.1"] if by == "option" else []
    told = said(capsys, *words, *named, code=Exit.USAGE)
    assert "doip:127.0.0.1 carries only requests and answers" in told.err
    assert "huizhen live --adapter" in told.err


@pytest.mark.parametrize("n", [1, 2])
def test_the_only_adapter_that_is_plugged_in_is_taken_and_of_two_none(n, capsys, monkeypatch):
    from diag.adapters import Candidate

    with subprocess.Popen(
        [sys.executable, "-m", "huizhen", "sim", "run", "--front", "slcan", "--scenario", "healthy"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as front:  # fmt: skip
        try:
            port = json.loads(front.stdout.readline())["channel"]
            one = Candidate("slcan", port, "CANable", ("-i", "slcan", "-c", port))
            monkeypatch.setattr("diag.adapters.find_adapters", lambda: (one,) * n)
            told = said(capsys, "read", "F190", "--ecu", "7EC", code=Exit.DONE if n == 1 else Exit.USAGE)
        finally:
            front.terminate()
    if n == 1:
        assert "CANable" in told.err
        assert "LHZEV4D0" in told.out
    else:
        assert "several adapters" in told.err
        assert told.out == ""
