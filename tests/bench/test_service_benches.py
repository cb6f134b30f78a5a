"""The scripts that kill, fuzz and soak the daemon, each for a short while."""

from __future__ import annotations

from pathlib import Path

import pytest
from crash import crash
from fuzz import MUTATIONS, fuzz, mutated
from small_clips import CODEC_OF, small_clip
from soak import Sample, medians, plot, quarter, soak

from sorawm_pipeline.media.clip import Limits, probe
from tests.clips import LIMITS


@pytest.mark.slow
def test_killed_at_random_nothing_is_torn_lost_or_done_twice(tmp_path: Path) -> None:
    found = crash(6, tmp_path, seed=3)
    assert found.good, found
    assert found.kills == 6
    assert found.done == found.clips > 0


@pytest.mark.slow
def test_mutated_files_end_with_a_reason(tmp_path: Path) -> None:
    found = fuzz(36, tmp_path, seed=5)
    assert found["daemon_died"] is None
    assert found["without_a_reason"] == []
    ended = found["ended"]
    assert isinstance(ended, dict)
    assert sum(ended.values()) == 36
    assert ended["done"] > 0
    assert ended["quarantined"] > 0


@pytest.mark.slow
def test_a_short_soak(tmp_path: Path) -> None:
    found = soak(0.15, 3, 2.0, tmp_path)
    assert found["done"] == found["jobs"] == 3
    idle = found["idle_cpu_percent"]
    assert isinstance(idle, float)
    assert idle < 20
    pytest.importorskip("matplotlib")
    plot(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_quarters() -> None:
    samples = [Sample(float(second), second, 5, 7) for second in range(461)]
    assert medians(quarter(samples, 1))["rss_mib"] == 110.5
    assert medians(quarter(samples, 3))["rss_mib"] == 410.5


@pytest.mark.parametrize("suffix", CODEC_OF)
def test_small_clips_are_whole(suffix: str, tmp_path: Path) -> None:
    limits = Limits(LIMITS.max_pixels, LIMITS.max_seconds, LIMITS.formats)
    assert probe(small_clip(tmp_path / f"a{suffix}", 5, 1), limits).width == 96
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_mutations_change_the_file_and_can_be_repeated(tmp_path: Path) -> None:
    source = small_clip(tmp_path / "a.mp4", 5, 1)
    names = set()
    for seed in range(0, 60, 2):
        names.add(mutated(source, tmp_path / "b.mp4", seed))
        once = (tmp_path / "b.mp4").read_bytes()
        mutated(source, tmp_path / "b.mp4", seed)
        assert (tmp_path / "b.mp4").read_bytes() == once
    assert names == {mutation.__name__ for mutation in MUTATIONS}
