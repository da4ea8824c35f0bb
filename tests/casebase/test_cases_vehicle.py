"""Fixes for some vehicles only, and arrays that agree with the plain formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from casebase.catalogue import Scope, load_catalogue
from casebase.matching import Weights, posterior
from casebase.postings import Postings, group_of_term
from casebase.query import Query
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
