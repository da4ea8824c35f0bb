"""elm327-emulator as the other end: an independent chip with a real hybrid's answers (extra ``test-nc``)."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from consult.recordcheck import check_record
from consult.recording import Recording
from consult.roomkeys import FOLDER, KeyStore
from diag.carscan import scan
from diag.elm327 import open_elm327

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("obd", reason="python-OBD is optional")
if importlib.util.find_spec("elm") is None:
    pytest.skip("elm327-emulator is not installed (extra test-nc)", allow_module_level=True)

PLANT = """
import sys
import elm.obd_message as messages
messages.DTC_STORED += sys.argv.pop(1).split(",")
from elm.__main__ import main
main()
"""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[int]:
    port = _free_port()
    words = ["0AA6,0301,C100,0B3C", "-n", str(port), "-s", "car", "-b", str(tmp_path / "out")]
    with subprocess.Popen(
        [sys.executable, "-c", PLANT, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    ) as process:
        try:
            until = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < until, "the emulator does not listen"
                    time.sleep(0.1)
            yield port
        finally:
            process.kill()


def _dictionary() -> str:
    spec = importlib.util.find_spec("elm.obd_message")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


async def test_a_vin_of_its_dictionary_its_codes_and_no_freeze_frame(emulator: int) -> None:
    async with await open_elm327(f"socket://127.0.0.1:{emulator}", "38400") as link:
        report = await scan(link)
    dictionary = _dictionary()
    vin = report.vehicle.vin
    assert vin is not None
    assert len(vin) == 17
    assert "PA('01 " + " ".join(f"{byte:02X}" for byte in vin.encode()) + "')" in dictionary
    assert {dtc.display for dtc in report.dtcs} == {"P0AA6", "P0301", "U0100", "P0B3C"}
    assert report.freeze_frames == ()


def test_a_room_of_a_car_behind_it(emulator: int, tmp_path: Path) -> None:
    rooms = tmp_path / "rooms"
    env = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_DATA_HOME": str(tmp_path / "data")}
    words = ["consult", "open", "--adapter", f"elm327:127.0.0.1:{emulator}", "--data", str(rooms)]
    done = subprocess.run(
        [sys.executable, "-m", "huizhen", *words, "--duration", "6", "--listen", "0.1", "--lang", "en", "--json"],
        env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = next(rooms.glob("*.room"))
    keys = KeyStore(rooms / FOLDER, master_file=tmp_path / "config" / "huizhen" / "room-master.key")
    with Recording(record, keys) as recording:
        ((_, told),) = recording.documents("report")
        ((_, streams),) = recording.documents("schemas")
        (span,) = recording.spans()
    assert {"P0AA6", "P0301"} <= {dtc["code"] for dtc in told["dtcs"]}
    names = [signal["name"] for signal in streams["schemas"][0]["signals"]]
    assert {"vehicleSpeed", "engineSpeed"} <= set(names), names
    assert span.next - span.first >= 5
    check = check_record(record, keys=keys)
    assert (check.faults, check.is_readable) == ((), True)
