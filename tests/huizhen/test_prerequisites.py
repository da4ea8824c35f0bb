"""What is missing on a machine, and how to get it, on machines that do not exist."""

from __future__ import annotations

import json
import platform
import tomllib
from pathlib import Path

import pytest

from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.prerequisites import EXTRAS, Prerequisite, install_words, prerequisites

ROOT = Path(__file__).parents[2]


def by_name(root: Path, system: str = "linux") -> dict[str, Prerequisite]:
    return {one.name: one for one in prerequisites(root, system)}


def test_every_extra_is_known() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    offered = set(settings["project"]["optional-dependencies"])
    assert set(EXTRAS) == offered - {"test", "test-nc", "docs"}


def test_every_extra_is_in_the_guide() -> None:
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert [name for name in EXTRAS if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_everything_missing_has_a_way_to_get_it(system: str, tmp_path: Path) -> None:
    found = prerequisites(tmp_path, system)
    assert {"elm327", "Chromium", "coturn"} <= {one.name for one in found}
    for one in found:
        assert one.purpose.en
        assert one.purpose.zh
        if not one.is_there:
            assert one.fix.en
            assert one.fix.zh
    if system != "linux":
        assert not any(one.kind in ("kernel", "group", "rule") for one in found)


def test_an_extra_comes_by_the_pip_of_this_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder in ("venv", "pipx/venvs/huizhen"):
        (tmp_path / folder / "bin").mkdir(parents=True)
        (tmp_path / folder / "bin" / "pip").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setattr("sys.prefix", str(tmp_path / "venv"))
    monkeypatch.setattr("sys.executable", str(tmp_path / "venv" / "bin" / "python"))
    assert install_words(["elm327"]) == "venv/bin/pip install 'huizhen[elm327]'"
    monkeypatch.setattr("sys.prefix", str(tmp_path / "pipx" / "venvs" / "huizhen"))
    assert install_words(["elm327", "cars"]) == "pipx runpip huizhen install 'huizhen[elm327,cars]'"


def test_modules_of_the_kernel(tmp_path: Path) -> None:
    assert not by_name(tmp_path)["can_raw"].is_there
    assert "linux-modules-extra" in by_name(tmp_path)["can_raw"].fix.en
    folder = tmp_path / "lib" / "modules" / platform.release()
    folder.mkdir(parents=True)
    (folder / "modules.dep").write_text("kernel/net/can/can-raw.ko.xz: kernel/net/can/can.ko.xz\n")
    assert by_name(tmp_path)["can_raw"].is_there
    assert not by_name(tmp_path)["gs_usb"].is_there
    (tmp_path / "sys" / "module" / "gs_usb").mkdir(parents=True)
    assert by_name(tmp_path)["gs_usb"].is_there


def test_modem_manager_is_told_off(tmp_path: Path) -> None:
    assert "udev rule" not in by_name(tmp_path)
    (tmp_path / "usr" / "sbin").mkdir(parents=True)
    (tmp_path / "usr" / "sbin" / "ModemManager").write_text("")
    assert not by_name(tmp_path)["udev rule"].is_there
    rules = tmp_path / "etc" / "udev" / "rules.d"
    rules.mkdir(parents=True)
    (rules / "60-huizhen.rules").write_text('ENV{ID_MM_DEVICE_IGNORE}="1"\n')
    assert by_name(tmp_path)["udev rule"].is_there


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    monkeypatch.setattr("diag.adapters._kernel_interfaces", lambda _root: ())
    monkeypatch.setattr("diag.adapters._usb_without_driver", lambda _root: ())


@pytest.mark.usefixtures("bare")
def test_the_doctor_tells_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == Exit.NO_ADAPTER
    told = json.loads(capfd.readouterr().out)["prerequisites"]
    assert {"name", "kind", "area", "purpose", "there", "fix"} == set(told[0])
    assert all((one["fix"] is None) == one["there"] for one in told)
    assert main(["doctor", "-v", "--service", "--lang", "en"]) == Exit.NO_ADAPTER
    out = capfd.readouterr().out
    assert all(one["name"] in out for one in told)
    assert main(["doctor", "--lang", "en"]) == Exit.NO_ADAPTER
    assert "coturn" not in capfd.readouterr().out
