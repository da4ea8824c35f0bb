"""What can go wrong in the application itself.

::

    HuizhenError
    ├── BadUsage           the command line does not make sense (2)
    ├── BadSettings        the configuration file does not make sense (2)
    ├── CannotWrite        a result could not be saved (2)
    ├── NoHome             nothing says where the user's files are kept (2)
    ├── ServiceMissing     a folder holds no room service's data (2)
    ├── ServiceUnreadable  nor may be looked into (2)
    └── ReportError        reports: see huizhen.reporterrors (2)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = ["BadSettings", "BadUsage", "CannotWrite", "HuizhenError", "NoHome", "ServiceMissing", "ServiceUnreadable"]


class HuizhenError(Exception):
    """Root of this package's errors."""

    code: ClassVar[str] = "huizhen"
    template: ClassVar[str] = "usage error"

    def __str__(self) -> str:
        return self.template.format(**vars(self))


@dataclass(eq=False)
class BadUsage(HuizhenError):
    """The command line does not make sense."""

    reason: str
    code: ClassVar[str] = "huizhen.bad-usage"
    template: ClassVar[str] = "{reason}"


@dataclass(eq=False)
class BadSettings(HuizhenError):
    """The configuration file, or a setting for it, does not make sense."""

    path: str
    what: str
    allowed: str
    code: ClassVar[str] = "huizhen.bad-settings"
    template: ClassVar[str] = "{path}: {what} is no setting; allowed: {allowed}"


@dataclass(eq=False)
class CannotWrite(HuizhenError):
    """A result could not be saved; nothing half-written is left."""

    path: str
    reason: str
    code: ClassVar[str] = "huizhen.cannot-write"
    template: ClassVar[str] = "cannot write {path}: {reason}; choose another place or free some space"


@dataclass(eq=False)
class NoHome(HuizhenError):
    """Nothing says where the user's files are kept: no ``HOME``, and an account that the system does not know."""

    code: ClassVar[str] = "huizhen.no-home"
    template: ClassVar[str] = (
        "no home folder is known, where settings and cases are kept; name one: HOME=/path/to/folder huizhen …"
    )


@dataclass(eq=False)
class ServiceMissing(HuizhenError):
    """A folder holds no room service's data: it is mistyped, or no service has begun there."""

    folder: str
    code: ClassVar[str] = "huizhen.service-missing"
    template: ClassVar[str] = (
        "no room service in {folder} (neither service.db nor a recording): name its folder with --data, "
        "or its configuration with --config; 'huizhen consult serve' starts one"
    )


@dataclass(eq=False)
class ServiceUnreadable(HuizhenError):
    """Whether a folder holds a room service's data cannot be seen."""

    folder: str
    reason: str
    code: ClassVar[str] = "huizhen.service-unreadable"
    template: ClassVar[str] = "cannot look into {folder}: {reason}; run this as the user of the room service"
