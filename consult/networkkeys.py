"""The secrets of a network: keys for the hashes of VINs, and those by which the service signs what it gives out.

They stand in a file of their own beside the service's database, for its owner alone: who takes the database finds
hashes, and nothing to try VINs with.

Standard: FIPS 198-1 (HMAC-SHA-256).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from casebase.sharing import encoded, new_site_key, site_of
from consult.errors import StateBroken

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FILE", "NetworkKeys", "VinKey", "drop_ended_keys", "load_keys", "normal_vin", "rotate_keys"]

FILE: Final = "network.keys"
_SCHEMA: Final = "huizhen.network-keys/1"
_VIN: Final = re.compile(r"[A-HJ-NPR-Z0-9]{17}")
_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class VinKey:
    """One key. ``until_us``: after which no look-up uses it any more; None for the one in use."""

    number: int
    key: bytes
    made_us: int
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkKeys:
    """All of them; what prints it shows no secret.

    Args:
        vin_keys: the newest last. service, reviewed: private Ed25519 keys, for merged counts and for reviewed fixes.
    """

    vin_keys: tuple[VinKey, ...]
    service: bytes
    reviewed: bytes

    def __repr__(self) -> str:
        return f"NetworkKeys({len(self.vin_keys)} keys)"

    @property
    def service_name(self) -> str:
        """The public key that workshops know the service by."""
        return encoded(site_of(self.service))

    @property
    def reviewed_name(self) -> str:
        """The public key of what experts have reviewed."""
        return encoded(site_of(self.reviewed))

    def hashes(self, vin: str, now_us: int | None) -> list[tuple[int, bytes]]:
        """Key number and hash of a car under each key that is still good, the one in use first.

        ``now_us`` None: under each key that is kept, for who has to find everything.
        """
        good = [key for key in self.vin_keys if now_us is None or key.until_us is None or key.until_us > now_us]
        return [
            (key.number, hmac.new(key.key, normal_vin(vin).encode(), hashlib.sha256).digest()) for key in reversed(good)
        ]


def normal_vin(vin: str) -> str:
    """A VIN in its one spelling; empty where it is none."""
    folded = "".join(vin.split()).upper()
    return folded if _VIN.fullmatch(folded) else ""


def load_keys(folder: Path, now_us: Callable[[], int]) -> NetworkKeys:
    """The keys of a folder, made at first use.

    Raises:
        StateBroken: the file cannot be read or written, or is none.
    """
    path = folder / FILE
    try:
        found = json.loads(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        keys = NetworkKeys((VinKey(1, secrets.token_bytes(_BYTES), now_us()),), new_site_key(), new_site_key())
        _write(path, keys, is_new=True)
        return load_keys(folder, now_us)
    except (OSError, ValueError) as error:
        raise StateBroken(str(path), str(error)) from error
    try:
        return _keys(found)
    except (KeyError, TypeError, ValueError) as error:
        raise StateBroken(str(path), f"not {_SCHEMA}") from error


def _keys(found: Any) -> NetworkKeys:
    vin_keys = tuple(
        VinKey(int(one["number"]), bytes.fromhex(one["key"]), int(one["made_us"]), one["until_us"])
        for one in found["vin_keys"]
    )
    made = NetworkKeys(vin_keys, bytes.fromhex(found["service"]), bytes.fromhex(found["reviewed"]))
    if not vin_keys or any(len(key) != _BYTES for key in (made.service, made.reviewed, *(k.key for k in vin_keys))):
        raise ValueError
    return made


def rotate_keys(folder: Path, now_us: Callable[[], int], keep_us: int) -> NetworkKeys:
    """A new key for hashes; the former ones are good for look-ups for ``keep_us`` microseconds more, then forgotten.

    Raises:
        StateBroken: as :func:`load_keys`.
    """
    keys, now = load_keys(folder, now_us), now_us()
    kept = [
        key if key.until_us is not None else replace(key, until_us=now + keep_us)
        for key in keys.vin_keys
        if key.until_us is None or key.until_us > now
    ]
    new = VinKey(keys.vin_keys[-1].number + 1, secrets.token_bytes(_BYTES), now)
    made = replace(keys, vin_keys=(*kept, new))
    _write(folder / FILE, made)
    return made


def drop_ended_keys(folder: Path, now_us: int) -> NetworkKeys | None:
    """Forgets the keys that have ended; what is left, None where no key was ever made.

    Raises:
        StateBroken: as :func:`load_keys`.
    """
    if not (folder / FILE).exists():
        return None
    keys = load_keys(folder, lambda: now_us)
    left = replace(keys, vin_keys=tuple(key for key in keys.vin_keys if key.until_us is None or key.until_us > now_us))
    if left != keys:
        _write(folder / FILE, left)
    return left


def _write(path: Path, keys: NetworkKeys, *, is_new: bool = False) -> None:
    """For this user alone, whole or not at all; ``is_new``: keys that another program has made meanwhile stay."""
    told = {
        "schema": _SCHEMA,
        "vin_keys": [
            {"number": key.number, "key": key.key.hex(), "made_us": key.made_us, "until_us": key.until_us}
            for key in keys.vin_keys
        ],
        "service": keys.service.hex(),
        "reviewed": keys.reviewed.hex(),
    }
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        part = Path(name)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump(told, file)
            file.flush()
            os.fsync(file.fileno())
        if not is_new:
            part.replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(part, path)
    except OSError as error:
        raise StateBroken(str(path), error.strerror or str(error)) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
