"""How encoders are told to share the cores."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest

from sorawm_pipeline.config import LimitsConfig
from sorawm_pipeline.media.clip import Limits, probe
from sorawm_pipeline.media.encoders import ENCODERS
from sorawm_pipeline.stages import picture_encoder
from sorawm_pipeline.stages.picture_encoder import EncodeSettings, PictureEncoder
from tests.clips import Clip


@pytest.mark.parametrize(
    ("codec", "size", "threading"),
    [
        ("h264", (1280, 720), "FRAME"),
        ("h264", (1920, 1080), "SLICE"),
        ("ffv1", (1280, 720), "SLICE"),
    ],
)
def test_only_small_pictures_are_encoded_side_by_side(
    codec: str,
    size: tuple[int, int],
    threading: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slices of one picture, for all of which the encoder looks ahead first, take less memory."""
    monkeypatch.setattr(picture_encoder, "frame_threads", lambda: 5)
    grey = np.full((size[1], size[0], 3), 128, np.uint8)
    source = Clip(frames=1, draw=lambda _: grey).write(tmp_path / "in.mkv")
    clip = probe(source, Limits.of(LimitsConfig()))
    encoder = PictureEncoder(clip, EncodeSettings(ENCODERS[codec], "matroska", "veryfast"))
    with av.open(BytesIO(), "w", format="matroska") as container:
        context = encoder.add_stream(container, {}).codec_context
        assert context.thread_type.name == threading
        assert context.thread_count == (5 if threading == "FRAME" else 0)
