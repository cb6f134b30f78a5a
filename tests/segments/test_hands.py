"""Pieces done by other processes: shared out, repeated when one dies, ended when cancelled."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.errors import InputError, PipelineError
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.segments import hands
from sorawm_pipeline.segments.dispatch import HandLostError
from sorawm_pipeline.segments.hands import shared_out
from sorawm_pipeline.segments.orders import Answer, Order, Place
from sorawm_pipeline.segments.pieces import FindTask
from sorawm_pipeline.segments.plan import Piece
from sorawm_pipeline.segments.store import Store
from sorawm_pipeline.stages.decode import HardwareDecoderError
from sorawm_pipeline.stages.picture_encoder import HardwareEncoderError
from tests.clips import Clip, pictures
from tests.segments.test_pieces import CLIP, FRAMES, jumping

PLACE = Place(Path("/a b\udcff.mp4"), Store(Path("/store")), "plan")
TASK = FindTask("find-1", Piece(0, 0, 25), 0, None, last=False)


@given(st.integers(1, 9), st.integers(1, 9))
def test_cores_are_shared_out_evenly(cores: int, slots: int) -> None:
    shares = shared_out(list(range(cores)), slots)
    assert len(shares) == slots
    assert all(shares)
    assert {core for share in shares for core in share} == set(range(min(cores, cores)))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_an_order_names_any_file() -> None:
    order = Order.of(PLACE, TASK)
    assert Order.model_validate_json(order.model_dump_json()) == order
    assert (order.source, order.unpacked()) == (PLACE.source, TASK)


@pytest.mark.parametrize(
    "error",
    [
        Unfit("it cannot"),
        InputError("is damaged", kind="too_large", stage="decode"),
        HardwareEncoderError("nvenc failed"),
        HardwareDecoderError("cuda failed"),
        ValueError("unforeseen"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_as_it_was_raised(error: Exception) -> None:
    answer = Answer.model_validate_json(Answer.of(error).model_dump_json())
    blamed = isinstance(error, HardwareEncoderError | HardwareDecoderError | Unfit)
    expected = type(error) if blamed else PipelineError
    with pytest.raises(expected) as caught:
        answer.raised()
    if isinstance(error, PipelineError):
        assert isinstance(caught.value, PipelineError)
        assert (caught.value.kind, caught.value.stage) == (error.kind, error.stage)
    assert str(error) in str(caught.value)


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> hands._Process:
    """A hand that runs `code` for each order in a loop, with `first` to tell the first start."""
    script = tmp_path / "hand.py"
    script.write_text(
        "import json, os, sys, time\n"
        f"marker = {str(tmp_path / 'started')!r}\n"
        "settings = json.loads(sys.stdin.readline())\n"
        "first = not os.path.exists(marker)\n"
        "open(marker, 'a').write('x')\n"
        "def say(what): print(json.dumps(what), flush=True)\n"
        f"for order in sys.stdin:\n{code}\n"
    )
    monkeypatch.setattr(hands, "MODULE", (str(script),))
    return hands._Process(PipelineConfig(), [])


@pytest.mark.parametrize(
    "code",
    [
        "    say(3)\n    if first: os.kill(os.getpid(), 9)\n    say({'outcome': 'done'})",
        "    say(3)\n    if first: sys.exit(3)\n    say({'outcome': 'done'})",
        "    say(3)\n    print('nonsense' if first else '{\"outcome\": \"done\"}', flush=True)",
    ],
)
async def test_a_process_that_dies_is_lost_and_another_begun(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand, told = stand_in(tmp_path, monkeypatch, code), list[int]()
    with pytest.raises(HandLostError):
        await hand.do(PLACE, TASK, told.append)
    await hand.do(PLACE, TASK, told.append)
    await hand.do(PLACE, TASK, told.append)
    await hand.stop()
    assert (tmp_path / "started").read_text() == "xx"
    assert told == [3, 3, 3]


async def test_cancelling_a_task_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "    say(os.getpid())\n    time.sleep(600)"
    hand, begun = stand_in(tmp_path, monkeypatch, code), asyncio.get_running_loop().create_future()
    job = asyncio.create_task(hand.do(PLACE, TASK, begun.set_result))
    pid = await asyncio.wait_for(begun, 30)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert not psutil.pid_exists(pid)
    await hand.stop()


def two(**sections: Any) -> PipelineConfig:
    pieces = {"from_s": 0, "length_s": 1, "workers": 2}
    fill = {"method": "membrane", "margin": 2}
    regions = [{"box": [8, 8, 30, 18], "from_s": 0, "to_s": 1.2}]
    detect = {"weights": "none", "regions": regions}
    lossless = {"codec": "ffv1"}
    return PipelineConfig.model_validate(
        {"pieces": pieces, "inpaint": fill, "detect": detect, "encode": lossless, **sections}
    )


@pytest.mark.slow
async def test_two_processes_make_what_one_makes(tmp_path: Path) -> None:
    source = CLIP.write(tmp_path / "in.mp4")
    one = await Pipeline(two(pieces={"length_s": 0})).process(source, tmp_path / "one.mkv")
    async with Pipeline(two()) as pipeline:
        report = await pipeline.process(source, tmp_path / "two.mkv")
    assert report.pieces is not None
    assert (report.pieces.found, report.pieces.restored) == (5, 5)
    assert report.marks == one.marks
    for there, here in zip(
        pictures(tmp_path / "one.mkv"), pictures(tmp_path / "two.mkv"), strict=True
    ):
        assert all(np.array_equal(*planes) for planes in zip(there, here, strict=True))
    assert not [child for child in psutil.Process().children() if child.is_running()]


@pytest.mark.slow
async def test_a_worker_that_is_killed_costs_its_piece_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, begun = hands._Process._started, asyncio.get_running_loop().create_future()

    async def noticed(self: hands._Process) -> asyncio.subprocess.Process:
        process = await started(self)
        if not begun.done():
            begun.set_result(process.pid)
        return process

    monkeypatch.setattr(hands._Process, "_started", noticed)
    source = Clip(FRAMES, jumping, options=CLIP.options).write(tmp_path / "in.mp4")
    async with Pipeline(two()) as pipeline:
        job = asyncio.create_task(pipeline.process(source, tmp_path / "two.mkv"))
        os.kill(await asyncio.wait_for(begun, 60), signal.SIGKILL)
        report = await job
    assert report.frames.encoded == FRAMES
    assert report.pieces is not None
    assert report.pieces.restored == 5
    assert json.loads(report.model_dump_json())["pieces"]["reused"] == 0
