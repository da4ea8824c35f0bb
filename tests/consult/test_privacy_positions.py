"""Where the car is stays in the car, unless the workshop wants otherwise."""

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from privacykit import HOME, MovedClock, get, hello, invited, post, privacy_config, report_of, technician, visitor

from consult.batches import encode_batch
from consult.consenttexts import TEXTS, version_of
from consult.errors import ServerUnreachable
from consult.messages import Event
from consult.positions import (
    columns_of,
    frames_without,
    is_position,
    mode_of,
    position_keys,
    raw_without,
    samples_without,
    tree_without,
)
from consult.rawframes import encode_raw, parse_raw
from consult.service import running_service
from consult.wire import encode_samples, kind_of, parse_samples
from dbc.database import load, load_bytes
from diag.frames import Frame
from diag.samples import SampleBlock, SignalInfo, StreamSchema
from huizhen.console import standard
from huizhen.errors import BadSettings
from huizhen.language import Translator
from huizhen.roomconsents import RoomConsents
from huizhen.roomprivacy import PositionGate, RoomPrivacy, load_room_privacy

ROOT = Path(__file__).parents[2]
LAT, LON = 39.9042, 116.3975
PLACES = [
    ("GPS_Latitude", ""), ("GPSLat", "deg"), ("Lat", "deg"), ("VehLon", "°"), ("经度", ""), ("车辆定位_纬度", "°"),
    ("GnssPosX", "m"), ("NavDestination", ""), ("GPS_Alt", "m"), ("gpslatitude", ""), ("Latitude", ""),
    ("VP_Longitude", "deg"), ("GPS_位置", ""), ("BDS_Lon", ""), ("HMI_StreetName", ""), ("lon", "°E"),
    ("GPSLongitudeDegrees", "degree"), ("LONGITUDE", "deg"), ("导航目的地", ""), ("TBOX_GPS_Lng", "1e-6 deg"),
]  # fmt: skip
OTHERS = [
    ("LateralAcceleration", "m/s2"), ("LongAcc", "m/s^2"), ("Lat_Acc", "g"), ("LongitudinalVelocity", "m/s"),
    ("GearPosition", ""), ("AcceleratorPedalPosition", "%"), ("GPSStatus", ""), ("GPSSatellites", ""),
    ("GPSModuleStatus", ""), ("Latency", "ms"), ("LatchPos", ""), ("Latitude_Valid", ""), ("GPS_Speed", "km/h"),
    ("SteeringAngle", "deg"), ("位置传感器", "%"), ("CellVoltage_001", "V"), ("NavVolume", ""), ("DoorPosition", ""),
    ("RotorPosition", "deg"), ("PlatformTemp", "degC"), ("YawRate_Lat", "deg/s"), ("ESP_LatAccel", ""),
]  # fmt: skip
DBC = b"""VERSION ""
BS_:
BU_: TBOX
BO_ 1200 TBOX_Position: 8 TBOX
 SG_ GPS_Latitude : 0|32@1- (1E-6,0) [-90|90] "deg" Vector__XXX
 SG_ GPS_Longitude : 32|32@1- (1E-6,0) [-180|180] "deg" Vector__XXX
BO_ 1201 TBOX_State: 8 TBOX
 SG_ GPS_Satellites : 0|8@1+ (1,0) [0|40] "" Vector__XXX
BO_ 2566845438 VP: 8 TBOX
 SG_ Latitude : 0|32@1+ (1E-7,-210) [-210|211] "deg" Vector__XXX
"""


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "unit"), PLACES)
def test_names_that_tell_where_the_car_is(name, unit):
    assert is_position(name, unit)


@pytest.mark.parametrize(("name", "unit"), OTHERS)
def test_names_that_only_sound_like_it(name, unit):
    assert not is_position(name, unit)


def test_no_signal_of_the_databases_here_is_taken_for_a_position(shared):
    files = sorted((ROOT / "dbc" / "files").glob("*.dbc")) + sorted((shared / "data").rglob("*.dbc"))
    found = [
        (signal.name, signal.unit) for file in files for message in load(file).messages for signal in message.signals
    ]
    assert len(found) > 1_000
    assert [one for one in found if is_position(*one)] == []


