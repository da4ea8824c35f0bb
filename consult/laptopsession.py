"""The laptop's own session in a room: what it asks of the service by single requests, beside its line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consult.enrolment import RoomInvite, bring_file, exchange, post
from consult.errors import MessageBroken
from diag.facts import Text

if TYPE_CHECKING:
    import aiohttp

__all__ = ["LaptopSession"]


class LaptopSession:
    """One technician's session in one room.

    Args:
        server: ``http(s)://host:port`` of the service.
        token: the session, renewed by whoever keeps it alive.
    """

    def __init__(self, http: aiohttp.ClientSession, server: str, room: str, token: str) -> None:
        self.server = server
        self.room = room
        self._http = http
        self._token = token

    async def invite(self, role: str = "expert") -> RoomInvite:
        """Asks the service for an invite for somebody else.

        Raises:
            ConsultError: what the service, or the way to it, refused.
        """
        body = await post(self._http, self.server, f"/r/{self.room}/invites", {"role": role}, self._token)
        try:
            return RoomInvite(body["invite"], body["path"], body["url"], body["role"], body["expires_us"])
        except KeyError as error:
            raise MessageBroken(Text("an invite's answer", "邀请的应答")) from error

    async def let_experts_in(self) -> None:
        """Lets experts with an account of the service enter without an invite.

        Raises:
            ConsultError: what the service, or the way to it, refused.
        """
        await post(self._http, self.server, f"/r/{self.room}/experts", {"allowed": True}, self._token)

    async def escalate(self, *, language: str = "", region: str = "") -> dict[str, Any]:
        """Asks the service for an expert, which is the consent that one with an account may come in.

        Args:
            language: what the technician speaks, such as ``zh``.
            region: where they are, such as ``CN``.

        Returns:
            As :meth:`place`.

        Raises:
            ConsultError: what the service, or the way to it, refused.
        """
        body = {"language": language, "region": region}
        return await post(self._http, self.server, f"/r/{self.room}/escalate", body, self._token)

    async def place(self) -> dict[str, Any]:
        """Where the car is in the service's queue: ``GET /r/ROOM/queue``.

        Raises:
            ConsultError: what the service, or the way to it, refused.
        """
        headers = {"Authorization": f"Bearer {self._token}"}
        return (await exchange(self._http, "GET", self.server, f"/r/{self.room}/queue", None, headers))[0]

    async def ask(self, method: str, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request about this room by the laptop's own session.

        Args:
            method: ``GET`` or ``POST``.
            what: ``consent``, ``retention``, ``experts`` and what else stands in ``openapi.json`` below ``/r/{room}``.
            body: of a ``POST``.

        Raises:
            ConsultError: what the service, or the way to it, refused.
        """
        headers = {"Authorization": f"Bearer {self._token}"}
        return (await exchange(self._http, method, self.server, f"/r/{self.room}/{what}", body, headers))[0]

    async def privacy(self) -> dict[str, Any]:
        """The service's notice and the wordings of its consents: ``GET /api/privacy``.

        Raises:
            ConsultError: what the service, or the way to it, refused.
        """
        return (await exchange(self._http, "GET", self.server, "/api/privacy", None, {}))[0]

    async def bring_file(self, name: str, data: bytes) -> str:
        """Brings a file into the room; returns its SHA-256.

        Raises:
            ConsultError: the room does not take it, or the service was lost for too long.
        """
        return await bring_file(self._http, self.server, self.room, self._token, name, data)
