"""ONNX Runtime beside OpenVINO in bf16 and 8-bit integers: milliseconds for an item, medians.

    python bench/runtimes.py [--threads 2] [--output FILE.json]

The see-through networks get eight regions of 88x192 luma samples, the detector one picture of
640x352. `apart` is the mean difference of their answers over the mean size of an answer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from sorawm_pipeline.vision.cpu_networks import CpuNetwork, OnnxNetwork, OpenVinoNetwork
from sorawm_pipeline.vision.see_through import FILL, MATTE
from sorawm_pipeline.vision.weights import BUILTIN_DETECTOR, builtin_files, builtin_weights

ROUNDS = 15
INPUTS = {FILL: (8, 16, 44, 96), MATTE: (8, 17, 44, 96), BUILTIN_DETECTOR: (1, 3, 640, 352)}


def measured(name: str, threads: int) -> dict[str, Any]:
    weights = builtin_weights("onnx", name)
    networks: list[CpuNetwork] = [kind(weights, threads) for kind in (OnnxNetwork, OpenVinoNetwork)]
    if (name, "int8") in builtin_files():
        networks.append(OnnxNetwork(builtin_weights("int8", name), threads, "int8"))
    batch = np.random.default_rng(0).random(INPUTS[name], np.float32)
    answers = [network(batch) for network in networks]
    taken: dict[str, list[float]] = {network.precision: [] for network in networks}
    for _ in range(ROUNDS):
        for network in networks:
            began = time.perf_counter()
            network(batch)
            taken[network.precision].append((time.perf_counter() - began) / len(batch) * 1e3)
    medians = {form: round(statistics.median(some), 2) for form, some in taken.items()}
    size = np.abs(answers[0]).mean()
    apart = {
        network.precision: round(float(np.abs(answer - answers[0]).mean() / size), 5)
        for network, answer in zip(networks[1:], answers[1:], strict=True)
    }
    return {"network": name, "ms": medians, "apart": apart}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = [measured(name, arguments.threads) for name in INPUTS]
    for row in rows:
        print(row)
    if arguments.output:
        result = {"threads": arguments.threads, "rounds": ROUNDS, "networks": rows}
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
