"""The dashboard in Textual: pictures in both languages, keys through its event loop, sizes."""

from __future__ import annotations

import os
import re
import time as real_time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from livecars import StillClock, still_view
from rich.cells import cell_len
from textual.color import Color

import huizhen
from huizhen.dashboard import CHARTS_S, Dashboard
from huizhen.language import AREAS, sentences
from huizhen.panelrows import STYLES, columns

SCREENS = Path(__file__).parent / "live_screens"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    real_time.tzset()
    yield
    monkeypatch.undo()
    real_time.tzset()


@pytest.fixture
def time() -> StillClock:
    return StillClock()


def strips(app: Dashboard):
    return app.screen._compositor.render_strips()


def text_on(app: Dashboard) -> str:
    return "\n".join(strip.text.rstrip() for strip in strips(app)) + "\n"


class StillDashboard(Dashboard):
    """Beats when a test says so, never by itself."""

    def set_interval(self, *_, **__):
        return None


async def settle(pilot) -> None:
    """Sizes have arrived where they belong, then everything is painted."""
    for _ in range(3):
        await pilot.pause()
        pilot.app.hurry()
        pilot.app.beat()
    await pilot.pause()


def same_picture(name: str, text: str) -> None:
    """The picture is as it was; ``HUIZHEN_SCREENS=new`` keeps the new one, to be looked at."""
    path = SCREENS / f"{name}.txt"
    if os.environ.get("HUIZHEN_SCREENS") == "new":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 30)])
async def test_the_picture(lang: str, width: int, height: int, time: StillClock) -> None:
    app = StillDashboard(still_view(lang, time))
    async with app.run_test(size=(width, height)) as pilot:
        await settle(pilot)
        same_picture(f"all-{width}x{height}-{lang}", text_on(app))


@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_pictures_after_keys(lang: str, time: StillClock) -> None:
    app = StillDashboard(still_view(lang, time))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"cell 9")
        await settle(pilot)
        same_picture(f"search-{lang}", text_on(app))
        await pilot.press("down", "enter", "escape")
        assert app.view.names[-1] == "CellVoltage_009"
        await pilot.press("question_mark")
        await settle(pilot)
        same_picture(f"help-{lang}", text_on(app))
        await pilot.press("escape", "4")
        await settle(pilot)
        same_picture(f"findings-{lang}", text_on(app))
        await pilot.press("4", "tab", "tab")
        assert app.view.focus == "charts"
        time.now_s += 10
        await settle(pilot)
        same_picture(f"lost-{lang}", text_on(app))


async def test_what_is_painted_is_what_was_drawn_after_any_change(time: StillClock) -> None:
    """Lines are painted only where they changed: nothing old may stay."""
    app = StillDashboard(still_view("en", time))
    async with app.run_test(size=(100, 30)) as pilot:
        for keys in (["1"], ["1"], ["2"], ["escape"], ["slash", "c"], ["escape"], ["question_mark"], ["x"], ["d"]):
            await pilot.press(*keys)
            block = app.view.feed._board.block(2**62, 0)
            app.view.feed.history.add(block.values * 2, block.valid)
            await settle(pilot)
            lines = text_on(app).splitlines()
            for name, place in app.view.places(100, 30).items():
                for y, row in enumerate(app.view.draw(name, place.width, place.height)):
                    drawn = "".join(text for text, _ in row)
                    assert lines[place.y + y].ljust(100)[place.x : place.x + place.width] == drawn, (keys, name, y)


async def test_colours_are_those_of_the_styles(time: StillClock) -> None:
    app = StillDashboard(still_view("en", time))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        backgrounds = {
            segment.style.bgcolor.get_truecolor().hex
            for strip in strips(app)
            for segment in strip
            if segment.style is not None and segment.style.bgcolor is not None
        }
        usual = Color.parse(STYLES["heat5"].partition(" on ")[2]).hex.lower()
        low = Color.parse(STYLES["heat1"].partition(" on ")[2]).hex.lower()
        assert {usual, low} <= backgrounds  # cell 91 is 44 mV low


async def test_another_size_is_filled(time: StillClock) -> None:
    app = StillDashboard(still_view("zh", time))
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        same_picture("all-80x24-zh", text_on(app))


async def test_charts_are_drawn_ten_times_a_second_cells_four_times_words_twice(
    time: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = StillDashboard(still_view("en", time))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        now = [real_time.monotonic() + 1]
        monkeypatch.setattr("huizhen.dashboard.time", SimpleNamespace(monotonic=lambda: now[0]))
        app.beat()
        drawn: Counter[str] = Counter()
        paint = app._paint
        monkeypatch.setattr(app, "_paint", lambda name: (drawn.update([name]), paint(name)))
        for _ in range(100):
            now[0] += CHARTS_S
            app.beat()
    assert drawn["charts"] == 100
    assert 38 <= drawn["cells"] <= 42
    assert 19 <= drawn["codes"] == drawn["findings"] <= 21


def test_words_are_as_wide_for_textual_as_for_us() -> None:
    """Every text of the catalogue, and the signs that panels draw: columns are counted by two programs."""
    spoken = (text for area in AREAS() for both in sentences(area).values() for text in both.values())
    lines = [line for text in spoken for line in text.splitlines()]
    assert len(lines) > 1000
    assert [line for line in (*lines, "─▕▶▼▲·×●…←→↑↓▀✓▏⣿") if cell_len(line) != columns(line)] == []


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
async def test_keys_that_end_it(key: str, time: StillClock) -> None:
    app = StillDashboard(still_view("en", time))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(key)
        await pilot.pause()
        assert app.view.is_done
        assert not app.is_running or app._exit


async def test_it_ends_after_its_time(time: StillClock) -> None:
    app = Dashboard(still_view("en", time), 0.2)
    await app.run_async(headless=True, size=(80, 24))
    assert not app.is_running


def test_only_the_dashboard_knows_textual() -> None:
    packages = Path(huizhen.__file__).parent.parent
    knowing = [
        path.name
        for package in ("dbc", "diag", "casebase", "virtualbus", "consult", "huizhen")
        for path in (packages / package).rglob("*.py")
        if re.search(r"^\s*(from|import) (textual|rich)\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert knowing == ["dashboard.py"]
