"""Signal sets of the user's own folder: found by the make, refused where there are several or a broken one."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from dbc.signalset.folder import signal_set_folder, signal_sets_of
from diag.vehiclereport import Vehicle
from huizhen.commands.scan import own_signal_set
from huizhen.console import Console
from huizhen.language import Translator

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    place = signal_set_folder()
    place.mkdir(parents=True)
    return place


def test_the_one_set_of_the_make_is_taken(folder: Path, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published = shared / "data" / "obdb"
    console = Console(Translator("en"), sys.stdout, sys.stderr)
    assert own_signal_set(Vehicle(make="Hyundai"), console) is None
    shutil.copytree(published / "Hyundai-IONIQ-5", folder / "Hyundai-IONIQ-5")
    shutil.copy(published / "Kia-EV6" / "default.json", folder / "Kia-EV6.json")
    assert [path.name for path in signal_sets_of("Kia")] == ["Kia-EV6.json"]
    taken = own_signal_set(Vehicle(make="Hyundai"), console)
    assert taken is not None
    assert taken.name == "Hyundai-IONIQ-5"
    assert own_signal_set(Vehicle(make="Tesla"), console) is None
    assert own_signal_set(Vehicle(), console) is None
    shutil.copytree(published / "Hyundai-Kona-Electric", folder / "Hyundai-Kona-Electric")
    assert own_signal_set(Vehicle(make="Hyundai"), console) is None
    assert "--signals" in capsys.readouterr().err
    (folder / "Renault.json").write_text("{")
    assert own_signal_set(Vehicle(make="Renault"), console) is None
    assert "Renault.json" in capsys.readouterr().err
