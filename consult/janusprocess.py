"""A Janus of our own: its configuration, written into a private folder, and its process.

Only the videoroom plugin and the websocket transport are loaded: the folders named in the configuration hold links to
these two and nothing else. The API listens on loopback, takes only what knows a secret made for this run, and the
admin interface is off. The process ends with ours, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp

from consult.callerrors import MediaEngineBroken
from diag.facts import Text

if TYPE_CHECKING:
    from consult.mediaconfig import MediaConfig

__all__ = ["JanusProcess", "janus_files", "require_janus"]

_START_S: Final = 15.0
_STOP_S: Final = 5.0
_POLL_S: Final = 0.05
_LOG_TAIL: Final = 600
_LIBRARIES: Final = ("/usr/lib/*/janus", "/usr/lib/janus", "/usr/local/lib/janus", "/opt/janus/lib/janus")

_log = logging.getLogger(__name__)


def janus_files(config: MediaConfig, folder: Path, *, port: int, secret: str, interface: str) -> dict[str, str]:
    """The configuration as files by name.

    Args:
        config: ports and public address.
        folder: where they will stand, with ``plugins``, ``transports`` and ``none`` in it.
        port: of the API, on loopback.
        secret: of the API.
        interface: addresses or interfaces for media; empty takes all.
    """
    nat = ["ignore_mdns = true"]
    if interface:
        nat.append(f'ice_enforce_list = "{interface}"')
    if config.public_ip:
        nat.append(f'nat_1_1_mapping = "{config.public_ip}"')
    first, last = config.ports
    return {
        "janus.jcfg": f"""general: {{
    configs_folder = "{folder}"
    plugins_folder = "{folder}/plugins"
    transports_folder = "{folder}/transports"
    events_folder = "{folder}/none"
    loggers_folder = "{folder}/none"
    debug_level = 2
    debug_colors = false
    api_secret = "{secret}"
    session_timeout = 60
    hide_dependencies = true
}}
media: {{
    rtp_port_range = "{first}-{last}"
}}
nat: {{
    {"; ".join(nat)};
}}
""",
        "janus.transport.websockets.jcfg": f"""general: {{
    json = "compact"
    ws = true
    ws_ip = "127.0.0.1"
    ws_port = {port}
    ws_acl = "127.0.0.1"
    wss = false
}}
admin: {{
    admin_ws = false
    admin_wss = false
}}
""",
        "janus.plugin.videoroom.jcfg": f"""general: {{
    admin_key = "{secret}"
    lock_rtp_forward = true
}}
""",
    }


def require_janus(config: MediaConfig) -> Path:
    """Where the plugins and transports of a Janus are that can be started.

    Raises:
        MediaEngineBroken: it is not installed, or not whole.
    """
    if not config.janus.is_file():
        raise MediaEngineBroken(Text(f"no program {config.janus}", f"没有程序 {config.janus}"))
    for pattern in _LIBRARIES:
        for found in sorted(Path("/").glob(pattern.lstrip("/"))):
            if (found / "plugins" / "libjanus_videoroom.so").exists():
                return found
    raise MediaEngineBroken(
        Text(
            "the videoroom plugin is missing (Debian: apt install janus)",
            "缺少 videoroom 插件（Debian：apt install janus）",
        )
    )


class JanusProcess:
    """One run of Janus.

    Attributes:
        url, secret: of its API, once started.
    """

    def __init__(self, config: MediaConfig, interface: str) -> None:
        self._config = config
        self._interface = interface
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""
        self.secret = ""

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Starts it; returns when its API answers.

        Raises:
            MediaEngineBroken: it is not installed, or ends at once.
        """
        libraries = await asyncio.to_thread(require_janus, self._config)
        self._folder = tempfile.TemporaryDirectory(prefix="huizhen-janus-")
        folder = Path(self._folder.name)
        port = _free_port()
        self.secret = secrets.token_hex(24)
        self.url = f"ws://127.0.0.1:{port}"
        files = janus_files(self._config, folder, port=port, secret=self.secret, interface=self._interface)
        await asyncio.to_thread(_furnish, folder, files, libraries)
        words = [str(self._config.janus), "-F", str(folder), "-C", str(folder / "janus.jcfg")]
        if keeper := shutil.which("setpriv"):
            # A service that is killed leaves no engine behind.
            words = [keeper, "--pdeathsig", "KILL", *words]
        log = (folder / "janus.log").open("wb")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
            )
        except OSError as error:
            raise MediaEngineBroken(error.strerror or str(error)) from error
        finally:
            log.close()
        await self._wait_answering(folder)

    async def _wait_answering(self, folder: Path) -> None:
        process = self._process
        try:
            async with asyncio.timeout(_START_S), aiohttp.ClientSession() as http:
                while True:
                    if process is None or process.returncode is not None:
                        break
                    with contextlib.suppress(aiohttp.ClientError, OSError):
                        async with http.ws_connect(self.url, protocols=("janus-protocol",)):
                            return
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            pass
        said = await asyncio.to_thread(_tail, folder / "janus.log")
        _log.error("Janus did not start: %s", said)
        raise MediaEngineBroken(Text("Janus does not start; the log says why", "Janus 无法启动，原因见日志"))

    async def wait(self) -> None:
        """Waits for its end."""
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        """Ends it and clears up."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _furnish(folder: Path, files: dict[str, str], libraries: Path) -> None:
    for name in ("plugins", "transports", "none"):
        (folder / name).mkdir()
    (folder / "plugins" / "libjanus_videoroom.so").symlink_to(libraries / "plugins" / "libjanus_videoroom.so")
    transport = "libjanus_websockets.so"
    (folder / "transports" / transport).symlink_to(libraries / "transports" / transport)
    for name, text in files.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")


def _tail(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_bytes()[-_LOG_TAIL:].decode(errors="replace")
    return ""
