"""The dashboard without a terminal: where the panels are, what each key does, what is said when the link is lost."""

from __future__ import annotations

import re

import pytest
from livecars import StillClock, options, quiet_console, still_view

from diag.frames import Frame
from huizhen.console import display_width
from huizhen.livefeed import LiveFeed
from huizhen.liveview import PANELS, LiveView
from huizhen.panelrows import text_of


@pytest.fixture
def time() -> StillClock:
    return StillClock()


def shown(view, panel: str, width: int = 60, height: int = 20) -> str:
    return text_of(view.draw(panel, width, height))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60), (72, 20), (60, 40), (40, 24), (20, 8)])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_panels_cover_the_screen_and_every_row_is_as_wide(size: tuple[int, int], lang: str, time: StillClock) -> None:
    view = still_view(lang, time)
    width, height = size
    seen = set()
    for name, place in view.places(width, height).items():
        assert place.x + place.width <= width
        rows = view.draw(name, place.width, place.height)
        assert len(rows) == place.height
        assert {sum(display_width(text) for text, _ in row) for row in rows} == {place.width}
        for y in range(place.y, place.y + place.height):
            seen |= {(x, y) for x in range(place.x, place.x + place.width)}
    gap = 0 if len(view.places(width, height)) == 1 or width < 72 else 1
    assert len(seen) == (width - gap) * (height - 2)
    assert sum(display_width(text) for text, _ in view.draw_status(width)) == width
    assert sum(display_width(text) for text, _ in view.draw_keys(width)) == width


def test_all_four_panels_are_there_at_80_by_24(time: StillClock) -> None:
    view = still_view("en", time)
    places = view.places(80, 24)
    assert tuple(places) == PANELS
    assert "▼ lowest cell 91" in shown(view, "cells", places["cells"].width, places["cells"].height)
    charts = shown(view, "charts", places["charts"].width, places["charts"].height)
    assert all(name in charts for name in ("PackCurrent", "PackVoltage", "StateOfCharge"))
    codes = shown(view, "codes", places["codes"].width, places["codes"].height)
    assert "P0AA6-1A 7EC  2F failing now ← 2C" in codes
    assert "Cell 91 is weak" in shown(view, "findings", places["findings"].width, places["findings"].height)


def test_a_signal_is_searched_added_and_removed_by_keys(time: StillClock) -> None:
    view = still_view("en", time, "PackCurrent")
    view.press("slash", "/")
    for char in "cell 91":
        view.press("space" if char == " " else char, char)
    assert "✓" not in shown(view, "charts")
    view.press("enter", "\r")
    assert view.names == ["PackCurrent", "CellVoltage_091"]
    assert "✓ CellVoltage_091" in shown(view, "charts")
    view.press("escape", None)
    assert "CellVoltage_091" in shown(view, "charts")
    view.press("down", None)
    view.press("up", None)
    view.press("d", "d")
    assert view.names == ["CellVoltage_091"]
    view.press("delete", None)
    assert view.names == []
    assert "press /" in shown(view, "charts")


def test_signals_of_one_name_are_told_apart_by_their_message(time: StillClock, tmp_path) -> None:
    import dbc

    path = tmp_path / "two.dbc"
    text = 'BO_ 1 A: 8 X\n SG_ Speed : 0|8@1+ (1,0) [0|0] "" X\nBO_ 2 B: 8 X\n SG_ Speed : 0|8@1+ (1,0) [0|0] "" X\n'
    view = LiveView(LiveFeed(options(), quiet_console("en"), time.clock()), [])
    path.write_text(f'VERSION ""\nBU_: X\n{text}')
    view.feed.watch.databases = (dbc.load(path),)
    view.feed.watch.take([Frame(2, b"\x05")])
    view.feed.sample()
    view.press("slash", "/")
    view.press("down")
    view.press("enter", "\r")
    assert view.names == ["B.Speed"]
    shown_rows = shown(view, "charts").splitlines()
    assert "✓" not in shown_rows[2]
    assert shown_rows[3].startswith(" ✓ Speed B")
    view.press("up")
    view.press("enter", "\r")
    assert view.names == ["B.Speed", "A.Speed"]
    assert [strip.column for strip in view.strips()] == [1, 0]
    view.press("down")
    view.press("enter", "\r")
    assert view.names == ["A.Speed"]
    assert LiveView(view.feed, ["Speed", "B.Speed", "None"]).strips()[1].column == 1


def test_a_name_that_no_database_has_is_said(time: StillClock) -> None:
    assert "in no loaded database" in shown(still_view("en", time, "PackCurrent", "Typo"), "charts")
    assert "已加载的数据库中没有此信号" in shown(still_view("zh", time, "Typo"), "charts")


def test_keys_of_a_chinese_input_method_are_the_same_keys(time: StillClock) -> None:
    view = still_view("zh", time)
    view.press("fullwidth_question_mark", "？")
    assert view.is_help
    view.press("escape")
    before = view.window
    view.press("x", "】")
    assert view.window == before + 1
    view.press("y", "、")
    assert view.search is not None
    view.press("y", "、")
    assert view.search.typed == "、"


