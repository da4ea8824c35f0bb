#!/usr/bin/env python3
"""Writes the DBC files of the simulated cars (``dbc/files/huizhen_*.dbc``) from the short lists below.

A message's signals follow each other from bit 0. A signal of up to 8 bits never straddles a byte; ``@N`` puts one at
bit N. Protected messages end with a 4-bit counter and a CRC-8/SAE-J1850 over the data id and all bytes before it.
``python tools/make_databases.py --check`` fails when a file differs from what this script would write.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "dbc" / "files"
PRODUCER = 1 << 31


@dataclass
class Signal:
    """One line of a message: ``Name bits scale offset low high unit [-> receivers] [{choices}]``."""

    name: str
    start: int
    bits: int
    scale: str
    offset: str
    low: str
    high: str
    unit: str
    receivers: str
    choices: dict[int, str] = field(default_factory=dict)
    signed: bool = False
    big: bool = False
    group: int | None = None
    multiplexer: bool = False
    text: str = ""
    spn: int | None = None

    @property
    def dbc_start(self) -> int:
        """The start bit as DBC writes it: of the most significant bit for big-endian signals."""
        return 8 * (self.start // 8) + 7 - self.start % 8 if self.big else self.start


@dataclass
class Message:
    """One frame."""

    can_id: int
    name: str
    sender: str
    cycle_ms: int
    length: int
    text: str
    protected: bool = False
    fd: bool = False
    extended: bool = False
    signals: list[Signal] = field(default_factory=list)


SIGNAL = re.compile(
    r"(?P<name>\w+)(?P<mux>~?) (?:@(?P<at>\d+) )?(?P<bits>\d+)(?P<sign>[su]?) (?P<scale>\S+) (?P<offset>\S+) "
    r"(?P<low>\S+) (?P<high>\S+) (?P<unit>\S+)(?: > (?P<to>[\w,]+))?(?: \{(?P<choices>[^}]*)\})?(?: # (?P<text>.+))?"
)


def parse(block: str, shift: int = 0, *, fd: bool = False, extended: bool = False) -> list[Message]:
    """Messages of one text: a head line ``= id Name SENDER cycle [length] flags "text"``, then signals."""
    out: list[Message] = []
    cursor = 0
    big = False
    for line in filter(None, (part.strip() for part in block.splitlines())):
        if line.startswith("="):
            head = re.fullmatch(r'= (\w+) (\w+) (\w+) (\d+) (\d+) ([\w,]*) ?"(.*)"', line)
            assert head, line
            can_id, name, sender, cycle, length, flags, text = head.groups()
            big = "big" in flags
            message = Message(
                (int(can_id, 16) + shift) | (PRODUCER if extended else 0),
                name, sender, int(cycle), int(length), text, "protected" in flags, fd, extended,
            )  # fmt: skip
            out.append(message)
            cursor = 0
            continue
        found = SIGNAL.fullmatch(line)
        assert found, line
        bits = int(found["bits"])
        if found["at"]:
            cursor = int(found["at"])
        elif bits <= 8 and cursor // 8 != (cursor + bits - 1) // 8:
            cursor = -(-cursor // 8) * 8
        choices = {}
        for item in filter(None, (found["choices"] or "").split("|")):
            code, _, word = item.partition("=")
            choices[(1 << bits) - 1 if code == "SNA" else int(code)] = word or "SNA"
        out[-1].signals.append(
            Signal(
                found["name"], cursor, bits, found["scale"], found["offset"], found["low"], found["high"],
                "" if found["unit"] == "-" else found["unit"], found["to"] or "VCU", choices, found["sign"] == "s", big,
                multiplexer=bool(found["mux"]), text=found["text"] or "",
            )
        )  # fmt: skip
        cursor += bits
    for message in out:
        _protect(message, big=any(signal.big for signal in message.signals))
        used = max((signal.start + signal.bits for signal in message.signals), default=0)
        assert used <= 8 * message.length, f"{message.name} needs {used} bits"
    return out


def _protect(message: Message, *, big: bool) -> None:
    if not message.protected:
        return
    to = message.signals[0].receivers
    at = 8 * (message.length - 2)
    used = max(signal.start + signal.bits for signal in message.signals)
    assert used <= at, f"{message.name}: {used} bits before the counter at {at}"
    start = at + 4 if big else at
    message.signals += [
        Signal(f"{message.name}_Counter", start, 4, "1", "0", "0", "15", "", to, big=big),
        Signal(f"{message.name}_Checksum", at + 8, 8, "1", "0", "0", "255", "", to, big=big),
    ]


def grouped(head: str, selector: str, prefix: str, count: int, per_group: int, bits: int, figures: str) -> Message:
    """A multiplexed message: ``count`` numbered signals, ``per_group`` in each group, the selector in byte 0."""
    message = parse(head)[0]
    digits = 3 if prefix.startswith("CellVoltage") else 2
    scale, offset, low, high, unit = figures.split()
    groups = -(-count // per_group)
    tail = message.signals[-2:] if message.protected else []
    message.signals = [Signal(selector, 0, 8, "1", "0", "0", str(groups - 1), "", "VCU", multiplexer=True)]
    for index in range(count):
        group, place = divmod(index, per_group)
        name = f"{prefix}_{index + 1:0{digits}d}"
        message.signals.append(
            Signal(name, 8 + bits * place, bits, scale, offset, low, high, unit, "VCU",
                   {(1 << bits) - 1: "SNA"}, group=group)
        )  # fmt: skip
    message.signals += tail
    return message


def write(path: Path, nodes: list[tuple[str, str, int, int]], messages: list[Message], text: str, **attributes) -> str:
    """The text of one DBC file."""
    lines = ['VERSION "1.0"', "", "NS_ :"]
    lines += [f"\t{word}" for word in ("CM_", "BA_DEF_", "BA_", "VAL_", "BA_DEF_DEF_", "VAL_TABLE_")]
    lines += ["", "BS_:", "", "BU_: " + " ".join(node[0] for node in nodes), ""]
    for message in messages:
        lines += [f"BO_ {message.can_id} {message.name}: {message.length} {message.sender}"]
        lines += [_signal_line(signal) for signal in message.signals]
        lines.append("")
    lines.append(f'CM_ "{text}";')
    lines += [f'CM_ BU_ {node[0]} "{node[1]}";' for node in nodes]
    lines += [f'CM_ BO_ {message.can_id} "{message.text}";' for message in messages if message.text]
    both = [(message, signal) for message in messages for signal in message.signals]
    lines += [f'CM_ SG_ {message.can_id} {signal.name} "{signal.text}";' for message, signal in both if signal.text]
    is_j1939 = attributes.get("protocol") == "J1939"
    lines += _definitions(is_fd=any(message.fd for message in messages), is_j1939=is_j1939)
    lines += [f'BA_ "DBName" "{path.stem}";', f'BA_ "Baudrate" {attributes.get("bitrate", 500_000)};']
    if is_j1939:
        lines += ['BA_ "ProtocolType" "J1939";']
        lines += [f'BA_ "NmStationAddress" BU_ {node[0]} {node[2]};' for node in nodes]
    for name, _, request, response in nodes if not is_j1939 else ():
        if request:
            lines += [f'BA_ "DiagRequestId" BU_ {name} {request};', f'BA_ "DiagResponseId" BU_ {name} {response};']
    for message in messages:
        if message.fd or is_j1939:
            lines.append(f'BA_ "VFrameFormat" BO_ {message.can_id} {14 if message.fd else 3};')
        lines.append(f'BA_ "GenMsgCycleTime" BO_ {message.can_id} {message.cycle_ms};')
        if message.protected:
            lines.append(f'BA_ "E2EDataId" BO_ {message.can_id} {message.can_id & 0xFFFF};')
    lines += [f'BA_ "SPN" SG_ {message.can_id} {signal.name} {signal.spn};' for message, signal in both if signal.spn]
    for message, signal in both:
        if signal.choices:
            words = " ".join(f'{code} "{word}"' for code, word in sorted(signal.choices.items()))
            lines.append(f"VAL_ {message.can_id} {signal.name} {words} ;")
    return "\n".join(lines) + "\n"


def _signal_line(signal: Signal) -> str:
    mux = " M" if signal.multiplexer else "" if signal.group is None else f" m{signal.group}"
    order = f"@{0 if signal.big else 1}{'-' if signal.signed else '+'}"
    return (
        f" SG_ {signal.name}{mux} : {signal.dbc_start}|{signal.bits}{order} ({signal.scale},{signal.offset}) "
        f'[{signal.low}|{signal.high}] "{signal.unit}" {signal.receivers}'
    )


def _definitions(*, is_fd: bool, is_j1939: bool) -> list[str]:
    """Attributes that the file uses, and their defaults."""
    lines = ['BA_DEF_ "BusType" STRING ;', 'BA_DEF_ "DBName" STRING ;', 'BA_DEF_ "Baudrate" INT 0 1000000;']
    defaults = [f'BA_DEF_DEF_ "BusType" "{"CAN FD" if is_fd else "CAN"}";', 'BA_DEF_DEF_ "DBName" "";']
    defaults += ['BA_DEF_DEF_ "Baudrate" 500000;']
    if is_fd or is_j1939:
        kinds = ",".join(f'"{word}"' for word in FRAME_FORMATS)
        lines += [f'BA_DEF_ BO_ "VFrameFormat" ENUM {kinds};']
        defaults += [f'BA_DEF_DEF_ "VFrameFormat" "{"J1939PG" if is_j1939 else "StandardCAN"}";']
    if is_j1939:
        lines += ['BA_DEF_ "ProtocolType" STRING ;', 'BA_DEF_ SG_ "SPN" INT 0 524287;']
        lines += ['BA_DEF_ BU_ "NmStationAddress" INT 0 255;']
        defaults += ['BA_DEF_DEF_ "ProtocolType" "J1939";', 'BA_DEF_DEF_ "SPN" 0;']
        defaults += ['BA_DEF_DEF_ "NmStationAddress" 254;']
    else:
        lines += ['BA_DEF_ BU_ "DiagRequestId" INT 0 2047;', 'BA_DEF_ BU_ "DiagResponseId" INT 0 2047;']
        defaults += ['BA_DEF_DEF_ "DiagRequestId" 0;', 'BA_DEF_DEF_ "DiagResponseId" 0;']
    lines += ['BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;', 'BA_DEF_ BO_ "E2EDataId" INT -1 65535;']
    return [*lines, *defaults, 'BA_DEF_DEF_ "GenMsgCycleTime" 0;', 'BA_DEF_DEF_ "E2EDataId" -1;']


FRAME_FORMATS = (
    "StandardCAN", "ExtendedCAN", "reserved", "J1939PG", "reserved", "reserved", "reserved", "reserved", "reserved",
    "reserved", "reserved", "reserved", "reserved", "reserved", "StandardCAN_FD", "ExtendedCAN_FD",
)  # fmt: skip

# -- the platform of the electric cars ------------------------------------------------------------------------------

DRIVE = """
= 100 VCU_Status VCU 20 8 protected "Vehicle state. Protected; counter 0..15."
  VehicleSpeed 16 0.01 0 0 300 km/h > INV,BMS,OBC {SNA}
  AcceleratorPedal 8 0.4 0 0 100 % > INV {SNA}
  GearPosition 3 1 0 0 6 - > INV,BMS {0=P|1=R|2=N|3=D|SNA}
  ReadyState 2 1 0 0 2 - > INV,BMS,OBC {0=Off|1=Standby|2=Ready|SNA}
  BrakeSwitch 2 1 0 0 1 - > INV {0=Released|1=Pressed|SNA}
  ContactorRequest 2 1 0 0 1 - > BMS {0=Open|1=Close|SNA}
