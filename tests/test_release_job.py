"""The release job's own lists: what it names exists, and an archive that lacks something is not let through."""

from __future__ import annotations

import io
import re
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from loadedtools import loaded_tool

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def release() -> ModuleType:
    return loaded_tool("release")


def archives(release: ModuleType, folder: Path, *, without: str = "", also: str = "") -> tuple[Path, Path]:
    """A wheel and an sdist with empty files of the right names."""
    names = [*release.MUST, *release.LICENCES, "hatch_build.py", "consult/static/assets/index-1.js"]
    names += ["huizhen-1.dist-info/METADATA", *(f"huizhen-1.dist-info/licenses/{text}" for text in release.LICENCES)]
    names = [name for name in [*names, also] if name and name != without]
    wheel, sdist = folder / "huizhen-1-py3-none-any.whl", folder / "huizhen-1.tar.gz"
    with zipfile.ZipFile(wheel, "w") as file:
        for name in names:
            if name not in ("hatch_build.py", *release.LICENCES):
                file.writestr(name, "")
    with tarfile.open(sdist, "w:gz") as file:
        for name in names:
            file.addfile(tarfile.TarInfo(f"huizhen-1/{name}"), io.BytesIO())
    return wheel, sdist


def test_good_archives_are_let_through(release: ModuleType, tmp_path: Path) -> None:
    release.look_into(*archives(release, tmp_path))


@pytest.mark.parametrize(
    ("without", "also", "said"),
    [
        ("consult/static/index.html", "", "index.html is missing"),
        ("consult/static/assets/index-1.js", "", "the page has no script"),
        ("huizhen/language/scan.toml", "", "scan.toml is missing"),
        ("LICENSE", "", "tar.gz: LICENSE is missing"),
        ("huizhen-1.dist-info/licenses/LICENSE", "", "whl: the licence LICENSE is missing"),
        (
            "huizhen-1.dist-info/licenses/LICENSES/GPL-2.0-only.txt",
            "",
            "the licence LICENSES/GPL-2.0-only.txt is missing",
        ),
        ("", "tests/test_x.py", "tests"),
        ("", "consult/page/src/main.ts", "consult/page/src/main.ts"),
        ("", "huizhen/__pycache__/cli.pyc", "__pycache__"),
    ],
)
def test_what_is_missing_or_too_much_is_said(
    release: ModuleType, tmp_path: Path, without: str, also: str, said: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        release.look_into(*archives(release, tmp_path, without=without, also=also))
    assert said in str(stop.value)


def test_every_text_of_a_licence_goes_along(release: ModuleType) -> None:
    there = {"LICENSE", *(path.relative_to(ROOT).as_posix() for path in (ROOT / "LICENSES").iterdir())}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert there == set(release.LICENCES) == set(project["license-files"])


def test_what_it_must_hold_is_there(release: ModuleType) -> None:
    assert [name for name in release.MUST if not (ROOT / name).exists()] == []


def test_tests_that_are_named_exist(release: ModuleType) -> None:
    assert [name for name in release.SLICE if not (ROOT / name).exists()] == []
    for name in release.LOOKS_AT_CHECKOUT:
        path, _, function = name.partition("::")
        assert f"def {function}" in (ROOT / path).read_text(encoding="utf-8")


def test_lower_bounds_are_recorded_as_they_stand(release: ModuleType) -> None:
    """A bound that was changed has not been tried: run the job again and write down what it says."""
    told = (ROOT / "docs" / "release.md").read_text(encoding="utf-8")
    recorded = dict(re.findall(r"\| ([a-z0-9-]+) \| ([\d.]+) \|", told))
    wrong = []
    for line in release.requirements(*release.SHIPPED_EXTRAS):
        found = re.fullmatch(r"([A-Za-z0-9-]+)(?:\[[^\]]*\])?(?:>=([\d.]+))?", line)
        assert found is not None, line
        name, bound = found[1].lower(), found[2]
        if name not in recorded or (bound and not recorded[name].startswith(bound)):
            wrong.append(line)
    assert wrong == []


def test_every_shipped_extra_is_tried(release: ModuleType) -> None:
    optional = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(optional) - set(release.SHIPPED_EXTRAS) == {"test", "test-nc", "docs", "dense"}
