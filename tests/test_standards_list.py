"""docs/standards.md names every document that the code cites, and only files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import huizhen

ROOT = Path(huizhen.__file__).parent.parent
LIST = Path(__file__).parents[1] / "docs" / "standards.md"
PACKAGES = ("dbc", "diag", "casebase", "virtualbus", "consult", "huizhen")
DOCUMENT = re.compile(
    r"\b(ISO \d{4,5}(?:-\d+)?|SAE J\d{3,4}(?:-(?:DA|\d+))?|GB(?:/T)? \d{4,5}|UN R\d+|EN \d+(?:-\d+)?|IEC \d+(?:-\d+)?"
    r"|49 CFR \d+|ASAM [A-Z]+|LAWICEL)"
)


def cited() -> dict[str, str]:
    """Document -> one of the files that cite it after the word Standard."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix not in {".py", ".toml"} or "node_modules" in path.parts:
                continue
            for part in re.findall(r"Standard:((?:[^\n]*\n)(?:[^\n]*\n)?)", path.read_text(encoding="utf-8")):
                for document in DOCUMENT.findall(part):
                    found.setdefault(document, str(path.relative_to(ROOT)))
    return found


def test_every_cited_document_is_listed() -> None:
    listed = set(DOCUMENT.findall(LIST.read_text(encoding="utf-8")))
    documents = cited()
    assert len(documents) > 15
    assert {document: path for document, path in documents.items() if document not in listed} == {}


def test_every_path_in_the_list_exists() -> None:
    paths = re.findall(r"`((?:dbc|diag|casebase|virtualbus|consult|huizhen|tests)/[\w/.-]+)`", LIST.read_text("utf-8"))
    assert len(paths) > 25
    assert [path for path in paths if not (LIST.parents[1] / path).exists()] == []
