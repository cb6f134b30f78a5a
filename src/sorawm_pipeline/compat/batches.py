"""Batches as large as the device's memory allows."""

from __future__ import annotations

from typing import TypeVar

from sorawm_pipeline.budget import AUTO_BATCH
from sorawm_pipeline.compat.memory import gpu_snapshot
from sorawm_pipeline.hardware.batch_cap import BatchCap
from sorawm_pipeline.hardware.signals import gpu_signals, host_signals
from sorawm_pipeline.warm import AUTO_START

T = TypeVar("T")
R = TypeVar("R")


def batch_cap(device: str) -> BatchCap:
    """A cap that grows as memory allows; `device` is `cpu` or `cuda:n`."""
    if not device.startswith("cuda"):
        return BatchCap(AUTO_BATCH["cpu"], start=AUTO_BATCH["cpu"], signals=host_signals())
    import torch  # a network on the device has loaded it already

    uuid = str(torch.cuda.get_device_properties(device).uuid)
    return BatchCap(
        AUTO_BATCH["cuda"],
        start=AUTO_START,
        signals=gpu_signals(gpu_snapshot, uuid),
        release=torch.cuda.empty_cache,
    )
