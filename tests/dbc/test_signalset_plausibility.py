"""What is physically true of published signal sets, beside what they say."""

from __future__ import annotations

import json

import pytest

from dbc.signalset.decoding import AnswerDecoder
from dbc.signalset.loading import load_signal_set


def answers(shared, car, request):
    folder = shared / "data/obdb"
    decoder = AnswerDecoder([load_signal_set(folder / car / "default.json")])
    for line in (folder / car / "cases.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        if case["command"].split("|")[0] == request:
            yield decoder.decode(case["command"], case["response"], case["year"]), case


def test_a_pack_voltage_without_divisor_is_told_by_its_bytes(shared):
    """The IONIQ 5's set lacks the divisor 10 and limits to 403.2 V, on an 800 V car: the cells and the bytes know."""
    seen = 0
    for decoded, _ in answers(shared, "Hyundai-IONIQ-5", "7E4.7EC.220101"):
        pack = decoded.samples["IONIQ5_BATTERY_DC_VOLTAGE"]
        cell = decoded.samples["IONIQ5_MAXIMUM_CELL_VOLTAGE"]
        if pack.raw != b"\0\0" and cell.unclamped is None:
            seen += 1
            assert pack.value == 403.2
            assert pack.unclamped == int.from_bytes(pack.raw, "big")
            assert 140 < pack.unclamped / 10 / cell.value < 200
    assert seen > 500


def test_a_current_without_sign_is_shown_as_it_came(shared):
    """The Kona's set has no sign on the pack current: 6469.8 A are -83.8 A, and the raw bytes tell."""
    impossible = [
        decoded.samples["KONAEV_HVBAT_CURR"]
        for decoded, _ in answers(shared, "Hyundai-Kona-Electric", "7E4.7EC.220101")
        if decoded.samples["KONAEV_HVBAT_CURR"].value > 3000
    ]
    assert impossible
    for sample in impossible:
        assert abs(int.from_bytes(sample.raw, "big", signed=True) / 10) < 400


@pytest.mark.parametrize(
    ("pid", "name", "data", "true"),
    [
        ("06", "SHRTFT1", "80", 0.0), ("06", "SHRTFT1", "00", -100.0), ("07", "LONGFT1", "FE", 98.4375),
        ("2D", "EGR_ERR", "80", 0.0), ("24", "O2S11_VOLT", "80008000", 4.0), ("44", "EQ_RAT", "8000", 1.0),
        ("14", "SHRTFT11", "5A80", 0.0),
    ],
)  # fmt: skip
def test_service_01_is_the_standard_s(shared, pid, name, data, true):
    decoder = AnswerDecoder([load_signal_set(shared / "data/obdb/SAEJ1979/default.json")])
    payload = f"41{pid}{data}"
    decoded = decoder.decode(f"7E0.01{pid}", f"7E8{len(payload) // 2:02X}{payload}")
    assert decoded.samples[name].value == pytest.approx(true, abs=1e-9)


def test_an_oxygen_sensor_without_trim_has_none(shared):
    decoder = AnswerDecoder([load_signal_set(shared / "data/obdb/SAEJ1979/default.json")])
    decoded = decoder.decode("7E0.0114", "7E8 04 41 14 5A FF")
    assert decoded.samples["SHRTFT11"].value is None
    assert decoded.samples["SHRTFT11"].raw == b"\xff"
