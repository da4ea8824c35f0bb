"""Processes that make cases ready while this one writes the ones before.

Lines of a file go out in blocks and come back as :class:`casebase.prepared.Prepared`, in the order of the file. A
helper reads blocks from its standard input and answers on its standard output, each a pickle behind its length: it
needs nothing of the program that started it, and ends when that ends.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections import deque
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final

from casebase.errors import BadEvidence
from casebase.imports.files import decoded
from casebase.prepared import Prepared, prepare
from casebase.record import Case, car_key_of, case_from_json
from casebase.words import default_vocabulary
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from casebase.catalogue import FeatureScale

__all__ = ["Block", "blocks_of_lines", "blocks_of_rows", "serve"]

Block = tuple[int, list[int], list[tuple[int, Text]], Prepared]
"""Number of the last row read, numbers of the rows that hold a case, the others that are left out, the cases."""
_LINES: Final = 2000
_MOST_HELPERS: Final = 4
"""One writer cannot keep more of them busy."""
_AHEAD: Final = 2
"""Blocks that wait for each helper."""
_START: Final = "import sys; from casebase.imports.blocks import serve; serve(sys.stdin.buffer, sys.stdout.buffer)"


def case_of_line(line: str, key: bytes, source: str) -> Case | Text | None:
    """The case of a line of JSON, why it is none, or None for an empty line."""
    if not line.strip():
        return None
    try:
        return case_from_json(json.loads(line), partial(car_key_of, key), source)
    except (ValueError, RecursionError):
        return Text("not JSON", "不是 JSON")
    except BadEvidence as error:
        return error.told


def block_of(first: int, lines: Sequence[bytes], key: bytes, source: str, scales: Mapping[str, FeatureScale]) -> Block:
    """Lines made ready.

    Args:
        first: number of the first one.
        lines: as the file has them.
        key: of the library's cars.
        source: whose the identities are.
        scales: of the library's figures.
    """
    numbers: list[int] = []
    cases: list[Case] = []
    bad: list[tuple[int, Text]] = []
    for number, line in enumerate(lines, start=first):
        case = case_of_line(decoded(line), key, source)
        if isinstance(case, Text):
            bad.append((number, case))
        elif case is not None:
            numbers.append(number)
            cases.append(case)
    return first + len(lines) - 1, numbers, bad, prepare(cases, default_vocabulary().tokenizer, scales)


def blocks_of_lines(
    lines: Iterable[bytes],
    key: bytes,
    source: str,
    scales: Mapping[str, FeatureScale],
    *,
    skip: int = 0,
    helpers: int | None = None,
) -> Generator[Block]:
    """Cases made ready, block by block, in the order of the file.

    Args:
        lines: of the file.
        key: of the library's cars.
        source: whose the identities are.
        scales: of the library's figures.
        skip: rows that were done before.
        helpers: processes; None takes as many as there are processors, 0 does it here.
    """
    rows = iter(lines)
    for _ in islice(rows, skip):
        pass
    first = skip + 1
    with ExitStack() as stack:
        crew: list[_Helper] = []
        waiting: deque[Future[Block]] = deque()
        turn = 0
        while block := list(islice(rows, _LINES)):
            if not crew and (helpers == 0 or len(block) < _LINES):
                # A short file is done before a helper has started.
                while waiting:
                    yield waiting.popleft().result()
                yield block_of(first, block, key, source, scales)
            else:
                if not crew:
                    count = helpers or min(_MOST_HELPERS, os.cpu_count() or 1)
                    crew = [stack.enter_context(_started(key, source, scales)) for _ in range(count)]
                if len(waiting) >= _AHEAD * len(crew):
                    yield waiting.popleft().result()
                waiting.append(crew[turn].submit(first, block))
                turn = (turn + 1) % len(crew)
            first += len(block)
        while waiting:
            yield waiting.popleft().result()


class _Helper:
    """One process and the thread that talks to it; where the process is lost, the thread does its work."""

    def __init__(self, process: subprocess.Popen[bytes], setting: tuple[bytes, str, dict[str, FeatureScale]]) -> None:
        self._process = process
        self._thread = ThreadPoolExecutor(1)
        self._setting = setting
        self._asked = self._closed = False

    def submit(self, first: int, lines: list[bytes]) -> Future[Block]:
        return self._thread.submit(self._ask, first, lines)

    def _ask(self, first: int, lines: list[bytes]) -> Block:
        answer: Block | None = None
        if self._process.stdin is not None and self._process.stdout is not None:
            with suppress(OSError):
                if not self._asked:
                    _send(self._process.stdin, self._setting)
                    self._asked = True
                _send(self._process.stdin, (first, lines))
                answer = _received(self._process.stdout)
        if answer is None and not self._closed:
            return block_of(first, lines, *self._setting)
        if answer is None:
            raise CancelledError  # nobody waits any more
        return answer

    def close(self) -> None:
        self._closed = True
        self._process.kill()  # whatever it still does is for nobody
        self._thread.shutdown(cancel_futures=True)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()


@contextmanager
def _started(key: bytes, source: str, scales: Mapping[str, FeatureScale]) -> Iterator[_Helper]:
    path = os.pathsep.join(part for part in sys.path if part)
    helper = _Helper(
        subprocess.Popen(  # noqa: S603 - this interpreter with a program that stands above
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the one who started it
        ),
        (key, source, dict(scales)),
    )
    try:
        yield helper
    finally:
        helper.close()


def serve(into: IO[bytes], out: IO[bytes]) -> None:
    """What a helper does until nobody asks any more."""
    setting = _received(into)
    if setting is None:
        return
    sent: set[str] = set()
    while (task := _received(into)) is not None:
        last, numbers, bad, made = block_of(*task, *setting)
        new = {fix_id: row for fix_id, row in made.fixes.items() if fix_id not in sent}
        sent.update(new)
        answer = last, numbers, bad, Prepared(
            made.columns, made.fix_ids, made.fix_names, made.teaches, made.evidence, new
        )  # fmt: skip
        _send(out, answer)


def _send(pipe: IO[bytes], thing: object) -> None:
    data = pickle.dumps(thing, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(len(data).to_bytes(8, "little"))
    pipe.write(data)
    pipe.flush()


def _received(pipe: IO[bytes]) -> Any:
    head = pipe.read(8)
    if len(head) < 8:
        return None
    data = pipe.read(int.from_bytes(head, "little"))
    return pickle.loads(data) if len(data) == int.from_bytes(head, "little") else None  # noqa: S301 - from our own child


def blocks_of_rows(
    rows: Iterable[tuple[int, Case | Text]], ready: Callable[[Sequence[Case]], Prepared], *, skip: int = 0
) -> Generator[Block]:
    """Cases that were read already, block by block.

    Args:
        rows: number of each, and the case or why there is none.
        ready: makes some cases ready.
        skip: rows that were done before.
    """
    numbers: list[int] = []
    cases: list[Case] = []
    bad: list[tuple[int, Text]] = []
    last = skip
    for number, case in rows:
        if number <= skip:
            continue
        last = number
        if isinstance(case, Text):
            bad.append((number, case))
        else:
            numbers.append(number)
            cases.append(case)
        if len(cases) + len(bad) >= _LINES:
            yield last, numbers, bad, ready(cases)
            numbers, cases, bad = [], [], []
    yield last, numbers, bad, ready(cases)
