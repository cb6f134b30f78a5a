"""The command line: what is said, what is left on disk, and the exit status."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import av
import pytest

from sorawm_pipeline import cli
from sorawm_pipeline.config import default_yaml
from sorawm_pipeline.stages import result_file
from tests.clips import Clip, audio_only, remuxed, rgb

MakeClip = Callable[[str, Clip], Path]
Say = pytest.CaptureFixture[str]


@pytest.fixture
def yaml(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.yaml"
    path.write_text("log: {level: error}\ninpaint: {margin: 2}\n")
    return path


@pytest.fixture
def good(make_clip: MakeClip) -> Path:
    return make_clip("good.mp4", Clip())


def run(*words: object) -> int:
    return cli.call(["run", *map(str, words)])


def test_a_clip_and_its_report(
    yaml: Path, good: Path, tmp_path: Path, detectors: object, capsys: Say
) -> None:
    report = tmp_path / "report.json"
    status = run(yaml, good, "--output", tmp_path / "out", "--report", report)
    said = capsys.readouterr()
    assert status == 0
    assert "done: good.mp4" in said.out
    assert "12 of 12 frames marked" in said.out
    (clip,) = json.loads(report.read_text())["clips"]
    assert clip["status"] == "done"
    assert clip["output"] == str(tmp_path / "out" / "good.mp4")
    assert set(clip) == {
        *("input", "output", "status", "error", "frames", "startup_s", "wall_s", "fps"),
        *("peak_rss_bytes", "detector", "inpainter", "encoder", "marks", "stages", "queues"),
        *("live_frames", "provenance", "verification", "decoder", "pieces", "scout"),
    }
    assert list(clip["queues"]) == [
        *("decode->detect", "detect->inpaint", "inpaint->temporal", "temporal->encode"),
    ]
    assert len(rgb(tmp_path / "out" / "good.mp4")) == 12


def bad_text(folder: Path) -> Path:
    path = folder / "text.mp4"
    path.write_text("not a film")
    return path


def bad_empty(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def bad_missing(folder: Path) -> Path:
    return folder / "missing.mp4"


def bad_folder(folder: Path) -> Path:
    path = folder / "pictures"
    path.mkdir()
    (path / "a.txt").write_text("no film here")
    return path


def bad_sound(folder: Path) -> Path:
    return audio_only(folder / "sound.mp4")


def bad_no_index(folder: Path) -> Path:
    whole = Clip().write(folder / "whole.mp4").read_bytes()
    path = folder / "no-index.mp4"
    path.write_bytes(whole[: whole.index(b"moov") - 4])
    return path


def bad_cut(folder: Path) -> Path:
    """An index that promises more pictures than the file has."""
    whole = Clip(frames=60).write(folder / "whole.mp4")
    source = remuxed(whole, folder / "fast.mp4", "faststart")
    path = folder / "cut.mp4"
    data = source.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def bad_no_frames(folder: Path) -> Path:
    """A video stream without a single picture."""
    path = folder / "no-frames.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.start_encoding()
    return path


def bad_codec(folder: Path) -> Path:
    """A video stream of a codec that nobody knows."""
    path = Clip().write(folder / "codec.mp4")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"avc1", b"zzzz"))
    return path


BAD_INPUTS = [
    (bad_missing, "does not exist"),
    (bad_empty, "is empty"),
    (bad_text, "is not a video"),
    (bad_folder, "holds no video"),
    (bad_sound, "only sound"),
    (bad_no_index, "is not a video|cut short"),
    (bad_cut, "cut short"),
    (bad_no_frames, "no video stream|no frame"),
    (bad_codec, "codec|cannot be decoded|no frame"),
]


@pytest.mark.parametrize(("bad", "words"), BAD_INPUTS, ids=[f.__name__ for f, _ in BAD_INPUTS])
def test_a_bad_input_gives_one_sentence_and_the_others_are_done(
    bad: Callable[[Path], Path],
    words: str,
    yaml: Path,
    good: Path,
    tmp_path: Path,
    detectors: object,
    capsys: Say,
) -> None:
    (tmp_path / "bad").mkdir()
    path = bad(tmp_path / "bad")
    out, report = tmp_path / "out", tmp_path / "report.json"
    status = run(yaml, path, good, "--output", out, "--report", report)
    said = capsys.readouterr()

    assert status == 1
    sentence = said.err.strip()
    assert "\n" not in sentence
    assert path.name in sentence
    assert re.search(words, sentence)
    first, second = json.loads(report.read_text())["clips"]
    assert (first["status"], second["status"]) == ("failed", "done")
    assert first["error"]["message"] == sentence
    assert sorted(p.name for p in out.iterdir()) == ["good.mp4"]


WRONG_USAGE = [
    (["--set", "detect.confidnce=0.4"], "detect.confidence"),
    (["--set", "detect.confidence=high"], "expected"),
    (["--cluster", ""], "address of a Ray cluster"),
    (["--bogus"], "bogus"),
    (["--profile", "turbo"], "turbo"),
]


@pytest.mark.parametrize(("words", "said"), WRONG_USAGE, ids=[" ".join(w) for w, _ in WRONG_USAGE])
def test_wrong_usage_touches_nothing(
    words: list[str], said: str, yaml: Path, good: Path, tmp_path: Path, capsys: Say
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert run(yaml, good, "--output", tmp_path / "out", *words) == 2
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("detect:\n  confidnce: 0.4\n", ":2:3: detect.confidnce: unknown key"),
        ("detect:\n  confidence: high\n", ":2:15: detect.confidence: expected a number"),
        ("detect: [\n", "pipeline.yaml"),
    ],
)
def test_a_wrong_yaml_names_the_line(
    text: str, said: str, yaml: Path, good: Path, capsys: Say
) -> None:
    yaml.write_text(text)
    assert run(yaml, good) == 2
    assert said in capsys.readouterr().err


def test_nothing_to_do(yaml: Path, capsys: Say) -> None:
    assert run(yaml) == 2
    assert "nothing to do" in capsys.readouterr().err


def test_one_output_file_for_two_inputs(
    yaml: Path, good: Path, tmp_path: Path, capsys: Say
) -> None:
    assert run(yaml, good, good, "--output", tmp_path / "one.mp4") == 2
    assert "exactly one" in capsys.readouterr().err


def test_the_output_may_name_a_file_and_its_extension_the_container(
    yaml: Path, good: Path, tmp_path: Path, detectors: object
) -> None:
    assert run(yaml, good, "--output", tmp_path / "deep" / "result.mkv") == 0
    assert (tmp_path / "deep" / "result.mkv").read_bytes()[:4] == b"\x1a\x45\xdf\xa3"


def test_over_the_input_and_over_an_old_result(
    yaml: Path, good: Path, tmp_path: Path, detectors: object, capsys: Say
) -> None:
    data = good.read_bytes()
    assert run(yaml, good, "--output", tmp_path, "--overwrite") == 1
    assert "input itself" in capsys.readouterr().err
    assert good.read_bytes() == data
    assert run(yaml, good, "--output", tmp_path / "out") == 0
    assert run(yaml, good, "--output", tmp_path / "out") == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run(yaml, good, "--output", tmp_path / "out", "--overwrite") == 0


def test_folders_are_mirrored_and_the_output_is_not_an_input(
    yaml: Path, good: Path, tmp_path: Path, detectors: object
) -> None:
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    for place in ("one.mp4", "a/one.mp4", "a/b/two.dat"):
        (tree / place).write_bytes(good.read_bytes())
    for attempt in range(2):
        words = ["--overwrite"] if attempt else []
        assert run(yaml, tree, "--output", tree / "out", *words) == 0
        found = sorted(p for p in (tree / "out").rglob("*") if p.is_file())
        names = [str(p.relative_to(tree / "out")) for p in found]
        assert names == ["a/b/two.dat", "a/one.mp4", "one.mp4"]


def test_two_clips_of_one_name_do_not_replace_each_other(
    yaml: Path, good: Path, tmp_path: Path, detectors: object, capsys: Say
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "good.mp4").write_bytes(good.read_bytes())
    words = (good, tmp_path / "other" / "good.mp4", "--output", tmp_path / "out", "--overwrite")
    assert run(yaml, *words) == 1
    assert "already the result" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(
    yaml: Path, good: Path, tmp_path: Path, detectors: object, capsys: Say
) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert run(yaml, good, "--output", tmp_path / "locked") == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_full_disk(
    yaml: Path,
    good: Path,
    tmp_path: Path,
    detectors: object,
    capsys: Say,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Full(FileIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(result_file, "FileIO", Full)
    report = tmp_path / "report.json"
    assert run(yaml, good, "--output", tmp_path / "out", "--report", report) == 1
    assert "no space left" in capsys.readouterr().err
    assert json.loads(report.read_text())["clips"][0]["error"]["kind"] == "no_space"
    assert list((tmp_path / "out").iterdir()) == []


def test_detect_on_stdout_and_to_a_file(
    yaml: Path, good: Path, tmp_path: Path, detectors: object, capsys: Say
) -> None:
    assert cli.call(["detect", str(yaml), str(good)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["version"], found["width"], found["height"]) == (1, 96, 64)
    for index, origin in ((0, "inferred"), (3, "filled")):
        mark = {"box": [16.0, 8.0, 48.0, 24.0], "confidence": 0.9, "origin": origin}
        pts = found["frames"][index]["pts"]
        assert found["frames"][index] == {"index": index, "pts": pts, "marks": [mark]}
    report = tmp_path / "boxes.json"
    assert cli.call(["detect", str(yaml), str(good), "--report", str(report)]) == 0
    assert json.loads(report.read_text()) == found
    assert cli.call(["detect", str(yaml), str(tmp_path / "none.mp4")]) == 1


def test_init_writes_the_default_once(tmp_path: Path, capsys: Say) -> None:
    path = tmp_path / "new.yaml"
    assert cli.call(["init", str(path)]) == 0
    assert path.read_text() == default_yaml()
    path.write_text("mine")
    assert cli.call(["init", str(path)]) == 2
    assert path.read_text() == "mine"
    assert "exists already" in capsys.readouterr().err


def test_models_are_listed_and_verified(capsys: Say) -> None:
    assert cli.call(["models", "list"]) == 0
    assert cli.call(["models", "verify"]) == 0
    assert capsys.readouterr().out.count("sora-detector") == 6
    assert cli.call(["models", "pull", "sora-detector"]) == 0
    assert "ships with the program" in capsys.readouterr().out
    assert cli.call(["models", "pull", "anything"]) == 2
    assert "--url" in capsys.readouterr().err
    assert cli.call(["models", "verify", "anything"]) == 2


@pytest.mark.parametrize("words", [["serve", "x.yaml"], [], ["nonsense"]])
def test_what_is_not_there_yet_and_what_never_was(words: list[str]) -> None:
    assert cli.call(words) == (0 if not words else 2)


def test_progress_in_plain_words(
    yaml: Path,
    good: Path,
    tmp_path: Path,
    detectors: object,
    capsys: Say,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sorawm_pipeline.clip_run.PROGRESS_INTERVAL_S", 0.0)
    monkeypatch.setattr("sorawm_pipeline.console.PLAIN_INTERVAL_S", 0.0)
    assert run(yaml, good, "--output", tmp_path / "out", "--progress", "plain") == 0
    said = capsys.readouterr()
    assert "good.mp4: started" in said.err
    assert "of 12" in said.err
    assert "fps" in said.err


def test_logs_are_json_lines_bound_to_the_clip(
    yaml: Path, good: Path, tmp_path: Path, detectors: object, capsys: Say
) -> None:
    yaml.write_text("log: {level: debug}\n")
    assert run(yaml, good, "--output", tmp_path / "out", "--log-format", "json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    ours = [line for line in lines if line["logger"] == "sorawm_pipeline.clip_run"]
    assert {line["event"] for line in ours} >= {"opened", "stage", "done"}
    assert all(line["clip"] == str(good) for line in ours)
    assert {line["stage"] for line in ours if line["event"] == "stage"} == {
        *("decode", "detect", "inpaint", "temporal", "encode"),
    }


SLOW_RUN = """
import sys, threading
from sorawm_pipeline import cli, warm
from tests.conftest import WhiteDetector

