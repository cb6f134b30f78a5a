"""What a person sees of a training: its progress on stderr, its figures on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sorawm_pipeline.learn.lesson import MINUTES, learn

_EVERY_S = 10.0  # between two lines where stderr is no terminal


class Bar:
    """One line that is rewritten on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._last = 0.0

    def __call__(self, share: float, loss: float) -> None:
        """Show the share of the time that is over, 0..1, and the loss."""
        now = time.monotonic()
        if now - self._last < (0.2 if self._live else _EVERY_S):
            return
        self._last = now
        before, after = ("\r", "") if self._live else ("", "\n")
        sys.stderr.write(f"{before}training {share:4.0%}, loss {loss:.2f}{after}")
        sys.stderr.flush()

    def say(self, line: str) -> None:
        """Write a line, below the one that is rewritten."""
        below = "\n" if self._live and self._last else ""
        sys.stderr.write(f"{below}{line}\n")
        self._last = 0.0


def train_and_tell(
    mark: Path,
    output: Path,
    text: str | None,
    own: Sequence[Path],
    minutes: float | None,
    seed: int,
    device: str,
    *,
    overwrite: bool,
) -> int:
    """Train, say what came of it and how to use it; returns the exit status.

    Raises:
        PipelineError: as `learn` does.
    """
    bar = Bar()
    learned = learn(
        mark,
        output,
        text=text,
        own=own,
        minutes=MINUTES if minutes is None else minutes,
        seed=seed,
        device=device,
        overwrite=overwrite,
        say=bar.say,
        progress=bar,
    )
    result = learned.score
    print(
        f"recall {result.recall:.1%} of {result.marks} marks, mean IoU {result.mean_iou:.3f}, "
        f"false marks {result.false_marks:.3f} per picture, at confidence {result.confidence}"
    )
    print(f"weights: {learned.model}")
    print(f"figures: {learned.card}")
    print(f"use: sorawm-pipeline run pipeline.yaml CLIP --set detect.weights={learned.model}")
    return 0
