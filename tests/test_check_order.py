"""The check itself: which files begin, and names of tests on which several processes agree."""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

TESTS = Path(__file__).parent
NOW = time.time_ns().to_bytes(8, "big") * 4


@pytest.fixture
def top(request: pytest.FixtureRequest) -> ModuleType:
    """The conftest.py beside this file."""
    found = request.config.pluginmanager.get_plugin(str(TESTS / "conftest.py"))
    assert isinstance(found, ModuleType)
    return found


@pytest.mark.parametrize("held", [NOW, bytearray(NOW), b"few"])
def test_what_may_follow_a_clock_is_in_no_name(held: bytes, request: pytest.FixtureRequest) -> None:
    name = request.node.name.partition("[")[2]
    assert name in ({"few]"} if held == b"few" else {"held0]", "held1]"}), "else processes collect different names"


def test_files_begin_as_they_are_named_and_the_rest_keeps_its_order(top: ModuleType) -> None:
    first, *_, last = tomllib.loads(top.DURATIONS.read_text(encoding="utf-8"))
    items = [
        SimpleNamespace(path=TESTS / name, number=number)
        for number, name in enumerate(["test_names.py", last, "test_names.py", first, first])
    ]
    top.pytest_collection_modifyitems(items)
    assert [item.number for item in items] == [3, 4, 1, 0, 2]


def test_every_duration_is_of_a_file_that_is_there(top: ModuleType) -> None:
    names = tomllib.loads(top.DURATIONS.read_text(encoding="utf-8"))
    assert [name for name in names if not (TESTS / name).is_file()] == []


def test_what_failed_and_what_ran_before_is_counted_once(top: ModuleType, tmp_path: Path) -> None:
    def reporter(**stats: list[SimpleNamespace]) -> SimpleNamespace:
        return SimpleNamespace(stats=stats, write_line=print)

    told = tmp_path / "outcome.json"
    bad, good = SimpleNamespace(nodeid="tests/test_x.py::test_y"), SimpleNamespace(nodeid="tests/test_x.py::test_z")
    top._tell_outcome(reporter(failed=[bad], error=[bad], passed=[good] * 7, skipped=[good]), told)
    assert json.loads(told.read_text())["failed"] == ["tests/test_x.py::test_y"]
    alone = reporter(passed=[bad])
    top._count_earlier(alone, told)
    assert {kind: len(found) for kind, found in alone.stats.items() if found} == {"passed": 8, "skipped": 1, "rerun": 1}
