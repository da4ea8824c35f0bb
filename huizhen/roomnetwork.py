"""``huizhen consult site|drafts|research``: the network of a room service, whether the service runs or not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from huizhen.console import wants_json
from huizhen.roomaccounts import audit_entry, now_us
from huizhen.roomservice import STATE, data_folder, iso_from_us

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from consult.reviewstore import ResearchItem
    from consult.serviceconfig import ServiceConfig
    from consult.servicestate import ServiceState
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["ACTIONS", "add_network_parsers"]

_NAME: Final = re.compile(r"[\w .+/-]{1,60}")
_REGION: Final = re.compile(r"[\w .+/-]{0,40}")
_DAY_US: Final = 86_400_000_000
_KEEP_DAYS: Final = 365


def add_network_parsers(actions: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the actions on the network and their options."""
    site = actions.add_parser(
        "site",
        parents=[common],
        help=tr("roomnetwork.site.help"),
        description=tr("roomnetwork.site.description"),
        epilog=tr("roomnetwork.site.epilog"),
    )
    verbs = site.add_subparsers(dest="verb", metavar=tr("cli.command"), title=tr("consult.action"), required=True)
    helps = {
        "add": tr("roomnetwork.site.add"),
        "list": tr("roomnetwork.site.list"),
        "remove": tr("roomnetwork.site.remove"),
        "rotate": tr("roomnetwork.site.rotate"),
    }
    made = {verb: verbs.add_parser(verb, parents=[common], help=said, description=said) for verb, said in helps.items()}
    for verb in ("add", "remove"):
        made[verb].add_argument("name", metavar="NAME", help=tr("roomnetwork.name"))
    made["add"].add_argument("--region", metavar="CODE", default="", help=tr("roomnetwork.region"))
    made["remove"].add_argument("--forget", action="store_true", help=tr("roomnetwork.forget"))
    made["rotate"].add_argument(
        "--keep-days", metavar="N", type=int, default=_KEEP_DAYS, help=tr("roomnetwork.keep_days")
    )
    drafts = actions.add_parser(
        "drafts",
        parents=[common],
        help=tr("roomnetwork.drafts.help"),
        description=tr("roomnetwork.drafts.description"),
        epilog=tr("roomnetwork.drafts.epilog"),
    )
    drafts.add_argument("--state", choices=("waiting", "accepted", "rejected"), help=tr("roomnetwork.state"))
    research = actions.add_parser(
        "research",
        parents=[common],
        help=tr("roomnetwork.research.help"),
        description=tr("roomnetwork.research.description"),
        epilog=tr("roomnetwork.research.epilog"),
    )
    research.add_argument("--state", choices=("open", "taken", "answered", "closed"), help=tr("roomnetwork.state"))
    for parser in (*made.values(), drafts, research):
        parser.add_argument("--data", metavar="DIR", help=tr("consult.option.data"))
        parser.add_argument("--config", metavar="FILE", help=tr("consult.option.config"))


def _config(args: argparse.Namespace) -> ServiceConfig:
    """Where the service keeps its things, and what its owner has chosen."""
    from pathlib import Path

    from consult.configfile import load_config
    from consult.service import require_writable
    from consult.serviceconfig import ServiceConfig

    settings = load_config(Path(args.config)) if args.config else {}
    if args.data:
        settings["data"] = Path(args.data)
    settings.setdefault("data", data_folder(args))
    require_writable(settings["data"])
    return ServiceConfig(state=settings["data"] / STATE, **settings)


async def site(args: argparse.Namespace, console: Console) -> None:
    """Does one thing to the workshops of the network.

    Raises:
        SiteBroken: the name is none, or it has joined already, or there is no such workshop.
        StateBroken: the service's database or keys cannot be used.
    """
    from consult.servicestate import ServiceState

    config = _config(args)
    with ServiceState(config.state) as state:
        if args.verb == "rotate":
            _rotate(state, config.data, args, console)
        elif args.verb == "add":
            _add(state, config.public_url or "URL", args, console)
        else:
            {"list": _list, "remove": _remove}[args.verb](state, args, console)


def _add(state: ServiceState, url: str, args: argparse.Namespace, console: Console) -> None:
    from consult.invites import digest_of_secret, make_secret
    from consult.networkerrors import SiteBroken
    from consult.networkstore import CODE_LIFE_S, NetworkStore
    from diag.facts import Text

    name = " ".join(args.name.split())
    if not _NAME.fullmatch(name) or not _REGION.fullmatch(args.region):
        raise SiteBroken(
            name[:60], Text("letters, digits, blanks and . + - / only", "只能用文字、数字、空格和 . + - /")
        )
    code, at_us = make_secret(), now_us()
    until_s = at_us / 1e6 + CODE_LIFE_S
    NetworkStore(state).add_site(
        name, args.region, digest_of_secret(code), until_s, at_us, (audit_entry("network-site-add", name),)
    )
    if wants_json(args):
        told = {"name": name, "region": args.region, "code": code, "expires": iso_from_us(int(until_s * 1e6))}
        console.json({"schema": "huizhen.site/1", **told})
        return
    console.line(console.tr("roomnetwork.added", name=name))
    console.line(f"  huizhen case join --server {url} --code {code}")


