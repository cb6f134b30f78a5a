"""Writes docs/formats.md from what the table's inputs really become.

python -m tests.formats.matrix
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest

from sorawm_pipeline import warm
from tests.conftest import WhiteDetector
from tests.formats.facts import Facts
from tests.formats.inputs import CASES, Case
from tests.formats.outcome import Outcomes

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
GROUPS = {
    "times": ("frames", "times", "starts", "lasts"),
    "other streams": ("streams", "copies", "attachments"),
    "words": ("labels", "tags", "chapters", "timecode"),
    "picture": ("pixels", "depth", "alpha", "shape", "orientation", "chroma"),
    "colour": ("colour",),
    "HDR10": ("hdr",),
    "fields": ("fields",),
}
"""Columns, and the facts that each stands for."""

DASH = "\N{EN DASH}"
UNKNOWN = {(2, 2, 2, 1), (2, 2, 0, 0)}
TOP = """# What is kept where

Written by `python -m tests.formats.matrix` from what the program makes of small inputs.
`tests/formats` checks every cell whenever it runs, by reading packets, frames and headers of source
and result.

- **times**: number of frames, every presentation time, the offset between picture and sound to the
  tick, how long the picture lasts.
- **other streams**: sound, subtitles, covers, data, further pictures: kind, order and every
  packet's bytes and time; attachments byte by byte.
- **words**: tags of the file and of every stream, languages, dispositions, chapters, time code.
- **picture**: pixel format, transparency, size, shape of a pixel, rotation and mirroring, chroma
  sites.
- **colour**: primaries, transfer, matrix, range; what was unknown stays unknown.
- **HDR10**: mastering display and light levels.

A dash means that the source has nothing of the kind. Every frame of the inputs has a mark, so every
frame was encoded anew. What is lost is told in the clip's report too (`encoder.left_out`).

"""
BELOW = """
## Beyond the table

- Kept in no codec here, and reported where it is found: HDR10+, Dolby Vision, HDR Vivid, the
  ambient viewing environment, projection of spherical pictures, arrangement of stereo pictures,
  colour profiles.
- Data streams of codecs that libav has no name for cannot be copied and are reported; time code
  tracks and chapter tracks of MOV and MP4 are written anew from what they say.
- MP4, MOV, AVI and MPEG streams hold no attachments; attachments go into Matroska only.
- AVI tells when packets are decoded, not when pictures are shown: they are taken to be shown at
  those moments, in their order. AAC and AC-3 sound is copied from AVI to AVI, and refused from
  other containers.
- H.264 in an MPEG program stream has times for some of its frames only; MPEG-1 and MPEG-2 stay what
  they are.
- In another container than the source's, plain subtitles (SubRip, WebVTT, MOV text) are said in its
  words, without their styling; sound that it cannot hold is left out.
- Ogg and Flash are not on the list of formats (`decode.limits.formats`).
"""


def page(outcomes: Outcomes) -> str:
    """The whole document.

    Raises:
        pytest.skip.Exception: an input cannot be written here.
    """
    columns = ["input", "codec", "what is unusual", *GROUPS]
    lines = [_row(columns), _row(["---"] * len(columns))]
    lost, refused = [], []
    for case in CASES:
        outcome = outcomes.of(case)
        if outcome.before is None or outcome.after is None:
            refused.append(f"- `{case.name}`, {case.oddity}: {_reason(outcome.refused)}")
            continue
        lines.append(_row(_cells(case, outcome.before, outcome.after, outcome.lost)))
        lost += [f"- `{case.name}`, {_group(name)}: {why}" for name, why in case.lost.items()]
    told = ["\n## What is not kept, and why\n", *lost, "\n## What is refused\n", *refused]
    return TOP + "\n".join([*lines, *told]) + "\n" + BELOW


def _cells(case: Case, before: Facts, after: Facts, differing: list[str]) -> list[str]:
    codec = before.codec if before.codec == after.codec else f"{before.codec} → {after.codec}"
    lost = {*differing, *case.lost}
    cells = [f"`{case.name}`", codec, case.oddity]
    for group, names in GROUPS.items():
        if "lasts" in lost & set(names):
            cells.append("put right")
        elif lost & set(names):
            cells.append("**not kept**")
        else:
            cells.append("kept" if _has(group, before) else DASH)
    return cells


def _has(group: str, before: Facts) -> bool:
    match group:
        case "other streams":
            return len(before.streams) > 1
        case "words":
            labels = any(words or flags for flags, words in before.labels)
            return bool(labels or before.tags or before.chapters or before.timecode)
        case "colour":
            return before.colour not in UNKNOWN
        case "HDR10":
            return bool(before.hdr)
        case "fields":
            return bool(before.fields)
        case _:
            return True


def _group(fact: str) -> str:
    return next((group for group, names in GROUPS.items() if fact in names), fact)


def _reason(sentence: str | None) -> str:
    return (sentence or "").partition(".ts")[2].lstrip(": ").strip() or str(sentence)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner() as runner,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(warm, "_load", lambda _: (WhiteDetector(), 0.4))
        patch.setenv("XDG_STATE_HOME", folder)
        outcomes = Outcomes(Path(folder), runner)
        PAGE.write_text(page(outcomes), encoding="utf-8")
        outcomes.close()


if __name__ == "__main__":
    main()
