"""Where a picture came from and what was done to it: read before all else, sealed last.

The rule of the house: never strip, never claim what is not known. Any remux drops a manifest
without a word, so the source is read while it is whole, and the result is sealed when finished.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sorawm_pipeline.errors import OutputError
from sorawm_pipeline.media import boxes, manifest, xmp
from sorawm_pipeline.media.signing import Credentials, Identity, identity
from sorawm_pipeline.media.source import TAG, SourceProvenance, read_provenance, read_tags

__all__ = [
    "Credentials",
    "Edit",
    "ProvenanceReport",
    "SourceProvenance",
    "container_tags",
    "identity",
    "read_provenance",
    "seal",
]

_ROOM_FOR_STORE = 8 << 20
_LOCAL = "Signed with a certificate made on this machine: untrusted, nobody vouches for it."
_CONFIGURED = (
    "Signed with the configured certificate; its reader's trust list decides what that is worth."
)


@dataclass(frozen=True, slots=True)
class Edit:
    """What was done, in words a reader can use."""

    software: str
    description: str
    when: datetime


@dataclass(frozen=True, slots=True)
class ProvenanceReport:
    """What the result says, and how far it can be believed.

    Attributes:
        trusted_certificate: the signature leads to an authority on a trust list known here. A
            certificate made on this machine never does.
        note: sentences for the reader of the report: why the result is not signed, by whom it is,
            and in what state the source's manifest was carried on.
        beside: XMP packet to publish beside a file that cannot say everything itself, else None.
    """

    source_manifest: bool
    signed: bool
    digital_source_type: str | None
    basis: str | None
    validation: str | None
    validation_issues: tuple[str, ...]
    hashes_hold: bool | None
    generator: str | None
    trusted_certificate: bool
    note: str | None
    beside: str | None = None


def container_tags(
    source: SourceProvenance, edit: Edit, digital_source_type: str | None
) -> dict[str, str]:
    """Tags for the muxer to add to those it copies from the source.

    `comment` replaces the source's, so it begins with it; no other tag of the source is named here.
    Containers spell tags in either case, so the muxer must drop a `COMMENT` that it copied.
    """
    note = f"Edited with {edit.software} on {_utc(edit.when)}: {edit.description}."
    tags = {}
    if digital_source_type is not None:
        tags[TAG] = digital_source_type
        note += f" Source: {digital_source_type}"
        if source.generator:
            note += f" ({source.generator})"
        note += "."
    tags["comment"] = f"{source.comment}\n{note}" if source.comment else note
    return tags


def seal(
    path: Path,
    *,
    source_path: Path,
    source: SourceProvenance,
    edit: Edit,
    digital_source_type: str | None,
    credentials: Credentials | None,
    state_dir: Path,
) -> ProvenanceReport:
    """Writes what was done into a finished file that is not published yet, and signs it.

    The last step before the rename. On failure `path` must be thrown away.

    Raises:
        ConfigError: the configured certificate or key cannot be used.
        OutputError: the file could not be sealed.
    """
    notes = []
    beside = None
    signed = manifest.Signed(parent_carried=False, trusted=False)
    try:
        obstacle = manifest.obstacle(path)
        signer = identity(credentials, state_dir) if obstacle is None else None
        if manifest.media_type(path) in {"video/mp4", "video/quicktime"}:
            notes += _write_xmp(path, source_path, edit, digital_source_type)
        if signer is not None:
            definition = _definition(edit, digital_source_type)
            signed = _sign(path, source_path, definition, signer)
            notes.append(_LOCAL if signer.local else _CONFIGURED)
        else:
            beside = _statement_beside(path, source_path, edit, digital_source_type)
            says = "its tags say" if beside is None else "a file beside it (.xmp) says"
            notes.append(f"Not signed: {obstacle}; {says} what was done.")
    except OSError as error:
        kind = "no_space" if error.errno == errno.ENOSPC else None
        raise OutputError(
            f"{path.name} could not be sealed: {error.strerror}.", kind=kind
        ) from error
    if source.manifest:
        notes.append(_fate(source, carried=signed.parent_carried))
    return ProvenanceReport(
        source_manifest=source.manifest,
        signed=signer is not None,
        digital_source_type=digital_source_type,
        basis=source.basis if digital_source_type == source.digital_source_type else None,
        validation=source.validation,
        validation_issues=source.validation_issues,
        hashes_hold=source.hashes_hold,
        generator=source.generator,
        trusted_certificate=signed.trusted,
        note=" ".join(notes) or None,
        beside=beside,
    )


def _statement_beside(
    path: Path, source_path: Path, edit: Edit, digital_source_type: str | None
) -> str | None:
    """An XMP packet to lay beside an unsigned file whose tags do not say everything; else None.

    MPEG streams keep no tags, and other containers write theirs before the last frame is seen.
    """
    tags = read_tags(path)
    says_edit = edit.software in tags.get("COMMENT", "")
    if says_edit and digital_source_type in (None, tags.get(TAG)):
        return None
    return _packet(source_path, edit, digital_source_type)[0]


def _write_xmp(
    path: Path, source_path: Path, edit: Edit, digital_source_type: str | None
) -> list[str]:
    """Extends the source's XMP packet into the result; what to note if that could not be done."""
    packet, notes = _packet(source_path, edit, digital_source_type)
    boxes.append_xmp(path, packet.encode())
    return notes


