"""How a report looks: on a wide screen, on a phone, and on A4 paper with headers and page numbers.

Fonts are those of the reader; where they are to be fixed, the PDF has them in it.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["style_for"]


_PAPER: Final = """
@page{size:A4;margin:20mm 17mm 18mm;@top-left{content:%s;font:8.5pt %s;color:#55636f}
@top-right{content:%s;font:8.5pt %s;color:#55636f}@bottom-left{content:%s;font:8pt %s;color:#55636f}
@bottom-right{content:%s;font:8.5pt %s;color:#55636f}}
@page:first{@top-left{content:none}@top-right{content:none}}
"""
_FONT: Final = 'system-ui,"Noto Sans CJK SC","Microsoft YaHei","PingFang SC",sans-serif'


def _quoted(text: str) -> str:
    """A text of this program as a CSS string."""
    return (
        '"' + "".join(char if char.isalnum() or char in " -:·/.,()（）" else f"\\{ord(char):x} " for char in text) + '"'
    )


@cache
def _screen_and_print() -> str:
    return (Path(__file__).parent / "report.css").read_text(encoding="utf-8")


def style_for(*, left: str, right: str, digest: str, page: str) -> str:
    """The style sheet, with what stands in the margins of the paper.

    Args:
        left: at the top of every page after the first: a text of this program, nothing that the car told.
        right: on the other side, likewise.
        digest: at the bottom.
        page: says the page with ``{n}`` for its number and ``{of}`` for how many there are.
    """
    counters = {"{n}": "counter(page)", "{of}": "counter(pages)"}
    counted = " ".join(counters.get(part) or _quoted(part) for part in re.split(r"(\{n\}|\{of\})", page) if part)
    paper = _PAPER % (_quoted(left), _FONT, _quoted(right), _FONT, _quoted(digest), _FONT, counted, _FONT)
    return _screen_and_print() + paper
