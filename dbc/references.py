"""Statements about messages, signals and nodes: comments, attributes, value tables, types, selectors.

Those about something that is not there are left out with an issue; the others are written for each message and signal
that they mean, under the names that the parser sees. Attributes of signals are not written: nothing reads them but
their long names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dbc.draft import Draft, Ranges
    from dbc.imports import Part
    from dbc.statements import Statement

__all__ = ["write_references"]

_NUMBER: Final = re.compile(r"[-+]?\d+\.?\d*(?:[eE][+-]?\d+)?")
_HEX: Final = re.compile(r"0[xX][0-9A-Fa-f]+")
_ENTRY: Final = re.compile(r'([^\s;"]+)\s*("(?:\\"|[^"])*")')
_STRING: Final = re.compile(r'"(?:\\"|[^"])*"')
_RANGE: Final = re.compile(r"(\d+)\s*-\s*(\d+)")
_MANY_VALUES: Final = 4096
_NUMERIC: Final = frozenset({"INT", "HEX", "FLOAT"})
_LARGEST_NUMBER: Final = 64


def write_references(draft: Draft) -> None:
    """All statements that refer to something, into the new text."""
    for part, statement in draft.statements("BA_DEF_"):
        _definition(draft, part, statement)
    defaults = {_default(draft, part, statement) for part, statement in draft.statements("BA_DEF_DEF_")}
    kind, _ = draft.types.get("VFrameFormat", ("", []))
    if kind in _NUMERIC and "VFrameFormat" not in defaults:
        draft.write('BA_DEF_DEF_ "VFrameFormat" 0;', "", 1)
    writers = {
        "BA_": _attribute,
        "CM_": _comment,
        "VAL_": _values,
        "SIG_VALTYPE_": _float_type,
        "SG_MUL_VAL_": _selector,
        "BO_TX_BU_": _senders,
    }
    for part, statement in draft.statements(*writers):
        writers[statement.kind](draft, part, statement)


def _definition(draft: Draft, part: Part, statement: Statement) -> None:
    name, kind = statement.text("attribute")[1:-1], statement.text("type")
    choices = _STRING.findall(statement.text("values"))
    if kind == "ENUM" and not choices:
        draft.note("unreadable", statement.line, part.name, text=f'BA_DEF_ "{name}" ENUM')
        return
    draft.types[name] = kind, [choice[1:-1] for choice in choices]
    if statement.text("kind") in {"SG_", "EV_"}:
        return
    values = " 0 0" if kind in _NUMERIC else f" {','.join(choices)}" if kind == "ENUM" else ""
    target = f"{statement.text('kind')} " if statement.text("kind") else ""
    draft.write(f'BA_DEF_ {target}"{name}" {kind}{values};', part.name, statement.line)


def _default(draft: Draft, part: Part, statement: Statement) -> str:
    """A default value; returns the attribute's name when it was written."""
    name = statement.text("attribute")[1:-1]
    if name not in draft.types:
        draft.note("undefined-attribute", statement.line, part.name, name=name)
        return ""
    value = statement.text("value")
    if draft.types[name][0] in _NUMERIC:
        number = _value(draft, part, statement, name)
        if number is None:
            return ""
        value = number
    elif not value.startswith('"'):
        value = f'"{value}"'
    draft.write(f'BA_DEF_DEF_ "{name}" {value};', part.name, statement.line)
    return name


def _value(draft: Draft, part: Part, statement: Statement, name: str) -> str | None:
    """An attribute's value for the parser, None when its type does not allow it."""
    value = statement.text("value")
    bare = value[1:-1] if value.startswith('"') else value
    kind, choices = draft.types[name]
    if kind == "STRING":
        return value if value.startswith('"') else f'"{value}"'
    if kind == "ENUM" and bare in choices and not _NUMBER.fullmatch(bare):
        draft.note("number", statement.line, part.name, text=bare, value=choices.index(bare))
        return str(choices.index(bare))
    if _HEX.fullmatch(bare):
        draft.note("number", statement.line, part.name, text=bare, value=int(bare, 16))
        return str(int(bare, 16))
    fits = bool(_NUMBER.fullmatch(bare)) and len(bare) <= _LARGEST_NUMBER and abs(float(bare)) < 1e300
    top = len(choices) if kind == "ENUM" else 16 if name == "VFrameFormat" else None
    if not fits or (top is not None and not 0 <= float(bare) < top):
        draft.note("attribute-value", statement.line, part.name, name=name, value=bare)
        return None
    return bare


