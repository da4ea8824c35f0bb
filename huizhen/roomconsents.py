"""Privacy in a room's terminal: ``/withdraw``, ``/position``, ``/days``, and whether the network may remember."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from huizhen.roomprivacy import PositionGate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consult.agent import Agent
    from huizhen.console import Console

__all__ = ["RoomConsents"]

_WAITING: Final = ("waiting", "offered", "open", "accepted")
_OF_THE_CAR: Final = ("sharing", "position", "export-abroad")
_EXPERTS: Final = "experts"


class RoomConsents:
    """What the technician agreed to, and takes back.

    Args:
        agent: in the room.
        report: as the room has it.
        console: where it is said.
        gate: shuts at once where positions are withdrawn here, and opens when the service has taken the consent.
        is_json: standard output is for JSON alone.
    """

    def __init__(
        self,
        agent: Agent,
        report: Mapping[str, Any],
        console: Console,
        gate: PositionGate | None = None,
        *,
        is_json: bool = False,
    ) -> None:
        self._agent, self._report, self._console = agent, report, console
        self._gate = gate or PositionGate()
        self._say = console.note if is_json else console.line

    async def sharing_text(self) -> str:
        """What is asked before a job is closed: the consent's wording, or empty where there is nothing to ask.

        Nothing is remembered of a simulated car, at a service without a network, and where ``HUIZHEN_NETWORK=off``
        forbids it. A service that does not answer is not asked again: nothing is remembered then.
        """
        from consult.errors import ConsultError

        if self._report.get("simulated") is True or self._report.get("network") is False:
            return ""
        try:
            told = await self._agent.privacy()
            text = told["consents"]["sharing"]["text"][self._console.tr.lang] if told.get("visit_days") else ""
        except (ConsultError, LookupError, TypeError):
            self._console.note(self._console.tr("roomconsents.not_asked"))
            return ""
        return text if isinstance(text, str) else ""

    async def take(self, words: str) -> bool:
        """Does what a typed line asks; False for any other line."""
        from consult.errors import ConsultError

        command, _, rest = words.partition(" ")
        does = {"/withdraw": self._withdraw, "/position": self._position, "/days": self._days}.get(command)
        if does is None:
            return False
        try:
            await does(rest.strip())
        except ConsultError as error:
            self._console.error(self._console.tr.error(error))
        self._console.out.flush()
        return True

    # -- consents ----------------------------------------------------------------------------------------------------

    async def _withdraw(self, kind: str) -> None:
        console, tr = self._console, self._console.tr
        if not kind:
            await self._list()
        elif kind == _EXPERTS:
            await self._agent.ask("POST", "experts", {"allowed": False})
            console.note(tr("roomconsents.no_experts"))
        elif kind in _OF_THE_CAR:
            self._gate.is_shut |= kind == "position"
            await self._agent.ask("POST", "consent", {"kind": kind, "given": False, "lang": tr.lang})
            console.note(tr("roomconsents.withdrawn", what=self._name(kind)))
        else:
            console.error(tr("roomconsents.kinds", kinds=", ".join((*_OF_THE_CAR, _EXPERTS))))

    async def _list(self) -> None:
        """What may be withdrawn, and how."""
        tr = self._console.tr
        last = {one["kind"]: one["given"] for one in (await self._agent.ask("GET", "consent"))["consents"]}
        given = [kind for kind in _OF_THE_CAR if last.get(kind)]
        place = await self._agent.place()
        if place.get("state") in _WAITING:
            given.append(_EXPERTS)
        if not given:
            self._say(tr("roomconsents.none"))
        for kind in given:
            self._say(tr("roomconsents.listed", kind=kind, what=self._name(kind)))

    def _name(self, kind: str) -> str:
        tr = self._console.tr
        return {
            "sharing": tr("roomconsents.sharing"),
            "position": tr("roomconsents.position"),
            "export-abroad": tr("roomconsents.export_abroad"),
            _EXPERTS: tr("roomconsents.experts"),
        }[kind]

    async def _position(self, word: str) -> None:
        console, tr = self._console, self._console.tr
        self._gate.is_shut |= word == "off"  # at once, with or without a line to the service
        now = (await self._agent.ask("GET", "consent"))["position"]
        if word not in ("", "on", "off"):
            console.error(tr("roomconsents.position_usage"))
        elif now["mode"] == "off":
            console.note(tr("roomconsents.position_kept_back"))
        elif not word:
            is_off = bool(now["withdrawn"])
            self._say(tr("roomconsents.position_off") if is_off else tr("roomconsents.position_on"))
        else:
            body: dict[str, Any] = {"kind": "position", "given": word == "on", "lang": tr.lang}
            if word == "on":
                wording = (await self._agent.privacy())["consents"]["position"]
                self._say(wording["text"][tr.lang])
                body["version"] = wording["version"]
            await self._agent.ask("POST", "consent", body)
            self._gate.is_shut = word == "off"
            console.note(tr("roomconsents.position_on") if word == "on" else tr("roomconsents.position_off"))

    # -- how long ----------------------------------------------------------------------------------------------------

    async def _days(self, word: str) -> None:
        console, tr = self._console, self._console.tr
        term = await self._agent.ask("GET", "retention")
        low, high = int(term["min"]), int(term["max"])
        if word:
            if not (word.isascii() and word.isdecimal() and len(word) < 6 and low <= int(word) <= high):
                console.error(tr("roomconsents.days_usage", low=low, high=high))
                return
            term = await self._agent.ask("POST", "retention", {"days": int(word)})
        days = int(term["days"])
        self._say(tr("roomconsents.days", days=days) if days else tr("roomconsents.days_none"))
        if term["hold"]:
            console.note(tr("roomconsents.hold"))
