"""Inpainters by name: the built-in ones, and those that other packages bring.

A package brings one by an entry point in the group `sorawm_pipeline.inpainters`:

    [project.entry-points."sorawm_pipeline.inpainters"]
    blur = "my_package:BlurInpainter"

The object is called with the `inpaint` section, the device (`cpu` or `cuda:n`) and the clip's
`PixelLayout`, once for each clip, and returns an `Inpainter` (see `vision/restore.py`). It is used
by one thread at a time. Whatever it raises fails the clip at the stage `inpaint`; an out-of-memory
error makes the stage try again with fewer regions.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from sorawm_pipeline.config_sections import INPAINTER_GROUP, InpaintConfig
from sorawm_pipeline.errors import ModelError
from sorawm_pipeline.media.planes import PixelLayout
from sorawm_pipeline.vision.restore import Inpainter

Factory = Callable[[InpaintConfig, str, PixelLayout], Inpainter]


def plug_in(config: InpaintConfig, device: str, layout: PixelLayout) -> Inpainter:
    """The inpainter that another package brings under `config.method`.

    Raises:
        ModelError: there is none, or it cannot be made.
    """
    entry = next(iter(entry_points(group=INPAINTER_GROUP, name=config.method)), None)
    if entry is None:
        raise ModelError(f"no installed package brings the method {config.method}", kind="missing")
    try:
        factory: Factory = entry.load()
        return factory(config, device, layout)
    except Exception as error:
        raise ModelError(
            f"the inpainter {config.method} of {entry.value} cannot be used: {error}"
        ) from error
