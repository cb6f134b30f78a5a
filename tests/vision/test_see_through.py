from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import resources

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sorawm_pipeline.media.frame import Box, Plane
from sorawm_pipeline.media.patch import OPAQUE
from sorawm_pipeline.media.planes import layout_of
from sorawm_pipeline.vision.compiling import CACHE
from sorawm_pipeline.vision.cpu_networks import OnnxNetwork, Precision
from sorawm_pipeline.vision.propagate import KNOWN
from sorawm_pipeline.vision.restore import Hole, Region, plain_inpainter
from sorawm_pipeline.vision.see_through import (
    FILL,
    MATTE,
    REACH,
    SOFT,
    Networks,
    SeeThrough,
    TorchNetwork,
    load_networks,
    softened,
)
from sorawm_pipeline.vision.weights import builtin_weights

Floats = NDArray[np.float32]
YUV = layout_of("yuv420p")
MARK = Box(40, 30, 120, 62)
OPACITY, WHITE = 0.7, 235


class Told:
    """A network that answers what it is told, whatever it sees."""

    runtime = "onnxruntime"
    precision: Precision = "fp32"
    sha256 = "0" * 64

    def __init__(self, answer: Floats, failures: int = 0) -> None:
        self.answer = answer
        self.failures = failures
        self.batches: list[int] = []
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, batch: Floats) -> Floats:
        if self.failures:
            self.failures -= 1
            raise MemoryError
        self.batches.append(len(batch))
        wanted = (len(batch), 10, *batch.shape[2:])
        answer = np.zeros(wanted, np.float32)
        known = self.answer[:, : batch.shape[2], : batch.shape[3]]
        answer[:, :, : known.shape[1], : known.shape[2]] = known
        self.sizes.append((batch.shape[2], batch.shape[3]))
        return answer


def logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def hole(others: tuple[Box, ...] = ()) -> Hole:
    return Hole(MARK, None, others, 8, 200, 120, YUV)


def told(here: Hole, failures: int = 0) -> tuple[Networks, Told]:
    """Networks that know the overlay of `marked`, and add nothing to the inversion."""
    high, wide = here.box.height // 2, here.box.width // 2
    matte = np.zeros((10, high, wide), np.float32)
    matte[:4] = -20
    inner = Box(
        *(
            (v - o) // 2
            for v, o in zip(MARK.as_tuple(), (here.box.x0, here.box.y0) * 2, strict=True)
        )
    )
    matte[:4, inner.y0 : inner.y1, inner.x0 : inner.x1] = logit(OPACITY) + 2
    matte[4:8] = logit(WHITE / 255)
    matte[8:] = logit(128 / 255)
    sure = np.zeros((10, high, wide), np.float32)
    sure[6:] = -8  # logarithm of the variance
    fill = Told(sure, failures)
    return Networks(Told(matte), fill), fill


