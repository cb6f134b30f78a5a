"""One clip: what is prepared before its corridor, built for it, and finished after it.

Everything here blocks and runs on the clip's own thread; clip_run.py awaits it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sorawm_pipeline import __version__
from sorawm_pipeline.budget import Room, frame_bytes, keeps_pictures, room_for
from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.config_sections import EncodeConfig
from sorawm_pipeline.engine import Stage
from sorawm_pipeline.hardware.codecs import accelerator_for
from sorawm_pipeline.media import provenance
from sorawm_pipeline.media.clip import ClipInfo, Limits, probe
from sorawm_pipeline.media.encoders import (
    EncoderChoice,
    choose_encoder,
    muxer_for,
    pixel_format_for,
)
from sorawm_pipeline.media.gops import Gops, survey
from sorawm_pipeline.media.hardware_encoders import hardware_choice
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.media.provenance import (
    Credentials,
    Edit,
    ProvenanceReport,
    SourceProvenance,
)
from sorawm_pipeline.media.source_quality import most_bits, read_sample
from sorawm_pipeline.media.target import Target
from sorawm_pipeline.media.timeline import Span
from sorawm_pipeline.report import MarkReport
from sorawm_pipeline.stages.collect import Collect
from sorawm_pipeline.stages.decode import Decode
from sorawm_pipeline.stages.detect import Detect
from sorawm_pipeline.stages.device_pictures import gpu_for
from sorawm_pipeline.stages.encode import Encode, EncodeSettings
from sorawm_pipeline.stages.inpaint import Inpaint
from sorawm_pipeline.stages.redecode import Redecode
from sorawm_pipeline.stages.temporal import Temporal
from sorawm_pipeline.stages.trial import matched_quality
from sorawm_pipeline.state import state_folder
from sorawm_pipeline.vision.regions import Regions
from sorawm_pipeline.vision.restore import Inpainter
from sorawm_pipeline.vision.runs import Run, Runs
from sorawm_pipeline.vision.tracks import Marks
from sorawm_pipeline.warm import WarmDetector

AI_GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for media made by a trained model."""

TRACK_WINDOW = 5
"""Frames on either side that tracks look at."""

LABEL_FRAMES, LABEL_LOOKS, LABEL_CONFIDENCE = 30, 2, 0.5
"""What a generator's mark is believed from: frames, looks that saw it, its mean confidence."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of one clip, in order; `last` is encode, or collect where nothing is written.

    `capacities` are those of the queues between them.
    """

    capacities: tuple[int, ...]
    decode: Decode
    detect: Detect
    middle: tuple[Stage[Any, Any], ...]
    last: Encode | Collect
    inpainter: Inpainter | None

    @property
    def after_decode(self) -> Sequence[Stage[Any, Any]]:
        return self.detect, *self.middle, self.last


