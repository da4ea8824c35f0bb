"""What can go wrong with databases and recordings.

::

    DbcError
    ├── FileMissing            no such file, or not readable
    ├── DatabaseError
    │   ├── NotADatabase       the file is none of the formats we read
    │   ├── DatabaseBroken     it is, but a line of it cannot be understood
    │   └── UnknownSignal      a signal was asked for that no database has
    ├── RecordingError
    │   ├── NotARecording      no dialect recognised
    │   ├── RecordingBroken    recognised, but unreadable from a place on
    │   └── RecordingTooLarge  more bytes than we read at once
    ├── LibraryMissing         a format whose library is not installed
    ├── BadPci                 bytes of a CAN frame that are no ISO-TP frame
    ├── BadTable               frames whose columns do not fit each other (our own mistake)
    └── OutputError            decoded values could not be written

Errors carry fields; ``__str__`` builds the English sentence from ``template`` (what happened, where, what to do
next). The Chinese sentence stands under the same ``code`` in the application's language catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

__all__ = [
    "BadPci",
    "BadTable",
    "DatabaseBroken",
    "DatabaseError",
    "DbcError",
    "FileMissing",
    "LibraryMissing",
    "NotADatabase",
    "NotARecording",
    "OutputError",
    "Phrase",
    "RecordingBroken",
    "RecordingError",
    "RecordingTooLarge",
    "UnknownSignal",
]


class Phrase(NamedTuple):
    """A part of a sentence in both languages, for error fields that a person reads."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.en


class DbcError(Exception):
    """Root of this package's errors."""

    code: ClassVar[str] = "dbc"
    template: ClassVar[str] = "database or recording error"

    def __str__(self) -> str:
        return self.template.format(**vars(self))


@dataclass(eq=False)
class FileMissing(DbcError):
    """A file that was named does not exist or may not be read."""

    path: str
    reason: Phrase | str
    code: ClassVar[str] = "dbc.file-missing"
    template: ClassVar[str] = "cannot read {path}: {reason}; check the name and the permissions"


class DatabaseError(DbcError):
    """A database could not be used."""

    code: ClassVar[str] = "dbc.database"


@dataclass(eq=False)
class NotADatabase(DatabaseError):
    """The file is not a CAN database in any format we know."""

    path: str
    reason: Phrase | str
    code: ClassVar[str] = "dbc.not-a-database"
    template: ClassVar[str] = "{path} is not a CAN database ({reason}); give a DBC file"


@dataclass(eq=False)
class DatabaseBroken(DatabaseError):
    """A database whose content contradicts itself or the format."""

    path: str
    line: int | str
    reason: Phrase | str
    code: ClassVar[str] = "dbc.database-broken"
    template: ClassVar[str] = "{path}, line {line}: {reason}; mend that line or give another database"


@dataclass(eq=False)
class UnknownSignal(DatabaseError):
    """A signal was asked for by a name that no database has."""

    name: str
    similar: Phrase | str
    code: ClassVar[str] = "dbc.unknown-signal"
    template: ClassVar[str] = "no database has a signal {name}; {similar}"


class RecordingError(DbcError):
    """A recording could not be used."""

    code: ClassVar[str] = "dbc.recording"


@dataclass(eq=False)
class NotARecording(RecordingError):
    """No dialect of recording was recognised in the file."""

    path: str
    reason: Phrase | str
    code: ClassVar[str] = "dbc.not-a-recording"
    template: ClassVar[str] = "{path} is not a recording that can be read ({reason}); candump, GVRET CSV and MF4 are"


@dataclass(eq=False)
class RecordingBroken(RecordingError):
    """A recording that was recognised and then could not be read on."""

    path: str
    place: Phrase | str
    reason: Phrase | str
    code: ClassVar[str] = "dbc.recording-broken"
    template: ClassVar[str] = "{path}, {place}: {reason}; the file is damaged or was cut, try a fresh copy"


@dataclass(eq=False)
class RecordingTooLarge(RecordingError):
    """A recording with more in it than we hold in memory."""

    path: str
    size: int
    limit: int
    code: ClassVar[str] = "dbc.recording-too-large"
    template: ClassVar[str] = "{path} holds {size} bytes, more than the {limit} that are read at once; split it"


@dataclass(eq=False)
class LibraryMissing(DbcError):
    """A recording to read or a file to write that needs a library which is not installed."""

    path: str
    library: str
    install: str
    code: ClassVar[str] = "dbc.library-missing"
    template: ClassVar[str] = "{path} needs {library}, which is not installed; run: {install}"


@dataclass(eq=False)
class BadPci(DbcError):
    """A CAN frame that is no valid ISO-TP frame."""

    data: str
    reason: Phrase | str
    code: ClassVar[str] = "dbc.bad-pci"
    template: ClassVar[str] = "{data} is not an ISO-TP frame: {reason}"


@dataclass(eq=False)
class BadTable(DbcError):
    """Columns of frames that do not fit each other: a mistake of the program, not of the car."""

    reason: Phrase | str
    code: ClassVar[str] = "dbc.bad-table"
    template: ClassVar[str] = "the frame table contradicts itself: {reason}"


@dataclass(eq=False)
class OutputError(DbcError):
    """Decoded values could not be written."""

    path: str
    reason: Phrase | str
    code: ClassVar[str] = "dbc.output"
    template: ClassVar[str] = "cannot write {path}: {reason}; nothing was left there"
