"""What a complaint alone says: the right fix by words, without any code or figure, beside FTS5 on the same sentences.

Questions: ``data/complaints.toml`` (sixty in each language, written in words that the library did not use then) and the
sentences of ``known_fixes.py``; and what people write that belongs to no fix, which has to stay ``unknown``. Those who
wrote the library's sentences have not seen either.

    benchmarks/complaints.py
"""

from __future__ import annotations

import re
import sqlite3
import tomllib
from pathlib import Path

from known_fixes import CASES

from casebase.library import Library
from casebase.query import Query

DATA = Path(__file__).parent / "data" / "complaints.toml"


def full_text(library: Library) -> sqlite3.Connection:
    """The fixes' own sentences in FTS5, Chinese ones as single characters."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE f USING fts5(name UNINDEXED, text)")
    for fix in library.own_fixes():
        text = " ".join((*fix.symptoms_en, *(" ".join(said) for said in fix.symptoms_zh)))
        db.execute("INSERT INTO f VALUES (?, ?)", (fix.slug, text))
    return db


def searched(db: sqlite3.Connection, text: str) -> list[str]:
    """Names of the best by FTS5."""
    words = [*re.findall(r"[a-z0-9]{2,}", text.lower()), *re.findall(r"[一-鿿]", text)]
    any_of = " OR ".join(f'"{word}"' for word in dict.fromkeys(words))
    return [row[0] for row in db.execute("SELECT name FROM f WHERE f MATCH ? ORDER BY rank LIMIT 10", (any_of,))]


def line(name: str, found: list[int]) -> str:
    """One line of the table."""
    n = len(found)
    first, three = sum(at == 1 for at in found) / n, sum(0 < at <= 3 for at in found) / n
    return f"{name:44} n {n:3}  hit@1 {first:.3f}  hit@3 {three:.3f}  MRR {sum(1 / at for at in found if at) / n:.3f}"


def main() -> None:
    """Asks and prints."""
    data = tomllib.loads(DATA.read_text(encoding="utf-8"))
    library = Library.built_in()
    db = full_text(library)
    sets = {
        "complaints, zh": [(one["zh"], one["fixes"]) for one in data["complaint"]],
        "complaints, en": [(one["en"], one["fixes"]) for one in data["complaint"]],
        "sentences of known_fixes.py, zh": [(zh, right) for right, _, zh in CASES.values()],
        "sentences of known_fixes.py, en": [(en, right) for right, en, _ in CASES.values()],
    }
    for name, asked in sets.items():
        ours, theirs = [], []
        for text, right in asked:
            told = library.find(Query(symptom=text), dense=False)
            names = [match.source_id for match in told.matches]
            ours.append(next((at for at, one in enumerate(names, start=1) if one in right), 0))
            theirs.append(next((at for at, one in enumerate(searched(db, text), start=1) if one in right), 0))
        print(line(name, ours))
        print(line("  FTS5, OR of all words", theirs))
    other = [text for one in data["elsewhere"] for text in one.values()]
    unknown = sum(library.find(Query(symptom=text), dense=False).verdict.value == "unknown" for text in other)
    print(f"{'what belongs to no fix':44} n {len(other):3}  told as unknown {unknown}")


if __name__ == "__main__":
    main()
