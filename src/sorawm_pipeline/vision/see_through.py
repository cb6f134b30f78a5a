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
from statistics import fmean
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

Item = Sequence[tuple[Floats, float]]
"""Channels (c, h, w), the first not broadcast, each with what it is less in a network's input."""

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
class _Matte:
    """What was told of a place's latest few frames.

    Attributes:
        mean: of their grids.
        key: opacity and tone (10, h, w), 0..1, in the middle of them.
        time: that middle, as an index.
    """

    mean: Floats
    key: Floats
    time: float


@dataclass(frozen=True, slots=True)
class _Place:
    """What is known of one place that holds, or held, a mark.

    Attributes:
        matte: of its latest few frames.
        fill: what the fill network answered (10, h, w) for the latest frame.
        last: index of the latest frame.
    """

    matte: _Matte
    fill: Floats
    last: int


class SeeThrough:
    """Fills regions in batches, frame after frame. Used by one thread.

    Args:
        networks: see `load_networks`.
        layout: of the clip's pictures.
        stride: of the frames that are filled together, one in so many goes through the fill
            network, and the last of them. From one of these to the next, also to the first of the
            next frames, what it corrects turns from the one into the other: that is cheaper.
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
        # Frame by frame, for what one frame takes stays in a core's own cache.
        grids = [to_grid(region.planes, self._layout) for region in regions]
        frames = [region.index for region in regions]
        hole = regions[-1].hole
        covers, matte = self._mattes(before.matte if before else None, frames, hole, grids)
        bases = [inverted(grid, cover) for grid, cover in zip(grids, covers, strict=True)]
        some = _key_frames(len(frames), self._stride)
        asked = [((grids[at], 0.5), (covers[at][:4], 0.0), (bases[at], 0.5)) for at in some]
        times = [frames[at] for at in some]
        keys = list(_asked(self._networks.fill, asked, FILL_PARTS, hole))
        place = _Place(matte, keys[-1], frames[-1])
        if before is not None:
            times, keys = [before.last, *times], [before.fill, *keys]
        told = _between(times, keys, frames)
        for base, one in zip(bases, told, strict=True):
            base += one[:6]
            np.clip(base, 0, 1, out=base)
        latest = bases[(len(bases) - 1) // MATTE_EVERY * MATTE_EVERY :]
        if _still_there(_on_grid(hole), matte.mean, latest):
            return self._blind.fill(regions), place
        variances = [_variance(one[6:], cover[:4]) for one, cover in zip(told, covers, strict=True)]
        return self._patches(regions, bases, covers, variances), place

    def _mattes(
        self, before: _Matte | None, frames: Sequence[int], hole: Hole, grids: Sequence[Floats]
    ) -> tuple[list[Floats], _Matte]:
        """Opacity and tone (10, h, w) for each of a place's next frames, and the latest matte.

        The network tells the matte in the middle of every few frames, from their mean and that of
        a few more; between two such middles it turns from the one into the other.
        """
        starts = range(0, len(grids), MATTE_EVERY)
        means = [_mean(grids[first : first + MATTE_EVERY]) for first in starts]
        earlier = [means[0] if before is None else before.mean, *means[:-1]]
        inside = np.full((1, *means[0].shape[1:]), -0.5, np.float32)
        inside[0, *_on_grid(hole)] = 0.5
        prior = np.zeros((4, 1, 1), np.float32)
        asked = [
            ((short, 0.5), (_mean([short, long]), 0.5), (inside, 0.0), (prior, 0.0))
            for short, long in zip(means, earlier, strict=True)
        ]
        answers = _asked(self._networks.matte, asked, MATTE_PARTS, hole)
        keys = list((1 / (1 + np.exp(BIASES - answers))).astype(np.float32))
        times = [fmean(frames[first : first + MATTE_EVERY]) for first in starts]
        latest = _Matte(means[-1], keys[-1], times[-1])
        if before is not None:
            times, keys = [before.time, *times], [before.key, *keys]
        return _between(times, keys, frames), latest

    def _patches(
        self,
        regions: Sequence[Region],
        pictures: Sequence[Floats],
        covers: Sequence[Floats],
        variances: Sequence[Floats],
    ) -> list[Patch]:
        """Patches of one place from grids (6, 4 or more, and 4 channels) for each region."""
        softs = _soft([region.hole.hidden for region in regions], covers)
        patches = []
        for region, picture, variance, soft in zip(
            regions, pictures, variances, softs, strict=True
        ):
            hole = region.hole
            planes = from_grid(picture, region.planes, self._layout)
            alpha = chroma_alpha(np.minimum(soft, hole.alpha[0]), self._layout)
            # What the matte leaves out of the box may yet be the mark's.
            unsure = np.where(hole.hidden, luma_of(variance, soft.shape), np.float32(KNOWN))
            patches.append(Patch(hole.box, planes, alpha, unsure))
        return patches


def _key_frames(count: int, stride: int) -> list[int]:
    """Of so many frames those that the fill network sees: of each group the last, and back from it.

    Several groups at once give what each of them gives by itself.
    """
    groups = (range(first, min(first + TOGETHER, count)) for first in range(0, count, TOGETHER))
    return [at for group in groups for at in group[(len(group) - 1) % stride :: stride]]


def _mean(grids: Sequence[Floats]) -> Floats:
    total = grids[0].copy()
    for grid in grids[1:]:
        total += grid
    total /= np.float32(len(grids))
    return total


def _variance(told: Floats, alpha: Floats) -> Floats:
    """How far covered samples may be off (4, h, w), in squared 8-bit steps.

    Args:
        told: logarithms of the variances (4, h, w), of samples 0..1, by the fill network.
        alpha: opacity (4, h, w).
    """
    variance = np.clip(told, -12, 2)
    np.exp(variance, out=variance)
    variance *= np.float32(255**2)
    noise = 1 - alpha
    np.maximum(noise, np.float32(STEEPEST), out=noise)
    np.divide(np.float32(NOISE), noise, out=noise)
    noise *= noise
    variance += noise
    return np.maximum(variance, np.float32(SUREST), out=variance)


def _soft(hidden: Sequence[NDArray[np.bool_]], covers: Sequence[Floats]) -> NDArray[np.uint16]:
    """The alpha of a place's patches (n, h, w): soft around what is covered and `hidden`.

    Args:
        hidden: (h, w) for each patch.
        covers: grids for each patch, opacity first.
    """
    high, wide = hidden[0].shape
    # One below the other, out of each other's reach: a call takes longer than its pixels do.
    below = np.zeros((len(covers), high + REACH + SOFT, wide), np.uint8)
    for one, cover, inside in zip(below, covers, hidden, strict=True):
        covered = luma_of(cover[:4] > COVERED, inside.shape)
        np.logical_and(covered, inside, out=one[:high], casting="unsafe")
    return softened(below.reshape(-1, wide)).reshape(below.shape)[:, :high]


def _on_grid(hole: Hole) -> tuple[slice, slice]:
    """Rows and columns of the half grid that the mark's box touches, and one more all round."""
    x0, y0 = hole.box.x0, hole.box.y0
    mark = hole.mark.grown(2).intersection(hole.box)
    return (
        slice((mark.y0 - y0) // 2, -(-(mark.y1 - y0) // 2)),
        slice((mark.x0 - x0) // 2, -(-(mark.x1 - x0) // 2)),
    )


def inverted(marked: Floats, matte: Floats) -> Floats:
    """What must have been under an overlay (6, h, w), 0..1, if its matte is right.

    Args:
        marked: grid (6, h, w), 0..1.
        matte: opacity of the four luma samples and the overlay's colour (10, h, w).
    """
    alpha, tone = matte[:4], matte[4:]
    mean = alpha.mean(0, keepdims=True)
    under = np.empty_like(marked)
    for part, cover in ((slice(0, 4), alpha), (slice(4, 6), mean)):
        shown = under[part]
        np.multiply(cover, tone[part], out=shown)
        np.subtract(marked[part], shown, out=shown)
        left = 1 - cover
        shown /= np.maximum(left, np.float32(STEEPEST), out=left)
    return np.clip(under, 0, 1, out=under)


def softened(covered: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The alpha (h, w) of a patch: opaque up to REACH around covered pixels (1), soft beyond."""
    covered = cv2.dilate(covered, np.ones((2 * REACH + 1,) * 2, np.uint8))
    near = covered.copy()
    for disc in DISCS:
        near += cv2.dilate(covered, disc)
    return np.asarray(cv2.LUT(near, EDGE), np.uint16)


def _still_there(box: tuple[slice, slice], before: Floats, after: Sequence[Floats]) -> bool:
    """Whether a plate that fills its box (rows, columns of the grid) has kept its edges.

    The networks do not know every overlay; one that they left standing is better painted over.

    Args:
        box: of the mark.
        before: mean grid (6, h, w) of some frames.
        after: grids of the same, restored.
    """
    steps = _steps(box, before)
    plain = [float(np.abs(step).max()) > PLATE / 255 for step in steps]
    if sum(plain) < SIDES:
        return False
    kept = 0
    for was, now, one in zip(steps, _steps(box, _mean(after)), plain, strict=True):
        channel = int(np.abs(was).argmax())
        kept += one and float(now[channel]) / float(was[channel]) > KEPT
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


def _between(
    times: Sequence[float], keys: Sequence[Floats], wanted: Sequence[float]
) -> list[Floats]:
    """Keys known at `times`, at the times wanted: linear between, held outside."""
    out = []
    for place in np.interp(wanted, times, np.arange(len(times))):
        low = int(place)
        one = keys[low]
        if place > low:
            one = keys[low + 1] - one
            one *= np.float32(place - low)
            one += keys[low]
        out.append(one)
    return out


def _joined(items: Sequence[Item]) -> Floats:
    """A network's input: of each item the parts one behind the other, less what stands beside.

    Sides that the network does not take end in the same again.
    """
    first = items[0][0][0]
    high, wide = first.shape[1:]
    fitting = high + -high % MODULO, wide + -wide % MODULO
    batch = np.empty((len(items), sum(len(part) for part, _ in items[0]), *fitting), np.float32)
    for target, item in zip(batch, items, strict=True):
        at = 0
        for part, less in item:
            np.subtract(part, np.float32(less), out=target[at : at + len(part), :high, :wide])
            at += len(part)
    batch[:, :, high:, :wide] = batch[:, :, high - 1 : high, :wide]
    batch[:, :, :, wide:] = batch[:, :, :, wide - 1 : wide]
    return batch


def _asked(network: Network, items: Sequence[Item], parts: Parts, hole: Hole) -> Floats:
    """The network's answer to a batch, asked at a smaller size if the hole's mark is tall.

    Args:
        network: takes sides that are multiples of MODULO.
        items: of the batch.
        parts: channels of batch and answer that belong together.
        hole: of all of the batch.
    """
    high, wide = items[0][0][0].shape[1:]
    batch = _joined(items)
    shrunk = hole.mark.height / TALL
    if shrunk <= 1:
        return network(batch)[:, :, :high, :wide]
    batch = batch[:, :, :high, :wide]
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
