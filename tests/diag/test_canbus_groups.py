"""Two cars on one machine, each in a multicast group of its own, do not hear each other."""

import asyncio

import can
import pytest

from diag.canbus import open_can


@pytest.mark.parametrize(("mine", "other"), [("239.74.163.11", "239.74.163.12"), ("ff15::4a:a30b", "ff15::4a:a30c")])
async def test_another_group_s_frames_are_not_heard(mine: str, other: str) -> None:
    try:
        theirs = can.Bus(interface="udp_multicast", channel=other, hop_limit=0)
        friend = can.Bus(interface="udp_multicast", channel=mine, hop_limit=0)
    except (OSError, can.CanError) as exc:
        pytest.skip(f"no multicast of this family here: {exc}")
    with theirs, friend:
        async with await open_can("udp_multicast", mine) as link:
            frames = link.frames()
            heard = asyncio.ensure_future(anext(aiter(frames)))
            await asyncio.sleep(0)
            theirs.send(can.Message(arbitration_id=0x123, is_extended_id=False, data=b"\x01"))
            friend.send(can.Message(arbitration_id=0x321, is_extended_id=False, data=b"\x02"))
            frame = await asyncio.wait_for(heard, 5)
            assert frame.can_id == 0x321
