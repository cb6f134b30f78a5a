"""Seeing through a translucent overlay: its matte, what inverting it gives, and what is left to do.

Two small networks. `matte` tells how opaque the overlay is and which colour it has, from the mean
of a few neighbouring frames and that of a few more, in which the overlay stands out because the
scene has moved. `fill` gets one frame, the matte and the inverted picture (Dekel et al., "On the
effectiveness of visible watermarks", 2017), and returns the clean picture and how far it may be
off; where nothing comes through it paints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box, Patch
from sorawm_pipeline.media.patch import OPAQUE, chroma_alpha
from sorawm_pipeline.media.planes import PixelLayout
from sorawm_pipeline.vision.compiling import Compiled, filled_up, warm_up
from sorawm_pipeline.vision.cpu_forms import brain_floats, fastest, integers
from sorawm_pipeline.vision.cpu_networks import OnnxNetwork, Precision
from sorawm_pipeline.vision.grid import fold, from_grid, luma_of, to_grid
from sorawm_pipeline.vision.propagate import KNOWN
from sorawm_pipeline.vision.restore import (
    CONTEXT,
    DiffusionInpainter,
    Hole,
    Region,
    in_groups,
)
from sorawm_pipeline.vision.weights import Weights, builtin_weights

Floats = NDArray[np.float32]

MATTE, FILL = "see-through-matte", "see-through-fill"

COVERED = 0.02
"""Opacity from which a pixel counts as covered."""

REACH = 2
"""Pixels beyond the covered ones that are replaced too: compression smears an overlay."""

SOFT = 3
"""Width in pixels of the edge of what is replaced."""

DISTANCES = (8, 5, 4, 2, 1, 0)
"""Squares of the distances between pixels that are below SOFT."""

_AWAY = np.square(np.arange(1 - SOFT, SOFT))
DISCS = [np.uint8(_AWAY[:, None] + _AWAY <= square) for square in DISTANCES[:-1]]
EDGE = np.zeros(256, np.uint16)
EDGE[1 : len(DISTANCES) + 1] = np.rint((1 - np.sqrt(DISTANCES) / SOFT) * OPAQUE)
"""Alpha of a pixel by how many of the discs around it, and it itself, reach a covered one."""

STEEPEST = 0.08
"""Least transparency that an inversion divides by."""

BIASES = np.array([2.0] * 4 + [0.0] * 6, np.float32)[:, None, None]
"""Subtracted from the matte network's output: most of a region is not covered."""

MODULO = 4
"""Sides of the networks' input are multiples of it."""

TOGETHER, MATTE_EVERY = 8, 4
"""Frames that are filled together, and of these, frames that share a matte's middle."""

TALL = 72.0
"""Height in pixels of the tallest mark that the networks have learnt; taller ones are shrunk."""

SAMPLE = 40, 88
"""Rows and columns of a usual region on the networks' grid."""

Parts = tuple[tuple[int, ...], tuple[int, ...]]
MATTE_PARTS: Parts = (4, 2, 4, 2, 1, 4), (4, 4, 2)
FILL_PARTS: Parts = (4, 2, 4, 4, 2), (4, 2, 4)
"""Channels of the networks' input and output that belong together: four are a folded plane."""

NOISE = 6.0
"""Error, in 8-bit steps, of a decoded sample. Inverted, it grows as less light comes through; the
fill network says less of it than there is."""

PLATE, KEPT, SIDES = 12.0, 0.4, 3
"""A step in 8-bit levels into a mark's box that a plate has all along a side, the share of it that
shows that the plate is still there, and the sides that must show it."""

SUREST = 1.0
"""Least variance, in squared 8-bit steps, that a covered sample is given."""


class Network(Protocol):
    """One of the two networks: (n, channels, h, w) float32 to (n, outputs, h, w)."""

    @property
    def runtime(self) -> str: ...

    precision: Precision
    sha256: str

    def __call__(self, batch: Floats) -> Floats: ...


