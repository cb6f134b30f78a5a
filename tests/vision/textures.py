"""Scenes for tests."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray


def rough(height: int, width: int, sizes: Sequence[int], seed: int) -> NDArray[np.float32]:
    """A picture (height, width), 0..255, with structure of several sizes, in cells a side."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    for cells in sizes:
        coarse = random.uniform(-40, 40, (cells, cells)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(total + 120, 0, 255)
