"""Put trained weights into the package: ONNX, safetensors, architecture, and the manifest.

    python training/package.py --weights RUN/last.safetensors [RUN2/last.safetensors] --version 1

Of several weights, one run begun from the other, the mean is taken, which errs less than either.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import network
import torch
from options import plain_parser
from publish import FOLDER, describe, publish
from safetensors.torch import load_file, save_file

NAME = "sora-detector"
STRIDE = 32
IMAGE_SIZE = 640


def export(model: torch.nn.Module, path: Path) -> None:
    """Write ONNX with free batch, height and width, and the metadata that Ultralytics reads."""
    head: Any = model.get_submodule("model")[-1]  # type: ignore[index]
    head.export, head.format, head.dynamic = True, "onnx", True
    sample = torch.zeros(2, 3, 352, 640)
    model(sample)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (sample,),
            str(path),
            input_names=["images"],
            output_names=["output0"],
            dynamic_axes={
                "images": {0: "batch", 2: "height", 3: "width"},
                "output0": {0: "batch", 2: "anchors"},
            },
            opset_version=17,
            dynamo=False,
        )
    metadata = {
        "description": NAME,
        "stride": str(STRIDE),
        "task": "detect",
        "batch": "1",
        "imgsz": str([IMAGE_SIZE, IMAGE_SIZE]),
        "names": str({0: "sora"}),
        "channels": "3",
        "end2end": "False",
        "args": str({"dynamic": True, "nms": False}),
    }
    describe(path, metadata)


def mean(paths: list[Path]) -> dict[str, torch.Tensor]:
    """The mean of each weight; counters as in the last file."""
    states = [load_file(path) for path in paths]
    return {
        key: torch.stack([s[key] for s in states]).mean(0) if last.is_floating_point() else last
        for key, last in states[-1].items()
    }


def widen(model: torch.nn.Module, margin: float) -> None:
    """Move every edge of every box outwards by `margin` pixels of the input, in the last biases."""
    head: Any = model.get_submodule("model")[-1]  # type: ignore[index]
    with torch.no_grad():
        for branch, stride in zip(head.cv2, head.stride, strict=True):
            branch[-1].bias += margin / stride


def main() -> None:
    parser = plain_parser(__doc__)
    parser.add_argument("--weights", type=Path, nargs="+", required=True)
    parser.add_argument("--margin", type=float, default=0.0, help="round each box, input pixels")
    parser.add_argument("--version", required=True)
    parser.add_argument("--confidence", type=float, default=0.6)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--measured", type=Path)
    arguments = parser.parse_args()
    model = network.build()
    model.load_state_dict(mean(arguments.weights))
    widen(model, arguments.margin)
    state = model.state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, FOLDER / "detector.safetensors")
    shutil.copyfile(network.ARCHITECTURE, FOLDER / "detector.yaml")
    export(model.eval().fuse(verbose=False), FOLDER / "detector.onnx")
    publish(
        NAME,
        ("onnx", "safetensors", "yaml"),
        "detector",
        version=arguments.version,
        task="detect",
        seed=arguments.seed,
        measured=arguments.measured,
        class_names=["sora"],
        stride=STRIDE,
        image_size=IMAGE_SIZE,
        confidence=arguments.confidence,
    )


if __name__ == "__main__":
    main()
