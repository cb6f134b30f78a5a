"""How near the built-in fills come to pictures whose middle they cannot see.

    python bench/fill.py PICTURE ... [--output fill.json]

Takes six regions of each picture (JPEG or PNG, at least 700 pixels a side), hides the size of a
mark in each, fills it, and compares. A first figure, on still pictures.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np

from sorawm_pipeline.vision.restore import plain_inpainter

REGION, HOLE = (100, 200), (68, 168)
METHODS = ("membrane", "telea", "ns")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    top, left = (REGION[0] - HOLE[0]) // 2, (REGION[1] - HOLE[1]) // 2
    hole = np.zeros(REGION, np.uint8)
    hole[top : top + HOLE[0], left : left + HOLE[1]] = 255
    errors: dict[str, list[float]] = {method: [] for method in METHODS}
    seconds = dict.fromkeys(METHODS, 0.0)
    for path in arguments.pictures:
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is None or min(picture.shape) < 700:
            continue
        for _ in range(6):
            y = int(random.integers(0, picture.shape[0] - REGION[0]))
            x = int(random.integers(0, picture.shape[1] - REGION[1]))
            truth = np.asarray(picture[y : y + REGION[0], x : x + REGION[1]], np.uint8)
            hidden = np.where(hole > 0, np.uint8(255), truth)
            for method in METHODS:
                inpainter = plain_inpainter(method)
                assert inpainter is not None
                started = time.perf_counter()
                filled = inpainter.filled(hidden, hole)
                seconds[method] += time.perf_counter() - started
                difference = (filled.astype(float) - truth)[hole > 0]
                errors[method].append(float((difference**2).mean()))
    rows = []
    for method, squared in errors.items():
        each = 10 * np.log10(255**2 / np.maximum(squared, 0.05))
        rows.append(
            {
                "method": method,
                "regions": len(squared),
                "mean_psnr": round(float(each.mean()), 2),
                "pooled_psnr": round(float(10 * np.log10(255**2 / np.mean(squared))), 2),
                "ms": round(1000 * seconds[method] / len(squared), 2),
            }
        )
        print(rows[-1])
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