class Slow(WhiteDetector):
    def detect(self, images):
        print("detecting", flush=True)
        threading.Event().wait(0.05)
        return super().detect(images)

warm._load = lambda config: (Slow(), 0.4)
sys.exit(cli.call(sys.argv[1:]))
"""
SILENT_RUN = SLOW_RUN.replace('print("detecting", flush=True)', "pass").replace(
    "sys.exit(cli.call(sys.argv[1:]))", "sys.argv[0] = 'x'; cli.main()"
)


@pytest.mark.parametrize("signals", [2, 1], ids=["twice", "once"])
def test_interrupted(signals: int, yaml: Path, make_clip: MakeClip, tmp_path: Path) -> None:
    """Twice stops at once; once lets the running clip finish and takes no other."""
    first = make_clip("first.mp4", Clip(frames=400 if signals == 2 else 40))
    second = make_clip("second.mp4", Clip())
    report, out = tmp_path / "report.json", tmp_path / "out"
    words = ["run", yaml, first, second, "--output", out, "--report", report]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN, *map(str, words)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "detecting\n"
        process.send_signal(signal.SIGINT)
        assert "once more" in process.stderr.readline()
        if signals == 2:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    statuses = [clip["status"] for clip in json.loads(report.read_text())["clips"]]
    expected = ["interrupted", "interrupted"] if signals == 2 else ["done", "interrupted"]
    assert statuses == expected
    files = sorted(path.name for path in out.iterdir())
    assert files == ([] if signals == 2 else ["first.mp4"])


def test_help_needs_no_heavy_imports() -> None:
    code = (
        "import sys\nfrom sorawm_pipeline import cli\n"
        "assert cli.call(['--help']) == 0\n"
        "heavy = {'torch', 'av', 'cv2', 'numpy', 'ultralytics', 'onnxruntime', 'c2pa'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_input_of_the_call_is_never_an_output(
    yaml: Path, good: Path, tmp_path: Path, detectors: object, capsys: Say
) -> None:
    other = tmp_path / "other" / "good.mp4"
    other.parent.mkdir()
    other.write_bytes(good.read_bytes())
    before = good.read_bytes()
    assert run(yaml, other, good, "--output", tmp_path, "--overwrite") == 1
    assert "another input" in capsys.readouterr().err
    assert good.read_bytes() == before
    assert run(yaml, good, "--output", tmp_path / "out", "--report", good) == 2
    assert good.read_bytes() == before


def test_a_report_that_cannot_be_written_is_said_first(
    yaml: Path, good: Path, tmp_path: Path, capsys: Say
) -> None:
    words = ("--output", tmp_path / "out", "--report", tmp_path / "none" / "report.json")
    assert run(yaml, good, *words) == 2
    assert "none is not a folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_wrong_credentials_are_said_first(
    yaml: Path, good: Path, tmp_path: Path, capsys: Say
) -> None:
    words = ["--set", f"provenance.certificate={good}", "--set", f"provenance.key={good}"]
    assert run(yaml, good, "--output", tmp_path / "out", *words) == 2
    assert not (tmp_path / "out").exists()


def test_the_output_folder_may_hold_the_inputs(
    yaml: Path, good: Path, tmp_path: Path, detectors: object, capsys: Say
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    good.rename(clips / "good.mp4")
    assert run(yaml, clips, "--output", clips) == 1
    assert "input itself" in capsys.readouterr().err
    assert run(yaml, clips, "--output", tmp_path) == 0
    assert (tmp_path / "good.mp4").exists()


@pytest.mark.parametrize(
    "name", ["-dash.mp4", "new\nline.mp4", 'quo"te.mp4', "x" * 247 + ".mp4", "per%d cent.mp4"]
)
def test_hostile_names(
    name: str, yaml: Path, good: Path, tmp_path: Path, detectors: object, capsys: Say
) -> None:
    good.rename(tmp_path / name)
    assert run(yaml, tmp_path / name, "--output", tmp_path / "out") == 0
    assert len(rgb(tmp_path / "out" / name)) == 12
    (tmp_path / name).write_text("no film")
    assert run(yaml, tmp_path / name, "--output", tmp_path / "out2") == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_reader_of_the_results_may_go(yaml: Path, good: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.mp4"
    second.write_bytes(good.read_bytes())
    command = [sys.executable, "-c", SILENT_RUN, "run", yaml, good, second, "--output"]
    process = subprocess.Popen(
        [*map(str, command), str(tmp_path / "out")],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        process.communicate(timeout=60)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.mp4", "second.mp4"]


def test_closed_streams(yaml: Path, good: Path, tmp_path: Path) -> None:
    words = ["run", yaml, good, "--output", tmp_path / "out"]
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            'exec "$@" >&- 2>&-',
            "sh",
            sys.executable,
            "-c",
            SILENT_RUN,
            *map(str, words),
        ],
        cwd=Path(__file__).parents[1],
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert len(rgb(tmp_path / "out" / "good.mp4")) == 12
