"""Kills the daemon, or a worker, at random moments; counts what is torn, lost, or done twice.

    python bench/crash.py --kills 300

Small clips arrive all the while in a watched folder. After each SIGKILL of the daemon it is started
again. At the end it may finish, and every clip must have one whole result that was made once: what
has its final name opens, has every frame, and is never touched again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from small_clips import small_clip

from sorawm_pipeline.service.jobs import JobState
from sorawm_pipeline.service.ledger import Ledger

FRAMES = 40
BACKLOG = 3
LONGEST_WAIT_S = 2.5
FINISH_S = 180.0


@dataclass
class Found:
    """What became of everything."""

    kills: int = 0
    of_daemon: int = 0
    of_worker: int = 0
    clips: int = 0
    done: int = 0
    torn: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    attempts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return not (self.torn or self.lost or self.twice or self.left_over)


class Scene:
    """A watched folder and the daemon on it."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.outbox = folder / "in", folder / "out"
        self.inbox.mkdir()
        self.outbox.mkdir()
        self.ledger = folder / "ledger.sqlite3"
        self.log = (folder / "log").open("ab")
        self.yaml = folder / "pipeline.yaml"
        self.yaml.write_text(
            f"device: cpu\nlog: {{level: info}}\ninput: {{settle_s: 0.2, rescan_s: 2.0}}\n"
            f"service: {{ledger: {self.ledger}, backoff_s: 0.1, retries: 100, min_free: 0}}\n"
        )
        self.daemon: subprocess.Popen[bytes] | None = None
        self.stamps: dict[str, tuple[int, int, int]] = {}

    def start(self) -> None:
        words = [sys.executable, "-m", "sorawm_pipeline", "run", str(self.yaml)]
        self.daemon = subprocess.Popen(
            [*words, "--watch", self.inbox, "--output", self.outbox],
            stdout=self.log,
            stderr=self.log,
        )

    def kill(self, which: str) -> bool:
        """SIGKILL; whether there was something to kill."""
        assert self.daemon is not None
        if which == "daemon":
            self.daemon.kill()
            self.daemon.wait()
            return True
        try:
            workers = psutil.Process(self.daemon.pid).children()
            random.choice(workers).kill()
        except (psutil.Error, IndexError):
            return False
        return True

    def look(self, found: Found) -> None:
        """Whatever has a final name is whole from the first moment, and stays as it is."""
        for path in self.outbox.iterdir():
            if path.name.startswith("."):
                continue
            status = path.stat()
            stamp = status.st_ino, status.st_mtime_ns, status.st_size
            if self.stamps.setdefault(path.name, stamp) != stamp:
                found.twice.append(path.name)

    def finish(self, clips: int) -> None:
        """Until every clip has ended, or nothing more happens."""
        until = time.monotonic() + FINISH_S
        assert self.daemon is not None
        while time.monotonic() < until and self.daemon.poll() is None:
            with Ledger(self.ledger) as ledger:
                counts = ledger.counts()
            if counts[JobState.DONE] + counts[JobState.QUARANTINED] >= clips:
                break
            time.sleep(0.2)
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(timeout=60)


def crash(kills: int, folder: Path, seed: int) -> Found:
    """Run the whole scene in an empty folder."""
    random.seed(seed)
    began = time.monotonic()
    scene, found = Scene(folder), Found()
    names: list[str] = []
    scene.start()
    try:
        _kill_again_and_again(scene, found, names, kills)
        scene.finish(len(names))
    finally:
        assert scene.daemon is not None
        scene.daemon.kill()
        scene.daemon.wait()
        scene.log.close()
    judge(scene, names, found)
    found.seconds = round(time.monotonic() - began, 1)
    return found


def _kill_again_and_again(scene: Scene, found: Found, names: list[str], kills: int) -> None:
    while found.kills < kills:
        while len(names) < len(scene.stamps) + BACKLOG:
            names.append(f"{len(names)}.mp4")
            small_clip(scene.inbox / names[-1], FRAMES, len(names))
        time.sleep(random.uniform(0.0, LONGEST_WAIT_S))
        scene.look(found)
        which = random.choice(["daemon", "worker"])
        if scene.kill(which):
            found.kills += 1
            found.of_daemon += which == "daemon"
            found.of_worker += which == "worker"
        if which == "daemon":
            scene.look(found)
            scene.start()


def judge(scene: Scene, names: list[str], found: Found) -> None:
    import av

    scene.look(found)
    found.clips = len(names)
    for name in names:
        path = scene.outbox / name
        if not path.exists():
            found.lost.append(name)
            continue
        try:
            with av.open(str(path)) as container:
                frames = sum(1 for _ in container.decode(video=0))
        except av.FFmpegError:
            frames = 0
        if frames != FRAMES:
            found.torn.append(f"{name}: {frames} of {FRAMES} frames")
    found.left_over = [
        str(path.relative_to(scene.outbox))
        for path in scene.outbox.rglob("*")
        if path.name not in names
    ] + [path.name for path in scene.inbox.iterdir() if path.name not in names]
    outcomes = Counter[str]()
    with Ledger(scene.ledger) as ledger:
        jobs = ledger.jobs(limit=1_000_000)
        found.done = sum(job.state is JobState.DONE for job in jobs)
        for job in jobs:
            ended = [attempt.outcome for attempt in ledger.attempts(job.id)]
            outcomes.update(ended)
            if ended.count("done") != 1:
                name = job.source.path.name
                (found.lost if "done" not in ended else found.twice).append(f"{name}: {ended}")
    found.attempts = dict(outcomes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="an empty folder to keep everything in")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the daemon ends too
    with tempfile.TemporaryDirectory() as temporary:
        folder = words.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("XDG_STATE_HOME", str(folder / "state"))
        found = crash(words.kills, folder, words.seed)
    print(json.dumps(asdict(found), indent=2))
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
