"""This program's own detector and fill, one frame at a time, as the seed's algorithm calls them."""

from __future__ import annotations

import av
import numpy as np
from seed_program import Fill, Look, Pixels

from sorawm_pipeline.media.frame import Box
from sorawm_pipeline.media.patch import cut, paste
from sorawm_pipeline.media.planes import layout_of
from sorawm_pipeline.vision.detector import Detector
from sorawm_pipeline.vision.restore import Hole, Region
from sorawm_pipeline.vision.see_through import SeeThrough, load_networks
from sorawm_pipeline.vision.weights import find_weights

HOLE_MARGIN = 8
LAYOUT = layout_of("yuv420p")


def own_look() -> Look:
    detector = Detector(find_weights())

    def look(frame: Pixels) -> object:
        across, down = detector.input_size(frame.shape[1], frame.shape[0])
        picture = av.VideoFrame.from_ndarray(frame, format="bgr24")
        small = picture.reformat(across, down, "rgb24").to_ndarray()
        return detector.detect(np.asarray(small, np.uint8)[None])

    return look


def own_fill() -> Fill:
    """The see-through networks on every marked frame, without the frames around it."""
    inpainter = SeeThrough(load_networks(), LAYOUT)
    holes: dict[Box, Hole] = {}
    count = 0

    def fill(frame: Pixels, box: Box) -> Pixels:
        nonlocal count
        height, width = frame.shape[:2]
        if box not in holes:
            holes[box] = Hole(box, None, (), HOLE_MARGIN, width, height, LAYOUT, inpainter.context)
        picture = av.VideoFrame.from_ndarray(frame, format="bgr24").reformat(format="yuv420p")
        planes = cut(picture, holes[box].box, LAYOUT)
        (patch,) = inpainter.fill([Region(count, holes[box], planes)])
        count += 1
        paste(picture, [patch], LAYOUT)
        return np.asarray(picture.to_ndarray(format="bgr24"), np.uint8)

    return fill
