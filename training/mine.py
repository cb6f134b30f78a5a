"""Make shards of hard negatives: crops of clean pictures in which the present weights see a mark.

    python training/mine.py --cache C --weights RUN/last.safetensors --output SHARDS --name hard0

ONNX weights are faster. The trainer takes the new shard up in its next round.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import cv2
import network
import numpy as np
from clutter import clutter
from generate import CROP, MOST_MARKS, Cache, Pixels, backdrop

from sorawm_pipeline.vision.detector import Detector
from sorawm_pipeline.vision.weights import find_weights

FRAME = 640


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--confidence", type=float, default=0.15)
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=120)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.weights.suffix == ".safetensors":
        shutil.copyfile(network.ARCHITECTURE, arguments.weights.with_suffix(".yaml"))
    detector = Detector(find_weights(arguments.weights), confidence=arguments.confidence, threads=1)
    cache = Cache.open(arguments.cache)
    rng = np.random.default_rng([arguments.seed, *arguments.name.encode()])
    crops: list[Pixels] = []
    frames, marked, until = 0, 0, time.monotonic() + 60 * arguments.minutes
    while len(crops) < arguments.most and time.monotonic() < until:
        canvas = backdrop(rng, cache, FRAME)
        for _ in range(int(rng.choice([0, 2, 5]))):
            clutter(rng, canvas, 1.0)
        picture = np.clip(canvas, 0, 255).astype(np.uint8)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))]
        encoded = cv2.imencode(".jpg", picture, quality)[1]
        picture = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
        found = detector.detect(picture[None])[0]
        frames, marked = frames + 1, marked + bool(found)
        for detection in found[:3]:
            x0, y0, x1, y1 = detection.box
            x, y = (
                int(np.clip((a + b - CROP) / 2 + rng.uniform(-40, 40), 0, FRAME - CROP))
                for a, b in ((x0, x1), (y0, y1))
            )
            crops.append(picture[y : y + CROP, x : x + CROP].copy())
    print(f"{marked} of {frames} clean pictures marked, {len(crops)} crops", flush=True)
    if crops:
        boxes = np.full((len(crops), MOST_MARKS, 4), -1, np.float32)
        np.save(arguments.output / f"{arguments.name}.boxes.npy", boxes)
        partial = arguments.output / f"{arguments.name}.partial.npy"
        np.save(partial, np.stack(crops))
        partial.rename(arguments.output / f"{arguments.name}.images.npy")


if __name__ == "__main__":
    main()
