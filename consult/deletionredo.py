"""Deletions that have to be done again: what a killed program left half done, and what a restored backup undid.

One that fails keeps no other from being done; rooms that are not deleted are told, are not opened, and are tried again
while the service runs. A certificate that none of the trusted keys has signed deletes nothing. Where something of its
room is here it is told as well: after a restore with another signing key the room is back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from consult.deletion import finish_deletion, is_back, put_certificate, repeat_deletion
from consult.deletioncertificate import is_signed, load_certificate
from consult.sealederrors import CertificateUnreadable, DeletionFailed, KeysBroken
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from consult.deletion import DeletionPlace

__all__ = ["Redone", "has_pending", "redo_deletions"]

_IDENT: Final = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Redone:
    """What became of the deletions that had to be done again.

    Args:
        rooms: they are deleted now.
        failed: room -> why it could not be deleted.
        untrusted: rooms of which something is here, though a certificate says that they were deleted; it is none that
            counts, so that nothing was done.
    """

    rooms: list[str] = field(default_factory=list)
    failed: dict[str, DeletionFailed] = field(default_factory=dict)
    untrusted: list[str] = field(default_factory=list)

    @property
    def undone(self) -> set[str]:
        """Rooms that should not be here and are."""
        return {*self.failed, *self.untrusted}


def has_pending(place: DeletionPlace) -> bool:
    """Whether a deletion is half done."""
    return any(place.folder.glob("*.pending"))


def redo_deletions(
    place: DeletionPlace, more: Iterable[dict[str, Any]] = (), *, trusted: Collection[bytes] = ()
) -> Redone:
    """Goes on with every deletion that was broken off, and deletes again what is back since.

    Args:
        place: where the rooms are.
        more: certificates that are not in the folder, because they are younger than the backup. They are put there.
        trusted: public keys whose certificates count, besides the place's own signer.
    """
    redone = Redone()
    for path in sorted(place.folder.glob("*.pending")):
        try:
            finish_deletion(place, path.stem)
            redone.rooms.append(path.stem)
        except DeletionFailed as error:
            redone.failed[path.stem] = error
    keys = {*trusted, *([place.signer.public_key] if place.signer else [])}
    here = _rooms_with_traces(place)
    for path in sorted(place.folder.glob("*.json")):
        try:
            _redo(place, load_certificate(path), keys, here, redone)
        except CertificateUnreadable:
            if path.stem in here:
                redone.untrusted.append(path.stem)
    for certificate in more:
        _redo(place, certificate, keys, here, redone)
    redone.untrusted[:] = sorted(set(redone.untrusted) - {*redone.rooms, *redone.failed})
    return redone


def _redo(
    place: DeletionPlace, certificate: dict[str, Any], keys: Collection[bytes], here: set[str], redone: Redone
) -> None:
    ident = certificate["room"]
    path = place.folder / f"{ident}.json"
    if _IDENT.fullmatch(ident) is None or ident in redone.failed or (path.exists() and ident not in here):
        return
    try:
        if not is_signed(certificate, keys):
            if ident in here and is_back(place, certificate):
                redone.untrusted.append(ident)
                if not path.exists():
                    put_certificate(place, certificate)
            return
        if place.is_open(ident):
            redone.failed[ident] = DeletionFailed(ident, Text("it is open; end it first", "会诊室仍开放，请先结束"))
        elif repeat_deletion(place, certificate):
            redone.rooms.append(ident)
    except (OSError, KeysBroken) as error:
        redone.failed[ident] = DeletionFailed(ident, str(error))
    except DeletionFailed as error:
        redone.failed[ident] = error


def _rooms_with_traces(place: DeletionPlace) -> set[str]:
    """The rooms of which a file or a key is here."""
    names = [path.name for path in place.data.glob("*")] if place.data.is_dir() else []
    found = {match.group(1) for name in names if (match := re.search(r"-([0-9a-f]{12})\.", name))}
    return found | {entry.room for entry in place.keys.entries()} | {path.name for path in place.data.glob("spool/*")}
