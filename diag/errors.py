"""What can go wrong between the tester and the vehicle.

::

    DiagError
    ├── LinkError
    │   ├── NoAdapter             nothing to talk through (exit code 3)
    │   └── LinkLost              the adapter went away while in use (3)
    ├── NoAnswer                  the vehicle, or one ECU, stays silent (4)
    ├── ProtocolError             (5)
    │   ├── LocalProtocolError    we broke the rules
    │   ├── RemoteProtocolError   the ECU did
    │   └── TransferStopped       data to or from an ECU's memory did not come to their end
    ├── NegativeResponse          the ECU said no, and why (5)
    ├── RefusedByPolicy           the guard let nothing out (7)
    ├── BadInput                  text given to a decoder is not what it says (2)
    └── BundleBroken              a session bundle cannot be used (2)

Errors carry fields; ``__str__`` builds the English sentence from ``template`` (what happened, where, what to do
next). The Chinese sentence stands under the same ``code`` in the application's language catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from diag.facts import Text

__all__ = [
    "BadInput",
    "BundleBroken",
    "DiagError",
    "LinkError",
    "LinkLost",
    "LocalProtocolError",
    "NegativeResponse",
    "NoAdapter",
    "NoAnswer",
    "ProtocolError",
    "RefusedByPolicy",
    "RemoteProtocolError",
    "TransferStopped",
]


class DiagError(Exception):
    """Root of this package's errors."""

    code: ClassVar[str] = "diag"
    template: ClassVar[str] = "diagnostic error"

    def __str__(self) -> str:
        return self.template.format(**vars(self))


class LinkError(DiagError):
    """Nothing to talk through."""

    code: ClassVar[str] = "diag.link"


@dataclass(eq=False)
class NoAdapter(LinkError):
    """The adapter could not be opened."""

    interface: str
    channel: str
    reason: Text | str
    code: ClassVar[str] = "diag.no-adapter"
    template: ClassVar[str] = (
        "no adapter: {interface} on {channel} could not be opened ({reason}); "
        "'huizhen doctor' says what is plugged in and what is missing"
    )


@dataclass(eq=False)
class LinkLost(LinkError):
    """The adapter went away while in use."""

    channel: str
    reason: Text | str
    code: ClassVar[str] = "diag.link-lost"
    template: ClassVar[str] = "link lost on {channel}: {reason}; plug the adapter in again"


@dataclass(eq=False)
class NoAnswer(DiagError):
    """Nobody answered within the time allowed."""

    target: Text | str
    timeout_s: float
    code: ClassVar[str] = "diag.no-answer"
    template: ClassVar[str] = (
        "no answer from {target} within {timeout_s:g} s; switch the ignition on, check plug and bit rate"
    )


class ProtocolError(DiagError):
    """Somebody broke the rules of a protocol."""

    code: ClassVar[str] = "diag.protocol"


@dataclass(eq=False)
class LocalProtocolError(ProtocolError):
    """We broke the rules: a bug or a wrong argument on this side."""

    reason: Text | str
    code: ClassVar[str] = "diag.local-protocol"
    template: ClassVar[str] = "cannot send that: {reason}"


@dataclass(eq=False)
class RemoteProtocolError(ProtocolError):
    """An ECU broke the rules; ``raw`` has its bytes as far as they came."""

    ecu: str
    reason: Text | str
    raw: bytes
    code: ClassVar[str] = "diag.remote-protocol"
    template: ClassVar[str] = "ECU {ecu} answered against the protocol: {reason}; the raw bytes are kept"


@dataclass(eq=False)
class TransferStopped(ProtocolError):
    """A download or upload began and did not end; ``nrc`` is the refusal, None where the answer made no sense."""

    ecu: str
    done: int
    total: int
    nrc: int | None
    code: ClassVar[str] = "diag.transfer-stopped"
    template: ClassVar[str] = (
        "the transfer with ECU {ecu} stopped after {done} of {total} bytes; begin it again before the ECU is used"
    )


@dataclass(eq=False)
class NegativeResponse(DiagError):
    """An ECU refused a request. Standard: ISO 14229-1:2020 §8.7 (code numbers: Annex A)."""

    ecu: str
    service: int
    nrc: int
    name: str
    code: ClassVar[str] = "diag.negative-response"
    template: ClassVar[str] = "ECU {ecu} refused service 0x{service:02X}: {name} (0x{nrc:02X})"


@dataclass(eq=False)
class RefusedByPolicy(DiagError):
    """The guard refused to transmit; nothing left this machine."""

    what: Text | str
    risk: str
    code: ClassVar[str] = "diag.refused"
    template: ClassVar[str] = "refused, nothing was sent: {what} (class {risk}); scanning only reads"


@dataclass(eq=False)
class BadInput(DiagError):
    """Text handed to a decoder is not what it should be."""

    what: Text | str
    reason: Text | str
    code: ClassVar[str] = "diag.bad-input"
    template: ClassVar[str] = "cannot use {what}: {reason}"


@dataclass(eq=False)
class BundleBroken(DiagError):
    """A session bundle that cannot be used."""

    path: str
    reason: Text
    code: ClassVar[str] = "diag.bundle"
    template: ClassVar[str] = "{path}: {reason}"
