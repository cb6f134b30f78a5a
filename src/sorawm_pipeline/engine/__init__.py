"""The bounded-queue engine: blocking stages on threads of their own, joined by an event loop.

It has never heard of video. A `Corridor` moves items from a `Source` through `Stage`s; the laws
it keeps are those of docs/architecture.md, and its tests assert them one by one.

Rejected designs. The figures are microseconds per frame and stage, no-op stages, queues of 4, two
busy cores; this design took 24 in the same run (bench/engine_overhead.py measures it again):

- Queues between the threads, the loop only watching: 6. Cheaper, but then nothing can be tested
  or simulated in virtual time; the difference is 0.2 % of the 10 ms that one 1080p frame takes
  to decode.
- A `ThreadPoolExecutor` of one thread per stage instead of `OwnerThread`: 34, and a cancelled
  wait abandons the thread.
- An `asyncio.Queue` item by item: 103, a hop for each item. This is also how SPDL works.
- A sentinel as the last item: it blocks on a full queue, and must be told apart in every stage.
- Letting stage errors out into the TaskGroup: they come as a group, and one of them swallows a
  cancellation of the caller that arrives while the group winds down.
- A source that reads ahead instead of reading what fits: 2 less, and a whole channel's capacity
  more in the bound.
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
from sorawm_pipeline.engine.waiting import outlast

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
    "outlast",
]
