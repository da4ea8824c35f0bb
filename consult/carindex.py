"""Which rooms met which car, without saying so on the disk: by a keyed hash of the VIN.

A VIN is short and half of it is known, so that a bare hash of it could be searched. The key is kept like those of the
rooms: wrapped by the master key, under the name ``car-index``. Where two programs made one at the same time both count.

Standard: RFC 2104 (HMAC), FIPS 180-4 (SHA-256).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

from consult.part import Part
from consult.privacyerrors import CarUnknown
from consult.privacystore import PrivacyStore
from consult.redaction import vins_of_report

if TYPE_CHECKING:
    from consult.room import Room
    from consult.roomkeys import KeyStore
    from consult.service import Service
    from consult.troubles import Trouble

__all__ = ["INDEX", "CarIndex", "checked_vin", "hashes_of_vin", "index_keys"]

INDEX: Final = "car-index"
_VIN: Final = re.compile(r"[A-HJ-NPR-Z0-9]{17}")
_TRY_AGAIN_S: Final = 60.0


def checked_vin(text: object) -> str:
    """A VIN as it was typed: capitals, without spaces and dashes.

    Raises:
        CarUnknown: it is none.
    """
    vin = re.sub(r"[\s-]", "", text).upper() if isinstance(text, str) else ""
    if not _VIN.fullmatch(vin):
        raise CarUnknown(str(text)[:20])
    return vin


def index_keys(keys: KeyStore, *, is_made: bool = False) -> list[bytes]:
    """The keys of the index; ``is_made`` makes one where there is none.

    Raises:
        KeysBroken: they cannot be read or made.
    """
    found = [keys.find(entry.fingerprint) for entry in keys.entries() if entry.room == INDEX]
    secrets = [key.secret for key in found if key is not None]
    return secrets or ([keys.create(INDEX).secret] if is_made else [])


def hashes_of_vin(secrets: list[bytes], vin: str) -> list[bytes]:
    """What may be kept of a VIN, one for each key."""
    return [hmac.digest(key, b"huizhen.car-index/1\0" + vin.upper().encode(), hashlib.sha256) for key in secrets]


class CarIndex(Part):
    """Notes the cars of the rooms of one service that has a database of its own."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._store = PrivacyStore(service.state)
        self._waiting: dict[str, tuple[str, ...]] = {}
        self._next_s = 0.0
        self._is_failing = False

    def room_met_car(self, room: Room) -> None:
        """By all VINs that its report names."""
        if self.service.config.state is not None and (vins := vins_of_report(room.report)):
            self._waiting[room.ident] = vins

    async def tend(self) -> None:
        """Writes what was met; where that fails, it is tried again in a minute."""
        if not self._waiting or self.service.config.clock_s() < self._next_s:
            return
        waiting, self._waiting = self._waiting, {}
        self._is_failing = True
        try:
            await asyncio.to_thread(self._write, waiting)
            self._is_failing = False
        finally:
            if self._is_failing:
                self._waiting = waiting | self._waiting
                self._next_s = self.service.config.clock_s() + _TRY_AGAIN_S

    async def stop(self) -> None:
        """Likewise, at once."""
        self._next_s = 0.0
        await self.tend()

    def troubles(self) -> list[Trouble]:
        """A car that is not noted would not be found when its owner asks."""
        return ["car-index-not-written"] if self._is_failing else []

    def _write(self, waiting: dict[str, tuple[str, ...]]) -> None:
        secrets = index_keys(self.service.keys, is_made=True)[:1]
        for room, vins in waiting.items():
            self._store.note_cars(room, [one for vin in vins for one in hashes_of_vin(secrets, vin)])
