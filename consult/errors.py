"""What can go wrong in the expert room. They end the program with exit code 8, unusable files with 2.

::

    ConsultError
    ├── InviteError
    │   ├── InviteUnknown      no such invite (HTTP 403)
    │   ├── InviteUsed         it was redeemed before (410)
    │   └── InviteExpired      its fifteen minutes are over (410)
    ├── AccessError
    │   ├── SessionRefused     no session, or one that has ended (401)
    │   ├── RoleRefused        the role may not do this (403)
    │   ├── ReplayOnly         a recording is watched, nothing in it can be changed (403)
    │   ├── LoginRefused       unknown account or wrong password (401)
    │   └── OriginRefused      the request came from another site's page (403)
    ├── TooMuch                a limit of size or rate (413, 429)
    ├── WireError
    │   ├── BlockBroken        bytes that are no sample block
    │   └── MessageBroken      text that is no message of the room
    ├── ServerError
    │   ├── ServerUnreachable  nobody answers at the address
    │   ├── CertificateRefused the server's certificate is not trusted
    │   ├── ServerCannotKeep   it has no place for the room's recording
    │   ├── ServerRefused      it answered, and said no without a reason known here
    │   └── RoomClosed         the room has ended
    │       └── RoomFinished   its job is done: finding and fix are on record
    └── ServiceError
        ├── CannotListen       the port is taken, or the address is not ours
        ├── CertificateBroken  the certificate or key file for TLS cannot be used
        ├── DataUnusable       the folder for the recordings cannot be written
        ├── DataInUse          another service keeps its rooms in the same folder
        ├── StateBroken        the service's own database cannot be written or read
        ├── ConfigUnreadable   the configuration file cannot be read
        ├── ConfigBroken       the configuration file says something that is no setting
        ├── AccountBroken      an account's data make no sense
        ├── PageMissing        the page was not built
        ├── RelayMissing       only a relay may be used, and none lets us
        ├── UploadBroken       a file that somebody brings is none that a room takes
        ├── FileUnknown        there is no such file in the room (404)
        ├── SpoolBroken        an unfinished room on the laptop's disk cannot be resumed
        ├── JournalBroken      the room's journal cannot be written or read
        └── RecordingBroken    a file is no room's recording, or cannot be read

Errors carry fields; ``__str__`` builds the English sentence from ``template`` (what happened, where, what to do
next). The Chinese sentence stands under the same ``code`` in the application's language catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from diag.facts import Text

__all__ = [
    "AccessError",
    "AccountBroken",
    "BlockBroken",
    "CannotListen",
    "CertificateBroken",
    "CertificateRefused",
    "ConfigBroken",
    "ConfigUnreadable",
    "ConsultError",
    "DataInUse",
    "DataUnusable",
    "FileUnknown",
    "InviteError",
    "InviteExpired",
    "InviteUnknown",
    "InviteUsed",
    "JournalBroken",
    "LoginRefused",
    "MessageBroken",
    "OriginRefused",
    "PageMissing",
    "RecordingBroken",
    "RelayMissing",
    "ReplayOnly",
    "RoleRefused",
    "RoomClosed",
    "RoomFinished",
    "ServerCannotKeep",
    "ServerError",
    "ServerRefused",
    "ServerUnreachable",
    "ServiceError",
    "SessionRefused",
    "SpoolBroken",
    "StateBroken",
    "TooMuch",
    "UploadBroken",
    "WireError",
]


class ConsultError(Exception):
    """Root of this package's errors. ``status`` is what HTTP says when it ends a request."""

    code: ClassVar[str] = "consult"
    template: ClassVar[str] = "error in the expert room"
    status: ClassVar[int] = 400

    def __str__(self) -> str:
        return self.template.format(**vars(self))


class InviteError(ConsultError):
    """An invite cannot be redeemed."""

    code: ClassVar[str] = "consult.invite"
    status: ClassVar[int] = 410


class InviteUnknown(InviteError):
    """No such invite was ever given out, or long ago."""

    code: ClassVar[str] = "consult.invite-unknown"
    template: ClassVar[str] = "this invite is not valid; copy the whole link or code, or ask for a new one"
    status: ClassVar[int] = 403


class InviteUsed(InviteError):
    """An invite is good for one person, once."""

    code: ClassVar[str] = "consult.invite-used"
    template: ClassVar[str] = "this invite was used before; each works once, ask for a new one"


class InviteExpired(InviteError):
    """An invite lives for fifteen minutes."""

    code: ClassVar[str] = "consult.invite-expired"
    template: ClassVar[str] = "this invite has expired; ask for a new one"


