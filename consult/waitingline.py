"""The cars that wait for an expert, and those that experts have taken: offers, escalation, clocks. Pure, no clock.

A car's life::

    waiting ── accept ──► accepted ── finish, or the room closes ──► ended
       ▲                     │
       └── handed back, or the holder is gone once the time for a finding is over

While it waits it is offered to the best expert, then to the next ones, then to the leads, then to everybody on duty.
Whatever happens is a :class:`Step`; whoever drives the line writes entries and steps down before they count.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from consult.routing import SEVERITY_RANKS, Choice, Expert, rank
from consult.waitclocks import QueueConfig, clock_faces
from consult.waiterrors import HandsFull, OfferGone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from consult.needs import Need

__all__ = ["STAGES", "Entry", "Offer", "Step", "WaitingLine"]

STAGES: Final = ("experts", "leads", "everybody")


@dataclass(frozen=True, slots=True)
class Offer:
    """A car is offered to somebody. ``until_us``: 0 has no end. ``because``: see :class:`consult.routing.Choice`."""

    name: str
    t_us: int
    until_us: int
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One car. Times are UTC microseconds since the Unix epoch.

    Args:
        n: grows; a room that waits a second time has a second entry.
        since_us: when this wait began: ``queued_us``, or when it was handed back.
        stage: one of :data:`STAGES`.
        offers: those that stand. asked: who let one go by in this stage.
        holder: the account that has taken it; ``because``: why it was asked.
        told: clocks that have been warned of (``accept80``) and that ran out (``accept100``).
        again_us: when everybody was asked last; 0 before that.
        ending: ``resolved``, ``closed`` (nobody said what it was), ``withdrawn``; empty while it is open.
    """

    n: int
    room: str
    need: Need
    queued_us: int
    since_us: int
    stage: str = "experts"
    offers: tuple[Offer, ...] = ()
    asked: tuple[str, ...] = ()
    holder: str = ""
    because: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    accepted_us: int | None = None
    finding_us: int | None = None
    ended_us: int | None = None
    ending: str = ""
    again_us: int = 0

    @property
    def state(self) -> str:
        """``waiting``, ``offered``, ``open`` (to everybody), ``accepted``, ``ended``."""
        if self.ended_us is not None:
            return "ended"
        if self.accepted_us is not None:
            return "accepted"
        if self.stage == STAGES[-1]:
            return "open"
        return "offered" if self.offers else "waiting"

    @property
    def is_waiting(self) -> bool:
        """Nobody has taken it yet."""
        return self.accepted_us is None and self.ended_us is None

    def offer_to(self, name: str) -> Offer | None:
        """The offer that stands for an account."""
        return next((offer for offer in self.offers if offer.name == name), None)


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened in the line, for the audit and for those whom it concerns.

    Args:
        kind: ``queued changed offered lapsed revoked passed escalated warning accepted handed-back first-finding
            resolved closed withdrawn``.
        who: the account it is about. because: why that one. detail: a stage, or a clock such as ``accept100``.
    """

    kind: str
    entry: Entry
    t_us: int
    who: str = ""
    because: tuple[str, ...] = ()
    detail: str = ""


class WaitingLine:
    """All open entries. Methods return the steps that they took; entries are replaced, never changed."""

    def __init__(self, config: QueueConfig, entries: Iterable[Entry] = (), *, next_n: int = 1) -> None:
        self.config = config
        self.entries: dict[str, Entry] = {entry.room: entry for entry in entries if entry.ended_us is None}
        """Open entries by their room."""
        self.changed: dict[int, Entry] = {}
        """Entries to be written down."""
        self.next_n = next_n
        self.busy_us: dict[str, int] = {}
        """When an account has taken or ended a case last."""
        self._gone_us: dict[int, int] = {}
        """Since when holders who owe a finding are away, by their entries' numbers."""

    # -- reading -----------------------------------------------------------------------------------------------------

    def waiting(self) -> list[Entry]:
        """Those whom nobody has taken, in the order in which they are served: danger first, then the longest wait."""
        found = [entry for entry in self.entries.values() if entry.is_waiting]
        return sorted(found, key=lambda one: (SEVERITY_RANKS[one.need.severity], one.queued_us, one.n))

    def held_by(self, name: str) -> list[Entry]:
        """The open cases of an account, oldest first."""
        return sorted((one for one in self.entries.values() if one.holder == name), key=lambda one: one.queued_us)

    def loads(self) -> Counter[str]:
        """Open cases by account."""
        return Counter(entry.holder for entry in self.entries.values() if entry.holder)

    def with_load(self, experts: Iterable[Expert]) -> list[Expert]:
        """Experts as the line knows them: what they hold, and since when they have been idle."""
        loads = self.loads()
        return [
            replace(one, load=loads[one.name], idle_since_us=self.busy_us.get(one.name, one.idle_since_us))
            for one in experts
        ]

    # -- what people do ----------------------------------------------------------------------------------------------

    def put(self, entry: Entry) -> Entry:
        """Keeps an entry in place of the one before."""
        self.changed[entry.n] = entry
        if entry.ended_us is None:
            self.entries[entry.room] = entry
        else:
            self.entries.pop(entry.room, None)
        return entry

    def queue(self, room: str, need: Need, now_us: int) -> list[Step]:
        """A car begins to wait; one that is in the line already only tells what it needs now."""
        known = self.entries.get(room)
        if known is None:
            entry = self.put(Entry(self.next_n, room, need, now_us, now_us))
            self.next_n += 1
            return [Step("queued", entry, now_us)]
        if known.need == need:
            return []
        is_worse = SEVERITY_RANKS[need.severity] < SEVERITY_RANKS[known.need.severity]
        # Who was asked for a lesser case is asked again: it is another one now.
        again = {"stage": STAGES[0], "asked": (), "offers": ()} if is_worse and known.is_waiting else {}
        return [Step("changed", self.put(replace(known, need=need, **again)), now_us)]  # type: ignore[arg-type]  # fields of Entry

    def accept(self, room: str, expert: Expert, now_us: int) -> list[Step]:
        """An expert takes a car that is offered to them, or that is open to everybody.

        Raises:
            OfferGone: it is not, or somebody else was faster.
            HandsFull: they hold as many as they may.
        """
        entry = self.entries.get(room)
        if entry is None or not entry.is_waiting:
            raise OfferGone
        offer = entry.offer_to(expert.name)
        if entry.stage != STAGES[-1] and (offer is None or offer.until_us <= now_us):
            raise OfferGone
        load = self.loads()[expert.name]
        if load >= expert.at_once:
            raise HandsFull(load)
        because = offer.because if offer is not None else ()
        taken = self.put(replace(entry, accepted_us=now_us, holder=expert.name, because=because, offers=(), asked=()))
        self.busy_us[expert.name] = now_us
        return [Step("accepted", taken, now_us, expert.name, because), *self._withdraw_offers(expert, now_us)]

    def _withdraw_offers(self, expert: Expert, now_us: int) -> list[Step]:
        """Whoever holds as many cases as they may is asked for no other."""
        if self.loads()[expert.name] < expert.at_once:
            return []
        return [
            self._drop(entry, expert.name, "revoked", now_us)
            for entry in list(self.entries.values())
            if entry.offer_to(expert.name)
        ]

    def _drop(self, entry: Entry, name: str, kind: str, now_us: int) -> Step:
        """An offer stands no longer. Who let it go by is not asked again in this stage."""
        offer = entry.offer_to(name)
        left = tuple(one for one in entry.offers if one.name != name)
        asked = entry.asked if kind == "revoked" or name in entry.asked else (*entry.asked, name)
        kept = self.put(replace(entry, offers=left, asked=asked))
        return Step(kind, kept, now_us, name, offer.because if offer else ())

    def pass_on(self, room: str, name: str, now_us: int) -> list[Step]:
        """An expert declines an offer, or hands back a case that they hold.

        Raises:
            OfferGone: neither is theirs.
        """
        entry = self.entries.get(room)
        if entry is not None and entry.holder == name:
            return self._hand_back(entry, now_us)
        if entry is None or entry.offer_to(name) is None:
            raise OfferGone
        return [self._drop(entry, name, "passed", now_us)]

    def _hand_back(self, entry: Entry, now_us: int) -> list[Step]:
        name = entry.holder
        self.busy_us[name] = now_us
        back = self.put(
            replace(
                entry,
                since_us=now_us,
                stage=STAGES[0],
                asked=(name,),
                holder="",
                because=(),
                told=(),
                accepted_us=None,
                finding_us=None,
            )
        )
        return [Step("handed-back", back, now_us, name)]

    def find(self, room: str, now_us: int, who: str = "") -> list[Step]:
        """An expert has pointed at, asked for or said something: the first such finding stops a clock."""
        entry = self.entries.get(room)
        if entry is None or entry.accepted_us is None or entry.finding_us is not None:
            return []
        found = self.put(replace(entry, finding_us=max(now_us, entry.accepted_us)))
        return [Step("first-finding", found, now_us, who or entry.holder)]

    def end(self, room: str, ending: str, now_us: int) -> list[Step]:
        """The job is done (``resolved``), its room is over (``closed``), or it is not to be seen any more."""
        entry = self.entries.get(room)
        if entry is None:
            return []
        if entry.holder:
            self.busy_us[entry.holder] = now_us
        ended = self.put(replace(entry, ended_us=now_us, ending=ending, offers=()))
        return [Step(ending, ended, now_us, entry.holder)]

    # -- what time does ----------------------------------------------------------------------------------------------

    def tick(
        self,
        now_us: int,
        on_duty: Sequence[Expert],
        *,
        may_take: Callable[[str, str], bool] = lambda *_: True,
        is_there: Callable[[Entry], bool] = lambda _: True,
        is_ready: Callable[[Entry], bool] = lambda _: True,
    ) -> list[Step]:
        """Lets offers lapse, warns, escalates, and offers what nobody is asked for.

        Args:
            now_us: the time.
            on_duty: everybody who may be asked now; their loads are the line's to know.
            may_take: whether an account may see a room at all.
            is_there: whether the holder of a case is in its room.
            is_ready: whether somebody may be asked for a car yet.
        """
        steps: list[Step] = []
        pool = {one.name: one for one in self.with_load(on_duty)}
        for entry in list(self.entries.values()):
            steps += self._lapse(entry, pool, now_us)
        for entry in list(self.entries.values()):
            steps += self._watch_clocks(entry, now_us, is_there)
        steps += self._watch_holders(now_us, is_there)
        pool = {one.name: one for one in self.with_load(on_duty)}
        for entry in filter(is_ready, self.waiting()):
            steps += self._ask(entry, [one for one in pool.values() if may_take(one.name, entry.room)], now_us)
        return steps

    def _lapse(self, entry: Entry, pool: dict[str, Expert], now_us: int) -> list[Step]:
        steps = []
        for offer in entry.offers:
            expert = pool.get(offer.name)
            if expert is None or not expert.is_free:
                steps.append(self._drop(self.entries[entry.room], offer.name, "revoked", now_us))
            elif offer.until_us and offer.until_us <= now_us:
                steps.append(self._drop(self.entries[entry.room], offer.name, "lapsed", now_us))
        return steps

    def _watch_clocks(self, entry: Entry, now_us: int, is_there: Callable[[Entry], bool]) -> list[Step]:
        steps: list[Step] = []
        for face in clock_faces(entry, self.config):
            for mark, at_us in (("80", face.warn_us), ("100", face.due_us)):
                word = f"{face.clock}{mark}"
                if face.end_us is not None or now_us < at_us or word in entry.told:
                    continue
                entry = self.put(replace(entry, told=(*entry.told, word)))
                if mark == "80":
                    if now_us < face.due_us:  # else what follows says more
                        steps.append(Step("warning", entry, now_us, entry.holder, detail=word))
                elif face.clock == "accept":
                    steps += self._open_to_all(entry, now_us, word)
                    entry = self.entries[entry.room]
                elif face.clock == "finding" and not is_there(entry):
                    return [*steps, *self._hand_back(entry, now_us)]
                else:
                    steps.append(Step("escalated", entry, now_us, entry.holder, detail=word))
        return steps

    def _watch_holders(self, now_us: int, is_there: Callable[[Entry], bool]) -> list[Step]:
        """Who owes a finding and has gone loses the case; coming back in time keeps it: connections break."""
        gone = [
            entry
            for entry in self.entries.values()
            if entry.accepted_us is not None and entry.finding_us is None and "finding100" in entry.told
            if not is_there(entry)
        ]
        self._gone_us = {entry.n: self._gone_us.get(entry.n, now_us) for entry in gone}
        steps: list[Step] = []
        for entry in gone:
            if now_us - self._gone_us[entry.n] >= self.config.offer_s * 1_000_000:
                steps += self._hand_back(entry, now_us)
        return steps

    def _open_to_all(self, entry: Entry, now_us: int, detail: str) -> list[Step]:
        if entry.stage == STAGES[-1]:
            return [Step("escalated", entry, now_us, detail=detail)]
        # Those who are asked already keep their place: now without an end.
        offers = tuple(replace(offer, until_us=0) for offer in entry.offers)
        opened = replace(entry, stage=STAGES[-1], asked=(), offers=offers, again_us=now_us)
        return [Step("escalated", self.put(opened), now_us, detail=detail)]

    def _open_again(self, entry: Entry, now_us: int) -> list[Step]:
        """Everybody was asked and nobody took it for as long as that may take: who declined is asked once more."""
        again_us = max(entry.again_us, entry.since_us) + self.config.target_s("accept", entry.need.severity) * 1_000_000
        if entry.stage != STAGES[-1] or not entry.asked or now_us < again_us:
            return []
        return [Step("escalated", self.put(replace(entry, asked=(), again_us=now_us)), now_us, detail="accept100")]

    def _ask(self, entry: Entry, pool: list[Expert], now_us: int) -> list[Step]:
        """Offers a car to whoever is next; goes on to the next stage when there is nobody left in this one."""
        steps = self._open_again(entry, now_us)
        entry = self.entries[entry.room]
        is_danger = entry.need.severity == "danger"
        while True:
            chosen = self._choose(entry, pool, is_danger=is_danger)
            if chosen:
                until_us = 0 if entry.stage == STAGES[-1] else now_us + self.config.offer_s * 1_000_000
                made = tuple(Offer(one.name, now_us, until_us, one.because) for one in chosen)
                entry = self.put(replace(entry, offers=(*entry.offers, *made)))
                steps += [Step("offered", entry, now_us, one.name, one.because, entry.stage) for one in made]
            if entry.offers or entry.stage == STAGES[-1] or self._should_wait(entry, pool, now_us):
                return steps
            if entry.stage == STAGES[0] and any(one.is_lead for one in pool):
                entry = self.put(replace(entry, stage=STAGES[1], asked=()))
                steps.append(Step("escalated", entry, now_us, detail=STAGES[1]))
            else:
                steps += self._open_to_all(entry, now_us, STAGES[-1])
                entry = self.entries[entry.room]

    def _choose(self, entry: Entry, pool: list[Expert], *, is_danger: bool) -> list[Choice]:
        # Danger does not wait for what an expert may or may not take besides.
        pending = Counter[str]() if is_danger else self._pending()
        known = {*entry.asked, *(offer.name for offer in entry.offers)}
        free = [one for one in pool if one.name not in known and one.is_free]
        if entry.stage == STAGES[-1]:
            return rank(free, entry.need)
        free = [one for one in free if one.load + pending[one.name] < one.at_once]
        if entry.stage == STAGES[1]:
            return rank([one for one in free if one.is_lead], entry.need)
        at_once, in_all = (self.config.danger_asked,) * 2 if is_danger else (1, self.config.asked)
        most = min(at_once - len(entry.offers), in_all - len(entry.asked) - len(entry.offers))
        return rank([one for one in free if not one.is_lead], entry.need)[: max(0, most)]

    def _pending(self) -> Counter[str]:
        """Offers that stand, by account; those to everybody bind nobody."""
        return Counter(
            offer.name for entry in self.entries.values() if entry.stage != STAGES[-1] for offer in entry.offers
        )

    def _should_wait(self, entry: Entry, pool: list[Expert], now_us: int) -> bool:
        """Whether the experts are only busy: then the car keeps its place, and the clock sees to the rest.

        What is to be seen to soon goes on to a lead who has time, once it has waited as long as one offer stands.
        """
        if entry.stage != STAGES[0] or entry.need.severity == "danger" or len(entry.asked) >= self.config.asked:
            return False
        if all(one.is_lead or one.name in entry.asked for one in pool):
            return False
        is_late = entry.need.severity == "high" and now_us - entry.since_us >= self.config.offer_s * 1_000_000
        return not (is_late and self._choose(replace(entry, stage=STAGES[1], asked=()), pool, is_danger=False))
