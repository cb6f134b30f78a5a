from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av

from sorawm_pipeline.media.riff import count_packets
from tests.clips import Clip

MakeClip = Callable[[str, Clip], Path]


def test_only_the_named_stream_is_touched(make_clip: MakeClip) -> None:
    clip = make_clip("clip.avi", Clip(audio=True))
    before = clip.read_bytes()
    count_packets(clip, {1: 77})
    after = clip.read_bytes()
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    second = before.index(b"strh", before.index(b"strh") + 1) + 8
    assert changed
    assert {i - second for i in changed} <= {*range(32, 36), *range(44, 48)}
    with av.open(str(clip)) as container:
        assert container.streams[1].frames == 77


def test_a_stream_that_is_not_there(make_clip: MakeClip) -> None:
    clip = make_clip("clip.avi", Clip())
    before = clip.read_bytes()
    count_packets(clip, {5: 3})
    assert clip.read_bytes() == before
