"""``huizhen consult user``: the accounts of a room service, kept in its database whether it runs or not."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from huizhen.console import wants_json

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from consult.accounts import Account
    from consult.servicestate import AuditEntry, ServiceState
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_user_parser", "audit_entry", "now_us", "service_folder", "user"]

_ROLES = ("expert", "lead", "admin", "auditor")


def add_user_parser(actions: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the actions on accounts and their options."""
    parser = actions.add_parser(
        "user",
        parents=[common],
        help=tr("consult.user.help"),
        description=tr("consult.user.description"),
        epilog=tr("consult.user.epilog"),
    )
    verbs = parser.add_subparsers(dest="verb", metavar=tr("cli.command"), title=tr("consult.action"), required=True)
    helps = {
        "add": tr("consult.user.add"),
        "list": tr("consult.user.list"),
        "set": tr("consult.user.set"),
        "passwd": tr("consult.user.passwd"),
        "remove": tr("consult.user.remove"),
        "audit": tr("consult.user.audit"),
        "export": tr("privacy.user.export"),
    }
    for verb, said in helps.items():
        one = verbs.add_parser(verb, parents=[common], help=said, description=said)
        if verb not in ("list", "audit"):
            one.add_argument("name", metavar="NAME", help=tr("consult.user.name"))
        if verb in ("add", "set"):
            _add_fields(one, tr)
        if verb == "export":
            one.add_argument("-o", "--output", required=True, metavar="DIR", help=tr("privacy.user.output"))
        one.add_argument("--data", metavar="DIR", help=tr("consult.option.data"))
        one.add_argument("--config", metavar="FILE", help=tr("consult.option.config"))


def _add_fields(parser: argparse.ArgumentParser, tr: Translator) -> None:
    parser.add_argument("--display", metavar="TEXT", help=tr("consult.user.display"))
    parser.add_argument("--role", choices=_ROLES, help=tr("consult.user.role"))
    parser.add_argument("--skill", action="append", metavar="WORD", help=tr("consult.user.skill"))
    parser.add_argument("--language", action="append", metavar="CODE", help=tr("consult.user.language"))
    parser.add_argument("--make", action="append", metavar="NAME", help=tr("queue.user.make"))
    parser.add_argument("--at-once", type=int, metavar="N", help=tr("queue.user.at_once"))
    parser.add_argument("--region", metavar="CODE", help=tr("consult.user.region"))
    duty = parser.add_mutually_exclusive_group()
    duty.add_argument("--on-duty", dest="on_duty", action="store_true", default=None, help=tr("consult.user.on_duty"))
    duty.add_argument("--off-duty", dest="on_duty", action="store_false", help=tr("consult.user.off_duty"))


async def user(args: argparse.Namespace, console: Console) -> None:
    """Does one thing to the accounts.

    Raises:
        AccountBroken: there is no such account, or it cannot be made like that.
        StateBroken: the service's database cannot be used.
        BadUsage: no password came.
    """
    from consult.service import require_writable
    from consult.servicestate import ServiceState
    from huizhen.roomservice import STATE

    folder = service_folder(args)
    if args.verb == "add" and not (folder / STATE).exists():
        account = _new_account(args, console)  # what is refused begins no folder
        require_writable(folder)
        console.note(console.tr("consult.user.begins", folder=str(folder)))
        with ServiceState(folder / STATE) as state:
            _put_new(state, account, args, console)
        return
    require_writable(folder)
    with ServiceState(folder / STATE) as state:
        verbs = {
            "add": _add,
            "set": _set,
            "passwd": _passwd,
            "remove": _remove,
            "list": _list,
            "audit": _audit,
            "export": _export,
        }
        verbs[args.verb](state, args, console)


def service_folder(args: argparse.Namespace) -> Path:
    """The data folder that ``--data`` or the configuration names, else the user's own."""
    from pathlib import Path

    from consult.configfile import load_config
    from huizhen.roomservice import data_folder

    if args.config and not args.data:
        found = load_config(Path(args.config)).get("data")
        if isinstance(found, Path):
            return found
    return data_folder(args)