class AccessError(ConsultError):
    """Somebody asked for what is not theirs."""

    code: ClassVar[str] = "consult.access"
    status: ClassVar[int] = 403


class SessionRefused(AccessError):
    """The request carries no session of this room, or one that has ended."""

    code: ClassVar[str] = "consult.session-refused"
    template: ClassVar[str] = "not signed in to this room, or the session has ended; join with a new invite"
    status: ClassVar[int] = 401


@dataclass(eq=False)
class RoleRefused(AccessError):
    """The session is good, its role does not allow this."""

    role: str
    code: ClassVar[str] = "consult.role-refused"
    template: ClassVar[str] = "the role {role} may not do this; ask the technician"


class LoginRefused(AccessError):
    """No such account, or another password: a stranger learns no difference."""

    code: ClassVar[str] = "consult.login-refused"
    template: ClassVar[str] = "name or password is wrong; ask the service's administrator for a new password"
    status: ClassVar[int] = 401


class OriginRefused(AccessError):
    """A page of another site sent this request in the visitor's name."""

    code: ClassVar[str] = "consult.origin-refused"
    template: ClassVar[str] = "refused: the request comes from another site; open the room by its own address"


class ReplayOnly(AccessError):
    """Somebody wanted to change what is only played again."""

    code: ClassVar[str] = "consult.replay-only"
    template: ClassVar[str] = "this is a recording: it can be watched, and nothing in it can be changed"


@dataclass(eq=False)
class TooMuch(ConsultError):
    """A limit was passed."""

    what: Text | str
    limit: str
    code: ClassVar[str] = "consult.too-much"
    template: ClassVar[str] = "too much: {what}, the limit is {limit}; wait a little or send less"
    status: ClassVar[int] = 429


class WireError(ConsultError):
    """Something arrived that is not of the room's format."""

    code: ClassVar[str] = "consult.wire"


@dataclass(eq=False)
class BlockBroken(WireError):
    """Bytes that are no sample block."""

    reason: Text | str
    code: ClassVar[str] = "consult.block-broken"
    template: ClassVar[str] = "broken sample block: {reason}; agent and service may be of different versions"


@dataclass(eq=False)
class MessageBroken(WireError):
    """Text that is no message of the room."""

    reason: Text | str
    code: ClassVar[str] = "consult.message-broken"
    template: ClassVar[str] = "broken message: {reason}; agent and service may be of different versions"


class ServerError(ConsultError):
    """The room's server cannot be used."""

    code: ClassVar[str] = "consult.server"


@dataclass(eq=False)
class ServerUnreachable(ServerError):
    """Nobody answers at the address, or not like a room service."""

    url: str
    reason: Text | str
    code: ClassVar[str] = "consult.server-unreachable"
    template: ClassVar[str] = "no room service at {url}: {reason}; check the address and the network"


@dataclass(eq=False)
class CertificateRefused(ServerError):
    """TLS works, but the certificate is not trusted."""

    url: str
    reason: str
    code: ClassVar[str] = "consult.certificate-refused"
    template: ClassVar[str] = (
        "the certificate of {url} is not trusted ({reason}); give the workshop's CA with --ca FILE"
    )


@dataclass(eq=False)
class ServerRefused(ServerError):
    """The server answered with a status that no error here stands for."""

    url: str
    status_code: int
    code: ClassVar[str] = "consult.server-refused"
    template: ClassVar[str] = "{url} answered with HTTP {status_code}; is this a Huizhen room service?"


@dataclass(eq=False)
class ServerCannotKeep(ServerError):
    """The server has no place for the room's recording, and without one it opens no room."""

    url: str
    code: ClassVar[str] = "consult.server-cannot-keep"
    template: ClassVar[str] = (
        "no room was opened: the room service at {url} cannot keep recordings; look for a full or read-only disk there"
    )


class RoomClosed(ServerError):
    """The room has ended."""

    code: ClassVar[str] = "consult.room-closed"
    template: ClassVar[str] = "the room is closed; open a new one"
    status: ClassVar[int] = 410


class RoomFinished(RoomClosed):
    """The room has ended with a finding."""

    code: ClassVar[str] = "consult.room-finished"
    template: ClassVar[str] = "the job is finished: finding and fix are on record, and the room is closed"


class ServiceError(ConsultError):
    """The service cannot run here."""

    code: ClassVar[str] = "consult.service"
    status: ClassVar[int] = 500


