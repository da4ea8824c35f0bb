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
    ├── SignalSetError
    │   ├── NotASignalSet      the file is no signal set in a format we read
    │   ├── SignalSetBroken    it is, but an entry of it cannot be understood
    │   ├── UnknownCommand     no set has this command
    │   ├── BadQuestion        a line that asks for nothing that could be decoded
    │   ├── NothingUsable      an adapter's text without an answer to the command
    │   ├── Refused            the ECU's answer is a negative response
    │   └── AnswerCut          a part of the answer is missing
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
    "AnswerCut",
    "BadPci",
    "BadQuestion",
    "BadTable",
    "DatabaseBroken",
    "DatabaseError",
    "DbcError",
    "FileMissing",
    "LibraryMissing",
    "NotADatabase",
    "NotARecording",
    "NotASignalSet",
    "NothingUsable",
    "OutputError",
    "Phrase",
    "RecordingBroken",
    "RecordingError",
    "RecordingTooLarge",
    "Refused",
    "SignalSetBroken",
    "SignalSetError",
    "UnknownCommand",
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
    template: ClassVar[str] = "{path} is not a CAN database ({reason}); DBC, KCD, SYM, ARXML and CDD are"


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
    template: ClassVar[str] = "{path} is not a recording that can be read ({reason}); docs/recordings.md lists what is"


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


class SignalSetError(DbcError):
    """A signal set, or an answer that it should decode, could not be used."""

    code: ClassVar[str] = "dbc.signal-set"


@dataclass(eq=False)
class NotASignalSet(SignalSetError):
    """The file is not a signal set in any format we know."""

    path: str
    reason: Phrase | str
    code: ClassVar[str] = "dbc.not-a-signal-set"
    template: ClassVar[str] = "{path} is not a signal set ({reason}); give OBDb's JSON (v3) or Torque's CSV"


@dataclass(eq=False)
class SignalSetBroken(SignalSetError):
    """A signal set with an entry that contradicts itself or the format."""

    path: str
    place: str
    reason: Phrase | str
    code: ClassVar[str] = "dbc.signal-set-broken"
    template: ClassVar[str] = "{path}, {place}: {reason}; mend that entry or give another set"


@dataclass(eq=False)
class UnknownCommand(SignalSetError):
    """A command that no signal set has."""

    command: str
    reason: Phrase | str
    code: ClassVar[str] = "dbc.unknown-command"
    template: ClassVar[str] = "{command}: {reason}; check the command or add the make's set with --fallback"


@dataclass(eq=False)
class BadQuestion(SignalSetError):
    """A line that does not say what to decode."""

    reason: Phrase | str
    code: ClassVar[str] = "dbc.bad-question"
    template: ClassVar[str] = 'the line cannot be used: {reason}; give {{"command", "year", "response"}}'


@dataclass(eq=False)
class NothingUsable(SignalSetError):
    """What an adapter said holds no answer to the command."""

    command: str
    reason: Phrase | str
    code: ClassVar[str] = "dbc.nothing-usable"
    template: ClassVar[str] = "{command}: {reason}; ask again"


@dataclass(eq=False)
class Refused(SignalSetError):
    """The ECU answered with a negative response."""

    ecu: str
    service: str
    nrc: str
    code: ClassVar[str] = "dbc.refused"
    template: ClassVar[str] = "{ecu} refuses service {service} with response code {nrc}; there is no value"


@dataclass(eq=False)
class AnswerCut(SignalSetError):
    """A part of the answer did not come."""

    ecu: str
    missing: int
    code: ClassVar[str] = "dbc.answer-cut"
    template: ClassVar[str] = "{ecu}: {missing} bytes of the answer are missing; ask again for what needs them"


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
