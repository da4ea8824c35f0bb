"""Query time of the case library beside SQLite FTS5 with an OR of all terms, on the same synthetic cases.

Patterns are drawn over Zipf-distributed terms, each case shows a sample of its pattern's terms, and a query is such a
case with some terms missing and some foreign ones added. Both sides answer the same queries in turn, warm, in one
thread; the ratio is the median of the paired ratios. The generator favours naive Bayes: hit rates compare these two
designs on this data and say nothing about cars.

    benchmarks/cases.py [--patterns 20000] [--cases 200000] [--queries 60]
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import time
from collections import Counter

from casebase.catalogue import Scope, load_catalogue
from casebase.matching import Weights, posterior
from casebase.postings import Postings
from casebase.query import Query
from casebase.ranking import answer
from casebase.words import Vocabulary

TERMS = 6000
PER_PATTERN = 12


def draw(patterns: int, cases: int, seed: int) -> tuple[list[list[str]], list[tuple[int, list[str]]]]:
    """Terms of every pattern, and cases as (pattern, its codes)."""
    rng = random.Random(seed)
    codes = [f"{'PCBU'[i % 4]}{i // 4 % 4}{i // 16 % 4096:03X}" for i in range(TERMS)]
    weights = [1 / (rank + 10) for rank in range(TERMS)]
    made = [sorted(set(rng.choices(codes, weights, k=PER_PATTERN))) for _ in range(patterns)]
    shown = []
    for number in range(cases):
        pattern = number % patterns
        terms = [term for term in made[pattern] if rng.random() < 0.7] or made[pattern][:1]
        shown.append((pattern, terms))
    return made, shown


def build(made: list[list[str]], cases: list[tuple[int, list[str]]]) -> Postings:
    """The library's arrays from the cases' counts."""
    counts: list[Counter[str]] = [Counter() for _ in made]
    size: Counter[int] = Counter()
    for pattern, terms in cases:
        counts[pattern].update(terms)
        size[pattern] += 1
    entries = (
        (row, f"{level}{term}", float(n))
        for row, counter in enumerate(counts)
        for term, n in counter.items()
        for level in ("d1|", "d2|bms|")
    )
    return Postings.build([(str(row), float(size[row]), Scope()) for row in range(len(made))], entries)


def full_text(cases: list[tuple[int, list[str]]]) -> sqlite3.Connection:
    """The cases in FTS5, one document each."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE cases USING fts5 (pattern UNINDEXED, terms)")
    db.executemany("INSERT INTO cases VALUES (?, ?)", ((pattern, " ".join(terms)) for pattern, terms in cases))
    db.execute("INSERT INTO cases (cases) VALUES ('optimize')")
    return db


def quantile(values: list[float], q: float) -> float:
    """The value below which a share ``q`` of the others lies."""
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patterns", type=int, default=20_000)
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=60)
    args = parser.parse_args()
    made, cases = draw(args.patterns, args.cases, seed=7)
    start = time.perf_counter()
    postings = build(made, cases)
    print(f"{args.patterns} patterns, {args.cases} cases; arrays built in {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    db = full_text(cases)
    print(f"FTS5 filled in {time.perf_counter() - start:.1f} s")
    catalogue, words, weights = load_catalogue(), Vocabulary.load(), Weights()
    fix = catalogue.fixes[0]
    fixes = {str(row): fix for row in range(args.patterns)}
    rng = random.Random(11)
    ours: list[float] = []
    theirs: list[float] = []
    hit_ours = hit_theirs = 0
    for number in range(args.queries + 5):
        pattern = rng.randrange(args.patterns)
        terms = [term for term in made[pattern] if rng.random() < 0.3] or made[pattern][:1]
        terms += [made[rng.randrange(args.patterns)][0] for _ in range(2)]
        query = Query.from_json({"dtcs": [f"{term}@bms" for term in terms], "read": ["bms"]})
        begin = time.perf_counter()
        answer(query, postings, fixes.__getitem__, catalogue.scales, catalogue.tests, words, weights)
        middle = time.perf_counter()
        rows = db.execute(
            "SELECT pattern FROM cases WHERE cases MATCH ? ORDER BY rank LIMIT 50", (" OR ".join(terms),)
        ).fetchall()
        end = time.perf_counter()
        if number < 5:
            continue
        result = posterior(postings, query, catalogue.scales, words, weights)
        hit_ours += int(result.rows[result.p.argmax()]) == pattern
        hit_theirs += bool(rows) and Counter(row[0] for row in rows).most_common(1)[0][0] == pattern
        ours.append((middle - begin) * 1e3)
        theirs.append((end - middle) * 1e3)
    for name, values, hits in (("library", ours, hit_ours), ("FTS5 OR", theirs, hit_theirs)):
        print(
            f"{name:8} p50 {statistics.median(values):8.2f} ms   p99 {quantile(values, 0.99):8.2f} ms   "
            f"hit@1 {hits / args.queries:.3f}"
        )
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    print(f"ratio (median of pairs) {ratio:.1f}")


if __name__ == "__main__":
    main()
