"""``huizhen consult queue``: the cars that wait at a room service, for how long, and how many experts that asks for."""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import TYPE_CHECKING, Any

from huizhen.console import wants_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consult.staffing import Staffing
    from consult.waitclocks import QueueConfig
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_queue_parser", "show_queue"]


def add_queue_parser(actions: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options."""
    parser = actions.add_parser(
        "queue",
        parents=[common],
        help=tr("queue.help"),
        description=tr("queue.description"),
        epilog=tr("queue.epilog"),
    )
    parser.add_argument("--data", metavar="DIR", help=tr("consult.option.data"))
    parser.add_argument("--config", metavar="FILE", help=tr("consult.option.config"))
    parser.add_argument("--server", metavar="URL", help=tr("queue.option.server"))
    parser.add_argument("--user", metavar="NAME", help=tr("queue.option.user"))
    parser.add_argument("--ca", metavar="FILE", help=tr("consult.option.ca"))
    parser.add_argument("--days", type=_number(tr, 1, 3_650), metavar="N", help=tr("queue.option.days"))
    parser.add_argument("--staffing", action="store_true", help=tr("queue.option.staffing"))
    reckon = parser.add_argument_group(tr("queue.option.reckoning"))
    reckon.add_argument(
        "--arrivals-per-hour", type=_number(tr, 0, 10_000), metavar="X", help=tr("queue.option.arrivals")
    )
    reckon.add_argument("--handling-min", type=_number(tr, 0.01, 10_000), metavar="M", help=tr("queue.option.handling"))
    reckon.add_argument("--within-s", type=_number(tr, 0, 864_000), metavar="S", help=tr("queue.option.within"))
    reckon.add_argument("--share", type=_number(tr, 0.01, 0.99), metavar="P", help=tr("queue.option.share"))


def _number(tr: Translator, low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(tr("queue.option.bad_number", low=f"{low:g}", high=f"{high:g}"))
        return value

    return number


async def show_queue(args: argparse.Namespace, console: Console) -> None:
    """Shows the queue of a service, or reckons a staffing.

    Raises:
        BadUsage: options that do not go together.
        ServiceMissing: the folder holds no service's data.
        StateBroken: the service's database cannot be read.
        ConsultError: the service cannot be asked.
        LoginRefused: it does not know the account.
    """
    from huizhen.errors import BadUsage

    given = (args.arrivals_per_hour is not None, args.handling_min is not None)
    if any(given) and not (all(given) and args.staffing):
        raise BadUsage(console.tr("queue.wrong.reckoning"))
    if bool(args.server) != bool(args.user) or (args.server and (args.data or args.config or args.days)):
        raise BadUsage(console.tr("queue.wrong.server"))
    if all(given):
        _reckon(args, console)
        return
    told = await _from_server(args, console) if args.server else _from_data(args)
    if wants_json(args):
        console.json({"schema": "huizhen.queue/1", **told})
        return
    if not args.staffing:
        _show_line(told, console)
        _show_clocks(told, console)
    _show_staffing(told, console)


# -- where it comes from ---------------------------------------------------------------------------------------------


def _settings(args: argparse.Namespace) -> tuple[QueueConfig, Path]:
    from dataclasses import replace
    from pathlib import Path

    from consult.configfile import load_config
    from consult.waitclocks import QueueConfig
    from huizhen.roomservice import data_folder

    found = load_config(Path(args.config)) if args.config else {}
    config = found.get("queue", QueueConfig())
    if args.days is not None:
        config = replace(config, days=round(args.days))
    if args.within_s is not None:
        config = replace(config, accept_s=round(args.within_s))
    if args.share is not None:
        config = replace(config, share=args.share)
    folder = found["data"] if isinstance(found.get("data"), Path) and not args.data else data_folder(args)
    return config, folder


def _from_data(args: argparse.Namespace) -> dict[str, Any]:
    from consult.servicestate import ServiceState
    from consult.waitingline import WaitingLine
    from consult.waitstatistics import DAY_US
    from consult.waitstore import WaitStore
    from consult.waitview import figures_json, line_json
    from huizhen.roomservice import STATE
    from huizhen.servicefolder import require_service

    config, folder = _settings(args)
    require_service(folder)
    now_us = time.time_ns() // 1_000
    since_us = now_us - config.days * DAY_US
    with ServiceState(folder / STATE if (folder / STATE).exists() else None) as state:
        store = WaitStore(state)
        line, recent, accounts = WaitingLine(config, store.open_entries()), store.since(since_us), state.accounts()
    shown = {account.name: account.shown_name for account in accounts}
    taken = [one for one in line.entries.values() if not one.is_waiting]
    return {
        "now_us": now_us,
        "on_duty": sum(one.on_duty and one.role.value in ("expert", "lead") for one in accounts),
        "waiting": [line_json(one, config, place=n) for n, one in enumerate(line.waiting(), 1)],
        "taken": [line_json(one, config, holder=shown.get(one.holder, one.holder)) for one in taken],
        **figures_json(recent, config, since_us, now_us),
    }


async def _from_server(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    from pathlib import Path

    from consult.enrolment import exchange, http_to

    password = _password(args.user, console)
    async with http_to(Path(args.ca) if args.ca else None, None) as http:
        signed = {"name": args.user, "password": password}
        server = args.server.rstrip("/")
        _, cookies = await exchange(http, "POST", server, "/login", signed, {})
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        try:
            told, _ = await exchange(http, "GET", server, "/api/queue", None, headers)
        finally:
            http.cookie_jar.clear()
            await exchange(http, "POST", server, "/logout", {}, headers)
    return {
        key: told[key]
        for key in ("now_us", "on_duty", "waiting", "taken", "since_us", "stats", "targets_s", "staffing")
    }


def _password(name: str, console: Console) -> str:
    import getpass

    from huizhen.errors import BadUsage

    if sys.stdin is not None and sys.stdin.isatty():
        return getpass.getpass(console.tr("consult.user.ask", name=name) + " ")
    first = (sys.stdin.readline() if sys.stdin is not None else "").rstrip("\r\n")
    if not first:
        raise BadUsage(console.tr("consult.user.no_password"))
    return first


# -- what is shown ---------------------------------------------------------------------------------------------------


def _length(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _show_line(told: dict[str, Any], console: Console) -> None:
    from consult.waitnotices import SKILL_NAMES

    tr = console.tr
    severities = {
        "danger": tr("queue.severity.danger"),
        "high": tr("queue.severity.high"),
        "normal": tr("queue.severity.normal"),
    }
    states = {
        "waiting": tr("queue.state.waiting"),
        "offered": tr("queue.state.offered"),
        "open": tr("queue.state.open"),
        "accepted": tr("queue.state.accepted"),
    }
    console.line(tr("queue.waiting", n=len(told["waiting"]), taken=len(told["taken"]), duty=told["on_duty"]))
    rows = [
        (
            str(one["place"] or ""),
            severities[one["severity"]],
            _length((told["now_us"] - one["since_us"]) / 1e6),
            states[one["state"]] + (f" ({one['holder']})" if one["holder"] else ""),
            one["make"] or "–",
            tr.listed(getattr(SKILL_NAMES[skill], tr.lang) for skill in one["skills"] if skill in SKILL_NAMES) or "–",
        )
        for one in (*told["waiting"], *told["taken"])
    ]
    if rows:
        head = ("#", tr("queue.head.severity"), tr("queue.head.since"), tr("queue.head.state"), tr("queue.head.make"))
        console.table(rows, (*head, tr("queue.head.skills")))


def _show_clocks(told: dict[str, Any], console: Console) -> None:
    tr = console.tr
    names = {
        "accept": tr("queue.clock.accept"),
        "finding": tr("queue.clock.finding"),
        "resolve": tr("queue.clock.resolve"),
    }
    rows = [
        (
            names[clock],
            str(one["n"]),
            _length(one["mean_s"]),
            _length(one["p95_s"]),
            _length(told["targets_s"][clock]),
            "–" if one["within"] is None else f"{one['within']:.0%}",
        )
        for clock, one in told["stats"].items()
    ]
    days = round((told["now_us"] - told["since_us"]) / 86_400_000_000)
    console.line()
    console.line(tr("queue.clocks", days=days))
    head = (tr("queue.head.clock"), "n", tr("queue.head.mean"), "p95", tr("queue.head.target"), tr("queue.head.within"))
    console.table(rows, head)


def _show_staffing(told: dict[str, Any], console: Console) -> None:
    tr, staffing = console.tr, told["staffing"]
    console.line()
    if staffing is None:
        console.line(tr("queue.no_staffing"))
        return
    console.line(
        tr(
            "queue.staffing_now",
            agents=staffing["agents"],
            duty=told["on_duty"],
            share=f"{staffing['target_share']:.0%}",
            within=_length(staffing["target_s"]),
            arrivals=f"{staffing['arrivals_per_hour']:g}",
            handling=_length(staffing["handling_s"]),
        )
    )
    hours = staffing["by_hour"]
    cells = [(f"{first:02d}–{first + 5:02d}", *(str(n) for n in hours[first : first + 6])) for first in (0, 6, 12, 18)]
    console.table(cells, (tr("queue.head.hour"), "+0", "+1", "+2", "+3", "+4", "+5"))


def _reckon(args: argparse.Namespace, console: Console) -> None:
    """What Erlang C says of given figures: the staffing, and one expert more or fewer beside it."""
    from consult.staffing import erlang_c, mean_wait_s, service_level, staffing_for
    from huizhen.errors import BadUsage

    config, _ = _settings(args)
    handling = args.handling_min * 60
    try:
        found: Staffing = staffing_for(args.arrivals_per_hour, handling, share=config.share, within_s=config.accept_s)
    except ValueError as error:
        raise BadUsage(console.tr("queue.wrong.too_many")) from error
    around = [n for n in range(found.agents - 2, found.agents + 3) if n >= 1]
    rows = [
        {
            "agents": n,
            "waits": round(erlang_c(n, found.load), 4),
            "mean_wait_s": round(wait, 1) if (wait := mean_wait_s(n, found.load, handling)) < math.inf else None,
            "service_level": round(service_level(n, found.load, handling, config.accept_s), 4),
        }
        for n in around
    ]
    if wants_json(args):
        console.json({"schema": "huizhen.staffing/1", **found.to_json(), "around": rows})
        return
    tr = console.tr
    console.line(
        tr(
            "queue.reckoned",
            agents=found.agents,
            load=f"{found.load:.2f}",
            share=f"{config.share:.0%}",
            within=_length(config.accept_s),
        )
    )
    head = (tr("queue.head.agents"), tr("queue.head.waits"), tr("queue.head.mean"), tr("queue.head.within"))
    shown = [
        (
            f"{row['agents']}{' ←' if row['agents'] == found.agents else ''}",
            f"{row['waits']:.1%}",
            "∞" if row["mean_wait_s"] is None else _length(row["mean_wait_s"]),
            f"{row['service_level']:.1%}",
        )
        for row in rows
    ]
    console.table(shown, head)
