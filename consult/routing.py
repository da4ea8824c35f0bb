"""Who should take a car that waits: experts in order, each with the reasons. Pure.

Skill comes first, then the car's make, the technician's language, how much the expert has to do already, the region;
among equals who has been without a case for longest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consult.needs import Need, skill_from_word

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SEVERITY_RANKS", "Choice", "Expert", "fits", "rank"]

SEVERITY_RANKS: Final = {"danger": 0, "high": 1, "normal": 2}


@dataclass(frozen=True, slots=True)
class Expert:
    """Somebody on duty.

    Args:
        name: the account's.
        is_lead: whether cases are offered to them only when experts did not take them.
        skills, languages, makes: words; none of a kind says nothing about it, it does not mean all or nothing.
        load: open cases they hold.
        at_once: how many they may hold.
        idle_since_us: since when they have taken or ended no case, UTC microseconds.
    """

    name: str
    is_lead: bool = False
    skills: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    region: str = ""
    load: int = 0
    at_once: int = 2
    idle_since_us: int = 0

    @property
    def is_free(self) -> bool:
        """Whether they may take one more."""
        return self.load < self.at_once


@dataclass(frozen=True, slots=True)
class Choice:
    """One expert for one car, and why: words such as ``skill:battery``, ``make:Huizhen``, ``load:0/2``."""

    name: str
    because: tuple[str, ...]


def fits(expert: Expert, need: Need) -> bool:
    """Whether they know at least one of the things that are needed; anybody does where nothing is known to be."""
    return not need.skills or bool(_skills(expert).intersection(need.skills))


def rank(experts: Iterable[Expert], need: Need) -> list[Choice]:
    """Best first. Nobody is left out: who may take a case at all is decided elsewhere."""
    ordered = sorted(experts, key=lambda one: _place(one, need))
    return [Choice(one.name, _because(one, need)) for one in ordered]


def _skills(expert: Expert) -> set[str]:
    return {skill_from_word(word) for word in expert.skills}


def _has(words: tuple[str, ...], wanted: str) -> int:
    """0 it is there · 1 nothing is known · 2 other things are."""
    if not words or not wanted:
        return 1
    return 0 if wanted.casefold() in {word.casefold() for word in words} else 2


def _speaks(expert: Expert, language: str) -> int:
    return _has(tuple(word.partition("-")[0] for word in expert.languages), language.partition("-")[0])


def _place(expert: Expert, need: Need) -> tuple[float, int, int, float, int, int, str]:
    known = _skills(expert)
    # The skill that is needed most counts most.
    skill = sum(1 / (1 + place) for place, one in enumerate(need.skills) if one in known)
    return (
        -skill,
        _has(expert.makes, need.make),
        _speaks(expert, need.language),
        expert.load / max(1, expert.at_once),
        _has((expert.region,) if expert.region else (), need.region),
        expert.idle_since_us,
        expert.name,
    )


def _because(expert: Expert, need: Need) -> tuple[str, ...]:
    known = _skills(expert)
    words = [f"skill:{skill}" for skill in need.skills if skill in known]
    if _has(expert.makes, need.make) == 0:
        words.append(f"make:{need.make}")
    if _speaks(expert, need.language) == 0:
        words.append(f"language:{need.language}")
    words.append(f"load:{expert.load}/{expert.at_once}")
    if need.region and expert.region == need.region:
        words.append(f"region:{need.region}")
    return tuple(words)
