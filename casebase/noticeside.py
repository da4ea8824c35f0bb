"""What the notices say to one question: matches with reasons, campaigns of the vehicle, leads for the next test."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.cases import Campaign, Match, Reason, Safety
from casebase.catalogue import NOTICE_TEST, Check
from casebase.intervals import wilson
from casebase.nexttest import Lead
from casebase.noticematching import NoticeWeights, match_notices
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from casebase.noticeindex import NoticeIndex
    from casebase.noticematching import Told
    from casebase.notices import Notice
    from casebase.query import Query
    from casebase.tokens import Terms, Tokenizer

__all__ = ["NOTHING_TOLD", "NoticeSide", "NoticesTold"]

_MOST_CAMPAIGNS: Final = 5
_WORTH: Final = 12.0
"""How many cases a public notice is worth, for the interval of its probability."""
_SHOWN_WORDS: Final = 6
_OPEN: Final = 0.95
_EXPECT: Final = Text("The campaign is listed for this VIN and open.", "该车架号列有此活动且尚未处置。")


@dataclass(frozen=True, slots=True)
class NoticesTold:
    """The notices' part of an answer.

    Args:
        p: probability that the story is one of theirs.
        matches: with their share of it.
        codes: trouble codes that the matches speak of.
        campaigns, campaigns_total: see :class:`casebase.cases.Cases`.
    """

    p: float = 0.0
    matches: tuple[Match, ...] = ()
    leads: tuple[Lead, ...] = ()
    codes: frozenset[str] = frozenset()
    campaigns: tuple[Campaign, ...] = ()
    campaigns_total: int = 0

    @property
    def ids(self) -> frozenset[str]:
        """Identities of the matches."""
        return frozenset(match.case_id for match in self.matches)

    def corrected(self, p: Sequence[float]) -> NoticesTold:
        """With other probabilities of its matches."""
        matches = tuple(
            replace(match, p=new, interval=wilson(new, _WORTH), p_raw=match.p)
            for match, new in zip(self.matches, p, strict=True)
        )
        leads = tuple(replace(lead, p=match.p) for lead, match in zip(self.leads, matches, strict=True))
        return replace(self, p=min(1.0, sum(p)), matches=matches, leads=leads)


NOTHING_TOLD: Final = NoticesTold()


@dataclass(frozen=True, slots=True)
class NoticeSide:
    """All that is needed to ask the notices.

    Args:
        get: a notice by its number in the library's file.
    """

    index: NoticeIndex
    tokenizer: Tokenizer
    get: Callable[[int], Notice]
    weights: NoticeWeights

    def tell(self, query: Query, measured: float) -> NoticesTold:
        """What the notices say.

        Args:
            query: the question.
            measured: log evidence (nats) of what was measured on the car and only a fix explains: it counts against
                all notices, which know nothing of it.
        """
        if not len(self.index):
            return NOTHING_TOLD
        vehicle = query.vehicle
        gate = self.index.gate(vehicle.make, vehicle.model, vehicle.model_year)
        codes = [dtc.code for dtc in query.dtcs]
        terms = self.tokenizer.terms([" ; ".join([query.symptom, *codes])])
        told = match_notices(self.index, terms, gate, self.weights)
        scope = gate.rows[self.index.is_campaign[gate.rows]] if gate.level == 0 else gate.rows[:0]
        if told is None:
            return NoticesTold(campaigns=self._campaigns(scope.tolist()), campaigns_total=int(scope.size))
        said = {code for code in codes for found in told.found[:1] if self._says(terms, found, code)}
        logit = math.log(told.p_known / (1.0 - told.p_known)) if told.p_known < 1.0 else 30.0
        p = 1.0 / (1.0 + math.exp(min(60.0, (0.0 if said else measured) - logit)))
        notices = [self.get(int(self.index.ids[row])) for row in told.rows]
        matches = tuple(
            self._match(notice, p * float(share), self._because(query, told, terms, i), told.level)
            for i, (notice, share) in enumerate(zip(notices, told.share, strict=True))
        )
        leads = tuple(Lead(match.source_id, (Check(NOTICE_TEST, _OPEN, _EXPECT),), match.p) for match in matches)
        first = [row for row in told.rows.tolist() if np.isin(row, scope)]
        rest = [row for row in scope.tolist() if row not in first]
        campaigns = self._campaigns([*first, *rest])
        return NoticesTold(p, matches, leads, frozenset(said), campaigns, int(scope.size))

    @staticmethod
    def _says(terms: Terms, found: tuple[int, ...], code: str) -> bool:
        return any(terms.said(at) == code.lower() for at in found)

    def _campaigns(self, rows: list[int]) -> tuple[Campaign, ...]:
        found = [self.get(int(self.index.ids[row])) for row in rows[:_MOST_CAMPAIGNS]]
        return tuple(Campaign(one.case_id, one.source_id, one.kind, one.heading, one.published) for one in found)

    @staticmethod
    def _match(notice: Notice, p: float, because: tuple[Reason, ...], level: int) -> Match:
        against: tuple[Reason, ...] = ()
        if level:
            text = (
                Text("published for other model years of this model", "公布的范围是该车型的其他年款"),
                Text("published for other models of this make", "公布的范围是该品牌的其他车型"),
                Text("the vehicle is not known, so its scope was not checked", "车辆信息不明，未核对适用范围"),
            )[level - 1]
            against = (Reason("vehicle", notice.source_id, text, -1.0),)
        return Match(
            notice.case_id, notice.source_id, notice.heading, p, wilson(p, _WORTH), because, against, notice.advice,
            Safety.NONE, "public-notice", math.log(max(p, 1e-12)),
        )  # fmt: skip

    def _because(self, query: Query, told: Told, terms: Terms, i: int) -> tuple[Reason, ...]:
        out = []
        if told.level == 0:
            vehicle = query.vehicle
            named = " ".join(str(part) for part in (vehicle.model_year, vehicle.make, vehicle.model) if part)
            text = Text(f"published for this vehicle ({named})", f"公布的范围包含该车（{named}）")
            out.append(Reason("vehicle", named, text, 1.0))
        words = list(dict.fromkeys(terms.said(at) for at in told.found[i]))[:_SHOWN_WORDS]
        if words:
            en, zh = ", ".join(f"“{word}”" for word in words), "、".join(f"“{word}”" for word in words)
            out.append(Reason("symptom", words[0], Text(f"it speaks of {en}, too", f"同样提到{zh}"), 1.0))
        return tuple(out)
