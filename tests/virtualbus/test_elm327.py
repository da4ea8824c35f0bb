"""The adapter's firmware against the data sheet's answers, and python-OBD as the witness over TCP and a terminal."""

from __future__ import annotations

import contextlib
import re
import socket
import time

import obd
import pytest

from virtualbus.car import Car
from virtualbus.elm327 import Elm327
from virtualbus.elm327chips import CHIPS
from virtualbus.elm327front import Elm327Front
from virtualbus.fronts import FrontAddress, open_front, parse_front
from virtualbus.runner import CarRunner
from virtualbus.scenario import find_scenario
from virtualbus.transport import Frame

MS = 1_000_000


class Desk:
    """An adapter on a table: time is a number, the bus is a list."""

    def __init__(self, chip: str = "v2.2", answers: dict[bytes, list[tuple[int, str]]] | None = None) -> None:
        self.adapter = Elm327(CHIPS[chip], lambda: 12.6)
        self.now = 0
        self.answers = answers or {}
        self.sent: list[Frame] = []

    def ask(self, text: str, patience_ms: int = 20_000) -> str:
        """Writes a line and lets time pass until the prompt."""
        self.adapter.feed(text.encode() + b"\r", self.now)
        out = b""
        end = self.now + patience_ms * MS
        while self.now < end:
            got, frames = self.adapter.take()
            out += got
            for frame in frames:
                self.sent.append(frame)
                for can_id, data in self.answers.get(frame.data[: 1 + (frame.data[0] & 0x0F)], []):
                    self.now += 2 * MS
                    self.adapter.hear(Frame(can_id, bytes.fromhex(data)), self.now)
            if out.endswith(b">"):
                break
            self.now += 5 * MS
            self.adapter.poll(self.now)
        return out.decode()

    def quiet(self) -> Desk:
        for line in ("ATE0", "ATL0", "ATS0"):
            self.ask(line)
        return self


SPEED = {bytes.fromhex("02010d"): [(0x7E8, "03410d32aaaaaaaa")]}
VIN = {
    bytes.fromhex("020902"): [
        (0x7E8, "1014490201314734"),
        (0x7E8, "2147503030523535"),
        (0x7E8, "2242313233343536"),
    ]
}


def test_reset_says_who_it_is_and_echo_is_on():
    desk = Desk()
    assert desk.ask("ATZ") == "ATZ\r\n\r\n\r\nELM327 v2.2\r\n\r\n>"
    assert desk.ask("ATI") == "ATI\r\nELM327 v2.2\r\n\r\n>"


@pytest.mark.parametrize(
    ("setting", "request_text", "answers", "lines"),
    [
        ("ATH0", "010D", SPEED, ["410D32"]),
        ("ATH1", "010D", SPEED, ["7E803410D32AAAAAAAA"]),
        ("ATH0", "0902", VIN, ["014", "0:490201314734", "1:47503030523535", "2:42313233343536"]),
        ("ATH1", "0902", VIN, ["7E81014490201314734", "7E82147503030523535", "7E82242313233343536"]),
    ],
)
def test_answers_are_those_of_the_data_sheet(setting, request_text, answers, lines):
    """Standard: elm327.md section A4, ELM327 data sheet."""
    desk = Desk(answers=answers).quiet()
    desk.ask("ATSP6")
    desk.ask(setting)
    assert [line for line in desk.ask(request_text).rstrip(">").split("\r") if line] == lines


def test_first_frame_is_answered_with_flow_control_to_that_ecu():
    desk = Desk(answers=VIN).quiet()
    desk.ask("ATSP6")
    desk.ask("0902")
    assert [(f.can_id, f.data.hex()) for f in desk.sent] == [
        (0x7DF, "0209020000000000"),
        (0x7E0, "3000000000000000"),
    ]


def test_own_flow_control_header_and_bytes():
    desk = Desk(answers={bytes.fromhex("03220101"): [(0x7EC, "1014620101000000")]}).quiet()
    for line in ("ATSP6", "ATSH7E4", "ATFCSH7E4", "ATFCSD300F05", "ATFCSM1"):
        assert desk.ask(line).strip("\r>") == "OK"
    desk.ask("220101")
    assert [(f.can_id, f.data.hex()) for f in desk.sent] == [
        (0x7E4, "0322010100000000"),
        (0x7E4, "300f050000000000"),
    ]


