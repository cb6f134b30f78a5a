"""Clean pictures for the bench: films as they are, photographs seen by a moving camera."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from pictures import Pixels, i420

Camera = Literal["film", "still", "pan", "handheld", "zoom", "sway", "ripple"]
FILMS = {".mp4", ".avi", ".mpeg", ".mkv"}
ROOM = {"still": 1.0, "zoom": 1.0, "pan": 1.3, "handheld": 1.06, "sway": 1.04, "ripple": 1.04}
"""A photograph is scaled to cover so many times the frame, so that the camera has where to go."""


@dataclass(frozen=True)
class Footage:
    """What the camera sees.

    Attributes:
        file: name within the folder of sources.
        camera: how a photograph is filmed; a film is what it is.
        guest: photograph from which a disc is cut that wanders through the picture.
        noise: standard deviation of the sensor's noise over a photograph, of 255.
        start: first frame of a film.
    """

    file: str
    camera: Camera = "film"
    guest: str | None = None
    noise: float = 0.7
    start: int = 0

    @property
    def files(self) -> list[str]:
        return [self.file] + ([self.guest] if self.guest else [])


def footage(what: Footage, sources: Path, size: tuple[int, int], count: int) -> Iterator[Pixels]:
    """Yield `count` I420 pictures (h * 3/2, w), the same each time.

    A film that is too short runs backwards at its end, and forwards again, so that nothing jumps.
    """
    path = sources / what.file
    if path.suffix.lower() in FILMS:
        yield from _film(path, size, count, what.start)
        return
    photo = _covering(path, size, ROOM[what.camera])
    guest = _covering(sources / what.guest, (160, 160), 1.0) if what.guest else None
    rng = np.random.default_rng(zlib.crc32(what.file.encode()))
    for index in range(count):
        picture = _filmed(photo, what.camera, size, index)
        if guest is not None:
            _visit(picture, guest, index)
        if what.noise:
            grain = rng.standard_normal(picture.shape, np.float32) * np.float32(what.noise)
            picture = np.clip(np.rint(picture + grain), 0, 255).astype(np.uint8)
        yield i420(picture)


def _film(path: Path, size: tuple[int, int], count: int, start: int) -> Iterator[Pixels]:
    shown: list[Pixels] = []
    with av.open(str(path)) as container:
        for frame in islice(container.decode(video=0), start, None):
            rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            shown.append(i420(_centred(rgb, size)))
            if len(shown) == count:
                break
    if not shown:
        raise SystemExit(f"{path} has no frames")
    cycle = max(1, 2 * len(shown) - 2)
    for index in range(count):
        phase = index % cycle
        yield shown[min(phase, cycle - phase)]


def _scaled(rgb: Pixels, size: tuple[int, int], room: float) -> Pixels:
    """Scaled to cover `room` times `size`."""
    scale = room * max(size[0] / rgb.shape[1], size[1] / rgb.shape[0])
    across = max(size[0], round(rgb.shape[1] * scale))
    down = max(size[1], round(rgb.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, (across, down), interpolation=how), np.uint8)


def _centred(rgb: Pixels, size: tuple[int, int]) -> Pixels:
    rgb = _scaled(rgb, size, 1.0)
    x, y = (rgb.shape[1] - size[0]) // 2, (rgb.shape[0] - size[1]) // 2
    return np.ascontiguousarray(rgb[y : y + size[1], x : x + size[0]])


def _covering(path: Path, size: tuple[int, int], room: float) -> Pixels:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SystemExit(f"{path} is not a picture")
    return _scaled(np.ascontiguousarray(picture[..., ::-1]), size, room)


def _triangle(value: float) -> float:
    """0 to 1 and back, with period 2."""
    return 1 - abs(value % 2 - 1)


def _filmed(photo: Pixels, camera: Camera, size: tuple[int, int], index: int) -> Pixels:
    """What the camera sees of a photograph in one frame, (h, w, 3) RGB."""
    free = np.array([photo.shape[1] - size[0], photo.shape[0] - size[1]], np.float64)
    second = index / 30
    offset, scale, turn = free / 2, 1.0, 0.0
    if camera == "pan":
        offset = np.array([_triangle(1.73 * index / free[0]), _triangle(0.31 * index / free[1])])
        offset = offset * free
    elif camera == "zoom":
        scale = 1.15 - 0.15 * np.cos(0.9 * second)
    elif camera in ("handheld", "ripple", "sway"):
        strength = 1.0 if camera == "handheld" else 0.25
        sway = [
            6.0 * np.sin(3.1 * second) + 2.2 * np.sin(9.7 * second + 1) + 0.5 * np.sin(31 * second),
            5.0 * np.sin(2.3 * second + 2)
            + 1.8 * np.sin(11.3 * second)
            + 0.5 * np.sin(27 * second),
        ]
        offset = offset + strength * np.array(sway)
        turn = strength * 0.006 * np.sin(2.7 * second + 0.5)
    if camera in ("ripple", "sway"):
        return _bent(photo, offset, size, second, camera)
    return _seen(photo, offset, scale, turn, size)


def _seen(
    photo: Pixels, offset: NDArray[np.float64], scale: float, turn: float, size: tuple[int, int]
) -> Pixels:
    """Sample the photograph at `offset`, magnified by `scale` and turned about the centre."""
    middle = np.array([(size[0] - 1) / 2, (size[1] - 1) / 2])
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / scale
    shift = offset + middle - spin @ middle
    matrix = np.hstack([spin, shift[:, None]])
    return np.asarray(
        cv2.warpAffine(
            photo,
            matrix,
            size,
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        ),
        np.uint8,
    )


def _bent(
    photo: Pixels,
    offset: NDArray[np.float64],
    size: tuple[int, int],
    second: float,
    camera: Camera,
) -> Pixels:
    """Sample the photograph through waves: of water, or of wind in leaves."""
    x, y = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    if camera == "ripple":
        dx = 2.2 * np.sin(y / 9 + x / 70 - 7 * second) + 1.2 * np.sin(y / 23 - x / 40 + 4 * second)
        dy = 1.4 * np.sin(y / 14 + x / 33 - 9 * second) + 0.8 * np.sin(x / 17 + 5 * second)
    else:
        gust = 0.6 + 0.4 * np.sin(1.3 * second)
        wild = np.sin(x / 37 + y / 61) + np.sin(x / 83 - y / 29)
        dx = gust * 3.0 * np.sin(5 * second + x / 90 + 1.5 * wild)
        dy = gust * 1.2 * np.sin(6.1 * second + y / 70 + 1.2 * wild)
    across = (x + offset[0] + dx).astype(np.float32)
    down = (y + offset[1] + dy).astype(np.float32)
    return np.asarray(
        cv2.remap(photo, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101),
        np.uint8,
    )


def _visit(picture: Pixels, guest: Pixels, index: int) -> None:
    """Draw a soft-edged disc of `guest` on its way through the picture, in place."""
    height, width = picture.shape[:2]
    side = min(guest.shape[0], guest.shape[1], height)
    path = index / 45
    x = (width - side) * _triangle(0.61 * path)
    y = (height - side) * _triangle(0.23 + 0.43 * path)
    left, top = int(x), int(y)
    matrix = np.array([[1, 0, x - left], [0, 1, y - top]])
    disc = cv2.warpAffine(guest[:side, :side], matrix, (side, side), flags=cv2.INTER_CUBIC)
    axis = np.arange(side, dtype=np.float32) - side / 2
    reach = np.hypot(axis[None] - (x - left), axis[:, None] - (y - top))
    share = np.clip((side / 2 - 3 - reach) / 2, 0, 1)[..., None]
    area = picture[top : top + side, left : left + side]
    area[...] = np.rint(area * (1 - share) + disc * share).astype(np.uint8)
