"""What systemd hears of a service, at a real datagram socket."""

import asyncio
import contextlib
import os
import signal
import socket

import pytest
from servicekit import ServeProcess

from consult.service import ServiceConfig, running_service
from consult.systemdnotify import SystemdNotify
from consult.upkeep import COPY_DAYS, forget_copies


class Supervisor:
    """systemd's end of the line."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        self.socket.setblocking(False)

    async def hear(self):
        """The next datagram as its assignments."""
        async with asyncio.timeout(120):
            said = await asyncio.get_running_loop().sock_recv(self.socket, 4096)
        return dict(line.split("=", 1) for line in said.decode().split("\n"))

    async def hear_of(self, name):
        while name not in (said := await self.hear()):
            pass
        return said


@pytest.fixture(params=["path", "abstract"])
def line(request, tmp_path):
    name = str(tmp_path / "notify") if request.param == "path" else f"@huizhen-test-{os.getpid()}"
    supervisor = Supervisor(name)
    with contextlib.closing(supervisor.socket):
        yield name, supervisor


async def test_systemd_hears_when_the_service_is_ready_alive_and_ending(line):
    name, supervisor = line
    notify = SystemdNotify({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}, pid=7)
    assert notify.watchdog_s == 3.0
    notify.ready("0 rooms")
    assert await supervisor.hear() == {"READY": "1", "STATUS": "0 rooms", "MAINPID": str(os.getpid())}
    notify.alive("0 rooms")
    assert await supervisor.hear() == {"WATCHDOG": "1"}
    notify.alive("1 rooms\nREADY=0")
    assert await supervisor.hear() == {"WATCHDOG": "1", "STATUS": "1 rooms READY=0"}
    notify.stopping()
    assert await supervisor.hear() == {"STOPPING": "1"}


@pytest.mark.parametrize(
    "environment",
    [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": "/nobody/listens/here"}],
)
def test_without_systemd_nothing_is_said_and_nothing_fails(environment):
    notify = SystemdNotify({"WATCHDOG_USEC": "1000", **environment})
    notify.ready()
    notify.alive()
    notify.stopping()


@pytest.mark.parametrize(
    "more", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "8"}]
)
def test_a_watchdog_that_is_not_ours_is_not_fed(more):
    assert SystemdNotify({"NOTIFY_SOCKET": "/run/notify", **more}, pid=7).watchdog_s is None


async def test_a_service_process_says_it_all(tmp_path, monkeypatch):
    supervisor = Supervisor(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    with contextlib.closing(supervisor.socket):
        async with ServeProcess(tmp_path / "data") as service:
            said = await supervisor.hear()
            assert said["READY"] == "1"
            assert said["MAINPID"] == str(service.process.pid)
            for _ in range(3):
                assert (await supervisor.hear())["WATCHDOG"] == "1"
            assert (await service.end(signal.SIGTERM))[0] == 0
            assert await supervisor.hear_of("STOPPING") == {"STOPPING": "1"}


async def test_a_service_whose_keeper_hangs_stops_feeding_the_watchdog(tmp_path, monkeypatch, eventually):
    supervisor = Supervisor(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    with contextlib.closing(supervisor.socket):
        async with running_service(ServiceConfig(data=tmp_path, state=tmp_path / "service.db")) as service:
            await supervisor.hear_of("WATCHDOG")
            hung, release = asyncio.Event(), asyncio.Event()

            async def hang():
                hung.set()
                await release.wait()

            service.keeper._tend = hang
            await hung.wait()
            while True:  # what was said before
                try:
                    supervisor.socket.recv(4096)
                except BlockingIOError:
                    break
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3):
                    await supervisor.hear()
            release.set()


def test_copies_of_before_a_change_do_not_stay_for_ever(tmp_path):
    path, now_s = tmp_path / "service.db", 2_000_000_000
    for name, days in (("service.db", 99), ("service.db.before-a", COPY_DAYS + 1), ("service.db.before-b", 1)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, now_s - days * 86_400))
    assert forget_copies(path, now_s) == ["service.db.before-a"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["service.db", "service.db.before-b"]
