"""The dashboard without a terminal: which panel is where, what a key does, what each panel shows.

A terminal library only has to paint the rows that :meth:`LiveView.draw` gives, and to hand over keys by their names.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from huizhen.codepanel import clock, draw_codes
from huizhen.findingpanel import draw_findings
from huizhen.heatmap import Pack, draw_pack
from huizhen.panelrows import Scroll, fitted, headed, scrolled
from huizhen.signalsearch import SignalSearch, chart_names, draw_search
from huizhen.statusline import Status, draw_keys, draw_status
from huizhen.stripchart import WINDOWS_S, SignalHistory, Strip, draw_strips, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from huizhen.language import Translator
    from huizhen.livefeed import LiveFeed
    from huizhen.panelrows import Row

__all__ = ["PANELS", "LiveView", "Place"]

PANELS: Final = ("cells", "charts", "codes", "findings")
_MESSAGE_S: Final = 8.0
_TWO_COLUMNS: Final = 72
_ALL_STACKED: Final = 26
_PAGE: Final = 8
_MOST_STRIPS: Final = 12
_SMALLEST: Final = (20, 6)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a panel is, in columns and rows."""

    x: int
    y: int
    width: int
    height: int


@dataclass(slots=True)
class LiveView:
    """What a person sees and does.

    Args:
        feed: the car.
        names: of the charts from top to bottom, as :func:`chart_names` or by the signal's name alone; without any at
            the beginning, the pack's current, voltage and charge.
        focus: the panel that the arrow keys work on.
        whole: the panel that has the screen for itself; None = all.
        is_done: the person wants to leave.
    """

    feed: LiveFeed
    names: list[str]
    focus: str = "charts"
    whole: str | None = None
    is_done: bool = False
    search: SignalSearch | None = None
    is_help: bool = False
    window: int = 2
    selected: int = 0
    _is_held: bool = False
    _held: SignalHistory | None = None
    _scrolls: dict[str, Scroll] = field(default_factory=dict)
    _has_chosen: bool = False
    _known: tuple[object, dict[str, int], tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        self._has_chosen = bool(self.names)

    @property
    def tr(self) -> Translator:
        """Says the catalogue's sentences."""
        return self.feed.tr

    # -- where -------------------------------------------------------------------------------------------------------

    def places(self, width: int, height: int) -> dict[str, Place]:
        """The panels that are shown on a screen of this size; one line above and one below are no panel's."""
        body = max(1, height - 2)
        if self.is_help or self.search is not None:
            alone: str | None = "charts" if self.is_help or width < _TWO_COLUMNS or self.whole else None
        else:
            alone = self.whole
        if alone is None and width < _TWO_COLUMNS and body < _ALL_STACKED:
            alone = self.focus
        if alone is not None:
            return {alone: Place(0, 1, width, body)}
        if width < _TWO_COLUMNS:
            each, more = divmod(body, len(PANELS))
            found, y = {}, 1
            for at, name in enumerate(PANELS):
                size = each + (at < more)
                found[name] = Place(0, y, width, size)
                y += size
            return found
        left = min(width // 2 - 1, 100)
        top = max(4, body * 4 // 7)
        right = width - left - 1
        return {
            "cells": Place(0, 1, left, top),
            "charts": Place(left + 1, 1, right, top),
            "codes": Place(0, 1 + top, left, body - top),
            "findings": Place(left + 1, 1 + top, right, body - top),
        }

    # -- what --------------------------------------------------------------------------------------------------------

    def draw(self, panel: str, width: int, height: int) -> tuple[Row, ...]:
        """The rows of one panel."""
        if width < _SMALLEST[0] or height < 1:
            return tuple(fitted((("…", "dim"),), max(1, width)) for _ in range(max(0, height)))
        is_focused, scroll = self.focus == panel, self._scrolls.setdefault(panel, Scroll())
        feed, tr = self.feed, self.tr
        if panel == "charts":
            return self._draw_charts(width, height, is_focused=is_focused)
        if panel == "cells":
            pack: Pack = feed.pack()
            return draw_pack(pack, width, height, tr, is_focused=is_focused, scroll=scroll)
        if panel == "codes":
            return draw_codes(
                feed.dtcs, feed.watch.changes, feed.codes_note(), feed.clock.utc_ns(), width, height, tr,
                is_focused=is_focused, scroll=scroll,
            )  # fmt: skip
        quiet = (tr("live.quiet"), "good") if feed.is_judged else (tr("dashboard.findings.waiting"), "dim")
        return draw_findings(
            feed.standing, feed.watch.causes, tuple(feed.notices), quiet, width, height, tr,
            is_focused=is_focused, scroll=scroll, is_whole=self.whole == panel,
        )  # fmt: skip

    def _draw_charts(self, width: int, height: int, *, is_focused: bool) -> tuple[Row, ...]:
        tr = self.tr
        if self.is_help:
            body = [
                fitted(((" ", ""), (f"{key:<12}", "title"), (text, "")), width) if key else fitted((), width)
                for key, text in self._help()
            ]
            head = headed(tr("dashboard.help.title"), tr("dashboard.help.close"), width, is_focused=True)
            return (head, *scrolled(body, height - 1, self._scrolls.setdefault("help", Scroll()), width))
        history = self._held if self._is_held else self.feed.history
        if self.search is not None:
            return draw_search(self.search, self._charted(), self._value, width, height, tr)
        return draw_strips(
            self.strips(), history, WINDOWS_S[self.window], self.selected, width, height, tr,
            is_focused=is_focused, is_held=self._is_held,
        )  # fmt: skip

    def _value(self, at: int) -> str:
        history = self.feed.history
        value = history.last(at) if history is not None else None
        return number(value) if value is None else f"{number(value)} {self.feed.signals[at].unit}".rstrip()

    def strips(self) -> list[Strip]:
        """The charts from top to bottom."""
        if not self._has_chosen and not self.names:
            self.names = list(self.feed.usual_signals())
        known, signals = self._places()[0], self.feed.signals
        strips = []
        for colour, name in enumerate(self.names):
            column = known.get(name)
            strips.append(Strip(name, signals[column].unit if column is not None else "", column, colour))
        return strips

    def _places(self) -> tuple[dict[str, int], tuple[str, ...]]:
        """Name -> place among the signals, and each place's name; made once for what is loaded."""
        board = self.feed.watch.board
        if self._known is None or self._known[0] is not board:
            signals = self.feed.signals
            names = chart_names(signals)
            places: dict[str, int] = {}
            for at, info in enumerate(signals):
                places.setdefault(names[at], at)
                places.setdefault(info.name, at)
                places.setdefault(f"{info.message}.{info.name}", at)
            self._known = board, places, names
        return self._known[1], self._known[2]

    def _charted(self) -> set[int]:
        """Places of the signals that have a chart."""
        known, _ = self._places()
        return {known[name] for name in self.names if name in known}

    def draw_status(self, width: int) -> Row:
        """The first line of the screen."""
        feed = self.feed
        now = feed.clock.steady_s()
        trouble = feed.trouble()
        recorder = feed.recorder
        status = Status(
            place=feed.place,
            frames_per_s=feed.load.frames_per_s(now),
            load_percent=feed.load.percent(now),
            dropped=feed.dropped,
            is_simulated=feed.is_simulated,
            time=clock(feed.clock.utc_ns()),
            round_s=feed.round_s if feed.is_asked else None,
        )
        if recorder.is_on:
            status = replace(status, recorded_s=now - recorder.started_s, recorded_bytes=recorder.size)
        if trouble is not None:
            status = replace(status, trouble=trouble[0], trouble_s=trouble[1])
        return draw_status(status, width, self.tr)

    def draw_keys(self, width: int) -> Row:
        """The last line: what has just happened, else the keys."""
        tr, message = self.tr, self.feed.message
        if message is not None and self.feed.clock.steady_s() - message[1] > _MESSAGE_S:
            message = None
        keys = (
            ("/", tr("dashboard.keys.search")),
            ("r", tr("dashboard.keys.record")),
            ("1-4", tr("dashboard.keys.whole")),
            ("?", tr("dashboard.keys.help")),
            ("q", tr("dashboard.keys.quit")),
            ("[ ]", tr("dashboard.keys.window")),
            ("d", tr("dashboard.keys.remove")),
            ("Tab", tr("dashboard.keys.focus")),
        )
        return draw_keys(keys, message[0] if message is not None else None, width)

    def _help(self) -> tuple[tuple[str, str], ...]:
        tr = self.tr
        return (
            ("/  a", tr("dashboard.help.search")),
            ("d  Del", tr("dashboard.help.remove")),
            ("↑ ↓", tr("dashboard.help.move")),
            ("[ ]  ← →", tr("dashboard.help.window")),
            ("Space", tr("dashboard.help.hold")),
            ("", ""),
            ("1 2 3 4", tr("dashboard.help.whole")),
            ("Tab", tr("dashboard.help.focus")),
            ("Enter", tr("dashboard.help.enter")),
            ("Esc", tr("dashboard.help.back")),
            ("", ""),
            ("r", tr("dashboard.help.record")),
            ("q  Ctrl-C", tr("dashboard.help.quit")),
            ("", ""),
            ("▼ ▲ · ×", tr("dashboard.help.cells")),
            ("2F", tr("dashboard.help.status")),
            ("%", tr("dashboard.help.load")),
        )

    # -- keys --------------------------------------------------------------------------------------------------------

    def press(self, key: str, character: str | None = None) -> None:
        """A key by its name (``up``, ``slash``, ``ctrl+c`` …) and the character that it makes, if it does."""
        if key in ("ctrl+c", "ctrl+q"):
            self.is_done = True
        elif self.search is not None:
            self._press_in_search(self.search, key, character)
        elif self.is_help and key in ("up", "down", "pageup", "pagedown"):
            self._scroll("help", {"up": -1, "down": 1, "pageup": -_PAGE, "pagedown": _PAGE}[key])
        elif self.is_help:
            self.is_help = False
        elif (act := _KEYS.get(_SAME_KEYS.get(character or "", key))) is not None:
            act(self)

    def paste(self, text: str) -> None:
        """Text from the clipboard."""
        if self.search is not None:
            self.search.type(text)

    def _press_in_search(self, search: SignalSearch, key: str, character: str | None) -> None:
        moves: dict[str, Callable[[], None]] = {
            "up": lambda: search.move(-1),
            "down": lambda: search.move(1),
            "pageup": lambda: search.page(-1),
            "pagedown": lambda: search.page(1),
            "backspace": search.erase,
            "ctrl+u": lambda: search.erase(is_all=True),
        }
        if key == "escape":
            self.search = None
        elif key == "enter":
            self._toggle(search)
        elif key in moves:
            moves[key]()
        elif character is not None and character.isprintable():
            search.type(character)

    def _toggle(self, search: SignalSearch) -> None:
        """The marked signal gets a chart, or loses it."""
        at = search.marked
        if at is None:
            return
        self._has_chosen = True
        known, names = self._places()
        if at in self._charted():
            self.names = [name for name in self.names if known.get(name) != at]
        elif len(self.names) < _MOST_STRIPS:
            self.names.append(names[at])
        else:
            self.feed.say(self.tr("dashboard.charts.full", n=_MOST_STRIPS))
        self.selected = max(0, min(self.selected, len(self.names) - 1))

    def open_search(self) -> None:
        """Signals can be looked for as soon as a database is known."""
        if not self.feed.signals:
            self.feed.say(self.tr("dashboard.search.no_database"))
            return
        self.strips()  # a chart that is added comes to those that are there already
        self.search, self.focus = SignalSearch(self.feed.signals), "charts"

    def remove(self) -> None:
        """The selected chart goes."""
        if self.names:
            self._has_chosen = True
            self.names.pop(min(self.selected, len(self.names) - 1))
            self.selected = max(0, min(self.selected, len(self.names) - 1))

    def move(self, by: int) -> None:
        """Down (or up) in the panel that has the keys: the next chart, or a row further."""
        if self.focus == "charts":
            self.selected = max(0, min(len(self.names) - 1, self.selected + by))
        else:
            self._scroll(self.focus, by)

    def _scroll(self, panel: str, by: int) -> None:
        self._scrolls.setdefault(panel, Scroll()).move(by)

    def widen(self, by: int) -> None:
        """More (or fewer) seconds in the charts."""
        self.window = max(0, min(len(WINDOWS_S) - 1, self.window + by))

    def hold(self) -> None:
        """The charts stand still, or go on with what has come meanwhile."""
        self._is_held = not self._is_held
        history = self.feed.history
        self._held = history.copy() if self._is_held and history is not None else None

    def next_panel(self, by: int) -> None:
        """The next panel gets the keys."""
        self.focus = PANELS[(PANELS.index(self.focus) + by) % len(PANELS)]
        if self.whole is not None:
            self.whole = self.focus

    def show_whole(self, panel: str | None) -> None:
        """A panel gets the whole screen, or gives it back."""
        self.whole = None if self.whole == panel else panel
        if panel is not None:
            self.focus = panel

    def show_help(self) -> None:
        """All keys."""
        self.is_help = True

    def leave(self) -> None:
        """The person wants to go."""
        self.is_done = True


_SAME_KEYS: Final = {
    "／": "slash",
    "、": "slash",
    "？": "question_mark",
    "【": "left_square_bracket",
    "［": "left_square_bracket",
    "】": "right_square_bracket",
    "］": "right_square_bracket",
}
"""What a Chinese input method makes of these keys."""

_KEYS: Final[dict[str, Callable[[LiveView], None]]] = {
    "slash": LiveView.open_search,
    "a": LiveView.open_search,
    "d": LiveView.remove,
    "delete": LiveView.remove,
    "up": lambda view: view.move(-1),
    "k": lambda view: view.move(-1),
    "down": lambda view: view.move(1),
    "j": lambda view: view.move(1),
    "pageup": lambda view: view.move(-_PAGE),
    "pagedown": lambda view: view.move(_PAGE),
    "left_square_bracket": lambda view: view.widen(-1),
    "left": lambda view: view.widen(-1),
    "right_square_bracket": lambda view: view.widen(1),
    "right": lambda view: view.widen(1),
    "space": LiveView.hold,
    "tab": lambda view: view.next_panel(1),
    "shift+tab": lambda view: view.next_panel(-1),
    "1": lambda view: view.show_whole("cells"),
    "2": lambda view: view.show_whole("charts"),
    "3": lambda view: view.show_whole("codes"),
    "4": lambda view: view.show_whole("findings"),
    "enter": lambda view: view.show_whole(view.focus),
    "escape": lambda view: view.show_whole(None),
    "r": lambda view: view.feed.toggle_recording(),
    "question_mark": LiveView.show_help,
    "h": LiveView.show_help,
    "q": LiveView.leave,
}
