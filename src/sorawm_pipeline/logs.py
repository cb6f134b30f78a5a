"""Structured logs on stderr: ours through structlog, those of libraries through the same formatter.

    with logs.bound(clip="a.mp4"):
        logs.get_logger(__name__).info("opened", frames=300)

What is bound travels with the task (contextvars), not into threads: a thread binds its own.
Native libraries print past Python; `native_log` takes care of those.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Literal, TextIO, cast

import structlog

from sorawm_pipeline.report import readable

Level = Literal["debug", "info", "warning", "error"]
Layout = Literal["console", "json"]

_PACKAGE = "sorawm_pipeline"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_TRACE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline


def configure(
    level: Level = "info", layout: Layout = "console", stream: TextIO | None = None
) -> None:
    """Send all logs of this process to `stream`; may be called again to change that.

    Libraries are heard from `warning` on, or from `level` if that is higher.

    Args:
        level: the least that is shown of our own logs.
        layout: `console` for people, with colours on a terminal, or `json`, one object per line.
        stream: where to; None is whatever `sys.stderr` is at the moment of writing.
    """
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_shared(), structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(layout, stream or sys.stderr),
            ],
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # so that a second call reaches loggers that exist
    )
    ours = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(ours, logging.WARNING))
    logging.getLogger(_PACKAGE).setLevel(ours)
    logging.captureWarnings(capture=True)


def get_logger(name: str = _PACKAGE) -> structlog.stdlib.BoundLogger:
    """A logger of this package; pass `__name__`."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(name))


def bound(**values: object) -> AbstractContextManager[None]:
    """Add `values` (such as clip=..., stage=...) to every log of this task while it is open."""
    return structlog.contextvars.bound_contextvars(**values)


class _Handler(logging.Handler):
    """Writes to one stream, or to `sys.stderr` as it is at that moment."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = self._stream or sys.stderr
            stream.write(self.format(record) + "\n")
            stream.flush()
        except Exception:  # a log line that cannot be written must not stop the work
            self.handleError(record)


def _shared() -> list[structlog.types.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _renderers(layout: Layout, stream: TextIO) -> list[structlog.types.Processor]:
    last: structlog.types.Processor = structlog.processors.JSONRenderer()
    if layout == "console":
        colours = stream.isatty() and not os.environ.get("NO_COLOR")
        last = structlog.dev.ConsoleRenderer(colors=colours)
    return [structlog.processors.format_exc_info, _printable, last]


def _printable(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Escape what a file name could bring: bytes that are not UTF-8, control characters."""
    for key, value in event.items():
        text = readable(value)
        if isinstance(text, str):
            trace = key in ("exception", "stack")
            event[key] = (_CONTROL_IN_TRACE if trace else _CONTROL).sub(_escape, text)
    return event


def _escape(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0]):02x}"


# An application that has not configured structlog finds our logs in stdlib logging, as those of any
# library, and not on stdout, where structlog's own default prints.
if not structlog.is_configured():
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
