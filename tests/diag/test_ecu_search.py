"""Searching for ECUs at odd addresses, with the bus's load counted by a witness."""

from __future__ import annotations

import itertools
import time

import can
from scripted_ecu import Rig, ScriptedEcu, answers_from_table

from diag.canbus import open_can
from diag.ecusearch import SEARCHED, search_ecus
from diag.request import IsoTpLink

CHANNELS = (f"search{n}" for n in itertools.count())
THERE = answers_from_table({"3E00": "7E00"})
REFUSES = answers_from_table({})


async def test_odd_pairs_are_found_and_the_bus_keeps_its_capacity():
    channel = next(CHANNELS)
    ecus = (
        ScriptedEcu(0x714, 0x77E, THERE),  # an offset of 0x6A
        ScriptedEcu(0x7E4, 0x7EC, THERE),
        ScriptedEcu(0x7A5, 0x7AD, REFUSES),
        ScriptedEcu(0x760, 0x768, THERE),
    )
    with can.Bus(interface="virtual", channel=channel) as witness, Rig(channel, *ecus):
        async with await open_can("virtual", channel) as link, IsoTpLink(link) as requests:
            begun = time.monotonic()
            found = await search_ecus(link, requests, known={0x768}, budget=0.05)
            took = time.monotonic() - begun
            assert link.guard.refused == 0
        frames = 0
        while witness.recv(0) is not None:
            frames += 1
    pairs = {(target.request_id, target.response_id) for target in found}
    assert pairs == {(0x714, 0x77E), (0x7E4, 0x7EC), (0x7A5, 0x7AD)}
    assert frames * 135 / (took * 500_000) < 0.06
    assert took < 10


def test_identifiers_on_which_ecus_answer_by_law_are_not_asked():
    assert not set(range(0x7E8, 0x7F0)) & set(SEARCHED)
    assert 0x7DF not in SEARCHED
