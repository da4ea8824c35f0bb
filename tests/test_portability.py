"""No module needs a POSIX system to be imported, and what only POSIX has is used in marked modules alone.

Continuous integration runs on Linux. What would break on Windows or macOS is found by looking at the code: a mark says
why a module may know its system, and what happens elsewhere.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import huizhen

ROOT = Path(huizhen.__file__).parent.parent
PACKAGES = ("dbc", "diag", "casebase", "virtualbus", "consult", "huizhen")

MARKED = {
    "consult/backupstore.py": "the lock of a folder of backups; elsewhere two at a time are not kept apart",
    "consult/boardfigures.py": "memory and page size out of /proc; None elsewhere",
    "consult/janusprocess.py": "Janus runs on Linux only; its libraries and programs stand in fixed folders",
    "consult/spoolfolder.py": "the lock of a room and the boot's number; Windows locks by itself",
    "consult/systemdnotify.py": "systemd's socket; says nothing where NOTIFY_SOCKET is not set",
    "consult/mediaconfig.py": "where Janus, which runs on Linux only, usually stands",
    "diag/adapters.py": "network interfaces and USB devices out of /sys; serial ports come from pyserial everywhere",
    "diag/busopening.py": "pseudo-terminals by their name; a socket option of Linux, asked for there only",
    "diag/canbus.py": "a bus whose descriptor the event loop can poll; elsewhere a thread receives",
    "diag/elm327.py": "pseudo-terminals by their name",
    "diag/serialport.py": "the claim on a serial port; Windows opens a port once only",
    "huizhen/dashboard.py": "signals on the event loop; elsewhere Ctrl-C is a key, and a kill is a kill",
    "huizhen/prerequisites.py": "who may open serial ports, looked at on Linux only",
    "huizhen/reports/printing.py": "ends the browser with all its processes; on Windows the browser alone",
    "huizhen/roomservice.py": "signals on the event loop; elsewhere Ctrl-C cancels the program",
    "virtualbus/pseudoterminal.py": "adapters on pseudo-terminals; elsewhere such a front is refused, TCP stays",
}
"""Module -> why it knows its system, and what it does on others."""

POSIX_MODULES = {"fcntl", "termios", "tty", "pty", "resource", "pwd", "grp", "syslog", "readline", "curses", "posix"}
POSIX_NAMES = {
    "os": {
        "fork", "forkpty", "openpty", "ttyname", "killpg", "getpgid", "setsid", "getuid", "geteuid", "getgid",
        "getegid",
        "getgroups", "getgrouplist", "setuid", "setgid", "initgroups", "uname", "sysconf", "statvfs", "mkfifo",
        "mknod", "chown",
        "lchown", "fchown", "fchmod", "nice", "sched_getaffinity", "sched_setaffinity", "getloadavg", "wait", "wait3",
        "wait4", "WNOHANG", "O_NOCTTY", "O_NONBLOCK", "O_NOFOLLOW", "O_DIRECTORY", "O_SYNC", "O_CLOEXEC", "sync",
        "fdatasync", "posix_fadvise", "posix_fallocate", "sendfile", "pread", "pwrite", "pipe", "pipe2",
        "set_blocking", "memfd_create",
        "eventfd", "getxattr", "setxattr", "chroot", "ctermid", "tcgetpgrp", "ptsname", "grantpt", "unlockpt",
    },
    "signal": {
        "SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGCHLD", "SIGWINCH", "SIGALRM", "SIGQUIT",
        "SIGSTOP", "SIGTSTP",
        "SIGCONT", "alarm", "setitimer", "pthread_sigmask", "pthread_kill", "sigwait", "pause", "siginterrupt",
    },
    "socket": {"AF_UNIX", "AF_CAN", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "SO_REUSEPORT", "send_fds", "recv_fds"},
    "time": {"tzset", "clock_gettime", "pthread_getcpuclockid"},
    "select": {"poll", "epoll", "kqueue"},
}  # fmt: skip
POSIX_METHODS = {
    "add_signal_handler", "add_reader", "add_writer", "create_unix_server", "create_unix_connection",
    "connect_read_pipe",
    "open_unix_connection", "start_unix_server", "sendmsg", "recvmsg", "UnixSite", "SockSite", "preexec_fn", "pass_fds",
}  # fmt: skip
POSIX_PLACES = ("/tmp", "/dev/", "/proc/", "/sys/", "/etc/", "/var/", "/usr/", "/run/", "sys/class")  # noqa: S108 - looked for


def modules() -> list[Path]:
    return [
        path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if "node_modules" not in path.parts
    ]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(node: ast.AST) -> set[str]:
    """Top-level names of the modules that an import statement takes."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module:
        return {node.module.partition(".")[0]}
    return set()