class ClipJob:
    """Prepare, build the stages, seal, publish. Used once."""

    def __init__(self, config: PipelineConfig, source: Path) -> None:
        self.config = config
        self.source = source
        self.limits = Limits.of(config.decode.limits)
        self.removes = config.inpaint.method != "none"
        done = "removed where found" if self.removes else "none removed"
        self.edit = Edit(
            f"sorawm-pipeline {__version__}",
            f"picture re-encoded where needed; visible overlay marks looked for, {done}",
            datetime.now(UTC),
        )
        self.clip: ClipInfo
        self.left: dict[int, Marks] = {}
        self.target: Target | None = None
        self.origin: SourceProvenance
        self.settings: EncodeSettings
        self.writes = False
        self.whole: str | None = None
        self.tried: list[tuple[str, str]] = []
        self._software: EncoderChoice
        self._settled = False
        self.accelerator: str | None = None
        self.devices_tried: list[tuple[str, str]] = []
        self.kept_on: int | None = None
        self.not_kept = ""

    def prepare(self, output: Path | None, *, overwrite: bool) -> None:
        """Check everything that can be known before the first frame; None: nothing is written.

        Raises:
            InputError: the source is not a clip that can be cleaned.
            OutputError: the result may not be written there.
            ConfigError: the container cannot hold the codec, or the credentials cannot be used.
        """
        self.clip = probe(self.source, self.limits)
        if self.config.decode.hardware:
            self.accelerator, self.devices_tried = accelerator_for(self.clip.codec)
        self.writes = output is not None
        if output is not None:
            self.target = Target.prepare(self.source, output, overwrite=overwrite)
            self.origin = provenance.read_provenance(self.source, self.clip.checked)
            self.settings = self._settings(self.target)
            provenance.identity(credentials(self.config), state_folder())

    def stages(self, warm: WarmDetector) -> Stages:
        """Build the stages around a loaded detector.

        Raises:
            ConfigError: the memory budget is too small.
        """
        inpainter = None if self.target is None else warm.inpainter(self.clip.layout)
        room = self.room(warm, inpainter)
        detect = self.detect(warm, room)
        waiting = room.capacities[0] + 2 * detect.max_cap + detect.held + 1
        self.kept_on, self.not_kept = gpu_for(
            self.accelerator, warm.detector.device, waiting * frame_bytes(self.clip)
        )
        decode = Decode(self.clip, self.limits, self.accelerator, keep_on=self.kept_on)
        if self.target is None:
            collect = Collect(self.clip.display, room.capacity)
            return Stages((room.capacities[0], room.capacity), decode, detect, (), collect, None)
        middle = self.inpaint(warm, room, inpainter), *self.temporal(room)
        target = self.target.temporary
        encode = Encode(self.clip, self.limits, target, self.settings, room.capacity, self.settled)
        return Stages(room.capacities, decode, detect, middle, encode, inpainter)

    def room(self, warm: WarmDetector, inpainter: Inpainter | None) -> Room:
        """Sizes of the corridor, whether all of it is built or a part.

        Raises:
            ConfigError: the memory budget is too small.
        """
        device, config = warm.detector.device, self.config
        keeps = not self.writes or keeps_pictures(self.clip, config, device)
        held = Decode.held + Detect.held_for(1, TRACK_WINDOW)
        if self.writes:
            ahead = config.temporal.window if keeps else 1 + Decode.held + Redecode.max_cap
            held += Inpaint.held_for(inpainter) + ahead + Encode.held_for(self.settings)
        return room_for(self.clip, config, device, held, keeps=keeps)

    def detect(self, warm: WarmDetector, room: Room) -> Detect:
        config, clip = self.config, self.clip
        return Detect(
            clip,
            warm.detector,
            warm.batch_cap(room.detect_batch, config.detect.batch),
            stride=room.stride,
            believe=warm.believe,
            window=TRACK_WINDOW,
            regions=Regions(config.detect.regions, clip.display, clip.time_base, self.left),
        )

    def inpaint(
        self, warm: WarmDetector, room: Room, inpainter: Inpainter | None, behind: int = 0
    ) -> Inpaint:
        config = self.config.inpaint
        cap = warm.batch_cap(room.inpaint_batch, config.batch)
        return Inpaint(self.clip, inpainter, cap, config.margin, behind)

    def temporal(
        self, room: Room, span: Span | None = None
    ) -> tuple[Temporal] | tuple[Temporal, Redecode]:
        """Temporal, and what gives its frames their pictures back if they let go of them.

        Args:
            room: of the corridor.
            span: the only pictures that are decoded; None for all.
        """
        window = self.config.temporal.window
        temporal = Temporal(self.clip, window, room.capacity, keeps=room.keeps)
        if room.keeps:
            return (temporal,)
        return temporal, Redecode(Decode(self.clip, self.limits, self.accelerator, span))

    def seal(self, runs: Runs) -> ProvenanceReport:
        """Say in the finished file, and beside it where it cannot, what it is; sign it.

        Raises:
            OutputError: the disk refuses.
        """
        assert self.target is not None
        origin = self._stated_origin(runs.all())
        changed = runs.marked_frames if self.removes else 0
        concluded = "; origin concluded from a visible mark" if origin != self.origin else ""
        edit = replace(
            self.edit,
            description=f"{self.edit.description}; {changed} frames changed{concluded}",
        )
        report = provenance.seal(
            self.target.temporary,
            source_path=self.source,
            source=origin,
            edit=edit,
            digital_source_type=origin.digital_source_type,
            credentials=credentials(self.config),
            state_dir=state_folder(),
        )
        self.target.beside = report.beside
        return report

    def decode_in_software(self, reason: str) -> None:
        """Begin again without a device, and say why; what was written is removed."""
        assert self.accelerator is not None
        self.discard()
        self.devices_tried = [*self.devices_tried, (self.accelerator, reason)]
        self.accelerator = None

    def encode_in_software(self, reason: str) -> None:
        """Begin again without the encoder in hardware, and say why; what was written is removed."""
        assert self.target is not None
        self.discard()
        self.tried = [*self.tried, (self.settings.choice.encoder, reason)]
        gops = self._gops(self._software, self.settings.muxer)
        self.settings = replace(self.settings, choice=self._software, gops=gops)

    def encode_all(self, reason: str) -> None:
        """Copy no packet, and say why; what was written so far is removed."""
        self.discard()
        self.whole = reason
        self.settings = replace(self.settings, gops=None)

    def publish(self) -> None:
        """Give the result its final name.

        Raises:
            OutputError: the disk refuses, or the name was taken meanwhile.
        """
        assert self.target is not None
        self.target.publish()

    def discard(self) -> None:
        """Remove an unpublished result."""
        if self.target is not None:
            self.target.discard()

    def settled(self) -> EncodeSettings:
        """Choose from the source how finely it is encoded, where that is left open; once.

        Some pictures are decoded and encoded for it, so only where there is something to encode.

        Raises:
            InputError: the source cannot be read any more, or its encoder does not take it.
        """
        if not self._settled:
            self._settle()
            self._settled = True
        return self.settings

    def _settle(self) -> None:
        sample = read_sample(self.clip, self.limits, self._software.codec)
        gop = None if sample is None else sample.gop
        self.settings = replace(self.settings, gop=gop)
        if self.config.encode.quality != "auto":
            return
        software = replace(self.settings, choice=self._software)
        crf = None if sample is None else matched_quality(self.clip, sample, software)
        most = None if crf is not None else most_bits(self.clip, self.limits, self._software)
        self.settings = replace(self.settings, crf=crf, most=most)

    def _settings(self, target: Target) -> EncodeSettings:
        encode, clip = self.config.encode, self.clip
        muxer = muxer_for(target.path.name, clip.format_name)
        choice = self._software = choose_encoder(encode.codec, clip, muxer)
        origin = self.origin
        if self.config.encode.hardware:
            in_hardware, self.tried = hardware_choice(choice, clip.layout)
            choice = in_hardware or choice
        return EncodeSettings(
            gops=self._gops(choice, muxer),
            choice=choice,
            muxer=muxer,
            preset=encode.preset,
            crf=encode.crf,
            bitrate=encode.bitrate,
            tags=provenance.container_tags(origin, self.edit, origin.digital_source_type),
        )

    def _gops(self, choice: EncoderChoice, muxer: str) -> Gops | None:
        """The groups of pictures that may be copied; `whole` says why none may."""
        self.whole = None
        try:
            return groups(self.clip, self.limits, self.config.encode, choice, muxer)
        except Unfit as reason:
            self.whole = str(reason)
            return None

    def _stated_origin(self, runs: Sequence[Run]) -> SourceProvenance:
        """What the source says of itself, its visible mark included.

        A generator's visible mark is its own statement that the picture was generated. Removing
        it must not remove the statement, so it is carried on in machine-readable form.
        """
        runs = [run for run in runs if not run.given]
        frames = sum(run.frames for run in runs)
        looks = frames - sum(run.filled_frames for run in runs)
        mean = sum(run.frames * run.confidence for run in runs) / max(1, frames)
        labelled = frames >= LABEL_FRAMES and looks >= LABEL_LOOKS and mean >= LABEL_CONFIDENCE
        builtin = self.config.detect.weights == "builtin"
        if self.origin.digital_source_type is None and builtin and labelled:
            return replace(
                self.origin,
                digital_source_type=AI_GENERATED,
                basis="visible mark",
                generator=self.origin.generator or "Sora",
            )
        return self.origin


