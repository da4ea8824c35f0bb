"""The six folders are ours alone, and no module has a name that says nothing or shadows the standard library's."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import huizhen

PACKAGES = ("dbc", "diag", "casebase", "virtualbus", "consult", "huizhen")
ROOT = Path(huizhen.__file__).parent.parent
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "base", "misc", "tools"}


def modules() -> list[Path]:
    return [
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if "node_modules" not in path.parts
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_owns_the_name(package: str) -> None:
    assert set(packages_distributions().get(package, [])) <= {"huizhen"}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_imported_is_ours(package: str) -> None:
    assert Path(importlib.import_module(package).__file__ or "").parent.parent == ROOT


def test_modules_are_nouns_of_the_domain() -> None:
    assert [str(path) for path in modules() if path.stem in EMPTY_NAMES] == []
    assert [str(path) for path in modules() if path.name == "__init__.py" and path.parent.name in EMPTY_NAMES] == []


def test_no_module_is_named_as_the_standard_library_s() -> None:
    named = {path: path.parent.name if path.name == "__init__.py" else path.stem for path in modules()}
    assert [str(path) for path, name in named.items() if name in sys.stdlib_module_names] == []
