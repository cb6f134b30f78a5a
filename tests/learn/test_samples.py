from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sorawm_pipeline.errors import ConfigError
from sorawm_pipeline.learn import backgrounds
from sorawm_pipeline.learn.clips import spread
from sorawm_pipeline.learn.fit import BATCH, SIZE, batch
from sorawm_pipeline.learn.mark import Mark, read_mark
from sorawm_pipeline.learn.measure import Seen, advised, iou, score
from sorawm_pipeline.learn.samples import LARGEST, Source, paste
from sorawm_pipeline.vision.detector import Detection
from tests.clips import Clip
from tests.media.test_clip import MakeClip


def source(logo: Path, seed: int = 3) -> Source:
    return Source([read_mark(logo)], np.random.default_rng(seed))


def test_the_same_seed_gives_the_same_pictures(logo: Path) -> None:
    first, second, other = (source(logo, seed) for seed in (3, 3, 4))
    a, b, c = (s.sample(96, 96, marked=True) for s in (first, second, other))
    assert np.array_equal(a[0], b[0])
    assert a[1] == b[1]
    assert not np.array_equal(a[0], c[0])


def test_boxes_lie_inside_and_keep_the_aspect(logo: Path) -> None:
    made = source(logo)
    boxes = [box for _ in range(20) for box in made.sample(192, 128, marked=True)[1]]
    assert len(boxes) > 12
    for x0, y0, x1, y1 in boxes:
        assert 0 <= x0 < x1 <= 192
        assert 0 <= y0 < y1 <= 128
        assert x1 - x0 <= LARGEST + 1
        assert (x1 - x0) / (y1 - y0) == pytest.approx(2.5, rel=0.25)


def test_unmarked_pictures_have_no_boxes(logo: Path) -> None:
    made = source(logo)
    assert all(made.sample(64, 64, marked=False)[1] == [] for _ in range(8))


def test_a_batch_is_what_the_loss_takes(logo: Path) -> None:
    pictures, targets = batch(source(logo))
    assert pictures.shape == (BATCH, SIZE, SIZE, 3)
    assert targets.shape[1] == 5
    assert set(targets[:, 0].tolist()) <= set(range(BATCH))
    assert targets[:, 1:].min() > 0
    assert targets[:, 1:].max() <= 1


def test_pasting_blends_and_refuses_what_nobody_would_see() -> None:
    mark = Mark(np.full((4, 4), 0.5, np.float32), np.full((4, 4, 3), 200, np.float32))
    picture = np.zeros((10, 10, 3), np.float32)
    assert paste(picture, mark, 8, 8, 1.0)
    assert picture[9, 9].tolist() == [100, 100, 100]
    assert picture[7, 7].tolist() == [0, 0, 0]
    alike = np.full((10, 10, 3), 199, np.float32)
    assert not paste(alike, mark, 2, 2, 1.0)
    assert not paste(alike, mark, 20, 2, 1.0)
    assert alike.min() == 199


def test_computed_backgrounds_differ() -> None:
    rng = np.random.default_rng(2)
    made = [backgrounds.computed(rng) for _ in range(3)]
    assert all(one.shape == (backgrounds.SIDE, backgrounds.SIDE, 3) for one in made)
    assert not np.array_equal(made[0], made[1])


def test_own_backgrounds_are_split_by_file(tmp_path: Path) -> None:
    for number in range(10):
        Image.new("RGB", (64, 48), (number * 20, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "note.txt").write_text("no picture")
    train, held_out = backgrounds.own([tmp_path])
    assert [int(p[0, 0, 0]) for p in held_out] == [80, 180]
    assert len(train) == 8


def test_a_clip_is_split_in_time(make_clip: MakeClip) -> None:
    train, held_out = backgrounds.own([make_clip("a.mp4", Clip())])
    assert len(train) == 9
    assert len(held_out) == 3


def test_frames_are_spread_over_a_clip(make_clip: MakeClip) -> None:
    path = make_clip("a.mp4", Clip())
    every = spread(path, 100)
    few = spread(path, 4)
    assert len(every) == 12
    assert 2 <= len(few) <= 4
    assert np.array_equal(few[1], every[4 if len(few) <= 3 else 3]) or np.array_equal(
        few[1], every[2]
    )


def test_backgrounds_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing at"):
        backgrounds.own([tmp_path / "none"])
    (tmp_path / "note.txt").write_text("no picture")
    with pytest.raises(ConfigError, match="no picture or clip"):
        backgrounds.own([tmp_path])


def test_overlap() -> None:
    assert iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert iou((0, 0, 10, 10), (10, 0, 15, 10)) == 0


def looked_at() -> list[Seen]:
    """Ten marks found at 0.6, one of them poorly; a false one at 0.4 in each of ten clean ones."""
    box = (0.0, 0.0, 10.0, 10.0)
    sure = [Seen([box], [Detection(box, 0.6)]) for _ in range(9)]
    off = Seen([box], [Detection((0.0, 0.0, 10.0, 4.0), 0.6)])
    return [*sure, off, *(Seen([], [Detection(box, 0.4)]) for _ in range(10))]


def test_figures_are_counted() -> None:
    low, high = score(looked_at(), 0.3), score(looked_at(), 0.5)
    assert (low.recall, low.mean_iou, low.marks, low.clean) == (0.9, 1.0, 10, 10)
    assert (low.clean_marked, low.false_marks) == (1.0, 0.55)
    assert (high.recall, high.clean_marked, high.false_marks) == (0.9, 0.0, 0.05)
    assert score(looked_at(), 0.7).recall == 0


def test_the_advised_confidence_lies_between_false_and_true() -> None:
    assert 0.4 < advised(looked_at()) <= 0.6
