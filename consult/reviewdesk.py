"""Drafts of cases before an expert: what is shown, changed, accepted or rejected; and what research gets to see.

All methods block: they open the service's own case library, one at a time.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from casebase.drafts import case_from_draft, draft_uid
from casebase.errors import CaseError, DraftUnknown, FixUnknown
from casebase.escalation import rules_of
from casebase.library import Library
from casebase.query import Query
from casebase.record import Pattern
from casebase.schema import OUTCOMES
from casebase.sharing import is_clean
from casebase.visits import Visit, codes_of_terms
from consult.networkerrors import DraftOver, NetworkUnsearched, OwnDraft, ReviewIncomplete
from consult.networkkeys import normal_vin
from consult.networkstore import HERE, NetworkStore, visit_uid
from consult.notices import Notice
from consult.privacystore import PrivacyStore
from consult.reviewstore import ReviewStore
from diag.dtctext import find_text
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casebase.drafts import Draft
    from casebase.query import DtcSeen
    from consult.accounts import Account
    from consult.networkkeys import NetworkKeys
    from consult.reviewstore import ReviewRow
    from consult.serviceconfig import ServiceConfig
    from consult.servicestate import ServiceState

__all__ = ["ReviewDesk", "draft_notice", "library_path", "research_notice"]

_WORDS: Final = ("component", "failure_mode", "action")
_LONGEST: Final = 400
_UNKNOWN: Final = "unknown"
_PROPOSAL: Final = frozenset({"fix", *_WORDS, "title", "text", "outcome"})


def research_notice(number: int, title: Text, now_us: int) -> Notice:
    """That a problem stays unsolved."""
    return Notice(
        "research",
        "normal",
        Text(f"For research: {title.en}", f"待研发：{title.zh}"),
        Text("It stays unsolved; see the queue.", "问题仍未解决，请查看研发队列。"),
        now_us,
        path=f"/review#research-{number}",
    )


def draft_notice(number: int, now_us: int) -> Notice:
    """That a draft waits."""
    return Notice(
        "draft",
        "normal",
        Text(f"Draft {number} waits for a review", f"草稿 {number} 待审核"),
        Text("", ""),
        now_us,
        path=f"/review#draft-{number}",
    )


def library_path(config: ServiceConfig) -> Path:
    """The service's own case library."""
    folder = config.data if config.state is None else config.state.parent
    return folder / Path(config.network.library).expanduser()


