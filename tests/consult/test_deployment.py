"""What stands in deploy/ works: units, example configurations, proxies, images, each by the program that reads it."""

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import venv
import zipfile
from pathlib import Path

import aiohttp
import pytest
import yaml
from servicekit import ServeProcess, browser_like, free_port
from test_sharding import proxy_process

from consult.accounts import Account, PasswordCheck
from consult.configfile import load_config
from consult.servicestate import ServiceState
from huizhen.cli import main

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROGRAM = Path(sys.executable).with_name("huizhen")
UNITS = sorted([*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")])
NO_NEW_CODE = (
    "import ctypes, os, sys\n"
    "if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):\n"
    "    sys.exit(77)\n"
    "os.execvp(sys.argv[1], sys.argv[1:])\n"
)
"""What MemoryDenyWriteExecute= of systemd does, by the kernel's own means: prctl(PR_SET_MDWE), Linux 6.3."""


def lines_of(unit, name):
    return re.findall(rf"^{name}=(.*)$", (DEPLOY / unit).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture
def units(tmp_path):
    """The units as they stand in /etc, with the program of this environment."""
    folder = tmp_path / "units"
    folder.mkdir()
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        (folder / unit.name).write_text(text.replace("/opt/huizhen/bin/huizhen", str(PROGRAM)), encoding="utf-8")
    return folder


# -- systemd ---------------------------------------------------------------------------------------------------------

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="Debian's package systemd")


@needs_systemd
def test_systemd_understands_the_units(units):
    command = ["systemd-analyze", "verify", *map(str, sorted(units.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    broken = units / "huizhen.service"
    broken.write_text(broken.read_text().replace("WatchdogSec", "WatchdogSeconds"))
    done = subprocess.run(["systemd-analyze", "verify", str(broken)], capture_output=True, text=True, check=False)
    assert "WatchdogSeconds" in done.stderr, "else this test could not fail"


@needs_systemd
@pytest.mark.parametrize("unit", ["huizhen.service", "huizhen-backup.service"])
def test_systemd_finds_little_to_attack(units, unit):
    """On its scale from 0 to 10; Debian's own services stand at 8 and 9."""
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(units / unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


async def test_the_unit_s_command_serves_under_its_limits_and_keeps_the_invite_out_of_the_log(tmp_path, monkeypatch):
    (command,) = lines_of("huizhen.service", "ExecStart")
    port, data = free_port(), tmp_path / "rooms"
    config = (DEPLOY / "huizhen.toml").read_text(encoding="utf-8")
    config = config.replace("8443", str(port)).replace("/var/lib/huizhen/rooms", str(data))
    (tmp_path / "huizhen.toml").write_text(config, encoding="utf-8")
    command = command.replace("/opt/huizhen/bin/huizhen", str(PROGRAM))
    command = command.replace("/etc/huizhen/huizhen.toml", str(tmp_path / "huizhen.toml"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        environment = {
            **os.environ,
            "RUNTIME_DIRECTORY": str(tmp_path),
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "XDG_CONFIG_HOME": str(tmp_path / "settings"),
        }
        with ServiceState(data / "service.db") as state:
            state.put_account(Account("li", password=PasswordCheck.hash("li", "long enough a password")))
        process = await asyncio.create_subprocess_exec(
            *within_limits("huizhen.service"), *shlex.split(command), env=environment, stdout=-1, stderr=-1
        )
        try:
            async with asyncio.timeout(120):
                told = await asyncio.get_running_loop().sock_recv(systemd, 4096)
            assert b"READY=1" in told
            assert f"MAINPID={process.pid}".encode() in told, "the shell has made way for the service"
            url = f"http://127.0.0.1:{port}"
            async with browser_like() as http:
                async with http.get(f"{url}/health") as answer:
                    assert answer.status == 200
                body = {"name": "li", "password": "long enough a password"}
                async with http.post(f"{url}/login", json=body) as answer:  # Argon2 is native code
                    assert answer.status == 200
            offer = json.loads((tmp_path / "offers").read_text().splitlines()[-1])
            assert (tmp_path / "offers").stat().st_mode & 0o777 == 0o600
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(float(lines_of("huizhen.service", "TimeoutStopSec")[0])):
                out, err = await process.communicate()
            assert (process.returncode, out) == (0, b"")
            assert offer["technician_invite"].encode() not in err
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def within_limits(unit):
    """What a command is started with where the unit denies new code, that is memory both written and run."""
    return [sys.executable, "-c", NO_NEW_CODE] if lines_of(unit, "MemoryDenyWriteExecute") == ["yes"] else []


def test_data_channels_work_within_the_unit_s_limits():
    """The libraries behind WebRTC call back from native code: with MemoryDenyWriteExecute=yes this fails."""
    script = """
import asyncio
from aiortc import RTCConfiguration, RTCPeerConnection
async def main():
    here, there = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    got = asyncio.get_running_loop().create_future()
    there.on("datachannel", lambda channel: channel.on("message", got.set_result))
    channel = here.createDataChannel("live")
    channel.on("open", lambda: channel.send("through"))
    await here.setLocalDescription(await here.createOffer())
    await there.setRemoteDescription(here.localDescription)
    await there.setLocalDescription(await there.createAnswer())
    await here.setRemoteDescription(there.localDescription)
    print(await asyncio.wait_for(got, 60))
    await here.close()
    await there.close()
asyncio.run(main())
"""
    command = [*within_limits("huizhen.service"), sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "through\n", done.stderr


def test_a_backup_is_made_and_checked_within_the_unit_s_limits(tmp_path):
    if subprocess.run([sys.executable, "-c", NO_NEW_CODE, "true"], check=False).returncode:
        pytest.skip("this kernel cannot deny new code")
    limits = within_limits("huizhen-backup.service")
    assert limits
    data, store = tmp_path / "rooms", tmp_path / "store"
    ServiceState(data / "service.db").close()
    (tmp_path / "passphrase").write_text("long enough a phrase\n", encoding="utf-8")
    for command in lines_of("huizhen-backup.service", "ExecStart"):
        for old, new in {
            "/opt/huizhen/bin/huizhen": str(PROGRAM),
            "--config /etc/huizhen/huizhen.toml": f"--data {data}",
            "/var/backups/huizhen": str(store),
            "/var/lib/huizhen/drill": str(tmp_path / "drill"),
            "%d/": f"{tmp_path}/",
        }.items():
            command = command.replace(old, new)  # noqa: PLW2901 - bit by bit
        environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "settings")}
        done = subprocess.run(
            [*limits, *shlex.split(command)], capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["files"] == 2, "the database, and the key that signed"
    assert not (tmp_path / "drill").exists()


@pytest.mark.parametrize("service", ["coturn", "janus"])
def test_drop_ins_only_add_to_debian_s_units(service, tmp_path):
    installed = Path(f"/lib/systemd/system/{service}.service")
    if not installed.exists() or shutil.which("systemd-analyze") is None:
        pytest.skip("Debian's package is not installed")
    folder = tmp_path / f"{service}.service.d"
    folder.mkdir()
    shutil.copy(installed, tmp_path)
    shutil.copy(DEPLOY / f"{service}.service.d" / "huizhen.conf", folder)
    command = ["systemd-analyze", "verify", str(tmp_path / f"{service}.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    said = [line for line in done.stderr.splitlines() if "huizhen.conf" in line]
    assert said == []


# -- configurations --------------------------------------------------------------------------------------------------


def test_the_example_configuration_is_accepted(tmp_path, capsys):
    assert load_config(DEPLOY / "huizhen.toml")["port"] == 8443
    words = ["consult", "serve", "--config", str(DEPLOY / "huizhen.toml"), "--data", str(tmp_path), "--check", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["public_url"] == "https://rooms.example.com"
    assert len(found["relays"]) == 3


@pytest.mark.skipif(shutil.which("turnserver") is None, reason="tools/setup test installs coturn")
def test_coturn_understands_its_configuration(tmp_path):
    text = (DEPLOY / "turnserver.conf").read_text(encoding="utf-8")
    shared = re.search(r"^static-auth-secret=(.*)$", text, re.MULTILINE).group(1)
    assert load_config(DEPLOY / "huizhen.toml")["ice"][0].secret == shared
    text = re.sub(r"^(?:cert|pkey)=.*\n", "", text, flags=re.MULTILINE)
    port = free_port()
    text = text.replace("listening-port=3478", f"listening-port={port}\nlistening-ip=127.0.0.1\nno-tls\nno-dtls")
    for more, is_good in (("", True), ("\nno-such-setting=1\n", False)):
        config = tmp_path / "turnserver.conf"
        config.write_text(text + more)
        command = ["turnserver", "-c", str(config), "--pidfile="]
        with subprocess.Popen(command, stdout=-1, stderr=-2, cwd=tmp_path) as process:
            patience = threading.Timer(60, process.kill)
            patience.start()
            said = b""
            try:
                # It tells what it does not understand before it names its realm.
                for line in process.stdout:
                    said += line
                    if b"Default realm: turn.example.com" in line:
                        break
            finally:
                patience.cancel()
                process.kill()
        assert b"Default realm: turn.example.com" in said, said.decode()
        assert (b"Bad configuration format" not in said) is is_good, said.decode()


@pytest.fixture
def certificate(tmp_path):
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=rooms.example.com", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "chain")]
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path / "chain", tmp_path / "key"


@pytest.mark.skipif(shutil.which("nginx") is None, reason="tools/setup test installs nginx")
async def test_nginx_passes_on_what_the_service_needs_and_nothing_made_up(tmp_path, certificate):
    door, plain, inside = free_port(), free_port(), free_port()
    chain, key = certificate
    site = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    for old, new in {
        r"listen \[::\].*": "",
        r"listen 80;": f"listen 127.0.0.1:{plain};",
        r"listen 443 ssl": f"listen 127.0.0.1:{door} ssl",
        r"/\S+/fullchain\.pem": str(chain),
        r"/\S+/privkey\.pem": str(key),
        r"127\.0\.0\.1:8443": f"127.0.0.1:{inside}",
    }.items():
        assert re.search(old, site)
        site = re.sub(old, new, site)
    (tmp_path / "proxy").mkdir()
    (tmp_path / "huizhen.toml").write_text(
        f'public_url = "https://rooms.example.com:{door}"\ntrusted_proxies = ["127.0.0.1"]\n', encoding="utf-8"
    )
    service = ServeProcess(tmp_path / "data", inside, ("--config", str(tmp_path / "huizhen.toml")))
    headers = {"Host": f"rooms.example.com:{door}", "X-Forwarded-For": "203.0.113.9"}
    async with proxy_process(tmp_path / "proxy", site, [door, plain]), service, browser_like() as http:
        url = f"https://127.0.0.1:{door}"
        async with http.get(f"{url}/health", ssl=False, headers=headers) as answer:
            assert answer.status == 200
            assert answer.headers["Strict-Transport-Security"]
        async with http.get(f"http://127.0.0.1:{plain}/rooms", headers=headers, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (301, "https://rooms.example.com/rooms")
        async with http.get(f"{url}/health", ssl=False, headers={"Host": "evil.example.com"}) as answer:
            assert answer.status == 403
        code = service.offer["technician_invite"]
        async with http.post(f"{url}/redeem", json={"invite": code}, ssl=False, headers=headers) as answer:
            assert answer.status == 200
            body, cookie = await answer.json(), answer.cookies["huizhen_session"]
            assert cookie["secure"]
        own, address = f"https://rooms.example.com:{door}", f"wss://127.0.0.1:{door}{body['path']}/watch"
        more = {**headers, "Cookie": f"huizhen_session={cookie.value}", "Origin": own}
        async with http.ws_connect(address, ssl=False, headers=more) as channel, asyncio.timeout(120):
            assert (await channel.receive()).json()["type"] == "welcome"
        more["Origin"] = "https://evil.example.com"
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await http.ws_connect(address, ssl=False, headers=more)
        wrong = {"name": "li", "password": "wrong"}
        async with http.post(f"{url}/login", json=wrong, ssl=False, headers=headers) as answer:
            assert answer.status == 401
    with ServiceState(tmp_path / "data" / "service.db") as state:
        refused = [entry for _, entry in state.audit() if "login" in entry.what]
    assert refused
    assert "203.0.113.9" not in str(refused), "what a visitor says of themselves does not count"
    assert "127.0.0.1" in str(refused)


# -- images ----------------------------------------------------------------------------------------------------------


def stages():
    """Name of a stage of the container file -> its instructions as ``(word, rest)``."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Containerfile").read_text(encoding="utf-8"))
    found, current = {}, None
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            current = found.setdefault(rest.rpartition(" AS ")[2], [])
        current.append((word, rest))
    return found


def test_the_images_run_as_nobody_special_and_the_composition_holds_them_tight():
    found = stages()
    assert set(found) == {"build", "rooms", "turn", "janus"}
    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    assert set(composed["services"]) == set(found) - {"build"}
    for name, service in composed["services"].items():
        words = dict(found[name])
        assert words["USER"] not in ("root", "0")
        assert words["STOPSIGNAL"] == "SIGTERM"
        assert service["build"]["target"] == name
        assert (ROOT / "deploy" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
    (uid,) = re.findall(r"--uid (\d+)", str(found["rooms"]))
    assert any(f"uid={uid}" in mount for mount in composed["services"]["rooms"]["tmpfs"])


async def test_the_health_check_tells_a_service_that_is_well_from_none(tmp_path):
    words = dict(stages()["rooms"])["HEALTHCHECK"]
    _, _, command = words.partition("CMD ")
    assert "/health/live'" in command, "what is away outside ends no rooms here"
    async with ServeProcess(tmp_path) as service:
        check = [word.replace(":8443", f":{service.port}") for word in json.loads(command)]
        check[0] = sys.executable
        for is_well in (True, False):
            process = await asyncio.create_subprocess_exec(*check, stderr=asyncio.subprocess.DEVNULL)
            assert (await process.wait() == 0) is is_well
            await service.end(signal.SIGTERM)


def test_what_the_image_copies_is_enough_to_build_the_program(tmp_path):
    """Base images cannot be fetched everywhere: the build stage's own steps are gone, without the libraries."""
    source = tmp_path / "src"
    source.mkdir()
    for word, rest in stages()["build"]:
        if word != "COPY":
            continue
        *names, target = rest.split()
        for name in names:
            path = ROOT / name
            ignored = shutil.ignore_patterns("node_modules", "__pycache__")
            if path.is_dir():
                shutil.copytree(path, source / target, ignore=ignored)
            else:
                shutil.copy(path, source / target)
    (install,) = (rest for word, rest in stages()["build"] if word == "RUN" and "pip install" in rest)
    assert "/opt/huizhen/bin/pip install --no-cache-dir /src" in install
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path / "wheels"), str(source)]
    done = subprocess.run([*pip, *build], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "wheels").glob("huizhen-*.whl")
    assert "consult/static/index.html" in zipfile.ZipFile(wheel).namelist()
    venv.create(tmp_path / "venv", system_site_packages=False, with_pip=False)
    program = tmp_path / "venv" / "bin" / "python"
    install = [*pip, "--python", str(program), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    done = subprocess.run([str(program.with_name("huizhen")), "--version"], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("huizhen "), done.stderr


def test_documents_name_every_file_of_the_folder():
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    names = [str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()]
    assert [name for name in names if name not in text] == []


def test_examples_name_the_folder_that_the_service_really_has():
    (folder,) = re.findall(r'^data = "(.*)"$', (DEPLOY / "huizhen.toml").read_text(encoding="utf-8"), re.MULTILINE)
    texts = [*(ROOT / "docs").glob("*.md"), *(ROOT / "huizhen" / "language").glob("*.toml"), *DEPLOY.rglob("*")]
    named = {
        (path.name, found)
        for path in texts
        if path.is_file()
        for found in re.findall(r"(?:--data|consult verify) (/var/lib/[\w/-]+)", path.read_text(encoding="utf-8"))
    }
    assert ("roomdeletion.toml", folder) in named
    others = {(name, found) for name, found in named if not f"{found}/".startswith(f"{folder}/")}
    assert others == {("huizhen-backup.service", "/var/lib/huizhen/drill")}, "a restore on trial, and nothing else"
