"""Data to and from an ECU's memory: download and upload, block by block, with progress.

A library call without a command: software goes into a car only where a workshop's policy grants class D to the guard
and names the routines besides. What has begun and failed is said with how far it came.

Standard: ISO 14229-1:2020 §14 (34 to 37).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diag.errors import BadInput, NegativeResponse, RemoteProtocolError, TransferStopped
from diag.facts import Text
from diag.udsrequests import (
    download_request,
    parse_block_length,
    transfer_exit_request,
    transfer_request,
    upload_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.session import EcuSession
    from diag.udsrequests import MemoryArea

__all__ = ["download", "upload"]

_OVERHEAD: Final = 2
_LONGEST: Final = 4095
_WRONG_COUNTER: Final = 0x73


def _ignore(_done: int, _total: int) -> None:
    """Nobody wants to know."""


def _block_size(payload: bytes, ecu: str) -> int:
    length = parse_block_length(payload)
    if length is None or length <= _OVERHEAD:
        raise RemoteProtocolError(ecu, Text("no usable block length", "未给出可用的块长度"), payload)
    return min(length, _LONGEST) - _OVERHEAD


async def download(
    session: EcuSession,
    area: MemoryArea,
    data: bytes,
    *,
    data_format: int = 0,
    progress: Callable[[int, int], None] = _ignore,
) -> bytes:
    """34, 36 …, 37: writes ``data`` to the area.

    Args:
        session: with the ECU, in a session in which it takes data.
        area: where to; its size is that of the uncompressed data.
        data: as it goes over the wire, already compressed or encrypted as ``data_format`` says.
        data_format: compression in the high half, encryption in the low one.
        progress: told bytes taken by the ECU, and all of them.

    Returns:
        What the ECU says at the end (transferResponseParameterRecord), often a checksum.

    Raises:
        NegativeResponse: the ECU refused to begin.
        TransferStopped: it began and did not end; how far it came is in it.
        RefusedByPolicy: the guard let nothing out.
    """
    if not data or (data_format == 0 and len(data) != area.size):
        raise BadInput(str(len(data)), Text("as many bytes as the area has", "数据须与内存区域等长"))
    begun = (await session.ask(download_request(area, data_format))).whole()
    size = _block_size(begun.payload, begun.ecu)
    done, counter = 0, 1
    while done < len(data):
        block = data[done : done + size]
        answer = await session.ask(transfer_request(counter, block))
        if answer.nrc == _WRONG_COUNTER:
            # The ECU took the block before and its answer was lost: the standard lets the same block be sent again.
            answer = await session.ask(transfer_request(counter, block))
        _check(answer.negative is None and answer.complete, session, done, len(data), answer.nrc)
        done += len(block)
        counter = counter + 1 & 0xFF
        progress(done, len(data))
    return await _finish(session, done, len(data))


async def upload(
    session: EcuSession, area: MemoryArea, *, data_format: int = 0, progress: Callable[[int, int], None] = _ignore
) -> bytes:
    """35, 36 …, 37: reads the area.

    Raises:
        NegativeResponse: the ECU refused to begin.
        TransferStopped: it began and did not end.
        RefusedByPolicy: the guard let nothing out.
    """
    begun = (await session.ask(upload_request(area, data_format))).whole()
    _block_size(begun.payload, begun.ecu)
    found = bytearray()
    counter = 1
    while len(found) < area.size:
        answer = await session.ask(transfer_request(counter))
        block = answer.payload[2:]
        _check(answer.negative is None and answer.complete and bool(block), session, len(found), area.size, answer.nrc)
        found += block
        counter = counter + 1 & 0xFF
        progress(min(len(found), area.size), area.size)
        if data_format:
            break  # how much the ECU sends in compressed form only it knows: the caller goes on by what came
    await _finish(session, len(found), area.size)
    return bytes(found)


def _check(is_good: bool, session: EcuSession, done: int, total: int, nrc: int | None) -> None:
    if not is_good:
        raise TransferStopped(session.target.address, done, total, nrc)


async def _finish(session: EcuSession, done: int, total: int) -> bytes:
    try:
        return (await session.ask(transfer_exit_request())).whole().payload[1:]
    except NegativeResponse as refusal:
        raise TransferStopped(session.target.address, done, total, refusal.nrc) from refusal
