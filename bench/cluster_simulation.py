"""A large cluster under a virtual clock, scheduled by the program's own policy: a simulation.

Nothing here cleans a picture. `Cluster` says what the slots, the clips and the losses are like; the
policy is `sorawm_pipeline.scheduling`, called as a head would call it. Two situations:

    backlog   all clips are there at once: throughput, beside the work alone at the slots' speeds
    stream    clips come at random, for 85% of the slots' time: how long short clips take
"""

from __future__ import annotations

import argparse
import json
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.scheduling import Assignment, Ended, Limits, Scheduler

LENGTHS = (120.0, 300.0, 600.0)
SHORT_S = 60.0
"""Clips of up to so many seconds are short."""

LOAD = 0.85


@dataclass(frozen=True)
class Cluster:
    """What it is like; all of it is assumed, but for what docs/benchmarks.md names a source of.

    Attributes:
        slots, slots_per_node: GPUs.
        slow: share of the slots that are slow, by 1 + a log-normal factor of that sigma.
        noise: sigma of the logarithm of each piece's duration.
        stuck: share of the pieces that take longer by a factor of 1 + Pareto(stuck_exponent).
        failing: share of the attempts that end half-way without a result.
        mtbf_s: mean time between losses of a node; down_s: until it is back.
        start_s: until an actor has its models.
        piece_s: of each piece, for opening, fetching and storing; join_s: of a clip.
        context_s: seconds of video that are restored once more for each piece of a cut clip.
        find, restore: seconds of a slot for one of video.
    """

    slots: int = 1000
    slots_per_node: int = 8
    slow: float = 0.05
    slow_sigma: float = 0.5
    noise: float = 0.1
    stuck: float = 0.002
    stuck_exponent: float = 1.5
    failing: float = 0.0005
    mtbf_s: float = 86_400.0
    down_s: float = 600.0
    start_s: float = 60.0
    piece_s: float = 0.5
    context_s: float = 8.0
    find: float = 0.05
    restore: float = 0.25


CLUSTER = Cluster()


