"""What a person at a terminal sees: results on stdout, progress and complaints on stderr."""

from __future__ import annotations

import os
import sys
import time
from pathlib import PurePath
from typing import Literal, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from sorawm_pipeline.clip_run import Progress
from sorawm_pipeline.plan import Planned
from sorawm_pipeline.report import ClipReport, readable

ProgressMode = Literal["auto", "plain", "none"]
PLAIN_INTERVAL_S = 5.0


class Reporter:
    """Tells how a call goes: `auto` draws a bar on a terminal, `plain` says a line now and then."""

    def __init__(self, mode: ProgressMode) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        bars = mode == "auto" and self._console.is_terminal
        self._plain = mode == "plain"
        self._told = 0.0
        self._bars = (
            Bars(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[speed]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            if bars
            else None
        )
        self._bar = self._bars.add_task("", speed="", visible=False) if self._bars else None

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def started(self, clip: Planned, number: int, count: int) -> None:
        name = str(readable(clip.source.name))
        title = f"{name} ({number}/{count})" if count > 1 else name
        if self._bars is not None and self._bar is not None:
            self._bars.reset(self._bar, description=title, total=None, visible=True)
        elif self._plain:
            self._console.print(f"{title}: started", markup=False)

    def progressed(self, progress: Progress) -> None:
        speed = f"{progress.fps:.1f} fps, {progress.stage} busiest"
        if self._bars is not None and self._bar is not None:
            self._bars.update(
                self._bar,
                completed=progress.frames,
                total=progress.frames_expected,
                speed=speed,
            )
            return
        now = time.monotonic()
        if self._plain and now - self._told >= PLAIN_INTERVAL_S:
            self._told = now
            whole = f" of {progress.frames_expected}" if progress.frames_expected else ""
            name = readable(progress.clip.name)
            self._console.print(f"{name}: frame {progress.frames}{whole}, {speed}", markup=False)

    def finished(self, report: ClipReport) -> None:
        name = PurePath(report.input).name
        match report.status:
            case "done":
                frames = report.frames
                self._result(
                    f"done: {name} -> {report.output} ({frames.marked} of {frames.encoded} frames "
                    f"marked, {report.fps:.1f} fps)"
                )
            case "failed":
                assert report.error is not None
                self.warned(report.error.message)
            case status:
                self.warned(f"{name}: {status}")

    def _result(self, line: str) -> None:
        try:
            print(line, flush=True)
        except OSError:
            # The reader has gone, as in `run ... | head -1`; the clips are still to be done.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def warned(self, message: str) -> None:
        self._console.print(message, markup=False, style="bold" if self._bars else None)
        sys.stderr.flush()
