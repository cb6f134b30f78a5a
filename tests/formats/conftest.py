"""One warm pipeline for the whole table, and what became of each input, found once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sorawm_pipeline import warm
from tests.conftest import WhiteDetector
from tests.formats.outcome import Outcomes


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    folder: Path = tmp_path_factory.mktemp("formats")
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        patch.setattr(warm, "_load", lambda _: (WhiteDetector(), 0.4))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        found = Outcomes(folder, runner)
        yield found
        found.close()
