"""Where this program keeps what outlives a run."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """By the XDG rules."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "sorawm-pipeline"
