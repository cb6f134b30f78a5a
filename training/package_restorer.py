r"""Put the trained see-through networks into the package: ONNX, safetensors, and the manifest.

python training/package_restorer.py --matte RUN/last.safetensors --fill RUN2/last.safetensors \
        --version 1 [--measured MEASURED.json]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from safetensors.torch import load_file, save_file

from sorawm_pipeline.vision.unet import UNet

FOLDER = Path(__file__).parents[1] / "src" / "sorawm_pipeline" / "models"


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
    graph = onnx.load(path)
    for key, value in {"description": name, "license": "AGPL-3.0-or-later"}.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def packed(name: str, weights: Path, version: str, seed: int, measured: Any) -> dict[str, Any]:
    """Write the files of one network; return its entry in the manifest."""
    state = {key: value.contiguous() for key, value in load_file(weights).items()}
    inputs, outputs = state["stem.weight"].shape[1], state["head.weight"].shape[0]
    network = UNet(inputs, outputs)
    network.load_state_dict(state)
    paths = {kind: FOLDER / f"{name}.{kind}" for kind in ("onnx", "safetensors")}
    save_file(state, paths["safetensors"])
    export(network.eval(), inputs, paths["onnx"], name)
    files = {}
    for kind, path in paths.items():
        path.chmod(0o644)
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        files[kind] = {"name": path.name, "sha256": digest, "bytes": len(content)}
    return {
        "version": version,
        "task": "restore",
        "licence": "AGPL-3.0-or-later",
        "files": files,
        "recipe": {"folder": "training/", "seed": seed},
        "measured": measured,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--matte", type=Path, required=True)
    parser.add_argument("--fill", type=Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--seed", type=int, default=40)
    parser.add_argument("--measured", type=Path)
    arguments = parser.parse_args()
    measured = json.loads(arguments.measured.read_text()) if arguments.measured else None
    manifest = FOLDER / "models.json"
    models = json.loads(manifest.read_text())["models"]
    for kind in ("matte", "fill"):
        name = f"see-through-{kind}"
        weights = getattr(arguments, kind)
        models[name] = packed(name, weights, arguments.version, arguments.seed, measured)
    manifest.write_text(json.dumps({"version": 1, "models": models}, indent=1) + "\n")


if __name__ == "__main__":
    main()
