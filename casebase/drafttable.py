"""The drafts of a library: consultations come in, wait, and become cases or are dropped."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from casebase.drafts import Draft, case_from_draft, draft_from_json
from casebase.errors import DraftUnknown
from casebase.fixjson import fix_from_body
from casebase.samewords import fixes_of_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from casebase.casetable import CaseTable
    from casebase.prepared import Prepared
    from casebase.record import Case
    from casebase.samewords import SameWords
    from casebase.store import Store
    from casebase.tokens import Tokenizer

__all__ = ["DraftTable"]

_WAITING = "SELECT body, uid, car_key, id, received_ns FROM drafts WHERE state = 'waiting'"


class DraftTable:
    """Drafts that wait, and the marks of those that do not any more.

    Args:
        store: of the library.
        cases: of the library.
        tokenizer: of the library.
        ready: makes cases ready for the file.
    """

    def __init__(
        self, store: Store, cases: CaseTable, tokenizer: Tokenizer, ready: Callable[[Sequence[Case]], Prepared]
    ) -> None:
        self._store, self._cases, self._tokenizer, self._ready = store, cases, tokenizer, ready

    def take(self, document: object, *, now_ns: int | None = None) -> tuple[int, bool]:
        """Keeps a consultation until a person confirms it; returns its number, and whether it is new.

        One that comes again changes its draft while that waits, and nothing afterwards.

        Args:
            document: ``huizhen.consultation/1``, see :mod:`casebase.drafts`.
            now_ns: UTC nanoseconds; None is now.

        Raises:
            BadEvidence: it is none.
        """
        received_ns = time.time_ns() if now_ns is None else now_ns
        with self._store.transaction():
            draft = draft_from_json(document, self._cases.car_key)
            body = json.dumps(draft.to_json(), ensure_ascii=False)
            known = self._store.rows("SELECT id FROM drafts WHERE uid = ?", (draft.uid,))
            if known:
                self._store.db.execute(
                    "UPDATE drafts SET body = ?, car_key = ?, simulated = ? WHERE uid = ? AND state = 'waiting'",
                    (body, draft.car_key, int(draft.simulated), draft.uid),
                )
                return int(known[0][0]), False
            cursor = self._store.db.execute(
                "INSERT INTO drafts (uid, received_ns, car_key, simulated, body) VALUES (?, ?, ?, ?, ?)",
                (draft.uid, received_ns, draft.car_key, int(draft.simulated), body),
            )
            return int(cursor.lastrowid or 0), True

    def waiting(self) -> list[Draft]:
        """All that wait, in the order in which they came."""
        return [_draft(*row) for row in self._store.rows(f"{_WAITING} ORDER BY id")]

    def of_car(self, vin: str) -> list[Draft]:
        """Those of one car that wait."""
        if not self._cases.knows_cars:
            return []
        return [
            _draft(*row)
            for row in self._store.rows(f"{_WAITING} AND car_key = ? ORDER BY id", (self._cases.car_key(vin),))
        ]

    def get(self, number: int) -> Draft:
        """One that waits.

        Raises:
            DraftUnknown: none of that number does.
        """
        rows = self._store.rows(f"{_WAITING} AND id = ?", (number,))
        if not rows:
            raise DraftUnknown(number)
        return _draft(*rows[0])

    def like(self, draft: Draft) -> list[SameWords]:
        """Up to three known fixes that say what the experts said, the best first."""
        fixes = [fix_from_body(row.body) for row in self._store.fixes()]
        return fixes_of_words(draft.statement.words, fixes, self._tokenizer)

    def confirm(
        self, number: int, fix: str | Mapping[str, str] | None = None, outcome: str | None = None, note: str = ""
    ) -> Case:
        """Makes a draft a case, as any other comes in; a simulated one teaches nothing.

        Args:
            number: of the draft.
            fix: a known fix, or component, failure_mode and action; None for what the experts said.
            outcome: None for what they said.
            note: in a person's words.

        Raises:
            DraftUnknown: none of that number waits.
            FixUnknown: there is no fix of that name; the draft goes on waiting.
        """
        try:
            with self._store.transaction():
                case = case_from_draft(self.get(number), fix, outcome, note)
                self._cases.put(self._ready([case]), strict=True)
                self._end(number, "confirmed")
        except BaseException:
            self._cases.forget()
            raise
        return case

    def drop(self, number: int) -> None:
        """Takes a draft away; the same consultation does not come back.

        Raises:
            DraftUnknown: none of that number waits.
        """
        with self._store.transaction():
            self.get(number)
            self._end(number, "dropped")

    def _end(self, number: int, state: str) -> None:
        """What it said is forgotten, its identity is kept."""
        self._store.db.execute("UPDATE drafts SET state = ?, body = '{}', car_key = NULL WHERE id = ?", (state, number))


def _draft(body: str, uid: str, car_key: str | None, number: int, received_ns: int) -> Draft:
    return Draft.from_stored(json.loads(body), uid, car_key, number, received_ns)
