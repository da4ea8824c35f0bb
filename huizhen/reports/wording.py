"""Dates, figures and names of a report in its language."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from huizhen.quantities import with_unit

if TYPE_CHECKING:
    from diag.facts import Json
    from huizhen.language import Translator

__all__ = ["Wording"]

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


class Wording:
    """How a report says things.

    Args:
        tr: in which language.
    """

    def __init__(self, tr: Translator) -> None:
        self.tr = tr

    def told(self, text: Json) -> str:
        """One of two languages."""
        return str(text[self.tr.lang])

    def moment(self, stamp: str | None) -> str:
        """A time of day as people here write it, by this machine's clock, with its distance from UTC."""
        if stamp is None:
            return self.tr("report.no_time")
        at = datetime.fromisoformat(stamp).astimezone()
        offset = at.utcoffset()
        minutes = round(offset.total_seconds() / 60) if offset is not None else 0
        zone = "UTC" if not minutes else f"UTC{minutes // 60:+d}" + (f":{minutes % 60:02d}" if minutes % 60 else "")
        if self.tr.lang == "zh":
            return f"{at.year}年{at.month}月{at.day}日 {at:%H:%M}（{zone}）"
        return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M} ({zone})"

    def figure(self, value: float | None, digits: int, unit: str) -> str:
        """A figure with its unit, or that it was not received."""
        return self.tr("scan.unseen") if value is None else f"{value:.{digits}f} {unit}".replace("-", "−")

    def range(self, interval: list[float] | None, digits: int, unit: str) -> str:
        """``(from … to)``; empty without an interval."""
        if not interval:
            return ""
        low, high = (f"{value:.{digits}f}" for value in interval)
        return self.tr("report.interval", low=low, high=high, unit=unit)

    def reading(self, value: Any, unit: str) -> str:
        """A value of a freeze frame."""
        shown = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
        return with_unit(shown, unit)

    def odds(self, p: float) -> str:
        """A probability as people may trust it: never a round 0 or 100."""
        percent = p * 100
        return "< 1 %" if percent < 1 else "> 99 %" if percent > 99 else f"{percent:.0f} %"

    def severity(self, severity: str) -> str:
        """How urgent."""
        return {
            "stop": self.tr("scan.severity.stop"),
            "soon": self.tr("scan.severity.soon"),
            "monitor": self.tr("scan.severity.monitor"),
            "low": self.tr("scan.severity.low"),
        }[severity]

    def outcome(self, outcome: str) -> str:
        """What became of a fault; see :class:`diag.repairproof.Outcome`."""
        return {
            "fixed": self.tr("verify.fixed"),
            "cleared": self.tr("verify.cleared"),
            "intermittent": self.tr("verify.intermittent"),
            "not-fixed": self.tr("verify.not_fixed"),
            "worse": self.tr("verify.worse"),
        }[outcome]

    def dtc_state(self, mask: str | None, kinds: list[str]) -> str:
        """A code's status byte in a word, with the byte."""
        tr = self.tr
        words = {
            "stored": tr("scan.kind.stored"),
            "pending": tr("scan.kind.pending"),
            "permanent": tr("scan.kind.permanent"),
        }
        if mask is None:
            return tr.listed(words.get(kind, kind) for kind in kinds) or words["stored"]
        status = int(mask, 16)
        if status & 0x01:
            return tr("scan.status.active")
        if status & 0x08:
            return tr("scan.status.stored")
        return tr("scan.status.pending") if status & 0x04 else tr("scan.status.history")

    def vehicle(self, vehicle: Json) -> str:
        """Make, model and year."""
        year = vehicle["model_year"]
        parts = [part for part in (vehicle["make"], vehicle["model"]) if part]
        if year:
            parts.append(str(year) if parts else self.tr("report.model_year", year=year))
        return " ".join(parts)