SPLICED = {
    "mov,mp4,m4a,3gp,3g2,mj2": ("mp4", "mov", "matroska"),
    "matroska,webm": ("matroska",),
    "mpegts": ("mpegts",),
}
"""Which muxers take the packets of which demuxers as they are."""


def groups(
    clip: ClipInfo, limits: Limits, encode: EncodeConfig, choice: EncoderChoice, muxer: str
) -> Gops:
    """The clip's groups of pictures, where those without a change may be copied.

    Raises:
        Unfit: they may not, and why.
    """
    if encode.splice == "off":
        raise Unfit("encode.splice is off")
    if encode.codec != "source" or encode.quality != "auto":
        raise Unfit("a codec or a quality was asked for")
    if choice.codec != clip.codec:
        raise Unfit(f"its {clip.codec} is encoded as {choice.codec}")
    if choice.encoder not in ("libx264", "libx265"):
        raise Unfit(f"what {choice.encoder} writes is not put beside other packets")
    if muxer not in SPLICED.get(clip.format_name, ()):
        raise Unfit(f"a {muxer} file takes packets of this kind of input in another form")
    if pixel_format_for(choice.encoder, clip.layout.name) != clip.pixel_format:
        raise Unfit(f"{choice.encoder} does not encode {clip.pixel_format}")
    return survey(clip, limits)


def credentials(config: PipelineConfig) -> Credentials | None:
    """The user's own certificate and key, if configured."""
    wanted = config.provenance
    if wanted.certificate is None or wanted.key is None:
        return None
    return Credentials(wanted.certificate, wanted.key)


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
