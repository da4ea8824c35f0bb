"""Every library that comes with Huizhen has a known licence that may come with it, and stands in docs/licences.md."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from loadedtools import loaded_tool

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    return loaded_tool("sbom")


def test_every_library_has_a_licence_that_is_allowed(sbom: ModuleType) -> None:
    parts = [*sbom.python_parts().values(), *sbom.page_parts()]
    assert len(parts) > 80
    assert [f"{part.name}: {words}" for part in parts if (words := sbom.verdict_on(part))] == []


@pytest.mark.parametrize(
    ("licence", "name", "good"),
    [
        ("MIT", "x", True), ("MIT AND PSF-2.0", "x", True), ("Apache-2.0 OR GPL-2.0-only", "x", True), ("", "x", False),
        ("GPL-3.0-only", "x", False), ("MIT AND GPL-3.0-only", "x", False), ("GPL-2.0-only", "obd", True),
        ("GPL-2.0-only", "x", False), ("AGPL-3.0-only", "obd", False), ("Proprietary", "x", False),
        ("LGPL-3.0-only", "x", True),
    ],
)  # fmt: skip
def test_what_is_allowed(sbom: ModuleType, licence: str, name: str, *, good: bool) -> None:
    assert (sbom.verdict_on(sbom.Part(name, "1", licence, "pkg:pypi/x@1")) == "") is good


def test_what_a_user_cannot_install_is_not_listed(sbom: ModuleType) -> None:
    names = set(sbom.python_parts())
    assert {"aiohttp", "numpy", "obd", "pyserial"} <= names
    assert not {"pytest", "ruff", "hypothesis", "elm327-emulator", "huizhen"} & names


def test_the_page_lists_them_all(sbom: ModuleType) -> None:
    text = sbom.PAGE.read_text(encoding="utf-8")
    missing = [part.name for part in sbom.python_parts().values() if f"| {part.name} | {part.licence} |" not in text]
    missing += [
        part.name
        for part in sbom.page_parts()
        if part.is_everywhere and f"| {part.name} | {part.licence} |" not in text
    ]
    assert missing == [], "python tools/sbom.py --page"


def test_the_list_of_parts(sbom: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first, second = (tmp_path / name for name in ("one.json", "two.json"))
    for path in (first, second):
        subprocess.run([sys.executable, ROOT / "tools" / "sbom.py", "-o", path], check=True)
    assert first.read_bytes() == second.read_bytes()
    told = json.loads(first.read_text(encoding="utf-8"))
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    refs = [part["bom-ref"] for part in told["components"]]
    assert len(refs) == len(set(refs))
    by_name = {part["name"]: part for part in told["components"]}
    assert by_name["uplot"]["scope"] == "required"
    assert by_name["vite"]["scope"] == "excluded"
    assert by_name["obd"]["scope"] == "optional"
    assert by_name["aiohttp"]["purl"].startswith("pkg:pypi/aiohttp@")
    known = {*refs, told["metadata"]["component"]["bom-ref"]}
    assert {ref for link in told["dependencies"] for ref in (link["ref"], *link["dependsOn"])} <= known


def test_licences_of_what_is_built_into_the_page_are_served_with_it() -> None:
    """MIT asks that its text goes along with what was built from it."""
    scripts = list((ROOT / "consult" / "static").rglob("*.js"))
    assert scripts
    notices = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "consult" / "static").glob("licences.txt"))
    assert "uplot" in notices
    assert "Permission is hereby granted" in notices
