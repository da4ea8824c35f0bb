"""Fixes for some vehicles only, and arrays that agree with the plain formula."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from casebase.catalogue import Scope, load_catalogue
from casebase.matching import Weights, posterior
from casebase.postings import Postings, group_of_term
from casebase.query import Query
from casebase.ranking import answer
from casebase.words import Vocabulary

SCALES = load_catalogue().scales
WORDS = Vocabulary.load()
FIXES = [
    ("any", 20.0, Scope()),
    ("maker", 20.0, Scope(make="byd")),
    ("model", 20.0, Scope(make="byd", model="song plus")),
    ("years", 20.0, Scope(make="byd", model="song plus", year_from=2021, year_to=2023)),
]
ENTRIES = [(row, term, 12.0) for row in range(4) for term in ("d1|P0AA6", "d2|bms|P0AA6")]
POSTINGS = Postings.build(FIXES, ENTRIES)


@pytest.mark.parametrize(
    ("vehicle", "wanted"),
    [
        ({}, {"any", "maker", "model", "years"}),
        ({"make": "BYD"}, {"any", "maker", "model", "years"}),
        ({"make": "BYD", "model": "Song  PLUS", "model_year": 2022}, {"any", "maker", "model", "years"}),
        ({"make": "BYD", "model": "Song PLUS", "model_year": "2024"}, {"any", "maker", "model"}),
        ({"make": "BYD", "model": "Dolphin"}, {"any", "maker"}),
        ({"make": "Tesla"}, {"any"}),
    ],
)
def test_the_vehicle_gates_and_backs_off_to_any(vehicle: dict, wanted: set[str]) -> None:
    query = Query.from_json({"dtcs": ["P0AA6@bms"], "vehicle": vehicle})
    result = posterior(POSTINGS, query, SCALES, WORDS)
    assert {POSTINGS.fix_ids[row] for row in result.rows} == wanted
    assert float(result.p.sum()) + result.p_unknown == pytest.approx(1.0)


def test_the_arrays_agree_with_the_formula() -> None:
    """One fix by hand: two codes expected, one there, one read and absent."""
    n, share = 20.0, (18.0, 12.0)
    postings = Postings.build(
        [("one", n, Scope()), ("other", 40.0, Scope())],
        [
            (0, "d1|P0AA6", share[0]),
            (0, "d2|bms|P0AA6", share[0]),
            (0, "d2|bms|P0E74", share[1]),
            (1, "d1|U0111", 30.0),
        ],
    )
    weights = Weights()
    result = posterior(postings, Query.from_json({"dtcs": ["P0AA6@bms"], "read": ["bms"]}), SCALES, WORDS, weights)
    rate = (share[0] + 0.5) / 61.0
    chance = (share[0] + 2.0 * rate) / (n + 2.0)
    rate_absent = (share[1] + 0.5) / 61.0
    absent = (share[1] + 2.0 * rate_absent) / (n + 2.0)
    by_hand = 0.5 * math.log(n) + math.log(chance / rate) + weights.absent * math.log(1.0 - absent)
    assert result.score[0] == pytest.approx(by_hand)
    none = math.log(0.25 * (math.sqrt(20.0) + math.sqrt(40.0)))
    p = math.exp(by_hand) / (math.exp(by_hand) + math.exp(none)) * 21.0 / 22.0
    assert float(result.p[0]) == pytest.approx(p)


def test_an_empty_library_knows_nothing() -> None:
    postings = Postings.build([], [])
    result = posterior(postings, Query.from_json({"dtcs": ["P0AA6"], "symptom": "续航"}), SCALES, WORDS)
    assert result.p.size == 0
    assert result.p_unknown == 1.0


def test_terms_by_fix_and_fixes_by_term_agree() -> None:
    for row in range(len(POSTINGS)):
        for term in POSTINGS.terms_of(row):
            assert row in POSTINGS.posting(term)[0]
    assert POSTINGS.posting("d1|nothing")[0].size == 0
    assert np.array_equal(POSTINGS.seen("d1|P0AA6"), np.arange(4))


@pytest.mark.parametrize(
    ("term", "group"),
    [
        ("d1|P0AA6", None),
        ("d3|bms|P0AA6|1A", None),
        ("d2|bms|P0AA6", "d|bms"),
        ("f|spread_mv|fault", "f|spread_mv"),
        ("g|insulation.low", "g|insulation.low"),
        ("s|bms", "s|bms"),
        ("w|#hot", None),
    ],
)
def test_only_what_can_be_read_can_be_absent(term: str, group: str | None) -> None:
    assert group_of_term(term) == group


WIDE = Postings.build(
    [
        ("own", 20.0, Scope(make="volkswagen", model="id.4")),
        ("sister", 20.0, Scope(make="skoda", model="enyaq")),
        ("maker", 20.0, Scope(make="volkswagen", model="golf")),
        ("stranger", 20.0, Scope(make="toyota", model="corolla")),
    ],
    [(0, "d1|P0AA6", 18.0), (1, "d1|P0DE6", 18.0), (2, "d1|P0300", 18.0), (3, "d1|C0031", 18.0)]
    + [(row, "d1|U0100", 18.0) for row in (1, 2)],
)


@pytest.mark.parametrize(
    ("code", "wanted", "own"),
    [("P0AA6", "own", True), ("P0DE6", "sister", False), ("P0300", "maker", False), ("C0031", "stranger", False)],
)
def test_where_the_model_knows_nothing_wider_circles_are_asked(code: str, wanted: str, own: bool) -> None:
    query = Query.from_json({"dtcs": [code], "vehicle": {"make": "VW", "model": "ID.4", "model_year": 2022}})
    result = posterior(WIDE, query, SCALES, WORDS)
    best = int(result.p.argmax())
    assert WIDE.fix_ids[result.rows[best]] == wanted
    assert bool(result.is_own[best]) is own


def test_the_platform_is_asked_before_the_make_and_the_make_before_strangers() -> None:
    for model, wanted in (("ID.4 CROZZ", "sister"), ("Tiguan", "maker")):
        vehicle = {"make": "大众", "model": model, "model_year": 2022}
        result = posterior(WIDE, Query.from_json({"dtcs": ["U0100"], "vehicle": vehicle}), SCALES, WORDS)
        assert {WIDE.fix_ids[row] for row in result.rows} == {wanted}


def test_a_variant_is_its_model() -> None:
    vehicle = {"make": "大众", "model": "ID.4 X Pro", "model_year": 2022}
    result = posterior(WIDE, Query.from_json({"dtcs": ["P0AA6"], "vehicle": vehicle}), SCALES, WORDS)
    assert WIDE.fix_ids[result.rows[result.p.argmax()]] == "own"
    assert result.is_own.all()


def test_what_is_known_from_another_car_says_so_and_is_never_direct() -> None:
    catalogue = load_catalogue()
    fix = replace(catalogue.fixes[0], scope=Scope(make="skoda", model="enyaq"), source="standard")
    library = Postings.build(
        [("sister", 40.0, fix.scope), ("other", 400.0, Scope())],
        [(0, "d1|P0DE6", 40.0), (0, "d2|bms|P0DE6", 40.0), (1, "d1|C0031", 300.0)],
    )
    for vehicle, verdict in (({"make": "skoda", "model": "enyaq"}, "direct"), ({"make": "vw", "model": "ID.4"}, "")):
        query = Query.from_json({"dtcs": ["P0DE6@bms"], "vehicle": vehicle})
        told = answer(query, library, lambda _: fix, SCALES, catalogue.tests, WORDS)
        assert (told.verdict.value == "direct") is (verdict == "direct")
        elsewhere = [reason for reason in told.matches[0].against if reason.kind == "vehicle"]
        assert [reason.ref for reason in elsewhere] == ([] if verdict else ["skoda enyaq"])


def test_a_retired_fix_matches_no_car() -> None:
    for vehicle in ({}, {"make": "toyota"}, {"make": "toyota", "model": "corolla"}):
        query = Query.from_json({"dtcs": ["C0031"], "vehicle": vehicle})
        result = posterior(WIDE.without({"stranger"}), query, SCALES, WORDS)
        assert not result.p.size
