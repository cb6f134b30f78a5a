"""Models that stay loaded between clips."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.errors import PipelineError
from sorawm_pipeline.warm import WarmDetector, _form
from tests.clips import Clip
from tests.conftest import WhiteDetector


async def test_cached_device_memory_is_given_back_between_clips(
    make_clip: Callable[[str, Clip], Path],
    detectors: list[WhiteDetector],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    released: list[int] = []
    found = WarmDetector._readings

    def readings(self: WarmDetector, *arguments: object) -> object:
        signals, _ = found(self, *arguments)  # type: ignore[arg-type]
        return signals, lambda: released.append(len(detectors))

    monkeypatch.setattr(WarmDetector, "_readings", readings)
    config = PipelineConfig.model_validate(
        {"inpaint": {"method": "membrane"}, "detect": {"scout": "off"}}
    )
    source = make_clip("clip.mp4", Clip(frames=4))
    async with Pipeline(config) as pipeline:
        for number in (1, 2):
            await pipeline.process(source, tmp_path / f"{number}.mp4")
            assert len(released) == number
    assert len(released) == 3
    assert len(detectors) == 1


async def test_a_device_that_fails_to_give_it_back_is_not_lent_again(
    make_clip: Callable[[str, Clip], Path],
    detectors: list[WhiteDetector],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def rest(self: WarmDetector) -> None:
        if not detectors[-1].closed:
            raise RuntimeError("the device is lost")

    monkeypatch.setattr(WarmDetector, "rest", rest)
    config = PipelineConfig.model_validate({"inpaint": {"method": "membrane"}})
    source = make_clip("clip.mp4", Clip(frames=4))
    async with Pipeline(config) as pipeline:
        with pytest.raises((PipelineError, RuntimeError), match="lost"):
            await pipeline.process(source, tmp_path / "out.mp4")
        assert detectors[0].closed


async def settled_threads() -> int:
    """How many threads there are when the system has taken those away that have ended."""
    counts = [psutil.Process().num_threads()]
    while len(counts) < 10 or len(set(counts[-10:])) > 1:
        await asyncio.sleep(0.02)
        counts.append(psutil.Process().num_threads())
    return counts[-1]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("detectors", "no_collector")
async def test_a_finished_clip_leaves_no_thread_behind_even_without_the_garbage_collector(
    make_clip: Callable[[str, Clip], Path], tmp_path: Path
) -> None:
    config = PipelineConfig.model_validate({"inpaint": {"method": "membrane"}})
    source = make_clip("clip.mp4", Clip(frames=4))
    threads = []
    async with Pipeline(config) as pipeline:
        for number in range(4):
            await pipeline.process(source, tmp_path / f"{number}.mp4")
            threads.append(await settled_threads())
    assert threads[-1] == threads[0]


@pytest.mark.parametrize(
    ("detect", "form"),
    [
        ({}, "fp32"),
        ({"stride": 5}, "fp32"),
        ({"stride": 4}, None),
        ({"stride": 1, "precision": "fp32"}, "fp32"),
        ({"precision": "int8"}, "int8"),
    ],
)
def test_faster_forms_of_the_detector_are_tried_where_many_frames_are_looked_at(
    detect: dict[str, object], form: str | None
) -> None:
    assert _form(PipelineConfig.model_validate({"detect": detect}).detect) == form
