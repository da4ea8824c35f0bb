"""The room service as a process of its own, and HTTP clients that speak to it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys

import aiohttp


def free_port():
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServeProcess:
    """``huizhen consult serve`` that can be killed and started again on the same port and folder."""

    def __init__(self, folder, port=None, words=(), cwd=None):
        self.folder = folder
        self.cwd = cwd
        self.port = port or free_port()
        self.words = words
        self.process = None
        self.offer = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def start(self):
        """Starts it; it has said where it listens."""
        words = ("consult", "serve", "--port", str(self.port), "--data", str(self.folder), "--json", *self.words)
        environment = {**os.environ, "XDG_CONFIG_HOME": str(self.folder / "settings"), "PYTHONUNBUFFERED": "1"}
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "huizhen", *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment, cwd=self.cwd,
        )  # fmt: skip
        async with asyncio.timeout(120):
            line = await self.process.stdout.readline()
        if not line:
            raise AssertionError((await self.process.stderr.read()).decode())
        self.offer = json.loads(line)
        return self.offer

    async def end(self, number):
        """Sends a signal and waits for the end; returns the exit code and what it said on standard error."""
        if self.process is None or self.process.returncode is not None:
            return None, ""
        self.process.send_signal(number)
        async with asyncio.timeout(120):
            _, said = await self.process.communicate()
        return self.process.returncode, said.decode()

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            await self.end(signal.SIGKILL)


@contextlib.asynccontextmanager
async def browser_like():
    """A client with a jar of cookies, also for addresses."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


async def redeem(http, url, code, **more):
    """Redeems an invite: status, body, cookies."""
    async with http.post(f"{url}/redeem", json={"invite": code, **more}) as answer:
        return answer.status, await answer.json(), answer.cookies


def keys_of(folder):
    """The room keys of a :class:`ServeProcess`: its master key stands among its settings."""
    from consult.roomkeys import FOLDER, KeyStore

    return KeyStore(folder / FOLDER, master_file=folder / "settings" / "huizhen" / "room-master.key")


def bytes_in(folder):
    """Every byte of every file below a folder: path -> content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def where_found(folder, *needles):
    """The files that hold one of these byte strings, as they are or in hexadecimal."""
    forms = [form for one in needles for form in (one, one.hex().encode(), one.hex().upper().encode())]
    return sorted(str(path) for path, data in bytes_in(folder).items() if any(form in data for form in forms))
