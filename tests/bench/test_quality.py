"""The bench's figures: what they must say of results that are known to be good, bad or frozen."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn import Kind, Look, logo, time_stamp
from figures import Outline, Truth, psnr
from footage import Footage, footage
from marked_runs import Run, tracks
from numpy.typing import NDArray
from pictures import Planes, boxed, cut, packed, planes
from scenes import cuts_in, laid
from tables import markdown

from sorawm_pipeline.media.frame import Box

Pixels = NDArray[np.uint8]
SIZE = (96, 64)
FRAMES = 6


def texture(seed: int, height: int, width: int) -> Pixels:
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width)).astype(np.float32)
    return np.asarray(np.clip(cv2.GaussianBlur(noise, (0, 0), 2) * 5 - 500, 0, 255), np.uint8)


def moving(speed: int = 2) -> Planes:
    """A texture that goes left by `speed` pixels a frame."""
    wide = texture(0, SIZE[1], SIZE[0] + speed * FRAMES)
    luma = np.stack([wide[:, speed * i : speed * i + SIZE[0]] for i in range(FRAMES)])
    return luma, luma[:, ::2, ::2].copy(), luma[:, 1::2, 1::2].copy()


def prepared(scene: Planes, cuts: tuple[int, ...] = ()) -> Truth:
    inside = np.zeros(scene[0].shape, np.bool_)
    inside[:, 24:40, 30:66] = True
    patch = np.zeros(inside.shape[1:], np.bool_)
    patch[16:48, 22:74] = True
    return Truth.of(scene, scene[0], inside, patch, cuts)


def copied(scene: Planes) -> Planes:
    return scene[0].copy(), scene[1].copy(), scene[2].copy()


def test_the_truth_itself_is_perfect() -> None:
    scene = moving()
    found = prepared(scene).judged(copied(scene)).figures()
    assert found["psnr_inside"] == found["psnr_inside_yuv"] == 99
    assert found["ssim_inside"] == pytest.approx(1, abs=1e-4)
    for ratio in ("seam", "seam_patch", "flicker", "flicker_floor"):
        assert found[ratio] == pytest.approx(1)


def test_errors_are_pooled_over_frames_and_count_only_inside() -> None:
    scene = moving()
    result = copied(scene)
    result[0][0, 24:40, 30:66] ^= 1  # off by one in one frame of six
    result[0][:, :10] = 0  # outside of the mask
    result[1][:] ^= 4  # one chroma plane, everywhere
    found = prepared(scene).judged(result).figures()
    assert found["psnr_inside"] == pytest.approx(10 * np.log10(255**2 * FRAMES))
    u = 10 * np.log10(255**2 / 16)
    assert found["psnr_inside_yuv"] == pytest.approx((6 * found["psnr_inside"] + u + 99) / 8)


def test_a_frozen_fill_does_not_flicker_and_a_noisy_one_does() -> None:
    still = texture(1, SIZE[1], SIZE[0])
    grain = np.random.default_rng(2).normal(0, 6, (FRAMES, SIZE[1], SIZE[0]))
    luma = np.clip(still + grain, 0, 255).astype(np.uint8)
    scene = luma, luma[:, ::2, ::2].copy(), luma[:, ::2, ::2].copy()
    truth = prepared(scene)
    frozen = copied(scene)
    frozen[0][:, 24:40, 30:66] = still[24:40, 30:66]
    assert truth.judged(frozen).figures()["flicker"] < 0.6
    noisy = copied(scene)
    noisy[0][::2, 24:40, 30:66] = np.clip(luma[::2, 24:40, 30:66].astype(int) + 30, 0, 255)
    assert truth.judged(noisy).figures()["flicker"] > 1.5


def test_flicker_follows_the_motion_of_the_truth() -> None:
    scene = moving()
    stuck = copied(scene)
    stuck[0][:, 24:40, 30:66] = scene[0][0, 24:40, 30:66]  # stands still where all else moves
    assert prepared(scene).judged(stuck).figures()["flicker"] > 2


def test_a_cut_is_not_flicker() -> None:
    scene = moving()
    scene[0][3:] = texture(5, SIZE[1], SIZE[0])
    assert prepared(scene, (3,)).places[3] is None
    assert prepared(scene).places[3] is not None
    assert cuts_in(np.concatenate([np.repeat(scene[0][:1], 8, 0), scene[0][3:]])) == [8]
    assert cuts_in(moving(8)[0]) == []  # fast, but all of it is


def test_a_blurred_seam_is_below_one_and_a_step_above() -> None:
    scene = moving()
    truth = prepared(scene)
    blurred = copied(scene)
    for picture in blurred[0]:
        picture[...] = cv2.GaussianBlur(picture, (0, 0), 4)
    assert truth.judged(blurred).figures()["seam"] < 0.7
    stepped = copied(scene)
    stepped[0][:, 24:40, 30:66] = np.clip(scene[0][:, 24:40, 30:66].astype(int) + 80, 0, 255)
    found = truth.judged(stepped).figures()
    assert found["seam"] > 1.2
    assert found["seam_patch"] == pytest.approx(1)


def test_a_ramp_is_as_steep_as_it_is_across_the_edge_and_flat_along_it() -> None:
    inside = np.zeros((40, 40), np.bool_)
    inside[:, 20:] = True
    outline = Outline.of(inside, (-2, 2))
    assert outline.band.sum() == 4 * 40
    ramp = np.tile(np.arange(40, dtype=np.uint8) * 3, (40, 1))
    assert outline.steepness(ramp) == pytest.approx(3 * 4 * 40, rel=0.01)
    assert outline.steepness(ramp.T.copy()) == pytest.approx(0, abs=1)


def test_a_result_of_the_first_frames_only_is_compared_with_those() -> None:
    scene = moving()
    sums = prepared(scene).judged((scene[0][:2], scene[1][:2], scene[2][:2]))
    assert sums.samples[0] == 2 * 16 * 36
    assert sums.figures()["psnr_inside"] == 99


def test_psnr_of_nothing_wrong_is_finite() -> None:
    assert psnr(0, 100) == 99
    assert psnr(100 * 255**2, 100) == 0


@pytest.mark.parametrize("kind", ["opaque", "translucent", "time", "bar"])
def test_a_laid_mark_changes_what_is_under_it_and_comes_off_again(
    kind: Kind, tmp_path: Path
) -> None:
    size = 320, 240
    (run,) = tracks(Look(kind), Path("none"), size, 2, 0)
    run.save(tmp_path / "run.npz")
    run = Run.load(tmp_path / "run.npz")
    truth = np.full((2, 360, 320), 90, np.uint8)
    marked = np.stack(list(laid(truth, size, [run])))
    assert run.box.intersection(run.given) == run.box
    for plane, clean in zip(planes(marked, size), planes(truth, size), strict=True):
        outside = plane != clean
        step = size[0] // plane.shape[2]
        box = run.box.aligned(2, 2)
        outside[:, box.y0 // step : box.y1 // step, box.x0 // step : box.x1 // step] = False
        assert not outside.any()
    luma = cut(marked, size, run.region, run.frames)[0]
    alpha, colour = run.layer(0, 1)
    clear = alpha < 0.6
    light = (luma[1] - alpha * colour)[clear] / (1 - alpha[clear])
    assert np.abs(light - 90).max() <= 1.5
    assert np.abs(luma[run.visible].astype(int) - 90).max() > 20


def test_a_logo_is_opaque_or_half_so_and_a_time_stamp_runs() -> None:
    assert logo(Look("opaque"), 400)[0].max() == 255
    assert 125 <= logo(Look("translucent"), 400)[0].max() <= 130
    assert (time_stamp(Look("time"), 400, 0)[0] != time_stamp(Look("time"), 400, 7)[0]).any()


def test_crops_of_planes_fit_together_again() -> None:
    pictures = np.random.default_rng(3).integers(0, 256, (2, 96, 96)).astype(np.uint8)
    box = Box(10, 4, 30, 20)
    crop = cut(pictures, (96, 64), box, slice(1, 2))
    assert (crop[0][0] == pictures[1, 4:20, 10:30]).all()
    u, v = pictures[1].ravel()[64 * 96 :].reshape(2, 32, 48)[:, 2:10, 5:15]
    assert (crop[1][0] == u).all()
    assert (crop[2][0] == v).all()
    again = boxed(planes(packed(crop)[None], (20, 16)), box, box)
    assert all((a == b).all() for a, b in zip(again, crop, strict=True))


def test_a_still_camera_stands_still_and_a_pan_moves(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), texture(4, 120, 160))
    still, pan = (
        list(footage(Footage("photo.png", camera, noise=0), tmp_path, (64, 48), 3))
        for camera in ("still", "pan")
    )
    assert (still[0] == still[2]).all()
    shift, _ = cv2.phaseCorrelate(*(pan[i][:48].astype(np.float32) for i in (0, 2)))
    assert shift == pytest.approx((-3.5, -0.6), abs=0.5)


def test_the_table_names_scenes_methods_and_what_changed_outside() -> None:
    ours = {"psnr_inside": 31.27, "outside_identical": False}
    scene = {"size": "64x48", "crf": 23, "marked_frames": 9, "methods": {"ours": ours}}
    result = {
        "environment": {"commit": "abc", "cpus": 2},
        "marked_frames": 9,
        "scenes": {"pan-x": scene},
        "means": {"ours": ours},
        "kinds": {"pan": {"ours": ours}},
    }
    text = markdown(result)
    assert "| pan-x | 64x48 | 23 | 31.3 |" in text
    assert "| NO |" in text
