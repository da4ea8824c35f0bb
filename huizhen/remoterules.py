"""This workshop's own list of what experts may ask for: ``remote.toml`` beside the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from huizhen.errors import BadSettings
from huizhen.settings import config_folder

if TYPE_CHECKING:
    from consult.remotepolicy import RemotePolicy

__all__ = ["load_remote_policy"]

_FILE: Final = "remote.toml"


def load_remote_policy() -> RemotePolicy:
    """The policy; the usual one where there is no file.

    Raises:
        BadSettings: the file cannot be read, or does not make sense. Nothing is opened then.
    """
    from consult.remotepolicy import PolicyBroken, RemotePolicy, parse_policy

    path = config_folder() / _FILE
    try:
        return parse_policy(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return RemotePolicy()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(str(path), str(getattr(error, "strerror", None) or error), "TOML, UTF-8") from error
    except PolicyBroken as error:
        allowed = (
            "[classes] A B C D, [session] A, [hold] longest_s, [[alter]] ecu request, [[never]] request, "
            "[[outputs]] ecu request, [routines.X]"
        )
        raise BadSettings(str(path), str(error), allowed) from error
