"""Mends DBC files before they are parsed.

The statements of a file and of those that it takes in are checked against each other and written anew as a text that
the parser accepts: references to nothing are left out, broken blocks are completed, names and identifiers that it would
refuse get stand-ins. Each change is an issue with the line of the file on disk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dbc.draft import Draft
from dbc.references import write_references

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dbc.draft import MessageText
    from dbc.imports import Part
    from dbc.issues import Issue

__all__ = ["Repaired", "repair_parts"]


@dataclass(frozen=True, slots=True)
class Repaired:
    """A text for the parser and how to read its result.

    Args:
        text: one statement a line, apart from texts with several lines.
        lines: for each line of ``text`` the file (as issues call it) and the line there.
        messages: the identifier that the parser sees -> the message.
        names: stand-in -> name in the file.
        issues: everything found, by file and line.
    """

    text: str
    lines: tuple[tuple[str, int], ...]
    messages: Mapping[int, MessageText]
    names: Mapping[str, str]
    issues: tuple[Issue, ...]


def repair_parts(parts: Sequence[Part]) -> Repaired:
    """One text for the parser from a file and its imports.

    Raises:
        DatabaseBroken: a number of a signal is none, or a signal stands before any message.
    """
    repair = Draft(parts)
    version = next((s.text("text") for _, s in repair.statements("VERSION") if s.text("text").startswith('"')), '""')
    repair.write(f"VERSION {version}", "", 1)
    repair.read_nodes()
    repair.read_messages()
    repair.settle_numbers()
    repair.write_messages()
    write_references(repair)
    repair.settle_selectors()
    repair.settle_names()
    own = [issue for part in parts for issue in _with_file(part)]
    order = {part.name: number for number, part in enumerate(reversed(parts))}
    issues = sorted(own + repair.issues, key=lambda issue: (order.get(issue.file, 0), issue.line))
    messages = {message.parsed_number: message for message in repair.messages}
    return Repaired("\n".join(repair.out) + "\n", tuple(repair.lines), messages, repair.names, tuple(issues))


def _with_file(part: Part) -> Iterator[Issue]:
    for issue in (*part.issues, *part.scan.issues):
        yield replace(issue, file=part.name)
