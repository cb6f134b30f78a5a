"""What `detect` found, drawn for a person to look at.

A second pass over the clip with the finished report at hand: what a frame holds is decided some
frames later, and the corridor need not know of drawing. A PNG is a contact sheet of telling frames,
a video is the whole clip with boxes.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from sorawm_pipeline import __version__
from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import ConfigError, OutputError
from sorawm_pipeline.job import credentials
from sorawm_pipeline.media import provenance
from sorawm_pipeline.media.clip import Limits, probe
from sorawm_pipeline.media.provenance import Edit
from sorawm_pipeline.media.target import Target
from sorawm_pipeline.preview.film import write_film
from sorawm_pipeline.preview.findings import Findings
from sorawm_pipeline.preview.sheet import write_sheet
from sorawm_pipeline.report import DetectReport
from sorawm_pipeline.state import state_folder

SHEET = ".png"
FILMS = (".mp4", ".mkv", ".mov")


def prepare(config: PipelineConfig, source: Path, path: Path, *, overwrite: bool) -> Target:
    """Refuse a preview that cannot be written, before the work and not after it.

    Raises:
        ConfigError: of no known kind, over the input, over another file without `overwrite`, in a
            folder that is not there or cannot be written, or the credentials cannot be used.
    """
    suffix = path.suffix.lower()
    if suffix not in (SHEET, *FILMS):
        known = ", ".join((SHEET, *FILMS))
        raise ConfigError(f"--preview {path} must end in one of {known}")
    with suppress(OSError, ValueError):  # of which the next check will tell
        if not path.absolute().parent.is_dir():
            raise ConfigError(f"--preview {path}: {path.absolute().parent} is not a folder")
    if suffix != SHEET:
        provenance.identity(credentials(config), state_folder())
    try:
        return Target.prepare(source, path, overwrite=overwrite)
    except OutputError as error:
        raise ConfigError(f"--preview: {error.message}") from error


def write(config: PipelineConfig, report: DetectReport, source: Path, target: Target) -> None:
    """Draw the report's marks over the pictures of its clip, and publish that at `target`.

    Raises:
        InputError: the clip cannot be read, or is not the one that was reported on.
        OutputError: the disk refuses.
        DeviceError: the picture is too large for the encoder.
    """
    limits = Limits.of(config.decode.limits)
    clip = probe(source, limits)
    findings = Findings(report, clip.time_base)
    origin = provenance.read_provenance(source)
    edit = Edit(
        f"sorawm-pipeline {__version__}",
        "a preview, boxes of the marks found are drawn over the picture",
        datetime.now(UTC),
    )
    try:
        if target.path.suffix.lower() == SHEET:
            write_sheet(clip, limits, findings, target.temporary, edit, origin)
        else:
            write_film(clip, limits, findings, target.temporary, edit, origin)
            sealed = provenance.seal(
                target.temporary,
                source_path=source,
                source=origin,
                edit=edit,
                digital_source_type=origin.digital_source_type,
                credentials=credentials(config),
                state_dir=state_folder(),
            )
            target.beside = sealed.beside
        target.publish()
    finally:
        target.discard()
