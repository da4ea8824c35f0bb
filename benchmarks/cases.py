"""The case library with a million synthetic cases, beside FTS5, tantivy and bm25s on the same cases.

The rows of ``case_generator`` go through the library's own import and its own ``find``: match, explanation and next
test, in one thread. The peers index the cases by the same terms (codes, findings, words, Chinese bigrams) and name the
pattern that the fifty best cases point to. All answer the same queries in turn, warm; import and memory are measured in
processes of their own. The generator favours naive Bayes: hit rates compare these designs on this data and say nothing
about cars.

    benchmarks/cases.py [--cases 1000000] [--patterns 20000] [--queries 300] [--folder DIR] [--no-peers]

Needs for the peers: pip install tantivy bm25s
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from case_generator import Generator

from casebase.library import Library
from casebase.query import Query
from casebase.words import default_vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator

Ask = Callable[[dict[str, Any], list[str]], int | None]
"""A question as JSON and as terms; the number of the pattern, None without an answer."""

SEED = 70
BEST = 50
WARM = 50
"""Queries before the clock runs."""
SLOW = 40
"""Queries that FTS5 is asked: it takes a second for each."""


def megabytes(path: Path) -> float:
    """Of a file or a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def tokens_of(lines: list[dict[str, Any]]) -> Iterator[list[str]]:
    """The terms of cases for the peers."""
    terms = default_vocabulary().tokenizer.terms([line["symptom"] for line in lines], pairs=False)
    words: list[list[str]] = [[] for _ in lines]
    for text, number in zip(terms.text[terms.is_free].tolist(), terms.number[terms.is_free].tolist(), strict=True):
        words[text].append(f"w{number:x}")
    for line, said in zip(lines, words, strict=True):
        codes = [part for code in line["dtcs"] for part in (code.replace("@", "x"), code.partition("@")[0])]
        make = line["vehicle"]["model"].replace(" ", "")
        yield [*codes, *(name.replace(".", "x").replace("-", "x") for name in line.get("findings", [])), make, *said]


def write_cases(generator: Generator, count: int, folder: Path) -> None:
    """The rows, and what the peers index."""
    with (folder / "cases.jsonl").open("w", encoding="utf-8") as rows, (folder / "tokens.txt").open("w") as peers:
        batch: list[tuple[int, dict[str, Any]]] = []

        def flush() -> None:
            for (number, line), terms in zip(batch, tokens_of([line for _, line in batch]), strict=True):
                rows.write(json.dumps(line, ensure_ascii=False) + "\n")
                peers.write(f"{number} {' '.join(terms)}\n")
            batch.clear()

        for case in generator.cases(count, SEED + 1):
            batch.append(case)
            if len(batch) == 2000:
                flush()
        flush()


def read_tokens(folder: Path) -> Iterator[tuple[int, str]]:
    """Pattern and terms of each case."""
    with (folder / "tokens.txt").open() as peers:
        for line in peers:
            number, _, terms = line.rstrip("\n").partition(" ")
            yield int(number), terms


def step_import(folder: Path) -> None:
    """In a process of its own: the library's import."""
    start = time.perf_counter()
    with Library.open(folder / "library.db", create=True) as library:
        result = library.import_file("jsonl", folder / "cases.jsonl")
    took = time.perf_counter() - start
    own, helpers = (resource.getrusage(who).ru_maxrss / 1e3 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"rows": result.new, "bad": result.bad_rows, "took": took, "own_mb": own, "helper_mb": helpers}))


