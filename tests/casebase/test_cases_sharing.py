"""Workshops tell each other counts: signed, noised, of five cars or more, and never a case."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from casebase.catalogue import Scope
from casebase.errors import ImportUnreadable, LibraryReadOnly, SiteUntrusted
from casebase.library import Library
from casebase.query import Query
from casebase.record import Pattern, case_from_json
from casebase.sharedfile import parse_counts
from casebase.sharing import (
    OwnPattern,
    canonical,
    encoded,
    fingerprint,
    is_clean,
    is_term,
    noise_of,
    published,
)
from casebase.success import beta_quantile, success_of
from diag.bundle import fingerprint as fingerprint_of_bundles
from diag.facts import Text
from huizhen.cli import main
from huizhen.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

REPOSITORY = Path(__file__).resolve().parents[2]
DAY_NS = 86_400 * 10**9
NOW_NS = 1_780_000_000 * 10**9
SUNROOF = {"component": "sunroof blind", "failure_mode": "guide worn", "action": "replace guide"}
QUESTION = {
    "symptom": "天窗遮阳帘异响",
    "vehicle": {"make": "BYD", "model": "Song PLUS"},
    "dtcs": ["B1999-11@body"],
    "read": ["body"],
}
SECRETS = (
    "LRW3E7EK0NC9", "13800138000", "王师傅", "mr. li", "Mr. Li", "geheimnis", "77123", "2026-03-04", "2026-03-05",
    "BATCH-9", "9.9.9", "rattles", "异响", "粤B12345",
)  # fmt: skip


def case(number: int, **more: Any) -> dict[str, Any]:
    """A cured car of its own, full of what is nobody else's business."""
    return {
        "id": f"geheimnis-{number}",
        "vin": f"LRW3E7EK0NC9{number:05d}",
        "symptom": "Mr. Li says it rattles, call 13800138000, 天窗遮阳帘异响 粤B12345, 续航变短",
        "vehicle": {
            "make": "BYD",
            "model": "Song PLUS",
            "model_year": 2022,
            "batch": "BATCH-9",
            "software": {"bms": "9.9.9"},
        },
        "dtcs": ["B1999-11@body"],
        "features": {"spread_mv": 190.0},
        "findings": ["battery.spread", "Mr. Li was here"],
        "silent": ["telematics"],
        "causes": [{"code": "cause.cell-worn", "odds": 0.9}],
        "outcome": "fixed",
        "opened": "2026-03-04",
        "closed": "2026-03-05",
        "mileage_km": 77123,
        "note": "王师傅 knows",
        "fix": {**SUNROOF, "title": "Mr. Li's blind", "fix": "as for Mr. Li"},
        **more,
    }


def learn(library: Library, *lines: dict[str, Any]) -> None:
    library.add_cases([case_from_json(line, library.cases.car_key) for line in lines])


def tell(library: Library, path: Path, *, days: int = 0) -> Path:
    """Writes a library's counts."""
    _, told = library.exchange.export(now_ns=NOW_NS + days * DAY_NS)
    path.write_text(json.dumps(told, ensure_ascii=False), "utf-8")
    return path


def hear(library: Library, path: Path, *, trust: str | None = None) -> int | None:
    return library.exchange.take(path, trust=trust, now_ns=NOW_NS + 100 * DAY_NS)[1]


def key_of(path: Path) -> str:
    return json.loads(path.read_text("utf-8"))["site"]


def patterns_of(path: Path) -> dict[str, dict[str, Any]]:
    return {told["action"]: told for told in json.loads(path.read_text("utf-8"))["patterns"]}


def names(library: Library) -> list[str]:
    return [match.title.en for match in library.find(Query.from_json(QUESTION)).matches]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two library files to copy, because making one takes a second: an empty one and that of another workshop.

    The other workshop cured forty cars by a fix of its own, and twelve of eighteen by one that everybody has.
    """
    folder = tmp_path_factory.mktemp("libraries")
    Library.open(folder / "here.db", create=True).close()
    shutil.copy(folder / "here.db", folder / "there.db")
    with Library.open(folder / "there.db") as made:
        learn(made, *(case(i) for i in range(40)))
        learn(made, *(case(100 + i, fix="weak-cell", dtcs=["P0DE6-16@bms"]) for i in range(12)))
        learn(made, *(case(200 + i, fix="weak-cell", outcome="not-fixed") for i in range(6)))
        tell(made, folder / "counts.json")
    return folder


def opened(files: Path, name: str, folder: Path) -> Library:
    """A library of one's own, from one of the two."""
    return Library.open(shutil.copy(files / f"{name}.db", folder / f"{name}-{len(list(folder.iterdir()))}.db"))


