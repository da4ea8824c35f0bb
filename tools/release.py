"""Builds a release and proves that it works without this checkout.

    python tools/release.py [-o dist] [--all] [PYTEST WORDS…]

1. wheel and sdist, and what is in them: the six packages, the built page, the catalogue, nothing of the checkout besides;
2. a wheel from the sdist alone (neither Node.js nor the network), which must hold the same files;
3. the wheel in an empty environment: the commands of the first minute, with none of our libraries' extras;
4. its tests, in a copy of the checkout without its packages: a slice, or with --all every test that does not look into
   those packages;
5. the list of parts (tools/sbom.py) beside the wheel, and SHA-256 of all of it.

    python tools/release.py --bounds      the lowest versions of pyproject.toml, installed by uv, and the slice on them
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dbc", "diag", "casebase", "virtualbus", "consult", "huizhen")
MUST = (
    "consult/static/index.html", "consult/static/page.sha256", "consult/static/licences.txt", "consult/openapi.json", "huizhen/language/scan.toml",
    "huizhen/commands/scan.py", "diag/rules/causes.toml", "huizhen/py.typed", "huizhen/language/errors_huizhen.toml",
)  # fmt: skip
LICENCES = ("LICENSE", "LICENSES/GPL-2.0-only.txt")
"""Texts that go along: in the sdist as they stand here, in the wheel among its metadata (PEP 639)."""

MUST_NOT = ("tests/", "docs/", "benchmarks/", "tools/", "deploy/", "consult/page/", ".ci/", ".github/")
SLICE = (
    "tests/test_language.py", "tests/test_names.py", "tests/test_portability.py", "tests/huizhen/test_command_line.py",
    "tests/huizhen/test_scan_command.py", "tests/huizhen/test_doctor_command.py", "tests/huizhen/test_log_command.py",
    "tests/dbc/test_dbc_decode.py", "tests/dbc/test_dbc_formats.py", "tests/dbc/test_recording_writers.py",
    "tests/diag/test_uds_service.py", "tests/diag/test_can_link.py", "tests/diag/test_doip_link.py",
    "tests/virtualbus/test_tester_witnesses.py", "tests/casebase/test_cases_store.py", "tests/casebase/test_cases_notices.py",
    "tests/consult/test_room.py", "tests/consult/test_state_store.py", "tests/consult/test_page_files.py",
)  # fmt: skip
LOOKS_AT_CHECKOUT = {
    "tests/test_contracts.py": "copies the packages' sources and pyproject.toml, to break imports on purpose",
    "tests/test_licences.py": "the page's npm lock file and what stands beside the packages",
    "tests/test_release_job.py": "what the archives must hold stands in the checkout",
    "tests/virtualbus/test_databases_are_made.py": "writes the databases anew and compares the checkout's",
    "tests/consult/test_deployment.py::test_what_the_image_copies_is_enough_to_build_the_program": (
        "copies the packages' sources as the image's recipe does"
    ),
    "tests/consult/test_deployment.py::test_examples_name_the_folder_that_the_service_really_has": (
        "reads the examples of the commands' sources"
    ),
    "tests/consult/test_page_build.py": "builds the page from its sources into the packages of the checkout",
    "tests/consult/test_privacy_positions.py::test_positions_of_gbt_32960_are_recognised_by_the_decoder_s_own_names": (
        "reads a module's source from the checkout"
    ),
    "tests/consult/test_privacy_positions.py::test_no_signal_of_the_databases_here_is_taken_for_a_position": (
        "reads the databases from the checkout"
    ),
    "tests/test_standards_list.py": "compares docs/standards.md with the packages' sources",
}
"""Tests that look into the packages of the checkout itself, with the reason."""

BESIDE = (
    "-q",
    "-n",
    "3",
    "--dist",
    "loadfile",
    "--no-loadscope-reorder",
    "--reruns",
    "1",
    "--reruns-delay",
    "3",
    "-rfEsR",
    "--tb=native",
)
"""As `make test` runs them."""

SHIPPED_EXTRAS = ("elm327", "cars", "mf4", "odx", "mcap", "pandas", "polars")
"""Extras whose lower bounds are tried; `dense` has none."""


def say(words: str) -> None:
    sys.stderr.write(f"== {words}\n")
    sys.stderr.flush()


def run(*words: object, cwd: Path | None = None, **environment: str) -> str:
    """Runs a command; what it prints. Ends the job where it fails."""
    done = subprocess.run(  # noqa: S603 - our own commands
        [str(word) for word in words],
        cwd=cwd,
        env=clean_environment() | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\nended with code {done.returncode}:\n{done.stdout[-6000:]}")
    return done.stdout


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead Python to the checkout."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP")
    return {name: value for name, value in os.environ.items() if name not in hidden}


def names_in(archive: Path) -> set[str]:
    """Files of a wheel or an sdist, the latter without its first folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name for name in wheel.namelist() if not name.endswith("/")}
    with tarfile.open(archive) as sdist:
        return {member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()}


