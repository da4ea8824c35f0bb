"""The battery obeys physics: energy, sums, signs, temperature, determinism."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtualbus.car import Car
from virtualbus.chemistry import LFP135, NMC532, NMC811
from virtualbus.errors import Phrase
from virtualbus.pack import BLEED_OHM, CellSpread, Pack
from virtualbus.scenario import Phase, Scenario
from virtualbus.wiring import CellSampler, Insulation, InsulationMeter, Leak

CELLS, PER_MODULE = 96, 6
MODULES = CELLS // PER_MODULE


def even_pack(soc: float = 0.6, temperature_c: float = 25.0, cell=NMC811) -> Pack:
    return Pack(cell, CellSpread.even(CELLS, soc), PER_MODULE, temperature_c)


def grown_spread(seed: int = 3, soc: float = 0.6) -> CellSpread:
    return CellSpread.grown(np.random.default_rng(seed), soc, CELLS)


def grown_pack(seed: int = 3, soc: float = 0.6) -> Pack:
    return Pack(NMC811, grown_spread(seed, soc), PER_MODULE, 20.0)


def test_rested_cells_show_the_table():
    for soc, volts in ((0.0, 2.5), (0.5, 3.751), (0.55, (3.751 + 3.841) / 2), (1.0, 4.2)):
        pack = even_pack(soc)
        assert pack.terminal_v == pytest.approx(np.full(CELLS, volts), abs=1e-9)


@pytest.mark.parametrize("cell", [NMC811, NMC532])
def test_ocv_rises_with_charge_and_inverts(cell):
    soc = np.linspace(0, 1, 501)
    volts = cell.ocv_from_soc(soc)
    assert (np.diff(volts) > 0).all()
    back = [cell.soc_from_ocv(float(value)) for value in volts]
    assert back == pytest.approx(soc, abs=1e-9)


def test_one_hour_at_capacity_current_takes_that_share():
    pack = even_pack(0.9)
    for _ in range(3600):
        pack.step(15.0, 1.0, 25.0)
    assert pack.soc == pytest.approx(np.full(CELLS, 0.8), abs=1e-6)


def test_energy_is_conserved():
    """What left the cells' chemistry is what arrived at the terminals plus heat (busbars included)."""
    pack = even_pack(0.8)
    chemical_j = 0.0
    for step in range(4000):
        current = 60.0 * np.sin(step / 150) + 40.0
        before = pack.cell.ocv_from_soc(pack.soc)
        pack.step(float(current), 0.1, 25.0)
        middle = (before + pack.cell.ocv_from_soc(pack.soc)) / 2
        chemical_j += float(middle.sum()) * float(current) * 0.1
    busbar_j = sum(0.012 * (60.0 * np.sin(step / 150) + 40.0) ** 2 * 0.1 for step in range(4000))
    assert pack.drawn_j + pack.heat_j + busbar_j == pytest.approx(chemical_j, rel=2e-4)
    assert pack.heat_j > 0


def test_pack_voltage_is_the_sum_of_the_cells_less_the_busbars():
    pack = grown_pack()
    for current in (0.0, 120.0, -60.0, 3.0):
        pack.step(current, 0.5, 20.0)
        assert pack.voltage_v == pytest.approx(float(pack.terminal_v.sum()) - 0.012 * current, abs=1e-9)


def test_discharge_sags_and_charge_lifts():
    pack = grown_pack()
    rest = pack.voltage_v
    pack.step(150.0, 1.0, 20.0)
    assert pack.voltage_v < rest - 8
    pack = grown_pack()
    pack.step(-150.0, 1.0, 20.0)
    assert pack.voltage_v > rest + 8


def test_power_demand_is_met():
    pack = grown_pack()
    for power in (500.0, 40_000.0, -30_000.0):
        current = pack.current_from_power(power)
        before = pack.voltage_v
        pack.step(current, 0.001, 20.0)
        assert pack.voltage_v * current == pytest.approx(power, rel=2e-3)
        assert (pack.voltage_v < before) == (power > 0)
        pack = grown_pack()


def test_power_beyond_the_pack_gives_the_maximum_and_no_error():
    pack = grown_pack()
    assert np.isfinite(pack.current_from_power(1e9))


