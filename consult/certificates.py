"""The service's certificate: files that were given, or one of a local authority that the service makes for its network.

The authority is made once, on the first start. Its key stays in the data folder, readable by its owner alone, and its
certificate is limited by name constraints to private addresses and to the names and addresses that this machine had
then: a stolen key could impersonate nobody else on the internet. The server's certificate follows the machine's
addresses and is renewed by itself.

Standard: RFC 5280 §4.2.1.6, §4.2.1.9, §4.2.1.10.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import os
import socket
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from consult.errors import CertificateBroken

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consult.serviceconfig import ServiceConfig

__all__ = ["LocalAuthority", "ServiceCertificate", "certificate_fingerprint", "load_certificate", "local_names"]

_AUTHORITY_YEARS: Final = 10
_SERVER_DAYS: Final = 397
"""Longer ones are refused by Apple's systems."""
_RENEW_DAYS: Final = 60
_PRIVATE: Final = (
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
    "::1/128", "fc00::/7", "fe80::/10",
)  # fmt: skip

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Names = tuple[frozenset[str], frozenset[str]]


def certificate_fingerprint(cert: Path) -> bytes:
    """SHA-256 of the service's own certificate, by which an agent in this process knows it.

    Raises:
        CertificateBroken: there is no certificate in the file.
    """
    try:
        first, found, _ = cert.read_text(encoding="ascii").partition("-----END CERTIFICATE-----")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[first.index("-----BEGIN") :] + found + "\n")).digest()
    except (OSError, ValueError) as error:
        raise CertificateBroken(str(cert), str(error)) from error


def local_names(host: str, public_url: str | None) -> _Names:
    """Names and addresses by which a service bound to ``host`` is reached: ``(names, addresses)``."""
    machine = socket.gethostname().lower()
    names = {"localhost", machine, f"{machine.partition('.')[0]}.local"}
    addresses = {"127.0.0.1", "::1"}
    for text in (host, urlsplit(public_url).hostname if public_url else None):
        try:
            addresses.add(str(ipaddress.ip_address(text or "")))
        except ValueError:
            names.add(text or "localhost")
    if {"0.0.0.0", "::"} & addresses:  # noqa: S104 - compared, not bound
        addresses |= _addresses_of_machine()
    return frozenset(names), frozenset(addresses - {"0.0.0.0", "::"})  # noqa: S104 - as above


def _addresses_of_machine() -> set[str]:
    import ifaddr

    found: set[str] = set()
    for adapter in ifaddr.get_adapters():
        for one in adapter.ips:
            text = one.ip if isinstance(one.ip, str) else one.ip[0]
            address = ipaddress.ip_address(text.partition("%")[0])
            if not address.is_unspecified and not (address.version == 6 and address.is_link_local):
                found.add(str(address))
    return found


def _is_within(address: _Address, networks: Iterable[object]) -> bool:
    return any(isinstance(one, (ipaddress.IPv4Network, ipaddress.IPv6Network)) and address in one for one in networks)


