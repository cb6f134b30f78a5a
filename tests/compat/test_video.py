"""`SoraWM`, the surface as a whole, and the example script."""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sorawm_pipeline import Pipeline, PipelineConfig, demo
from sorawm_pipeline.compat import SoraWaterMarkDetector, SoraWM, WaterMarkCleaner, memory_manager
from sorawm_pipeline.errors import InputError, OutputError
from sorawm_pipeline.vision.detector import Detection
from tests.clips import MARK, Clip, rgb
from tests.conftest import WhiteDetector

MakeClip = Callable[[str, Clip], Path]
EXAMPLE = Path(__file__).parents[2] / "examples" / "clean_video.py"


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".sorawm-*")]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "compat"]


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (SoraWM, []),
        (SoraWM.run, ["self", "input_video_path", "output_video_path"]),
        (SoraWM.run_batch, ["self", "input_video_path", "output_video_path"]),
        (SoraWaterMarkDetector, []),
        (SoraWaterMarkDetector.detect, ["self", "input_image"]),
        (SoraWaterMarkDetector.detect_batch, ["self", "input_images"]),
        (WaterMarkCleaner, []),
        (WaterMarkCleaner.clean, ["self", "input_image", "watermark_mask"]),
        (WaterMarkCleaner.clean_batch, ["self", "input_images", "watermark_masks"]),
        (memory_manager.get_memory_info, []),
        (memory_manager.is_memory_pressure_high, []),
        (memory_manager.cleanup_memory, []),
        (memory_manager.get_optimal_batch_size, ["base_batch_size", "frame_size"]),
        (memory_manager.log_memory_usage, []),
    ],
)
def test_what_a_call_must_give(call: Callable[..., object], names: list[str]) -> None:
    parameters = inspect.signature(call).parameters.values()
    assert [p.name for p in parameters if p.default is p.empty] == names


@pytest.mark.parametrize(
    ("call", "optional"),
    [
        (SoraWM.run, {"progress_callback": None}),
        (SoraWaterMarkDetector.detect, {"frame_idx": 0, "use_advanced": True}),
        (SoraWaterMarkDetector.detect_batch, {"start_frame_idx": 0}),
        (memory_manager.cleanup_memory, {"force_gc": True}),
        (memory_manager.log_memory_usage, {"stage": ""}),
    ],
)
def test_what_a_call_may_give(call: Callable[..., object], optional: dict[str, object]) -> None:
    parameters = inspect.signature(call).parameters.values()
    assert {p.name: p.default for p in parameters if p.default is not p.empty} == optional