def look_into(wheel: Path, sdist: Path) -> None:
    """Ends the job where something is missing in the archives, or should not be in them."""
    names = names_in(wheel)
    wrong = [f"{wheel.name}: {name} is missing" for name in MUST if name not in names]
    roots = {name.partition("/")[0] for name in names}
    wrong += [f"{wheel.name}: {root}" for root in roots if root not in PACKAGES and not root.endswith(".dist-info")]
    wrong += [f"{wheel.name}: {name}" for name in names if name.startswith(MUST_NOT) or "__pycache__" in name]
    wrong += [
        f"{wheel.name}: the licence {text} is missing"
        for text in LICENCES
        if not any(name.endswith(f".dist-info/licenses/{text}") for name in names)
    ]
    if not any(name.startswith("consult/static/assets/") and name.endswith(".js") for name in names):
        wrong.append(f"{wheel.name}: the page has no script")
    sources = names_in(sdist)
    wrong += [
        f"{sdist.name}: {name} is missing" for name in (*MUST, *LICENCES, "hatch_build.py") if name not in sources
    ]
    wrong += [f"{sdist.name}: {name}" for name in sources if "node_modules/" in name or name.startswith(".venv/")]
    if wrong:
        sys.exit("\n".join(wrong))


def build(out: Path) -> tuple[Path, Path]:
    """Wheel and sdist of this checkout, the wheel out of the sdist."""
    say("building sdist and wheel")
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("*.whl"), *out.glob("*.tar.gz"), *out.glob("*.cdx.json")):
        old.unlink()
    run(sys.executable, "-m", "build", "--outdir", out, ROOT)  # without -w and -s: the wheel is made from the sdist
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


def build_without_node(sdist: Path, wheel: Path) -> None:
    """The sdist must be enough where neither Node.js nor the network is there; ends the job where it is not."""
    say("building a wheel from the sdist, without Node.js")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        source = next(Path(folder).iterdir())
        path = os.pathsep.join([str(Path(sys.executable).parent), str(Path(folder) / "nothing")])
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source, PATH=path)
        made = next(Path(folder).glob("*.whl"))
        if names_in(made) != names_in(wheel):
            sys.exit(f"the sdist makes another wheel: {sorted(names_in(made) ^ names_in(wheel))[:20]}")


def empty_environment(folder: Path) -> Path:
    """A new environment; its Python."""
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def try_commands(python: Path, folder: Path) -> None:
    """The first minute of a newcomer, in an environment with the wheel alone."""
    say("commands of the first minute")
    program = python.parent / "huizhen"
    home = {"XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config"), "HUIZHEN_LANG": "en"}
    for words, told in (
        (("--version",), "huizhen"),
        (("--help",), "huizhen scan --demo"),
        (("scan", "--demo"), "SIMULATED CAR"),
        (("dtc", "explain", "P0AA6-1A"), "P0AA6"),
        (("case", "show", "weak-cell"), "weak-cell"),
    ):
        if told not in run(program, *words, cwd=folder, **home):
            sys.exit(f"huizhen {' '.join(words)} does not say {told!r}")
    place = run(python, "-c", "import consult, huizhen; print(huizhen.__file__, consult.__file__)", cwd=folder)
    if str(ROOT) in place or "site-packages" not in place:
        sys.exit(f"not the installed packages were used: {place}")


def copy_around(folder: Path) -> Path:
    """The checkout without its packages: tests, documentation, what the tests read. None of ours is imported from it."""
    target = folder / "elsewhere"
    ignored = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in ("tests", "docs", "examples", "benchmarks", "tools", "deploy", "consult/page"):
        shutil.copytree(ROOT / name, target / name, ignore=ignored)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, target / path.name)
    modules = ROOT / "consult" / "page" / "node_modules"
    if modules.is_dir():
        (target / "consult" / "page" / "node_modules").symlink_to(modules)
    return target


