"""Notices and who still has to get them, in the service's database: written before anything is sent."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Final

from consult.notices import SEVERITIES, Notice
from consult.webhookshapes import KeptNotice

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from consult.noticesettings import Hook
    from consult.servicestate import ServiceState

__all__ = ["DAY_US", "MOST_WAITING", "NoticeStore"]

DAY_US: Final = 86_400_000_000
MOST_WAITING: Final = 5_000
"""For one webhook; what comes on top is given up at once, and said to be."""

_KEPT_DAYS: Final = 7
_WAITING, _SENT, _DEAD = "waiting", "sent", "dead"


class NoticeStore:
    """The tables ``notice`` and ``delivery``. Every method may run in any thread.

    Raises:
        StateBroken: by every method, when the database cannot be used.
    """

    def __init__(self, state: ServiceState) -> None:
        self._state = state

    def put(self, notices: Sequence[Notice], hooks: Sequence[Hook]) -> list[KeptNotice]:
        """Keeps notices, each with a line for every hook that takes it; all of them or none."""
        kept = []
        with self._state.transaction() as db:
            waiting = dict(
                db.execute("SELECT hook, count(*) FROM delivery WHERE state = 'waiting' GROUP BY hook").fetchall()
            )
            for notice in notices:
                ident = f"msg_{uuid.uuid4().hex}"
                body = json.dumps(notice.to_json(), ensure_ascii=False, separators=(",", ":"))
                n = db.execute("INSERT INTO notice (id, t_us, body) VALUES (?, ?, ?)", (ident, notice.t_us, body))
                kept.append(KeptNotice(int(n.lastrowid or 0), ident, notice))
                for hook in hooks:
                    if not hook.takes(notice):
                        continue
                    waiting[hook.name] = waiting.get(hook.name, 0) + 1
                    is_much = waiting[hook.name] > MOST_WAITING
                    state, reason = (_DEAD, "too-many") if is_much else (_WAITING, "")
                    rank = SEVERITIES.index(notice.severity)
                    row = (kept[-1].n, hook.name, state, rank, notice.t_us, reason)
                    db.execute(
                        "INSERT INTO delivery (notice, hook, state, rank, changed_us, reason)"
                        " VALUES (?, ?, ?, ?, ?, ?)",
                        row,
                    )
        return kept

    def after(self, n: int, limit: int = 200) -> list[KeptNotice]:
        """Notices with a higher number, the newest ``limit`` of them, oldest first."""
        rows = self._state.rows("SELECT n, id, body FROM notice WHERE n > ? ORDER BY n DESC LIMIT ?", (n, limit))
        return [_kept(row) for row in reversed(rows)]

    def head(self) -> int:
        """The highest number ever given out."""
        found = self._state.rows("SELECT seq FROM sqlite_sequence WHERE name = 'notice'")
        return int(found[0][0]) if found else 0

    def due(self, hook: str, now_us: int, limit: int) -> list[tuple[KeptNotice, bool]]:
        """What waits for a hook and may be tried now, gravest first, then oldest; and whether it must go alone."""
        rows = self._state.rows(
            """SELECT n, id, body, alone FROM delivery JOIN notice ON n = notice
            WHERE hook = ? AND state = 'waiting' AND next_us <= ? ORDER BY rank, n LIMIT ?""",
            (hook, now_us, limit),
        )
        return [(_kept(row[:3]), bool(row[3])) for row in rows]

    def next_us(self, hook: str) -> int | None:
        """When the first of what waits for a hook may be tried; None when nothing waits."""
        found = self._state.rows("SELECT min(next_us) FROM delivery WHERE hook = ? AND state = 'waiting'", (hook,))
        return None if found[0][0] is None else int(found[0][0])

    def note_try(self, hook: str, numbers: Iterable[int], now_us: int) -> None:
        """These go out now: a process that is killed meanwhile knows afterwards that they may have arrived."""
        with self._state.transaction() as db:
            db.executemany(
                "UPDATE delivery SET attempts = attempts + 1, tried_us = ? WHERE hook = ? AND notice = ?",
                [(now_us, hook, n) for n in numbers],
            )

    def note_sent(self, hook: str, numbers: Iterable[int], now_us: int) -> None:
        """These were taken."""
        self._change(hook, numbers, _SENT, "", now_us)

    def note_later(self, hook: str, numbers: Iterable[int], reason: str) -> None:
        """These were not: why. The hook's own pace says when it is tried again."""
        with self._state.transaction() as db:
            db.executemany(
                "UPDATE delivery SET reason = ? WHERE hook = ? AND notice = ?", [(reason, hook, n) for n in numbers]
            )

    def note_refused(self, hook: str, waits_us: Iterable[tuple[int, int]], reason: str) -> None:
        """These were refused; from now on each goes alone, not before its time."""
        with self._state.transaction() as db:
            db.executemany(
                "UPDATE delivery SET reason = ?, alone = 1, next_us = ? WHERE hook = ? AND notice = ?",
                [(reason, at_us, hook, n) for n, at_us in waits_us],
            )

    def attempts(self, hook: str, numbers: Sequence[int]) -> dict[int, int]:
        """How often each was tried."""
        rows = self._state.rows(
            "SELECT notice, attempts FROM delivery WHERE hook = ? AND notice IN (SELECT value FROM json_each(?))",
            (hook, json.dumps(numbers)),
        )
        return dict(rows)

    def tried_since(self, hook: str, since_us: int) -> list[int]:
        """When messages went out to a hook since a time; several notices of one message count once."""
        rows = self._state.rows(
            "SELECT DISTINCT tried_us FROM delivery WHERE hook = ? AND tried_us > ?", (hook, since_us)
        )
        return [int(at_us) for (at_us,) in rows]

    def give_up(self, hooks: Sequence[str], now_us: int) -> int:
        """Ends what has waited for a day, or waits for a hook that is gone; returns how many."""
        with self._state.transaction() as db:
            old = db.execute(
                """UPDATE delivery SET state = 'dead', changed_us = ? WHERE state = 'waiting'
                AND notice IN (SELECT n FROM notice WHERE t_us < ?)""",
                (now_us, now_us - DAY_US),
            ).rowcount
            gone = db.execute(
                """UPDATE delivery SET state = 'dead', reason = 'no-such-hook', changed_us = ?
                WHERE state = 'waiting' AND hook NOT IN (SELECT value FROM json_each(?))""",
                (now_us, json.dumps(hooks)),
            ).rowcount
            db.execute(
                """DELETE FROM notice WHERE t_us < ?
                AND NOT EXISTS (SELECT 1 FROM delivery WHERE notice = n AND state = 'waiting')""",
                (now_us - _KEPT_DAYS * DAY_US,),
            )
        return int(old + gone)

    def counts(self) -> dict[str, dict[str, int]]:
        """How many are in which state, by hook: of the last seven days."""
        found: dict[str, dict[str, int]] = {}
        for hook, state, count in self._state.rows("SELECT hook, state, count(*) FROM delivery GROUP BY hook, state"):
            found.setdefault(hook, {})[state] = int(count)
        return found

    def dead(self, limit: int = 50) -> list[dict[str, Any]]:
        """What was given up, newest first."""
        rows = self._state.rows(
            """SELECT n, id, body, hook, reason, attempts, changed_us FROM delivery JOIN notice ON n = notice
            WHERE state = 'dead' ORDER BY changed_us DESC, n DESC LIMIT ?""",
            (limit,),
        )
        return [
            {
                "id": ident,
                "hook": hook,
                "reason": reason,
                "attempts": attempts,
                "given_up_us": changed_us,
                "kind": body["kind"],
                "severity": body["severity"],
                "title": body["title"],
            }
            for n, ident, text, hook, reason, attempts, changed_us in rows
            for body in (json.loads(text),)
        ]

    def dead_since(self, since_us: int) -> int:
        """How many were given up since a time."""
        found = self._state.rows("SELECT count(*) FROM delivery WHERE state = 'dead' AND changed_us > ?", (since_us,))
        return int(found[0][0])

    def _change(self, hook: str, numbers: Iterable[int], state: str, reason: str, now_us: int) -> None:
        with self._state.transaction() as db:
            db.executemany(
                "UPDATE delivery SET state = ?, reason = ?, changed_us = ? WHERE hook = ? AND notice = ?",
                [(state, reason, now_us, hook, n) for n in numbers],
            )


def _kept(row: tuple[Any, ...]) -> KeptNotice:
    n, ident, text = row
    return KeptNotice(n, ident, Notice.from_json(json.loads(text)))
