from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sorawm_pipeline.errors import ConfigError, InputError
from sorawm_pipeline.learn import lettering
from sorawm_pipeline.learn import mark as module
from sorawm_pipeline.learn.lettering import letters, with_text
from sorawm_pipeline.learn.mark import Mark, extent, read_mark


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_transparency_is_the_matte_and_is_cut_away(logo: Path) -> None:
    mark = read_mark(logo)
    assert mark.alpha.shape == (40, 100)
    assert mark.alpha.min() == 1
    assert mark.colour[0, 0].tolist() == [200, 20, 20]


def test_a_translucent_mark_is_taken_at_its_most_opaque(tmp_path: Path) -> None:
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[10:30, 10:30] = 255, 255, 255, 120
    mark = read_mark(save(tmp_path / "a.png", pixels))
    assert mark.alpha.shape == (20, 20)
    assert mark.alpha.max() == pytest.approx(1)


def test_a_crop_with_a_uniform_border_gets_a_matte(tmp_path: Path) -> None:
    pixels = np.full((60, 80, 3), 30, np.uint8)
    pixels[20:40, 20:60] = 240, 200, 10
    mark = read_mark(save(tmp_path / "a.png", pixels))
    assert mark.alpha.shape == (20, 40)
    assert mark.colour[10, 20].tolist() == [240, 200, 10]


def test_a_crop_with_a_busy_border_counts_whole(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (30, 50, 3), np.uint8)
    mark = read_mark(save(tmp_path / "a.png", pixels))
    assert mark.alpha.shape == (30, 50)
    assert mark.alpha.min() == 1


def test_a_flat_opaque_picture_counts_whole(tmp_path: Path) -> None:
    assert read_mark(save(tmp_path / "a.png", np.full((20, 40, 3), 90, np.uint8))).alpha.min() == 1


def empty(path: Path) -> None:
    path.touch()


def words(path: Path) -> None:
    path.write_text("not a picture")


def one_pixel(path: Path) -> None:
    Image.new("RGBA", (1, 1), (1, 2, 3, 255)).save(path)


def transparent(path: Path) -> None:
    Image.new("RGBA", (50, 50)).save(path)


def speck(path: Path) -> None:
    image = Image.new("RGBA", (50, 50))
    image.putpixel((3, 3), (255, 255, 255, 255))
    image.save(path)


def thin(path: Path) -> None:
    Image.new("RGBA", (600, 9), (255, 255, 255, 255)).save(path)


def cut_short(path: Path) -> None:
    Image.effect_noise((90, 90), 50).save(path)
    path.write_bytes(path.read_bytes()[:900])


def huge(path: Path) -> None:
    Image.new("1", (9000, 9000)).save(path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (empty, "no picture"),
        (words, "no picture"),
        (one_pixel, "1x1"),
        (transparent, "transparent everywhere"),
        (speck, "1x1"),
        (thin, "longer than"),
        (cut_short, "cannot be read"),
        (huge, "too large"),
        (Path.mkdir, "no picture at"),
        (lambda path: None, "no picture at"),
    ],
)
def test_what_is_no_mark_is_refused_in_one_sentence(
    tmp_path: Path, make: object, said: str
) -> None:
    path = tmp_path / "a.png"
    assert callable(make)
    make(path)
    with pytest.raises(InputError, match=said) as caught:
        read_mark(path)
    assert "\n" not in caught.value.message


def test_a_large_file_is_refused_unread(logo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_BYTES", 10)
    with pytest.raises(InputError, match="larger than"):
        read_mark(logo)


def test_scaling_keeps_colour_at_the_edge() -> None:
    alpha = np.zeros((40, 40), np.float32)
    alpha[10:30, 10:30] = 1
    colour = np.zeros((40, 40, 3), np.float32)
    colour[10:30, 10:30] = 250
    small = Mark(alpha, colour).scaled(0.33)
    assert small.colour[small.alpha > 0.1].min() > 240


def test_text_stands_below_in_the_marks_colour(logo: Path) -> None:
    mark = read_mark(logo)
    for whole in with_text(mark, "@name"):
        height = mark.alpha.shape[0]
        assert whole.alpha.shape[0] > height
        assert not whole.alpha[height].any()
        assert whole.alpha[height + 1 :].max() > 0.7


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "x" * 65, "\x00", "\u0378"])
def test_text_that_cannot_be_drawn_is_refused(logo: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="--text"):
        with_text(read_mark(logo), text)


def test_without_system_fonts_pillows_own_is_used(
    logo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lettering, "_FOLDERS", ())
    lettering.fonts.cache_clear()
    try:
        assert len(lettering.fonts()) == 1
        assert len(with_text(read_mark(logo), "@name")) == 1
        assert letters("a", lettering.fonts()[0]).max() > 0.9
    finally:
        lettering.fonts.cache_clear()


def test_extent_is_half_open_and_empty_where_nothing_is() -> None:
    alpha = np.zeros((9, 9), np.float32)
    assert extent(alpha) == (0, 0, 0, 0)
    alpha[2:5, 3:8] = 1
    assert extent(alpha) == (3, 2, 8, 5)
