"""Feeds mutated files through the daemon: each ends done or quarantined, and the daemon lives on.

    python bench/fuzz.py --files 3000

Small clips of six containers are mutated: bits flipped (by zzuf if it is installed, else here),
bytes overwritten, parts cut out, doubled, swapped, the end cut off. The report counts how each
ended, workers that died, and the largest memory of any process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from small_clips import CODEC_OF, small_clip

from sorawm_pipeline.service.jobs import JobState
from sorawm_pipeline.service.ledger import Ledger
from sorawm_pipeline.service.names import reason_file

FRAMES, BATCH = 12, 100
DEADLINE_S, MEMORY = 20, 1_500_000_000
ENDED = (JobState.DONE, JobState.QUARANTINED, JobState.DUPLICATE, JobState.SKIPPED)


def flipped(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 4, 32, 256))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def overwritten(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 3, 10))):
        at, size = chance.randrange(len(data)), chance.choice((1, 2, 4, 8, 64))
        value = chance.choice((b"\x00", b"\xff", b"\x7f", chance.randbytes(1)))
        data[at : at + size] = value * size


def cut_out(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice((1, 16, 200, 2000))]


def doubled(data: bytearray, chance: random.Random) -> None:
    at, size = chance.randrange(len(data)), chance.choice((1, 16, 500))
    data[at:at] = data[at : at + size] * chance.choice((1, 2, 50))


def swapped(data: bytearray, chance: random.Random) -> None:
    a, b, size = chance.randrange(len(data)), chance.randrange(len(data)), 64
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def ended_early(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(1, len(data)) :]


def sized(data: bytearray, chance: random.Random) -> None:
    """A length field, or what may be one, becomes huge."""
    at = chance.randrange(min(len(data), 4096))
    data[at : at + 4] = chance.choice(
        (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x01")
    )


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(flipped, overwritten, cut_out, doubled, swapped, ended_early, sized),
)


def mutated(source: Path, target: Path, seed: int) -> str:
    """Writes a mutation; its name."""
    chance = random.Random(seed)
    hidden = target.with_name(f".{target.name}")
    if seed % 2 and (zzuf := shutil.which("zzuf")):
        ratio = chance.choice(("0.0001", "0.001", "0.004", "0.02"))
        with source.open("rb") as before, hidden.open("wb") as after:
            subprocess.run(
                [zzuf, "-s", str(seed), "-r", ratio], stdin=before, stdout=after, check=True
            )
        name = "zzuf"
    else:
        mutation = chance.choice(MUTATIONS)
        data = bytearray(source.read_bytes())
        mutation(data, chance)
        hidden.write_bytes(data)
        name = mutation.__name__
    hidden.replace(target)
    return name


def fuzz(files: int, folder: Path, seed: int) -> dict[str, object]:
    inbox, outbox, seeds = folder / "in", folder / "out", folder / "seeds"
    for path in (inbox, outbox, seeds):
        path.mkdir()
    sources = [small_clip(seeds / f"a{suffix}", FRAMES, 1) for suffix in CODEC_OF]
    ledger_path, yaml = folder / "ledger.sqlite3", folder / "pipeline.yaml"
    yaml.write_text(
        "device: cpu\nlog: {level: warning}\ninput: {settle_s: 0.05, patience_s: 0.0}\n"
        f"service: {{ledger: {ledger_path}, retries: 0, min_free: 0, deadline_s: {DEADLINE_S},"
        f" memory: {MEMORY}}}\n"
    )
    log = (folder / "log").open("wb")
    words = [sys.executable, "-m", "sorawm_pipeline", "run", str(yaml)]
    daemon = subprocess.Popen(
        [*words, "--watch", inbox, "--output", outbox], stdout=log, stderr=log
    )
    began, longest, pids, peaks = time.monotonic(), 0.0, set[int](), Counter[str]()
    mutations = Counter[str]()
    try:
        for start in range(0, files, BATCH):
            batch = range(start, min(start + BATCH, files))
            for number in batch:
                source = sources[number % len(sources)]
                target = inbox / f"{number}{source.suffix}"
                mutations[mutated(source, target, seed * 1_000_000 + number)] += 1
            changed, last = time.monotonic(), -1
            while (ended := count(ledger_path)) < batch.stop and daemon.poll() is None:
                if ended != last:
                    changed, last = time.monotonic(), ended
                longest = max(longest, time.monotonic() - changed)
                if longest > 3 * DEADLINE_S:
                    raise TimeoutError(f"nothing ended for {longest:.0f} s; {ended} have")
                measure(daemon.pid, pids, peaks)
                time.sleep(0.1)
            if daemon.poll() is not None:
                break
    finally:
        died = daemon.poll()
        daemon.terminate()
        daemon.wait(timeout=60)
        log.close()
    with Ledger(ledger_path) as ledger:
        counts, failures = ledger.counts(), ledger.failures()
        bad = ledger.jobs([JobState.QUARANTINED], limit=1_000_000)
    return {
        "files": files,
        "mutations": dict(mutations),
        "ended": {str(state): count for state, count in counts.items() if count},
        "kinds": failures,
        "without_a_reason": [job.id for job in bad if not reason_file(job.source.path).exists()],
        "daemon_died": died,
        "worker_processes": len(pids),
        "longest_wait_s": round(longest, 1),
        "peak_rss_mib": {name: size >> 20 for name, size in peaks.items()},
        "seconds": round(time.monotonic() - began, 1),
    }


def count(ledger: Path) -> int:
    """Files that have ended."""
    if not ledger.exists():
        return 0
    with Ledger(ledger) as opened:
        counts = opened.counts()
    return sum(counts[state] for state in ENDED)


def measure(pid: int, pids: set[int], peaks: Counter[str]) -> None:
    with suppress(psutil.Error):
        daemon = psutil.Process(pid)
        peaks["daemon"] = max(peaks["daemon"], daemon.memory_info().rss)
        for worker in daemon.children():
            pids.add(worker.pid)
            peaks["worker"] = max(peaks["worker"], worker.memory_info().rss)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="an empty folder to keep everything in")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the daemon ends too
    with tempfile.TemporaryDirectory() as temporary:
        folder = words.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("XDG_STATE_HOME", str(folder / "state"))
        found = fuzz(words.files, folder, words.seed)
    print(json.dumps(found, indent=2))
    good = found["daemon_died"] is None and not found["without_a_reason"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
