"""Forms of the networks on this CPU: milliseconds for an item, medians; and what trials take.

    python bench/runtimes.py [--threads 2] [--output FILE.json]

The see-through networks get eight regions of 88x192 luma samples, the detector one picture of
640x352. `apart` is the mean difference of their answers over the mean size of an answer, `start_s`
seconds from nothing to the first answer, in this process. `lost_mib` is what a process that has
tried OpenVINO for both see-through networks, in vain, holds beyond one that has not: without giving
back what it took, and with.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sorawm_pipeline.vision.cpu_networks import CpuNetwork, OnnxNetwork, OpenVinoNetwork
from sorawm_pipeline.vision.see_through import FILL, MATTE
from sorawm_pipeline.vision.weights import BUILTIN_DETECTOR, builtin_weights

ROUNDS = 15
INPUTS = {FILL: (8, 16, 44, 96), MATTE: (8, 17, 44, 96), BUILTIN_DETECTOR: (1, 3, 640, 352)}

TRIED = """
import sys
import psutil
from sorawm_pipeline.vision import cpu_forms
from sorawm_pipeline.vision.see_through import load_networks
keeping = {"never": None, "kept": lambda name: None, "given back": cpu_forms.give_back}[sys.argv[1]]
cpu_forms.WINS = float("inf")
if keeping is None:
    cpu_forms.ENOUGH = 0
else:
    cpu_forms.give_back = keeping
networks = load_networks(threads=2)
print(psutil.Process().memory_info().rss)
"""


def forms(name: str, threads: int) -> dict[str, Callable[[], CpuNetwork]]:
    """How to load each form of a network."""
    plain, int8 = builtin_weights("onnx", name), builtin_weights("int8", name)
    return {
        "onnxruntime fp32": lambda: OnnxNetwork(plain, threads),
        "onnxruntime int8": lambda: OnnxNetwork(int8, threads, "int8"),
        "openvino bf16": lambda: OpenVinoNetwork(plain, threads),
        "openvino int8": lambda: OpenVinoNetwork(int8, threads, "int8"),
    }


def measured(name: str, threads: int) -> dict[str, Any]:
    batch = np.random.default_rng(0).random(INPUTS[name], np.float32)
    networks: dict[str, CpuNetwork] = {}
    answers, starts = {}, {}
    for form, load in forms(name, threads).items():
        began = time.perf_counter()
        networks[form] = load()
        answers[form] = networks[form](batch)
        starts[form] = round(time.perf_counter() - began, 3)
    taken: dict[str, list[float]] = {form: [] for form in networks}
    for _ in range(ROUNDS):
        for form, network in networks.items():
            began = time.perf_counter()
            network(batch)
            taken[form].append((time.perf_counter() - began) / len(batch) * 1e3)
    plain = answers["onnxruntime fp32"]
    return {
        "network": name,
        "ms": {form: round(statistics.median(some), 2) for form, some in taken.items()},
        "start_s": starts,
        "apart": {
            form: round(float(np.abs(answer - plain).mean() / np.abs(plain).mean()), 5)
            for form, answer in answers.items()
        },
    }


def lost_mib() -> dict[str, int]:
    """What a trial in vain leaves in a process, in MiB."""

    def resident(keeping: str) -> int:
        command = [sys.executable, "-c", TRIED, keeping]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    without = resident("never")
    return {how: (resident(how) - without) >> 20 for how in ("kept", "given back")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = [measured(name, arguments.threads) for name in INPUTS]
    for row in rows:
        print(json.dumps(row, indent=1))
    lost = lost_mib()
    print("lost_mib", lost)
    if arguments.output:
        result = {
            "threads": arguments.threads,
            "rounds": ROUNDS,
            "networks": rows,
            "lost_mib": lost,
        }
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
