"""The tape of a visit: everything that was asked, what came back, and every frame that passed, in order.

A visit's report follows from its tape alone, so that it can be made again later, elsewhere, from the same bytes
(:mod:`diag.replay`). What is on it is what stood on the wire and nothing that was concluded.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from diag.addressing import Target
from diag.answers import Answer
from diag.broadcast import is_diagnostic_id
from diag.errors import (
    BadInput,
    DiagError,
    LinkLost,
    LocalProtocolError,
    NoAnswer,
    RefusedByPolicy,
    RemoteProtocolError,
)
from diag.facts import Text
from diag.j1939requests import J1939Answer
from diag.vehiclereport import LinkInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dbc.database import Database
    from dbc.signalset.model import SignalSet
    from diag.facts import Json
    from diag.frames import Frame

__all__ = ["CANCELLED", "Entry", "Hearing", "LinkTraits", "Tape"]

CANCELLED: Final = "cancelled"
"""The error of a request that was given up before anything came."""

_MOST_FRAMES: Final = 1_000_000
"""Some 200 MB: four minutes of a full 500 kbit/s bus, ten of what cars usually send."""
_ERRORS: Final[dict[str, Callable[..., DiagError]]] = {
    kind.code: kind for kind in (BadInput, LinkLost, LocalProtocolError, NoAnswer, RefusedByPolicy, RemoteProtocolError)
}
_LAST_NS: Final = 1 << 63
_ENDINGS: Final = ("finished", "interrupted", "lost")


def _time(value: Any) -> int:
    """UTC nanoseconds that a clock can show."""
    t_ns = int(value)
    if not 0 <= t_ns < _LAST_NS:
        raise ValueError(value)
    return t_ns


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < _LAST_NS:
        raise ValueError(value)
    return seconds


def _text_to_json(text: Text | str | None) -> Any:
    return text.to_json() if isinstance(text, Text) else text


def _text_from_json(value: Any) -> Text | None:
    return Text(str(value["en"]), str(value["zh"])) if isinstance(value, dict) else None


def _target_to_json(target: Target) -> Json:
    return {
        "request": target.request_id,
        "response": target.response_id,
        "extended": target.extended,
        "logical": target.logical,
    }


def _target_from_json(value: Json) -> Target:
    response = value["response"]
    return Target(
        int(value["request"]),
        None if response is None else int(response),
        bool(value["extended"]),
        bool(value["logical"]),
    )


def _error_to_json(error: DiagError) -> Json:
    found: Json = {"code": error.code}
    for name, value in vars(error).items():
        found[name] = {"hex": value.hex()} if isinstance(value, bytes) else _text_to_json(value)
    return found


def _error_from_json(value: Json) -> DiagError:
    told: dict[str, Any] = {}
    for name, given in value.items():
        if isinstance(given, dict):
            told[name] = bytes.fromhex(given["hex"]) if "hex" in given else _text_from_json(given)
        elif name != "code":
            told[name] = given
    return _ERRORS[value["code"]](**told)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was asked, and what came of it.

    Args:
        kind: ``uds`` (any request to an ECU or a group), ``j1939``, ``claim`` (of a J1939 address) or ``search``.
        t_ns: UTC nanoseconds since the Unix epoch when it was over.
        target: whom; of ``uds``.
        payload: what; of ``uds``.
        pgn, destination: of ``j1939``.
        answers: of ``uds``.
        groups: answers of ``j1939``.
        found: ECUs that a search found.
        error: what went wrong instead, None where nothing did; :data:`CANCELLED` where nobody waited any longer.
    """

    kind: str
    t_ns: int
    target: Target | None = None
    payload: bytes = b""
    pgn: int = 0
    destination: int = 0
    answers: tuple[Answer, ...] = ()
    groups: tuple[J1939Answer, ...] = ()
    found: tuple[Target, ...] = ()
    error: DiagError | str | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What has to be asked again to get this."""
        return self.kind, self.target, self.payload, self.pgn, self.destination

    def to_json(self) -> Json:
        """One line of ``requests.jsonl``."""
        value: Json = {"kind": self.kind, "t_ns": self.t_ns}
        if self.target is not None:
            value |= {"to": _target_to_json(self.target), "request": self.payload.hex().upper()}
            value["answers"] = [_answer_to_json(answer) for answer in self.answers]
        if self.kind == "j1939":
            value |= {"pgn": self.pgn, "to": self.destination}
            value["answers"] = [
                {
                    "from": answer.source,
                    "payload": answer.payload.hex().upper(),
                    "control": answer.control,
                    "missing": answer.missing,
                }
                for answer in self.groups
            ]
        if self.kind == "search":
            value["found"] = [_target_to_json(target) for target in self.found]
        value["error"] = _error_to_json(self.error) if isinstance(self.error, DiagError) else self.error
        return value

    @classmethod
    def from_json(cls, value: Json) -> Entry:
        """The same again.

        Raises:
            KeyError, TypeError, ValueError: it is no such line.
        """
        kind, t_ns, told = str(value["kind"]), _time(value["t_ns"]), value["error"]
        error = _error_from_json(told) if isinstance(told, dict) else told
        if error not in (None, CANCELLED) and not isinstance(error, DiagError):
            raise ValueError(error)
        if kind == "uds":
            target, payload = _target_from_json(value["to"]), bytes.fromhex(value["request"])
            answers = tuple(_answer_from_json(one, payload) for one in value["answers"])
            return cls(kind, t_ns, target, payload, answers=answers, error=error)
        if kind == "j1939":
            pgn = int(value["pgn"])
            groups = tuple(
                J1939Answer(int(one["from"]), pgn, bytes.fromhex(one["payload"]), one["control"], int(one["missing"]))
                for one in value["answers"]
            )
            return cls(kind, t_ns, pgn=pgn, destination=int(value["to"]), groups=groups, error=error)
        if kind == "search":
            found = tuple(_target_from_json(one) for one in value["found"])
            return cls(kind, t_ns, found=found, error=error)
        if kind == "claim":
            return cls(kind, t_ns, error=error)
        raise ValueError(kind)


def _answer_to_json(answer: Answer) -> Json:
    value: Json = {"from": _target_to_json(answer.source), "payload": answer.payload.hex().upper(), "t_ns": answer.t_ns}
    if not answer.complete or answer.missing:
        value |= {"complete": answer.complete, "missing": answer.missing, "reason": _text_to_json(answer.reason)}
    return value


def _answer_from_json(value: Json, request: bytes) -> Answer:
    return Answer(
        _target_from_json(value["from"]),
        request,
        bytes.fromhex(value["payload"]),
        bool(value.get("complete", True)),
        int(value.get("missing", 0)),
        _time(value["t_ns"]),
        _text_from_json(value.get("reason")),
    )


@dataclass(frozen=True, slots=True)
class LinkTraits:
    """What a visit needs to know of its link.

    Args:
        info: through what the car is reached.
        has_frames: frames pass, and requests are made of them; else nothing but requests and answers.
        is_can: addresses are CAN identifiers.
        at_once: ECUs that are worth asking side by side.
        functional, usual: whom to ask to find everybody, where no frames pass.
        remarks: about this very adapter.
    """

    info: LinkInfo
    has_frames: bool
    is_can: bool = True
    at_once: int = 64
    functional: tuple[Target, ...] = ()
    usual: tuple[Target, ...] = ()
    remarks: tuple[Text, ...] = ()

    def to_json(self) -> Json:
        """``link`` of ``visit.json``."""
        return {
            **self.info.to_json(),
            "has_frames": self.has_frames,
            "is_can": self.is_can,
            "at_once": self.at_once,
            "functional": [_target_to_json(target) for target in self.functional],
            "usual": [_target_to_json(target) for target in self.usual],
            "remarks": [remark.to_json() for remark in self.remarks],
        }

    @classmethod
    def from_json(cls, value: Json) -> LinkTraits:
        """The same again.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        bitrate = value["bitrate"]
        info = LinkInfo(
            str(value["interface"]),
            str(value["channel"]),
            None if bitrate is None else int(bitrate),
            bool(value["simulated"]),
        )
        return cls(
            info,
            bool(value["has_frames"]),
            bool(value["is_can"]),
            int(value["at_once"]),
            tuple(_target_from_json(one) for one in value["functional"]),
            tuple(_target_from_json(one) for one in value["usual"]),
            tuple(Text(str(one["en"]), str(one["zh"])) for one in value["remarks"]),
        )


