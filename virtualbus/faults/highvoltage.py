"""Faults of insulation, contactors, interlock, cooling and charging."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from virtualbus.faults.kinds import kind, number, place
from virtualbus.wiring import Leak

if TYPE_CHECKING:
    import numpy as np

    from virtualbus.design import Design


def _leak(design: Design, rng: np.random.Generator, s: Any, **how: Any) -> None:
    start_s = s.from_s if s.from_s is not None else -1e9
    design.insulation.leaks.append(Leak(s.leak_ohm * float(rng.uniform(0.9, 1.1)), start_s, **how))


@kind(
    "isolation",
    ("a leak from the high-voltage system to the body", "高压系统对车身漏电"),
    (
        "a conducting path from a pole to the body, such as coolant in a connector",
        "高压极对车身存在导电通路，如接插件进水",
    ),
    ("find the leaking part by disconnecting loads one by one", "逐个断开负载查找漏电部件，干燥或更换"),
    "stop",
    from_s=640.0,
    leak_ohm=number(100.0, 50e6, 300_000.0, 8_000.0),
)  # fmt: skip
def isolation(design: Design, rng: np.random.Generator, s: Any) -> None:
    """A path that grows and stays."""
    _leak(design, rng, s)


@kind(
    "isolation-intermittent",
    ("a leak that comes and goes while driving", "行驶中间歇性绝缘故障"),
    ("a chafed cable touches the body when the car shakes", "磨损线缆在振动时碰触车身"),
    ("inspect cables and bushings along the body; renew the chafed one", "检查沿车身的线缆和护套，更换磨损件"),
    "stop",
    from_s=200.0,
    leak_ohm=number(100.0, 50e6, 30_000.0, 5_000.0),
    shaken=number(0.01, 0.95, 0.3, 0.7),
)
def isolation_intermittent(design: Design, rng: np.random.Generator, s: Any) -> None:
    """A path that is there only now and then, and only in motion."""
    _leak(design, rng, s, grows_s=0.5, shaken=s.shaken)


@kind(
    "isolation-wet",
    ("a leak in wet weather only", "潮湿天气绝缘故障"),
    ("water reaches a connector when it rains", "雨水进入接插件"),
    ("dry the connector, renew its seal", "干燥接插件并更换密封件"),
    "stop",
    leak_ohm=number(100.0, 50e6, 60_000.0, 6_000.0),
)
def isolation_wet(design: Design, rng: np.random.Generator, s: Any) -> None:
    """A path that needs a wet car."""
    _leak(design, rng, s, wet_only=True)


@kind(
    "contactor-welded",
    ("the positive main contactor is welded", "主正接触器粘连"),
    ("the contacts have welded under load", "触点在带载断开时粘连"),
    ("replace the contactor; look for the reason of the load", "更换接触器并查明带载原因"),
    "stop",
    from_s=1200.0,
)
def contactor_welded(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The positive contactor stays closed."""
    design.contactors.positive.welded = True