class ReviewDesk:
    """What the network learns of rooms, and what people make of it.

    Args:
        config: of the service.
        state: its database.
    """

    def __init__(self, config: ServiceConfig, state: ServiceState) -> None:
        self._config = config
        self._lock = threading.Lock()
        self.store = ReviewStore(state)
        self.network = NetworkStore(state)
        self._consents = PrivacyStore(state)

    def _library(self) -> Library:
        return Library.open(library_path(self._config), create=True)

    # -- what comes in -----------------------------------------------------------------------------------------------

    def take_room(
        self,
        document: Mapping[str, Any],
        *,
        verdict: str,
        first: str,
        author: str,
        keys: NetworkKeys,
        is_finished: bool,
        is_shared: bool,
    ) -> tuple[int, list[tuple[int, Text]]]:
        """Keeps what a room that has ended tells: a draft, a visit, and where it is unsolved a problem for research.

        Args:
            document: ``huizhen.consultation/1``.
            verdict: of the library, when the room was opened.
            first: identity of its first match; empty for none.
            author: account of who finished the job.
            keys: of the network.
            is_finished: False for a room that was left without a word.
            is_shared: the technician agreed that the network of workshops remembers the car.

        Returns:
            The number of a draft that is new, else 0; and number and title of problems that are news.

        Raises:
            CaseError: the service's library cannot be used.
            StateBroken: its database cannot.
        """
        now_us = self._config.now_us()
        room = str(document.get("id"))  # not the draft's: there one of figures alone is gone like a telephone number
        with self._lock, self._library() as library:
            number, _ = library.drafts.take(document, now_ns=now_us * 1000)
            draft = next((one for one in library.drafts.waiting() if one.number == number), None)
            if draft is None:
                return 0, []
            is_new = self.store.open_draft(number, room, author, now_us) if is_finished else False
            told = number if is_new else 0
            car_keys = keys if is_shared else None
            news = [] if draft.simulated else self._remember(draft, library, document, verdict, first, car_keys)
            if not is_finished:
                library.drafts.drop(number)  # last: who is killed before does all of it again
            return told, news

    def _remember(
        self,
        draft: Draft,
        library: Library,
        document: Mapping[str, Any],
        verdict: str,
        first: str,
        keys: NetworkKeys | None,
    ) -> list[tuple[int, Text]]:
        """The visit of a real car (not without ``keys``), and what it makes a problem for the service's research."""
        now_us, room = self._config.now_us(), str(document.get("id"))
        visit = _visit(draft, library, verdict, room)
        what = visit.fix or first or next(iter(codes_of_terms(visit.terms)), "")
        vin = normal_vin(str(document.get("vin") or ""))
        if keys is not None:
            car = keys.hashes(vin, now_us)[0] if vin else None
            self.network.put_visit(HERE, visit, car, what or None, now_us, room)
        news = []
        if what and not visit.is_repaired:
            seen = room, visit.day, tuple(codes_of_terms(visit.terms))
            title = _title(what, library)
            item, is_news = self.store.raise_item(what, visit.model_name, title, ("room",), now_us, room=seen)
            news = [(item, title)] if is_news else []
        return news + self._judged(what, visit.model_name, library)

    def unshare(self, room: str) -> int:
        """The network of workshops remembers nothing more of a room; returns how many visits and fixes that were.

        A draft, and the case that came of one, stay in the service's own library.
        """
        with self._lock:
            return self.network.forget_room(room) + self.store.withdraw_pattern(room, self._config.now_us())

    def judge(self, what: str, model: str) -> list[tuple[int, Text]]:
        """The same for what workshops told of a fix on a model: number and title of what is news for research."""
        if not rules_of([one.visit.is_repaired for one in self.network.ends_of(what, model)])[0]:
            return []
        with self._lock, self._library() as library:
            return self._judged(what, model, library)

    def _judged(self, what: str, model: str, library: Library) -> list[tuple[int, Text]]:
        kept = self.network.ends_of(what, model) if what else []
        ends = [one.visit.is_repaired for one in kept]
        rules, p = rules_of(ends)
        if not rules:
            return []
        title = _title(what, library)
        failed = sum(not cured for cured in ends)
        item, told = self.store.raise_item(
            what, model, title, rules, self._config.now_us(), failed=failed, jobs=len(ends), p=p
        )
        return [(item, title)] if told else []

    def _has_library(self) -> bool:
        """Whether there is one to search.

        Raises:
            NetworkUnsearched: drafts were taken into one, and it is not where the configuration says.
        """
        path = library_path(self._config)
        if path.exists():
            return True
        if any(row.state != "rejected" for row in self.store.drafts()):
            raise NetworkUnsearched(Text(f"the case library {path} is not there", f"案例库 {path} 不存在"))
        return False

    # -- a car -------------------------------------------------------------------------------------------------------

    def held_about(self, vin: str) -> dict[str, Any]:
        """Drafts that wait and cases of a car in the service's library; empty for none."""
        if not self._has_library():
            return {}
        with self._lock, self._library() as library:
            drafts = [draft.to_json() for draft in library.drafts.of_car(vin)]
            cases = library.cases.of_car(vin)
        return {"drafts": drafts, "cases": cases} if drafts or cases else {}

    def forget(self, vin: str) -> int:
        """Nothing of the service's library leads to a car any more; returns how many drafts and cases did."""
        if not self._has_library():
            return 0
        with self._lock, self._library() as library:
            return library.network.unlink_car(vin)

    # -- review ------------------------------------------------------------------------------------------------------

    def listed(self, account: Account, state: str | None) -> list[dict[str, Any]]:
        """Drafts as somebody sees them who may review: the kind of car, never which one."""
        with self._lock, self._library() as library:
            waiting = {draft.number: draft for draft in library.drafts.waiting()}
            # Who was killed between the library and the database has left one that nobody would see. What is still
            # to be taken comes by itself, and with its author.
            owed = {draft_uid(room.ident) for room in self.store.owed()}
            for number in waiting.keys() - {row.number for row in self.store.drafts()}:
                if waiting[number].uid not in owed:
                    self.store.open_draft(number, waiting[number].room, "", self._config.now_us())
            rows = self.store.drafts(state)
            return [_told(row, waiting.get(row.number), library, account.name) for row in rows]

    def change(self, number: int, proposal: Any, reason: str, account: Account) -> None:
        """Keeps what somebody proposes instead.

        Raises:
            OwnDraft: they wrote it. DraftOver: it does not wait. ReviewIncomplete: the proposal makes no sense.
        """
        with self._lock:
            row = self._waiting(number, account)
            self.store.put_draft(self._decided(row, "waiting", account, reason, _checked(proposal)))

    def reject(self, number: int, reason: str, account: Account) -> None:
        """It becomes no case, for a reason.

        Raises:
            OwnDraft: as :meth:`change`. DraftOver: likewise. ReviewIncomplete: no reason.
        """
        if not reason.strip():
            raise ReviewIncomplete(Text("say why", "请说明理由"))
        with self._lock, self._library() as library:
            row = self._waiting(number, account)
            _drop(library, number)
            self.store.put_draft(self._decided(row, "rejected", account, reason, row.proposal))

    def accept(self, number: int, proposal: Any, reason: str, account: Account) -> bool:
        """It becomes a case of the service's library; whether the workshops get it, too.

        Args:
            number: of the draft.
            proposal: what it is, None for what was proposed before, else what was written.
            reason: may be empty.
            account: of the reviewer.

        Raises:
            OwnDraft: as :meth:`change`. DraftOver: likewise.
            ReviewIncomplete: words are missing in a language, or there is no such fix.
        """
        with self._lock, self._library() as library:
            row = self._waiting(number, account)
            try:
                draft = library.drafts.get(number)
            except DraftUnknown:
                raise DraftOver(number) from None
            chosen = _checked(proposal) if proposal is not None else row.proposal or _proposal(draft)
            fix, outcome = _fix(chosen), chosen["outcome"]
            try:
                case = library.drafts.confirm(number, fix, None if outcome == _UNKNOWN else outcome)
                known = library.get_fix(case.fix) if isinstance(case.fix, str) else None
            except FixUnknown as error:
                raise ReviewIncomplete(Text(f"no fix '{chosen['fix']}'", f"没有解决办法“{chosen['fix']}”")) from error
            except CaseError as error:
                raise ReviewIncomplete(Text(str(error), "内容无法成为案例")) from error
            pattern = None
            if case.fix is not None and self._consents.has_agreed(row.room, "sharing"):
                made = known or (case.fix.as_fix() if isinstance(case.fix, Pattern) else None)
                pattern = library.exchange.reviewed(case, made) if made is not None else None
            told = {} if pattern is None else pattern.to_json()
            self.store.put_draft(replace(self._decided(row, "accepted", account, reason, chosen), pattern=told))
            return pattern is not None

    def _waiting(self, number: int, account: Account) -> ReviewRow:
        row = self.store.draft(number)
        if row is None or row.state != "waiting":
            raise DraftOver(number)
        if row.author == account.name:
            raise OwnDraft
        return row

    def _decided(
        self, row: ReviewRow, state: str, account: Account, reason: str, proposal: dict[str, Any]
    ) -> ReviewRow:
        return replace(
            row, state=state, reviewer=account.name, reason=" ".join(reason.split())[:_LONGEST], proposal=proposal,
            changed_us=self._config.now_us(),
        )  # fmt: skip