= 110 VCU_Odometer VCU 1000 8  "Distance, 12 V supply and outside temperature. Not protected."
  Odometer 24 0.1 0 0 1677721 km > BMS,INV,OBC {SNA}
  LowVoltage 12 0.01 0 0 40.9 V > BMS,INV,OBC {SNA} # 12 V supply at the VCU.
  AmbientTemp 8 0.5 -40 -40 87 degC > BMS,INV {SNA}
= 120 INV_Status INV 20 8 protected,big "Drive inverter, big-endian. Protected; counter 0..15."
  MotorSpeed 16s 1 0 -20000 20000 rpm > VCU,BMS
  MotorTorque 16s 0.1 0 -500 500 Nm > VCU,BMS
  DcLinkVoltage 12 0.2 0 0 818.8 V > VCU,BMS {SNA}
  InverterState 4 1 0 0 14 - > VCU {0=Off|1=Precharge|2=Ready|3=Driving|14=Fault|SNA}
= 124 INV_Temperature INV 100 8 big "Inverter and motor temperatures, big-endian. Not protected."
  InverterTemp 8 1 -40 -40 214 degC > VCU {SNA}
  MotorTemp 8 1 -40 -40 214 degC > VCU {SNA}
"""

BMS = """
= 180 BMS_Pack BMS 20 8 protected "Pack voltage, current, state of charge. Protected; counter 0..15."
  PackVoltage 16 0.1 0 0 1000 V > VCU,INV,OBC {SNA} # Between the pack's terminals, on the pack side of the contactors.
  PackCurrent 16 0.1 -1000 -1000 1000 A > VCU,INV,OBC {SNA} # Positive is discharge.
  StateOfCharge 10 0.1 0 0 100 % > VCU,INV,OBC {SNA}
