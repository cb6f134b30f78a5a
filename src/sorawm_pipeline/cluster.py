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
from sorawm_pipeline.errors import ConfigError, DeviceError
from sorawm_pipeline.hardware.cores import claim_cores
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.scheduling import STEPS, Limits
from sorawm_pipeline.segments.dispatch import Dispatch, HandLostError, serving
from sorawm_pipeline.segments.hands import TRIES, Hands
from sorawm_pipeline.segments.object_store import files_of
from sorawm_pipeline.segments.orders import Answer, Doer, Order, Place
from sorawm_pipeline.segments.pieces import Task

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
    """Lives in an actor: the same `Doer` as everywhere.

    Args:
        config: of the pipeline, as JSON.
        cores: that it keeps to; 0: all.
    """

    def __init__(self, config: str, cores: int) -> None:
        self._consumed = 0
        if cores:
            claim_cores(cores)
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


class _Actor:
    """A hand on the cluster."""

    steps = STEPS

    def __init__(self, ray: Any, actor: Any) -> None:
        self.alive = True
        self._ray = ray
        self._actor = actor

    async def do(self, place: Place, task: Task, tell: Callable[[int], None]) -> None:
        try:
            answer = await self._asked(Order.of(place, task).model_dump_json(), tell)
        except self._ray.exceptions.RayError as error:
            raise HandLostError(_line(error)) from error
        except BaseException:  # cancelled: it must not work on
            self.alive = False
            self._ray.kill(self._actor)
            raise
        answer.raised()

    async def _asked(self, order: str, tell: Callable[[int], None]) -> Answer:
        done = asyncio.ensure_future(self._actor.do.remote(order))
        try:
            while not (await asyncio.wait([done], timeout=ASKED_S))[0]:
                tell(await self._actor.consumed.remote())
            return Answer.model_validate_json(done.result())
        finally:
            done.cancel()


async def _kept(ray: Any, begin: Callable[[], Any], dispatch: Dispatch) -> None:
    """Let an actor serve, and another one, wherever and whenever there is room, when it is lost."""
    while True:
        actor = begin()
        try:
            await actor.consumed.remote()  # answered once it has started
            await dispatch.serve(_Actor(ray, actor))
        except HandLostError as error:
            log.warning("a worker was lost", reason=str(error))
        except ray.exceptions.RayError as error:
            log.warning("a worker could not be started", reason=_line(error))
            await asyncio.sleep(ASKED_S)
        finally:
            ray.kill(actor)


@asynccontextmanager
async def _actors(ray: Any, config: PipelineConfig, sharers: int) -> AsyncIterator[Hands]:
    wanted, resources = config.cluster, ray.cluster_resources()
    gpus = wanted.gpus if resources.get("GPU") and config.device != "cpu" else 0.0
    kind, share = ("GPU", gpus) if gpus else ("CPU", wanted.cpus or 1.0)
    fits = int(resources.get(kind, 0) / share + 1e-9)
    slots = max(1, min(fits, wanted.slots or fits) // sharers)
    if fits < 1:
        raise ConfigError(
            f"the cluster has {resources.get(kind, 0):g} {kind}s, which is not one slot of "
            f"{share:g}; lower cluster.{kind.lower()}s or add machines"
        )
    actor_class = ray.remote(
        num_cpus=wanted.cpus,
        num_gpus=gpus,
        concurrency_groups={"work": 1, "watch": 1},  # so that it can be asked while it works
    )(_Remote)
    told = json.dumps(config.model_dump(mode="json"))
    # One clip alone may have all slots.
    dispatch = Dispatch(Limits(window=max(Limits().window, 2 * slots), tries=TRIES, losses=TRIES))
    cores = 0 if gpus else round(wanted.cpus)
    keepers = (_kept(ray, lambda: actor_class.remote(told, cores), dispatch) for _ in range(slots))
    async with serving(keepers):
        yield Hands(dispatch, slots, every_clip=True, store=wanted.store)


@asynccontextmanager
async def connected(config: PipelineConfig, sharers: int = 1) -> AsyncIterator[Hands | None]:
    """Hands on the configured cluster; None where none is configured.

    Args:
        config: of the pipeline.
        sharers: programs that share its slots evenly, this one among them.

    Raises:
        ConfigError: Ray is not installed, the address is none, or the store cannot be used.
        DeviceError: the cluster cannot be reached.
    """
    address = config.cluster.address
    if address is None:
        yield None
        return
    if config.cluster.store is not None:
        files_of(config.cluster.store)
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
        async with _actors(ray, config, sharers) as hands:
            yield hands
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
