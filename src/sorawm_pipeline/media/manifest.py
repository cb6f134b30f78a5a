"""C2PA manifest stores, read and written. Nothing here touches the network.

The native library parses what the file holds, so a store is measured before it is handed over, and
an AVI, which it takes into memory twice over to sign it, has a bound of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sorawm_pipeline.errors import ConfigError, OutputError
from sorawm_pipeline.media import boxes
from sorawm_pipeline.media.lineage import codes, is_mismatch, plain
from sorawm_pipeline.media.signing import Identity

MAX_STORE_BYTES = 64 << 20
MAX_AVI_BYTES = 256 << 20
SPOOL_BYTES = 8 << 20  # signing keeps one copy: in memory, beyond this in the temporary folder

_PURPOSES = (  # what a certificate may be for, as the C2PA specification lists it
    "1.3.6.1.4.1.62558.2.1",  # C2PA claim signing
    "1.3.6.1.5.5.7.3.4",  # e-mail protection
    "1.3.6.1.5.5.7.3.36",  # document signing
    "1.3.6.1.5.5.7.3.8",  # time stamping
    "1.3.6.1.5.5.7.3.9",  # OCSP signing
)
_SETTINGS = {
    "core": {
        "allowed_network_hosts": [],
        "allow_redirects": False,
        "backing_store_memory_threshold_in_mb": SPOOL_BYTES >> 20,
        "max_decompressed_manifest_size_in_mb": MAX_STORE_BYTES >> 20,
    },
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False},
    "trust": {"trust_config": "\n".join(_PURPOSES)},
    "builder": {"thumbnail": {"enabled": False}},
}
_BINDING_HOLDS = re.compile(r"assertion\.\w+Hash\.match")


class Status(NamedTuple):
    """What validation said: the state, its failure codes, and whether every hash holds."""

    state: str
    issues: tuple[str, ...]
    hashes_hold: bool


def media_type(path: Path) -> str | None:
    """MIME type of a container that can carry a manifest, by content; None for all others."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "video/avi"
    return None


def obstacle(path: Path) -> str | None:
    """Why this file cannot carry a manifest, in words for the report; None if it can."""
    kind = media_type(path)
    if kind is None:
        return "this container cannot carry a C2PA manifest"
    if kind == "video/avi" and path.stat().st_size > MAX_AVI_BYTES:
        return f"an AVI of more than {MAX_AVI_BYTES >> 20} MiB cannot be given a C2PA manifest"
    return None


def read_store(path: Path) -> dict[str, Any] | None:
    """The validated manifest store, or None where there is none.

    Raises:
        ValueError: there is one, and it cannot be read; the message begins with a code.
    """
    kind = media_type(path)
    if kind is None:
        return None
    if (boxes.c2pa_bytes(path) or 0) > MAX_STORE_BYTES:
        raise ValueError(f"manifest.unreadable: larger than {MAX_STORE_BYTES >> 20} MiB")
    import c2pa

    try:
        with _context() as context, path.open("rb") as file:
            reader = c2pa.Reader.try_create(kind, file, context=context)
            if reader is None:
                return None
            with reader:
                return dict(json.loads(reader.json()))
    except c2pa.C2paError as error:
        if str(error).startswith("Remote"):  # the source only names an address, and we do not call
            raise ValueError("manifest.inaccessible") from error
        raise ValueError(f"manifest.unreadable: {error}") from error


def status(store: dict[str, Any]) -> Status:
    results = store.get("validation_results") or {}
    active = results.get("activeManifest") or {}
    deltas = [
        delta.get("validationDeltas") or {} for delta in results.get("ingredientDeltas") or ()
    ]
    issues = [code for part in (active, *deltas) for code in codes(part, "failure")]
    bound = any(_BINDING_HOLDS.fullmatch(code) for code in codes(active, "success"))
    return Status(
        state=str(store.get("validation_state")),
        issues=tuple(dict.fromkeys(issues)),
        hashes_hold=bound and not any(map(is_mismatch, issues)),
    )


class Signed(NamedTuple):
    """Whether the parent's manifest store came along, and a known authority vouches."""

    parent_carried: bool
    trusted: bool


def sign(
    source: Path,
    target: Path,
    *,
    definition: dict[str, Any],
    parent: Path,
    identity: Identity,
) -> Signed:
    """Writes `source` with a new manifest to `target`, and reads it back to prove it.

    Raises:
        ConfigError: the configured certificate is not one that C2PA accepts.
        OutputError: signing or the check of what was signed failed.
    """
    import c2pa

    kind = media_type(source)
    algorithm = getattr(c2pa.C2paSigningAlg, identity.algorithm.upper())
    info = c2pa.C2paSignerInfo(algorithm, identity.chain, identity.key, None)
    try:
        with _context() as context, c2pa.Signer.from_info(info) as signer:
            builder, carried = _builder(context, definition, parent)
            with builder, source.open("rb") as unsigned, target.open("w+b") as signed:
                builder.sign(signer, kind, unsigned, signed)
        store = read_store(target)
    except (c2pa.C2paError, ValueError) as error:
        if isinstance(error, c2pa.C2paError.Signature) and not identity.local:
            raise ConfigError(f"C2PA does not accept provenance.certificate ({error}).") from error
        raise OutputError(f"{source.name} could not be signed: {error}") from error
    found = status(store) if store else Status("missing", (), hashes_hold=False)
    if found.state not in {"Valid", "Trusted"} or not found.hashes_hold:
        failed = ", ".join(found.issues)
        raise OutputError(f"{source.name} was signed, but does not validate ({failed}).")
    return Signed(carried, trusted=found.state == "Trusted")


def _builder(context: object, definition: dict[str, Any], parent: Path) -> tuple[Any, bool]:
    """A builder with the parent as ingredient, and whether its manifest store could be taken."""
    import c2pa

    described = {"title": plain(parent.name), "relationship": "parentOf", "label": "source"}
    kind = media_type(parent)
    if kind is not None and (boxes.c2pa_bytes(parent) or 0) <= MAX_STORE_BYTES:
        builder = c2pa.Builder(definition, context)
        try:
            with parent.open("rb") as file:
                builder.add_ingredient(described, kind, file)
        except c2pa.C2paError:
            builder.close()
        else:
            return builder, True
    described["format"] = kind or "application/octet-stream"
    return c2pa.Builder({**definition, "ingredients": [described]}, context), False


@contextmanager
def _context() -> Iterator[object]:
    import c2pa

    with c2pa.Context.from_dict(_SETTINGS) as context:
        yield context
