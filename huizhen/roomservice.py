"""``huizhen consult serve``: the room service in a terminal, and its options, which ``consult open`` shares."""

from __future__ import annotations

import argparse
import math
import shlex
from typing import TYPE_CHECKING, Any

from huizhen.console import wants_json
from huizhen.roomnotices import hook_json, hook_list, hooks_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from consult.service import IssuedInvite, Service, ServiceConfig
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = [
    "STATE",
    "add_serve_parser",
    "add_service_options",
    "data_folder",
    "iso_from_us",
    "lasting_config",
    "seconds_option",
    "serve",
    "service_config",
    "show_trust",
    "time_of_day",
    "until_stopped",
    "warn_if_open",
]

_DEFAULT_PORT = 8443
STATE = "service.db"
"""The service's database in its data folder."""


def add_serve_parser(actions: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``serve``."""
    serving = actions.add_parser(
        "serve",
        parents=[common],
        help=tr("consult.serve.help"),
        description=tr("consult.serve.description"),
        epilog=tr("consult.serve.epilog"),
    )
    serving.add_argument("--config", metavar="FILE", help=tr("consult.option.config"))
    serving.add_argument("--check", action="store_true", help=tr("consult.option.check"))
    add_service_options(serving, tr, port=_DEFAULT_PORT)
    serving.add_argument("--trust-port", type=_port(tr), metavar="N", help=tr("consult.option.trust_port"))
    serving.add_argument("--duration", type=seconds_option(tr), metavar="S", help=tr("consult.option.duration"))
    serving.set_defaults(host=None, port=None)


def add_service_options(group: argparse._ActionsContainer, tr: Translator, *, port: int) -> None:
    """How the service listens and where it keeps its recordings."""
    group.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help=tr("consult.option.host"))
    group.add_argument("--port", type=_port(tr), default=port, metavar="N", help=tr("consult.option.port"))
    group.add_argument("--public-url", metavar="URL", help=tr("consult.option.public_url"))
    group.add_argument("--tls-cert", metavar="FILE", help=tr("consult.option.tls_cert"))
    group.add_argument("--tls-key", metavar="FILE", help=tr("consult.option.tls_key"))
    group.add_argument("--tls", choices=("auto", "off"), help=tr("consult.option.tls"))
    group.add_argument("--data", metavar="DIR", help=tr("consult.option.data"))


def seconds_option(tr: Translator) -> Callable[[str], float]:
    """The type of an option that is a number of seconds above 0."""

    def seconds(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(tr("consult.option.bad_duration"))
        return value

    return seconds


def _port(tr: Translator) -> Callable[[str], int]:
    def port(text: str) -> int:
        if not text.isdecimal() or int(text) > 65_535:
            raise argparse.ArgumentTypeError(tr("consult.option.bad_port"))
        return int(text)

    return port


def data_folder(args: argparse.Namespace) -> Path:
    """``--data``, else the rooms' folder among the user's data."""
    from pathlib import Path

    from dbc.catalogue import data_folder as users_data

    return Path(args.data) if getattr(args, "data", None) else users_data() / "rooms"


def service_config(args: argparse.Namespace) -> ServiceConfig:
    """The embedded service as the options want it: it ends with its room.

    Raises:
        BadUsage: options do not go together.
    """
    from pathlib import Path

    from consult.service import ServiceConfig
    from huizhen.roomkeychain import with_master_key
    from huizhen.signing import load_signer

    _check_tls(args)
    return ServiceConfig(
        data=data_folder(args),
        signer=load_signer(),
        host=args.host,
        port=args.port,
        tls_cert=Path(args.tls_cert) if args.tls_cert else None,
        tls_key=Path(args.tls_key) if args.tls_key else None,
        tls_auto=args.tls == "auto",
        trust_port=0 if args.tls == "auto" else None,
        public_url=args.public_url,
        privacy=with_master_key(),
    )


def _check_tls(args: argparse.Namespace) -> None:
    from huizhen.errors import BadUsage
    from huizhen.language import Translator, pick_language

    tr = Translator(pick_language(getattr(args, "lang", None)))
    if args.tls and args.tls_cert:
        raise BadUsage(tr("consult.serve.tls_twice"))


def lasting_config(args: argparse.Namespace) -> ServiceConfig:
    """The service of ``serve``: options before the configuration file before the defaults; its rooms outlive it.

    Raises:
        ConfigBroken: the file makes no sense.
        BadUsage: options do not go together.
    """
    from pathlib import Path

    from consult.configfile import load_config
    from consult.service import ServiceConfig
    from huizhen.roomkeychain import with_master_key
    from huizhen.signing import load_signer

    settings = load_config(Path(args.config)) if args.config else {}
    for key in ("host", "port", "public_url", "trust_port"):
        if getattr(args, key) is not None:
            settings[key] = getattr(args, key)
    for key in ("data", "tls_cert", "tls_key"):
        if getattr(args, key) is not None:
            settings[key] = Path(getattr(args, key))
    if args.tls is not None:
        settings["tls_auto"] = args.tls == "auto"
    elif args.tls_cert:
        settings["tls_auto"] = False
    _check_tls(args)
    if args.tls:
        settings.pop("tls_cert", None)
    settings.setdefault("data", data_folder(args))
    settings.setdefault("port", _DEFAULT_PORT)
    settings["privacy"] = with_master_key(settings.get("privacy"))
    return ServiceConfig(state=settings["data"] / STATE, signer=load_signer(), **settings)


def iso_from_us(t_us: int) -> str:
    """UTC microseconds as ISO 8601."""
    from diag.facts import iso_from_ns

    return iso_from_ns(t_us * 1000)


def time_of_day(t_us: int) -> str:
    """The time of day here, as a person reads it."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(t_us / 1e6, tz=UTC).astimezone():%H:%M}"


def until_stopped(duration_s: float | None, *, halts: Callable[[], bool] = lambda: False) -> asyncio.Event:
    """An event that Ctrl-C, SIGTERM or the end of ``--duration`` sets: the ordinary ends, none of them a failure.

    Args:
        duration_s: seconds; None has no end.
        halts: asked at Ctrl-C first; True where it stopped something else, and the program goes on.
    """
    import asyncio
    import signal

    stopped, loop = asyncio.Event(), asyncio.get_running_loop()

    def interrupt() -> None:
        if not halts():
            stopped.set()

    for number, act in ((signal.SIGINT, interrupt), (signal.SIGTERM, stopped.set)):
        try:
            loop.add_signal_handler(number, act)
        except (NotImplementedError, RuntimeError):
            continue  # not the main thread, or an event loop without signals: Ctrl-C then cancels the program
    if duration_s is not None:
        loop.call_later(duration_s, stopped.set)
    return stopped


def warn_if_open(args: argparse.Namespace, console: Console) -> None:
    """Says when a service that others can reach is not encrypted."""
    is_encrypted = args.tls_cert or args.tls == "auto"
    if args.host not in {"127.0.0.1", "::1", "localhost"} and not is_encrypted and not args.public_url:
        console.note(console.tr("consult.unencrypted"))


async def serve(args: argparse.Namespace, console: Console) -> None:
    """Serves rooms, with one good technician's invite at hand all the time."""
    import asyncio

    from consult.collector import calm_collector
    from consult.service import running_service

    config = lasting_config(args)
    if args.check:
        _log_to(console)
        await asyncio.to_thread(_check, config, args, console)
        return
    names = _start_log(config, console)
    async with running_service(config) as service:
        with calm_collector():
            await _keep_serving(service, names, args, console)


async def _keep_serving(service: Service, names: _Names, args: argparse.Namespace, console: Console) -> None:
    """Says where it is, and shows invites, until it is stopped."""
    import asyncio
    import contextlib

    config = service.config
    names.know(service)
    stopped = until_stopped(args.duration)
    _warn_if_bare(config, console)
    if config.trust_port is not None and not config.tls_auto:
        console.note(console.tr("consult.serve.trust_idle"))
    if not wants_json(args):
        console.line(console.tr("consult.serve.listening", url=service.url, data=str(config.data)))
        if service.rooms:
            console.line(console.tr("consult.serve.resumed", n=len(service.rooms)))
        if service.state.accounts():
            console.line(console.tr("consult.serve.sign_in", url=f"{service.url}/login"))
        show_trust(service, console)
    while not stopped.is_set():
        invite = service.invite_technician()
        _show_technician_invite(invite, service, args, console)
        while not stopped.is_set() and invite.room not in service.rooms and invite.expires_us > service.config.now_us():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await stopped.wait()


def _log_to(console: Console) -> None:
    """What goes wrong inside the service is said on standard error, a line each; ``--debug`` tells it all anyhow."""
    import logging

    class OneLine(logging.Formatter):
        def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is logging's
            return f"  {ei[0].__name__}: {ei[1]}"

    log = logging.getLogger("consult")
    if not console.debug and not log.handlers:
        handler = logging.StreamHandler(console.err)
        handler.setLevel(logging.WARNING)
        handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)


