"""``huizhen live`` with 4,000 frames a second coming in: shares of a core, beside a dashboard of one widget per cell.

python benchmarks/live.py [--rate 4000] [--seconds 15] [--rounds 3]

A simulated car with 198 cells plays its battery bus over UDP multicast from a process of its own. Four programs take it
one after the other, each in a pseudo-terminal of 120 by 40 whose output somebody reads:

- ``link``: receiving alone, with python-can as it is (what any program on this bus pays);
- ``bare``: our feed without a screen: receiving, decoding, judging once a second;
- ``live``: ``huizhen live``, the same feed with the dashboard;
- ``naive``: the same feed with a Textual screen of one ``Static`` per cell and ``Sparkline`` charts, at the same rates.

Each tells how many frames a second it really took and how many pictures a second it really made: on a machine that is
busy with something else both fall, and then its share says too little.

``dashboard`` is ``live`` − ``bare``, the peer's ``naive`` − ``bare``, by processor time of the whole process, medians
over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import io
import math
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import termios
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from huizhen.livefeed import LiveFeed

HERE = Path(__file__).resolve()
GROUP = "239.74.163.77"
MODES = ("link", "bare", "live", "naive")
WARM_UP_S = 8.0
TICK_S = 0.01
NAMES = ("CellVoltage_001", "CellVoltage_050", "CellVoltage_100", "CellVoltage_150")
CELLS = 198


def database() -> Path:
    from dbc.files import EV800

    return EV800[1]


# -- the car ---------------------------------------------------------------------------------------------------------


def send(rate: int) -> None:
    """Plays the car's battery bus at ``rate`` frames a second until it is ended."""
    import can

    from virtualbus.car import Car
    from virtualbus.scenario import find_scenario

    car = Car(find_scenario("ev800"), 3)
    frames = [frame for _ in range(600) for frame in car.tick() if frame.channel == 1]
    messages = [
        can.Message(
            arbitration_id=frame.can_id, data=frame.data, is_extended_id=frame.extended, is_fd=frame.fd,
            bitrate_switch=frame.fd,
        )
        for frame in frames
    ]  # fmt: skip
    with can.Bus(interface="udp_multicast", channel=GROUP, hop_limit=0, fd=True) as bus:
        print("ready", flush=True)
        sent, start = 0, time.monotonic()
        while True:
            due = int((time.monotonic() - start) * rate)
            for number in range(sent, due):
                bus.send(messages[number % len(messages)])
            sent = due
            time.sleep(TICK_S)


# -- what is measured ------------------------------------------------------------------------------------------------


def options() -> argparse.Namespace:
    return argparse.Namespace(
        signals=list(NAMES), duration=None, poll=5.0, no_codes=True, plain=False, recordings=None,
        interface="udp_multicast", channel=GROUP, bitrate=500_000, fd=True, data_bitrate=2_000_000, demo=False,
        scenario=None, dbc=[str(database())], replug=0.0, timeout=None,
    )  # fmt: skip


def feed() -> LiveFeed:
    from huizhen.console import Console
    from huizhen.language import Translator
    from huizhen.livefeed import LiveFeed

    return LiveFeed(options(), Console(Translator("en"), io.StringIO(), io.StringIO()))


class Tally:
    """What a child has done so far, told to its parent once a second."""

    frames = 0
    pictures = 0
    feeds: ClassVar[list[LiveFeed]] = []

    @classmethod
    def tell(cls, descriptor: int) -> None:
        while True:
            time.sleep(1.0)
            frames = cls.frames + sum(feed.watch.frames for feed in cls.feeds)
            with suppress(OSError):
                os.write(descriptor, f"{time.monotonic()} {frames} {cls.pictures}\n".encode())


async def link_alone() -> None:
    from diag.canbus import open_can

    async with await open_can("udp_multicast", GROUP, 500_000, fd=True) as link:
        with link.frames() as subscription:
            while frames := await subscription.batch():
                Tally.frames += len(frames)
                await asyncio.sleep(0.025)


def naive() -> None:
    """As one would first write it: every cell a widget, every chart a widget."""
    from textual.app import App
    from textual.containers import Grid
    from textual.widgets import Sparkline, Static

    from huizhen.heatmap import STEPS_MV
    from huizhen.panelrows import HEAT

    car = feed()
    colours = [colour.partition(" on ")[2] for colour in HEAT]

    class Naive(App):
        CSS = f"Grid {{ grid-size: {CELLS // 11} 11; height: 26; }} Static {{ height: 2; }} Sparkline {{ height: 2; }}"

        def compose(self) -> ComposeResult:
            yield Static(id="status")
            with Grid():
                for number in range(CELLS):
                    yield Static(str(number + 1), id=f"cell{number}")
            for number in range(len(NAMES)):
                yield Sparkline([0.0], id=f"line{number}")

        def on_mount(self) -> None:
            self.following = asyncio.ensure_future(car.run())
            self.set_interval(0.1, self.charts)
            self.set_interval(0.25, self.cells)
            self.set_interval(0.5, self.words)

        def charts(self) -> None:
            Tally.pictures += 1
            car.sample()
            if car.history is None:
                return
            columns = {info.name: at for at, info in enumerate(car.signals)}
            for number, name in enumerate(NAMES):
                if name in columns:
                    values = car.history.window(columns[name], car.history.total - 600)
                    line = self.query_one(f"#line{number}", Sparkline)
                    line.data = [float(value) for value in values if not math.isnan(value)]

        def cells(self) -> None:
            import numpy as np

            pack = car.pack()
            if not len(pack.volts) or not np.isfinite(pack.volts).any():
                return
            middle = float(np.nanmedian(pack.volts))
            for number, volts in enumerate(pack.volts[:CELLS]):
                cell = self.query_one(f"#cell{number}", Static)
                if not math.isnan(volts):
                    step = sum(1000 * (volts - middle) >= edge for edge in STEPS_MV)
                    cell.styles.background = colours[step]
                    cell.update(f"{volts:.3f}")

        def words(self) -> None:
            now = time.monotonic()
            self.query_one("#status", Static).update(f"{car.load.frames_per_s(now)}/s {car.load.percent(now)}")

    Naive().run(mouse=False)


