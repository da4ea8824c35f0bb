"""Lengths of the values in a snapshot, learned from the ECU itself where no description gives them.

Standard: ISO 14229-1:2020 §12.3 (19 04), §11.2 (22).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diag.dtc import find_unknown_did, parse_uds_dtcs
from diag.errors import NoAnswer
from diag.uds import DID_LENGTHS, parse_data

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.uds import UdsSession

__all__ = ["learn_lengths"]

_MOST: Final = 32
"""Identifiers whose length one ECU is asked for."""


async def learn_lengths(session: UdsSession, payload: bytes, lengths: dict[int, int]) -> dict[int, int]:
    """Asks the ECU for each identifier of a snapshot whose length nobody knows: its own answer shows the length.

    Args:
        session: with the ECU.
        payload: its answer to 19 04.
        lengths: those learned so far; what is learned now is added.

    Returns:
        The lengths to cut this answer with: the learned ones only where all records then end exactly, because an
        ECU may store fewer bytes in a snapshot than it tells live. Else the record stays raw from there on.
    """
    while len(lengths) < _MOST:
        did = find_unknown_did(payload, {**DID_LENGTHS, **lengths})
        if did is None:
            break
        try:
            answer = await session.read_data(did)
        except NoAnswer:
            break
        if answer.negative is not None or not answer.complete:
            break
        lengths[did] = len(parse_data(answer.payload, [did]).get(did, b""))
    return lengths if _cuts_exactly(payload, lengths) else {}


def _cuts_exactly(payload: bytes, lengths: Mapping[int, int]) -> bool:
    """Whether every record of a snapshot answer ends where the next begins, all its values found."""
    if payload[:2] != b"\x59\x04":
        return True
    records = parse_uds_dtcs(payload, did_lengths={**DID_LENGTHS, **lengths}).snapshots
    whole = all(len(record.raw) > 1 and len(record.values) == (record.raw[1] or 0x100) for record in records)
    return whole and sum(len(record.raw) for record in records) == len(payload) - 6