def _drop(library: Library, number: int) -> None:
    try:
        library.drafts.drop(number)
    except DraftUnknown:
        raise DraftOver(number) from None


def _title(what: str, library: Library) -> Text:
    try:
        return library.title_of(what)
    except FixUnknown:
        return Text(what, what)


def _visit(draft: Draft, library: Library, verdict: str, room: str) -> Visit:
    """What of a consultation is remembered of its car."""
    case = case_from_draft(draft, None, None, "")
    fix: str | None = None
    if isinstance(case.fix, Pattern):
        fix = case.fix.as_fix().fix_id
    elif case.fix is not None:
        try:
            fix = library.get_fix(case.fix).fix_id
        except FixUnknown:
            fix = None
    day = datetime.fromtimestamp((case.closed_ns or draft.received_ns) / 1e9, UTC).strftime("%Y-%m-%d")
    return library.network.visit_from(
        Query.from_json(draft.question), uid=visit_uid(room), day=day, mileage_km=case.mileage_km, verdict=verdict,
        fix=fix, outcome=case.outcome,
    )  # fmt: skip


def _proposal(draft: Draft) -> dict[str, Any]:
    """What the draft says by itself; the other language is for the reviewer to write."""
    said = draft.statement
    title = " · ".join(part for part in (said.component, said.failure_mode) if part)
    return {
        "fix": said.fix, "component": said.component, "failure_mode": said.failure_mode, "action": said.action,
        "title": {"en": "", "zh": "", said.lang: title}, "text": {"en": "", "zh": "", said.lang: said.action},
        "outcome": said.outcome or _UNKNOWN,
    }  # fmt: skip