= 184 BMS_Status BMS 100 8 protected "Insulation, contactors, interlock, software version. Protected; counter 0..15."
  InsulationResistance 16 1 0 0 65000 kOhm > VCU,INV,OBC {SNA} # To chassis; the smaller of both poles.
  ContactorState 3 1 0 0 5 - > VCU,INV,OBC {0=Open|1=Precharge|2=Closed|3=Opening|4=Fault|SNA}
  HvilState 2 1 0 0 1 - > VCU,INV,OBC {0=Open|1=Closed|SNA}
  BalancingState 2 1 0 0 1 - > VCU,INV,OBC {0=Off|1=On|SNA}
  BmsSoftwareMajor 8 1 0 0 254 - > VCU {SNA}
  BmsSoftwareMinor 8 1 0 0 254 - > VCU {SNA}
  BmsDataset 8 1 0 0 254 - > VCU {SNA} # Number of the cell data set (capacity, open circuit voltage) in the BMS.
= 188 BMS_CellExtremes BMS 100 8 protected "Lowest and highest cell of the last sample. Protected; counter 0..15."
  CellVoltageMin 13 0.001 0 0 8.19 V > VCU,OBC {SNA}
  CellVoltageMax 13 0.001 0 0 8.19 V > VCU,OBC {SNA}
  CellNumberMin @26 8 1 0 1 CELLS - > VCU {SNA}
  CellNumberMax @34 8 1 0 1 CELLS - > VCU {SNA}
"""

CELLS = """= 1A0 BMS_CellVoltages BMS 10 8 protected "All cells of one sample in GROUPS groups of three. Protected."
X 1 1 0 0 1 -"""
TEMPS = """= 1A4 BMS_CellTemps BMS 100 8 protected "PROBES probes, one per CPM cells, in GROUPS groups. Protected."
X 1 1 0 0 1 -"""

CHARGER = """
= 200 OBC_Status OBC 100 8 protected "On-board charger. Protected; counter 0..15."
  ChargerState 3 1 0 0 6 - > VCU,BMS {0=Idle|1=Connected|2=Charging|3=Complete|4=Fault|SNA}
  PlugState 2 1 0 0 2 - > VCU,BMS {0=Unplugged|1=Plugged|2=Locked|SNA}
  MainsVoltage @8 12 0.1 0 0 400 V > VCU {SNA} # Not available while no plug is in.
  ChargerCurrent 12 0.1 0 0 100 A > BMS {SNA} # On the battery side. Not available while no plug is in.
  ChargerTemp 8 1 -40 -40 214 degC > VCU {SNA}
"""

MORE = """
= 128 INV_Phases INV 20 8  "Phase currents (effective) and the resolver against the motor's own voltage."
  PhaseCurrent_U 14 0.1 0 0 1638.2 A > VCU {SNA}
  PhaseCurrent_V 14 0.1 0 0 1638.2 A > VCU {SNA}
  PhaseCurrent_W 14 0.1 0 0 1638.2 A > VCU {SNA}
  RotorAngleError 10s 0.1 0 -51 51 deg > VCU
= 130 ESC_Wheels ESC 20 8  "Wheel speeds."
  WheelSpeed_FL 16 0.01 0 0 300 km/h > VCU,EPS {SNA}
  WheelSpeed_FR 16 0.01 0 0 300 km/h > VCU,EPS {SNA}
  WheelSpeed_RL 16 0.01 0 0 300 km/h > VCU,EPS {SNA}
  WheelSpeed_RR 16 0.01 0 0 300 km/h > VCU,EPS {SNA}
