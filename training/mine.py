"""Make shards of what the present weights get wrong.

    python training/mine.py --cache C --weights RUN/last.safetensors --output SHARDS --name hard0
    python training/mine.py --among SHARDS --weights RUN/last.safetensors --output S --name missed0

With `--cache`, hard negatives: crops of clean pictures in which the weights see a mark. With
`--among`, the crops of existing shards whose marks they miss or where they see others; these are
then drawn more often. The trainer takes the new shard up in its next round.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import network
import numpy as np
from clutter import clutter
from evaluate import iou
from generate import CROP, MOST_MARKS, Cache, Pixels, backdrop
from numpy.typing import NDArray
from options import plain_parser

from sorawm_pipeline.vision.detector import Detection, Detector
from sorawm_pipeline.vision.weights import find_weights

FRAME = 640
SURE = 0.5  # confidence below which a mark counts as missed
CLOSE = 0.7  # IoU below which it does
Crop = tuple[Pixels, NDArray[np.float32]]
NO_MARKS = np.full((MOST_MARKS, 4), -1, np.float32)


def false_alarms(
    detector: Detector, cache: Cache, rng: np.random.Generator, until: float
) -> Iterator[Crop]:
    """Yield crops of clean pictures round what the detector sees there."""
    while time.monotonic() < until:
        canvas = backdrop(rng, cache, FRAME, hard=rng.random() < 0.3)
        for _ in range(int(rng.choice([0, 2, 5]))):
            clutter(rng, canvas, 1.0)
        picture = np.clip(canvas, 0, 255).astype(np.uint8)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))]
        encoded = cv2.imencode(".jpg", picture, quality)[1]
        picture = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
        for detection in detector.detect(picture[None])[0][:3]:
            x0, y0, x1, y1 = detection.box
            x, y = (
                int(np.clip((a + b - CROP) / 2 + rng.uniform(-40, 40), 0, FRAME - CROP))
                for a, b in ((x0, x1), (y0, y1))
            )
            yield picture[y : y + CROP, x : x + CROP].copy(), NO_MARKS


def wrong(found: list[Detection], boxes: NDArray[np.float32]) -> bool:
    marks = [tuple(float(v) for v in box) for box in boxes if box[0] >= 0]
    missed = any(
        all(d.confidence < SURE or iou(d.box, mark) < CLOSE for d in found) for mark in marks
    )
    return missed or any(all(iou(d.box, mark) < 0.3 for mark in marks) for d in found)


def mistakes(detector: Detector, folder: Path, rng: np.random.Generator) -> Iterator[Crop]:
    """Yield the crops of numbered shards that the detector gets wrong, in random order."""
    files = [f for f in folder.glob("*.images.npy") if f.name.split(".")[0].isdecimal()]
    shards = [
        (np.load(f, mmap_mode="r"), np.load(f.with_name(f.name.replace("images", "boxes"))))
        for f in sorted(files)
    ]
    order = rng.permutation([(s, k) for s in range(len(shards)) for k in range(len(shards[s][0]))])
    for batch in np.array_split(order, len(order) // 8):
        crops = [(shards[s][0][k], shards[s][1][k]) for s, k in batch]
        results = detector.detect(np.stack([image for image, _ in crops]))
        for (image, boxes), found in zip(crops, results, strict=True):
            if wrong(found, boxes):
                yield image, boxes


def main() -> None:
    parser = plain_parser(__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cache", type=Path)
    source.add_argument("--among", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--confidence", type=float, default=0.15)
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=120)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    weights = arguments.weights.with_name("mined.safetensors")
    shutil.copyfile(arguments.weights, weights)  # the trainer goes on writing its own
    shutil.copyfile(network.ARCHITECTURE, weights.with_suffix(".yaml"))
    detector = Detector(find_weights(weights), confidence=arguments.confidence, threads=1)
    rng = np.random.default_rng([arguments.seed, *arguments.name.encode()])
    until = time.monotonic() + 60 * arguments.minutes
    if arguments.cache:
        found = false_alarms(detector, Cache.open(arguments.cache), rng, until)
    else:
        found = mistakes(detector, arguments.among, rng)
    crops: list[Crop] = []
    for crop in found:
        crops.append(crop)
        if len(crops) == arguments.most or time.monotonic() > until:
            break
    print(f"{len(crops)} crops", flush=True)
    if crops:
        np.save(arguments.output / f"{arguments.name}.boxes.npy", np.stack([b for _, b in crops]))
        partial = arguments.output / f"{arguments.name}.partial.npy"
        np.save(partial, np.stack([image for image, _ in crops]))
        partial.rename(arguments.output / f"{arguments.name}.images.npy")


if __name__ == "__main__":
    main()
