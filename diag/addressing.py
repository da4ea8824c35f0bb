"""Whom a request is for: CAN identifiers of testers and ECUs, and which answer belongs to which request.

Standard: ISO 15765-4:2021 §10.3 (legislated identifiers); ISO 15765-2:2016 §10.3 (normal and normal fixed addressing).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from diag.facts import hex_from_id

__all__ = [
    "FUNCTIONAL_11",
    "FUNCTIONAL_29",
    "LOGICAL_GROUPS",
    "LOGICAL_TESTERS",
    "OBD_FUNCTIONAL",
    "OBD_FUNCTIONAL_29",
    "TESTER_ADDRESS",
    "Target",
]

FUNCTIONAL_11: Final = 0x7DF
"""Functional request to every emission-related ECU with 11-bit identifiers."""

FUNCTIONAL_29: Final = 0x18DB33F1
"""The same with 29-bit identifiers."""

TESTER_ADDRESS: Final = 0xF1
"""Address of external test equipment in 29-bit identifiers."""

LOGICAL_TESTERS: Final = range(0x0E00, 0x1000)
"""Logical addresses of external test equipment on DoIP. Standard: ISO 13400-2:2019 Table 13."""

LOGICAL_GROUPS: Final = range(0xE000, 0xF000)
"""Functional logical addresses on DoIP."""

_FUNCTIONAL: Final = frozenset({FUNCTIONAL_11, FUNCTIONAL_29})

_RESPONSES_11: Final = range(0x7E8, 0x7F0)
_PHYSICAL_29: Final = 0x18DA_0000
_MASK_29: Final = 0x1FFF_0000


@dataclass(frozen=True, slots=True)
class Target:
    """One ECU (physical) or all of them (functional).

    Build it with :meth:`physical`, :meth:`functional` or :meth:`at_logical`; ``response_id`` is None for a functional
    target. With ``logical`` both are the logical address of DoIP, else they are CAN identifiers.
    """

    request_id: int
    response_id: int | None
    extended: bool = False
    logical: bool = False

    @classmethod
    def at_logical(cls, address: int) -> Target:
        """A logical address of DoIP: one ECU, or the group of them from 0xE000 to 0xEFFF.

        Standard: ISO 13400-2:2019 Table 13 (logical addresses).

        Raises:
            ValueError: an address outside 16 bits, or one that is a tester's.
        """
        if not 0 < address <= 0xFFFF or address in LOGICAL_TESTERS:
            raise ValueError(hex_from_id(address))
        return cls(address, None if address in LOGICAL_GROUPS else address, logical=True)

    @classmethod
    def physical(cls, request_id: int, response_id: int | None = None) -> Target:
        """One ECU.

        Args:
            request_id: where it listens.
            response_id: where it answers; left out, it follows from the request: 0x7E0 to 0x7E7 answer 8 above,
                0x18DAxxF1 answers on 0x18DAF1xx.

        Raises:
            ValueError: no response id given and the request id is none of the legislated ones; or a request id that
                all ECUs listen to.
        """
        if request_id in _FUNCTIONAL:
            raise ValueError(hex_from_id(request_id))
        extended = request_id > 0x7FF or (response_id or 0) > 0x7FF
        if response_id is None:
            if 0x7E0 <= request_id <= 0x7E7:
                response_id = request_id + 8
            elif request_id & _MASK_29 == _PHYSICAL_29:
                response_id = _PHYSICAL_29 | (request_id & 0xFF) << 8 | request_id >> 8 & 0xFF
            else:
                raise ValueError(hex_from_id(request_id))
        return cls(request_id, response_id, extended)

    @classmethod
    def functional(cls, request_id: int = FUNCTIONAL_11) -> Target:
        """Every ECU that listens to a functional identifier, 0x7DF or 0x18DB33F1.

        Raises:
            ValueError: another identifier, for which nobody could say who answers where.
        """
        if request_id not in _FUNCTIONAL:
            raise ValueError(hex_from_id(request_id))
        return cls(request_id, None, request_id > 0x7FF)

    @property
    def is_functional(self) -> bool:
        """Several ECUs listen to the request, wherever the answer is expected."""
        return self.response_id is None or (not self.logical and self.request_id in _FUNCTIONAL)

    @property
    def is_consistent(self) -> bool:
        """Whether a functional identifier has no response id, and any other one has."""
        if self.logical:
            return self.request_id == self.response_id or self.is_functional
        return (self.response_id is None) == (self.request_id in _FUNCTIONAL)

    @property
    def address(self) -> str:
        """How people name it: the response id of one ECU, the request id of a functional target."""
        return self._named(self.request_id if self.response_id is None else self.response_id)

    @property
    def request_address(self) -> str:
        """Where it listens, as people write it."""
        return self._named(self.request_id)

    def _named(self, number: int) -> str:
        return f"0x{number:04X}" if self.logical else hex_from_id(number)

    def is_answered_by(self, can_id: int, *, extended: bool) -> bool:
        """Whether a frame with this identifier can carry an answer to a request to this target."""
        if extended != self.extended or self.logical:
            return False
        if self.response_id is not None:
            return can_id == self.response_id
        if extended:
            return can_id & ~0xFF == _PHYSICAL_29 | TESTER_ADDRESS << 8
        return can_id in _RESPONSES_11

    def ecu(self, can_id: int) -> Target:
        """The one ECU that answered with this identifier, as a physical target: where its flow control goes.

        Raises:
            ValueError: no ECU of this target answers there.
        """
        if not self.is_answered_by(can_id, extended=self.extended):
            raise ValueError(hex_from_id(can_id))
        if self.response_id is not None:
            return self
        if self.extended:
            return Target(_PHYSICAL_29 | (can_id & 0xFF) << 8 | TESTER_ADDRESS, can_id, extended=True)
        return Target(can_id - 8, can_id)


OBD_FUNCTIONAL: Final = Target.functional(FUNCTIONAL_11)
OBD_FUNCTIONAL_29: Final = Target.functional(FUNCTIONAL_29)