= 134 ESC_Status ESC 20 8 protected "Brakes. Protected; counter 0..15."
  BrakePressure 12 0.1 0 0 400 bar > VCU {SNA}
  BrakeContactA 2 1 0 0 1 - > VCU {0=Open|1=Closed|SNA}
  BrakeContactB 2 1 0 0 1 - > VCU {0=Open|1=Closed|SNA}
  EscIntervention 2 1 0 0 1 - > VCU,EPS {0=No|1=Yes|SNA}
  YawRate 12s 0.1 0 -200 200 deg/s > EPS
= 140 EPS_Status EPS 20 8 protected "Steering. Protected; counter 0..15."
  SteeringAngle 16s 0.1 0 -780 780 deg > ESC
  SteeringTorque 12s 0.01 0 -20 20 Nm > ESC
  SteeringAssist 8 0.5 0 0 100 % > ESC {SNA}
= 190 BMS_Limits BMS 100 8 protected "What the pack gives and takes; ageing; coolant. Protected; counter 0..15."
  DischargePowerLimit 12 0.1 0 0 400 kW > VCU,INV {SNA}
  ChargePowerLimit 12 0.1 0 0 400 kW > VCU,INV,OBC {SNA}
  StateOfHealth 8 0.5 0 0 120 % > VCU {SNA}
  BmsCoolantTemp 8 1 -40 -40 120 degC > TMS {SNA}
= 194 BMS_Switches BMS 100 8 protected "Link side of the contactors, and each of them. Protected; counter 0..15."
  HvLinkTap 16 0.1 0 0 1000 V > VCU {SNA} # Measured by the BMS behind the contactors.
  MainPositive 2 1 0 0 1 - > VCU {0=Open|1=Closed|SNA}
  MainNegative 2 1 0 0 1 - > VCU {0=Open|1=Closed|SNA}
  PrechargeRelay 2 1 0 0 1 - > VCU {0=Open|1=Closed|SNA}
  CoolingRequest 8 0.5 0 0 100 % > TMS {SNA}
= 204 OBC_Plug OBC 100 8 protected "Inlet and control pilot. Protected; counter 0..15."
  PilotDuty 8 0.5 0 0 100 % > VCU {SNA}
  PilotVoltage 8 0.1 -12 -12 13 V > VCU {SNA}
  InletTemp 8 1 -40 -40 214 degC > VCU {SNA}
  MainsCurrent 10 0.1 0 0 100 A > VCU {SNA}
  ChargeSession 3 1 0 0 6 - > VCU,BMS {0=None|1=AC|2=DC|SNA}
= 210 DCDC_Status DCDC 100 8 protected "DC/DC converter. Protected; counter 0..15."
  DcdcOutputVoltage 12 0.01 0 0 40.9 V > VCU {SNA}
  DcdcOutputCurrent 12 0.1 0 0 400 A > VCU {SNA}
  DcdcTemp 8 1 -40 -40 214 degC > VCU {SNA}
  DcdcState 3 1 0 0 6 - > VCU {0=Off|1=On|4=Fault|SNA}
= 220 TMS_Battery TMS 100 8 protected "Coolant of the battery. Protected; counter 0..15."
  BatteryPumpDuty 8 0.5 0 0 100 % > BMS {SNA}
  BatteryPumpSpeed 12 2 0 0 8000 rpm > BMS {SNA}
  CoolantInTemp 8 1 -40 -40 120 degC > BMS {SNA}
  CoolantOutTemp 8 1 -40 -40 120 degC > BMS {SNA}
  ChillerState 2 1 0 0 1 - > BMS {0=Off|1=On|SNA}
  HeaterPower 6 0.25 0 0 15 kW > BMS {SNA}
= 224 TMS_Drive TMS 100 8 protected "Coolant of the power electronics. Protected; counter 0..15."
  DrivePumpDuty 8 0.5 0 0 100 % > INV {SNA}
  DrivePumpSpeed 12 2 0 0 8000 rpm > INV {SNA}
  DriveCoolantTemp 8 1 -40 -40 120 degC > INV {SNA}
  RadiatorFan 8 0.5 0 0 100 % > VCU {SNA}
  CabinTemp 8 0.5 -40 -40 87 degC > IC {SNA}
= 230 BCM_Status BCM 100 8 protected "Body. Protected; counter 0..15."
  IgnitionState 3 1 0 0 3 - > VCU,IC {0=Off|1=Accessory|2=On|3=Start|SNA}
  DoorsOpen 4 1 0 0 15 - > IC
  LightState 3 1 0 0 4 - > IC {0=Off|1=Parking|2=Low|3=High|SNA}
  BodySupply 12 0.01 0 0 40.9 V > VCU {SNA}
  BodyCurrent 12s 0.1 0 -200 200 A > VCU
= 240 TPM_Pressures TPM 500 8  "Tyres."
  TyrePressure_FL 8 2 0 0 500 kPa > IC {SNA}
  TyrePressure_FR 8 2 0 0 500 kPa > IC {SNA}
  TyrePressure_RL 8 2 0 0 500 kPa > IC {SNA}
  TyrePressure_RR 8 2 0 0 500 kPa > IC {SNA}
  TyreTemp_FL 8 1 -40 -40 120 degC > IC {SNA}
  TyreTemp_FR 8 1 -40 -40 120 degC > IC {SNA}
  TyreTemp_RL 8 1 -40 -40 120 degC > IC {SNA}
  TyreTemp_RR 8 1 -40 -40 120 degC > IC {SNA}
= 250 IC_Status IC 500 8 protected "Instrument cluster. Protected; counter 0..15."
  RangeShown 12 1 0 0 2000 km > GW {SNA}
  LampHv 2 1 0 0 1 - > GW {0=Off|1=On|SNA}
  LampLimited 2 1 0 0 1 - > GW {0=Off|1=On|SNA}
= 260 GW_Status GW 1000 8 protected "Gateway. Protected; counter 0..15."
  BusErrorCount 16 1 0 0 65534 - > VCU {SNA}
  EcusHeard 8 1 0 0 64 - > VCU {SNA}