def now_us() -> int:
    """UTC microseconds."""
    return time.time_ns() // 1000


def audit_entry(what: str, name: str) -> AuditEntry:
    """What somebody at this computer does to the service."""
    import getpass

    from consult.servicestate import AuditEntry

    try:
        who = getpass.getuser()
    except (OSError, KeyError):
        who = "?"
    return AuditEntry(now_us(), what, f"cli:{who}", "", name)


def _get(state: ServiceState, name: str) -> Account:
    from consult.errors import AccountBroken
    from diag.facts import Text

    found = state.find_account(name)
    if found is None:
        raise AccountBroken(name, Text("there is no such account", "没有这个账号"))
    return found


def _changed(account: Account, args: argparse.Namespace) -> Account:
    from consult.accounts import AccountRole
    from consult.messages import clean_name

    given: dict[str, Any] = {}
    if args.display is not None:
        given["display"] = clean_name(args.display)
    if args.role is not None:
        given["role"] = AccountRole(args.role)
    if args.skill is not None:
        given["skills"] = tuple(args.skill)
    if args.language is not None:
        given["languages"] = tuple(args.language)
    if args.make is not None:
        given["makes"] = tuple(args.make)
    if args.at_once is not None:
        given["at_once"] = args.at_once
    if args.region is not None:
        given["region"] = args.region
    if args.on_duty is not None:
        given["on_duty"] = args.on_duty
    return replace(account, **given)


def _password(name: str, console: Console) -> str:
    """The hash of a password, typed twice at a terminal or read as the first line of standard input."""
    import getpass

    from consult.accounts import PasswordCheck
    from huizhen.errors import BadUsage

    if sys.stdin is not None and sys.stdin.isatty():
        first = getpass.getpass(console.tr("consult.user.ask", name=name) + " ")
        if getpass.getpass(console.tr("consult.user.ask_again") + " ") != first:
            raise BadUsage(console.tr("consult.user.differ"))
    else:
        first = (sys.stdin.readline() if sys.stdin is not None else "").rstrip("\r\n")
        if not first:
            raise BadUsage(console.tr("consult.user.no_password"))
    return PasswordCheck.hash(name, first)


def _add(state: ServiceState, args: argparse.Namespace, console: Console) -> None:
    from consult.errors import AccountBroken
    from diag.facts import Text

    if state.find_account(args.name) is not None:
        raise AccountBroken(args.name, Text("it exists already", "账号已存在"))
    _put_new(state, _new_account(args, console), args, console)


def _new_account(args: argparse.Namespace, console: Console) -> Account:
    from consult.accounts import Account

    account = _changed(Account(args.name, created_us=now_us()), args)
    return replace(account, password=_password(args.name, console))


def _put_new(state: ServiceState, account: Account, args: argparse.Namespace, console: Console) -> None:
    state.put_account(account, (audit_entry("account-add", account.name),))
    _told(account, console.tr("consult.user.added", name=account.name), args, console)


def _set(state: ServiceState, args: argparse.Namespace, console: Console) -> None:
    account = _changed(_get(state, args.name), args)
    state.put_account(account, (audit_entry("account-set", account.name),))
    _told(account, console.tr("consult.user.changed", name=account.name), args, console)


def _passwd(state: ServiceState, args: argparse.Namespace, console: Console) -> None:
    account = replace(_get(state, args.name), password=_password(args.name, console))
    state.put_account(account, (audit_entry("account-passwd", account.name),), sign_out=True)
    _told(account, console.tr("consult.user.new_password", name=account.name), args, console)


def _remove(state: ServiceState, args: argparse.Namespace, console: Console) -> None:
    account = _get(state, args.name)
    state.remove_account(account.name, (audit_entry("account-remove", account.name),))
    _told(account, console.tr("consult.user.removed", name=account.name), args, console)


