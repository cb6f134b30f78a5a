"""Believing what is seen again and again at one place while the picture under it changes.

One doubtful sighting says little. What resembles a mark moves with the scene, though, and a mark
stands still over it, so sightings at one place over different pictures are independent, and a few
of them leave no doubt. Over a picture that stands still, more looks tell nothing new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2

from sorawm_pipeline.media.frame import Box, Mark, Plane
from sorawm_pipeline.snapshot import value
from sorawm_pipeline.vision.overlay import Floats, Region

ENOUGH = 3
"""Sightings over different pictures that are believed."""

SAME_PLACE = 0.8
"""IoU with the first box from which a sighting is of the same place."""

CHANGED = 6.0
"""Root mean square difference, in 8-bit steps, from which two pictures of a spot differ."""

SPOTS = (4, 2)
"""Spots across and down of a place. All must differ, or something passed before a still picture."""

LASTING = 8
"""Frames from the first to the last sighting of a place that is believed; what drifts has left."""

FORGET = 12
"""Frames without a sighting after which a place is forgotten."""


def differ(one: Floats, other: Floats) -> bool:
    """Whether two pictures of one place (h, w) show different scenes."""
    spots = cv2.resize((one - other) ** 2, SPOTS, interpolation=cv2.INTER_AREA)
    return bool((spots >= CHANGED**2).all())


@value
@dataclass(slots=True)
class _Place:
    region: Region
    box: Box
    first: int
    last: int
    pictures: list[Floats] = field(default_factory=list)

    def is_new(self, picture: Floats) -> bool:
        return all(differ(picture, other) for other in self.pictures)


class Repeats:
    """Remembers the places of doubtful sightings for a few frames.

    Args:
        depth: bits per sample of the luma planes.
        doubtful: confidence from which a sighting counts.
        believe: confidence from which a sighting is believed.
    """

    STATE = ("_places",)

    def __init__(self, depth: int, doubtful: float, believe: float) -> None:
        self._depth = depth
        self._doubtful = doubtful
        self._believe = believe
        self._places: list[_Place] = []

    def judged(self, index: int, luma: Plane, marks: Sequence[Mark]) -> list[Mark]:
        """The marks seen in a frame, as sure as all looks at their places together are."""
        self._places = [p for p in self._places if abs(index - p.last) <= FORGET]
        return [
            self._judged(index, luma, mark) if mark.confidence >= self._doubtful else mark
            for mark in marks
        ]

    def _judged(self, index: int, luma: Plane, mark: Mark) -> Mark:
        place = max(self._places, key=lambda p: p.box.iou(mark.box), default=None)
        if place is None or place.box.iou(mark.box) < SAME_PLACE:
            place = _Place(Region.around(mark.box, luma, self._depth), mark.box, index, index)
            self._places.append(place)
        place.first, place.last = min(place.first, index), max(place.last, index)
        if len(place.pictures) < ENOUGH:
            picture = place.region.grey(luma)
            if place.is_new(picture):
                place.pictures.append(picture)
        lasted = place.last - place.first >= LASTING
        if lasted and len(place.pictures) >= ENOUGH and mark.confidence < self._believe:
            return replace(mark, confidence=self._believe)
        return mark