def _list(state: ServiceState, args: argparse.Namespace, console: Console) -> None:
    from consult.networkstore import NetworkStore

    tr, sites = console.tr, NetworkStore(state).sites()
    if wants_json(args):
        told = [{**one.to_json(), "seen": None if one.seen_us is None else iso_from_us(one.seen_us)} for one in sites]
        console.json({"schema": "huizhen.sites/1", "sites": told})
        return
    if not sites:
        console.line(tr("roomnetwork.none"))
        return
    head = (tr("roomnetwork.workshop"), tr("consult.user.head_region"), tr("roomnetwork.seen"))
    unseen = {True: "–", False: tr("roomnetwork.not_joined")}
    rows = [
        (one.name, one.region or "–", iso_from_us(one.seen_us)[:10] if one.seen_us else unseen[one.key is not None])
        for one in sites
    ]
    console.table(rows, head)


def _remove(state: ServiceState, args: argparse.Namespace, console: Console) -> None:
    from consult.networkerrors import SiteBroken
    from consult.networkstore import NetworkStore
    from diag.facts import Text

    note = (audit_entry("network-site-remove", args.name),)
    if not NetworkStore(state).remove_site(args.name, now_us(), note, forget=args.forget):
        raise SiteBroken(args.name, Text("there is no such workshop", "没有这家门店"))
    if wants_json(args):
        console.json({"schema": "huizhen.site/1", "name": args.name, "removed": True})
    else:
        console.line(console.tr("roomnetwork.removed", name=args.name))


def _rotate(state: ServiceState, folder: Path, args: argparse.Namespace, console: Console) -> None:
    from consult.networkkeys import rotate_keys

    with state.transaction():  # the service forgets ended keys meanwhile: one after the other
        keys = rotate_keys(folder, now_us, max(0, args.keep_days) * _DAY_US)
    number = keys.vin_keys[-1].number
    state.note(audit_entry("network-key-rotate", str(number)))
    if wants_json(args):
        console.json({"schema": "huizhen.network-key/1", "number": number, "keep_days": args.keep_days})
    else:
        console.line(console.tr("roomnetwork.rotated", number=number, days=args.keep_days))


async def drafts(args: argparse.Namespace, console: Console) -> None:
    """Lists the drafts of cases that rooms left, and what became of them.

    Raises:
        StateBroken: the service's database cannot be used.
    """
    from consult.accounts import Account
    from consult.reviewdesk import ReviewDesk
    from consult.servicestate import ServiceState

    config, tr = _config(args), console.tr
    with ServiceState(config.state) as state:
        found = ReviewDesk(config, state).listed(Account("cli"), args.state)
    if wants_json(args):
        console.json({"schema": "huizhen.reviews/1", "drafts": found})
        return
    if not found:
        console.line(tr("roomnetwork.drafts.none"))
    states = {
        "waiting": tr("roomnetwork.drafts.waiting"),
        "accepted": tr("roomnetwork.drafts.accepted"),
        "rejected": tr("roomnetwork.drafts.rejected"),
    }
    for draft in found:
        car = draft["car"] or {}
        named = " ".join(str(car[key]) for key in ("make", "model", "model_year") if car.get(key))
        by = f"{states[draft['state']]} ({draft['reviewer']})" if draft["reviewer"] else states[draft["state"]]
        parts = (str(draft["number"]), iso_from_us(draft["opened_us"])[:10], by, named, draft["reason"])
        console.line("  ".join(part for part in parts if part))


async def research(args: argparse.Namespace, console: Console) -> None:
    """Writes the queue for research: problems that stay unsolved, with the rooms that show them.

    Raises:
        StateBroken: the service's database cannot be used.
    """
    from consult.networkstore import NetworkStore
    from consult.reviewstore import ReviewStore
    from consult.servicestate import ServiceState

    config, tr = _config(args), console.tr
    with ServiceState(config.state) as state:
        found = ReviewStore(state).items(args.state)
        evidence = {item.number: _evidence(NetworkStore(state), item) for item in found}
        files = dict(state.rows("SELECT ident, file FROM room"))
    if wants_json(args):
        items = []
        for item in found:
            told = item.to_json()
            told["rooms"] = [{**room, "record": files.get(room["room"])} for room in told["rooms"]]
            items.append({**told, "evidence": evidence[item.number]})
        console.json({"schema": "huizhen.research/1", "items": items})
        return
    if not found:
        console.line(tr("roomnetwork.research.none"))
    rules = {
        "room": tr("roomnetwork.rule.room"),
        "three-in-a-row": tr("roomnetwork.rule.three"),
        "failing": tr("roomnetwork.rule.failing"),
    }
    for item in found:
        title = item.title.in_language(tr.lang)
        console.line(console.style(f"{item.number}  {title}  {item.model}", "title"))
        why = tr.listed(rules[rule] for rule in item.rules)
        console.wrapped(tr("roomnetwork.research.why", why=why, failed=item.failed, jobs=item.jobs), indent="   ")
        if item.rooms:
            console.wrapped(tr("roomnetwork.research.rooms", rooms=tr.listed(room for room, _, _ in item.rooms)), "   ")


def _evidence(store: Any, item: ResearchItem) -> dict[str, int]:
    """What the cars showed that were not cured, and on how many visits."""
    from collections import Counter

    counted = Counter(
        term for kept in store.ends_of(item.what, item.model) if not kept.visit.is_repaired for term in kept.visit.terms
    )
    return dict(counted.most_common(50))


ACTIONS: Final = {"site": site, "drafts": drafts, "research": research}
