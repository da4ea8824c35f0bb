"""What can go wrong in the case library.

::

    CaseError
    ├── LibraryError              the file that holds the library (exit code 6)
    │   ├── LibraryMissing        no such file
    │   ├── NotALibrary           the file is something else
    │   ├── LibraryDamaged        it was a library; its pages do not check
    │   ├── LibraryNewer          written by a later version
    │   ├── LibraryLocked         another program is writing
    │   ├── LibraryReadOnly       it cannot be written here
    │   ├── LibraryFull           no room on the disk
    │   └── LibraryUnreadable     anything else the system said
    ├── ContentBroken             a content file of ours breaks its own rules
    ├── BadEvidence               a question that is no question
    ├── FixUnknown                no fix of that name
    └── SimulatedOutcome          a simulated job asked to count as a real one

Errors carry fields; ``__str__`` builds the English sentence from ``template`` (what happened, where, what to do
next). The Chinese sentence stands under the same ``code`` in the application's language catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from diag.facts import Text

__all__ = [
    "BadEvidence",
    "CaseError",
    "ContentBroken",
    "FixUnknown",
    "LibraryDamaged",
    "LibraryError",
    "LibraryFull",
    "LibraryLocked",
    "LibraryMissing",
    "LibraryNewer",
    "LibraryReadOnly",
    "LibraryUnreadable",
    "NotALibrary",
    "SimulatedOutcome",
]


class CaseError(Exception):
    """Root of this package's errors."""

    code: ClassVar[str] = "casebase"
    template: ClassVar[str] = "error in the case library"

    def __str__(self) -> str:
        return self.template.format(**vars(self))


@dataclass(eq=False)
class LibraryError(CaseError):
    """The file that holds the library cannot be used."""

    path: str
    code: ClassVar[str] = "casebase.library"
    template: ClassVar[str] = "case library {path} cannot be used"


@dataclass(eq=False)
class LibraryMissing(LibraryError):
    """No file of that name."""

    code: ClassVar[str] = "casebase.missing"
    template: ClassVar[str] = (
        "no case library at {path}; check the name, or leave --library out to use the built-in fixes"
    )


@dataclass(eq=False)
class NotALibrary(LibraryError):
    """The file is no case library."""

    code: ClassVar[str] = "casebase.not-a-library"
    template: ClassVar[str] = "{path} is not a case library; give a file that huizhen made"


@dataclass(eq=False)
class LibraryDamaged(LibraryError):
    """The pages of the file do not check."""

    detail: str
    code: ClassVar[str] = "casebase.damaged"
    template: ClassVar[str] = "case library {path} is damaged ({detail}); restore a backup, or move the file away"


@dataclass(eq=False)
class LibraryNewer(LibraryError):
    """A later version of the program wrote it."""

    migration: str
    code: ClassVar[str] = "casebase.newer"
    template: ClassVar[str] = (
        "case library {path} was written by a newer version (it has the change '{migration}'); update huizhen"
    )


@dataclass(eq=False)
class LibraryLocked(LibraryError):
    """Another program holds it."""

    code: ClassVar[str] = "casebase.locked"
    template: ClassVar[str] = "case library {path} is being written by another program; close that and try again"


@dataclass(eq=False)
class LibraryReadOnly(LibraryError):
    """It cannot be written where it is."""

    code: ClassVar[str] = "casebase.read-only"
    template: ClassVar[str] = "case library {path} cannot be written; check the permissions of the file and its folder"


@dataclass(eq=False)
class LibraryFull(LibraryError):
    """No room on the disk; nothing was changed."""

    code: ClassVar[str] = "casebase.disk-full"
    template: ClassVar[str] = "no room on the disk for case library {path}; nothing was changed, free some space"


@dataclass(eq=False)
class LibraryUnreadable(LibraryError):
    """Something else that SQLite or the system said."""

    detail: str
    code: ClassVar[str] = "casebase.unreadable"
    template: ClassVar[str] = "case library {path} cannot be opened ({detail}); check the path and its permissions"


@dataclass(eq=False)
class ContentBroken(CaseError):
    """A content file breaks the rules of :mod:`casebase.content`."""

    file: str
    key: str
    reason: Text | str
    code: ClassVar[str] = "casebase.content"
    template: ClassVar[str] = "content file {file}, {key}: {reason}"


@dataclass(eq=False)
class BadEvidence(CaseError):
    """A question whose parts are not what they should be."""

    key: str
    reason: Text | str
    code: ClassVar[str] = "casebase.bad-evidence"
    template: ClassVar[str] = "cannot use {key}: {reason}"


@dataclass(eq=False)
class FixUnknown(CaseError):
    """The library has no fix of that name."""

    name: str
    code: ClassVar[str] = "casebase.unknown-fix"
    template: ClassVar[str] = "the case library has no fix '{name}'; 'huizhen case stats' lists them"


@dataclass(eq=False)
class SimulatedOutcome(CaseError):
    """A job on the simulated car never counts as experience."""

    answer: int
    code: ClassVar[str] = "casebase.simulated"
    template: ClassVar[str] = "answer {answer} was for a simulated car: its outcome does not count and was not recorded"