def test_positions_of_gbt_32960_are_recognised_by_the_decoder_s_own_names():
    text = (ROOT / "diag" / "gbt32960units.py").read_text(encoding="utf-8")
    body = text[text.index("def _position(") : text.index("def _position_2016(")]
    names = set(re.findall(r'"(longitude|latitude)"', body))
    assert names == {"longitude", "latitude"}
    assert all(is_position(name) for name in names)


# -- frames and blocks -----------------------------------------------------------------------------------------------


def frame(can_id, *, extended=False, data=b"\x11" * 8, t_ns=1_000_000):
    return Frame(can_id, data, t_ns=t_ns, extended=extended)


def test_frames_are_recognised_by_database_and_by_parameter_group():
    keys = position_keys([load_bytes(DBC, "p.dbc")])
    assert keys == {1200, 0x98FEF3FE}
    kept = [frame(1201), frame(0x18FEF100, extended=True), frame(65267)]
    gone = [frame(1200), frame(0x18FEF333, extended=True), frame(0x18FEF3FE, extended=True)]
    gone += [frame(0x09F80100 | source, extended=True) for source in (0, 7)]  # NMEA 2000, PGN 129025
    assert frames_without([*kept, *gone], keys) == tuple(kept)
    assert frames_without([frame(0x18FEF333, extended=True)], frozenset()) == (), "trucks share this group"


def test_a_raw_block_keeps_its_places_and_times():
    frames = [frame(0x100), frame(0x18FEF333, extended=True, t_ns=3_000_000), frame(0x200, t_ns=5_000_000)]
    data = encode_raw(frames, stream=2, epoch=1, seq=7)
    head, found = parse_raw(raw_without(data))
    assert (head.seq, head.count, len(raw_without(data))) == (7, 3, len(data))
    assert [one.data for one in found] == [b"\x11" * 8, bytes(8), b"\x11" * 8]
    assert [one.t_ns for one in found] == [1_000_000, 3_000_000, 5_000_000]
    plain = encode_raw(frames[::2], stream=2, epoch=1, seq=8)
    assert raw_without(plain) is plain


def block(seq=0, values=(LAT, 3.9, LON), valid=(True, True, True), stream=1, epoch=5):
    return encode_samples(
        stream=stream, epoch=epoch, seq=seq, t_us=1_700_000_000_000_000 + seq, values=np.array(values, np.float32),
        valid=np.array(valid, np.bool_),
    )  # fmt: skip


SCHEMA = {
    "stream": 1,
    "signals": [
        {"name": "GPS_Latitude", "unit": "deg"},
        {"name": "CellVoltage_001", "unit": "V"},
        {"name": "GPS_Longitude", "unit": "deg"},
    ],
}


def test_samples_lose_their_positions_or_their_decimals():
    assert columns_of(SCHEMA) == ((0, 2), ())
    assert columns_of(SCHEMA, "coarse") == ((), (0, 2))
    off = parse_samples(samples_without(block(), (0, 2)))
    assert off.valid.tolist() == [False, True, False]
    assert off.values[1] == np.float32(3.9)
    assert np.float32(LAT).tobytes() not in samples_without(block(), (0, 2))
    rough = parse_samples(samples_without(block(), (), (0, 2)))
    assert rough.values[[0, 2]].tolist() == pytest.approx([39.90, 116.40], abs=1e-4)
    unseen = parse_samples(samples_without(block(valid=(False, True, True)), (), (0, 2)))
    assert unseen.valid.tolist() == [False, True, True], "unseen is not zero"


EXACT = [
    ("GPS_Latitude", "1e-7 deg", 399042000.0), ("GPS_Longitude", "", 116.3975), ("Lat", "arcsec", 143655.1),
    ("Longitude", "semicircles", 1388700000.0), ("GPS_Alt", "m", 43.5), ("NavDestX", "deg", 116.3975),
]  # fmt: skip


