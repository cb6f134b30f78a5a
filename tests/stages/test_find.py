"""Finding in parts gives what finding in one go gives, wherever the parts end."""

from __future__ import annotations

from collections.abc import Sequence

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sorawm_pipeline.config import LimitsConfig
from sorawm_pipeline.hardware.batch_cap import BatchCap
from sorawm_pipeline.media.clip import ClipInfo, Limits, probe
from sorawm_pipeline.media.frame import Box, Frame, Mark
from sorawm_pipeline.snapshot import loaded
from sorawm_pipeline.stages.detect import Detect
from sorawm_pipeline.stages.find import Find
from sorawm_pipeline.vision.detector import Detection, NoDetector
from sorawm_pipeline.vision.regions import Regions
from tests.clips import Clip
from tests.conftest import WhiteDetector

WIDTH, HEIGHT = 96, 64
PLACES = [Box(8, 8, 32, 20), Box(60, 8, 84, 20), Box(30, 40, 54, 52)]
FRAMES = 90


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipInfo:
    path = tmp_path_factory.mktemp("finding") / "clip.mkv"
    Clip(frames=2).write(path)
    return probe(path, Limits.of(LimitsConfig()))


class DoubtfulDetector(WhiteDetector):
    """Believes bright marks only, and overlooks some altogether."""

    def _one(self, image: np.ndarray) -> list[Detection]:
        found = super()._one(image)
        chance = int(image.sum()) % 10
        confidence = (0.9, 0.3, 0.3, 0.22)[chance % 4]
        return [Detection(one.box, confidence) for one in found if chance != 9]


def pictures(spots: Sequence[int | None]) -> list[np.ndarray]:
    """A moving scene with a white mark at one of the places, or none, by frame."""
    noise = np.random.default_rng(1).integers(30, 140, (HEIGHT // 4, WIDTH // 4))
    scene = np.kron(noise, np.ones((4, 4))).astype(np.uint8)
    made = []
    for index, spot in enumerate(spots):
        picture = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
        picture[:HEIGHT] = np.roll(scene, 3 * index, 1)
        if spot is not None:
            box = PLACES[spot]
            picture[box.y0 : box.y1, box.x0 : box.x1] = 235
        made.append(picture)
    return made


def frames(made: Sequence[np.ndarray], first: int) -> list[Frame]:
    return [
        Frame(index, 2 * index, 2, av.VideoFrame.from_ndarray(made[index], format="yuv420p"))
        for index in range(first, len(made))
    ]


def detect(clip: ClipInfo, detector: WhiteDetector | NoDetector | None = None) -> Detect:
    return Detect(
        clip,
        detector or DoubtfulDetector(),  # type: ignore[arg-type]
        BatchCap(4, start=4),
        stride=16,
        believe=0.4,
        window=5,
        regions=Regions((), clip.display, clip.time_base),
    )


def plain(marks: Sequence[Sequence[Mark]]) -> list[list[object]]:
    """Marks with the pixels of their masks, which compare by identity."""
    return [
        [
            (mark, None if mark.mask is None else (mark.mask.box, mark.mask.pixels.tobytes()))
            for mark in frame
        ]
        for frame in marks
    ]


def in_batches(stage: Detect | Find, given: list[Frame], size: int) -> list[Frame]:
    out: list[Frame] = []
    for at in range(0, len(given), size):
        out += stage.process(given[at : at + size])
    return out + stage.flush()


def found_in_parts(
    clip: ClipInfo, made: Sequence[np.ndarray], goals: Sequence[int | None], size: int
) -> tuple[list[list[Mark]], int]:
    """The marks of all parts one after the other, and the looks that they took."""
    marks: list[list[Mark]] = []
    state, first, looks = None, 0, 0
    for goal in goals:
        stage = detect(clip)
        if state is not None:
            loaded(state, into=stage)
        stopped: list[bool] = []
        find = Find(stage, goal, lambda stopped=stopped: stopped.append(True))  # type: ignore[misc]
        find.open()
        in_batches(find, frames(made, first), size)
        find.close()
        assert bool(stopped) == (find.state is not None)
        marks += find.marks
        state, first, looks = find.state, find.next_frame, find.frames_inferred
        if state is None:
            break
    return marks, looks


SPOTS = st.lists(
    st.tuples(st.sampled_from([None, 0, 1, 2]), st.integers(1, 40)), min_size=1, max_size=6
)


@settings(max_examples=60)
@given(SPOTS, st.sets(st.integers(1, FRAMES - 1), max_size=4), st.integers(1, 7))
def test_wherever_parts_end_the_marks_are_the_same(
    clip: ClipInfo, spots: list[tuple[int | None, int]], cuts: set[int], size: int
) -> None:
    line = [spot for spot, count in spots for _ in range(count)][:FRAMES]
    made = pictures(line)
    whole = detect(clip)
    whole.open()
    together = [frame.marks for frame in in_batches(whole, frames(made, 0), 4)]
    parts, looks = found_in_parts(clip, made, [*sorted(cuts), None], size)
    assert plain(parts) == plain(together)
    assert looks == whole.frames_inferred


def test_without_a_detector_parts_end_where_they_are_asked_to(clip: ClipInfo) -> None:
    made = pictures([None] * 30)
    find = Find(detect(clip, NoDetector()), 10, lambda: None)
    find.open()
    in_batches(find, frames(made, 0), 4)
    assert find.next_frame == 11
    assert find.marks == [[]] * 11
