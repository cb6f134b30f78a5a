"""Restoring masked pixels of single pictures."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.compat.batches import batch_cap
from sorawm_pipeline.compat.detector import check_picture
from sorawm_pipeline.compat.stills import Picture, Place, places, restored
from sorawm_pipeline.hardware.batch_cap import BatchCap
from sorawm_pipeline.vision.see_through import Networks, load_networks
from sorawm_pipeline.warm import resolve_device


class WaterMarkCleaner:
    """Restores what masks cover, each picture by itself.

    Each mark is seen through by the built-in networks, or painted over from its rim, whichever is
    likely to err less. `SoraWM.run` restores better, because it sees the frames around as well. The
    networks are loaded by the first picture. Threads may share it; they take turns.

    Args:
        device: `auto`, `cpu` or `cuda[:n]`.
    """

    def __init__(self, device: str = "auto") -> None:
        self._device = device
        self._lock = threading.Lock()
        self._loaded: tuple[Networks, BatchCap] | None = None

    def clean(self, input_image: Picture, watermark_mask: NDArray[np.uint8]) -> Picture:
        """A copy of the picture with its masked pixels restored; all others are bit-identical.

        Args:
            input_image: uint8 BGR (h, w, 3).
            watermark_mask: (h, w); what is not 0 is covered. Any number of marks.

        Raises:
            ValueError: it is no such picture, or the mask is not of its size.
            PipelineError: the networks cannot be loaded, or do not fit into memory.
        """
        return self.clean_batch([input_image], [watermark_mask])[0]

    def clean_batch(
        self, input_images: Sequence[Picture], watermark_masks: Sequence[NDArray[np.uint8]]
    ) -> list[Picture]:
        """Several pictures, of any sizes; as `clean` would restore each of them."""
        if len(input_images) != len(watermark_masks):
            raise ValueError(f"{len(input_images)} pictures but {len(watermark_masks)} masks")
        cleaned = []
        found: list[Place] = []
        for image, mask in zip(input_images, watermark_masks, strict=True):
            check_picture(image)
            if np.shape(mask) != image.shape[:2]:
                raise ValueError(
                    f"a mask of shape {np.shape(mask)} does not fit a picture of {image.shape}"
                )
            cleaned.append(image.copy())
            found += places(image, np.asarray(mask) != 0, cleaned[-1])
        if found:
            with self._lock:
                networks, cap = self._ready()
                patches = cap.run(lambda part: [restored(place, networks) for place in part], found)
            for place, patch in zip(found, patches, strict=True):
                place.write(patch)
        return cleaned

    def _ready(self) -> tuple[Networks, BatchCap]:
        if self._loaded is None:
            device = resolve_device(self._device)
            self._loaded = load_networks(device), batch_cap(device)
        return self._loaded
