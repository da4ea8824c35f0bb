"""Counts of several workshops as one: added as they were told, signed, and never one's own."""

import json
from datetime import UTC, datetime

import pytest
from networkkit import Workshop

from casebase.catalogue import Scope
from casebase.library import Library
from casebase.query import Query
from casebase.record import Pattern
from casebase.sharedfile import parse_counts
from casebase.sharing import CountsDocument, SharedPattern, new_site_key, signed, site_of
from consult.networkmerge import merged, reviewed_document
from consult.service import ServiceConfig
from diag.facts import Text

DAY = datetime(2026, 11, 1, tzinfo=UTC)
BLIND = ("sunroof blind", "guide worn", "replace guide")
PLUG = ("sunroof motor", "plug loose", "fix plug")


def pattern(words, title="as said"):
    return Pattern(*words, Text(title, title), Text(words[2], words[2]), Scope("byd", "song plus"))


def document(number, *patterns, epsilon=1.0, k=5):
    return CountsDocument(bytes([number]) * 32, DAY, epsilon, k, patterns)


@pytest.fixture
def config(tmp_path):
    return ServiceConfig(data=tmp_path / "rooms", state=tmp_path / "rooms" / "service.db")


def test_numbers_of_the_same_fix_are_added_as_by_hand():
    one = SharedPattern(pattern(BLIND), 12, 3, {"d1|P0AA6": 11, "g|battery.spread": 6})
    two = SharedPattern(pattern(BLIND), 7, 1, {"d1|P0AA6": 5, "s|bms": 7})
    other = SharedPattern(pattern(PLUG), 5, 0, {})
    made = merged([document(1, one), document(2, two, other)], b"S" * 32, DAY)
    assert [(each.pattern.action, each.worked, each.failed) for each in made.patterns] == [
        ("replace guide", 19, 4),
        ("fix plug", 5, 0),
    ]
    assert made.patterns[0].terms == {"d1|P0AA6": 16, "g|battery.spread": 6, "s|bms": 7}
    assert made.site == b"S" * 32


def test_nothing_is_merged_beyond_what_the_weakest_promised():
    made = merged([document(1, epsilon=0.5, k=8), document(2, epsilon=1.0, k=5)], b"S" * 32, DAY)
    assert (made.epsilon, made.k) == (1.0, 5)


def test_fixes_of_other_cars_stay_apart_and_words_are_those_of_most():
    here = SharedPattern(pattern(BLIND, "mine"), 5, 0, {})
    there = SharedPattern(pattern(BLIND, "ours"), 5, 0, {})
    other = SharedPattern(Pattern(*BLIND, Text("x", "x"), Text("x", "x"), Scope("byd", "han")), 9, 0, {})
    made = merged([document(1, here), document(2, there), document(3, there, other)], b"S" * 32, DAY)
    assert [(each.pattern.scope.model, each.worked, each.pattern.title.en) for each in made.patterns] == [
        ("song plus", 15, "ours"),
        ("han", 9, "x"),
    ]


def test_the_order_of_workshops_makes_no_difference():
    one, two = document(1, SharedPattern(pattern(BLIND), 6, 1, {})), document(2, SharedPattern(pattern(PLUG), 6, 1, {}))
    assert merged([one, two], b"S" * 32, DAY) == merged([two, one], b"S" * 32, DAY)


def test_what_is_merged_is_a_document_like_any_other():
    private = new_site_key()
    made = merged([document(1, SharedPattern(pattern(BLIND), 12, 3, {"d1|P0AA6": 11}))], site_of(private), DAY)
    again = parse_counts(json.dumps(signed(made, private)).encode(), "-")
    assert again == made


def test_reviewed_fixes_are_of_single_cars_and_say_so():
    private = new_site_key()
    told = SharedPattern(pattern(BLIND), 1, 0, {"d1|P0AA6": 1}).to_json()
    made = reviewed_document([told, told], private, DAY)
    assert made["k"] == 1
    data = json.dumps(made).encode()
    [shared] = parse_counts(data, "-", least=1).patterns
    assert (shared.worked, shared.terms) == (2, {"d1|P0AA6": 2})
    with pytest.raises(Exception, match="k: not a whole number"):
        parse_counts(data, "-")


def cured(number, words=BLIND):
    fix = dict(zip(("component", "failure_mode", "action"), words, strict=True))
    return {
        "id": f"job-{words[2]}-{number}", "vin": f"LRW3E7EK0NC9{number:05d}", "symptom": "天窗遮阳帘异响",
        "vehicle": {"make": "BYD", "model": "Song PLUS"}, "dtcs": ["B1999-11@body"], "outcome": "fixed",
        "closed": "2026-03-05", "fix": fix,
    }  # fmt: skip


async def test_workshops_learn_from_each_other_with_one_command(service, tmp_path):
    north, south, west = (Workshop(tmp_path, name) for name in ("north", "south", "west"))
    for shop in (north, south, west):
        await shop.join(service)
    north.learn(*(cured(number) for number in range(30)))
    south.learn(*(cured(number) for number in range(100, 120)))
    assert (await north.case("sync"))["sites"] == 0
    heard = await south.case("sync")
    assert (heard["sites"], heard["patterns"], heard["new"]) == (1, 1, 0), "south knows this fix by itself"
    heard = await west.case("sync")
    assert (heard["sites"], heard["new"]) == (2, 1)
    exact = {shop.name: counted(shop) for shop in (north, south)}
    with Library.open(west.path) as library:
        [(worked, failed)] = library.shared.outcomes().values()
        found = library.find(Query.from_json({"dtcs": ["B1999-11@body"], "vehicle": cured(0)["vehicle"]}))
    assert worked == exact["north"] + exact["south"], "the sum of what both told, and nothing else"
    assert failed < 10
    assert any("guide" in match.title.en for match in found.matches)
    assert (await west.case("sync"))["new"] == 0
    with Library.open(west.path) as library:
        assert len(library.shared.outcomes()) == 1, "and a second time it stays what it was"


def counted(shop):
    """What a workshop tells of its only fix, with its noise."""
    with Library.open(shop.path) as library:
        document, _ = library.exchange.export()
    return document.patterns[0].worked


async def test_who_leaves_takes_its_counts_along(service, tmp_path):
    from networkkit import command

    north, west = (Workshop(tmp_path, name) for name in ("north", "west"))
    await north.join(service)
    await west.join(service)
    north.learn(*(cured(number) for number in range(30)))
    await north.case("sync")
    assert (await west.case("sync"))["patterns"] == 1
    await command("consult", "site", "remove", "north", "--data", service.config.data)
    assert (await west.case("sync"))["patterns"] == 0
    with Library.open(west.path) as library:
        assert library.shared.outcomes() == {}
