"""A workshop's side of the network: asks the service and tells it, each request signed by the library's own key."""

from __future__ import annotations

import io
import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from casebase.sharing import canonical
from consult.errors import (
    CertificateRefused,
    ConsultError,
    MessageBroken,
    ServerRefused,
    ServerUnreachable,
    StateBroken,
    TooMuch,
)
from consult.networkerrors import (
    ClockWrong,
    CountsRefused,
    EnrolmentRefused,
    NetworkOff,
    RequestReplayed,
    SiteRefused,
    VisitRefused,
)
from consult.networksigning import is_signed_by, signed_headers
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from casebase.visits import Visit

__all__ = ["NetworkClient"]

_MOST_ANSWER: Final = 160 << 20
_SMALL: Final = aiohttp.ClientTimeout(total=8, connect=4)
_LARGE: Final = aiohttp.ClientTimeout(total=300, connect=5)
_BY_CODE: Final[dict[str, Callable[[str], ConsultError]]] = {
    NetworkOff.code: lambda _: NetworkOff(),
    SiteRefused.code: lambda _: SiteRefused(),
    ClockWrong.code: lambda _: ClockWrong(),
    RequestReplayed.code: lambda _: RequestReplayed(),
    EnrolmentRefused.code: lambda _: EnrolmentRefused(),
    VisitRefused.code: lambda said: VisitRefused(Text(said, said)),
    CountsRefused.code: lambda said: CountsRefused(Text(said, said)),
    TooMuch.code: lambda _: TooMuch(Text("cars asked for, or requests", "车辆查询或请求"), "—"),
    MessageBroken.code: lambda said: MessageBroken(Text(said, said)),
    StateBroken.code: lambda said: StateBroken("—", said),
}


@dataclass(frozen=True, slots=True)
class NetworkClient:
    """One workshop at one service.

    Args:
        http: a session that trusts the service's certificate.
        server: its address.
        private: the library's key.
        service: the service's public key as text; empty before it has been joined.
    """

    http: aiohttp.ClientSession
    server: str
    private: bytes
    service: str = ""

    async def join(self, code: str) -> dict[str, Any]:
        """Becomes the workshop of a code; the answer names it, its region, and the keys of the service.

        Raises:
            ConsultError: what the service said, or why it could not be asked.
        """
        return await self._ask("POST", "/api/network/join", {"code": code}, service="")

    async def look(self, vin: str) -> dict[str, Any]:
        """Earlier visits of a car anywhere in the network, and a ticket by which this visit may be told later.

        Raises:
            ConsultError: as :meth:`join`.
        """
        return await self._ask("POST", "/api/network/look", {"vin": vin})

    async def tell_visit(self, visit: Visit, *, ticket: str = "", vin: str = "") -> bool:
        """Tells what became of a car, named by a ticket or by its VIN; whether it is new there.

        Raises:
            ConsultError: as :meth:`join`.
        """
        car = {"vin": vin} if vin else {"ticket": ticket}
        return bool((await self._ask("POST", "/api/network/visits", {**car, "visit": visit.to_json()})).get("new"))

    async def tell_counts(self, document: Mapping[str, Any]) -> int:
        """Gives this library's signed counts; how many fixes the service took.

        Raises:
            ConsultError: as :meth:`join`.
        """
        told = await self._ask("POST", "/api/network/counts", dict(document), timeout=_LARGE)
        return int(told.get("patterns") or 0)

    async def get_counts(self) -> dict[str, Any]:
        """``huizhen.network/1``: what all others have told, checked against the service's key.

        Raises:
            ConsultError: as :meth:`join`.
            SiteRefused: another key signed it than the one that was joined.
        """
        told = await self._ask("GET", "/api/network/counts", None, timeout=_LARGE)
        content = {key: value for key, value in told.items() if key != "signature"}
        if not is_signed_by(self.service, told.get("signature"), canonical(content)):
            raise SiteRefused
        return content

    async def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        *,
        service: str | None = None,
        timeout: aiohttp.ClientTimeout = _SMALL,  # noqa: ASYNC109 - aiohttp's own
    ) -> dict[str, Any]:
        data = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = signed_headers(
            self.private,
            service=self.service if service is None else service,
            method=method,
            path=path,
            body=data,
            t_s=int(time.time()),
            nonce=secrets.token_urlsafe(16),
        )
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with self.http.request(
                method,
                f"{self.server}{path}",
                data=io.BytesIO(data) if data else None,
                headers=headers,
                timeout=timeout,
            ) as response:
                said = bytearray()
                async for piece in response.content.iter_chunked(1 << 16):
                    said += piece
                    if len(said) > _MOST_ANSWER:
                        raise ServerRefused(self.server, response.status)
                answer = _object(bytes(said))
                if response.status == 200 and answer is not None:
                    return answer
                code = str((answer or {}).get("error"))
                if code in _BY_CODE:
                    raise _BY_CODE[code](str((answer or {}).get("text", ""))[:300])
                raise ServerRefused(self.server, response.status)
        except aiohttp.ClientConnectorCertificateError as error:
            raise CertificateRefused(self.server, str(error.certificate_error)) from error
        except aiohttp.InvalidURL as error:
            raise ServerUnreachable(self.server, Text("not an address", "不是有效地址")) from error
        except TimeoutError as error:
            raise ServerUnreachable(self.server, Text("no answer in time", "超时无应答")) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ServerUnreachable(self.server, str(error)) from error


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None