def child(mode: str, descriptor: int) -> None:
    from huizhen import dashboard, livefeed

    made, beat = livefeed.LiveFeed.__init__, dashboard.Dashboard.beat

    def make(self: LiveFeed, *words: Any) -> None:
        made(self, *words)
        Tally.feeds.append(self)

    def counted(self: dashboard.Dashboard) -> None:
        Tally.pictures += 1
        beat(self)

    livefeed.LiveFeed.__init__ = make
    dashboard.Dashboard.beat = counted
    threading.Thread(target=Tally.tell, args=(descriptor,), daemon=True).start()
    if mode == "link":
        asyncio.run(link_alone())
    elif mode == "bare":
        asyncio.run(feed().run())
    elif mode == "naive":
        naive()
    else:
        from huizhen.cli import main

        link = ["-i", "udp_multicast", "-c", GROUP, "-b", "500000", "--fd", "--data-bitrate", "2000000"]
        sys.exit(main(["live", *NAMES, *link, "--dbc", str(database()), "--no-codes", "--lang", "en"]))


# -- measuring -------------------------------------------------------------------------------------------------------


def processor_s(pid: int) -> float:
    """Processor time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(mode: str, seconds: float) -> tuple[float, float, float, float]:
    """The share of a core in percent; frames and pictures a second, kilobytes a second drawn on the terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    env.pop("NO_COLOR", None)
    told, telling = os.pipe()
    words = [sys.executable, str(HERE), "--child", mode, "--tell", str(telling)]
    running = subprocess.Popen(
        words, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True, pass_fds=(telling,)
    )
    os.close(slave)
    os.close(telling)
    drawn = 0

    def drain(until: float) -> None:
        nonlocal drawn
        while (left := until - time.monotonic()) > 0:
            if select.select([master], [], [], left)[0]:
                with suppress(OSError):
                    drawn += len(os.read(master, 65536))

    try:
        drain(time.monotonic() + WARM_UP_S)
        os.read(told, 65536)
        drawn, before, begin = 0, processor_s(running.pid), time.monotonic()
        drain(begin + seconds)
        took = time.monotonic() - begin
        share = (processor_s(running.pid) - before) / took * 100
        lines = [[float(word) for word in line.split()] for line in os.read(told, 65536).decode().splitlines()]
    finally:
        running.kill()
        running.wait()
        os.close(master)
        os.close(told)
    (first_s, frames, pictures), (last_s, more_frames, more_pictures) = lines[0], lines[-1]
    span = last_s - first_s
    return share, (more_frames - frames) / span, (more_pictures - pictures) / span, drawn / took / 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=MODES)
    parser.add_argument("--tell", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--send", action="store_true")
    args = parser.parse_args()
    if args.send:
        send(args.rate)
        return 0
    if args.child:
        child(args.child, args.tell)
        return 0
    if not Path("/proc/self/stat").exists():
        print("needs /proc: Linux only")
        return 0
    words = [sys.executable, str(HERE), "--send", "--rate", str(args.rate)]
    car = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    shares: dict[str, list[float]] = {mode: [] for mode in MODES}
    made: dict[str, list[float]] = {mode: [] for mode in MODES}
    try:
        if car.stdout is not None:
            car.stdout.readline()
        for _ in range(args.rounds):
            for mode in MODES:
                share, frames, pictures, kilobytes = measure(mode, args.seconds)
                shares[mode].append(share)
                made[mode].append(pictures)
                print(
                    f"  {mode:6} {share:5.1f} % of a core, {frames:.0f} frames/s, {pictures:.1f} pictures/s, "
                    f"{kilobytes:.1f} kB/s drawn",
                    flush=True,
                )
    finally:
        car.kill()
        car.wait()
    middle = {mode: statistics.median(found) for mode, found in shares.items()}
    ours = statistics.median(live - bare for live, bare in zip(shares["live"], shares["bare"], strict=True))
    peer = statistics.median(live - bare for live, bare in zip(shares["naive"], shares["bare"], strict=True))
    print(f"{args.rate} frames/s, {CELLS} cells, {len(NAMES)} charts, 120 x 40, medians of {args.rounds} rounds:")
    print(f"  all of it (huizhen live) {middle['live']:.1f} % of a core, of which receiving {middle['link']:.1f} %")
    print(f"  the dashboard itself     {ours:.1f} %")
    ours_hz, peer_hz = statistics.median(made["live"]), statistics.median(made["naive"])
    print(f"  one widget per cell      {peer:.1f} % ({peer / max(ours, 0.1):.1f} times as much)")
    print(f"  pictures a second        {ours_hz:.1f} and {peer_hz:.1f}")
    each, peer_each = ours / ours_hz, peer / peer_hz
    ratio = peer_each / max(each, 0.01)
    print(f"  for one of them          {each:.2f} % and {peer_each:.2f} % ({ratio:.1f} times as much)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
