"""Databases as a person and as a program see them: tables and JSON of ``huizhen db``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbc.catalogue import Entry
    from dbc.database import Database
    from dbc.issues import Issue
    from dbc.signals import Message, Signal
    from huizhen.console import Console

__all__ = ["database_json", "entry_json", "issue_json", "show_database", "show_lint", "show_message"]

_SHOWN_ISSUES: Final = 12
_SHOWN_LABELS: Final = 8


def entry_json(entry: Entry) -> dict[str, Any]:
    """One entry of the catalogue."""
    return {
        "name": entry.name,
        "file": str(entry.path),
        "origin": entry.origin,
        "source": {"en": entry.source.en, "zh": entry.source.zh},
        "licence": entry.licence or None,
        "make": entry.make or None,
        "fragment": entry.is_fragment,
    }


def _id(message: Message) -> str:
    return f"0x{message.can_id:08X}" if message.extended else f"0x{message.can_id:03X}"


def _signal_json(signal: Signal) -> dict[str, Any]:
    return {
        "name": signal.name,
        "start": signal.start,
        "length": signal.length,
        "byte_order": "little_endian" if signal.little_endian else "big_endian",
        "signed": signal.signed,
        "float": signal.is_float,
        "scale": signal.scale,
        "offset": signal.offset,
        "unit": signal.unit,
        "minimum": signal.minimum,
        "maximum": signal.maximum,
        "labels": {str(raw): text for raw, text in signal.labels.items()},
        "conditions": [
            {"selector": condition.selector, "ranges": [list(pair) for pair in condition.ranges]}
            for condition in signal.conditions
        ],
        "comment": signal.comment,
    }


def _message_json(message: Message) -> dict[str, Any]:
    return {
        "name": message.name,
        "id": _id(message),
        "extended": message.extended,
        "length": message.length,
        "fd": message.is_fd,
        "j1939": message.is_j1939,
        "senders": list(message.senders),
        "cycle_time_ms": message.cycle_time_ms,
        "comment": message.comment,
        "signals": [_signal_json(signal) for signal in message.signals],
        "unreadable": list(message.unreadable),
        **({"contained": _contained_json(message)} if message.contained else {}),
    }


def _contained_json(message: Message) -> list[dict[str, Any]]:
    return [{"header": f"0x{n:06X}", **_message_json(inner)} for n, inner in message.contained.items()]


def database_json(database: Database, entry: Entry | None, messages: Iterable[Message]) -> dict[str, Any]:
    """``huizhen.database/1``: what a database says, or of some messages only."""
    return {
        "schema": "huizhen.database/1",
        **({**entry_json(entry)} if entry else {"name": database.name, "file": database.path}),
        "format": database.format,
        "encoding": database.encoding,
        "version": database.version,
        "nodes": [{"name": node.name, "comment": node.comment} for node in database.nodes],
        "imports": list(database.imports),
        "messages": [_message_json(message) for message in messages],
        "dids": [
            {
                "identifier": f"0x{did.identifier:04X}",
                "name": did.name,
                "length": did.length,
                "signals": [_signal_json(signal) for signal in did.signals],
            }
            for did in database.dids
        ],
        "issues": len(database.issues),
    }


def show_database(database: Database, entry: Entry | None, console: Console) -> None:
    """A database and its messages as tables."""
    tr = console.tr
    facts = [
        (tr("db.name"), database.name),
        (tr("db.file"), database.path),
        (tr("db.format"), f"{database.format}  {database.encoding}  {database.version}".rstrip()),
    ]
    if entry is not None:
        facts += [
            (tr("db.source"), getattr(entry.source, tr.lang)),
            (tr("db.licence"), entry.licence or "-"),
        ]
    if database.nodes:
        facts.append((tr("db.nodes"), " ".join(node.name for node in database.nodes)))
    if database.imports:
        facts.append((tr("db.imports"), " ".join(database.imports)))
    console.table(facts)
    rows = [
        row
        for message in database.messages
        for row in (
            _message_row(_id(message), message),
            *(_message_row(f"  {_header(number)}", inner) for number, inner in message.contained.items()),
        )
    ]
    if rows:
        console.line()
        console.table(rows, _message_head(console))
    if database.dids:
        console.line()
        console.table(
            [(f"0x{did.identifier:04X}", did.name, str(did.length), str(len(did.signals))) for did in database.dids],
            (tr("db.did"), tr("db.name"), tr("db.bytes"), tr("db.signals")),
        )
    counts = tr(
        "db.show.counts",
        messages=len(database.messages),
        signals=sum(len(m.signals) + sum(len(i.signals) for i in m.contained.values()) for m in database.messages),
        issues=len(database.issues),
    )
    console.line(counts)


def _header(number: int) -> str:
    """The number of a message inside a container."""
    return f"#0x{number:06X}"


def _message_row(ident: str, message: Message) -> tuple[str, ...]:
    return (
        ident,
        message.name,
        str(message.length),
        "-" if message.cycle_time_ms is None else str(message.cycle_time_ms),
        " ".join(message.senders) or "-",
        str(len(message.signals)),
        " ".join(message.comment.split()),
    )


def _message_head(console: Console) -> tuple[str, ...]:
    tr = console.tr
    what = (tr("db.id"), tr("db.message"), tr("db.bytes"), tr("db.cycle"))
    return (*what, tr("db.sender"), tr("db.signals"), tr("db.comment"))


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def show_message(message: Message, console: Console, ident: str = "") -> None:
    """The signals of one message as a table, and those of the messages inside it."""
    tr = console.tr
    console.line(console.style(f"{message.name}  {ident or _id(message)}  {message.length} B", "title"))
    if message.comment:
        console.wrapped(" ".join(message.comment.split()), "  ")
    rows = []
    for signal in message.signals:
        kind = "float" if signal.is_float else "signed" if signal.signed else "unsigned"
        order = "LE" if signal.little_endian else "BE"
        limits = "-" if signal.minimum is None else f"{signal.minimum:g}…{signal.maximum:g}"
        when = " ".join(
            f"{condition.selector}={','.join(_range(low, high) for low, high in condition.ranges)}"
            for condition in signal.conditions
        )
        labels = [f"{raw}={text}" for raw, text in sorted(signal.labels.items())]
        more = ["…"] if len(labels) > _SHOWN_LABELS and not console.verbose else []
        shown = labels if console.verbose else labels[:_SHOWN_LABELS]
        rows.append(
            (
                signal.name,
                f"{signal.start}|{signal.length} {order} {kind}",
                f"{signal.scale:g}",
                f"{signal.offset:g}",
                limits,
                signal.unit or "-",
                when or "-",
                " ".join((*shown, *more)) or "-",
            )
        )
    head = (
        tr("db.signal"),
        tr("db.bits"),
        tr("db.scale"),
        tr("db.offset"),
        tr("db.range"),
        tr("db.unit"),
        tr("db.when"),
        tr("db.labels"),
    )
    if rows:
        console.table(rows, head)
    for number, inner in message.contained.items():
        show_message(inner, console, _header(number))
    if message.unreadable:
        console.line(tr("db.show.unreadable", names=" ".join(message.unreadable)))


def issue_json(issue: Issue) -> dict[str, Any]:
    """One issue of a file; ``file`` names an imported one."""
    out: dict[str, Any] = {
        "line": issue.line or None,
        "code": issue.code,
        "text": {"en": issue.text.en, "zh": issue.text.zh},
        "repaired": issue.repaired,
    }
    if issue.file:
        out["file"] = issue.file
    return out


def show_lint(facts: dict[str, Any], console: Console) -> None:
    """What is wrong with one file, what stays first."""
    tr = console.tr
    issues = facts["issues"]
    mended = sum(issue["repaired"] for issue in issues)
    if facts["loaded"]:
        console.line(
            tr(
                "db.lint.loaded",
                path=facts["file"],
                messages=facts["messages"],
                signals=facts["signals"],
                encoding=facts["encoding"],
                mended=mended,
                left=len(issues) - mended,
            )
        )
    else:
        console.line(console.style(tr("db.lint.refused", path=facts["file"]), "soon"))
    ordered = sorted(issues, key=lambda issue: issue["repaired"])
    shown = ordered if console.verbose else ordered[:_SHOWN_ISSUES]
    rows = [
        (
            f"{issue.get('file', '')}:{issue['line'] or '-'}".lstrip(":"),
            tr("db.lint.mended") if issue["repaired"] else tr("db.lint.stays"),
            issue["code"],
            issue["text"][tr.lang],
        )
        for issue in shown
    ]
    if rows:
        console.table(rows, (tr("db.lint.line"), "", tr("db.lint.code"), tr("db.lint.what")))
    if len(issues) > len(shown):
        console.line("  " + tr("db.lint.more", n=len(issues) - len(shown)))
