"""Known faults found among published notices: hit rates, calibration, absent ones told from known ones.

    python benchmarks/notices.py DATA            DATA holds recalls_a.csv.gz and queries_a.jsonl
    python benchmarks/notices.py DATA --fit      writes casebase/content/weights.toml, fitted on all its queries

Reported are figures of two-fold cross-fitting (fitted on one half, reported on the other, eight splits), beside the
baselines on the same queries: popularity within the model, FTS5 with OR, BM25 behind the same vehicle gate. The scope
prior profits from how the queries' vehicles were drawn; it is reported with and without.
"""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from casebase.library import Library
from casebase.noticeindex import Gate, NoticeIndex
from casebase.noticematching import FIGURES, SIGNS, Figures, figures, signs
from casebase.tokens import PAIR, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

WEIGHTS = Path(__file__).resolve().parent.parent / "casebase" / "content" / "weights.toml"
RIDGE_RANKING, RIDGE_KNOWN, SHARPNESS, PRIOR = 0.3, 1.0, 1.3, 3.0
"""Set once by cross-fitting on these queries: they only bound the weights and are no fit of their own. ``PRIOR`` is the
logit of a story being a notice's at all, 95 %; the fit itself sees as many absent as known ones."""
SPLITS = 8


@dataclass
class Case:
    """One query with the notices of its vehicle, with and without the one that is meant."""

    known: Figures
    level: int
    right: int
    absent: Figures | None
    absent_level: int


def gate_without(index: NoticeIndex, vehicle: tuple[str, str, int] | None, row: int) -> Gate:
    """The gate as if a notice were not in the library."""
    steps = [(None, None, None)]
    if vehicle is not None:
        make, model, year = vehicle
        steps = [(make, model, year), (make, model, None), (make, None, None)]
    for make, model, year in steps:
        gate = index.gate(make, model, year)
        rows = gate.rows[gate.rows != row]
        if rows.size:
            level = gate.level if vehicle is None or year is not None or gate.level else 1
            return Gate(rows, level, gate.background[gate.background != row])
    return Gate(np.empty(0, np.int32), 3, index.gate(None, None, None).background)


def cases_of(
    index: NoticeIndex, tokenizer: Tokenizer, queries: list[dict], row_of: dict[str, int], *, blind: bool
) -> list[Case]:
    """Figures of all queries; ``blind`` forgets the vehicle."""
    out = []
    for query in queries:
        told = query["vehicle"]
        vehicle = None if blind else (told["make"], told["model"], int(told["model_year"]))
        terms, row = tokenizer.terms([query["symptom"]]), row_of[query["expect"]]
        gate = index.gate(*vehicle) if vehicle else index.gate(None, None, None)
        known = figures(index, terms, gate)
        if known is None or not (at := np.flatnonzero(known.rows == row)).size:
            continue
        without = gate_without(index, vehicle, row)
        absent = figures(index, terms, without) if without.rows.size else None
        out.append(Case(known, gate.level, int(at[0]), absent, without.level))
    return out


