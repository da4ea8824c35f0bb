"""The command line: options, and which command runs.

Everything heavy is imported inside the commands, so that ``--help`` is quick. A command is a module in
``huizhen.commands`` with ``add_parser(commands, common, tr)`` and ``run(args, console) -> int``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, cast

from huizhen import __version__
from huizhen.console import Console, cut_to_width, standard
from huizhen.examples import EXAMPLES
from huizhen.exits import Exit, exit_from_error
from huizhen.language import Translator, pick_language
from huizhen.unasked import leave_out_unasked

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from huizhen.errors import HuizhenError

__all__ = ["COMMANDS", "Commands", "build_parser", "main"]

COMMANDS: Final = (
    "doctor", "scan", "live", "read", "battery", "verify", "bundle", "report", "charge", "telematics", "log", "db",
    "dtc", "case", "consult", "signals", "sim", "config", "completion",
)  # fmt: skip

_JUDGING: Final = frozenset({"scan", "live", "battery", "verify", "report", "charge", "telematics", "log", "consult"})
"""Commands that judge a battery, with the user's own limits where there are some."""

Commands = Any  # argparse's private _SubParsersAction


class _Command(Protocol):
    def add_parser(self, commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None: ...

    def run(self, args: argparse.Namespace, console: Console) -> int: ...


_ARGPARSE_ZH: Final = (
    (r"the following arguments are required: (.*)", "缺少参数：{0}"),
    (r"one of the arguments (.*) is required", "参数 {0} 必须给出其中之一"),
    (r"unrecognized arguments: (.*)", "无法识别的参数：{0}"),
    (r"ambiguous option: (.*) could match (.*)", "选项 {0} 不明确，可能是 {1}"),
    (r"unknown parser (.*) \(choices: (.*)\)", "没有命令 {0}，可选 {1}"),
    (r"unexpected option string: (.*)", "无法识别的选项：{0}"),
    (r"argument (.*?): invalid choice: (.*?) \(choose from (.*)\)", "参数 {0}：{1}无效，可选{2}"),
    (r"argument (.*?): given twice; one bus at a time", "参数 {0} 给出了两次；目前一次只支持一条总线"),
    (r"argument (.*?): expected one argument", "参数 {0} 需要一个值"),
    (r"argument (.*?): expected at most one argument", "参数 {0} 最多一个值"),
    (r"argument (.*?): expected at least one argument", "参数 {0} 至少需要一个值"),
    (r"argument (.*?): expected (\d+) arguments?", "参数 {0} 需要 {1} 个值"),
    (r"argument (.*?): invalid (.*?) value: (.*)", "参数 {0}：{2}不是有效的{1}"),
    (r"argument (.*?): not allowed with argument (.*)", "参数 {0} 不能与 {1} 同用"),
    (r"argument (.*?): ignored explicit argument (.*)", "参数 {0} 不带值，多出了 {1}"),
    (r"argument (.*?): (.*)", "参数 {0}：{1}"),
)
"""What argparse says to somebody who types, in its own English and in Chinese; the first that fits counts."""

_KINDS_ZH: Final = {
    "seconds": "秒数（大于 0）",
    "Ah": "安时数（Ah）",
    "milliohms": "毫欧数（mΩ）",
    "int": "整数",
    "float": "数字",
}
"""What a function that reads a value reads: its name says it, in English too."""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Breaks lines by the columns that they take, so that Chinese fits the terminal; command lines stay whole."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return cut_to_width(" ".join(text.split()), width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = [
            part
            for line in text.splitlines()
            for part in ([line] if "huizhen " in line else cut_to_width(line, width - len(indent)))
        ]
        return "".join(f"{indent}{line}\n" for line in lines)


class Parser(argparse.ArgumentParser):
    """argparse that speaks the catalogue's language and exits with the contract's code."""

    tr = Translator("en")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", _HelpFormatter)
        super().__init__(*args, **kwargs)
        self._optionals.title = self.tr("cli.options")
        self._positionals.title = self.tr("cli.arguments")

    def _short_usage(self) -> str:
        """One line: the program, that there are options, and what stands by itself."""
        words = [self.prog, f"[{self.tr('cli.options_word')}]"]
        for action in self._actions:
            if not action.option_strings:
                name = action.metavar or action.dest
                words.append(f"[{name}]" if action.nargs in ("?", "*") else str(name))
        return " ".join(words)

    def format_usage(self) -> str:
        return f"{self.tr('cli.usage')}{self._short_usage()}\n"

    def format_help(self) -> str:
        self.usage = self._short_usage().replace("%", "%%")
        text = super().format_help().replace("usage: ", self.tr("cli.usage"), 1)
        return re.sub(r"(?m)^(\S.*):$", r"\1：", text) if self.tr.lang == "zh" else text

    def error(self, message: str) -> NoReturn:
        message = re.sub(
            r"invalid (\w+) value: ", lambda kind: f"invalid {kind[1].strip('_').replace('_', ' ')} value: ", message
        )
        if self.tr.lang == "zh":
            for pattern, chinese in _ARGPARSE_ZH:
                if found := re.fullmatch(pattern, message):
                    parts = (_KINDS_ZH.get(part, part).replace("', '", "”、“") for part in found.groups())
                    message = re.sub(r"'([^']*)'", r"“\1”", chinese.format(*parts))
                    break
        sys.stderr.write(f"huizhen: {self.tr('cli.bad_usage', message=message, prog=self.prog)}\n")
        raise SystemExit(Exit.USAGE)