class TorchNetwork:
    """On a GPU (or, for comparison, on the CPU), in half precision if asked."""

    runtime = "torch"

    def __init__(self, weights: Weights, device: str, *, half: bool, compile: bool) -> None:  # noqa: A002
        import torch
        from safetensors.torch import load_file

        from sorawm_pipeline.vision.unet import UNet

        state = load_file(weights.path)
        inputs, outputs = state["stem.weight"].shape[1], state["head.weight"].shape[0]
        network = UNet(inputs, outputs)
        network.load_state_dict(state)
        self._torch = torch
        halved = half and device.startswith("cuda")
        self.precision: Precision = "fp16" if halved else "fp32"
        self._type = torch.float16 if halved else torch.float32
        network = network.eval().to(device=device, dtype=self._type)
        network = network.to(memory_format=torch.channels_last)
        self._compiled = Compiled(network, cuda=device.startswith("cuda")) if compile else None
        self._network: Any = self._compiled or network
        self._device = device
        self.sha256 = weights.sha256

    @property
    def fallback(self) -> str | None:
        """Why it is not compiled although that was asked for, else None."""
        return self._compiled.fallback if self._compiled else None

    def __call__(self, batch: Floats) -> Floats:
        count = len(batch)
        with self._torch.inference_mode():
            data = self._torch.from_numpy(batch).to(self._device, self._type)
            data = filled_up(data) if self._compiled else data
            answer = self._network(data)[:count]
            return np.asarray(answer.float().cpu().numpy(), np.float32)


@dataclass(frozen=True, slots=True)
class Networks:
    """Both networks.

    Attributes:
        device: `cpu` or `cuda[:n]`.
        reason: why they were not loaded in the fastest way there is, None if they were.
    """

    matte: Network
    fill: Network
    device: str = "cpu"
    reason: str | None = None

    @property
    def fallback(self) -> str | None:
        """Why they do not run in the fastest way there is; compiled ones may fail at any call."""
        return self.fill.fallback if isinstance(self.fill, TorchNetwork) else self.reason

    @property
    def forms(self) -> tuple[Precision, Precision]:
        """In which form each of them is loaded."""
        return self.matte.precision, self.fill.precision


def load_networks(
    device: str = "cpu",
    *,
    half: bool = False,
    compile: bool = False,  # noqa: A002
    threads: int | None = None,
    forms: tuple[Precision, Precision] | None = None,
) -> Networks:
    """The built-in networks, checked against their digests: ONNX on a CPU, torch on a GPU.

    Args:
        device: `cpu` or `cuda[:n]`.
        half: in half precision, on a GPU.
        compile: on a GPU.
        threads: for one call on a CPU; None leaves it to the runtime.
        forms: in which each is loaded on a CPU; None: what is fastest here.

    Raises:
        ModelError: a file is missing or was changed.
    """
    networks: list[Network] = []
    reason: str | None = None
    wanted = forms or (None, None)
    for name, parts, form in ((MATTE, MATTE_PARTS, wanted[0]), (FILL, FILL_PARTS, wanted[1])):
        sample = np.random.default_rng(0).random((1, sum(parts[0]), *SAMPLE), np.float32)
        if device.startswith("cuda"):
            weights = builtin_weights("safetensors", name)
            network: Network = TorchNetwork(weights, device, half=half, compile=compile)
            warm_up(network, sample)
        else:
            plain = builtin_weights("onnx", name)
            others = [
                integers(builtin_weights("int8", name), threads),
                brain_floats(plain, threads),
            ]
            network, reason = fastest(OnnxNetwork(plain, threads), sample, others, form)
        networks.append(network)
    matte, fill = networks
    return Networks(matte, fill, device, reason)


@dataclass(frozen=True, slots=True)
class _Place:
    """What is known of one place that holds, or held, a mark.

    Attributes:
        mean: of the grids of its latest few frames.
        last: index of the latest frame.
        matte: opacity and tone (10, h, w), 0..1, in the middle of those frames.
        time: that middle, as an index.
    """

    mean: Floats
    last: int
    matte: Floats
    time: float