@kind(
    "contactor-negative-welded",
    ("the negative main contactor is welded", "主负接触器粘连"),
    ("the contacts have welded under load", "触点在带载断开时粘连"),
    ("replace the contactor; look for the reason of the load", "更换接触器并查明带载原因"),
    "stop",
    from_s=1200.0,
)
def contactor_negative_welded(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The negative contactor stays closed."""
    design.contactors.negative.welded = True


@kind(
    "contactor-stuck",
    ("the positive main contactor does not close", "主正接触器无法闭合"),
    ("the coil or the armature is stuck", "线圈或动铁芯卡滞"),
    ("replace the contactor", "更换接触器"),
    "stop",
    from_s=1500.0,
)
def contactor_stuck(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The positive contactor stays open."""
    design.contactors.positive.stuck_open = True


@kind(
    "contactor-worn",
    ("worn contacts of the main contactor", "主接触器触点磨损"),
    ("burnt contacts have a high resistance under load", "触点烧蚀，带载时压降过大"),
    ("replace the contactor", "更换接触器"),
    "soon",
    contact_ohm=number(0.0, 1.0, 0.012, 0.12),
)
def contactor_worn(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The positive contactor's contacts resist."""
    design.contactors.positive.contact_ohm = s.contact_ohm


@kind(
    "precharge-resistor",
    ("the precharge resistor is burnt", "预充电阻烧损"),
    ("the resistor has lost its conductor: the link charges too slowly", "电阻丝受损，母线预充过慢"),
    ("replace the precharge resistor and check the link for a short", "更换预充电阻并检查母线是否短路"),
    "stop",
    from_s=1500.0,
    ohm=number(5.0, 1e7, 600.0, 20_000.0),
)
def precharge_resistor(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Changes the resistor."""
    design.contactors.precharge_ohm = s.ohm


@kind(
    "interlock-open",
    ("the high-voltage interlock is open", "高压互锁断开"),
    ("a high-voltage connector is not home", "高压接插件未插到位"),
    ("find the connector that is not locked", "找到未锁止的接插件并插好"),
    "stop",
    from_s=1500.0,
)
def interlock_open(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The loop opens for good."""
    design.interlock.is_open = True


@kind(
    "interlock-intermittent",
    ("the high-voltage interlock opens now and then", "高压互锁间歇断开"),
    ("a contact of the loop is loose and opens on bumps", "互锁触点松动，颠簸时断开"),
    ("inspect the loop's contacts; wiggle test", "检查互锁触点，做晃动试验"),
    "stop",
    from_s=100.0,
    shaken=number(0.01, 0.9, 0.12, 0.5),
)
def interlock_intermittent(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The loop opens while the car shakes."""
    design.interlock.shaken = s.shaken


@kind(
    "coolant-pump",
    ("the battery's coolant pump stands", "电池冷却水泵停转"),
    ("the pump's motor is stalled", "水泵电机堵转"),
    ("replace the pump, bleed the loop", "更换水泵并排气"),
    "soon",
    from_s=120.0,
)
def coolant_pump(design: Design, rng: np.random.Generator, s: Any) -> None:
    """No turning, no flow."""
    design.cooling.pump = 0.02
    design.cooling.impeller = 0.0


@kind(
    "coolant-pump-worn",
    ("the battery's coolant pump is weak", "电池冷却水泵性能下降"),
    ("the bearing drags: the pump turns too slowly", "轴承卡滞，水泵转速偏低"),
    ("replace the pump", "更换水泵"),
    "monitor",
    share=number(0.1, 1.0, 0.7, 0.3),
)
def coolant_pump_worn(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Turns slowly, gives little."""
    design.cooling.pump = s.share
    design.cooling.impeller = s.share


@kind(
    "coolant-blocked",
    ("a blocked coolant plate under one module", "某模组冷却板堵塞"),
    ("one module is not cooled any more", "单个模组失去冷却"),
    ("flush or replace the plate", "冲洗或更换冷却板"),
    "soon",
    module=place("module"),
    flow=number(0.0, 1.0, 0.3, 0.0),
)
def coolant_blocked(design: Design, rng: np.random.Generator, s: Any) -> None:
    """One plate takes little heat."""
    design.cooling.plates[s.module - 1] = s.flow


@kind(
    "chiller",
    ("the battery's refrigerant circuit does not cool", "电池制冷回路失效"),
    ("refrigerant is lost: the chiller takes no heat", "制冷剂泄漏，冷却器无冷量"),
    ("find the leak, refill the refrigerant", "查漏并重新充注制冷剂"),
    "monitor",
    share=number(0.0, 1.0, 0.4, 0.0),
)
def chiller(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The chiller gives a share of its cold."""
    design.cooling.chiller = s.share


@kind(
    "drive-pump",
    ("the coolant pump of the power electronics stands", "电驱冷却水泵停转"),
    ("the pump's supply is open", "水泵供电断路"),
    ("check fuse and connector, else replace the pump", "检查保险和接插件，否则更换水泵"),
    "soon",
    from_s=60.0,
)
def drive_pump(design: Design, rng: np.random.Generator, s: Any) -> None:
    """No turning, no flow."""
    design.cooling.drive_pump = 0.0
    design.cooling.drive_impeller = 0.0


@kind(
    "radiator-fan",
    ("the radiator fan does not blow", "散热风扇不转"),
    ("the fan's motor or relay is dead", "风扇电机或继电器损坏"),
    ("replace the fan or its relay", "更换风扇或继电器"),
    "monitor",
    share=number(0.0, 1.0, 0.3, 0.0),
)
def radiator_fan(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The fan gives a share of its air."""
    design.cooling.fan = s.share


@kind(
    "charger-derating",
    ("the on-board charger gives only a part of its power", "车载充电机输出不足"),
    ("a power stage of the charger is dead", "充电机某功率级损坏"),
    ("replace the on-board charger", "更换车载充电机"),
    "monitor",
    share=number(0.0, 1.0, 0.66, 0.33),
)
def charger_derating(design: Design, rng: np.random.Generator, s: Any) -> None:
    """A share of the stages works."""
    design.inlet.power = s.share


@kind(
    "inlet-hot",
    ("the charging inlet overheats", "充电接口过热"),
    ("worn contacts in the inlet resist and heat", "接口触点磨损，接触电阻过大"),
    ("replace the inlet, check the plug", "更换充电接口并检查充电枪"),
    "soon",
    contact_ohm=number(0.0005, 0.5, 0.03, 0.14),
)
def inlet_hot(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The inlet's contacts resist."""
    design.inlet.contact_ohm = s.contact_ohm


@kind(
    "control-pilot",
    ("the control pilot has a bad contact", "控制导引接触不良"),
    ("a resistance in the pilot line: the state is not recognised", "导引线路存在电阻，无法识别充电状态"),
    ("clean or replace the pilot contact in the inlet", "清洁或更换接口的导引触点"),
    "monitor",
    ohm=number(0.0, 1e6, 500.0, 3_000.0),
)
def control_pilot(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Resistance in series with the pilot."""
    design.inlet.pilot_ohm = s.ohm


@kind(
    "inlet-lock",
    ("the plug's lock does not go home", "充电枪锁止不到位"),
    ("the lock's motor or gear is broken", "锁止电机或齿轮损坏"),
    ("replace the lock", "更换电子锁"),
    "monitor",
    share=number(0.0, 1.0, 0.6, 0.1),
)
def inlet_lock(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The bolt stops on its way."""
    design.inlet.lock_share = s.share


@kind(
    "dc-timeout",
    ("DC charging breaks off: the station falls silent", "直流充电中断：充电桩通信丢失"),
    ("the communication contacts of the inlet (S+, S-) part when warm", "接口通信触点（S+、S-）受热后断开"),
    ("clean or replace the inlet's communication contacts; try another station", "清洁或更换通信触点，换桩再试"),
    "monitor",
    after_s=number(1.0, 36_000.0, 600.0, 90.0),
)
def dc_timeout(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The station is no longer heard after some time of charging."""
    design.inlet.station_silent_s = s.after_s
