"""A process that does pieces for another one.

    python -m sorawm_pipeline.segments.hand_main

It is told the configuration and then orders on stdin, a line of JSON each, and answers on what was
stdout; logs go to stderr. It ends when stdin does.
"""

from __future__ import annotations

import json
import os
import sys
import time

from sorawm_pipeline.config import PipelineConfig
from sorawm_pipeline.hardware.memory import map_large
from sorawm_pipeline.logs import configure
from sorawm_pipeline.native_log import native_output_logged
from sorawm_pipeline.segments.orders import Doer, Order

TOLD_S = 1.0


class _Line:
    """The way back. What libraries print to stdout goes to stderr instead."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._told = 0.0

    def say(self, text: str) -> None:
        self._file.write(text + "\n")
        self._file.flush()

    def consumed(self, frames: int) -> None:
        """Once a second, how far the piece at work has got."""
        if time.monotonic() - self._told >= TOLD_S:
            self._told = time.monotonic()
            self.say(json.dumps(frames))


def main() -> None:
    map_large()
    line = _Line()
    settings = json.loads(sys.stdin.readline())
    if settings["cpus"]:
        os.sched_setaffinity(0, settings["cpus"])
    config = PipelineConfig.model_validate(settings["config"])
    configure(config.log.level, config.log.format)
    with native_output_logged():
        doer = Doer(config, line.consumed)
        try:
            for order in sys.stdin:
                line.say(doer.do(Order.model_validate_json(order)).model_dump_json())
        finally:
            doer.close()


if __name__ == "__main__":
    main()
