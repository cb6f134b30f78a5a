"""Lets the daemon work for a long time, and watches its memory, file descriptors and threads.

    python bench/soak.py --minutes 30 --jobs 200 --plot soak.png

Small clips arrive evenly; at the end the daemon idles for a while. Every second RSS, descriptors
and threads of daemon and workers are read from /proc. Prints one JSON object: what they were in the
first and the last quarter of the work, and the share of one core that the idle daemon takes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import psutil
from small_clips import small_clip

from sorawm_pipeline.service.jobs import JobState
from sorawm_pipeline.service.ledger import Ledger

FRAMES = 25
MIB = 1 << 20


@dataclass(frozen=True)
class Sample:
    """One second of one process."""

    seconds: float
    rss_mib: float
    descriptors: int
    threads: int


def sample(process: psutil.Process, began: float) -> Sample:
    with process.oneshot():
        return Sample(
            round(time.monotonic() - began, 1),
            round(process.memory_info().rss / MIB, 1),
            process.num_fds(),
            process.num_threads(),
        )


def soak(minutes: float, jobs: int, idle_s: float, folder: Path) -> dict[str, object]:
    inbox, outbox = folder / "in", folder / "out"
    inbox.mkdir()
    ledger_path, yaml = folder / "ledger.sqlite3", folder / "pipeline.yaml"
    yaml.write_text(
        "device: cpu\ninput: {settle_s: 0.5}\n"
        f"service: {{ledger: {ledger_path}, min_free: 0, recycle_after: 1000000}}\n"
    )
    log = (folder / "log").open("wb")
    words = [sys.executable, "-m", "sorawm_pipeline", "run", str(yaml)]
    daemon = subprocess.Popen(
        [*words, "--watch", inbox, "--output", outbox], stdout=log, stderr=log
    )
    process, began, put = psutil.Process(daemon.pid), time.monotonic(), 0
    samples: dict[str, list[Sample]] = {"daemon": [], "worker": []}
    try:
        while time.monotonic() - began < minutes * 60:
            while put < jobs and put <= (time.monotonic() - began) / (minutes * 60) * jobs:
                small_clip(inbox / f"{put}.mp4", FRAMES, put)
                put += 1
            with suppress(psutil.Error):
                samples["daemon"].append(sample(process, began))
                workers = process.children()
                biggest = max(workers, key=lambda worker: worker.memory_info().rss, default=None)
                if biggest is not None:
                    samples["worker"].append(sample(biggest, began))
            time.sleep(1.0)
        time.sleep(5.0)
        before, at = process.cpu_times(), time.monotonic()
        time.sleep(idle_s)
        after = process.cpu_times()
        used = after.user + after.system - before.user - before.system
        idle = used / (time.monotonic() - at)
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)
        log.close()
    with Ledger(ledger_path) as ledger:
        done = ledger.counts()[JobState.DONE]
    return {
        "minutes": minutes,
        "jobs": put,
        "done": done,
        "idle_cpu_percent": round(100 * idle, 3),
        "first_quarter": {name: medians(quarter(all_, 1)) for name, all_ in samples.items()},
        "last_quarter": {name: medians(quarter(all_, 3)) for name, all_ in samples.items()},
        "samples": {name: [astuple(one) for one in all_] for name, all_ in samples.items()},
    }


def quarter(samples: list[Sample], number: int) -> list[Sample]:
    """One of four; the first minute, in which everything is loaded, is left out."""
    warm = [one for one in samples if one.seconds > 60] or samples
    size = max(1, len(warm) // 4)
    return warm[:size] if number == 1 else warm[-size:]


def medians(samples: list[Sample]) -> dict[str, float]:
    return {
        "rss_mib": statistics.median(one.rss_mib for one in samples),
        "descriptors": statistics.median(one.descriptors for one in samples),
        "threads": statistics.median(one.threads for one in samples),
    }


def plot(found: dict[str, object], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    samples = found["samples"]
    assert isinstance(samples, dict)
    figure, axes = plt.subplots(3, 1, sharex=True, figsize=(9, 8))
    for row, what in enumerate(("RSS, MiB", "file descriptors", "threads")):
        for name, all_ in samples.items():
            minutes = [one[0] / 60 for one in all_]
            axes[row].plot(minutes, [one[row + 1] for one in all_], label=name, linewidth=1)
        axes[row].set_ylabel(what)
        axes[row].set_ylim(bottom=0)
        axes[row].grid(alpha=0.3)
    axes[0].legend()
    axes[2].set_xlabel("minutes")
    figure.suptitle(f"{found['done']} clips in {found['minutes']} minutes")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds to idle at the end")
    parser.add_argument("--plot", type=Path, help="a PNG to draw")
    parser.add_argument("--samples", type=Path, help="a JSON file for every sample")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the daemon ends too
    with tempfile.TemporaryDirectory() as temporary:
        os.environ.setdefault("XDG_STATE_HOME", f"{temporary}/state")
        found = soak(words.minutes, words.jobs, words.idle, Path(temporary))
    if words.plot is not None:
        plot(found, words.plot)
    if words.samples is not None:
        words.samples.write_text(json.dumps(found["samples"]))
    del found["samples"]
    print(json.dumps(found, indent=2))
    return 0 if found["done"] == found["jobs"] else 1


if __name__ == "__main__":
    sys.exit(main())
