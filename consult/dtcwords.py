"""Fault codes as they are told while a room is open: checked by the service, compared by the agent. No I/O."""

from __future__ import annotations

from typing import Any, Final

from consult.errors import MessageBroken
from diag.facts import Text

__all__ = ["changed_codes", "check_dtcs"]

_MAX_DTCS: Final = 2_000
_MAX_CODE_CHARS: Final = 64


def check_dtcs(body: dict[str, Any]) -> dict[str, Any]:
    """``{"dtcs": [DTC], "changed": [display]}`` of an agent's ``dtcs`` message, without anything else in it.

    Raises:
        MessageBroken: it is something else.
    """
    dtcs, changed = body.get("dtcs"), body.get("changed")
    wrong = MessageBroken(Text("field body of dtcs", "dtcs 的字段 body"))
    if not isinstance(dtcs, list) or not isinstance(changed, list) or max(len(dtcs), len(changed)) > _MAX_DTCS:
        raise wrong
    if not all(isinstance(one, str) and len(one) <= _MAX_CODE_CHARS for one in changed):
        raise wrong
    for dtc in dtcs:
        if not isinstance(dtc, dict) or not all(isinstance(dtc.get(key), str) for key in ("code", "display", "raw")):
            raise wrong
        if not isinstance(dtc.get("ecu"), (str, type(None))) or not isinstance(dtc.get("status"), (dict, type(None))):
            raise wrong
    return {"dtcs": dtcs, "changed": changed}


def changed_codes(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    """The displays of codes that came, went, or have another status or kind than before; in order of the new list."""

    def state(dtc: dict[str, Any]) -> tuple[Any, ...]:
        status = dtc.get("status")
        return (status.get("mask") if isinstance(status, dict) else None, tuple(dtc.get("kind") or ()))

    old = {(dtc["ecu"], dtc["display"]): state(dtc) for dtc in before}
    new = {(dtc["ecu"], dtc["display"]): state(dtc) for dtc in after}
    told = [key for key in new if old.get(key) != new[key]] + [key for key in old if key not in new]
    return list(dict.fromkeys(display for _, display in told))
