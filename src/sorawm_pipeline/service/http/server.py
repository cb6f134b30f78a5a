"""Serving a daemon: the socket is taken before anything starts, and let go when all is done."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.errors import ConfigError
from sorawm_pipeline.logs import get_logger
from sorawm_pipeline.service.daemon import Daemon
from sorawm_pipeline.service.http.access import is_loopback, read_token
from sorawm_pipeline.service.http.app import build
from sorawm_pipeline.service.http.state import State

BACKLOG = 128
CONNECTIONS = 256
"""Most requests and open connections at once."""

CLEAR_S = 3600.0
"""Seconds between two looks for uploads that nobody needs any more."""

log = get_logger(__name__)


class _Server(uvicorn.Server):
    """Leaves signals to the daemon."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def checked_token(config: PipelineConfig) -> str | None:
    """The token, if one is configured.

    Raises:
        ConfigError: it cannot be used, or is missing where others than this machine can connect.
    """
    service = config.service
    if service.token_file is not None:
        return read_token(service.token_file)
    if not is_loopback(service.host):
        raise ConfigError(
            f"service.host {service.host} can be reached from other machines: name a file with a "
            "secret in service.token_file"
        )
    return None


def bound(config: PipelineConfig) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: the address is taken, not this machine's, or not allowed.
    """
    host, port = config.service.host, config.service.port
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"service.host {host}: {error}") from error
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen(BACKLOG)
        taken.setblocking(False)
    except OSError as error:
        taken.close()
        hint = "; another program listens there" if error.errno == errno.EADDRINUSE else ""
        raise ConfigError(f"{host} port {port} cannot be used: {error.strerror}{hint}") from error
    return taken


def url(config: PipelineConfig, taken: socket.socket) -> str:
    """Where a browser finds the dashboard."""
    host = config.service.host
    return f"http://{f'[{host}]' if ':' in host else host}:{taken.getsockname()[1]}/"


@asynccontextmanager
async def served(daemon: Daemon, taken: socket.socket, token: str | None) -> AsyncIterator[State]:
    """Serve while the block runs, which runs the daemon; open streams end with it.

    Args:
        daemon: it may start in the block.
        taken: from `bound`; closed at the end.
        token: from `checked_token`.
    """
    app, state = build(daemon, token)
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=32 * 1024,
    )
    server = _Server(config)
    try:
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(state.totals.follow(daemon)),
                group.create_task(_keep_clear(state)),
            ]
            serving = group.create_task(server.serve(sockets=[taken]))
            try:
                yield state
            finally:
                server.should_exit = True
                await asyncio.wait([serving])
                for task in beside:
                    task.cancel()
    finally:
        taken.close()


async def _keep_clear(state: State) -> None:
    """Remove old uploads now and then; a disk that refuses is asked again later."""
    await state.daemon.up.wait()
    while True:
        try:
            await state.uploads.sweep()
            await state.uploads.clear()
        except OSError as error:
            log.warning("old uploads cannot be removed", reason=str(error))
        await asyncio.sleep(CLEAR_S)
