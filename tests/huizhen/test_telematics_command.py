"""``huizhen telematics decode`` on hex, files and what is neither."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from huizhen.cli import main
from huizhen.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path

VECTOR = (
    "232302FE4C544553543030303030303030303030310100291A0B16081E000101030102580001E240"
    "0E47280A50012E09C41400070200000C00010000012300000082"
)


def test_hex_and_files_say_the_same(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text, raw = tmp_path / "a.txt", tmp_path / "a.bin"
    text.write_text(f"{VECTOR[:40]}\n{VECTOR[40:]}\n")
    raw.write_bytes(bytes.fromhex(VECTOR))
    told = []
    for words in ([VECTOR], [VECTOR[:4], VECTOR[4:]], [str(text)], [str(raw)]):
        assert main(["telematics", "decode", "--json", *words]) == Exit.DONE
        told.append(json.loads(capfd.readouterr().out))
    assert told[0]["schema"] == "huizhen.telematics/1"
    assert told[0]["units"][0]["values"]["voltage"] == {"value": 365.5, "unit": "V", "quality": "ok", "raw": "0E47"}
    assert all(one == told[0] for one in told)


def test_damage_between_messages_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "a.bin"
    raw.write_bytes(b"\1\2\3" + bytes.fromhex(VECTOR) * 2)
    assert main(["telematics", "decode", "--jsonl", str(raw)]) == Exit.DONE
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line.get("error", {}).get("en") for line in lines] == ["no message begins here", None, None]
    assert main(["telematics", "decode", "--lang", "zh", str(raw)]) == Exit.DONE
    shown = capfd.readouterr().out
    assert "偏移 0 处有 3 字节不是报文" in shown
    assert "实时信息上报" in shown


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("2323", "a message is cut"),
        ("zz", "cannot read zz"),
        ("012", "hex digits in pairs"),
        (VECTOR[:-2] + "00", "check"),
    ],
)
def test_what_is_no_message_is_refused(word: str, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["telematics", "decode", "--lang", "en", word]) == Exit.USAGE
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
