"""docs/security.md keeps its word: every threat names tests, and each of them is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def threats():
    """Heading -> names of its tests."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    parts = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    found = {}
    for part in parts:
        heading, _, rest = part.partition("\n")
        body, marker, listed = rest.partition("Tests:")
        assert body.strip(), f"{heading}: what stands against it?"
        assert marker, f"{heading}: no tests"
        found[heading] = re.findall(r"`(test_\w+)`", listed.partition("\n## ")[0])
    return found


def known_tests():
    """Every test function of the suite."""
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    }


def test_every_threat_names_tests_that_exist():
    found, known = threats(), known_tests()
    assert len(found) >= 20
    assert [heading for heading, tests in found.items() if not tests] == []
    assert sorted({name for tests in found.values() for name in tests} - known) == []


def test_threats_are_numbered_in_order():
    numbers = [int(re.match(r"T(\d+) ", heading).group(1)) for heading in threats()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_security_test_is_named_by_a_threat():
    """A wall that nobody tells of is a wall that somebody takes down."""
    named = {name for tests in threats().values() for name in tests}
    own = {
        node.name
        for path in (ROOT / "tests" / "consult").glob("test_security_*.py")
        if path.name != Path(__file__).name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    }
    unnamed = own - named - {"test_what_was_written_is_read", "test_an_expert_signs_in_sees_the_rooms_and_enters"}
    assert sorted(unnamed) == []
