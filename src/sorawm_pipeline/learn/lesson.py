"""From one picture of a mark to a detector of it: the whole lesson."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sorawm_pipeline import __version__
from sorawm_pipeline.errors import ConfigError, DeviceError
from sorawm_pipeline.learn import backgrounds
from sorawm_pipeline.learn.fit import Progress, fit
from sorawm_pipeline.learn.graph import filled
from sorawm_pipeline.learn.lettering import with_text
from sorawm_pipeline.learn.mark import Mark, read_mark
from sorawm_pipeline.learn.measure import FLOOR, Score, advised, look, score
from sorawm_pipeline.learn.publish import Pair
from sorawm_pipeline.learn.samples import Source
from sorawm_pipeline.vision.detector import Detector
from sorawm_pipeline.vision.ultralytics_backend import network_of, prepare_libraries
from sorawm_pipeline.vision.weights import Weights, builtin_weights

if TYPE_CHECKING:
    import torch

MINUTES = 8.0
MOST_MINUTES = 24 * 60.0
_PICTURES = 180  # looked at to choose the confidence, and as many again to measure at it
_OWN_SHARE = 0.5  # of training pictures that lie over the user's own pictures, if there are any

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Learned:
    """A published detector: where it is, and its figures on pictures it was not trained on."""

    model: Path
    card: Path
    score: Score


def learn(
    mark: Path,
    output: Path,
    *,
    text: str | None = None,
    own: Sequence[Path] = (),
    minutes: float = MINUTES,
    seed: int = 0,
    device: str = "cpu",
    overwrite: bool = False,
    say: Say = lambda _: None,
    progress: Progress | None = None,
) -> Learned:
    """Train a detector for the mark in a picture and write it as ONNX with a JSON beside it.

    Args:
        mark: a picture with alpha, or a crop of a frame.
        output: the ONNX file; `.onnx` is added where it is missing.
        text: a second line under the mark.
        own: pictures and clips without the mark, and folders of them, as backgrounds.
        minutes: of training; making ready and measuring come on top.
        seed: of every choice, 0 or more.
        device: `cpu` or `cuda[:n]`.
        overwrite: replace an existing output.
        say: gets a line for each step of the work.
        progress: gets (share done, loss) after every training step.

    Raises:
        InputError: the picture of the mark.
        ConfigError: text, backgrounds, minutes or seed.
        OutputError: the output exists or cannot be written.
        ModelError: the built-in weights are missing or changed.
        DeviceError: the device is not there.
    """
    if not 0 < minutes <= MOST_MINUTES:
        raise ConfigError(f"--minutes must be more than 0 and at most {MOST_MINUTES:.0f}")
    if seed < 0:
        raise ConfigError("--seed must be 0 or more")
    picture = read_mark(mark)
    marks = [picture] if text is None else with_text(picture, text)
    pair = Pair(mark, output, overwrite=overwrite)
    try:
        return _learn(marks, pair, text, own, minutes, seed, device, say, progress)
    finally:
        pair.discard()


def _learn(
    marks: Sequence[Mark],
    pair: Pair,
    text: str | None,
    own: Sequence[Path],
    minutes: float,
    seed: int,
    device: str,
    say: Say,
    progress: Progress | None,
) -> Learned:
    prepare_libraries()
    import torch

    _check_device(device)
    torch.manual_seed(seed)
    train, held_out = backgrounds.own(own)
    say(f"backgrounds of your own: {len(train)} to train on, {len(held_out)} held out")
    share = _OWN_SHARE if train else 0.15
    start = builtin_weights("safetensors")
    source, choosing, judging = (
        Source(marks, np.random.default_rng([seed, part]), pictures, share)
        for part, pictures in enumerate(
            [
                [*train, *backgrounds.photographs(held_out=False)],
                *[held_out or backgrounds.photographs(held_out=True)] * 2,
            ]
        )
    )
    began = time.monotonic()
    say(f"training for {minutes:g} minutes on {device}")
    network = fit(network_of(start), source, minutes * 60, device=device, progress=progress)
    seconds = time.monotonic() - began
    name = pair.model.path.stem
    content = onnx_of(network, name, start)
    temporary = pair.write(content)
    digest = hashlib.sha256(content).hexdigest()
    say("measuring on pictures that were not trained on")
    trial = Weights(name, temporary, "onnx", digest, None, start.image_size, FLOOR, start.stride)
    detector = Detector(trial)
    try:
        confidence = advised(look(detector, choosing, _PICTURES))
        result = score(look(detector, judging, _PICTURES), confidence)
    finally:
        detector.close()
    card: dict[str, Any] = {
        "version": 1,
        "name": name,
        "sha256": digest,
        "class_names": [name],
        "image_size": start.image_size,
        "stride": start.stride,
        "confidence": confidence,
        "measured": dataclasses.asdict(result),
        "recipe": {
            "seed": seed,
            "minutes": minutes,
            "seconds": round(seconds, 1),
            "device": device,
            "text": text,
            "own_backgrounds": len(train) + len(held_out),
            "start_sha256": start.sha256,
            "program": f"sorawm-pipeline {__version__}",
        },
    }
    pair.publish(card)
    return Learned(pair.model.path, pair.card.path, result)


def _check_device(device: str) -> None:
    import torch

    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"{device} is no device: cpu, cuda or cuda:0") from error
    there = torch.cuda.device_count() if place.type == "cuda" else 1
    if place.type not in {"cpu", "cuda"} or (place.index or 0) >= there:
        raise DeviceError(f"there is no {device} on this machine that torch can use")


def onnx_of(network: torch.nn.Module, name: str, start: Weights) -> bytes:
    """Return the ONNX file of a trained network, with free batch, height and width.

    Raises:
        ModelError: it is not the built-in architecture.
    """
    fused: Any = network.eval()
    fused = fused.fuse(verbose=False)
    values = {key: value.detach().float().numpy() for key, value in fused.named_parameters()}
    size = start.image_size
    metadata = {
        "description": name,
        "license": "AGPL-3.0-or-later",
        "stride": str(start.stride),
        "task": "detect",
        "batch": "1",
        "imgsz": str([size, size]),
        "names": str({0: name}),
        "channels": "3",
        "end2end": "False",
        "args": str({"dynamic": True, "nms": False}),
    }
    return filled(builtin_weights("onnx").path.read_bytes(), values, metadata)
