"""Who decides what experts may do to the car, put together: policy, book, hands, and the technician's words."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from huizhen.console import wants_json
from huizhen.roomservice import iso_from_us, time_of_day

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from consult.agent import Agent
    from consult.approver import Approver
    from consult.messages import Event
    from consult.remotepolicy import RemotePolicy
    from diag.answers import RequestLink
    from huizhen.console import Console
    from huizhen.links import OpenVehicle
    from huizhen.roomprivacy import RoomPrivacy
    from huizhen.roomrequests import RoomRequests

__all__ = ["RoomGrants", "room_grants"]


@dataclass(frozen=True, slots=True)
class RoomGrants:
    """What a room's technician can do about requests.

    Args:
        words: what is typed about them.
        deciding: runs for as long as the room does; it never ends by itself.
    """

    approver: Approver
    words: RoomRequests
    deciding: asyncio.Task[None]
    console: Console

    def halts(self) -> bool:
        """Ctrl-C is the kill switch first, where there is something to stop; True then."""
        if not self.approver.has_grants:
            return False
        self.approver.stop()
        self.console.note(self.console.tr("requests.again"))
        return True

    async def end(self) -> None:
        """Stops what runs and waits for its end, before the room hears the last word."""
        self.deciding.cancel()
        await asyncio.gather(self.deciding, return_exceptions=True)


@asynccontextmanager
async def room_grants(
    agent: Agent,
    requests: RequestLink,
    vehicle: OpenVehicle,
    report: dict[str, Any],
    policy: RemotePolicy,
    privacy: RoomPrivacy,
    args: argparse.Namespace,
    console: Console,
) -> AsyncIterator[RoomGrants]:
    """The laptop's side of requests, from before the agent runs until everything that ran has ended.

    Args:
        agent: not yet running; it gets the laptop's key and policy to tell, and tells its events here too.
        requests: the one link by which ECUs are asked, shared with everything else that asks.
        vehicle: whose guard lets the requests out.
        report: ``huizhen.scan/1``; only its ECUs may be asked for.
        policy: the workshop's own.
        privacy: what this laptop keeps back; its gate heeds the room's events.
        args: of the command line.
        console: where the technician reads and answers.

    Raises:
        BadSettings: the laptop's key cannot be used.
        CannotWrite: it cannot be kept.
    """
    from consult.approver import Approver
    from consult.execution import CarHands
    from consult.grants import GrantBook
    from consult.plugsigns import PlugSigns
    from consult.reportecus import names_from_report, targets_from_report
    from consult.requestproof import new_secret
    from diag.direct import DirectLink
    from huizhen.roomrequests import RoomRequests, in_both_languages
    from huizhen.signing import load_signer

    signer, secret, tell = load_signer(), new_secret(), agent.on_event
    policy = policy.for_car(report)
    agent.key, agent.allows = signer.public_key.hex(), policy.to_json() | privacy.allows()
    hands = CarHands(
        requests,
        vehicle.guard,
        sign=signer.sign,
        say=in_both_languages,
        may_keep=lambda: agent.is_reached,
        plug=None if isinstance(vehicle.link, DirectLink) else PlugSigns(vehicle.link, vehicle.databases),
        timeout_s=vehicle.timeout_s,
    )
    words = RoomRequests(
        console,
        is_json=wants_json(args),
        show_phone=lambda: _show_phone_link(agent, secret, args, console),
        ecu_names=names_from_report(report),
    )
    book = GrantBook(agent.room, targets_from_report(report), policy, secret, signer.sign)
    approver = Approver(book, hands, post=agent.post, notify=words.notice)
    words.attach(approver)

    def on_event(event: Event) -> None:
        privacy.gate.take(event)
        tell(event)
        approver.take(event)

    agent.on_event, agent.on_hold = on_event, approver.take_hold
    grants = RoomGrants(approver, words, asyncio.create_task(approver.run(), name="grants"), console)
    try:
        yield grants
    finally:
        await grants.end()


async def _show_phone_link(agent: Agent, secret: bytes, args: argparse.Namespace, console: Console) -> None:
    """The link of the technician's own page. What stands behind the dot never reaches the service."""
    from consult.errors import ConsultError
    from consult.requestproof import text_from_secret
    from huizhen.roomview import qr_lines

    try:
        invite = await agent.invite("technician")
    except ConsultError as error:
        console.error(console.tr.error(error))
        return
    url = f"{invite.url}.{text_from_secret(secret)}"
    if wants_json(args):
        told = {"url": url, "invite_expires": iso_from_us(invite.expires_us), "room": agent.room, "role": invite.role}
        console.json({"schema": "huizhen.room/1", **told})
        return
    console.line(console.tr("requests.phone", expires=time_of_day(invite.expires_us)))
    console.line(f"  {url}")
    for line in qr_lines(url, coloured=console.colour):
        console.line(f"  {line}")
    if url.startswith("http://") and not url.startswith(("http://127.", "http://localhost", "http://[::1]")):
        console.note(console.tr("requests.phone_insecure"))
    console.out.flush()