"""

ENGINE = """
= 150 ECM_Engine ECM 20 8 protected "Engine. Protected; counter 0..15."
  EngineSpeed 16 0.25 0 0 12000 rpm > VCU,TCM {SNA}
  EngineTorque 12 0.5 -500 -500 1500 Nm > VCU,TCM {SNA}
  EngineState 3 1 0 0 4 - > VCU,TCM {0=Off|1=Cranking|2=Running|4=Fault|SNA}
= 154 ECM_Temps ECM 100 8 protected "Engine temperatures and air. Protected; counter 0..15."
  EngineCoolantTemp 8 1 -40 -40 214 degC > VCU {SNA}
  IntakeAirTemp 8 1 -40 -40 214 degC > VCU {SNA}
  MassAirFlow 12 0.1 0 0 400 g/s > VCU {SNA}
  FuelLevel 8 0.5 0 0 100 % > IC {SNA}
= 158 TCM_Status TCM 50 8 protected "Transmission. Protected; counter 0..15."
  TransmissionGear 4 1 0 0 14 - > VCU {SNA}
  ClutchSlip 12s 1 0 -2000 2000 rpm > VCU
  TransmissionTemp 8 1 -40 -40 214 degC > VCU {SNA}
"""

FAST = """
= 1C0 INV_Torque INV 10 8 protected "Torque. Protected; counter 0..15."
  TorqueActual 16s 0.1 0 -1500 1500 Nm > VCU
  TorqueLimit 16 0.1 0 0 1500 Nm > VCU {SNA}
  LinkCurrent 14s 0.1 0 -800 800 A > VCU
= 1C1 INV_Field INV 10 8  "Currents in the rotor's frame."
  CurrentD 16s 0.1 0 -1500 1500 A > VCU
  CurrentQ 16s 0.1 0 -1500 1500 A > VCU
  DutyCycle 8 0.5 0 0 100 % > VCU {SNA}
  ElectricAngle 12 0.1 0 0 360 deg > VCU {SNA}
= 1C2 INV_Switches INV 10 8  "Power module, per phase."
  GateTemp_U 8 1 -40 -40 214 degC > VCU {SNA}
  GateTemp_V 8 1 -40 -40 214 degC > VCU {SNA}
  GateTemp_W 8 1 -40 -40 214 degC > VCU {SNA}
  SwitchingFrequency 8 0.1 0 0 25 kHz > VCU {SNA}
= 1C4 VCU_Torque VCU 10 8 protected "What the driver wants. Protected; counter 0..15."
  TorqueDemand 16s 0.1 0 -1500 1500 Nm > INV
  RegenShare 8 0.5 0 0 100 % > INV {SNA}
  DriveMode 3 1 0 0 5 - > INV {0=Eco|1=Normal|2=Sport|SNA}
= 1C5 VCU_Pedals VCU 10 8 protected "Both tracks of the accelerator pedal. Protected; counter 0..15."
  PedalTrackA 12 0.025 0 0 100 % > INV {SNA}
  PedalTrackB 12 0.025 0 0 100 % > INV {SNA}
= 1C6 VCU_Power VCU 10 8  "Power at the wheels."
  WheelPower 16s 0.01 0 -320 320 kW > INV
  AxleSplit 8 0.5 0 0 100 % > INV {SNA}
= 1C8 BMS_Power BMS 10 8 protected "Power and energy of the pack. Protected; counter 0..15."
  PackPower 16s 0.02 0 -600 600 kW > VCU,INV
  EnergyLeft 12 0.05 0 0 200 kWh > VCU {SNA}
= 1C9 BMS_Currents BMS 10 8 protected "What the pack gives and takes, in amperes. Protected; counter 0..15."
  DischargeCurrentLimit 14 0.1 0 0 1600 A > INV {SNA}
  ChargeCurrentLimit 14 0.1 0 0 1600 A > INV,OBC {SNA}
"""

CHASSIS_FAST = """
= 2C0 ESC_Motion ESC 10 8 protected "Accelerations. Protected; counter 0..15."
  AccelerationX 12s 0.01 0 -20 20 m/s2 > EPS
  AccelerationY 12s 0.01 0 -20 20 m/s2 > EPS
  RoadSlope 8s 0.5 0 -60 60 % > EPS
= 2C1 ESC_Pressures ESC 10 8  "Brake pressure per wheel."
  WheelPressure_FL 12 0.1 0 0 400 bar > EPS {SNA}
  WheelPressure_FR 12 0.1 0 0 400 bar > EPS {SNA}
  WheelPressure_RL 12 0.1 0 0 400 bar > EPS {SNA}
  WheelPressure_RR 12 0.1 0 0 400 bar > EPS {SNA}
= 2C2 ESC_Slip ESC 10 8  "Slip per wheel."
  WheelSlip_FL 12s 0.1 0 -100 100 % > EPS
  WheelSlip_FR 12s 0.1 0 -100 100 % > EPS
  WheelSlip_RL 12s 0.1 0 -100 100 % > EPS
  WheelSlip_RR 12s 0.1 0 -100 100 % > EPS
= 2C4 EPS_Motor EPS 10 8 protected "Assist motor. Protected; counter 0..15."
  AssistCurrent 12s 0.1 0 -150 150 A > ESC
  AssistSpeed 12s 1 0 -2000 2000 rpm > ESC
  RackForce 12s 10 0 -15000 15000 N > ESC
