"""Scans a car and says what is wrong with it; without a car, a simulated one.

    python examples/scan_car.py                                  # the simulated car
    python examples/scan_car.py slcan /dev/ttyACM0 500000        # a CANable
    python examples/scan_car.py elm327:/dev/ttyUSB0              # an ELM327

In a notebook, leave ``asyncio.run`` away: ``await main([])``.
"""

from __future__ import annotations

import asyncio
import sys

import diag
import virtualbus


async def read_all(car: diag.Link) -> diag.VehicleReport:
    """Scans the car, reads two values, prints what matters."""
    report = await diag.scan(car, progress=lambda stage: print(f"… {stage.en}"))
    readings = await diag.read(car, "F190", "5B")  # the VIN, the battery's charge
    print(f"{report.vehicle.make or 'a car'}, {len(report.ecus)} ECUs, simulated: {report.simulated}")
    for dtc in report.dtcs:
        print(f"  {dtc.display:10} {dtc.ecu}  {dtc.text.en if dtc.text else ''}")
    for finding in report.findings:
        print(f"  [{finding.severity}] {finding.title.en} / {finding.title.zh}")
    for one in readings:
        for reading in one.readings:
            if reading.value is not None:
                print(f"  {one.ecu} {one.wanted.name}: {reading.name} {reading.value} {reading.unit}")
    if report.battery is not None and report.battery.weakest_cell is not None:
        print(f"  weakest cell: {report.battery.weakest_cell} of {len(report.battery.cell_v)}")
    return report


async def main(words: list[str]) -> diag.VehicleReport:
    """Connects to what the words name."""
    if not words:
        with virtualbus.running("weak-cell") as simulated:
            async with diag.connect(simulated) as car:
                return await read_all(car)
    if len(words) == 1:
        async with diag.connect(words[0]) as adapter:
            return await read_all(adapter)
    async with diag.connect(words[0], words[1], int(words[2]) if len(words) > 2 else None) as bus:
        return await read_all(bus)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
