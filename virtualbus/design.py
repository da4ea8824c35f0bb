"""What a particular car is made of: everything that a fault may change, before the car is put together.

A fault is an alteration of these figures and of nothing else. No part of the running car knows that there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from virtualbus.chemistry import NMC811, CellType, Floats
from virtualbus.pack import CELLS, CellSpread
from virtualbus.wiring import Insulation

if TYPE_CHECKING:
    import numpy as np

__all__ = ["BMS_SOFTWARE", "BmsSoftware", "Design"]


@dataclass(frozen=True, slots=True)
class BmsSoftware:
    """The program in the BMS with the cell data it was built for."""

    major: int
    minor: int
    cell: CellType

    @property
    def version(self) -> str:
        """As the identification says it: ``3.4``."""
        return f"{self.major}.{self.minor}"


BMS_SOFTWARE: Final = BmsSoftware(3, 4, NMC811)


@dataclass(slots=True)
class Design:
    """Cells, wires, insulation, connections and software of one car.

    Args:
        spread: how each cell differs from its type.
        wire_ohm: the 97 sense wires.
        off_the_bus_s: ECU -> car time in seconds from which its bus connector is open.
    """

    spread: CellSpread
    wire_ohm: Floats
    insulation: Insulation
    cell: CellType = NMC811
    bms_software: BmsSoftware = BMS_SOFTWARE
    off_the_bus_s: dict[str, float] = field(default_factory=dict)

    @classmethod
    def grown(cls, rng: np.random.Generator) -> Design:
        """A sound car with the tolerances of production."""
        return cls(
            spread=CellSpread.grown(rng, 0.97),
            wire_ohm=rng.uniform(1.0, 6.0, CELLS + 1),
            insulation=Insulation(float(rng.uniform(6e6, 14e6)), float(rng.uniform(6e6, 14e6))),
        )