@pytest.mark.parametrize(("name", "unit", "value"), EXACT)
async def test_security_what_cannot_be_rounded_to_a_kilometre_is_not_sent_at_all(name, unit, value):
    schema = {"signals": [{"name": name, "unit": unit}]}
    assert columns_of(schema, "coarse") == ((0,), ())
    assert tree_without({"name": name, "unit": unit, "value": value}, "coarse")["value"] is None

    class Other(Stream):
        schema = StreamSchema(1, (SignalInfo(name, unit), SignalInfo("CellVoltage_001", "V")))

        async def blocks(self):
            yield SampleBlock(1, np.array([value, 3.9], np.float32), np.ones(2, np.bool_))

    stream = RoomPrivacy("coarse").stream(Other())
    assert [one.name for one in stream.schema.signals] == ["CellVoltage_001"]
    assert [one.values.tolist() async for one in stream.blocks()] == [pytest.approx([3.9])]


@pytest.mark.parametrize("unit", ["°", "deg", "Degree", "degrees", "度"])
def test_degrees_are_rounded_and_numbers_that_are_none_go(unit):
    schema = {"signals": [{"name": "Latitude", "unit": unit}]}
    assert columns_of(schema, "coarse") == ((), (0,))
    assert tree_without({"name": "Latitude", "unit": unit, "value": LAT}, "coarse")["value"] == 39.9
    assert tree_without({"name": "Latitude", "unit": unit, "value": 399042000}, "coarse")["value"] is None
    scaled = parse_samples(samples_without(block(values=(399042000.0, 3.9, LON)), (), (0, 2)))
    assert scaled.valid.tolist() == [False, True, True]


def test_a_report_loses_the_readings():
    report = {"freeze_frames": [{"readings": [
        {"name": "Latitude", "value": LAT, "unit": "deg", "raw": "17C8"}, {"name": "Speed", "value": 3, "raw": "03"},
    ]}]}  # fmt: skip
    readings = tree_without(report, "off")["freeze_frames"][0]["readings"]
    assert readings == [
        {"name": "Latitude", "value": None, "unit": "deg", "raw": ""},
        {"name": "Speed", "value": 3, "raw": "03"},
    ]
    assert tree_without(report, "coarse")["freeze_frames"][0]["readings"][0]["value"] == 39.9
    assert tree_without(report, "on") is report


@pytest.mark.parametrize(
    ("allows", "mode"),
    [({}, "off"), ({"position": "on"}, "on"), ({"position": "coarse"}, "coarse"), ({"position": 1}, "off")],
)
def test_who_says_nothing_means_off(allows, mode):
    assert mode_of(allows) == mode


# -- the laptop ------------------------------------------------------------------------------------------------------


class Stream:
    """A stream as the laptop has one."""

    schema = StreamSchema(
        1, (SignalInfo("GPS_Latitude", "deg"), SignalInfo("CellVoltage_001", "V"), SignalInfo("GPS_Longitude", "deg"))
    )

    async def blocks(self):
        yield SampleBlock(1, np.array([LAT, 3.9, LON], np.float32), np.ones(3, np.bool_))


async def test_the_laptop_announces_and_sends_no_position_by_default():
    stream = RoomPrivacy().stream(Stream())
    assert [one.name for one in stream.schema.signals] == ["CellVoltage_001"]
    (sent,) = [one async for one in stream.blocks()]
    assert sent.values.tolist() == pytest.approx([3.9])
    (rough,) = [one async for one in RoomPrivacy("coarse").stream(Stream()).blocks()]
    assert rough.values.tolist() == pytest.approx([39.90, 3.9, 116.40], abs=1e-4)
    own = Stream()
    own.schema = StreamSchema(1, (SignalInfo("CellVoltage_001", "V"),))
    assert RoomPrivacy("on").stream(own) is own


@pytest.mark.parametrize("mode", ["on", "coarse"])
async def test_withdrawn_positions_no_longer_leave_the_laptop_and_come_back_when_agreed(mode):
    privacy, database = RoomPrivacy(mode), load_bytes(DBC, "p.dbc")
    stream = privacy.stream(Stream())
    assert len(stream.schema.signals) == 3, "announced once, before anybody withdraws"

    async def sent():
        (block,) = [one async for one in stream.blocks()]
        assert np.isnan(block.values[~block.valid]).all(), "the bytes of a value that is not told are none"
        return block.valid.tolist()

    async def bus():
        yield (frame(1200), frame(1201))

    def told(withdrawn):
        return Event(1, 0, "position", {"id": 0, "role": "service", "name": ""}, "", "", {"withdrawn": withdrawn})

    assert await sent() == [True] * 3
    privacy.gate.take(told(True))
    assert await sent() == [False, True, False]
    assert [one async for one in privacy.frames(bus(), [database])] == [(frame(1201),)]
    for broken in ("yes", None, 1):
        privacy.gate.take(told(broken))
        assert privacy.gate.is_shut, "only the word itself opens it"
    privacy.gate.take(told(False))
    assert await sent() == [True] * 3
    kept = [one async for one in privacy.frames(bus(), [database])]
    assert kept == [(frame(1200), frame(1201)) if mode == "on" else (frame(1201),)]


