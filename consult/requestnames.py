"""What a request is called where people decide about it: with the data that it names, not the service alone. No I/O."""

from __future__ import annotations

from typing import Final

from diag.facts import Text
from diag.uds import IDENTIFIERS

__all__ = ["name_of_request"]

_SHOWN: Final = 3


def name_of_request(data: bytes, service: Text) -> Text:
    """``read data by identifier: VIN``; the service's own name where no standard names the data.

    Standard: ISO 14229-1:2020 §11.2 (22), §11.7 (2E), Annex C (identifiers).
    """
    end = {0x22: len(data), 0x2E: 3}.get(data[0], 0) if data else 0
    dids = [int.from_bytes(data[at : at + 2], "big") for at in range(1, end - 1, 2)]
    if not any(did in IDENTIFIERS for did in dids):
        return service
    texts = [IDENTIFIERS[did].text if did in IDENTIFIERS else Text(f"0x{did:04X}", f"0x{did:04X}") for did in dids]
    shown, more = texts[:_SHOWN], "…" if len(texts) > _SHOWN else ""
    return Text(
        f"{service.en}: {', '.join(one.en for one in shown)}{more}",
        f"{service.zh}：{'、'.join(one.zh for one in shown)}{more}",
    )