def _checked(told: Any) -> dict[str, Any]:
    """A proposal, whole and of texts.

    Raises:
        ReviewIncomplete: a part is missing, unknown, too long, or no text.
    """
    wrong = ReviewIncomplete(Text("not a proposal", "提案格式有误"))
    if not isinstance(told, dict) or set(told) != _PROPOSAL or told["outcome"] not in (*OUTCOMES, _UNKNOWN):
        raise wrong
    texts = [told["fix"], *(told[word] for word in _WORDS)]
    for both in (told["title"], told["text"]):
        if not isinstance(both, dict) or set(both) != {"en", "zh"}:
            raise wrong
        texts += both.values()
    if not all(isinstance(text, str) and len(text) <= _LONGEST for text in texts):
        raise wrong
    return {
        "fix": told["fix"].strip(), **{word: " ".join(told[word].split()) for word in _WORDS},
        **{key: {lang: " ".join(text.split()) for lang, text in told[key].items()} for key in ("title", "text")},
        "outcome": told["outcome"],
    }  # fmt: skip


def _fix(chosen: dict[str, Any]) -> Any:
    """A known fix's name, or one of its own with all its words in both languages.

    Raises:
        ReviewIncomplete: words are missing, or look like somebody's.
    """
    if chosen["fix"]:
        return chosen["fix"]
    words = [chosen[word] for word in _WORDS]
    texts = [*words, *chosen["title"].values(), *chosen["text"].values()]
    if not all(texts):
        what = Text(
            "component, cause and action, title and description in both languages, or a known fix",
            "请填写部件、原因、措施，以及中英文标题和说明，或选择已知解决办法",
        )
        raise ReviewIncomplete(what)
    if not is_clean(texts):
        raise ReviewIncomplete(Text("a VIN, a plate or a telephone number is in it", "含有车架号、车牌或电话号码"))
    return {**dict(zip(_WORDS, words, strict=True)), "title": chosen["title"], "fix": chosen["text"]}


def _meaning(dtc: DtcSeen) -> dict[str, str] | None:
    """What a code says, where anybody knows."""
    text, _ = find_text(dtc.code, dtc.failure_type)
    return None if text is None else {"en": text.en, "zh": text.zh}


def _told(row: ReviewRow, draft: Draft | None, library: Library, reader: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "number": row.number, "room": row.room, "state": row.state, "own": bool(row.author) and row.author == reader,
        "reviewer": row.reviewer, "reason": row.reason, "opened_us": row.opened_us, "changed_us": row.changed_us,
        "shared": bool(row.pattern), "proposal": row.proposal, "car": None,
    }  # fmt: skip
    if draft is None:
        return told
    seen = draft.question
    vehicle = seen.get("vehicle") or {}
    query = Query.from_json(seen)
    told["proposal"] = row.proposal or _proposal(draft)
    told["car"] = {
        "make": vehicle.get("make"), "model": vehicle.get("model"), "model_year": vehicle.get("model_year"),
        "mileage_km": seen.get("mileage_km"), "simulated": draft.simulated,
    }  # fmt: skip
    told["seen"] = {
        "dtcs": [
            {"code": dtc.display, "ecu": dtc.role or "", "state": dtc.state, "text": _meaning(dtc)}
            for dtc in query.dtcs
        ],
        "findings": [title.to_json() for title in query.findings.values()],
        "silent": list(query.silent), "symptom": query.symptom,
    }  # fmt: skip
    said = draft.statement
    told["said"] = {"note": said.note, "tried": [{"what": what, "result": result} for what, result in draft.tried]}
    told["like"] = [one.to_json() for one in library.drafts.like(draft)]
    return told
