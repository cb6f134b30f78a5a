"""The speed bench: the seed's algorithm really cleans, and its page tells what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lama_size import LamaSized
from performance_test import WITH_YOLO11S, ratios
from seed_program import PUBLISHED, Pixels, SeedProgram, decoded
from speed_pages import page_of, write_plots

from sorawm_pipeline.media.frame import Box
from tests.clips import Clip


def test_the_network_is_of_lamas_size_and_gives_a_picture() -> None:
    network = LamaSized().eval()
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(51e6, rel=0.01)
    with torch.inference_mode():
        picture = network(torch.rand(1, 4, 40, 56))
    assert picture.shape == (1, 3, 40, 56)
    assert 0 <= float(picture.min()) <= float(picture.max()) <= 1


def test_the_seeds_algorithm_looks_at_all_frames_and_fills_the_marked(tmp_path: Path) -> None:
    clip = Clip(frames=6, audio=True).write(tmp_path / "clip.mp4")
    looked: list[tuple[int, ...]] = []
    filled: list[Box] = []

    def fill(frame: Pixels, box: Box) -> Pixels:
        filled.append(box)
        return np.full_like(frame, 255)

    box = Box(4, 4, 20, 12)
    program = SeedProgram(lambda frame: looked.append(frame.shape), fill, PUBLISHED)
    output = tmp_path / "out.mp4"
    assert program.run(clip, output, [None, box, None, box, None, None], None) == 6
    frames, _ = decoded(output, None)
    assert len(looked) == len(frames) == 6
    assert filled == [box, box]
    bright = [bool(frame.mean() > 250) for frame in frames]
    assert bright == [False, True, False, True, False, False]
    assert set(program.seconds) == {"decode", "detect", "fill", "encode", "merge"}
    assert not list(tmp_path.glob("*.silent.*"))
    assert program.run(clip, output, [None] * 6, 2) == 2


def figures() -> dict[str, Any]:
    wall = {
        "seed": 2000.0,
        "seed, own parts": 60.0,
        "seed, own fill": 200.0,
        "performance": 15.0,
        "balanced": 20.0,
        WITH_YOLO11S: 40.0,
        "decode and encode": 11.0,
        "PyAV": 10.0,
        "PyAV, performance": 12.0,
    }
    made: dict[str, Any] = {
        name: {
            "ms_per_frame": ms,
            "cpu_ms_per_frame": 32.0,
            # The machine was half as fast in the second round, and twice in the third.
            "samples": {"wall": [ms, 2 * ms, ms / 2], "cpu": [32.0, 64.0, 16.0]},
        }
        for name, ms in wall.items()
    }
    stage = {"busy_s": 9.0, "wait_in_s": 5.0, "wait_out_s": 6.0}
    names = ("decode", "detect", "inpaint", "temporal", "encode")
    made["balanced"]["stages_ms_per_frame"] = dict.fromkeys(names, stage)
    return made


def test_ratios_are_of_one_run() -> None:
    told = ratios(figures(), cores=2)
    assert told["times as fast as the seed"] == 100
    assert told["times as fast as its algorithm with our parts"] == 3
    assert told["the same, both with YOLO11s"] == 5
    assert told["share of the speed of PyAV alone"] == 0.5
    assert told["the same, performance"] == 0.8
    assert told["share of the bound that the CPU time sets"] == 0.8  # 32 ms on two cores


def test_the_page_and_the_plots_show_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the bench extra")
    result = {
        "environment": {
            "clip": "clip.mp4",
            "size": "704x1280",
            "processor": "some",
            "cores": 2,
            "python": "3.11",
            "packages": {"av": "18.1", "openvino": None},
        },
        "rounds": 7,
        "ratios": {"times as fast as the seed": 100.0},
        "figures": figures(),
    }
    page = page_of(result)
    assert "| balanced | 20.00 | 50 | 32.0 |  |" in page
    assert "| times as fast as the seed | 100.00 |" in page
    assert "openvino" not in page
    write_plots(result, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"speed-bars.png", "stages.png"}