class Hearing:
    """The frames of a visit, and which of them are broadcast.

    Attributes:
        frames: all that passed, this machine's own among them.
        spoken: identifiers that requests and answers of this visit have.
        marks: so many frames were there each time that they were looked at.
        dropped: frames that were not kept any more.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.spoken: set[int] = set()
        self.marks: list[int] = []
        self.dropped = 0
        self._kept: list[Frame] = []
        self._seen = (0, 0)

    @property
    def coming(self) -> Sequence[Frame]:
        """All frames of the visit, looked at or not."""
        return self.frames

    def hear(self, frames: Iterable[Frame]) -> None:
        """Takes frames, as many as memory is meant for; the rest is counted."""
        for frame in frames:
            if len(self.frames) < _MOST_FRAMES:
                self.frames.append(frame)
            else:
                self.dropped += 1

    def look(self) -> None:
        """From here on what was heard until now counts."""
        self.marks.append(len(self.frames))

    def finish(self) -> None:
        """The last look."""
        self.look()

    @property
    def has_broadcast(self) -> bool:
        """Whether anything at all was heard that nobody asked for."""
        return any(self._is_of_use(frame) for frame in self.coming)

    @property
    def broadcast(self) -> list[Frame]:
        """Frames, up to the last look, that are no part of a diagnostic conversation."""
        end = self.marks[-1] if self.marks else 0
        seen, spoken = self._seen
        if spoken != len(self.spoken) or seen > end:
            seen, self._kept = 0, []
        self._kept += [frame for frame in self.frames[seen:end] if self._is_of_use(frame)]
        self._seen = end, len(self.spoken)
        return self._kept

    def _is_of_use(self, frame: Frame) -> bool:
        if frame.tx or frame.error or frame.remote or frame.can_id in self.spoken:
            return False
        return not is_diagnostic_id(frame.can_id, extended=frame.extended)


@dataclass(slots=True)
class Tape:
    """A visit as it happened.

    Attributes:
        traits: of the link; None before anything began.
        settings: what the visit was told: ``listen_s``, ``search``, ``timeout_s``.
        started_ns, duration_s: as the report says them.
        ending: ``finished``, ``interrupted``, or ``lost`` with the adapter.
        entries: what was asked.
        frames, marks, dropped: see :class:`Hearing`.
        databases: that the broadcast frames were read with, named or chosen.
        signal_set: that the battery was asked with.
    """

    traits: LinkTraits | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    started_ns: int = 0
    ended_ns: int = 0
    duration_s: float = 0.0
    simulated: bool = False
    ending: str = "interrupted"
    entries: list[Entry] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    dropped: int = 0
    databases: tuple[Database, ...] = ()
    signal_set: SignalSet | None = None

    def note(self, entry: Entry) -> None:
        """Adds what was asked."""
        self.entries.append(entry)

    def to_json(self) -> Json:
        """``visit.json``: everything but the entries and the frames."""
        if self.traits is None:
            raise RuntimeError("a tape of nothing")
        return {
            "link": self.traits.to_json(),
            "settings": self.settings,
            "started_ns": self.started_ns,
            "ended_ns": self.ended_ns,
            "duration_s": self.duration_s,
            "simulated": self.simulated,
            "ending": self.ending,
            "marks": self.marks,
            "dropped": self.dropped,
        }

    @classmethod
    def from_json(cls, value: Json, entries: Sequence[Json], frames: Sequence[Frame]) -> Tape:
        """The same again.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        if value["ending"] not in _ENDINGS or not isinstance(value["settings"], dict):
            raise ValueError(value["ending"])
        for name in ("listen_s", "timeout_s"):
            if value["settings"].get(name) is not None:
                _seconds(value["settings"][name])
        marks = [int(mark) for mark in value["marks"]]
        if marks != sorted(marks) or (marks and not 0 <= marks[0] <= marks[-1] <= len(frames)):
            raise ValueError("marks")
        return cls(
            LinkTraits.from_json(value["link"]),
            value["settings"],
            _time(value["started_ns"]),
            _time(value["ended_ns"]),
            _seconds(value["duration_s"]),
            bool(value["simulated"]),
            str(value["ending"]),
            [Entry.from_json(entry) for entry in entries],
            list(frames),
            marks,
            max(0, int(value.get("dropped", 0))),
        )

    def queues(self) -> dict[tuple[object, ...], deque[Entry]]:
        """Entries by what was asked, each in order."""
        found: dict[tuple[object, ...], deque[Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.key, deque()).append(entry)
        return found
