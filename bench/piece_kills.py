"""A long clip in pieces, killed at random moments again and again until it is done.

    python bench/piece_kills.py [--kills 50] [--length 2] [--seed 1] [--output kills.json] CLIP

The command line cleans CLIP into FFV1 once undisturbed. Then the same command is killed (SIGKILL,
the whole session) at a random moment and started again, until it has been killed so often or is
done; moments are drawn from the time that is left for an even share. Told is, for each start, how
many pieces were begun for the second time: those that were under way at the kill, at most one that
was being found and one that was being restored. At the end both results are compared frame by
frame, and nothing may be left in the folder.
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
from pathlib import Path
from typing import Any

from pieces import compared

PROGRAM = sys.executable, "-m", "sorawm_pipeline"
STARTING_S = 2.0


def command(clip: Path, output: Path, length_s: float, report: Path) -> list[str]:
    wanted = ("encode.codec=ffv1", "pieces.from_s=0", f"pieces.length_s={length_s}")
    settings = [part for one in (*wanted, "log.level=debug") for part in ("--set", one)]
    places = ["--output", str(output), "--report", str(report), "--log-format", "json"]
    config = output.parent / "pipeline.yaml"
    config.write_text("{}\n")
    return [*PROGRAM, "run", str(config), str(clip), *places, *settings, "--progress", "none"]


def begun(log: Path) -> Counter[str]:
    """Pieces that a run began, as its log tells."""
    pieces: Counter[str] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # cut by the kill
            continue
        if entry.get("event") == "piece":
            pieces[f"{entry['doing']} {entry['number']}"] += 1
    return pieces


def run(args: list[str], log: Path, kill_after: float | None) -> bool:
    """Whether it ended by itself; killed with all its processes if not."""
    with log.open("wb") as file:
        process = subprocess.Popen(args, stderr=file, start_new_session=True)
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return False
    if process.returncode:
        raise SystemExit(f"exit status {process.returncode}: {log.read_text()[-2000:]}")
    return True


def killed_and_done(
    clip: Path, folder: Path, *, kills: int, length_s: float, seed: int
) -> dict[str, Any]:
    """Clean `clip` undisturbed and with kills, in a new folder, and compare."""
    chance = random.Random(seed)
    whole, killed = folder / "whole" / "out.mkv", folder / "killed" / "out.mkv"
    for output in (whole, killed):
        output.parent.mkdir()
    log, report = folder / "log", folder / "report.json"
    began = time.perf_counter()
    run(command(clip, whole, length_s, report), log, None)
    undisturbed_s = time.perf_counter() - began
    undisturbed = json.loads(report.read_text())["clips"][0]
    known: Counter[str] = Counter()
    again: list[int] = []
    args = command(clip, killed, length_s, report)
    started = time.perf_counter()
    done = False
    while not done:
        # Start-up and the reading of all packets are not progress.
        wait = STARTING_S + chance.uniform(0, 2 * undisturbed_s / kills)
        done = run(args, log, wait if len(again) < kills else None)
        if not done and killed.exists():  # all but the report was there when it was killed
            killed.unlink()
            known.clear()
            again.clear()
            continue
        now = begun(log)
        again.append(sum(1 for piece in now if piece in known))
        known += now
    result = json.loads(report.read_text())["clips"][0]
    return {
        "pieces": undisturbed["pieces"]["pieces"],
        "kills": len(again) - 1,
        "begun_again": dict(sorted(Counter(again[1:]).items())),
        "undisturbed_s": round(undisturbed_s, 1),
        "with_kills_s": round(time.perf_counter() - started, 1),
        "same_marks": result["marks"] == undisturbed["marks"],
        **compared(whole, killed),
        "left_over": [path.name for path in killed.parent.rglob(".sorawm-*")],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--length", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = killed_and_done(
            arguments.clip,
            Path(folder),
            kills=arguments.kills,
            length_s=arguments.length,
            seed=arguments.seed,
        )
    print(json.dumps(told, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
