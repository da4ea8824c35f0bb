"""``huizhen battery``: what a technician sees live and from a recording, and the certificate."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.simrecord import record_car
from virtualbus.errors import Phrase
from virtualbus.faults import make_fault
from virtualbus.scenario import Phase, Scenario

SCENARIO = Scenario(
    "drive",
    Phrase("drive", "drive"),
    "ev400",
    (make_fault("module-joint", joint=40),),
    cycle=(Phase("park", 1.0),),
    now="drive",
)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("battery") / "drive.blf"
    record_car(SCENARIO, 3, 240.0, str(path))
    return path


def test_a_recorded_drive_tells_the_joint_in_both_languages(
    drive: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["battery", "--from", str(drive), "--lang", "en"]) == Exit.DONE
    english = capfd.readouterr().out
    assert "SIMULATED CAR" in english
    assert "connection at cell 41 has too much resistance" in english
    assert "HIGH VOLTAGE" in english
    assert "J = connection" in english
    assert "Not visible from these data" in english
    assert main(["battery", "--from", str(drive), "--lang", "zh"]) == Exit.DONE
    chinese = capfd.readouterr().out
    assert "第 41 号单体处的连接电阻过大" in chinese
    assert "该数据无法判断" in chinese
    assert len([line for line in chinese.splitlines() if line.strip().startswith(("1 ", "13 ", "85 "))]) == 3


def test_the_json_keeps_its_promise(drive: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["battery", "--from", str(drive), "--json"]) == Exit.DONE
    told = json.loads(capfd.readouterr().out)
    assert told["schema"] == "huizhen.battery/1"
    assert told["simulated"] is True
    assert told["cells"] == 96
    promised = {"weakest", "spread_mv", "soc", "soh", "insulation_kohm", "findings", "rejected"}
    assert promised <= told.keys()
    assert told["findings"][0]["code"] == "battery.module-joint"
    assert told["study"]["causes"][0]["cell"] == 41
    assert told["soh"] == {"percent": pytest.approx(98, abs=4), "interval": None, "method": "car-says"}


def test_live_on_the_simulated_car(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["battery", "--demo", "--duration", "3", "--lang", "en"]) == Exit.DONE
    out = capfd.readouterr().out
    assert "is weaker than the rest of the pack" in out
    assert "mV from the median" in out
    assert main(["battery", "--demo", "--duration", "3", "--lang", "zh", "--fail-on", "soon"]) == Exit.FINDINGS
    assert "弱于其余单体" in capfd.readouterr().out


def test_a_certificate_is_one_page_without_scripts(
    drive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "证书.html"
    words = ["battery", "--from", str(drive), "--rated-ah", "150", "-o", str(page)]
    assert main([*words, "--lang", "zh"]) == Exit.DONE
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "<script" not in text
    assert "http:" not in text.replace("http://www.w3.org", "")
    assert "https:" not in text
    assert "第 41 号单体" in text
    assert "70 %" in text
    assert str(page) in capfd.readouterr().err
    saved = tmp_path / "battery.json"
    assert main(["battery", "--from", str(drive), "-o", str(saved), "-q"]) == Exit.DONE
    assert json.loads(saved.read_text(encoding="utf-8"))["schema"] == "huizhen.battery/1"


def test_the_certificate_is_the_one_that_report_makes(
    drive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One seal, one digest, whichever command wrote it."""
    saved, page, same = (str(tmp_path / name) for name in ("battery.json", "one.html", "two.html"))
    words = ["battery", "--from", str(drive), "--rated-ah", "150", "-q", "--lang", "en"]
    assert main([*words, "-o", saved]) == Exit.DONE
    assert main([*words, "-o", page]) == Exit.DONE
    assert main(["report", saved, "--kind", "battery", "-o", same, "--lang", "en"]) == Exit.DONE
    assert main(["report", page, "--check"]) == Exit.DONE
    digests = [re.findall(r"[0-9a-f]{64}", Path(path).read_text(encoding="utf-8")) for path in (page, same)]
    assert digests[0]
    assert digests[0] == digests[1]
    capfd.readouterr()
    assert main(["battery", "--from", str(drive), "-o", str(tmp_path / "x.txt"), "--lang", "en"]) == Exit.USAGE
    assert ".html, .pdf or .json" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--from", "nowhere.blf"], Exit.USAGE, "nowhere.blf"),
        (["--demo", "--cells", "lead"], Exit.USAGE, "nmc811"),
        (["--from", "x.blf", "--demo"], Exit.USAGE, "--from"),
        (["--demo", "-o", "/nowhere/at/all.json"], Exit.USAGE, "/nowhere/at/all.json"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: list[str], code: Exit, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["battery", *words, "--lang", "en"]) == code
    err = capfd.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_a_recording_without_a_battery_says_what_to_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "other.log"
    log.write_text("".join(f"({at / 100:.6f}) can0 123#0011223344556677\n" for at in range(300)))
    assert main(["battery", "--from", str(log), "--lang", "en"]) == Exit.USAGE
    captured = capfd.readouterr()
    assert "300 frames" in captured.err
    assert "--dbc" in captured.err
    assert captured.out == ""