class SeeThrough:
    """Fills regions in batches, frame after frame. Used by one thread.

    Args:
        networks: see `load_networks`.
        layout: of the clip's pictures.
        stride: of the frames that are filled together, one in so many goes through the fill
            network. What it corrects in one is added to the inversion of the next ones as well:
            that is cheaper, and fills flicker more.
    """

    method = "see-through"
    together = TOGETHER
    context = CONTEXT

    def __init__(self, networks: Networks, layout: PixelLayout, stride: int = 1) -> None:
        self._networks = networks
        self._stride = stride
        self._layout = layout
        self._places: dict[Box, _Place] = {}
        self._blind = DiffusionInpainter("telea")
        self.runtime: str = networks.fill.runtime
        self.precision = networks.fill.precision
        self.forms = networks.forms
        self.device = networks.device
        self.weights_sha256: str | None = networks.fill.sha256

    @property
    def fallback(self) -> str | None:
        """See `Networks`."""
        return self._networks.fallback

    def fill(self, regions: Sequence[Region]) -> list[Patch]:
        """Patches for regions of one or several frames, oldest first, in the same order."""
        places = dict(self._places)

        def filled(box: Box, same: Sequence[Region]) -> list[Patch]:
            before = self._places.get(box)
            if before is not None and before.last + 1 != same[0].index:
                before = None  # a run knows nothing of those before it, so it can be done alone
            patches, places[box] = self._filled(before, same)
            return patches

        patches = in_groups(regions, lambda region: region.hole.box, filled)
        newest = max((region.index for region in regions), default=0)
        # Only now: whoever runs out of memory above is asked again.
        self._places = {box: place for box, place in places.items() if place.last == newest}
        return patches

    def _filled(
        self, before: _Place | None, regions: Sequence[Region]
    ) -> tuple[list[Patch], _Place]:
        """Patches for one place's regions, and what is known of the place after them."""
        grids = np.stack([to_grid(region.planes, self._layout) for region in regions])
        mattes, place = self._mattes(before, regions, grids)
        alpha, tone = mattes[:, :4], mattes[:, 4:]
        base = inverted(grids, alpha, tone)
        keys = range(0, len(grids), self._stride)
        every = slice(None, None, self._stride)
        hole = regions[-1].hole
        batch = _joined([(grids[every], 0.5), (alpha[every], 0), (base[every], 0.5)])
        answers = _asked(self._networks.fill, batch, FILL_PARTS, hole)
        output = _between(keys, answers, range(len(grids)))
        pictures = output[:, :6]
        pictures += base
        np.clip(pictures, 0, 1, out=pictures)
        doubts = np.exp(np.clip(output[:, 6:], -12, 2))
        doubts *= np.float32(255**2)
        left = np.maximum(1 - alpha, np.float32(STEEPEST))
        np.divide(np.float32(NOISE), left, out=left)
        left *= left
        doubts += left
        if _still_there(_on_grid(hole), grids.mean(0), pictures.mean(0)):
            return self._blind.fill(regions), place
        patches = [
            self._patch(region, picture, cover, doubt)
            for region, picture, cover, doubt in zip(regions, pictures, alpha, doubts, strict=True)
        ]
        return patches, place

    def _mattes(
        self, before: _Place | None, regions: Sequence[Region], grids: Floats
    ) -> tuple[Floats, _Place]:
        """Opacity and tone (n, 10, h, w) for each of a place's next frames, and the place after.

        The network tells the matte in the middle of every few frames, from their mean and that of
        a few more; between two such middles it turns from the one into the other.
        """
        starts = range(0, len(grids), MATTE_EVERY)
        parts = [grids[first : first + MATTE_EVERY] for first in starts]
        shorts = np.stack([part.mean(0) for part in parts])
        earlier = np.concatenate([shorts[:1] if before is None else before.mean[None], shorts[:-1]])
        longs = (shorts + earlier) / 2
        inside = np.full((len(parts), 1, *shorts.shape[2:]), -0.5, np.float32)
        hole = regions[-1].hole
        inside[:, 0][:, *_on_grid(hole)] = 0.5
        prior = np.zeros_like(shorts[:, :4])
        batch = _joined([(shorts, 0.5), (longs, 0.5), (inside, 0), (prior, 0)])
        answers = _asked(self._networks.matte, batch, MATTE_PARTS, hole)
        keys = (1 / (1 + np.exp(BIASES - answers))).astype(np.float32)
        times = [
            float(np.mean([region.index for region in regions[first : first + MATTE_EVERY]]))
            for first in starts
        ]
        place = _Place(shorts[-1], regions[-1].index, keys[-1], times[-1])
        if before is not None:
            keys, times = np.concatenate([before.matte[None], keys]), [before.time, *times]
        return _between(times, keys, [region.index for region in regions]), place

    def _patch(self, region: Region, picture: Floats, alpha: Floats, doubt: Floats) -> Patch:
        shape = region.planes[0].shape
        unsure = luma_of(doubt, shape)
        planes = from_grid(picture, region.planes, self._layout)
        cover = luma_of(alpha, shape)
        hidden = region.hole.masks[0] > 0
        covered = ((cover > COVERED) & hidden).astype(np.uint8)
        soft = np.minimum(softened(covered), region.hole.alpha[0])
        # What the matte leaves out of the box may yet be the mark's.
        variance = np.where(hidden, np.maximum(unsure, SUREST), np.float32(KNOWN))
        return Patch(region.hole.box, planes, chroma_alpha(soft, self._layout), variance)


