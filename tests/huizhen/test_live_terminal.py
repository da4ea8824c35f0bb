"""``huizhen live`` in a real terminal of 80 by 24: it obeys keys, survives its link, leaves a clean terminal."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import can
import pytest
from livecars import options, quiet_console
from terminals import Terminal

import virtualbus
from huizhen.console import display_width
from huizhen.exits import Exit
from huizhen.livefeed import LiveFeed
from virtualbus.errors import Phrase
from virtualbus.faults import make_fault
from virtualbus.scenario import Scenario, find_scenario

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def terminal(*words: str, **env: str | None) -> Iterator[Terminal]:
    one = Terminal(list(words), **env)
    try:
        yield one
    finally:
        one.close()


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ("lowest cell 91", "Fault codes", "P0DE6-16 7EC", "[SOON]", "PackCurrent", "SIMULATED", "/s  load")),
        ("zh", ("最低 第 91 号单体", "故障码", "P0DE6-16 7EC", "[尽快维修]", "PackCurrent", "模拟", "负载")),
    ],
)  # fmt: skip
def test_a_simulated_car_on_80_by_24(lang: str, words: tuple[str, ...]) -> None:
    with terminal("live", "--demo", "--lang", lang) as one:
        one.wait_for(*words)
        # Two heads side by side, twice: the first ends in the same column in every language.
        heads = [line for line in one.lines if line.startswith("─ ") and "─ " in line[10:]]
        assert [display_width(line[: line.index("─ ", 10)]) for line in heads] == [38, 38]
        for line in one.lines:
            assert display_width(line.rstrip()) <= 80
        one.type("/")
        one.wait_for("Signals" if lang == "en" else "搜索信号")
        one.type("cell 91\r\x1b")
        one.wait_until_gone("Signals" if lang == "en" else "搜索信号")  # Esc and a key at once would be Alt and a key
        one.wait_for("CellVoltage_091")
        one.type("?")
        one.wait_for("Shift-Tab")
        one.type("x")
        one.wait_until_gone("Shift-Tab")
        one.type("1")
        one.wait_until_gone("PackCurrent")
        one.type("\x03")  # Ctrl-C
        assert one.end() == Exit.DONE
        assert one.raw.rfind("\x1b[?1049l") > one.raw.rfind("\x1b[?1049h") >= 0, "the screen of before is back"
        assert one.raw.rfind("\x1b[?25h") > one.raw.rfind("\x1b[?25l"), "the cursor is back"
        assert ("Cell 91" if lang == "en" else "91 号单体") in one.raw[one.raw.rfind("\x1b[?1049l") :]


def test_a_recording_outlives_a_polite_kill(tmp_path: Path) -> None:
    words = ["live", "--demo", "--no-codes", "--lang", "en", "--recordings", str(tmp_path)]
    with terminal(*words) as one:
        one.wait_for("lowest cell")
        one.type("r")
        one.wait_for("REC 00:01")
        one.process.send_signal(signal.SIGTERM)
        assert one.end() == Exit.DONE
        assert "\x1b[?1049l" in one.raw
        assert "recorded" in one.raw
    (path,) = tmp_path.iterdir()
    from dbc.recording import open_recording

    assert len(open_recording(path).table) > 100


@pytest.mark.parametrize(
    ("words", "env"),
    [((), {"TERM": "dumb"}), ((), {"TERM": None}), ((), {"NO_COLOR": "1"}), (("--plain",), {})],
    ids=["dumb", "no-term", "no-color", "plain"],
)
def test_lines_where_a_dashboard_has_no_place(words: tuple[str, ...], env: dict[str, str | None]) -> None:
    options = ["live", "PackCurrent", "--demo", "--no-codes", "--lang", "en", *words]
    with terminal(*options, **env) as one:
        one.wait_for_output("PackCurrent ", "[NEW]")
        one.process.send_signal(signal.SIGINT)  # the terminal is not its controlling one: no key does it
        assert one.end(90) == Exit.DONE
        assert "\x1b[?1049h" not in one.raw
        if words == () and "NO_COLOR" not in env and env["TERM"] == "dumb":
            assert "\x1b" not in one.raw


def test_json_lines_stay_json_lines_on_a_terminal() -> None:
    with terminal("live", "--demo", "--no-codes", "--jsonl") as one:
        one.wait_for_output('"huizhen.live/1"')
        one.process.send_signal(signal.SIGINT)
        assert one.end(90) == Exit.DONE
        lines = [json.loads(line) for line in one.raw.splitlines() if line.startswith("{")]
        assert {line["schema"] for line in lines} == {"huizhen.live/1"}
        assert "\x1b[?1049h" not in one.raw


def test_nothing_to_open_is_one_line_and_no_dashboard() -> None:
    with terminal("live", "-i", "slcan", "-c", "/dev/no-such-device", "--lang", "en") as one:
        assert one.end() == Exit.NO_ADAPTER
        assert "\x1b[?1049h" not in one.raw
        assert one.raw.count("\n") == 1


class Adapter:
    """The simulated car behind slcan, reached by a name that stays while the device changes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "adapter"
        self._process: subprocess.Popen[str] | None = None

    def plug(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "huizhen", "sim", "run", "--front", "slcan", "--scenario", "weak-cell", "-q"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        channel = json.loads(self._process.stdout.readline())["channel"]
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(channel)

    def unplug(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
            self.path.unlink(missing_ok=True)


@pytest.mark.parametrize(("replug_s", "lang", "lost"), [("60", "en", "LINK LOST"), ("0.5", "zh", "连接中断")])
def test_an_adapter_that_is_pulled_out_is_told_and_taken_again(
    replug_s: str, lang: str, lost: str, tmp_path: Path
) -> None:
    """Once within the link's own patience, once after it has given up."""
    adapter = Adapter(tmp_path)
    adapter.plug()
    try:
        link = ["-i", "slcan", "-c", str(adapter.path), "-b", "500000", "--replug", replug_s]
        with terminal("live", *link, "--no-codes", "--lang", lang) as one:
            one.wait_for("91")
            time.sleep(1.0)
            adapter.unplug()
            one.wait_for(lost)
            adapter.plug()
            one.wait_until_gone(lost)
            one.wait_for("/s")
            one.type("q")
            assert one.end() == Exit.DONE
    finally:
        adapter.unplug()


async def until(condition, timeout_s: float = 120) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is the state of another part
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("name", "address"), [("ebus", "0x"), ("misfire", "0x7EA")])
async def test_codes_of_every_kind_of_car_are_shown(name: str, address: str) -> None:
    """A bus with J1939, which has no status bytes and is not polled; a car that answers services 01 to 0A and UDS."""
    broken = Scenario("live", Phrase("live", "live"), "ebus", (make_fault("isolation"),)) if name == "ebus" else None
    with virtualbus.running(broken or find_scenario(name), seed=3) as car:
        feed = LiveFeed(options(interface="virtual", channel=car.channel), quiet_console("en"))
        following = asyncio.ensure_future(feed.run())
        await until(lambda: feed.codes_read_s is not None)
        await until(lambda: any(dtc.is_fault and (dtc.ecu or "").startswith(address) for dtc in feed.dtcs))
        assert "s ago" in feed.codes_note() or feed.stage is not None
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def test_a_bus_that_falls_silent_is_lost_and_its_first_frame_is_enough() -> None:
    """Two ends of a real bus of python-can; what was found before stands while nothing is heard."""
    feed = LiveFeed(options(interface="virtual", channel="cut", no_codes=True), quiet_console("en"))
    following = asyncio.ensure_future(feed.run())
    with can.Bus(interface="virtual", channel="cut") as car:

        async def talk() -> None:
            while True:
                car.send(can.Message(arbitration_id=0x123, data=bytes(8), is_extended_id=False))
                await asyncio.sleep(0.05)

        await feed.opened.wait()
        talking = asyncio.ensure_future(talk())
        await until(lambda: feed.watch.frames > 5 and feed.trouble() is None)
        before = feed.losses
        talking.cancel()
        await until(lambda: feed.trouble() is not None)
        why, seconds = feed.trouble()
        assert why == "nothing is heard"
        assert seconds >= 2.0
        talking = asyncio.ensure_future(talk())
        await until(lambda: feed.trouble() is None)
        talking.cancel()
    assert feed.losses > before
    assert feed.place == "cut"
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
