"""From where a room may be watched: regions, the networks that lie in them, and what speaks against a visitor.

No I/O and no clock. A region is a code such as ``CN`` or ``EU``. Nothing here guesses where an address is: the
service's owner lists the networks, and what is on no list is nowhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consult.invites import Role

if TYPE_CHECKING:
    import ipaddress
    from collections.abc import Iterable, Mapping

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

__all__ = ["Region", "RegionRules", "Visitor", "demanded_regions", "is_region"]

_CODE: Final = re.compile(r"[A-Z][A-Z0-9-]{0,15}")
_MOST_DEMANDED: Final = 16


def is_region(word: object) -> bool:
    """Whether a word is a region's code: ``CN``, ``EU``, ``DE-BY``."""
    return isinstance(word, str) and _CODE.fullmatch(word) is not None


def demanded_regions(allows: Mapping[str, object]) -> frozenset[str] | None:
    """What a laptop's own policy demands (``regions`` of its ``allows``); None for no demand.

    A demand that makes no sense lets nobody watch: it was meant to keep somebody out.
    """
    if "regions" not in allows:
        return None
    told = allows["regions"]
    if not isinstance(told, list) or len(told) > _MOST_DEMANDED:
        return frozenset()
    return frozenset(one for one in told if is_region(one))


@dataclass(frozen=True, slots=True)
class Region:
    """One region and the networks from which its people come."""

    region: str
    networks: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who wants in.

    Args:
        role: in the room.
        address: where the request comes from, as far as trusted proxies vouch for it; None is unknown.
        account: its region; None for a guest, empty for an account without one.
    """

    role: Role
    address: Address | None
    account: str | None


@dataclass(frozen=True, slots=True)
class RegionRules:
    """The service's own rules.

    Args:
        allowed: from where rooms may be watched; empty: from anywhere.
        places: what is known of networks.
        accounts_only: guests by invite do not watch, whatever their network; the technician is no guest.
    """

    allowed: frozenset[str] = frozenset()
    places: tuple[Region, ...] = ()
    accounts_only: bool = False

    def region_of(self, address: Address | None) -> str:
        """The region of the narrowest listed network that holds an address; empty for none.

        An IPv4 address in IPv6's clothes counts as what it is.
        """
        mapped = getattr(address, "ipv4_mapped", None)
        found, width = "", -1
        for place in self.places:
            for network in place.networks:
                where = mapped or address
                if where is not None and where in network and network.prefixlen > width:
                    found, width = place.region, network.prefixlen
        return found

    def missing_networks(self) -> tuple[str, ...]:
        """Regions that are allowed and have no network, so that nobody could come from there."""
        return tuple(sorted(self.allowed - {place.region for place in self.places if place.networks}))

    def refusal(self, visitor: Visitor, demanded: frozenset[str] | None = None, *, lifted: bool = False) -> str | None:
        """What speaks against a visitor: ``guest``, ``account``, ``network``; None where nothing does.

        Args:
            visitor: who wants in.
            demanded: by the laptop's own policy; None for nothing. Nothing that the service says widens it.
            lifted: technician and administrator have lifted the service's rule for accounts.
        """
        is_owner = visitor.role is Role.TECHNICIAN
        if self.allowed and not (lifted and visitor.account is not None):
            if visitor.account is None and self.accounts_only and not is_owner:
                return "guest"
            if why := self._outside(visitor, self.allowed):
                return why
        if demanded is not None and not is_owner:
            return self._outside(visitor, demanded)
        return None

    def _outside(self, visitor: Visitor, allowed: Iterable[str]) -> str | None:
        if visitor.account is not None and visitor.account not in allowed:
            return "account"
        region = self.region_of(visitor.address)
        return None if region and region in allowed else "network"
