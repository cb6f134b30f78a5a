"""The bounded-queue engine: blocking stages on threads of their own, joined by an event loop.

It has never heard of video. A `Corridor` moves items from a `Source` through `Stage`s; the laws
it keeps are those of docs/architecture.md, and its tests assert them one by one.
"""

from sorawm_pipeline.engine.channel import Channel
from sorawm_pipeline.engine.probe import (
    CorridorSnapshot,
    LiveSnapshot,
    QueueSnapshot,
    StageSnapshot,
)
from sorawm_pipeline.engine.runner import Corridor
from sorawm_pipeline.engine.stage import Source, Stage
from sorawm_pipeline.engine.threads import Owner, OwnerThread, ThreadFactory

__all__ = [
    "Channel",
    "Corridor",
    "CorridorSnapshot",
    "LiveSnapshot",
    "Owner",
    "OwnerThread",
    "QueueSnapshot",
    "Source",
    "Stage",
    "StageSnapshot",
    "ThreadFactory",
]
