"""DC charging heard and judged: the vectors, the simulated car at its station, silence that was real or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.chargesession import sessions_from_messages
from diag.gbt27930 import ChargeMessage, hear_messages
from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.faults import make_fault
from virtualbus.scenario import Scenario

if TYPE_CHECKING:
    from diag.chargesession import ChargeSession
    from virtualbus.faults import Fault

MS = 1_000_000
Talk = list[tuple[int, int, bytes]]


def one(can_id: int, data: str) -> ChargeMessage:
    (found,) = hear_messages([(0, can_id, bytes.fromhex(data))])
    return found


def talk(seconds: float, *faults: Fault) -> Talk:
    car = Car(Scenario("dc", Phrase("dc", "dc"), "ev400", faults, now="charge-dc"), 1)
    return [
        (tick * 10 * MS, frame.can_id, frame.data)
        for tick in range(round(seconds * 100))
        for frame in car.tick()
        if frame.channel == car.bus_count - 1
    ]


def session(frames: Talk) -> ChargeSession:
    (found,) = sessions_from_messages(hear_messages(frames))
    return found


@pytest.fixture(scope="module")
def sound() -> Talk:
    return talk(25.0)


@pytest.mark.parametrize(
    ("can_id", "data", "name", "values"),
    [
        (0x181056F4, "A00FB80B02", "BCL", {"voltage": 400.0, "current": 100.0, "mode": "constant-current"}),
        (0x1812F456, "9C0FBC0B0C00FDFF", "CCS", {"voltage": 399.6, "current": 99.6, "time": 12.0, "permit": "allowed"}),
        (0x181356F4, "0B50034B010010", "BSM", {
            "highest_cell": 12.0, "highest_temperature": 30.0, "lowest_temperature": 25.0, "insulation": "ok",
            "permit": "allowed",
        }),
        (0x1826F456, "010100", "CHM", {"version": "1.1"}),
        (0x182756F4, "FFFF", "BHM", {"max_voltage": None}),
    ],
)  # fmt: skip
def test_the_standards_examples(can_id: int, data: str, name: str, values: dict[str, object]) -> None:
    """Standard: vectors of GB/T 27930-2015's layouts."""
    found = one(can_id, data)
    assert found.name == name
    assert {key: found.value(key) for key in values} == values


def test_reasons_and_missed_messages() -> None:
    assert [flag.en for flag in one(0x101956F4, "010000F0").flags] == ["target SOC reached"]
    assert one(0x081E56F4, "F0F0F1FC").missed == ("CCS",)
    assert [flag.en for flag in one(0x101AF456, "0400F0F0").flags] == ["stopped by a person"]
    assert one(0x081FF456, "FCF0C0FC").missed == ()
    assert one(0x101956F4, "FFFFFFFF").flags == (), "all ones is not used, not a fault"


def test_a_sound_session(sound: Talk) -> None:
    found = session(sound)
    assert [name for name, _ in found.phases] == ["handshake", "recognition", "configuration", "charging"]
    assert found.reached == "charging"
    assert found.is_normal is None
    facts = {item.name: item.value for item in found.facts}
    assert facts["vin"] == "LHZEV4D07RA775411"
    assert facts["battery_type"] == "NMC"
    assert facts["version"] == "1.1"
    (verdict,) = found.verdicts
    assert "nobody said that it stops" in verdict.en
    demand = [message.value("current") for message in found.messages if message.name == "BCL"]
    output = [message.value("current") for message in found.messages if message.name == "CCS"]
    assert demand[-1] == pytest.approx(output[-1], rel=0.05)


def test_a_station_that_fell_silent_is_named_with_the_length_of_the_silence() -> None:
    found = session(talk(30.0, make_fault("dc-timeout", after_s=12.0)))
    assert not found.is_normal
    assert found.verdicts[0].en.startswith("the car gave up: CCS had been silent for 1.")
    assert "limit 1 s" in found.verdicts[0].en
    assert "CCS" in found.verdicts[0].zh


def test_a_complaint_about_a_message_that_was_there(sound: Talk) -> None:
    at = sound[-1][0]
    found = session([*sound, (at + MS, 0x081E56F4, bytes.fromhex("F0F0F1FC"))])
    assert "its own receiving is suspect" in found.verdicts[0].en


def test_who_stopped_and_why(sound: Talk) -> None:
    at = sound[-1][0]
    full = [(at + MS, 0x101956F4, bytes.fromhex("010000F0")), (at + 2 * MS, 0x101AF456, bytes.fromhex("4000F0F0"))]
    found = session([*sound, *full])
    assert (found.stopped_by, found.is_normal) == ("vehicle", True)
    assert found.verdicts[0].en == "the car stopped first: target SOC reached"
    hot = session([*sound, (at + MS, 0x101AF456, bytes.fromhex("1001F0F0"))])
    assert (hot.stopped_by, hot.is_normal) == ("charger", False)
    assert hot.verdicts[0].en == "the charger stopped first: stopped by a fault, charger too hot"
    assert hot.reached == "end"


def test_a_second_handshake_is_a_second_session(sound: Talk) -> None:
    later = [(t_ns + 60_000 * MS, can_id, data) for t_ns, can_id, data in sound]
    found = sessions_from_messages(hear_messages([*sound, *later]))
    assert [part.reached for part in found] == ["charging", "charging"]
    assert found[1].begun_ns >= 60_000 * MS


def test_a_lost_packet_is_said_and_nothing_is_made_up(sound: Talk) -> None:
    first = next(at for at, (_, can_id, _) in enumerate(sound) if can_id == 0x1CEB56F4)
    lost = sound[: first + 2] + sound[first + 3 :]
    whole, cut = (next(m for m in hear_messages(part) if m.name == "BRM") for part in (sound, lost))
    assert whole.missing == 0
    assert cut.missing > 0
    assert cut.value("vin") is None
    assert cut.raw == whole.raw[: len(cut.raw)]


def test_other_nodes_are_passed_over() -> None:
    assert hear_messages([(0, 0x0070F4B5, b"\1"), (1, 0x18FECA00, bytes(8)), (2, 0x181056E5, bytes(5))]) == ()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**12),
            st.one_of(
                st.integers(0, 0x1FFFFFFF),
                st.integers(0, 0x1F).map(lambda pf: 0x180056F4 | pf << 16),
                st.integers(0, 0x1F).map(lambda pf: 0x1800F456 | pf << 16),
                st.sampled_from([0x1CEC56F4, 0x1CEB56F4, 0x1CECF456]),
            ),
            st.binary(max_size=8),
        ),
        max_size=40,
    )
)
def test_any_frames_in_no_error_out(frames: Talk) -> None:
    for found in sessions_from_messages(hear_messages(frames)):
        found.to_json()
