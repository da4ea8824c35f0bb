"""``huizhen live`` where each value must be asked for: DoIP, an ELM327, a gateway that lets no frame through."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from livecars import options, quiet_console

import dbc
import virtualbus
from dbc.files import bundled
from diag.asked import AskedStream
from diag.frames import Frame
from diag.samples import SampleBlock, SignalInfo, StreamSchema
from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.livefeed import LiveFeed
from huizhen.liveview import LiveView
from huizhen.livewatch import FirstFrames, Watch, keep_asking
from huizhen.settings import recall
from virtualbus.scenario import find_scenario
from virtualbus.wire import TransportFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

PATIENCE_S = 120.0


@contextlib.contextmanager
def simulator(front: str, scenario: str) -> Iterator[dict[str, Any]]:
    """The simulated car in a process of its own; yields its JSON line."""
    words = ["sim", "run", "--front", front, "--scenario", scenario, "--duration", "300"]
    with subprocess.Popen(
        [sys.executable, "-m", "huizhen", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield {**json.loads(process.stdout.readline()), "process": process}
        finally:
            process.kill()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - what is waited for comes from another process
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def watched(feed: LiveFeed) -> AsyncIterator[None]:
    """As the dashboard does it, ten times a second."""

    async def beat() -> None:
        while True:
            feed.trouble()
            feed.sample()
            await asyncio.sleep(0.1)

    tasks = [asyncio.create_task(feed.run()), asyncio.create_task(beat())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def told(words: list[str], capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capfd.readouterr()
    assert main(["live", *words, "--jsonl"]) == Exit.DONE
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def told_until(is_enough: Callable[[dict[str, Any]], bool], *words: str) -> dict[str, Any]:
    """The JSON line that is enough; then Ctrl-C ends the program, as it ends it for a person."""
    command = [sys.executable, "-m", "huizhen", "live", *words, "--jsonl", "--duration", str(PATIENCE_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = (json.loads(line) for line in process.stdout)
            last = next((line for line in lines if is_enough(line)), None)
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == Exit.DONE
        finally:
            process.kill()
    assert last is not None, f"not in {PATIENCE_S} s"
    return last


@pytest.mark.parametrize("front", ["elm327:0", "doip:0"])
def test_lines_through_an_adapter_that_carries_requests_only(front: str) -> None:
    with simulator(front, "weak-cell") as line:
        adapter = f"{line['front']}:127.0.0.1:{line['port']}"
        wanted = ("StateOfCharge", "vehicleSpeed", "NoSuch")

        def is_enough(line: dict[str, Any]) -> bool:
            known = [line["values"][name] is not None for name in wanted[:2]]
            return line["answers"] > 20 and all(known) and "battery.cell-weak" in line["standing"]

        last = told_until(is_enough, "--adapter", adapter, *wanted)
        kept = recall()
    assert last["frames"] == 0
    assert 20 < last["values"]["StateOfCharge"] < 90
    assert last["values"]["vehicleSpeed"] == 0
    assert last["values"]["NoSuch"] is None
    assert kept is None or kept.adapter in (None, adapter)


async def test_the_dashboard_shows_what_is_asked_for_and_waits_for_a_car_that_went_away() -> None:
    with simulator("doip:0", "weak-cell") as line:
        port = line["port"]
        feed = LiveFeed(options(adapter=f"doip:127.0.0.1:{port}", replug=120.0), quiet_console("en"))
        view = LiveView(feed, [])
        async with watched(feed):
            await until(lambda: bool(feed.standing and feed.dtcs))
            assert len(feed.pack().volts) == 96
            assert {dtc.display for dtc in feed.dtcs} == {"P0DE6-16", "P0BBD-85"}
            assert [finding.code for finding in feed.standing] == ["battery.cell-weak"]
            assert view.strips()
            first_line = "".join(text for text, _ in view.draw_status(100))
            assert "asked for, every" in first_line
            assert "load" not in first_line
            assert "recording" not in first_line
            feed.toggle_recording()
            assert feed.message is not None
            assert "no frames to record" in feed.message[0]
            assert not feed.recorder.is_on
            heard = feed.watch.answers
            # The car goes: its process is killed, and another one takes its place at the same port.
            line["process"].kill()
            await until(lambda: feed.trouble() is not None)
            assert "LINK LOST" in "".join(text for text, _ in view.draw_status(100))
            with simulator(f"doip:{port}", "weak-cell"):
                await until(lambda: feed.trouble() is None and feed.watch.answers > heard)
            assert feed.losses == 1


async def test_a_car_behind_a_gateway_is_asked_on_its_bus() -> None:
    """No broadcast frame comes through, so no database is recognised: the ECUs are asked instead."""
    hidden = replace(find_scenario("weak-cell"), transport=(TransportFault("gateway-filter", None, {}),))
    with virtualbus.running(hidden, seed=4) as car:
        feed = LiveFeed(options(interface="virtual", channel=car.channel), quiet_console("en"))
        async with watched(feed):
            await until(lambda: "battery.cell-weak" in [finding.code for finding in feed.standing])
            series = feed.watch.series()
            assert feed.watch.answers > 20
            assert series["vehicleSpeed"].values[-1] == 0
            assert 20 < series["StateOfCharge"].values[-1] < 90


def test_a_car_whose_frames_tell_is_not_asked_for_values(capfd: pytest.CaptureFixture[str]) -> None:
    last = told(["--demo", "PackVoltage", "--duration", "8"], capfd)[-1]
    assert last["answers"] == 0
    assert last["values"]["PackVoltage"] > 300


class Answers(AskedStream):
    """What a car gave, without a car."""

    def __init__(self, names: dict[str, str]) -> None:
        self.infos = tuple(SignalInfo(name, unit) for name, unit in names.items())
        self.taken, self.values = 1, np.zeros(len(names), dtype=np.float32)

    @property
    def schema(self) -> StreamSchema:
        return StreamSchema(0, self.infos, "asked", "signals")

    def block(self, now_ns: int, t_ns: int) -> SampleBlock:
        return SampleBlock(t_ns, self.values.copy(), np.ones(len(self.values), dtype=np.bool_))


@pytest.mark.parametrize("load", ["PackCurrent", "vehicleSpeed"])
def test_cells_read_one_after_the_other_are_judged_under_a_steady_load_only(load: str) -> None:
    cells = {f"CellVoltage_{n:03}": "V" for n in range(1, 97)}
    answers = Answers({**cells, load: "A" if load == "PackCurrent" else "km/h"})
    watch = Watch()
    watch.ask(answers)
    answers.values[:96] = 3.70

    def seconds(count: int, *, moving: bool) -> list[str]:
        for second in range(count):
            answers.values[96] = 40.0 * (second % 3) if moving else 0.0
            # Under a load that comes and goes some cells were read with it and some without.
            answers.values[40] = 3.30 if moving and second % 3 else weak
            watch.sample()
            found = [finding.code for finding in watch.judge()]
        return found

    weak = 3.70
    assert seconds(12, moving=True) == []
    assert watch.battery is None
    assert seconds(12, moving=False) == []
    assert watch.battery is not None
    assert seconds(30, moving=True) == []
    weak = 3.30
    assert seconds(12, moving=False) == ["battery.cell-weak"]
    weak = 3.70
    assert seconds(5, moving=True) == ["battery.cell-weak"], "what was found stays until it can be judged again"


def test_frames_that_tell_late_take_the_place_of_what_was_asked_for() -> None:
    watch = Watch()
    watch.ask(Answers({"PackCurrent": "A", "vehicleSpeed": "km/h"}))
    watch.sample()
    assert watch.series().keys() == {"PackCurrent", "vehicleSpeed"}
    watch.databases = (dbc.load(next(path for path in bundled() if path.stem == "huizhen_ev400")),)
    watch.take([])
    assert watch.series() == {}, "no row of before"
    watch.sample()
    assert watch.judge() == ()
    assert "CellVoltage_001" in watch.names


async def test_a_bus_whose_frames_are_not_judged_yet_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading the databases takes seconds on a busy machine, and frames are heard meanwhile."""
    asked: list[Watch] = []

    async def note(*words: object) -> None:
        asked.extend(word for word in words if isinstance(word, Watch))

    monkeypatch.setattr("huizhen.livewatch._ask_in_rounds", note)
    monkeypatch.setattr("huizhen.livewatch._SILENT_S", 0.0)
    monkeypatch.setattr("huizhen.livewatch._LOOK_S", 0.001)
    watch = Watch(frames=1)
    # Neither a link nor a report is used before the values are asked for.
    keeping = asyncio.create_task(keep_asking(object(), None, object(), watch, quiet_console("en")))  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    assert not asked
    watch.is_unrecognised = True
    await until(lambda: asked == [watch])
    keeping.cancel()


def test_a_few_frames_do_not_prove_that_no_database_knows_the_car() -> None:
    few, first = [Frame(0x123, b"\x00")] * 10, FirstFrames(0.0)
    assert not first.take(few, 1.0)
    assert first.take(few, 2.0)
    assert not first.miss(2.0)
    assert len(first.heard) == 20, "kept for the next look"
    assert not first.take(few, 3.9)
    assert first.take(few * 200, 4.0)
    assert first.miss(4.0), "so many do"
    assert not first.heard
    slow = FirstFrames(0.0)
    for at_s, is_sure in ((2.0, False), (4.0, False), (6.0, True)):
        assert slow.take(few, at_s)
        assert slow.miss(at_s) is is_sure, "nor does a quiet bus keep the values waiting"