def test_resistance_follows_arrhenius():
    cold, warm = even_pack(temperature_c=-5.0), even_pack(temperature_c=25.0)
    expected = np.exp(25_000 / 8.314 * (1 / 268.15 - 1 / 298.15))
    assert float(cold.ohmic_ohm[0] / warm.ohmic_ohm[0]) == pytest.approx(expected, rel=1e-9)


def test_polarisation_builds_with_its_time_constant():
    pack = even_pack()
    pack.step(100.0, 1e-6, 25.0)
    at_once = pack.voltage_v
    for _ in range(28):
        pack.step(100.0, 1.0, 25.0)
    drop = at_once - pack.voltage_v
    expected = CELLS * 0.00045 * 100 * (1 - np.exp(-1))
    assert drop == pytest.approx(expected, rel=0.35)  # the rest is charge that went, and warming


def test_heat_warms_and_hours_of_rest_cool_to_the_surroundings():
    pack = grown_pack()
    for _ in range(600):
        pack.step(180.0, 1.0, 20.0)
    assert (pack.temperature_c > 22).all()
    for _ in range(96):
        pack.step(0.0, 3600.0, 20.0)
    assert pack.temperature_c == pytest.approx(np.full(MODULES, 20.0), abs=0.2)  # the cells' own leaks warm a little


def test_self_discharge_alone_empties_a_leaking_cell():
    spread = grown_spread()
    pack = Pack(NMC811, spread, PER_MODULE, 20.0)
    spread.leak_ohm[40] = 80.0
    pack.refit()
    start = pack.soc.copy()
    for _ in range(72):
        pack.step(0.0, 3600.0, 20.0)
    lost = start - pack.soc
    assert int(lost.argmax()) == 40
    assert lost[40] * pack.capacity_ah[40] == pytest.approx(3.8 / 80 * 72, rel=0.05)
    assert np.delete(lost, 40).max() < 0.003


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.floats(-300, 300), st.floats(0.001, 3600), st.floats(-30, 50)), min_size=1, max_size=20)
)
def test_any_history_stays_physical(steps):
    pack = grown_pack()
    for current, dt, ambient in steps:
        pack.step(current, dt, ambient)
    assert np.isfinite(pack.terminal_v).all()
    assert ((pack.soc >= 0) & (pack.soc <= 1)).all()
    assert np.isfinite(pack.temperature_c).all()


def test_corroded_sense_wire_shifts_two_neighbours_and_keeps_their_sum():
    def mean_sample(contact_ohm: float) -> np.ndarray:
        wires = np.full(CELLS + 1, 3.0)
        wires[30] += contact_ohm
        sampler = CellSampler(wires, np.random.default_rng(5))
        flat = even_pack()
        flat.terminal_v = np.full(CELLS, 3.7)
        return np.mean([sampler.sample(flat) for _ in range(200)], axis=0)

    shift = mean_sample(70_000.0) - mean_sample(0.0)
    assert shift[29] == pytest.approx(-0.077, abs=0.010)
    assert shift[30] == pytest.approx(-shift[29], abs=0.0005)
    assert np.abs(np.delete(shift, [29, 30])).max() < 0.0005


def test_samples_are_whole_millivolts():
    flat = even_pack()
    flat.terminal_v = np.full(CELLS, 3.70037)
    sample = CellSampler(np.full(CELLS + 1, 3.0), np.random.default_rng(1)).sample(flat)
    assert np.allclose(sample * 1000, np.rint(sample * 1000), atol=1e-9)


def test_leak_lies_parallel_to_the_sound_insulation_from_its_time_on():
    insulation = Insulation(8e6, 10e6, [Leak(25_000.0, 100.0)])
    assert insulation.resistance_ohm(99.0) == 8e6
    late = insulation.resistance_ohm(10_000.0)
    assert late == pytest.approx(1 / (1 / 10e6 + 1 / 25_000.0), rel=1e-6)
    falling = [insulation.resistance_ohm(float(t)) for t in range(101, 400)]
    assert all(later < earlier for earlier, later in itertools.pairwise(falling))


def test_insulation_meter_settles_and_clips():
    meter = InsulationMeter(np.random.default_rng(2))
    for _ in range(100):
        seen = meter.measure_ohm(30_000.0, 0.5)
    assert seen == pytest.approx(30_000, rel=0.03)
    meter.restart()
    assert meter.measure_ohm(1e12, 0.5) == InsulationMeter.LIMIT_OHM


