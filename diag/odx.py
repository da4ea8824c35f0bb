"""Names and values from a maker's ODX description (.pdx, .odx-d), read by odxtools (extra ``odx``).

What an ECU's identifiers are called and how their bytes become values, and what its codes mean. A description is of one
maker's cars; where it says nothing, nothing is changed.

Standard: ISO 22901-1 (ODX), read by odxtools; clauses unverified.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from diag.errors import BadInput
from diag.facts import Reading, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.facts import Dtc

__all__ = ["OdxDescription", "load_odx"]

_READ_DATA: Final = 0x22
_MOST_VALUES: Final = 256


@dataclass(slots=True)
class OdxDescription:
    """What a description says.

    Attributes:
        name: of the file.
        dids: data identifier -> what it is.
        dtcs: code as three bytes -> its meaning.
        layers: names of the ECU descriptions in it.
    """

    name: str
    dids: dict[int, str] = field(default_factory=dict)
    dtcs: dict[int, str] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    _services: dict[int, Any] = field(default_factory=dict)
    _database: Any = None
    """Kept because odxtools refers to it weakly."""

    def with_text(self, dtc: Dtc) -> Dtc:
        """The code with the maker's text, where the description has one; the standard's own texts stay."""
        if dtc.text_source == "generic" or len(dtc.raw) < 3:
            return dtc
        text = self.dtcs.get(_number_of(dtc))
        if text is None:
            return dtc
        return replace(dtc, text=Text(text, text), text_source=f"odx:{self.name}")

    def decode(self, did: int, payload: bytes) -> tuple[Reading, ...]:
        """The values of a positive answer ``62 did data``; empty where the description has no such identifier.

        Args:
            did: asked for alone.
            payload: from the service byte on.
        """
        service = self._services.get(did)
        if service is None:
            return ()
        try:
            values = service.decode_message(payload).param_dict
        except Exception as error:  # noqa: BLE001 - whatever a description makes odxtools do, the raw bytes remain
            why = str(error)[:120]
            return (Reading(self.dids[did], None, "", payload[3:], Text(f"{self.dids[did]} ({why})", self.dids[did])),)
        return tuple(_flat(values, self.dids[did], payload[3:]))


def _flat(values: Any, name: str, raw: bytes) -> Iterator[Reading]:
    """Every plain value of a decoded answer; service and identifier are left out."""
    for number, (key, value) in enumerate(_pairs(values, "")):
        if number >= _MOST_VALUES:
            return
        shown = value.hex().upper() if isinstance(value, (bytes, bytearray)) else value
        if not isinstance(shown, (int, float, str)):
            shown = getattr(shown, "short_name", None) or str(shown)
        yield Reading(key, shown, "", raw, Text(f"{name}: {key}", f"{name}：{key}"))


def _pairs(values: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict):
        for key, value in values.items():
            if not prefix and key.lower() in {"sid", "did", "recorddataidentifier", "dataidentifier"}:
                continue
            yield from _pairs(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(values, (list, tuple)):
        for number, value in enumerate(values, start=1):
            yield from _pairs(value, f"{prefix}[{number}]")
    else:
        yield prefix, values


def _number_of(dtc: Dtc) -> int:
    """The code's three bytes; the record may have severity in front and status behind."""
    letter = "PCBU".index(dtc.code[0]) << 22 if dtc.code[:1] in "PCBU" else 0
    try:
        return letter | int(dtc.code[1:5], 16) << 8 | int(dtc.failure_type or "00", 16)
    except ValueError:
        return -1


def load_odx(path: str | Path) -> OdxDescription:
    """Reads a description.

    Raises:
        BadInput: odxtools is not installed, or cannot read the file.
    """
    place = Path(path)
    if importlib.util.find_spec("odxtools") is None:
        why = Text("odxtools is missing: pip install 'huizhen[odx]'", "缺少 odxtools：pip install 'huizhen[odx]'")
        raise BadInput(str(path), why)
    if not place.is_file():
        raise BadInput(str(path), Text("there is no such file", "没有该文件"))
    import odxtools

    try:
        database = odxtools.load_file(str(place))
        return _description(place.name, database)
    except Exception as error:
        words = str(error)[:200] or type(error).__name__
        raise BadInput(str(path), Text(f"no usable ODX: {words}", f"不是可用的 ODX：{words}")) from error


def _description(name: str, database: Any) -> OdxDescription:
    found = OdxDescription(name, layers=tuple(layer.short_name for layer in database.diag_layers), _database=database)
    for layer in database.diag_layers:
        for service in _services_of(layer):
            prefix = bytes(service.request.coded_const_prefix()) if service.request is not None else b""
            if len(prefix) >= 3 and prefix[0] == _READ_DATA:
                did = prefix[1] << 8 | prefix[2]
                found.dids.setdefault(did, service.long_name or service.short_name)
                found._services.setdefault(did, service)  # noqa: SLF001 - of this module's own class
        spec = getattr(layer, "diag_data_dictionary_spec", None)
        for dop in getattr(spec, "dtc_dops", ()) or ():
            for dtc in dop.dtcs:
                text = getattr(dtc.text, "text", dtc.text)
                if text:
                    found.dtcs.setdefault(int(dtc.trouble_code), " ".join(str(text).split()))
    return found


def _services_of(layer: Any) -> Iterable[Any]:
    return (service for service in layer.services if hasattr(service, "request"))
