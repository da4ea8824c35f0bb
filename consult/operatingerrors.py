"""What can go wrong for those who run a service: backup, restore, migration. Part of the tree of :mod:`consult.errors`.

::

    ServiceError
    ├── StateNewer         the database, or a recording, was written by a newer program
    ├── MigrationUnsafe    a change of the database that a running service would not survive
    ├── BackupFailed       no backup was made
    ├── BackupBroken       a backup is none, is damaged, or was changed
    ├── PassphraseWrong    the passphrase does not open the backup, or none was given
    └── RestoreRefused     the folder is no place to restore to
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from consult.errors import ServiceError

if TYPE_CHECKING:
    from diag.facts import Text

__all__ = ["BackupBroken", "BackupFailed", "MigrationUnsafe", "PassphraseWrong", "RestoreRefused", "StateNewer"]


@dataclass(eq=False)
class StateNewer(ServiceError):
    """The file has a layout that this program does not know. ``names``: the changes that it lacks."""

    path: str
    names: str
    code: ClassVar[str] = "consult.state-newer"
    template: ClassVar[str] = (
        "{path} was written by a newer program (it has {names}); install that version, or go back to the copy that was"
        " made before: docs/operations.md"
    )
    status: ClassVar[int] = 507


@dataclass(eq=False)
class MigrationUnsafe(ServiceError):
    """A service that runs on the database would fail on what the change does."""

    path: str
    names: str
    code: ClassVar[str] = "consult.migration-unsafe"
    template: ClassVar[str] = (
        "{path}: {names} changes tables that the running service uses; stop the service first, then migrate"
    )


@dataclass(eq=False)
class BackupFailed(ServiceError):
    """The backup could not be made; what was there before is untouched."""

    path: str
    reason: Text | str
    code: ClassVar[str] = "consult.backup-failed"
    template: ClassVar[str] = "no backup was made to {path}: {reason}"


@dataclass(eq=False)
class BackupBroken(ServiceError):
    """The file or folder is no backup, or not as it was written."""

    path: str
    reason: Text | str
    code: ClassVar[str] = "consult.backup-broken"
    template: ClassVar[str] = "{path} cannot be restored: {reason}; take another backup"


@dataclass(eq=False)
class PassphraseWrong(ServiceError):
    """The backup is encrypted, and what was given does not open it."""

    path: str
    code: ClassVar[str] = "consult.passphrase-wrong"
    template: ClassVar[str] = "the passphrase does not open {path}; name its file with --passphrase-file"


@dataclass(eq=False)
class RestoreRefused(ServiceError):
    """Nothing is ever written over."""

    path: str
    reason: Text | str
    code: ClassVar[str] = "consult.restore-refused"
    template: ClassVar[str] = "nothing was restored to {path}: {reason}"
