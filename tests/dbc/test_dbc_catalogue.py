"""The catalogue: what is at hand, where it comes from, and the few that could belong to a bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dbc.catalogue import entries, find_entry, likely_entries, outlines, user_folder
from dbc.database import load
from dbc.files import EV400, bundled

if TYPE_CHECKING:
    from pathlib import Path

MINE = 'BO_ 256 Pack: 8 X\n SG_ A : 0|8@1+ (1,0) [0|0] "" X\nBO_ 257 More: 4 X\n SG_ B : 0|8@1+ (1,0) [0|0] "" X\n'


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = user_folder()
    (folder / "sub").mkdir(parents=True)
    (folder / "tesla_mine.dbc").write_text(MINE)
    (folder / "sub" / "huizhen_ev400.dbc").write_text(MINE)
    (folder / "broken.dbc").write_text("BO_ what\n")
    (folder / "notes.txt").write_text("no database")
    return folder


def test_every_entry_says_where_it_comes_from_and_its_licence(mine: Path) -> None:
    listed = entries()
    assert len({entry.name for entry in listed}) == len(listed)
    assert {entry.path for entry in listed} >= set(bundled())
    assert all(entry.source.en and entry.source.zh for entry in listed)
    assert all(entry.licence for entry in listed if entry.origin != "user")
    own = {entry.name: entry for entry in listed if entry.origin == "user"}
    assert set(own) == {"tesla_mine", "user/sub/huizhen_ev400", "broken"}
    assert own["tesla_mine"].make == "Tesla"
    assert own["tesla_mine"].path.is_relative_to(mine)


def test_an_entry_is_found_by_name(mine: Path) -> None:
    for name in ("tesla_mine", "TESLA_MINE", "tesla_mine.dbc"):
        entry = find_entry(name)
        assert entry is not None
        assert entry.path == mine / "tesla_mine.dbc"
    assert find_entry("nothing") is None


def test_opendbc_s_files_are_listed_with_their_licence() -> None:
    pytest.importorskip("opendbc", reason="opendbc (huizhen[cars]) is not installed")
    found = [entry for entry in entries() if entry.origin == "opendbc"]
    assert len(found) >= 115
    assert {entry.licence for entry in found} == {"MIT"}
    assert sum(entry.is_fragment for entry in found) == sum(entry.path.name.startswith("_") for entry in found)


def test_outlines_agree_with_the_databases(mine: Path) -> None:
    """Identifiers and lengths at a glance are those of the whole database, imports and missing bit 31 included."""
    seen = outlines()
    assert seen["tesla_mine"] == {256: 8, 257: 4}
    checked = 0
    for entry in entries():
        if entry.path.stat().st_size > 20_000 or entry.path.name == "broken.dbc":
            continue
        database = load(entry.path)
        keys = {m.can_id | m.extended << 31: m.length for m in database.messages if m.can_id < 1 << 29}
        assert {key: seen[entry.name][key] for key in keys} == keys, entry.name
        checked += 1
    assert checked >= 3


def test_likely_entries_are_those_that_are_there_most(mine: Path) -> None:
    names = [entry.name for entry in likely_entries({256: 10, 257: 10})]
    assert set(names[:2]) == {"tesla_mine", "user/sub/huizhen_ev400"}
    assert "tesla_mine" not in [entry.name for entry in likely_entries({256: 10, 1: 20})]
    assert "tesla_mine" not in [entry.name for entry in likely_entries({256: 10, 257: 10}, without={"tesla_mine"})]
    assert likely_entries({}) == ()
    frames = {m.can_id: 5 for m in load(EV400).messages}
    assert likely_entries(frames)[0].name == "huizhen_ev400"


def test_likely_entries_of_j1939_match_by_group(mine: Path) -> None:
    (mine / "truck.dbc").write_text(
        'BA_DEF_ "ProtocolType" STRING;\nBA_DEF_DEF_ "ProtocolType" "";\nBA_ "ProtocolType" "J1939";\n'
        'BO_ 2364540158 EEC1: 8 X\n SG_ A : 0|8@1+ (1,0) [0|0] "" X\n'
        'BO_ 2566844926 CCVS1: 8 X\n SG_ B : 0|8@1+ (1,0) [0|0] "" X\n'
    )
    seen = {1 << 31 | 0x0CF00417: 9, 1 << 31 | 0x18FEF117: 9}
    assert "truck" in [entry.name for entry in likely_entries(seen)]
