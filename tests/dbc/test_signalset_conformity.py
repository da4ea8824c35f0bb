"""Every published answer decodes to the published value, but for a list of those that are wrong.

Conformity only: the expected values come from OBDb's own decoder. What is physically true is asked elsewhere.
"""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path

import pytest

from dbc.signalset.decoding import AnswerDecoder
from dbc.signalset.loading import load_signal_set

EXCEPTIONS = tomllib.loads((Path(__file__).parent / "signalset_exceptions.toml").read_text(encoding="utf-8"))
MAKES = {"Audi-e-tron": "Audi", "Cupra-Born": "Cupra", "Renault-ZOE": "Renault"}
CASES = {
    "Audi-e-tron": 4401, "Chevrolet-Bolt-EV": 3224, "Cupra-Born": 2687, "Ford-Mustang-Mach-E": 1253,
    "Hyundai-IONIQ-5": 7127, "Hyundai-Kona-Electric": 495, "Kia-EV6": 412, "Kia-Niro-EV": 687, "MINI-Cooper": 340,
    "Renault-ZOE": 101,
}  # fmt: skip


@cache
def signal_set(folder: Path, name: str):
    return load_signal_set(folder / name / "default.json")


def decoder_of(folder: Path, car: str) -> AnswerDecoder:
    names = [car, *([MAKES[car]] if car in MAKES else []), "SAEJ1979"]
    return AnswerDecoder([signal_set(folder, name) for name in names])


def listed(car: str) -> set[tuple[int, str]]:
    return {
        (line, signal)
        for cars in EXCEPTIONS["cases"].values()
        for group in cars.get(car, {}).values()
        for line in group["lines"]
        for signal in group["signals"]
    }


def agrees(expected: object, value: object) -> bool:
    if isinstance(expected, str) or not isinstance(value, (int, float)):
        return expected == value
    return abs(value - expected) <= 1e-5 * max(1, abs(expected))


@pytest.mark.parametrize("car", CASES)
def test_published_answers_give_published_values(shared, car):
    folder = shared / "data/obdb"
    decoder = decoder_of(folder, car)
    lines = (folder / car / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == CASES[car]
    disagreeing = set()
    for number, line in enumerate(lines, start=1):
        case = json.loads(line)
        decoded = decoder.decode(case["command"], case["response"], case["year"])
        for name, expected in case["expected"].items():
            sample = decoded.samples[name]
            if not agrees(expected, sample.value):
                disagreeing.add((number, name))
            assert sample.raw or sample.value is None
    assert disagreeing == listed(car)


def test_every_exception_has_a_reason():
    assert set(EXCEPTIONS["cases"]) == set(EXCEPTIONS["reasons"])
    assert all(len(reason) > 40 for reason in EXCEPTIONS["reasons"].values())
    assert {car for cars in EXCEPTIONS["cases"].values() for car in cars} <= set(CASES)


def test_an_exception_for_run_together_frames_shows_it_in_its_text(shared):
    for car, groups in EXCEPTIONS["cases"]["frames-run-together"].items():
        lines = (shared / "data/obdb" / car / "cases.jsonl").read_text(encoding="utf-8").splitlines()
        for number in {number for group in groups.values() for number in group["lines"]}:
            text = json.loads(lines[number - 1])["response"]
            assert max(len(line.replace(" ", "")) for line in text.splitlines()) > 19, f"{car} {number}"
