"""The inpaint and temporal stages on frames made here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorawm_pipeline.config import LimitsConfig
from sorawm_pipeline.hardware.batch_cap import BatchCap
from sorawm_pipeline.media.clip import ClipInfo, Limits, probe
from sorawm_pipeline.media.frame import Box, Frame, Mark, Patch
from sorawm_pipeline.media.planes import plane_view
from sorawm_pipeline.stages import temporal as stages_temporal
from sorawm_pipeline.stages.inpaint import Inpaint
from sorawm_pipeline.stages.temporal import CATCH_UP, Temporal
from sorawm_pipeline.vision.places import Places
from sorawm_pipeline.vision.restore import Blind, MembraneInpainter, Region
from tests.clips import Clip

WIDTH, HEIGHT = 96, 64
MARK = Box(40, 24, 64, 40)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipInfo:
    path = tmp_path_factory.mktemp("restoring") / "clip.mkv"
    Clip(frames=2).write(path)
    return probe(path, Limits.of(LimitsConfig()))


def texture(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.kron(random.integers(40, 200, (8, 12)), np.ones((8, 8))).astype(np.uint8)


def frame(index: int, luma: np.ndarray, marks: Sequence[Box] = ()) -> Frame:
    picture = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    picture[:HEIGHT] = luma
    for box in marks:
        picture[box.y0 : box.y1, box.x0 : box.x1] = 235
    native = av.VideoFrame.from_ndarray(picture, format="yuv420p")
    return Frame(index, index, 1, native, [Mark(box, 0.9) for box in marks])


def walked(clip: ClipInfo, frames: Sequence[Frame], window: int, batch: int = 3) -> list[Frame]:
    """Frames through both stages, a few at a time; checks what the stages say they hold."""
    inpaint = Inpaint(clip, MembraneInpainter(), BatchCap(4, start=4), margin=2)
    temporal = Temporal(clip, window, 8)
    out: list[Frame] = []
    for first in range(0, len(frames), batch):
        part = frames[first : first + batch]
        out += temporal.process(inpaint.process(part))
        assert first + len(part) - len(out) <= inpaint.held + temporal.held
    out += temporal.process(inpaint.flush()) + temporal.flush()
    return out


def luma_after(done: Frame, clip: ClipInfo) -> np.ndarray:
    luma = plane_view(done.picture, 0, clip.layout).copy()
    for patch in done.patches:
        area = luma[patch.box.y0 : patch.box.y1, patch.box.x0 : patch.box.x1]
        area[...] = np.where(patch.alpha[0] > 128, patch.planes[0], area)
    return luma


def test_a_still_scene_comes_back_from_before_the_mark(clip: ClipInfo) -> None:
    scene = texture()
    frames = [frame(n, scene, [MARK] if 3 <= n < 30 else []) for n in range(34)]
    for done in walked(clip, frames, window=8):
        assert np.abs(luma_after(done, clip).astype(int) - scene).max() <= 3


def test_a_still_scene_comes_back_from_after_the_mark(clip: ClipInfo) -> None:
    scene = texture()
    frames = [frame(n, scene, [MARK] if n < 6 else []) for n in range(12)]
    for done in walked(clip, frames, window=16):
        assert np.abs(luma_after(done, clip).astype(int) - scene).max() <= 3


def test_a_drift_too_slow_to_move_anything_by_is_not_forgotten(clip: ClipInfo) -> None:
    rough = np.random.default_rng(0).normal(120, 400, (HEIGHT + 20, WIDTH + 20)).astype(np.float32)
    scene = cv2.GaussianBlur(rough, (0, 0), 2.5)

    def view(number: int) -> np.ndarray:
        at = np.array([[1, 0, 5 + 0.06 * number], [0, 1, 10]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(scene, at, (WIDTH, HEIGHT), flags=flags)
        return np.asarray(np.rint(seen).clip(0, 255))

    frames = [frame(n, view(n).astype(np.uint8), [MARK] if n >= 3 else []) for n in range(43)]
    done = walked(clip, frames, window=4)[-1]
    inside = np.s_[MARK.y0 : MARK.y1, MARK.x0 : MARK.x1]
    off = np.abs(luma_after(done, clip).astype(int) - view(42))[inside].mean()
    stale = np.abs(view(2) - view(42))[inside].mean()
    assert off < 0.12 * stale


def test_a_moving_scene_comes_back_from_after_the_mark(clip: ClipInfo) -> None:
    wide = np.random.default_rng(1).normal(120, 400, (HEIGHT, WIDTH + 40)).astype(np.float32)
    scene = cv2.GaussianBlur(wide, (0, 0), 2.5).clip(0, 255).astype(np.uint8)
    views = [scene[:, 2 * n : 2 * n + WIDTH] for n in range(20)]
    frames = [frame(n, view, [MARK] if n < 6 else []) for n, view in enumerate(views)]
    inside = np.s_[MARK.y0 : MARK.y1, MARK.x0 : MARK.x1]
    for view, done in zip(views[:6], walked(clip, frames, window=24), strict=False):
        off = np.abs(luma_after(done, clip).astype(int) - view)[inside].mean()
        assert off < 4


def test_nothing_is_known_of_another_scene(clip: ClipInfo) -> None:
    frames = [frame(n, texture(n // 5), [MARK] if n >= 5 else []) for n in range(10)]
    plain = [frame(n, texture(n // 5), [MARK] if n >= 5 else []) for n in range(10)]
    fused, blind = walked(clip, frames, window=8), walked(clip, plain, window=0)
    inside = np.s_[MARK.y0 : MARK.y1, MARK.x0 : MARK.x1]
    for one, other in zip(fused[5:], blind[5:], strict=True):
        difference = luma_after(one, clip)[inside].astype(int) - luma_after(other, clip)[inside]
        assert np.abs(difference).mean() < 12, "the scene before differs by about 60"


def test_no_window_leaves_the_fills_alone(clip: ClipInfo) -> None:
    marked = frame(0, texture(), [MARK])
    (filled,) = Inpaint(clip, MembraneInpainter(), BatchCap(1), 2).process([marked])
    before = filled.patches[0]
    (done,) = Temporal(clip, 0, 8).process([filled])
    assert done.patches == [before]


def test_two_marks_at_once_and_one_that_hops(clip: ClipInfo) -> None:
    scene, second = texture(), Box(4, 4, 24, 16)
    hopped = Box(43, 26, 67, 42)
    frames = [
        frame(n, scene, [] if n < 2 else [hopped if n > 8 else MARK, second]) for n in range(14)
    ]
    for done in walked(clip, frames, window=6):
        error = np.abs(luma_after(done, clip).astype(int) - scene)
        assert max(error[box.y0 : box.y1, box.x0 : box.x1].mean() for box in (MARK, second)) < 3


@settings(max_examples=40, deadline=None)
@given(
    pattern=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    window=st.integers(0, 9),
    batch=st.integers(1, 5),
)
def test_every_frame_goes_on_once_in_order_with_a_patch_for_each_mark(
    clip: ClipInfo, pattern: list[int], window: int, batch: int
) -> None:
    places = [[], [MARK], [Box(4, 4, 24, 16)], [MARK, Box(4, 4, 24, 16)]]
    frames = [frame(n, texture(), places[kind]) for n, kind in enumerate(pattern)]
    out = walked(clip, frames, window, batch)
    assert [done.index for done in out] == list(range(len(pattern)))
    assert all(len(done.patches) == len(done.marks) for done in out)


@given(
    runs=st.lists(st.tuples(st.booleans(), st.integers(1, 30)), min_size=1, max_size=5),
    window=st.integers(1, 24),
)
@settings(max_examples=30, deadline=None)
def test_frames_leave_the_window_as_they_come_not_in_bursts(
    clip: ClipInfo, runs: list[tuple[bool, int]], window: int
) -> None:
    """A burst would wait for room in the next queue, and all before it meanwhile."""
    temporal = Temporal(clip, window, 8)
    shown = [marked for marked, count in runs for _ in range(count)]
    frames = [frame(n, texture(), [MARK] if marked else []) for n, marked in enumerate(shown)]
    inpaint = Inpaint(clip, MembraneInpainter(), BatchCap(4, start=4), 2)
    inside = 0
    for one in [*inpaint.process(frames), *inpaint.flush()]:
        inside += 1
        gone = temporal.process([one])
        inside -= len(gone)
        assert len(gone) <= CATCH_UP
        assert inside <= window
    assert len(temporal.flush()) == inside


def test_huge_places_are_settled_before_they_take_too_much(
    clip: ClipInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages_temporal, "LARGEST", 500_000)
    inpaint = Inpaint(clip, MembraneInpainter(), BatchCap(4, start=4), margin=2)
    temporal, largest = Temporal(clip, 60, 8), 0
    filled = inpaint.process([frame(n, texture(), [MARK]) for n in range(80)]) + inpaint.flush()
    done: list[Frame] = []
    for one in filled:
        done += temporal.process([one])
        largest = max(largest, temporal._places.size)
    assert 400_000 < largest <= 500_000
    assert [one.index for one in done + temporal.flush()] == list(range(80))


def test_frames_let_go_of_their_pictures_as_soon_as_they_have_been_looked_at(
    clip: ClipInfo,
) -> None:
    inpaint = Inpaint(clip, MembraneInpainter(), BatchCap(4, start=4), margin=2)
    kept, bare = Temporal(clip, 4, 8), Temporal(clip, 4, 8, keeps=False)
    frames = [frame(n, texture(), [MARK] if 2 <= n < 9 else []) for n in range(12)]
    filled = inpaint.process(frames) + inpaint.flush()
    wanted = [replace(one, patches=list(one.patches)) for one in filled]
    wanted = kept.process(wanted) + kept.flush()
    done: list[Frame] = []
    for count, one in enumerate(filled, start=1):
        done += bare.process([one])
        assert [hasattr(some, "picture") for some in filled[:count]] == [
            *[False] * (count - 1),
            True,
        ]
    done += bare.flush()
    for one, other in zip(done, wanted, strict=True):
        for here, there in zip(one.patches, other.patches, strict=True):
            assert all(
                np.array_equal(*pair) for pair in zip(here.planes, there.planes, strict=True)
            )


class Counting(Blind):
    """An inpainter that likes company and tells how it was asked."""

    method = "counting"
    together = 6

    def __init__(self) -> None:
        self.asked: list[int] = []

    def fill(self, regions: Sequence[Region]) -> list[Patch]:
        self.asked.append(len(regions))
        return [replace(region.hole.patch(region.planes), variance=None) for region in regions]


def test_marked_frames_wait_for_each_other_and_go_in_even_batches(clip: ClipInfo) -> None:
    inpainter = Counting()
    inpaint = Inpaint(clip, inpainter, BatchCap(4, start=4), margin=2)
    frames = [frame(n, texture(), [MARK]) for n in range(8)] + [frame(8, texture())]
    assert inpaint.process(frames[:5]) == []
    assert [done.index for done in inpaint.process(frames[5:])] == list(range(9))
    assert inpainter.asked == [3, 3, 2]
    assert inpaint.flush() == []


def test_all_that_is_there_is_filled_in_one_go(clip: ClipInfo) -> None:
    class Alone(Counting):
        together = 1

    for inpainter, asked in ((Alone(), [10]), (Counting(), [6, 4])):
        inpaint = Inpaint(clip, inpainter, BatchCap(16, start=16), margin=2)
        frames = [frame(n, texture(), [MARK]) for n in range(10)]
        done = inpaint.process(frames) + inpaint.flush()
        assert [one.index for one in done] == list(range(10))
        assert inpainter.asked == asked


def test_a_patch_of_which_nobody_knows_how_good_it_is_gives_way(clip: ClipInfo) -> None:
    inpaint = Inpaint(clip, Counting(), BatchCap(4, start=4), margin=2)
    frames = [frame(n, texture(), [MARK] if n else []) for n in range(4)]
    done = inpaint.process(frames) + inpaint.flush()
    temporal = Temporal(clip, 4, 8)
    for out in temporal.process(done) + temporal.flush():
        assert np.abs(luma_after(out, clip).astype(int) - texture()).max() <= 3


def test_a_place_whose_mark_has_gone_is_let_go(clip: ClipInfo) -> None:
    places = Places(clip)
    frames = [frame(n, texture(), [MARK] if n == 1 else []) for n in range(3)]
    done = Inpaint(clip, MembraneInpainter(), BatchCap(4, start=4), margin=2).process(frames)
    places.see(done[0], None)
    places.see(done[1], done[0])
    assert places.open
    places.see(done[2], done[1])
    assert not places.open
    places.settle(done[:2])
    assert places._places == []


def test_a_run_of_marks_knows_nothing_of_the_runs_before_it(clip: ClipInfo) -> None:
    marked = {*range(3, 20), *range(22, 40), *range(41, 48)}

    def restored(first: int) -> dict[int, np.ndarray]:
        frames = [
            frame(n, np.roll(texture(), n, 1), [MARK] if n in marked else [])
            for n in range(first, 50)
        ]
        return {one.index: luma_after(one, clip) for one in walked(clip, frames, 12)}

    whole = restored(0)
    for first in (2, 20, 21, 40):
        part = restored(first)
        assert all(np.array_equal(part[index], whole[index]) for index in part)
