"""``huizhen config``: settings, and the adapter that is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from huizhen.exits import Exit

if TYPE_CHECKING:
    import argparse

    from huizhen.cli import Commands
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["add_parser", "run"]


_ACTIONS: Final = ("show", "list", "get", "set", "unset", "path", "forget")
_WORDS: Final = {"get": 1, "set": 2, "unset": 1}


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
        "action", nargs="?", choices=_ACTIONS, metavar="|".join(_ACTIONS), default="show", help=tr("config.action")
    )
    parser.add_argument("key", nargs="?", metavar="KEY", help=tr("config.key"))
    parser.add_argument("value", nargs="?", metavar="VALUE", help=tr("config.value"))


def run(args: argparse.Namespace, console: Console) -> int:
    """Shows or changes; returns the exit code."""
    from huizhen.errors import BadUsage
    from huizhen.settings import KEYS, config_folder, forget, set_value

    tr = console.tr
    wanted = _WORDS.get(args.action, 0)
    given = sum(word is not None for word in (args.key, args.value))
    if wanted != given:
        raise BadUsage(tr("config.words", action=args.action, keys=", ".join(KEYS)))
    if args.action == "forget":
        console.line(tr("config.forgotten") if forget() else tr("config.nothing_to_forget"))
        return Exit.DONE
    if args.action == "path":
        console.line(str(config_folder() / "config.toml"))
        return Exit.DONE
    if args.action == "get":
        return _get(args.key, console)
    if args.action in ("set", "unset"):
        path = set_value(args.key, args.value)
        console.note(tr("config.written", path=path))
        return Exit.DONE
    return _show(args, console)


def _get(key: str, console: Console) -> int:
    """One setting as it counts now, for scripts: nothing and exit code 2 where it is not set."""
    from huizhen.errors import BadSettings
    from huizhen.settings import KEYS, config_folder, from_environment, load_settings

    if key not in KEYS:
        raise BadSettings(str(config_folder() / "config.toml"), f"'{key}'", ", ".join(KEYS))
    value = from_environment(key) or load_settings().get(key)
    if value is None:
        return Exit.USAGE
    console.line(str(value))
    return Exit.DONE


def _show(args: argparse.Namespace, console: Console) -> int:
    from huizhen.settings import KEYS, config_folder, from_environment, load_settings, recall

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
                "environment": {key: value for key in KEYS if (value := from_environment(key)) is not None},
                "remembered": remembered,
            }
        )
        return Exit.DONE
    console.line(console.style(str(config_folder() / "config.toml"), "title"))
    rows = []
    for key in KEYS:
        value = str(settings.get(key, tr("config.unset")))
        now = from_environment(key)
        rows.append((key, value if now is None else tr("config.from_environment", value=value, now=now)))
    console.table(rows)
    console.line()
    console.line(tr("config.remembered", words=kept.words()) if kept else tr("config.no_adapter"))
    return Exit.DONE