def test_a_database_of_another_car_is_refused_with_the_reason(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    signals = "".join(f' SG_ CellVoltage_{n} : {16 * n}|16@1- (1,0) [0|0] "mV" X\n' for n in range(4))
    (tmp_path / "other.dbc").write_text(f'VERSION ""\nBU_: X\nBO_ 291 Cells: 8 X\n{signals}')
    lines = [f"({at / 100:.6f}) can0 123#{(0xD8EF + at) % 0x10000:04X}F0D8EFD8F0D8\n" for at in range(200)]
    log = tmp_path / "car.log"
    log.write_text("".join(lines))
    words = ["battery", "--from", str(log), "--dbc", str(tmp_path / "other.dbc")]
    assert main([*words, "--lang", "en"]) == Exit.USAGE
    err = capfd.readouterr().err
    assert "other does not fit these frames" in err
    assert "mV" in err
    assert main([*words, "--lang", "zh"]) == Exit.USAGE
    assert "不符" in capfd.readouterr().err


def test_a_bus_without_cells_is_not_taken_for_a_sound_battery(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["battery", "--demo", "--scenario", "ev800", "--duration", "2", "--lang", "en"]) == Exit.DONE
    out = capfd.readouterr().out
    assert "no cell voltages arrived" in out
    assert "nothing stands out" not in out


@pytest.mark.parametrize("value", ["0", "-3", "many", "1e9"])
def test_a_rated_capacity_is_a_capacity(value: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["battery", "--demo", f"--rated-ah={value}", "--lang", "en"])
    assert exit_.value.code == Exit.USAGE
    assert "--rated-ah" in capfd.readouterr().err


def saved_visits(folder: Path, capfd: pytest.CaptureFixture[str], values: list[float]) -> list[str]:
    """One real scan, its isolation and day changed."""
    capfd.readouterr()
    assert main(["scan", "--demo", "--scenario", "healthy", "--json"]) == Exit.DONE
    scan = json.loads(capfd.readouterr().out)
    paths = []
    for number, value in enumerate(values):
        scan["started"] = f"2026-0{1 + number // 4}-{1 + 7 * (number % 4):02d}T08:00:00Z"
        scan["battery"]["features"]["insulation_ohm_per_v"] = value
        paths.append(folder / f"visit-{number}.json")
        paths[-1].write_text(json.dumps(scan), encoding="utf-8")
    return [str(path) for path in paths]


def test_a_history_that_moves_towards_a_limit_is_told_before_it_breaks(
    drive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    falling = saved_visits(tmp_path, capfd, [9000, 6500, 5200, 3900, 3100, 2300, 1700, 1400])
    words = ["battery", "--from", str(drive), "--history"]
    assert main([*words, *falling, "--lang", "en"]) == Exit.DONE
    out = capfd.readouterr().out
    assert "isolation resistance" in out
    assert "reaches 500" in out
    assert main([*words, *falling, "--lang", "zh", "--json"]) == Exit.DONE
    (outlook,) = json.loads(capfd.readouterr().out)["outlook"]
    assert outlook["figure"] == "insulation_ohm_per_v"
    assert outlook["interval_days"][0] < outlook["days"] < outlook["interval_days"][1]


def test_a_sound_history_says_so_and_a_wrong_file_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sound = saved_visits(tmp_path, capfd, [9000, 8000, 9500, 8700, 9100, 8900, 8200, 9300])
    words = ["battery", "--demo", "--scenario", "healthy", "--duration", "2", "--lang", "en", "--history"]
    assert main([*words, *sound]) == Exit.DONE
    assert "no figure of 8 earlier visits" in capfd.readouterr().out
    wrong = tmp_path / "wrong.json"
    for text in ("", "{}", "[1]", '{"schema": "huizhen.scan/1", "battery": null}', "\xff"):
        wrong.write_bytes(text.encode("latin-1"))
        assert main([*words, str(wrong)]) == Exit.USAGE
        err = capfd.readouterr().err
        assert "wrong.json" in err
        assert err.count("\n") == 1
