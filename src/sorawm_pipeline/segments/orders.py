"""Orders for those who do pieces elsewhere: what they are told, what they answer.

An order names files that both sides reach, the source and the store; pictures never cross.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.engine import OwnerThread
from sorawm_pipeline.errors import PipelineError
from sorawm_pipeline.media.parameter_sets import Unfit
from sorawm_pipeline.report import Text
from sorawm_pipeline.segments.object_store import Cache, ObjectStore
from sorawm_pipeline.segments.pieces import FindTask, PieceWork, Plan, RestoreTask, Task, Watch
from sorawm_pipeline.segments.store import Store
from sorawm_pipeline.snapshot import dumped, loaded
from sorawm_pipeline.stages.decode import HardwareDecoderError
from sorawm_pipeline.stages.picture_encoder import HardwareEncoderError
from sorawm_pipeline.warm import WarmDetectors
from sorawm_pipeline.wire_path import WirePath

CLIPS = 4
"""Clips that are remembered, so that each is probed once."""

_BLAMED = {"encoder": HardwareEncoderError, "decoder": HardwareDecoderError}


class Place(NamedTuple):
    """What must be reached to work on a clip: the source, its pieces, the plan's name there."""

    source: Path
    store: Store
    plan: str


class Order(BaseModel):
    """Do a task of a clip.

    Attributes:
        source: the clip.
        store: the folder of its pieces, with the plan in it.
        url: of an object store that holds both; None: they are files that both sides reach.
        plan: name of the plan.
        task: a snapshot of the task, in base64.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: WirePath
    store: WirePath
    plan: str
    task: str
    url: str | None = None

    @classmethod
    def of(cls, place: Place, task: Task) -> Self:
        source, store, plan = place
        packed = base64.b64encode(dumped(task)).decode()
        url = store.url if isinstance(store, ObjectStore) else None
        return cls(source=source, store=store.folder, plan=plan, task=packed, url=url)

    def unpacked(self) -> Task:
        """Raises SnapshotError: it is no task."""
        task = loaded(base64.b64decode(self.task))
        if not isinstance(task, FindTask | RestoreTask):
            raise TypeError("an order is for a task")
        return task


class Answer(BaseModel):
    """How an order ended.

    Attributes:
        outcome: `done`; `unfit`: parts of this clip cannot be done alone; `failed`.
        message: why not, in a sentence.
        kind, stage: as in `PipelineError`.
        blamed: which device failed that software can do without.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: Literal["done", "unfit", "failed"]
    message: Text = ""
    kind: str | None = None
    stage: str | None = None
    blamed: Literal["encoder", "decoder"] | None = None

    @classmethod
    def of(cls, error: Exception) -> Self:
        if isinstance(error, Unfit):
            return cls(outcome="unfit", message=str(error))
        if not isinstance(error, PipelineError):
            return cls(outcome="failed", message=f"{type(error).__name__}: {error}")
        blamed: Literal["encoder", "decoder"] | None = None
        if isinstance(error, HardwareEncoderError):
            blamed = "encoder"
        elif isinstance(error, HardwareDecoderError):
            blamed = "decoder"
        return cls(
            outcome="failed",
            message=error.message,
            kind=error.kind,
            stage=error.stage,
            blamed=blamed,
        )

    def raised(self) -> None:
        """Raise what the other side raised, if it did."""
        if self.outcome == "unfit":
            raise Unfit(self.message)
        if self.outcome == "failed":
            cls = PipelineError if self.blamed is None else _BLAMED[self.blamed]
            raise cls(self.message, kind=self.kind, stage=self.stage)


class PieceDoer:
    """Does orders, one at a time, and remembers their clips.

    Args:
        config: of the pipeline that gives the orders.
    """

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config
        self._works: dict[tuple[Path, Path, str], tuple[PieceWork, Store]] = {}
        self._cache: Cache | None = None

    def close(self) -> None:
        """Remove what was fetched."""
        if self._cache is not None:
            self._cache.close()

    async def do(
        self, order: Order, detectors: WarmDetectors, tell: Callable[[int], None]
    ) -> Answer:
        """Whatever goes wrong is in the answer.

        Args:
            order: what to do.
            detectors: to borrow one from.
            tell: called with the frames that have come out of the corridor at work.
        """
        thread = OwnerThread("piece")
        try:
            work = await thread.call(lambda: self._work(order))
            async with detectors.borrow() as warm:
                await work.do(order.unpacked(), warm, thread, Watch(tell))
        except Exception as error:  # what is not foreseen is told too
            return Answer.of(error)
        finally:
            await thread.stop()
        return Answer(outcome="done")

    def _work(self, order: Order) -> PieceWork:
        clip = order.source, order.store, order.plan
        if clip not in self._works:
            store = self._store(order)
            plan = store.get(order.plan)
            if not isinstance(plan, Plan):
                raise Unfit("its plan has disappeared")
            while len(self._works) >= CLIPS:
                _, old = self._works.pop(next(iter(self._works)))
                if isinstance(old, ObjectStore):
                    old.forget()
            source = store.reach(order.source)
            self._works[clip] = PieceWork.for_plan(self._config, source, plan, store), store
        return self._works[clip][0]

    def _store(self, order: Order) -> Store:
        if order.url is None:
            return Store(order.store)
        self._cache = self._cache or Cache()
        return self._cache.store(order.url)


class Doer:
    """A `PieceDoer` for a program without an event loop, with models that stay warm.

    Args:
        config: of the pipeline that gives the orders.
        tell: called with the frames that have come out of the corridor at work.
    """

    def __init__(self, config: PipelineConfig, tell: Callable[[int], None]) -> None:
        self._tell = tell
        self._runner = asyncio.Runner()
        self._detectors = WarmDetectors(config, keep=True)
        self._doer = PieceDoer(config)

    def do(self, order: Order) -> Answer:
        """Whatever goes wrong is in the answer."""
        return self._runner.run(self._doer.do(order, self._detectors, self._tell))

    def close(self) -> None:
        self._runner.run(self._detectors.close())
        self._runner.close()
        self._doer.close()
