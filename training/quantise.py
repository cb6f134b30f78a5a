r"""Write the see-through networks with 8-bit integers, calibrated on clips, into the package.

    python training/quantise.py CLIP...

Each clip is cleaned as users would clean it, and what the networks are given on the way is kept;
from a random part of that the ranges of all values are told. The first and the last layer stay as
they are, for what they round cannot be made good.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from integers import quantise
from numpy.typing import NDArray
from options import plain_parser
from publish import FOLDER, add_file, describe

from sorawm_pipeline import Pipeline, PipelineConfig, warm
from sorawm_pipeline.vision.cpu_networks import OnnxNetwork
from sorawm_pipeline.vision.see_through import FILL, MATTE, Network, Networks
from sorawm_pipeline.vision.weights import builtin_weights

Floats = NDArray[np.float32]


class Recorder:
    """A network that keeps what it is given."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.runtime, self.precision = network.runtime, network.precision
        self.sha256 = network.sha256
        self.given: list[Floats] = []

    def __call__(self, batch: Floats) -> Floats:
        self.given.extend(one[None].copy() for one in batch)
        return self._network(batch)


async def recorded(clips: Sequence[Path]) -> dict[str, list[Floats]]:
    """What both networks are given while the clips are cleaned."""
    recorders = [Recorder(OnnxNetwork(builtin_weights("onnx", name))) for name in (MATTE, FILL)]
    warm.load_networks = lambda *_, **__: Networks(*recorders)
    config = PipelineConfig.model_validate({"inpaint": {"stride": 4}})
    with tempfile.TemporaryDirectory() as folder:
        async with Pipeline(config) as pipeline:
            for clip in clips:
                await pipeline.process(clip, Path(folder, clip.name), overwrite=True)
                print(clip, [len(recorder.given) for recorder in recorders], flush=True)
    return {name: each.given for name, each in zip((MATTE, FILL), recorders, strict=True)}


def ends(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """The first and the last layer, whose rounding nothing behind or before them makes good."""
    layers = [node.name for node in nodes if node.op_type == "Conv"]
    return [layers[0], layers[-1]]


def quantised(name: str, batches: Sequence[Floats]) -> None:
    """Write one network's file and enter it into the manifest."""
    target = FOLDER / f"{name}.int8.onnx"
    quantise(builtin_weights("onnx", name).path, target, batches, ends)
    describe(target, {"description": f"{name}, 8-bit integers"})
    add_file(name, "int8", target)


def asked() -> argparse.Namespace:
    parser = plain_parser(__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=40)
    parser.add_argument("--most", type=int, default=100, help="regions to calibrate on")
    return parser.parse_args()


def main() -> None:
    arguments = asked()
    random = np.random.default_rng(arguments.seed)
    for name, given in asyncio.run(recorded(arguments.clips)).items():
        chosen = random.permutation(len(given))[: arguments.most]
        quantised(name, [given[index] for index in chosen])


if __name__ == "__main__":
    main()