def test_search_ends_with_the_protocol_that_answers_or_with_unable_to_connect():
    desk = Desk(answers={bytes.fromhex("020100"): [(0x7E8, "064100be1fa81300")]}).quiet()
    assert desk.ask("0100") == "SEARCHING...\r4100BE1FA813\r\r>"
    assert desk.ask("ATDPN").startswith("A6")
    assert desk.ask("0100") == "4100BE1FA813\r\r>"
    assert desk.ask("0105") == "NO DATA\r\r>"
    silent = Desk().quiet()
    assert silent.ask("0100") == "SEARCHING...\rUNABLE TO CONNECT\r\r>"


def test_wrong_bit_rate_is_a_can_error():
    desk = Desk(answers=SPEED).quiet()
    desk.ask("ATSP8")
    assert desk.ask("010D") == "CAN ERROR\r\r>"


def test_number_of_answers_ends_the_waiting_at_once():
    desk = Desk(answers=SPEED).quiet()
    desk.ask("ATSP6")
    before = desk.now
    desk.ask("010D")
    slow = desk.now - before
    before = desk.now
    desk.ask("010D1")
    assert desk.now - before < slow / 2


def test_response_pending_is_waited_for():
    desk = Desk(answers={bytes.fromhex("0322f195"): [(0x7EC, "037f227800000000")]}).quiet()
    desk.ask("ATSP6")
    desk.ask("ATSH7E4")
    desk.adapter.feed(b"22F195\r", desk.now)
    _, frames = desk.adapter.take()
    assert frames
    desk.adapter.hear(Frame(0x7EC, bytes.fromhex("037f227800000000")), desk.now)
    desk.now += 1500 * MS
    desk.adapter.poll(desk.now)
    desk.adapter.hear(Frame(0x7EC, bytes.fromhex("0662f1950102aaaa")), desk.now)
    desk.now += 300 * MS
    desk.adapter.poll(desk.now)
    out, _ = desk.adapter.take()
    assert out == b"7F2278\r62F1950102AA\r\r>"


def test_any_byte_stops_what_is_under_way():
    desk = Desk().quiet()
    desk.ask("ATSP6")
    desk.adapter.feed(b"010D\r", desk.now)
    desk.adapter.feed(b" ", desk.now)
    out, _ = desk.adapter.take()
    assert out == b"STOPPED\r\r>"


def test_monitor_fills_its_buffer_on_a_busy_bus():
    desk = Desk("clone-1.5").quiet()
    desk.ask("ATSP6")
    desk.ask("ATH1")
    desk.adapter.feed(b"ATMA\r", desk.now)
    for at in range(2000):
        desk.adapter.hear(Frame(0x100 + at % 16, bytes(8)), desk.now + at * MS)
    out, _ = desk.adapter.take()
    assert out.endswith(b"BUFFER FULL\r\r>")
    assert out.count(b"\r") > 10


def test_empty_line_repeats_and_nonsense_is_a_question_mark():
    desk = Desk(answers=SPEED).quiet()
    desk.ask("ATSP6")
    assert desk.ask("010D") == desk.ask("")
    for text in ("ATXYZ", "HELLO", "ATSPX", "0102030405060708090A", "ATST"):
        assert desk.ask(text).startswith("?"), text


@pytest.mark.parametrize("line", ["ATAL", "ATAT2", "ATCFC1", "ATFCSH7E4", "ATFCSM1", "ATCEA", "ATCRA7EX", "ATPPS"])
def test_clones_lack_or_only_pretend_what_came_later(line):
    assert Desk("v2.2").quiet().ask(line).split("\r")[0] != "?"
    assert Desk("clone-1.5").quiet().ask(line).startswith("?")
    pretending = Desk("clone-2.1")
    pretending.ask("ATZ", patience_ms=100)  # the first one is eaten
    assert pretending.quiet().ask(line).startswith("OK")


