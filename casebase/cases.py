"""The answer of the library: ranked fixes with reasons, one verdict, the next best test.

``Cases.to_json()`` is CASES of the command line's contract, schema ``huizhen.cases/1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from casebase.success import Success
    from diag.facts import Json, Text

__all__ = ["SCHEMA", "Campaign", "Cases", "Match", "NextTest", "Reason", "Safety", "Verdict"]

SCHEMA: Final = "huizhen.cases/1"


class Verdict(StrEnum):
    """What to do with the answer."""

    DIRECT = "direct"
    """The first fix can be carried out; verify afterwards."""
    TEST = "test"
    """Known causes are in question; the next test tells them apart."""
    EXPERT = "expert"
    """Something is known, but neither enough to act nor a test that decides."""
    UNKNOWN = "unknown"
    """The library does not know this: confirmed codes stay unexplained, or nothing fits."""
    NONE = "none"
    """No evidence of a fault."""


class Safety(StrEnum):
    """How close the work comes to high voltage."""

    NONE = "none"
    HV_NEARBY = "hv-nearby"
    HV_WORK = "hv-work"

    @property
    def rank(self) -> int:
        """0 for the safest."""
        return list(Safety).index(self)


@dataclass(frozen=True, slots=True)
class Reason:
    """One piece of evidence for or against a fix.

    Args:
        kind: ``dtc``, ``finding``, ``feature``, ``silence``, ``symptom``, ``meaning``.
        ref: the code, feature or word.
        weight: natural-log units it moved the fix by; negative speaks against it.
    """

    kind: str
    ref: str
    text: Text
    weight: float

    def to_json(self) -> Json:
        """The sentence in both languages, and what it rests on."""
        return {**self.text.to_json(), "kind": self.kind, "ref": self.ref, "weight": round(self.weight, 3)}


@dataclass(frozen=True, slots=True)
class Match:
    """One known fix.

    Args:
        case_id: the fix's identity by content, 16 hex digits.
        source_id: where it stands: the name of a fix of ours, a recall's number.
        p: probability that this is the cause and the cure, among all known ones and "none of these".
        interval: 80 % interval of ``p`` for the number of cases behind the fix.
        score: log evidence, before normalising.
        p_raw: ``p`` before the log of closed jobs corrected it; None is the same.
        success: what became of it so far, None where nobody knows.
    """

    case_id: str
    source_id: str
    title: Text
    p: float
    interval: tuple[float, float]
    because: tuple[Reason, ...]
    against: tuple[Reason, ...]
    fix: Text
    safety: Safety
    source_class: str
    score: float
    success: Success | None = None
    p_raw: float | None = None

    @property
    def uncorrected(self) -> float:
        """The probability before the log of closed jobs corrected it."""
        return self.p if self.p_raw is None else self.p_raw

    def to_json(self) -> Json:
        """One entry of ``matches``."""
        return {
            "case_id": self.case_id,
            "source_id": self.source_id,
            "title": self.title.to_json(),
            "p": round(self.p, 4),
            "p_raw": round(self.uncorrected, 4),
            "interval": [round(self.interval[0], 4), round(self.interval[1], 4)],
            "because": [reason.to_json() for reason in self.because],
            "against": [reason.to_json() for reason in self.against],
            "fix": self.fix.to_json(),
            "safety": self.safety.value,
            "source_class": self.source_class,
            "outcomes": self.success.to_json() if self.success is not None else None,
        }


@dataclass(frozen=True, slots=True)
class NextTest:
    """The test that tells the leading fixes apart at the least cost.

    Args:
        yes: what a positive result means; ``expect`` is what the leading fix predicts.
        gain_bits: expected information.
        separates: ``source_id`` of the fixes it speaks for.
    """

    test_id: str
    title: Text
    how: Text
    yes: Text
    expect: Text
    minutes: float
    remote: bool
    safety: Safety
    gain_bits: float
    separates: tuple[str, ...]

    def to_json(self) -> Json:
        """``next_test``."""
        return {
            "id": self.test_id,
            "title": self.title.to_json(),
            "how": self.how.to_json(),
            "yes": self.yes.to_json(),
            "expect": self.expect.to_json(),
            "minutes": self.minutes,
            "remote": self.remote,
            "safety": self.safety.value,
            "gain_bits": round(self.gain_bits, 3),
            "separates": list(self.separates),
        }


@dataclass(frozen=True, slots=True)
class Campaign:
    """A recall or bulletin whose vehicles this one is among."""

    case_id: str
    source_id: str
    kind: str
    title: Text
    published: str = ""

    def to_json(self) -> Json:
        """One entry of ``campaigns``."""
        return {
            "case_id": self.case_id,
            "source_id": self.source_id,
            "kind": self.kind,
            "title": self.title.to_json(),
            "published": self.published,
        }


@dataclass(frozen=True, slots=True)
class Cases:
    """The whole answer.

    Args:
        matches: at most ten, best first.
        p_unknown: probability that the cause is none of the known ones.
        unexplained: codes that no credible match explains.
        campaigns: recalls and bulletins that are for this vehicle, those that fit the story first; to be asked for by
            VIN before any part is bought.
        campaigns_total: how many there are.
    """

    verdict: Verdict
    matches: tuple[Match, ...] = ()
    next_test: NextTest | None = None
    p_unknown: float = 0.0
    unexplained: tuple[str, ...] = ()
    simulated: bool = False
    campaigns: tuple[Campaign, ...] = ()
    campaigns_total: int = 0

    def _repr_html_(self) -> str:
        """What a notebook shows of it: the fixes with probability and interval, in both languages."""
        from html import escape

        rows = "".join(
            f"<tr><td>{match.p:.0%} ({match.interval[0]:.0%}–{match.interval[1]:.0%})</td>"
            f"<td>{escape(f'{match.title.en} · {match.title.zh}')}</td></tr>"
            for match in self.matches
        )
        return f"<p>{self.verdict.value}, none of these: {self.p_unknown:.0%}</p><table>{rows}</table>"

    def to_json(self) -> Json:
        """CASES of the contract."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict.value,
            "matches": [match.to_json() for match in self.matches],
            "next_test": self.next_test.to_json() if self.next_test else None,
            "p_unknown": round(self.p_unknown, 4),
            "unexplained": list(self.unexplained),
            "simulated": self.simulated,
            "campaigns": [campaign.to_json() for campaign in self.campaigns],
            "campaigns_total": self.campaigns_total,
        }