class LocalAuthority:
    """An authority for one workshop's network.

    Args:
        folder: where its key and certificate are kept, and the server's.

    Raises:
        CertificateBroken: what is kept there cannot be used, or nothing can be kept there.
    """

    def __init__(self, folder: Path, now: dt.datetime) -> None:
        self.folder = folder
        self.certificate_path = folder / "ca.crt"
        self._key_path = folder / "ca.key"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self._key_path.exists():
                self._make(now)
            self._key = _load_key(self._key_path)
            self.certificate = x509.load_pem_x509_certificate(self.certificate_path.read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise CertificateBroken(str(self.certificate_path), str(error)) from error
        if self.certificate.public_key() != self._key.public_key():
            raise CertificateBroken(str(self.certificate_path), "ca.crt / ca.key")

    @property
    def pem(self) -> bytes:
        """The certificate as devices import it."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """SHA-256 as devices show it: pairs of digits with colons."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    def _make(self, now: dt.datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        machine = socket.gethostname()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Huizhen local CA {machine} {now:%Y-%m-%d}"[:64])])
        names, addresses = local_names("0.0.0.0", None)  # noqa: S104 - asks for all addresses, binds none
        allowed: list[x509.GeneralName] = [x509.DNSName(one) for one in sorted({*names, "local"})]
        networks = [ipaddress.ip_network(one) for one in _PRIVATE]
        own = map(ipaddress.ip_network, sorted(addresses))
        networks += [one for one in own if not _is_within(one.network_address, networks)]
        allowed += [x509.IPAddress(one) for one in networks]
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=365 * _AUTHORITY_YEARS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.NameConstraints(allowed, None), critical=True)
            .sign(key, hashes.SHA256())
        )
        # The key last: where it stands, the certificate stands too.
        _write(self.certificate_path, made.public_bytes(Encoding.PEM), 0o644)
        _write(self._key_path, _pem_of_key(key), 0o600)

    def _allows(self, name: str | _Address) -> bool:
        permitted = self.certificate.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
        if not isinstance(name, str):
            return _is_within(name, [one.value for one in permitted or [] if isinstance(one, x509.IPAddress)])
        ends = [one.value for one in permitted or [] if isinstance(one, x509.DNSName)]
        return any(name == end or name.endswith(f".{end}") for end in ends)

    def server_certificate(self, wanted: _Names, now: dt.datetime) -> tuple[Path, Path]:
        """The server's certificate chain and key for these names; made anew when names changed or the end is near.

        Names that the authority's constraints leave out (public ones) are left out here as well.
        """
        names = frozenset(one for one in wanted[0] if self._allows(one))
        addresses = frozenset(one for one in wanted[1] if self._allows(ipaddress.ip_address(one)))
        chain, key_path = self.folder / "server.crt", self.folder / "server.key"
        try:
            if not self._fits(chain, key_path, (names, addresses), now):
                self._issue(chain, key_path, (names, addresses), now)
        except OSError as error:
            raise CertificateBroken(str(chain), error.strerror or str(error)) from error
        return chain, key_path

    def _fits(self, chain: Path, key_path: Path, wanted: _Names, now: dt.datetime) -> bool:
        try:
            kept = x509.load_pem_x509_certificate(chain.read_bytes())
            found = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            kept.verify_directly_issued_by(self.certificate)
            fits = kept.public_key() == _load_key(key_path).public_key()
        except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False
        names = frozenset(found.get_values_for_type(x509.DNSName))
        addresses = frozenset(map(str, found.get_values_for_type(x509.IPAddress)))
        lasts = kept.not_valid_after_utc - now > dt.timedelta(days=_RENEW_DAYS) and kept.not_valid_before_utc <= now
        return fits and lasts and (names, addresses) == wanted

    def _issue(self, chain: Path, key_path: Path, wanted: _Names, now: dt.datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(one) for one in sorted(wanted[0])]
        names += [x509.IPAddress(ipaddress.ip_address(one)) for one in sorted(wanted[1])]
        authority_key = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Huizhen room service")]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(min(now + dt.timedelta(days=_SERVER_DAYS), self.certificate.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_key), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        _write(key_path, _pem_of_key(key), 0o600)
        _write(chain, made.public_bytes(Encoding.PEM) + self.pem, 0o644)


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path.name}: {type(key).__name__}")
    return key


def _write(path: Path, content: bytes, mode: int) -> None:
    """The whole file or none, with its mode from the first moment."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class ServiceCertificate:
    """What the service's TLS sockets use.

    Raises:
        CertificateBroken: the files cannot be used.
    """

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self.authority: LocalAuthority | None = None
        if config.tls_auto:
            self.authority = LocalAuthority(config.data / "tls", self._now())
        self._cert, self._key = self._files()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._load()

    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._config.now_us() / 1_000_000, dt.UTC)

    def _files(self) -> tuple[Path, Path | None]:
        if self.authority is not None:
            wanted = local_names(self._config.host, self._config.public_url)
            return self.authority.server_certificate(wanted, self._now())
        if self._config.tls_cert is None:
            raise CertificateBroken("—", "no certificate")
        return self._config.tls_cert, self._config.tls_key

    def _load(self) -> None:
        try:
            self.context.load_cert_chain(self._cert, self._key)
        except (OSError, ssl.SSLError) as error:
            raise CertificateBroken(str(self._cert), str(error)) from error
        self.fingerprint = certificate_fingerprint(self._cert)

    def names(self, url: str) -> bool:
        """Whether browsers will find the host of a URL in the certificate of the local authority."""
        if self.authority is None:
            return True
        made = x509.load_pem_x509_certificate(self._cert.read_bytes())
        found = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        host = urlsplit(url).hostname or ""
        return host in found.get_values_for_type(x509.DNSName) or host in map(
            str, found.get_values_for_type(x509.IPAddress)
        )

    def renew_if_due(self) -> bool:
        """Takes up a certificate that is newer than the one in use: one's own, renewed, or a file that was replaced.

        Connections that stand keep theirs. Whether anything changed.

        Raises:
            CertificateBroken: the new one cannot be used; the old one stays in use.
        """
        self._cert, self._key = self._files()
        if certificate_fingerprint(self._cert) == self.fingerprint:
            return False
        self._load()
        return True


def load_certificate(config: ServiceConfig) -> ServiceCertificate | None:
    """The certificate that the configuration asks for; None for a service without TLS of its own.

    Raises:
        CertificateBroken: it cannot be used or made.
    """
    return ServiceCertificate(config) if config.is_encrypted else None
