"""Faults: what breaks in the metal, the wires or the program.

Each changes the :class:`~virtualbus.design.Design` of one car before it is built. Which trouble codes follow, if any,
is for the car's own ECUs to find out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Final

from virtualbus.chemistry import CELL_TYPES
from virtualbus.design import BmsSoftware
from virtualbus.pack import CELLS

if TYPE_CHECKING:
    import numpy as np

    from virtualbus.design import Design

__all__ = [
    "FAULTS",
    "BmsSoftwareMismatch",
    "Fault",
    "IsolationLeak",
    "LostBus",
    "SenseWire",
    "Setting",
    "WeakCell",
    "settings_of",
]


@dataclass(frozen=True, slots=True)
class Setting:
    """One figure of a fault that a scenario may give.

    Args:
        kind: ``number``, ``integer`` or ``text``.
        choices: the allowed words of a text.
        pattern, example: the form of a text, as a regular expression and shown to people.
    """

    kind: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()
    pattern: str = ""
    example: str = ""


class Fault:
    """Something broken."""

    kind: ClassVar[str]
    settings: ClassVar[dict[str, Setting]] = {}

    def alter(self, design: Design, rng: np.random.Generator) -> None:
        """Breaks it. What the scenario left open (which cell, which wire) is drawn from ``rng``."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class WeakCell(Fault):
    """A worn cell: less capacity, more resistance, and a leak inside.

    Args:
        cell: 1..96 in pack order, drawn when None.
        capacity: share of its capacity that is left.
        resistance: factor on its resistances.
        leak_ohm: internal leak.
    """

    kind: ClassVar[str] = "weak-cell"
    settings: ClassVar[dict[str, Setting]] = {
        "cell": Setting("integer", 1, CELLS),
        "capacity": Setting("number", 0.3, 1.0),
        "resistance": Setting("number", 1.0, 6.0),
        "leak_ohm": Setting("number", 20.0, 2000.0),
    }
    cell: int | None = None
    capacity: float = 0.82
    resistance: float = 2.2
    leak_ohm: float = 85.0

    def alter(self, design: Design, rng: np.random.Generator) -> None:
        """Changes one cell of the pack."""
        index = (self.cell or int(rng.integers(1, CELLS + 1))) - 1
        design.spread.capacity[index] *= self.capacity
        design.spread.resistance[index] *= self.resistance
        design.spread.leak_ohm[index] = self.leak_ohm


@dataclass(frozen=True, slots=True)
class SenseWire(Fault):
    """A corroded contact of one voltage sense wire.

    Args:
        wire: the boundary above this cell, 1..95, drawn when None.
        contact_ohm: its contact resistance.
    """

    kind: ClassVar[str] = "sampling-line"
    settings: ClassVar[dict[str, Setting]] = {
        "wire": Setting("integer", 1, CELLS - 1),
        "contact_ohm": Setting("number", 0.0, 1e6),
    }
    wire: int | None = None
    contact_ohm: float = 74_000.0

    def alter(self, design: Design, rng: np.random.Generator) -> None:
        """Adds the resistance to the wire."""
        design.wire_ohm[self.wire or int(rng.integers(1, CELLS))] += self.contact_ohm


@dataclass(frozen=True, slots=True)
class IsolationLeak(Fault):
    """A conducting path from a pole to the body, such as coolant in a connector.

    Args:
        leak_ohm: its resistance when it has grown.
        from_s: seconds into the trip at which it begins.
    """

    kind: ClassVar[str] = "isolation"
    settings: ClassVar[dict[str, Setting]] = {
        "leak_ohm": Setting("number", 100.0, 50e6),
        "from_s": Setting("number", 0.0, 86_400.0),
    }
    leak_ohm: float = 24_000.0
    from_s: float = 640.0

    def alter(self, design: Design, rng: np.random.Generator) -> None:
        """Puts the path beside the negative pole."""
        design.insulation.leak_ohm = self.leak_ohm * float(rng.uniform(0.9, 1.1))
        design.insulation.leak_from_s = self.from_s


@dataclass(frozen=True, slots=True)
class LostBus(Fault):
    """The BMS's bus connector has come loose: no frames out, none in.

    Args:
        from_s: seconds into the trip at which it comes loose.
    """

    kind: ClassVar[str] = "lost-bms"
    settings: ClassVar[dict[str, Setting]] = {"from_s": Setting("number", 0.0, 86_400.0)}
    from_s: float = 1100.0

    def alter(self, design: Design, rng: np.random.Generator) -> None:  # noqa: ARG002 - nothing to draw here
        """Notes when the connector opens."""
        design.off_the_bus_s["BMS"] = self.from_s


@dataclass(frozen=True, slots=True)
class BmsSoftwareMismatch(Fault):
    """A BMS with a program built for another cell: its capacity and voltage table are not those of this pack.

    Args:
        version: ``major.minor`` of the program.
        cell: cell type that it was built for.
    """

    kind: ClassVar[str] = "software-mismatch"
    settings: ClassVar[dict[str, Setting]] = {
        "version": Setting("text", pattern=r"\d{1,2}\.\d{1,2}", example="2.7"),
        "cell": Setting("text", choices=tuple(CELL_TYPES)),
    }
    version: str = "2.7"
    cell: str = "NMC532"

    def alter(self, design: Design, rng: np.random.Generator) -> None:  # noqa: ARG002 - nothing to draw here
        """Puts the other program in."""
        major, _, minor = self.version.partition(".")
        design.bms_software = BmsSoftware(int(major), int(minor), CELL_TYPES[self.cell])


FAULTS: Final[dict[str, type[Fault]]] = {
    fault.kind: fault for fault in (WeakCell, SenseWire, IsolationLeak, LostBus, BmsSoftwareMismatch)
}


def settings_of(kind: type[Fault]) -> dict[str, Setting]:
    """What a scenario may set for a fault, by key."""
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]  # every subclass is a dataclass
    return {name: setting for name, setting in kind.settings.items() if name in known}
