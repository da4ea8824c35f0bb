"""Of which class a job is: the language of its complaint, and what kind of evidence it brought.

Odds that are right for one class need not be right for another: a story in three words is not a scan with the figures
of a battery. Everything that is counted from the log is therefore counted class by class. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from casebase.query import Query

__all__ = ["EVIDENCE", "LANGUAGES", "NOTICE", "evidence_of", "language_of"]

LANGUAGES: Final = ("zh", "en", "none")
NOTICE: Final = "notice"
EVIDENCE: Final = ("words", "codes", "measured", NOTICE)
"""From the least to the most; ``notice`` where the first match is a recall or a bulletin, whatever was measured."""
_HAN: Final = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_WORD: Final = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2,}(?![A-Za-z0-9])")


def language_of(symptom: str) -> str:
    """The language of a complaint by its characters.

    ``zh`` when it has at least as many Chinese characters as Latin words, ``en`` when it has more Latin words, and
    ``none`` when it has neither: empty, or nothing but codes and figures (a word has letters only, two at least).
    """
    chinese = len(_HAN.findall(symptom))
    latin = len(_WORD.findall(symptom))
    if chinese and chinese >= latin:
        return "zh"
    return "en" if latin else "none"


def evidence_of(query: Query) -> str:
    """What a question rests on: ``words``, ``codes`` or ``measured``.

    ``measured`` has battery figures or causes that the readings rank; ``codes`` has trouble codes, findings or silent
    ECUs and no figures.
    """
    if query.features or query.causes:
        return "measured"
    return "codes" if query.dtcs or query.findings or query.silent else "words"
