"""Ground truth beside the bus: what physically was, written to Parquet, read by evaluation only.

One row per sample: car time, cell voltages at the cells' own terminals (before wires, converters and noise), true
charge, temperatures, currents, insulation, and which faults had begun. Nothing of this reaches a bus or an answer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Self

from virtualbus.fleet import label_of

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from virtualbus.car import Car

__all__ = ["Tap"]

_BLOCK_ROWS: Final = 2_000


class Tap:
    """Writes a Parquet file; closed with ``with`` or :meth:`close`, before which the file is not whole.

    Args:
        path: the file; its folder must exist.
        car: whose truth it is.

    Raises:
        ImportError: pyarrow is not installed.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, car: Car) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._pa = pa
        self._car = car
        fields = [
            pa.field("t_s", pa.float64()),
            pa.field("cell_v", pa.list_(pa.float64())),
            pa.field("soc", pa.list_(pa.float64())),
            pa.field("module_c", pa.list_(pa.float64())),
            *(pa.field(name, pa.float64()) for name in _NUMBERS),
            pa.field("faults_begun", pa.list_(pa.string())),
        ]
        told = {
            "vin": car.vin,
            "vehicle": car.vehicle.name,
            "seed": car.seed,
            "capacity_ah": car.plant.pack.capacity_ah.tolist(),
            "leak_ohm": car.design.spread.leak_ohm.tolist(),
            "labels": label_of(car),
        }
        self._schema = pa.schema(fields, metadata={b"huizhen.truth/1": json.dumps(told).encode()})
        self._writer: Any = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def sample(self) -> None:
        """One row of this moment."""
        car, plant = self._car, self._car.plant
        begun = [fault.kind.name for fault in car.scenario.faults if fault.from_s is None or fault.from_s <= plant.t_s]
        values = (
            plant.pack.voltage_v, plant.pack.current_a, plant.link.volts, plant.low.volts, plant.insulation_ohm,
            plant.speed_kmh, plant.odometer_km, plant.motor_c, plant.inverter_c, plant.loops.battery_c,
            plant.loops.drive_c, plant.ambient_c,
        )  # fmt: skip
        self._rows.append(
            {
                "t_s": plant.t_s,
                "cell_v": plant.pack.terminal_v,
                "soc": plant.pack.soc,
                "module_c": plant.pack.temperature_c,
                "faults_begun": begun,
                **dict(zip(_NUMBERS, values, strict=True)),
            }
        )
        if len(self._rows) >= _BLOCK_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()

    def close(self) -> None:
        """Writes the rest and the end of the file."""
        self._flush()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_NUMBERS: Final = (
    "pack_v", "current_a", "link_v", "low_v", "insulation_ohm", "speed_kmh", "odometer_km", "motor_c", "inverter_c",
    "coolant_c", "drive_coolant_c", "ambient_c",
)  # fmt: skip
