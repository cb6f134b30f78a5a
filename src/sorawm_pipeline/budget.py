"""How many frames may be on their way at once, so that a clip fits into its memory budget."""

from __future__ import annotations

from dataclasses import dataclass, field

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import ConfigError
from sorawm_pipeline.media.clip import ClipInfo

AUTO_BATCH = {"cpu": 4, "cuda": 32}
"""Largest batch that `auto` grows to; on a CPU larger ones gain nothing."""

AUTO_FILLS = {"cpu": 8, "cuda": 16}
"""The same for fills: smaller ones part what is filled together, after larger ones what follows
would wait too long for the next."""

QUEUE_BYTES = {"cpu": 6_000_000, "cuda": 512_000_000}
"""Memory that frames in a queue may take: large ones pass slowly on a CPU, so few of them do."""


AHEAD_BYTES = {"cpu": 200_000_000, "cuda": 1_000_000_000}
"""Memory that pictures may take while temporal looks ahead. If they take more, frames let go of
them, and a second decoder gives them back, which costs what decoding costs."""


@dataclass(frozen=True, slots=True)
class Room:
    """Sizes of one clip's corridor, in frames.

    Attributes:
        capacity: what a queue holds, at least.
        detect_batch, inpaint_batch: largest batches.
        stride: most frames from one look of the detector to the next; they wait for it.
        longest: what a queue holds, at most.
        keeps: whether frames keep their pictures while temporal looks ahead.
    """

    capacity: int
    detect_batch: int
    inpaint_batch: int
    stride: int
    longest: int
    keeps: bool = field(default=True, kw_only=True)

    @property
    def capacities(self) -> tuple[int, ...]:
        """What each queue holds, from decode on: as much as the batch of the stages at its ends.

        The encoder's is twice as long, so that it need not wait while temporal looks back.
        """
        looks = min(self.longest, max(self.capacity, self.detect_batch))
        fills = min(self.longest, max(self.capacity, self.inpaint_batch))
        waiting = () if self.keeps else (self.capacity,)
        return looks, fills, fills, *waiting, 2 * self.capacity

    @property
    def frames(self) -> int:
        """Most frames in the queues, in batches and between two looks.

        Temporal and encode take what a queue holds.
        """
        batches = self.detect_batch + self.inpaint_batch + 2 * self.capacity
        return sum(self.capacities) + batches + self.stride - 1

    def halved(self) -> Room:
        sizes = self.capacity, self.detect_batch, self.inpaint_batch, self.stride, self.longest
        return Room(*(max(1, size // 2) for size in sizes), keeps=self.keeps)


def frame_bytes(clip: ClipInfo) -> int:
    """Memory that one decoded frame takes, in bytes."""
    layout = clip.layout
    luma = clip.width * clip.height
    chroma = luma if layout.rgb else luma // (layout.step_x * layout.step_y)
    samples = luma + (layout.colour_planes - 1) * chroma
    return samples * (1 if layout.depth == 8 else 2)


def keeps_pictures(clip: ClipInfo, config: PipelineConfig, device: str) -> bool:
    """Whether frames may keep their pictures while temporal looks ahead."""
    memory, budget = AHEAD_BYTES[_kind(device)], config.memory.budget
    if budget is not None:
        memory = min(memory, budget // 6)
    return config.temporal.window * frame_bytes(clip) <= memory


def room_for(
    clip: ClipInfo, config: PipelineConfig, device: str, held: int, *, keeps: bool = True
) -> Room:
    """The configured sizes, halved until the clip's frames fit `memory.budget`.

    Queues of large frames are shorter than configured.

    `held` pictures stay inside stages and codecs whatever the sizes.

    Raises:
        ConfigError: not even one frame per queue and batch fits.
    """
    kind = _kind(device)
    detect, inpaint = config.detect.batch, config.inpaint.batch
    longest = max(1, QUEUE_BYTES[kind] // frame_bytes(clip))
    room = Room(
        capacity=min(config.queues.capacity, longest),
        detect_batch=AUTO_BATCH[kind] if detect == "auto" else detect,
        inpaint_batch=AUTO_FILLS[kind] if inpaint == "auto" else inpaint,
        stride=config.detect.stride,
        longest=longest,
        keeps=keeps,
    )
    smallest = Room(1, 1, 1, 1, 1, keeps=keeps)
    budget = config.memory.budget
    while budget is not None and (held + room.frames) * frame_bytes(clip) > budget:
        if room == smallest:
            least = (held + room.frames) * frame_bytes(clip)
            raise ConfigError(
                f"memory.budget of {budget} bytes is too small for {clip.width}x{clip.height}: "
                f"this clip needs at least {least}; lower temporal.window or raise the budget"
            )
        room = room.halved()
    return room


def _kind(device: str) -> str:
    return "cuda" if device.startswith("cuda") else "cpu"
