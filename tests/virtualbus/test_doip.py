"""The DoIP gateway: the standard's messages by hand, doipclient and udsoncan as witnesses, tshark dissecting."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time

import pytest
import udsoncan
from doipclient import DoIPClient
from doipclient.connectors import DoIPClientUDSConnector
from udsoncan.client import Client

from virtualbus.car import Car
from virtualbus.doip import Entity, message
from virtualbus.fronts import open_front, parse_front
from virtualbus.runner import CarRunner
from virtualbus.scenario import find_scenario

VIN = "LHZEV4D07RA775411"
EID = bytes.fromhex("02485a010203")


def entity() -> Entity:
    return Entity(VIN, EID, {0x1001: "VCU", 0x1003: "BMS"})


ACTIVATE = bytes.fromhex("02fd0005000000070e800000000000")


def test_announcement_is_laid_out_as_the_standard_says():
    told = entity().announcement()
    assert told.hex() == "03fc000400000021" + VIN.encode().hex() + "1000" + EID.hex() * 2 + "0000"


def test_identification_by_vin_and_eid_answers_only_the_right_one():
    own = entity()
    assert own.datagram(bytes.fromhex("fff0") + b"") is None
    assert own.datagram(bytes.fromhex("ff00000100000000")) == own.announcement()
    assert own.datagram(message(3, VIN.encode())) == own.announcement()
    assert own.datagram(message(3, b"X" * 17)) is None
    assert own.datagram(message(2, EID)) == own.announcement()
    assert own.datagram(message(2, bytes(6))) is None
    assert own.datagram(message(3, b"short"))[8] == 0x04
    assert own.datagram(bytes.fromhex("02fc000100000000"))[8] == 0x00, "version and inverse disagree"
    assert own.datagram(message(0x0077, b""))[8] == 0x01


def test_activation_codes():
    own = entity()
    first, second = own.opened(), own.opened()
    answer, _ = own.feed(first, ACTIVATE)
    assert answer.hex() == "03fc0006000000090e8010001000000000"
    again, _ = own.feed(second, ACTIVATE)
    assert again[12] == 0x03
    assert second.is_over, "the tester address is in use on another socket"
    third = own.opened()
    assert own.feed(third, message(5, bytes.fromhex("1234") + bytes(5)))[0][12] == 0x00
    fourth = own.opened()
    assert own.feed(fourth, message(5, bytes.fromhex("0e81e0") + bytes(4)))[0][12] == 0x06


def test_diagnostics_need_activation_a_known_target_and_come_in_pieces():
    own = entity()
    line = own.opened()
    ask = message(0x8001, bytes.fromhex("0e80100322f190"))
    answer, requests = own.feed(line, ask)
    assert answer[2:4].hex() == "8003"
    assert answer[12] == 0x02
    assert requests == []
    own.closed(line)
    line = own.opened()
    own.feed(line, ACTIVATE)
    out, asked = b"", []
    for byte in ask:
        answer, requests = own.feed(line, bytes([byte]))
        out += answer
        asked += requests
    assert out.hex() == "03fc80020000000810030e800022f190"
    assert [(r.source, r.target, r.payload.hex()) for r in asked] == [(0x0E80, 0x1003, "22f190")]
    answer, requests = own.feed(line, message(0x8001, bytes.fromhex("0e80100922f190")))
    assert answer[12] == 0x03
    assert requests == []


def test_nonsense_on_tcp_is_refused_and_the_line_closed():
    own = entity()
    line = own.opened()
    answer, _ = own.feed(line, b"GET / HTTP/1.1\r\n")
    assert answer[2:4] == b"\0\0"
    assert answer[8] == 0x00
    assert line.is_over


@contextlib.contextmanager
def gateway(scenario: str = "isolation"):
    front = open_front(parse_front("doip:0"))
    runner = CarRunner(Car(find_scenario(scenario), 4), [front])
    runner.start()
    try:
        yield front.description, runner.car
    finally:
        runner.stop()


@contextlib.contextmanager
def client_of(told, ecu: str, tester: int = 0x0E00):
    address = int(told["ecus"][ecu], 16)
    line = DoIPClient("127.0.0.1", address, tcp_port=told["port"], udp_port=told["port"], client_logical_address=tester)
    try:
        yield line
    finally:
        line.close()
        line._udp_sock.close()


def test_doipclient_and_udsoncan_read_the_car():
    with gateway() as (told, car), client_of(told, "BMS") as line:
        seen = line.request_vehicle_identification()
        assert seen.vin == car.vin
        assert line.request_entity_status().node_type == 0
        assert line.request_diagnostic_power_mode().diagnostic_power_mode == 1
        assert line.request_alive_check().source_address == 0x1000
        config = {**udsoncan.configs.default_client_config, "data_identifiers": {0xF190: udsoncan.AsciiCodec(17)}}
        with Client(DoIPClientUDSConnector(line), config=config) as client:
            assert client.read_data_by_identifier(0xF190).service_data.values[0xF190] == car.vin
            codes = client.get_dtc_by_status_mask(0x08).service_data.dtcs
            assert [code.id for code in codes] == [0x0AA61A]
            slow = client.get_dtc_extended_data_by_dtc_number(0x0AA61A, 0xFF, data_size=1)
            assert slow.data.hex().startswith("060aa61a"), "response pending came first and was waited for"


def test_several_testers_at_once_get_their_own_answers():
    with gateway("healthy") as (told, _):
        found = {}

        def ask(number: int) -> None:
            ecu = ("VCU", "BMS", "INV", "ESC")[number % 4]
            with client_of(told, ecu, 0x0E10 + number) as line:
                line.send_diagnostic(b"\x22\xf1\x97")
                found[number] = (ecu, bytes(line.receive_diagnostic()))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(found) == 6
        assert all(answer == b"\x62\xf1\x97" + ecu.encode() for ecu, answer in found.values())


def test_functional_address_reaches_the_obd_ecus():
    with gateway("healthy") as (told, _), client_of(told, "VCU") as line:
        line.send_diagnostic_to_address(0xE400, b"\x3e\x00")
        seen = set()
        with contextlib.suppress(TimeoutError):
            while True:
                answer = line.read_doip(timeout=0.4)
                if type(answer).__name__ == "DiagnosticMessage":
                    seen.add(answer.source_address)
        assert len(seen) == 6


def test_announcements_come_on_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.255.255.255", 13400))
        listener.settimeout(3)
        with gateway("healthy") as (_, car):
            own = 0
            while own < 3:  # gateways of other tests may announce themselves, too
                own += car.vin.encode() in listener.recvfrom(200)[0]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_dissects_the_talk_without_a_malformed_message(tmp_path):
    """The bytes as a DoIP conversation in a capture made with text2pcap."""
    own = entity()
    line = own.opened()
    ask = message(0x8001, bytes.fromhex("0e80100322f190"))
    answer = message(0x8001, bytes.fromhex("10030e80") + b"\x62\xf1\x90" + VIN.encode())
    talk = [
        (ACTIVATE, own.feed(line, ACTIVATE)[0]),
        (ask, own.feed(line, ask)[0] + answer),
        (message(7, b""), own.feed(line, message(7, b""))[0]),
    ]
    text = ""
    for out, back in talk:
        for direction, data in (("O", out), ("I", back)):
            text += f"{direction}\n0000 " + " ".join(f"{byte:02x}" for byte in data) + "\n"
    (tmp_path / "talk.txt").write_text(text)
    subprocess.run(
        ["text2pcap", "-q", "-D", "-T", "50000,13400", tmp_path / "talk.txt", tmp_path / "talk.pcap"], check=True
    )
    shown = subprocess.run(
        ["tshark", "-r", tmp_path / "talk.pcap", "-d", "tcp.port==13400,doip", "-V"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "Malformed" not in shown
    assert "Routing activation response" in shown
    assert VIN in shown or VIN.encode().hex() in shown.replace(":", "")
    assert "Unified Diagnostic Services" in shown


def test_a_client_that_vanishes_leaves_the_others_alone():
    with gateway("healthy") as (told, _):
        for _ in range(12):
            line = socket.create_connection(("127.0.0.1", told["port"]), timeout=5)
            line.sendall(ACTIVATE)
            line.recv(100)
            line.close()
            time.sleep(0.02)
        with client_of(told, "VCU") as line:
            line.send_diagnostic(b"\x3e\x00")
            assert bytes(line.receive_diagnostic()) == b"\x7e\x00"
