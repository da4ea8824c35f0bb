"""Which signals of which databases say that a charging cable is plugged in."""

from __future__ import annotations

import pytest

import dbc
from consult.plugsigns import PlugSigns
from dbc.files import bundled
from diag.canbus import open_can
from diag.guard import TransmitGuard

MADE_UP = """VERSION ""
BS_:
BU_: A
BO_ 512 Plug: 8 A
 SG_ CablePlug : 0|2@1+ (1,0) [0|3] "" A
 SG_ PrechargeState : 2|2@1+ (1,0) [0|3] "" A
 SG_ AuxChargeState : 4|2@1+ (1,0) [0|3] "" A
 SG_ ChargeState : 8|8@1+ (0.5,-1) [0|3] "" A
 SG_ ChargeLimitState : 16|8@1+ (1,0) [0|3] "" A
VAL_ 512 CablePlug 0 "Unplugged" 1 "Plugged in" 2 "not connected" ;
VAL_ 512 PrechargeState 1 "Charging" ;
VAL_ 512 AuxChargeState 1 "Charging" ;
VAL_ 512 ChargeState 0 "Idle" 4 "AC charging" ;
VAL_ 512 ChargeLimitState 1 "Charging" ;
"""


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.stem)
def test_our_own_cars(path):
    names = PlugSigns(None, [dbc.load(path)]).names
    assert all("lug" in name or "harg" in name for name in names)
    assert not any("imit" in name or "recharge" in name for name in names)
    if "ev400" in path.stem:
        assert {"PlugState", "ChargerState"} <= set(names)


async def test_what_the_frames_say(tmp_path):
    import can

    file = tmp_path / "car.dbc"
    file.write_text(MADE_UP)
    databases = [dbc.load(file)]
    async with await open_can("virtual", "plug", 500_000, guard=TransmitGuard()) as link:
        signs = PlugSigns(link, databases, listen_s=0.5)
        assert signs.names == ("CablePlug", "ChargeState")
        assert await signs.read() is None, "nothing heard, nothing concluded"
        assert await PlugSigns(link, []).read() is None
        with can.Bus(interface="virtual", channel="plug") as car:
            for data, said in (
                ("0000", None),
                ("0200", None),
                ("0100", "CablePlug = Plugged in"),
                ("0004", "ChargeState = AC charging"),
                ("1400", None),
            ):
                sender = car.send_periodic(
                    can.Message(arbitration_id=512, data=bytes.fromhex(data + "00" * 6), is_extended_id=False), 0.02
                )
                found = await signs.read()
                sender.stop()
                assert (found.en if found else "").partition("(")[2].rstrip(")") == (said or "")
