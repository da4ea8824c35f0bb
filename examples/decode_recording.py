"""Decodes a recording to arrays and data frames; without a recording, one is listened from a simulated car.

    python examples/decode_recording.py                      # listens to the simulated car for two seconds
    python examples/decode_recording.py drive.mf4 car.dbc    # any format that `huizhen log info` knows

pandas is optional: ``pip install 'huizhen[pandas]'``.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.util import find_spec

import numpy as np

import dbc
import diag
import virtualbus
from dbc.files import EV400


async def two_seconds() -> dbc.FrameTable:
    """What a simulated car sends by itself."""
    with virtualbus.running("weak-cell") as simulated:
        async with diag.connect(simulated) as car:
            return await diag.listen(car, 2.0)


def main(words: list[str]) -> dbc.Decoded:
    """Decodes, and prints each signal's range."""
    decoded = dbc.decode(*words) if words else dbc.decode(asyncio.run(two_seconds()), EV400, start_ns=0)
    print(f"{decoded.decoded_frames} of {decoded.frames} frames, {len(decoded.messages)} messages")
    for name in decoded.signals[:12]:
        column = decoded[name]
        values = column.values[column.valid]
        if len(values):
            print(f"  {name:32} {np.min(values):10.3f} … {np.max(values):10.3f} {column.signal.unit}")
    if not words:
        arrays = decoded.to_numpy("PackVoltage", "PackCurrent")
        power_kw = arrays["PackVoltage"] * arrays["PackCurrent"] / 1000
        print(f"  mean power {np.nanmean(power_kw):.2f} kW over {len(power_kw)} frames")
        if find_spec("pandas") is not None:
            print(decoded.to_pandas("PackVoltage", "PackCurrent", "VehicleSpeed").describe())
    return decoded


if __name__ == "__main__":
    main(sys.argv[1:])
