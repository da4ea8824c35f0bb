"""The optional dense vote: its plumbing with a weak embedder that needs no model, and the model where it is there."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from casebase import dense
from casebase.catalogue import load_catalogue
from casebase.dense import DenseVote, is_installed, language_of, load_embedder
from casebase.errors import DenseMissing, DenseUnusable
from casebase.library import Library
from casebase.meaning import MeaningWeights, likeness, meaning_of
from casebase.query import Query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONTRARY = "前挡风玻璃换过以后车道保持不可用"
"""A complaint whose fix has nothing to do with the codes beside it."""


@dataclass
class Bigrams:
    """Vectors of hashed character pairs: it knows spelling, no meaning."""

    version: str = "bigrams 1"
    asked: list[str] = field(default_factory=list)
    embedded: list[str] = field(default_factory=list)

    def _vector(self, text: str) -> np.ndarray:
        out = np.zeros(256, dtype=np.float32)
        for at in range(len(text) - 1):
            out[zlib.crc32(text[at : at + 2].lower().encode()) % 256] += 1.0
        return out / max(1e-6, float(np.linalg.norm(out)))

    def query(self, text: str) -> np.ndarray:
        self.asked.append(text)
        return self._vector(text)

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        self.embedded += texts
        return np.stack([self._vector(text) for text in texts])


def places(library: Library, symptom: str, **more: object) -> list[str]:
    return [match.source_id for match in library.find(Query(symptom=symptom), **more).matches]


def test_likeness_is_half_the_best_and_half_the_mean() -> None:
    alike, nearest = likeness(np.array([0.2, 0.8, 0.8, 0.5]), np.array([0, 3]))
    assert alike == pytest.approx([0.5 * 0.8 + 0.5 * 0.6, 0.5])
    assert nearest.tolist() == [1, 3]


def test_evidence_of_meaning_is_bounded_and_never_negative() -> None:
    weights = MeaningWeights(2.0, 1.0, 1.5, 3.0, 0.25)
    alike = np.concatenate([np.linspace(0.80, 0.82, 60), [0.99]])
    said = tuple(map(str, range(61)))
    told = meaning_of(alike, np.arange(61, dtype=np.int32), said, weights)
    assert told.gain.max() == pytest.approx(weights.most)
    assert (told.gain > 0).all()
    assert told.said[int(told.gain.argmax())] == "60"
    gone = meaning_of(alike, np.where(alike > 0.9, -1, np.arange(61)).astype(np.int32), said, weights)
    assert 60 not in gone.rows


def test_equally_alike_fixes_gain_nothing() -> None:
    told = meaning_of(np.full(9, 0.8), np.arange(9, dtype=np.int32), ("x",) * 9, MeaningWeights.load())
    assert told.rows.size == 0


def test_a_complaint_in_other_words_finds_a_fix_that_words_do_not() -> None:
    with Library.built_in(Bigrams()) as library:
        asked = "".join(library.get_fix("charge-lock").symptoms_en[0].split())  # one word that nobody knows
        assert places(library, asked, dense=False) == []
        assert places(library, asked)[0] == "charge-lock"


def test_none_of_these_does_not_lose_to_likeness_alone() -> None:
    with Library.built_in(Bigrams()) as library:
        cases = library.find(Query(symptom="qwx zzkj vvbn"))
        assert cases.verdict.value == "unknown"
        assert cases.p_unknown > 0.5


def test_the_reason_quotes_the_sentence_in_both_languages() -> None:
    with Library.built_in(Bigrams()) as library:
        said = library.get_fix("charge-lock").symptoms_zh[0]
        first = library.find(Query(symptom=said)).matches[0]
    reason = next(one for one in first.because if one.kind == "meaning")
    assert reason.text.en == f"the complaint reads like “{said}”"
    assert reason.text.zh == f"报修描述与“{said}”意思相近"
    assert reason.ref == said
    assert 0.0 < reason.weight <= MeaningWeights.load().most


def test_a_clear_code_beats_a_contrary_complaint() -> None:
    with Library.built_in(Bigrams()) as library:
        assert places(library, CONTRARY)[0] == "front-camera-uncalibrated"
        told = {"dtcs": ["U0111-87@vcu"], "read": ["vcu"], "symptom": CONTRARY}
        names = [match.source_id for match in library.find(Query.from_json(told)).matches]
    assert names[0] == "bms-communication-lost"


def test_the_vote_counts_less_beside_measured_evidence() -> None:
    with Library.built_in(Bigrams()) as library:
        said = library.get_fix("charge-lock").symptoms_zh[0]

        def weight(**more: object) -> float:
            matches = library.find(Query.from_json({"symptom": said, **more})).matches
            match = next(one for one in matches if one.source_id == "charge-lock")
            return next(reason.weight for reason in match.because if reason.kind == "meaning")

        alone, beside = weight(), weight(dtcs=["U0111-87@vcu"])
    assert beside == pytest.approx(MeaningWeights.load().beside * alone)


def test_meaning_is_no_measurement_and_makes_nothing_direct() -> None:
    with Library.built_in(Bigrams()) as library:
        for fix in library.own_fixes()[::10]:
            assert library.find(Query(symptom=fix.symptoms_zh[0])).verdict.value != "direct"


def test_nothing_is_asked_where_nothing_is_wrong_or_said() -> None:
    embedder = Bigrams()
    with Library.built_in(embedder) as library:
        for told in ({"symptom": "例行检查，无异常"}, {"symptom": ""}, {"dtcs": ["P0AA6@bms"]}, {"symptom": " \n"}):
            library.find(Query.from_json(told))
    assert embedder.asked == embedder.embedded == []


def test_only_sentences_in_the_language_of_the_complaint_are_embedded() -> None:
    embedder = Bigrams()
    with Library.built_in(embedder) as library:
        library.find(Query(symptom="拔枪拔不出来"))
        assert {language_of(text) for text in embedder.embedded} == {"zh"}
        before = len(embedder.embedded)
        library.find(Query(symptom="plug is stuck"))
        assert {language_of(text) for text in embedder.embedded[before:]} == {"en"}
        library.find(Query(symptom="拔枪拔不出来"))
        assert len(embedder.embedded) == len(set(embedder.embedded[:before])) + len(set(embedder.embedded[before:]))


def test_vectors_are_kept_beside_the_library_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "cases.db"
    with Library.open(path, create=True, embedder=Bigrams()) as library:
        told = library.find(Query(symptom="拔枪拔不出来")).to_json()
    (folder,) = (tmp_path / "cases.db-index").glob("dense-*")
    vectors = np.load(folder / "vectors.npy")
    assert vectors.dtype == np.float16
    again = Bigrams()
    with Library.open(path, embedder=again) as library:
        assert library.find(Query(symptom="拔枪拔不出来")).to_json() == told
    assert again.embedded == []


@pytest.mark.parametrize("damage", ["missing", "short", "text", "nan", "told"])
def test_damaged_vectors_are_made_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "cases.db"
    with Library.open(path, create=True, embedder=Bigrams()) as library:
        told = library.find(Query(symptom="拔枪拔不出来")).to_json()
    (folder,) = (tmp_path / "cases.db-index").glob("dense-*")
    vectors = folder / "vectors.npy"
    if damage == "missing":
        vectors.unlink()
    elif damage == "short":
        np.save(vectors, np.load(vectors)[:-1])
    elif damage == "text":
        vectors.write_text("no array")
    elif damage == "nan":
        np.save(vectors, np.full_like(np.load(vectors), np.nan))
    else:
        (folder / "told.json").write_text("[]")
    again = Bigrams()
    with Library.open(path, embedder=again) as library:
        assert library.find(Query(symptom="拔枪拔不出来")).to_json() == told
    assert again.embedded
    last = Bigrams()
    with Library.open(path, embedder=last) as library:
        assert library.find(Query(symptom="拔枪拔不出来")).to_json() == told
    assert last.embedded == []


def test_only_new_sentences_are_embedded_again(tmp_path: Path) -> None:
    fixes = load_catalogue().fixes[:20]
    with Library.built_in() as library:
        postings = library.postings
    first = Bigrams()
    DenseVote(first, tmp_path).ask("拔枪", lambda: fixes, "1", postings)
    assert set(first.embedded) == {text for fix in fixes for text in fix.symptoms_zh}
    changed = (*fixes[:-1], replace(fixes[-1], symptoms_zh=("从来没有人说过的话",)))
    second = Bigrams()
    DenseVote(second, tmp_path).ask("拔枪", lambda: changed, "2", postings)
    assert second.embedded == ["从来没有人说过的话"]
    assert len(list(tmp_path.glob("dense-zh-*"))) == 1  # the older folder is gone
    other = Bigrams(version="bigrams 2")
    DenseVote(other, tmp_path).ask("拔枪", lambda: changed, "2", postings)
    assert len(other.embedded) == len({text for fix in changed for text in fix.symptoms_zh})


def test_progress_is_told(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with Library.open(tmp_path / "cases.db", create=True, embedder=Bigrams()) as library:
        library.wording.progress = lambda done, total: seen.append((done, total))
        library.find(Query(symptom="拔枪拔不出来"))
        library.find(Query(symptom="拔枪拔不出来"))
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] > 0
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_a_folder_that_cannot_be_made_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "cases.db-index").write_text("in the way")
    with Library.open(tmp_path / "cases.db", create=True, embedder=Bigrams()) as library:
        said = library.get_fix("charge-lock").symptoms_zh[0]
        assert places(library, said)[0] == "charge-lock"


def test_without_the_extra_the_answer_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "_PACKAGE", "a_package_that_nobody_has")
    monkeypatch.delenv("HUIZHEN_DENSE")
    assert not is_installed()
    symptom = "雨后报绝缘故障"
    with Library.open(tmp_path / "cases.db", create=True) as library, Library.built_in() as other:
        told = json.dumps(library.find(Query(symptom=symptom)).to_json())
        assert told == json.dumps(library.find(Query(symptom=symptom), dense=False).to_json())
        assert told == json.dumps(other.find(Query(symptom=symptom)).to_json())
        assert "meaning" not in told
        with pytest.raises(DenseMissing, match=r"huizhen\[dense\]"):
            library.find(Query(symptom=symptom), dense=True)
    assert not list(tmp_path.glob("cases.db-index/dense-*"))


def test_an_extra_that_cannot_be_loaded_is_told_and_does_not_stop_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_model.py").write_text("raise OSError('no such engine')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(dense, "_PACKAGE", "broken_model")
    with Library.open(tmp_path / "cases.db", create=True) as library:
        library.find(Query(symptom="雨后报绝缘故障"))  # HUIZHEN_DENSE=off: not even tried
        assert library.wording.note is None
    monkeypatch.delenv("HUIZHEN_DENSE")
    with Library.open(tmp_path / "cases.db") as library:
        told = library.find(Query(symptom="雨后报绝缘故障"))
        assert told == library.find(Query(symptom="雨后报绝缘故障"), dense=False)
        assert library.wording.note is not None
        assert "no such engine" in library.wording.note.en
        assert "no such engine" in library.wording.note.zh
        with pytest.raises(DenseUnusable, match="no such engine"):
            library.find(Query(symptom="雨后报绝缘故障"), dense=True)


def case_find(tmp_path: Path, *words: str, lang: str = "en") -> subprocess.CompletedProcess[str]:
    library = str(tmp_path / "cases.db")
    with Library.open(library, create=True):
        pass
    command = [sys.executable, "-m", "huizhen", "case", "find", "--library", library, "--lang", lang, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.skipif(is_installed(), reason="the extra is installed")
@pytest.mark.parametrize(("lang", "word"), [("en", "needs an extra"), ("zh", "可选组件")])
def test_the_command_says_how_to_get_the_extra(tmp_path: Path, lang: str, word: str) -> None:
    done = case_find(tmp_path, "--symptom", "will not charge", "--dense", lang=lang)
    assert done.returncode == 2
    assert word in done.stderr
    assert "huizhen[dense]" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_command_answers_without_the_vote(tmp_path: Path) -> None:
    done = case_find(tmp_path, "--symptom", "雨后报绝缘故障", "--no-dense", "--json")
    assert done.returncode == 0
    assert '"kind": "meaning"' not in done.stdout.replace('":"', '": "')
    assert not list(tmp_path.glob("cases.db-index/dense-*"))


needs_model = pytest.mark.skipif(not is_installed(), reason="the extra 'dense' is not installed")


@needs_model
def test_the_model_gives_vectors_of_length_one_for_any_text() -> None:
    model = load_embedder()
    rows = model.passages(["拔枪拔不出来", "plug is stuck", "", "a\0b", "\ud800", "x" * 5000])
    assert rows.shape == (6, 384)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(6), abs=1e-3)
    assert np.isfinite(model.query("")).all()


@needs_model
def test_the_model_knows_what_words_mean(tmp_path: Path) -> None:
    with Library.built_in() as library:
        fixes = [library.get_fix(name) for name in ("charge-lock", "radiator-fan", "air-spring-leak", "key-off-drain")]
        vote = DenseVote(load_embedder(), tmp_path)
        for text, fix in (("the car will not let go of the cable", fixes[0]), ("早上起来车趴着一个角", fixes[2])):
            told = vote.ask(text, lambda: fixes, "1", library.postings)
            assert told is not None
            assert library.postings.fix_ids[told.rows[told.gain.argmax()]] == fix.fix_id
