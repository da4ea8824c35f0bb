"""What can go wrong between workshops and the service of their network, and at its reviews.

::

    ConsultError
    └── NetworkError
        ├── NetworkOff         this service keeps no network (HTTP 404)
        ├── SiteRefused        no such workshop, or not signed by it (401)
        ├── ClockWrong         signed at another time than now (401)
        ├── RequestReplayed    this very request came before (409)
        ├── EnrolmentRefused   no such code, used or expired (403)
        ├── VisitRefused       what is told of a visit is not what it may be (400)
        ├── CountsRefused      counts that are not taken (400)
        ├── NotJoined          the library belongs to no network
        ├── OwnDraft           nobody reviews what they wrote (403)
        ├── DraftOver          no such draft that waits (409)
        ├── ReviewIncomplete   what cannot be accepted as it is (400)
        ├── ResearchUnknown    no such problem in the queue (404)
        ├── SiteBroken         a workshop cannot be added or changed like that (400)
        └── NetworkUnsearched  what is remembered of a car cannot be searched here (409)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from consult.errors import ConsultError

if TYPE_CHECKING:
    from diag.facts import Text

__all__ = [
    "ClockWrong",
    "CountsRefused",
    "DraftOver",
    "EnrolmentRefused",
    "NetworkError",
    "NetworkOff",
    "NetworkUnsearched",
    "NotJoined",
    "OwnDraft",
    "RequestReplayed",
    "ResearchUnknown",
    "ReviewIncomplete",
    "SiteBroken",
    "SiteRefused",
    "VisitRefused",
]


class NetworkError(ConsultError):
    """Something between a workshop and its network."""

    code: ClassVar[str] = "consult.network"


class NetworkOff(NetworkError):
    """A service that ends with its room, or whose owner wants no network."""

    code: ClassVar[str] = "consult.network-off"
    template: ClassVar[str] = "this service keeps no network of workshops; ask its administrator for [network] on"
    status: ClassVar[int] = 404


@dataclass(eq=False)
class SiteBroken(NetworkError):
    """A workshop cannot be added or changed like that."""

    name: str
    reason: Text | str
    code: ClassVar[str] = "consult.site-broken"
    template: ClassVar[str] = "workshop {name}: {reason}"


class SiteRefused(NetworkError):
    """Who is unknown and who signs wrongly learn no difference."""

    code: ClassVar[str] = "consult.site-refused"
    template: ClassVar[str] = "the network does not know this workshop's key; join again with a new code"
    status: ClassVar[int] = 401


class ClockWrong(NetworkError):
    """A request is good for some minutes around its time."""

    code: ClassVar[str] = "consult.clock-wrong"
    template: ClassVar[str] = "the clocks of workshop and service differ by minutes; set this computer's clock"
    status: ClassVar[int] = 401


class RequestReplayed(NetworkError):
    """A request is good once."""

    code: ClassVar[str] = "consult.request-replayed"
    template: ClassVar[str] = "this very request came before and counts once; ask again"
    status: ClassVar[int] = 409


class EnrolmentRefused(NetworkError):
    """A code for a workshop that was never given out, was used, or has expired."""

    code: ClassVar[str] = "consult.enrolment-refused"
    template: ClassVar[str] = "this code lets no workshop in, was used or has expired; ask for a new one"
    status: ClassVar[int] = 403


@dataclass(eq=False)
class VisitRefused(NetworkError):
    """A visit that says too much, too little, or of no car."""

    reason: Text
    code: ClassVar[str] = "consult.visit-refused"
    template: ClassVar[str] = "the network does not take this visit: {reason}"


@dataclass(eq=False)
class CountsRefused(NetworkError):
    """Counts that are older, laxer or somebody else's."""

    reason: Text
    code: ClassVar[str] = "consult.counts-refused"
    template: ClassVar[str] = "the network does not take these counts: {reason}"


class NotJoined(NetworkError):
    """A command for a network where the library belongs to none."""

    code: ClassVar[str] = "consult.not-joined"
    template: ClassVar[str] = "this library belongs to no network; 'huizhen case join --server URL --code CODE'"


class OwnDraft(NetworkError):
    """A second person looks at every case."""

    code: ClassVar[str] = "consult.own-draft"
    template: ClassVar[str] = "you wrote this draft; somebody else reviews it"
    status: ClassVar[int] = 403


@dataclass(eq=False)
class DraftOver(NetworkError):
    """A draft is decided once."""

    number: int
    code: ClassVar[str] = "consult.draft-over"
    template: ClassVar[str] = "no draft {number} waits for a review; look at the list again"
    status: ClassVar[int] = 409


@dataclass(eq=False)
class ReviewIncomplete(NetworkError):
    """A decision without what it needs."""

    reason: Text
    code: ClassVar[str] = "consult.review-incomplete"
    template: ClassVar[str] = "the review is not complete: {reason}"


@dataclass(eq=False)
class ResearchUnknown(NetworkError):
    """No problem of that number is in the queue."""

    number: int
    code: ClassVar[str] = "consult.research-unknown"
    template: ClassVar[str] = "no problem {number} is in the queue for research"
    status: ClassVar[int] = 404


@dataclass(eq=False)
class NetworkUnsearched(NetworkError):
    """Cars are remembered, and what finds them is not where this configuration says."""

    reason: Text
    code: ClassVar[str] = "consult.network-unsearched"
    template: ClassVar[str] = (
        "what the network remembers of cars cannot be searched: {reason}; use --config with the service's own file"
    )
    status: ClassVar[int] = 409
