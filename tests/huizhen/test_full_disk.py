"""A disk that fills up: one clear line, the right exit code, what was read is shown, nothing half-written is left."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from dbc.files import EV400
from huizhen.cli import main
from huizhen.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path


def fill(folder: Path) -> None:
    """Leaves no byte free."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def written_log(folder: Path) -> Path:
    """A log of random frames, larger than the small disk."""
    chance = random.Random(1)
    log = folder / "a.log"
    log.write_text(
        "".join(
            f"({1_700_000_000 + n / 100:.6f}) can0 180#{chance.randbytes(8).hex().upper()}\n" for n in range(40_000)
        )
    )
    return log


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()} - {"filler"}


def test_a_scan_that_cannot_be_saved_is_shown(small_disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fill(small_disk)
    target = small_disk / "scan.json"
    assert main(["scan", "--demo", "--scenario", "weak-cell", "-o", str(target), "--json"]) == Exit.USAGE
    out, err = capfd.readouterr()
    assert json.loads(out)["findings"]
    assert len(err.splitlines()) == 1
    assert str(target) in err
    assert not names(small_disk)


def test_a_scan_is_saved_though_nobody_reads_it_to_the_end(tmp_path: Path) -> None:
    target = tmp_path / "scan.json"
    command = [sys.executable, "-m", "huizhen", "scan", "--demo", "--scenario", "weak-cell", "-o", str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.stdout.close()
        process.wait(60)
    assert json.loads(target.read_text(encoding="utf-8"))["schema"] == "huizhen.scan/1"


@pytest.mark.parametrize(("lang", "words"), [("en", "disk is full; check disk space"), ("zh", "请检查磁盘空间")])
def test_a_room_that_cannot_be_recorded_is_not_opened(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], lang: str, words: str
) -> None:
    fill(small_disk)
    monkeypatch.setenv("XDG_DATA_HOME", str(small_disk))
    assert main(["consult", "open", "--demo", "--duration", "1", "--lang", lang]) == Exit.USAGE
    out, err = capfd.readouterr()
    assert "http" not in out
    assert words in err.splitlines()[-1]
    assert not names(small_disk)


@pytest.mark.parametrize(
    "words",
    [
        ("convert", "{log}", "{disk}/out.asc"),
        ("convert", "{log}", "{disk}/out.blf"),
        ("convert", "{log}", "{disk}/out.mf4"),
        ("decode", "{log}", "--dbc", "{dbc}", "-o", "{disk}/out.csv"),
        ("decode", "{log}", "--dbc", "{dbc}", "-o", "{disk}/out.jsonl"),
        ("decode", "{log}", "--dbc", "{dbc}", "-o", "{disk}/out.parquet"),
        ("decode", "{log}", "--dbc", "{dbc}", "-o", "{disk}/out/"),
        ("decode", "{blf}", "--dbc", "{dbc}", "-o", "{disk}/out/"),
    ],
)
def test_a_recording_that_has_no_room_leaves_nothing(
    small_disk: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    log = written_log(tmp_path)
    blf = tmp_path / "a.blf"
    assert main(["log", "convert", str(log), str(blf), "-q"]) == Exit.DONE
    capfd.readouterr()
    places = {"log": log, "blf": blf, "disk": small_disk, "dbc": EV400}
    assert main(["log", *(word.format(**places) for word in words)]) == Exit.USAGE
    err = capfd.readouterr().err
    assert len(err.splitlines()) == 1
    assert "No space left" in err
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("name", ["a.blf.gz", "a.log.zip"])
def test_what_cannot_be_unpacked_leaves_nothing(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    log = written_log(tmp_path)
    assert main(["log", "convert", str(log), str(tmp_path / "a.blf"), "-q"]) == Exit.DONE
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress((tmp_path / "a.blf").read_bytes()))
    else:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(log, "a.log")
    assert main(["log", "info", str(tmp_path / name), "-q"]) == Exit.DONE
    capfd.readouterr()
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    assert main(["log", "info", str(tmp_path / name)]) == Exit.USAGE
    err = capfd.readouterr().err
    assert len(err.splitlines()) == 1
    assert "No space left" in err
    assert str(small_disk) in err
    assert list(small_disk.iterdir()) == []


def test_an_import_onto_a_full_disk_is_one_line_and_keeps_what_was_committed(
    library_disk: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [
        f'24V{i:03d},d{n}.pdf,FORD,F-150,2021,"{"part may break " * 40}{i} {n}"' for n in range(40) for i in range(300)
    ]
    log = tmp_path / "long.csv"
    log.write_text("NHTSA ID,DOCUMENT NAME,MAKE,MODEL,MODEL YEAR,SUMMARY\n" + "\n".join(rows) + "\n", "utf-8")
    library = str(library_disk / "cases.db")
    assert (
        main(["--lang", "en", "case", "import", "nhtsa-recalls", str(log), "--library", library]) == Exit.CASE_LIBRARY
    )
    err = capfd.readouterr().err
    assert "no room on the disk" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert main(["--lang", "en", "case", "stats", "--json", "--library", library]) == Exit.DONE
    copy = str(library_disk / "copy.db")
    assert main(["--lang", "en", "case", "backup", copy, "--library", library]) == Exit.CASE_LIBRARY
    assert not [name for name in names(library_disk) if "copy" in name]
