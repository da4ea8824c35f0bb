"""Why a request to the car is not taken, or not done; part of the tree of :mod:`consult.errors`.

::

    ConsultError
    └── GrantError
        ├── CarAway            the technician's laptop is not connected
        ├── EcuUnknown         the scan found no such ECU
        ├── NeverGranted       unknown to the guard's table, or refused by it whoever grants it
        ├── PolicyForbids      the laptop's own policy does not allow it
        ├── RequestUnknown     no such request, or it is over
        ├── RequestExpired     nobody decided within its minute
        ├── AlreadyDecided     a request is decided once
        ├── DigestWrong        what was decided on is not this request, to the byte
        ├── ProofWrong         not the word of the laptop's own technician
        ├── SecondRefused      who asked, or the technician, is no second person
        ├── StateUnmet         the car is not known to be in the state that it must be in
        ├── GrantsStopped      everything was stopped; the technician has not resumed
        └── HoldMissing        it runs only while it is held, and nobody holds it
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from consult.errors import ConsultError

if TYPE_CHECKING:
    from diag.facts import Text

__all__ = [
    "AlreadyDecided",
    "CarAway",
    "DigestWrong",
    "EcuUnknown",
    "GrantError",
    "GrantsStopped",
    "HoldMissing",
    "NeverGranted",
    "PolicyForbids",
    "ProofWrong",
    "RequestExpired",
    "RequestUnknown",
    "SecondRefused",
    "StateUnmet",
]


class GrantError(ConsultError):
    """A request to the car is not taken, or not done. Nothing of it was sent."""

    code: ClassVar[str] = "consult.grant"
    status: ClassVar[int] = 403


class CarAway(GrantError):
    """Without the laptop nobody can look at a request, let alone do it."""

    code: ClassVar[str] = "consult.car-away"
    template: ClassVar[str] = "the technician's laptop is not connected; ask again when it is back"


@dataclass(eq=False)
class EcuUnknown(GrantError):
    """Only ECUs that the scan found can be asked."""

    ecu: str
    code: ClassVar[str] = "consult.ecu-unknown"
    template: ClassVar[str] = "the scan found no ECU {ecu}; choose one of the report"


@dataclass(eq=False)
class NeverGranted(GrantError):
    """The guard's table does not know it, or refuses it whoever grants it."""

    what: Text | str
    code: ClassVar[str] = "consult.never-granted"
    template: ClassVar[str] = "never done by remote request: {what}"


@dataclass(eq=False)
class PolicyForbids(GrantError):
    """The laptop's own policy, which no service can widen."""

    what: Text | str
    risk: str
    code: ClassVar[str] = "consult.policy-forbids"
    template: ClassVar[str] = "the workshop's policy does not allow this: {what} (class {risk})"


class RequestUnknown(GrantError):
    """No such request in this room, or it is over."""

    code: ClassVar[str] = "consult.request-unknown"
    template: ClassVar[str] = "there is no such open request in this room; ask again"


class RequestExpired(GrantError):
    """A request lives for a minute."""

    code: ClassVar[str] = "consult.request-expired"
    template: ClassVar[str] = "the request has expired; ask again"


class AlreadyDecided(GrantError):
    """One decision each, and no way to say it twice."""

    code: ClassVar[str] = "consult.already-decided"
    template: ClassVar[str] = "this request was decided before; ask again"


class DigestWrong(GrantError):
    """A decision counts for the very bytes that the person saw."""

    code: ClassVar[str] = "consult.digest-wrong"
    template: ClassVar[str] = "what was shown and what is asked for are not the same; nothing was sent, ask again"


class ProofWrong(GrantError):
    """The service says that the technician granted it, and cannot show it."""

    code: ClassVar[str] = "consult.proof-wrong"
    template: ClassVar[str] = "not granted by this laptop's own technician; use the terminal or the laptop's QR code"


class SecondRefused(GrantError):
    """The second person is neither who asked nor the technician."""

    code: ClassVar[str] = "consult.second-refused"
    template: ClassVar[str] = "the second person must be another expert than the one who asked"


@dataclass(eq=False)
class StateUnmet(GrantError):
    """Unknown is not met."""

    what: Text | str
    code: ClassVar[str] = "consult.state-unmet"
    template: ClassVar[str] = "nothing was sent: {what}"


class GrantsStopped(GrantError):
    """The kill switch."""

    code: ClassVar[str] = "consult.grants-stopped"
    template: ClassVar[str] = "everything was stopped; the technician's /resume lets requests through again"


class HoldMissing(GrantError):
    """An actuator runs only while a hand is on the button."""

    code: ClassVar[str] = "consult.hold-missing"
    template: ClassVar[str] = "not started: it runs only while it is held, and nobody held it"