def scene(index: int) -> tuple[Plane, ...]:
    random = np.random.default_rng(index // 100)
    luma = cv2.resize(random.uniform(30, 200, (9, 15)).astype(np.float32), (200, 120))
    luma = np.roll(luma, index, 1)
    chroma = np.full((60, 100), 128, np.uint8)
    return np.rint(luma).astype(np.uint8), chroma, chroma + np.uint8(9)


def marked(planes: tuple[Plane, ...], opacity: float = OPACITY) -> tuple[Plane, ...]:
    tones = (WHITE, 128, 128)
    out = []
    for index, plane in enumerate(planes):
        area = YUV.plane_box(MARK, index)
        over = plane.astype(np.float32)
        at = np.s_[area.y0 : area.y1, area.x0 : area.x1]
        over[at] = over[at] * (1 - opacity) + tones[index] * opacity
        out.append(np.rint(over).astype(np.uint8))
    return tuple(out)


def region(index: int, here: Hole, planes: tuple[Plane, ...]) -> Region:
    cuts = []
    for number, plane in enumerate(planes):
        area = YUV.plane_box(here.box, number)
        cuts.append(plane[area.y0 : area.y1, area.x0 : area.x1].copy())
    return Region(index, here, tuple(cuts))


def test_with_the_right_matte_the_overlay_is_inverted() -> None:
    here = hole()
    networks, _ = told(here)
    regions = [region(number, here, marked(scene(number))) for number in range(5)]
    for number, patch in enumerate(SeeThrough(networks, YUV, stride=2).fill(regions)):
        truth = region(number, here, scene(number))
        for new, old in zip(patch.planes, truth.planes, strict=True):
            assert np.abs(new.astype(int) - old.astype(int)).max() <= 2
        assert patch.box == here.box
        assert patch.variance is not None
        inside = MARK.within(here.box)
        assert (patch.alpha[0][inside] == OPAQUE).all()
        assert (patch.variance[inside] > KNOWN).all()
        assert (patch.variance[:4] == KNOWN).all()
        assert (patch.alpha[0][:4] == 0).all()


def test_regions_of_several_places_keep_their_order() -> None:
    here = hole()
    there = Hole(Box(60, 70, 140, 102), None, (), 8, 200, 120, YUV)
    networks, fill = told(here)
    regions = [region(n // 2, (here, there)[n % 2], marked(scene(n // 2))) for n in range(6)]
    patches = SeeThrough(networks, YUV).fill(regions)
    assert [patch.box for patch in patches] == [r.hole.box for r in regions]
    assert sorted(fill.batches) == [3, 3], "each place by itself"


def test_asked_again_after_a_shortage_it_answers_the_same() -> None:
    here = hole()
    regions = [region(number, here, marked(scene(number))) for number in range(4)]
    smooth, short = SeeThrough(told(here)[0], YUV), SeeThrough(told(here, failures=1)[0], YUV)
    with pytest.raises(MemoryError):
        short.fill(regions)
    for one, two in zip(smooth.fill(regions), short.fill(regions), strict=True):
        assert np.array_equal(one.planes[0], two.planes[0])
    assert short._places.keys() == smooth._places.keys()


def test_another_mark_is_not_taken_for_known() -> None:
    other = Box(40, 66, 120, 78)
    here = hole((other,))
    patch = SeeThrough(told(here)[0], YUV).fill([region(0, here, marked(scene(0)))])[0]
    assert patch.variance is not None
    shared = other.intersection(here.box)
    assert (patch.variance[shared.within(here.box)] > KNOWN).all()


def test_places_without_a_mark_are_forgotten() -> None:
    here = hole()
    see_through = SeeThrough(told(here)[0], YUV)
    see_through.fill([region(0, here, marked(scene(0)))])
    there = Hole(Box(60, 70, 140, 102), None, (), 8, 200, 120, YUV)
    see_through.fill([region(1000, there, marked(scene(0)))])
    assert list(see_through._places) == [there.box]


@pytest.mark.parametrize("name", [MATTE, FILL])
def test_both_runtimes_give_the_same(name: str) -> None:
    onnx = OnnxNetwork(builtin_weights("onnx", name), threads=1)
    torch = TorchNetwork(builtin_weights("safetensors", name), "cpu", half=True, compile=False)
    channels = {MATTE: 17, FILL: 16}[name]
    batch = np.random.default_rng(3).uniform(-0.5, 0.5, (2, channels, 24, 44)).astype(np.float32)
    assert np.abs(onnx(batch) - torch(batch)).max() < 1e-3
    assert onnx(batch).shape == (2, 10, 24, 44)


def test_the_networks_are_small_and_pinned() -> None:
    folder = resources.files("sorawm_pipeline.models")
    models = json.loads(folder.joinpath("models.json").read_text())["models"]
    for name in (MATTE, FILL):
        for file in models[name]["files"].values():
            assert file["bytes"] < 10_000_000
        assert builtin_weights("onnx", name).sha256 == models[name]["files"]["onnx"]["sha256"]


def drawn() -> Floats:
    """The opacity (120, 200) of a badge and a word."""
    alpha = np.zeros((120, 200), np.uint8)
    cv2.circle(alpha, (54, 46), 14, 255, -1, cv2.LINE_AA)
    cv2.putText(alpha, "Mark", (72, 54), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 3, cv2.LINE_AA)
    return alpha.astype(np.float32) * np.float32(OPACITY / 255)


def test_the_built_in_networks_see_more_than_a_blind_fill() -> None:
    here, alpha = hole(), drawn()
    regions = []
    for number in range(8):
        luma, *chroma = scene(number)
        over = np.rint(luma * (1 - alpha) + WHITE * alpha).astype(np.uint8)
        regions.append(region(number, here, (over, *chroma)))
    truth = np.stack([region(n, here, scene(n)).planes[0] for n in range(8)])
    box = here.box
    covered = alpha[box.y0 : box.y1, box.x0 : box.x1] > 0.02
    blind = plain_inpainter("telea")
    assert blind is not None
    errors = {}
    networks = load_networks(threads=1)
    for name, inpainter in (("blind", blind), ("see-through", SeeThrough(networks, YUV))):
        filled = np.stack([patch.planes[0] for patch in inpainter.fill(regions)])
        errors[name] = float(np.mean((filled.astype(float) - truth)[:, covered] ** 2))
    assert errors["see-through"] < 0.5 * errors["blind"]


def test_networks_that_cannot_be_compiled_run_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def compiled(network: torch.nn.Module, **_: object) -> Callable[..., torch.Tensor]:
        def call(*_: object) -> torch.Tensor:
            raise RuntimeError("no compiler")

        return call

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setenv(CACHE, "unused")
    weights = builtin_weights("safetensors", FILL)
    sample = np.full((3, 16, 24, 44), 0.5, np.float32)
    network = TorchNetwork(weights, "cpu", half=False, compile=True)
    plain = TorchNetwork(weights, "cpu", half=False, compile=False)
    assert np.allclose(network(sample), plain(sample), atol=1e-5)
    assert network.fallback == "it cannot be compiled (RuntimeError: no compiler)"
    assert plain.fallback is None
    networks = Networks(plain, network)
    assert SeeThrough(networks, YUV).fallback == network.fallback


def plate(alpha: float) -> list[Region]:
    """An overlay that fills its box, over a scene that is dark there."""
    here = hole()
    return [region(n, here, marked((scene(n)[0] // 3, *scene(n)[1:]), alpha)) for n in range(4)]


def test_a_plate_that_the_networks_leave_standing_is_painted_over() -> None:
    here = hole()
    blank = np.zeros((10, here.box.height // 2, here.box.width // 2), np.float32)
    blank[:4], blank[6:] = -20, -8
    blind = Networks(Told(blank), told(here)[0].fill)
    patches = SeeThrough(blind, YUV).fill(plate(1.0))
    inside = MARK.within(here.box)
    for patch in patches:
        assert patch.planes[0][inside].max() < 120
        assert (patch.alpha[0][inside] == OPAQUE).all()


def test_a_tall_mark_is_shown_to_the_networks_at_a_smaller_size() -> None:
    tall = Hole(Box(40, 10, 180, 106), None, (), 0, 200, 120, YUV)
    networks, fill = told(hole())
    SeeThrough(networks, YUV).fill([region(0, tall, scene(0))])
    assert isinstance(networks.matte, Told)
    for network in (networks.matte, fill):
        ((high, wide),) = network.sizes
        assert high < 0.8 * tall.box.height / 2
        assert wide < 0.8 * tall.box.width / 2


def test_a_matte_turns_from_the_one_before_into_the_next() -> None:
    here = hole()
    networks, _ = told(here)
    assert isinstance(networks.matte, Told)
    regions = [region(n, here, marked(scene(0))) for n in range(8)]
    going, fresh = SeeThrough(networks, YUV), SeeThrough(networks, YUV)
    going.fill(regions[:4])
    networks.matte.answer = networks.matte.answer - 0.2
    after, alone = (each.fill(regions[4:])[0].planes[0] for each in (going, fresh))
    inside = MARK.within(here.box)
    assert after[inside].mean() < alone[inside].mean() - 1, "more is still taken off"


def test_the_less_light_comes_through_the_less_a_fill_is_believed() -> None:
    here = hole()
    inside = MARK.grown(-4).within(here.box)
    variances = []
    for opacity in (0.3, 0.7, 0.9):
        networks, _ = told(here)
        assert isinstance(networks.matte, Told)
        solid = networks.matte.answer[:4] > 0
        networks.matte.answer[:4][solid] = logit(opacity) + 2
        patch = SeeThrough(networks, YUV).fill([region(0, here, marked(scene(0), opacity))])[0]
        assert patch.variance is not None
        variances.append(float(patch.variance[inside].mean()))
    assert variances == pytest.approx(
        [variances[0], variances[0] * (0.7 / 0.3) ** 2, variances[0] * (0.7 / 0.1) ** 2], rel=0.3
    )


def test_between_key_frames_a_frame_keeps_its_own_light() -> None:
    here = hole()
    networks, fill = told(here)
    fill.answer[:4] += np.float32(20 / 255)
    regions = [region(number, here, marked(scene(number))) for number in range(6)]
    inside = MARK.grown(-4).within(here.box)
    for number, patch in enumerate(SeeThrough(networks, YUV, stride=2).fill(regions)):
        truth = region(number, here, scene(number)).planes[0][inside].astype(float)
        assert np.abs(patch.planes[0][inside] - truth - 20).mean() < 3
    assert fill.batches == [3]


def test_groups_that_come_at_once_are_filled_as_one_by_one() -> None:
    here = hole()
    networks, fill = told(here)

    class Light(Told):
        def __call__(self, batch: Floats) -> Floats:
            light = np.asarray(batch.mean((1, 2, 3), keepdims=True), np.float32)
            return super().__call__(batch) + light

    networks = replace(networks, fill=Light(fill.answer))
    regions = [region(number, here, marked(scene(3 * number))) for number in range(16)]
    at_once, one_by_one = (SeeThrough(networks, YUV, stride=3) for _ in range(2))
    whole = at_once.fill(regions)
    parts = one_by_one.fill(regions[:8]) + one_by_one.fill(regions[8:])
    for patch, other in zip(whole, parts, strict=True):
        assert all(map(np.array_equal, patch.planes, other.planes))


def test_a_correction_turns_from_the_one_before_into_the_next() -> None:
    here = hole()
    networks, fill = told(here)
    regions = [region(number, here, marked(scene(0))) for number in range(8)]
    inside = MARK.grown(-4).within(here.box)
    through = SeeThrough(networks, YUV, stride=4)
    before = through.fill(regions[:4])[-1].planes[0][inside].mean()
    fill.answer[:4] += np.float32(20 / 255)
    after = [patch.planes[0][inside].mean() for patch in through.fill(regions[4:])]
    assert np.diff([before, *after]) == pytest.approx([5] * 4, abs=0.5)
    assert fill.batches == [1, 1], "the last frame of each group"


@given(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.integers(0, 1)
    )
)
def test_the_edge_of_what_is_replaced_softens_with_the_distance(covered: NDArray[np.uint8]) -> None:
    near = cv2.dilate(covered, np.ones((2 * REACH + 1,) * 2, np.uint8))
    distance = cv2.distanceTransform(1 - near, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    soft = np.rint(np.clip(1 - distance / SOFT, 0, 1) * OPAQUE)
    assert (softened(covered) == soft).all()
