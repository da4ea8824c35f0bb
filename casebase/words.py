"""Words of a complaint as terms that both languages share.

Text is folded (NFKC, lower case), concepts are found by the phrases of ``content/words.toml`` (longest first), and
what no concept covers becomes bigrams of Chinese characters and Latin words. So 续航 and "range" meet in
``#range-loss``, and two-character words are found, which trigram indexes lose silently.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["Vocabulary", "default_vocabulary", "fold"]

_PATH: Final = Path(__file__).parent / "content" / "words.toml"
_CJK: Final = re.compile(r"[㐀-䶿一-鿿]")
_CJK_RUN: Final = re.compile(r"[㐀-䶿一-鿿]+")
_LATIN: Final = re.compile(r"[a-z][a-z0-9]+|[0-9]+v")


def fold(text: str) -> str:
    """One spelling: full-width and half-width, upper and lower case, runs of blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().replace("’", "'").split())


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The concepts of both languages.

    Args:
        phrases: folded phrase -> concept.
        no_complaint: folded phrases that say that nothing is wrong.
        stop: Latin words without meaning here.
        filler: the same for Chinese, taken out before bigrams are made.
    """

    phrases: dict[str, str]
    no_complaint: tuple[str, ...]
    stop: frozenset[str]
    filler: re.Pattern[str]
    pattern: re.Pattern[str]
    quiet: re.Pattern[str]

    @classmethod
    def load(cls, path: Path = _PATH) -> Vocabulary:
        """Reads ``words.toml``."""
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        phrases = {fold(phrase): name for name, group in data["concepts"].items() for phrase in group}
        quiet = tuple(fold(phrase) for phrase in data["no_complaint"])
        filler = _any_of(tuple(fold(word) for word in data["filler"]))
        return cls(phrases, quiet, frozenset(data["stop"]), filler, _any_of(phrases), _any_of(quiet))

    def terms(self, text: str) -> dict[str, str]:
        """Terms of a text, each with the words it was found by: ``{"#range-loss": "续航", "充电": "充电"}``.

        Concepts begin with ``#``; ``~`` marks a bigram or word outside of any concept. A phrase that says nothing is
        wrong gives no term.
        """
        folded = self.quiet.sub(" | ", fold(text))
        found: dict[str, str] = {}
        rest: list[str] = []
        end = 0
        for hit in self.pattern.finditer(folded):
            found.setdefault(f"#{self.phrases[hit.group()]}", hit.group())
            rest.append(folded[end : hit.start()])
            end = hit.end()
        rest.append(folded[end:])
        for part in (self.filler.sub(" ", part) for part in rest):
            for run in _CJK_RUN.findall(part):
                for i in range(len(run) - 1):
                    found.setdefault(f"~{run[i : i + 2]}", run[i : i + 2])
            for word in _LATIN.findall(part):
                if word not in self.stop:
                    found.setdefault(f"~{word}", word)
        return found

    def is_quiet(self, text: str) -> bool:
        """Whether a text says nothing, or that nothing is wrong and nothing else."""
        return not fold(text) or (bool(self.quiet.search(fold(text))) and not self.terms(text))


def _any_of(phrases: dict[str, str] | tuple[str, ...]) -> re.Pattern[str]:
    """One pattern for all phrases, the longest first; Latin ends need a word boundary, Chinese ones none."""
    parts = []
    for phrase in sorted(phrases, key=lambda p: (-len(p), p)):
        before = "" if _CJK.match(phrase[0]) else r"(?<![a-z0-9])"
        after = "" if _CJK.match(phrase[-1]) else r"(?![a-z0-9])"
        parts.append(f"{before}{re.escape(phrase)}{after}")
    return re.compile("|".join(parts))


@cache
def default_vocabulary() -> Vocabulary:
    """The vocabulary that comes with the program."""
    return Vocabulary.load()
