"""Words of a complaint as terms that both languages share.

The vocabulary says which phrases are one concept, so that 续航 and "range" meet in ``#range-loss``; what no concept
covers becomes Latin words and pairs of Chinese characters, so that two-character words are found, which trigram
indexes lose silently. How a text is taken apart is defined in :mod:`casebase.tokens`.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from casebase.contentfile import read_toml
from casebase.errors import ContentBroken
from casebase.folding import fold
from casebase.tokens import CONCEPT, Tokenizer, number_of
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Vocabulary", "default_vocabulary"]

_FOLDER: Final = Path(__file__).parent / "content"
_CJK: Final = re.compile(r"[㐀-䶿一-鿿]")


@dataclass(frozen=True)
class Vocabulary:
    """The concepts of both languages.

    Args:
        phrases: folded phrase -> concept.
        no_complaint: folded phrases that say that nothing is wrong.
        stop: Latin words without meaning here.
        filler_words: the same for Chinese.
        quiet: finds one of ``no_complaint``.
    """

    phrases: dict[str, str]
    no_complaint: tuple[str, ...]
    stop: frozenset[str]
    filler_words: tuple[str, ...]
    quiet: re.Pattern[str]

    @classmethod
    def load(cls, folder: Path = _FOLDER) -> Vocabulary:
        """Reads ``words.toml`` and what ``words-….toml`` of the folder add.

        Raises:
            ContentBroken: a file is missing or no TOML, or a phrase stands under two concepts.
        """
        phrases: dict[str, str] = {}
        lists: dict[str, list[str]] = {"no_complaint": [], "stop": [], "filler": []}
        for path in (folder / "words.toml", *sorted(folder.glob("words-*.toml"))):
            data = read_toml(path)
            for name, group in data.get("concepts", {}).items():
                for phrase in map(fold, group):
                    if phrases.setdefault(phrase, name) != name:
                        both = f"'{phrase}' stands under {phrases[phrase]} and {name}"
                        zh = f"“{phrase}”同时列在 {phrases[phrase]} 与 {name} 之下"
                        raise ContentBroken(path.name, name, Text(both, zh))
            for key, words in lists.items():
                words.extend(map(fold, data.get(key, ())))
        quiet = tuple(lists["no_complaint"])
        return cls(phrases, quiet, frozenset(lists["stop"]), tuple(lists["filler"]), _any_of(quiet))

    @cached_property
    def digest(self) -> str:
        """Another one means that texts have other terms."""
        told = [sorted(self.phrases.items()), self.no_complaint, sorted(self.stop), self.filler_words]
        return hashlib.sha256(json.dumps(told, ensure_ascii=False).encode()).hexdigest()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Takes texts apart by these words."""
        return Tokenizer(self.phrases, self.no_complaint, self.filler_words, self.stop)

    @cached_property
    def _concepts(self) -> dict[int, str]:
        return {number_of(name, CONCEPT): f"#{name}" for name in self.phrases.values()}

    def terms(self, text: str) -> dict[str, str]:
        """Terms of a text, each with the words it was found by: ``{"#range-loss": "续航", "充电": "充电"}``.

        Concepts begin with ``#``; ``~`` marks a bigram or word outside of any concept. A phrase that says nothing is
        wrong gives no term.
        """
        return self.terms_of([text])[0]

    def remember(self, texts: Sequence[str]) -> None:
        """Takes many texts apart at once, which costs a tenth, for :meth:`terms_of` to be asked about each."""
        self._remembered.update(zip(texts, self._terms_of(texts), strict=True))

    @cached_property
    def _remembered(self) -> dict[str, dict[str, str]]:
        return {}

    def terms_of(self, texts: Sequence[str]) -> list[dict[str, str]]:
        """:meth:`terms` of several texts at once."""
        if all(text in self._remembered for text in texts):
            return [dict(self._remembered[text]) for text in texts]
        return self._terms_of(texts)

    def _terms_of(self, texts: Sequence[str]) -> list[dict[str, str]]:
        # Pairs are never free: with or without them the terms here are the same.
        found = self.tokenizer.terms_of_one(texts[0]) if len(texts) == 1 else self.tokenizer.terms(texts, pairs=False)
        out: list[dict[str, str]] = [{} for _ in texts]
        for at in found.is_free.nonzero()[0].tolist():
            said = found.said(at)
            is_concept = found.kind[at] == CONCEPT
            name = self._concepts[int(found.number[at])] if is_concept else f"~{said}"
            out[found.text[at]].setdefault(name, said)
        return out

    def is_quiet(self, text: str) -> bool:
        """Whether a text says nothing, or that nothing is wrong and nothing else."""
        return not fold(text) or (bool(self.quiet.search(fold(text))) and not self.terms(text))


def _any_of(phrases: tuple[str, ...]) -> re.Pattern[str]:
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
