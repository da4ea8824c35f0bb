"""The odds as the log of closed jobs corrects them: ``logit p' = a · logit p + b``, class by class.

Fitted on the first match of each closed job: its uncorrected probability, and whether it was the cure. The prior of a
class is what the other classes of its family (fixes, or notices) say, the prior of a family is to correct nothing; each
is worth thirty jobs: taken as thirty jobs at fixed odds that came out just as the prior says. An empty log therefore
changes nothing at all. ``a`` stays above zero, and the other matches stay behind the first one: what comes first, and
with it what the log will say of it, does not depend on the correction. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.jobclasses import EVIDENCE, LANGUAGES, NOTICE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from diag.facts import Json

    _Pair = tuple[NDArray[np.float64], NDArray[np.float64]]

__all__ = ["UNCORRECTED", "Curve", "Recalibration", "corrected", "recalibration_of"]

_WORTH: Final = 30.0
"""Jobs that a prior is worth."""
_PRIOR_AT: Final = np.log(np.array([0.1, 0.3, 0.5, 0.7, 0.9]) / np.array([0.9, 0.7, 0.5, 0.3, 0.1]))
_LEAST_SLOPE: Final = 0.05
_SURE: Final = 6.9
"""Logit of 0.999: a surer probability weighs no more in the fit, so that no single job bends the whole curve."""
_SUREST: Final = 1e-9
_MOST_STEPS: Final = 50
_DONE: Final = 1e-10


@dataclass(frozen=True, slots=True)
class Curve:
    """One correction.

    Args:
        a, b: slope and offset on the logit; ``a`` is above zero.
        n: closed jobs that it was fitted on, its prior not counted.
    """

    a: float = 1.0
    b: float = 0.0
    n: int = 0

    @property
    def is_identity(self) -> bool:
        """It changes nothing."""
        return self.a == 1.0 and self.b == 0.0

    def of(self, p: float) -> float:
        """The corrected probability; rises with ``p``."""
        if self.is_identity:
            return p
        p = min(1.0 - _SUREST, max(_SUREST, p))
        z = self.a * math.log(p / (1.0 - p)) + self.b
        return 1.0 / (1.0 + math.exp(-z)) if z >= 0.0 else math.exp(z) / (1.0 + math.exp(z))

    def to_json(self) -> Json:
        """Parameters, jobs, and what 50, 80 and 95 % are told as."""
        return {
            "a": round(self.a, 4), "b": round(self.b, 4), "n": self.n,
            "told": [{"p_raw": p, "p": round(self.of(p), 4)} for p in (0.5, 0.8, 0.95)],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recalibration:
    """The corrections of all classes.

    Args:
        classes: by language and evidence in the order of :mod:`casebase.jobclasses`, those with closed jobs.
        families: of all fixes and of all notices, for the classes without.
    """

    classes: Mapping[tuple[str, str], Curve] = field(default_factory=dict)
    families: Mapping[str, Curve] = field(default_factory=dict)

    def curve(self, language: str, evidence: str) -> Curve:
        """That of a class; without closed jobs of its own, of its family."""
        return self.classes.get((language, evidence)) or self.families.get(_family(evidence), _IDENTITY)

    def to_json(self) -> list[Json]:
        """Families (no language), then classes, in a fixed order."""
        out: list[Json] = [
            {"language": None, "evidence": name, **self.families[name].to_json()}
            for name in ("fixes", "notices")
            if name in self.families
        ]
        out += [
            {"language": language, "evidence": evidence, **curve.to_json()}
            for (language, evidence), curve in self.classes.items()
        ]
        return out


_IDENTITY: Final = Curve()
UNCORRECTED: Final = Recalibration()


def _family(evidence: str) -> str:
    return "notices" if evidence == NOTICE else "fixes"


def recalibration_of(firsts: Iterable[tuple[str, str, float, bool]]) -> Recalibration:
    """Fits all corrections.

    Args:
        firsts: ``(language, evidence, uncorrected probability, whether it was the cure)`` of closed jobs' first match.
    """
    by_class: dict[tuple[str, str], list[tuple[float, bool]]] = {}
    for language, evidence, p, right in firsts:
        by_class.setdefault((language, evidence), []).append((p, right))
    names = [(language, evidence) for language in LANGUAGES for evidence in EVIDENCE]
    pairs = {name: _logits(by_class[name]) for name in names if name in by_class}
    families: dict[str, Curve] = {}
    classes: dict[tuple[str, str], Curve] = {}
    for family in ("fixes", "notices"):
        some = {name: pair for name, pair in pairs.items() if _family(name[1]) == family}
        if some:
            families[family] = _fitted(some.values(), _IDENTITY)
        for name, pair in some.items():
            # The others' only: its own jobs would count twice.
            others = [other for other_name, other in some.items() if other_name != name]
            classes[name] = _fitted([pair], _fitted(others, _IDENTITY) if others else _IDENTITY)
    return Recalibration(classes, families)


def _logits(pairs: Sequence[tuple[float, bool]]) -> _Pair:
    told = np.clip([p for p, _ in pairs], _SUREST, 1.0 - _SUREST)
    x = np.clip(np.log(told / (1.0 - told)), -_SURE, _SURE)
    return x, np.array([right for _, right in pairs], dtype=np.float64)


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    half: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * z))
    return half


def _fitted(pairs: Collection[_Pair], centre: Curve) -> Curve:
    """The most probable slope and offset, by damped Newton steps.

    Args:
        pairs: logits, shape ``(n,)``, and 1 where it was the cure, same shape; of one class or several.
        centre: the prior's.
    """
    x, y = np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])
    prior = _sigmoid(centre.a * _PRIOR_AT + centre.b)
    at = np.concatenate([x, _PRIOR_AT])
    wanted = np.concatenate([y, prior])
    weight = np.concatenate([np.ones(x.size), np.full(_PRIOR_AT.size, _WORTH / _PRIOR_AT.size)])
    a, b = centre.a, centre.b
    loss = _loss(a, b, at, wanted, weight)
    for _ in range(_MOST_STEPS):
        p = _sigmoid(a * at + b)
        error, bend = weight * (p - wanted), weight * p * (1.0 - p)
        slope_a, slope_b = float(error @ at), float(error.sum())
        aa, ab, bb = float(bend @ (at * at)), float(bend @ at), float(bend.sum())
        if a <= _LEAST_SLOPE and slope_a > 0.0:  # it would turn the order round: only the offset is free
            step_a, step_b = 0.0, slope_b / bb
        else:
            det = aa * bb - ab * ab
            step_a, step_b = (bb * slope_a - ab * slope_b) / det, (aa * slope_b - ab * slope_a) / det
        size = 1.0
        while True:
            next_a, next_b = max(_LEAST_SLOPE, a - size * step_a), b - size * step_b
            next_loss = _loss(next_a, next_b, at, wanted, weight)
            if next_loss <= loss or size < 1e-6:
                break
            size *= 0.5
        moved = max(abs(next_a - a), abs(next_b - b))
        if next_loss > loss or moved < _DONE:
            break
        a, b, loss = next_a, next_b, next_loss
    return Curve(a, b, int(x.size))


def _loss(
    a: float, b: float, at: NDArray[np.float64], wanted: NDArray[np.float64], weight: NDArray[np.float64]
) -> float:
    z = a * at + b
    return float(weight @ (np.logaddexp(0.0, z) - wanted * z))


def corrected(curve: Curve, p: Sequence[float], rest: float) -> tuple[list[float], float]:
    """All probabilities of an answer when that of its first match is corrected.

    What the first one loses or gains the others and the rest share in the proportion that they had; none of them comes
    before the first, and what none may take the rest takes.

    Args:
        curve: of the answer's class.
        p: of the matches, in any order.
        rest: of everything else; with ``p`` it sums to 1.

    Returns:
        The new ``p`` in the same order, never rising where the old one falls, and the new ``rest``; they sum to 1.
    """
    if curve.is_identity or not p:
        return list(p), rest
    order = sorted(range(len(p)), key=lambda i: -p[i])
    first = curve.of(p[order[0]])
    left, behind = 1.0 - first, sum(p) - p[order[0]] + rest
    capped = 1
    for i in order[1:]:
        if behind <= 0.0 or left * p[i] <= first * behind:
            break
        left, behind, capped = left - first, behind - p[i], capped + 1
    scale = max(0.0, left / behind) if behind > 0.0 else 0.0
    out = [0.0] * len(p)
    for place, i in enumerate(order):
        out[i] = first if place < capped else scale * p[i]
    return out, max(0.0, 1.0 - sum(out))
