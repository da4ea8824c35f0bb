"""Roles from the names that ECUs give themselves."""

from __future__ import annotations

import pytest

from diag.facts import EcuRole
from diag.roles import role_from_names


@pytest.mark.parametrize(
    ("names", "role"),
    [
        (("ECM\0-EngineControl",), EcuRole.ENGINE),
        (("TCM\0-TransmisCtrl",), EcuRole.TRANSMISSION),
        (("BECM-BattEnergyCtrl",), EcuRole.BMS),
        (("BMS\0-BatteryMgmt",), EcuRole.BMS),
        (("BMS_EV400",), EcuRole.BMS),
        (("BCM",), EcuRole.BODY),
        (("OBCM-OnBoardChgr",), EcuRole.CHARGER),
        (("DMCM-DriveMotor",), EcuRole.INVERTER),
        (("HPCM-HybridPtCtrl",), EcuRole.VCU),
        (("VCU",), EcuRole.VCU),
        (("", "INV"), EcuRole.INVERTER),
        (("DCDC converter",), EcuRole.DCDC),
        (("GW",), EcuRole.GATEWAY),
        (("ABS/ESC",), EcuRole.BRAKES),
        (("Radio",), EcuRole.UNKNOWN),
        ((), EcuRole.UNKNOWN),
    ],
)
def test_role(names: tuple[str, ...], role: EcuRole) -> None:
    assert role_from_names(*names) is role