@pytest.fixture
def here(files: Path, tmp_path: Path) -> Generator[Library]:
    with opened(files, "here", tmp_path) as made:
        yield made


@pytest.fixture
def there(files: Path, tmp_path: Path) -> Generator[Library]:
    with opened(files, "there", tmp_path) as made:
        yield made


@pytest.fixture
def told(files: Path) -> Path:
    """What the other workshop tells."""
    return files / "counts.json"


def test_counts_go_from_one_library_into_another(here: Library, there: Library, told: Path) -> None:
    before = here.find(Query.from_json(QUESTION))
    assert not any("sunroof" in match.title.en for match in before.matches)
    weak = here.get_fix("weak-cell").fix_id
    row = here.postings.fix_ids.index(weak)
    n = float(here.postings.n[row])
    reader = Library.open(here.path)
    assert not any("sunroof" in name for name in names(reader))
    assert hear(here, told, trust=key_of(told)) == 1
    shared = patterns_of(told)
    for library in (here, reader):  # the one that took it, and one that had the file open all along
        match = library.find(Query.from_json(QUESTION)).matches[0]
        assert match.title.en == "sunroof blind · guide worn · replace guide"
        assert match.source_class == "cases"
        assert match.p > 0.5
        row = library.postings.fix_ids.index(weak)
        assert library.postings.n[row] == n + shared[library.get_fix("weak-cell").action]["worked"]
        rows, counts, _, _ = library.postings.posting("d3|bms|P0DE6|16")
        own = library._store.value("SELECT n FROM terms WHERE fix_id = ? AND term = 'd3|bms|P0DE6|16'", (weak,)) or 0.0
        told_term = shared[library.get_fix("weak-cell").action]["terms"]["d3|bms|P0DE6|16"]
        assert counts[rows == row] == pytest.approx(own + told_term)
    reader.close()
    assert here.counts()["shared_fixes"] == 1
    assert here.counts()["fixes"] == there.counts()["fixes"]
    with Library.open(here.path) as anew:
        assert names(anew) == names(here)
    fix = here.get_fix(match.case_id)
    assert "other workshops" in fix.source_note.en
    assert "其他门店" in fix.source_note.zh


def test_what_is_heard_is_not_told_again(here: Library, told: Path, tmp_path: Path) -> None:
    hear(here, told, trust=key_of(told))
    assert patterns_of(tell(here, tmp_path / "mine.json")) == {}


def test_no_secret_leaves(told: Path, there: Library) -> None:
    text = told.read_text("utf-8")
    planted = json.dumps(case(7), ensure_ascii=False)
    for secret in SECRETS:
        assert secret in planted or secret == "mr. li"
        assert secret not in text
    hidden = [there._store.meta(name) for name in ("site_key", "share_key", "car_key", "identity")]
    hidden += [row[0] for row in there._store.rows("SELECT car_key FROM cases UNION ALL SELECT uid FROM cases")]
    assert len(hidden) == 4 + 2 * 58
    assert not any(secret is None or secret in text for secret in hidden)
    assert "B1999" in text
    terms = patterns_of(told)["replace guide"]["terms"]
    kinds = {term.partition("|")[0] for term in terms}
    assert kinds == {"d1", "d2", "d3", "g", "f", "s", "c", "w"}
    assert all(term.startswith("w|#") for term in terms if term.startswith("w|"))
    assert "g|battery.spread" in terms
    assert patterns_of(told)["replace guide"]["title"]["en"] == "sunroof blind · guide worn · replace guide"