def test_importing_loads_no_model() -> None:
    code = (
        "import sys, sorawm_pipeline.compat as c; c.SoraWM(); c.memory_manager.get_memory_info();"
        "print(sorted({'torch', 'onnxruntime', 'ultralytics'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.slow
def test_a_marked_clip_comes_out_clean(tmp_path: Path) -> None:
    clip, output = tmp_path / "marked.mp4", tmp_path / "out" / "cleaned.mp4"
    demo.make_clip(clip, frames=40)
    told: list[int] = []
    report = SoraWM().run(clip, output, told.append)
    assert told == sorted(set(told))
    assert (told[0], told[-1]) == (10, 100)
    assert report.frames.marked == 40
    assert Path(report.output or "") == output
    place = demo.place_of(20)
    assert place is not None
    area = np.s_[place.y0 : place.y1, place.x0 : place.x1]
    truth = demo.draw_scene(20)[area].astype(float)
    errors = [((rgb(path)[20][area] - truth) ** 2).mean() for path in (clip, output)]
    assert errors[1] < errors[0] / 5
    assert leftovers(tmp_path) == []


@pytest.mark.usefixtures("detectors")
class TestCalls:
    """With a detector that finds what is white."""

    def test_an_older_result_is_replaced(self, make_clip: MakeClip, tmp_path: Path) -> None:
        output = tmp_path / "out.mp4"
        output.write_text("older")
        SoraWM().run(str(make_clip("clip.mp4", Clip(frames=4))), str(output))
        assert len(rgb(output)) == 4
        assert rgb(output)[0][MARK.y0 + 4, MARK.x0 + 8].max() < 200

    def test_progress_in_between_is_told_on_the_callers_thread(
        self, make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sorawm_pipeline.clip_run.PROGRESS_INTERVAL_S", 0.0)
        told: list[tuple[int, int]] = []
        SoraWM().run(
            make_clip("clip.mp4", Clip(frames=30)),
            tmp_path / "out.mp4",
            lambda percent: told.append((percent, threading.get_ident())),
        )
        percents = [percent for percent, _ in told]
        assert percents == sorted(set(percents))
        assert percents[0] == 10
        assert percents[-2:] == [95, 100]
        assert len(percents) > 3
        assert {thread for _, thread in told} == {threading.get_ident()}

    def test_a_second_pass_does_not_turn_progress_back(
        self, make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sorawm_pipeline.clip_run.PROGRESS_INTERVAL_S", 0.0)
        told: list[int] = []
        seen = Detection((16, 8, 48, 24), 0.9)
        monkeypatch.setattr(WhiteDetector, "_one", lambda self, image: [seen])
        report = SoraWM(PipelineConfig(verify=True)).run(
            make_clip("clip.mp4", Clip(frames=20)), tmp_path / "out.mp4", told.append
        )
        assert report.verification is not None
        assert report.verification.repaired
        assert told == sorted(set(told))

    async def test_from_inside_a_running_loop(self, make_clip: MakeClip, tmp_path: Path) -> None:
        report = SoraWM().run(make_clip("clip.mp4", Clip(frames=4)), tmp_path / "out.mp4")
        assert report.frames.encoded == 4
        assert threads() == []

    def test_several_threads_share_one(self, make_clip: MakeClip, tmp_path: Path) -> None:
        wm, clip = SoraWM(), make_clip("clip.mp4", Clip(frames=4))
        outputs = [tmp_path / f"{number}.mp4" for number in range(3)]
        with ThreadPoolExecutor(3) as pool:
            reports = list(pool.map(lambda output: wm.run(clip, output), outputs))
        assert [report.frames.encoded for report in reports] == [4, 4, 4]
        assert all(output.exists() for output in outputs)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
    def test_a_callback_that_raises_leaves_nothing(
        self, error: type[BaseException], make_clip: MakeClip, tmp_path: Path
    ) -> None:
        output = tmp_path / "out" / "clip.mp4"

        def fail(percent: int) -> None:
            raise error

        with pytest.raises(error):
            SoraWM().run(make_clip("clip.mp4", Clip(frames=200)), output, fail)
        assert threads() == []
        assert not output.exists()
        assert leftovers(tmp_path) == []

    def test_errors_are_sentences(self, make_clip: MakeClip, tmp_path: Path) -> None:
        wm, output = SoraWM(), tmp_path / "out.mp4"
        with pytest.raises(InputError, match=r"missing\.mp4 does not exist"):
            wm.run(tmp_path / "missing.mp4", output)
        text = tmp_path / "notes.mp4"
        text.write_text("no video at all\n" * 100)
        with pytest.raises(InputError, match=r"notes\.mp4"):
            wm.run(text, output)
        clip = make_clip("clip.mp4", Clip(frames=2))
        with pytest.raises(OutputError, match="is the input itself"):
            wm.run(clip, clip)
        assert not output.exists()

    async def test_the_profile_runs_on_one_frame_at_a_time(
        self, make_clip: MakeClip, tmp_path: Path
    ) -> None:
        clip = make_clip("clip.mkv", Clip(frames=10, codec="ffv1"))
        pipeline = Pipeline(PipelineConfig(profile="compat"))
        report = await pipeline.process(clip, tmp_path / "out.mkv")
        assert report.encoder is not None
        assert report.detector is not None
        assert report.encoder.codec == "libx264"
        assert report.detector.device == "cpu"
        assert [queue.capacity for queue in report.queues.values()] == [2, 2, 2, 4]
        for name in ("detect", "inpaint"):
            assert report.stages[name].batches >= 10


def example(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(EXAMPLE), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path) -> None:
    clip, output = tmp_path / "marked.mp4", tmp_path / "cleaned.mp4"
    demo.make_clip(clip, frames=20)
    with example(clip, output, "--benchmark") as script:
        said, complaints = script.communicate(timeout=100)
    assert (script.returncode, complaints) == (0, "")
    assert said.count("memory before:") == said.count("memory after:") == 1
    assert f"] 100%\n{output}\nframes: 20, 20 of them marked\nspeed: " in said
    assert "peak memory: " in said
    assert all(f"\n{stage} " in said for stage in ("decode", "detect", "inpaint", "encode"))
    with example(tmp_path / "missing.mp4", output) as script:
        _, complaints = script.communicate(timeout=100)
    assert script.returncode == 1
    assert complaints.strip().endswith("missing.mp4 does not exist")


@pytest.mark.slow
def test_interrupting_the_example_leaves_nothing(tmp_path: Path) -> None:
    clip, folder = tmp_path / "marked.mp4", tmp_path / "out"
    demo.make_clip(clip, frames=900)  # long enough to be in the middle of
    with example(clip, folder / "cleaned.mp4") as script:
        assert script.stdout is not None
        shown = ""
        while shown.count("%") < 2:  # some frames are encoded
            shown += script.stdout.read(1)
        script.send_signal(signal.SIGINT)
        _, complaints = script.communicate(timeout=100)
    assert script.returncode == 130, complaints
    assert "interrupted" in complaints
    assert not folder.exists() or list(folder.iterdir()) == []
