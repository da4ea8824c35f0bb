"""Samples as they travel: the columns of a live stream, its blocks, and one signal over time.

Times are integer nanoseconds; UTC (Unix epoch) where a person or a file sees them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from diag.facts import Json

__all__ = ["SampleBlock", "Series", "SignalInfo", "StreamSchema"]


@dataclass(frozen=True, slots=True)
class SignalInfo:
    """What one column of a stream is."""

    name: str
    unit: str
    message: str = ""
    minimum: float | None = None
    maximum: float | None = None

    def to_json(self) -> Json:
        """Name, unit, message and display range."""
        return {
            "name": self.name,
            "unit": self.unit,
            "message": self.message,
            "min": self.minimum,
            "max": self.maximum,
        }


@dataclass(frozen=True, slots=True)
class StreamSchema:
    """The columns of a live stream, sent once; ``stream`` is 0..65535.

    Args:
        name: what people call the stream.
        kind: ``signals``; ``cells``: one battery cell per column, in order; ``raw``: no columns, the bus's own frames.
        rate_hz: blocks per second; 0 = as they come.
    """

    stream: int
    signals: tuple[SignalInfo, ...]
    name: str = ""
    kind: str = "signals"
    rate_hz: float = 0.0

    def to_json(self) -> Json:
        """``{"stream", "name", "kind", "rate_hz", "signals"}``."""
        return {
            "stream": self.stream,
            "name": self.name,
            "kind": self.kind,
            "rate_hz": self.rate_hz,
            "signals": [signal.to_json() for signal in self.signals],
        }


@dataclass(frozen=True, slots=True)
class SampleBlock:
    """One tick of a live stream: the last value of every signal.

    Args:
        t_ns: UTC nanoseconds since the Unix epoch.
        values: float32, shape ``(len(schema.signals),)``.
        valid: bool, same shape; False = not received within the signal's age limit, or "not available".
    """

    t_ns: int
    values: NDArray[np.float32]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Series:
    """One signal over time.

    Args:
        t_ns: int64, shape ``(n,)``, not decreasing.
        values: float64, shape ``(n,)``.
        valid: bool, shape ``(n,)``; where False the value means nothing.
    """

    name: str
    unit: str
    t_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    valid: NDArray[np.bool_]
