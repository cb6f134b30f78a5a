"""What the program is compared with: fills of a scene's runs as decoded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from marked_runs import Run
from numpy.typing import NDArray
from pictures import Planes, boxed, cut, i420, packed, planes, rgb_of
from scenes import Scene

Pixels = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Fill = Callable[[Scene, Run], Planes]

GENEROUS = 3
"""Pixels around the true mask that the baselines fill too, because compression smears the mark."""
RADIUS = 3
SEEN = 96
"""Pixels around a mark's box that LaMa sees."""
SEEN_THROUGH = 0.9
"""Alpha from which inverting says nothing and the place is painted."""


def holes(run: Run) -> Bools:
    """The true mask grown by GENEROUS, (n, h, w)."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * GENEROUS + 1,) * 2)
    grown = [cv2.dilate(mask.astype(np.uint8), kernel) for mask in run.visible]
    return np.stack(grown).astype(np.bool_)


def quartered(mask: Bools) -> Bools:
    """(n, h, w) to (n, h/2, w/2): a chroma sample is masked if one of its four pixels is."""
    n, height, width = mask.shape
    return np.asarray(mask.reshape(n, height // 2, 2, width // 2, 2).any(axis=(2, 4)), np.bool_)


def nothing(scene: Scene, run: Run) -> Planes:
    return cut(scene.marked, scene.size, run.region, run.frames)


def floor(scene: Scene, run: Run) -> Planes:
    return cut(scene.floor, scene.size, run.region, run.frames)


def painted(flag: int) -> Fill:
    """OpenCV's fill of the hole from its rim, plane by plane and frame by frame."""

    def fill(scene: Scene, run: Run) -> Planes:
        marked, hole = nothing(scene, run), holes(run)
        for plane, mask in zip(marked, (hole, quartered(hole), quartered(hole)), strict=True):
            for picture, where in zip(plane, mask, strict=True):
                picture[...] = cv2.inpaint(picture, where.astype(np.uint8), RADIUS, flag)
        return marked

    return fill


def nearest(scene: Scene, run: Run) -> Planes:
    """The place as it is in the nearest frame without a mark there; painted if there is none."""
    taken = np.zeros(len(scene.truth), np.bool_)
    for other in scene.runs:
        if other.box.grown(GENEROUS).shared(run.box):
            taken[other.frames] = True
    free = np.flatnonzero(~taken)
    if free.size == 0:
        return painted(cv2.INPAINT_TELEA)(scene, run)
    marked, hole = nothing(scene, run), holes(run)
    wanted = [int(free[np.abs(free - index).argmin()]) for index in range(run.first, run.last)]
    kept = {
        source: cut(scene.marked, scene.size, run.region, slice(source, source + 1))
        for source in set(wanted)
    }
    for number, mask in enumerate((hole, quartered(hole), quartered(hole))):
        for index, source in enumerate(wanted):
            where = mask[index]
            marked[number][index][where] = kept[source][number][0][where]
    return marked


def inversion(scene: Scene, run: Run) -> Planes:
    """The true mark taken off again, then a 3x3 mean: what a known matte alone gives."""
    marked, hole = nothing(scene, run), holes(run)
    for number, mask in enumerate((hole, quartered(hole), quartered(hole))):
        for index in range(run.count):
            alpha, colour = run.layer(number, index)
            picture = marked[number][index].astype(np.float32)
            light = (picture - alpha * colour) / np.maximum(1 - alpha, 1 - SEEN_THROUGH)
            clear = np.clip(np.rint(light), 0, 255).astype(np.uint8)
            shut = (alpha > SEEN_THROUGH).astype(np.uint8)
            if shut.any():
                clear = cv2.inpaint(clear, shut, RADIUS, cv2.INPAINT_TELEA)
            where = mask[index]
            marked[number][index][where] = cv2.blur(clear, (3, 3))[where]
    return marked


FILLS: dict[str, Fill] = {
    "none": nothing,
    "floor": floor,
    "telea": painted(cv2.INPAINT_TELEA),
    "ns": painted(cv2.INPAINT_NS),
    "nearest": nearest,
    "inversion": inversion,
}


def lama(path: Path, frames: int) -> Fill:
    """A LaMa TorchScript file over the first `frames` frames of each run: RGB and mask, 0 to 1.

    Suvorov et al., "Resolution-robust large mask inpainting
    with Fourier convolutions", 2022.
    """
    import torch

    network = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]

    def one(rgb: Pixels, hole: Bools) -> Pixels:
        """RGB (h, w, 3) filled; the network takes sides that are multiples of 8."""
        height, width = hole.shape
        pads = ((0, -height % 8), (0, -width % 8))
        padded = np.pad(rgb, (*pads, (0, 0)), "symmetric"), np.pad(hole, pads, "symmetric")
        picture = torch.from_numpy(padded[0]).permute(2, 0, 1)[None].float() / 255
        mask = torch.from_numpy(padded[1])[None, None].float()
        with torch.inference_mode():
            made = network(picture, mask)[0].permute(1, 2, 0).clamp(0, 1) * 255
        return np.asarray(made.round().byte().numpy()[:height, :width], np.uint8)

    def fill(scene: Scene, run: Run) -> Planes:
        count = min(frames, run.count)
        seen = run.box.grown(SEEN).aligned(2, 2).clipped(*scene.size)
        marked = cut(scene.marked, scene.size, run.region, slice(run.first, run.first + count))
        around = cut(scene.marked, scene.size, seen, slice(run.first, run.first + count))
        hole = holes(run)[:count]
        masks = hole, quartered(hole), quartered(hole)
        for index in range(count):
            where = np.zeros((seen.height, seen.width), np.bool_)
            where[run.region.within(seen)] = hole[index]
            y, u, v = around
            rgb = rgb_of(packed((y[index:], u[index:], v[index:])))
            filled = planes(i420(one(rgb, where))[None], (seen.width, seen.height))
            inner = boxed(filled, run.region, seen)
            for made, mask, result in zip(inner, masks, marked, strict=True):
                result[index][mask[index]] = made[0][mask[index]]
        return marked

    return fill