"""


def cmu_messages(cells: int, per_module: int) -> list[Message]:
    """The cell monitoring units of a large pack: each module's cells and state, every 10 ms."""
    out = []
    for module in range(1, cells // per_module + 1):
        first = (module - 1) * per_module
        lines = "".join(
            f"\n  CellVoltage_{first + place:03d} 16 0.0001 0 0 6.5 V > BMS {{SNA}}"
            for place in range(1, per_module + 1)
        )
        out += parse(
            f'= {0x300 + module:X} CMU{module:02d}_Cells BMS 10 16 protected "Module {module}. Protected."{lines}',
            fd=True,
        )
        out += parse(
            f"""= {0x340 + module:X} CMU{module:02d}_State BMS 10 8 protected "State of module {module}. Protected."
            CellTemp_{module:02d} 12 0.05 -60 -60 140 degC > BMS {{SNA}}
            CmuBleed_{module:02d} 8 1 0 0 64 - > BMS {{SNA}}
            CmuSupply_{module:02d} 12 0.01 0 0 40 V > BMS {{SNA}}""",
            fd=True,
        )
    return out


BUS = """
= 18FEF127 CCVS1 VCU 100 8  "Cruise control, vehicle speed 1 (PGN 65265)."
  ParkingBrake @2 2 1 0 0 1 - > BMS {0=Off|1=Set|SNA}
  VehicleSpeed @8 16 0.00390625 0 0 250.996 km/h > BMS,INV {SNA}
  BrakeSwitch @28 2 1 0 0 1 - > INV {0=Released|1=Pressed|SNA}
= 0CF00327 EEC2 VCU 50 8  "Electronic engine controller 2 (PGN 61443)."
  AcceleratorPedal @8 8 0.4 0 0 100 % > INV {SNA}
= 18FEC127 VDHR VCU 1000 8  "High resolution vehicle distance (PGN 65217)."
  Odometer @0 32 0.005 0 0 21055406 km > BMS {SNA}
= 18FEF727 VEP1 VCU 1000 8  "Vehicle electrical power 1 (PGN 65271)."
  LowVoltage @32 16 0.05 0 0 3212.75 V > BMS {SNA}
= 18FEF527 AMB VCU 1000 8  "Ambient conditions (PGN 65269)."
  AmbientTemp @24 16 0.03125 -273 -273 1734.96 degC > BMS {SNA}
= 18FF2027 VCU_State VCU 100 8  "Proprietary B: readiness, what the driver asks for."
  ReadyState @0 2 1 0 0 2 - > BMS,INV {0=Off|1=Standby|2=Ready|SNA}
  ContactorRequest @2 2 1 0 0 1 - > BMS {0=Open|1=Close|SNA}
  GearPosition @4 3 1 0 0 6 - > INV {0=P|1=R|2=N|3=D|SNA}
= 0CF004EF EEC1 INV 20 8  "Motor speed and torque as electronic engine controller 1 (PGN 61444)."
  ActualTorque @16 8 1 -125 -125 125 % > VCU {SNA}
  MotorSpeed @24 16 0.125 0 0 8031.875 rpm > VCU {SNA}
= 18FF30EF INV_State INV 50 8  "Proprietary B: link, temperatures."
  DcLinkVoltage @0 16 0.05 0 0 3212.75 V > BMS,VCU {SNA}
  InverterTemp @16 8 1 -40 -40 210 degC > VCU {SNA}
  MotorTemp @24 8 1 -40 -40 210 degC > VCU {SNA}
  InverterState @32 4 1 0 0 14 - > VCU {0=Off|1=Precharge|2=Ready|3=Driving|14=Fault|SNA}
= 0CF090F3 HVESSD1 BMS 20 8  "High voltage energy storage system data 1 (PGN 61584)."
  DischargePowerLimit @0 16 0.05 0 0 3212.75 kW > VCU,INV {SNA}
  ChargePowerLimit @16 16 0.05 0 0 3212.75 kW > VCU,INV {SNA}
  PackVoltage @32 16 0.05 0 0 3212.75 V > VCU,INV {SNA}
  PackCurrent @48 16 0.05 -1600 -1600 1612.75 A > VCU,INV {SNA} # Positive is discharge.
= 18F091F3 HVESSD2 BMS 100 8  "High voltage energy storage system data 2 (PGN 61585)."
  StateOfCharge @0 16 0.0015625 0 0 100.3984375 % > VCU,INV {SNA}
  CellVoltageMax @16 16 0.001 0 0 64.255 V > VCU {SNA}
  CellVoltageMin @32 16 0.001 0 0 64.255 V > VCU {SNA}
= 18F092F3 HVESSD3 BMS 500 8  "High voltage energy storage system data 3 (PGN 61586)."
  HottestProbe @0 16 0.03125 -273 -273 1734.96 degC > VCU {SNA}
  ColdestProbe @16 16 0.03125 -273 -273 1734.96 degC > VCU {SNA}
  MeanProbe @32 16 0.03125 -273 -273 1734.96 degC > VCU {SNA}
= 18FC5EF3 HVESSHIST BMS 1000 8  "High voltage energy storage system history (PGN 64606)."
  StateOfHealth @0 8 0.4 0 0 100 % > VCU {SNA}
= 18FF11F3 BMS_State BMS 100 8  "Proprietary B: insulation, contactors, interlock, software."
  InsulationResistance @0 16 1 0 0 64255 kOhm > VCU {SNA} # To chassis; the smaller of both poles.
  ContactorState @16 3 1 0 0 5 - > VCU,INV {0=Open|1=Precharge|2=Closed|3=Opening|4=Fault|SNA}
  HvilState @19 2 1 0 0 1 - > VCU {0=Open|1=Closed|SNA}
  BalancingState @21 2 1 0 0 1 - > VCU {0=Off|1=On|SNA}
  BmsSoftwareMajor @24 8 1 0 0 250 - > VCU {SNA}
  BmsSoftwareMinor @32 8 1 0 0 250 - > VCU {SNA}
  BmsDataset @40 8 1 0 0 250 - > VCU {SNA}
  CoolingRequest @48 8 0.4 0 0 100 % > TMS {SNA}
  BmsCoolantTemp @56 8 1 -40 -40 120 degC > TMS {SNA}
= 18FF4049 OBC_State OBC 100 8  "Proprietary B: charger and plug."
  ChargerState @0 3 1 0 0 6 - > VCU,BMS {0=Idle|1=Connected|2=Charging|3=Complete|4=Fault|SNA}
  PlugState @3 2 1 0 0 2 - > VCU,BMS {0=Unplugged|1=Plugged|2=Locked|SNA}
  ChargeSession @5 3 1 0 0 6 - > VCU,BMS {0=None|1=AC|2=DC|SNA}
  MainsVoltage @8 16 0.05 0 0 3212.75 V > VCU {SNA}
  ChargerTemp @24 8 1 -40 -40 210 degC > VCU {SNA}
  InletTemp @32 8 1 -40 -40 210 degC > VCU {SNA}
= 18FF501E DCDC_State DCDC 100 8  "Proprietary B: DC/DC converter."
  DcdcOutputVoltage @0 16 0.05 0 0 3212.75 V > VCU {SNA}
  DcdcOutputCurrent @16 16 0.05 0 0 3212.75 A > VCU {SNA}
  DcdcTemp @32 8 1 -40 -40 210 degC > VCU {SNA}
  DcdcState @40 3 1 0 0 6 - > VCU {0=Off|1=On|4=Fault|SNA}
= 18FF6019 TMS_State TMS 100 8  "Proprietary B: coolant."
  BatteryPumpDuty @0 8 0.4 0 0 100 % > BMS {SNA}
  BatteryPumpSpeed @8 16 0.5 0 0 32127 rpm > BMS {SNA}
  CoolantInTemp @24 8 1 -40 -40 120 degC > BMS {SNA}
  CoolantOutTemp @32 8 1 -40 -40 120 degC > BMS {SNA}
  DriveCoolantTemp @40 8 1 -40 -40 120 degC > INV {SNA}
= 18FEBF0B EBC2 ESC 100 8  "Wheel speeds (PGN 65215)."
  FrontAxleSpeed @0 16 0.00390625 0 0 250.996 km/h > VCU {SNA}
= 18FF700B EBC_State ESC 100 8  "Proprietary B: brake contacts."
  BrakeContactA @0 2 1 0 0 1 - > VCU {0=Open|1=Closed|SNA}
  BrakeContactB @2 2 1 0 0 1 - > VCU {0=Open|1=Closed|SNA}
  BrakePressure @8 16 0.1 0 0 400 bar > VCU {SNA}
= 18FF7113 EPS_State EPS 100 8  "Proprietary B: steering."
  SteeringAngle @0 16 0.1 -800 -800 800 deg > VCU {SNA}
  SteeringAssist @16 8 0.4 0 0 100 % > VCU {SNA}
= 18FF7221 BCM_State BCM 100 8  "Proprietary B: body."
  IgnitionState @0 3 1 0 0 3 - > VCU {0=Off|1=Accessory|2=On|3=Start|SNA}
  BodySupply @8 16 0.05 0 0 3212.75 V > VCU {SNA}
= 18FF7317 IC_State IC 500 8  "Proprietary B: instruments."
  RangeShown @0 16 1 0 0 64255 km > GW {SNA}
= 18FF7433 TPM_State TPM 500 8  "Proprietary B: tyres."
  TyrePressure_FL @0 8 4 0 0 1000 kPa > IC {SNA}
  TyrePressure_FR @8 8 4 0 0 1000 kPa > IC {SNA}
  TyrePressure_RL @16 8 4 0 0 1000 kPa > IC {SNA}
  TyrePressure_RR @24 8 4 0 0 1000 kPa > IC {SNA}
= 18FF7525 GW_State GW 1000 8  "Proprietary B: gateway."
  BusErrorCount @0 16 1 0 0 64255 - > VCU {SNA}
  EcusHeard @16 8 1 0 0 64 - > VCU {SNA}
"""
BUS_NODES = [
    ("VCU", "Vehicle control", 0x27, 0),
    ("INV", "Drive inverter", 0xEF, 0),
    ("BMS", "Battery management", 0xF3, 0),
    ("OBC", "On-board charger", 0x49, 0),
    ("DCDC", "DC/DC converter", 0x1E, 0),
    ("TMS", "Thermal management", 0x19, 0),
    ("ESC", "Brakes", 0x0B, 0),
    ("EPS", "Power steering", 0x13, 0),
    ("BCM", "Body control", 0x21, 0),
    ("IC", "Instrument cluster", 0x17, 0),
    ("TPM", "Tyre pressures", 0x33, 0),
    ("GW", "Gateway", 0x25, 0),
]
SPNS = {
    "VehicleSpeed": 84, "BrakeSwitch": 597, "ParkingBrake": 70, "AcceleratorPedal": 91, "Odometer": 917,
    "LowVoltage": 168, "AmbientTemp": 171, "MotorSpeed": 190, "ActualTorque": 513, "PackVoltage": 5919,
    "PackCurrent": 5920, "StateOfCharge": 5921, "FrontAxleSpeed": 904,
}  # fmt: skip


def bus_messages(cells: int, probes: int) -> list[Message]:
    """The J1939 messages of an electric bus; cells and probes in groups by Proprietary B."""
    out = parse(BUS, extended=True)
    for message in out:
        for signal in message.signals:
            signal.spn = SPNS.get(signal.name)
    cell_head = (
        '= 18FF12F3 BMS_Cells BMS 20 8  "Proprietary B: all cells of one sample, three a frame."\n X 1 1 0 0 1 -'
    )
    temp_head = '= 18FF13F3 BMS_Temps BMS 100 8  "Proprietary B: all probes, six a frame."\n X 1 1 0 0 1 -'
    for head, name, prefix, count, per, bits, figures in (
        (cell_head, "CellGroup", "CellVoltage", cells, 3, 16, "0.001 0 0 64.255 V"),
        (temp_head, "TempGroup", "CellTemp", probes, 6, 8, "1 -40 -40 210 degC"),
    ):
        message = grouped(head, name, prefix, count, per, bits, figures)
        message.can_id |= PRODUCER
        message.extended = True
        out.append(message)
    return out


EV_NODES = [
    ("VCU", "Vehicle control", 0x7E0, 0x7E8),
    ("INV", "Drive inverter", 0x7E1, 0x7E9),
    ("BMS", "Battery management", 0x7E4, 0x7EC),
    ("OBC", "On-board charger", 0x7E5, 0x7ED),
    ("DCDC", "DC/DC converter", 0x7E6, 0x7EE),
    ("TMS", "Thermal management", 0x7E7, 0x7EF),
    ("ESC", "Brakes and stability", 0x720, 0x728),
    ("EPS", "Power steering", 0x730, 0x738),
    ("BCM", "Body control", 0x740, 0x748),
    ("IC", "Instrument cluster", 0x750, 0x758),
    ("TPM", "Tyre pressures", 0x760, 0x768),
    ("GW", "Gateway", 0x710, 0x718),
]
ENGINE_NODES = [("ECM", "Engine control", 0x7E2, 0x7EA), ("TCM", "Transmission control", 0x7E3, 0x7EB)]


def ev_messages(cells: int, per_module: int, shift: int, more: str = "") -> list[Message]:
    """The classic-CAN messages of a car with ``cells`` cells."""
    probes = cells // per_module
    cell_groups, temp_groups = -(-cells // 3), -(-probes // 4)
    out = parse(DRIVE) + parse(BMS.replace("CELLS", str(cells)))
    out.append(
        grouped(CELLS.replace("GROUPS", str(cell_groups)), "CellGroup", "CellVoltage", cells, 3, 13, "0.001 0 0 8.19 V")
    )
    head = TEMPS.replace("GROUPS", str(temp_groups)).replace("PROBES", str(probes)).replace("CPM", str(per_module))
    out.append(grouped(head, "TempGroup", "CellTemp", probes, 4, 8, "0.5 -40 -40 87 degC"))
    out += parse(CHARGER) + parse(MORE + more)
    for message in out:
        message.can_id += shift
    return out


ABOUT = (
    "{name}: {what}, invented by Huizhen. 500 kbit/s, 11-bit identifiers. A protected message carries "
    "CRC-8/SAE-J1850 over its E2EDataId (2 bytes, little-endian) and its bytes without the checksum."
)


def files() -> dict[Path, str]:
    """Every file that this script writes."""
    out: dict[Path, str] = {}

    def add(stem: str, nodes: list, messages: list[Message], text: str, **attributes) -> None:
        path = FOLDER / f"{stem}.dbc"
        out[path] = write(path, nodes, sorted(messages, key=lambda m: m.can_id), text, **attributes)

    def about(name: str, what: str) -> str:
        return ABOUT.format(name=name, what=what)

    add("huizhen_ev400", EV_NODES, ev_messages(96, 6, 0), about("EV400", "a 400 V sedan with 96 NMC cells in series"))
    add("huizhen_lfp104", EV_NODES, ev_messages(104, 8, 0x103), about("LFP104", "a car with 104 LFP cells in series"))
    add("huizhen_zev", EV_NODES, ev_messages(96, 12, 0x241), about("ZEV", "a car that speaks OBDonUDS only"))
    add(
        "huizhen_phev",
        EV_NODES + ENGINE_NODES,
        ev_messages(84, 12, 0x055, ENGINE),
        about("PHEV", "a plug-in hybrid with 84 NMC cells in series"),
    )
    add(
        "huizhen_ebus",
        BUS_NODES,
        bus_messages(180, 15),
        "EBUS: an electric city bus with 180 LFP cells in series, invented by Huizhen. J1939, 250 kbit/s. Standard "
        "parameter groups where there are such, Proprietary B for the rest.",
        protocol="J1939",
        bitrate=250_000,
    )
    nodes = EV_NODES
    fast = DRIVE.replace(" 20 8 protected", " 10 8 protected")
    pack = BMS.replace("CELLS", "198").replace(" 20 8 protected", " 10 8 protected")
    more = MORE.replace("INV 20 8", "INV 10 8").replace("ESC 20 8", "ESC 10 8").replace("EPS 20 8", "EPS 10 8")
    whole = parse(fast + pack + CHARGER + more + FAST, fd=True)
    chassis = [one for one in whole if one.sender in ("ESC", "EPS", "TPM")] + parse(CHASSIS_FAST, fd=True)
    drive = [one for one in whole if one.sender not in ("ESC", "EPS", "TPM")]
    what = "an 800 V car with 198 NMC cells in series (CAN FD, {bus} bus)"
    plain = [(name, text, 0, 0) for name, text, _, _ in nodes]
    add("huizhen_ev800", nodes, drive, about("EV800", what.format(bus="powertrain")))
    add("huizhen_ev800_battery", plain, cmu_messages(198, 6), about("EV800", what.format(bus="battery")))
    add("huizhen_ev800_chassis", plain, chassis, about("EV800", what.format(bus="chassis")))
    return out


def main() -> int:
    """Writes or checks the files; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    check = parser.parse_args().check
    wrong = []
    for path, text in files().items():
        if not path.exists() or path.read_text("utf-8") != text:
            wrong.append(path)
            if not check:
                path.write_text(text, "utf-8")
    print("\n".join(f"{'differs' if check else 'written'}: {path.name}" for path in wrong) or "nothing to write")
    return int(check and bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