def test_a_fix_whose_words_name_somebody_stays(there: Library, tmp_path: Path) -> None:
    named = ["换模组 粤B12345", "call 13800138000", "lrw3e7ek0nc123456", "a@b"]
    for at, action in enumerate(named):
        learn(there, *(case(1000 + 10 * at + i, fix={**SUNROOF, "action": action}) for i in range(9)))
    assert set(patterns_of(tell(there, tmp_path / "x.json"))) == {"replace guide", there.get_fix("weak-cell").action}
    assert is_clean(["更换电池模组 3", "replace module 12", "internal resistance of p0de6-16", "云端升级 v2"])


def test_fewer_than_five_cars_tell_nothing(here: Library, tmp_path: Path) -> None:
    car = "LRW3E7EK0NC900001"
    learn(here, *(case(i, vin=car) for i in range(30)))  # one car, thirty times
    learn(here, *(case(100 + i) for i in range(3)))
    assert patterns_of(tell(here, tmp_path / "four.json")) == {}
    learn(here, *(case(300 + i, vin=None, fix={**SUNROOF, "action": "other"}) for i in range(30)))
    assert set(patterns_of(tell(here, tmp_path / "nameless.json"))) == {"other"}
    rare = [case(500 + i, fix={**SUNROOF, "action": "third"}, dtcs=["B1999@body"]) for i in range(30)]
    for line in rare[:4]:
        line["dtcs"] = ["B1999@body", "U0100@gateway"]
    learn(here, *rare)
    third = patterns_of(tell(here, tmp_path / "third.json"))["third"]
    assert "d2|body|B1999" in third["terms"]
    assert not any("U0100" in term for term in third["terms"])


def test_a_car_counts_once_however_often_it_came(here: Library, tmp_path: Path) -> None:
    cars = [f"LRW3E7EK0NC9{i:05d}" for i in range(20)]
    learn(here, *(case(100 * visit + i, vin=car) for visit in range(5) for i, car in enumerate(cars)))
    [shared] = patterns_of(tell(here, tmp_path / "x.json")).values()
    assert shared["cases"] == pytest.approx(20, abs=8)


