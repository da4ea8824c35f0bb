"""What the dense vote (extra ``huizhen[dense]``) changes: the same questions without and with it, in one run.

Questions: ``data/complaints.toml``, sixty complaints in each language in words that the library does not use, half of
them for fitting and the other half reported; the sentences of ``known_fixes.py``; what people write that belongs to no
fix; and contradictions: the usual codes of one fix, confirmed, with the complaint of another, where the codes must
stay first. ``--notices`` adds the Chinese recall notices, asked for by their defect in the words given here.

    python benchmarks/dense.py [--fit] [--notices NOTICES.jsonl]

hit@k: a right fix is among the first k; MRR: mean of 1 / its place, 0 where it is not among the ten shown.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from known_fixes import CASES

from casebase.dense import is_installed, load_embedder
from casebase.library import Library
from casebase.meaning import MeaningWeights
from casebase.query import Query

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

DATA = Path(__file__).parent / "data" / "complaints.toml"
LANGUAGES = ("zh", "en")
LEAST_P = 1e-3
"""Probability that a fix that is not shown counts as having, for fitting."""
MOST_NATS = 3.0
"""More than this no complaint may say for a fix: a confirmed code says more."""
NOTICES = {
    "great-wall-ora-iq-2021": "老在外面用大功率的桩，慢慢就不行了，怕着火",
    "chery-eq1-2023": "停久了或者老用大功率桩，跑着跑着没劲，最后动不了",
    "tesla-sx-bms-2022": "屏幕让我去维修，没多久就不给动力了，其实电池没坏",
}


@dataclass(frozen=True, slots=True)
class Question:
    """A complaint and the fixes that are right; none for what belongs to no fix."""

    text: str
    right: tuple[str, ...]


def questions() -> dict[str, dict[str, list[Question]]]:
    """Name of a set -> language -> questions."""
    data = tomllib.loads(DATA.read_text(encoding="utf-8"))
    complaints, elsewhere = data["complaint"], data["elsewhere"]
    out: dict[str, dict[str, list[Question]]] = {}
    for half, name in enumerate(("for fitting", "reported")):
        for language in LANGUAGES:
            own = [Question(one[language], tuple(one["fixes"])) for one in complaints[half::2]]
            out.setdefault(name, {})[language] = own
            others = [Question(one[language], ()) for one in elsewhere[half::2]]
            out.setdefault(f"elsewhere, {name}", {})[language] = others
    out["known_fixes.py"] = {
        "zh": [Question(zh, right) for right, _, zh in CASES.values()],
        "en": [Question(en, right) for right, en, _ in CASES.values()],
    }
    return out


def places(library: Library, asked: list[Question], *, dense: bool) -> tuple[list[int], list[float]]:
    """Place of the first right fix, 0 where none is shown, and milliseconds."""
    found: list[int] = []
    took: list[float] = []
    for one in asked:
        begin = time.perf_counter()
        cases = library.find(Query(symptom=one.text), dense=dense)
        took.append((time.perf_counter() - begin) * 1e3)
        names = [match.source_id for match in cases.matches]
        found.append(next((at for at, name in enumerate(names, start=1) if name in one.right), 0))
    return found, took


def row(name: str, found: list[int], took: list[float]) -> str:
    """One line of the table."""
    n = len(found)
    first, three = sum(at == 1 for at in found) / n, sum(0 < at <= 3 for at in found) / n
    mrr = sum(1 / at for at in found if at) / n
    ordered = sorted(took)
    times = f"{statistics.median(took):6.1f} | {ordered[int(0.95 * (n - 1))]:6.1f}"
    return f"| {name} | {n} | {first:.3f} | {three:.3f} | {mrr:.3f} | {times} |"


def contradictions(library: Library, *, dense: bool) -> tuple[int, int, int]:
    """Of codes against a complaint: the fix of the codes first, that of the complaint first, and all."""
    fixes = {fix.slug: fix for fix in library.own_fixes()}
    asked = [(fix, one) for fix in fixes.values() if fix.codes for one in CASES.values()]
    codes_first = complaint_first = n = 0
    for at, (fix, (right, en, zh)) in enumerate(asked):
        if at % 29 or fix.slug in right:  # a part of all pairs, every fix and every complaint among them
            continue
        usual = [code for code in fix.codes if code.how in ("usual", "often")]
        if not usual:
            continue
        dtcs = [f"{code.code}{'-' + code.types[0] if code.types else ''}@{code.role}" for code in usual]
        told = {"dtcs": dtcs, "read": sorted({code.role for code in usual}), "symptom": (zh, en)[n % 2]}
        cases = library.find(Query.from_json(told), dense=dense)
        names = [match.source_id for match in cases.matches[:1]]
        n += 1
        codes_first += names == [fix.slug]
        complaint_first += bool(names) and names[0] in right
    return codes_first, complaint_first, n


def agreeing(library: Library, asked: list[Question], *, dense: bool) -> list[int]:
    """Places of the right fix where one of its own usual codes is confirmed beside the complaint."""
    fixes = {fix.slug: fix for fix in library.own_fixes()}
    found = []
    for one in asked:
        codes = [code for code in fixes[one.right[0]].codes if code.how in ("usual", "often")][:1]
        if codes:
            told = {"dtcs": [f"{code.code}@{code.role}" for code in codes], "symptom": one.text}
            names = [match.source_id for match in library.find(Query.from_json(told), dense=dense).matches]
            found.append(next((at for at, name in enumerate(names, start=1) if name in one.right), 0))
    return found


def loss(library: Library, asked: dict[str, dict[str, list[Question]]], weights: MeaningWeights) -> float:
    """Mean negative log probability of the right fixes, and of "none of these" where none is right, half and half."""
    library.wording.vote.weights = weights
    means = []
    for name in ("for fitting", "elsewhere, for fitting"):
        told = []
        for one in itertools.chain(*asked[name].values()):
            cases = library.find(Query(symptom=one.text), dense=True)
            p = sum(match.p for match in cases.matches if match.source_id in one.right)
            told.append(-math.log(max(p if one.right else cases.p_unknown, LEAST_P)))
        means.append(statistics.mean(told))
    return statistics.mean(means)


class Remembering:
    """The model, which embeds each complaint once for all weights that are tried."""

    def __init__(self) -> None:
        self._model = load_embedder()
        self.version = self._model.version
        self._known: dict[str, NDArray[np.float32]] = {}

    def query(self, text: str) -> NDArray[np.float32]:
        if text not in self._known:
            self._known[text] = self._model.query(text)
        return self._known[text]

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._model.passages(texts)


def fit(library: Library, asked: dict[str, dict[str, list[Question]]]) -> MeaningWeights:
    """The best of a grid on the half for fitting."""
    tried = []
    for weight, z0, zmax, none in itertools.product(
        (0.5, 1.0, 1.5, 2.0), (0.5, 1.0, 1.5), (1.0, 1.5, 2.0, 3.0), (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
    ):
        if weight * zmax <= MOST_NATS:
            tried.append((loss(library, asked, MeaningWeights(weight, z0, zmax, none, 1.0)), weight, z0, zmax, none))
    print("without: loss", f"{loss(library, asked, MeaningWeights(0.0, 9.0, 0.0, 0.0, 0.0)):.4f}")
    for found in sorted(tried)[:8]:
        print("loss {:.4f} weight {} z0 {} zmax {} none {}".format(*found))
    best = [beside_measured(library, asked, (*min(tried)[1:], beside)) for beside in (0.0, 0.15, 0.25, 0.5, 0.75, 1.0)]
    return max(best, key=lambda one: one[0])[1]


def beside_measured(
    library: Library, asked: dict[str, dict[str, list[Question]]], values: tuple[float, ...]
) -> tuple[float, MeaningWeights]:
    """How good a share beside measured evidence is: MRR where codes agree, how often they lead where they do not."""
    weights = MeaningWeights(*values)
    library.wording.vote.weights = weights
    found = [
        agreeing(library, asked[name][language], dense=True)
        for name, language in itertools.product(("for fitting", "known_fixes.py"), LANGUAGES)
    ]
    mrr = statistics.mean(sum(1 / at for at in one if at) / len(one) for one in found)
    codes, complaint, n = contradictions(library, dense=True)
    print(f"beside {weights.beside}: MRR {mrr:.3f}, the codes' fix first {codes} of {n}, the complaint's {complaint}")
    return mrr + codes / n, weights


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="fit the weights first, and report with those")
    parser.add_argument("--notices", metavar="FILE", help="Chinese recall notices, one JSON object a line")
    args = parser.parse_args()
    if not is_installed():
        print("the extra is not installed: pip install 'huizhen[dense]'")
        return
    asked = questions()
    with tempfile.TemporaryDirectory() as folder:
        embedder = Remembering() if args.fit else None  # then the times are not those of questions
        with Library.open(Path(folder) / "cases.db", create=True, embedder=embedder) as library:
            for text in ("车坏了", "It is broken"):
                begin = time.perf_counter()
                library.find(Query(symptom=text), dense=True)
                print(f"first question in a language: {time.perf_counter() - begin:.1f} s")
            if args.fit:
                library.wording.vote.weights = fit(library, asked)
            print(library.wording.vote.weights)
            print("| set | n | hit@1 | hit@3 | MRR | ms p50 | ms p95 |")
            print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
            for name in ("for fitting", "reported", "known_fixes.py"):
                for language, dense in itertools.product(LANGUAGES, (False, True)):
                    told = f"{name}, {language}, {'with' if dense else 'without'}"
                    print(row(told, *places(library, asked[name][language], dense=dense)))
            for name, dense in itertools.product(("for fitting", "reported", "known_fixes.py"), (False, True)):
                both = [*asked[name]["zh"], *asked[name]["en"]]
                firsts = [(library.find(Query(symptom=one.text), dense=dense), one) for one in both]
                p = statistics.mean(cases.matches[0].p if cases.matches else 0.0 for cases, _ in firsts)
                hits = statistics.mean(bool(c.matches) and c.matches[0].source_id in one.right for c, one in firsts)
                unknown = sum(cases.verdict.value == "unknown" for cases, _ in firsts)
                told = f"{name}, {'with' if dense else 'without'}: mean p of the first {p:.2f}, right {hits:.2f}"
                print(f"{told}; {unknown} of {len(both)} unknown")
            for name, dense in itertools.product(("elsewhere, for fitting", "elsewhere, reported"), (False, True)):
                both = [*asked[name]["zh"], *asked[name]["en"]]
                answers = [library.find(Query(symptom=one.text), dense=dense) for one in both]
                unknown = sum(cases.verdict.value in ("unknown", "none") for cases in answers)
                mean = statistics.mean(cases.p_unknown for cases in answers)
                print(
                    f"{name}, {'with' if dense else 'without'}: {unknown} of {len(answers)} unknown, mean p {mean:.2f}"
                )
            for language, dense in itertools.product(LANGUAGES, (False, True)):
                found = agreeing(library, asked["reported"][language], dense=dense)
                told = f"reported, {language}, with one code, {'with' if dense else 'without'}"
                print(row(told, found, [0.0] * len(found)))
            for dense in (False, True):
                codes, complaint, n = contradictions(library, dense=dense)
                print(
                    f"codes against a complaint, {'with' if dense else 'without'}: the codes' fix first {codes} of {n}"
                    f", the complaint's {complaint}"
                )
        if args.notices:
            ask_notices(Path(folder), args.notices)


def ask_notices(folder: Path, path: str) -> None:
    """Notices have no vectors: whether the vote takes their place away."""
    with Library.open(folder / "notices.db", create=True) as library:
        library.import_file("samr", path)
        for name, text in NOTICES.items():
            shown = [
                [match.source_id for match in library.find(Query(symptom=text), dense=dense).matches[:3]]
                for dense in (False, True)
            ]
            print(f"{name}: without {shown[0]}, with {shown[1]}")


if __name__ == "__main__":
    main()
