r"""Compare networks and input sizes: time per frame and what each finds in composites.

    python training/candidates.py --mark MARK_ON_BLACK.mp4 --output RESULT.json \
        --network standard=RUN/last.safetensors --network narrow=RUN2/last.safetensors CLIPS...

Every network sees the same decoded frames at every input size. Times are medians of rounds that
take every network, size and runtime in turn, so that a busy machine is equally bad for all. The
architecture of a network is `NAME.yaml` beside this script (`standard` is `detector.yaml`).
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import network
import numpy as np
from evaluate import FLOOR, mattes, measure_all
from numpy.typing import NDArray
from options import plain_parser
from package import export
from safetensors.torch import load_file

from sorawm_pipeline.vision.detector import Detector
from sorawm_pipeline.vision.weights import find_weights

SIZES = (512, 640, 768)
CONFIDENCES = (0.3, 0.4, 0.5, 0.6)
FRAMES = "640x360,704x1280,1080x1080,480x360,1280x704:388x704,1920x1080,360x640"
Run = Callable[[NDArray[np.float32]], Any]


def architecture(name: str) -> Path:
    return Path(__file__).with_name("detector.yaml" if name == "standard" else f"{name}.yaml")


def onnxruntime_run(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 2, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"images": batch})


def openvino_run(path: Path) -> Run:
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 2}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda batch: compiled([batch])


def timed(files: dict[str, Path], rounds: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of one 9:16 frame, by `network@size` and runtime."""
    runs: dict[tuple[str, str], tuple[Run, NDArray[np.float32]]] = {}
    for (name, path), size in itertools.product(files.items(), SIZES):
        across = round(size * 9 / 16 / 32) * 32
        batch = np.random.default_rng(0).random((1, 3, size, across), np.float32)
        runs[f"{name}@{size}", "onnxruntime"] = onnxruntime_run(path), batch
        runs[f"{name}@{size}", "openvino"] = openvino_run(path), batch
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for number in range(rounds + 2):
        for key, (run, batch) in runs.items():
            began = time.perf_counter()
            run(batch)
            if number >= 2:  # the first rounds warm up
                times[key].append(1000 * (time.perf_counter() - began))
    table: dict[str, dict[str, float]] = {}
    for (candidate, runtime), taken in times.items():
        table.setdefault(candidate, {})[f"{runtime}_ms"] = round(median(taken), 1)
    return table


def main() -> None:
    parser = plain_parser(__doc__)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--network", action="append", required=True, metavar="NAME=SAFETENSORS")
    parser.add_argument("--mark", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--step", type=int, default=11, help="of the mark clip's frames")
    parser.add_argument("--sizes", default=FRAMES, help="of frames, see evaluate.py")
    parser.add_argument("--take", type=int, default=3, help="so many sizes per source, in turn")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, Path] = {}
        detectors: dict[str, Detector] = {}
        parameters: dict[str, int] = {}
        for name, _, weights in (text.partition("=") for text in arguments.network):
            files[name] = Path(folder, f"{name}.onnx")
            model = network.build(architecture(name))
            model.load_state_dict(load_file(weights))
            parameters[name] = sum(p.numel() for p in model.parameters())
            export(model.eval().fuse(verbose=False), files[name])
            shutil.copyfile(architecture(name), files[name].with_suffix(".yaml"))
            for size in SIZES:
                detectors[f"{name}@{size}"] = Detector(
                    find_weights(files[name]), confidence=FLOOR, image_size=size, threads=1
                )
        result: dict[str, Any] = timed(files, arguments.rounds)
        marks = mattes(arguments.mark, arguments.step)
        scores = measure_all(detectors, arguments.sources, marks, arguments.sizes, arguments.take)
    for name, score in scores.items():
        result[name]["parameters"] = parameters[name.partition("@")[0]]
        result[name]["by_confidence"] = {str(c): score.figures(c) for c in CONFIDENCES}
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    for name, figures in result.items():
        print(name, figures)


if __name__ == "__main__":
    main()
