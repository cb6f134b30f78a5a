"""What the program makes of an input, and how the result compares with its source."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from sorawm_pipeline import Pipeline, PipelineConfig
from sorawm_pipeline.errors import PipelineError
from sorawm_pipeline.report import ClipReport
from tests.formats.facts import Facts, differences, facts
from tests.formats.inputs import Case


@dataclass(frozen=True)
class Outcome:
    """The facts of the source and of the result, or the sentence that refused the source."""

    before: Facts | None
    after: Facts | None
    report: ClipReport | None
    refused: str | None = None

    @property
    def lost(self) -> list[str]:
        assert self.before is not None
        assert self.after is not None
        return differences(self.before, self.after)


class Outcomes:
    """Cleans inputs of the table, each once, with one warm pipeline."""

    def __init__(self, folder: Path, runner: asyncio.Runner) -> None:
        self._folder = folder
        self._runner = runner
        self._pipeline = Pipeline(
            PipelineConfig.model_validate({"encode": {"preset": "ultrafast"}})
        )
        self._found: dict[str, Outcome] = {}
        runner.run(self._pipeline.__aenter__())

    def of(self, case: Case) -> Outcome:
        """Raises pytest's Skipped where the input cannot be written here."""
        if case.name not in self._found:
            source = case.make(self._folder / case.name)
            self._found[case.name] = self._clean(source)
        return self._found[case.name]

    def cleaned(self, source: Path, output: Path) -> ClipReport:
        """Raises PipelineError."""
        return self._runner.run(self._pipeline.process(source, output))

    def _clean(self, source: Path) -> Outcome:
        output = self._folder / "out" / source.name
        try:
            report = self.cleaned(source, output)
        except PipelineError as error:
            assert not output.exists()
            return Outcome(None, None, None, refused=error.message)
        return Outcome(facts(source), facts(output), report)

    def close(self) -> None:
        self._runner.run(self._pipeline.__aexit__(None, None, None))
