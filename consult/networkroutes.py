"""The network's memory at the service: what workshops ask and tell, each request signed by the workshop's key.

``POST /api/network/join``    a code becomes a workshop, once
``POST /api/network/look``    earlier visits of a car by its VIN, which is hashed here and forgotten; and a ticket
``POST /api/network/visits``  what became of a car, by the ticket, or by the VIN
``POST /api/network/counts``  the workshop's counts, instead of its former ones
``GET  /api/network/counts``  those of all others together, reviewed fixes, and what research answers
"""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from casebase.errors import BadEvidence, ImportUnreadable
from casebase.sharedfile import parse_counts
from casebase.sharing import EPSILON, canonical, encoded, signed, site_of
from casebase.visits import parse_visit
from consult.errors import MessageBroken, TooMuch
from consult.invites import digest_of_secret, make_secret
from consult.messages import parse_json
from consult.networkerrors import (
    ClockWrong,
    CountsRefused,
    EnrolmentRefused,
    NetworkOff,
    NetworkUnsearched,
    RequestReplayed,
    SiteRefused,
    VisitRefused,
)
from consult.networkkeys import FILE, drop_ended_keys, load_keys, normal_vin
from consult.networkmerge import merged, reviewed_document
from consult.networksigning import CLOCKS_S, body_digest, parse_proof, sign_hex
from consult.networkstore import HERE, KeptVisit, NetworkStore, Site
from consult.part import Part
from consult.reviewdesk import research_notice
from consult.reviewroutes import ReviewPart
from consult.reviewstore import ReviewStore
from diag.facts import Text

if TYPE_CHECKING:
    from casebase.sharing import CountsDocument
    from consult.networkkeys import NetworkKeys
    from consult.networksigning import SiteProof
    from consult.reviewdesk import ReviewDesk
    from consult.service import Service

__all__ = ["NetworkMemory"]

_DAY_US: Final = 86_400_000_000
_SELDOM_S: Final = 3600
_BODY_S: Final = 60.0
_MOST_BODY: Final = 256 << 10
_LISTED: Final = 50
"""Visits of a car that one answer holds."""