def test_a_letter_that_is_a_key_is_a_letter_in_the_search(time: StillClock) -> None:
    view = still_view("en", time)
    view.press("slash", "/")
    for char in "rq?":
        view.press(char, char)
    assert view.search.typed == "rq?"
    assert not view.is_done
    assert not view.feed.recorder.is_on
    view.press("ctrl+u", "\x15")
    view.paste("PackVol\ntage")
    assert view.search.typed == "PackVoltage"
    view.press("backspace", "\x7f")
    assert view.search.typed == "PackVoltag"
    view.press("ctrl+c", "\x03")
    assert view.is_done


def test_more_charts_than_fit_are_refused(time: StillClock) -> None:
    view = still_view("en", time, *(f"CellVoltage_{number:03}" for number in range(1, 13)))
    view.press("slash", "/")
    view.paste("PackCurrent")
    view.press("enter", "\r")
    assert len(view.names) == 12
    assert "12 charts are the most" in text_of([view.draw_keys(80)])


def test_panels_get_the_whole_screen_and_give_it_back(time: StillClock) -> None:
    view = still_view("en", time)
    for key, name in zip("1234", PANELS, strict=True):
        view.press(key, key)
        assert tuple(view.places(80, 24)) == (name,)
    view.press("escape", None)
    assert tuple(view.places(80, 24)) == PANELS
    view.press("tab", "\t")
    assert view.focus == "cells"
    view.press("enter", "\r")
    assert tuple(view.places(80, 24)) == ("cells",)
    view.press("shift+tab", None)
    assert tuple(view.places(80, 24)) == ("findings",)
    view.press("4", "4")
    assert tuple(view.places(80, 24)) == PANELS


def test_time_is_stretched_and_held(time: StillClock) -> None:
    view = still_view("en", time, "PackCurrent")
    spans = []
    for _ in range(6):
        spans.append(shown(view, "charts").splitlines()[0])
        view.press("right_square_bracket", "]")
    assert spans[0] != spans[1]
    assert spans[-1] == spans[-2]
    before = shown(view, "charts")
    view.press("space", " ")
    for _ in range(50):
        block = view.feed._board.block(2**62, 0)
        view.feed.history.add(block.values - 500, block.valid)
    assert "held" in shown(view, "charts")
    assert shown(view, "charts").splitlines()[1:] == before.splitlines()[1:]
    view.press("space", " ")
    assert shown(view, "charts").splitlines()[1:] != before.splitlines()[1:]


def test_help_names_every_key_and_closes(time: StillClock) -> None:
    for lang in ("en", "zh"):
        view = still_view(lang, time)
        view.press("question_mark", "?")
        text = shown(view, "charts", 80, 22)
        for key in ("/", "d", "[ ]", "Space", "Tab", "Enter", "Esc", "r", "q", "1 2 3 4"):
            assert f" {key}" in text
        view.press("x", "x")
        assert not view.is_help
        assert not view.is_done


def test_recording_begins_and_ends_by_a_key(time: StillClock, tmp_path) -> None:
    view = still_view("en", time, folder=str(tmp_path))
    view.press("r", "r")
    assert view.feed.recorder.is_on
    assert "recording to" in text_of([view.draw_keys(200)])
    time.now_s += 65
    view.feed._heard_s = time.now_s
    assert "REC 01:05" in text_of([view.draw_status(80)])
    view.press("r", "r")
    assert not view.feed.recorder.is_on
    assert "recorded 0 frames" in text_of([view.draw_keys(200)])
    (path,) = tmp_path.iterdir()
    assert re.fullmatch(r"huizhen-20261(130|201)-\d\d\d\d00\.log", path.name)  # in the time of day of this place
    assert "no recording" in text_of([view.draw_status(80)])


def test_a_recording_that_cannot_begin_says_why(time: StillClock, tmp_path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    view = still_view("zh", time, folder=str(place / "below"))
    view.press("r", "r")
    assert not view.feed.recorder.is_on
    assert "录制已终止" in text_of([view.draw_keys(100)])


@pytest.mark.parametrize(("lang", "words"), [("en", "LINK LOST"), ("zh", "连接中断")])
def test_silence_is_a_lost_link_and_the_first_frame_ends_it(lang: str, words: str, time: StillClock) -> None:
    view = still_view(lang, time)
    assert words not in text_of([view.draw_status(80)])
    time.now_s += 7
    line = text_of([view.draw_status(80)])
    assert words in line
    assert "7" in line
    assert view.feed.losses == 1
    view.feed._heard_s = time.now_s
    assert words not in text_of([view.draw_status(80)])
    view.feed._link = None
    view.feed._why = "it was unplugged"
    assert "it was unplugged" in text_of([view.draw_status(120)])
    assert view.feed.losses == 2
