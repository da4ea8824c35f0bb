"""What a complaint's meaning says for each fix: one more piece of evidence, bounded and never against a fix.

How alike a complaint and a fix are is half the best of the fix's sentences and half their mean (cosines). Cosines of
one question lie close together and differ from question to question, so they are standardised over all fixes:
``gain = weight · clip(z - z0, 0, zmax)`` nats. The weights stand in ``content/weights.toml``, fitted by
``benchmarks/dense.py``. Pure: no clock, no model.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Meaning", "MeaningWeights", "likeness", "meaning_of"]

_WEIGHTS: Final = Path(__file__).parent / "content" / "weights.toml"
_BEST_SHARE: Final = 0.5
"""Of the best sentence; the rest is that of their mean. Measured beside 1, 0.8, 0.3 and 0 on the half for fitting."""


@dataclass(frozen=True, slots=True)
class MeaningWeights:
    """Fitted weights.

    Args:
        weight: nats for each standard deviation above ``z0``.
        z0: standard deviations that the nearest of many unrelated fixes reach by chance.
        zmax: standard deviations above ``z0`` beyond which nothing is added.
        none: nats for "none of these": something is alike in every text, also in one that belongs to no fix.
        beside: share of it that counts beside anything measured, which has to keep the lead.
    """

    weight: float
    z0: float
    zmax: float
    none: float
    beside: float

    @classmethod
    @cache
    def load(cls, path: Path = _WEIGHTS) -> MeaningWeights:
        """The weights that come with the program."""
        data: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["meaning"]
        return cls(*(float(data[name]) for name in ("weight", "z0", "zmax", "none", "beside")))

    @property
    def most(self) -> float:
        """Nats that meaning can say for a fix."""
        return self.weight * self.zmax


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the meaning of one complaint says.

    Args:
        rows: int32 ``(fixes,)``: rows in the postings of the fixes that it speaks for.
        gain: float64, same shape: nats, above 0.
        said: for each of them the sentence that is most alike.
        most: nats that it could say for a fix.
        none: nats for "none of these", as far as the fixes gained them.
        beside: see :class:`MeaningWeights`.
        kind: of evidence: ``meaning``, or ``sentence`` where words were compared.
    """

    rows: NDArray[np.int32]
    gain: NDArray[np.float64]
    said: tuple[str, ...]
    most: float
    none: float
    beside: float
    kind: str = "meaning"


def likeness(cosines: NDArray[np.float64], first: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How alike a complaint and each fix are, and which sentence is most alike.

    Args:
        cosines: float64 ``(sentences,)``, those of one fix beside each other.
        first: int64 ``(fixes,)``: where the sentences of each fix begin; every fix has one.
    """
    counts = np.diff(first, append=cosines.size)
    best = np.maximum.reduceat(cosines, first)
    mean = np.add.reduceat(cosines, first) / counts
    owner = np.repeat(np.arange(first.size), counts)
    places = np.flatnonzero(cosines == best[owner])
    nearest = np.empty(first.size, dtype=np.int64)
    nearest[owner[places][::-1]] = places[::-1]  # the first of equal ones
    return _BEST_SHARE * best + (1.0 - _BEST_SHARE) * mean, nearest


def meaning_of(
    alike: NDArray[np.float64], rows: NDArray[np.int32], said: tuple[str, ...], weights: MeaningWeights
) -> Meaning:
    """Standardised, bounded evidence.

    Args:
        alike: float64 ``(fixes,)``: :func:`likeness`.
        rows: int32, same shape: rows in the postings, -1 for fixes that are not there.
        said: the sentence of each that is most alike.
        weights: fitted.
    """
    spread = float(alike.std()) if alike.size else 0.0
    z = (alike - alike.mean()) / spread if spread > 0.0 else np.zeros(alike.size)
    gain = weights.weight * np.clip(z - weights.z0, 0.0, weights.zmax)
    at = np.flatnonzero((gain > 0.0) & (rows >= 0))
    return Meaning(rows[at], gain[at], tuple(said[i] for i in at), weights.most, weights.none, weights.beside)
