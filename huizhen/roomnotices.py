"""``huizhen consult notify``: a test notice for each webhook, and how webhooks are listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from huizhen.console import wants_json

if TYPE_CHECKING:
    import argparse

    from consult.noticesettings import Hook
    from consult.service import ServiceConfig
    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_notify_parser", "hook_json", "hook_list", "hooks_of", "notify"]


def add_notify_parser(actions: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``notify``."""
    parser = actions.add_parser(
        "notify",
        parents=[common],
        help=tr("roomnotices.help"),
        description=tr("roomnotices.description"),
        epilog=tr("roomnotices.epilog"),
    )
    parser.add_argument("--config", metavar="FILE", required=True, help=tr("roomnotices.config"))
    parser.add_argument("--hook", metavar="NAME", action="append", help=tr("roomnotices.hook"))
    parser.add_argument(
        "--severity", choices=("danger", "high", "normal"), default="normal", help=tr("roomnotices.severity")
    )
    parser.add_argument("--dry-run", action="store_true", help=tr("roomnotices.dry_run"))


def hooks_of(config: ServiceConfig) -> tuple[Hook, ...]:
    """All webhooks and the mail server."""
    return (*config.webhooks, *((config.mail,) if config.mail else ()))


def hook_json(hook: Hook) -> dict[str, Any]:
    """One of them, without its address."""
    return {
        "name": hook.name,
        "kind": hook.kind,
        "language": hook.language,
        "severity": hook.severity,
        "kinds": list(hook.kinds),
    }


def hook_list(config: ServiceConfig) -> str:
    """Their names and kinds in one line."""
    return ", ".join(f"{hook.name} ({hook.kind})" for hook in hooks_of(config)) or "–"


async def notify(args: argparse.Namespace, console: Console) -> int:
    """Sends the test notice; returns the exit code.

    Raises:
        ConfigBroken: the file makes no sense.
        BadUsage: there is no such webhook, or none at all.
    """
    import time
    from pathlib import Path

    from consult.configfile import load_config
    from consult.listening import service_url
    from consult.service import ServiceConfig
    from consult.webhookcheck import send_once, show, trial_notice
    from consult.webhookshapes import Outcome
    from huizhen.exits import Exit

    config = ServiceConfig(**({"data": Path()} | load_config(Path(args.config))))
    hooks = _chosen(config, args, console)
    now_us = time.time_ns() // 1000
    kept, base_url = trial_notice(args.severity, now_us), service_url(config, config.port)
    results: list[dict[str, Any]] = []
    for hook in hooks:
        told: dict[str, Any] = {"name": hook.name, "kind": hook.kind}
        if args.dry_run:
            told["would_send"] = show(hook, kept, base_url, now_us)
        else:
            verdict = await send_once(hook, kept, base_url, now_us)
            told |= {"result": verdict.outcome, "reason": verdict.reason}
        results.append(told)
        if not wants_json(args):
            _tell(told, console)
    if wants_json(args):
        console.json({"schema": "huizhen.notify/1", "id": kept.ident, "dry_run": args.dry_run, "hooks": results})
    failed = any(told.get("result", Outcome.SENT) != Outcome.SENT for told in results)
    return Exit.REMOTE if failed else Exit.DONE


def _chosen(config: ServiceConfig, args: argparse.Namespace, console: Console) -> list[Hook]:
    from huizhen.errors import BadUsage

    hooks = hooks_of(config)
    if not hooks:
        raise BadUsage(console.tr("roomnotices.none", path=args.config))
    known = {hook.name: hook for hook in hooks}
    for name in args.hook or ():
        if name not in known:
            raise BadUsage(console.tr("roomnotices.unknown", name=name, path=args.config, known=", ".join(known)))
    return [hook for hook in hooks if not args.hook or hook.name in args.hook]


def _tell(told: dict[str, Any], console: Console) -> None:
    import json

    from consult.webhookshapes import Outcome

    if "would_send" in told:
        console.line(f"{told['name']} ({told['kind']})")
        console.line(json.dumps(told["would_send"], ensure_ascii=False, indent=2))
        return
    said = {
        Outcome.SENT: console.tr("roomnotices.sent"),
        Outcome.LATER: console.tr("roomnotices.later", reason=told["reason"]),
        Outcome.REFUSED: console.tr("roomnotices.refused", reason=told["reason"]),
    }[told["result"]]
    console.line(f"{told['name']} ({told['kind']}): {said}")