def _told(account: Account, said: str, args: argparse.Namespace, console: Console) -> None:
    if wants_json(args):
        console.json({"schema": "huizhen.account/1", **account.to_json()})
    else:
        console.line(said)


def _list(state: ServiceState, args: argparse.Namespace, console: Console) -> None:
    accounts = state.accounts()
    if wants_json(args):
        console.json({"schema": "huizhen.accounts/1", "accounts": [account.to_json() for account in accounts]})
        return
    if not accounts:
        console.line(console.tr("consult.user.none"))
        return
    roles = {
        "expert": console.tr("consult.role.expert"),
        "lead": console.tr("consult.role.lead"),
        "admin": console.tr("consult.role.admin"),
        "auditor": console.tr("consult.role.auditor"),
    }
    duty = {True: console.tr("consult.user.is_on_duty"), False: "–"}
    head = (
        console.tr("consult.user.head_name"),
        console.tr("consult.user.head_role"),
        console.tr("consult.user.head_duty"),
        console.tr("consult.user.head_region"),
        console.tr("consult.user.head_words"),
    )
    rows = [
        (
            f"{one.name} ({one.display})" if one.display else one.name,
            roles[one.role.value],
            duty[one.on_duty],
            one.region or "–",
            ", ".join((*one.languages, *one.skills, *one.makes)) or "–",
        )
        for one in accounts
    ]
    console.table(rows, head)


def _audit(state: ServiceState, args: argparse.Namespace, console: Console) -> None:
    """Everything, page by page: an audit may be long."""
    from huizhen.roomservice import iso_from_us

    after, entries = 0, []
    while page := state.audit(after=after):
        entries += page
        after = page[-1][0]
    if wants_json(args):
        told = [{"n": n, "time": iso_from_us(one.t_us), **one.to_json()} for n, one in entries]
        console.json({"schema": "huizhen.service-audit/1", "entries": told})
        return
    for _, one in entries:
        console.line(
            "  ".join(part for part in (iso_from_us(one.t_us), one.what, one.who, one.room, one.detail) if part)
        )


def _export(state: ServiceState, args: argparse.Namespace, console: Console) -> None:
    """What is held about a person: also of an account that was removed, as long as the audit knows it."""
    from pathlib import Path

    from consult.carexport import ExportFolder
    from consult.privacystore import PrivacyStore
    from consult.roomtraces import held_about_account
    from diag.facts import Text

    name, store = args.name, PrivacyStore(state)
    account = state.find_account(name)
    audit, after = [], 0
    while page := state.audit(after=after):
        audit += [{"n": n, **entry.to_json()} for n, entry in page if name in (entry.who, entry.detail)]
        after = page[-1][0]
    consents = store.consents(account=name)
    elsewhere = held_about_account(state, name)
    if account is None and not audit and not consents and not elsewhere:
        _get(state, name)
    out = ExportFolder(Path(args.output))
    if account is not None:
        out.document("account", {**account.to_json(), "created_us": account.created_us})
    if audit:
        out.document("audit", {"rows": audit})
    sessions = [one for one in state.load_sessions()[0].values() if one.account == name]
    if sessions:
        rows = [
            {"room": one.room, "role": one.role.value, "name": one.name, "until_s": one.expires_s} for one in sessions
        ]
        out.document("sessions", {"rows": rows})
    if consents:
        out.document("consents", {"rows": [one.to_json() for one in consents]})
        texts = store.texts()
        used = sorted({one.version for one in consents} & set(texts))
        out.document("consent-texts", {version: texts[version] for version in used})
    for what, body in elsewhere:
        out.document(what, body)
    facts = {"schema": "huizhen.user-data/1", "name": name}
    index = out.finish(Text(f"the account {name}", f"账号 {name} "), facts, now_us())
    state.note(audit_entry("account-export", name))
    if wants_json(args):
        console.json(index)
    else:
        console.line(console.tr("privacy.user.exported", files=len(index["files"]), name=name, path=args.output))
