"""How a picture came to be, manifest by manifest, for a person or a program to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sorawm_pipeline.media import lineage, manifest
from sorawm_pipeline.media.lineage import plain
from sorawm_pipeline.media.source import SourceProvenance, read_provenance

MAX_LINKS = 100


@dataclass(frozen=True, slots=True)
class Action:
    """What a manifest says was done, e.g. `c2pa.edited`; whatever it leaves out is None."""

    name: str
    when: str | None
    agent: str | None
    description: str | None
    digital_source_type: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """One manifest of the chain.

    Attributes:
        file: name of the file it was read from, as recorded when that file was opened; None for
            the manifest of the file itself.
        part: it tells of a part of the picture, not of the picture before.
        claimed_by: program that made the claim.
        signed_by: holder of the certificate, and who issued it.
        signed_when: time that a time stamp authority vouches for, or None.
        issues: failure codes of its validation: now for the first, when it was opened for others.
        hashes_hold: no hash was found to mismatch.
        actions: in the order in which they are told.
    """

    file: str | None
    part: bool
    claimed_by: str | None
    signed_by: str | None
    signed_when: str | None
    issues: tuple[str, ...]
    hashes_hold: bool
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """All that a file says of its origin; links from the file itself back to the beginning."""

    provenance: SourceProvenance
    links: tuple[Link, ...]

    @property
    def altered(self) -> bool:
        """Whether there is a manifest that the file, or a part of the chain, does not match."""
        return self.provenance.manifest and not (
            self.provenance.hashes_hold and all(link.hashes_hold for link in self.links)
        )


def read_chain(path: Path) -> Chain:
    """The chain of a file; without links where there is no manifest, or none that can be read.

    Raises:
        OSError: the file cannot be read.
    """
    path.open("rb").close()
    provenance = read_provenance(path)
    try:
        store = manifest.read_store(path) if provenance.manifest else None
    except Exception:  # a foreign parser met a hostile file, as the provenance tells
        store = None
    return Chain(provenance, tuple(_links(store)) if store is not None else ())


def _links(store: dict[str, Any]) -> Iterator[Link]:
    now = manifest.status(store)
    for found, recorded, part in islice(lineage.walk(store), MAX_LINKS):
        issues = now.issues if recorded is None else lineage.recorded(recorded)
        mismatch = any(map(lineage.is_mismatch, issues))
        holds = now.hashes_hold if recorded is None else not mismatch
        yield _link(found, recorded, part=part, issues=issues, holds=holds)


def _link(
    found: dict[str, Any],
    recorded: dict[str, Any] | None,
    *,
    part: bool,
    issues: tuple[str, ...],
    holds: bool,
) -> Link:
    signature = found.get("signature_info") or {}
    holder = _text(signature.get("common_name"))
    issuer = _text(signature.get("issuer"))
    generators = found.get("claim_generator_info") or [{}]
    return Link(
        file=None if recorded is None else _text(recorded.get("title")) or "a file without a name",
        part=part,
        claimed_by=_agent(generators[0]) or _text(found.get("claim_generator")),
        signed_by=f"{holder} ({issuer})" if holder and issuer else holder or issuer,
        signed_when=_text(signature.get("time")),
        issues=tuple(code for code in map(plain, issues) if code),
        hashes_hold=holds,
        actions=tuple(map(_action, lineage.actions(found))),
    )


def _action(said: dict[str, Any]) -> Action:
    return Action(
        name=_text(said.get("action")) or "an action without a name",
        when=_text(said.get("when")),
        agent=_agent(said.get("softwareAgent")),
        description=_text(said.get("description")),
        digital_source_type=lineage.source_type(said.get("digitalSourceType")),
    )


def _agent(agent: object) -> str | None:
    """A program's name and version, whichever way it is told."""
    if isinstance(agent, dict):
        words = [_text(agent.get(key)) for key in ("name", "version")]
        return " ".join(word for word in words if word) or None
    return _text(agent)


def _text(value: object) -> str | None:
    return plain(value) if isinstance(value, str) else None
