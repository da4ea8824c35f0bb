"""The ELM327 as it should be, and three of the clones that are sold as one: what each lacks or only pretends.

Standard: ELM327 data sheet; the clones as reported by those who use them (unverified).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["CHIPS", "Chip"]

_NEW_CODE: Final = frozenset(
    ("AL", "AT2", "CFC0", "CFC1", "FCSH", "FCSD", "FCSM", "CEA", "CSM0", "CSM1", "PPS", "CRA", "AMC", "AMT")
)
"""Commands that came after version 1.2: what a clone on old code lacks."""


@dataclass(frozen=True, slots=True)
class Chip:
    """What kind of adapter it is.

    Args:
        identity: what ATI says.
        lacks: commands that it answers with ``?``.
        ignores: commands that it accepts and does not carry out.
        lines: how many lines of one answer it keeps, 0 = all.
        volts: by which ATRV is off.
        eats_first_reset: nothing answers the first ATZ.
        characters_s: characters per second that reach the host while monitoring.
    """

    name: str
    identity: str
    lacks: frozenset[str] = frozenset()
    ignores: frozenset[str] = frozenset()
    lines: int = 0
    volts: float = 0.0
    eats_first_reset: bool = False
    characters_s: float = 11_520.0
    has_pending: bool = True


CHIPS: Final = {
    chip.name: chip
    for chip in (
        Chip("v2.2", "ELM327 v2.2"),
        Chip("clone-1.5", "ELM327 v1.5", lacks=_NEW_CODE, volts=0.5, characters_s=3_840.0, has_pending=False),
        Chip(
            "clone-2.1",
            "ELM327 v2.1",
            ignores=_NEW_CODE | {"AT0", "AT1", "ST", "CF", "CM"},
            lines=7,
            eats_first_reset=True,
            characters_s=3_840.0,
            has_pending=False,
        ),
        Chip("clone-wifi", "ELM327 v1.5", lacks=_NEW_CODE - {"AL"}, lines=20, volts=-0.3, characters_s=7_000.0),
    )
}