@dataclass(eq=False)
class CannotListen(ServiceError):
    """The port is taken, or the address is not one of this machine's."""

    address: str
    reason: str
    code: ClassVar[str] = "consult.cannot-listen"
    template: ClassVar[str] = "cannot listen on {address}: {reason}; choose another with --host and --port"


@dataclass(eq=False)
class CertificateBroken(ServiceError):
    """The files given for TLS cannot be used."""

    path: str
    reason: str
    code: ClassVar[str] = "consult.certificate-broken"
    template: ClassVar[str] = "cannot use the certificate {path}: {reason}; both files must be PEM and belong together"


@dataclass(eq=False)
class DataUnusable(ServiceError):
    """The folder for the rooms' recordings cannot be made or written."""

    path: str
    reason: str
    code: ClassVar[str] = "consult.data-unusable"
    template: ClassVar[str] = "cannot keep recordings in {path}: {reason}; choose another folder with --data"


@dataclass(eq=False)
class DataInUse(ServiceError):
    """Two services on the same rooms would write over each other."""

    path: str
    code: ClassVar[str] = "consult.data-in-use"
    template: ClassVar[str] = "another room service is running on {path}; stop it, or choose another folder with --data"


@dataclass(eq=False)
class StateBroken(ServiceError):
    """The database of accounts, rooms and sessions cannot be written or read."""

    path: str
    reason: str
    code: ClassVar[str] = "consult.state-broken"
    template: ClassVar[str] = "the service's database {path} cannot be used: {reason}; check disk space and permissions"
    status: ClassVar[int] = 507


@dataclass(eq=False)
class ConfigUnreadable(ServiceError):
    """The configuration file is not there, or cannot be read."""

    path: str
    reason: str
    code: ClassVar[str] = "consult.config-unreadable"
    template: ClassVar[str] = "cannot read the configuration {path}: {reason}; name a TOML file with --config"


@dataclass(eq=False)
class ConfigBroken(ServiceError):
    """The configuration file is no TOML, or names something that is no setting."""

    path: str
    line: int
    reason: Text | str
    code: ClassVar[str] = "consult.config-broken"
    template: ClassVar[str] = "{path}, line {line}: {reason}; docs/room-service.md lists the settings"


@dataclass(eq=False)
class AccountBroken(ServiceError):
    """An account cannot be made or changed like that."""

    name: str
    reason: Text | str
    code: ClassVar[str] = "consult.account-broken"
    template: ClassVar[str] = "account {name}: {reason}"
    status: ClassVar[int] = 400


@dataclass(eq=False)
class PageMissing(ServiceError):
    """The package was installed without its page."""

    path: str
    code: ClassVar[str] = "consult.page-missing"
    template: ClassVar[str] = (
        "the page is not built: {path} is missing; run `pip install -e .` or `pip install huizhen`"
    )


class RelayMissing(ServiceError):
    """Connections go by a relay only, and the relay lets nobody in."""

    code: ClassVar[str] = "consult.relay-missing"
    template: ClassVar[str] = "the TURN server gives no relay; check its address, the shared secret and its certificate"
    status: ClassVar[int] = 502


@dataclass(eq=False)
class UploadBroken(ServiceError):
    """A file that somebody brings cannot be taken."""

    reason: str | Text
    code: ClassVar[str] = "consult.upload-broken"
    template: ClassVar[str] = "the file was not taken: {reason}; a room takes PNG, JPEG, text logs and .hzb bundles"
    status: ClassVar[int] = 400


class FileUnknown(ServiceError):
    """There is no such file in the room."""

    code: ClassVar[str] = "consult.file-unknown"
    template: ClassVar[str] = "no such file in this room"
    status: ClassVar[int] = 404


@dataclass(eq=False)
class SpoolBroken(ServiceError):
    """What a killed program left of a room on the laptop's disk cannot be used."""

    path: str
    reason: str | Text
    code: ClassVar[str] = "consult.spool-broken"
    template: ClassVar[str] = "cannot resume the room in {path}: {reason}; open a new one"


@dataclass(eq=False)
class JournalBroken(ServiceError):
    """The room's journal cannot be written or read."""

    path: str
    reason: str
    code: ClassVar[str] = "consult.journal-broken"
    template: ClassVar[str] = "the room's journal {path} cannot be used: {reason}; check disk space and permissions"
    status: ClassVar[int] = 507


@dataclass(eq=False)
class RecordingBroken(ServiceError):
    """A file that is no recording of a room, or cannot be read."""

    path: str
    reason: Text | str
    code: ClassVar[str] = "consult.recording-broken"
    template: ClassVar[str] = "{path} cannot be read as a room's recording: {reason}; name a .room file"
