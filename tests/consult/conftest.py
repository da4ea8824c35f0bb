"""A car whose battery really reacts to its current, a service, and a real browser."""

import asyncio
import contextlib
import functools
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from argon2 import PasswordHasher

from consult.joining import joined_room
from consult.service import ServiceConfig, running_service
from diag.facts import (
    BatteryState,
    Dtc,
    DtcKind,
    DtcStatus,
    EcuRole,
    Evidence,
    Finding,
    FreezeFrame,
    Reading,
    Severity,
    Text,
)
from diag.samples import SampleBlock, SignalInfo, StreamSchema
from diag.vehiclereport import Ecu, LinkInfo, Vehicle, VehicleReport

CELLS = 96
WEAK = 16
VIN = "LHZEV4001N0001234"
PATIENCE_S = 120
"""How long a test waits for what must come. It costs nothing where it comes; a busy machine may take its time."""
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-loopback-in-peer-connection",
)


class SyntheticCar:
    """Cell voltages that follow the current through their resistance; one cell has three times the others'."""

    def __init__(self, *, period_s=0.05, count=None, spare=0):
        self.period_s = period_s
        self.count = count
        self.spare = spare
        cells = [SignalInfo(f"CellVoltage_{n:03d}", "V", "BMS_Cells", 2.0, 4.5) for n in range(1, CELLS + 1)]
        others = [
            SignalInfo("PackVoltage", "V", "BMS_Pack"),
            SignalInfo("PackCurrent", "A", "BMS_Pack"),
            SignalInfo("StateOfCharge", "%", "BMS_Pack"),
            SignalInfo("InsulationResistance", "kOhm", "BMS_Isolation"),
            SignalInfo("VehicleSpeed", "km/h", "VCU_Drive"),
            SignalInfo("ChargerTemp", "degC", "OBC_State"),
        ]
        filling = [SignalInfo(f"Spare_{n}", "") for n in range(spare)]
        self.schema = StreamSchema(1, (*cells, *others, *filling))
        self.sent = []

    def sample(self, tick):
        """The values at one tick; the charger sleeps, so its temperature is not there."""
        t_s = tick * self.period_s
        current_a = 60 * np.sin(t_s * 0.9) + 25 * np.sin(t_s * 3.1)
        spread = np.linspace(-0.003, 0.003, CELLS)
        resistance = np.full(CELLS, 0.8e-3)
        resistance[WEAK] = 2.4e-3
        cells = 3.68 - 0.00002 * t_s + spread - current_a * resistance
        cells[WEAK] -= 0.03
        rest = [
            cells.sum(),
            current_a,
            62.4 - t_s * 0.001,
            1850 + 8 * np.sin(t_s),
            max(0.0, 42 + 10 * np.sin(t_s * 0.4)),
            0,
        ]
        values = np.concatenate([cells, rest, np.zeros(self.spare)]).astype(np.float32)
        valid = np.ones(len(values), dtype=np.bool_)
        valid[CELLS + 5] = False
        return values, valid

    async def blocks(self):
        """The live stream in real time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        tick = 0
        while self.count is None or tick < self.count:
            values, valid = self.sample(tick)
            block = SampleBlock(time.time_ns(), values, valid)
            self.sent.append(block)
            yield block
            tick += 1
            await asyncio.sleep(max(0.0, began + tick * self.period_s - loop.time()))


def make_report(*, simulated=True, vin=VIN):
    """The report that a scan of this car gives, with the ranked cases that the application adds."""
    values, _ = SyntheticCar().sample(0)
    cells = tuple(float(v) for v in values[:CELLS])
    weak = Text("cell 17 is 30 mV below its neighbours", "17 号单体比相邻单体低 30 mV")
    report = VehicleReport(
        started_ns=1_760_000_000_000_000_000,
        duration_s=2.4,
        complete=True,
        simulated=simulated,
        link=LinkInfo("virtual", "demo", 500_000, simulated),
        vehicle=Vehicle(vin=vin, vin_valid=True, make="Huizhen", model="EV400", model_year=2022),
        ecus=(
            Ecu("0x7E8", "0x7E0", "VCU", EcuRole.VCU, "obd2+uds", {"vehicleManufacturerECUSoftwareVersion": "V3.2.0"}),
            Ecu(
                "0x7EC",
                "0x7E4",
                "BMS",
                EcuRole.BMS,
                "uds",
                {"vin": vin, "vehicleManufacturerECUSoftwareVersion": "B1.8.4"},
            ),
            Ecu("0x7ED", "0x7E5", "OBC", EcuRole.CHARGER, "uds", {}),
        ),
        dtcs=(
            Dtc(
                "P0DE6",
                bytes.fromhex("0DE6162F"),
                "0x7EC",
                "16",
                DtcStatus(0x2F),
                (DtcKind.STORED,),
                text=Text("Battery cell voltage low", "单体电压过低"),
                text_source="generic",
                severity=Severity.SOON,
            ),
            Dtc(
                "P0BBD",
                bytes.fromhex("0BBD8528"),
                "0x7EC",
                "85",
                DtcStatus(0x28),
                (DtcKind.STORED,),
                text=Text("Battery cell voltage spread too large", "单体压差过大"),
                text_source="generic",
                severity=Severity.MONITOR,
            ),
        ),
        freeze_frames=(
            FreezeFrame(
                "0x7EC",
                "P0DE6-16",
                1,
                bytes.fromhex("0E600A"),
                (Reading("PackCurrent", 148.2, "A"), Reading("LowestCellVoltage", 3.302, "V")),
            ),
        ),
        battery=BatteryState(
            cell_v=cells,
            pack_v=float(values[CELLS]),
            current_a=0.0,
            soc_percent=62.4,
            insulation_kohm=1850.0,
            weakest_cell=17,
            weakest_why=weak,
            source="broadcast:huizhen_ev400",
        ),
        findings=(
            Finding(
                "battery.cell-weak",
                Severity.SOON,
                Text("One cell is weak: number 17", "17 号单体偏弱"),
                (Evidence("signal", "CellVoltage_017", weak, -30.0, "mV"),),
                (
                    Text("Switch off and wait 10 minutes before opening the pack", "断电并等待 10 分钟后再打开电池包"),
                    Text("Wear class 0 gloves", "佩戴 0 级绝缘手套"),
                ),
            ),
        ),
    )
    body = report.to_json()
    body["cases"] = {
        "schema": "huizhen.cases/1",
        "verdict": "direct",
        "matches": [
            {
                "case_id": "weak-cell",
                "source_id": "hz-0001",
                "title": {"en": "Replace the module with the weak cell", "zh": "更换偏弱单体所在模组"},
                "p": 0.87,
                "interval": [0.7, 0.95],
                "because": [
                    {"en": "P0DE6-16 in the BMS", "zh": "BMS 存有 P0DE6-16"},
                    {"en": "cell 17 low under load", "zh": "17 号单体带载电压低"},
                ],
                "against": [],
                "fix": {"en": "Replace the module, then balance", "zh": "更换模组后均衡"},
            },
            {
                "case_id": "sampling-line",
                "source_id": "hz-0002",
                "title": {"en": "Repair the cell sampling line", "zh": "修复单体采样线"},
                "p": 0.08,
                "interval": [0.02, 0.2],
                "because": [],
                "against": [{"en": "the neighbours do not move against it", "zh": "相邻单体没有反向变化"}],
                "fix": {"en": "Repair the line", "zh": "修复采样线"},
            },
        ],
        "next_test": {"title": {"en": "Load test at 100 A for 10 s", "zh": "100 A 带载 10 秒测试"}},
    }
    return body


@pytest.fixture(scope="session", autouse=True)
def light_passwords():
    """argon2 with little work: what is slow on purpose would cost most sign-ins of the tests half a second.

    test_accounts.py tries it whole.
    """
    with pytest.MonkeyPatch.context() as patch:
        light = functools.partial(PasswordHasher, time_cost=1, memory_cost=64, parallelism=1)
        patch.setattr("consult.accounts.PasswordHasher", light)
        yield


@pytest.fixture
def car():
    return SyntheticCar()


@pytest.fixture
def wide_car():
    """Fast and wide: 16 kB, five hundred times a second."""
    return SyntheticCar(period_s=0.002, spare=3800)


@pytest.fixture
def report():
    return make_report()


@pytest.fixture
def config(tmp_path):
    return ServiceConfig(data=tmp_path / "rooms")


@pytest.fixture
async def service(config):
    async with running_service(config) as running:
        yield running


@contextlib.asynccontextmanager
async def agent_in_room(service, car, report, *, server=None, name="王师傅", on_event=lambda _: None):
    """The real agent, streaming until the block ends."""
    invite = service.invite_technician()
    async with joined_room(server or service.url, invite.code, name=name, on_event=on_event) as agent:
        run = asyncio.create_task(agent.run(report, car.schema, car.blocks()))
        try:
            yield agent
        finally:
            agent.leave()
            try:
                async with asyncio.timeout(120):
                    await run
            finally:
                run.cancel()


@pytest.fixture
def in_room():
    return agent_in_room


async def wait_until(condition, timeout_s=PATIENCE_S):
    """Waits in real time for something that real parts bring about."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process or object
            await asyncio.sleep(0.02)


@pytest.fixture
def eventually():
    return wait_until


@pytest.fixture
async def browser(tmp_path):
    """A fresh Chromium profile that sees only this machine."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    playwright = pytest.importorskip("playwright.async_api")
    async with playwright.async_playwright() as driver:
        context = await driver.chromium.launch_persistent_context(
            str(tmp_path / "profile"),
            executable_path=CHROMIUM,
            headless=True,
            args=list(FLAGS),
            viewport={"width": 1280, "height": 800},
            locale="zh-CN",
            accept_downloads=True,
        )
        context.set_default_timeout(PATIENCE_S * 1000)
        try:
            yield context
        finally:
            await context.close()


@pytest.fixture
def shots():
    """Where pictures of the page go when somebody wants to look at them: the folder in HUIZHEN_SHOTS."""
    import os

    folder = os.environ.get("HUIZHEN_SHOTS")
    return Path(folder) if folder else None
