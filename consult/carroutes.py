"""What is held about a car, for administrators. The VIN stands in the body: addresses end up in logs.

``POST /api/cars/held``    ``{"vin"}``: every document about the car; samples and files by ``huizhen consult car``
``POST /api/cars/forget``  ``{"vin", "reason"}``: deletes all of it, with a certificate for each room
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from consult.accountaccess import require_role
from consult.accounts import AccountRole
from consult.cardata import forget_car, held_about_car
from consult.carindex import checked_vin
from consult.errors import MessageBroken
from consult.gate import json_body
from consult.part import Part
from consult.regionlock import clean_reason
from diag.facts import Text

__all__ = ["CarRoutes"]


class CarRoutes(Part):
    """The handlers around one service."""

    def table(self) -> list[web.RouteDef]:
        """The routes."""
        return [web.post("/api/cars/held", self.held), web.post("/api/cars/forget", self.forgotten)]

    async def _asked(self, request: web.Request) -> tuple[str, str, dict[str, Any]]:
        account = await require_role(self.service, request, AccountRole.ADMIN)
        body = await json_body(request, self.service.config.limits.request_s)
        return account.name, checked_vin(body.get("vin")), body

    async def held(self, request: web.Request) -> web.Response:
        """``POST /api/cars/held``: noted in the audit, without the VIN."""
        who, vin, _ = await self._asked(request)
        held = await asyncio.to_thread(held_about_car, self.service, vin)
        note = self.service.audit("car-held", who, detail=f"{len(held.rooms)} rooms")
        await asyncio.to_thread(self.service.state.note, note)
        return web.json_response(
            {
                "schema": "huizhen.car-data/1",
                "vin": vin,
                "rooms": [room.ident for room in held.rooms],
                "unknown": held.unknown,
                "documents": [{"path": name, "body": body} for name, body in held.documents],
                "missing": [one.to_json() for one in held.unreadable],
            }
        )

    async def forgotten(self, request: web.Request) -> web.Response:
        """``POST /api/cars/forget``."""
        who, vin, body = await self._asked(request)
        reason = clean_reason(body.get("reason"))
        if not reason:
            raise MessageBroken(Text("field reason", "字段 reason"))
        now_us = self.service.config.now_us()
        done = await asyncio.to_thread(forget_car, self.service, vin, reason, who, now_us)
        note = self.service.audit("car-forget", who, detail=f"{len(done.certificates)} deleted, {len(done.kept)} kept")
        await asyncio.to_thread(self.service.state.note, note)
        return web.json_response(
            {
                "schema": "huizhen.car-forgotten/1",
                "vin": vin,
                "certificates": done.certificates,
                "kept": [one.to_json() for one in done.kept],
            }
        )
