"""What a person sees: widths of Chinese text, wrapping, tables, no colours where nobody sees them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huizhen.console import Console, cut_to_width, display_width, pad
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


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("between 146 mV and 9 V", 13, ["between", "146 mV and", "9 V"]),
        ("电池管理系统存有故障码", 10, ["电池管理系", "统存有故障", "码"]),
        ("绝缘电阻过低，请检查", 12, ["绝缘电阻过", "低，请检查"]),
        ("可能性（98 %）", 10, ["可能性", "（98 %）"]),
        ("abcdefghijkl", 5, ["abcde", "fghij", "kl"]),
        ("one two", 3, ["one", "two"]),
        ("", 5, [""]),
        ("a  b", 2, ["a", "b"]),
    ],
)
def test_where_lines_end(text: str, width: int, lines: list[str]) -> None:
    assert cut_to_width(text, width) == lines


@given(st.text(alphabet="ab 绝缘，。（98 %）", max_size=200), st.integers(2, 40))
def test_no_line_is_too_wide(text: str, width: int) -> None:
    lines = cut_to_width(text, width)
    assert all(display_width(line) <= width for line in lines[:-1])
    assert display_width(lines[-1].rstrip()) <= width
    assert "".join("".join(lines).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("向每个 webhook 和邮件服务器发送", ["向每个 webhook 和邮", "件服务器发送"]),
        ("故障码、诊断结论、解决办法。", ["故障码、诊断结论、解", "决办法。"]),
        ("故障码与诊断的结论，办法", ["故障码与诊断的结", "论，办法"]),
        ("故障码诊断结论法（办法）", ["故障码诊断结论法", "（办法）"]),
        ("words and words again", ["words and words", "again"]),
        ("averyveryverylongword that", ["averyveryverylongwor", "d that"]),
    ],
)
def test_lines_break_where_a_reader_expects_it(text: str, lines: list[str]) -> None:
    assert cut_to_width(text, 18 if "，" in text or "（" in text else 20) == lines


def test_no_colours_in_a_pipe() -> None:
    speaker = console()
    assert speaker.style("x", "stop") == "x"


def test_progress_stays_off_a_pipe() -> None:
    speaker = console()
    speaker.stage("reading")
    assert isinstance(speaker.err, io.StringIO)
    assert speaker.err.getvalue() == ""
