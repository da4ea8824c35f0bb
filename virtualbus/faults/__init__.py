"""Faults: what breaks in the metal, the wires, the programs or the network."""

from __future__ import annotations

import virtualbus.faults.battery
import virtualbus.faults.drive
import virtualbus.faults.highvoltage  # noqa: F401 - importing registers the kinds
from virtualbus.faults.kinds import FAULTS, Fault, FaultKind, Setting

__all__ = ["FAULTS", "Fault", "FaultKind", "Setting", "make_fault"]


def make_fault(kind: str, *, severity: float = 0.7, from_s: float | None = None, **given: object) -> Fault:
    """A fault by the name of its kind, with some of its figures.

    Raises:
        KeyError: no such kind, or a figure that it does not have.
    """
    chosen = FAULTS[kind]
    for name in given:
        chosen.settings[name]
    return Fault(chosen, given, severity, chosen.from_s if from_s is None else from_s)
