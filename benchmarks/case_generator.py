"""Synthetic cases as JSON lines, about 600 characters a row: what a million closed jobs look like to the library.

Some tens of thousands of patterns (component, failure mode, action on one model) are drawn, each with its own codes,
findings, figures and words; a case shows a sample of its pattern's evidence among noise: words of other patterns,
foreign codes, sentences that everybody writes. Half of the cases are Chinese. Everything is Zipf-distributed, the
patterns too. Terms of one pattern are drawn independently of one another, which is what naive Bayes assumes: hit rates
of designs on this data compare these designs on this data and say nothing about cars.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CODES = 6000
WORDS = 20_000
CHARACTERS = 2500
MODELS = 400
ROLES = ("bms", "vcu", "inverter", "charger", "dcdc", "thermal", "brakes", "engine", "gateway", "body")
FINDINGS = ("battery.spread", "battery.cell-weak", "insulation.low", "thermal.hot", "battery.sampling-line")
SYLLABLES = tuple(a + b for a in "bcdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "on"))
NOISE = 500_000
ROW = 600
"""Characters of a row, about."""


@dataclass(frozen=True)
class Pattern:
    """What a pattern shows."""

    number: int
    make: str
    model: str
    codes: tuple[str, ...]
    finding: str | None
    words_en: tuple[str, ...]
    words_zh: tuple[str, ...]

    @property
    def fix(self) -> dict[str, str]:
        """As a case names it."""
        n = self.number
        return {"component": f"part {n % 997}", "failure_mode": f"mode {n % 89}", "action": f"repair {n}"}


class Generator:
    """Draws patterns and cases.

    Args:
        patterns: how many.
        seed: the same one draws the same.
    """

    def __init__(self, patterns: int, seed: int) -> None:
        rng = random.Random(seed)
        self.codes = [f"{'PCBU'[i % 4]}{i // 4 % 4}{i // 16 % 4096:03X}" for i in range(CODES)]
        self.words = ["".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))) for _ in range(WORDS)]
        characters = [chr(0x4E00 + 7 * i) for i in range(CHARACTERS)]
        often = _zipf(CHARACTERS, 20)
        self.chinese = ["".join(rng.choices(characters, cum_weights=often, k=2)) for _ in range(WORDS)]
        self._code_odds = _zipf(CODES, 10)
        self._word_odds = _zipf(WORDS, 30)
        self.patterns = [self._pattern(number, rng) for number in range(patterns)]
        self._pattern_odds = _zipf(patterns, 200)
        # What everybody says is drawn once and then cut from at random: a million rows in minutes.
        self._noise_en = rng.choices(self.words, cum_weights=self._word_odds, k=NOISE)
        self._noise_zh = rng.choices(self.chinese, cum_weights=self._word_odds, k=NOISE)

    def _pattern(self, number: int, rng: random.Random) -> Pattern:
        model = rng.randrange(MODELS)
        codes = dict.fromkeys(rng.choices(self.codes, cum_weights=self._code_odds, k=rng.randint(1, 6)))
        role = rng.choice(ROLES)
        return Pattern(
            number,
            f"make{model % 40}",
            f"model {model}",
            tuple(f"{code}@{role if rng.random() < 0.8 else rng.choice(ROLES)}" for code in codes),
            rng.choice(FINDINGS) if rng.random() < 0.3 else None,
            tuple(dict.fromkeys(rng.choices(self.words, cum_weights=self._word_odds, k=14))),
            tuple(dict.fromkeys(rng.choices(self.chinese, cum_weights=self._word_odds, k=14))),
        )

    def cases(self, count: int, seed: int) -> Iterator[tuple[int, dict[str, object]]]:
        """Closed cases, with the number of the pattern of each."""
        rng = random.Random(seed)
        for number in range(count):
            pattern = rng.choices(self.patterns, cum_weights=self._pattern_odds)[0]
            line = self._seen(pattern, rng, kept=0.7, row=ROW)
            line |= {"id": f"{seed}-{number}", "fix": pattern.fix, "outcome": "fixed", "closed": "2026-03-01"}
            yield pattern.number, line

    def queries(self, count: int, seed: int) -> Iterator[tuple[int, dict[str, object]]]:
        """New cars, with less to go by, and the pattern that is behind each."""
        rng = random.Random(seed)
        for _ in range(count):
            pattern = rng.choices(self.patterns, cum_weights=self._pattern_odds)[0]
            line = self._seen(pattern, rng, kept=0.4, row=360)
            yield pattern.number, line

    def _seen(self, pattern: Pattern, rng: random.Random, kept: float, row: int) -> dict[str, object]:
        chinese = rng.random() < 0.5
        own = pattern.words_zh if chinese else pattern.words_en
        words = [word for word in own if rng.random() < kept] or [own[0]]
        codes = [code for code in pattern.codes if rng.random() < kept]
        if rng.random() < 0.3 or not codes:
            codes.append(f"{rng.choices(self.codes, cum_weights=self._code_odds)[0]}@{rng.choice(ROLES)}")
        line: dict[str, object] = {
            "vehicle": {"make": pattern.make, "model": pattern.model, "model_year": 2019 + rng.randrange(7)},
            "dtcs": codes,
            "read": sorted({code.partition("@")[2] for code in codes}),
        }
        if pattern.finding and rng.random() < kept:
            line["findings"] = [pattern.finding]
            line["features"] = {"spread_mv": round(rng.lognormvariate(4, 0.8), 1), "temp_max_c": rng.randint(18, 60)}
        told = len(json.dumps(line, ensure_ascii=False)) + 150
        everybody = self._noise_zh if chinese else self._noise_en
        length = 2.6 if chinese else 7.5
        noise = max(0, int((row - told) / length) - len(words))
        start = rng.randrange(NOISE - noise)
        words += everybody[start : start + noise]
        rng.shuffle(words)
        line["symptom"] = _sentences(words, "" if chinese else " ", "，" if chinese else ". ")
        return line


def _sentences(words: list[str], between: str, end: str) -> str:
    """Words with a stop after every seventh."""
    return end.join(between.join(words[at : at + 7]) for at in range(0, len(words), 7))


def _zipf(size: int, shift: int) -> list[float]:
    return list(accumulate(1 / (rank + shift) for rank in range(size)))
