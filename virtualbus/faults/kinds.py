"""What a fault is: a change of metal, wires, programs or the network, with its settings and its label.

A kind is one function that changes a :class:`~virtualbus.design.Design`. Which trouble codes follow, if any, is for the
car's own ECUs to find out. The label (cause, fix, severity) is for evaluation only: nothing on the bus, in an answer
or in a report comes from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from virtualbus.chemistry import CELL_TYPES
from virtualbus.design import WHEELS
from virtualbus.errors import Phrase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from virtualbus.design import Design
    from virtualbus.vehicles import Vehicle

__all__ = ["FAULTS", "Chosen", "Fault", "FaultKind", "Setting", "kind", "number", "place", "text"]

DANGERS: Final = ("stop", "soon", "monitor", "low")
DEFAULT_SEVERITY: Final = 0.7


@dataclass(frozen=True, slots=True)
class Setting:
    """One figure of a fault that a scenario may give.

    Args:
        kind: ``number``, ``integer``, ``text``, or a place in the car: ``cell``, ``wire``, ``joint``, ``module``,
            ``wheel``, ``ecu``.
        low, high: the allowed range of a number.
        mild, severe: the values at severity 0 and 1; between them straight, or by factors when both are positive and
            an order of magnitude apart.
        choices: the allowed words of a text.
        pattern, example: the form of a text, as a regular expression and shown to people.
        default: of a text.
    """

    kind: str
    low: float = 0.0
    high: float = 0.0
    mild: float = 0.0
    severe: float = 0.0
    choices: tuple[str, ...] = ()
    pattern: str = ""
    example: str = ""
    default: str | None = None

    def bounds(self, vehicle: Vehicle) -> tuple[float, float]:
        """Lowest and highest number in a kind of car."""
        high = {
            "cell": vehicle.cells,
            "wire": vehicle.cells - 1,
            "joint": vehicle.cells - 1,
            "module": vehicle.modules,
        }
        return (1, high[self.kind]) if self.kind in high else (self.low, self.high)

    def words(self, vehicle: Vehicle) -> tuple[str, ...]:
        """The allowed words in a kind of car."""
        return {"wheel": WHEELS, "ecu": vehicle.ecus}.get(self.kind, self.choices)

    def at(self, severity: float) -> float:
        """The value at a severity 0..1."""
        mild, severe = self.mild, self.severe
        if mild > 0 and severe > 0 and max(mild, severe) / min(mild, severe) >= 10:
            return mild * math.exp(severity * math.log(severe / mild))
        return mild + severity * (severe - mild)


def number(low: float, high: float, mild: float, severe: float) -> Setting:
    """A figure between two bounds with its values at severity 0 and 1."""
    return Setting("number", low, high, mild, severe)


def place(what: str) -> Setting:
    """A place in the car, drawn when the scenario names none."""
    return Setting(what)


def text(default: str, *, choices: tuple[str, ...] = (), pattern: str = "", example: str = "") -> Setting:
    """A word."""
    return Setting("text", choices=choices, pattern=pattern, example=example, default=default)


class Chosen:
    """The settled figures of one fault, by attribute."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


@dataclass(frozen=True, slots=True, eq=False)
class FaultKind:
    """One kind of fault.

    Args:
        name: as scenarios call it.
        title: what is broken.
        cause, fix, danger: the label, for evaluation.
        settings: what a scenario may give beside ``from_s`` and ``severity``.
        alter: changes the design.
        from_s: when it begins if the scenario does not say; None = before the car's first day.
        needs: ``engine`` for faults that only a hybrid can have.
    """

    name: str
    title: Phrase
    cause: Phrase
    fix: Phrase
    danger: str
    settings: Mapping[str, Setting]
    alter: Callable[[Design, np.random.Generator, Any], None]
    from_s: float | None = None
    needs: str = ""

    def fits(self, vehicle: Vehicle) -> bool:
        """Whether a kind of car can have this fault."""
        return self.needs != "engine" or vehicle.engine


FAULTS: Final[dict[str, FaultKind]] = {}


def kind(
    name: str,
    title: tuple[str, str],
    cause: tuple[str, str],
    fix: tuple[str, str],
    danger: str,
    *,
    from_s: float | None = None,
    needs: str = "",
    **settings: Setting,
) -> Callable[[Callable[[Design, np.random.Generator, Any], None]], Callable[[Design, np.random.Generator, Any], None]]:
    """Makes a fault of a function that changes a design; texts are (English, Chinese)."""

    def register(
        alter: Callable[[Design, np.random.Generator, Any], None],
    ) -> Callable[[Design, np.random.Generator, Any], None]:
        if name in FAULTS or danger not in DANGERS:
            raise ValueError(name)
        FAULTS[name] = FaultKind(
            name, Phrase(*title), Phrase(*cause), Phrase(*fix), danger, settings, alter, from_s, needs
        )
        return alter

    return register


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """One fault of one scenario.

    Args:
        kind: what breaks.
        given: figures that the scenario names; the others follow from the severity or are drawn.
        severity: 0..1.
        from_s: car time in seconds at which it begins, None = before the car's first day. Car time 0 is the beginning
            of the scenario's cycle.
    """

    kind: FaultKind
    given: Mapping[str, Any] = field(default_factory=dict)
    severity: float = DEFAULT_SEVERITY
    from_s: float | None = None

    def alter(self, design: Design, rng: np.random.Generator) -> Mapping[str, Any]:
        """Breaks it; returns the figures, drawn ones included."""
        chosen: dict[str, Any] = {"from_s": self.from_s}
        for name, setting in self.kind.settings.items():
            if name in self.given:
                chosen[name] = self.given[name]
            elif setting.kind == "text":
                chosen[name] = setting.default
            elif words := setting.words(design.vehicle):
                chosen[name] = words[int(rng.integers(len(words)))]
            elif setting.kind == "joint":
                chosen[name] = design.vehicle.per_module * int(rng.integers(1, design.vehicle.modules))
            elif setting.kind in ("cell", "wire", "module"):
                low, high = setting.bounds(design.vehicle)
                chosen[name] = int(rng.integers(int(low), int(high) + 1))
            else:
                chosen[name] = setting.at(self.severity)
        self.kind.alter(design, rng, Chosen(chosen))
        return chosen


CELL_NAMES: Final = tuple(CELL_TYPES)
