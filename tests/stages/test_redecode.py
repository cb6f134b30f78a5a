"""Pictures that frames let go of while temporal looked ahead, and got back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.budget import AHEAD_BYTES
from sorawm_pipeline.config import LimitsConfig
from sorawm_pipeline.errors import InputError
from sorawm_pipeline.media.clip import Limits, probe
from sorawm_pipeline.stages.decode import Decode
from sorawm_pipeline.stages.redecode import Redecode
from tests.clips import Clip, pictures
from tests.segments.test_pieces import CLIP, jumping

MakeClip = Callable[[str, Clip], Path]
LIMITS = Limits.of(LimitsConfig())


def config(length_s: float) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "inpaint": {"method": "membrane", "margin": 2},
            "temporal": {"window": 12},
            "pieces": {"from_s": 0, "length_s": length_s},
            "encode": {"codec": "ffv1"},
        }
    )


@pytest.mark.parametrize("length_s", [0, 1], ids=["whole", "pieces"])
@pytest.mark.parametrize(
    "clip",
    [
        CLIP,
        Clip(
            CLIP.frames, jumping, pts=[n + n // 7 for n in range(CLIP.frames)], options=CLIP.options
        ),
        Clip(CLIP.frames, jumping, pix_fmt="yuv420p10le", options=CLIP.options),
    ],
    ids=["plain", "uneven", "ten bits"],
)
async def test_a_second_decoder_changes_nothing(
    clip: Clip,
    length_s: float,
    make_clip: MakeClip,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = make_clip("in.mkv", clip)
    kept = await Pipeline(config(length_s)).process(source, tmp_path / "kept.mkv")
    monkeypatch.setitem(AHEAD_BYTES, "cpu", 0)
    again = await Pipeline(config(length_s)).process(source, tmp_path / "again.mkv")
    assert set(again.stages) - set(kept.stages) == {"redecode"}
    assert again.stages["redecode"].items == again.stages["temporal"].items >= CLIP.frames
    assert (again.frames, again.marks) == (kept.frames, kept.marks)
    for there, here in zip(
        pictures(tmp_path / "kept.mkv"), pictures(tmp_path / "again.mkv"), strict=True
    ):
        assert all(np.array_equal(*planes) for planes in zip(there, here, strict=True))


def test_a_file_that_changed_meanwhile(make_clip: MakeClip) -> None:
    first = probe(make_clip("a.mkv", Clip(frames=4)), LIMITS)
    moved = probe(make_clip("b.mkv", Clip(frames=4, pts=[0, 2, 4, 6])), LIMITS)
    shorter = probe(make_clip("c.mkv", Clip(frames=2)), LIMITS)
    decode = Decode(first, LIMITS)
    decode.open()
    frames = decode.read(4)
    decode.close()
    for changed in (moved, shorter):
        redecode = Redecode(Decode(changed, LIMITS))
        redecode.open()
        with pytest.raises(InputError, match=rf"{changed.path.name} changed while"):
            redecode.process(frames)
        redecode.close()
