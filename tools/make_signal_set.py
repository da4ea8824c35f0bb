"""Writes the signal set of the simulated cars: what their BMS tells when it is asked.

    python tools/make_signal_set.py

The format is that of OBDb, version 3. The identifiers are those of ``virtualbus/bms.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PLACE = Path(__file__).parents[1] / "dbc" / "files" / "huizhen_sim.json"
CELLS, PROBES, PER_ANSWER = 256, 64, 32


def signal(name: str, title: str, path: str, bix: int, bits: int, unit: str, **rest: Any) -> dict[str, Any]:
    metric = rest.pop("metric", None)
    found = {"id": name, "path": path, "fmt": {"bix": bix, "len": bits, "unit": unit, **rest}, "name": title}
    return found | ({"suggestedMetric": metric} if metric else {})


def command(did: int, signals: list[dict[str, Any]]) -> dict[str, Any]:
    return {"hdr": "7E4", "rax": "7EC", "cmd": {"22": f"{did:04X}"}, "freq": 1, "signals": signals}


def main() -> None:
    pack = [
        signal(
            "SIM_PACK_V",
            "HV battery voltage",
            "Battery",
            0,
            16,
            "volts",
            div=10,
            max=2000,
            metric="tractionBatteryVoltage",
        ),
        signal(
            "SIM_PACK_A",
            "HV battery current",
            "Battery",
            16,
            16,
            "amps",
            div=10,
            sign=True,
            max=2000,
            min=-2000,
            metric="tractionBatteryCurrent",
        ),
        signal("SIM_SOC", "HV battery charge", "Battery", 32, 16, "percent", div=10, max=100, metric="stateOfCharge"),
    ]
    commands = [command(0x0113, pack)]
    commands.append(
        command(0x0111, [signal("SIM_RISO", "Isolation resistance", "Battery", 0, 16, "kiloohms", max=65535)])
    )
    for first in range(1, CELLS + 1, PER_ANSWER):
        cells = [
            signal(
                f"SIM_CELL_{n:03d}",
                f"Cell {n} voltage",
                "Battery.Modules",
                16 * (n - first),
                16,
                "volts",
                div=1000,
                max=10,
            )
            for n in range(first, first + PER_ANSWER)
        ]
        commands.append(command(0x0120 + (first - 1) // PER_ANSWER, cells))
    for first in range(1, PROBES + 1, PER_ANSWER):
        probes = [
            signal(
                f"SIM_TEMP_{n:02d}",
                f"Module {n}",
                "Battery.Modules",
                8 * (n - first),
                8,
                "celsius",
                add=-40,
                max=215,
                min=-40,
            )
            for n in range(first, first + PER_ANSWER)
        ]
        commands.append(command(0x0130 + (first - 1) // PER_ANSWER, probes))
    PLACE.write_text(json.dumps({"commands": commands}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
