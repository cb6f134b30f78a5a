"""Folders for what can be made again, which nobody else may write to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sorawm_pipeline.errors import ModelError


def private_cache(name: str) -> Path:
    """A folder of the user's cache, by the XDG rules, made if it is missing.

    Raises:
        ModelError: it cannot be made, or belongs to, or can be written by, somebody else.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        folder = Path(base).expanduser() / "sorawm-pipeline" / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        raise ModelError(f"the folder {name} for what is made once cannot be made") from error
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if found.st_uid != os.geteuid() or shared:
        raise ModelError(f"others can write to {folder}")
    return folder
