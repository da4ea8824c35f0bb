"""Faults of the 12 V side, the network, motor and inverter, brakes and tyres, and the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from virtualbus.design import WHEELS
from virtualbus.faults.kinds import kind, number, place

if TYPE_CHECKING:
    import numpy as np

    from virtualbus.design import Design


@kind(
    "low-battery",
    ("the 12 V battery is worn out", "12 V 蓄电池老化"),
    ("the battery has lost its capacity and resists", "蓄电池容量衰减、内阻增大"),
    ("replace the 12 V battery", "更换 12 V 蓄电池"),
    "soon",
    capacity=number(0.02, 1.0, 0.5, 0.06),
    resistance_ohm=number(0.004, 0.5, 0.02, 0.07),
    self_discharge_a=number(0.0, 2.0, 0.005, 0.08),
)
def low_battery(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Less capacity, more resistance, and it empties itself."""
    design.supply.capacity = s.capacity
    design.supply.resistance_ohm = s.resistance_ohm
    design.supply.drain_a += s.self_discharge_a


@kind(
    "converter",
    ("the DC/DC converter gives too little", "DC/DC 变换器输出不足"),
    ("the converter's power stage is dead or limited", "变换器功率级损坏或限流"),
    ("replace the DC/DC converter", "更换 DC/DC 变换器"),
    "soon",
    from_s=200.0,
    share=number(0.0, 1.0, 0.15, 0.0),
)
def converter(design: Design, rng: np.random.Generator, s: Any) -> None:
    """A share of the current is left."""
    design.supply.converter = s.share


