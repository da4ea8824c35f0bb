"""Intervals of proportions."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["Z80", "Z95", "wilson"]

Z80: Final = 1.2816
Z95: Final = 1.9600


def wilson(p: float, n: float, z: float = Z80) -> tuple[float, float]:
    """Wilson's interval of a proportion; 80 % by default.

    Args:
        p: the proportion.
        n: of how many, more than 0.
        z: quantile of the normal distribution.
    """
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))
