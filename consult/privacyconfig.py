"""What a service's owner decides about privacy: the table ``[privacy]`` of its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consult.regions import RegionRules

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PrivacyConfig"]


@dataclass(frozen=True, slots=True)
class PrivacyConfig:
    """How a service treats what it keeps.

    Args:
        encrypt: new rooms' records and files are stored encrypted, with a key per room.
        master_key_file: holds the key that wraps the rooms' keys; None for ``keys/master.key`` in the data folder.
        operator, contact: who runs the service and how one reaches them, for the privacy notice.
        retention_days: how long a room's record is kept after its end; 0: until somebody deletes it.
        retention_min_days, retention_max_days: what people may choose for one room.
        notice_required: a page gets in only after it has shown the privacy notice of this very wording.
        region: where the service keeps its data, for the notice; empty: not said.
        regions: from where rooms may be watched.
        makes_master_key: that file is made where it is not there; else its owner brings it.
        master_key: the master key itself, from the environment of a service whose owner has a store of secrets.
    """

    encrypt: bool = True
    master_key_file: Path | None = None
    operator: str = ""
    contact: str = ""
    retention_days: int = 90
    retention_min_days: int = 1
    retention_max_days: int = 3650
    notice_required: bool = False
    region: str = ""
    regions: RegionRules = field(default_factory=RegionRules)
    makes_master_key: bool = False
    master_key: str = field(default="", repr=False)