def _common(tr: Translator) -> argparse.ArgumentParser:
    """Options that stand before or after the command's name."""
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group(tr("cli.general"))
    group.add_argument("--lang", choices=("zh", "en"), help=tr("cli.help.lang"))
    group.add_argument("--json", action="store_true", help=tr("cli.help.json"))
    group.add_argument("--jsonl", action="store_true", help=tr("cli.help.jsonl"))
    group.add_argument("-q", "--quiet", action="store_true", help=tr("cli.help.quiet"))
    group.add_argument("-v", "--verbose", action="store_true", help=tr("cli.help.verbose"))
    group.add_argument("--debug", action="store_true", help=tr("cli.help.debug"))
    return common


def command_module(name: str) -> _Command:
    """The module of one command."""
    return cast("_Command", importlib.import_module(f"huizhen.commands.{name}"))


def build_parser(tr: Translator, words: Collection[str] | None = None) -> argparse.ArgumentParser:
    """The command line.

    Args:
        tr: the language of all help.
        words: as they were typed: only the commands among them get their options, the others only their names and
            lines in the list, so that nothing is imported or read for them; None = everything.
    """
    Parser.tr = tr
    common = _common(tr)
    parser = Parser(prog="huizhen", description=tr("cli.description"), epilog=tr("cli.epilog"), parents=[common])
    parser.add_argument("--version", action="version", version=f"huizhen {__version__}", help=tr("cli.help.version"))
    commands = parser.add_subparsers(
        dest="command", metavar=tr("cli.command"), title=tr("cli.commands"), parser_class=Parser
    )
    for name in COMMANDS:
        if words is None or name in words:
            command_module(name).add_parser(commands, common, tr)
        else:
            commands.add_parser(name, help=tr.purpose(name))
    _finish_help(parser, tr)
    return parser


def _finish_help(parser: argparse.ArgumentParser, tr: Translator) -> None:
    """Says argparse's own ``--help`` in our words, and gives an example to whatever has none of its own."""
    if not parser.epilog and (example := EXAMPLES.get(parser.prog.partition(" ")[2])):
        parser.epilog = tr("cli.example", command=f"huizhen {example}")
    for action in parser._actions:  # noqa: SLF001 - argparse offers no other way to its own --help text
        if isinstance(action, argparse._HelpAction):  # noqa: SLF001
            action.help = tr("cli.help.help")
        elif isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for child in action.choices.values():
                _finish_help(child, tr)


def _asked_language(argv: Sequence[str]) -> str | None:
    for i, word in enumerate(argv):
        if word == "--lang" and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith("--lang="):
            return word.partition("=")[2]
    return None


def _configure_logging(*, debug: bool) -> None:
    """Libraries keep their remarks to themselves unless ``--debug`` asks for them."""
    import logging

    root = logging.getLogger()
    if debug:
        logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    elif not root.handlers:
        root.addHandler(logging.NullHandler())


def _mend_streams() -> None:
    """A closed stream becomes an empty one, and a narrow encoding shows ``?`` instead of ending the work."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - lives as long as we
        elif hasattr(stream, "reconfigure") and name != "stdin":
            stream.reconfigure(errors="replace")


def _settings() -> tuple[dict[str, str | int], HuizhenError | None]:
    """The configuration file, and what is wrong with it, to be said in the right language."""
    from huizhen.errors import BadSettings, NoHome
    from huizhen.settings import find_home, load_settings

    try:
        find_home()
        return load_settings(), None
    except (BadSettings, NoHome) as error:
        return {}, error


def _run(args: argparse.Namespace, console: Console, settings_error: HuizhenError | None) -> int:
    if settings_error is not None:
        raise settings_error
    if not args.command:
        from huizhen.firststeps import show_first_steps

        show_first_steps(console)
        return Exit.DONE
    if args.command in _JUDGING:
        from huizhen.settings import apply_own_limits

        apply_own_limits()
    return command_module(args.command).run(args, console)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    _mend_streams()
    settings, settings_error = _settings()
    asked = _asked_language(words) or os.environ.get("HUIZHEN_LANG") or settings.get("lang")
    tr = Translator(pick_language(None if asked is None else str(asked)))
    parser = build_parser(tr, words)
    args = parser.parse_args(words)
    console = standard(
        tr,
        quiet=getattr(args, "quiet", False),
        verbose=getattr(args, "verbose", False),
        debug=getattr(args, "debug", False),
    )
    _configure_logging(debug=console.debug)
    leave_out_unasked()
    if getattr(args, "library", "") is None and settings.get("library"):
        args.library = settings["library"]
    try:
        return _run(args, console, settings_error)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): not an error, and nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except (Exception, KeyboardInterrupt) as error:  # the top of the program: everything ends in one line here
        if console.debug:
            raise
        exit_ = exit_from_error(error)
        if exit_ is Exit.INTERNAL:
            sentence = tr("cli.internal", kind=type(error).__name__, message=str(error))
        elif exit_ is Exit.INTERRUPTED:
            sentence = tr("cli.interrupted")
        else:
            sentence = tr.error(error)
        console.error(sentence)
        if getattr(args, "json", False) and not console.has_spoken:
            code = getattr(type(error), "code", "huizhen.internal" if exit_ is Exit.INTERNAL else "huizhen.interrupted")
            console.json({"schema": "huizhen.error/1", "code": code, "message": sentence, "exit": int(exit_)})
        return exit_
