"""One spelling of a text."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["fold"]

_IS_WIDE: Final = re.compile("[\uff01-\uff5e\u3000]")
_WIDE: Final = {0xFEE0 + code: code for code in range(0x21, 0x7F)} | {0x3000: 0x20}


def fold(text: str) -> str:
    """One spelling: full-width and half-width (NFKC), upper and lower case, runs of blanks."""
    if not text.isascii():
        if _IS_WIDE.search(text):
            text = text.translate(
                _WIDE
            )  # what Chinese texts are full of; the same as NFKC, which takes ten times as long
        if not unicodedata.is_normalized("NFKC", text):
            text = unicodedata.normalize("NFKC", text)
    return " ".join(text.lower().replace("’", "'").split())
