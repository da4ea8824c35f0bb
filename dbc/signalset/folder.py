"""The user's own signal sets, and which of them are of a make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dbc.catalogue import data_folder
from dbc.files import SIGNALS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["bundled_set_of", "signal_set_folder", "signal_sets_of"]

_ENDINGS: Final = (".json", ".csv")
_MOST: Final = 1000
_SIMULATED: Final = "LHZ"
"""World manufacturer identifier of the simulated cars, which no maker has."""


def signal_set_folder() -> Path:
    """Where the user's signal sets are: the folder ``signals`` of the user's data."""
    return data_folder() / "signals"


def bundled_set_of(vin: str | None) -> Path | None:
    """The set that comes with Huizhen for cars with this VIN: only our simulated ones have one."""
    return SIGNALS if vin is not None and vin.startswith(_SIMULATED) else None


def signal_sets_of(make: str) -> tuple[Path, ...]:
    """The sets whose name begins with a make, as OBDb's do (``Hyundai-IONIQ-5``); by name.

    A set is a file of the folder, or the ``default.json`` of a folder in it, which is then its name.
    """
    wanted = {word for word in make.casefold().replace("/", " ").split() if word}
    found: dict[str, Path] = {}
    try:
        for path in sorted(signal_set_folder().iterdir())[:_MOST]:
            inner = path / "default.json"
            place = inner if inner.is_file() else path
            if place.is_file() and place.suffix.lower() in _ENDINGS:
                found[path.name if place is inner else path.stem] = place
    except OSError:
        return ()
    joined = make.casefold().replace(" ", "-")
    return tuple(
        place
        for name, place in found.items()
        if name.casefold().replace("_", "-").split("-")[0] in wanted or name.casefold().startswith(joined)
    )
