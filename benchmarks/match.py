"""Which database is it? Confusion over all databases of opendbc, on made-up traffic.

Each trial takes one database and makes a bus of it: a part of its messages, at periods with jitter, signals that walk,
counters and checksums where the database has them, and messages of other cars between them; then noise. Three questions
are asked of each bus: with the database among the candidates (it should be named, or a relative that says the same of
most of what was seen), without it and its relatives (none should be named), and with its contents under each other's
identifiers: the very identifiers of the database, and nothing of what it says of them (none should be named).

What this favours: the traffic is made by what databases say, so that a real car, whose signals and periods the database
got wrong, is harder than these. ``--world other`` changes what the weights were not fitted on: half of the signals do
not walk but jump or stand still, unknown bits are noise, periods are other ones, declared ranges are left at times.

    python benchmarks/match.py [--trials 3] [--world plain|other] [--fit] [--table docs]
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dbc import fit
from dbc.catalogue import entries, likely_entries
from dbc.checksums import crc8
from dbc.database import load
from dbc.errors import DbcError
from dbc.evidence import KINDS, Sample, evidence_for
from dbc.protection import find_protection
from dbc.table import EXTENDED, FD, FrameRow, FrameTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dbc.database import Database
    from dbc.signals import Message, Signal

SECONDS = 8.0
PERIODS_MS = (10, 20, 20, 50, 100, 100, 200, 500, 1000)
NOISE = {"clean": (0.0, 0.0, 0.0), "usual": (1e-4, 0.02, 0.002), "bad": (2e-3, 0.15, 0.01)}
"""Share of flipped bits, of lost frames, and of frames with another length."""
RELATED = 0.5


@lru_cache(maxsize=200)
def loaded(name: str) -> Database | None:
    entry = next(entry for entry in ALL if entry.name == name)
    try:
        return load(entry.path)
    except DbcError:
        return None


ALL = [entry for entry in entries() if not entry.is_fragment]


def places(signal: Signal) -> NDArray[np.intp]:
    """Columns of a bit matrix (bytes in order, highest bit first) from the signal's highest bit to its lowest."""
    bits = np.arange(signal.length)
    if signal.little_endian:
        at = signal.first_bit + bits[::-1]
        return 8 * (at // 8) + 7 - at % 8
    return signal.first_bit + bits


def walk(rng: np.random.Generator, n: int, low: int, high: int, *, kind: str) -> NDArray[np.int64]:
    """Raw numbers that walk, jump or stand still between two ends."""
    span = high - low
    begin = rng.integers(low, high + 1)
    if kind == "still" or span == 0:
        return np.full(n, begin)
    if kind == "jumps":
        return rng.integers(low, high + 1, n)
    if span < 16:
        changes = rng.random(n) < 0.05
        values = rng.integers(low, high + 1, n)
        last = np.maximum.accumulate(np.where(changes, np.arange(n), 0))
        return np.where(last > 0, values[last], begin)
    steps = rng.normal(0, span * rng.choice([0.001, 0.005, 0.02]), n).cumsum()
    folded = np.abs((begin - low + steps) % (2 * span + 1) - span)
    return low + np.clip(folded, 0, span).astype(np.int64)


def payloads(rng: np.random.Generator, message: Message, n: int, database: Database, world: str) -> NDArray[np.uint8]:
    """uint8 (n, length): what the message carries over time."""
    bits = np.zeros((n, 8 * max(message.length, 1)), np.uint8)
    filler = rng.random()
    if filler < (0.2 if world == "plain" else 0.6):
        bits[:] = rng.integers(0, 2, bits.shape)
    elif filler < 0.6:
        bits[:] = rng.integers(0, 2, bits.shape[1])
    selectors = {c.selector: [] for s in message.signals for c in s.conditions}
    for signal in message.signals:
        for condition in signal.conditions:
            selectors[condition.selector] += [low for low, _ in condition.ranges]
    protection = find_protection(message, database.name)
    counter = protection.counter if protection else None
    for signal in sorted(message.signals, key=lambda one: len(one.conditions)):
        if signal.needs_bytes > message.length or signal.length > 62 or signal.is_float:
            continue
        if signal.name in selectors:
            values = rng.choice(np.array(selectors[signal.name]), n)
        elif counter is not None and signal.name == counter.name:
            values = (rng.integers(0, 64) + np.arange(n)) % (1 << signal.length)
        else:
            values = drawn(rng, signal, n, world)
        column = (values.astype(np.uint64)[:, None] >> np.arange(signal.length, dtype=np.uint64)[::-1]) & np.uint64(1)
        rows = np.ones(n, bool)
        for condition in signal.conditions:
            chosen = message.by_name.get(condition.selector)
            if chosen is not None:
                raw = (bits[:, places(chosen)].astype(np.int64) << np.arange(chosen.length)[::-1]).sum(axis=1)
                rows &= np.any([(raw >= low) & (raw <= high) for low, high in condition.ranges], axis=0)
        bits[np.ix_(rows, places(signal))] = column[rows]
    data = np.packbits(bits, axis=1)[:, : message.length]
    if protection is not None and protection.checksum is not None and protection.scheme is not None:
        at = protection.checksum
        if protection.scheme.name.startswith("VW, AUTOSAR"):
            secret = rng.integers(0, 256, 16).astype(np.uint8)[data[:, 1] & 15]
            whole = np.concatenate([np.delete(data, at.first_bit // 8, axis=1), secret[:, None]], axis=1)
            sums = crc8(whole, 0x2F, 0xFF) ^ 0xFF
        else:
            sums = protection.scheme.expected(data, message.can_id, at, np.zeros(n, np.int64))
        bits = np.unpackbits(data, axis=1)
        bits[:, places(at)] = (sums[:, None] >> np.arange(at.length)[::-1]) & 1
        data = np.packbits(bits, axis=1)
    return data


def drawn(rng: np.random.Generator, signal: Signal, n: int, world: str) -> NDArray[np.int64]:
    low, high = (-signal.sign, signal.mask - signal.sign)
    declared = (signal.minimum, signal.maximum)
    keeps = world == "plain" or rng.random() < 0.8
    if keeps and None not in declared and float(declared[1]) > float(declared[0]) and signal.scale:
        ends = sorted((float(end) - float(signal.offset)) / float(signal.scale) for end in declared)
        low, high = max(low, int(np.ceil(max(ends[0], -(2**61))))), min(high, int(min(ends[1], 2**61)))
    if low > high:
        low, high = (-signal.sign, signal.mask - signal.sign)
    if signal.labels and rng.random() < 0.8:
        known = [raw for raw in signal.labels if low <= raw <= high]
        if known:
            chosen = walk(rng, n, 0, len(known) - 1, kind="walks" if len(known) > 1 else "still")
            return np.array(known, np.int64)[chosen]
    shares = [0.6, 0.05, 0.35] if world == "plain" else [0.35, 0.25, 0.4]
    return walk(rng, n, low, high, kind=str(rng.choice(["walks", "jumps", "still"], p=shares)))


def frames_of(
    rng: np.random.Generator, database: Database, messages: list[Message], world: str
) -> list[tuple[float, int, bytes, int]]:
    out = []
    for message in messages:
        periods = PERIODS_MS if world == "plain" else (12, 25, 40, 60, 150, 300, 960)
        period = message.cycle_time_ms if message.cycle_time_ms and rng.random() < 0.9 else int(rng.choice(periods))
        n = max(1, int(SECONDS * 1000 / max(period, 8)))
        times = rng.random() * period + period * np.arange(n) * (1 + rng.normal(0, 0.002))
        times = times + rng.normal(0, 0.03 * period, n)
        data = payloads(rng, message, n, database, world)
        flags = EXTENDED * message.extended | FD * (message.length > 8)
        out += [(t, message.can_id, row.tobytes(), flags) for t, row in zip(times.tolist(), data, strict=True)]
    return out


def bus(rng: np.random.Generator, name: str, noise: str, world: str) -> FrameTable:
    """A bus of a car that one database describes in part."""
    database = loaded(name)
    flips, lost, wrong = NOISE[noise]
    own = [m for m in database.by_key.values() if m.length and m.length <= 64 and m.can_id < 0x20000000 and m.signals]
    own = [m for m in own if m.extended or m.can_id < 0x700]
    taken = max(1, int(len(own) * rng.uniform(0.35, 1.0)))
    chosen = [own[at] for at in rng.permutation(len(own))[:taken]]
    rows = frames_of(rng, database, chosen, world)
    used = {m.can_id for m in own}
    # Databases know from a few to nearly all of the messages of a real bus.
    for _ in range(min(int(len(chosen) * np.exp(rng.uniform(-3, 2.5))), 160)):
        other = loaded(ALL[int(rng.integers(len(ALL)))].name)
        pool = (
            [m for m in other.by_key.values() if 0 < m.length <= 8 and m.can_id < 0x700 and m.signals] if other else []
        )
        if pool:
            stranger, elsewhere = (pool[int(rng.integers(len(pool)))] for _ in range(2))
            if elsewhere.can_id not in used:
                # Under another identifier: what no database describes.
                used.add(elsewhere.can_id)
                rows += frames_of(rng, other, [replace(stranger, can_id=elsewhere.can_id)], world)
    rows.sort(key=lambda row: row[0])
    kept = []
    for t, can_id, content, flags in rows:
        data = content
        if rng.random() < lost:
            continue
        if rng.random() < wrong:
            data = data[: int(rng.integers(0, len(data) + 1))]
        if flips and data and rng.random() < flips * 8 * len(data):
            at = int(rng.integers(8 * len(data)))
            data = bytes(byte ^ (1 << at % 8 if number == at // 8 else 0) for number, byte in enumerate(data))
        kept.append(FrameRow(int(t * 1e6), can_id, data, flags))
    return FrameTable.from_rows(kept)


def impostor(rng: np.random.Generator, table: FrameTable, database: Database) -> FrameTable | None:
    """The same identifiers, each with what one of another layout carries; None where most have the same layout."""
    ids = np.unique(table.can_id)
    layouts: dict[object, list[int]] = defaultdict(list)
    for at in rng.permutation(len(ids)).tolist():
        message = database.find_message(int(ids[at]), extended=bool(ids[at] > 0x7FF))
        layouts[tuple((s.start, s.length) for s in message.signals) if message else at].append(at)
    most = max(map(len, layouts.values()))
    if 2 * most > len(ids) or len(ids) < 4:
        return None
    order = np.array([at for group in sorted(layouts.values(), key=len) for at in group])
    other = np.empty(len(ids), ids.dtype)
    other[order] = ids[np.roll(order, most)]
    flags = np.zeros(len(ids), np.uint8)
    flags[np.searchsorted(ids, table.can_id)] = table.flags & np.uint8(EXTENDED)
    at = np.searchsorted(ids, other[np.searchsorted(ids, table.can_id)])
    changed = (table.flags & np.uint8(0xFF - EXTENDED)) | flags[at]
    return replace(table, can_id=ids[at], flags=changed)


@dataclass
class Trial:
    truth: str
    noise: str
    names: list[str]
    odds: NDArray[np.float64]
    known: NDArray[np.int64]
    false_odds: NDArray[np.float64]
    false_known: NDArray[np.int64]
    alike: set[str]
    relatives: set[str]
    seconds: float


def relatives_of(name: str) -> set[str]:
    """The database, those of its make, and all that describe half of its messages by identifier and length.

    Makers use messages again: another database of the make is right about some of them.
    """
    make = next(entry.make for entry in ALL if entry.name == name)
    own = {(key, m.length) for key, m in loaded(name).by_key.items()}
    found = {name}
    for entry in ALL:
        other = loaded(entry.name)
        if make and entry.make == make:
            found.add(entry.name)
        if other is not None and own:
            theirs = {(key, m.length) for key, m in other.by_key.items()}
            if theirs and len(own & theirs) >= RELATED * min(len(own), len(theirs)):
                found.add(entry.name)
    return found


def run(name: str, noise: str, world: str, seed: int, relatives: set[str]) -> Trial:
    rng = np.random.default_rng(seed)
    table = bus(rng, name, noise, world)
    begin = time.perf_counter()
    sample = Sample(table)
    # As many without the relatives as with them: both questions are asked of the same evidence.
    names = [entry.name for entry in likely_entries(sample.frames, limit=12)]
    names += [e.name for e in likely_entries(sample.frames, limit=12, without=relatives) if e.name not in names]
    found = {n: evidence_for(base, sample) for n in names if (base := loaded(n)) is not None}
    seconds = time.perf_counter() - begin
    odds = np.array([one.odds for one in found.values()]).reshape(-1, len(KINDS))
    known = np.array([one.known for one in found.values()], np.int64)
    swapped = impostor(rng, table, loaded(name))
    false_found = [evidence_for(loaded(n), Sample(swapped)) for n in found] if swapped is not None else []
    false_odds = np.array([one.odds for one in false_found]).reshape(-1, len(KINDS))
    false_known = np.array([one.known for one in false_found], np.int64)
    alike = {n for n, one in found.items() if name in found and one.agrees_with(found[name])} | {name}
    return Trial(name, noise, list(found), odds, known, false_odds, false_known, alike, relatives, seconds)


def scores(trial: Trial, weights: NDArray[np.float64], bias: float, *, false: bool) -> NDArray[np.float64]:
    if false:
        return np.where(trial.false_known >= 2, bias + trial.false_odds @ weights, -20.0)
    return np.where(trial.known >= 2, bias + trial.odds @ weights, -20.0)


def chances(
    trial: Trial, weights: NDArray[np.float64], bias: float, *, absent: bool = False, false: bool = False
) -> dict[str, float]:
    s = scores(trial, weights, bias, false=false)
    use = [n for n in range(len(s)) if not (absent and trial.names[n] in trial.relatives)]
    all_ = np.append(s[use], 0.0)
    p = np.exp(all_ - all_.max())
    p /= p.sum()
    return {**{trial.names[n]: float(p[k]) for k, n in enumerate(use)}, "": float(p[-1])}


def fitted(trials: list[Trial]) -> tuple[NDArray[np.float64], float]:
    """Weights by gradient ascent on the log probability of the right answers, both questions alike; none negative."""
    # What one would say without traffic: a checksum or a counter proves more than a length or a range.
    start = np.array([1.2, 0.2, 0.3, 0.5, 0.2, 0.4, 0.6, 0.4])
    parameters = np.append(start, -6.0)

    def loss(p: NDArray[np.float64]) -> float:
        total = 0.0
        for trial in trials:
            right = chances(trial, p[:-1], p[-1])
            total -= np.log(max(sum(right.get(name, 0.0) for name in trial.alike), 1e-9))
            total -= np.log(max(chances(trial, p[:-1], p[-1], absent=True)[""], 1e-9))
            if len(trial.false_known):
                total -= np.log(max(chances(trial, p[:-1], p[-1], false=True)[""], 1e-9))
        return total / len(trials) + 0.05 * float(((p[:-1] - start) ** 2).sum())

    step, best = 0.4, loss(parameters)
    while step > 0.02:
        better = False
        for at in range(len(parameters)):
            for sign in (step, -step):
                tried = parameters.copy()
                tried[at] += sign
                if at < len(KINDS) and tried[at] < 0:
                    continue
                value = loss(tried)
                if value < best:
                    parameters, best, better = tried, value, True
                    break
        if not better:
            step /= 2
    return parameters[:-1], float(parameters[-1])


def report(trials: list[Trial], weights: NDArray[np.float64], bias: float, title: str) -> None:
    print(f"\n### {title}\n")
    print("| noise | trials | named rightly | wrong | none | absent: none | wrong | identifiers only: none | wrong |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    stated: list[tuple[float, bool]] = []
    confused: dict[str, set[str]] = defaultdict(set)
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    alike: dict[str, set[str]] = defaultdict(set)
    for noise in NOISE:
        counts = defaultdict(int)
        some = [trial for trial in trials if trial.noise == noise]
        for trial in some:
            p = chances(trial, weights, bias)
            first = max((n for n in p if n), key=lambda n: p[n], default="")
            mine = sum(p.get(n, 0.0) for n in (trial.alike if first in trial.alike else {first} - {""}))
            answer = first if mine > fit.CERTAIN else ""
            stated.append((mine, first in trial.alike))
            answers[trial.truth][answer] += 1
            alike[trial.truth] |= trial.alike
            counts["right" if answer in trial.alike else "wrong" if answer else "none"] += 1
            if answer and answer not in trial.alike:
                confused[trial.truth].add(answer)
            for kind in ("absent", "false") if len(trial.false_known) else ("absent",):
                without = chances(trial, weights, bias, **{kind: True})
                best = max((n for n in without if n), key=lambda n: without[n], default="")
                counts[f"{kind} wrong" if best and without[best] > fit.CERTAIN else f"{kind} none"] += 1
                if best and without[best] > fit.CERTAIN:
                    confused[f"{trial.truth} ({kind})"].add(best)
        n = max(len(some), 1)
        columns = ("right", "wrong", "none", "absent none", "absent wrong", "false none", "false wrong")
        swapped = max(sum(len(trial.false_known) > 0 for trial in some), 1)
        cells = [f"{counts[key] / (swapped if key.startswith('false') else n):.1%}" for key in columns]
        print(f"| {noise} | {len(some)} | " + " | ".join(cells) + " |")
    print("\n| stated probability | trials | right |\n| --- | ---: | ---: |")
    for low, high in ((0.0, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 1.01)):
        inside = [good for p, good in stated if low <= p < high]
        if inside:
            print(f"| {low:.2f}-{min(high, 1):.2f} | {len(inside)} | {np.mean(inside):.1%} |")
    print("\nTaken for another:")
    for name, others in sorted(confused.items()):
        print(f"- {name}: {', '.join(sorted(others))}")
    print("\n| database | trials | itself | a relative | none | another |\n| --- | ---: | ---: | ---: | ---: | --- |")
    for name in sorted(answers, key=str.lower):
        given = answers[name]
        relatives = sum(count for answer, count in given.items() if answer in alike[name] - {name})
        others = sorted(answer for answer in given if answer and answer != name and answer not in alike[name])
        print(f"| {name} | {sum(given.values())} | {given[name]} | {relatives} | {given['']} | {', '.join(others)} |")
    print(f"\nmedian time {np.median([trial.seconds for trial in trials]):.2f} s a recording, databases already loaded")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1, help="of each database and noise")
    parser.add_argument("--world", choices=("plain", "other"), default="plain")
    parser.add_argument("--fit", action="store_true", help="fit weights on one half of the databases, report the other")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.getLogger("cantools").setLevel(logging.ERROR)
    names = [entry.name for entry in ALL if loaded(entry.name) is not None and len(loaded(entry.name).by_key) > 1]
    trials: list[Trial] = []
    for number, name in enumerate(names):
        relatives = relatives_of(name)
        for at, noise in enumerate(NOISE):
            seeds = [100_000 * args.seed + 1000 * number + 100 * at + trial for trial in range(args.trials)]
            trials += [run(name, noise, args.world, seed, relatives) for seed in seeds]
    weights = np.array([fit.WEIGHTS[kind] for kind in KINDS])
    bias = fit.BIAS
    print(f"{len(names)} databases, {len(trials)} recordings, world: {args.world}")
    if args.fit:
        half = set(names[::2])
        weights, bias = fitted([trial for trial in trials if trial.truth in half])
        print("BIAS", round(bias, 2), {kind: round(float(w), 2) for kind, w in zip(KINDS, weights, strict=True)})
        trials = [trial for trial in trials if trial.truth not in half]
    report(trials, weights, bias, "held out" if args.fit else "all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
