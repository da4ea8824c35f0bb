"""Whether a folder is a room service's, before a command reads it: a mistyped one must not pass for an empty one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from huizhen.roomaccounts import service_folder
from huizhen.roomservice import STATE

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

__all__ = ["MAY_BEGIN", "require_service", "require_service_of"]

MAY_BEGIN: Final = frozenset({("serve", None), ("open", None), ("restore", None), ("user", "add")})
"""Actions of ``huizhen consult``, with their verb, that may begin a folder; all others find one."""


def require_service(folder: Path) -> None:
    """Looks whether a folder holds a service's data: its database, recordings, or what deletion leaves of them.

    Raises:
        ServiceMissing: nothing of it is there.
        ServiceUnreadable: this user may not look.
    """
    from consult.deletion import FOLDER as DELETIONS
    from consult.roomkeys import FOLDER as KEYS
    from huizhen.errors import ServiceMissing, ServiceUnreadable

    try:
        if any((folder / name).exists() for name in (STATE, DELETIONS, KEYS)):
            return
        if folder.is_dir() and any(path.suffix == ".room" for path in folder.iterdir()):
            return
    except OSError as error:
        raise ServiceUnreadable(str(folder), error.strerror or str(error)) from error
    raise ServiceMissing(str(folder))


def require_service_of(args: argparse.Namespace) -> None:
    """:func:`require_service` for every action that has ``--data`` and may not begin a folder.

    Raises:
        ServiceMissing, ServiceUnreadable: as there.
        ConfigBroken, ConfigUnreadable: ``--config`` makes no sense.
    """
    if not hasattr(args, "data") or (args.action, getattr(args, "verb", None)) in MAY_BEGIN:
        return
    if args.action == "queue":
        return  # looks itself, where it neither asks a service elsewhere nor reckons
    require_service(service_folder(args))
