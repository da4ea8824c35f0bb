"""Scores the answers of ``huizhen case find --jsonl`` against the questions they belong to.

    huizhen case import nhtsa-recalls recalls_a.csv.gz --library a.db
    huizhen case find --jsonl --library a.db < queries_a.jsonl > answers.jsonl
    benchmarks/score_answers.py queries_a.jsonl answers.jsonl

A question says in ``expect`` which ``source_id`` is meant: a name, several, or none where nothing in the library is.
Printed are hit@1 and hit@3 with Wilson intervals, coverage by verdict, hit@1 at 70 % coverage (the surest first), the
expected calibration error of the first match over ten equal groups, and what became of questions that mean nothing.
The weights of notices that come with the program were fitted on queries_a: on these very questions the figures are
those of the fit. ``benchmarks/notices.py`` reports halves that were not fitted on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from casebase.intervals import Z95, wilson

GROUPS = 10
COVERED = 0.7
SURE = 0.5


def expected(question: dict[str, Any]) -> set[str]:
    """What is meant; empty where nothing is."""
    told = question.get("expect")
    return {told} if isinstance(told, str) else set(told or ())


def share(hits: int, n: int) -> str:
    """``0.850 [0.82, 0.88] of 492``."""
    low, high = wilson(hits / n, n, Z95)
    return f"{hits / n:.3f} [{low:.2f}, {high:.2f}] of {n}"


def main() -> None:
    """Reads, scores, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("questions", type=Path)
    parser.add_argument("answers", type=Path)
    args = parser.parse_args()
    questions = [json.loads(line) for line in args.questions.read_text(encoding="utf-8").splitlines() if line.strip()]
    answers = [json.loads(line) for line in args.answers.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(questions) != len(answers):
        raise SystemExit(f"{len(questions)} questions and {len(answers)} answers")
    if errors := [at for at, answer in enumerate(answers, start=1) if answer.get("error")]:
        raise SystemExit(f"{len(errors)} answers are errors, the first in line {errors[0]}")
    meant = [(expected(q), answer) for q, answer in zip(questions, answers, strict=True) if expected(q)]
    other = [answer for q, answer in zip(questions, answers, strict=True) if not expected(q)]
    first = np.array([bool(a["matches"]) and a["matches"][0]["source_id"] in want for want, a in meant])
    three = np.array([any(match["source_id"] in want for match in a["matches"][:3]) for want, a in meant])
    p = np.array([a["matches"][0]["p"] if a["matches"] else 0.0 for _, a in meant])
    print(f"hit@1                 {share(int(first.sum()), len(meant))}")
    print(f"hit@3                 {share(int(three.sum()), len(meant))}")
    surest = np.argsort(-p, kind="stable")[: max(1, round(COVERED * len(meant)))]
    print(f"hit@1, 70 % surest    {share(int(first[surest].sum()), surest.size)}")
    groups = np.array_split(np.argsort(p, kind="stable"), GROUPS)
    error = sum(g.size * abs(p[g].mean() - first[g].mean()) for g in groups if g.size) / len(meant)
    print(f"calibration error     {error:.3f}")
    verdicts = [a["verdict"] for _, a in meant]
    print("verdicts              " + ", ".join(f"{v} {verdicts.count(v)}" for v in sorted(set(verdicts))))
    if other:
        claimed = sum(bool(a["matches"]) and a["verdict"] in ("direct", "test") and is_notice(a["matches"][0])
                      and a["matches"][0]["p"] >= SURE for a in other)  # fmt: skip
        print(f"nothing meant         {share(claimed, len(other))} got a notice as the answer at 50 % or more")


def is_notice(match: dict[str, Any]) -> bool:
    """Whether a match is a recall, bulletin or investigation."""
    return any(reason["kind"] == "vehicle" for reason in match["because"])


if __name__ == "__main__":
    main()
