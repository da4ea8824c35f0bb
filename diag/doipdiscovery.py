"""Which cars with an Ethernet plug are there: vehicle identification over UDP.

One request is broadcast (or sent to one host) and whoever answers is listed. It goes to gateways, not to a car's buses.

Standard: ISO 13400-2:2019 §7.4 (vehicle identification request, vehicle announcement message).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from diag.doip import DEFAULT_PORT
from diag.uds import text_from_bytes

if TYPE_CHECKING:
    from diag.facts import Json

__all__ = ["DoipGateway", "find_gateways", "parse_announcement"]

_REQUEST: Final = bytes.fromhex("02FD000100000000")
_ANNOUNCEMENT: Final = 0x0004
_SHORT, _LONG = 32, 33
_BROADCAST: Final = "255.255.255.255"


@dataclass(frozen=True, slots=True)
class DoipGateway:
    """A gateway that announced itself.

    Args:
        host: where it answers.
        port: UDP; that of TCP is the same by the standard.
        vin: None where it has none.
        logical_address: of the gateway.
        eid: entity identification, mostly its MAC address.
        gid: group identification.
        further_action: 00 none, 10 routing activation wanted for central security.
    """

    host: str
    port: int
    vin: str | None
    logical_address: int
    eid: bytes
    gid: bytes
    further_action: int

    @property
    def adapter(self) -> str:
        """As ``--adapter`` takes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"doip:{host}" if self.port == DEFAULT_PORT else f"doip:{host}:{self.port}"

    def to_json(self) -> Json:
        """One entry of ``gateways``."""
        return {
            "adapter": self.adapter,
            "vin": self.vin,
            "logical_address": f"0x{self.logical_address:04X}",
            "eid": self.eid.hex().upper(),
            "gid": self.gid.hex().upper(),
            "further_action": self.further_action,
        }


def parse_announcement(data: bytes, host: str, port: int) -> DoipGateway | None:
    """A gateway by its message; None for anything else, whatever it is."""
    if len(data) < 8 or data[0] ^ data[1] != 0xFF or int.from_bytes(data[2:4], "big") != _ANNOUNCEMENT:
        return None
    size, body = int.from_bytes(data[4:8], "big"), data[8:]
    if size not in (_SHORT, _LONG) or len(body) != size:
        return None
    return DoipGateway(
        host,
        port,
        text_from_bytes(body[:17]),
        int.from_bytes(body[17:19], "big"),
        bytes(body[19:25]),
        bytes(body[25:31]),
        body[31],
    )


class _Listener(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.found: dict[tuple[str, int], DoipGateway] = {}

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        gateway = parse_announcement(data, addr[0], addr[1])
        if gateway is not None:
            self.found[gateway.host, gateway.logical_address] = gateway


async def find_gateways(
    host: str = _BROADCAST, port: int = DEFAULT_PORT, *, seconds: float = 0.6
) -> tuple[DoipGateway, ...]:
    """Asks who is there, and collects answers for so long.

    Args:
        host: one gateway, or the broadcast address.
        port: UDP.
        seconds: A_DoIP_Ctrl is 2 s; gateways in sight answer within 500 ms.

    Raises:
        OSError: no network.
    """
    loop = asyncio.get_running_loop()
    own = "127.0.0.1" if host.startswith("127.") else "0.0.0.0"  # noqa: S104 - answers come from any network
    transport, listener = await loop.create_datagram_endpoint(_Listener, local_addr=(own, 0), allow_broadcast=True)
    try:
        transport.sendto(_REQUEST, (host, port))
        await asyncio.sleep(seconds)
    finally:
        transport.close()
    return tuple(listener.found[key] for key in sorted(listener.found))
