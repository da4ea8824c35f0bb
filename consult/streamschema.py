"""What an agent announces of a stream: name, kind, rate and columns, checked."""

from __future__ import annotations

from typing import Any, Final

from consult.errors import MessageBroken
from consult.wire import MAX_SIGNALS
from diag.facts import Text

__all__ = ["checked_schema"]

_MAX_STREAM_NAME: Final = 80
_MAX_RATE_HZ: Final = 10_000


def checked_schema(entry: Any) -> dict[str, Any]:
    """A stream's schema as the agent sent it, when every part is what it should be.

    Raises:
        MessageBroken: one is not.
    """
    wrong = MessageBroken(Text("a stream's schema", "数据流的声明"))
    if not isinstance(entry, dict) or not isinstance(entry.get("stream"), int) or not 0 <= entry["stream"] < 1 << 16:
        raise wrong
    signals, kind = entry.get("signals"), entry.get("kind", "signals")
    name, rate_hz = entry.get("name", ""), entry.get("rate_hz", 0)
    if not isinstance(signals, list) or len(signals) > MAX_SIGNALS:
        raise wrong
    if kind not in ("signals", "cells", "raw") or (kind == "raw" and signals):
        raise wrong
    if not isinstance(name, str) or len(name) > _MAX_STREAM_NAME or type(rate_hz) not in (int, float):
        raise wrong
    if not 0 <= rate_hz <= _MAX_RATE_HZ:
        raise wrong
    for signal in signals:
        if not isinstance(signal, dict) or not all(isinstance(signal.get(key), str) for key in ("name", "unit")):
            raise wrong
    return {"stream": entry["stream"], "name": name, "kind": kind, "rate_hz": rate_hz, "signals": signals}