def _attribute(draft: Draft, part: Part, statement: Statement) -> None:
    name, line = statement.text("attribute")[1:-1], statement.line
    kind = statement.text("kind")
    if kind == "EV_":
        return
    if name not in draft.types:
        draft.note("undefined-attribute", line, part.name, name=name)
        return
    value = _value(draft, part, statement, name)
    if value is None:
        return
    what = f'BA_ "{name}"'
    if kind == "SG_":
        for _, signal in draft.signal_targets(statement, part.name, what):
            if name == "SystemSignalLongSymbol" and value.strip('"'):
                signal.shown = value[1:-1]
    elif kind == "BO_":
        for message in draft.targets(statement, part.name, what):
            if name == "SystemMessageLongSymbol" and value.strip('"'):
                message.shown = value[1:-1]
            else:
                draft.write(f'BA_ "{name}" BO_ {message.parsed_number} {value};', part.name, line)
    elif kind == "BU_":
        node = draft.nodes.get(statement.text("name"))
        if node is None:
            draft.note("undefined-node", line, part.name, what=what, name=statement.text("name"))
        elif name == "SystemNodeLongSymbol" and value.strip('"'):
            draft.names[node] = value[1:-1]
        else:
            draft.write(f'BA_ "{name}" BU_ {node} {value};', part.name, line)
    else:
        draft.write(f'BA_ "{name}" {value};', part.name, line)


def _comment(draft: Draft, part: Part, statement: Statement) -> None:
    kind, line, text = statement.text("kind"), statement.line, statement.text("text")
    if kind == "BU_":
        node = draft.nodes.get(statement.text("name"))
        if node is None:
            draft.note("undefined-node", line, part.name, what="CM_ BU_", name=statement.text("name"))
        else:
            draft.write(f"CM_ BU_ {node} {text};", part.name, line)
    elif kind == "EV_" or not statement.text("id"):
        return
    elif kind == "SG_" and statement.text("name"):
        for message, signal in draft.signal_targets(statement, part.name, "CM_"):
            draft.write(f"CM_ SG_ {message.parsed_number} {signal.parsed} {text};", part.name, line)
    else:
        messages = draft.targets(statement, part.name, "CM_")
        if messages and kind != "BO_":
            draft.note("comment-target", line, part.name, id=f"0x{messages[0].number & 0x1FFFFFFF:X}")
        for message in messages:
            draft.write(f"CM_ BO_ {message.parsed_number} {text};", part.name, line)


def _values(draft: Draft, part: Part, statement: Statement) -> None:
    if not statement.text("id"):
        return
    entries = []
    for raw, text in _ENTRY.findall(statement.text("entries")):
        if re.fullmatch(r"[-+]?\d{1,20}(?:\.0*)?", raw):
            entries.append(f"{int(raw.partition('.')[0])} {text}")
        elif _HEX.fullmatch(raw) and len(raw) <= _LARGEST_NUMBER:
            entries.append(f"{int(raw, 16)} {text}")
            draft.note("number", statement.line, part.name, text=raw, value=int(raw, 16))
        else:
            draft.note("value-entry", statement.line, part.name, text=f"{raw} {text}")
    for message, signal in draft.signal_targets(statement, part.name, "VAL_"):
        if entries:
            draft.write(f"VAL_ {message.parsed_number} {signal.parsed} {' '.join(entries)};", part.name, statement.line)


def _float_type(draft: Draft, part: Part, statement: Statement) -> None:
    for message, signal in draft.signal_targets(statement, part.name, "SIG_VALTYPE_"):
        draft.write(
            f"SIG_VALTYPE_ {message.parsed_number} {signal.parsed} : {int(statement.text('type'))};",
            part.name,
            statement.line,
        )


def _selector(draft: Draft, part: Part, statement: Statement) -> None:
    line = statement.line
    for message, signal in draft.signal_targets(statement, part.name, "SG_MUL_VAL_"):
        selectors = message.find(statement.text("selector"))
        if not selectors:
            draft.note(
                "undefined-signal",
                line,
                part.name,
                what="SG_MUL_VAL_",
                name=statement.text("selector"),
                id=f"0x{message.number & 0x1FFFFFFF:X}",
            )
            continue
        ranges: Ranges = tuple(
            sorted(
                (min(pair), max(pair))
                for pair in ((int(low), int(high)) for low, high in _RANGE.findall(statement.text("ranges")))
            )
        )
        message.ranges[signal.name] = selectors[0].name, ranges
        shown = ranges
        if sum(high - low + 1 for low, high in ranges) > _MANY_VALUES:
            message.wide[signal.parsed] = ranges
            shown = tuple((low, low) for low, _ in ranges[:1])
        listed = ", ".join(f"{low}-{high}" for low, high in shown)
        draft.write(
            f"SG_MUL_VAL_ {message.parsed_number} {signal.parsed} {selectors[0].parsed} {listed};", part.name, line
        )


def _senders(draft: Draft, part: Part, statement: Statement) -> None:
    names = [name for name in re.split(r"[\s,]+", statement.text("senders")) if name]
    parsed = [draft.name(name, statement.line, part.name) for name in names]
    for message in draft.targets(statement, part.name, "BO_TX_BU_"):
        draft.write(f"BO_TX_BU_ {message.parsed_number} : {','.join(parsed)};", part.name, statement.line)
