"""The first picture with real pages: from the tap that joins with the phone's camera to the picture at an expert.

Both times are taken inside the pages, on the one clock of this machine: the tap as the phone's page hears it, the
picture when the expert's page can draw it first. Chromium's fake camera; a fresh pair of pages each time.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consult.invites import Role
from consult.mediaconfig import MediaConfig
from consult.service import ServiceConfig, running_service

if TYPE_CHECKING:
    from consult.service import Service

_TARGET_S = 1.5
_WAIT_S = 90

_NOTE_TAP = """() => {
  window.addEventListener("click", (event) => {
    if (event.target.closest("[data-join], [data-join-menu]")) document.body.dataset.tapped = String(Date.now());
  }, { capture: true });
}"""
_NOTE_PICTURE = """(person) => {
  const look = () => {
    const video = document.querySelector(`.tile[data-person="${person}"] video`);
    if (video && video.videoWidth > 0 && video.getVideoPlaybackQuality().totalVideoFrames > 0)
      document.body.dataset.pictured = String(Date.now());
    else requestAnimationFrame(look);
  };
  look();
}"""


async def _noted(page: Any, name: str) -> int:
    async with asyncio.timeout(_WAIT_S):
        while not (found := await page.evaluate("(name) => document.body.dataset[name] ?? ''", name)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return int(found)


async def _first_picture(service: Service, roles: tuple[str, ...]) -> float:
    """Seconds from the phone's tap to the picture at the first of these experts, who are in the call already."""
    from callpages import PHONE, chromes, join
    from conftest import SyntheticCar, agent_in_room, make_report

    async with (
        agent_in_room(service, SyntheticCar(), make_report()) as agent,
        chromes(service, agent.room) as browsers,
    ):
        experts = [await browsers.enter(role, role) for role in roles]
        phone = await browsers.enter(Role.TECHNICIAN.value, "T", **PHONE)
        for expert in experts:
            await join(expert, "voice")
        await phone.evaluate(_NOTE_TAP)
        await experts[0].evaluate(_NOTE_PICTURE, phone.person)
        await join(phone)
        return (await _noted(experts[0], "pictured") - await _noted(phone, "tapped")) / 1000


async def pages_part(times: int) -> bool:
    """How soon a picture is there; whether that is soon enough browser to browser."""
    from callkit import own_address

    print("pages: from the tap that joins with a phone's camera to the picture at an expert, Chromium")
    medians = []
    engine = MediaConfig(engine="janus", interface=own_address() or "", ports=(43_000, 43_400))
    for name, media, roles in (
        ("browser to browser", MediaConfig(), ("expert",)),
        ("by the engine", engine, ("lead", "expert", "expert", "expert")),
    ):
        with tempfile.TemporaryDirectory() as folder:
            async with running_service(ServiceConfig(data=Path(folder), media=media)) as service:
                async with asyncio.timeout(_WAIT_S):
                    while media.engine and any(part.troubles() for part in service.parts):  # noqa: ASYNC110 - Janus
                        await asyncio.sleep(0.05)
                took_s = [await _first_picture(service, roles) for _ in range(times)]
        medians.append(statistics.median(took_s))
        print(f"  {name:<20} median {medians[-1]:.2f} s, worst {max(took_s):.2f} s of {times}")
    good = medians[0] <= _TARGET_S
    print(f"  wanted browser to browser: {_TARGET_S} s {'met' if good else 'MISSED'}")
    return good