def test_lfp_remembers_the_direction_of_the_last_current():
    """Standard: bms.md section 2, hysteresis of 10 to 25 mV between charging and discharging."""
    up, down = even_pack(0.4, cell=LFP135), even_pack(0.6, cell=LFP135)
    for pack, current in ((up, -40.0), (down, 40.0)):
        while abs(float(pack.soc.mean()) - 0.5) > 0.001:
            pack.step(current, 10.0, 25.0)
        for _ in range(60):
            pack.step(0.0, 60.0, 25.0)
    gap = float(up.terminal_v.mean() - down.terminal_v.mean())
    assert 0.010 <= gap <= 0.025


def test_a_joint_shows_at_once_and_in_proportion_to_the_current_in_one_cell_only():
    spread = CellSpread.even(CELLS, 0.6)
    spread.joint_ohm[12] = 0.002
    pack = Pack(NMC811, spread, PER_MODULE, 25.0)
    pack.step(0.0, 1.0, 25.0)
    rest = pack.terminal_v.copy()
    for current in (50.0, 150.0):
        pack.step(current, 1e-6, 25.0)
        sag = rest - pack.terminal_v
        assert sag[12] - sag[11] == pytest.approx(0.002 * current, rel=1e-6)
        assert np.ptp(np.delete(sag, 12)) < 1e-9


def test_a_shorted_cell_warms_its_module_and_empties():
    spread = CellSpread.even(CELLS, 0.6)
    spread.leak_ohm[20] = 0.2
    pack = Pack(NMC811, spread, PER_MODULE, 20.0)
    for _ in range(600):
        pack.step(0.0, 1.0, 20.0)
    lost_ah = (0.6 - pack.soc[20]) * pack.capacity_ah[20]
    assert lost_ah == pytest.approx(3.8 / 0.2 * 600 / 3600, rel=0.02)
    assert int(pack.temperature_c.argmax()) == 3
    assert pack.temperature_c[3] - 20.0 == pytest.approx(3.8**2 / 0.2 * 600 / (950 * 2.35 * 6), rel=0.1)


def test_balancing_takes_the_charge_of_its_resistor_and_of_no_other_cell():
    pack = even_pack(0.8)
    chosen = np.zeros(CELLS, dtype=bool)
    chosen[7] = True
    pack.bleed(chosen)
    for _ in range(60):
        pack.step(0.0, 60.0, 20.0)
    lost_ah = (0.8 - pack.soc) * pack.capacity_ah
    assert lost_ah[7] == pytest.approx(4.04 / BLEED_OHM, rel=0.02)
    assert np.abs(np.delete(lost_ah, 7)).max() < 1e-6


def test_coolant_takes_heat_where_its_plate_is_open():
    pack = even_pack(temperature_c=30.0)
    pack.coolant_share = np.ones(MODULES)
    pack.coolant_share[5] = 0.0
    for _ in range(900):
        pack.step(150.0, 1.0, 30.0, 20.0, 1.0)
    others = np.delete(pack.temperature_c, 5)
    assert np.ptp(others) < 0.01
    assert pack.temperature_c[5] > others[0] + 5
    assert pack.to_coolant_w == pytest.approx(float((1.6 * 6 * (others - 20.0)).sum()), rel=1e-6)


def test_the_wltp_like_cycle_has_the_durations_tops_and_energy_of_its_model():
    """UN GTR 15: 1800 s, four parts, 23.3 km; a sedan uses 12 to 19 kWh per 100 km in it."""
    scenario = Scenario("w", Phrase("w", "w"), "ev400", cycle=(Phase("drive", 32.0, "wltp"),))

    class Watched(Car):
        def unseen_step(self, dt_s):
            super().unseen_step(dt_s)
            trace.append((self.plant.t_s, self.plant.speed_kmh, self.plant.pack.drawn_j, self.plant.odometer_km))

    trace: list[tuple[float, float, float, float]] = []
    Watched(scenario, 1)
    t_s, speed, drawn_j, km = np.array([row for row in trace if row[0] <= 1830]).T
    for start, end, top in ((0, 600, 56.5), (600, 1033, 76.6), (1033, 1488, 97.4), (1488, 1811, 131.3)):
        part = speed[(t_s > start) & (t_s <= end)]
        assert part.max() == pytest.approx(top, abs=3.5)
    distance = km[-1] - km[0]
    assert 19 < distance < 27
    assert 11 < (drawn_j[-1] - drawn_j[0]) / 3.6e6 / distance * 100 < 19
