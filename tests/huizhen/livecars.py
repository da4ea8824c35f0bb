"""A car that stands still, for pictures of the dashboard that are the same each time."""

from __future__ import annotations

import argparse
import io

import numpy as np

from diag.alerts import Change, Notice
from diag.dtc import parse_uds_dtcs
from diag.facts import BatteryState, DtcChange, DtcStatus, Evidence, Finding, Severity, Text
from huizhen.console import Console
from huizhen.language import Translator
from huizhen.livefeed import Clock, LiveFeed
from huizhen.liveview import LiveView

SECOND = 1_000_000_000
NOON = 1_796_040_000 * SECOND
"""2026-11-30 12:00:00 UTC."""


class StillClock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.now_s = 5000.0

    def clock(self) -> Clock:
        return Clock(lambda: self.now_s, lambda: NOON + int((self.now_s - 5000.0) * SECOND))


def quiet_console(lang: str) -> Console:
    return Console(Translator(lang), io.StringIO(), io.StringIO())


def options(**more) -> argparse.Namespace:
    known = {
        "signals": [], "duration": None, "poll": 5.0, "no_codes": False, "plain": False, "recordings": None,
        "interface": None, "channel": None, "bitrate": None, "fd": False, "data_bitrate": None, "demo": False,
        "scenario": None, "dbc": [], "replug": 0.0, "timeout": None, "adapter": None,
    }  # fmt: skip
    return argparse.Namespace(**(known | more))


class StillLink:
    """A link that is there and says nothing."""


def still_feed(lang: str, time: StillClock, folder=None) -> LiveFeed:
    """The car of 96 cells with the bundled database, a weak cell, two codes, a minute of history."""
    import dbc
    from dbc.files import bundled
    from diag.limits import limits_for
    from huizhen.heatmap import CellBoard
    from huizhen.stripchart import SignalHistory

    feed = LiveFeed(options(recordings=folder), quiet_console(lang), time.clock())
    path = next(path for path in bundled() if path.stem == "huizhen_ev400")
    feed.watch.databases = (dbc.load(path),)
    feed.watch.take([])
    board = feed.watch.board
    signals = board.schema.signals
    feed.history = SignalHistory(len(signals))
    feed._board, feed._cells = board, CellBoard(signals, limits_for(None).cell_possible_v)
    place = {info.name: at for at, info in enumerate(signals)}
    values = np.zeros(len(signals), dtype=np.float32)
    for number in range(1, 97):
        values[place[f"CellVoltage_{number:03}"]] = 3.700 + 0.002 * (number * 7 % 5) - (0.043 if number == 91 else 0)
    everything = np.ones(len(signals), dtype=np.bool_)
    for at in range(700):
        values[place["PackCurrent"]] = 40 * np.sin(at / 40)
        values[place["PackVoltage"]] = 355 - 2 * np.sin(at / 40)
        values[place["StateOfCharge"]] = 63.0 - at / 700
        feed.history.add(values, everything)
    board._values[:], board._known[:] = values, True
    board._seen_ns[:] = 2**62
    feed._first_sample_s = time.now_s - 69.9
    weak = Finding(
        "battery.cell-weak", Severity.SOON, Text("Cell 91 is weak", "91 号单体偏弱"),
        (Evidence("signal", "x", Text("44 mV below the median under load", "带载时低于中位数 44 mV")),),
    )  # fmt: skip
    feed.standing = (weak,)
    feed.notices.append(Notice(NOON - 30 * SECOND, Change.BEGAN, weak))
    feed.is_judged = True
    feed.watch.battery = BatteryState(
        (), soc_percent=62.0, pack_v=355.2, current_a=-12.3, insulation_kohm=5000.0, weakest_cell=91,
        features={"temp_max_c": 31.0},
    )  # fmt: skip
    found = parse_uds_dtcs(bytes.fromhex("5902FF0AA61A2F0A1B0028"), ecu="0x7EC")
    feed.watch.dtcs = {"0x7EC": found.dtcs}
    feed.watch.changes.append(DtcChange(NOON - 4 * SECOND, "0x7EC", "P0AA6-1A", DtcStatus(0x2C), DtcStatus(0x2F)))
    feed.codes_read_s = time.now_s - 3
    feed.place, feed.is_simulated = "can0 500k", True
    feed.load.bitrate = 500_000
    feed.load._batches.append((time.now_s, 1987, 0.473))
    feed.watch.frames = 123_456
    feed.opened.set()
    feed._link, feed._heard_s = StillLink(), time.now_s
    return feed


def still_view(lang: str, time: StillClock, *names: str, folder=None) -> LiveView:
    return LiveView(still_feed(lang, time, folder), list(names))
