"""Whether the car itself says on its bus that a charging cable is plugged in, where a database knows the words.

No standard parameter tells it, so the technician's word is needed in any case. But where the car says otherwise, the
car counts: a broadcast signal whose value table says "Plugged" or "Charging" is listened to for a moment right before
anything beyond reading is sent. Where no database names such a signal, nothing is known and nothing is concluded.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Final

from diag.facts import Text
from diag.live import SignalBoard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbc.database import Database
    from diag.frames import FrameLink

__all__ = ["PlugSigns"]

_LISTEN_S: Final = 1.5
_ABOUT: Final = re.compile(r"(?<!dis)(?<!pre)charg|plug|inlet|充电|枪", re.IGNORECASE)
_NOT_ABOUT: Final = re.compile(r"12\s*v|aux|low.?volt|power|limit|request|allow|enable|time|target", re.IGNORECASE)
_PLUGGED: Final = re.compile(
    r"^(?:(?:ac|dc|fast|slow|fully|half)[ _-]*)?"
    r"(?:plugged(?:[ _-]?in)?|connected|locked|charging|inserted|on[ _-]?charge"
    r"|已?连接|已?插枪|充电中|正在充电|已锁止)$",
    re.IGNORECASE,
)
_UTC_NS: Final = 0


class PlugSigns:
    """The signals of some databases that can say it.

    Args:
        link: where the car's frames come from.
        databases: of the car.
        listen_s: how long to wait for them; every one is usually sent several times a second.
    """

    def __init__(self, link: FrameLink, databases: Sequence[Database], *, listen_s: float = _LISTEN_S) -> None:
        self._link, self._databases, self._listen_s = link, databases, listen_s
        self._plugged: dict[tuple[str, str], Mapping[int, str]] = {}
        self._raw: dict[tuple[str, str], tuple[float, float]] = {}
        for database in databases:
            for message in database.messages:
                for signal in message.signals:
                    said = {raw: text for raw, text in signal.labels.items() if _PLUGGED.match(text.strip())}
                    key = message.name, signal.name
                    if said and _ABOUT.search(signal.name) and not _NOT_ABOUT.search(signal.name):
                        self._plugged.setdefault(key, said)
                        self._raw.setdefault(key, (signal.scale, signal.offset))

    @property
    def names(self) -> tuple[str, ...]:
        """The signals that are listened to."""
        return tuple(sorted(name for _, name in self._plugged))

    async def read(self) -> Text | None:
        """What says that a cable is plugged in, as ``OBC_Plug.PlugState = Locked``; None where nothing says so.

        Raises:
            LinkLost: the adapter went away.
        """
        if not self._plugged:
            return None
        board = SignalBoard(self._databases, signals={name for _, name in self._plugged})
        with self._link.frames() as subscription:
            try:
                async with asyncio.timeout(self._listen_s):
                    while frames := await subscription.batch():
                        now_ns = time.monotonic_ns()
                        for frame in frames:
                            board.take(frame, now_ns)
                        said, is_complete = self._judge(board, now_ns)
                        if said is not None or is_complete:
                            return said
            except TimeoutError:
                pass
        return self._judge(board, time.monotonic_ns())[0]

    def _judge(self, board: SignalBoard, now_ns: int) -> tuple[Text | None, bool]:
        """What says so, and whether every signal was heard."""
        block, heard = board.block(now_ns, _UTC_NS), 0
        for at, info in enumerate(board.schema.signals):
            labels = self._plugged.get((info.message, info.name))
            if labels is None or not block.valid[at]:
                continue
            heard += 1
            scale, offset = self._raw[info.message, info.name]
            text = labels.get(round((float(block.values[at]) - offset) / scale))
            if text is not None:
                what = f"{info.name} = {text}"
                return Text(
                    f"the car says that a charging cable is plugged in ({what})", f"车辆报告已插充电枪（{what}）"
                ), True
        return None, heard == len(self._plugged)