class Line:
    """What the terminal asks of the service, which may not answer."""

    def __init__(self, *, is_dead):
        self.is_dead, self.asked = is_dead, []

    async def ask(self, method, what, body=None):
        if self.is_dead:
            raise ServerUnreachable("https://a.example", "cut")
        self.asked.append((method, what, body))
        return {"position": {"mode": "on", "withdrawn": False}, "consents": []}

    async def privacy(self):
        return {"consents": {"position": {"text": {"en": "WORDING", "zh": "…"}, "version": "7"}}}


@pytest.mark.parametrize("words", ["/withdraw position", "/position off"])
async def test_typed_in_the_terminal_the_gate_shuts_also_without_a_line(words, capsys):
    for is_dead in (True, False):
        gate, line = PositionGate(), Line(is_dead=is_dead)
        consents = RoomConsents(line, {}, standard(Translator("en")), gate)
        assert await consents.take(words)
        assert gate.is_shut
    assert await consents.take("/position on")
    assert not gate.is_shut
    assert line.asked[-1] == ("POST", "consent", {"kind": "position", "given": True, "lang": "en", "version": "7"})
    assert "WORDING" in capsys.readouterr().out


async def test_raw_frames_and_the_bundle_s_tape_hold_no_position():
    from diag.tape import Tape

    database = load_bytes(DBC, "p.dbc")

    async def bus():
        yield (frame(1200), frame(1201))
        yield (frame(1200),)

    assert [one async for one in RoomPrivacy().frames(bus(), [database])] == [(frame(1201),)]
    tape = Tape(frames=[frame(1200), frame(1201)])
    kept = RoomPrivacy().tape(tape, [database])
    assert [one.data for one in kept.frames] == [bytes(8), b"\x11" * 8]
    assert tape.frames[0].data == b"\x11" * 8, "what the scan itself saved is its own"


def test_settings_of_the_room(monkeypatch, tmp_path):
    from huizhen.settings import set_value

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load_room_privacy() == RoomPrivacy("off", (), None)
    set_value("room.position", "coarse")
    set_value("room.regions", "CN, HK")
    set_value("room.retention-days", "30")
    assert load_room_privacy() == RoomPrivacy("coarse", ("CN", "HK"), 30)
    assert load_room_privacy().allows() == {"position": "coarse", "regions": ["CN", "HK"], "retention_days": 30}
    with pytest.raises(BadSettings):
        set_value("room.position", "somewhere")
    with pytest.raises(BadSettings):
        set_value("room.regions", "cn")
    (tmp_path / "huizhen" / "config.toml").write_text('[room]\nposition = "on"\n', encoding="utf-8")
    assert load_room_privacy() == RoomPrivacy("on", (), None)


# -- the service, should a laptop send it all the same -----------------------------------------------------------------


