"""Fine-tuning the built-in detector on pictures made as it goes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from copy import deepcopy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.learn.samples import Source

if TYPE_CHECKING:
    import torch

SIZE = 192  # side of a training picture, pixels of the network's input
BATCH = 24
RATE = 2e-3
_WARM_STEPS = 40
_MARKED = 0.7  # share of training pictures with a mark
_FROZEN = 2  # first layers, which see edges and colours and need no change

Progress = Callable[[float, float], None]  # (share of the time that is over, loss)


def fit(
    network: torch.nn.Module,
    source: Source,
    seconds: float,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> torch.nn.Module:
    """Train for a while; return the running average of the network, on the CPU, for inference.

    The learning rate follows the clock and is nothing at the end, so a longer time is a finer
    training and never a broken one.

    Args:
        network: a one-class detector; it is changed.
        source: of the pictures.
        seconds: how long; at least one step is done.
        device: `cpu` or `cuda[:n]`.
        progress: called after every step.

    """
    import torch
    from ultralytics.utils.loss import v8DetectionLoss

    network.args = SimpleNamespace(box=7.5, cls=1.0, dfl=1.5)  # type: ignore[assignment]
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    layers: Any = network.get_submodule("model")
    frozen = list(layers[:_FROZEN])
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    for layer in frozen:
        layer.requires_grad_(False)
    average = deepcopy(network).eval()
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": 5e-4},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=RATE,
        betas=(0.9, 0.99),
    )
    loss_of = v8DetectionLoss(network)
    network.train()
    for layer in frozen:
        layer.eval()
    threads = torch.get_num_threads()
    # One core is left to the thread that makes pictures. torch's threads wait for one another
    # spinning: with more of them than free cores a step takes twenty times as long.
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - 1))
    try:
        began, step, smooth = time.monotonic(), 0, 0.0
        with closing(_batches(source)) as batches:
            while step == 0 or time.monotonic() - began < seconds:
                share = min(1.0, (time.monotonic() - began) / seconds)
                warm = min(1.0, (step + 1) / _WARM_STEPS)
                for group in optimizer.param_groups:
                    group["lr"] = RATE * warm * (1 + math.cos(math.pi * share)) / 2
                pictures, targets = next(batches)
                tensor = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2)
                tensor = tensor.contiguous(memory_format=torch.channels_last).float().div_(255)
                table = torch.from_numpy(targets).to(device)
                truth = {
                    "batch_idx": table[:, 0],
                    "cls": torch.zeros(len(table), device=device),
                    "bboxes": table[:, 1:],
                }
                total = loss_of(network(tensor), truth)[0].sum() / BATCH
                optimizer.zero_grad(set_to_none=True)
                total.backward()
                torch.nn.utils.clip_grad_norm_(trained, 10.0)
                optimizer.step()
                if step == 0:  # in which torch loads what it needs, for many seconds
                    began = time.monotonic()
                step += 1
                _follow(average, network, keep=min(0.99, 1 - 1 / (1 + step / 4)))
                smooth += (float(total.detach()) - smooth) / min(step, 20)
                if progress is not None:
                    progress(min(1.0, (time.monotonic() - began) / seconds), smooth)
    finally:
        torch.set_num_threads(threads)
    return average.to("cpu").eval()


def _batches(source: Source) -> Generator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Batches in the source's order, the next one being made while one is used."""
    with ThreadPoolExecutor(1) as maker:
        ahead = maker.submit(batch, source)
        while True:
            ready, ahead = ahead.result(), maker.submit(batch, source)
            yield ready


def batch(source: Source) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return pictures (BATCH, SIZE, SIZE, 3) and targets (n, 5): number, centre x y, width, height.

    The targets' sizes are shares of SIZE.
    """
    pictures = np.empty((BATCH, SIZE, SIZE, 3), np.uint8)
    rows: list[list[float]] = []
    for number in range(BATCH):
        marked = source.rng.random() < _MARKED
        pictures[number], boxes = source.sample(SIZE, SIZE, marked=marked)
        for x0, y0, x1, y1 in boxes:
            rows.append([number, (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0])
    targets = np.array(rows, np.float32).reshape(-1, 5)
    targets[:, 1:] /= SIZE
    return pictures, targets


def _follow(average: torch.nn.Module, network: torch.nn.Module, keep: float) -> None:
    import torch

    with torch.no_grad():
        fresh = network.state_dict()
        for name, value in average.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(fresh[name], 1 - keep)
            else:
                value.copy_(fresh[name])
