"""Logs: one formatter for ours and those of libraries, bound to clip and stage."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from sorawm_pipeline import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("sorawm_pipeline")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def start(level: logs.Level = "info", layout: logs.Layout = "json") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, layout, stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_line() -> None:
    stream = start()
    logs.get_logger("sorawm_pipeline.x").info("opened", frames=3)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "opened",
        "frames": 3,
        "level": "info",
        "logger": "sorawm_pipeline.x",
    }


def test_console_line() -> None:
    stream = start(layout="console")
    logs.get_logger().warning("slow", stage="encode")
    text = stream.getvalue()
    assert "slow" in text
    assert "stage=encode" in text
    assert "\x1b" not in text, "no colours where there is no terminal"


def test_levels() -> None:
    stream = start("warning")
    logger = logs.get_logger()
    logger.info("hidden")
    logger.warning("shown")
    assert [line["event"] for line in lines(stream)] == ["shown"]


def test_configure_again_replaces_and_reaches_loggers_that_exist() -> None:
    logger = logs.get_logger()
    first = start("error")
    logger.info("hidden")
    second = start("debug")
    logger.debug("shown")
    assert first.getvalue() == ""
    assert [line["event"] for line in lines(second)] == ["shown"]


def test_without_a_stream_it_is_stderr_of_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    logs.get_logger().info("here")
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["event"] == "here"


def test_libraries_come_through_the_same_formatter_from_warning_on() -> None:
    stream = start("debug")
    library = logging.getLogger("somebodys.library")
    library.info("chatter")
    library.warning("%d boxes", 3, extra={"model": "n"})
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("3 boxes", library.name, "warning")
    assert line["model"] == "n"


def test_warnings_are_logs() -> None:
    stream = start()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    (line,) = lines(stream)
    assert line["logger"] == "py.warnings"
    assert "DeprecationWarning: old" in line["event"]


def test_exceptions_keep_their_trace() -> None:
    stream = start()
    try:
        raise ZeroDivisionError("why")
    except ZeroDivisionError:
        logs.get_logger().exception("failed")
    (line,) = lines(stream)
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ZeroDivisionError: why")


def test_exceptions_on_a_console_are_plain_and_drive_no_terminal() -> None:
    stream = start(layout="console")
    array = "local"  # fancy traces would print it
    try:
        raise ValueError("bad \x1b[2J name " + array.upper())
    except ValueError:
        logs.get_logger().exception("failed")
    assert "ValueError: bad \\x1b[2J name LOCAL\n" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert "array = " not in stream.getvalue().replace('array = "local"', "")


async def test_bound_values_stay_with_their_task() -> None:
    stream = start()

    async def work(clip: str) -> None:
        with logs.bound(clip=clip), logs.bound(stage="decode"):
            await asyncio.sleep(0)
            logging.getLogger("library").error(clip)
            logs.get_logger().info(clip)

    async with asyncio.TaskGroup() as group:
        for clip in ("a", "b", "c"):
            group.create_task(work(clip))
    logs.get_logger().info("after")
    *inside, after = lines(stream)
    assert len(inside) == 6
    assert all(line["clip"] == line["event"] and line["stage"] == "decode" for line in inside)
    assert "clip" not in after


@pytest.mark.parametrize("layout", ["json", "console"])
def test_hostile_file_names_cannot_forge_lines_or_drive_the_terminal(layout: logs.Layout) -> None:
    stream = start(layout=layout)
    name = "a\n{}\x1b[2J\x9b\udcff.mp4"
    logs.get_logger().info(f"opening {name}", clip=name)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert not {"\x1b", "\x9b", "\udcff"} & set(text)
    assert text.encode("utf-8").count(rb"\xff.mp4") == 2
