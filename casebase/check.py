"""``python -m casebase.check [FOLDER]``: whether content files keep the rules, fix by fix."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from casebase.catalogue import CONTENT, NOTICE_TEST, load_catalogue
from casebase.errors import ContentBroken


def main(folder: Path = CONTENT) -> int:
    """Prints the first statement that breaks a rule, or what there is; returns the exit code."""
    try:
        catalogue = load_catalogue(folder)
    except ContentBroken as error:
        sys.stderr.write(f"{error}\n")
        return 2
    used = {check.test for fix in catalogue.fixes for check in fix.checks} | {NOTICE_TEST}
    if idle := sorted(test.test_id for test in catalogue.tests if test.test_id not in used):
        sys.stderr.write(f"tests that no fix names: {', '.join(idle)}\n")
        return 2
    sources = Counter(fix.source for fix in catalogue.fixes)
    told = ", ".join(f"{count} {source}" for source, count in sorted(sources.items()))
    sys.stdout.write(f"{len(catalogue.fixes)} fixes ({told}), {len(catalogue.tests)} tests\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
