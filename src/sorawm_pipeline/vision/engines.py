"""TensorRT engines that Ultralytics made of weights here, kept for the next run.

An engine is as trusted as code. So one is only loaded if this program made it, on this machine, for
these weights: a record in a folder that nobody else can write to holds its SHA-256.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.report import write_json
from sorawm_pipeline.vision.caches import private_cache
from sorawm_pipeline.vision.model_registry import Digest
from sorawm_pipeline.vision.weights import Weights, digest_of

if TYPE_CHECKING:
    import torch

MOST_TOGETHER = 16
"""Pictures in one batch of an engine."""


class Record(BaseModel):
    """The file `engines.json`: by what an engine was made for, its SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    engines: dict[Digest, Digest] = Field(default_factory=dict)


def engine_of(
    weights: Weights,
    place: torch.device,
    size: int,
    network: Callable[[], torch.nn.Module],
    *,
    half: bool,
) -> Weights:
    """Weights as an engine, from an earlier run or made now, which takes minutes.

    Args:
        weights: that `network` holds.
        place: the GPU to make it on, and for.
        size: long side of most pictures, pixels; others may be up to twice as large.
        network: loads a detector of Ultralytics.
        half: in 16-bit floats.

    Raises:
        ModelError: TensorRT is not installed, or the folder for engines cannot be trusted.
        Exception: whatever exporter and builder say.
    """
    key = _key(weights, place, size, half=half)
    with _locked(private_cache("engines")) as folder:
        path, known = folder / f"{key}.engine", _record(folder).engines
        if key not in known or not path.is_file() or digest_of(path) != known[key]:
            known = known | {key: _made(path, network(), place, size, half=half)}
            write_json(folder / "engines.json", Record(engines=known))
        return Weights(weights.name, path, "tensorrt", known[key], stride=weights.stride)


def _key(weights: Weights, place: torch.device, size: int, *, half: bool) -> str:
    """Digest of all that an engine depends on."""
    try:
        import tensorrt
    except ImportError as error:
        raise ModelError(f"TensorRT cannot be imported: {error}", kind="missing") from error
    import torch
    import ultralytics

    architecture = digest_of(weights.architecture) if weights.architecture else None
    on_cuda = place.type == "cuda"
    made_with = {
        "weights": weights.sha256,
        "architecture": architecture,
        "gpu": torch.cuda.get_device_name(place) if on_cuda else place.type,
        "capability": torch.cuda.get_device_capability(place) if on_cuda else None,
        "tensorrt": tensorrt.__version__,
        "ultralytics": ultralytics.__version__,
        "cuda": torch.version.cuda,
        "shape": (MOST_TOGETHER, size),
        "half": half,
    }
    return hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()


def _made(
    path: Path, network: torch.nn.Module, place: torch.device, size: int, *, half: bool
) -> str:
    """Have Ultralytics export the network to `path`; return the SHA-256."""
    from ultralytics.engine.exporter import Exporter

    wanted: dict[str, Any] = {
        "format": "engine",
        "imgsz": size,
        "dynamic": True,
        "batch": MOST_TOGETHER,
        "simplify": False,  # needs a package more; TensorRT simplifies anyway
        "device": str(place),
        "quantize": 16 if half else None,
        "verbose": False,
    }
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        network.pt_path = str(Path(folder, "network.pt"))  # type: ignore[assignment]
        made = Path(Exporter(overrides=wanted)(model=network))
        digest = digest_of(made)
        made.replace(path)
    return digest


def _record(folder: Path) -> Record:
    """What is recorded; nothing, if there is no record or one that cannot be read."""
    try:
        return Record.model_validate_json((folder / "engines.json").read_bytes())
    except (OSError, ValidationError):
        return Record()


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Several processes must not make one engine at once, nor forget each other's."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)
