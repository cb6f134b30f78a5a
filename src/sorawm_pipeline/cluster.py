"""Pieces of clips on many machines: Ray actors with warm models, one for each slot.

What crosses the wire are orders: paths that every machine reaches, and a few kilobytes about one
piece. The same code does them that does them here (`segments.orders.Doer`). An actor or a machine
that is lost costs the pieces that it had; they are given to others. Where the head dies, what is
done lies in the store, and the same command goes on from there.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import ConfigError, DeviceError, PipelineError
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.segments.hands import TRIES
from sorawm_pipeline.segments.orders import Answer, Doer, Order
from sorawm_pipeline.segments.turns import Turns

LOCAL = "local"
"""The address that stands for a cluster of this machine alone, made for the call."""

CONNECT_S = 10.0
ASKED_S = 2.0
"""Seconds between two looks at how far an order has got."""

Method = TypeVar("Method", bound=Callable[..., Any])
log = get_logger(__name__)


def _in_group(name: str) -> Callable[[Method], Method]:
    """What `ray.method(concurrency_group=...)` says, without the library at hand."""

    def marked(method: Method) -> Method:
        method.__ray_concurrency_group__ = name  # type: ignore[attr-defined]
        return method

    return marked


class _Remote:
    """Lives in an actor: the same `Doer` as everywhere."""

    def __init__(self, config: str) -> None:
        self._consumed = 0
        self._doer = Doer(PipelineConfig.model_validate(json.loads(config)), self._count)

    def _count(self, frames: int) -> None:
        self._consumed = frames

    @_in_group("work")
    def do(self, order: str) -> str:
        self._consumed = 0
        return self._doer.do(Order.model_validate_json(order)).model_dump_json()

    @_in_group("watch")
    def consumed(self) -> int:
        return self._consumed


class Actors:
    """Hands that are actors of a cluster (see `segments.hands.Hands`).

    Args:
        ray: the connected library.
        config: of the pipeline.
        group: for what goes on beside the orders.
    """

    every_clip = True

    def __init__(self, ray: Any, config: PipelineConfig, group: asyncio.TaskGroup) -> None:
        self._ray = ray
        self._group = group
        self._beginning: set[asyncio.Task[None]] = set()
        self._config = json.dumps(config.model_dump(mode="json"))
        wanted = config.cluster
        resources = ray.cluster_resources()
        gpus = wanted.gpus if resources.get("GPU") and config.device != "cpu" else 0.0
        kind, share = ("GPU", gpus) if gpus else ("CPU", wanted.cpus or 1.0)
        fits = int(resources.get(kind, 0) / share + 1e-9)
        self.slots = min(fits, wanted.slots or fits)
        if self.slots < 1:
            raise ConfigError(
                f"the cluster has {resources.get(kind, 0):g} {kind}s, which is not one slot of "
                f"{share:g}; lower cluster.{kind.lower()}s or add machines"
            )
        self._actor_class = ray.remote(
            num_cpus=wanted.cpus,
            num_gpus=gpus,
            concurrency_groups={"work": 1, "watch": 1},  # so that it can be asked while it works
        )(_Remote)
        self.turns = Turns(self.slots)
        self._ready: asyncio.Queue[Any] = asyncio.Queue()
        self._all: set[Any] = set()
        for _ in range(self.slots):
            self._begin()

    async def do(self, order: Order, tell: Callable[[int], None]) -> Answer:
        for attempt in range(TRIES):
            actor = await self._ready.get()
            try:
                answer = await self._asked(actor, order, tell)
            except self._ray.exceptions.RayError as error:
                log.warning("a worker was lost", attempt=attempt + 1, reason=_line(error))
                self._replace(actor)
            except BaseException:  # cancelled: it must not work on
                self._replace(actor)
                raise
            else:
                self._ready.put_nowait(actor)
                return answer
        raise PipelineError(f"{TRIES} workers of the cluster were lost over one piece of the clip")

    async def close(self) -> None:
        for task in self._beginning:
            task.cancel()
        for actor in self._all:
            self._ray.kill(actor)
        self._all.clear()

    async def _asked(self, actor: Any, order: Order, tell: Callable[[int], None]) -> Answer:
        done = asyncio.ensure_future(actor.do.remote(order.model_dump_json()))
        try:
            while not (await asyncio.wait([done], timeout=ASKED_S))[0]:
                tell(await actor.consumed.remote())
            return Answer.model_validate_json(done.result())
        finally:
            done.cancel()

    def _replace(self, actor: Any) -> None:
        """Another one, wherever and whenever there is room, for one that is lost or must stop."""
        self._ray.kill(actor)
        self._all.discard(actor)
        self._begin()

    def _begin(self) -> None:
        task = self._group.create_task(self._begun())
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begun(self) -> None:
        """Start an actor; it gets orders once it has answered."""
        actor = self._actor_class.remote(self._config)
        self._all.add(actor)
        try:
            await actor.consumed.remote()
        except self._ray.exceptions.RayError as error:
            log.warning("a worker could not be started", reason=_line(error))
            self._all.discard(actor)
            await asyncio.sleep(ASKED_S)
            self._begin()
        else:
            self._ready.put_nowait(actor)


@asynccontextmanager
async def connected(config: PipelineConfig) -> AsyncIterator[Actors | None]:
    """Hands on the configured cluster; None where none is configured.

    Raises:
        ConfigError: Ray is not installed, or the address is none.
        DeviceError: the cluster cannot be reached.
    """
    address = config.cluster.address
    if address is None:
        yield None
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "a cluster needs Ray: install it with `pip install 'sorawm-pipeline[ray]'`"
        ) from error
    if address != LOCAL:
        await _answered(address)
    place: dict[str, Any] = {"address": address}
    if address == LOCAL:
        place["include_dashboard"] = False  # whose port nobody asked for
    try:
        ray.init(**place, log_to_driver=False, logging_level="error", configure_logging=False)
    except (ray.exceptions.RayError, ConnectionError, ValueError, RuntimeError) as error:
        raise DeviceError(f"the cluster at {address} cannot be reached: {_line(error)}") from error
    try:
        failure: BaseException | None = None
        async with asyncio.TaskGroup() as group:
            # What the caller raises is the caller's: the group, which would wrap it, never sees it.
            try:
                actors = Actors(ray, config, group)
                try:
                    yield actors
                finally:
                    await actors.close()
            except BaseException as error:
                failure = error
        if failure is not None:
            raise failure
    finally:
        ray.shutdown()


async def _answered(address: str) -> None:
    """Ask for nobody at an address: Ray itself would wait for minutes.

    Raises:
        DeviceError: nobody is there.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        return  # Ray knows other forms
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no answer"
        raise DeviceError(f"the cluster at {address} cannot be reached: {reason}") from error


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]