@kind(
    "drain",
    ("something drains the 12 V battery while the car sleeps", "休眠漏电"),
    ("a control unit does not go to sleep", "某控制器未休眠"),
    ("measure the quiescent current, pull fuses one by one", "测静态电流，逐个拔保险排查"),
    "monitor",
    drain_a=number(0.03, 20.0, 0.12, 0.9),
)
def drain(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Amperes that flow at night."""
    design.supply.drain_a += s.drain_a


@kind(
    "body-ground",
    ("a bad ground of the body computer", "车身控制器接地不良"),
    ("a corroded ground point", "接地点腐蚀"),
    ("clean the ground point", "清洁接地点"),
    "monitor",
    ohm=number(0.0, 2.0, 0.04, 0.18),
)
def body_ground(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Resistance between the body computer and the body."""
    design.supply.ground_ohm = s.ohm


@kind(
    "lost-bms",
    ("the BMS has dropped off the bus", "BMS 掉线"),
    ("the BMS's bus connector has come loose", "BMS 总线接插件松脱"),
    ("plug it in and lock it, check the pins", "重新插接锁止并检查针脚"),
    "stop",
    from_s=1100.0,
)
def lost_bms(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The connector opens."""
    design.wires.off_the_bus_s["BMS"] = -1e18 if s.from_s is None else s.from_s


@kind(
    "lost-ecu",
    ("a control unit has dropped off the bus", "某控制器掉线"),
    ("its bus connector has come loose", "其总线接插件松脱"),
    ("plug it in and lock it, check the pins", "重新插接锁止并检查针脚"),
    "soon",
    from_s=1100.0,
    ecu=place("ecu"),
)
def lost_ecu(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The connector opens."""
    design.wires.off_the_bus_s[s.ecu] = -1e18 if s.from_s is None else s.from_s


@kind(
    "bus-errors",
    ("error bursts on the bus", "总线间歇性错误帧"),
    ("a chafed bus cable touches the body now and then", "总线线束磨损，间歇碰触车身"),
    ("find the chafed spot: terminator 60 Ω, wiggle test", "查找磨损点：测终端电阻 60 Ω，做晃动试验"),
    "soon",
    from_s=300.0,
    share=number(0.0, 0.9, 0.02, 0.25),
)
def bus_errors(design: Design, rng: np.random.Generator, s: Any) -> None:
    """A share of the time the bus carries error frames only."""
    design.wires.disturbed = s.share


@kind(
    "inverter-hot",
    ("the inverter overheats", "逆变器过温"),
    ("the thermal paste under the power module has dried out", "功率模块导热硅脂干涸"),
    ("renew the paste or replace the inverter", "重新涂抹导热硅脂或更换逆变器"),
    "soon",
    factor=number(1.0, 20.0, 2.0, 8.0),
)
def inverter_hot(design: Design, rng: np.random.Generator, s: Any) -> None:
    """More kelvins per watt."""
    design.motor.module_k = s.factor


@kind(
    "resolver",
    ("the motor's position sensor is off", "旋变零位偏移"),
    ("the resolver's zero is wrong: mounted or learned wrong", "旋变零位错误：安装或学习有误"),
    ("learn the zero anew, else replace the resolver", "重新学习零位，否则更换旋变"),
    "soon",
    degrees=number(-60.0, 60.0, 4.0, 18.0),
)
def resolver(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Electrical degrees between sensor and rotor."""
    design.motor.resolver_deg = s.degrees


@kind(
    "winding",
    ("a motor phase with a high resistance", "电机相线电阻过大"),
    ("a loose phase terminal or a burnt winding", "相线端子松动或绕组烧损"),
    ("check the phase terminals, measure the windings", "检查相线端子，测量绕组电阻"),
    "soon",
    factor=number(1.0, 20.0, 1.15, 1.9),
)
def winding(design: Design, rng: np.random.Generator, s: Any) -> None:
    """One phase resists more."""
    design.motor.winding[int(rng.integers(3))] *= s.factor


@kind(
    "motor-probe",
    ("the motor's temperature probe has no connection", "电机温度传感器断路"),
    ("the wire to the probe is broken", "传感器线路断开"),
    ("repair the wire", "修复线路"),
    "monitor",
    from_s=250.0,
)
def motor_probe(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The probe reads -40 °C."""
    design.sensors.motor_probe_stuck_c = -40.0


@kind(
    "motor-bearing",
    ("a dragging motor bearing", "电机轴承卡滞"),
    ("a bearing has lost its grease: friction and heat", "轴承失脂，摩擦发热"),
    ("replace the bearing or the motor", "更换轴承或电机"),
    "soon",
    factor=number(1.0, 60.0, 3.0, 25.0),
)
def motor_bearing(design: Design, rng: np.random.Generator, s: Any) -> None:
    """More friction."""
    design.motor.bearing = s.factor


@kind(
    "brake-switch",
    ("a contact of the brake switch is stuck", "制动开关触点卡滞"),
    ("the second contact does not follow the pedal", "第二触点不随踏板动作"),
    ("replace the brake switch", "更换制动开关"),
    "soon",
    from_s=150.0,
)
def brake_switch(design: Design, rng: np.random.Generator, s: Any) -> None:
    """The second contact stays as it is."""
    design.chassis.brake_contact_stuck = True


@kind(
    "brake-drag",
    ("a dragging brake", "制动拖滞"),
    ("a caliper does not let go: range falls, the wheel heats", "制动钳不回位，续航下降、车轮发热"),
    ("free or replace the caliper", "修复或更换制动钳"),
    "soon",
    torque_nm=number(0.0, 1500.0, 60.0, 350.0),
)
def brake_drag(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Brake torque that stays."""
    design.chassis.dragging_nm = s.torque_nm


@kind(
    "wheel-sensor",
    ("a wheel speed sensor reads too little", "轮速传感器信号缺齿"),
    ("broken teeth or too wide a gap", "齿圈缺齿或间隙过大"),
    ("clean the sensor, check the ring, replace what is broken", "清洁传感器，检查齿圈，更换损坏件"),
    "soon",
    wheel=place("wheel"),
    share=number(0.0, 1.0, 0.85, 0.3),
)
def wheel_sensor(design: Design, rng: np.random.Generator, s: Any) -> None:
    """A share of the teeth is seen."""
    design.chassis.wheel_sensor[WHEELS.index(s.wheel)] = s.share


@kind(
    "tyre-leak",
    ("a tyre loses air", "轮胎漏气"),
    ("a nail or a leaking valve", "扎钉或气门芯漏气"),
    ("repair or replace the tyre", "修补或更换轮胎"),
    "soon",
    wheel=place("wheel"),
    kpa_h=number(0.0, 500.0, 0.2, 0.9),
)
def tyre_leak(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Kilopascals per hour."""
    design.chassis.tyre_kpa_h[WHEELS.index(s.wheel)] = s.kpa_h


@kind(
    "tyre-sensor",
    ("a tyre pressure sensor is silent", "胎压传感器无信号"),
    ("the sensor's battery is empty", "传感器电池耗尽"),
    ("replace the sensor, learn it", "更换传感器并匹配"),
    "low",
    wheel=place("wheel"),
)
def tyre_sensor(design: Design, rng: np.random.Generator, s: Any) -> None:
    """No radio message any more."""
    design.chassis.tyre_sensor_dead[WHEELS.index(s.wheel)] = True


@kind(
    "misfire",
    ("a cylinder misfires", "发动机失火"),
    ("an ignition coil or an injector fails now and then", "点火线圈或喷油器间歇失效"),
    ("change coils between cylinders, then replace the bad one", "互换点火线圈确认后更换"),
    "soon",
    needs="engine",
    share=number(0.0, 1.0, 0.15, 0.6),
)
def misfire(design: Design, rng: np.random.Generator, s: Any) -> None:
    """A share of one cylinder's strokes."""
    design.engine.misfire = s.share


@kind(
    "thermostat",
    ("the engine's thermostat stays open", "发动机节温器常开"),
    ("the engine does not get warm", "发动机水温升不上来"),
    ("replace the thermostat", "更换节温器"),
    "monitor",
    needs="engine",
    shut=number(0.0, 1.0, 0.6, 0.0),
)
def thermostat(design: Design, rng: np.random.Generator, s: Any) -> None:
    """How far it still shuts."""
    design.engine.thermostat = s.shut


@kind(
    "intake-leak",
    ("air leaks into the intake", "进气漏气"),
    ("a cracked hose behind the air meter: the mixture is lean", "空气流量计后软管开裂，混合气过稀"),
    ("replace the hose", "更换软管"),
    "monitor",
    needs="engine",
    share=number(0.0, 0.6, 0.12, 0.27),
)
def intake_leak(design: Design, rng: np.random.Generator, s: Any) -> None:
    """Air that the meter does not see."""
    design.engine.air_leak = s.share
