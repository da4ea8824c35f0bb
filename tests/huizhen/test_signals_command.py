"""``huizhen signals decode``: one line out for each line in, whatever is in it."""

from __future__ import annotations

import io
import json
import random
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from huizhen.cli import main
from huizhen.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"schema", "values", "raw", "ecu", "unclamped", "units", "others", "error"}


def decode(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], data: bytes, *words: str
) -> list[dict[str, Any]]:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert main(["signals", "decode", *words, "--jsonl"]) == Exit.DONE
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


@pytest.fixture
def sets(shared: Path) -> list[str]:
    folder = shared / "data/obdb"
    return [
        str(folder / "Audi-e-tron/default.json"),
        "--fallback", str(folder / "Audi/default.json"),
        "--fallback", str(folder / "SAEJ1979/default.json"),
    ]  # fmt: skip


def line(command: str, response: str, **more: object) -> bytes:
    return json.dumps({"command": command, "response": response, **more}).encode() + b"\n"


def test_values_raw_bytes_and_the_true_number(monkeypatch, capfd, sets) -> None:
    data = (
        line("710.77A.222A07", "77A05622A0726FF", year=2019)
        + line("7E0.0106", "7E803410600", year="2019")
        + line("710.77A.222A07", "77A037F2231")
    )
    battery, trim, refused = decode(monkeypatch, capfd, data, *sets)
    assert set(battery) == KEYS
    assert battery["ecu"] == "0x77A"
    assert battery["values"]["AUDI_MQB_BAT_V"] == pytest.approx(13.983)
    assert battery["raw"]["AUDI_MQB_BAT_V"] == "26FF"
    assert battery["error"] is None
    assert trim["values"] == {"SHRTFT1": -100}
    assert refused["values"] == {}
    assert refused["error"]["nrc"] == "0x31"
    assert refused["error"]["name"] == "requestOutOfRange"
    assert refused["error"]["code"] == "dbc.refused"
    assert "拒绝" in refused["error"]["text"]["zh"]


def test_unclamped_only_where_it_differs(monkeypatch, capfd, shared) -> None:
    ioniq = str(shared / "data/obdb/Hyundai-IONIQ-5/default.json")
    payload = bytes.fromhex("620105") + bytes(25) + (1200).to_bytes(2, "big") + bytes(10)
    (out,) = decode(monkeypatch, capfd, line("7E4.7EC.220105", payload.hex()), ioniq)
    assert out["values"]["IONIQ5_HVBAT_SOH"] == 100
    assert out["unclamped"] == {"IONIQ5_HVBAT_SOH": 120}
    assert out["raw"]["IONIQ5_HVBAT_SOH"] == "04B0"
    assert out["units"]["IONIQ5_HVBAT_SOH"] == "%"


def test_one_line_out_for_any_line_in(monkeypatch, capfd, sets) -> None:
    chance = random.Random(3)
    good = line("710.77A.222A07", "77A05622A0726FF", year=2019)
    lines = [
        b"\n", b"x\n", b"[]\n", b"{}\n", b'{"command": 3, "response": ""}\n', b"\xff\xfe\n", b"[" * 3000 + b"\n",
        b'{"command": "7E4.7EC.220105", "response": "", "year": 1e400}\n', line("nonsense", ""), good,
        line("\ud800", ""), line("7E4.7EC.220105|f=\udfff", "\ud800"), line("710.77A.222A07", "", year=True),
        b"{" + b" " * (1024 * 1024 + 10) + b"\n", good,
    ]  # fmt: skip
    for _ in range(300):
        damaged = bytearray(good)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(damaged) - 1)] = chance.choice([0, 0xFF, *range(0x20, 0x7F)])
        lines.append(bytes(damaged[: chance.randint(1, len(damaged) - 1)]) + b"\n")
    out = decode(monkeypatch, capfd, b"".join(lines) + good.rstrip(), *sets)
    assert len(out) == len(lines) + 1
    assert all(set(answer) == KEYS for answer in out)
    assert [number for number, answer in enumerate(out[:15]) if answer["error"] is None] == [9, 14]
    assert out[-1]["error"] is None
    for answer in out:
        if answer["error"]:
            assert answer["error"]["code"].startswith("dbc.")
            assert answer["error"]["text"]["en"]
            assert answer["error"]["text"]["zh"]


def test_a_set_that_is_none_ends_with_exit_2(tmp_path, capfd) -> None:
    path = tmp_path / "x.json"
    path.write_text("[]", encoding="utf-8")
    assert main(["signals", "decode", str(path), "--jsonl"]) == Exit.USAGE
    assert main(["signals", "decode", str(tmp_path / "none.json"), "--jsonl"]) == Exit.USAGE
    assert main(["signals"]) == Exit.USAGE
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 3


@pytest.mark.parametrize(("lang", "words"), [("en", ["answer of 0x7E8", "degC"]), ("zh", ["0x7E8 的应答", "原始字节"])])
def test_what_a_person_reads(monkeypatch, capfd, sets, lang, words) -> None:
    data = line("7E0.0105", "SEARCHING...\r7E8 03 41 05 7B \r>") + line("7E0.0105", "NO DATA")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert main(["signals", "decode", *sets, "--lang", lang]) == Exit.DONE
    out = capfd.readouterr().out
    assert all(word in out for word in [*words, "ECT", "83", "NO DATA"])
