"""A car in real time: one thread moves it, every front sees the same bus.

The thread sleeps until the next tick, the next diagnostic frame or the next frame from outside. After a stall (a
slow machine, a suspended laptop) the car goes on from where it was: missed ticks are dropped, never sent in a burst.
On a machine that is too slow the car moves slower rather than take the whole processor.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from virtualbus.car import TICK_NS, Car
from virtualbus.fronts import FrontAddress, open_front
from virtualbus.scenario import Scenario, find_scenario

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from virtualbus.farm import Farm
    from virtualbus.fronts import Front
    from virtualbus.transport import Frame

__all__ = ["CarRunner", "RunningCar", "running"]

_LOG: Final = logging.getLogger(__name__)
_MAX_LATE_TICKS: Final = 5
_MAX_FRAMES_AT_ONCE: Final = 200
_MAX_INBOX: Final = 4000
_TAP_TICKS: Final = 10
_NUMBERS: Final = itertools.count(1)


@dataclass(frozen=True, slots=True)
class RunningCar:
    """Where a car of this process can be met, as python-can spells it.

    Args:
        channel: of the diagnostic bus.
        channels: of all its buses.
    """

    interface: str
    channel: str
    car: Car
    channels: tuple[str, ...] = ()


class CarRunner:
    """Moves one car and joins its fronts to one bus."""

    def __init__(self, car: Car | Farm, fronts: Sequence[Front], *, tap_path: Path | None = None) -> None:
        self.car = car
        self._tap = None
        if tap_path is not None and isinstance(car, Car):
            from virtualbus.tap import Tap

            self._tap = Tap(tap_path, car)
        self._tapped = 0
        self._fronts = list(fronts)
        self._own_answers = car.answer_ids
        self._inbox: queue.Queue[tuple[Front, Frame] | None] = queue.Queue(_MAX_INBOX)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simulated car", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Opens the bus to the outside and lets the car move."""
        for front in self._fronts:
            front.attach(self.car)
            front.start(self._take)
        self._thread.start()

    def stop(self) -> None:
        """Stops the car, then closes its fronts; raises what stopped the car, if something did."""
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(5.0)
        for front in self._fronts:
            front.stop()
        if self._tap is not None:
            self._tap.close()
        if self.failure is not None:
            raise self.failure

    def wait(self, timeout_s: float | None) -> None:
        """Returns after ``timeout_s`` seconds, or when the car has stopped by itself."""
        self._thread.join(timeout_s)

    @property
    def is_moving(self) -> bool:
        """Whether the thread is at work."""
        return self._thread.is_alive()

    def _wake(self) -> None:
        try:
            self._inbox.put_nowait(None)
        except queue.Full:
            return  # it is awake: its inbox is full

    def _take(self, front: Front, frame: Frame) -> None:
        try:
            self._inbox.put_nowait((front, frame))
        except queue.Full:
            _LOG.warning("frame 0x%03X dropped: the car cannot follow", frame.can_id)

    def _run(self) -> None:
        try:
            self._move()
        except Exception as exc:  # noqa: BLE001 - the top of the thread: its owner gets it in stop()
            _LOG.exception("the simulated car stopped")
            self.failure = exc

    def _move(self) -> None:
        next_tick = time.monotonic_ns() + TICK_NS
        while not self._stopping.is_set():
            now = time.monotonic_ns()
            if now >= next_tick:
                for frame in self.car.tick():
                    self._send(frame)
                self._tapped += 1
                if self._tap is not None and self._tapped % _TAP_TICKS == 0:
                    self._tap.sample()
                next_tick += TICK_NS
                if now - next_tick > _MAX_LATE_TICKS * TICK_NS:
                    next_tick = now + TICK_NS
            self._answer()
            worked_ns = time.monotonic_ns() - now
            self._listen(max(next_tick, now + worked_ns + worked_ns // 2))

    def _answer(self) -> None:
        for frame in self.car.answers(time.monotonic_ns()):
            self._send(frame)

    def _listen(self, next_tick: int) -> None:
        """Waits for frames until something is due, and takes what is there."""
        now = time.monotonic_ns()
        answer = self.car.next_answer_ns(now)
        until = next_tick if answer is None else min(next_tick, answer)
        wait_s = (until - now) / 1e9
        for _ in range(_MAX_FRAMES_AT_ONCE):
            try:
                item = self._inbox.get(timeout=wait_s) if wait_s > 0 else self._inbox.get_nowait()
            except queue.Empty:
                return
            wait_s = 0.0
            if item is not None:
                self._heard(*item)

    def _heard(self, front: Front, frame: Frame) -> None:
        for other in self._fronts:
            if other is not front:
                other.send(frame)
        if frame.can_id not in self._own_answers:
            self.car.receive(frame, time.monotonic_ns())

    def _send(self, frame: Frame) -> None:
        for front in self._fronts:
            front.send(frame)


@contextmanager
def running(scenario: str | Path | Scenario = "healthy", *, seed: int | None = None) -> Iterator[RunningCar]:
    """A car in this process, on a python-can ``virtual`` bus of its own, moving in a thread.

    Args:
        scenario: a built-in name, a scenario file, or a scenario.
        seed: another seed, another car of the kind.

    Yields:
        RunningCar: interface and channel for ``can.Bus``.

    Raises:
        ScenarioUnknown, ScenarioBroken: the scenario cannot be used.
    """
    chosen = scenario if isinstance(scenario, Scenario) else find_scenario(str(scenario))
    name = f"huizhen-{next(_NUMBERS)}"
    car = Car(chosen, seed)
    channels = tuple(f"{name}.{bus}" if bus else name for bus in range(car.bus_count))
    address = FrontAddress("can", "virtual", ",".join(channels))
    runner = CarRunner(car, [open_front(address)])
    runner.start()
    try:
        yield RunningCar(address.interface, name, car, channels)
    finally:
        runner.stop()