def test_a_pattern_stands_as_it_is_counted() -> None:
    pattern = Pattern("c", "m", "a", Text("t", "题"), Text("f", "修"), Scope("byd"))
    own = OwnPattern(pattern, 30, 25, 9, {"d1|P0DE6": (24, 24), "d1|P0AA6": (4, 4), "w|~王": (20, 20), "w|#a": (9, 2)})
    shared = published(own, b"s" * 32)
    assert shared is not None
    assert shared.cases == shared.worked + shared.failed
    assert set(shared.terms) <= {"d1|P0DE6", "w|#a"}
    assert all(5 <= count <= shared.worked for count in shared.terms.values())
    for secret in range(300):
        few = published(OwnPattern(pattern, 6, 6, 0, {"d1|P0DE6": (6, 6)}), bytes([secret % 256, secret // 256]))
        if few is not None:
            assert few.cases >= 5
            assert few.failed >= 0
            assert all(5 <= count <= few.worked for count in few.terms.values())
    assert published(OwnPattern(pattern, 4, 400, 0, {}), b"s") is None


def test_the_noise_is_the_same_for_the_same_count_and_has_its_spread() -> None:
    secret = b"k" * 32
    draws = [noise_of(secret, ["c", "m", "a", i], "d1|P0DE6", 17, 1.0) for i in range(20_000)]
    assert draws == [noise_of(secret, ["c", "m", "a", i], "d1|P0DE6", 17, 1.0) for i in range(20_000)]
    a = math.exp(-1.0)
    mean = sum(draws) / len(draws)
    spread = math.sqrt(sum((z - mean) ** 2 for z in draws) / len(draws))
    assert abs(mean) < 0.04
    assert spread == pytest.approx(math.sqrt(2 * a) / (1 - a), rel=0.03)
    shares = Counter(draws)
    for z in range(-3, 4):
        assert shares[z] / len(draws) == pytest.approx((1 - a) / (1 + a) * a ** abs(z), abs=0.012)
    others = [
        [noise_of(b"x" * 32, ["c", i], "d1|P0DE6", 17, 1.0) for i in range(100)],
        [noise_of(secret, ["c", i], "d1|P0AA6", 17, 1.0) for i in range(100)],
        [noise_of(secret, ["c", i], "d1|P0DE6", 18, 1.0) for i in range(100)],
        [noise_of(secret, ["c", i], "d1|P0DE6", 17, 0.5) for i in range(100)],
    ]
    this = [noise_of(secret, ["c", i], "d1|P0DE6", 17, 1.0) for i in range(100)]
    assert all(this != other for other in others)


def test_asking_again_gives_no_second_draw(there: Library, told: Path, tmp_path: Path) -> None:
    again = tell(there, tmp_path / "again.json", days=1)
    assert patterns_of(again) == patterns_of(told)
    assert again.read_bytes() != told.read_bytes()
    with Library.open(there.path) as reopened:
        assert patterns_of(tell(reopened, tmp_path / "third.json")) == patterns_of(told)


def forged(told: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A document with something changed and signed anew, by another key."""
    document = json.loads(told.read_text("utf-8"))
    private = Ed25519PrivateKey.generate()
    document["site"] = encoded(private.public_key().public_bytes_raw())
    change(document)
    del document["signature"]
    try:
        content = canonical(document)
    except ValueError:
        content = b"-"
    return json.dumps({**document, "signature": encoded(private.sign(content))}).encode()


def first(document: dict[str, Any]) -> dict[str, Any]:
    return document["patterns"][0]


WRONG: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("schema huizhen.counts/2", lambda d: d.update(schema="huizhen.counts/2")),
    ("not an Ed25519 public key", lambda d: d.update(site="AAAA")),
    ("not a time with its zone", lambda d: d.update(made="2026-01-01T00:00:00")),
    ("not a time with its zone", lambda d: d.update(made=17)),
    ("epsilon", lambda d: d.update(epsilon=0)),
    ("epsilon", lambda d: d.update(epsilon="1")),
    ("NaN is no number", lambda d: d.update(epsilon=math.nan)),
    ("Infinity is no number", lambda d: first(d).update(cases=math.inf)),
    ("k: not a whole number from 5", lambda d: d.update(k=2)),
    ("not a list", lambda d: d.update(patterns={})),
    ("pattern 1: not an object", lambda d: d.update(patterns=[3])),
    ("more than such a document may", lambda d: d.update(note="hello")),
    ("'k' is missing", lambda d: d.pop("k")),
    ("pattern 1: it says more", lambda d: first(d).update(vin="x")),
    ("pattern 1: 'fix' is missing", lambda d: first(d).pop("fix")),
    ("pattern 1, failed: not a whole", lambda d: first(d).update(failed=-1)),
    ("pattern 1, worked: not a whole", lambda d: first(d).update(worked=7.5)),
    ("pattern 1, worked: not a whole", lambda d: first(d).update(worked=True)),
    ("pattern 1, worked: not a whole", lambda d: first(d).update(worked=10**12)),
    ("pattern 1, cases: not worked", lambda d: first(d).update(cases=first(d)["cases"] + 1)),
    ("pattern 1, cases: not a whole", lambda d: first(d).update(cases=4, worked=4, failed=0, terms={})),
    ("'w|~wang' may not be shared", lambda d: first(d)["terms"].update({"w|~wang": 9})),
    ("'x|bms' may not be shared", lambda d: first(d)["terms"].update({"x|bms": 9})),
    ("'d2|kitchen|P0DE6' may not", lambda d: first(d)["terms"].update({"d2|kitchen|P0DE6": 9})),
    ("d1|P0DE6: not a whole", lambda d: first(d)["terms"].update({"d1|P0DE6": 3})),
    ("more often than the fix worked", lambda d: first(d)["terms"].update({"d1|P0DE6": 9999})),
    ("pattern 1, terms: not at most", lambda d: first(d).update(terms={f"g|a{i}": 9 for i in range(2001)})),
    ("pattern 1, terms: not at most", lambda d: first(d).update(terms=[])),
    ("pattern 1, title: not a text", lambda d: first(d).update(title={"en": "\x1b[2J", "zh": "x"})),
    ("pattern 1, title: not a text", lambda d: first(d).update(title={"en": "a" * 401, "zh": "x"})),
    ("pattern 1, title: 'zh' is missing", lambda d: first(d).update(title={"en": "a"})),
    ("pattern 1, component: not in its one", lambda d: first(d).update(component="Sunroof  Blind")),
    ("pattern 1, scope, year_from", lambda d: first(d)["scope"].update(year_from="2020")),
    ("pattern 1, scope, make", lambda d: first(d)["scope"].update(make="")),
    ("stands twice", lambda d: d["patterns"].append(first(d))),
]


@pytest.mark.parametrize(("words", "change"), WRONG)
def test_a_wrong_document_is_refused_by_its_place(
    words: str, change: Callable[[dict[str, Any]], object], told: Path
) -> None:
    with pytest.raises(ImportUnreadable) as caught:
        parse_counts(forged(told, change), "wrong.json")
    assert words in str(caught.value)
    assert isinstance(caught.value.reason, Text)
    assert caught.value.reason.zh != caught.value.reason.en


def test_a_changed_document_is_refused(here: Library, told: Path, tmp_path: Path) -> None:
    text = told.read_text("utf-8")
    document = json.loads(text)
    worked = document["patterns"][0]["worked"]
    signature = bytearray(base64.urlsafe_b64decode(document["signature"] + "=="))
    signature[5] ^= 1
    changes = [
        text.replace(f'"worked": {worked}', f'"worked": {worked + 1}', 1),
        text.replace("guide worn", "guide lost"),
        text.replace(document["signature"], encoded(bytes(signature))),
        text.replace(document["signature"], ""),
        text.replace(document["site"], encoded(Ed25519PrivateKey.generate().public_key().public_bytes_raw())),
    ]
    for changed in changes:
        assert changed != text
        path = tmp_path / "changed.json"
        path.write_text(changed, "utf-8")
        with pytest.raises(ImportUnreadable, match="signature: does not fit"):
            hear(here, path, trust=json.loads(changed)["site"])
    assert here.shared.sites() == []
    assert not any("sunroof" in name for name in names(here))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "schema -"),
        (b"[" * 100_000, "not JSON"),
        (b'{"schema": "huizhen.counts/1", "schema": "huizhen.counts/1"}', "a key stands twice"),
        (b'{"schema": "huizhen.counts/1", "k": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b'{"schema": "huizhen.scan/1"}', "schema huizhen.scan/1"),
        (gzip.compress(b"x" * (65 << 20), 1, mtime=0), "larger than 64 MB"),
        (gzip.compress(b"{}" * 1000, mtime=0)[:-20], "cannot import"),
        (gzip.compress(hashlib.sha512(b"noise").digest() * 3, mtime=0)[:200] + b"\x00" * 300, "cannot import"),
    ],
)
def test_another_file_is_no_document(here: Library, tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(ImportUnreadable, match=words):
        hear(here, path)


def test_a_site_is_trusted_by_a_person(here: Library, told: Path) -> None:
    key = key_of(told)
    with pytest.raises(SiteUntrusted) as caught:
        hear(here, told)
    assert shlex.split(str(caught.value).rpartition("then: ")[2]) == shlex.split(caught.value.command)
    assert f"--trust={key}" in caught.value.command
    assert fingerprint(base64.urlsafe_b64decode(key + "==")) in str(caught.value)
    assert fingerprint(b"x" * 32) == fingerprint_of_bundles(b"x" * 32)
    assert here.shared.sites() == []
    for other in ("hello", encoded(b"\x01" * 32)):
        with pytest.raises(ImportUnreadable, match="not the key you trust"):
            hear(here, told, trust=other)
    assert hear(here, told, trust=f"{key}=") == 1
    assert hear(here, told) is None
    [site] = here.shared.sites()
    assert (site.key, site.patterns) == (key, 2)


def test_our_own_counts_are_refused(there: Library, told: Path) -> None:
    with pytest.raises(ImportUnreadable, match="own counts"):
        hear(there, told, trust=key_of(told))


def test_a_newer_document_replaces_the_former_one_and_an_older_one_is_refused(
    here: Library, there: Library, told: Path, files: Path, tmp_path: Path
) -> None:
    hear(here, told, trust=key_of(told))
    learn(there, *(case(700 + i, fix={**SUNROOF, "action": "paint it"}) for i in range(20)))
    there._store.db.execute("UPDATE cases SET outcome = NULL WHERE fix_id = ?", (there.get_fix("weak-cell").fix_id,))
    newer = tell(there, tmp_path / "newer.json", days=1)
    reader = Library.open(here.path)
    weak = here.get_fix("weak-cell")
    assert reader.success_of(weak) is not None
    assert hear(here, newer) == 1
    for library in (here, reader):
        assert {"paint it", "replace guide"} <= {name.rpartition(" · ")[2] for name in names(library)}
        assert library.success_of(weak) is None
    with pytest.raises(ImportUnreadable, match="not newer"):
        hear(here, told)
    assert hear(here, newer) is None
    # A document that says nothing takes everything back, and what comes again is found again.
    with opened(files, "here", tmp_path) as empty:
        for key in ("site_key", "share_key"):
            value = there._store.meta(key)
            empty._store.db.execute("INSERT INTO meta VALUES (?, ?)", (key, value))
        assert hear(here, tell(empty, tmp_path / "empty.json", days=2)) == 0
    for library in (here, reader):
        assert not any("sunroof" in name for name in names(library))
    assert here.counts()["shared_fixes"] == 0
    assert hear(here, tell(there, tmp_path / "last.json", days=3)) == 0
    for library in (here, reader):
        assert sum("sunroof" in name for name in names(library)) == 2
    reader.close()


def test_two_sites_add_up(here: Library, told: Path, files: Path, tmp_path: Path) -> None:
    hear(here, told, trust=key_of(told))
    with opened(files, "here", tmp_path) as third:
        learn(third, *(case(i) for i in range(30)))
        other = tell(third, tmp_path / "third.json")
    assert hear(here, other, trust=key_of(other)) == 0
    match = here.find(Query.from_json(QUESTION)).matches[0]
    worked = sum(patterns_of(path)["replace guide"]["worked"] for path in (told, other))
    assert match.success.elsewhere[0] == worked
    assert here.postings.n[here.postings.fix_ids.index(match.case_id)] == worked


def test_a_shared_fix_that_cures_here_becomes_ours(here: Library, told: Path, files: Path, tmp_path: Path) -> None:
    hear(here, told, trust=key_of(told))
    query = Query.from_json(QUESTION)
    cases = here.find(query)
    job = here.remember(query, cases)
    here.close_job(job, cases.matches[0].case_id, "fixed")
    assert (here.counts()["shared_fixes"], here.counts()["learnt_fixes"]) == (0, 1)
    success = here.find(query).matches[0].success
    assert success.told.en == f"1 of 1 worked, and {success.elsewhere[0]} of {sum(success.elsewhere)} elsewhere"
    learn(here, case(1))
    assert here.find(query).matches[0].success.worked == 2
    document = tmp_path / "cases.jsonl"
    document.write_text("".join(json.dumps(line) + "\n" for line in here.cases.all()), "utf-8")
    with opened(files, "here", tmp_path) as other:
        assert other.import_file("jsonl", document).bad == []
        assert "sunroof" in names(other)[0]


def test_ours_stays_when_others_speak_of_it_no_more(here: Library, there: Library, told: Path, tmp_path: Path) -> None:
    hear(here, told, trust=key_of(told))
    learn(here, *(case(i) for i in range(3)))
    there._store.db.execute("UPDATE cases SET outcome = NULL")
    assert hear(here, tell(there, tmp_path / "nothing.json", days=1)) == 0
    match = here.find(Query.from_json(QUESTION)).matches[0]
    assert "sunroof" in match.title.en
    assert match.success.told.en == "3 of 3 worked"


def test_outcomes_elsewhere_are_a_prior_that_counts_half() -> None:
    alone, both = success_of([True] * 3, "cases"), success_of([True] * 3, "cases", (31, 9))
    assert both.told == Text("3 of 3 worked, and 31 of 40 elsewhere", "3 次中 3 次有效；其他门店 40 次中 31 次有效")
    assert both.to_json()["elsewhere"] == {"worked": 31, "failed": 9}
    assert alone.to_json()["elsewhere"] is None
    only = success_of([], "cases", (31, 9))
    assert only.told == Text("31 of 40 worked elsewhere", "其他门店 40 次中 31 次有效")
    assert only.lower == pytest.approx(beta_quantile(3.0 + 15.5, 1.5 + 4.5, 0.2))
    assert only.factor == pytest.approx(math.log(only.lower / beta_quantile(3.0, 1.5, 0.2)))
    assert success_of([], "cases", (2, 30)).factor < 0.0 < only.factor
    assert not success_of([], "cases", (0, 50)).stopped
    failing = success_of([True] * 5 + [False] * 3, "cases", (400, 0))
    assert failing.stopped
    assert failing.told.en == "5 of 8 worked, the last 3 failed, and 400 of 400 elsewhere"
    assert failing.told.zh == "8 次中 5 次有效，最近 3 次均无效；其他门店 400 次中 400 次有效"
    many = success_of([False] * 60, "cases", (1_000_000, 0))
    assert many.lower < 0.8  # a crowd elsewhere does not silence what happens here


def test_failures_elsewhere_speak_against_a_fix(here: Library, there: Library, tmp_path: Path) -> None:
    query = Query.from_json({"dtcs": ["P0DE6-16@bms"], "symptom": "续航变短", "read": ["bms"]})
    before = {match.source_id: match.p for match in here.find(query).matches}
    learn(there, *(case(900 + i, fix="weak-cell", outcome="not-fixed", dtcs=["P0DE6-16@bms"]) for i in range(60)))
    path = tell(there, tmp_path / "failures.json")
    hear(here, path, trust=key_of(path))
    match = next(match for match in here.find(query).matches if match.source_id == "weak-cell")
    assert match.p < before["weak-cell"]
    assert match.against[0].kind == "outcome"
    assert "elsewhere" in match.against[0].text.en


def test_simulated_jobs_are_never_told(here: Library, tmp_path: Path) -> None:
    learn(here, *(case(i, simulated=True) for i in range(40)))
    assert patterns_of(tell(here, tmp_path / "sim.json")) == {}
    learn(here, *(case(100 + i) for i in range(4)))
    assert patterns_of(tell(here, tmp_path / "sim.json")) == {}
    learn(here, *(case(200 + i) for i in range(10)))
    assert patterns_of(tell(here, tmp_path / "sim.json"))["replace guide"]["cases"] < 30


def test_a_job_that_is_open_or_was_something_else_is_not_told(here: Library, tmp_path: Path) -> None:
    learn(here, *(case(i, outcome=None) for i in range(20)))
    learn(here, *(case(100 + i, outcome="something-else") for i in range(20)))
    assert patterns_of(tell(here, tmp_path / "open.json")) == {}


def test_a_backup_brings_the_state_of_its_day_back(here: Library, told: Path, tmp_path: Path) -> None:
    here.backup(tmp_path / "before.db")
    hear(here, told, trust=key_of(told))
    assert any("sunroof" in name for name in names(here))
    here.restore(tmp_path / "before.db")
    assert not any("sunroof" in name for name in names(here))
    assert here.shared.sites() == []


def test_a_document_of_the_future_is_refused(here: Library, there: Library, tmp_path: Path) -> None:
    path = tell(there, tmp_path / "future.json", days=102)
    with pytest.raises(ImportUnreadable, match="future"):
        hear(here, path, trust=key_of(path))


@pytest.mark.parametrize(
    ("term", "may"),
    [
        ("d1|P0DE6", True), ("d2|bms|P0DE6", True), ("d3|bms|P0DE6|16", True), ("d1|SPN 110 FMI 3", True),
        ("s|bms", True), ("g|battery.cell-weak", True), ("c|cell-worn", True), ("f|spread_mv|fault", True),
        ("w|#range-loss", True), ("w|~wang", False), ("w|range", False), ("d3|bms|P0DE6|MR LI", False),
        ("g|Mr. Li", False), ("g|lrw3e7ek0nc123456", False), ("c|call-13800138000", False), ("s|kitchen", False),
        ("f|spread_mv|182", False), ("d1|P0DE6\n", False), ("g|" + "a" * 100, False), ("", False),
    ],
)  # fmt: skip
def test_which_terms_may_be_told(term: str, may: bool) -> None:
    assert is_term(term) is may


def test_every_term_of_our_own_fixes_but_words_may_be_told(here: Library) -> None:
    stay = {term for _, term, _ in here._store.terms() if not is_term(term)}
    assert stay
    assert all(term.startswith("w|~") for term in stay)


def test_a_library_that_cannot_be_written_makes_no_key(here: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here._store, "writable", False)
    with pytest.raises(LibraryReadOnly):
        here.exchange.export()
    monkeypatch.undo()
    assert here.shared.site is None
    document, _ = here.exchange.export()
    assert here.shared.site == document.site
    assert document.patterns == ()
    monkeypatch.setattr(here._store, "writable", False)
    assert here.exchange.export()[0].site == document.site


def test_what_is_written_is_what_is_read(there: Library) -> None:
    document, told = there.exchange.export(now_ns=NOW_NS)
    read = parse_counts(json.dumps(told).encode(), "x")
    assert read.to_json() == {key: value for key, value in told.items() if key != "signature"}
    assert read.made == document.made


def run(*words: str, lang: str = "en") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HUIZHEN_LANG": lang}
    return subprocess.run(
        [sys.executable, "-m", "huizhen", "case", *words],
        capture_output=True, text=True, env=env, cwd=REPOSITORY, check=False,
    )  # fmt: skip


def test_the_command_line_in_both_languages(
    there: Library, here: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, a, b = str(tmp_path / "it's out.json"), ["--library", there.path], ["--library", here.path]
    said = run("export", "--counts", out, *a)
    assert said.returncode == 0, said.stderr
    key = key_of(Path(out))
    assert "counts of 2 fixes" in said.stderr
    assert key in said.stderr
    refused = run("import", "counts", out, *b, lang="zh")
    assert refused.returncode == Exit.USAGE
    assert "尚未被本库信任" in refused.stderr
    assert f"--trust={key}" in refused.stderr
    for lang, word in (("en", "does not trust"), ("zh", "尚未被本库信任")):
        assert main(["--lang", lang, "case", "import", "counts", out, *b]) == Exit.USAGE
        assert word in capsys.readouterr().err
    typed = shlex.split(refused.stderr.strip().rpartition("运行：")[2])
    assert main(["--lang", "en", *typed[1:]]) == Exit.DONE
    assert f"counts of 2 fixes taken from site {key[:12]}" in capsys.readouterr().out
    assert main(["--lang", "zh", "case", "import", "counts", out, *b]) == Exit.DONE
    assert "此前已导入" in capsys.readouterr().out
    assert main(["case", "import", "counts", out, "--json", *b]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["was_done"] is True
    for lang, word in (("en", "counts of 2 fixes"), ("zh", "2 个解决办法的计数")):
        assert main(["--lang", lang, "case", "stats", *b]) == Exit.DONE
        shown = capsys.readouterr().out
        assert key[:12] in shown
        assert word in shown
    assert main(["case", "stats", "--json", *b]) == Exit.DONE
    [site] = json.loads(capsys.readouterr().out)["shared"]
    assert (site["site"], site["patterns"]) == (key, 2)
    question = ["--dtc", "B1999-11@body", "--read", "body", "--make", "BYD", "--model", "Song PLUS"]
    for lang, word in (("en", "worked elsewhere"), ("zh", "其他门店")):
        assert main(["--lang", lang, "case", "find", *question, *b]) == Exit.DONE
        assert word in capsys.readouterr().out
        assert main(["--lang", lang, "case", "export", "--counts", out, *a]) == Exit.DONE
        assert key in capsys.readouterr().err
        assert main(["--lang", lang, "case", "import", "jsonl", out, "--trust", key, *b]) == Exit.USAGE
        assert "--trust" in capsys.readouterr().err
    assert main(["case", "export", "--counts", "-", *a]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["site"] == key
