"""Causes behind codes and findings: the table is whole, and one cause explains many symptoms."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from diag.causes import _FACTS as FACTS
from diag.causes import CAUSES, CauseEvidence, causes_by_code, rank_causes
from diag.dtc import parse_uds_dtcs
from diag.facts import BatteryState, EcuRole, Finding, Severity, Text
from diag.limits import load_rules
from diag.vehiclereport import Ecu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.facts import Dtc

TABLE: list[dict[str, Any]] = tomllib.loads(CAUSES.read_text("utf-8"))["cause"]
LEVELS = ("usual", "often", "sometimes", "never")
NUMBERS = {"P": 0, "C": 1, "B": 2, "U": 3}


def dtc(display: str, ecu: str = "0x7EC", status: int = 0x2F) -> Dtc:
    """A record as an ECU sends it."""
    code, _, failure = display.partition("-")
    high = NUMBERS[code[0]] << 14 | int(code[1:], 16)
    raw = bytes([0x59, 0x02, 0xFF]) + high.to_bytes(2, "big") + bytes([int(failure or "00", 16), status])
    (found,) = parse_uds_dtcs(raw, ecu=ecu).dtcs
    return found


def finding(code: str) -> Finding:
    return Finding(code, Severity.SOON, Text(code, code), ())


def seen(
    *codes: Dtc, findings: Sequence[str] = (), studied: bool = True, ohm_per_v: float | None = None, **more: Any
) -> CauseEvidence:
    battery = BatteryState((3.7,) * 96, features={"insulation_ohm_per_v": ohm_per_v})
    bms = Ecu("0x7EC", "0x7E4", "BMS", EcuRole.BMS, "uds")
    given = {"ecus": (bms,), "battery": battery, "isolation_limit": 500.0} | more
    return CauseEvidence(codes, [finding(code) for code in findings], is_studied=studied, **given)


def first(evidence: CauseEvidence) -> str | None:
    ranked = rank_causes(evidence)
    return ranked[0].code.removeprefix("cause.") if ranked else None


def test_every_entry_of_the_table_can_be_seen() -> None:
    known = {rule["code"] for rule in load_rules()["finding"]}
    used = set()
    for cause in TABLE:
        assert cause["title"]["en"], cause
        assert re.search(r"[一-鿿]", cause["title"]["zh"]), cause
        assert 0 < cause["per_mille"] <= 100
        assert cause["code"].startswith("cause.")
        for level in LEVELS:
            for entry in cause.get(level, ()):
                kind, _, name = entry.rstrip("?").partition(":")
                if kind == "fact":
                    assert name in FACTS, entry
                    used.add(name)
                elif "." in kind:
                    assert kind in known, entry
                else:
                    assert re.fullmatch(r"[PCBU][0-3][0-9A-F]{0,3}\*?(-[0-9A-F]{2})?", kind), entry
        assert set(cause) <= {"code", "title", "per_mille", "danger", *LEVELS}
    assert used == set(FACTS)
    assert len(causes_by_code()) == len(TABLE) >= 40


def test_nothing_seen_is_no_cause() -> None:
    assert rank_causes(seen()) == ()
    assert rank_causes(CauseEvidence((), (), (), None, False, 500.0)) == ()


def test_thirteen_complaining_units_are_one_flat_battery_and_one_is_its_own_supply() -> None:
    many = [dtc("U3003-16", f"0x7{number:02X}") for number in range(0x18, 0x25)]
    (top, *_) = rank_causes(seen(*many, dtc("P0562-16", "0x7E8")))
    assert top.code.startswith("cause.twelve-volt")
    assert len(top.because) == 14
    assert first(seen(dtc("U3003-1C", "0x748"))) == "unit-supply"


def test_one_unit_missed_by_all_is_lost_and_many_missed_are_the_bus() -> None:
    one = [dtc("U0111-87", ecu) for ecu in ("0x758", "0x7E8", "0x7E9", "0x7ED")]
    assert first(seen(*one, findings=["network.ecu-silent"])) == "ecu-lost"
    many = [dtc(f"U01{number:02X}-87", "0x7E8") for number in (0x10, 0x11, 0x21, 0x31, 0x40)]
    assert first(seen(*many, dtc("U0073-88", "0x7E9"), findings=["network.ecu-silent"])) == "bus-disturbed"


def test_isolation_that_is_fine_now_comes_and_goes() -> None:
    code = dtc("P0AA6-1A")
    assert first(seen(code, findings=["insulation.low"], ohm_per_v=40.0)) == "isolation"
    assert first(seen(code, findings=["insulation.low"], ohm_per_v=20_000.0)) == "isolation-at-times"
    assert first(seen(code, findings=["insulation.low", "insulation.intermittent"], ohm_per_v=600.0)) == (
        "isolation-at-times"
    )


def test_a_resistance_that_only_a_contact_has_is_no_cell() -> None:
    codes = [dtc("P0B23-1B"), dtc("P0BBD-85"), dtc("P0DE6-16")]
    assert first(seen(*codes, findings=["battery.module-joint"])) == "module-joint"
    assert first(seen(*codes, findings=["battery.cell-resistive"])) == "cell-resistive"
    assert first(seen(*codes, findings=["battery.cell-worn"])) == "cell-worn"


def test_what_could_not_be_seen_counts_for_nothing() -> None:
    visible = rank_causes(seen(findings=["battery.cell-charge-low"]))
    hidden = rank_causes(seen(findings=["battery.cell-charge-low"], unseen=frozenset({"battery.cell-capacity"})))
    odds = [next(cause.odds for cause in ranked if cause.code == "cause.cell-capacity") for ranked in (visible, hidden)]
    assert odds[0] < odds[1]
    assert visible[0].code == hidden[0].code == "cause.self-discharge"
    assert hidden[0].odds < visible[0].odds


def test_a_code_that_failed_once_says_less_than_one_that_fails_now() -> None:
    now, once = (rank_causes(seen(dtc("P0DAC-93", status=status), dtc("P0DE6-16"))) for status in (0x2F, 0x28))
    stuck = [next(cause.odds for cause in ranked if cause.code == "cause.balancing-stuck") for ranked in (now, once)]
    assert stuck[1] < stuck[0]


def test_two_troubles_are_two_and_not_rivals() -> None:
    codes = [dtc("P0B3C-64"), dtc("P0A94-92", "0x7EE")]
    ranked = rank_causes(seen(*codes, findings=["battery.sampling-line"]))
    best = {cause.trouble: cause.code for cause in reversed(ranked)}
    assert set(best.values()) == {"cause.sense-wire", "cause.converter"}
    assert all(cause.is_likely for cause in ranked if cause.code in best.values())


def test_odds_are_odds_and_json_is_whole() -> None:
    ranked = rank_causes(seen(dtc("P0DE6-16"), dtc("P0BBD-85"), studied=False))
    assert len(ranked) > 1
    assert [cause.odds for cause in ranked] == sorted((cause.odds for cause in ranked), reverse=True)
    assert sum(cause.odds for cause in ranked if cause.trouble == 1) <= 1.0
    assert not ranked[0].is_likely  # a low cell alone does not say why
    told = ranked[0].to_json()
    assert set(told) == {"code", "title", "trouble", "odds", "likely", "because"}
    assert told["because"]


@pytest.mark.parametrize("display", ["P0AA1-73", "P0AA4-73"])
def test_a_welded_contactor_is_first_whatever_else_is_stored(display: str) -> None:
    codes = [dtc(display), dtc("P0DA8-62", "0x7E9", 0x28), dtc("P0AA0-92", status=0x28)]
    assert first(seen(*codes)) == "contactor-welded"


def test_nothing_harmless_is_likely_while_a_short_is_not_excluded() -> None:
    hidden = frozenset({"battery.cell-short", "battery.cell-charge-low", "battery.cell-charge-high"})
    ranked = rank_causes(seen(dtc("P0C32-92"), findings=["thermal.probe-offset"], unseen=hidden))
    assert "cause.cell-short" in [cause.code for cause in ranked]
    assert not any(cause.is_likely for cause in ranked)
    assert rank_causes(seen(dtc("P0C32-92"), findings=["thermal.gradient"]))[0].code == "cause.coolant-blocked"


def test_a_low_state_of_health_speaks_for_ageing() -> None:
    worn = BatteryState((3.7,) * 96, soh={"percent": 71.0, "interval": None, "method": "car-says"})
    (top, *_) = rank_causes(seen(battery=worn))
    assert top.code == "cause.ageing"
    assert top.because[0].value == 71.0
    sound = BatteryState((3.7,) * 96, soh={"percent": 93.0, "interval": None, "method": "car-says"})
    assert rank_causes(seen(battery=sound)) == ()
