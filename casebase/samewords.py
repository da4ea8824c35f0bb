"""Known fixes that say what somebody wrote in free words, by the terms of the library's own tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from casebase.catalogue import Fix
    from casebase.tokens import Tokenizer
    from diag.facts import Json

__all__ = ["SameWords", "fixes_of_words"]

_LEAST: Final = 0.15
_WELL: Final = 0.5


@dataclass(frozen=True, slots=True)
class SameWords:
    """A known fix beside free words.

    Args:
        fix: see there.
        likeness: 0 to 1, the cosine of their terms, rare ones weighing more.
    """

    fix: Fix
    likeness: float

    @property
    def is_close(self) -> bool:
        """Whether it may well be the same."""
        return self.likeness >= _WELL

    def to_json(self) -> Json:
        """One suggestion."""
        return {
            "source_id": self.fix.slug, "case_id": self.fix.fix_id, "title": self.fix.title.to_json(),
            "likeness": round(self.likeness, 3), "close": self.is_close,
        }  # fmt: skip


def fixes_of_words(words: str, fixes: Sequence[Fix], tokenizer: Tokenizer, most: int = 3) -> list[SameWords]:
    """The most similar fixes, the best first.

    Args:
        words: what somebody wrote.
        fixes: all that are known; each is read in both languages.
        tokenizer: of the library.
        most: how many.
    """
    if not words.strip() or not fixes:
        return []
    texts = [words]
    for fix in fixes:
        own = f"{fix.component} {fix.failure_mode} {fix.action}".replace("-", " ")
        texts += [f"{own}\n{fix.title.en}\n{fix.fix.en}", f"{own}\n{fix.title.zh}\n{fix.fix.zh}"]
    found = tokenizer.terms(texts, pairs=False)
    of, number = found.text[found.is_free], found.number[found.is_free]
    terms, place = np.unique(number, return_inverse=True)
    pairs = np.unique(np.stack([of, place], axis=1), axis=0)
    spread = np.bincount(pairs[pairs[:, 0] > 0, 1], minlength=terms.size)
    weight = np.log((len(texts) + 1.0) / (spread + 1.0)) ** 2
    said = np.zeros(terms.size, dtype=np.bool_)
    said[pairs[pairs[:, 0] == 0, 1]] = True
    size = np.bincount(pairs[:, 0], weights=weight[pairs[:, 1]], minlength=len(texts))
    shared = np.bincount(pairs[:, 0], weights=(weight * said)[pairs[:, 1]], minlength=len(texts))
    likeness = shared[1:] / np.sqrt(np.maximum(size[0] * size[1:], 1e-12))
    best = likeness.reshape(-1, 2).max(axis=1)
    order = sorted(range(len(fixes)), key=lambda at: (-best[at], fixes[at].slug))[:most]
    return [SameWords(fixes[at], float(best[at])) for at in order if best[at] >= _LEAST]
