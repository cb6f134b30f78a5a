"""A chain of provenance in words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from sorawm_pipeline.media.chain import Action, Chain, Link
from sorawm_pipeline.media.source import SourceProvenance


def to_json(file: str, chain: Chain) -> str:
    """One JSON object in ASCII."""
    said = {"version": 1, "file": file, "altered": chain.altered, **asdict(chain)}
    return json.dumps(said, indent=2)


def to_text(file: str, chain: Chain) -> str:
    """For people; the newest first. Nothing in it leaves its line or reaches the terminal."""
    shown = "".join(c if c.isprintable() else "?" for c in file)
    return "\n".join((f"{shown}: {_summary(chain)}", *_links(chain.links), _origin(chain)))


def _summary(chain: Chain) -> str:
    found = chain.provenance
    if not found.manifest:
        return "no C2PA manifest"
    issues = f" ({', '.join(found.validation_issues)})" if found.validation_issues else ""
    if found.hashes_hold is None:
        return f"a C2PA manifest that cannot be read{issues}"
    held = "its hashes hold" if found.hashes_hold else "its hashes do NOT hold: it was altered"
    return f"C2PA manifest, {found.validation}; {held}{issues}"


def _links(links: tuple[Link, ...]) -> Iterator[str]:
    for number, link in enumerate(links, 1):
        name = "this file" if link.file is None else f"opened from {link.file}"
        yield f"{number}. {'a part of it, ' if link.part else ''}{name}"
        signed = f", signed by {link.signed_by}" if link.signed_by else ""
        when = f" on {link.signed_when}" if link.signed_when else ""
        yield f"   claimed by {link.claimed_by or 'nobody named'}{signed}{when}"
        if link.file is not None:
            held = "its hashes held" if link.hashes_hold else "its hashes did NOT hold"
            issues = f" ({', '.join(link.issues)})" if link.issues else ""
            yield f"   when it was opened: {held}{issues}"
        yield from map(_action, link.actions)


def _action(action: Action) -> str:
    words = [f"   - {action.name}"]
    if action.when:
        words.append(action.when)
    if action.agent:
        words.append(f"by {action.agent}")
    line = " ".join(words)
    if action.description:
        line += f": {action.description}"
    return f"{line} [{action.digital_source_type}]" if action.digital_source_type else line


def _origin(chain: Chain) -> str:
    found: SourceProvenance = chain.provenance
    if found.digital_source_type is None:
        refused = " that can be believed" if chain.altered else ""
        return f"It says nothing{refused} about how the picture came to be."
    basis = {"c2pa": "its manifest", "xmp": "its XMP", "metadata": "its tags"}[found.basis or ""]
    maker = f", made by {found.generator}" if found.generator else ""
    return f"Origin by {basis}: {found.digital_source_type}{maker}"