async def stored(tmp_path, allows, *, raw=False):
    """What a service keeps and shows of a laptop that sends positions."""
    async with (
        running_service(privacy_config(tmp_path, MovedClock(), state=False)) as service,
        visitor(HOME) as laptop,
        visitor(HOME) as lead,
    ):
        token, path = await technician(laptop, service)
        assert (await invited(lead, service, path, "lead"))[0] == 200
        schemas = [SCHEMA, {"stream": 2, "kind": "raw", "signals": []}] if raw else [SCHEMA]
        report = report_of(freeze_frames=[{"readings": [{"name": "Latitude", "value": LAT, "unit": "deg"}]}])
        async with (
            laptop.ws_connect(f"{service.url}{path}/agent", headers={"Authorization": f"Bearer {token}"}) as agent,
            lead.ws_connect(f"{service.url}{path}/watch") as page,
        ):
            await agent.send_str(hello(report, allows, schemas))
            await agent.send_bytes(block(0))
            await agent.send_bytes(encode_batch([block(1), block(2)]))
            if raw:
                one = encode_raw([frame(0x18FEF333, extended=True)], stream=2, epoch=5, seq=0)
                await agent.send_bytes(one)
            seen = []
            async with asyncio.timeout(120):
                while len(seen) < 3 + raw:
                    message = await page.receive()
                    if message.type.name == "BINARY":
                        seen.append(message.data)
            room = service.rooms[path[3:]]
            while room.has_unwritten:  # noqa: ASYNC110 - it is written by a thread
                await asyncio.sleep(0.02)
            kept = [data for _, data in await asyncio.to_thread(room.journal.blocks, 1, 5, 0, 9)]
            documents = await asyncio.to_thread(room.journal.documents, "report")
            seen.sort(key=kind_of)
            return SimpleNamespace(seen=seen, kept=kept, report=documents[-1][1])


@pytest.mark.parametrize("allows", [{}, {"position": "off"}])
async def test_the_service_drops_what_the_laptop_should_have_kept_back(tmp_path, allows):
    found = await stored(tmp_path, allows, raw=True)
    assert len(found.kept) == 3
    for data in (*found.kept, *found.seen[:3]):
        assert parse_samples(data).valid.tolist() == [False, True, False]
        assert np.float32(LAT).tobytes() not in data
    assert parse_raw(found.seen[3])[1][0].data == bytes(8)
    assert found.report["freeze_frames"][0]["readings"][0]["value"] is None


async def test_the_service_keeps_positions_where_the_workshop_wants_them(tmp_path):
    found = await stored(tmp_path, {"position": "on"})
    assert found.kept == [block(0), block(1), block(2)]
    assert found.report["freeze_frames"][0]["readings"][0]["value"] == LAT


async def test_a_consent_for_positions_can_be_withdrawn_while_the_room_runs(tmp_path, eventually):
    clock = MovedClock()
    config = privacy_config(tmp_path, clock)
    async with visitor(HOME) as laptop:
        async with running_service(config) as service:
            token, path = await technician(laptop, service)
            where, bearer = f"{service.url}{path}/agent", {"Authorization": f"Bearer {token}"}
            room = service.rooms[path[3:]]
            async with laptop.ws_connect(where, headers=bearer) as agent:
                await agent.send_str(hello(report_of(), {"position": "on"}, [SCHEMA]))
                await agent.send_bytes(block(0))
                await eventually(lambda: room.blocks_in == 1)
                body = {"kind": "position", "given": False}
                assert (await post(laptop, service.url, f"{path}/consent", body, token))[0] == 200
                await agent.send_bytes(block(1))
                await agent.send_str(hello(report_of(), {"position": "on"}, [SCHEMA]))
                await agent.send_bytes(block(2))
                await eventually(lambda: room.blocks_in == 3)
                kept = [parse_samples(room.rings[1].find(seq)).valid.tolist() for seq in range(3)]
                assert kept == [[True] * 3, [False, True, False], [False, True, False]], "a new hello changes nothing"
                told = [one for one in room.events_after(0) if one["kind"] == "position"]
                assert [(one["body"], one["who"]["role"]) for one in told] == [({"withdrawn": True}, "technician")]
                await eventually(lambda: not room.has_unwritten)
        async with running_service(config) as service:
            room = service.rooms[path[3:]]
            assert room.positions.is_withdrawn, "nor does a restart"
            _, told = await get(laptop, service.url, f"{path}/consent", token)
            assert [(one["kind"], one["given"]) for one in told["consents"]] == [
                ("position", True),
                ("position", False),
            ]
            stale = {"kind": "position", "given": True, "version": "0" * 16}
            assert (await post(laptop, service.url, f"{path}/consent", stale, token))[0] == 409
            agreed = stale | {"version": version_of("position", TEXTS["position"])}
            assert (await post(laptop, service.url, f"{path}/consent", agreed, token))[0] == 200
            assert not room.positions.is_withdrawn
