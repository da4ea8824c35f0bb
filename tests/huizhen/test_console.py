"""What a person sees: widths of Chinese text, wrapping, tables, no colours where nobody sees them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huizhen.console import Console, display_width, pad
from huizhen.language import Translator


def console() -> Console:
    return Console(Translator("en"), io.StringIO(), io.StringIO())


def printed(speaker: Console) -> list[str]:
    assert isinstance(speaker.out, io.StringIO)
    return speaker.out.getvalue().splitlines()


@pytest.mark.parametrize(("text", "width"), [("", 0), ("abc", 3), ("故障码", 6), ("SOC 高", 6), ("é", 1)])
def test_display_width(text: str, width: int) -> None:
    assert display_width(text) == width
    assert display_width(pad(text, 10)) == 10


def test_columns_line_up_with_chinese_in_them() -> None:
    speaker = console()
    speaker.table([["故障码", "x"], ["ab", "y"]], head=["code", "z"])
    assert [display_width(line[: line.index(mark)]) for line, mark in zip(printed(speaker), "zxy", strict=True)] == [
        10
    ] * 3


def test_the_last_column_wraps_under_itself() -> None:
    speaker = console()
    speaker.table([["a", "word " * 60]])
    lines = printed(speaker)
    assert len(lines) > 2
    assert all(line.startswith(" " * 5) for line in lines[1:])


@given(st.text(alphabet="ab 绝缘电阻过低,", max_size=400))
def test_wrapping_loses_nothing_but_spaces(text: str) -> None:
    speaker = console()
    speaker.wrapped(text, indent="    ")
    lines = printed(speaker)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(display_width(line) <= 120 for line in lines)


def test_no_colours_in_a_pipe() -> None:
    speaker = console()
    assert speaker.style("x", "stop") == "x"


def test_progress_stays_off_a_pipe() -> None:
    speaker = console()
    speaker.stage("reading")
    assert isinstance(speaker.err, io.StringIO)
    assert speaker.err.getvalue() == ""
