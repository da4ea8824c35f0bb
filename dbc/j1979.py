"""The datasheet of OBD-II parameters: length, formula, unit and name of every PID that is decoded.

One table serves services 01 and 02 and, 0xF400 higher, the data identifiers of OBDonUDS. Of a PID whose contents are
not decoded the length at least is known, because an answer with several PIDs can be cut up by lengths only. Signal
sets name these values and this table gives them their formulas.

Standard: SAE J1979-DA:2022 (values), ISO 15031-5:2015 §8.1 (layout).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

from dbc.errors import Phrase
from dbc.j1979fields import LAMBDA, PERCENT, TRIM, Field, FieldValue, Pid, one, row
from dbc.j1979more import MORE

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PIDS", "PID_LENGTHS", "Field", "FieldValue", "Pid", "find_field"]


_STANDARDS: Final = {
    number: Phrase(name, name)
    for number, name in {
        1: "OBD II (CARB)", 2: "OBD (EPA)", 3: "OBD + OBD II", 4: "OBD I", 6: "EOBD", 7: "EOBD + OBD II",
        8: "EOBD + OBD", 9: "EOBD + OBD + OBD II", 10: "JOBD", 11: "JOBD + OBD II", 12: "JOBD + EOBD",
        13: "JOBD + EOBD + OBD II", 14: "EURO IV B1", 15: "EURO V B2", 16: "EURO EEV", 17: "EMD", 18: "EMD+",
        19: "HD OBD-C", 20: "HD OBD", 21: "WWH OBD", 23: "HD EOBD-I", 24: "HD EOBD-I N", 25: "HD EOBD-II",
        26: "HD EOBD-II N", 27: "HD-ZEV", 28: "OBDBr-1", 29: "OBDBr-2", 30: "KOBD", 31: "IOBD I", 32: "IOBD II",
        33: "HD EOBD-VI", 34: "OBD + OBD II + HD OBD", 35: "OBDBr-3", 41: "CN-OBD-6", 42: "OBDBr-P7",
        43: "CN-HDOBD-VI", 47: "OBDBr-P8", 48: "HD-JOBD-II", 49: "HD-KOBD-II", 50: "CN-OROBD-IV",
        51: "CARB ACC-II", 56: "HD ZEV CARB ZEP", 57: "ACC-II + EPA T4", 58: "EPA T4", 59: "EPA HD",
    }.items()
} | {5: Phrase("not intended to meet any OBD requirement", "不符合任何 OBD 要求")}  # fmt: skip

_FUELS: Final = {
    0: Phrase("not available", "不可用"), 1: Phrase("gasoline", "汽油"), 2: Phrase("methanol", "甲醇"),
    3: Phrase("ethanol", "乙醇"), 4: Phrase("diesel", "柴油"), 5: Phrase("LPG", "液化石油气"),
    6: Phrase("CNG", "压缩天然气"), 7: Phrase("propane", "丙烷"), 8: Phrase("electric", "纯电"),
    9: Phrase("bi-fuel, on gasoline", "双燃料，使用汽油"), 10: Phrase("bi-fuel, on methanol", "双燃料，使用甲醇"),
    11: Phrase("bi-fuel, on ethanol", "双燃料，使用乙醇"), 12: Phrase("bi-fuel, on LPG", "双燃料，使用液化石油气"),
    13: Phrase("bi-fuel, on CNG", "双燃料，使用天然气"), 14: Phrase("bi-fuel, on propane", "双燃料，使用丙烷"),
    15: Phrase("bi-fuel, on electricity", "双燃料，使用电"), 16: Phrase("bi-fuel, mixed", "双燃料，混合"),
    17: Phrase("hybrid, gasoline", "混动，汽油"), 18: Phrase("hybrid, ethanol", "混动，乙醇"),
    19: Phrase("hybrid, diesel", "混动，柴油"), 20: Phrase("hybrid, electric", "混动，电"),
    21: Phrase("hybrid, mixed", "混动，混合"), 22: Phrase("hybrid, regenerative", "混动，能量回收"),
    23: Phrase("bi-fuel, diesel", "双燃料，柴油"), 29: Phrase("fuel cell, hydrogen", "氢燃料电池"),
    30: Phrase("hydrogen engine", "氢内燃机"), 31: Phrase("kerosene", "煤油"), 32: Phrase("heavy fuel oil", "重油"),
}  # fmt: skip

_FUEL_LOOP: Final = {
    0: Phrase("off", "关闭"), 1: Phrase("open loop, cold", "开环，未暖机"), 2: Phrase("closed loop", "闭环"),
    4: Phrase("open loop, load", "开环，负荷"), 8: Phrase("open loop, fault", "开环，故障"),
    16: Phrase("closed loop, fault", "闭环，故障"),
}  # fmt: skip

_OXYGEN: Final = ("B1S1", "B1S2", "B1S3", "B1S4", "B2S1", "B2S2", "B2S3", "B2S4")


def _narrow_oxygen(number: int, place: str) -> Pid:
    volts = Phrase(f"O2 sensor {place} voltage", f"氧传感器 {place} 电压")
    trim = Phrase(f"O2 sensor {place} fuel trim", f"氧传感器 {place} 燃油修正")
    return Pid(
        number,
        2,
        (
            Field(f"oxygenSensor{place}Voltage", volts, "V", 0, 1, Fraction(1, 200)),
            Field(f"oxygenSensor{place}FuelTrim", trim, "%", 1, 1, TRIM, -100, absent=0xFF),
        ),
    )


def _wide_oxygen(number: int, place: str, unit: str, scale: Fraction, offset: int) -> Pid:
    ratio = Phrase(f"O2 sensor {place} lambda", f"氧传感器 {place} 过量空气系数")
    other = Phrase(f"O2 sensor {place}", f"氧传感器 {place}")
    kind = "Voltage" if unit == "V" else "Current"
    return Pid(
        number,
        4,
        (
            Field(f"wideOxygenSensor{place}LambdaWith{kind}", ratio, "", 0, 2, LAMBDA),
            Field(f"wideOxygenSensor{place}{kind}", other, unit, 2, 2, scale, offset),
        ),
    )


_HYBRID: Final = Pid(
    0x9A,
    6,
    (
        Field(
            "hybridChargingState", Phrase("charging state", "充电状态"), "", 1, 1, support=0, bits=1,
            states={0: Phrase("charge sustaining", "电量维持"), 1: Phrase("charge depleting", "电量消耗")},
        ),
        Field(
            "hybridChargingStateEnhanced", Phrase("charging state, enhanced", "充电状态（增强）"), "", 1, 1, support=3,
            shift=1, bits=2, states={
                0: Phrase("charge sustaining", "电量维持"), 1: Phrase("charge depleting", "电量消耗"),
                2: Phrase("charge increasing", "电量增加"),
            },
        ),
        Field("tractionBatteryVoltage", Phrase("traction battery voltage", "动力电池电压"), "V", 2, 2, Fraction(1, 64),
              support=1),
        Field("tractionBatteryCurrent", Phrase("traction battery current", "动力电池电流"), "A", 4, 2, Fraction(1, 10),
              is_signed=True, support=2),
    ),
)  # fmt: skip

_TABLE: Final = (
    Pid(0x03, 2, (
        Field("fuelSystem1Status", Phrase("fuel system 1", "燃油系统 1 状态"), states=_FUEL_LOOP),
        Field("fuelSystem2Status", Phrase("fuel system 2", "燃油系统 2 状态"), start=1, states=_FUEL_LOOP),
    )),
    one(0x04, 1, "calculatedLoad", ("calculated load", "计算负荷"), "%", PERCENT),
    one(0x05, 1, "coolantTemperature", ("coolant temperature", "冷却液温度"), "degC", 1, -40),
    *(
        one(number, 1, name, text, "%", TRIM, -100)
        for number, name, text in (
            (0x06, "shortTermFuelTrimBank1", ("short term fuel trim, bank 1", "短期燃油修正，1 列")),
            (0x07, "longTermFuelTrimBank1", ("long term fuel trim, bank 1", "长期燃油修正，1 列")),
            (0x08, "shortTermFuelTrimBank2", ("short term fuel trim, bank 2", "短期燃油修正，2 列")),
            (0x09, "longTermFuelTrimBank2", ("long term fuel trim, bank 2", "长期燃油修正，2 列")),
        )
    ),
    one(0x0A, 1, "fuelPressure", ("fuel pressure", "燃油压力"), "kPa", 3),
    one(0x0B, 1, "intakeManifoldPressure", ("intake manifold pressure", "进气歧管压力"), "kPa"),
    one(0x0C, 2, "engineSpeed", ("engine speed", "发动机转速"), "rpm", Fraction(1, 4)),
    one(0x0D, 1, "vehicleSpeed", ("vehicle speed", "车速"), "km/h"),
    one(0x0E, 1, "timingAdvance", ("ignition timing advance", "点火提前角"), "deg", Fraction(1, 2), -64),
    one(0x0F, 1, "intakeAirTemperature", ("intake air temperature", "进气温度"), "degC", 1, -40),
    one(0x10, 2, "massAirFlow", ("mass air flow", "空气流量"), "g/s", Fraction(1, 100)),
    one(0x11, 1, "throttlePosition", ("throttle position", "节气门开度"), "%", PERCENT),
    *(_narrow_oxygen(0x14 + at, place) for at, place in enumerate(_OXYGEN)),
    one(0x1C, 1, "obdRequirements", ("OBD requirements", "OBD 标准"), states=_STANDARDS),
    one(0x1F, 2, "runTimeSinceStart", ("run time since start", "启动后运行时间"), "s"),
    one(0x21, 2, "distanceWithMilOn", ("distance with MIL on", "故障灯亮后行驶里程"), "km"),
    one(0x22, 2, "fuelRailPressureRelative", ("rail pressure, relative", "油轨相对压力"), "kPa", Fraction(79, 1000)),
    one(0x23, 2, "fuelRailPressure", ("rail pressure", "油轨压力"), "kPa", 10),
    *(_wide_oxygen(0x24 + at, place, "V", Fraction(8, 65536), 0) for at, place in enumerate(_OXYGEN)),
    one(0x2C, 1, "commandedEgr", ("commanded EGR", "EGR 目标开度"), "%", PERCENT),
    one(0x2D, 1, "egrError", ("EGR error", "EGR 偏差"), "%", TRIM, -100),
    one(0x2E, 1, "commandedPurge", ("commanded purge", "炭罐电磁阀目标开度"), "%", PERCENT),
    one(0x2F, 1, "fuelLevel", ("fuel level", "燃油液位"), "%", PERCENT),
    one(0x30, 1, "warmUpsSinceClear", ("warm-ups since codes were cleared", "清码后暖机次数")),
    one(0x31, 2, "distanceSinceClear", ("distance since codes were cleared", "清码后行驶里程"), "km"),
    one(0x32, 2, "evapPressure", ("EVAP vapour pressure", "蒸发系统压力"), "Pa", Fraction(1, 4), is_signed=True),
    one(0x33, 1, "barometricPressure", ("barometric pressure", "大气压力"), "kPa"),
    *(_wide_oxygen(0x34 + at, place, "mA", Fraction(1, 256), -128) for at, place in enumerate(_OXYGEN)),
    *(
        one(0x3C + at, 2, f"catalystTemperature{place}", (f"catalyst temperature {place}", f"催化器温度 {place}"),
             "degC", Fraction(1, 10), -40)
        for at, place in enumerate(("B1S1", "B2S1", "B1S2", "B2S2"))
    ),
    one(0x42, 2, "moduleVoltage", ("control module voltage", "控制模块电压"), "V", Fraction(1, 1000)),
    one(0x43, 2, "absoluteLoad", ("absolute load", "绝对负荷"), "%", PERCENT),
    one(0x44, 2, "commandedLambda", ("commanded lambda", "目标过量空气系数"), "", LAMBDA),
    one(0x45, 1, "relativeThrottlePosition", ("relative throttle position", "节气门相对开度"), "%", PERCENT),
    one(0x46, 1, "ambientTemperature", ("ambient air temperature", "环境温度"), "degC", 1, -40),
    *(
        one(number, 1, name, text, "%", PERCENT)
        for number, name, text in (
            (0x47, "throttlePositionB", ("throttle position B", "节气门开度 B")),
            (0x48, "throttlePositionC", ("throttle position C", "节气门开度 C")),
            (0x49, "acceleratorPedalPositionD", ("accelerator pedal D", "加速踏板开度 D")),
            (0x4A, "acceleratorPedalPositionE", ("accelerator pedal E", "加速踏板开度 E")),
            (0x4B, "acceleratorPedalPositionF", ("accelerator pedal F", "加速踏板开度 F")),
            (0x4C, "commandedThrottle", ("commanded throttle", "节气门目标开度")),
            (0x52, "ethanolContent", ("ethanol content", "乙醇含量")),
            (0x5A, "relativePedalPosition", ("relative accelerator pedal", "加速踏板相对开度")),
            (0x5B, "tractionBatteryCharge", ("traction battery state of charge", "动力电池剩余电量（SOC）")),
            (0x8D, "throttlePositionG", ("throttle position G", "节气门开度 G")),
            (0xB2, "tractionBatteryHealth", ("traction battery state of health", "动力电池健康状态（SOH）")),
        )
    ),
    one(0x4D, 2, "minutesWithMilOn", ("time with MIL on", "故障灯亮后时间"), "min"),
    one(0x4E, 2, "minutesSinceClear", ("time since codes were cleared", "清码后时间"), "min"),
    one(0x51, 1, "fuelType", ("fuel type", "燃料类型"), states=_FUELS),
    one(0x53, 2, "evapAbsolutePressure", ("EVAP absolute pressure", "蒸发系统绝对压力"), "kPa", Fraction(1, 200)),
    one(0x54, 2, "evapPressureWide", ("EVAP pressure, wide", "蒸发系统压力（宽）"), "Pa", is_signed=True),
    one(0x59, 2, "fuelRailAbsolutePressure", ("rail absolute pressure", "油轨绝对压力"), "kPa", 10),
    one(0x5C, 1, "oilTemperature", ("oil temperature", "机油温度"), "degC", 1, -40),
    one(0x5D, 2, "injectionTiming", ("injection timing", "喷油正时"), "deg", Fraction(1, 128), -210),
    one(0x5E, 2, "engineFuelRate", ("engine fuel rate", "燃油消耗率"), "L/h", Fraction(1, 20)),
    one(0x61, 1, "demandedTorque", ("demanded torque", "需求扭矩"), "%", 1, -125),
    one(0x62, 1, "actualTorque", ("actual torque", "实际扭矩"), "%", 1, -125),
    one(0x63, 2, "referenceTorque", ("reference torque", "参考扭矩"), "N·m"),
    row(0x66, 5, "g/s", ("massAirFlowA", "mass air flow A", "空气流量 A", 1, 2),
         ("massAirFlowB", "mass air flow B", "空气流量 B", 3, 2), scale=Fraction(1, 32)),
    row(0x67, 3, "degC", ("coolantTemperature1", "coolant temperature 1", "冷却液温度 1", 1, 1),
         ("coolantTemperature2", "coolant temperature 2", "冷却液温度 2", 2, 1), offset=-40),
    row(0x68, 7, "degC", *((f"intakeAirTemperature{place}", f"intake air temperature {place}", f"进气温度 {place}",
                             at, 1) for at, place in enumerate(("B1S1", "B1S2", "B1S3", "B2S1", "B2S2", "B2S3"), 1)),
         offset=-40),
    row(0x7F, 13, "s", ("totalRunTime", "total run time", "总运行时间", 1, 4),
         ("totalIdleTime", "total idle time", "总怠速时间", 5, 4),
         ("totalPtoTime", "total PTO time", "总取力时间", 9, 4)),
    one(0x84, 1, "manifoldSurfaceTemperature", ("manifold surface temperature", "歧管表面温度"), "degC", 1, -40),
    row(0x87, 5, "kPa", ("intakeManifoldPressureA", "intake manifold pressure A", "进气歧管压力 A", 1, 2),
         ("intakeManifoldPressureB", "intake manifold pressure B", "进气歧管压力 B", 3, 2), scale=Fraction(1, 32)),
    one(0x8E, 1, "frictionTorque", ("friction torque", "摩擦扭矩"), "%", 1, -125),
    _HYBRID,
    row(0x9D, 4, "g/s", ("engineFuelMassRate", "engine fuel rate", "发动机燃油质量流量", 0, 2),
         ("vehicleFuelMassRate", "vehicle fuel rate", "整车燃油质量流量", 2, 2), scale=Fraction(1, 50),
         has_support=False),
    one(0x9E, 2, "exhaustFlow", ("exhaust flow", "排气流量"), "kg/h", Fraction(1, 5)),
    one(0xA2, 2, "cylinderFuelRate", ("cylinder fuel rate", "单缸喷油量"), "mg/stroke", Fraction(1, 32)),
    one(0xA6, 4, "odometer", ("odometer", "总里程"), "km", Fraction(1, 10)),
    row(0xD2, 3, "%", ("stateOfCertifiedEnergy", "state of certified energy", "认证能量保持率（SOCE）", 1, 1),
         ("stateOfCertifiedRange", "state of certified range", "认证续航保持率（SOCR）", 2, 1), scale=PERCENT),
    one(0xD3, 4, "engineOdometer", ("engine odometer", "发动机里程"), "km", Fraction(1, 10)),
)  # fmt: skip

PIDS: Final[Mapping[int, Pid]] = {pid.number: pid for pid in (*_TABLE, *MORE)}
"""Every PID that is decoded. 01, 41 (monitors), 02 (code of the freeze frame) and the maps have code of their own."""

PID_LENGTHS: Final[Mapping[int, int]] = {
    **dict.fromkeys(range(0x00, 0x100, 0x20), 4),
    0x01: 4, 0x02: 2, 0x12: 1, 0x13: 1, 0x1D: 1, 0x1E: 1, 0x41: 4, 0x4F: 4, 0x50: 4, 0x5F: 1, 0x64: 5, 0x65: 2,
    **dict.fromkeys(range(0x55, 0x59), 2),
    0x69: 7, 0x6A: 5, 0x6B: 5, 0x6C: 5, 0x6D: 11, 0x6E: 9, 0x6F: 3, 0x70: 10, 0x71: 6, 0x72: 5, 0x73: 5, 0x74: 5,
    0x75: 7, 0x76: 7, 0x77: 5, 0x78: 9, 0x79: 9, 0x7A: 7, 0x7B: 7, 0x7C: 9, 0x7D: 1, 0x7E: 1, 0x81: 41, 0x82: 41,
    0x83: 9, 0x85: 10, 0x86: 5, 0x88: 13, 0x89: 41, 0x8A: 41, 0x8B: 7, 0x8C: 17, 0x8F: 7, 0x90: 3, 0x91: 5, 0x92: 2,
    0x93: 3, 0x94: 12, 0x98: 9, 0x99: 9, 0x9B: 4, 0x9C: 17, 0x9F: 9, 0xA1: 9, 0xA3: 9, 0xA4: 4, 0xA5: 4, 0xA7: 9,
    0xA8: 9, 0xA9: 4, 0xAA: 1, 0xC3: 2, 0xC4: 8, 0xC5: 4, 0xC6: 7, 0xC7: 2, 0xC8: 1,
    **{pid.number: pid.length for pid in (*_TABLE, *MORE)},
}  # fmt: skip
"""Data bytes per PID, for cutting up an answer that holds several."""


def find_field(number: int, first_bit: int, bits: int) -> Field | None:
    """The value of a PID that begins at this bit (0 is the highest of byte A) and has this many; None = no formula."""
    pid = PIDS.get(number)
    for value in pid.fields if pid else ():
        end = (value.start + value.size) * 8 - value.shift
        width = value.bits or value.size * 8
        if (end - width, width) == (first_bit, bits):
            return value
    return None
