"""Exact tests and intervals for counts, and the false discovery rate over many of them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["binomial_tail", "discoveries", "normal_tail", "poisson_quantile", "predicted_quantile", "rate_ratio_bound"]


@lru_cache(maxsize=512)
def _log_choices(n: int) -> NDArray[np.float64]:
    """``ln (n over k)`` for k from 0 to n."""
    logs = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, n + 1)))))
    out: NDArray[np.float64] = logs[n] - logs - logs[::-1]
    return out


def _log_binomials(n: int, p: float) -> NDArray[np.float64]:
    """``ln P(k)`` for k from 0 to n."""
    k = np.arange(n + 1)
    out: NDArray[np.float64] = _log_choices(n) + k * math.log(p) + (n - k) * math.log1p(-p)
    return out


def binomial_tail(k: int, n: int, p: float) -> float:
    """``P(X >= k)`` of a binomial distribution.

    Args:
        k: at least so many.
        n: of so many.
        p: chance of each, between 0 and 1.
    """
    if k <= 0:
        return 1.0
    if k > n or p <= 0.0:
        return 0.0
    if p >= 1.0:
        return 1.0
    return float(min(1.0, np.exp(_log_binomials(n, p))[k:].sum()))


def rate_ratio_bound(recent: int, before: int, exposure: float, exposure_before: float, level: float = 0.95) -> float:
    """The lower bound of the ratio of two Poisson rates: exact, conditional on their sum (Clopper and Pearson).

    Args:
        recent: events now.
        before: events before.
        exposure: car-weeks of now, more than 0.
        exposure_before: of before, more than 0.
        level: one-sided confidence.
    """
    n = recent + before
    if recent == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):  # P(X >= recent) rises with p
        middle = (low + high) / 2
        if binomial_tail(recent, n, middle) < 1.0 - level:
            low = middle
        else:
            high = middle
    share = low
    return math.inf if share >= 1.0 else share / (1.0 - share) * exposure_before / exposure


def poisson_quantile(mean: float, q: float) -> int:
    """The smallest k with ``P(X <= k) >= q``.

    Args:
        mean: of the distribution.
        q: between 0 and 1.
    """
    if mean <= 0.0:
        return 0
    k, term = 0, -mean
    total = math.exp(term)
    while total < q and k < 10 * mean + 100:
        k += 1
        term += math.log(mean / k)
        total += math.exp(term)
    return k


def predicted_quantile(events: int, exposure: float, ahead: float, q: float) -> int:
    """The smallest k with ``P(X <= k) >= q`` of the events to come, the rate being known from the past ones only.

    Negative binomial: Poisson with a rate whose distribution is that of ``events`` under Jeffreys' prior.

    Args:
        events: of the past.
        exposure: of the past, more than 0.
        ahead: exposure to come.
        q: between 0 and 1.
    """
    if ahead <= 0.0:
        return 0
    shape, share = events + 0.5, exposure / (exposure + ahead)
    k, term = 0, shape * math.log(share)
    total = math.exp(term)
    most = 20 * (shape * ahead / exposure) + 1000
    while total < q and k < most:
        k += 1
        term += math.log((shape + k - 1) / k * (1.0 - share))
        total += math.exp(term)
    return k


def normal_tail(z: float) -> float:
    """``P(|Z| >= |z|)`` of the normal distribution."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def discoveries(p: Sequence[float]) -> list[float]:
    """The adjusted p-values of Benjamini and Hochberg: those up to a rate are discoveries at that rate.

    Args:
        p: of each test.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)
    adjusted = values[order] * values.size / np.arange(1, values.size + 1)
    adjusted = np.minimum.accumulate(adjusted[::-1])[::-1]
    out = np.empty(values.size)
    out[order] = np.minimum(adjusted, 1.0)
    return out.tolist()