def step_open(folder: Path) -> None:
    """In a process of its own: opening, the first question, one more case, its memory."""
    told = [json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    start = time.perf_counter()
    library = Library.open(folder / "library.db")
    library.find(Query.from_json(told[0]["line"]))
    opened = time.perf_counter() - start
    for one in told:
        library.find(Query.from_json(one["line"]))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    fresh = {
        "id": f"fresh-{time.time_ns()}", "symptom": "quetzal whistles under the seat", "outcome": "fixed",
        "dtcs": ["B2BFF@body"], "fix": {"component": "seat", "failure_mode": "bird", "action": "let it out"},
    }  # fmt: skip
    from casebase.record import case_from_json

    start = time.perf_counter()
    library.add_cases([case_from_json(fresh, library.cases.car_key)])
    found = library.find(Query.from_json({"symptom": fresh["symptom"], "dtcs": fresh["dtcs"]}))
    seen = time.perf_counter() - start
    print(json.dumps({
        "open": opened, "memory_mb": memory, "searchable": seen,
        "is_first": bool(found.matches) and "let it out" in found.matches[0].title.en,
    }))  # fmt: skip


def in_process(step: str, folder: Path) -> dict[str, Any]:
    """Runs a step of this script in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--step", step, "--folder", str(folder)],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return made


def most_of(patterns: list[int]) -> int | None:
    """The pattern that most of the best cases point to; the first of them among equals."""
    return Counter(patterns).most_common(1)[0][0] if patterns else None


def ours(folder: Path) -> Ask:
    """The library."""
    library = Library.open(folder / "library.db")

    def ask(line: dict[str, Any], _: list[str]) -> int | None:
        cases = library.find(Query.from_json(line))
        if not cases.matches:
            return None
        said = cases.matches[0].title.en.rpartition("repair ")[2]
        return int(said) if said.isdigit() else None

    return ask


def fts5(folder: Path) -> tuple[Ask, Path]:
    """SQLite's full-text index with an OR of all terms."""
    path = folder / "fts5.db"
    db = sqlite3.connect(path)
    if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        db.execute("CREATE VIRTUAL TABLE cases USING fts5 (terms, content='')")
        db.execute("CREATE TABLE patterns (id INTEGER PRIMARY KEY, pattern INTEGER)")
        db.executemany("INSERT INTO cases (rowid, terms) VALUES (?, ?)",
                       ((at, terms) for at, (_, terms) in enumerate(read_tokens(folder))))  # fmt: skip
        db.executemany("INSERT INTO patterns VALUES (?, ?)", ((at, n) for at, (n, _) in enumerate(read_tokens(folder))))
        db.execute("INSERT INTO cases (cases) VALUES ('optimize')")
        db.commit()

    def ask(_: dict[str, Any], terms: list[str]) -> int | None:
        sql = (
            "SELECT pattern FROM (SELECT rowid AS at FROM cases WHERE cases MATCH ? ORDER BY rank LIMIT ?)"
            " JOIN patterns ON id = at"
        )
        return most_of([row[0] for row in db.execute(sql, (" OR ".join(terms), BEST))])

    return ask, path


def tantivy(folder: Path) -> tuple[Ask, Path]:
    """Tantivy's BM25 over an OR of all terms."""
    import tantivy as engine

    path = folder / "tantivy"
    is_new = not (path / "meta.json").exists()
    path.mkdir(exist_ok=True)
    builder = engine.SchemaBuilder()
    builder.add_text_field("terms", stored=False, tokenizer_name="whitespace", index_option="freq")
    builder.add_integer_field("pattern", stored=True)
    schema = builder.build()
    index = engine.Index(schema, path=str(path))
    if is_new:
        writer = index.writer(256_000_000, 1)
        for number, terms in read_tokens(folder):
            writer.add_document(engine.Document(terms=[terms], pattern=number))
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
    searcher = index.searcher()

    def ask(_: dict[str, Any], terms: list[str]) -> int | None:
        any_of = [
            (engine.Occur.Should, engine.Query.term_query(schema, "terms", term, index_option="freq"))
            for term in dict.fromkeys(terms)
        ]
        hits = searcher.search(engine.Query.boolean_query(any_of), BEST).hits
        return most_of([searcher.doc(at)["pattern"][0] for _, at in hits])

    return ask, path


def bm25s(folder: Path) -> tuple[Ask, Path]:
    """The bm25s package: eager scores in sparse arrays."""
    import bm25s as engine
    from bm25s.tokenization import Tokenized

    path = folder / "bm25s"
    if not path.exists():
        known: dict[str, int] = {}
        ids = [[known.setdefault(term, len(known)) for term in terms.split()] for _, terms in read_tokens(folder)]
        made = engine.BM25()
        made.index(Tokenized(ids=ids, vocab=known), show_progress=False)
        made.save(str(path))
        del ids, made, known
    model = engine.BM25.load(str(path))
    patterns = np.array([number for number, _ in read_tokens(folder)])

    def ask(_: dict[str, Any], terms: list[str]) -> int | None:
        best, scores = model.retrieve(
            [[term for term in terms if term in model.vocab_dict]], k=BEST, show_progress=False
        )
        return most_of([int(patterns[at]) for at, score in zip(best[0].tolist(), scores[0], strict=True) if score > 0])

    return ask, path


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--patterns", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="keep everything here, and go on with what is there")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--step", choices=("import", "open"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        {"import": step_import, "open": step_open}[args.step](args.folder)
        return
    folder = args.folder or Path(tempfile.mkdtemp(prefix="huizhen-cases-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        measure(args, folder)
    finally:
        if args.folder is None:
            shutil.rmtree(folder)


def measure(args: argparse.Namespace, folder: Path) -> None:
    """All of it."""
    generator = Generator(args.patterns, SEED)
    if not (folder / "cases.jsonl").exists():
        write_cases(generator, args.cases, folder)
    queries = list(generator.queries(args.queries + WARM, SEED + 2))
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"pattern": n, "line": line}, ensure_ascii=False) + "\n" for n, line in queries)
    size = (folder / "cases.jsonl").stat().st_size
    print(f"{args.cases} cases of {args.patterns} patterns, {size / args.cases:.0f} bytes a row")
    if not (folder / "library.db").exists():
        made = in_process("import", folder)
        print(
            f"import   {made['rows'] / made['took']:,.0f} searchable rows/s ({made['took']:.0f} s, {made['bad']} bad);"
            f" memory {made['own_mb']:.0f} MB, each helper up to {made['helper_mb']:.0f} MB"
        )
    index = megabytes(folder / "library.db-index")
    print(f"size     library {megabytes(folder / 'library.db'):.0f} MB, index {index:.0f} MB")
    made = in_process("open", folder)
    print(
        f"open     {made['open']:.2f} s with the first answer; {made['memory_mb']:.0f} MB after all queries; a new case"
        f" is found after {made['searchable']:.2f} s ({'first' if made['is_first'] else 'NOT first'})"
    )
    asked: list[tuple[str, Ask, float]] = [("library", ours(folder), index)]
    if not args.no_peers:
        for name, make in (("FTS5 OR", fts5), ("tantivy", tantivy), ("bm25s", bm25s)):
            start = time.perf_counter()
            ask, path = make(folder)
            print(f"{name} indexed in {time.perf_counter() - start:.0f} s")
            asked.append((name, ask, megabytes(path)))
    terms = list(tokens_of([line for _, line in queries]))
    took: dict[str, list[float]] = {name: [] for name, _, _ in asked}
    right: Counter[str] = Counter()
    gc.collect()
    gc.freeze()  # what was made so far is nobody's garbage, and none of the sides should pay for another's
    for number, ((pattern, line), words) in enumerate(zip(queries, terms, strict=True)):
        for name, ask, _ in asked:
            if name == "FTS5 OR" and not WARM - 5 <= number < WARM + SLOW:
                continue
            start = time.perf_counter()
            answer = ask(line, words)
            spent = time.perf_counter() - start
            if number >= WARM:
                took[name].append(spent * 1e3)
                right[name] += answer == pattern
    mine = np.array(took["library"])
    for name, _, disk in asked:
        spent = np.array(took[name])
        ratio = float(np.median(spent / mine[: spent.size]))
        print(
            f"{name:8} p50 {np.median(spent):8.2f} ms  p99 {np.quantile(spent, 0.99):8.2f} ms  {ratio:7.2f}x  "
            f"{disk:5.0f} MB  hit@1 {right[name] / spent.size:.3f}  ({spent.size} queries)"
        )


if __name__ == "__main__":
    main()
