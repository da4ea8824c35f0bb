"""OBD-II parameters as readings: the datasheet of ``dbc.j1979`` with names in both languages.

Standard: SAE J1979-DA:2022 (values), ISO 15031-5:2015 §8.1 (layout).
"""

from __future__ import annotations

from dbc.j1979 import PID_LENGTHS, PIDS
from diag.facts import Reading, Text

__all__ = ["PIDS", "PID_LENGTHS", "decode_pid"]


def decode_pid(number: int, data: bytes) -> tuple[Reading, ...]:
    """The values of one PID; of a PID without formula its bytes alone, as a reading without value.

    Args:
        number: of service 01 or 02, or the low byte of a data identifier F4xx.
        data: what followed it in the answer, without it.
    """
    pid = PIDS.get(number)
    if pid is None:
        return (Reading(f"pid{number:02X}", None, "", data),)
    readings = []
    for field in pid.fields:
        value, raw, text = field.decode(data)
        readings.append(Reading(field.name, value, field.unit, raw, Text(*text)))
    return tuple(readings)