def _on_grid(hole: Hole) -> tuple[slice, slice]:
    """Rows and columns of the half grid that the mark's box touches, and one more all round."""
    x0, y0 = hole.box.x0, hole.box.y0
    mark = hole.mark.grown(2).intersection(hole.box)
    return (
        slice((mark.y0 - y0) // 2, -(-(mark.y1 - y0) // 2)),
        slice((mark.x0 - x0) // 2, -(-(mark.x1 - x0) // 2)),
    )


def inverted(marked: Floats, alpha: Floats, tone: Floats) -> Floats:
    """What must have been under an overlay (n, 6, h, w), 0..1, if its matte is right.

    Args:
        marked: grids (n, 6, h, w), 0..1.
        alpha: opacity (n, 4, h, w) of the luma samples.
        tone: the overlay's colour (n, 6, h, w).
    """
    mean = alpha.mean(1, keepdims=True)
    under = np.empty_like(marked)
    for part, cover in ((slice(0, 4), alpha), (slice(4, 6), mean)):
        shown = under[:, part]
        np.multiply(cover, tone[:, part], out=shown)
        np.subtract(marked[:, part], shown, out=shown)
        shown /= np.maximum(1 - cover, np.float32(STEEPEST))
    return np.clip(under, 0, 1, out=under)


def softened(covered: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The alpha (h, w) of a patch: opaque up to REACH around covered pixels (1), soft beyond."""
    covered = cv2.dilate(covered, np.ones((2 * REACH + 1,) * 2, np.uint8))
    near = covered.copy()
    for disc in DISCS:
        near += cv2.dilate(covered, disc)
    return np.asarray(cv2.LUT(near, EDGE), np.uint16)


def _still_there(box: tuple[slice, slice], before: Floats, after: Floats) -> bool:
    """Whether a plate that fills its box (rows, columns of the grid) has kept its edges.

    The networks do not know every overlay; one that they left standing is better painted over.

    Args:
        box: of the mark.
        before: mean grid (6, h, w) of some frames.
        after: the same, restored.
    """
    kept = 0
    for was, now in zip(_steps(box, before), _steps(box, after), strict=True):
        channel = int(np.abs(was).argmax())
        step = float(was[channel])
        kept += abs(step) > PLATE / 255 and float(now[channel]) / step > KEPT
    return kept >= SIDES


def _steps(box: tuple[slice, slice], grid: Floats) -> list[Floats]:
    """The mean step (6), -1..1, into a box at each of its sides; none where the grid ends."""
    rows, columns = box
    sides: list[Floats] = []
    for turned, (first, last), along in (
        (grid, (rows.start, rows.stop), columns),
        (grid.transpose(0, 2, 1), (columns.start, columns.stop), rows),
    ):
        lines = turned[:, :, along].mean(2)
        for inner, outer in (
            (slice(first + 3, first + 5), slice(max(0, first - 2), first)),
            (slice(last - 5, last - 3), slice(last, last + 2)),
        ):
            if lines[:, outer].shape[1] and lines[:, inner].shape[1]:
                sides.append(lines[:, inner].mean(1) - lines[:, outer].mean(1))
            else:
                sides.append(np.zeros(len(grid), np.float32))
    return sides


def _between(times: Sequence[float], keys: Floats, wanted: Sequence[float]) -> Floats:
    """Keys (k, ...) known at `times`, at the times wanted: linear between, held outside."""
    at = np.interp(wanted, times, np.arange(len(times)))
    out = np.empty((len(at), *keys.shape[1:]), np.float32)
    for place, one in zip(at, out, strict=True):
        low = int(place)
        if place == low:
            one[...] = keys[low]
        else:
            np.subtract(keys[low + 1], keys[low], out=one)
            one *= np.float32(place - low)
            one += keys[low]
    return out


def _joined(parts: Sequence[tuple[Floats, float]]) -> Floats:
    """A network's input from its parts (n, c, h, w), each less what stands beside it."""
    first = parts[0][0]
    channels = sum(part.shape[1] for part, _ in parts)
    batch = np.empty((len(first), channels, *first.shape[2:]), np.float32)
    at = 0
    for part, less in parts:
        np.subtract(part, np.float32(less), out=batch[:, at : at + part.shape[1]])
        at += part.shape[1]
    return batch


def _asked(network: Network, batch: Floats, parts: Parts, hole: Hole) -> Floats:
    """The network's answer to a batch, asked at a smaller size if the hole's mark is tall."""
    shrunk = hole.mark.height / TALL
    if shrunk <= 1:
        return _whole(network, batch)
    high, wide = batch.shape[2:]
    small = _resized(batch, parts[0], round(high / shrunk), round(wide / shrunk))
    return _resized(_whole(network, small), parts[1], high, wide)


def _resized(batch: Floats, parts: Sequence[int], high: int, wide: int) -> Floats:
    """A batch of grids (n, c, ...) in another size; parts of four channels are folded planes."""
    how = cv2.INTER_AREA if high < batch.shape[2] else cv2.INTER_LINEAR
    out = np.empty((len(batch), batch.shape[1], high, wide), np.float32)
    for source, target in zip(batch, out, strict=True):
        first = 0
        for count in parts:
            if count == 4:
                luma = luma_of(
                    source[first : first + 4], (2 * source.shape[1], 2 * source.shape[2])
                )
                whole = cv2.resize(luma, (2 * wide, 2 * high), interpolation=how)
                fold(np.asarray(whole, np.float32), target[first : first + 4])
            else:
                for channel in range(first, first + count):
                    target[channel] = cv2.resize(source[channel], (wide, high), interpolation=how)
            first += count
    return out


def _whole(network: Network, batch: Floats) -> Floats:
    """The network's answer to a batch whose sides need not fit it."""
    high, wide = batch.shape[2:]
    down, across = -high % MODULO, -wide % MODULO
    if down or across:
        batch = np.pad(batch, [(0, 0), (0, 0), (0, down), (0, across)], "edge")
    return network(batch)[:, :, :high, :wide]
