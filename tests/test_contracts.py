"""Every import contract bites: break it on purpose in a copy, and import-linter must name it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("dbc", "diag", "casebase", "virtualbus", "consult", "huizhen")


def copy_of_sources(target: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package,
            target / package,
            ignore=lambda folder, names: [
                name
                for name in names
                if name in {"page", "static", "__pycache__"}
                or (Path(folder, name).is_file() and not name.endswith(".py"))
            ],
        )
    shutil.copy(ROOT / "pyproject.toml", target)
    return target


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_copy_itself_keeps_every_contract(tmp_path: Path) -> None:
    result = lint(copy_of_sources(tmp_path))
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("dbc/table.py", "import diag.facts", "The six packages: imports go one way"),
        ("casebase/errors.py", "import diag.dtc", "casebase sees the facts of a car and none of its wires"),
        ("virtualbus/errors.py", "import dbc.pci", "virtualbus uses nothing of ours that reads"),
        ("consult/wire.py", "import virtualbus.errors", "the room never sees the simulator"),
        ("dbc/table.py", "import asyncio", "dbc turns bytes into values: no bus, no event loop, no clock"),
        ("diag/facts.py", "import diag.carscan", "diag inside: every module has its place"),
        ("diag/stray.py", "VALUE = 1", "diag inside: every module has its place"),
    ],
)
def test_a_contract_bites(tmp_path: Path, module: str, line: str, contract: str) -> None:
    folder = copy_of_sources(tmp_path)
    path = folder / module
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(f"{before}\n{line}\n", encoding="utf-8")
    result = lint(folder)
    assert result.returncode != 0
    broken = result.stdout.partition("Broken contracts")[2] or result.stdout
    assert contract in broken or ("stray" in module and "stray" in result.stdout), result.stdout


def contract(name: str) -> dict[str, object]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return next(found for found in settings["tool"]["importlinter"]["contracts"] if found["name"].startswith(name))


@pytest.mark.parametrize(
    ("name", "package", "allowed"),
    [("virtualbus uses nothing", "dbc", {"files"}), ("casebase sees", "diag", {"facts", "personal", "vehiclereport"})],
)
def test_a_new_module_is_forbidden_too(name: str, package: str, allowed: set[str]) -> None:
    modules = {path.stem for path in (ROOT / package).glob("*.py")} | {
        path.parent.name for path in (ROOT / package).glob("*/__init__.py")
    }
    forbidden = contract(name)["forbidden_modules"]
    assert isinstance(forbidden, list)
    missing = {f"{package}.{module}" for module in modules - allowed - {"__init__"}} - set(forbidden)
    assert not missing
