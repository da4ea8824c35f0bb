"""The library's file: named migrations, damage told apart, nothing learnt from a simulated car."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from case_reports import isolation, weak_cell

from casebase.errors import (
    BadEvidence,
    FixUnknown,
    LibraryDamaged,
    LibraryFull,
    LibraryLocked,
    LibraryMissing,
    LibraryNewer,
    LibraryReadOnly,
    LibraryUnreadable,
    NotALibrary,
    SimulatedOutcome,
)
from casebase.library import Library, default_path
from casebase.query import Query
from casebase.schema import MIGRATIONS
from casebase.store import Store
from huizhen.exits import Exit, exit_from_error

REPOSITORY = Path(__file__).resolve().parents[2]
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cases.db"
    Library.open(path, create=True).close()
    return path


def raw(path: Path, *statements: str) -> list:
    conn = sqlite3.connect(path, isolation_level=None)
    try:
        return [conn.execute(sql).fetchall() for sql in statements]
    finally:
        conn.close()


def test_a_new_library_has_every_migration_with_its_record(file: Path) -> None:
    with Library.open(file) as library:
        assert library._store.migrations() == tuple(name for name, _ in MIGRATIONS)
        assert library.counts()["fixes"] >= 20
    [[(mode,)], [(keys,)]] = raw(file, "PRAGMA journal_mode", "SELECT count(*) FROM migrations")
    assert mode == "wal"
    assert keys == len(MIGRATIONS)


@pytest.mark.parametrize("known", range(1, len(MIGRATIONS)))
def test_an_older_library_is_brought_up_to_date_and_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: int
) -> None:
    path = tmp_path / "older.db"
    with monkeypatch.context() as older:
        older.setattr("casebase.store.MIGRATIONS", MIGRATIONS[:known])
        Store.open(path, create=True).close()
    raw(path, "INSERT INTO meta VALUES ('kept', 'yes')")
    if known >= 2:
        raw(
            path,
            "INSERT INTO cases (opened_ns, simulated) VALUES (1, 0)",
            "INSERT INTO scopes (make) VALUES ('')",
            "INSERT INTO fixes VALUES ('f', 'f', 'c', 'm', 'a', 1, 'physics', 'none', 'learnt', 1, 1, '{}')",
            "INSERT INTO outcome_log (case_id, fix_id, rank, p, verdict, simulated, outcome)"
            " VALUES (1, 'f', 1, 0.5, 'test', 0, 'fixed')",
        )
    if known >= 4:
        raw(path, "UPDATE cases SET outcome = 'fixed', fix_id = 'f'")
    with Library.open(path) as library:
        assert library._store.migrations() == tuple(name for name, _ in MIGRATIONS)
        assert library._store.meta("kept") == "yes"
        assert library.counts()["jobs"] == library.counts()["outcomes"] == int(known >= 2)
        assert library.counts()["fixes"] >= 20
    [checked] = raw(path, "PRAGMA foreign_key_check")
    assert checked == []


def test_a_migration_that_fails_leaves_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(db) -> None:
        db.execute("CREATE TABLE half (id INTEGER)")
        db.execute("CREATE TABLE half (id INTEGER)")

    monkeypatch.setattr("casebase.store.MIGRATIONS", (*MIGRATIONS, ("099-half", half)))
    with pytest.raises(LibraryUnreadable):
        Library.open(file)
    [tables, names] = raw(
        file,
        "SELECT name FROM sqlite_master WHERE name = 'half'",
        "SELECT name FROM migrations WHERE name = '099-half'",
    )
    assert tables == names == []


def test_a_newer_library_is_refused(file: Path) -> None:
    raw(file, "INSERT INTO migrations (name) VALUES ('900-from-the-future')")
    with pytest.raises(LibraryNewer, match="900-from-the-future"):
        Library.open(file)


@pytest.mark.parametrize("content", [b"not a database at all, only text" * 40, b"", b"\x00" * 4096])
def test_another_file_is_no_library(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.db"
    path.write_bytes(content)
    with pytest.raises(NotALibrary):
        Library.open(path)
    assert path.read_bytes() == content


def test_a_foreign_database_and_a_folder_are_no_library(tmp_path: Path) -> None:
    raw(tmp_path / "foreign.db", "CREATE TABLE fixes (id TEXT)")
    for path in (tmp_path / "foreign.db", tmp_path):
        with pytest.raises(NotALibrary):
            Library.open(path)


def test_a_missing_file_is_said_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(LibraryMissing) as caught:
        Library.open(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    assert exit_from_error(caught.value) is Exit.CASE_LIBRARY


@pytest.mark.parametrize("keep", [0.4, 0.7, 0.97])
def test_a_cut_library_is_damaged(file: Path, keep: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(LibraryDamaged):
        Library.open(file)


def test_overwritten_pages_are_damage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    for page in range(2, len(data) // 4096, 3):
        data[page * 4096 : page * 4096 + 600] = b"\xa5" * 600
    file.write_bytes(bytes(data))
    with pytest.raises(LibraryDamaged):
        Library.open(file)


def test_a_large_library_is_checked_where_every_question_reads_and_wholly_on_demand(file: Path) -> None:
    Library.open(file, create=True).close()
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute(
            "INSERT INTO cases (opened_ns, symptom, vehicle, simulated) WITH RECURSIVE n(i) AS"
            " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)"
            " SELECT i, hex(randomblob(3800)) || 'the end', '{}', 0 FROM n"
        )
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert file.stat().st_size > 64_000_000
    with Library.open(file) as library:
        library.check()
    content = bytearray(file.read_bytes())
    page = content.rindex(b"the end") // 4096 * 4096
    content[page : page + 4096] = b"\xa5" * 4096
    file.write_bytes(content)
    with Library.open(file) as library:
        assert library.find(Query.from_report(weak_cell())).matches
        with pytest.raises(LibraryDamaged):
            library.check()


def test_a_library_being_written_is_locked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casebase.store._BUSY_S", 0.05)
    writer = sqlite3.connect(file, isolation_level=None)
    try:
        writer.execute("BEGIN IMMEDIATE")
        with Library.open(file) as library:
            query = Query.from_report(weak_cell())
            cases = library.find(query)
            assert cases.matches
            with pytest.raises(LibraryLocked):
                library.remember(query, cases)
    finally:
        writer.close()


def test_a_full_disk_changes_nothing(file: Path) -> None:
    with Library.open(file) as library:
        query = Query(symptom="x" * 3_000_000)
        pages = library._store.value("PRAGMA page_count")
        library._store.db.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(LibraryFull):
            library.remember(query, library.find(Query.from_report(weak_cell())))
        assert library.counts()["jobs"] == 0


def test_a_library_that_cannot_be_written_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casebase.store._can_write", lambda _path: False)
    before = sorted(path.name for path in file.parent.iterdir())
    with Library.open(file) as library:
        cases = library.find(Query.from_report(weak_cell()))
        assert cases.matches[0].source_id == "weak-cell"
        with pytest.raises(LibraryReadOnly):
            library.remember(Query(), cases)
    assert sorted(path.name for path in file.parent.iterdir()) == before


@pytest.mark.skipif(ROOT, reason="root may write everywhere")
def test_a_read_only_folder_is_read(file: Path) -> None:
    file.chmod(0o444)
    file.parent.chmod(0o555)
    try:
        with Library.open(file) as library:
            assert library.counts()["fixes"] >= 20
    finally:
        file.parent.chmod(0o755)


def test_the_own_library_is_made_at_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_path() == tmp_path / "data" / "huizhen" / "cases.db"
    with Library.open() as library:
        assert library.note is None
        assert library.path == str(default_path())
    assert default_path().is_file()


def test_without_a_place_the_built_in_fixes_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with Library.open() as library:
        assert library.note is not None
        assert "built-in" in library.note.en
        assert library.find(Query.from_report(weak_cell())).matches


def test_new_content_is_taken_over_and_old_fixes_retire(file: Path) -> None:
    raw(
        file,
        "UPDATE meta SET value = 'older' WHERE key = 'content_hash'",
        "UPDATE fixes SET slug = 'a-fix-of-old', id = 'ffffffffffffffff' WHERE slug = 'resolver'",
        "UPDATE fixes SET n = 3 WHERE slug = 'weak-cell'",
    )
    with Library.open(file) as library:
        counts = library.counts()
        assert counts["retired"] == 1
        slugs = {fix.slug for fix in library.own_fixes()}
        assert "resolver" in slugs
        assert "a-fix-of-old" not in slugs
        assert library._store.find_fix("weak-cell").n == 40.0
        number = counts["fixes"]
    with Library.open(file) as library:
        assert library.counts()["fixes"] == number


def test_a_fix_is_found_by_name_id_and_beginning(file: Path) -> None:
    with Library.open(file) as library:
        fix = library.get_fix("weak-cell")
        assert library.get_fix(fix.fix_id) == library.get_fix(fix.fix_id[:8]) == fix
        for name in ("no-such-fix", "", "%", "a", "____"):
            with pytest.raises(FixUnknown):
                library.get_fix(name)


def test_what_was_shown_is_kept_and_learnt_from(file: Path) -> None:
    with Library.open(file) as library:
        query = Query.from_report(isolation(), symptom="雨后绝缘故障")
        from dataclasses import replace

        real = replace(query, simulated=False)
        cases = library.find(real)
        job = library.remember(real, cases, now_ns=1)
        library.close_job(job, cases.matches[0].case_id, "fixed", now_ns=2)
        assert library.outcomes() == {cases.matches[0].case_id: {"fixed": 1, "not-fixed": 0, "something-else": 0}}
        assert library.counts()["jobs"] == 1
        with pytest.raises(BadEvidence):
            library.close_job(job, cases.matches[0].case_id, "perhaps")
        with pytest.raises(FixUnknown):
            library.close_job(job, "0000000000000000", "fixed")


def test_a_simulated_job_never_counts(file: Path) -> None:
    with Library.open(file) as library:
        query = Query.from_report(isolation())
        cases = library.find(query)
        assert cases.simulated
        job = library.remember(query, cases, now_ns=1)
        with pytest.raises(SimulatedOutcome):
            library.close_job(job, cases.matches[0].case_id, "fixed", now_ns=2)
        assert library.outcomes() == {}
        assert library.counts()["jobs"] == 0
        assert library.counts()["simulated_jobs"] == 1
    with pytest.raises(sqlite3.IntegrityError):
        raw(file, "UPDATE outcome_log SET outcome = 'fixed'")


def test_many_processes_may_open_a_new_library_at_once(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    script = (
        f"from casebase.library import Library\nwith Library.open({str(path)!r}, create=True) as x: print(x.counts())"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    ends = [(*process.communicate(timeout=120), process.returncode) for process in running]
    assert [code for _, _, code in ends] == [0] * 4, [err.decode()[-300:] for _, err, _ in ends]
    assert len({out for out, _, _ in ends}) == 1


def test_two_libraries_of_the_same_content_answer_the_same(tmp_path: Path) -> None:
    query = Query.from_report(weak_cell())
    answers = []
    for name in ("one.db", "two.db"):
        with Library.open(tmp_path / name, create=True) as library:
            answers.append(library.find(query).to_json())
    assert answers[0] == answers[1]