def _packet(
    source_path: Path, edit: Edit, digital_source_type: str | None
) -> tuple[str, list[str]]:
    notes = []
    try:
        packet = xmp.read_packet(source_path)
    except ValueError as error:
        packet = None
        notes.append(f"The source's XMP could not be read and is not in the result ({error}).")
    extended = xmp.extended(
        packet,
        software=edit.software,
        description=edit.description,
        when=_utc(edit.when),
        digital_source_type=digital_source_type,
    )
    return extended, notes


def _definition(edit: Edit, digital_source_type: str | None) -> dict[str, Any]:
    """The manifest: the source was opened, then edited.

    C2PA forbids a digital source type on `c2pa.opened`, and wants one on `c2pa.edited` where known.
    """
    name, _, version = edit.software.rpartition(" ")
    agent = {"name": name, "version": version} if name else {"name": version}
    edited = {
        "action": "c2pa.edited",
        "when": _utc(edit.when),
        "softwareAgent": agent,
        "description": edit.description,
    }
    if digital_source_type is not None:
        edited["digitalSourceType"] = digital_source_type
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}}
    actions = {"label": "c2pa.actions.v2", "created": True, "data": {"actions": [opened, edited]}}
    return {"claim_generator_info": [agent], "assertions": [actions]}


def _sign(
    path: Path, source_path: Path, definition: dict[str, Any], signer: Identity
) -> manifest.Signed:
    """Signs to a sibling, as a failed signing leaves an empty file, and puts it in place."""
    _require_space(path)
    target = path.with_name(f"{path.name}.signed")
    try:
        signed = manifest.sign(
            path, target, definition=definition, parent=source_path, identity=signer
        )
        shutil.copymode(path, target)
        target.replace(path)
    finally:
        target.unlink(missing_ok=True)
    return signed


def _require_space(path: Path) -> None:
    """The library hides why a write failed, so a full disk is looked for before."""
    size = path.stat().st_size
    folders = [path.parent]
    if size > manifest.SPOOL_BYTES:
        folders.append(Path(tempfile.gettempdir()))
    wanted = dict.fromkeys(folders, size + _ROOM_FOR_STORE)
    if len({folder.stat().st_dev for folder in folders}) < len(folders):
        wanted[path.parent] *= 2
    for folder, count in wanted.items():
        if shutil.disk_usage(folder).free < count:
            raise OutputError(
                f"Signing needs {count >> 20} MiB of free space in {folder}.", kind="no_space"
            )


def _fate(source: SourceProvenance, *, carried: bool) -> str:
    issues = ", ".join(source.validation_issues) or "no issues"
    state = f"its status here is {source.validation or 'unknown'}: {issues}"
    if not carried:
        return f"The source's manifest could not be carried into the result ({state})."
    if source.hashes_hold is False:
        return f"The source's manifest is carried as it is, but not vouched for ({state})."
    return f"The source's manifest is carried as it is ({state})."


def _utc(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
