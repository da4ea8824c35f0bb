"""A visit from its tape: the report comes out the same to the last digit, however the visit ended."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import tty

import pytest

import virtualbus
from diag.canbus import open_can
from diag.carscan import scan
from diag.errors import LinkLost, NoAnswer
from diag.replay import replay
from diag.tape import Entry, Tape


class CutTape(Tape):
    """Ends the visit when so many requests have come to their end."""

    def cut_after(self, entries: int, running: asyncio.Task[object]) -> None:
        self.most, self.running = entries, running

    def note(self, entry: Entry) -> None:
        super().note(entry)
        if len(self.entries) == self.most:
            self.running.cancel()


def again(tape: Tape) -> Tape:
    """Through the text of a bundle."""
    told = json.loads(json.dumps(tape.to_json()))
    lines = [json.loads(json.dumps(entry.to_json())) for entry in tape.entries]
    return Tape.from_json(told, lines, tape.frames)


@pytest.mark.parametrize("scenario", ["weak-cell", "lost-bms", "zev", "wet-bus", "phev"])
async def test_the_report_is_the_same_to_the_last_byte(scenario: str) -> None:
    tape = Tape()
    with virtualbus.running(scenario) as car:
        async with await open_can(car.interface, car.channel, 500_000) as link:
            report = await scan(link, simulated=True, tape=tape)
    made, unknown = await replay(again(tape))
    assert json.dumps(made.to_json()) == json.dumps(report.to_json())
    assert unknown == 0
    assert tape.ending == "finished"


@pytest.mark.parametrize("after", [12, 60, 200, 450])
async def test_an_interrupted_visit_is_interrupted_again(after: int) -> None:
    tape, kept = CutTape(), []
    with virtualbus.running("isolation") as car:
        async with await open_can(car.interface, car.channel, 500_000) as link:
            running = asyncio.create_task(scan(link, simulated=True, tape=tape, keep=kept.append))
            tape.cut_after(after, running)
            with pytest.raises(asyncio.CancelledError):
                await running
    assert tape.ending == "interrupted"
    made, unknown = await replay(again(tape))
    assert json.dumps(made.to_json()) == json.dumps(kept[-1].to_json())
    assert not made.complete
    assert unknown == 0


async def test_a_visit_that_lost_its_adapter_loses_it_again() -> None:
    master, slave = pty.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    tape, kept = Tape(), []

    async def cut() -> None:
        await asyncio.sleep(0.3)
        os.write(master, b"t1008" + b"00" * 8 + b"\r")
        await asyncio.sleep(0.2)
        os.close(master)

    async with await open_can("slcan", os.ttyname(slave), 500_000) as link:
        os.close(slave)
        cutting = asyncio.create_task(cut())
        with pytest.raises((LinkLost, NoAnswer)) as raised:
            await scan(link, tape=tape, keep=kept.append, listen_s=1.0, timeout_s=0.05)
        await cutting
    assert raised.type is LinkLost
    assert kept
    assert tape.ending == "lost"
    made, _ = await replay(again(tape))
    assert json.dumps(made.to_json()) == json.dumps(kept[-1].to_json())
    assert any("adapter" in note.en for note in made.notes)


async def test_a_question_of_today_that_was_not_asked_then_is_counted_and_has_no_answer() -> None:
    tape = Tape()
    with virtualbus.running("healthy") as car:
        async with await open_can(car.interface, car.channel, 500_000) as link:
            report = await scan(link, simulated=True, tape=tape)
    known = again(tape)
    asked = [entry for entry in known.entries if entry.payload == b"\x22\xf1\x8c"]
    assert asked
    known.entries = [entry for entry in known.entries if entry.payload != b"\x22\xf1\x8c"]
    made, unknown = await replay(known)
    assert unknown >= len(asked)
    assert [ecu.address for ecu in made.ecus] == [ecu.address for ecu in report.ecus]
    assert not any("ecuSerialNumber" in ecu.identification for ecu in made.ecus)


@pytest.mark.parametrize(
    "broken",
    [
        {"kind": "uds"},
        {"kind": "no such", "t_ns": 1, "error": None},
        {"kind": "claim", "t_ns": "x", "error": None},
        {"kind": "claim", "t_ns": 1, "error": {"code": "no such error"}},
        {"kind": "search", "t_ns": 1, "error": None, "found": [{"request": "x"}]},
    ],
)
def test_a_line_that_is_none_is_refused(broken: dict) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Entry.from_json(broken)


@pytest.mark.parametrize("marks", [[3, 2], [-1], [99]])
def test_marks_beyond_the_frames_are_refused(marks: list[int]) -> None:
    value = {"ending": "finished", "settings": {}, "marks": marks}
    with pytest.raises((KeyError, TypeError, ValueError)):
        Tape.from_json(value, [], [])


async def test_frames_beyond_what_memory_is_meant_for_are_counted_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diag.tape._MOST_FRAMES", 900)
    tape = Tape()
    with virtualbus.running("healthy") as car:
        async with await open_can(car.interface, car.channel, 500_000) as link:
            report = await scan(link, simulated=True, tape=tape)
    assert len(tape.frames) == 900
    assert tape.dropped > 0
    assert any("900 frames were judged" in note.en and "huizhen log record" in note.zh for note in report.notes)
    made, _ = await replay(again(tape))
    assert json.dumps(made.to_json()) == json.dumps(report.to_json())
