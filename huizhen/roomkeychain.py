"""Where the keys of encrypted rooms are on this machine: wrapped in the rooms' folder, their master key elsewhere."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from huizhen.settings import config_folder

if TYPE_CHECKING:
    import argparse

    from consult.privacyconfig import PrivacyConfig
    from consult.roomkeys import KeySource

__all__ = ["MASTER_KEY", "key_source", "with_master_key"]

MASTER_KEY: Final = "HUIZHEN_MASTER_KEY"
"""The environment variable that may hold the master key itself."""

_FILE: Final = "room-master.key"


def with_master_key(privacy: PrivacyConfig | None = None) -> PrivacyConfig:
    """What the configuration says; where it names no master key, the one among the settings of this user.

    So a copy of the rooms' folder alone opens nothing.
    """
    from consult.privacyconfig import PrivacyConfig

    said = replace(privacy or PrivacyConfig(), master_key=os.environ.get(MASTER_KEY, ""))
    if said.master_key_file is None:
        said = replace(said, master_key_file=config_folder() / _FILE, makes_master_key=True)
    return said


def key_source(args: argparse.Namespace, record: str | Path, *more: Path) -> KeySource:
    """Where the key of a record may be: the file that was named, beside the record, in the rooms' folder, or ``more``.

    Raises:
        KeysBroken: ``--key-file`` names no key.
    """
    from consult.roomkeys import FOLDER, GivenKeys, KeyRing, KeyStore, load_key_file, store_of
    from huizhen.roomservice import data_folder

    named = getattr(args, "key_file", None)
    sources: list[KeySource] = [GivenKeys([load_key_file(Path(named))])] if named else []
    folders = dict.fromkeys(folder.absolute() for folder in (Path(record).absolute().parent, data_folder(args), *more))
    for folder in folders:
        sources += [store_of(folder, with_master_key()), KeyStore(folder / FOLDER)]
    return KeyRing(sources)
