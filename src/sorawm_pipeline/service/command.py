"""`run --watch` and `serve` as programs: signals, what is printed, the exit status."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import ConfigError
from sorawm_pipeline.logs import configure, get_logger
from sorawm_pipeline.report import readable
from sorawm_pipeline.service.daemon import GRACE_S, Daemon
from sorawm_pipeline.service.events import JobChanged
from sorawm_pipeline.service.jobs import JobState

log = get_logger(__name__)


def watch_folder(
    read_config: Callable[[], PipelineConfig],
    output: Path | None,
    say: Callable[[str], object],
    hint: Callable[[str], object],
    *,
    http: bool = False,
) -> bool:
    """Watch, serve, or both, until a signal ends it; True if nothing was interrupted.

    SIGINT or SIGTERM stops in two levels, SIGHUP reads the configuration again, SIGUSR1 has the
    ledger and the folder looked at.

    Args:
        read_config: reads it, the first time and on SIGHUP.
        output: the folder of the results; None: as configured.
        say: told in words of every clip that is done or given up.
        hint: told where the dashboard is, once it is there.
        http: whether to serve even if `service.http` does not say so.

    Raises:
        ConfigError: as `Daemon`; from SIGHUP it is logged and the old configuration stays.
    """
    return asyncio.run(_run(Daemon(read_config(), output), read_config, say, hint, http=http))


async def _run(
    daemon: Daemon,
    read_config: Callable[[], PipelineConfig],
    say: Callable[[str], object],
    hint: Callable[[str], object],
    *,
    http: bool,
) -> bool:
    def stop() -> None:
        log.warning("finishing what runs; once more to stop now", seconds=GRACE_S)
        daemon.stop()

    def reload() -> None:
        try:
            config = read_config()
            daemon.reload(config)
        except ConfigError as error:
            log.error("not reloaded", reason=error.message)
        else:
            configure(config.log.level, config.log.format)

    handlers = {
        signal.SIGINT: stop,
        signal.SIGTERM: stop,
        signal.SIGHUP: reload,
        signal.SIGUSR1: daemon.look_again,
    }
    with _signals(handlers):
        try:
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(_tell(daemon, say))
                if http or daemon.config.service.http:
                    finished = await _served(daemon, hint)
                else:
                    finished = await daemon.run()
                telling.cancel()
        except* ConfigError as errors:
            raise _first(errors) from None
    return finished


async def _served(daemon: Daemon, hint: Callable[[str], object]) -> bool:
    """As `Daemon.run`, with the HTTP API beside it."""
    from sorawm_pipeline.service.http import server

    token = server.checked_token(daemon.config)
    taken = server.bound(daemon.config)
    hint(server.url(daemon.config, taken))
    async with server.served(daemon, taken, token):
        return await daemon.run()


@contextmanager
def _signals(handlers: dict[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


async def _tell(daemon: Daemon, say: Callable[[str], object]) -> None:
    async with aclosing(daemon.events()) as events:
        async for event in events:
            if not isinstance(event, JobChanged):
                continue
            job = event.job
            name = readable(job.source.path.name)
            if job.state is JobState.DONE and not job.settled:
                say(f"done: {name} -> {readable(job.output)}")
            elif job.state in (JobState.QUARANTINED, JobState.SKIPPED) and job.failure:
                say(f"{job.state}: {readable(job.failure.message)}")


def _first(errors: BaseExceptionGroup[ConfigError]) -> ConfigError:
    error = errors.exceptions[0]
    return error if isinstance(error, ConfigError) else _first(error)
