"""Writes docs/errors.md: every error of the program with its code, its exit code and its sentence in both languages.

tools/make_errors.py            writes it
tools/make_errors.py --check    says whether it is current
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "errors.md"
PACKAGES = {
    "diag": "The car",
    "dbc": "Databases and recordings",
    "casebase": "The case library",
    "consult": "Rooms and their service",
    "virtualbus": "Simulated cars",
    "huizhen": "Command line and settings",
}
HEAD = """# Errors

Every error ends a command with one line, in English or Chinese, and an [exit code](cli.md#exit-codes). In [Python](python.md#errors)
it is an exception with the fields in braces. Anything else that ends a command (exit code 9) is a bug: `--debug` shows where.

This page is made from the program by `tools/make_errors.py`; a test fails when it is not current.
"""


def classes(package: str) -> list[type[Exception]]:
    """Every error of a package that is raised; branches of its tree are left out."""
    found: dict[str, type[Exception]] = {}

    def walk(kind: type[Exception]) -> None:
        has_fields = "__dataclass_fields__" in vars(kind)
        if has_fields or not kind.__subclasses__():
            found.setdefault(vars(kind)["code"], kind)
        for child in kind.__subclasses__():
            walk(child)

    folder = Path(importlib.import_module(package).__file__ or "").parent
    for path in sorted(folder.glob("*errors.py")):
        for value in list(vars(importlib.import_module(f"{package}.{path.stem}")).values()):
            if isinstance(value, type) and issubclass(value, Exception) and "code" in vars(value):
                walk(value)
    return [found[code] for code in sorted(found) if code.partition(".")[0] == package]


def cell(text: str) -> str:
    """A sentence as a cell of a table."""
    return text.replace("{{", "{").replace("}}", "}").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def page() -> str:
    """The whole page."""
    from huizhen.exits import exit_from_error
    from huizhen.language import sentences

    parts = [HEAD]
    for package, title in PACKAGES.items():
        chinese = sentences(f"errors_{package}")
        parts.append(f"\n## {title}\n\n| code | exit | says |\n| --- | --- | --- |\n")
        for kind in classes(package):
            code = kind.code  # type: ignore[attr-defined]
            exit_code = int(exit_from_error(kind.__new__(kind)))
            english = cell(kind.template)  # type: ignore[attr-defined]
            parts.append(f"| `{code}` | {exit_code} | {english}<br>{cell(chinese[code]['zh'])} |\n")
    return "".join(parts)


def main() -> int:
    """Writes or checks."""
    sys.path.insert(0, str(ROOT))
    text = page()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
