"""Finds visible overlay marks in videos you may edit and restores the picture under them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# ONNX Runtime reports its use to its maker unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("ORT_TELEMETRY_DISABLED", "1")

if TYPE_CHECKING:
    from sorawm_pipeline.clip_run import Progress
    from sorawm_pipeline.config import PipelineConfig
    from sorawm_pipeline.pipeline import Pipeline

__version__ = "0.1.0"
__all__ = ["Pipeline", "PipelineConfig", "Progress", "__version__"]

_HOMES = {"Pipeline": "pipeline", "PipelineConfig": "config", "Progress": "clip_run"}


def __getattr__(name: str) -> Any:
    """Import the public names on first use: `--help` needs none of what they pull in."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
