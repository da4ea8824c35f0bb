"""The car that answers no service 01 to 0A: everything through UDS, read by udsoncan and by hand.

Standard: SAE J1979-2, layouts of obd2.md section 10 and uds.md section 4.
"""

from __future__ import annotations

import pytest
from udsoncan import Response
from udsoncan.services import ReadDTCInformation

from virtualbus.car import Car
from virtualbus.errors import Phrase
from virtualbus.faults import make_fault
from virtualbus.scenario import Scenario
from virtualbus.uds_services import UdsServer


@pytest.fixture(scope="module")
def car() -> Car:
    return Car(Scenario("z", Phrase("z", "z"), "zev", (make_fault("isolation"),)), 2)


def ask(car: Car, ecu: str, request: str, *, functional: bool = False) -> list[str]:
    replies = UdsServer(car.ecus[ecu]).answer(bytes.fromhex(request), functional=functional, now_ns=0)
    return [reply.payload.hex() for reply in replies]


@pytest.mark.parametrize("service", ["0100", "03", "07", "0902", "0a", "04", "0600", "020200"])
def test_classic_services_are_not_answered(car, service):
    assert ask(car, "VCU", service, functional=True) == []
    assert ask(car, "VCU", service) == [f"7f{service[:2]}11"]


def test_vin_parameters_and_support_map_are_data_identifiers(car):
    assert ask(car, "VCU", "22f802") == ["62f802" + car.vin.encode().hex()]
    supported = int(ask(car, "VCU", "22f400")[0][6:], 16)
    assert supported >> (32 - 0x0D) & 1, "speed"
    assert ask(car, "VCU", "22f40d") == ["62f40d00"]
    health = int(ask(car, "BMS", "22f4b2")[0][6:], 16) / 2.55
    assert health == pytest.approx(100 * car.bms.learned_soh, abs=0.5)


def test_regulated_codes_with_severity_as_udsoncan_reads_them(car):
    (answer,) = ask(car, "BMS", "19423308ff")
    assert answer == "5942337fff04" + "82" + "0aa61a" + "2f"
    read = ReadDTCInformation.interpret_response(Response.from_payload(bytes.fromhex(answer)), 0x42)
    assert [(code.id, code.status.confirmed, code.severity.check_immediately) for code in read.service_data.dtcs] == [
        (0x0AA61A, True, True)
    ]
    assert ask(car, "BMS", "1942330820") == ["5942337fff04"], "no code of that severity"


def test_permanent_codes_are_records_of_four_bytes(car):
    assert ask(car, "BMS", "195533") == ["5955337f040aa61a2f"]
    assert ask(car, "INV", "195533") == ["5955337f04"]
    assert ask(car, "BMS", "195512") == ["7f1931"]


def test_format_of_the_codes_is_j2012_04(car):
    assert ask(car, "BMS", "190108") == ["59017f040001"]
