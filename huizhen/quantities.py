"""Units as people read them; in databases and JSON they are spelt with the letters that every program knows."""

from __future__ import annotations

from typing import Final

__all__ = ["shown_unit", "with_unit"]

_SHOWN: Final = {"degC": "°C", "Ohm": "Ω", "mOhm": "mΩ", "kOhm": "kΩ", "MOhm": "MΩ", "ohm/V": "Ω/V"}


def shown_unit(unit: str) -> str:
    """``degC`` as ``°C``; others as they are."""
    return _SHOWN.get(unit, unit)


def with_unit(figure: str, unit: str) -> str:
    """A figure with its unit behind it, where it has one."""
    return f"{figure} {shown_unit(unit)}".strip()