def run_tests(python: Path, folder: Path, words: list[str], *, is_all: bool) -> None:
    """The tests against what is installed; what they print goes through."""
    target = copy_around(folder)
    chosen = words or (["tests"] if is_all else slice_there())
    skipped = [f"--deselect={name}" for name in LOOKS_AT_CHECKOUT]
    shared = os.environ.get("HUIZHEN_SHARED") or str(ROOT.parent / "shared")
    say(f"tests against the installed packages: {' '.join(chosen)}")
    done = subprocess.run(  # noqa: S603 - our own command
        [python, target / "tools" / "run_tests.py", *BESIDE, "-p", "no:cacheprovider", *skipped, *chosen],
        cwd=target,
        env=clean_environment() | {"HUIZHEN_SHARED": shared, "PYTHONSAFEPATH": "1"},
        check=False,
    )
    if done.returncode:
        sys.exit(f"tests against the installed packages: code {done.returncode}")


def slice_there() -> list[str]:
    """Those of the slice that this checkout has."""
    return [name for name in SLICE if (ROOT / name).exists()]


def install(python: Path, *words: object) -> None:
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words)


def sign_off(out: Path, python: Path) -> None:
    """List of parts and sums; the list is of the environment with all that users may install."""
    say("list of parts, sums")
    version = next(out.glob("*.whl")).name.split("-")[1]
    run(python, ROOT / "tools" / "sbom.py", "-o", out / f"huizhen-{version}.cdx.json")
    files = sorted(path for path in out.iterdir() if path.is_file() and path.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in files]
    (out / "SHA256SUMS").write_text("\n".join(sums) + "\n", encoding="utf-8")


def check_bounds(folder: Path, words: list[str]) -> None:
    """Installs the lowest versions that pyproject.toml allows of what users install, and runs the slice on them.

    What the tests themselves need is the newest: nobody else gets it.
    """
    say("installing the lowest versions")
    python = empty_environment(folder / "lowest")
    install(python, "uv")
    uv, pins = python.parent / "uv", folder / "lowest.txt"
    extras = [f"--extra={extra}" for extra in SHIPPED_EXTRAS]
    lowest = ("--resolution", "lowest-direct", "--python", python)
    run(
        uv,
        "pip",
        "compile",
        "-q",
        *lowest,
        *extras,
        "-o",
        pins,
        ROOT / "pyproject.toml",
        "--no-annotate",
        "--no-header",
    )
    direct = {str(canonicalize_name(Requirement(line).name)) for line in requirements(*SHIPPED_EXTRAS)}
    kept = [line for line in pins.read_text().splitlines() if str(canonicalize_name(line.partition("=")[0])) in direct]
    say(", ".join(kept))
    run(uv, "pip", "install", "-q", "--python", python, "-c", pins, f"{ROOT}[test]", UV_LINK_MODE="copy")
    # Old libraries warn of what is newer than they are: no fault of theirs here.
    run_tests(python, folder, ["-o", "filterwarnings=default", *(words or slice_there())], is_all=False)


def requirements(*extras: str) -> list[str]:
    """What pyproject.toml asks for, with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(line for extra in extras for line in optional[extra])]


def main() -> None:
    """Runs the steps; ends with 1 at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "dist")
    parser.add_argument("--all", action="store_true", help="every test that does not look at the checkout")
    parser.add_argument("--bounds", action="store_true", help="only: the lowest versions")
    parser.add_argument("words", nargs="*", metavar="PYTEST WORDS")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="huizhen-release-") as name:
        folder = Path(name)
        if args.bounds:
            check_bounds(folder, args.words)
            return
        wheel, sdist = build(args.output)
        look_into(wheel, sdist)
        build_without_node(sdist, wheel)
        python = empty_environment(folder / "alone")
        say("installing the wheel in an empty environment")
        install(python, wheel)
        try_commands(python, folder)
        install(python, f"{wheel}[test]")
        run_tests(python, folder, args.words, is_all=args.all)
        sign_off(args.output, python)
    say(f"done: {', '.join(sorted(path.name for path in args.output.iterdir()))}")


if __name__ == "__main__":
    main()
