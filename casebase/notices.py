"""What makers and authorities published about faults of certain vehicles: recalls, bulletins, investigations.

A notice knows its vehicles and speaks in sentences; unlike a fix of ours it has no codes by ECU role and no tests. It
is matched by its words among the notices of the same vehicle (:mod:`casebase.noticeindex`).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from casebase.errors import FixUnknown
from casebase.vehicles import make_key, model_key
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from casebase.store import Store
    from diag.facts import Json

__all__ = ["ANY_YEAR", "Notice", "NoticeTable", "Vehicle"]

ANY_YEAR: Final = (0, 9999)
_VERSION: Final = "notices_version"
_TITLE: Final = 160
_LEAST_TITLE: Final = 40
_REMEDY: Final = 600
_KINDS: Final = {
    "recall": Text("Recall", "召回"),
    "bulletin": Text("Service bulletin", "技术通报"),
    "investigation": Text("Investigation", "缺陷调查"),
}


@dataclass(frozen=True, slots=True)
class Vehicle:
    """Vehicles that a notice is for; ``model`` empty means all of the make."""

    make: str
    model: str = ""
    year_from: int = 0
    year_to: int = 9999


@dataclass(slots=True)
class Notice:
    """One notice with everything that is known of it.

    Args:
        source: who keeps it: ``nhtsa``, ``samr``, a workshop's own name.
        source_id: its number there.
        kind: ``recall``, ``bulletin`` or ``investigation``.
        title: one line on the defect.
        texts: everything it says, each document once.
        remedy: what is done about it.
        published: date, ``2023-08-18``, or empty.
        lang: of the texts.
    """

    source: str
    source_id: str
    kind: str
    title: str = ""
    component: str = ""
    remedy: str = ""
    maker: str = ""
    published: str = ""
    url: str = ""
    lang: str = "en"
    vehicles: set[Vehicle] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)

    @property
    def case_id(self) -> str:
        """Identity by content, as that of a fix: the hash of who published it under which number, 16 hex digits."""
        told = json.dumps(["notice", self.source, self.source_id], ensure_ascii=False)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @property
    def heading(self) -> Text:
        """``Recall 21V215: the fuel pump may seize``; what others wrote stands in their language."""
        kind = _KINDS[self.kind]
        said = _shortened(self.title or _telling(self.texts), _TITLE)
        if not said:
            return Text(f"{kind.en} {self.source_id}", f"{kind.zh} {self.source_id}")
        return Text(f"{kind.en} {self.source_id}: {said}", f"{kind.zh} {self.source_id}：{said}")

    @property
    def advice(self) -> Text:
        """What to do: ask the maker by VIN before any part is bought, then the published remedy."""
        if self.kind == "investigation":
            en = "An authority looks into this; there is no published remedy yet. Report the car to the maker."
            zh = "主管部门正在调查此缺陷，尚无公布的处置措施。请将该车情况反馈给厂家。"
        else:
            en = f"Ask the maker by VIN whether {self.source_id} is open for this car before buying any part."
            zh = f"购买任何零件之前，先用车架号向厂家查询该车是否在 {self.source_id} 范围内、是否已处置。"
        if self.remedy:
            said = _shortened(self.remedy, _REMEDY)
            en, zh = f"{en} Published remedy: {said}", f"{zh}公布的处置措施：{said}"
        return Text(en, zh)

    def to_json(self) -> Json:
        """``case show --json`` of a notice."""
        return {
            "case_id": self.case_id,
            "source_id": self.source_id,
            "source": self.source,
            "kind": self.kind,
            "title": self.heading.to_json(),
            "fix": self.advice.to_json(),
            "component": self.component,
            "maker": self.maker,
            "published": self.published,
            "url": self.url,
            "vehicles": [
                [v.make, v.model, v.year_from or None, None if v.year_to == ANY_YEAR[1] else v.year_to]
                for v in sorted(self.vehicles, key=lambda v: (v.make, v.model, v.year_from, v.year_to))
            ],
            "texts": sorted(self.texts),
        }


_SAYS_WHY: Final = re.compile(
    r"\b(may|might|could|can|due to|fails?|failure|defect\w*|incorrect\w*|improper\w*)\b|可能|故障|失效", re.IGNORECASE
)
_PAPER: Final = re.compile(
    r"\s*(please find|this notice|owner not|dear |our records|attached|copy of|final |interim )", re.IGNORECASE
)


def _telling(texts: Iterable[str]) -> str:
    """The text that says the most about the fault in the fewest words: not the letter's first lines."""
    long_enough = [text for text in texts if len(text) >= _LEAST_TITLE]
    return min(
        long_enough or texts,
        key=lambda text: (bool(_PAPER.match(text)), not _SAYS_WHY.search(text[:_TITLE]), len(text), text),
        default="",
    )


