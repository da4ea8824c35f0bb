"""Rooms are deleted, and keys handed out, by the commands."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from deletionkit import OTHER, ROOM, make_room

from consult.deletion import DeletionPlace
from consult.roomkeys import KeyStore
from huizhen.cli import main
from huizhen.exits import Exit


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.delenv("HUIZHEN_MASTER_KEY", raising=False)
    from huizhen.roomkeychain import with_master_key
    from huizhen.signing import load_signer

    data = tmp_path / "rooms"
    keys = KeyStore(data / "keys", master_file=with_master_key().master_key_file, makes_master=True)
    return DeletionPlace(data, keys, load_signer())


def told_json(capsys, *words):
    code = main([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_technician_hands_a_key_out_and_deletes_a_room(settings, tmp_path, capsys):
    record = make_room(settings)
    copy = Path(shutil.copy(record, tmp_path / "copy.room"))
    where = ("--data", settings.data)
    code, told = told_json(capsys, "consult", "keys", "list", *where)
    assert (code, told["schema"], [one["room"] for one in told["keys"]]) == (0, "huizhen.room-keys/1", [ROOM])
    assert main(["consult", "export", str(copy), str(tmp_path / "a.csv")]) == Exit.USAGE
    assert "key-file" in capsys.readouterr().err
    out = tmp_path / "room.key"
    assert told_json(capsys, "consult", "keys", "export", ROOM, "-o", out, *where)[0] == 0
    assert main(["consult", "export", str(copy), str(tmp_path / "a.csv"), "--key-file", str(out)]) == 0
    assert (tmp_path / "a.csv").stat().st_size > 1000
    capsys.readouterr()
    code, told = told_json(capsys, "consult", "verify", copy, "--key-file", out)
    assert (code, told["encryption"]["readable"]) == (0, True)
    assert told_json(capsys, "consult", "verify", copy)[1]["encryption"]["readable"] is False
    assert told_json(capsys, "consult", "keys", "rotate", *where)[1]["keys"] == 1
    assert main(["consult", "replay", str(record), "--duration", "0.2", "--json"]) == 0
    capsys.readouterr()
    code, told = told_json(capsys, "consult", "delete", ROOM, "--reason", "sold", *where)
    assert (code, told["schema"]) == (0, "huizhen.deletion/1")
    assert told["by"].startswith("cli:")
    assert "exported-keys" in {one["code"] for one in told["remains"]}
    certificate = settings.folder / f"{ROOM}.json"
    code, told = told_json(capsys, "consult", "verify", certificate, "--record", copy)
    assert (code, told["schema"], told["good"]) == (0, "huizhen.deletion-check/1", True)
    code, told = told_json(capsys, "consult", "verify", certificate, "--record", copy, "--key-file", out)
    assert (code, told["good"]) == (Exit.USAGE, False)
    code, told = told_json(capsys, "consult", "verify", certificate, "--key", "00" * 32)
    assert (code, [one["code"] for one in told["findings"] if not one["good"]]) == (Exit.USAGE, ["signature"])
    for words in (["delete", OTHER, "--reason", "x"], ["keys", "export", ROOM, "-o", str(out)]):
        assert main(["consult", *words, "--data", str(settings.data)]) == Exit.USAGE
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.parametrize(("lang", "said"), [("en", "is destroyed"), ("zh", "已销毁")])
def test_people_are_told_what_remains(settings, capsys, lang, said):
    make_room(settings)
    where = ["--data", str(settings.data), "--lang", lang]
    assert main(["consult", "keys", "list", *where]) == 0
    assert main(["consult", "keys", "rotate", *where]) == 0
    assert main(["consult", "delete", ROOM, "--reason", "x", *where]) == 0
    assert main(["consult", "verify", str(settings.folder / f"{ROOM}.json"), "--lang", lang]) == 0
    out = capsys.readouterr().out
    assert said in out
    assert {"en": "what remains", "zh": "仍保留的内容"}[lang] in out
    assert main(["consult", "keys", "list", *where]) == 0
    assert {"en": "no room keys", "zh": "没有会诊室密钥"}[lang] in capsys.readouterr().out


def test_an_operators_own_master_key(tmp_path, settings, capsys, monkeypatch):
    config, master = tmp_path / "service.toml", tmp_path / "vault.key"
    config.write_text('data = "rooms"\n[privacy]\nmaster_key_file = "vault.key"\n', encoding="utf-8")
    master.write_text("ab" * 32 + "\n")
    keys = KeyStore(settings.data / "keys", master_file=master)
    make_room(replace(settings, keys=keys))
    master.write_text("cd" * 32 + "\n" + "ab" * 32 + "\n")
    assert main(["consult", "keys", "rotate", "--config", str(config)]) == 0
    assert "kept by you" in capsys.readouterr().err
    monkeypatch.setenv("HUIZHEN_MASTER_KEY", "cd" * 32)
    master.unlink()
    assert told_json(capsys, "consult", "verify", next(settings.data.glob("*.room")))[1]["encryption"]["readable"]
    monkeypatch.setenv("HUIZHEN_MASTER_KEY", "ab" * 32)
    record = next(settings.data.glob("*.room"))
    assert told_json(capsys, "consult", "verify", record)[1]["encryption"]["readable"] is False
