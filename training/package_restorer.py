r"""Put the trained see-through networks into the package: ONNX, safetensors, and the manifest.

python training/package_restorer.py --matte RUN/last.safetensors --fill RUN2/last.safetensors \
        --version 1 [--measured MEASURED.json]
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from options import plain_parser
from publish import FOLDER, describe, publish
from safetensors.torch import load_file, save_file

from sorawm_pipeline.vision.see_through import FILL, MATTE
from sorawm_pipeline.vision.unet import UNet


def export(network: UNet, inputs: int, path: Path, name: str) -> None:
    """Write ONNX with free batch, height and width."""
    free = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(2, inputs, 40, 88),),
            str(path),
            input_names=["region"],
            output_names=["answer"],
            dynamic_axes={"region": free, "answer": free},
            opset_version=17,
            dynamo=False,
        )
    describe(path, {"description": name})


def pack(name: str, weights: Path) -> None:
    """Write the files of one network."""
    state = {key: value.contiguous() for key, value in load_file(weights).items()}
    inputs, outputs = state["stem.weight"].shape[1], state["head.weight"].shape[0]
    network = UNet(inputs, outputs)
    network.load_state_dict(state)
    save_file(state, FOLDER / f"{name}.safetensors")
    export(network.eval(), inputs, FOLDER / f"{name}.onnx", name)


def main() -> None:
    parser = plain_parser(__doc__)
    parser.add_argument("--matte", type=Path, required=True)
    parser.add_argument("--fill", type=Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--seed", type=int, default=40)
    parser.add_argument("--measured", type=Path)
    arguments = parser.parse_args()
    for name, weights in ((MATTE, arguments.matte), (FILL, arguments.fill)):
        pack(name, weights)
        publish(
            name,
            ("onnx", "safetensors"),
            name,
            version=arguments.version,
            task="restore",
            seed=arguments.seed,
            measured=arguments.measured,
        )


if __name__ == "__main__":
    main()
