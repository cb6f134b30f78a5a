from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw


@pytest.fixture
def logo(tmp_path: Path) -> Path:
    """An opaque red plate with a white bar, transparent around it."""
    image = Image.new("RGBA", (120, 60))
    pen = ImageDraw.Draw(image)
    pen.rectangle((10, 10, 109, 49), fill=(200, 20, 20, 255))
    pen.rectangle((20, 25, 99, 34), fill=(255, 255, 255, 255))
    path = tmp_path / "logo.png"
    image.save(path)
    return path
