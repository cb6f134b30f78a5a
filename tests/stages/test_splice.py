"""Copied and re-encoded groups in one stream: every frame where it was, in two decoders."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from sorawm_pipeline.media.clip import probe
from sorawm_pipeline.media.encoders import choose_encoder, muxer_for
from sorawm_pipeline.media.frame import Box, Frame, Patch
from sorawm_pipeline.media.gops import Gops, survey
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.stages.decode import Decode
from sorawm_pipeline.stages.encode import Encode, EncodeSettings
from tests.clips import LIMITS, Clip, packets, scene

X264 = ("preset", "ultrafast"), ("crf", "20")
FRAMES = 40
PRESET = "veryfast"
"""What the result is encoded with, as by default."""


def x264(**options: object) -> tuple[tuple[str, str], ...]:
    named = {"g": 10, "bf": 2, "sc_threshold": 0} | options
    return (*X264, *((name.replace("_", "-"), str(value)) for name, value in named.items()))


def x265(params: str) -> tuple[tuple[str, str], ...]:
    common = "log-level=none:pools=none:scenecut=0:open-gop=0:min-keyint=1"
    return (*X264, ("x265-params", f"{common}:{params}"))


@dataclass(frozen=True)
class Case:
    """A clip, the frames that change, and how many of its groups must then be copies."""

    name: str
    extension: str
    changed: Sequence[int]
    copied: int
    clip: dict[str, object] = field(default_factory=dict)


def h264(**options: object) -> dict[str, object]:
    return {"options": x264(**options)}


def hevc(params: str = "keyint=10:bframes=2", **more: object) -> dict[str, object]:
    return {"codec": "libx265", "options": x265(params)} | more


VFR = [n * 3 + (n * n) % 3 for n in range(FRAMES)]
CASES = [
    Case("nowhere", ".mp4", [], 4, h264()),
    Case("beginning", ".mp4", [0, 1], 3, h264()),
    Case("middle", ".mp4", [14, 15, 16], 3, h264()),
    Case("end", ".mp4", [FRAMES - 1], 3, h264()),
    Case("everywhere", ".mp4", range(FRAMES), 0, h264()),
    Case("two apart", ".mp4", [5, 25], 2, h264()),
    Case("side by side", ".mp4", [19, 20], 2, h264()),
    Case("mov", ".mov", [15], 3, h264()),
    Case("mkv", ".mkv", [0, 35], 2, h264()),
    Case("ts", ".ts", [15], 3, h264()),
    Case("ts, ends", ".ts", [0, FRAMES - 1], 2, h264()),
    Case("no B-frames", ".mp4", [12], 3, h264(bf=0)),
    Case("pyramid", ".mp4", [12, 31], 2, {"options": (*x264(bf=4, b_pyramid="normal"),)}),
    Case("slower preset", ".mkv", [12], 3, {"options": (("preset", "slow"), ("g", "10"))}),
    Case("baseline", ".mp4", [12], 3, h264(profile="baseline", bf=0)),
    Case("main", ".mp4", [12], 3, h264(profile="main")),
    Case("keys at odd places", ".mp4", [20], 5, h264(g=7)),
    Case("every picture a key", ".mp4", [3, 4, 20], 37, h264(g=1, bf=0)),
    Case("one group", ".mp4", [20], 0, h264(g=250)),
    Case("one group, clean", ".mp4", [], 1, h264(g=250)),
    Case("open groups", ".mp4", [20], 0, {"options": (*x264(), ("x264-params", "open-gop=1"))}),
    Case("open, clean", ".mkv", [], 1, {"options": (*x264(), ("x264-params", "open-gop=1"))}),
    Case("VFR", ".mp4", [12], 3, h264() | {"time_base": Fraction(1, 90), "pts": VFR}),
    Case("VFR", ".mkv", [12], 3, h264() | {"time_base": Fraction(1, 90), "pts": VFR}),
    Case("ten bits", ".mkv", [12], 3, h264() | {"pix_fmt": "yuv420p10le"}),
    Case("4:2:2", ".mp4", [12], 3, h264() | {"pix_fmt": "yuv422p"}),
    Case("sound", ".mp4", [12], 3, h264() | {"audio": True}),
    Case("sound", ".mkv", [33], 3, h264() | {"audio": True}),
    Case("rotated", ".mp4", [12], 3, h264() | {"rotation": 90}),
    Case("HEVC", ".mp4", [12], 3, hevc()),
    Case("HEVC, clean", ".mp4", [], 4, hevc()),
    Case("HEVC", ".mov", [0, 39], 2, hevc()),
    Case("HEVC", ".mkv", [12, 13], 3, hevc()),
    Case("HEVC", ".ts", [12], 3, hevc()),
    Case("HEVC, no B-frames", ".mp4", [12], 3, hevc("keyint=10:bframes=0")),
    Case("HEVC, deep", ".mp4", [25], 3, hevc("keyint=10:bframes=4:b-pyramid=1")),
    Case("HEVC, open groups", ".mp4", [12], 0, hevc("keyint=10:bframes=3:open-gop=1")),
    Case("HEVC, ten bits", ".mp4", [12], 3, hevc(pix_fmt="yuv420p10le")),
    Case("HEVC, VFR", ".mp4", [12], 3, hevc(time_base=Fraction(1, 90), pts=VFR)),
    Case("HEVC, everywhere", ".mp4", range(FRAMES), 0, hevc()),
]


def clean(index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return scene(index)


def patch(frame: Frame) -> Patch:
    """A white corner."""
    box = Box(0, 0, 16, 16)
    shapes = [
        (16 * p.height // frame.picture.height, 16 * p.width // frame.picture.width)
        for p in frame.picture.planes
    ]
    white = 200 if "10" not in frame.picture.format.name else 800
    kind = np.uint8 if white == 200 else np.uint16
    planes = tuple(np.full(shape, white, kind) for shape in shapes)
    return Patch(box, planes, tuple(np.full(shape, 256, np.uint16) for shape in shapes))


def spliced(source: Path, target: Path, changed: Sequence[int]) -> Encode:
    """What the encode stage makes of a clip of which some frames are changed."""
    clip = probe(source, LIMITS)
    muxer = muxer_for(target.name, clip.format_name)
    choice = choose_encoder("source", clip, muxer)
    settings = EncodeSettings(choice, muxer, PRESET, gops=survey(clip, LIMITS))
    decode, encode = Decode(clip, LIMITS), Encode(clip, LIMITS, target, settings, 4)
    with closing(decode), closing(encode):
        decode.open()
        encode.open()
        while frames := decode.read(3):
            for frame in frames:
                frame.patches = [patch(frame)] if frame.index in changed else []
            encode.process(frames)
        encode.flush()
    return encode


def decoded(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [
            (round(float(frame.time or 0), 4), frame.to_ndarray().tobytes())
            for frame in container.decode(stream)
        ]


def payloads(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def hashes(path: Path) -> list[str]:
    """What the ffmpeg program decodes, one hash for each frame; any error is one."""
    done = subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-xerror",
            "-i",
            path,
            "-map",
            "0:v:0",
            "-fps_mode",
            "passthrough",
            "-f",
            "framemd5",
            "-",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not done.stderr
    return [line.split(",")[-1].strip() for line in done.stdout.splitlines() if line[0] != "#"]


def changed_frames(gops: Gops, changed: Sequence[int]) -> set[int]:
    """All frames of the groups that hold a changed one; groups here end where the next begins."""
    edges = np.cumsum((0, *gops.packets)).tolist()
    return {
        frame
        for first, last in pairwise(edges)
        if any(first <= frame < last for frame in changed)
        for frame in range(first, last)
    }


@pytest.mark.parametrize("case", CASES, ids=[f"{c.name} {c.extension}" for c in CASES])
def test_splices(case: Case, tmp_path: Path) -> None:
    source = Clip(frames=FRAMES, draw=clean, **case.clip).write(tmp_path / f"in{case.extension}")  # type: ignore[arg-type]
    target = tmp_path / f"out{case.extension}"
    encode = spliced(source, target, case.changed)
    gops = survey(probe(source, LIMITS), LIMITS)
    assert encode.spliced is not None
    assert encode.spliced.copied_gops == case.copied
    assert encode.frames_encoded == FRAMES
    before, after = decoded(source), decoded(target)
    assert [t for t, _ in after] == pytest.approx([t for t, _ in before], abs=0.0011)
    anew = changed_frames(gops, case.changed)
    assert [i for i in range(FRAMES) if i not in anew and before[i] != after[i]] == []
    for index in case.changed:
        assert before[index][1] != after[index][1]
    copied = set(payloads(source))
    kept = sum(data in copied for data in payloads(target))
    assert kept >= FRAMES - len(anew)
    if "audio" in case.clip:
        assert [p[2] for p in packets(source, "audio")] == [p[2] for p in packets(target, "audio")]
    dts = [d for _, d, _ in packets(target, "video") if d is not None]
    assert all(a < b for a, b in pairwise(dts))
    if shutil.which("ffmpeg"):
        theirs, ours = hashes(source), hashes(target)
        assert len(theirs) == len(ours) == FRAMES
        assert [i for i in range(FRAMES) if i not in anew and theirs[i] != ours[i]] == []


def test_a_clip_without_change_is_the_same_packets(tmp_path: Path) -> None:
    source = Clip(frames=FRAMES, draw=clean, options=x264()).write(tmp_path / "in.mp4")
    spliced(source, tmp_path / "out.mp4", [])
    assert packets(source, "video") == packets(tmp_path / "out.mp4", "video")


def test_other_codecs_are_not_copied(tmp_path: Path) -> None:
    source = Clip(codec="ffv1").write(tmp_path / "in.mkv")
    with pytest.raises(Unfit, match="ffv1"):
        survey(probe(source, LIMITS), LIMITS)
