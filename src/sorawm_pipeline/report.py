r"""The report: what happened to every clip, as one JSON object, and how it reaches the disk.

Field names and meanings are public; a change of meaning needs a new `version`. Numbers are always
finite. Text is always valid UTF-8: bytes of a file name that are not UTF-8 appear as `\xNN`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat

from sorawm_pipeline.errors import OutputError, PipelineError


def readable(value: object) -> object:
    r"""Text or a path as valid UTF-8, its other bytes as `\xNN`; anything else as it is."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, str) and not value.isascii():
        return _SURROGATE.sub(_escape, value)
    return value


_SURROGATE = re.compile("[\ud800-\udfff]")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    # os.fsdecode turns byte 0xNN into U+DCNN (PEP 383)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


Text = Annotated[str, BeforeValidator(readable)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[FiniteFloat, Field(ge=0)]
Confidence = Annotated[FiniteFloat, Field(ge=0, le=1)]
Box = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
"""x0, y0, x1, y1 in pixels of the displayed picture, x right, y down, half-open."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ErrorReport(_Model):
    """Why a clip failed: a machine-readable kind, the stage or None, one sentence to act on."""

    kind: Text
    stage: Text | None = None
    message: Text

    @classmethod
    def of(cls, error: BaseException) -> ErrorReport:
        """The report of an exception; one not raised on purpose has kind `internal`."""
        if isinstance(error, PipelineError):
            return cls(kind=error.kind, stage=error.stage, message=error.message)
        return cls(kind="internal", message=f"{type(error).__name__}: {error}")


class FramesReport(_Model):
    """Frames decoded, frames encoded, frames with at least one mark."""

    decoded: Count = 0
    encoded: Count = 0
    marked: Count = 0


class DetectorReport(_Model):
    """What looked for marks; `fallback` says why not in a faster way, if that was asked for."""

    frames_inferred: Count
    runtime: Literal["torch", "onnxruntime", "openvino", "tensorrt", "none"]
    device: Text
    weights_sha256: Text
    fallback: Text | None = None
    precision: Text | None = None


class InpainterReport(_Model):
    """How marks were filled; `fallback` says why in no faster form than the plain one, if so."""

    method: Text
    runtime: Text
    device: Text
    weights_sha256: Text | None = None
    precision: Text | None = None
    fallback: Text | None = None


class TriedEncoder(_Model):
    """An encoder that was wanted first and did not open."""

    codec: Text
    error: Text


class DecoderReport(_Model):
    """The device that decoded, or None for software; `tried` says which were wanted first.

    `kept_on_device` is whether the detector's pictures were made there; `not_kept` says why they
    were not, where a device decoded.
    """

    device: Text | None = None
    tried: tuple[TriedEncoder, ...] = ()
    kept_on_device: bool = False
    not_kept: Text | None = None


class SpliceReport(_Model):
    """How much of the picture was copied, not encoded again; `reason` says why nothing was."""

    gops: Count = 0
    copied_gops: Count = 0
    copied_frames: Count = 0
    reason: Text | None = None


class ScoutReport(_Model):
    """A first look at key frames alone.

    `copied` says whether they showed nothing and the clip was copied as it is; `reason` what that
    rests on, or why the whole clip was searched after all. The looks of that search are counted in
    `DetectorReport.frames_inferred`, these in this `frames_inferred`.
    """

    copied: bool
    frames_inferred: Count
    reason: Text


class EncoderReport(_Model):
    """How the result was encoded.

    `left_out` says which streams its container could not take, and what else of the source the
    result does not tell any more.
    """

    codec: Text
    hardware: bool = False
    tried: tuple[TriedEncoder, ...] = ()
    left_out: tuple[Text, ...] = ()
    splice: SpliceReport | None = None


class MarkReport(_Model):
    """One mark over a run of frames.

    `last_frame` is inclusive; `filled_frames` counts those whose box was not inferred but filled
    in from their neighbours.
    """

    first_frame: Count
    last_frame: Count
    box: Box
    confidence: Confidence
    filled_frames: Count = 0


class StageReport(_Model):
    """What a stage did with its time: computing, waiting for input, waiting for room behind it."""

    items: Count = 0
    batches: Count = 0
    busy_s: Seconds = 0.0
    wait_in_s: Seconds = 0.0
    wait_out_s: Seconds = 0.0

    def plus(self, other: StageReport) -> StageReport:
        return StageReport(
            items=self.items + other.items,
            batches=self.batches + other.batches,
            busy_s=self.busy_s + other.busy_s,
            wait_in_s=self.wait_in_s + other.wait_in_s,
            wait_out_s=self.wait_out_s + other.wait_out_s,
        )


class QueueReport(_Model):
    """A queue between two stages; `peak` near `capacity` means the stage behind it is slower."""

    capacity: Count
    peak: Count


class LiveReport(_Model):
    """Frames alive at once: the bound found by arithmetic and the peak that was counted."""

    bound: Count
    peak: Count


class PartReport(_Model):
    """What corridors did for a clip, or for a part of it; `decoded` counts frames read."""

    decoded: Count = 0
    encoded: Count = 0
    decoder: DecoderReport | None = None
    detector: DetectorReport | None = None
    inpainter: InpainterReport | None = None
    stages: dict[str, StageReport] = {}
    queues: dict[str, QueueReport] = {}
    live_frames: LiveReport = LiveReport(bound=0, peak=0)

    def with_part(self, other: PartReport) -> PartReport:
        """Both together: what was done is added up, of what was filled the fullest is told."""
        stages, queues = dict(self.stages), dict(self.queues)
        for name, stage in other.stages.items():
            stages[name] = stages[name].plus(stage) if name in stages else stage
        for name, queue in other.queues.items():
            known = queues.get(name)
            queues[name] = queue if known is None or known.peak < queue.peak else known
        return PartReport(
            decoded=self.decoded + other.decoded,
            encoded=self.encoded + other.encoded,
            decoder=other.decoder or self.decoder,
            detector=other.detector or self.detector,
            inpainter=other.inpainter or self.inpainter,
            stages=stages,
            queues=queues,
            live_frames=max(self.live_frames, other.live_frames, key=lambda live: live.peak),
        )


class PiecesReport(_Model):
    """How a clip was done in pieces.

    `found` and `restored` count the pieces of each kind done in this run; `reused` those of either
    kind that an earlier one had done. `reason` says why it was done in one go, if it was long
    enough for pieces.
    """

    pieces: Count = 0
    found: Count = 0
    restored: Count = 0
    reused: Count = 0
    reason: Text | None = None


class ProvenanceReport(_Model):
    """Whether the source had a C2PA manifest, whether the result is signed, and as what.

    `basis` says where the digital source type is known from: `c2pa`, `xmp`, `metadata` or
    `visible mark`. The source's manifest was found in the state `source_validation` with the issues
    `source_issues`; where `source_hashes_hold` is false it is carried on, and not vouched for.
    `note` says in words what became of it and by whom the result is signed.
    """

    source_manifest: bool = False
    signed: bool = False
    digital_source_type: Text | None = None
    basis: Text | None = None
    source_validation: Text | None = None
    source_issues: tuple[Text, ...] = ()
    source_hashes_hold: bool | None = None
    note: Text | None = None


Status = Literal["done", "failed", "skipped", "interrupted"]


class VerifyReport(_Model):
    """What a second look at the result saw: frames that still showed a mark, at first and at last.

    `repaired` says whether the clip was cleaned once more in between.
    """

    residual_frames: Count
    repaired: bool = False
    residual_marks: tuple[MarkReport, ...] = ()


class ClipReport(_Model):
    """One clip. What a clip that failed early never reached is null or zero.

    `wall_s` runs from opening the clip to the published file; loading models is in `startup_s`.
    `peak_rss_bytes` is the process's peak so far, earlier clips included.
    """

    input: Text
    output: Text | None = None
    status: Status
    error: ErrorReport | None = None
    frames: FramesReport = FramesReport()
    startup_s: Seconds = 0.0
    wall_s: Seconds = 0.0
    fps: Seconds = 0.0
    peak_rss_bytes: Count = 0
    detector: DetectorReport | None = None
    inpainter: InpainterReport | None = None
    encoder: EncoderReport | None = None
    marks: tuple[MarkReport, ...] = ()
    stages: dict[str, StageReport] = Field(default_factory=dict)
    queues: dict[str, QueueReport] = Field(default_factory=dict)
    live_frames: LiveReport | None = None
    provenance: ProvenanceReport | None = None
    verification: VerifyReport | None = None
    decoder: DecoderReport | None = None
    pieces: PiecesReport | None = None
    scout: ScoutReport | None = None


class Report(_Model):
    """What `run --report FILE` writes."""

    version: Literal[1] = 1
    clips: tuple[ClipReport, ...] = ()


class FrameMark(_Model):
    box: Box
    confidence: Confidence
    origin: Literal["inferred", "filled", "given"]


class FrameMarks(_Model):
    """The marks of one frame; `pts` in ticks of the clip's time base, null if it has none."""

    index: Count
    pts: int | None
    marks: tuple[FrameMark, ...] = ()


class DetectReport(_Model):
    """What `detect --report FILE` writes; width and height are those of the displayed picture."""

    version: Literal[1] = 1
    input: Text
    width: Count
    height: Count
    frames_inferred: Count
    frames: tuple[FrameMarks, ...] = ()


def to_json(model: BaseModel) -> str:
    """`model` as indented JSON in ASCII with a final newline.

    Raises:
        ValueError: it holds NaN or Infinity, which JSON cannot express.
    """
    return json.dumps(model.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"


def write_json(path: Path | str, model: BaseModel) -> None:
    """Write `model` to `path` so that a reader sees the old file or the new one, never a part.

    A `path` that is a device or a pipe is written straight; a symbolic link is followed.

    Raises:
        OutputError: the file cannot be written there; kind `no_space` when the disk is full.
    """
    path = Path(path)
    data = to_json(model).encode("ascii")
    try:
        if _is_special(path):
            path.write_bytes(data)
        else:
            _replace(path.resolve(), data)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise OutputError(
            f"cannot write {readable(path)}: {os.strerror(error.errno or 0)}",
            kind="no_space" if full else None,
        ) from error


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _replace(path: Path, data: bytes) -> None:
    temporary = path.parent / f".sorawm-{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
