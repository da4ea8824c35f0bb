"""``huizhen consult verify|replay|export`` as a person or a script runs them, on a room that the program recorded."""

import asyncio
import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from huizhen.cli import main
from huizhen.exits import Exit


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A room of the simulated car that lasted some seconds, and the settings' folder with the key that signed it."""
    folder = tmp_path_factory.mktemp("recorded")
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "settings"), "HUIZHEN_LANG": "en"}
    told = subprocess.run(
        [
            sys.executable, "-m", "huizhen", "consult", "open", "--demo", "--scenario", "weak-cell", "--listen", "1",
            "--duration", "3", "--data", str(folder / "rooms"), "--json",
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, timeout=120, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    (path,) = (folder / "rooms").glob("*.room")
    return path, folder / "settings"


@pytest.fixture
def record(recorded, monkeypatch, tmp_path):
    path, settings = recorded
    monkeypatch.setenv("XDG_CONFIG_HOME", str(settings))
    copy = tmp_path / path.name
    shutil.copy(path, copy)
    shutil.copytree(path.parent / "keys", tmp_path / "keys")
    return copy


def told_json(capsys, *words):
    code = main([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_room_of_the_simulated_car_is_recorded_whole_and_signed(record, capsys):
    code, told = told_json(capsys, "consult", "verify", record)
    assert code == Exit.DONE
    assert (told["schema"], told["verdict"]) == ("huizhen.record-check/1", "intact")
    assert told["closed"] == "consult.room-closed"
    assert [key["by"] for key in told["signed"]["keys"]] == ["own"]
    assert main(["consult", "verify", str(record), "--lang", "zh"]) == Exit.DONE
    assert "与原始记录一致" in capsys.readouterr().out


def test_an_edit_ends_with_code_2_and_is_named_in_both_languages(record, capsys):
    db = sqlite3.connect(record, isolation_level=None)
    db.execute("UPDATE block SET t_us = t_us + 1 WHERE seq = 3")
    db.close()
    code, told = told_json(capsys, "consult", "verify", record)
    assert (code, told["verdict"]) == (Exit.USAGE, "changed")
    assert {fault["code"] for fault in told["faults"]} == {"content"}
    assert set(told["faults"][0]["text"]) == {"en", "zh"}
    assert main(["consult", "verify", str(record), "--lang", "zh"]) == Exit.USAGE
    assert "已被改动" in capsys.readouterr().out
    assert main(["consult", "verify", str(record), "--lang", "en"]) == Exit.USAGE
    assert "CHANGED" in capsys.readouterr().out


def test_the_key_may_be_named_as_digits_or_as_a_file(record, capsys, tmp_path):
    _, told = told_json(capsys, "consult", "verify", record)
    own = told["signed"]["keys"][0]["public_key"]
    assert told_json(capsys, "consult", "verify", record, "--key", own)[0] == Exit.DONE
    other = Ed25519PrivateKey.generate().public_key()
    (tmp_path / "other.pem").write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for key in (other.public_bytes_raw().hex(), tmp_path / "other.pem"):
        code, told = told_json(capsys, "consult", "verify", record, "--key", key)
        assert code == Exit.USAGE
        assert {fault["code"] for fault in told["faults"]} == {"key"}
    for key in ("abc", tmp_path / "missing.pem"):
        assert main(["consult", "verify", str(record), "--key", str(key)]) == Exit.USAGE
        assert "--key" in capsys.readouterr().err


def test_a_noted_head_must_be_in_the_chain(record, capsys):
    _, told = told_json(capsys, "consult", "verify", record)
    noted = f"{told['entries']}:{told['head'][:16]}"
    assert told_json(capsys, "consult", "verify", record, "--head", noted)[0] == Exit.DONE
    code, told = told_json(capsys, "consult", "verify", record, "--head", f"{told['entries'] + 1}:{told['head'][:16]}")
    assert (code, told["faults"][0]["code"]) == (Exit.USAGE, "head")
    for wrong in ("12", "x:0011223344556677", "1:0011", "1:" + "g" * 16):
        assert main(["consult", "verify", str(record), "--head", wrong]) == Exit.USAGE
        assert "N:HASH" in capsys.readouterr().err


@pytest.mark.parametrize("action", [["verify"], ["replay"], ["export", "x.csv"]])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_what_is_no_recording_ends_with_code_2(tmp_path, capsys, monkeypatch, action, lang):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no.room").write_text("nothing")
    for name in ("no.room", "missing.room"):
        assert main(["consult", action[0], name, *action[1:], "--lang", lang]) == Exit.USAGE
        assert name in capsys.readouterr().err
    assert not (tmp_path / "x.csv").exists()


def test_the_recording_is_exported_with_what_was_measured(record, capsys, tmp_path):
    code, told = told_json(capsys, "consult", "export", record, tmp_path / "room.csv")
    assert code == Exit.DONE
    with (tmp_path / "room.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(bool(row["value"]) for row in rows) == told["samples"] > 100
    assert main(["consult", "export", str(record), str(tmp_path / "room.txt")]) == Exit.USAGE
    assert ".mcap" in capsys.readouterr().err


async def test_the_replay_prints_a_link_that_plays_the_recording(record):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "huizhen", "consult", "replay", str(record), "--speed", "100", "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(120), aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            told = json.loads(await process.stdout.readline())
            assert told["schema"] == "huizhen.replay/1"
            server, _, code = told["url"].partition("/join#")
            async with http.post(f"{server}/redeem", json={"invite": code, "name": "x"}) as answer:
                path = (await answer.json())["path"]
            blocks = 0
            async with http.ws_connect(f"{server}{path}/watch") as socket:
                while blocks < told["blocks"]:
                    blocks += (await socket.receive()).type is aiohttp.WSMsgType.BINARY
            async with http.post(f"{server}/redeem", json={"invite": code, "name": "x"}) as again:
                assert again.status == 410
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("speed", ["0", "0.01", "101", "x", "nan"])
def test_a_speed_out_of_its_range_is_refused(record, capsys, speed):
    with pytest.raises(SystemExit) as ended:
        main(["consult", "replay", str(record), "--speed", speed])
    assert ended.value.code == Exit.USAGE
    assert "0.1" in capsys.readouterr().err
