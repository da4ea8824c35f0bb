"""What can go wrong with records that are encrypted at rest, and with their deletion.

::

    ServiceError
    ├── KeyMissing             the record is encrypted, and its key is not here (HTTP 410)
    ├── KeysBroken             the folder of the room keys, or the master key, cannot be used
    ├── ContentBroken          stored bytes are not what was encrypted at this place
    └── DeletionError
        ├── DeletionUnknown    there is no such room to delete (404)
        ├── DeletionRefused    this room is not deleted now (409)
        ├── DeletionFailed     it was begun and goes on with the next try
        └── CertificateUnreadable  a file is no deletion certificate
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from consult.errors import ServiceError

if TYPE_CHECKING:
    from diag.facts import Text

__all__ = [
    "CertificateUnreadable",
    "ContentBroken",
    "DeletionError",
    "DeletionFailed",
    "DeletionRefused",
    "DeletionUnknown",
    "KeyMissing",
    "KeysBroken",
]


@dataclass(eq=False)
class KeyMissing(ServiceError):
    """The content of a record cannot be read without its key."""

    path: str
    key: str
    code: ClassVar[str] = "consult.key-missing"
    template: ClassVar[str] = (
        "{path} is encrypted and its key {key} is not here; use --key-file with what "
        "`huizhen consult keys export` wrote, unless the room was deleted"
    )
    status: ClassVar[int] = 410


@dataclass(eq=False)
class KeysBroken(ServiceError):
    """The keys of the rooms cannot be used."""

    path: str
    reason: Text | str
    code: ClassVar[str] = "consult.keys-broken"
    template: ClassVar[str] = "the room keys in {path} cannot be used: {reason}; check master key and permissions"
    status: ClassVar[int] = 507


@dataclass(eq=False)
class ContentBroken(ServiceError):
    """Stored bytes were changed, moved to another place, or encrypted with another key."""

    path: str
    place: str
    code: ClassVar[str] = "consult.content-broken"
    template: ClassVar[str] = "{path}: {place} is not what was encrypted there; `huizhen consult verify` says more"


class DeletionError(ServiceError):
    """A room is not deleted."""

    code: ClassVar[str] = "consult.deletion"


@dataclass(eq=False)
class DeletionUnknown(DeletionError):
    """There is no such room here."""

    room: str
    path: str
    code: ClassVar[str] = "consult.deletion-unknown"
    template: ClassVar[str] = "no record of room {room} in {path}; give its name, such as 0123456789ab, and --data"
    status: ClassVar[int] = 404


@dataclass(eq=False)
class DeletionRefused(DeletionError):
    """This room cannot be deleted so."""

    room: str
    reason: Text | str
    code: ClassVar[str] = "consult.deletion-refused"
    template: ClassVar[str] = "room {room} is not deleted: {reason}"
    status: ClassVar[int] = 409


@dataclass(eq=False)
class DeletionFailed(DeletionError):
    """The deletion has begun and is not done."""

    room: str
    reason: Text | str
    code: ClassVar[str] = "consult.deletion-failed"
    template: ClassVar[str] = "room {room} is not wholly deleted yet: {reason}; say it again to go on"
    status: ClassVar[int] = 507


@dataclass(eq=False)
class CertificateUnreadable(DeletionError):
    """A file that should be a deletion certificate."""

    path: str
    reason: Text | str
    code: ClassVar[str] = "consult.certificate-unreadable"
    template: ClassVar[str] = "{path} is no deletion certificate: {reason}"
