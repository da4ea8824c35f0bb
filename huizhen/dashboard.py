"""``huizhen live`` on a terminal: the panels painted by Textual, keys handed to :class:`huizhen.liveview.LiveView`.

A widget paints a whole panel from rows that are ready, and only the lines that changed: a widget per cell costs ten
times as much (see ``benchmarks/live.py``). Nothing but this module knows Textual.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from huizhen.livefeed import LiveFeed
from huizhen.liveview import PANELS, LiveView
from huizhen.panelrows import STYLES, columns, fitted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from textual import events
    from textual.app import ComposeResult
    from textual.geometry import Size

    from huizhen.console import Console
    from huizhen.panelrows import Row

__all__ = ["Dashboard", "Panel", "show_dashboard"]

CHARTS_S: Final = 0.1
CELLS_S: Final = 0.25
WORDS_S: Final = 0.5
_BACKGROUND: Final = "#121212"


@cache
def _style(name: str) -> Style:
    """The style of a name, made once."""
    return Style.parse(f"#d0d0d0 on {_BACKGROUND}") + Style.parse(STYLES.get(name, name))


def _strip(row: Row) -> Strip:
    return Strip([Segment(text, _style(style)) for text, style in row], sum(columns(text) for text, _ in row))


class Panel(Widget):
    """Rows on the screen; of new ones only those that differ are painted."""

    DEFAULT_CSS = "Panel { position: absolute; }"

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self._rows: tuple[Row, ...] = ()
        self._strips: list[Strip] = []

    def show(self, rows: tuple[Row, ...]) -> None:
        """Takes the rows of now, all as wide as the panel."""
        old = self._rows
        if len(rows) != len(old):
            self._rows, self._strips = rows, [_strip(row) for row in rows]
            self.refresh()
            return
        changed = [y for y, row in enumerate(rows) if row != old[y]]
        if not changed:
            return
        for y in changed:
            self._strips[y] = _strip(rows[y])
        self._rows = rows
        self.refresh(*_regions(changed, self.size.width))

    def on_resize(self) -> None:
        """It has another size: what it shows is drawn anew."""
        self._rows, self._strips = (), []
        if isinstance(self.app, Dashboard):
            self.app.hurry()

    def render_line(self, y: int) -> Strip:
        """One line, ready to be painted."""
        if y < len(self._strips) and self._strips[y].cell_length == self.size.width:
            return self._strips[y]
        return Strip.blank(self.size.width, _style(""))


def _regions(lines: Iterable[int], width: int) -> list[Region]:
    """Lines as few rectangles as possible."""
    found: list[Region] = []
    for y in lines:
        if found and found[-1].bottom == y:
            found[-1] = Region(0, found[-1].y, width, found[-1].height + 1)
        else:
            found.append(Region(0, y, width, 1))
    return found


class Dashboard(App[None]):
    """The screen.

    Args:
        view: what it shows.
        duration_s: it ends by itself; None = it does not.
    """

    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    CSS = f"Screen {{ background: {_BACKGROUND}; overflow: hidden; }}"
    BINDINGS: ClassVar[list[Any]] = []

    def __init__(self, view: LiveView, duration_s: float | None = None) -> None:
        super().__init__()
        self.view = view
        self._duration_s = duration_s
        self._cells_due = self._words_due = 0.0
        self._shown: tuple[str, ...] = ()
        self._arranged: Size | None = None

    def compose(self) -> ComposeResult:
        """The first line, the panels, the last line."""
        yield Panel("status")
        for name in PANELS:
            yield Panel(name)
        yield Panel("keys")

    def on_mount(self) -> None:
        """Everything is painted by one clock."""
        self.arrange()
        self.set_interval(CHARTS_S, self.beat)
        if self._duration_s is not None:
            self.set_timer(self._duration_s, self.exit)

    async def on_event(self, event: events.Event) -> None:
        """Keys go to the view, all of them: Textual's own ones (Tab, Ctrl-C, Ctrl-Q) have no use here."""
        from textual import events as kinds

        if isinstance(event, kinds.Key):
            self.view.press(event.key, event.character)
            self.answer()
        elif isinstance(event, kinds.Paste):
            self.view.paste(event.text)
            self.answer()
        else:
            await super().on_event(event)

    def answer(self) -> None:
        """Shows at once what a key has done."""
        if self.view.is_done:
            self.exit()
            return
        self.arrange()

    def arrange(self) -> None:
        """Puts the panels where they belong on a screen of this size, and paints all."""
        width, height = self.size
        self._arranged = self.size
        if not width or not height:
            return
        places = self.view.places(width, height)
        self._shown = tuple(places)
        for name in PANELS:
            panel = self.query_one(f"#{name}", Panel)
            place = places.get(name)
            panel.display = place is not None
            if place is not None:
                panel.styles.offset = place.x, place.y
                panel.styles.width, panel.styles.height = place.width, place.height
        for name, y in (("status", 0), ("keys", height - 1)):
            panel = self.query_one(f"#{name}", Panel)
            panel.styles.offset = 0, y
            panel.styles.width, panel.styles.height = width, 1
        self.hurry()
        self.call_after_refresh(self.beat)

    def hurry(self) -> None:
        """All panels are painted with the next beat."""
        self._cells_due = self._words_due = 0.0

    def beat(self) -> None:
        """A tenth of a second is over: charts at 10 Hz, cells at 4 Hz, words at 2 Hz."""
        if self.size != self._arranged:
            self.arrange()
        now = time.monotonic()
        self.view.feed.sample()
        self._paint("charts")
        if now >= self._cells_due:
            self._cells_due = max(self._cells_due + CELLS_S, now)
            self._paint("cells")
        if now >= self._words_due:
            self._words_due = max(self._words_due + WORDS_S, now)
            self._paint("codes")
            self._paint("findings")
            width = self.size.width
            self.query_one("#status", Panel).show((self.view.draw_status(width),))
            self.query_one("#keys", Panel).show((self.view.draw_keys(width),))

    def _paint(self, name: str) -> None:
        panel = self.query_one(f"#{name}", Panel)
        width, height = panel.size
        if name in self._shown and width and height:
            rows = self.view.draw(name, width, height)
            panel.show(tuple(rows) + (fitted((), width),) * (height - len(rows)))


async def show_dashboard(args: argparse.Namespace, console: Console) -> LiveFeed:
    """Opens the car, shows it until the person leaves, ``--duration`` is over or a signal ends it.

    Raises:
        BadUsage: the options name nothing.
        NoAdapter: it cannot be opened; later losses are waited out.
        LinkLost: it went away at once.
    """
    feed = LiveFeed(args, console)
    following = asyncio.ensure_future(feed.run())
    opened = asyncio.ensure_future(feed.opened.wait())
    try:
        await asyncio.wait({following, opened}, return_when=asyncio.FIRST_COMPLETED)
        if not following.done():
            app = Dashboard(LiveView(feed, list(args.signals)), args.duration)
            following.add_done_callback(lambda _: app.exit())
            _heed_signals(app)
            await app.run_async(mouse=False)
        if following.done():
            following.result()
    finally:
        for task in (following, opened):
            task.cancel()
        await asyncio.gather(following, opened, return_exceptions=True)
    return feed


def _heed_signals(app: Dashboard) -> None:
    """A terminal that is closed and a polite kill end it as ``q`` does: the terminal is put back, files are closed."""
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None:
            with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
                loop.add_signal_handler(number, app.exit)
