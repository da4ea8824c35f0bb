"""What can go wrong in the simulated car.

::

    VirtualBusError
    ├── ScenarioError
    │   ├── ScenarioUnknown    no built-in scenario and no file of this name
    │   └── ScenarioBroken     the file is there, but a line or key of it is wrong
    ├── FrontBroken            a front cannot be opened, or its name is not understood
    └── FrontRefused           a front that could reach a real car, without the permission for it

Errors carry fields; ``__str__`` builds the English sentence from ``template`` (what happened, where, what to do
next). The Chinese sentence stands under the same ``code`` in the application's language catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

__all__ = [
    "FarmBroken",
    "FrontBroken",
    "FrontRefused",
    "Phrase",
    "ScenarioBroken",
    "ScenarioError",
    "ScenarioUnknown",
    "VirtualBusError",
]


class Phrase(NamedTuple):
    """A part of a sentence in both languages, for error fields that a person reads."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.en


class VirtualBusError(Exception):
    """Root of this package's errors."""

    code: ClassVar[str] = "virtualbus"
    template: ClassVar[str] = "error in the simulated car"

    def __str__(self) -> str:
        return self.template.format(**vars(self))


class ScenarioError(VirtualBusError):
    """A scenario cannot be used."""

    code = "virtualbus.scenario"


@dataclass(eq=False)
class ScenarioUnknown(ScenarioError):
    """Neither a built-in scenario nor a readable file.

    Args:
        name: what was asked for.
        known: the built-in names, comma-separated.
    """

    name: str
    known: str

    code = "virtualbus.scenario-unknown"
    template = "no scenario or scenario file '{name}'; built in are: {known}"


@dataclass(eq=False)
class ScenarioBroken(ScenarioError):
    """A scenario file with a mistake.

    Args:
        path: the file.
        place: line and key, as far as they are known.
        reason: what is wrong there.
    """

    path: str
    place: Phrase
    reason: Phrase

    code = "virtualbus.scenario-broken"
    template = "{path}, {place}: {reason}; see docs/virtual-cars.md"


@dataclass(eq=False)
class FarmBroken(VirtualBusError):
    """A case file or a recording that no ECU farm can be made of.

    Args:
        path: the file.
        reason: what is wrong with it.
    """

    path: str
    reason: Phrase

    code = "virtualbus.farm-broken"
    template = "no car can be made of {path}: {reason}"


@dataclass(eq=False)
class FrontBroken(VirtualBusError):
    """A front that cannot be opened."""

    front: str
    reason: Phrase

    code = "virtualbus.front-broken"
    template = "cannot open the front '{front}': {reason}"


@dataclass(eq=False)
class FrontRefused(VirtualBusError):
    """A front behind which a real car could be."""

    front: str

    code = "virtualbus.refused-real-bus"
    template = (
        "refused: '{front}' may be a real vehicle bus, and a simulated car must never talk into one; "
        "use virtual, vcan, udp_multicast or slcan, or give --bench on a test bench without a car"
    )
