"""What the configuration comes to on this machine: workers, their bounds, the ledger's place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.hardware.gpu import read_gpus
from sorawm_pipeline.hardware.memory import read_memory
from sorawm_pipeline.service.worker import Bounds
from sorawm_pipeline.state import state_folder

SHARE = 0.8
"""Share of the machine's memory for all workers together, where `service.memory` is null."""

INSPECTOR_MEMORY = 2 << 30
FIXED = (
    *("input.watch", "input.force_polling", "output.folder"),
    *("service.ledger", "service.workers", "service.host", "service.port"),
)
"""Keys that a running daemon cannot change."""


def ledger_path(config: PipelineConfig) -> Path:
    return (config.service.ledger or state_folder() / "ledger.sqlite3").absolute()


def devices(config: PipelineConfig) -> list[str]:
    """The device of each worker: GPUs in turn where one was asked for without its number."""
    wanted, workers = config.device, config.service.workers
    if wanted not in ("auto", "cuda"):
        return [wanted] * (1 if workers == "auto" else workers)
    gpus = len(read_gpus().gpus)
    count = max(1, gpus) if workers == "auto" else workers
    return [f"cuda:{number % gpus}" if gpus else wanted for number in range(count)]


def bounds(config: PipelineConfig) -> Bounds:
    """Of each worker."""
    workers = len(devices(config))
    share = int(read_memory().total * SHARE) // workers
    return Bounds(config.service.memory or share, config.service.deadline_s, workers)


def inspector_bounds(config: PipelineConfig) -> Bounds:
    """Of the process that looks at files before they are jobs."""
    memory = min(INSPECTOR_MEMORY, config.service.memory or INSPECTOR_MEMORY)
    return Bounds(memory, config.service.deadline_s)


def reloaded(
    old: PipelineConfig, new: PipelineConfig, told: Callable[[str], object]
) -> PipelineConfig:
    """The new configuration, with what cannot change as it was; tells of keys that differ."""
    for dotted in FIXED:
        section, key = dotted.split(".")
        before, after = getattr(old, section), getattr(new, section)
        if getattr(before, key) != getattr(after, key):
            told(f"{dotted} takes effect after a restart")
            kept = after.model_copy(update={key: getattr(before, key)})
            new = new.model_copy(update={section: kept})
    return new
