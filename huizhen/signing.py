"""The one key of this installation, and the keys of others that its user knows.

Bundles, reports and grants are signed with it. It is made when it is first needed and never leaves the folder of the
settings; only its owner can read it.

Standard: RFC 8032 (Ed25519), RFC 8410 (its PKCS #8 form).
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from diag.bundle import fingerprint
from huizhen.errors import BadSettings, CannotWrite
from huizhen.files import write_json
from huizhen.settings import config_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["KeySigner", "known_keys", "load_signer", "own_public_key", "trust"]

_KEY: Final = "signing-key.pem"
_KNOWN: Final = "known-keys.json"


class KeySigner:
    """Signs with a private key; see :class:`diag.bundle.Signer`."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return self._key.public_key().public_bytes_raw()

    @property
    def fingerprint(self) -> str:
        """As people compare it."""
        return fingerprint(self.public_key)

    def sign(self, data: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(data)


def load_signer() -> KeySigner:
    """The key of this installation; made where there is none yet.

    Raises:
        BadSettings: what stands there is no such key.
        CannotWrite: it cannot be kept.
    """
    path = config_folder() / _KEY
    return KeySigner(_read(path) or _made(path))


def own_public_key() -> bytes | None:
    """The public half of this installation's key; None where it has none yet. Nothing is written.

    Raises:
        BadSettings: what stands there is no such key.
    """
    key = _read(config_folder() / _KEY)
    return None if key is None else KeySigner(key).public_key


def _read(path: Path) -> Ed25519PrivateKey | None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadSettings(str(path), str(error.strerror or error), "Ed25519, PKCS #8, PEM") from error
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError) as error:
        raise BadSettings(str(path), str(error), "Ed25519, PKCS #8, PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadSettings(str(path), type(key).__name__, "Ed25519, PKCS #8, PEM")
    return key


def _made(path: Path) -> Ed25519PrivateKey:
    """A new key, at its place at once or not at all; of two programs that make one the first one's counts."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            key = _read(path) or key
    except OSError as error:
        raise CannotWrite(str(path), error.strerror or str(error)) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
    return key


def known_keys() -> dict[bytes, str]:
    """Public keys of others -> the names that the user gave them.

    Raises:
        BadSettings: the file does not make sense.
    """
    path = config_folder() / _KNOWN
    try:
        told = json.loads(path.read_bytes())
        return {base64.b64decode(key, validate=True): str(name) for key, name in told.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise BadSettings(str(path), str(error), '{"…=": "…"}') from error


def trust(public_key: bytes, name: str) -> None:
    """From now on signatures of this key are of somebody known.

    Raises:
        BadSettings: the file of known keys does not make sense.
        CannotWrite: it cannot be written.
    """
    found = {**known_keys(), public_key: name}
    folder = config_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(str(folder), error.strerror or str(error)) from error
    write_json(str(folder / _KNOWN), {base64.b64encode(key).decode(): name for key, name in found.items()})
