"""Live signals that are asked for, over the simulated car's ELM327: the same physics as on its bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dbc.signalset.folder import bundled_set_of
from dbc.signalset.loading import load_signal_set
from diag.asked import AskedStream, BatteryQuestions
from diag.carscan import scan
from diag.elm327 import open_elm327
from diag.errors import LinkLost
from virtualbus.car import Car
from virtualbus.fronts import open_front, parse_front
from virtualbus.runner import CarRunner
from virtualbus.scenario import find_scenario

if TYPE_CHECKING:
    from diag.samples import SampleBlock


async def blocks_of(stream: AskedStream, count: int) -> list[SampleBlock]:
    found: list[SampleBlock] = []
    async for block in stream.blocks():
        found.append(block)
        if len(found) == count:
            break
    return found


async def test_what_the_ecus_can_tell_becomes_columns_and_the_weak_cell_is_seen() -> None:
    front = open_front(parse_front("elm327:0"))
    runner = CarRunner(Car(find_scenario("weak-cell")), [front])
    runner.start()
    try:
        async with await open_elm327(f"socket://127.0.0.1:{front.description['port']}", "38400") as link:
            report = await scan(link, listen_s=0.1)
            place = bundled_set_of(report.vehicle.vin)
            assert place is not None
            battery = BatteryQuestions(load_signal_set(place), report.vehicle.model_year)
            stream = await AskedStream.of(link, report, battery)
            names = [signal.name for signal in stream.schema.signals]
            assert len(names) == len(set(names)), "marks and history name a signal by its name alone"
            blocks = await blocks_of(stream, 2)
            sent = link.guard.sent
            few = await AskedStream.of(link, report, signals=["vehicleSpeed"])
            assert [signal.name for signal in few.schema.signals] == ["vehicleSpeed"]
            learnt = link.guard.sent
            await blocks_of(few, 1)
            assert link.guard.sent - learnt < (learnt - sent) / 3, "what nobody wants is not asked for again"
    finally:
        runner.stop()
    cells = [index for index, name in enumerate(names) if name.startswith("CellVoltage_")]
    assert len(cells) == 96
    for block in blocks:
        assert block.values.shape == block.valid.shape == (len(names),)
        assert block.valid[names.index("vehicleSpeed")]
        assert block.valid[cells].all()
        assert names[cells[int(np.argmin(block.values[cells]))]] == "CellVoltage_091"
    assert blocks[0].t_ns < blocks[1].t_ns


async def test_an_adapter_that_goes_away_ends_it() -> None:
    front = open_front(parse_front("elm327:0"))
    runner = CarRunner(Car(find_scenario("healthy")), [front])
    runner.start()
    is_running = True
    try:
        async with await open_elm327(f"socket://127.0.0.1:{front.description['port']}", "38400") as link:
            stream = await AskedStream.of(link, await scan(link, listen_s=0.1), timeout_s=1.0)
            runner.stop()
            is_running = False
            with pytest.raises(LinkLost):
                await blocks_of(stream, 1000)
    finally:
        if is_running:
            runner.stop()
