"""How a room service runs: everything that its owner can choose."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from consult.mediaconfig import MediaConfig
from consult.networkconfig import NetworkConfig
from consult.privacyconfig import PrivacyConfig
from consult.servicelog import LogSettings
from consult.sharding import Shards
from consult.waitclocks import QueueConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Network, IPv6Network

    from consult.noticesettings import MailServer, Webhook
    from diag.bundle import Signer

__all__ = ["STATIC", "IceServer", "Limits", "ServiceConfig"]

STATIC: Final = Path(__file__).with_name("static")


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server that connections may use.

    Args:
        urls: ``stun:HOST``, ``turn:HOST:PORT?transport=udp|tcp``, ``turns:…``.
        username: for a fixed account there; empty with ``secret``.
        credential: that account's password.
        secret: shared with the server (coturn: ``static-auth-secret``), to make credentials that end by themselves.
    """

    urls: tuple[str, ...]
    username: str = ""
    credential: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the service takes on. Rates are per address and minute, with a burst of as many as a minute's.

    Args:
        rooms: open at the same time.
        sockets: websockets of one address at the same time.
        requests: HTTP requests. joins: invites redeemed or tried. logins: passwords tried.
        body_bytes: of one HTTP request.
        request_s: seconds that a request's head, and then its body, may take to arrive.
    """

    rooms: int = 200
    sockets: int = 100
    requests: int = 6000
    joins: int = 30
    logins: int = 20
    body_bytes: int = 64 << 10
    request_s: float = 20.0


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """How the service runs.

    Args:
        data: folder for the rooms' journals.
        state: the service's own database; None for a service that ends with its rooms. With it, rooms outlive the
            process: they are open again after the next start.
        port: 0 lets the system choose.
        tls_auto: makes a certificate of a local authority of its own, instead of ``tls_cert`` and ``tls_key``.
        trust_port: where the local authority's page is served without TLS, for devices that do not trust it yet.
        public_url: how people outside reach it, where a proxy stands in front; else it is derived.
        trusted_proxies: networks whose ``X-Forwarded-For`` is believed.
        webrtc: False leaves out the live edge; everything then goes by websocket.
        signer: signs the rooms' records; without one they are chained and not signed.
        ice: servers for connections that cannot be made directly; none are asked unless named here.
        relay_only: the live edge goes by a relay or not at all, so that nobody learns another's address.
        media: the media engine for calls of many, and for recordings.
        metrics_token: the bearer token for ``/metrics``; without one only this machine reads them.
        network: the memory of the network of workshops.
        audit_days: how long the service's own audit is kept.
        webhooks, mail: where notices go.
        log: what is written of what happens inside.
        queue: targets of cars that wait for an expert.
        privacy: how records are kept.
        shards: services among which rooms are shared out.
        clock_s: seconds that only grow. now_us: UTC microseconds since the Unix epoch.
    """

    data: Path
    state: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_auto: bool = False
    trust_port: int | None = None
    public_url: str | None = None
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    static: Path = STATIC
    webrtc: bool = True
    ice: tuple[IceServer, ...] = ()
    signer: Signer | None = None
    relay_only: bool = False
    metrics_token: str | None = field(default=None, repr=False)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    audit_days: int = 365
    limits: Limits = Limits()
    media: MediaConfig = field(default_factory=MediaConfig)
    webhooks: tuple[Webhook, ...] = ()
    mail: MailServer | None = None
    log: LogSettings = field(default_factory=LogSettings)
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    shards: Shards = field(default_factory=Shards)
    queue: QueueConfig = field(default_factory=QueueConfig)
    clock_s: Callable[[], float] = time.monotonic
    now_us: Callable[[], int] = field(default=lambda: time.time_ns() // 1000)

    @property
    def visit_days(self) -> int:
        """How long a car's visit is remembered for the network of workshops; 0 where this service keeps none."""
        return self.network.visit_days if self.state is not None and self.network.on else 0

    @property
    def is_encrypted(self) -> bool:
        """Whether the service itself speaks TLS."""
        return self.tls_auto or self.tls_cert is not None