def lengths_of(clips: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Seconds of video: log-normal around 20 s; one clip in a thousand has one to ten hours."""
    short = np.clip(random.lognormal(np.log(20.0), 1.2, clips), 1.0, 3600.0)
    return np.where(random.random(clips) < 0.001, random.uniform(3600, 36_000, clips), short)


@dataclass
class Head:
    """The policy, and what calling it costs for real.

    Attributes:
        calls, seconds: of the policy.
    """

    policy: Scheduler
    calls: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0

    def call(self, name: str, *arguments: Any) -> Any:
        method = getattr(self.policy, name)
        began = perf_counter()
        answer = method(*arguments)
        took = perf_counter() - began
        self.calls += 1
        self.seconds += took
        self.slowest_s = max(self.slowest_s, took)
        return answer


@dataclass
class Run:
    """One situation: events in a heap, the newest state of every slot."""

    cluster: Cluster
    lengths: NDArray[np.float64]
    arrivals: NDArray[np.float64]
    piece_length_s: float
    limits: Limits
    random: np.random.Generator
    now: float = 0.0
    events: list[tuple[float, int, str, Any]] = field(default_factory=list)
    idle: dict[int, None] = field(default_factory=dict)
    done_at: dict[int, float] = field(default_factory=dict)
    results: int = 0
    expected_results: int = 0
    given_up: int = 0
    losses: int = 0
    handled: int = 0
    largest: dict[str, int] = field(default_factory=dict)
    busy_s: float = 0.0
    woken: float = inf

    def __post_init__(self) -> None:
        self.head = Head(Scheduler(self.limits))
        self._order = count()
        slots, random = self.cluster.slots, self.random
        slow = 1 + random.lognormal(0.0, self.cluster.slow_sigma, slots)
        self.pace = np.where(random.random(slots) < self.cluster.slow, slow, 1.0)
        self._draws = self._drawn()
        self._current: dict[int, Assignment] = {}
        self._tickets: dict[int, int] = {}

    def at(self, when: float, kind: str, what: Any) -> None:
        heappush(self.events, (when, next(self._order), kind, what))

    def _drawn(self) -> Iterator[tuple[float, bool, float]]:
        """A factor of duration, whether it fails; drawn many at a time."""
        cluster, random = self.cluster, self.random
        while True:
            size = 1 << 14
            factor = random.lognormal(0.0, cluster.noise, size)
            pareto = 1 + random.pareto(cluster.stuck_exponent, size)
            factor *= np.where(random.random(size) < cluster.stuck, 1 + pareto, 1.0)
            fails = random.random(size) < cluster.failing
            yield from zip(
                factor.tolist(), fails.tolist(), random.random(size).tolist(), strict=True
            )

    def whole_work_s(self) -> float:
        """Seconds of typical slots for all clips: looking and restoring once, nothing else."""
        return float(self.lengths.sum()) * (self.cluster.find + self.cluster.restore)

    def add(self, clip: int) -> None:
        length, cluster = float(self.lengths[clip]), self.cluster
        pieces = max(1, round(length / self.piece_length_s))
        each = length / pieces
        if pieces == 1:
            cost, find = cluster.piece_s + each * (cluster.find + cluster.restore), 0.0
        else:
            cost = cluster.piece_s + (each + cluster.context_s) * cluster.restore
            find = cluster.piece_s + each * cluster.find
        self.expected_results += pieces * (1 if pieces == 1 else 2)
        self._tickets[self.head.call("add", pieces, cost, find)] = clip

    def hand_out(self) -> None:
        """Ask for idle slots until two in a row get nothing."""
        refused: list[int] = []
        while self.idle and len(refused) < 2:
            slot = next(iter(self.idle))
            del self.idle[slot]
            work = self.head.call("next_for", slot, self.now)
            if work is None:
                refused.append(slot)
                continue
            self._current[slot] = work
            factor, fails, part = next(self._draws)
            duration = work.cost * float(self.pace[slot]) * factor
            self.at(self.now + duration * (part if fails else 1), "end", (work, fails))
        self.idle.update(dict.fromkeys(refused))
        if self.idle:
            wake = self.head.policy.wake(self.now)
            if wake is not None and (wake < self.woken or self.woken <= self.now):
                self.woken = wake
                self.at(wake, "wake", None)

    def take(self, ended: Ended, ticket: int) -> None:
        for work in ended.cancel:
            slot = work.slot
            assert isinstance(slot, int)
            del self._current[slot]
            self.busy_s += self.now - work.started
            self.idle[slot] = None
        if ended.joinable:
            self.head.call("remove", ticket, self.now)
            self.done_at[self._tickets.pop(ticket)] = self.now
        if ended.given_up:
            self.given_up += 1
            del self._tickets[ticket]

    def end(self, work: Assignment, fails: bool) -> None:
        slot = work.slot
        assert isinstance(slot, int)
        if self._current.get(slot) is not work:
            return  # it was cancelled, or its node was lost
        del self._current[slot]
        self.idle[slot] = None
        self.busy_s += self.now - work.started
        ended: Ended = self.head.call("failed" if fails else "finished", work, self.now)
        self.results += ended.first
        self.take(ended, work.ticket)

    def lose(self, node: int) -> None:
        first = node * self.cluster.slots_per_node
        self.losses += 1
        for slot in range(first, min(first + self.cluster.slots_per_node, self.cluster.slots)):
            self.idle.pop(slot, None)
            work = self._current.pop(slot, None)
            if work is not None:
                self.busy_s += self.now - work.started
                self.take(self.head.call("lost", slot, self.now), work.ticket)
            else:
                self.head.call("lost", slot, self.now)
            self.at(self.now + self.cluster.down_s + self.cluster.start_s, "up", slot)
        up = self.now + self.cluster.down_s + self.cluster.start_s
        self.at(up + self.random.exponential(self.cluster.mtbf_s), "lost", node)

    def run(self) -> None:
        cluster, clips = self.cluster, len(self.lengths)
        for slot in range(cluster.slots):
            self.at(cluster.start_s, "up", slot)
        for node in range(-(-cluster.slots // cluster.slots_per_node)):
            up = cluster.start_s + self.random.exponential(cluster.mtbf_s)
            self.at(up, "lost", node)
        coming = 0
        while len(self.done_at) + self.given_up < clips:
            if coming < clips and self.arrivals[coming] <= self.events[0][0]:
                self.now = float(self.arrivals[coming])
                self.add(coming)
                coming += 1
            else:
                self.now, _, kind, what = heappop(self.events)
                if kind == "end":
                    self.end(*what)
                elif kind == "lost":
                    self.lose(what)
                elif kind == "up":
                    self.idle[what] = None
            if self.idle:
                self.hand_out()
            self.handled += 1
            if self.handled % 1024 == 0:
                self.sample()
        self.sample()

    def sample(self) -> None:
        told = self.head.policy.statistics()
        now = {
            "waiting": told.waiting,
            "under_way": told.begun,
            "pieces_held": told.held,
            "events": len(self.events),
        }
        for name, value in now.items():
            self.largest[name] = max(self.largest.get(name, 0), value)


def simulate(
    situation: str,
    clips: int,
    piece_length_s: float,
    *,
    copies: bool,
    cluster: Cluster = CLUSTER,
    seed: int = 1,
) -> dict[str, Any]:
    """One row of the table. The same seed draws the same clips and slots."""
    began = perf_counter()
    random = np.random.default_rng(seed)
    lengths = lengths_of(clips, random)
    arrivals = np.zeros(clips)
    limits = Limits() if copies else Limits(late=inf)
    run = Run(cluster, lengths, arrivals, piece_length_s, limits, random)
    capacity = float((1 / run.pace).sum())
    ideal_s = run.whole_work_s() / capacity
    if situation == "stream":
        gaps = random.exponential(ideal_s / LOAD / clips, clips)
        run.arrivals = cluster.start_s + np.cumsum(gaps)
    run.run()
    policy = run.head.policy.statistics()
    waits = np.array([at - run.arrivals[clip] for clip, at in run.done_at.items()])
    finished = np.fromiter(run.done_at, np.int64)
    short = waits[lengths[finished] <= SHORT_S]
    quantiles = np.quantile(short, (0.5, 0.99, 0.999)) if len(short) else np.zeros(3)
    nearly = float(np.quantile(waits + run.arrivals[finished], 0.999))
    return {
        "situation": situation,
        "piece_length_s": piece_length_s,
        "copies": copies,
        "clips": clips,
        "done": len(run.done_at),
        "given_up": run.given_up,
        "results": run.results,
        "expected_results": run.expected_results,
        "hours": round(run.now / 3600, 3),
        "ideal_hours": round(ideal_s / 3600, 3),
        "share_of_ideal": round(ideal_s / run.now, 4),
        "share_of_ideal_999": round(0.999 * ideal_s / nearly, 4),
        "busy": round(run.busy_s / (run.now * cluster.slots), 4),
        "short_p50_s": round(float(quantiles[0]), 2),
        "short_p99_s": round(float(quantiles[1]), 2),
        "short_p999_s": round(float(quantiles[2]), 2),
        "all_p50_s": round(float(np.quantile(waits, 0.5)), 2),
        "longest_s": round(float(waits.max()), 1),
        "redone": round(policy.redone_s / run.busy_s, 5),
        "copied": round(policy.copied_s / run.busy_s, 5),
        "assignments": policy.assigned,
        "nodes_lost": run.losses,
        "largest": run.largest,
        "calls": run.head.calls,
        "calls_per_second": round(run.head.calls / run.head.seconds),
        "slowest_call_ms": round(run.head.slowest_s * 1e3, 2),
        "real_seconds": round(perf_counter() - began, 1),
    }


def waiting_bytes(clips: int) -> float:
    """What a clip that waits costs the policy, in bytes; counted by tracemalloc."""
    lengths = lengths_of(clips, np.random.default_rng(1)).tolist()
    tracemalloc.start()
    policy = Scheduler()
    for length in lengths:
        policy.add(max(1, round(length / 120.0)), length, length / 5)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / clips


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="40 GPUs and 4,000 clips")
    parser.add_argument("--clips", type=int, default=1_000_000, help="of a backlog")
    parser.add_argument("--stream", type=int, default=100_000, help="clips of a stream")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    clips = {"backlog": arguments.clips, "stream": arguments.stream}
    cluster = CLUSTER
    if arguments.quick:
        clips, cluster = dict.fromkeys(clips, 4000), replace(CLUSTER, slots=40)
    with ProcessPoolExecutor(2) as pool:
        runs = [
            pool.submit(simulate, situation, many, length, copies=copies, cluster=cluster)
            for situation, many in clips.items()
            for length in LENGTHS
            for copies in (False, True)
        ]
        rows = []
        for run in runs:
            rows.append(run.result())
            print(rows[-1], flush=True)
    each = waiting_bytes(clips["backlog"])
    print(f"{each:.0f} bytes for each clip that waits")
    if arguments.output:
        result = {
            "simulated": True,
            "cluster": asdict(cluster),
            "bytes_for_each_that_waits": round(each, 1),
            "runs": rows,
        }
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.plot:
        plot(rows, arguments.plot)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for copies in (False, True):
        label = "with second copies" if copies else "without"
        chosen = [row for row in rows if row["copies"] == copies]
        backlog = [row for row in chosen if row["situation"] == "backlog"]
        stream = [row for row in chosen if row["situation"] == "stream"]
        at = [number + 0.3 * copies for number in range(len(backlog))]
        axes[0].bar(at, [row["share_of_ideal"] for row in backlog], 0.3, label=label)
        style = "-" if copies else "--"
        for name, colour in (("p50", "tab:green"), ("p99", "tab:orange"), ("p999", "tab:red")):
            told = [row[f"short_{name}_s"] for row in stream]
            lengths = [row["piece_length_s"] for row in stream]
            axes[1].plot(lengths, told, style, color=colour, marker="o", label=f"{name}, {label}")
    lengths = [f"{length:.0f} s" for length in LENGTHS]
    axes[0].set_xticks([number + 0.15 for number in range(len(lengths))], lengths)
    axes[0].set_title("simulated; all clips at once")
    axes[0].set_ylabel("throughput, share of the ideal")
    axes[0].legend()
    axes[1].set_xscale("log")
    axes[1].set_yscale("log")
    axes[1].set_title(f"simulated; short clips at {LOAD:.0%} load")
    axes[1].set_xlabel("seconds of video in a piece")
    axes[1].set_ylabel("seconds until done")
    axes[1].legend(fontsize=7)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
