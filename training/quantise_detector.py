r"""Write the detector with 8-bit integers, calibrated on drawn crops, into the package.

    python training/quantise_detector.py --cache CACHE

Only what the convolutions of the body are given is rounded, not what they give: their sums go
through SiLU first, which OpenVINO does in one pass with the convolution. The first layers, whose
channels are few, and the head, which tells pixels, stay as they are. In ONNX Runtime, which needs
both sides rounded to multiply integers at all, nothing is won: two passes for each SiLU take what
the products save.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
from generate import Cache, sample
from integers import Floats, quantise
from options import plain_parser
from publish import FOLDER, add_file, describe

from sorawm_pipeline.vision.weights import BUILTIN_DETECTOR, builtin_weights

BODY = range(3, 19)
"""Blocks of `detector.yaml` from a stride of 8 on, without the head."""


def outside(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """Nodes that do not belong to the body."""
    blocks = [re.match(r"/model\.(\d+)/", node.name) for node in nodes]
    return [
        node.name
        for node, block in zip(nodes, blocks, strict=True)
        if block is None or int(block[1]) not in BODY
    ]


def crops(cache: Cache, count: int, seed: int) -> Iterator[Floats]:
    """Pictures (1, 3, h, w) float32, 0..1, every other one of the hard kind."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        picture, _ = sample(rng, cache, hard=bool(number % 2))
        yield np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255


def main() -> None:
    parser = plain_parser(__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=220)
    parser.add_argument("--count", type=int, default=400, help="crops to calibrate on")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    target = FOLDER / "detector.int8.onnx"
    quantise(
        builtin_weights("onnx").path,
        target,
        crops(Cache.open(arguments.cache), arguments.count, arguments.seed),
        outside,
        op_types_to_quantize=["Conv"],
        extra_options={"OpTypesToExcludeOutputQuantization": ["Conv"]},
    )
    describe(target, {"description": f"{BUILTIN_DETECTOR}, 8-bit integers"})
    add_file(BUILTIN_DETECTOR, "int8", target)


if __name__ == "__main__":
    main()
