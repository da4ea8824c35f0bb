"""Session bundles at the command line: saved, judged again, checked, passed on, driven as a car."""

from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import virtualbus
from diag.bundle import pack, read_bundle
from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.sessionbundle import load_session
from huizhen.settings import config_folder, forget
from huizhen.signing import load_signer

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A visit to the car with the weak cell."""
    path = tmp_path_factory.mktemp("visit") / "visit.hzb"
    words = ["--symptom", "range is short", "--note", "car 7", "--consent", "may be shared without the VIN"]
    with pytest.MonkeyPatch.context() as patch:  # as tests/conftest.py does it for each test
        home = tmp_path_factory.getbasetemp() / "home"
        patch.setenv("XDG_DATA_HOME", str(home / "data"))
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        assert main(["scan", "--demo", "-q", "--timeout", "2", "-o", str(path), *words, "--lang", "en"]) == Exit.DONE
    return path


@pytest.fixture(autouse=True)
def _no_adapter_is_remembered() -> Generator[None]:
    """Other tests want none."""
    yield
    forget()


def member(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def told(words: list[str], capfd: pytest.CaptureFixture[str], code: int = Exit.DONE) -> dict:
    capfd.readouterr()
    assert main([*words, "--json"]) == code
    return json.loads(capfd.readouterr().out.splitlines()[-1])


def test_a_visit_judged_again_is_the_same_file_byte_for_byte(
    visit: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again.json"
    assert main(["scan", "--from", str(visit), "-o", str(again), "--lang", "en"]) == Exit.DONE
    assert again.read_bytes() == member(visit, "report.json")
    shown = capfd.readouterr()
    assert "the same as then, to the last byte" in shown.err
    assert "consult open" not in shown.out


def test_the_frames_are_a_recording_that_every_command_reads(
    visit: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = told(["log", "info", str(visit)], capfd)
    assert found["format"] == "candump"
    assert found["frames"] == len(load_session(str(visit)).tape.frames)
    battery = told(["battery", "--from", str(visit)], capfd)
    assert battery["cells"] == 96
    log = tmp_path / "visit.log"
    assert main(["log", "convert", str(visit), str(log)]) == Exit.DONE
    report = told(["scan", "--from", str(log)], capfd)
    then = json.loads(member(visit, "report.json"))
    assert report["dtcs"] == then["dtcs"]
    assert report["vehicle"] == then["vehicle"]
    assert [ecu["address"] for ecu in report["ecus"]] == [ecu["address"] for ecu in then["ecus"]]


def test_info_and_verify_say_what_it_is_and_whose(visit: Path, capfd: pytest.CaptureFixture[str]) -> None:
    info = told(["bundle", "info", str(visit)], capfd)
    assert info["schema"] == "huizhen.bundle-info/1"
    assert info["signature"]["by"] == "own"
    assert [item["text"] for item in info["notes"]] == ["car 7"]
    assert [item["text"] for item in info["consents"]] == ["may be shared without the VIN"]
    assert info["read_with"][0]["name"] == "huizhen_ev400"
    for lang, word in (("en", "signed here"), ("zh", "由本机签名")):
        for action in ("info", "verify"):
            capfd.readouterr()
            assert main(["bundle", action, str(visit), "--lang", lang]) == Exit.DONE
            assert word in capfd.readouterr().out


def test_no_vin_is_left_in_any_member_of_the_redacted_copy(
    visit: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.hzb"
    done = told(["bundle", "redact", str(visit), "-o", str(copy)], capfd)
    assert done["vins"] == 1
    assert done["serials"] >= 5
    vin = json.loads(member(visit, "report.json"))["vehicle"]["vin"]
    serial = vin[11:]
    with zipfile.ZipFile(copy) as archive:
        for name in archive.namelist():
            content = archive.read(name).decode()
            assert serial not in content, name
            assert serial.encode().hex() not in content.lower(), name
    by_id: dict[str, bytes] = {}
    for line in member(copy, "frames.log").decode().splitlines():
        can_id, _, data = line.split()[2].partition("#")
        by_id[can_id] = by_id.get(can_id, b"") + bytes.fromhex(data)[1:]
    assert not any(serial.encode() in stream for stream in by_id.values())
    session = load_session(str(copy))
    assert session.bundle.manifest["origin"]["sha256"] == load_session(str(visit)).bundle.digest
    again = tmp_path / "again.json"
    assert main(["scan", "--from", str(copy), "-o", str(again), "--lang", "en"]) == Exit.DONE
    assert again.read_bytes() == member(copy, "report.json")
    assert main(["bundle", "redact", str(copy), "-o", str(copy)]) == Exit.USAGE


def test_a_changed_bundle_is_refused_everywhere(visit: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "changed.hzb"
    with zipfile.ZipFile(visit) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"P0DE6", b"P0DE7"))
    checks = told(["bundle", "verify", str(path)], capfd, Exit.USAGE)
    assert not checks["intact"]
    assert {fault["en"] for fault in checks["faults"]} >= {"report.json was changed"}
    for words in (
        ["scan", "--from", str(path)],
        ["bundle", "info", str(path)],
        ["bundle", "redact", str(path), "-o", str(tmp_path / "x.hzb")],
        ["verify", str(path), str(path)],
        ["sim", "run", "--from", str(path), "--front", "slcan", "--duration", "1"],
    ):
        capfd.readouterr()
        assert main([*words, "--lang", "zh"]) == Exit.USAGE, words
        assert "与生成时不符" in capfd.readouterr().err, words
    assert not (tmp_path / "x.hzb").exists()
    assert main(["bundle", "verify", str(path), "--trust", "me"]) == Exit.USAGE


def test_a_key_is_made_once_only_its_owner_reads_it_and_others_become_known(
    visit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = config_folder() / "signing-key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert load_signer().public_key == load_signer().public_key
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    assert told(["bundle", "verify", str(visit)], capfd)["signature"]["by"] == "unknown"
    assert main(["scan", "--from", str(visit), "--lang", "en", "-q"]) == Exit.DONE
    assert main(["bundle", "verify", str(visit), "--trust", "workshop 12"]) == Exit.DONE
    signature = told(["bundle", "verify", str(visit)], capfd)["signature"]
    assert (signature["by"], signature["name"]) == ("known", "workshop 12")
    (tmp_path / "other" / "huizhen" / "signing-key.pem").write_text("no key", "utf-8")
    assert main(["bundle", "verify", str(visit)]) == Exit.USAGE


def test_looking_at_a_bundle_writes_nothing(
    visit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "empty"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    for words in (["bundle", "info"], ["bundle", "verify"], ["scan", "-q", "--from"]):
        assert main([*words, str(visit)]) == Exit.DONE
    assert not home.exists()
    assert main(["scan", "--from", str(visit), "-q", "-o", str(tmp_path / "UPPER.HZB")]) == Exit.DONE
    origin = told(["bundle", "info", str(tmp_path / "UPPER.HZB")], capfd)["origin"]
    assert origin == {"sha256": load_session(str(visit)).bundle.digest, "judged_again": True}


def test_a_named_database_must_be_the_same_file_or_come_along(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from dbc.files import EV400

    own = tmp_path / "own.dbc"
    own.write_bytes(Path(EV400).read_bytes())
    bare, full = tmp_path / "bare.hzb", tmp_path / "full.hzb"
    assert main(["scan", "--demo", "-q", "--dbc", str(own), "-o", str(bare)]) == Exit.DONE
    assert main(["scan", "--demo", "-q", "--dbc", str(own), "-o", str(full), "--embed"]) == Exit.DONE
    moved = own.rename(tmp_path / "moved.dbc")
    assert main(["scan", "--from", str(bare), "--lang", "en"]) == Exit.USAGE
    assert "name the file with --dbc" in capfd.readouterr().err
    again = tmp_path / "again.json"
    assert main(["scan", "--from", str(bare), "--dbc", str(moved), "-q", "-o", str(again)]) == Exit.DONE
    assert again.read_bytes() == member(bare, "report.json")
    moved.write_bytes(moved.read_bytes() + b"\n")
    assert main(["scan", "--from", str(bare), "--dbc", str(moved), "--lang", "en"]) == Exit.USAGE
    assert main(["scan", "--from", str(full), "-q", "-o", str(again)]) == Exit.DONE
    assert again.read_bytes() == member(full, "report.json")


def test_a_bundle_is_a_car_for_other_programs(visit: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [sys.executable, "-m", "huizhen", "sim", "run", "--from", str(visit), "--front", "slcan"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as car:
        assert car.stdout is not None
        channel = json.loads(car.stdout.readline())["channel"]
        # an answer that a busy machine brings late is no difference between the cars
        report = told(["scan", "-i", "slcan", "-c", channel, "-b", "500000", "--timeout", "2"], capfd)
        car.terminate()
        assert car.wait(20) == Exit.DONE
    then = json.loads(member(visit, "report.json"))
    assert report["dtcs"] == then["dtcs"]
    assert report["ecus"] == then["ecus"]
    assert report["freeze_frames"] == then["freeze_frames"]
    assert [finding["code"] for finding in report["findings"]] == [finding["code"] for finding in then["findings"]]


def test_a_visit_through_doip_becomes_a_can_car(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "doip.hzb"
    words = [sys.executable, "-m", "huizhen", "sim", "run", "--scenario", "isolation", "--front", "doip:0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as car:
        assert car.stdout is not None
        front = json.loads(car.stdout.readline())
        adapter = f"doip:{front['host']}:{front['port']}"
        assert main(["scan", "--adapter", adapter, "-q", "-o", str(path)]) == Exit.DONE
        car.terminate()
    again = tmp_path / "again.json"
    assert main(["scan", "--from", str(path), "-q", "-o", str(again)]) == Exit.DONE
    assert again.read_bytes() == member(path, "report.json")
    words = [sys.executable, "-m", "huizhen", "sim", "run", "--from", str(path), "--front", "slcan"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as car:
        assert car.stdout is not None
        channel = json.loads(car.stdout.readline())["channel"]
        report = told(["scan", "-i", "slcan", "-c", channel, "-b", "500000", "--search"], capfd)
        car.terminate()
    then = json.loads(again.read_bytes())
    assert sorted(dtc["display"] for dtc in report["dtcs"]) == sorted(dtc["display"] for dtc in then["dtcs"])
    assert len(report["ecus"]) == len(then["ecus"])


def test_a_repaired_car_is_proven_from_two_bundles(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before, after = tmp_path / "before.hzb", tmp_path / "after.hzb"
    with virtualbus.running("isolation") as car:
        link = ["-i", "virtual", "-c", car.channel]
        assert main(["scan", *link, "-q", "-o", str(before)]) == Exit.DONE
        assert main(["scan", *link, "-q", "-o", str(after)]) == Exit.DONE
    assert told(["verify", str(before), str(after)], capfd)["verdict"] == "not-fixed"


@pytest.mark.parametrize(
    "words",
    [
        ["scan", "--from", "x.hzb", "--demo"],
        ["scan", "--demo", "--note", "x"],
        ["scan", "--demo", "--note", "x", "-o", "scan.json"],
        ["scan", "--from", "none.hzb"],
        ["bundle", "info", "none.hzb"],
        ["bundle"],
    ],
)
def test_what_makes_no_sense_ends_with_usage(words: list[str]) -> None:
    assert main(words) == Exit.USAGE


def test_a_full_disk_leaves_no_half_bundle(small_disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (small_disk / "filler").write_bytes(bytes(300 << 10))
    place = small_disk / "visit.hzb"
    assert main(["scan", "--demo", "-q", "-o", str(place), "--lang", "en"]) == Exit.USAGE
    shown = capfd.readouterr()
    assert "cannot write" in shown.err
    assert "Cell" in shown.out
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler"]


def _twisted(value: object, rng: random.Random) -> object:
    """A JSON value with one thing in it replaced by nonsense, or taken out."""
    places: list[tuple[dict | list, str | int]] = []

    def walk(item: object) -> None:
        keys = item.keys() if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else ()
        for key in keys:
            places.append((item, key))
            walk(item[key])

    walk(value)
    parent, key = rng.choice(places)
    if isinstance(parent, dict) and rng.random() < 0.3:
        del parent[key]
    else:
        parent[key] = rng.choice([None, -1, 10**30, "x", [], {}, 1e308, "7E"])
    return value


def test_nonsense_under_a_good_signature_is_refused_and_never_a_crash(
    visit: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle, rng = read_bundle(visit), random.Random(11)
    path = tmp_path / "twisted.hzb"
    for _ in range(24):
        members = dict(bundle.members)
        name = rng.choice(("visit.json", "requests.jsonl", "databases.json", "report.json", "notes.json"))
        lines = members[name].splitlines() if name.endswith("l") else [members[name]]
        at = rng.randrange(len(lines))
        lines[at] = json.dumps(_twisted(json.loads(lines[at]), rng)).encode()
        members[name] = b"\n".join(lines)
        facts = {"created": "x", "made_by": "y", "origin": None}
        path.write_bytes(pack(members, facts, load_signer()))
        for words in (["scan", "--from", str(path), "-q"], ["bundle", "info", str(path)]):
            assert main([*words, "--lang", "en"]) in (Exit.DONE, Exit.USAGE), (name, capfd.readouterr().err)
            capfd.readouterr()