def run_at_import(tree: ast.Module) -> list[ast.stmt]:
    """Statements that run when the module is imported: all that do not stand in a function or under TYPE_CHECKING."""
    found: list[ast.stmt] = []

    def walk(body: list[ast.stmt]) -> None:
        for node in body:
            found.append(node)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            for field in ("body", "orelse", "finalbody"):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    walk(getattr(node, field, []))

    walk(tree.body)
    return found


def docstrings(tree: ast.Module) -> set[int]:
    """Identities of the constants that are documentation."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


def posix_uses(tree: ast.Module) -> list[tuple[int, str]]:
    """Line and name of everything in a module that only POSIX systems have."""
    found: list[tuple[int, str]] = []
    told = docstrings(tree)
    for node in ast.walk(tree):
        found += [(node.lineno, name) for name in imported(node) & POSIX_MODULES]
        if isinstance(node, ast.ImportFrom) and node.module in POSIX_NAMES:
            found += [(node.lineno, alias.name) for alias in node.names if alias.name in POSIX_NAMES[node.module]]
        elif isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if node.attr in POSIX_NAMES.get(owner, set()) or node.attr in POSIX_METHODS:
                found.append((node.lineno, f"{owner}.{node.attr}"))
        elif isinstance(node, ast.keyword) and node.arg in POSIX_METHODS:
            found.append((node.value.lineno, str(node.arg)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(POSIX_PLACES):
            found += [(node.lineno, node.value)] if id(node) not in told else []
    return found


def test_no_module_needs_posix_to_be_imported() -> None:
    wrong = [
        f"{name_of(path)}:{node.lineno}: {name}"
        for path in modules()
        for node in run_at_import(parsed(path))
        for name in imported(node) & POSIX_MODULES
    ]
    assert wrong == []


def test_what_only_posix_has_stands_in_marked_modules() -> None:
    wrong = [
        f"{name_of(path)}:{line}: {name}"
        for path in modules()
        if name_of(path) not in MARKED
        for line, name in posix_uses(parsed(path))
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(MARKED))
def test_a_mark_is_needed(name: str) -> None:
    assert posix_uses(parsed(ROOT / name)), "nothing in it needs the mark any more: take it away"


@pytest.mark.parametrize(
    "line",
    [
        "import fcntl", "from termios import TCSANOW", "import os\nos.fork()", "import signal\nsignal.SIGKILL",
        "from signal import SIGHUP", "loop.add_signal_handler(2, print)", "PLACE = '/tmp/x'", "import pty as terminal",
        "run(preexec_fn=print)",
    ],
)  # fmt: skip
def test_the_look_finds_it(line: str) -> None:
    assert posix_uses(ast.parse(line))


def test_text_and_other_names_are_left_alone() -> None:
    assert posix_uses(ast.parse('"""Looks into /dev/null."""\nimport os\nos.replace("a", "b")\nself.fork()')) == []


WITHOUT_POSIX = """
import builtins, importlib, sys
from pathlib import Path

ABSENT, OURS = {absent!r}, {ours!r}
real = builtins.__import__

def without(name, globals=None, locals=None, fromlist=(), level=0):
    asking = ((globals or {{}}).get("__name__") or "").partition(".")[0]
    if asking in OURS and name.partition(".")[0] in ABSENT:
        raise ImportError(f"No module named {{name!r}}", name=name)
    return real(name, globals, locals, fromlist, level)

builtins.__import__ = without
"""


def without_posix(code: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process in which our packages find no module of POSIX; the libraries still do."""
    begin = WITHOUT_POSIX.format(absent=POSIX_MODULES, ours=PACKAGES)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", begin + code], capture_output=True, text=True, check=False
    )


def test_every_module_is_imported_without_posix() -> None:
    names = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in modules()
        if path.name not in ("__main__.py", "elm327worker.py")
    )
    done = without_posix(f"for name in {names!r}:\n    importlib.import_module(name)\nprint('all')")
    assert (done.stdout.strip(), done.stderr) == ("all", "")


def test_the_simulated_car_is_scanned_without_posix() -> None:
    done = without_posix(
        "from huizhen.cli import main\n"
        "sys.exit(main(['scan', '--demo', '--lang', 'en', '--no-network', '--fail-on', 'low']))"
    )
    assert done.returncode == 1, done.stderr
    assert "SIMULATED CAR" in done.stdout


def test_a_front_that_needs_a_terminal_says_so() -> None:
    done = without_posix(
        "from huizhen.cli import main\n"
        "sys.exit(main(['sim', 'run', '--front', 'slcan', '--lang', 'en', '--duration', '1']))"
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pseudo-terminal" in done.stderr
