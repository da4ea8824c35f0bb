"""Recalls, bulletins and investigations: what comes in, and what is found again, in both languages."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from casebase.cases import Verdict
from casebase.errors import FixUnknown, ImportUnreadable
from casebase.imports.files import encoding_of
from casebase.imports.nhtsa import campaign_of
from casebase.library import Library
from casebase.noticeindex import NoticeIndex
from casebase.notices import Notice
from casebase.query import Query
from casebase.vehicles import best_model, make_key

if TYPE_CHECKING:
    from collections.abc import Generator

REPOSITORY = Path(__file__).resolve().parents[2]
HEADING = "NHTSA ID,DOCUMENT NAME,MAKE,MODEL,MODEL YEAR,SUMMARY\n"
ROWS = [
    '24V100,a.pdf,FORD,F-150,2021,"The rear axle bolt may break, which can cause a loss of drive power"',
    "24V100,b.pdf,FORD,F-150,2022,The rear axle bolt may break",
    "24V200,c.pdf,FORD,F-150,2021,Rear camera image may be blank when reversing",
    "24V300,d.pdf,FORD,MAVERICK,9999,Fuel may leak from a cracked cylinder head onto hot surfaces and cause a fire",
    "24V400,e.pdf,TESLA,MODEL 3,2021,Camera harness wears and the rear image is blank",
]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    path = tmp_path / "index.csv"
    path.write_text(HEADING + "\n".join(ROWS) + "\n", "utf-8")
    return path


@pytest.fixture
def library(tmp_path: Path, index: Path) -> Generator[Library]:
    with Library.open(tmp_path / "cases.db", create=True) as made:
        result = made.import_file("nhtsa-recalls", index)
        assert (result.rows, result.kept, result.new, result.bad_rows) == (5, 5, 4, 0)
        yield made


def ask(library: Library, symptom: str, **vehicle: object):
    return library.find(Query.from_json({"symptom": symptom, "vehicle": vehicle}))


def test_a_recall_is_found_for_its_vehicle_and_says_what_to_do(library: Library) -> None:
    cases = ask(library, "loses drive power, rear axle bolt broken", make="Ford", model="F150", model_year=2021)
    first = cases.matches[0]
    assert first.source_id == "24V100"
    assert cases.verdict is Verdict.TEST
    assert cases.next_test is not None
    assert cases.next_test.test_id == "campaign-by-vin"
    assert "before buying any part" in first.fix.en
    assert "购买任何零件之前" in first.fix.zh
    assert [c.source_id for c in cases.campaigns] == ["24V100", "24V200"]
    assert cases.campaigns_total == 2
    assert sum(m.p for m in cases.matches) + cases.p_unknown <= 1.0 + 1e-9


def test_the_year_backs_off_to_the_model_and_is_said(library: Library) -> None:
    cases = ask(library, "rear axle bolt broken, loss of drive", make="FORD", model="F-150", model_year=2015)
    match = next(m for m in cases.matches if m.source_id == "24V100")
    assert any("other model years" in reason.text.en for reason in match.against)
    assert cases.campaigns == ()


def test_an_unknown_year_is_any_year(library: Library) -> None:
    cases = ask(library, "smell of fuel, leak at the cylinder head", make="FORD", model="MAVERICK", model_year=2031)
    assert cases.matches[0].source_id == "24V300"
    assert cases.campaigns_total == 1


def test_another_make_has_nothing_of_it(library: Library) -> None:
    cases = ask(library, "rear camera blank when reversing", make="Tesla", model="Model 3 Long Range", model_year=2021)
    assert "24V200" not in [m.source_id for m in cases.matches]
    assert cases.matches[0].source_id == "24V400"


def test_what_was_measured_outweighs_what_was_written(library: Library) -> None:
    seen = {
        "dtcs": ["P0AA6-1A@bms", "P0AA6-1A@vcu"],
        "findings": ["insulation.low"],
        "features": {"insulation_ohm_per_v": 40.0},
        "symptom": "isolation warning after rain, camera blank",
        "vehicle": {"make": "FORD", "model": "F-150", "model_year": 2021},
    }
    cases = library.find(Query.from_json(seen))
    assert cases.matches[0].source_id.startswith("isolation")
    assert cases.campaigns_total == 2


def test_a_healthy_car_is_not_given_a_recall(library: Library) -> None:
    cases = ask(library, "no complaint", make="FORD", model="F-150", model_year=2021)
    assert cases.verdict is Verdict.NONE
    assert cases.matches == ()


def test_the_index_is_kept_beside_the_library_and_follows_it(library: Library, tmp_path: Path) -> None:
    ask(library, "axle", make="FORD")
    folder = next(Path(f"{library.path}-index").glob("notices-*"))
    kept = NoticeIndex.load(folder)
    assert kept is not None
    assert len(kept) == 4
    more = tmp_path / "more.csv"
    row = "25V001,x.pdf,FORD,F-150,2021,Wiper motor may stop and the windscreen stays wet\n"
    more.write_text(HEADING + row, "utf-8")
    library.import_file("nhtsa-recalls", more)
    assert ask(library, "wipers stop, wiper motor", make="FORD", model="F-150", model_year=2021).campaigns_total == 3
    assert [path.name for path in folder.parent.glob("notices-*")] != [folder.name]
    for path in folder.parent.glob("notices-*/numbers.npy"):
        path.write_bytes(b"nothing")
    with Library.open(library.path) as again:  # half an index is none
        assert ask(again, "wiper motor", make="FORD", model="F-150", model_year=2021).campaigns_total == 3


def test_bad_rows_are_reported_by_number_and_left_out(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    rows = [",a.pdf,FORD,F-150,2021,no number", "26V1,a.pdf,FORD,F-150,twenty,x", "26V2,a.pdf,,F-150,2021,x", ROWS[0]]
    path.write_text(HEADING + "\n".join(rows) + "\n", "utf-8")
    result = library.import_file("nhtsa-recalls", path)
    assert [(row, why.en) for row, why in result.bad] == [
        (2, "no NHTSA ID"), (3, "'twenty' is no model year"), (4, "no make"),
    ]  # fmt: skip
    assert (result.rows, result.kept, result.bad_rows) == (4, 1, 3)


def test_the_same_file_is_not_taken_twice(library: Library, index: Path) -> None:
    assert library.import_file("nhtsa-recalls", index).was_done
    assert library.counts()["notices"] == 4


@pytest.mark.parametrize("packed", ["gz", "zip"])
def test_packed_files_are_unpacked(tmp_path: Path, index: Path, packed: str) -> None:
    path = tmp_path / f"index.{packed}"
    if packed == "gz":
        path.write_bytes(gzip.compress(index.read_bytes()))
    else:
        with zipfile.ZipFile(path, "w") as file:
            file.write(index, "FLAT.csv")
    with Library.open(tmp_path / "packed.db", create=True) as library:
        assert library.import_file("nhtsa-recalls", path).new == 4


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        ("nhtsa-recalls", b"a,b,c\n1,2,3\n", "no column 'NHTSA ID'"),
        ("nhtsa-flat", b"one,two\n", "flat files"),
        ("nhtsa-recalls", b"\x1f\x8b\x08\x00broken", "nreadable|CRC|header|invalid|method|end-of-stream|ended"),
        ("nhtsa-recalls", b"PK\x03\x04broken", "zip"),
    ],
)
def test_another_file_is_refused_with_the_reason(tmp_path: Path, kind: str, data: bytes, reason: str) -> None:
    path = tmp_path / "other"
    path.write_bytes(data)
    with Library.open(tmp_path / "new.db", create=True) as library:
        with pytest.raises(ImportUnreadable, match=reason):
            library.import_file(kind, path)
        assert library.counts()["notices"] == 0
    with Library.open(tmp_path / "new.db") as library, pytest.raises(ImportUnreadable, match="No such file"):
        library.import_file(kind, tmp_path / "missing")


def test_a_killed_import_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path, store = tmp_path / "long.csv", tmp_path / "killed.db"
    rows = [f"24V{i:03d},d{n}.pdf,FORD,F-150,2021,Part {i} may break number {n}" for n in range(40) for i in range(300)]
    path.write_text(HEADING + "\n".join(rows) + "\n", "utf-8")
    script = (
        "import os\nfrom casebase.library import Library\n"
        "def stop(r):\n    if r.rows >= 4000:\n        os.kill(os.getpid(), 9)\n"
        f"with Library.open({str(store)!r}, create=True) as x:\n"
        f"    x.import_file('nhtsa-recalls', {str(path)!r}, progress=stop)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, timeout=120, check=False)
    assert ended.returncode == -9
    with Library.open(store) as library:
        assert library._store.value("SELECT rows FROM imports") == 4001
        result = library.import_file("nhtsa-recalls", path)
        assert (result.resumed, result.rows, result.new) == (4001, 8000, 0)
        assert library._store.value("SELECT count(*) FROM notice_texts") == 12000
        assert library._store.value("PRAGMA quick_check") == "ok"


def test_a_heading_says_what_is_wrong_and_not_that_a_letter_was_sent() -> None:
    letter = "Owner Notification Letter - This notice is sent to you in accordance with the Safety Act"
    told = "Due to swelling of the fuel pump impeller, the fuel pump may seize and stop working"
    notice = Notice("nhtsa", "21V215", "recall", texts={letter, told, "Dear dealer, please find attached"})
    assert "fuel pump" in notice.heading.en
    assert notice.heading.zh.startswith("召回 21V215：")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Mercedes-Benz", "MERCEDES BENZ"),
        ("奔驰", "Mercedes-Benz"),
        ("比亚迪", "BYD"),
        ("VW", "大众"),
        ("Geely", "吉利"),
    ],
)
def test_makes_are_the_same_in_every_spelling(one: str, other: str) -> None:
    assert make_key(one) == make_key(other) != ""


def test_a_model_is_itself_or_what_it_begins_with() -> None:
    assert best_model("model3", ["model3", "model3longrange"]) == "model3"
    assert best_model("model3longrange", ["model3", "models"]) == "model3"
    assert best_model("id4", ["id4crozz", "id6"]) == "id4crozz"
    assert best_model("x5", ["x5m"]) is None


@pytest.mark.parametrize(
    ("number", "campaign"), [("20V001", "20V001"), ("20V001000", "20V001"), ("02v237003", "02V237"), ("hello", None)]
)
def test_campaign_numbers(number: str, campaign: str | None) -> None:
    assert campaign_of(number) == campaign


@pytest.mark.parametrize(
    ("text", "encoding", "found"),
    [
        ("故障码 电池", "utf-8", "utf-8-sig"),
        ("故障码 电池", "gb18030", "gb18030"),
        ("le café noir", "cp1252", "cp1252"),
        ("x", "utf-16", "utf-16"),
    ],
)
def test_old_encodings_are_told_apart(text: str, encoding: str, found: str) -> None:
    assert encoding_of(text.encode(encoding)) == found


# --- the shared data -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Library]:
    with Library.open(tmp_path_factory.mktemp("nhtsa") / "cases.db", create=True) as library:
        result = library.import_file("nhtsa-recalls", shared / "data" / "nhtsa" / "recalls_a.csv.gz")
        assert (result.rows, result.new, result.bad_rows) == (87511, 1870, 0)
        library.import_file("samr", shared / "data" / "samr" / "notices.jsonl")
        yield library


def test_held_out_documents_find_their_campaign(known: Library, shared: Path) -> None:
    lines = (shared / "data" / "nhtsa" / "queries_a.jsonl").read_text("utf-8").splitlines()
    asked = [json.loads(line) for line in lines]
    found = [[match.source_id for match in known.find(Query.from_json(line)).matches] for line in asked]
    first = np.mean([names[:1] == [line["expect"]] for names, line in zip(found, asked, strict=True)])
    three = np.mean([line["expect"] in names[:3] for names, line in zip(found, asked, strict=True)])
    assert first >= 0.80
    assert three >= 0.95


CHINESE = [
    ("长城", "欧拉iQ", 2019, "经常快充，电芯压差越来越大，现在限功率", "great-wall-ora-iq-2021"),
    ("奇瑞", "小蚂蚁", 2017, "停放很久以后压差大，行驶中突然下高压没动力", "chery-eq1-2023"),
    ("特斯拉", "Model S", 2018, "提示需要维修，动力慢慢没了，电压采样报错", "tesla-sx-bms-2022"),
    ("极星", "极星2", 2020, "开着开着高压断开失去动力", "polestar2-becm-2021"),
    ("欧拉", "黑猫", 2021, "放着自己掉电，电池过热报警", "ora-blackcat-2025"),
    ("长城", "欧拉白猫", 2021, "自放电厉害，电池发热", "ora-whitecat-2025"),
    ("极星", "极星1", 2020, "充满电以后电池过热，担心内短路", "polestar1-2023"),
    ("BMW", "X5 xDrive45e", 2020, "充到高电量后电池内部短路报警", "bmw-x5-45e-2021"),
    ("BYD", "唐DM", 2021, "电池包托盘进水，报漏电", "byd-tang-dm-2022-04"),
    ("小鹏", "G3", 2019, "无法再次启动，逆变器短路", "xpeng-g3-2021"),
    ("威马", "", 2020, "电池析锂短路，起火风险", "weltmeister-2020"),
    ("理想", "MEGA", 2024, "冷却液渗漏，无法上电，故障灯亮", "li-mega-2025"),
    ("北汽新能源", "EU400", 2017, "夏天天天快充，电池一致性差", "baic-ex360-eu400-2021"),
    ("福特", "Mustang Mach-E", 2021, "直流快充后主接触器过热，失去动力", "ford-mach-e-2022"),
]


def test_chinese_complaints_find_the_chinese_notices(known: Library) -> None:
    wrong = []
    for make, model, year, said, right in CHINESE:
        vehicle = {"make": make, "model": model, "model_year": year}
        cases = known.find(Query.from_json({"symptom": said, "vehicle": vehicle}))
        if cases.matches[0].source_id != right:
            wrong.append((said, cases.matches[0].source_id))
    assert not wrong


@pytest.mark.parametrize(
    ("file", "rows", "new"),
    [("recalls", 100, 21), ("service_bulletins", 100, 24), ("investigations", 110, 49)],
)
def test_the_flat_files_come_in_as_they_are(shared: Path, tmp_path: Path, file: str, rows: int, new: int) -> None:
    with Library.open(tmp_path / "flat.db", create=True) as library:
        result = library.import_file("nhtsa-flat", shared / "data" / "nhtsa" / f"sample-data_{file}.txt")
        assert (result.rows, result.bad_rows) == (rows, 0)
        assert library.counts()["notices"] == result.new == new


def test_a_recall_has_its_remedy_and_both_names(shared: Path, tmp_path: Path) -> None:
    with Library.open(tmp_path / "flat.db", create=True) as library:
        library.import_file("nhtsa-flat", shared / "data" / "nhtsa" / "sample-data_recalls.txt")
        notice = library.get_notice("02V288")
        assert "DEALERS WILL INSPECT THE BATTERY CABLES" in notice.advice.en
        assert library.get_notice(notice.case_id).source_id == "02V288"
        assert notice.published == "2002-11-06"
        with pytest.raises(FixUnknown):
            library.get_notice("99V999")


def test_readers_read_while_one_writes(known: Library, shared: Path, tmp_path: Path) -> None:
    copy = tmp_path / "shared.db"
    known.backup(copy)
    script = (
        "import sys\nfrom casebase.library import Library\nfrom casebase.query import Query\n"
        "q = Query.from_json({'symptom': 'fuel pump may fail',\n"
        " 'vehicle': {'make': 'HONDA', 'model': 'ODYSSEY', 'model_year': 2019}})\n"
        f"with Library.open({str(copy)!r}) as x:\n"
        "    for i in range(20):\n        assert x.find(q).matches\n    print('read')\n"
    )
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    readers = [
        subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    with Library.open(copy) as writer:
        for name in ("recalls", "service_bulletins", "investigations"):
            writer.import_file("nhtsa-flat", shared / "data" / "nhtsa" / f"sample-data_{name}.txt")
    for reader in readers:
        out, err = reader.communicate(timeout=180)
        assert out == b"read\n", err.decode()[-500:]
    shutil.rmtree(f"{copy}-index", ignore_errors=True)