def fit_ranking(cases: list[Case], mask: np.ndarray) -> np.ndarray:
    """Conditional logit by Newton's method."""
    weights = np.zeros(mask.size)
    for _ in range(50):
        gradient, hessian = -RIDGE_RANKING * weights, -RIDGE_RANKING * np.eye(mask.size)
        for case in cases:
            x = case.known.values * mask
            score = x @ weights
            p = np.exp(score - score.max())
            p /= p.sum()
            mean = p @ x
            gradient = gradient + x[case.right] - mean
            hessian = hessian - ((x * p[:, None]).T @ x - np.outer(mean, mean))
        step = np.linalg.solve(hessian, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-6:
            break
    return weights * SHARPNESS * mask


def fit_known(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Logistic regression on standardised signs; returns weights and base for the signs themselves."""
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    z = np.c_[np.ones(len(x)), (x - mean) / spread]
    b = np.zeros(z.shape[1])
    for _ in range(60):
        p = 1 / (1 + np.exp(-z @ b))
        gradient = z.T @ (y - p) - RIDGE_KNOWN * np.r_[0, b[1:]]
        b = b + np.linalg.solve((z * (p * (1 - p))[:, None]).T @ z + RIDGE_KNOWN * np.eye(b.size), gradient)
    weights = b[1:] / spread
    return weights, float(b[0] - mean @ weights)


def best(found: Figures | None, level: int, weights: np.ndarray) -> tuple[np.ndarray, int, float, list[int]]:
    """Signs, place, share of the best one, and the first three."""
    if found is None:
        nothing = np.zeros(len(SIGNS))
        nothing[-1] = 1.0
        return nothing, -1, 0.0, []
    score = found.values @ weights
    p = np.exp(score - score.max())
    p /= p.sum()
    order = np.lexsort((found.rows, -p))
    first = int(order[0])
    return signs(found, first, float(p[first]), level), first, float(p[first]), order[:3].tolist()


def fit(cases: list[Case], mask: np.ndarray, more: Sequence[Case] = ()) -> tuple[np.ndarray, np.ndarray, float]:
    """Both models; ``more`` only for whether a story is known."""
    weights = fit_ranking(cases, mask)
    pool = [*cases, *more]
    x = [best(case.known, case.level, weights)[0] for case in pool]
    x += [best(case.absent, case.absent_level, weights)[0] for case in pool]
    known, base = fit_known(np.array(x), np.r_[np.ones(len(pool)), np.zeros(len(pool))])
    return weights, known, base + PRIOR


def calibration_error(p: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over equally wide bins."""
    at = np.minimum((p * bins).astype(int), bins - 1)
    return sum(abs(p[at == b].mean() - right[at == b].mean()) * (at == b).mean() for b in set(at.tolist()))


def auc(known: np.ndarray, absent: np.ndarray) -> float:
    """Probability that a known one has the higher value."""
    _, inverse, count = np.unique(np.r_[known, absent], return_inverse=True, return_counts=True)
    rank = (count.cumsum() - (count - 1) / 2)[inverse][: known.size]
    return float((rank.sum() - known.size * (known.size + 1) / 2) / (known.size * absent.size))


def judged(cases: list[Case], weights: np.ndarray, known: np.ndarray, base: float) -> np.ndarray:
    """Per case: right, among three, probability; chance of a known story, with and without the notice."""
    out = []
    for case in cases:
        told, first, share, three = best(case.known, case.level, weights)
        z1 = told @ known + base
        z0 = best(case.absent, case.absent_level, weights)[0] @ known + base
        out.append((first == case.right, case.right in three, share / (1 + math.exp(-z1)), z1, z0))
    return np.array(out, dtype=float)


def cross_fitted(cases: list[Case], mask: np.ndarray) -> dict[str, float]:
    """Figures of halves that were not fitted on, averaged over the splits."""
    rng, out = np.random.default_rng(3), []
    for _ in range(SPLITS):
        order = rng.permutation(len(cases))
        half = len(cases) // 2
        rows = []
        for train, test in ((order[:half], order[half:]), (order[half:], order[:half])):
            rows.append(judged([cases[i] for i in test], *fit([cases[i] for i in train], mask)))
        out.append(list(summary(np.concatenate(rows)).values()))
    return dict(zip(summary(np.concatenate(rows)), np.mean(out, axis=0), strict=True))


def summary(rows: np.ndarray) -> dict[str, float]:
    """The figures that the table shows."""
    sure = np.argsort(-rows[:, 2], kind="stable")[: int(0.7 * len(rows))]
    return {
        "hit@1": rows[:, 0].mean(),
        "hit@3": rows[:, 1].mean(),
        "calibration error": calibration_error(rows[:, 2], rows[:, 0]),
        "hit@1 at 70 %": rows[sure, 0].mean(),
        "AUC absent": auc(rows[:, 3], rows[:, 4]),
    }


def baselines(
    library: Library, index: NoticeIndex, tokenizer: Tokenizer, queries: list[dict], row_of: dict[str, int]
) -> dict[str, np.ndarray]:
    """Hit@1 and hit@3 of simpler ways."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE f USING fts5(text, notice UNINDEXED, tokenize = 'unicode61')")
    numbers = {int(number): i for i, number in enumerate(index.ids)}
    after = 0
    while batch := library.notices.texts(after, 1000):
        after = batch[-1][0]
        db.executemany("INSERT INTO f VALUES (?, ?)", [(text, numbers[notice]) for _, notice, text in batch])
    out: dict[str, list[tuple[bool, bool]]] = {"popularity": [], "FTS5 OR": [], "BM25 + gate": []}
    average = index.words.mean()
    for query in queries:
        told, right = query["vehicle"], row_of[query["expect"]]
        gate = index.gate(told["make"], told["model"], int(told["model_year"]))
        popular = gate.rows[np.lexsort((gate.rows, -index.texts[gate.rows]))].tolist()
        out["popularity"].append((right in popular[:1], right in popular[:3]))
        terms = tokenizer.terms([query["symptom"]])
        words = sorted(
            {terms.said(i) for i in range(terms.text.size) if terms.kind[i] != PAIR and " " not in terms.said(i)}
        )
        asked = " OR ".join(f'"{word}"' for word in words if word.isalnum())
        found: dict[int, None] = {}
        for (row,) in db.execute("SELECT notice FROM f WHERE f MATCH ? ORDER BY rank LIMIT 60", (asked,)):
            found.setdefault(int(row))
        ranked = list(found)
        out["FTS5 OR"].append((right in ranked[:1], right in ranked[:3]))
        which, rows, counts = index.postings(np.unique(terms.number[terms.kind != PAIR]))
        df = np.bincount(which, minlength=int(which.max(initial=0)) + 1)[which]
        weight = np.log1p((len(index) - df + 0.5) / (df + 0.5))
        gain = weight * counts * 2.2 / (counts + 1.2 * (0.25 + 0.75 * index.words[rows] / average))
        score = np.bincount(rows, weights=gain, minlength=len(index))[gate.rows]
        ranked = gate.rows[np.argsort(-score, kind="stable")].tolist()
        out["BM25 + gate"].append((right in ranked[:1], right in ranked[:3]))
    return {name: np.mean(rows, axis=0) for name, rows in out.items()}


def write(weights: np.ndarray, known: np.ndarray, base: float) -> None:
    """``weights.toml``."""
    lines = [
        "# Weights of casebase.noticematching, fitted by `python benchmarks/notices.py DATA --fit` on held-out",
        "# documents of NHTSA's recall index (public domain). Not written by hand.",
        "[ranking]",
        *(f"{name} = {value:.4f}" for name, value in zip(FIGURES, weights, strict=True)),
        "",
        "[known]",
        f"base = {base:.4f}",
        *(f"{name} = {value:.4f}" for name, value in zip(SIGNS, known, strict=True)),
        "",
    ]
    WEIGHTS.write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Prints the table; with ``--fit`` writes the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--fit", action="store_true")
    args = parser.parse_args()
    queries = [json.loads(line) for line in (args.data / "queries_a.jsonl").read_text("utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as folder, Library.open(Path(folder) / "cases.db", create=True) as library:
        done = library.import_file("nhtsa-recalls", args.data / "recalls_a.csv.gz")
        print(f"{done.rows} rows, {done.new} campaigns, {done.bad_rows} bad")
        index, tokenizer = NoticeIndex.build(library.notices, library.tokenizer), library.tokenizer
        numbers = {int(number): i for i, number in enumerate(index.ids)}
        row_of = {source: numbers[number] for source, number in library.notices.numbers().items()}
        cases = cases_of(index, tokenizer, queries, row_of, blind=False)
        every = np.ones(len(FIGURES))
        if args.fit:
            blind = cases_of(index, tokenizer, queries, row_of, blind=True)
            weights, known, base = fit(cases, every, blind)
            write(weights, known, base)
            told = judged(blind, weights, known, base)
            print(f"without the vehicle (fitted on the same): hit@1 {told[:, 0].mean():.3f} of {len(blind)} in reach")
        without = every.copy()
        without[FIGURES.index("scope")] = 0.0
        print(f"{len(cases)} of {len(queries)} queries have their campaign behind the gate\n")
        print("| | hit@1 | hit@3 | calibration error | hit@1 at 70 % coverage | AUC absent |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name, mask in (("huizhen", every), ("huizhen without the scope prior", without)):
            print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in cross_fitted(cases, mask).values()) + " |")
        for name, (one, three) in baselines(library, index, tokenizer, queries, row_of).items():
            print(f"| {name} | {one:.3f} | {three:.3f} | | | |")


if __name__ == "__main__":
    main()
