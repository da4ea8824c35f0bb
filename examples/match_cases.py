"""Ranks known fixes for a car: for a saved scan, or for a complaint and codes.

    python examples/match_cases.py                  # a complaint in Chinese, two codes of the battery's ECU
    python examples/match_cases.py scan.json        # what `huizhen scan -o scan.json` saved

The fixes are those that come with the program. ``casebase.open_library()`` opens your own library, with all that was
imported and learned; nothing is written by asking.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import casebase


def main(words: list[str]) -> casebase.Cases:
    """Asks and prints."""
    if words:
        question = json.loads(Path(words[0]).read_text(encoding="utf-8"))
    else:
        question = {"dtcs": ["P0DE6-16@bms", "P0B3C@bms"], "read": ["bms"], "vehicle": {"model_year": 2023}}
    cases = casebase.match(question, symptom="" if words else "续航变短，充不满电")
    print(f"{cases.verdict.value}; unknown to us with probability {cases.p_unknown:.2f}")
    for match in cases.matches[:5]:
        low, high = match.interval
        print(f"  {match.p:.2f} ({low:.2f}–{high:.2f})  {match.title.en} / {match.title.zh}")
        for reason in match.because[:3]:
            print(f"        because {reason.text.en}")
    if cases.next_test is not None:
        print(f"  next: {cases.next_test.to_json()['title']['en']}")
    return cases


if __name__ == "__main__":
    main(sys.argv[1:])
