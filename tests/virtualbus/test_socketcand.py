"""socketcand: the protocol word by word, and python-can's own driver against a running car."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import can
import pytest
from hypothesis import given
from hypothesis import strategies as st

from huizhen.cli import main
from huizhen.exits import Exit
from virtualbus.car import Car
from virtualbus.errors import FrontBroken
from virtualbus.fronts import open_front, parse_front
from virtualbus.runner import CarRunner
from virtualbus.scenario import find_scenario
from virtualbus.socketcand import Session, SocketcandFront
from virtualbus.transport import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def opened(*words: bytes) -> Session:
    session = Session()
    assert session.greeting() == "< hi >"
    for word in (b"< open can0 >", *words):
        assert session.feed(word, 0) == ("< ok >", [])
    return session


def test_raw_mode() -> None:
    session = opened(b"< rawmode >")
    assert session.feed(b"< send 7DF 8 2 1 0C 0 0 0 0 0 >", 0) == ("", [Frame(0x7DF, b"\2\1\x0c\0\0\0\0\0")])
    assert session.text_from_frame(Frame(0x123, b"\x11\x0a"), 23.424242) == "< frame 123 23.424242 110A >"
    assert session.feed(b"< send 123 0 >< echo >", 0) == ("< echo >", [Frame(0x123, b"")])


def test_words_may_come_in_pieces() -> None:
    session = opened(b"< rawmode >")
    assert session.feed(b"noise < se", 0) == ("", [])
    assert session.feed(b"nd 123 1 FF > <", 0) == ("", [Frame(0x123, b"\xff")])
    assert session.feed(b" echo >", 0) == ("< echo >", [])


@pytest.mark.parametrize(
    "word",
    [
        "< send 123 9 0 0 0 0 0 0 0 0 0 >",
        "< send 123 2 0 >",
        "< send 123 1 100 >",
        "< send XYZ 0 >",
        "< send 800 0 >",
        "< subscribe 0 0 123 >",
        "< fly >",
        "<  >",
    ],
)
def test_what_is_wrong_is_said(word: str) -> None:
    assert opened(b"< rawmode >").feed(word.encode(), 0) == ("< error unknown command >", [])


def test_another_bus_cannot_be_opened() -> None:
    session = Session()
    assert session.feed(b"< rawmode >", 0)[0] == "< error unknown command >"
    assert session.feed(b"< open can7 >", 0)[0] == "< error could not open bus >"
    assert session.is_over


def test_broadcast_manager_mode() -> None:
    session = opened()
    frame = Frame(0x123, b"\1")
    assert not session.text_from_frame(frame, 0.0)
    session.feed(b"< subscribe 0 0 123 >", 0)
    assert session.text_from_frame(frame, 1.5) == "< frame 123 1.500000 01 >"
    session.feed(b"< unsubscribe 123 >", 0)
    assert not session.text_from_frame(frame, 0.0)
    session.feed(b"< add 0 20000 7DF 2 1 0 >", 0)
    assert session.due(0) == [Frame(0x7DF, b"\1\0")]
    assert session.due(19_000_000) == []
    session.feed(b"< update 7DF 1 AA >", 0)
    assert session.due(20_000_000) == [Frame(0x7DF, b"\xaa")]
    session.feed(b"< delete 7DF >", 0)
    assert session.due(10**9) == []


@given(st.binary(max_size=300))
def test_nothing_that_is_said_breaks_a_session(data: bytes) -> None:
    session = opened(b"< rawmode >")
    answers, frames = session.feed(data, 0)
    assert answers.replace("< error unknown command >", "").replace("< echo >", "").replace("< ok >", "") == ""
    assert all(len(frame.data) <= 8 for frame in frames)


@contextmanager
def serving() -> Iterator[int]:
    front = SocketcandFront(0)
    runner = CarRunner(Car(find_scenario("healthy"), 1), [front])
    runner.start()
    try:
        yield front.port
    finally:
        runner.stop()


def answers(bus: can.BusABC, can_id: int, seconds: float) -> list[bytes]:
    end = time.monotonic() + seconds
    out: list[bytes] = []
    while not out and (left := end - time.monotonic()) > 0:
        message = bus.recv(left)
        if message is not None and message.arbitration_id == can_id:
            out.append(bytes(message.data))
    return out


def test_python_can_takes_it_for_socketcand() -> None:
    with (
        serving() as port,
        can.Bus(interface="socketcand", host="127.0.0.1", port=port, channel="can0") as bus,
        can.Bus(interface="socketcand", host="127.0.0.1", port=port, channel="can0") as other,
    ):
        ids = {message.arbitration_id for _ in range(300) if (message := bus.recv(1.0)) is not None}
        assert len(ids) > 5, "the car's broadcast"
        bus.send(can.Message(arbitration_id=0x7DF, data=bytes.fromhex("0201000000000000"), is_extended_id=False))
        assert answers(other, 0x7DF, 5.0), "one client sees what another sends"
        assert answers(bus, 0x7E8, 5.0)[0][1] == 0x41


def test_scan_over_socketcand(tmp_path: Path) -> None:
    """A program of its own serves; our scan goes through python-can's driver."""
    serve = [sys.executable, "-m", "huizhen", "sim", "run", "--front", "socketcand:0", "--scenario", "weak-cell"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        try:
            assert (said["front"], said["channel"]) == ("socketcand", "can0")
            environment = {
                **os.environ,
                "CAN_CONFIG": json.dumps({"host": said["host"], "port": said["port"]}),
                "XDG_DATA_HOME": str(tmp_path),
            }
            scan = [sys.executable, "-m", "huizhen", "scan", "-i", "socketcand", "-c", said["channel"], "--json"]
            done = subprocess.run(scan, env=environment, capture_output=True, text=True, timeout=60, check=False)
            report = json.loads(done.stdout)
            assert report["complete"], done.stderr
            assert [finding["code"] for finding in report["findings"]][:1] == ["battery.cell-weak"]
        finally:
            process.terminate()
            process.wait(20)


def test_a_client_that_does_not_read_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virtualbus.socketcand._MOST_PENDING", 5000)
    front = SocketcandFront(0)
    front.start(lambda _, __: None)
    try:
        with socket.create_connection(("127.0.0.1", front.port)) as link:
            link.sendall(b"< open can0 >< rawmode >")
            end = time.monotonic() + 10
            while not any(client.session.mode == "raw" for client in list(front._clients.values())):
                assert time.monotonic() < end
            begin = time.monotonic()
            for _ in range(200_000):
                front.send(Frame(0x123, bytes(8)))
            assert time.monotonic() - begin < 30
            (client,) = front._clients.values()
            assert len(client.pending) < 6000
    finally:
        front.stop()


def test_addresses() -> None:
    assert str(parse_front("socketcand")) == "socketcand"
    assert parse_front("socketcand:0").port == 0
    for text in ("socketcand:", "socketcand:x", "socketcand:70000"):
        with pytest.raises(FrontBroken):
            parse_front(text)
    front = open_front(parse_front("socketcand:0"))
    try:
        with pytest.raises(FrontBroken):
            open_front(parse_front(f"socketcand:{front.description['port']}"))
    finally:
        front.stop()
    assert main(["sim", "run", "--front", "socketcand:99999"]) == Exit.USAGE
