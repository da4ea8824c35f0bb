"""An example for the help of every action whose own words have none: the same in every language."""

from __future__ import annotations

from typing import Final

__all__ = ["EXAMPLES"]

EXAMPLES: Final = {
    "bundle info": "bundle info visit.hzb",
    "bundle verify": "bundle verify visit.hzb --trust 'Workshop North'",
    "bundle redact": "bundle redact visit.hzb -o shared.hzb",
    "consult user add": "consult user add wang --display 'Wang Gong' --role lead --skill battery --data rooms/",
    "consult user list": "consult user list --data rooms/ --json",
    "consult user set": "consult user set wang --on-duty --data rooms/",
    "consult user passwd": "consult user passwd wang --data rooms/",
    "consult user remove": "consult user remove wang --data rooms/",
    "consult user audit": "consult user audit --data rooms/ --json",
    "consult user export": "consult user export wang -o held/ --data rooms/",
    "consult site add": "consult site add North --region CN-11 --data rooms/",
    "consult site list": "consult site list --data rooms/ --json",
    "consult site remove": "consult site remove North --data rooms/",
    "consult site rotate": "consult site rotate --keep-days 365 --data rooms/",
    "consult drafts": "consult drafts --state waiting --data rooms/",
    "consult research": "consult research --state open --data rooms/",
    "consult keys list": "consult keys list --data rooms/",
    "consult keys export": "consult keys export 0123456789ab -o room.key --data rooms/",
    "consult keys rotate": "consult keys rotate --data rooms/",
}
"""Command and action -> what to type after the program's name."""
