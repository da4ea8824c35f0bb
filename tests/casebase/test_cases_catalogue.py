"""The content that comes with the program is whole, and every way to break it is refused by name."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from casebase.cases import Safety
from casebase.catalogue import CONTENT, NOTICE_TEST, Scope, content_hash, load_catalogue
from casebase.errors import ContentBroken
from casebase.fixjson import body_from, fix_from_body, scale_from_body, telling_from_body
from casebase.folding import fold
from casebase.words import Vocabulary

if TYPE_CHECKING:
    from pathlib import Path

CATALOGUE = load_catalogue()


def test_there_are_at_least_150_fixes_of_ours() -> None:
    assert len(CATALOGUE.fixes) >= 150
    assert len({fix.fix_id for fix in CATALOGUE.fixes}) == len(CATALOGUE.fixes)


@pytest.mark.parametrize("fix", CATALOGUE.fixes, ids=lambda fix: fix.slug)
def test_a_fix_survives_its_json(fix) -> None:
    assert fix_from_body(body_from(fix)) == fix


def test_tests_and_scales_survive_their_json() -> None:
    assert [telling_from_body(body_from(test)) for test in CATALOGUE.tests] == list(CATALOGUE.tests)
    for scale in CATALOGUE.scales.values():
        assert scale_from_body(body_from(scale)) == scale


def test_the_identity_is_the_content_not_the_wording() -> None:
    from dataclasses import replace

    fix = CATALOGUE.fixes[0]
    assert replace(fix, slug="another", title=fix.fix).fix_id == fix.fix_id
    assert replace(fix, action="another").fix_id != fix.fix_id
    assert replace(fix, scope=Scope(make="somebody")).fix_id != fix.fix_id


def test_opening_a_pack_is_always_high_voltage_work() -> None:
    words = ("open the pack", "replace-module", "sense harness")
    for fix in CATALOGUE.fixes:
        text = " ".join(step.en for step in fix.steps).lower()
        if any(word in text for word in words):
            assert fix.safety is Safety.HV_WORK, fix.slug


def test_high_voltage_work_says_how_the_car_is_made_dead() -> None:
    steps = " ".join(step.en for step in CATALOGUE.safety[Safety.HV_WORK])
    for word in ("service disconnect", "absence of voltage", "gloves", "stays live"):
        assert word in steps


def test_every_test_is_used_and_named_by_a_fix() -> None:
    used = {check.test for fix in CATALOGUE.fixes for check in fix.checks}
    assert used | {NOTICE_TEST} == {test.test_id for test in CATALOGUE.tests}


def test_every_feature_has_a_good_bin_and_rises() -> None:
    for scale in CATALOGUE.scales.values():
        assert any(b.name == "good" and not b.fault for b in scale.bins)
        assert scale.bins[-1].below == float("inf")


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("insulation_ohm_per_v", 99.0, "fault"),
        ("insulation_ohm_per_v", 100.0, "watch"),
        ("insulation_ohm_per_v", 500.0, "good"),
        ("spread_mv", 150.0, "fault"),
        ("sum_mismatch_v", -7.0, "fault"),
        ("cell_low_z", 3.9, "good"),
    ],
)
def test_figures_fall_into_their_bins(name: str, value: float, wanted: str) -> None:
    assert CATALOGUE.scales[name].bin_of(value).name == wanted


def broken(folder: Path, file: str, old: str, new: str) -> ContentBroken:
    shutil.copytree(CONTENT, folder / "content")
    path = folder / "content" / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ContentBroken) as caught:
        load_catalogue(folder / "content")
    return caught.value


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        ("battery.toml", 'id = "weak-cell"', 'id = "Weak Cell"', "not allowed"),
        ("battery.toml", 'id = "weak-cell"', 'id = "sampling-line"', "twice"),
        ("battery.toml", 'safety = "hv-work"', 'safety = "careful"', "none of"),
        ("battery.toml", 'source = "physics"', 'source = "hearsay"', "none of"),
        ("battery.toml", 'role = "bms", types', 'role = "becm", types', "none of"),
        ("battery.toml", 'code = "P0DE6"', 'code = "P0DEZ"', "not allowed"),
        ("battery.toml", 'types = ["16"]', 'types = ["6"]', "two hex digits"),
        ("battery.toml", 'name = "cell_low_mv"', 'name = "cell_lowest"', "none of"),
        ("battery.toml", 'bin = "fault"', 'bin = "awful"', "none of"),
        ("battery.toml", 'how = "usual"', 'how = "mostly"', "none of"),
        ("battery.toml", 'test = "trace-one-cell"', 'test = "look"', "none of"),
        ("battery.toml", "positive = 0.9,", "positive = 1.5,", "not between"),
        ("battery.toml", ', zh = "单体衰减：更换所在模组"', "", "needs en and zh"),
        ("battery.toml", "单体衰减：更换所在模组", "weak cell", "mixed up"),
        ("battery.toml", "单体衰减：更换所在模组", " ", "empty"),
        ("battery.toml", 'component = "battery.cell"\n', "", "not allowed"),
        ("battery.toml", 'action = "replace-module"', 'action = "replace-module"\nprice = 3', "unknown key"),
        ("battery.toml", "续航变短，电量到一半突然下降", "车身有划痕", "vocabulary"),
        ("battery.toml", "[[fix]]", "[[fix", ""),
        ("tests.toml", "minutes = 20", "minutes = 0", "not between"),
        ("tests.toml", "remote = true", 'remote = "yes"', "true or false"),
        ("features.toml", "below = 60.0", "below = 600.0", "rise"),
        ("safety.toml", "[hv-work]", "[hv-work-old]", "list of at least"),
    ],
)
def test_a_broken_statement_is_refused_by_file_and_reason(
    tmp_path: Path, file: str, old: str, new: str, reason: str
) -> None:
    error = broken(tmp_path, file, old, new)
    assert error.file in (file, "fix", "battery.toml")
    assert reason in str(error)
    assert error.key


def test_another_content_has_another_hash(tmp_path: Path) -> None:
    shutil.copytree(CONTENT, tmp_path / "content")
    assert content_hash(tmp_path / "content") == content_hash()
    with (tmp_path / "content" / "battery.toml").open("a") as file:
        file.write("# one more line\n")
    assert content_hash(tmp_path / "content") != content_hash()


# --- words -----------------------------------------------------------------------------------------------------------

WORDS = Vocabulary.load()


@pytest.mark.parametrize(
    ("text", "concept"),
    [
        ("续航", "#range-loss"),
        ("绝缘", "#insulation"),
        ("掉电", "#range-loss"),
        ("Less RANGE than before", "#range-loss"),
        ("OTA后", "#software"),
        ("12V 电瓶没电", "#low-battery-12v"),
        ("won’t start", "#no-start"),
    ],
)
def test_words_become_concepts(text: str, concept: str) -> None:
    assert concept in WORDS.terms(text)


def test_latin_words_need_their_ends() -> None:
    assert "#range-loss" not in WORDS.terms("strange orange arrangement")
    assert "#hot" not in WORDS.terms("a photo shot")


def test_chinese_beyond_the_concepts_becomes_bigrams() -> None:
    assert {"~天窗", "~窗异", "~异响"} <= set(WORDS.terms("天窗异响"))


def test_folding_is_idempotent() -> None:
    text = "ＯＴＡ　After\tUpdate"
    assert fold(text) == fold(fold(text)) == "ota after update"


def test_no_phrase_belongs_to_two_concepts() -> None:
    import tomllib

    seen: dict[str, str] = {}
    for name, phrases in tomllib.loads((CONTENT / "words.toml").read_text("utf-8"))["concepts"].items():
        for phrase in phrases:
            assert seen.setdefault(fold(phrase), name) == name, phrase
