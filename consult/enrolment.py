"""Plain requests of the technician's agent to a service: redeeming, inviting, renewing."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from consult.errors import (
    CertificateBroken,
    CertificateRefused,
    ConsultError,
    InviteExpired,
    InviteUnknown,
    InviteUsed,
    JournalBroken,
    LoginRefused,
    OriginRefused,
    RoleRefused,
    RoomClosed,
    ServerCannotKeep,
    ServerRefused,
    ServerUnreachable,
    SessionRefused,
    TooMuch,
    UploadBroken,
)
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["RoomInvite", "bring_file", "http_to", "post"]

_REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=10, connect=5)
_PIECE: Final = 500_000
_PIECE_TIMEOUT: Final = aiohttp.ClientTimeout(total=120, connect=5)
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class RoomInvite:
    """An invite for somebody else. ``expires_us``: UTC microseconds since the Unix epoch."""

    code: str
    path: str
    url: str
    role: str
    expires_us: int


def http_to(ca: Path | None, fingerprint: bytes | None) -> aiohttp.ClientSession:
    """A session for one service, which is known by its certificate, its authority, or the system's authorities.

    Raises:
        CertificateBroken: ``ca`` cannot be used.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=aiohttp.Fingerprint(fingerprint) if fingerprint else _tls(ca))
    )


_BY_CODE: Final[dict[str, Callable[[], ConsultError]]] = {
    InviteUnknown.code: InviteUnknown,
    InviteUsed.code: InviteUsed,
    InviteExpired.code: InviteExpired,
    SessionRefused.code: SessionRefused,
    OriginRefused.code: OriginRefused,
    RoomClosed.code: RoomClosed,
    RoleRefused.code: lambda: RoleRefused("?"),
    LoginRefused.code: LoginRefused,
    TooMuch.code: lambda: TooMuch(Text("requests", "请求"), "—"),
}


async def post(
    http: aiohttp.ClientSession, server: str, path: str, body: dict[str, Any], token: str | None = None
) -> dict[str, Any]:
    """One JSON request to the service that changes something.

    Raises:
        ConsultError: what the service said, or why it could not be asked.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return (await exchange(http, "POST", server, path, body, headers))[0]


async def exchange(
    http: aiohttp.ClientSession,
    method: str,
    server: str,
    path: str,
    body: dict[str, Any] | None,
    headers: dict[str, str],
) -> tuple[dict[str, Any], dict[str, str]]:
    """One request to the service: its JSON answer, and the cookies that it gave.

    Raises:
        ConsultError: what the service said, or why it could not be asked.
    """
    try:
        async with http.request(
            method, f"{server}{path}", json=body, headers=headers, timeout=_REQUEST_TIMEOUT
        ) as response:
            try:
                answer = await response.json()
            except (aiohttp.ContentTypeError, ValueError):
                answer = None
            if response.status == 200 and isinstance(answer, dict):
                return answer, {name: one.value for name, one in response.cookies.items()}
            code = answer.get("error") if isinstance(answer, dict) else None
            if code in _BY_CODE:
                known = _BY_CODE[code]()
                raise known
            if code == JournalBroken.code:
                raise ServerCannotKeep(server)
            raise ServerRefused(server, response.status)
    except aiohttp.ClientConnectorCertificateError as error:
        raise CertificateRefused(server, error.certificate_error.verify_message) from error  # type: ignore[attr-defined]  # ssl's error has it, its stub hides it
    except aiohttp.ServerFingerprintMismatch as error:
        raise CertificateRefused(server, "fingerprint") from error
    except aiohttp.InvalidURL as error:
        raise ServerUnreachable(server, Text("not an address", "不是有效地址")) from error
    except TimeoutError as error:
        raise ServerUnreachable(server, Text("no answer in time", "超时无应答")) from error
    except (aiohttp.ClientError, OSError) as error:
        raise ServerUnreachable(server, str(error)) from error


async def bring_file(http: aiohttp.ClientSession, server: str, room: str, token: str, name: str, data: bytes) -> str:
    """Brings a file into the room, piece by piece, going on where a cut left it. Returns its SHA-256.

    Raises:
        UploadBroken: the room does not take it.
        ServerUnreachable: the service was lost several times.
        ServerRefused: it said no for another reason.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    offset, failures = 0, 0
    while True:
        query = {"offset": str(offset), "size": str(len(data)), "name": name}
        piece = data[offset : offset + _PIECE]
        try:
            async with http.put(
                f"{server}/r/{room}/files/{sha256}",
                params=query,
                data=piece,
                headers={"Authorization": f"Bearer {token}"},
                timeout=_PIECE_TIMEOUT,
            ) as response:
                body = await response.json()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failures += 1
            if failures >= _TRIES:
                raise ServerUnreachable(server, str(error)) from error
            continue
        if response.status == 200 and body["complete"]:
            return sha256
        if response.status in (200, 409):
            offset = int(body["offset"])
        elif body.get("error") == UploadBroken.code:
            raise UploadBroken(Text(name, name))
        else:
            raise ServerRefused(server, response.status)


def _tls(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise CertificateBroken(str(ca), str(error)) from error
