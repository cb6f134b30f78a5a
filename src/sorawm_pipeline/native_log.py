"""Logs of native libraries: libav, x265, SVT-AV1, drivers. They print to file descriptor 2.

PyAV can hand libav's messages to Python's logging, but its callback takes the GIL. When a thread
that holds the GIL waits for one of libav's own threads (closing a decoder with frame threads does)
and that thread has something to say, both wait forever: a damaged file hangs it, as a test shows.
Here no message needs the GIL: libav prints as it would without Python, into a pipe that is never
waited for, and a thread at the other end makes log lines of it. If it cannot keep up, messages are
lost.
"""

from __future__ import annotations

import faulthandler
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from structlog.stdlib import BoundLogger

from sorawm_pipeline.logs import get_logger

MOST_ALIKE = 10
"""Messages that differ in numbers only are shown this often, then counted."""

_LIBAV = re.compile(r"\[(?P<source>[^]@]+?) @ 0x[0-9a-f]+\] (?P<text>.*)")
_ENCODER = re.compile(r"(?P<source>x265|Svt) ?\[(?P<level>\w+)\]:? ?(?P<text>.*)")
_LEVELS = {"info": "debug", "warn": "warning", "warning": "warning", "error": "error"}


@contextmanager
def native_output_logged() -> Iterator[None]:
    """While open, what native libraries print to stderr becomes log lines; libav from error on.

    Meant for a program's main function, not for use as a library: it replaces file descriptor 2
    and `sys.stderr` of the whole process. Python's own writes to `sys.stderr` go where they went
    before, and so does the trace of `faulthandler`; the last words of a native library that aborts
    the process are lost.
    """
    import av  # only now, as it costs 0.15 s

    python_stderr = sys.stderr
    python_stderr.flush()
    redirected = _prints_to_stderr(python_stderr)
    original = os.dup(2)
    reading, writing = os.pipe()
    # A library that prints while it holds the GIL must not wait for our thread, which needs it.
    os.set_blocking(writing, False)
    os.dup2(writing, 2)
    os.close(writing)
    errors = os.fdopen(original, "w", buffering=1, errors="backslashreplace")
    if redirected:
        sys.stderr = errors
        if faulthandler.is_enabled():
            faulthandler.enable(errors)
    reader = threading.Thread(target=_log_lines, args=(reading,), name="native-log", daemon=True)
    reader.start()
    av.logging.restore_default_callback()
    av.logging.set_libav_level(av.logging.ERROR)
    try:
        yield
    finally:
        av.logging.set_level(None)
        errors.flush()
        os.dup2(original, 2)
        reader.join(timeout=5)  # a child process that lives on keeps the pipe open
        if redirected:
            sys.stderr = python_stderr
            if faulthandler.is_enabled():
                faulthandler.enable(python_stderr)
        errors.close()


def _prints_to_stderr(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (OSError, ValueError):  # pytest and notebooks put objects without a descriptor there
        return False


def _log_lines(reading: int) -> None:
    """Log what comes through the pipe until its last writer has closed it."""
    seen: Counter[tuple[str, str]] = Counter()
    with os.fdopen(reading, "rb") as pipe:
        for line in iter(lambda: pipe.readline(4096), b""):
            text = line.decode("utf-8", "backslashreplace").strip()
            if text:
                _log(*_parse(text), seen)
    for (source, pattern), count in seen.items():
        if count > MOST_ALIKE:
            _logger(source).warning(
                "more messages alike", alike=pattern, not_shown=count - MOST_ALIKE
            )


def _parse(line: str) -> tuple[str, str, str]:
    """Source, level and text of a line.

    What libav calls an error is a detail here: whether the clip can go on is said by our own.
    """
    if found := _LIBAV.fullmatch(line):
        return f"libav.{found['source'].strip()}", "info", found["text"]
    if found := _ENCODER.fullmatch(line):
        return found["source"].lower(), _LEVELS.get(found["level"].lower(), "info"), found["text"]
    return "native", "info", line


def _log(source: str, level: str, text: str, seen: Counter[tuple[str, str]]) -> None:
    alike = (source, re.sub(r"\d+", "#", text))
    seen[alike] += 1
    if seen[alike] <= MOST_ALIKE:
        getattr(_logger(source), level)(text)


def _logger(source: str) -> BoundLogger:
    return get_logger(f"{__package__}.native.{source}")
