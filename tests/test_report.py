"""The report's JSON is what the contract says, and reaches the disk whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from sorawm_pipeline.errors import InputError, OutputError, StageError
from sorawm_pipeline.report import (
    ClipReport,
    DetectorReport,
    DetectReport,
    EncoderReport,
    ErrorReport,
    FrameMark,
    FrameMarks,
    FramesReport,
    InpainterReport,
    LiveReport,
    MarkReport,
    PiecesReport,
    ProvenanceReport,
    QueueReport,
    Report,
    StageReport,
    TriedEncoder,
    VerifyReport,
    readable,
    to_json,
    write_json,
)

FULL = Report(
    clips=(
        ClipReport(
            input="in.mp4",
            output="out.mp4",
            status="done",
            frames=FramesReport(decoded=300, encoded=300, marked=296),
            startup_s=0.5,
            wall_s=10.0,
            fps=30.0,
            peak_rss_bytes=123,
            detector=DetectorReport(
                frames_inferred=300, runtime="onnxruntime", device="cpu", weights_sha256="ab"
            ),
            inpainter=InpainterReport(method="telea", runtime="opencv", device="cpu"),
            encoder=EncoderReport(
                codec="libx264", tried=(TriedEncoder(codec="h264_nvenc", error="no driver"),)
            ),
            marks=(
                MarkReport(
                    first_frame=0, last_frame=65, box=(36, 112, 186, 163), confidence=0.9,
                    filled_frames=1,
                ),
            ),
            stages={
                "decode": StageReport(
                    items=300, batches=80, busy_s=1.0, wait_in_s=0.1, wait_out_s=2.0
                )
            },
            queues={"decode->detect": QueueReport(capacity=4, peak=4)},
            live_frames=LiveReport(bound=60, peak=42),
            provenance=ProvenanceReport(
                source_manifest=True, signed=True, digital_source_type="x/trainedAlgorithmicMedia",
                basis="c2pa", source_validation="Invalid",
                source_issues=("signingCredential.expired",), source_hashes_hold=True,
                note="Signed.",
            ),
            verification=VerifyReport(residual_frames=3, repaired=True),
            pieces=PiecesReport(pieces=5, found=1, restored=2, reused=7),
        ),
    )
)  # fmt: skip

CONTRACT = """
{"version": 1, "clips": [{
  "input": "in.mp4", "output": "out.mp4", "status": "done", "error": null,
  "frames": {"decoded": 300, "encoded": 300, "marked": 296},
  "startup_s": 0.5, "wall_s": 10.0, "fps": 30.0, "peak_rss_bytes": 123,
  "detector": {"frames_inferred": 300, "runtime": "onnxruntime", "device": "cpu",
               "weights_sha256": "ab", "fallback": null, "precision": null},
  "inpainter": {"method": "telea", "runtime": "opencv", "device": "cpu", "weights_sha256": null,
                "precision": null, "fallback": null},
  "encoder": {"codec": "libx264", "hardware": false,
              "tried": [{"codec": "h264_nvenc", "error": "no driver"}], "left_out": [],
              "splice": null},
  "marks": [{"first_frame": 0, "last_frame": 65, "box": [36, 112, 186, 163], "confidence": 0.9,
             "filled_frames": 1}],
  "stages": {"decode": {"items": 300, "batches": 80, "busy_s": 1.0, "wait_in_s": 0.1,
                        "wait_out_s": 2.0}},
  "queues": {"decode->detect": {"capacity": 4, "peak": 4}},
  "live_frames": {"bound": 60, "peak": 42},
  "provenance": {"source_manifest": true, "signed": true,
                 "digital_source_type": "x/trainedAlgorithmicMedia", "basis": "c2pa",
                 "source_validation": "Invalid", "source_issues": ["signingCredential.expired"],
                 "source_hashes_hold": true, "note": "Signed."},
  "verification": {"residual_frames": 3, "repaired": true, "residual_marks": []},
  "decoder": null,
  "pieces": {"pieces": 5, "found": 1, "restored": 2, "reused": 7, "reason": null},
  "scout": null
}]}
"""


def small() -> Report:
    return Report(clips=(ClipReport(input="a.mp4", status="skipped"),))


def names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


# what is in it


def test_the_report_is_the_contract_key_by_key_in_order() -> None:
    assert list(json.loads(to_json(FULL)).items()) == list(json.loads(CONTRACT).items())
    ours, contract = json.loads(to_json(FULL))["clips"][0], json.loads(CONTRACT)["clips"][0]
    assert list(ours) == list(contract)


def test_the_report_of_detect_is_the_contract() -> None:
    found = DetectReport(
        input="a.mp4",
        width=704,
        height=1280,
        frames_inferred=2,
        frames=(
            FrameMarks(
                index=0,
                pts=0,
                marks=(FrameMark(box=(1, 2, 3, 4.5), confidence=0.5, origin="filled"),),
            ),
            FrameMarks(index=1, pts=None),
        ),
    )
    assert json.loads(to_json(found)) == {
        "version": 1,
        "input": "a.mp4",
        "width": 704,
        "height": 1280,
        "frames_inferred": 2,
        "frames": [
            {
                "index": 0,
                "pts": 0,
                "marks": [{"box": [1.0, 2.0, 3.0, 4.5], "confidence": 0.5, "origin": "filled"}],
            },
            {"index": 1, "pts": None, "marks": []},
        ],
    }


def test_a_report_can_be_read_back() -> None:
    assert Report.model_validate_json(to_json(FULL)) == FULL


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -1.0])
def test_a_number_that_is_not_finite_or_negative_is_refused(number: float) -> None:
    with pytest.raises(ValidationError):
        StageReport(busy_s=number)
    with pytest.raises(ValidationError):
        FrameMark(box=(0, 0, 1, 1), confidence=number, origin="inferred")


def test_json_refuses_nan_whatever_the_model_says() -> None:
    class Loose(BaseModel):
        number: float

    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(Loose(number=math.nan))


def test_errors_on_purpose_tell_kind_and_stage_others_are_internal() -> None:
    assert ErrorReport.of(InputError("no", kind="too_large", stage="decode")) == ErrorReport(
        kind="too_large", stage="decode", message="no"
    )
    assert ErrorReport.of(StageError("broke", stage="encode")).stage == "encode"
    assert ErrorReport.of(ZeroDivisionError("x")) == ErrorReport(
        kind="internal", message="ZeroDivisionError: x"
    )


# file names


def test_a_file_name_that_is_not_utf8_survives(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9 \xf0\x9f\x8e\xac.mp4")
    report = ClipReport(input=path, status="failed", error=ErrorReport.of(InputError(f"{path}!")))  # type: ignore[arg-type]
    text = to_json(report)
    assert json.loads(text)["input"] == f"{tmp_path}/caf\\xe9 \U0001f3ac.mp4"
    assert json.loads(text)["error"]["message"].endswith("caf\\xe9 \U0001f3ac.mp4!")


@given(st.binary(max_size=30))
def test_any_file_name_is_readable_utf8(name: bytes) -> None:
    text = readable(os.fsdecode(name))
    assert isinstance(text, str)
    assert text.encode("utf-8").decode("utf-8") == text
    assert readable(name) == text
    assert readable(text) == text


def test_other_surrogates_are_escaped_too() -> None:
    assert readable("a\ud800b") == "a\\ud800b"


# on the disk


def test_written_whole_with_the_usual_permissions(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_json(path, small())
    assert json.loads(path.read_text("ascii")) == json.loads(to_json(small()))
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert names(tmp_path) == ["r.json"]


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_json(path, small())
    stop, seen = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            seen.append(len(json.loads(path.read_bytes())["clips"]))

    reader = threading.Thread(target=read)
    reader.start()
    for count in range(1, 20):
        write_json(path, Report(clips=small().clips * count))
    stop.set()
    reader.join()
    assert seen == sorted(seen)


def fail(monkeypatch: pytest.MonkeyPatch, function: str, code: int) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, function, refuse)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.ENOSPC, "no_space"), (errno.EDQUOT, "no_space"), (errno.EACCES, "output"),
     (errno.EIO, "output")],
)  # fmt: skip
def test_a_disk_that_refuses_leaves_the_old_report_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: str
) -> None:
    path = tmp_path / "r.json"
    path.write_text("old")
    fail(monkeypatch, "fsync", code)
    with pytest.raises(OutputError) as caught:
        write_json(path, small())
    assert caught.value.kind == kind
    assert caught.value.message == f"cannot write {path}: {os.strerror(code)}"
    assert path.read_text() == "old"
    assert names(tmp_path) == ["r.json"]


def test_a_missing_folder_and_a_folder_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory"):
        write_json(tmp_path / "no" / "r.json", small())
    with pytest.raises(OutputError, match="Is a directory"):
        write_json(tmp_path, small())
    assert names(tmp_path) == []


def test_both_file_and_folder_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_json(tmp_path / "r.json", small())
    assert synced == ["file", "folder"]


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "r.json"
    link.symlink_to(tmp_path / "real" / "r.json")
    write_json(link, small())
    assert link.is_symlink()
    assert json.loads(link.read_text())["version"] == 1


def test_a_pipe_is_written_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    texts: list[str] = []
    reader = threading.Thread(target=lambda: texts.append(pipe.read_text()))
    reader.start()
    write_json(pipe, small())
    reader.join(10)
    assert texts == [to_json(small())]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_very_long_name_has_room_for_its_temporary_name(tmp_path: Path) -> None:
    path = tmp_path / ("r" * 250 + ".json")
    write_json(path, small())
    assert path.is_file()
