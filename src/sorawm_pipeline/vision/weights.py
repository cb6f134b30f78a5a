"""Finding weight files and checking them before anything parses them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeAlias

from sorawm_pipeline.errors import ModelError

WeightFormat: TypeAlias = Literal[
    "onnx", "safetensors", "torchscript", "tensorrt", "openvino", "pickle"
]

BuiltinKind: TypeAlias = Literal["onnx", "safetensors", "int8"]
BUILTIN_KINDS: tuple[BuiltinKind, ...] = "onnx", "safetensors", "int8"
BUILTIN_DETECTOR = "sora-detector"
DEFAULT_IMAGE_SIZE = 640
DEFAULT_CONFIDENCE = 0.4
DEFAULT_STRIDE = 32
LARGEST_IMAGE_SIZE = 8192

_SUFFIXES: dict[str, WeightFormat] = {
    ".onnx": "onnx",
    ".safetensors": "safetensors",
    ".torchscript": "torchscript",
    ".engine": "tensorrt",
    ".pt": "pickle",
    ".pth": "pickle",
}
_OPENVINO_FOLDER = "_openvino_model"  # Ultralytics recognises such a folder by its name


@dataclass(frozen=True, slots=True)
class Weights:
    """One weight file (or OpenVINO folder) whose content has been checked.

    Attributes:
        name: what to call it in logs and reports.
        path: the file, or the folder of an OpenVINO model.
        format: decides the runtime.
        sha256: hex digest of the file; of a folder, over the names and digests of its files.
        architecture: the YAML that a `.safetensors` file needs to become a network.
        image_size: default long side of the network's input, pixels.
        confidence: default threshold, 0..1.
        stride: input sides must be multiples of it, pixels.
    """

    name: str
    path: Path
    format: WeightFormat
    sha256: str
    architecture: Path | None = None
    image_size: int = DEFAULT_IMAGE_SIZE
    confidence: float = DEFAULT_CONFIDENCE
    stride: int = DEFAULT_STRIDE


def manifest() -> dict[str, Any]:
    """Return the parsed `models.json` of the package: model name to its entry.

    Raises:
        ModelError: the manifest is missing or is not what it should be.
    """
    try:
        models: dict[str, Any] = json.loads((_folder() / "models.json").read_text())["models"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the built-in models.json cannot be read: {error}") from error
    return models


def find_weights(
    source: str | Path | None = None,
    *,
    device: str = "cpu",
    sha256: str | None = None,
    allow_pickle: bool = False,
) -> Weights:
    """Return checked detector weights.

    Args:
        source: None or `builtin` for the weights in the package; else a path to `.onnx`,
            `.safetensors` (with a `.yaml` of the same name beside it), `.torchscript`, `.engine`,
            `.pt`, or to an OpenVINO folder (`*_openvino_model`). A `.json` of the same name beside
            an `.onnx`, as `train` writes it, tells its digest, confidence and input size.
        device: `cpu` or `cuda[:n]`; decides which built-in file is taken.
        sha256: what the digest must be, if known. Built-in files are always checked.
        allow_pickle: take a `.pt` file, which is read with torch's weights-only unpickler.

    Raises:
        ModelError: missing, changed, of no known format, a pickle that was not allowed, or beside
            a `.json` that does not fit it.
    """
    if source is None or source == "builtin":
        return builtin_weights("safetensors" if device.startswith("cuda") else "onnx")
    path = Path(source).expanduser()
    if not path.exists():
        raise ModelError(f"no weights at {path}", kind="missing")
    kind = _format_of(path)
    if kind == "pickle" and not allow_pickle:
        raise ModelError(
            f"{path} is a pickle, which can run code when loaded: convert it to ONNX or "
            "safetensors, or allow pickles explicitly if you trust its author"
        )
    architecture = path.with_suffix(".yaml") if kind == "safetensors" else None
    if architecture is not None and not architecture.is_file():
        raise ModelError(f"{path} needs its architecture beside it, as {architecture.name}")
    digest = digest_of(path)
    if sha256 is not None and digest != sha256.lower():
        raise ModelError(f"{path} is not the file it should be: its SHA-256 is {digest}")
    card = path.with_suffix(".json")
    if kind == "onnx" and card.is_file():
        return _described(path, digest, card)
    return Weights(path.name, path, kind, digest, architecture)


def _described(path: Path, digest: str, card: Path) -> Weights:
    """Weights with what `train` wrote beside them."""
    try:
        said: dict[str, Any] = json.loads(card.read_text(encoding="utf-8"))
        stated, name = str(said["sha256"]), str(said["name"])
        size, stride = int(said["image_size"]), int(said["stride"])
        confidence = float(said["confidence"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{card} does not describe {path.name} as `train` would") from error
    if digest != stated.lower():
        raise ModelError(
            f"{path} is not the file that {card.name} describes: its SHA-256 is {digest}"
        )
    if not (0 < confidence < 1 and stride > 0 and stride <= size <= LARGEST_IMAGE_SIZE):
        raise ModelError(f"{card} holds a confidence or an image size that cannot be")
    return Weights(
        name, path, "onnx", digest, image_size=size, confidence=confidence, stride=stride
    )


def builtin_files() -> list[tuple[str, BuiltinKind]]:
    """Names and kinds of all weight files in the package, unchecked.

    Raises:
        ModelError: the manifest cannot be read.
    """
    return [
        (name, kind)
        for name, entry in manifest().items()
        for kind in BUILTIN_KINDS
        if kind in entry["files"]
    ]


def builtin_weights(kind: BuiltinKind = "onnx", name: str = BUILTIN_DETECTOR) -> Weights:
    """Return weights that ship in the package, after checking every file they need.

    Args:
        kind: `int8` is ONNX too, with most weights as 8-bit integers; not every model has it.
        name: of the model.

    Raises:
        ModelError: unknown name, or a file is missing or not the one that was published.
    """
    models = manifest()
    if name not in models:
        raise ModelError(f"no built-in model is called {name}; there are: {', '.join(models)}")
    entry = models[name]
    if kind not in entry["files"]:
        raise ModelError(f"the built-in model {name} has no {kind} file", kind="missing")
    paths = {}
    needs_yaml = kind == "safetensors" and "yaml" in entry["files"]
    for part in (kind, "yaml") if needs_yaml else (kind,):
        path = _folder() / entry["files"][part]["name"]
        if not path.is_file():
            raise ModelError(f"the built-in file {path.name} is missing: reinstall the program")
        if digest_of(path) != entry["files"][part]["sha256"]:
            raise ModelError(f"the built-in file {path.name} was changed: reinstall the program")
        paths[part] = path
    return Weights(
        name=name,
        path=paths[kind],
        format="safetensors" if kind == "safetensors" else "onnx",
        sha256=entry["files"][kind]["sha256"],
        architecture=paths.get("yaml"),
        image_size=entry.get("image_size", DEFAULT_IMAGE_SIZE),
        confidence=entry.get("confidence", DEFAULT_CONFIDENCE),
        stride=entry.get("stride", DEFAULT_STRIDE),
    )


def integers_of(weights: Weights) -> Weights | None:
    """The same network in 8-bit integers, None for weights that do not ship in the package.

    Raises:
        ModelError: the file is missing or not the one that was published.
    """
    entry = manifest().get(weights.name, {"files": {}})
    plain = entry["files"].get("onnx", {}).get("sha256")
    if "int8" not in entry["files"] or plain != weights.sha256:
        return None
    return builtin_weights("int8", weights.name)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's sorted file names and digests, as hex.

    Raises:
        ModelError: something in it cannot be read.
    """
    try:
        if path.is_file():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        whole = hashlib.sha256()
        for file_path in sorted(p for p in path.rglob("*") if p.is_file()):
            whole.update(f"{file_path.relative_to(path)}\0{digest_of(file_path)}\n".encode())
        return whole.hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error


def _format_of(path: Path) -> WeightFormat:
    if path.is_dir():
        if path.name.endswith(_OPENVINO_FOLDER) and any(path.glob("*.xml")):
            return "openvino"
        raise ModelError(f"{path} is a folder but not an OpenVINO model (*{_OPENVINO_FOLDER})")
    if path.suffix.lower() not in _SUFFIXES:
        raise ModelError(f"{path} is of no known weight format: {', '.join(_SUFFIXES)}")
    return _SUFFIXES[path.suffix.lower()]


def _folder() -> Path:
    return Path(str(resources.files("sorawm_pipeline.models")))
