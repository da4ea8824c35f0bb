"""Faults of cells, joints, sense wires, probes, balancing, and of the BMS's program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from virtualbus.chemistry import CELL_TYPES
from virtualbus.design import BmsSoftware
from virtualbus.faults.kinds import CELL_NAMES, kind, number, place, text

if TYPE_CHECKING:
    import numpy as np

    from virtualbus.design import Design


@kind(
    "weak-cell",
    ("a worn cell: less capacity, more resistance, a leak inside", "单体老化：容量下降、内阻升高、自放电"),
    ("one cell has aged far ahead of the others", "某一单体老化明显超前"),
    ("replace the module, then balance the pack", "更换模组后均衡电池包"),
    "soon",
    cell=place("cell"),
    capacity=number(0.3, 1.0, 0.92, 0.777),
    resistance=number(1.0, 6.0, 1.4, 2.55),
    leak_ohm=number(20.0, 2000.0, 150.0, 57.0),
)
def weak_cell(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Changes capacity, resistance and leak of one cell."""
    at = s.cell - 1
    design.spread.capacity[at] *= s.capacity
    design.spread.resistance[at] *= s.resistance
    design.spread.leak_ohm[at] = s.leak_ohm


@kind(
    "low-capacity-cell",
    ("a cell with less capacity", "单体容量偏低"),
    ("one cell has lost capacity: low when empty, high when full", "某一单体容量衰减：放电末端偏低，充电末端偏高"),
    ("replace the module", "更换模组"),
    "soon",
    cell=place("cell"),
    capacity=number(0.3, 1.0, 0.94, 0.62),
)
def low_capacity_cell(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Changes the capacity of one cell."""
    design.spread.capacity[s.cell - 1] *= s.capacity


@kind(
    "self-discharge",
    ("a cell that discharges itself", "单体自放电"),
    ("a soft short inside one cell", "单体内部微短路"),
    ("replace the module; watch the car until then", "更换模组，更换前持续观察"),
    "soon",
    cell=place("cell"),
    leak_ohm=number(5.0, 2000.0, 220.0, 45.0),
)
def self_discharge(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Puts a resistor inside one cell."""
    design.spread.leak_ohm[s.cell - 1] = s.leak_ohm


@kind(
    "resistive-cell",
    ("a cell with a high resistance", "单体内阻偏高"),
    ("one cell's resistance has grown", "某一单体内阻增大"),
    ("replace the module", "更换模组"),
    "soon",
    cell=place("cell"),
    resistance=number(1.0, 8.0, 1.5, 4.0),
)
def resistive_cell(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Changes the resistance of one cell."""
    design.spread.resistance[s.cell - 1] *= s.resistance


@kind(
    "shorted-cell",
    ("an internal short in a cell", "单体内短路"),
    ("a hard short inside one cell: it empties and heats", "单体内部硬短路：迅速放电并发热"),
    ("stop, park outdoors, away from people; replace the module", "停车，移至室外空旷处并远离人员；更换模组"),
    "stop",
    from_s=900.0,
    cell=place("cell"),
    short_ohm=number(0.05, 5.0, 1.2, 0.12),
)
def shorted_cell(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Puts a small resistor inside one cell."""
    design.spread.leak_ohm[s.cell - 1] = s.short_ohm


@kind(
    "ageing",
    ("the whole pack has aged", "整包老化"),
    ("the pack has lost capacity over years", "电池包多年使用后容量衰减"),
    ("check the warranty; replace the pack when the range no longer suffices", "核对质保；续航不足时更换电池包"),
    "monitor",
    health=number(0.5, 1.0, 0.85, 0.61),
)
def ageing(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Capacity falls, resistance grows, the cells drift apart a little."""
    cells = len(design.spread.capacity)
    lost = 1.0 - s.health
    design.spread.capacity *= s.health + 0.04 * lost * rng.standard_normal(cells).clip(-2, 2)
    design.spread.resistance *= 1.0 + 2.4 * lost + 0.1 * lost * rng.standard_normal(cells).clip(-2, 2)


@kind(
    "module-joint",
    ("a loose or corroded connection between modules", "模组间连接松动或腐蚀"),
    ("a busbar joint has a high resistance and heats under load", "汇流排连接电阻过大，大电流时发热"),
    ("clean the joint, renew the bolt, tighten to the stated torque", "清洁连接面，更换螺栓并按规定力矩拧紧"),
    "soon",
    joint=place("joint"),
    joint_ohm=number(0.0001, 0.02, 0.0010, 0.0042),
)
def module_joint(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Puts a resistance below one cell, between its sense wires."""
    design.spread.joint_ohm[s.joint] += s.joint_ohm


@kind(
    "sampling-line",
    ("a corroded contact of a voltage sense wire", "电压采样线接触不良"),
    ("one cell reads low and its neighbour high by the same amount", "相邻两单体读数一低一高、幅度相同"),
    ("repair the contact or renew the sense harness", "修复接点或更换采样线束"),
    "monitor",
    wire=place("wire"),
    contact_ohm=number(0.0, 1e6, 40_000.0, 96_000.0),
)
def sampling_line(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Adds resistance to one sense wire."""
    design.wire_ohm[s.wire] += s.contact_ohm


@kind(
    "sampling-line-open",
    ("a broken voltage sense wire", "电压采样线断路"),
    ("a sense wire is broken: its two cells cannot be measured", "采样线断开，相邻两单体无法测量"),
    ("renew the sense harness", "更换采样线束"),
    "soon",
    from_s=500.0,
    wire=place("wire"),
    contact_ohm=number(1e5, 1e8, 4e5, 2e6),
)
def sampling_line_open(design: Design, rng: np.random.Generator, s: Any) -> None:
    """All but opens one sense wire."""
    design.wire_ohm[s.wire] += s.contact_ohm


@kind(
    "probe-stuck",
    ("a battery temperature probe that stands still", "电池温度传感器卡滞"),
    ("a probe reads the same whatever the temperature", "传感器读数不随温度变化"),
    ("replace the probe or the module", "更换传感器或模组"),
    "monitor",
    module=place("module"),
    reads_c=number(-40.0, 87.0, 45.0, 52.0),
)
def probe_stuck(design: Design, rng: np.random.Generator, s: Any) -> None:
    """One probe reads one temperature for ever."""
    design.sensors.probe_stuck_c[s.module - 1] = s.reads_c


@kind(
    "probe-offset",
    ("a battery temperature probe that reads wrong", "电池温度传感器偏差"),
    ("a probe's contact adds to its resistance", "传感器接触电阻使读数偏离"),
    ("replace the probe or clean its connector", "更换传感器或清洁接插件"),
    "monitor",
    module=place("module"),
    offset_k=number(-60.0, 60.0, -6.0, -15.0),
)
def probe_offset(design: Design, rng: np.random.Generator, s: Any) -> None:
    """One probe is off by an amount."""
    design.sensors.probe_offset_c[s.module - 1] += s.offset_k


@kind(
    "probe-open",
    ("a battery temperature probe without connection", "电池温度传感器断路"),
    ("the wire to a probe is broken: it reads -40 °C", "传感器线路断开，读数为 -40 °C"),
    ("repair the wire or replace the probe", "修复线路或更换传感器"),
    "monitor",
    from_s=300.0,
    module=place("module"),
)
def probe_open(design: Design, rng: np.random.Generator, s: Any) -> None:
    """One probe's wire opens."""
    design.sensors.probe_stuck_c[s.module - 1] = -40.0


@kind(
    "current-offset",
    ("the pack current sensor reads with an offset", "电流传感器零点漂移"),
    ("the sensor shows current where there is none; the charge drifts", "无电流时仍有读数，SOC 逐渐漂移"),
    ("calibrate or replace the current sensor", "标定或更换电流传感器"),
    "monitor",
    offset_a=number(-50.0, 50.0, 0.6, 5.0),
)
def current_offset(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Adds to every reading of the shunt."""
    design.sensors.current_offset_a += s.offset_a


@kind(
    "current-gain",
    ("the pack current sensor reads too little or too much", "电流传感器增益偏差"),
    ("the sensor's gain is off: charge and energy are counted wrong", "传感器增益错误，电量和能量计数失准"),
    ("replace the current sensor", "更换电流传感器"),
    "monitor",
    gain=number(0.3, 2.0, 0.95, 0.80),
)
def current_gain(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Changes the gain of the shunt."""
    design.sensors.current_gain *= s.gain


@kind(
    "balancing-dead",
    ("a balancing circuit that does not switch on", "均衡电路无法导通"),
    ("a balancing switch stays open: its cell drifts upwards", "均衡开关常开，该单体电压逐渐偏高"),
    ("replace the cell monitoring board", "更换采样板"),
    "monitor",
    cell=place("cell"),
)
def balancing_dead(design: Design, rng: np.random.Generator, s: Any) -> None:
    """One cell's balancing switch stays open."""
    design.bleed_dead[s.cell - 1] = True


@kind(
    "balancing-stuck",
    ("a balancing circuit that never switches off", "均衡电路常通"),
    ("a balancing switch stays closed and empties its cell", "均衡开关常闭，持续消耗该单体电量"),
    ("replace the cell monitoring board, then balance the pack", "更换采样板后均衡电池包"),
    "soon",
    cell=place("cell"),
)
def balancing_stuck(design: Design, rng: np.random.Generator, s: Any) -> None:
    """One cell's balancing switch stays closed."""
    design.bleed_stuck[s.cell - 1] = True


@kind(
    "soc-jump",
    ("the BMS restarts while driving and forgets its charge count", "BMS 行驶中重启，电量记忆丢失"),
    (
        "the BMS's supply dips: it restarts and takes the loaded voltage for a rested one",
        "BMS 供电瞬断重启，误将带载电压当作开路电压",
    ),
    ("repair the BMS's supply and ground contacts", "检修 BMS 供电与接地触点"),
    "monitor",
    from_s=400.0,
    every_s=number(30.0, 86_400.0, 900.0, 220.0),
)
def soc_jump(design: Design, rng: np.random.Generator, s: Any) -> None:
    """A restart every so many seconds."""
    design.bms_restarts_s = s.every_s


@kind(
    "software-mismatch",
    ("a BMS with the program of another pack", "BMS 装有其他电池包的软件"),
    ("the BMS runs a program for another cell: charge and limits are wrong", "BMS 软件与单体不符，SOC 与限值错误"),
    ("flash the program that belongs to this pack", "刷写与本电池包匹配的软件"),
    "soon",
    version=text("2.7", pattern=r"\d{1,2}\.\d{1,2}", example="2.7"),
    cell=text("NMC532", choices=CELL_NAMES),
)
def software_mismatch(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Puts the other program in."""
    major, _, minor = s.version.partition(".")
    design.bms_software = BmsSoftware(int(major), int(minor), CELL_TYPES[s.cell])
