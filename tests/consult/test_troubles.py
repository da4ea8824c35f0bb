"""What can be wrong with a service: each code has its words on the board and its line in the docs."""

import json
import re
from pathlib import Path

import pytest
from test_page_modules import run_modules

from consult.troubles import OWN_TROUBLES, TROUBLES

DOCS = Path(__file__).parents[2] / "docs"


def test_every_code_has_words_in_both_languages(tmp_path):
    run_modules(tmp_path, ("troublewords",), "page_troubles.mjs", TROUBLES=json.dumps(TROUBLES))


@pytest.mark.parametrize(
    ("page", "head", "least"),
    [("operations.md", "| code | is | do |", 11), ("zh/operations.md", "| 代码 | 含义 | 怎么办 |", 6)],
)
def test_every_code_stands_in_the_docs_with_what_to_do(page, head, least):
    text = (DOCS / page).read_text(encoding="utf-8")
    table = text.split(head)[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
    assert [row[0] for row in rows] == [f"`{code}`" for code in TROUBLES]
    assert all(len(row) == 3 and min(map(len, row)) >= least for row in rows)
    assert TROUBLES[:3] == OWN_TROUBLES, "the docs say that the first three are those of /health/live"


def test_codes_are_codes():
    for code in TROUBLES:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)+", code), code
    assert len(set(TROUBLES)) == len(TROUBLES)
