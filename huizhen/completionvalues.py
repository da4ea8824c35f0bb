"""Values that only this machine or our own files know, for completion: scenarios, adapters, fixes, codes, settings.

Somebody waits at a key, so the files are looked through as they stand, without what checks them elsewhere.
"""

from __future__ import annotations

import csv
import importlib.util
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from huizhen.language import Translator

__all__ = ["known_values"]

_NO_FIXES: Final = ("features", "makes", "tests", "words", "safety", "weights")


def known_values(command: str, argument: str, taken: list[str], tr: Translator) -> Iterable[tuple[str, str]]:
    """Values and a line about each; none where nobody can know them.

    Args:
        command: ``case show``.
        argument: its name in argparse.
        taken: what already stands in the places before it.
        tr: language of the lines.
    """
    look_up = _LOOK_UPS.get(f"{command} {argument}") or _LOOK_UPS.get(f"* {argument}")
    return look_up(taken, tr) if look_up is not None else ()


def _folder_of(package: str) -> Path:
    """Where a package stands; nothing of it is imported."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin or "").parent if spec is not None else Path()


def _scenarios(_taken: list[str], tr: Translator) -> Iterator[tuple[str, str]]:
    for path in sorted((_folder_of("virtualbus") / "bundled").glob("*.toml")):
        title: Any = tomllib.loads(path.read_text(encoding="utf-8")).get("title", {})
        yield path.stem, title.get(tr.lang, "") if isinstance(title, dict) else str(title)


def _interfaces(_taken: list[str], _tr: Translator) -> Iterator[tuple[str, str]]:
    from huizhen.settings import INTERFACES

    yield from ((name, "") for name in INTERFACES)


def _channels(_taken: list[str], _tr: Translator) -> Iterator[tuple[str, str]]:
    from diag.adapters import plugged_in

    yield from ((channel, name) for name, channel in plugged_in())


def _adapters(taken: list[str], tr: Translator) -> Iterator[tuple[str, str]]:
    from huizhen.settings import recall

    kept = recall()
    if kept is not None and kept.adapter:
        yield kept.adapter, ""
    for channel, name in _channels(taken, tr):
        if "/" in channel or channel.startswith("COM"):
            yield f"elm327:{channel}", name
    yield "elm327:", "ELM327, OBDLink"
    yield "doip:", "DoIP"


def _settings(_taken: list[str], _tr: Translator) -> Iterator[tuple[str, str]]:
    from huizhen.settings import KEYS

    yield from ((key, "") for key in KEYS)


def _setting_values(taken: list[str], tr: Translator) -> Iterable[tuple[str, str]]:
    from huizhen.settings import KEYS

    key = taken[1] if len(taken) > 1 else ""
    kind = KEYS.get(key)
    if isinstance(kind, tuple):
        return [(word, "") for word in kind]
    look_ups = {"interface": _interfaces, "channel": _channels, "adapter": _adapters}
    return look_ups[key]([], tr) if key in look_ups else ()


def _fixes(_taken: list[str], tr: Translator) -> Iterator[tuple[str, str]]:
    for path in sorted((_folder_of("casebase") / "content").glob("*.toml")):
        if path.stem.partition("-")[0] in _NO_FIXES:
            continue
        name = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("id = "):
                name = tomllib.loads(line)["id"]
            elif name and line.startswith("title = "):
                yield name, tomllib.loads(line)["title"].get(tr.lang, "")
                name = ""


def _codes(_taken: list[str], tr: Translator) -> Iterator[tuple[str, str]]:
    with (_folder_of("diag") / "texts" / "codes.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row["code"], row[tr.lang]


def _databases(_taken: list[str], _tr: Translator) -> Iterator[tuple[str, str]]:
    yield from ((path.stem, "") for path in sorted((_folder_of("dbc") / "files").glob("*.dbc")))


_LOOK_UPS: Final[dict[str, Callable[[list[str], Translator], Iterable[tuple[str, str]]]]] = {
    "* scenario": _scenarios,
    "* interface": _interfaces,
    "* channel": _channels,
    "* adapter": _adapters,
    "* fix": _fixes,
    "* dtc": _codes,
    "doctor ports": _channels,
    "dtc explain codes": _codes,
    "config key": _settings,
    "config value": _setting_values,
    "case show name": _fixes,
    "db show file": _databases,
}
"""Command and name of an argument (``*`` = in every command) -> what may stand there."""
