"""One fault told several times becomes one record: trouble codes of all lists and standards together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from diag.facts import Dtc, DtcKind

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["merge_dtcs"]


def _unite(one: Dtc, other: Dtc) -> Dtc:
    """Two records of the same fault as one; the first with a status keeps its bytes."""
    main, side = (one, other) if one.status or not other.status else (other, one)
    kinds = {*main.kind, *side.kind}
    counts = [count for count in (main.occurrences, side.occurrences) if count is not None]
    return replace(
        main,
        kind=tuple(kind for kind in DtcKind if kind in kinds),
        text=main.text or side.text,
        text_source=main.text_source if main.text else side.text_source,
        occurrences=max(counts, default=None),
        severity=min(main.severity, side.severity, key=lambda severity: severity.rank),
    )


def merge_dtcs(dtcs: Iterable[Dtc]) -> tuple[Dtc, ...]:
    """One record per ECU, code and failure type, the most dangerous first.

    An OBD code of two bytes and a UDS code with failure type of the same ECU are one fault told twice: the record
    with the failure type stays and takes the kinds of the other. Where one OBD code meets several failure types, those
    that fail, or are pending or confirmed, take them.
    """
    records: dict[tuple[str | None, str, str | None, bytes], Dtc] = {}
    for dtc in dtcs:
        # Legacy J1939 codes whose SPN cannot be told are told apart by their bytes.
        key = (dtc.ecu, dtc.code, dtc.failure_type, dtc.raw[:3] if dtc.fmi is not None and dtc.spn is None else b"")
        records[key] = _unite(records[key], dtc) if key in records else dtc
    bare = [key for key, dtc in records.items() if dtc.failure_type is None and dtc.fmi is None]
    for key in bare:
        typed = [other for other in records if other[:2] == key[:2] and other[2] is not None]
        failing = [other for other in typed if records[other].is_fault]
        for other in failing or typed:
            records[other] = _unite(records[other], records[key])
        if typed:
            del records[key]
    return tuple(sorted(records.values(), key=_danger))


def _danger(dtc: Dtc) -> tuple[int, bool, bool, str, str]:
    failing = bool(dtc.status and dtc.status.failing_now)
    stored = DtcKind.STORED in dtc.kind or DtcKind.PERMANENT in dtc.kind
    return (dtc.severity.rank, not failing, not stored, dtc.ecu or "", dtc.display)
