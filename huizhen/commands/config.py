"""``huizhen config``: settings, and the adapter that is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from huizhen.exits import Exit

if TYPE_CHECKING:
    import argparse

    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_parser", "run"]


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``config``."""
    parser = commands.add_parser(
        "config",
        parents=[common],
        help=tr("config.help"),
        description=tr("config.description"),
        epilog=tr("config.epilog"),
    )
    parser.add_argument(
        "action", nargs="?", choices=("show", "set", "unset", "forget"), default="show", help=tr("config.action")
    )
    parser.add_argument("key", nargs="?", metavar="KEY", help=tr("config.key"))
    parser.add_argument("value", nargs="?", metavar="VALUE", help=tr("config.value"))


def run(args: argparse.Namespace, console: Console) -> int:
    """Shows or changes; returns the exit code."""
    from huizhen.errors import BadUsage
    from huizhen.settings import KEYS, forget, set_value

    tr = console.tr
    wanted = {"set": 2, "unset": 1}.get(args.action, 0)
    given = sum(word is not None for word in (args.key, args.value))
    if wanted != given:
        raise BadUsage(tr("config.words", action=args.action, keys=", ".join(KEYS)))
    if args.action == "forget":
        console.line(tr("config.forgotten") if forget() else tr("config.nothing_to_forget"))
        return Exit.DONE
    if args.action in ("set", "unset"):
        path = set_value(args.key, args.value)
        console.note(tr("config.written", path=path))
        return Exit.DONE
    return _show(args, console)


def _show(args: argparse.Namespace, console: Console) -> int:
    from huizhen.settings import KEYS, config_folder, load_settings, recall

    tr, settings, kept = console.tr, load_settings(), recall()
    if getattr(args, "json", False) or getattr(args, "jsonl", False):
        remembered = None
        if kept is not None:
            remembered = {
                "adapter": kept.adapter,
                "interface": kept.interface,
                "channel": kept.channel,
                "bitrate": kept.bitrate,
                "protocol": kept.protocol or None,
            }
        console.json(
            {
                "schema": "huizhen.config/1",
                "file": str(config_folder() / "config.toml"),
                "settings": {key: settings.get(key) for key in KEYS},
                "remembered": remembered,
            }
        )
        return Exit.DONE
    console.line(console.style(str(config_folder() / "config.toml"), "title"))
    console.table([(key, str(settings.get(key, tr("config.unset")))) for key in KEYS])
    console.line()
    console.line(tr("config.remembered", words=kept.words()) if kept else tr("config.no_adapter"))
    return Exit.DONE
