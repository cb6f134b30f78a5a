"""How many frames may be on their way at once, so that a clip fits into its memory budget."""

from __future__ import annotations

from dataclasses import dataclass

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import ConfigError
from sorawm_pipeline.media.clip import ClipInfo

AUTO_BATCH = {"cpu": 8, "cuda": 32}
"""Largest batch that `auto` grows to; on a CPU larger ones gain nothing."""


@dataclass(frozen=True, slots=True)
class Room:
    """Sizes of one clip's corridor.

    Attributes:
        capacity: frames per queue.
        detect_batch, inpaint_batch: largest batches.
        fixed_detect, fixed_inpaint: whether these are the user's numbers and not a cap to grow to.
    """

    capacity: int
    detect_batch: int
    inpaint_batch: int
    fixed_detect: bool
    fixed_inpaint: bool


def frame_bytes(clip: ClipInfo) -> int:
    """Memory that one decoded frame takes, in bytes."""
    layout = clip.layout
    luma = clip.width * clip.height
    chroma = luma if layout.rgb else luma // (layout.step_x * layout.step_y)
    samples = luma + (layout.colour_planes - 1) * chroma
    return samples * (1 if layout.depth == 8 else 2)


def room_for(clip: ClipInfo, config: PipelineConfig, device: str, held: int) -> Room:
    """The configured sizes, halved until the clip's frames fit `memory.budget`.

    `held` frames stay inside stages and codecs whatever the sizes.

    Raises:
        ConfigError: not even one frame per queue and batch fits.
    """
    auto = AUTO_BATCH["cuda" if device.startswith("cuda") else "cpu"]
    detect, inpaint = config.detect.batch, config.inpaint.batch
    sizes = [
        config.queues.capacity,
        auto if detect == "auto" else detect,
        auto if inpaint == "auto" else inpaint,
    ]
    budget = config.memory.budget
    while budget is not None and (held + _moving(sizes)) * frame_bytes(clip) > budget:
        if max(sizes) == 1:
            least = (held + _moving(sizes)) * frame_bytes(clip)
            raise ConfigError(
                f"memory.budget of {budget} bytes is too small for {clip.width}x{clip.height}: "
                f"this clip needs at least {least}; lower temporal.window or raise the budget"
            )
        sizes = [max(1, size // 2) for size in sizes]
    return Room(
        capacity=sizes[0],
        detect_batch=sizes[1],
        inpaint_batch=sizes[2],
        fixed_detect=detect != "auto",
        fixed_inpaint=inpaint != "auto",
    )


def _moving(sizes: list[int]) -> int:
    """Frames in the four queues, in the two model stages, and in temporal and encode."""
    capacity, detect, inpaint = sizes
    return 4 * capacity + detect + inpaint + 2 * capacity