def test_clones_say_one_version_and_are_another_off_by_half_a_volt_and_short_of_lines():
    assert Desk("clone-1.5").quiet().ask("ATRV").startswith("13.1V")
    eaten = Desk("clone-2.1")
    assert ">" not in eaten.ask("ATZ", patience_ms=3000)
    assert "ELM327 v2.1" in eaten.ask("ATZ")
    long_answer = [(0x7E8, "1040490201314734"), *((0x7E8, f"2{n % 16:X}47503030523535") for n in range(1, 10))]
    cut = Desk("clone-2.1", answers={bytes.fromhex("020902"): long_answer})
    cut.ask("ATZ", patience_ms=100)
    cut.quiet()
    cut.ask("ATSP6")
    cut.ask("ATH1")
    assert cut.ask("0902").count("7E8") == 7


def test_names_of_the_front():
    assert parse_front("elm327") == FrontAddress("elm327")
    assert parse_front("elm327:0:clone-2.1") == FrontAddress("elm327", port=0, chip="clone-2.1")
    assert parse_front("elm327:pty") == FrontAddress("elm327", channel="pty")
    for text in ("elm327:", "elm327:99999", "elm327:pty:v9"):
        with pytest.raises(Exception, match="elm327"):
            parse_front(text)


@contextlib.contextmanager
def adapters(*addresses: str, scenario: str = "isolation"):
    fronts = [open_front(parse_front(text)) for text in addresses]
    runner = CarRunner(Car(find_scenario(scenario), 4), fronts)
    runner.start()
    try:
        yield fronts, runner.car
    finally:
        runner.stop()


@pytest.mark.parametrize("where", ["elm327:0", "elm327:pty", "elm327:0:clone-1.5"])
def test_python_obd_takes_it_for_a_real_adapter_in_a_real_car(where):
    with adapters(where) as (fronts, car):
        connection = obd.OBD(str(fronts[0].description["channel"]), fast=False, timeout=2)
        try:
            assert connection.status() == obd.OBDStatus.CAR_CONNECTED
            assert connection.protocol_id() == "6"
            assert connection.query(obd.commands.SPEED).value.magnitude == 0
            volts = connection.query(obd.commands.CONTROL_MODULE_VOLTAGE).value.magnitude
            assert volts == pytest.approx(car.plant.low_v, abs=0.1)
            read = connection.query(obd.commands.ELM_VOLTAGE).value.magnitude
            assert read == pytest.approx(car.plant.low_v, abs=0.6)
            # python-OBD knows one ECU and spells electric codes in lower case.
            codes = connection.query(obd.commands.GET_DTC).value
            assert [code.upper() for code, _ in codes] == ["P0AA6"]
            vin = bytes(connection.query(obd.commands.VIN, force=True).value).decode()
            assert car.vin.startswith(vin)
            assert len(vin) >= 15, "python-OBD cuts some VINs"
        finally:
            connection.close()


def test_several_ecus_and_a_second_client():
    with adapters("elm327:0") as (fronts, _):
        front = fronts[0]
        assert isinstance(front, Elm327Front)

        def talk(line: socket.socket, text: str) -> str:
            line.sendall(text.encode() + b"\r")
            out = b""
            end = time.monotonic() + 5
            while not out.endswith(b">") and time.monotonic() < end:
                out += line.recv(4096)
            return out.decode()

        with socket.create_connection(("127.0.0.1", front.port), timeout=5) as first:
            for line in ("ATZ", "ATE0", "ATH1", "ATSP6"):
                talk(first, line)
            seen = set(re.findall(r"^(7E[0-9A-F]) ", talk(first, "0100").replace("\r\n", "\n"), re.MULTILINE))
            assert seen == {"7E8", "7E9", "7EC", "7ED", "7EE", "7EF"}
            with socket.create_connection(("127.0.0.1", front.port), timeout=1) as second:
                second.sendall(b"ATI\r")
                with pytest.raises(TimeoutError):
                    second.recv(10)
                first.close()
                second.settimeout(5)
                assert b"ELM327" in second.recv(100), "it is served when the first has gone"