class _Names:
    """Whose names the log holds back: nobody's before the service runs."""

    def __init__(self) -> None:
        self._of: Callable[[], Iterable[str]] = tuple

    def __call__(self) -> Iterable[str]:
        return self._of()

    def know(self, service: Service) -> None:
        """From now on everybody's whom this service knows."""
        from consult.logpart import PeopleNames

        self._of = PeopleNames(service)


def _start_log(config: ServiceConfig, console: Console) -> _Names:
    """The log as ``[log]`` wants it; without that a few lines for who sits at the terminal.

    Raises:
        CannotWrite: its file cannot be written.
    """
    import logging

    from consult.servicelog import make_handler
    from huizhen.errors import CannotWrite

    names = _Names()
    if config.log.format is None and config.log.file is None:
        _log_to(console)
        return names
    try:
        handler = make_handler(config.log, names)
    except OSError as error:
        raise CannotWrite(str(config.log.file), error.strerror or str(error)) from error
    for name in ("consult", "aiohttp", "asyncio"):
        log = logging.getLogger(name)
        log.addHandler(handler)
        log.setLevel(handler.level)
        log.propagate = False
    return names


def _check(config: ServiceConfig, args: argparse.Namespace, console: Console) -> None:
    """Everything that ``serve`` would need, without listening: so also beside a service that runs."""
    from consult.certificates import load_certificate
    from consult.janusprocess import require_janus
    from consult.pagefiles import load_page
    from consult.service import require_writable
    from consult.servicestate import ServiceState

    require_writable(config.data)
    load_page(config.static)
    _check_log(config)
    certificate = load_certificate(config)
    if config.media.engine == "janus" and not config.media.url:
        require_janus(config.media)
    with ServiceState(config.state) as state:
        accounts, rooms = len(state.accounts()), len(state.open_rooms())
    tls = "auto" if config.tls_auto else "files" if certificate else "off"
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.service-check/1",
                "host": config.host,
                "port": config.port,
                "public_url": config.public_url,
                "data": str(config.data),
                "tls": tls,
                "accounts": accounts,
                "open_rooms": rooms,
                "media": config.media.engine or "none",
                "relays": [url for server in config.ice for url in server.urls],
                "trusted_proxies": [str(network) for network in config.trusted_proxies],
                "webhooks": [hook_json(hook) for hook in hooks_of(config)],
                "log": config.log.format or ("json" if config.log.file else "terminal"),
            }
        )
        return
    _warn_if_bare(config, console)
    console.line(console.tr("consult.serve.checked", address=f"{config.host}:{config.port}", data=str(config.data)))
    console.table(
        [
            (console.tr("consult.serve.check_tls"), tls),
            (console.tr("consult.serve.check_accounts"), str(accounts)),
            (console.tr("consult.serve.check_rooms"), str(rooms)),
            (console.tr("media.engine"), config.media.engine or "–"),
            (console.tr("consult.serve.check_relays"), " ".join(u for one in config.ice for u in one.urls) or "–"),
            (console.tr("roomnotices.check_hooks"), hook_list(config)),
        ]
    )