_NEVER: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""When counts changed that nobody has told yet."""

_log = logging.getLogger(__name__)


class NetworkMemory(Part):
    """The part of a service that remembers cars for the workshops of a network."""

    name = "network"

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.store = NetworkStore(service.state)
        self.review = ReviewStore(service.state)
        self._read: dict[int, tuple[str, CountsDocument]] = {}
        self._tend_again_s = 0.0
        self._tending: asyncio.Task[None] | None = None

    @property
    def is_on(self) -> bool:
        """Whether this service outlives its rooms, and its owner wants a memory."""
        return self.service.config.state is not None and self.service.config.network.on

    @property
    def desk(self) -> ReviewDesk:
        """The service's one review desk."""
        return next(part.desk for part in self.service.parts if isinstance(part, ReviewPart))

    def keys(self) -> NetworkKeys:
        """The network's secrets as they are now: the command line may have changed them. Blocks.

        Raises:
            NetworkOff: there is no network.
            StateBroken: they cannot be read.
        """
        state = self.service.config.state
        if not self.is_on or state is None:
            raise NetworkOff
        return load_keys(state.parent, self.service.config.now_us)

    def table(self) -> list[web.RouteDef]:
        """Its routes."""
        return [
            web.post("/api/network/join", self.join),
            web.post("/api/network/look", self.look),
            web.post("/api/network/visits", self.take_visit),
            web.post("/api/network/counts", self.take_counts),
            web.get("/api/network/counts", self.give_counts),
        ]

    async def tend(self) -> None:
        """Once an hour what is too old is forgotten, also after the network was switched off."""
        if self.service.config.state is None or self.service.utc_s < self._tend_again_s:
            return
        self._tend_again_s = self.service.utc_s + _SELDOM_S
        self._tending = asyncio.create_task(asyncio.to_thread(self._forget_old))
        self._tending.add_done_callback(_say_failure)

    async def stop(self) -> None:
        """Waits for what is being forgotten."""
        if self._tending is not None:
            await asyncio.gather(self._tending, return_exceptions=True)

    def _forget_old(self) -> None:
        now_us, days = self.service.config.now_us(), self.service.config.network.visit_days
        first = datetime.fromtimestamp(now_us / 1e6, UTC) - timedelta(days=days)
        self.store.forget_old(now_us, days, first.strftime("%Y-%m-%d"))
        self.store.forget_unagreed()
        state = self.service.config.state
        if state is not None:
            self.store.unlink_ended(lambda: drop_ended_keys(state.parent, now_us))

    # -- a car's memory, for those who export or delete it -----------------------------------------------------------

    def held_about(self, vin: str) -> list[tuple[str, dict[str, Any]]]:
        """Its visits, wherever they were, and the drafts and cases of the service's own library."""
        hashes = self._hashes(vin)
        found = self.store.visits_under(hashes) if hashes else []
        told: list[tuple[str, dict[str, Any]]] = []
        if found:
            told.append(("network-visits", {"visits": [kept.visit.to_json() for kept in found]}))
        cases = self.desk.held_about(vin) if self.service.config.state is not None else {}
        return [*told, ("case-library", cases)] if cases else told

    def forget(self, vin: str, who: str, now_us: int) -> list[dict[str, Any]]:
        """Visits and tickets are deleted; drafts and cases of the service's library lead to the car no more."""
        hashes = self._hashes(vin)
        # The library first: where it cannot be used nothing is gone yet that no certificate would tell of.
        cases = self.desk.forget(vin) if self.service.config.state is not None else 0
        visits = self.store.forget_car(hashes)
        if not visits and not cases:
            return []
        self.service.state.note(self.service.audit("network-forget", who, detail=f"{visits} {cases}"))
        return [{"what": "network", "visits": visits, "cases": cases, "t_us": now_us, "who": who}]

    def _hashes(self, vin: str) -> list[tuple[int, bytes]]:
        """A car under each key that is kept, whether the network is on or was once; none where there never was one.

        Raises:
            NetworkUnsearched: cars are remembered and the keys are gone.
        """
        state = self.service.config.state
        if state is None:
            return []
        if (state.parent / FILE).exists():
            return load_keys(state.parent, self.service.config.now_us).hashes(vin, None)
        if self.store.knows_cars():
            raise NetworkUnsearched(Text(f"{FILE} is missing", f"缺少 {FILE}"))
        return []

    # -- who asks ----------------------------------------------------------------------------------------------------

    def _proof(self, request: web.Request, service_name: str) -> SiteProof:
        """What the head proves; the body is not read yet."""
        proof = parse_proof(request.headers)
        if proof is None or not proof.is_of(service_name, request.method, request.path_qs):
            raise SiteRefused
        if abs(self.service.utc_s - proof.t_s) > CLOCKS_S:
            raise ClockWrong
        return proof

    async def _site(self, request: web.Request) -> tuple[Site, SiteProof, NetworkKeys]:
        """The workshop that signed a request, which counts once.

        Raises:
            NetworkOff: there is no network. SiteRefused: nobody known signed this. ClockWrong: nor now.
            RequestReplayed: it came before.
        """
        keys = await asyncio.to_thread(self.keys)
        proof = self._proof(request, keys.service_name)
        site = await asyncio.to_thread(self.store.find_site, encoded(proof.site))
        if site is None:
            raise SiteRefused
        now_s = self.service.utc_s
        if not await asyncio.to_thread(self.store.use_nonce, site.number, proof.nonce, proof.t_s, now_s):
            raise RequestReplayed
        return site, proof, keys

    async def _body(self, request: web.Request, proof: SiteProof, most: int = _MOST_BODY) -> bytes:
        """The body that was signed.

        Raises:
            TooMuch: it is too large. MessageBroken: it does not come. SiteRefused: another one was signed.
        """
        if request.content_type != "application/json":
            raise MessageBroken(Text("not JSON", "不是 JSON"))
        data = bytearray()
        try:
            async with asyncio.timeout(_BODY_S):
                async for piece in request.content.iter_chunked(1 << 16):
                    data += piece
                    if len(data) > most:
                        raise TooMuch(Text("bytes of a request", "请求字节数"), f"{most >> 10} kB")
        except (TimeoutError, web.RequestPayloadError) as error:
            raise MessageBroken(Text("the request did not arrive in time", "请求未及时到达")) from error
        if body_digest(bytes(data)) != proof.digest:
            raise SiteRefused
        return bytes(data)

    async def _told(self, request: web.Request, proof: SiteProof) -> dict[str, Any]:
        data = await self._body(request, proof)
        try:
            told = parse_json(data.decode())
        except (ValueError, RecursionError) as error:
            raise MessageBroken(Text("not JSON", "不是 JSON")) from error
        if not isinstance(told, dict):
            raise MessageBroken(Text("not an object", "不是对象"))
        return told

    # -- what they ask -----------------------------------------------------------------------------------------------

    async def join(self, request: web.Request) -> web.Response:
        """``POST /api/network/join``: signed by the key that joins; the service's own keys are the answer."""
        service = self.service
        keys = await asyncio.to_thread(self.keys)
        if not service.gate.joins.take(service.gate.address(request), service.config.clock_s()):
            raise TooMuch(Text("attempts to join", "加入尝试"), f"{service.config.limits.joins}/min")
        proof = self._proof(request, "")
        code = (await self._told(request, proof)).get("code")
        if not isinstance(code, str) or len(code) > 200:
            raise MessageBroken(Text("field code", "字段 code"))
        site = await asyncio.to_thread(self.store.join, digest_of_secret(code), encoded(proof.site), service.utc_s)
        if site is None:
            raise EnrolmentRefused
        await asyncio.to_thread(service.state.note, service.audit("network-join", site.name))
        return web.json_response(
            {"site": site.name, "region": site.region, "service": keys.service_name, "reviewed": keys.reviewed_name}
        )

    async def look(self, request: web.Request) -> web.Response:
        """``POST /api/network/look``: whether there is anything or not, the answer has the same shape."""
        site, proof, keys = await self._site(request)
        vin = normal_vin(str((await self._told(request, proof)).get("vin") or ""))
        if not vin:
            raise VisitRefused(Text("field vin is no VIN", "字段 vin 不是车架号"))
        now_us, limits = self.service.config.now_us(), self.service.config.network
        if not await asyncio.to_thread(
            self.store.may_ask, site.number, now_us, limits.lookups_hour, limits.lookups_day
        ):
            note = self.service.audit("network-look-refused", site.name)
            await asyncio.to_thread(self.service.state.note, note)
            raise TooMuch(Text("cars asked for", "车辆查询次数"), f"{limits.lookups_hour}/h, {limits.lookups_day}/d")
        hashes, ticket = keys.hashes(vin, now_us), make_secret()
        until_us = now_us + limits.ticket_days * _DAY_US
        kept = await asyncio.to_thread(self.store.visits, hashes)
        await asyncio.to_thread(self.store.put_ticket, digest_of_secret(ticket), site.number, hashes[0], until_us)
        note = self.service.audit("network-look", site.name, detail=f"{hashes[0][1].hex()[:8]} {len(kept)}")
        await asyncio.to_thread(self.service.state.note, note)
        places = await asyncio.to_thread(self.store.places)
        visits = [self._shown(one, site, places) for one in kept[:_LISTED]]
        return web.json_response({"ticket": ticket, "ticket_until_us": until_us, "visits": visits})

    def _shown(self, kept: KeptVisit, asker: Site, places: dict[int, tuple[str, str]]) -> dict[str, Any]:
        """A visit, and of its workshop what the owner of the service lets others see."""
        name, region = places.get(kept.site, ("", ""))
        shows = self.service.config.network.shows
        place = {"name": name, "region": region}.get(shows, "")
        return {
            **kept.visit.to_json(), "place": "" if kept.site == HERE else place, "remote": kept.site == HERE,
            "own": kept.site == asker.number,
        }  # fmt: skip

    async def take_visit(self, request: web.Request) -> web.Response:
        """``POST /api/network/visits``: told again it is not a second visit."""
        site, proof, keys = await self._site(request)
        told, now_us = await self._told(request, proof), self.service.config.now_us()
        try:
            visit = parse_visit(told.get("visit"))
        except BadEvidence as error:
            raise VisitRefused(Text(str(error), "内容不符合 huizhen.visit/1")) from error
        ticket, vin = told.get("ticket"), normal_vin(str(told.get("vin") or ""))
        car: tuple[int, bytes] | None = keys.hashes(vin, now_us)[0] if vin else None
        if isinstance(ticket, str) and car is None:
            car = await asyncio.to_thread(self.store.car_of_ticket, digest_of_secret(ticket), site.number, now_us)
        if car is None:
            raise VisitRefused(Text("neither a ticket that is good nor a VIN", "缺少有效凭据或车架号"))
        is_new = await asyncio.to_thread(self.store.put_visit, site.number, visit, car, visit.fix, now_us)
        note = self.service.audit("network-visit", site.name, detail=car[1].hex()[:8])
        await asyncio.to_thread(self.service.state.note, note)
        if visit.fix and visit.outcome:
            for number, title in await asyncio.to_thread(self.desk.judge, visit.fix, visit.model_name):
                self.service.notices.publish(research_notice(number, title, now_us))
        return web.json_response({"new": is_new})

    async def take_counts(self, request: web.Request) -> web.Response:
        """``POST /api/network/counts``: ``huizhen.counts/1`` of this very site."""
        site, proof, _ = await self._site(request)
        data = await self._body(request, proof, self.service.config.network.counts_mb << 20)
        try:
            document = await asyncio.to_thread(parse_counts, data, "counts")
        except ImportUnreadable as error:
            raise CountsRefused(Text(str(error), "内容不符合 huizhen.counts/1")) from error
        now_us = self.service.config.now_us()
        if document.site != proof.site:
            raise CountsRefused(Text("signed by another workshop", "由其他门店签名"))
        if document.epsilon > EPSILON:
            why = Text(f"epsilon is above {EPSILON:g}: too little noise", f"epsilon 大于 {EPSILON:g}，噪声不足")
            raise CountsRefused(why)
        if document.made.timestamp() > now_us / 1e6 + CLOCKS_S:
            raise ClockWrong
        made, count = document.made.isoformat(timespec="microseconds"), len(document.patterns)
        if not await asyncio.to_thread(self.store.put_counts, site.number, made, count, data.decode(), now_us):
            raise CountsRefused(Text("not newer than the last ones", "不新于上次提供的计数"))
        await asyncio.to_thread(
            self.service.state.note, self.service.audit("network-counts", site.name, detail=str(count))
        )
        return web.json_response({"patterns": count})

    async def give_counts(self, request: web.Request) -> web.Response:
        """``GET /api/network/counts``: signed as a whole, and each document by itself."""
        site, proof, keys = await self._site(request)
        if proof.digest != body_digest(b""):
            raise SiteRefused
        body = await asyncio.to_thread(self._network_counts, site, keys)
        return web.Response(body=body, content_type="application/json")

    def _documents(self, but: int) -> list[CountsDocument]:
        """The documents of all sites but one. To check one takes a tenth of a second, so what was read stays."""
        made = self.store.counts_of_sites()
        kept = {site: self._read[site] for site in made if site in self._read and self._read[site][0] == made[site]}
        for site in made:
            if site not in kept and (body := self.store.counts(site)) is not None:
                kept[site] = made[site], parse_counts(body.encode(), "counts")
        self._read = kept
        return [document for site, (_, document) in sorted(kept.items()) if site != but]

    def _network_counts(self, site: Site, keys: NetworkKeys) -> bytes:
        others = self._documents(site.number)
        made = _moment(self.store.counts_changed_us)
        together = merged(others, site_of(keys.service), made)
        patterns, changed_us = self.review.patterns()
        told = {
            "schema": "huizhen.network/1",
            "sites": len(others),
            "merged": signed(together, keys.service),
            "reviewed": reviewed_document(patterns, keys.reviewed, _moment(changed_us)),
            "notes": [
                {"what": item.what, "model": item.model, "note": item.note.to_json()}
                for item in self.review.items()
                if item.state in ("answered", "closed") and (item.note.en or item.note.zh)
            ],
        }
        return json.dumps({**told, "signature": sign_hex(keys.service, canonical(told))}, ensure_ascii=False).encode()


def _moment(t_us: int) -> datetime:
    return max(_NEVER, datetime.fromtimestamp(t_us / 1e6, UTC))


def _say_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("old visits were not forgotten: %s", error)
