"""One clip: what is prepared before its corridor, built for it, and finished after it.

Everything here blocks and runs on the clip's own thread; pipeline.py awaits it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sorawm_pipeline import __version__
from sorawm_pipeline.budget import room_for
from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.engine import Stage
from sorawm_pipeline.media import provenance
from sorawm_pipeline.media.clip import ClipInfo, Limits, probe
from sorawm_pipeline.media.encoders import choose_encoder, muxer_for
from sorawm_pipeline.media.provenance import (
    Credentials,
    Edit,
    ProvenanceReport,
    SourceProvenance,
)
from sorawm_pipeline.media.target import Target
from sorawm_pipeline.report import MarkReport
from sorawm_pipeline.stages.collect import Collect
from sorawm_pipeline.stages.decode import Decode
from sorawm_pipeline.stages.detect import Detect
from sorawm_pipeline.stages.encode import Encode, EncodeSettings
from sorawm_pipeline.stages.inpaint import Inpaint
from sorawm_pipeline.stages.temporal import Temporal
from sorawm_pipeline.vision.restore import inpainter_for
from sorawm_pipeline.vision.runs import Run
from sorawm_pipeline.warm import WarmDetector

AI_GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for media made by a trained model."""

LABEL_FRAMES = 10
"""A visible generator's mark that stays this long is believed to be one."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of one clip, in order; `last` is encode, or collect where nothing is written.

    `capacity` is what each queue between them holds.
    """

    capacity: int

    decode: Decode
    detect: Detect
    middle: tuple[Stage[Any, Any], ...]
    last: Encode | Collect

    @property
    def after_decode(self) -> Sequence[Stage[Any, Any]]:
        return self.detect, *self.middle, self.last


class ClipJob:
    """Prepare, build the stages, finish. Used once."""

    def __init__(self, config: PipelineConfig, source: Path) -> None:
        self.config = config
        self.source = source
        limits = config.decode.limits
        self.limits = Limits(limits.max_pixels, limits.max_seconds, limits.formats, limits.codecs)
        self.edit = Edit(
            f"sorawm-pipeline {__version__}",
            "visible overlay marks looked for and removed where found",
            datetime.now(UTC),
        )
        self.clip: ClipInfo
        self.target: Target | None = None
        self.origin: SourceProvenance

    def prepare(self, output: Path | None, *, overwrite: bool) -> None:
        """Check the output's place (None: nothing is written), probe, read the provenance.

        Raises:
            InputError: the source is not a clip that can be cleaned.
            OutputError: the result may not be written there.
        """
        self.clip = probe(self.source, self.limits)
        if output is not None:
            self.target = Target.prepare(self.source, output, overwrite=overwrite)
            self.origin = provenance.read_provenance(self.source)

    def stages(self, warm: WarmDetector) -> Stages:
        """Build the stages around a loaded detector.

        Raises:
            ConfigError: the memory budget is too small, or the container cannot hold the codec.
        """
        config, clip = self.config, self.clip
        window = config.temporal.window
        decode = Decode(clip, self.limits)
        room = room_for(clip, config, warm.detector.device, decode.held + 3 * window)
        detect_cap = warm.batch_cap(room.detect_batch, fixed=room.fixed_detect)
        detect = Detect(clip, warm.detector, detect_cap, window)
        if self.target is None:
            return Stages(room.capacity, decode, detect, (), Collect(clip.display, room.capacity))
        inpaint = Inpaint(
            clip,
            inpainter_for(config.inpaint.method),
            warm.batch_cap(room.inpaint_batch, fixed=room.fixed_inpaint),
            config.inpaint.margin,
        )
        temporal = Temporal(window, clip.layout.depth, room.capacity)
        encode = Encode(clip, self.limits, self.target.temporary, self._settings(), room.capacity)
        return Stages(room.capacity, decode, detect, (inpaint, temporal), encode)

    def finish(self, stages: Stages) -> ProvenanceReport:
        """Say in the finished file what it is, sign it, and give it its final name.

        Raises:
            OutputError: the disk refuses, or the name was taken meanwhile.
        """
        assert self.target is not None
        runs = stages.detect.runs
        origin = self._stated_origin(runs.all())
        edit = replace(
            self.edit,
            description=f"{self.edit.description}; {runs.marked_frames} frames changed",
        )
        finished = self.target.temporary
        report = provenance.seal(
            finished,
            source_path=self.source,
            source=origin,
            edit=edit,
            digital_source_type=origin.digital_source_type,
            credentials=self._credentials(),
            state_dir=state_folder(),
        )
        beside = provenance.statement_beside(
            finished, self.source, edit, origin.digital_source_type
        )
        if beside is not None:
            self.target.publish_beside(".xmp", beside)
        self.target.publish()
        return report

    def discard(self) -> None:
        """Remove an unpublished result."""
        if self.target is not None:
            self.target.discard()

    def _settings(self) -> EncodeSettings:
        assert self.target is not None
        encode = self.config.encode
        muxer = muxer_for(self.target.path.name, self.clip.format_name)
        return EncodeSettings(
            choice=choose_encoder(encode.codec, self.clip.codec, muxer),
            muxer=muxer,
            preset=encode.preset,
            crf=encode.crf,
            bitrate=encode.bitrate,
            tags=provenance.container_tags(self.origin, self.edit, self.origin.digital_source_type),
        )

    def _credentials(self) -> Credentials | None:
        wanted = self.config.provenance
        if wanted.certificate is None or wanted.key is None:
            return None
        return Credentials(wanted.certificate, wanted.key)

    def _stated_origin(self, runs: Sequence[Run]) -> SourceProvenance:
        """What the source says of itself, its visible mark included.

        A generator's visible mark is its own statement that the picture was generated. Removing
        it must not remove the statement, so it is carried on in machine-readable form.
        """
        labelled = any(run.frames >= LABEL_FRAMES for run in runs)
        builtin = self.config.detect.weights == "builtin"
        if self.origin.digital_source_type is None and builtin and labelled:
            return replace(
                self.origin,
                digital_source_type=AI_GENERATED,
                basis="visible mark",
                generator=self.origin.generator or "Sora",
            )
        return self.origin


def state_folder() -> Path:
    """Where this program keeps what outlives a run, by the XDG rules."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "sorawm-pipeline"


def mark_reports(clip: ClipInfo, runs: Sequence[Run]) -> tuple[MarkReport, ...]:
    """Runs as the report lists them, in displayed pixels."""
    return tuple(
        MarkReport(
            first_frame=run.first_frame,
            last_frame=run.last_frame,
            box=clip.display.to_shown(run.box).as_tuple(),
            confidence=run.confidence,
            filled_frames=run.filled_frames,
        )
        for run in runs
    )