def _check_log(config: ServiceConfig) -> None:
    from huizhen.errors import CannotWrite

    if config.log.file is not None:
        try:
            config.log.file.open("ab").close()
        except OSError as error:
            raise CannotWrite(str(config.log.file), error.strerror or str(error)) from error


def _warn_if_bare(config: ServiceConfig, console: Console) -> None:
    if config.host not in {"127.0.0.1", "::1", "localhost"} and not config.is_encrypted and not config.public_url:
        console.note(console.tr("consult.unencrypted"))


def show_trust(service: Service, console: Console) -> None:
    """Where devices learn to trust the local authority, its fingerprint, and a code that leads there."""
    from huizhen.roomview import qr_lines

    if service.certificate is None or service.certificate.authority is None:
        return
    console.line(console.tr("consult.serve.trust", url=service.trust_url))
    if not service.certificate.names(service.url):
        console.note(console.tr("consult.serve.not_named", url=service.url, folder=str(service.config.data / "tls")))
    console.line(f"  SHA-256 {service.certificate.authority.fingerprint}")
    if not console.quiet:
        for line in qr_lines(service.trust_url, coloured=console.colour):
            console.line(f"  {line}")


def _show_technician_invite(invite: IssuedInvite, service: Service, args: argparse.Namespace, console: Console) -> None:
    authority = service.certificate.authority if service.certificate else None
    ca = str(authority.certificate_path) if authority else None
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.service/1",
                "url": service.url,
                "technician_invite": invite.code,
                "invite_expires": iso_from_us(invite.expires_us),
                **({"ca": ca, "trust_url": service.trust_url} if ca else {}),
            }
        )
        return
    console.line(console.tr("consult.serve.invite", expires=time_of_day(invite.expires_us)))
    given = ["--ca", ca] if ca else []
    words = ["huizhen", "consult", "open", "--server", service.url, "--invite", invite.code, *given, "--demo"]
    console.line(f"  {shlex.join(words)}")
    console.note(console.tr("consult.serve.paste"))
    console.out.flush()