def _shortened(text: str, most: int) -> str:
    words = " ".join(text.split())
    if len(words) <= most:
        return words
    cut = words[: most - 1]
    blank = cut.rfind(" ")
    return (cut[:blank] if blank > most // 2 else cut).rstrip(" ,;:，；：") + "…"


class NoticeTable:
    """The notices of a library's file."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, notices: Iterable[Notice]) -> int:
        """Adds notices and what is new of known ones, inside the caller's transaction; returns how many are new.

        Vehicles and texts of a known notice add up; another field is taken where it was empty.
        """
        db, new = self._store.db, 0
        for notice in notices:
            row = db.execute(
                "SELECT id FROM notices WHERE source = ? AND source_id = ?", (notice.source, notice.source_id)
            ).fetchone()
            fields = (
                notice.title, notice.component, notice.remedy, notice.maker, notice.published, notice.url,
            )  # fmt: skip
            if row is None:
                new += 1
                cursor = db.execute(
                    "INSERT INTO notices (case_id, source, source_id, kind, lang, title, component, remedy, maker,"
                    " published, url) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        notice.case_id, notice.source, notice.source_id, notice.kind, notice.lang, *fields,
                    ),
                )  # fmt: skip
                number = cursor.lastrowid
            else:
                number = row[0]
                db.execute(_FILL_IN, (*fields, number))
            db.conn.executemany(
                "INSERT OR IGNORE INTO notice_vehicles VALUES (?, ?, ?, ?, ?)",
                {(number, make_key(v.make), model_key(v.model), v.year_from, v.year_to) for v in notice.vehicles},
            )
            db.conn.executemany(
                "INSERT OR IGNORE INTO notice_texts (notice_id, digest, text) VALUES (?, ?, ?)",
                [(number, _digest(text), text) for text in sorted(notice.texts)],
            )
        db.execute(
            "INSERT INTO meta VALUES (?, '1') ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1",
            (_VERSION,),
        )
        return new

    @property
    def version(self) -> int:
        """Rises whenever notices change."""
        return int(self._store.meta(_VERSION) or 0)

    def __len__(self) -> int:
        return int(self._store.value("SELECT count(*) FROM notices"))

    def kinds(self) -> list[tuple[int, str]]:
        """Number and kind of all notices, rising."""
        return self._store.rows("SELECT id, kind FROM notices ORDER BY id")

    def numbers(self) -> dict[str, int]:
        """Numbers by what the sources call them."""
        return dict(self._store.rows("SELECT source_id, id FROM notices"))

    def vehicles(self) -> list[tuple[int, str, str, int, int]]:
        """``(notice, make, model, first year, last year)`` of all, keys as :mod:`casebase.vehicles` makes them."""
        return self._store.rows("SELECT notice_id, make, model, year_from, year_to FROM notice_vehicles")

    def texts(self, after: int, most: int) -> list[tuple[int, int, str]]:
        """``(number of the text, notice, text)`` beyond one number, in order."""
        return self._store.rows(
            "SELECT id, notice_id, text FROM notice_texts WHERE id > ? ORDER BY id LIMIT ?", (after, most)
        )

    def get(self, number: int) -> Notice:
        """One notice with its texts and vehicles."""
        return self._of(self._store.rows(f"{_SQL} WHERE id = ?", (number,)), str(number))

    def find(self, name: str) -> Notice:
        """A notice by its number at its source or its identity.

        Raises:
            FixUnknown: there is none, or several sources have the number.
        """
        rows = self._store.rows(f"{_SQL} WHERE source_id = ? OR case_id = ?", (name, name))
        return self._of(rows, name)

    def _of(self, rows: Sequence[tuple[object, ...]], name: str) -> Notice:
        if len(rows) != 1:
            raise FixUnknown(name)
        number = rows[0][0]
        source, source_id, kind, title, component, remedy, maker, published, url, lang = map(str, rows[0][1:])
        notice = Notice(source, source_id, kind, title, component, remedy, maker, published, url, lang)
        notice.vehicles = {
            Vehicle(*row)
            for row in self._store.rows(
                "SELECT make, model, year_from, year_to FROM notice_vehicles WHERE notice_id = ?", (number,)
            )
        }
        notice.texts = {
            row[0] for row in self._store.rows("SELECT text FROM notice_texts WHERE notice_id = ?", (number,))
        }
        return notice


_FILL_IN: Final = (
    "UPDATE notices SET title = coalesce(nullif(title, ''), ?1), component = coalesce(nullif(component, ''), ?2),"
    " remedy = coalesce(nullif(remedy, ''), ?3), maker = coalesce(nullif(maker, ''), ?4),"
    " published = coalesce(nullif(published, ''), ?5), url = coalesce(nullif(url, ''), ?6) WHERE id = ?7"
)
"""What was empty; what was told before stays."""
_SQL: Final = "SELECT id, source, source_id, kind, title, component, remedy, maker, published, url, lang FROM notices"


def _digest(text: str) -> bytes:
    return hashlib.sha256(" ".join(text.split()).encode("utf-8", "replace")).digest()[:16]
