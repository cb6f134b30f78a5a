"""What a source says about its own origin, by C2PA, else by XMP, else by the container's tags."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media import boxes, lineage, manifest, xmp
from sorawm_pipeline.media.claims import Checked
from sorawm_pipeline.media.lineage import Origin

TAG = "DIGITAL_SOURCE_TYPE"
_FORMATS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo")


@dataclass(frozen=True, slots=True)
class SourceProvenance:
    """What a source says about its own origin, and whether that can be believed.

    Attributes:
        manifest: a C2PA manifest store is present, readable or not.
        validation: its validation state (`Trusted`, `Valid`, `Invalid`); None without a manifest.
        validation_issues: codes such as `signingCredential.expired`.
        hashes_hold: False when a hash does not match: such a manifest is carried on with that
            status, and nothing it says is repeated. None where nothing was hashed.
        digital_source_type: URI of the IPTC term, None if the source does not say.
        basis: what says so: `c2pa`, `xmp` or `metadata`.
        generator: name of the program that made the picture, such as `Sora`.
        comment: the container's own comment, which the result's comment begins with.
    """

    manifest: bool
    validation: str | None
    validation_issues: tuple[str, ...]
    hashes_hold: bool | None
    digital_source_type: str | None
    basis: str | None
    generator: str | None
    comment: str | None = None


def read_provenance(path: Path, checked: Checked | None = None) -> SourceProvenance:
    """Reads what a file says about its origin. A broken or hostile file is reported, not raised.

    Args:
        path: the file.
        checked: the file when its claims were looked at, if they were.
    """
    present, state, holds = False, None, None
    issues: tuple[str, ...] = ()
    found, basis = Origin(None, None), "c2pa"
    try:
        present = boxes.c2pa_bytes(path) is not None
        if (store := manifest.read_store(path)) is not None:
            present = True
            state, issues, holds = manifest.status(store)
            if holds:
                found = lineage.origin(store)
    except Exception as error:  # a foreign parser met a hostile file
        state = "Invalid" if present else None
        issues = (lineage.plain(str(error)) or type(error).__name__,)
    tags = read_tags(path, checked)
    if found.digital_source_type is None and holds is not False:
        found, basis = _stated(path), "xmp"
        if found.digital_source_type is None:
            found, basis = Origin(lineage.source_type(tags.get(TAG)), None), "metadata"
    return SourceProvenance(
        manifest=present,
        validation=state,
        validation_issues=issues,
        hashes_hold=holds,
        digital_source_type=found.digital_source_type,
        basis=basis if found.digital_source_type else None,
        generator=found.generator,
        comment=tags.get("COMMENT") or None,
    )


def _stated(path: Path) -> Origin:
    """What the XMP packet says."""
    with contextlib.suppress(OSError, ValueError):
        if packet := xmp.read_packet(path):
            said = lineage.source_type(xmp.statement(packet, "Iptc4xmpExt:DigitalSourceType"))
            tool = xmp.statement(packet, "xmp:CreatorTool")
            return Origin(said, lineage.plain(tool) if said and tool else None)
    return Origin(None, None)


def read_tags(path: Path, checked: Checked | None = None) -> dict[str, str]:
    """The container's tags by upper-case name; none where it cannot be opened."""
    import av

    from sorawm_pipeline.media.clip import opening
    from sorawm_pipeline.media.releases import TAG_DECODING

    try:
        options = opening(path, _FORMATS, checked) | {"analyzeduration": "0"}
        with av.open(f"file:{path.resolve()}", options=options, **TAG_DECODING) as container:
            return {key.upper(): value for key, value in container.metadata.items()}
    except (av.FFmpegError, InputError, MemoryError, OSError, ValueError):
        return {}
