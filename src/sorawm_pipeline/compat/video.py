"""Cleaning a video in one blocking call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from sorawm_pipeline.clip_run import Progress
from sorawm_pipeline.compat.cleaner import WaterMarkCleaner
from sorawm_pipeline.compat.detector import SoraWaterMarkDetector
from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.pipeline import Pipeline
from sorawm_pipeline.report import ClipReport

STARTED, WORKED, DONE = 10, 95, 100
"""Percentages told when the work begins, when the last frame is encoded, and at the end."""

News = SimpleQueue[int | None]


class SoraWM:
    """Cleans videos, one call each. Any number of threads may call it at once.

    Args:
        config: all defaults when left out, of which `output.overwrite` is not obeyed.

    Attributes:
        detector, cleaner: for single pictures; nothing is loaded before they are used.
    """

    def __init__(self, config: PipelineConfig | None = None) -> None:
        self.config = config or PipelineConfig()
        self.detector = SoraWaterMarkDetector(self.config.device)
        self.cleaner = WaterMarkCleaner(self.config.device)

    def run(
        self,
        input_video_path: Path | str,
        output_video_path: Path | str,
        progress_callback: Callable[[int], None] | None = None,
    ) -> ClipReport:
        """Clean a video and publish the result, which replaces an older one.

        The work runs in an event loop and a thread of its own, so a caller inside a running event
        loop is served too, but blocks it meanwhile.

        Args:
            input_video_path: the video.
            output_video_path: the result's file; its folder is made if it is missing.
            progress_callback: called on the caller's thread with a percentage that never falls:
                10 at first, up to 95 while frames are encoded, 100 when the result is there. Where
                the container does not say how many frames it holds, nothing is told in between.

        Returns:
            What was found, changed and measured.

        Raises:
            PipelineError: the video could not be cleaned; one sentence to act on.
            KeyboardInterrupt: and whatever else the callback raises; no partial file stays behind.
        """
        news: News = SimpleQueue()
        loop = asyncio.new_event_loop()
        task = loop.create_task(
            Pipeline(self.config).process(
                input_video_path, output_video_path, overwrite=True, on_progress=_Percent(news)
            )
        )
        thread = threading.Thread(target=_live, args=(loop, task, news), name="compat")
        tell = progress_callback or _nothing
        thread.start()
        try:
            tell(STARTED)
            while (percent := news.get()) is not None:
                tell(percent)
        except BaseException:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(task.cancel)
            raise
        finally:
            thread.join()
        report = task.result()
        tell(DONE)
        return report

    run_batch = run


class _Percent:
    """Turns progress into percentages that only grow, and puts each into a queue once."""

    def __init__(self, news: News) -> None:
        self._news = news
        self._last = STARTED

    def __call__(self, progress: Progress) -> None:
        if not progress.frames_expected:
            return
        share = min(1.0, progress.frames / progress.frames_expected)
        percent = STARTED + int(share * (WORKED - STARTED))
        if percent > self._last:  # a second pass after `verify` counts frames from 0 again
            self._last = percent
            self._news.put(percent)


def _live(loop: asyncio.AbstractEventLoop, task: asyncio.Task[ClipReport], news: News) -> None:
    """The life of a loop that runs one task; says None when it has ended."""
    try:
        with suppress(Exception, asyncio.CancelledError):  # the caller asks the task
            loop.run_until_complete(task)
    finally:
        loop.close()
        news.put(None)


def _nothing(percent: int) -> None:
    del percent
